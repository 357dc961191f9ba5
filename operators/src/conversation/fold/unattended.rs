//! Rule 21: whether a conversation counts as unattended, and for whom.

use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::symbol::Symbol;

use super::Fold;
use crate::conversation::view::{LevelChange, UNATTENDED_MAX_MS};

/// A stretch of being unattended (rule 21).
#[derive(Clone, Copy)]
pub(super) struct Unattended {
    /// Whose level counts it.
    agent: Option<Symbol>,
    pub(super) since_ms: TimeMs,
    /// It lasted too long and counts no more.
    pub(super) given_up: bool,
}

impl Fold<'_> {
    fn change_level(&mut self, time_ms: TimeMs, agent: Option<Symbol>, delta: i64) {
        self.view.levels.push(LevelChange { time_ms, agent, delta });
    }

    /// Rule 21: keeps the unattended level in step with the state after an event at `time_ms`.
    pub(super) fn update_unattended(&mut self, time_ms: TimeMs) {
        // Events before the creation act at the creation.
        let time_ms = time_ms.max(self.created_ms);
        self.give_up_unattended(time_ms);
        let before = self.unattended;
        let agent = (!self.resolved && !self.replied).then_some(self.owner);
        if agent == before.map(|stretch| stretch.agent) {
            return;
        }
        if let Some(stretch) = before.filter(|stretch| !stretch.given_up) {
            self.change_level(time_ms, stretch.agent, -1);
        }
        self.unattended = agent.map(|agent| {
            // A change of owner goes on with the stretch.
            let stretch = before.unwrap_or(Unattended { agent, since_ms: time_ms, given_up: false });
            Unattended { agent, ..stretch }
        });
        if let Some(stretch) = self.unattended.filter(|stretch| !stretch.given_up) {
            self.change_level(time_ms, stretch.agent, 1);
        }
    }

    /// Ends the level of a stretch that is too long by `time_ms`.
    pub(super) fn give_up_unattended(&mut self, time_ms: TimeMs) {
        let Some(stretch) = self.unattended.filter(|stretch| !stretch.given_up) else { return };
        let given_up_ms = stretch.since_ms + UNATTENDED_MAX_MS;
        if time_ms > given_up_ms {
            self.change_level(given_up_ms, stretch.agent, -1);
            self.unattended = Some(Unattended { given_up: true, ..stretch });
        }
    }
}
