//! Live chat: a bot first, perhaps, then a queue, then an agent.

use super::script::Script;
use crate::generate::event::{Actor, Body, Status};
use crate::generate::text::TextKind;
use crate::generate::time::{DAY_MS, MINUTE_MS, SECOND_MS};

/// Share of chats which the bot greets.
const BOT_P: f64 = 0.55;
/// Share of those which the bot resolves.
const BOT_RESOLVES_P: f64 = 0.38;
/// Share of queued customers who ask whether anybody is there before they give up or are answered late.
const ASK_AGAIN_P: f64 = 0.6;
/// Typing and reading: the part of the first reply time that follows the queue.
const TYPING_SHARE: f64 = 0.3;

impl Script<'_> {
    /// A whole chat.
    pub(super) fn play_chat(&mut self) {
        self.open();
        let kind = self.opening_kind();
        self.say(self.clock_ms + 300, Actor::Customer, kind);
        if self.chance(BOT_P) && self.bot_resolves() {
            return;
        }
        let unanswered_p = self.profile().unanswered_p;
        if self.chance(unanswered_p) {
            self.close_unanswered(DAY_MS);
        } else if self.wait_in_queue() {
            self.exchange();
            self.close();
        }
    }

    /// The bot's part; true if it settles the matter, false after a hand-off (or where the bot stands still).
    fn bot_resolves(&mut self) -> bool {
        let at_ms = self.clock_ms + self.between_ms(2 * SECOND_MS, 6 * SECOND_MS);
        if self.world.plan.outage(self.channel(), at_ms).is_some() {
            return false;
        }
        let resolves_p = if self.annoyance > 1.0 { 0.05 } else { BOT_RESOLVES_P };
        if self.chance(resolves_p) {
            self.say(at_ms, Actor::Bot, TextKind::BotAnswer);
            if self.chance(0.4) {
                let thanks_ms = self.clock_ms + self.between_ms(15 * SECOND_MS, 90 * SECOND_MS);
                self.say(thanks_ms, Actor::Customer, TextKind::CustomerThanks);
            }
            self.change_status(self.clock_ms + 2 * MINUTE_MS, Actor::Bot, Status::Resolved);
            self.survey(None);
            return true;
        }
        let reason = if self.annoyance > 1.0 { "customer_request" } else { "no_answer" };
        self.say(at_ms, Actor::Bot, TextKind::BotHandoff);
        self.emit_after(500, Actor::Bot, Body::BotHandoff { reason });
        false
    }

    /// Queue, answer and first reply; false if the customer gives up.
    fn wait_in_queue(&mut self) -> bool {
        let profile = self.profile();
        let since_ms = self.clock_ms;
        let queued_ms = self.emit_after(200, Actor::System, Body::Queued);
        let (agent, free_ms) = self.world.roster.pick(self.channel(), queued_ms, self.rng);
        let reply_ms = self.reply_ms(agent, free_ms, profile.first_reply);
        // Clients know that nobody is there at night and leave their question.
        let leaves_message = free_ms > queued_ms;
        let patience_ms = self.sample_ms(profile.patience);
        let gives_up = reply_ms - queued_ms > patience_ms && !leaves_message;
        let asks_ms = queued_ms + (patience_ms as f64 * 0.6) as i64;
        if asks_ms < reply_ms && !leaves_message && self.chance(ASK_AGAIN_P) {
            self.annoyance += 0.5;
            self.say(asks_ms, Actor::Customer, TextKind::CustomerWaiting);
        }
        if gives_up {
            self.emit(queued_ms + patience_ms, Actor::Customer, Body::Dequeued { reason: "abandoned" });
            self.close_unanswered(DAY_MS);
            return false;
        }
        let answer_ms = reply_ms - ((reply_ms - free_ms).clamp(0, 20 * MINUTE_MS) as f64 * TYPING_SHARE) as i64;
        // Answered after an outage, not in it.
        let answer_ms = self.world.plan.after_outage(self.channel(), answer_ms, self.rng);
        self.emit(answer_ms, Actor::System, Body::Dequeued { reason: "answered" });
        self.assign(self.clock_ms + 50, agent);
        let kind = self.reply_kind();
        let replied_ms = self.say(reply_ms, Actor::Agent(agent), kind);
        if !leaves_message {
            self.feel_wait(replied_ms - since_ms, profile.first_reply);
        }
        true
    }
}
