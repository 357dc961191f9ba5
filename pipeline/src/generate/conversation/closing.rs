//! How conversations end: thanks, resolve, survey, rating, and sometimes all over again.

use rand_distr::{Distribution, StandardNormal};

use super::script::Script;
use crate::generate::channel::{Channel, Spread};
use crate::generate::event::{Actor, Body, Status};
use crate::generate::roster::AgentIndex;
use crate::generate::text::TextKind;
use crate::generate::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};

/// Share of resolves that are followed by a reopen.
const REOPEN_P: f64 = 0.06;
/// Most cycles of a conversation.
const MOST_CYCLES: u16 = 3;
/// Share of conversations that nobody closes.
const LEFT_OPEN_P: f64 = 0.025;
/// Time from a survey to its rating.
const RATING_DELAY: Spread = Spread { median_ms: 40 * MINUTE_MS, sigma: 1.3 };
/// Time from a resolve to a reopen.
const REOPEN_DELAY: Spread = Spread { median_ms: 20 * HOUR_MS, sigma: 0.9 };
/// Longest delay of a rating or reopen; bounds how long a conversation is carried.
const MOST_DELAY_MS: i64 = 6 * DAY_MS;

impl Script<'_> {
    /// Thanks, resolve, survey and reopens.
    pub(super) fn close(&mut self) {
        if self.chance(LEFT_OPEN_P) {
            return;
        }
        loop {
            self.say_thanks();
            let Some(agent) = self.owner else { return };
            self.resolve(agent);
            self.survey(Some(agent));
            let reopen_p = REOPEN_P * (1.0 + 0.5 * self.annoyance);
            if self.cycle == MOST_CYCLES || !self.chance(reopen_p) || !self.reopen(agent) {
                return;
            }
        }
    }

    /// A content customer often says so, before the conversation is closed.
    fn say_thanks(&mut self) {
        let thanks_p = 0.45 - 0.4 * self.annoyance;
        if self.channel() == Channel::Voice || !self.chance(thanks_p) {
            return;
        }
        let pause_ms = self.sample_ms(self.profile().customer_reply).min(DAY_MS);
        self.say(self.clock_ms + pause_ms, Actor::Customer, TextKind::CustomerThanks);
        let Some(agent) = self.owner else { return };
        if self.chance(0.3) {
            let reply_ms = self.reply_ms(agent, self.clock_ms, self.profile().next_reply);
            self.say(reply_ms, Actor::Agent(agent), TextKind::AgentClosing);
        }
    }

    fn resolve(&mut self, agent: AgentIndex) {
        let (least_ms, most_ms) =
            if self.channel().is_live() { (5 * SECOND_MS, 2 * MINUTE_MS) } else { (MINUTE_MS, 3 * HOUR_MS) };
        let at_ms = self.clock_ms + self.between_ms(least_ms, most_ms);
        let at_ms = self.world.plan.after_outage(self.channel(), at_ms, self.rng);
        self.change_status(at_ms, Actor::Agent(agent), Status::Resolved);
    }

    /// A conversation that nobody answered: a rule closes half of them after `idle_ms`, the others stay open.
    pub(super) fn close_unanswered(&mut self, idle_ms: i64) {
        if self.chance(0.5) {
            self.change_status(self.clock_ms + idle_ms, Actor::Automation, Status::Resolved);
        }
    }

    /// Perhaps a survey, perhaps a rating. No agent: the bot is rated.
    pub(super) fn survey(&mut self, agent: Option<AgentIndex>) {
        let profile = self.profile();
        if !self.chance(profile.survey_p) {
            return;
        }
        let survey = self.cycle;
        self.emit_after(30 * SECOND_MS, Actor::Automation, Body::CsatSent { survey, agent });
        // Who is angry likes to say so.
        if !self.chance(profile.rating_p * (1.0 + 0.25 * self.annoyance)) {
            return;
        }
        let rating = self.rating(agent);
        let text = if self.chance(0.35) {
            let kind = match rating {
                ..=2 => TextKind::RatingBad,
                3 => TextKind::RatingMixed,
                _ => TextKind::RatingGood,
            };
            Some(self.text(kind))
        } else {
            None
        };
        let delay_ms = self.sample_ms(RATING_DELAY).clamp(20 * SECOND_MS, MOST_DELAY_MS);
        self.emit_after(delay_ms, Actor::Customer, Body::CsatRated { survey, agent, rating, text });
    }

    /// A rating of 1 to 5, by annoyance and the agent's quality.
    fn rating(&mut self, agent: Option<AgentIndex>) -> i64 {
        let quality = agent.map_or(-0.3, |agent| self.world.roster.agent(agent).quality);
        let noise: f64 = StandardNormal.sample(self.rng);
        (4.4 + 0.35 * quality - 1.0 * self.annoyance + 0.7 * noise).round().clamp(1.0, 5.0) as i64
    }

    /// The customer comes back; false if nobody takes the call.
    fn reopen(&mut self, agent: AgentIndex) -> bool {
        let delay_ms = self.sample_ms(REOPEN_DELAY).clamp(HOUR_MS, MOST_DELAY_MS);
        self.cycle += 1;
        self.annoyance += 0.6;
        if self.channel() == Channel::Voice {
            self.change_status(self.clock_ms + delay_ms, Actor::System, Status::Open);
            return self.call();
        }
        let asked_ms = self.say(self.clock_ms + delay_ms, Actor::Customer, TextKind::CustomerReturns);
        self.change_status(self.clock_ms + 150, Actor::System, Status::Open);
        // Whoever is on duty takes a chat; correspondence waits for its agent.
        let (agent, free_ms) = if self.channel().is_live() {
            self.world.roster.pick(self.channel(), self.clock_ms, self.rng)
        } else {
            (agent, self.clock_ms)
        };
        let usual = self.profile().next_reply;
        let reply_ms = self.reply_ms(agent, free_ms, usual);
        self.receive_reply(asked_ms, reply_ms, agent, usual);
        self.exchange();
        true
    }
}
