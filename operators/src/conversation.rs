//! Conversations: from changes of histories to facts, KPI contributions, levels and turns.
//!
//! The state is one packed [`History`] per conversation. A change unpacks it, computes the [`View`] before and after, and
//! sends only the difference; views themselves are never stored. That makes every output exact under corrections by
//! construction: a view is a pure function of the net events, and differences of pure functions telescope.

mod difference;
mod fold;
mod history;
mod operator;
mod preparation;
mod view;

pub use difference::Differences;
pub use fold::view;
pub use history::{Change, History, apply, order};
pub use operator::{AsOf, Conversations, conversations};
pub use view::{Credit, LevelChange, SILENCE_AFTER_MS, UNATTENDED_MAX_MS, View};

use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::symbol::Symbol;
use serde::{Deserialize, Serialize};

/// A change of a gauge: conversations of one group, from a time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GaugeGroup {
    /// Tenant.
    pub tenant: Symbol,
    /// Channel.
    pub channel: Symbol,
    /// Agent, or nobody.
    pub agent: Option<Symbol>,
}

impl GaugeGroup {
    /// A hash that is the same in every process, for routing.
    pub fn stable_hash(&self) -> u64 {
        let agent = self.agent.map_or(0, Symbol::stable_hash);
        contactflow_schemas::event::mix(self.tenant.stable_hash() ^ self.channel.stable_hash().rotate_left(21))
            ^ contactflow_schemas::event::mix(agent)
    }
}

/// (group, from when, by how much).
pub type GaugeChange = (GaugeGroup, TimeMs, i64);
