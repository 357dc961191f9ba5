//! The state of a conversation being simulated, and the steps all channels share.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::World;
use crate::generate::arrivals::relative_load;
use crate::generate::channel::{Channel, Profile, Spread};
use crate::generate::dimensions::promise;
use crate::generate::event::{Actor, Body, Event, Origin, Status, Thread};
use crate::generate::roster::AgentIndex;
use crate::generate::text::{Language, TextKind, TextSpec, Topic};
use crate::generate::time::{MINUTE_MS, SECOND_MS};

/// Annoyance of a customer who arrives during an angry burst.
const BURST_ANNOYANCE: f64 = 2.2;
/// Factor on reply times while a burst is worked off.
const BURST_CONGESTION: f64 = 1.8;
/// Share of customers who come with a complaint rather than a question on an ordinary day.
const COMPLAINT_P: f64 = 0.16;
/// Most of the longest conversations' events; keeps the two-digit numbers of event ids.
const MOST_EVENTS: u16 = 90;

/// A conversation being simulated.
pub(super) struct Script<'a> {
    pub(super) thread: Thread,
    pub(super) world: World<'a>,
    pub(super) rng: &'a mut ChaCha8Rng,
    /// Time of the last event, milliseconds since the Unix epoch.
    pub(super) clock_ms: i64,
    /// The agent in charge.
    pub(super) owner: Option<AgentIndex>,
    /// 0 is content; 1 writes mostly negative texts; 2 and more rates 1 or 2.
    pub(super) annoyance: f64,
    /// Cycles begun; numbers the surveys.
    pub(super) cycle: u16,
    /// Voice segments begun.
    pub(super) segments: u16,
    language: Language,
    topic: Topic,
    number: u16,
    events: &'a mut Vec<Event>,
}

impl<'a> Script<'a> {
    pub(super) fn new(
        thread: Thread,
        language: Language,
        topic: Topic,
        start_ms: i64,
        world: World<'a>,
        rng: &'a mut ChaCha8Rng,
        events: &'a mut Vec<Event>,
    ) -> Self {
        let annoyance = if world.plan.is_angry(thread.channel, start_ms) { BURST_ANNOYANCE } else { 0.0 };
        let clock_ms = start_ms - 1;
        Self {
            thread,
            world,
            rng,
            clock_ms,
            owner: None,
            annoyance,
            cycle: 1,
            segments: 0,
            language,
            topic,
            number: 0,
            events,
        }
    }

    pub(super) fn channel(&self) -> Channel {
        self.thread.channel
    }

    pub(super) fn profile(&self) -> &'static Profile {
        self.thread.channel.profile()
    }

    /// True with probability `p`.
    pub(super) fn chance(&mut self, p: f64) -> bool {
        self.rng.random_bool(p.clamp(0.0, 1.0))
    }

    /// A uniform duration in `least_ms..most_ms`.
    pub(super) fn between_ms(&mut self, least_ms: i64, most_ms: i64) -> i64 {
        self.rng.random_range(least_ms..most_ms)
    }

    /// A log-normal duration.
    pub(super) fn sample_ms(&mut self, spread: Spread) -> i64 {
        let normal: f64 = StandardNormal.sample(self.rng);
        (spread.median_ms as f64 * (spread.sigma * normal).exp()) as i64
    }

    /// Lets something happen at `at_ms`, or as soon after as order and silences allow, and returns when.
    pub(super) fn emit(&mut self, at_ms: i64, actor: Actor, body: Body) -> i64 {
        let later_ms = at_ms.max(self.clock_ms + 1);
        let event_ms = self.world.plan.after_silence(self.channel(), later_ms, self.rng);
        self.clock_ms = event_ms;
        // Time only rises: once the span is over, nothing more gets in.
        if event_ms < self.world.end_ms && self.number < MOST_EVENTS {
            self.number += 1;
            let thread = Some(self.thread);
            self.events.push(Event { event_ms, thread, number: self.number, origin: Origin::Simulated, actor, body });
        }
        event_ms
    }

    /// Lets something happen `delay_ms` after the last event.
    pub(super) fn emit_after(&mut self, delay_ms: i64, actor: Actor, body: Body) -> i64 {
        self.emit(self.clock_ms + delay_ms, actor, body)
    }

    /// A public message.
    pub(super) fn say(&mut self, at_ms: i64, actor: Actor, kind: TextKind) -> i64 {
        let text = self.text(kind);
        self.emit(at_ms, actor, Body::MessageCreated { private: false, text, offsets_ms: None })
    }

    pub(super) fn text(&mut self, kind: TextKind) -> TextSpec {
        TextSpec { kind, topic: self.topic, language: self.language, seed: self.rng.random() }
    }

    /// `conversation_created`.
    pub(super) fn open(&mut self) {
        let priority = if self.annoyance > 1.0 && self.chance(0.5) {
            "high"
        } else {
            ["normal", "normal", "normal", "low", "high"][self.rng.random_range(0..5)]
        };
        let topic = self.topic;
        self.emit_after(1, Actor::System, Body::ConversationCreated { priority, topic });
        if let Some(policy) = promise(self.thread.contact, self.channel()) {
            self.emit_after(1, Actor::Automation, Body::SlaApplied { policy });
        }
    }

    /// The text with which the customer comes.
    pub(super) fn opening_kind(&mut self) -> TextKind {
        let complaint_p = COMPLAINT_P + 0.35 * self.annoyance;
        if self.chance(complaint_p) {
            self.annoyance += 0.4;
            TextKind::CustomerComplaint
        } else {
            TextKind::CustomerQuestion
        }
    }

    /// The text with which the customer goes on.
    pub(super) fn continuing_kind(&mut self) -> TextKind {
        if self.chance(0.08 + 0.35 * self.annoyance) { TextKind::CustomerComplaint } else { TextKind::CustomerDetail }
    }

    /// The text of an agent's reply.
    pub(super) fn reply_kind(&mut self) -> TextKind {
        if self.annoyance > 0.7 && self.chance(0.6) {
            TextKind::AgentApology
        } else if self.chance(0.3) {
            TextKind::AgentFollowUp
        } else {
            TextKind::AgentAnswer
        }
    }

    /// When `agent`, free from `free_ms` on, replies to something waiting since then.
    pub(super) fn reply_ms(&mut self, agent: AgentIndex, free_ms: i64, spread: Spread) -> i64 {
        let channel = self.channel();
        let plan = self.world.plan;
        let burst = if plan.is_angry(channel, free_ms) { BURST_CONGESTION } else { 1.0 };
        let congestion = burst * (1.0 + 0.25 * (relative_load(channel, free_ms) - 1.0)).clamp(0.7, 1.8);
        let factor =
            self.world.roster.agent(agent).speed_factor * plan.slow_factor(agent, channel, free_ms) * congestion;
        let delay_ms = (self.sample_ms(spread) as f64 * factor) as i64;
        let mut at_ms = free_ms + delay_ms.max(SECOND_MS);
        if !channel.is_live() {
            at_ms = self.on_duty_ms(agent, at_ms);
        }
        plan.after_outage(channel, at_ms, self.rng)
    }

    /// When an agent whose reply would come at `at_ms` is at work: the backlog of a night goes out over its first hour.
    fn on_duty_ms(&mut self, agent: AgentIndex, at_ms: i64) -> i64 {
        let duty_ms = self.world.roster.next_on_duty(agent, at_ms);
        if duty_ms == at_ms { at_ms } else { duty_ms + self.between_ms(0, 50 * MINUTE_MS) }
    }

    /// The customer has waited: the longer than usual, the worse.
    pub(super) fn feel_wait(&mut self, waited_ms: i64, usual: Spread) {
        let excess = (waited_ms.max(1) as f64 / usual.median_ms as f64).ln() - usual.sigma;
        self.annoyance += (0.5 * excess).clamp(-0.1, 1.5);
        self.annoyance = self.annoyance.max(0.0);
    }

    /// Hands the conversation to `agent`.
    pub(super) fn assign(&mut self, at_ms: i64, agent: AgentIndex) -> i64 {
        self.owner = Some(agent);
        self.emit(at_ms, Actor::Automation, Body::Assigned { agent })
    }

    /// Hands the conversation from its owner to a colleague, if there is another one.
    pub(super) fn transfer(&mut self, at_ms: i64, kind: &'static str) {
        let Some(from) = self.owner else { return };
        let (to, free_ms) = self.world.roster.pick(self.channel(), at_ms, self.rng);
        if to == from {
            return;
        }
        let at_ms = self.world.plan.after_outage(self.channel(), free_ms, self.rng);
        self.emit(at_ms, Actor::Agent(from), Body::Transferred { kind, from, to });
        self.owner = Some(to);
        self.annoyance += 0.15;
    }

    /// A note among agents.
    pub(super) fn note(&mut self, at_ms: i64, agent: AgentIndex) {
        let at_ms = self.world.plan.after_outage(self.channel(), at_ms, self.rng);
        let text = self.text(TextKind::PrivateNote);
        self.emit(at_ms, Actor::Agent(agent), Body::MessageCreated { private: true, text, offsets_ms: None });
    }

    /// Between open and resolved.
    pub(super) fn change_status(&mut self, at_ms: i64, actor: Actor, to: Status) -> i64 {
        let from = if to == Status::Open { Status::Resolved } else { Status::Open };
        self.emit(at_ms, actor, Body::StatusChanged { from, to })
    }
}
