//! Rows that state a dimension (rule 49).

use super::Problem;
use super::values::{not_negative, parse_enum, quoted, required, required_symbol, symbol};
use crate::business::{ScheduleDefinition, ScheduleError};
use crate::columns::{Column, RawValue, Row};
use crate::dimension::{Dimension, Presence, SlaTargets, StatusSet};
use crate::event::{EventType, Status};
use crate::reject::Reason;

/// The dimension row that an event outside conversations states; none for types that state none.
pub(super) fn dimension(row: &impl Row, event_type: EventType) -> Result<Option<Dimension>, Problem> {
    Ok(Some(match event_type {
        EventType::AgentUpserted => {
            Dimension::Agent { agent: required_symbol(row, Column::AgentId)?, team: symbol(row, Column::TeamId)? }
        }
        EventType::AgentStatusChanged => {
            required(row, Column::Status)?;
            Dimension::Presence {
                agent: required_symbol(row, Column::AgentId)?,
                presence: parse_enum(row, Column::Status, Presence::parse)?.unwrap_or(Presence::Offline),
            }
        }
        EventType::CalendarUpserted => Dimension::Calendar {
            calendar: required_symbol(row, Column::CalendarId)?,
            team: symbol(row, Column::TeamId)?,
            channel: symbol(row, Column::Channel)?,
            schedule: schedule(row)?,
        },
        EventType::SlaPolicyUpserted => {
            Dimension::Policy { policy: required_symbol(row, Column::PolicyId)?, targets: targets(row)? }
        }
        _ => return Ok(None),
    }))
}

fn schedule(row: &impl Row) -> Result<ScheduleDefinition, Problem> {
    let timezone = required(row, Column::Timezone)?;
    let Some(ranges) = nested(row, Column::Ranges) else {
        return Err(Problem::new(Reason::MissingField, Column::Ranges, "this column is required and is missing"));
    };
    let holidays = nested(row, Column::Holidays);
    ScheduleDefinition::parse(&timezone, &ranges, holidays.as_deref()).map_err(|error| {
        let (reason, column) = match error {
            ScheduleError::UnknownTimezone(_) => (Reason::UnknownEnum, Column::Timezone),
            ScheduleError::MalformedHolidays(_) => (Reason::OutOfRange, Column::Holidays),
            _ => (Reason::OutOfRange, Column::Ranges),
        };
        Problem::new(reason, column, error.to_string())
    })
}

/// The JSON text of a list or map.
fn nested(row: &impl Row, column: Column) -> Option<String> {
    match row.get(column) {
        RawValue::Nested(text) | RawValue::Text(text) if !text.is_empty() => Some(text.into_owned()),
        _ => None,
    }
}

fn targets(row: &impl Row) -> Result<SlaTargets, Problem> {
    let business_hours = matches!(row.get(Column::BusinessHours), RawValue::Bool(true));
    Ok(SlaTargets {
        first_response_ms: not_negative(row, Column::FirstResponseTargetMs)?,
        next_response_ms: not_negative(row, Column::NextResponseTargetMs)?,
        resolution_ms: not_negative(row, Column::ResolutionTargetMs)?,
        business_hours,
        pauses: pauses(row)?,
    })
}

fn pauses(row: &impl Row) -> Result<StatusSet, Problem> {
    let column = Column::PauseStatuses;
    let mut pauses = StatusSet::default();
    let Some(text) = nested(row, column) else { return Ok(pauses) };
    let names: Vec<String> = serde_json::from_str(&text)
        .map_err(|_| Problem::new(Reason::OutOfRange, column, "expected a list of statuses such as [\"pending\"]"))?;
    for name in names {
        let status = Status::parse(&name).ok_or_else(|| {
            let message = format!("the event model has no status {}", quoted(&name));
            Problem::new(Reason::UnknownEnum, column, message)
        })?;
        pauses.insert(status);
    }
    Ok(pauses)
}
