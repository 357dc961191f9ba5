//! From a raw row to a delivery of an event, or to the reason why it cannot be used.

use super::labels::has_bad_weight;
use super::opening::{are_statuses, holidays, pause_statuses, ranges};
use super::{Line, Row};
use crate::clock;
use chrono_tz::Tz;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Who an event is, over all its deliveries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) tenant: String,
    pub(super) source: String,
    pub(super) event_id: String,
}

/// A usable row.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) identity: Identity,
    pub(super) version: i64,
    /// What it says happened; `None` for a retraction.
    pub(super) content: Option<Content>,
    /// When it arrived.
    pub(super) ingest: Option<i64>,
}

/// What an event says: two deliveries with equal content are the same event.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Content {
    pub(super) time: i64,
    pub(super) kind: String,
    /// The other columns that are not null. `ingest_time` is none of them.
    pub(super) columns: BTreeMap<String, Value>,
}

/// An event that stands after all deliveries.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) identity: Identity,
    pub(super) content: Content,
    /// When it first arrived.
    pub(super) ingest: Option<i64>,
}

/// A row that cannot be used; parts of the identity it does not tell are `None`.
#[derive(Clone, Debug)]
pub(super) struct Reject {
    pub(super) reason: &'static str,
    pub(super) tenant: Option<String>,
    pub(super) source: Option<String>,
    pub(super) event_id: Option<String>,
    pub(super) version: i64,
}

impl Event {
    /// A text column.
    pub(super) fn text(&self, column: &str) -> Option<&str> {
        self.content.columns.get(column).and_then(Value::as_str)
    }

    /// An integer column.
    pub(super) fn int(&self, column: &str) -> Option<i64> {
        self.content.columns.get(column).and_then(Value::as_i64)
    }

    pub(super) fn is(&self, kind: &str) -> bool {
        self.content.kind == kind
    }

    pub(super) fn time(&self) -> i64 {
        self.content.time
    }

    /// Place in the order inside a conversation.
    pub(super) fn order(&self) -> (i64, &str, &str) {
        (self.content.time, &self.identity.source, &self.identity.event_id)
    }
}

/// Types that are about one conversation and must name it.
pub(super) const CONVERSATION_TYPES: [&str; 24] = [
    "conversation_created",
    "message_created",
    "message_edited",
    "message_deleted",
    "status_changed",
    "queued",
    "dequeued",
    "assigned",
    "transferred",
    "segment_started",
    "segment_held",
    "segment_ended",
    "acw_started",
    "acw_ended",
    "bot_handoff",
    "csat_sent",
    "csat_rated",
    "sla_applied",
    "sla_removed",
    "tagged",
    "untagged",
    "merged",
    "spam_marked",
    "spam_cleared",
];
/// Types about something else.
const OTHER_TYPES: [&str; 7] = [
    "agent_status_changed",
    "agent_upserted",
    "calendar_upserted",
    "sla_policy_upserted",
    "qa_label",
    "score_label",
    "erasure_requested",
];
const TEXT_COLUMNS: [&str; 38] = [
    "tenant_id",
    "source",
    "event_id",
    "event_type",
    "op",
    "conversation_id",
    "contact_id",
    "channel",
    "queue_id",
    "team_id",
    "inbox_id",
    "actor_type",
    "actor_id",
    "priority",
    "direction",
    "message_id",
    "visibility",
    "content_type",
    "text",
    "language",
    "reason",
    "from_status",
    "to_status",
    "agent_id",
    "transfer_kind",
    "from_agent_id",
    "segment_id",
    "survey_id",
    "policy_id",
    "label",
    "target_conversation_id",
    "status",
    "calendar_id",
    "timezone",
    "rater",
    "pause_statuses",
    "ranges",
    "holidays",
];
const INTEGER_COLUMNS: [&str; 10] = [
    "source_version",
    "begin_offset_ms",
    "end_offset_ms",
    "duration_ms",
    "rating",
    "rating_scale",
    "capacity",
    "first_response_target_ms",
    "next_response_target_ms",
    "resolution_target_ms",
];
/// Of conversations.
pub(super) const STATUSES: &[&str] = &["new", "open", "pending", "on_hold", "snoozed", "resolved", "closed"];
const ENUMS: [(&str, &[&str]); 6] = [
    ("actor_type", &["customer", "agent", "bot", "automation", "system"]),
    ("direction", &["inbound", "outbound"]),
    ("visibility", &["public", "private"]),
    ("from_status", STATUSES),
    ("to_status", STATUSES),
    ("transfer_kind", &["cold", "warm", "external"]),
];
/// Columns without which an event of a type says nothing (rule 49).
const REQUIRED: [(&str, &[&str]); 6] = [
    ("calendar_upserted", &["calendar_id", "timezone", "ranges"]),
    ("sla_policy_upserted", &["policy_id"]),
    ("agent_upserted", &["agent_id"]),
    ("agent_status_changed", &["agent_id", "status"]),
    ("sla_applied", &["policy_id"]),
    ("merged", &["target_conversation_id"]),
];
const DEQUEUE_REASONS: &[&str] = &["answered", "abandoned", "callback", "flow_out"];
const PRESENCE: &[&str] = &["available", "busy", "away", "offline"];
const TARGETS: [&str; 3] = ["first_response_target_ms", "next_response_target_ms", "resolution_target_ms"];

/// Reads one row.
pub(super) fn read(row: &Row) -> Result<Delivery, Reject> {
    let unknown = |reason| Reject { reason, tenant: None, source: None, event_id: None, version: 0 };
    let Line::Json(Value::Object(fields)) = &row.line else { return Err(unknown("malformed_json")) };
    let text = |column: &str| fields.get(column).and_then(Value::as_str).map(str::to_owned);
    let version = fields.get("source_version").and_then(Value::as_i64).unwrap_or(0);
    let (tenant, source, event_id) = (text("tenant_id"), text("source"), text("event_id"));
    let (Some(tenant_id), Some(source_id), Some(id)) = (&tenant, &source, &event_id) else {
        let reason = wrong_type(fields).unwrap_or("missing_field");
        return Err(Reject { reason, tenant, source, event_id, version });
    };
    let identity = Identity { tenant: tenant_id.clone(), source: source_id.clone(), event_id: id.clone() };
    match content(fields) {
        Ok(content) => {
            let ingest = fields.get("ingest_time").and_then(read_time);
            Ok(Delivery { identity, version, content, ingest })
        }
        Err(reason) => Err(Reject { reason, tenant, source, event_id, version }),
    }
}

/// The content of a row; `None` for a retraction, of which only the identity columns matter.
fn content(fields: &Map<String, Value>) -> Result<Option<Content>, &'static str> {
    match fields.get("op").filter(|op| !op.is_null()) {
        Some(op) if op == "retract" => return Ok(None),
        Some(op) if op != "assert" => return Err("unknown_enum"),
        _ => {}
    }
    wrong_type(fields).map_or(Ok(()), Err)?;
    let present = |column: &str| fields.get(column).is_some_and(|value| !value.is_null());
    if !present("event_type") || !present("event_time") {
        return Err("missing_field");
    }
    let kind = fields["event_type"].as_str().ok_or("bad_type")?;
    if !CONVERSATION_TYPES.contains(&kind) && !OTHER_TYPES.contains(&kind) {
        return Err("unknown_event_type");
    }
    if CONVERSATION_TYPES.contains(&kind) && !present("conversation_id") {
        return Err("missing_field");
    }
    let required = REQUIRED.iter().filter(|(of, _)| *of == kind).flat_map(|(_, columns)| *columns);
    if !required.copied().all(present) {
        return Err("missing_field");
    }
    let time = read_time(&fields["event_time"]).ok_or("bad_time")?;
    if present("ingest_time") && read_time(&fields["ingest_time"]).is_none() {
        return Err("bad_time");
    }
    unknown_value(kind, fields).map_or(Ok(()), Err)?;
    out_of_range(kind, time, fields).map_or(Ok(()), Err)?;
    Ok(Some(Content { time, kind: kind.to_owned(), columns: other_columns(fields) }))
}

fn wrong_type(fields: &Map<String, Value>) -> Option<&'static str> {
    fields.iter().find_map(|(column, value)| {
        let right = value.is_null()
            // These three are written as lists or as text, depending on the source.
            || ["pause_statuses", "ranges", "holidays"].contains(&column.as_str())
            || (!TEXT_COLUMNS.contains(&column.as_str()) || value.is_string())
                && (!INTEGER_COLUMNS.contains(&column.as_str()) || value.is_i64());
        (!right).then_some("bad_type")
    })
}

fn read_time(value: &Value) -> Option<i64> {
    // Sources without integers write those milliseconds as a text.
    value.as_i64().or_else(|| {
        let text = value.as_str()?;
        text.parse().ok().or_else(|| clock::parse(text))
    })
}

/// A name that is not in its list: in any type of event, then in those of one type.
fn unknown_value(kind: &str, fields: &Map<String, Value>) -> Option<&'static str> {
    let text = |column: &str| fields.get(column).and_then(Value::as_str);
    let is_unknown = |column: &str, known: &[&str]| text(column).is_some_and(|value| !known.contains(&value));
    let unknown = ENUMS.iter().any(|(column, known)| is_unknown(column, known))
        || match kind {
            "dequeued" => is_unknown("reason", DEQUEUE_REASONS),
            "agent_status_changed" => is_unknown("status", PRESENCE),
            "calendar_upserted" => text("timezone").is_some_and(|zone| zone.parse::<Tz>().is_err()),
            "sla_policy_upserted" => {
                let pauses = fields.get("pause_statuses").and_then(pause_statuses);
                pauses.is_some_and(|pauses| !are_statuses(&pauses))
            }
            _ => false,
        };
    unknown.then_some("unknown_enum")
}

fn out_of_range(kind: &str, time: i64, fields: &Map<String, Value>) -> Option<&'static str> {
    const YEAR_2100_MS: i64 = 4_102_444_800_000;
    if !(0..YEAR_2100_MS).contains(&time) {
        return Some("out_of_range");
    }
    let int = |column: &str| fields.get(column).and_then(Value::as_i64);
    let scale = int("rating_scale").unwrap_or(5);
    let rating_fits = int("rating").is_none_or(|rating| scale >= 2 && (1..=scale).contains(&rating));
    let value = |column: &str| fields.get(column).filter(|value| !value.is_null());
    let fits = match kind {
        "csat_rated" => rating_fits,
        "calendar_upserted" => {
            value("ranges").is_none_or(|value| ranges(value).is_some())
                && value("holidays").is_none_or(|value| holidays(value).is_some())
        }
        "sla_policy_upserted" => {
            value("pause_statuses").is_none_or(|value| pause_statuses(value).is_some())
                && TARGETS.iter().all(|target| int(target).is_none_or(|target| target >= 0))
        }
        _ => !has_bad_weight(kind, fields),
    };
    (!fits).then_some("out_of_range")
}

/// The known columns beyond those with a meaning of their own. A column the contract does not name is no content.
fn other_columns(fields: &Map<String, Value>) -> BTreeMap<String, Value> {
    let apart = ["tenant_id", "source", "event_id", "event_type", "event_time", "ingest_time", "source_version", "op"];
    let further = ["attributes", "business_hours", "value"];
    fields
        .iter()
        .filter(|(column, value)| {
            let column = column.as_str();
            let known =
                TEXT_COLUMNS.contains(&column) || INTEGER_COLUMNS.contains(&column) || further.contains(&column);
            known && !apart.contains(&column) && !value.is_null()
        })
        .map(|(column, value)| (column.clone(), value.clone()))
        .collect()
}
