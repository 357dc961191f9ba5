//! Status, resolve, reopen, rating (rules 10, 11, 17, 19, 20, 35, 39).

use contactflow_schemas::catalogue::kpi;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::event::{ActorType, Body, Event, Status, Visibility};
use contactflow_schemas::normalise::speaker;
use contactflow_schemas::symbol::Symbol;

use super::Fold;
use super::sla::{Closing, Measure, MeasureKind};
use super::timeline::Placement;

/// A resolve that stands.
pub(super) struct Resolve {
    pub(super) time_ms: TimeMs,
    pub(super) agent: Option<Symbol>,
    pub(super) placement: Placement,
    pub(super) cycle: usize,
    /// Replies of its cycle before it.
    pub(super) replies: i64,
    /// Speaker runs and characters of the conversation before it.
    pub(super) turns: i64,
    pub(super) characters: i64,
    pub(super) reopened_ms: Option<TimeMs>,
}

impl Fold<'_> {
    /// Rule 11: whether an event brings a resolved conversation back.
    pub(super) fn reopens(&self, event: &Event) -> bool {
        self.resolved
            && match &event.body {
                Body::Status(status) => !status.is_resolved(),
                Body::Message { direction, visibility, .. } => {
                    let author = speaker(event.actor_type, *direction, event.actor);
                    *visibility == Visibility::Public && author == Some(ActorType::Customer)
                }
                _ => false,
            }
    }

    pub(super) fn reopen(&mut self, event: &Event) {
        let time_ms = event.time_ms;
        let agent = self.resolves.last().and_then(|resolve| resolve.agent);
        if let Some(resolve) = self.resolves.last_mut() {
            resolve.reopened_ms = Some(time_ms);
        }
        self.credit(time_ms, agent, kpi::REOPENS, 1);
        self.resolved = false;
        if !matches!(event.body, Body::Status(_)) {
            self.set_status(time_ms, Status::Open);
        }
        self.open_cycle(time_ms);
    }

    /// Rule 35: events before the creation act at the creation.
    fn set_status(&mut self, time_ms: TimeMs, status: Status) {
        self.timeline.set_status(time_ms.max(self.created_ms), status);
    }

    pub(super) fn status_changed(&mut self, event: &Event, status: Status) {
        if status.is_resolved() {
            if !self.resolved {
                self.resolve(event);
                self.set_status(event.time_ms, status);
            }
        } else {
            self.set_status(event.time_ms, status);
        }
    }

    fn resolve(&mut self, event: &Event) {
        let time_ms = event.time_ms;
        // Rule 10.
        let human = event.actor_type.is_none_or(|actor_type| actor_type == ActorType::Agent);
        let agent = event.actor.filter(|_| human).or(self.now.owner);
        self.cancel_first_response(time_ms);
        self.end_silence_run(time_ms, Closing::Cancelled);
        // Rule 20 (b).
        if self.facts().replies == 0 && !self.cycle.connected && !self.facts().silent {
            self.facts().silent = true;
            self.credit(time_ms, agent, kpi::SILENT_DIALOGUES, 1);
        }
        self.credit(time_ms, agent, kpi::RESOLUTIONS, 1);
        let opened_ms = self.facts().opened_ms;
        self.duration(time_ms, agent, kpi::CYCLE_RESOLUTION_TIME, opened_ms);
        let business_ms = self.timeline.business_ms(opened_ms.min(time_ms), time_ms);
        let facts = self.facts();
        facts.resolved_ms = Some(time_ms);
        facts.resolved_by = agent;
        facts.cycle_resolution_time_ms = (time_ms >= opened_ms).then_some(time_ms - opened_ms);
        facts.cycle_resolution_time_business_ms = business_ms.filter(|_| time_ms >= opened_ms);
        let replies = facts.replies;
        self.credit(time_ms, agent, kpi::REPLIES_TO_RESOLUTION, replies);
        let end = Some((time_ms, Closing::Fulfilled { agent, placement: self.now }));
        self.measures.push(Measure { kind: MeasureKind::Resolution, from_ms: opened_ms, end });
        self.leave_queue(time_ms);
        self.end_ownership(time_ms);
        self.assignment = None;
        if let Some(stretch) = self.stretches.last_mut() {
            stretch.to_ms = Some(time_ms);
        }
        self.resolves.push(Resolve {
            time_ms,
            agent,
            placement: self.now,
            cycle: self.view.facts.len() - 1,
            replies,
            turns: self.turns,
            characters: self.characters,
            reopened_ms: None,
        });
        self.resolved = true;
    }

    /// Rule 45: a resolve without a response ends waiting for it.
    fn cancel_first_response(&mut self, time_ms: TimeMs) {
        if let Some(from_ms) = self.asked_ms().filter(|_| !self.cycle.responded) {
            let end = Some((time_ms, Closing::Cancelled));
            self.measures.push(Measure { kind: MeasureKind::FirstResponse, from_ms, end });
        }
    }

    /// Rule 19.
    pub(super) fn rating(&mut self, time_ms: TimeMs, agent: Option<Symbol>, csat_millionths: i64, revisions: i64) {
        self.credit(time_ms, agent, kpi::CSAT, csat_millionths);
        if csat_millionths >= 4_000_000 {
            self.credit(time_ms, agent, kpi::CSAT_POSITIVE, 1);
        }
        if revisions > 0 {
            self.credit(time_ms, agent, kpi::CSAT_REVISIONS, revisions);
        }
        let facts = self.facts();
        facts.csat_count += 1;
        facts.csat_sum_millionths += csat_millionths;
    }
}
