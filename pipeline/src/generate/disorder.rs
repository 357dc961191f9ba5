//! How events reach the platform: promptly, or late, twice, revised, retracted, or broken.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};

use super::delivery_queue::DeliveryQueue;
use super::event::{Actor, Body, Defect, Delivery, Event, Origin};
use super::incidents::IncidentPlan;
use super::text::{TextKind, TextSpec};
use super::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};
use super::truth::Truth;

/// Probability per event that it is delivered twice.
const DUPLICATE_P: f64 = 0.005;
/// Probability per event that it is delivered hours or days late.
const LATE_P: f64 = 0.01;
/// Probability per message that it is edited: 0.2 % of events, as less than half of them are messages.
const EDIT_P: f64 = 0.005;
/// Probability per message that a stray one follows, to be retracted: 0.1 % of events.
const STRAY_P: f64 = 0.0025;
/// Probability per event that a malformed copy is delivered too.
const MALFORMED_P: f64 = 0.0005;
/// Probability per rating that it is revised.
const REVISION_P: f64 = 0.06;

/// Median and spread (of the logarithm) of a prompt delivery's delay.
const PROMPT_MEDIAN_MS: f64 = 900.0;
const PROMPT_SIGMA: f64 = 0.8;

/// Turns events into deliveries.
#[derive(Debug)]
pub(crate) struct DeliveryDesk<'a> {
    plan: &'a IncidentPlan,
    rng: ChaCha8Rng,
    prompt_delay: Option<LogNormal<f64>>,
    disorder: bool,
    end_ms: i64,
}

impl<'a> DeliveryDesk<'a> {
    /// A desk which, if `disorder`, mishandles some events. `end_ms` ends the span.
    pub(crate) fn new(plan: &'a IncidentPlan, rng: ChaCha8Rng, disorder: bool, end_ms: i64) -> Self {
        let prompt_delay = LogNormal::new(PROMPT_MEDIAN_MS.ln(), PROMPT_SIGMA).ok();
        Self { plan, rng, prompt_delay, disorder, end_ms }
    }

    /// Queues the deliveries of `event` and counts them.
    pub(crate) fn accept(&mut self, event: Event, queue: &mut DeliveryQueue, truth: &mut Truth) {
        if !self.disorder {
            // Delivered at once: files then hold exactly the events of their date, in order.
            self.deliver(event, event.event_ms, queue, truth);
            return;
        }
        let late = self.rng.random_bool(LATE_P);
        let ingest_ms = event.event_ms + if late { self.late_delay_ms() } else { self.prompt_delay_ms() };
        self.deliver(event, ingest_ms, queue, truth);
        if event.thread.is_none() {
            return;
        }
        if self.rng.random_bool(DUPLICATE_P) {
            let again_ms =
                ingest_ms + if self.rng.random_bool(0.5) { self.prompt_delay_ms() } else { self.late_delay_ms() };
            queue.push(Delivery { event, ingest_ms: again_ms, retract: false, defect: None });
            truth.rows += 1;
            truth.duplicates += 1;
        }
        if self.rng.random_bool(MALFORMED_P) {
            self.deliver_malformed(event, queue, truth);
        }
        match event.body {
            Body::MessageCreated { text, .. } => self.revise_message(event, text, queue, truth),
            Body::CsatRated { rating, .. } if self.rng.random_bool(REVISION_P) => {
                self.revise_rating(event, rating, queue, truth);
            }
            _ => {}
        }
    }

    fn deliver(&mut self, event: Event, ingest_ms: i64, queue: &mut DeliveryQueue, truth: &mut Truth) {
        truth.events += 1;
        truth.rows += 1;
        truth.messages += u64::from(matches!(event.body, Body::MessageCreated { .. }));
        truth.late += u64::from(ingest_ms.min(self.end_ms - 1) - event.event_ms >= HOUR_MS);
        queue.push(Delivery { event, ingest_ms, retract: false, defect: None });
    }

    fn deliver_malformed(&mut self, event: Event, queue: &mut DeliveryQueue, truth: &mut Truth) {
        let defects = [Defect::BadTime, Defect::UnknownType, Defect::MissingEventId, Defect::MissingConversation];
        let defect = Some(defects[self.rng.random_range(0..defects.len())]);
        let event = Event { origin: Origin::Malformed, ..event };
        let ingest_ms = event.event_ms + self.prompt_delay_ms();
        queue.push(Delivery { event, ingest_ms, retract: false, defect });
        truth.rows += 1;
        truth.malformed += 1;
    }

    /// Now and then edits a message, or sends one to the wrong conversation and takes it back.
    fn revise_message(&mut self, message: Event, text: TextSpec, queue: &mut DeliveryQueue, truth: &mut Truth) {
        if self.rng.random_bool(EDIT_P) {
            let text = TextSpec { seed: text.seed.wrapping_add(1), ..text };
            let edit = Event { origin: Origin::Edit, body: Body::MessageEdited { text }, ..message };
            let delay_ms = self.rng.random_range(10 * SECOND_MS..20 * MINUTE_MS);
            if let Some(edit) = self.postpone(edit, delay_ms) {
                truth.edits += 1;
                let ingest_ms = edit.event_ms + self.prompt_delay_ms();
                self.deliver(edit, ingest_ms, queue, truth);
            }
        }
        let Actor::Agent(_) = message.actor else { return };
        // Only agents stray; they write about half of the messages.
        if self.rng.random_bool(2.0 * STRAY_P) {
            let text = TextSpec { kind: TextKind::AgentClosing, seed: text.seed.wrapping_add(2), ..text };
            let body = Body::MessageCreated { private: false, text, offsets_ms: None };
            let delay_ms = self.rng.random_range(SECOND_MS..MINUTE_MS);
            let Some(stray) = self.postpone(Event { origin: Origin::Stray, body, ..message }, delay_ms) else { return };
            let ingest_ms = stray.event_ms + self.prompt_delay_ms();
            self.deliver(stray, ingest_ms, queue, truth);
            let retract_ms = ingest_ms + self.rng.random_range(30 * SECOND_MS..6 * HOUR_MS);
            queue.push(Delivery { event: stray, ingest_ms: retract_ms, retract: true, defect: None });
            truth.rows += 1;
            truth.retracts += 1;
        }
    }

    fn revise_rating(&mut self, rated: Event, rating: i64, queue: &mut DeliveryQueue, truth: &mut Truth) {
        let Body::CsatRated { survey, agent, .. } = rated.body else { return };
        let change = if self.rng.random_bool(0.5) { 1 } else { -1 };
        let revised = if (1..=5).contains(&(rating + change)) { rating + change } else { rating - change };
        let body = Body::CsatRated { survey, agent, rating: revised, text: None };
        let delay_ms = self.rng.random_range(MINUTE_MS..2 * DAY_MS);
        if let Some(revision) = self.postpone(Event { origin: Origin::Revision, body, ..rated }, delay_ms) {
            truth.rating_revisions += 1;
            let ingest_ms = revision.event_ms + self.prompt_delay_ms();
            self.deliver(revision, ingest_ms, queue, truth);
        }
    }

    /// The event, `delay_ms` later and outside of silences and, for agents, outages; none if the span is over by then.
    fn postpone(&mut self, event: Event, delay_ms: i64) -> Option<Event> {
        let channel = event.thread?.channel;
        let mut event_ms = event.event_ms + delay_ms;
        if matches!(event.actor, Actor::Agent(_)) {
            event_ms = self.plan.after_outage(channel, event_ms, &mut self.rng);
        }
        event_ms = self.plan.after_silence(channel, event_ms, &mut self.rng);
        (event_ms < self.end_ms).then_some(Event { event_ms, ..event })
    }

    fn prompt_delay_ms(&mut self) -> i64 {
        self.prompt_delay.map_or(0, |delay| delay.sample(&mut self.rng) as i64)
    }

    fn late_delay_ms(&mut self) -> i64 {
        if self.rng.random_bool(0.7) {
            self.rng.random_range(HOUR_MS..DAY_MS)
        } else {
            self.rng.random_range(DAY_MS..5 * DAY_MS)
        }
    }
}
