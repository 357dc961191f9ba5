//! Email and social messages: assigned, replied to within a shift, back and forth.

use super::script::Script;
use crate::generate::channel::Spread;
use crate::generate::event::Actor;
use crate::generate::roster::AgentIndex;
use crate::generate::text::TextKind;
use crate::generate::time::{DAY_MS, HOUR_MS, MINUTE_MS};

/// Share of conversations in which agents leave each other a note.
const NOTE_P: f64 = 0.14;
/// Share of conversations that are handed to a colleague.
const TRANSFER_P: f64 = 0.06;
/// Share of customers who write again when their patience ends.
const ASK_AGAIN_P: f64 = 0.5;
/// Most exchanges after the first reply.
const MOST_EXCHANGES: u32 = 7;

impl Script<'_> {
    /// A whole exchange of letters.
    pub(super) fn play_correspondence(&mut self) {
        self.open();
        let kind = self.opening_kind();
        let asked_ms = self.say(self.clock_ms + 100, Actor::Customer, kind);
        let unanswered_p = self.profile().unanswered_p;
        if self.chance(unanswered_p) {
            self.close_unanswered(7 * DAY_MS);
            return;
        }
        let (agent, free_ms) = self.world.roster.pick(self.channel(), asked_ms, self.rng);
        let reply_ms = self.reply_ms(agent, free_ms, self.profile().first_reply);
        let assign_ms = free_ms + self.between_ms(MINUTE_MS / 4, MINUTE_MS);
        if assign_ms < reply_ms && self.world.plan.outage(self.channel(), assign_ms).is_none() {
            self.assign(assign_ms, agent);
        }
        self.receive_reply(asked_ms, reply_ms, agent, self.profile().first_reply);
        self.exchange();
        self.close();
    }

    /// What follows the first reply: notes, transfers, further questions and answers.
    pub(super) fn exchange(&mut self) {
        let Some(agent) = self.owner else { return };
        if self.chance(NOTE_P) {
            let pause_ms = self.between_ms(MINUTE_MS / 3, 3 * MINUTE_MS);
            self.note(self.clock_ms + pause_ms, agent);
        }
        if self.chance(TRANSFER_P) {
            let kind = if self.channel().is_live() && self.chance(0.4) { "warm" } else { "cold" };
            let pause_ms = self.between_ms(MINUTE_MS / 2, 5 * MINUTE_MS);
            self.transfer(self.clock_ms + pause_ms, kind);
        }
        for _ in 0..MOST_EXCHANGES {
            let continue_p = self.profile().continue_p + 0.06 * self.annoyance;
            if !self.chance(continue_p) {
                break;
            }
            self.ask_on();
        }
    }

    /// One more question with its reply.
    fn ask_on(&mut self) {
        let Some(agent) = self.owner else { return };
        let profile = self.profile();
        let kind = self.continuing_kind();
        let pause_ms = self.sample_ms(profile.customer_reply);
        let asked_ms = self.say(self.clock_ms + pause_ms, Actor::Customer, kind);
        let reply_ms = self.reply_ms(agent, asked_ms, profile.next_reply);
        self.receive_reply(asked_ms, reply_ms, agent, profile.next_reply);
    }

    /// The wait from `asked_ms` to the reply at `reply_ms`, in which the customer may ask again.
    pub(super) fn receive_reply(&mut self, asked_ms: i64, reply_ms: i64, agent: AgentIndex, usual: Spread) {
        let patience_ms = self.sample_ms(self.profile().patience);
        if asked_ms + patience_ms < reply_ms && self.chance(ASK_AGAIN_P) {
            self.annoyance += 0.4;
            self.say(asked_ms + patience_ms, Actor::Customer, TextKind::CustomerWaiting);
        }
        if self.owner != Some(agent) {
            self.assign(reply_ms - HOUR_MS / 60, agent);
        }
        let kind = self.reply_kind();
        let at_ms = reply_ms.max(self.clock_ms + 1);
        let at_ms = self.world.plan.after_outage(self.channel(), at_ms, self.rng);
        let replied_ms = self.say(at_ms, Actor::Agent(agent), kind);
        self.feel_wait(replied_ms - asked_ms, usual);
    }
}
