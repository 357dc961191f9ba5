//! What follows from the history of one conversation.

use contactflow_schemas::catalogue::Moment;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::facts::{CycleFacts, Turn};
use contactflow_schemas::reject::Reject;
use contactflow_schemas::symbol::Symbol;

/// τ of rule 20: how long a customer message may stay without reply before the dialogue counts as silent, ms.
pub const SILENCE_AFTER_MS: i64 = 24 * 3_600_000;

/// Rule 21: how long a conversation may be unattended before it is given up and leaves the level, ms.
pub const UNATTENDED_MAX_MS: i64 = 30 * 24 * 3_600_000;

/// A moment, when it happened, and who is credited with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Credit {
    /// Event time.
    pub time_ms: TimeMs,
    /// The agent, or nobody.
    pub agent: Option<Symbol>,
    /// What happened.
    pub moment: Moment,
}

/// A change of the number of unattended conversations of an agent (or of nobody).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LevelChange {
    /// From when.
    pub time_ms: TimeMs,
    /// Whose level.
    pub agent: Option<Symbol>,
    /// +1 or −1.
    pub delta: i64,
}

/// Everything that follows from the history of one conversation as of one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The conversation's channel; none when it never opened.
    pub channel: Option<Symbol>,
    /// One entry per cycle.
    pub facts: Vec<CycleFacts>,
    /// What KPIs count.
    pub credits: Vec<Credit>,
    /// The unattended level.
    pub levels: Vec<LevelChange>,
    /// Messages to score.
    pub turns: Vec<Turn>,
    /// Rows that turned out to be unusable.
    pub rejects: Vec<Reject>,
    /// The view changes when as_of passes one of these times.
    pub deadlines_ms: Vec<TimeMs>,
}
