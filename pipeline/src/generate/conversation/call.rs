//! Inbound calls: a queue, one or two connected segments, now and then a transcript.

use super::script::Script;
use crate::generate::channel::{Channel, Spread};
use crate::generate::event::{Actor, Body, Status};
use crate::generate::roster::AgentIndex;
use crate::generate::text::TextKind;
use crate::generate::time::{MINUTE_MS, SECOND_MS};

/// Time on the phone with one agent.
const TALK: Spread = Spread { median_ms: 4 * MINUTE_MS, sigma: 0.6 };
/// Share of segments with a transcript.
const TRANSCRIPT_P: f64 = 0.35;
/// Share of calls that are put through to a colleague.
const TRANSFER_P: f64 = 0.07;
/// How soon after opening hours callers hear that nobody is there.
const CLOSED_MS: i64 = 25 * SECOND_MS;

impl Script<'_> {
    /// A whole call.
    pub(super) fn play_call(&mut self) {
        self.open();
        // Nobody reads what a caller has in mind, but it sets the mood.
        self.opening_kind();
        if self.call() {
            self.close();
        }
    }

    /// Queue and connected segments; false if the caller hangs up before.
    pub(super) fn call(&mut self) -> bool {
        let usual = self.profile().first_reply;
        let queued_ms = self.emit_after(100, Actor::System, Body::Queued);
        let (agent, free_ms) = self.world.roster.pick(Channel::Voice, queued_ms, self.rng);
        let answer_ms = self.reply_ms(agent, free_ms, usual);
        let patience_ms = if free_ms > queued_ms { CLOSED_MS } else { self.sample_ms(self.profile().patience) };
        if answer_ms - queued_ms > patience_ms {
            self.emit(queued_ms + patience_ms, Actor::Customer, Body::Dequeued { reason: "abandoned" });
            self.change_status(self.clock_ms + SECOND_MS, Actor::Automation, Status::Resolved);
            return false;
        }
        self.emit(answer_ms, Actor::System, Body::Dequeued { reason: "answered" });
        self.assign(self.clock_ms + 20, agent);
        self.feel_wait(self.clock_ms - queued_ms, usual);
        self.talk(agent);
        if self.chance(TRANSFER_P) {
            self.transfer(self.clock_ms + 2 * SECOND_MS, "warm");
            if let Some(owner) = self.owner.filter(|&owner| owner != agent) {
                self.talk(owner);
            }
        }
        true
    }

    /// One connected segment.
    fn talk(&mut self, agent: AgentIndex) {
        self.segments += 1;
        let segment = self.segments;
        let started_ms = self.emit_after(SECOND_MS, Actor::Agent(agent), Body::SegmentStarted { segment, agent });
        let factor = self.world.roster.agent(agent).speed_factor * (1.0 + 0.2 * self.annoyance);
        let talk_ms = ((self.sample_ms(TALK) as f64 * factor) as i64).max(10 * SECOND_MS);
        let mut ended_ms = started_ms + talk_ms;
        // When the line goes dead, calls end; they do not last until it is back.
        let plan = self.world.plan;
        if let Some(dead) = plan.silence(Channel::Voice, ended_ms).or(plan.outage(Channel::Voice, ended_ms)) {
            ended_ms = (dead.start_ms - 1).max(started_ms + 1);
        }
        if ended_ms - started_ms > 30 * SECOND_MS && self.chance(TRANSCRIPT_P) {
            self.transcribe(agent, started_ms, ended_ms);
        }
        let duration_ms = ended_ms.max(self.clock_ms + 1) - started_ms;
        self.emit(ended_ms, Actor::Agent(agent), Body::SegmentEnded { segment, agent, duration_ms });
    }

    /// Two or three turns of each side, spread over the segment.
    fn transcribe(&mut self, agent: AgentIndex, started_ms: i64, ended_ms: i64) {
        let turns = 2 * self.between_ms(1, 4);
        let gap_ms = (ended_ms - started_ms) / (turns + 1);
        for turn in 0..turns {
            let (actor, kind) = if turn % 2 == 1 {
                (Actor::Agent(agent), self.reply_kind())
            } else if turn + 2 == turns && self.annoyance < 0.6 && turns > 2 {
                (Actor::Customer, TextKind::CustomerThanks)
            } else if self.chance(0.15 + 0.35 * self.annoyance) {
                (Actor::Customer, TextKind::CustomerComplaint)
            } else {
                (Actor::Customer, if turn == 0 { TextKind::CustomerQuestion } else { TextKind::CustomerDetail })
            };
            let begin_ms = (turn + 1) * gap_ms;
            let end_ms = begin_ms + (gap_ms as f64 * 0.8) as i64;
            let offsets_ms = u32::try_from(begin_ms).ok().zip(u32::try_from(end_ms).ok());
            let text = self.text(kind);
            self.emit(started_ms + begin_ms, actor, Body::MessageCreated { private: false, text, offsets_ms });
        }
    }
}
