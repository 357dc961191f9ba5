//! Dimensions: what is true of agents, calendars and policies from a time on, as told by events outside conversations.
//!
//! A dimension row is valid from its event time until the next row of the same thing; rows are corrected and retracted
//! like any event, so history can be restated under other opening hours or targets.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::business::ScheduleDefinition;
use crate::clock::TimeMs;
use crate::event::Status;
use crate::symbol::Symbol;

/// Presence of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Presence {
    /// Ready for a contact.
    Available,
    /// At work, but not ready.
    Busy,
    /// On a break.
    Away,
    /// Not at work.
    Offline,
}

impl Presence {
    /// The presence with this name in the input.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "available" => Some(Self::Available),
            "busy" => Some(Self::Busy),
            "away" => Some(Self::Away),
            "offline" => Some(Self::Offline),
            _ => None,
        }
    }
}

/// A set of conversation statuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StatusSet(u8);

impl StatusSet {
    /// Adds a status.
    pub fn insert(&mut self, status: Status) {
        self.0 |= 1 << status as u8;
    }

    /// The set of these statuses.
    pub fn of(statuses: &[Status]) -> Self {
        let mut set = Self::default();
        statuses.iter().for_each(|status| set.insert(*status));
        set
    }

    /// Every other status.
    pub fn complement(self) -> Self {
        Self(!self.0)
    }

    /// The names of the statuses in it.
    pub fn names(self) -> Vec<&'static str> {
        Status::ALL.iter().filter(|status| self.contains(**status)).map(|status| status.as_str()).collect()
    }

    /// True when `status` is in it.
    pub fn contains(self, status: Status) -> bool {
        self.0 & (1 << status as u8) != 0
    }
}

/// What an SLA policy promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlaTargets {
    /// For the first response of a cycle, ms.
    pub first_response_ms: Option<i64>,
    /// For every further response, ms.
    pub next_response_ms: Option<i64>,
    /// For the resolve of a cycle, ms.
    pub resolution_ms: Option<i64>,
    /// The clock runs in business time.
    pub business_hours: bool,
    /// The clock stands still in these statuses.
    pub pauses: StatusSet,
}

/// A row of a dimension.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Dimension {
    /// `agent_upserted`.
    Agent {
        /// The agent.
        agent: Symbol,
        /// Team, from now on.
        team: Option<Symbol>,
    },
    /// `calendar_upserted`.
    Calendar {
        /// The calendar.
        calendar: Symbol,
        /// The team it applies to, if it is for one.
        team: Option<Symbol>,
        /// The channel it applies to, if it is for one.
        channel: Option<Symbol>,
        /// Opening hours.
        schedule: ScheduleDefinition,
    },
    /// `sla_policy_upserted`.
    Policy {
        /// The policy.
        policy: Symbol,
        /// What it promises.
        targets: SlaTargets,
    },
    /// `agent_status_changed`.
    Presence {
        /// The agent.
        agent: Symbol,
        /// Presence, from now on.
        presence: Presence,
    },
}

/// An event that states a dimension.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DimensionEvent {
    /// `tenant_id`.
    pub tenant: Symbol,
    /// Valid from.
    pub time_ms: TimeMs,
    /// `source`.
    pub source: Symbol,
    /// `event_id`.
    pub event_id: CompactString,
    /// What it states.
    pub dimension: Dimension,
}

impl DimensionEvent {
    /// The contract's order: event_time, source, event_id.
    pub fn order(&self) -> (TimeMs, &'static str, &str) {
        (self.time_ms, self.source.as_str(), &self.event_id)
    }
}

/// An event that merges a conversation into another of its tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MergeEvent {
    /// `tenant_id`.
    pub tenant: Symbol,
    /// The conversation that is merged.
    pub conversation: Symbol,
    /// The conversation it is merged into.
    pub target: Symbol,
    /// When.
    pub time_ms: TimeMs,
    /// `source`.
    pub source: Symbol,
    /// `event_id`.
    pub event_id: CompactString,
}
