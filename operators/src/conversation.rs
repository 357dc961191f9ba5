//! Conversations: from changes of histories to facts, KPI contributions, levels and turns.
//!
//! The state is one packed [`History`] per conversation. A change unpacks it, computes the [`View`] before and after, and
//! sends only the difference; views themselves are never stored. That makes every output exact under corrections by
//! construction: a view is a pure function of the net events, and differences of pure functions telescope.

mod difference;
mod explain;
mod fold;
mod history;
mod operator;
mod preparation;
mod settled;
mod store;
mod unplaced;
mod view;

pub use difference::Differences;
pub use fold::{moved_events, view, void_view};
pub use history::{Change, History, apply, order};
pub use operator::{Conversations, ConversationsInput, Histories, Stage, conversations};
pub use settled::Settled;
pub use unplaced::message_hash;
pub use view::{ContactResolve, ContactVisit, Context, Credit, Credited, LevelChange, View, Wait};

use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::event::mix;
use contactflow_schemas::facts::Group;
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tally::KpiId;
use serde::{Deserialize, Serialize};

use std::sync::Arc;

use crate::causes::EventRef;

/// A level of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LevelKey {
    /// Whose.
    pub group: Group,
    /// Which level.
    pub kpi: KpiId,
}

impl LevelKey {
    /// A hash that is the same in every process, for routing.
    pub fn stable_hash(&self) -> u64 {
        mix(self.group.stable_hash() ^ u64::from(self.kpi))
    }
}

/// A change of a level: (which, from when, by how much).
pub type LevelUpdate = (LevelKey, TimeMs, i64);

/// A customer who begins (1) or ceases (−1) to wait: (group, first unanswered message, difference).
pub type WaitUpdate = (Group, TimeMs, i64);

/// Events that caused something, shared by everything they caused.
pub type EventRefs = Arc<[EventRef]>;

/// What a conversation is to the others of its contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VisitUpdate {
    /// Tenant.
    pub tenant: Symbol,
    /// The conversation.
    pub visit: ContactVisit,
    /// 1 or −1.
    pub diff: i64,
    /// Events that caused the change, where they explain a restatement.
    pub events: Vec<EventRef>,
}
