//! What follows from the history of one conversation.

use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::facts::{CycleFacts, LabelledText, Turn};
use contactflow_schemas::reject::Reject;
use contactflow_schemas::rules::KpiRules;
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tally::KpiId;
use contactflow_schemas::windows::{Window, Windows};
use serde::{Deserialize, Serialize};

use crate::dimensions::TenantDimensions;

/// What a view depends on besides the events of its conversation.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Thresholds.
    pub rules: &'a KpiRules,
    /// Windows of the tables.
    pub windows: &'a Windows,
    /// The tenant's dimensions.
    pub dimensions: &'a TenantDimensions,
    /// Latest event time.
    pub as_of_ms: TimeMs,
}

/// Who is credited, within the conversation's tenant and channel (rule 27).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Credited {
    /// The agent, or nobody.
    pub agent: Option<Symbol>,
    /// Team.
    pub team: Option<Symbol>,
    /// Queue.
    pub queue: Option<Symbol>,
}

/// A value of a KPI, when it happened, and who is credited with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Credit {
    /// Event time.
    pub time_ms: TimeMs,
    /// The window it counts in: [`Window::Hour`] for everything that adds up over time.
    pub window: Window,
    /// Whose.
    pub credited: Credited,
    /// The KPI.
    pub kpi: KpiId,
    /// Its value.
    pub value: i64,
    /// The value of a duration in business time, where there is one.
    pub business_ms: Option<i64>,
}

/// A change of a level: so many conversations more or fewer from a time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LevelChange {
    /// From when.
    pub time_ms: TimeMs,
    /// Whose level.
    pub credited: Credited,
    /// Which level.
    pub kpi: KpiId,
    /// +1 or −1.
    pub delta: i64,
}

/// A customer who waits for an answer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wait {
    /// Who is in charge.
    pub credited: Credited,
    /// The first unanswered message.
    pub since_ms: TimeMs,
}

/// A resolve, as the contact's other conversations need it (rule 38).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContactResolve {
    /// When.
    pub time_ms: TimeMs,
    /// Who is credited.
    pub credited: Credited,
    /// Reopened soon enough to count against it.
    pub reopened: bool,
}

/// One conversation of a contact.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContactVisit {
    /// Who; none when the source does not say.
    pub contact: Option<Symbol>,
    /// The conversation.
    pub conversation: Symbol,
    /// Its channel.
    pub channel: Symbol,
    /// Its creation.
    pub created_ms: TimeMs,
    /// Its resolves, in order.
    pub resolves: Vec<ContactResolve>,
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
    /// Levels.
    pub levels: Vec<LevelChange>,
    /// Its customer, if waiting.
    pub wait: Option<Wait>,
    /// Messages to score.
    pub turns: Vec<Turn>,
    /// Messages whose true class somebody has told.
    pub labelled: Vec<LabelledText>,
    /// Rows that turned out to be unusable.
    pub rejects: Vec<Reject>,
    /// What it is to its contact's other conversations.
    pub visit: Option<ContactVisit>,
    /// The view changes when as_of passes one of these times, in either direction: as_of goes back when the latest event
    /// is taken back, so times that it has passed are among them.
    pub deadlines_ms: Vec<TimeMs>,
    /// A measure of an SLA is open: when it falls due depends on policies and calendars to come.
    pub is_measured: bool,
}
