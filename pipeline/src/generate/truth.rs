//! What was planted and how much was written: the answer sheet of a generated data set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The kind of a planted incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentKind {
    /// Nobody on one channel is answered or replied to for four hours of a weekday; customers keep writing.
    QueueOutage,
    /// One agent takes six times as long to reply, for two consecutive days.
    SlowAgent,
    /// Three times the usual arrivals on one channel for three hours, most of them angry, with low ratings.
    AngryBurst,
    /// No event at all on a normally busy channel for six daytime hours.
    SilentChannel,
}

/// One planted incident, labelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Identifier, unique within the data set, in order of `start_ms`.
    pub id: String,
    /// What kind of incident.
    pub kind: IncidentKind,
    /// The tenant it happens to.
    pub tenant_id: String,
    /// The channel it happens on.
    pub channel: String,
    /// The agent it happens to; null where a whole channel is affected.
    pub agent_id: Option<String>,
    /// Start (inclusive), milliseconds since the Unix epoch, UTC.
    pub start_ms: i64,
    /// End (exclusive), milliseconds since the Unix epoch, UTC.
    pub end_ms: i64,
    /// KPI columns in which it should show.
    pub kpi_hints: Vec<String>,
    /// One sentence for a person.
    pub description: String,
}

/// Counts and labels of one generated data set.
///
/// `rows` = `events` + `duplicates` + `retracts` + `malformed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// The tenant of every event.
    pub tenant_id: String,
    /// The seed.
    pub seed: u64,
    /// First day, `YYYY-MM-DD`, UTC.
    pub start_date: String,
    /// Days of the span.
    pub days: u32,
    /// Conversations that start in the span.
    pub conversations: u64,
    /// Conversations that start in the span, per channel.
    pub conversations_by_channel: BTreeMap<String, u64>,
    /// Distinct valid events delivered, retracted ones included.
    pub events: u64,
    /// `message_created` events among them, retracted ones included.
    pub messages: u64,
    /// Rows written to event files.
    pub rows: u64,
    /// Rows that repeat an earlier one (but for `ingest_time`).
    pub duplicates: u64,
    /// Rows delivered at least an hour after they happened.
    pub late: u64,
    /// `message_edited` events.
    pub edits: u64,
    /// Rows with `op=retract`, each of a stray message delivered before.
    pub retracts: u64,
    /// `csat_rated` events which revise an earlier rating of the same survey.
    pub rating_revisions: u64,
    /// Rows that must be rejected.
    pub malformed: u64,
    /// Event files written.
    pub files: u64,
    /// The planted incidents by `start_ms`.
    pub incidents: Vec<Incident>,
}
