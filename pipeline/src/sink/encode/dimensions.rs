//! `dimensions`: every version of an agent, calendar and policy, with the time in which it is in force.

use bytes::Bytes;
use contactflow_schemas::dimension::{Dimension, DimensionEvent};
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tables::Table;
use serde_json::{Value, json};

use super::EncodeError;
use super::writer::TableWriter;

/// Kind and id of the thing that a row is a version of.
fn identity(row: &DimensionEvent) -> (&'static str, &'static str) {
    match &row.dimension {
        Dimension::Agent { agent, .. } => ("agent", agent.as_str()),
        Dimension::Calendar { calendar, .. } => ("calendar", calendar.as_str()),
        Dimension::Policy { policy, .. } => ("sla_policy", policy.as_str()),
        Dimension::Presence { agent, .. } => ("presence", agent.as_str()),
    }
}

/// What a version states.
fn attributes(dimension: &Dimension) -> Value {
    let text = |symbol: Option<Symbol>| symbol.map(Symbol::as_str);
    match dimension {
        Dimension::Agent { team, .. } => json!({ "team_id": text(*team) }),
        Dimension::Calendar { team, channel, schedule, .. } => json!({
            "team_id": text(*team),
            "channel": text(*channel),
            "timezone": schedule.timezone(),
            "ranges_minutes": schedule.week(),
            "holidays_days": schedule.holidays(),
        }),
        Dimension::Policy { targets, .. } => json!({
            "first_response_target_ms": targets.first_response_ms,
            "next_response_target_ms": targets.next_response_ms,
            "resolution_target_ms": targets.resolution_ms,
            "business_hours": targets.business_hours,
            "pause_statuses": targets.pauses.names(),
        }),
        Dimension::Presence { .. } => json!({}),
    }
}

/// Encodes all dimensions, by tenant, kind, id and time. Of versions with one time the last in order is in force; the
/// others are for no time at all.
///
/// # Errors
/// Only those of the Parquet writer.
pub fn encode_dimensions(mut rows: Vec<DimensionEvent>) -> Result<Bytes, EncodeError> {
    rows.sort_by(|left, right| {
        let key = |row: &DimensionEvent| (row.tenant.as_str(), identity(row));
        key(left).cmp(&key(right)).then_with(|| left.order().cmp(&right.order()))
    });
    let mut writer = TableWriter::new(Table::Dimensions, rows.len())?;
    for (position, row) in rows.iter().enumerate() {
        let next = rows.get(position + 1);
        let next = next.filter(|next| next.tenant == row.tenant && identity(next) == identity(row));
        let (kind, id) = identity(row);
        writer.text(row.tenant.as_str());
        writer.text(kind);
        writer.text(id);
        writer.time(row.time_ms);
        writer.time(next.map(|next| next.time_ms));
        writer.text(attributes(&row.dimension).to_string().as_str());
        writer.text(row.source.as_str());
        writer.text(row.event_id.as_str());
        writer.end_row()?;
    }
    writer.finish()
}
