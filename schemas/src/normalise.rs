//! From an input row to a [`Delivery`], or to the reject that says what is wrong with it.

use std::borrow::Cow;

use compact_str::CompactString;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::clock::{TimeError, TimeMs, in_range, parse_time};
use crate::columns::{Column, RawValue, Row};
use crate::event::{
    ActorType, Body, ConversationKey, Delivery, DequeueReason, Direction, Event, EventKey, EventType, Origin,
    SegmentStep, Statement, Status, TextRef, TransferKind, Visibility, mix,
};
use crate::masking::{Masking, RawRow};
use crate::prediction::{TextKey, TextRequest};
use crate::reject::{Reason, Reject, RejectedRow};
use crate::symbol::Symbol;

mod dimensions;
mod labels;
mod values;

use self::dimensions::dimension;
use self::labels::label;
use self::values::{integer, not_negative, parse_enum, quoted, required, required_symbol, symbol, text};

/// A valid row: the narrow delivery and, where it carries a text that may be scored, that text.
#[derive(Clone, Debug)]
pub struct Normalised {
    /// What the dataflow keeps.
    pub delivery: Delivery,
    /// The text of a public message of a customer or agent.
    pub text: Option<TextRequest>,
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Reason code.
    pub reason: Reason,
    /// Column at fault.
    pub field: &'static str,
    /// Expected and found.
    pub message: String,
}

impl Problem {
    fn new(reason: Reason, column: Column, message: impl Into<String>) -> Self {
        Self { reason, field: column.name(), message: message.into() }
    }
}

/// Normalises one row read at `origin`; its text, or what becomes of it as a reject, is masked.
///
/// # Errors
/// The row for `rejected_events`, boxed because it is rare and large.
pub fn normalise(row: &impl Row, origin: Origin, masking: &Masking) -> Result<Normalised, Box<RejectedRow>> {
    deliver(row, origin, masking).map_err(|problem| Box::new(rejected(row, origin, problem, masking)))
}

/// Builds the reject of a row from whatever of its identity can be read.
fn rejected(row: &impl Row, origin: Origin, problem: Problem, masking: &Masking) -> RejectedRow {
    let [tenant, source, event_id] =
        [Column::TenantId, Column::Source, Column::EventId].map(|column| required(row, column).ok());
    let key = match (&tenant, &source, &event_id) {
        (Some(tenant), Some(source), Some(event_id)) => Some(EventKey::of(tenant, source, event_id)),
        _ => None,
    };
    let reject = Reject {
        file: origin.file,
        row: origin.row,
        reason: problem.reason,
        field: problem.field.to_owned(),
        message: masking.mask_message(&problem.message),
        tenant: tenant.map(|text| Symbol::new(&text)),
        source: source.map(|text| Symbol::new(&text)),
        event_id: event_id.map(Cow::into_owned),
        raw: Some(masking.mask_row(row.raw().as_bytes(), RawRow::Object)),
    };
    RejectedRow { key, version: integer(row, Column::SourceVersion).ok().flatten().unwrap_or(0), reject }
}

fn deliver(row: &impl Row, origin: Origin, masking: &Masking) -> Result<Normalised, Problem> {
    let content = check_types_and_hash(row)?;
    let tenant = required(row, Column::TenantId)?;
    let source = required(row, Column::Source)?;
    let event_id = required(row, Column::EventId)?;
    let version = integer(row, Column::SourceVersion)?.unwrap_or(0);
    let key = EventKey::of(&tenant, &source, &event_id);
    let (source, event_id) = (Symbol::new(&source), CompactString::from(event_id.as_ref()));
    let ingest_ms = ingest_time(row)?;
    let delivery = |time_ms, statement| Delivery { key, version, content, time_ms, ingest_ms, statement, origin };
    if is_retract(row)? {
        let statement = Statement::Retracted { source, event_id };
        return Ok(Normalised { delivery: delivery(None, statement), text: None });
    }
    let event_type = event_type(row)?;
    let time_ms = event_time(row)?;
    let actor_type = parse_enum(row, Column::ActorType, ActorType::parse)?;
    if !event_type.needs_conversation() {
        if let Some(label) = label(row, event_type)? {
            let (conversation, event) = label.of(Symbol::new(&tenant), source, event_id, time_ms, actor_type, origin);
            let statement = Statement::Happened(conversation, Box::new(event));
            return Ok(Normalised { delivery: delivery(Some(time_ms), statement), text: None });
        }
        let dimension = dimension(row, event_type)?.map(Box::new);
        let tenant = Symbol::new(&tenant);
        let contact = symbol(row, Column::ContactId)?.filter(|_| event_type == EventType::ErasureRequested);
        let statement = match contact {
            Some(contact) => Statement::ErasureRequested { tenant, source, event_id, contact },
            None => Statement::Outside { tenant, source, event_id, dimension },
        };
        return Ok(Normalised { delivery: delivery(Some(time_ms), statement), text: None });
    }
    let conversation = required(row, Column::ConversationId)?;
    let conversation = ConversationKey { tenant: Symbol::new(&tenant), conversation: Symbol::new(&conversation) };
    let mut message_text = None;
    let body = body(row, event_type, masking, &mut message_text)?;
    let event = Event {
        source,
        event_id,
        time_ms,
        channel: symbol(row, Column::Channel)?,
        actor_type,
        actor: symbol(row, Column::ActorId)?,
        contact: symbol(row, Column::ContactId)?,
        queue: symbol(row, Column::QueueId)?,
        team: symbol(row, Column::TeamId)?,
        ingest_ms,
        home: None,
        body,
        origin,
    };
    let text = message_text.filter(|_| may_be_scored(&event));
    let statement = Statement::Happened(conversation, Box::new(event));
    Ok(Normalised { delivery: delivery(Some(time_ms), statement), text })
}

/// Checks every value against its column's type and hashes the content: all columns but `ingest_time`.
fn check_types_and_hash(row: &impl Row) -> Result<u64, Problem> {
    let mut hash = 0u64;
    for &column in row.present() {
        let value = row.get(column);
        if !value.fits(column.kind()) {
            // A time of the wrong type is a bad time: that is what the sender has to look at.
            let reason = if column == Column::EventTime { Reason::BadTime } else { Reason::BadType };
            let message = format!("expected {}, found {}", column.kind().describe(), value.describe());
            return Err(Problem::new(reason, column, message));
        }
        if matches!(column, Column::IngestTime | Column::SourceVersion | Column::Op) {
            continue;
        }
        // Columns combine by addition, so the order in which a format lists them does not matter.
        let seed = column as u64 + 1;
        let part = match value {
            RawValue::Null => continue,
            RawValue::Text(text) if column == Column::EventTime => match parse_time(&text) {
                Ok(time_ms) => mix(time_ms as u64 ^ seed),
                Err(_) => xxh3_64_with_seed(text.as_bytes(), seed),
            },
            RawValue::Text(text) | RawValue::Nested(text) => xxh3_64_with_seed(text.as_bytes(), seed),
            RawValue::Int(number) | RawValue::Time(number) => mix(number as u64 ^ seed),
            RawValue::Float(number) if number.fract() == 0.0 => mix(number as i64 as u64 ^ seed),
            RawValue::Float(number) => mix(number.to_bits() ^ seed),
            RawValue::Bool(value) => mix(u64::from(value) ^ (seed << 8)),
        };
        hash = hash.wrapping_add(part);
    }
    Ok(hash)
}

fn is_retract(row: &impl Row) -> Result<bool, Problem> {
    match text(row, Column::Op)?.as_deref() {
        None | Some("" | "assert") => Ok(false),
        Some("retract") => Ok(true),
        Some(_) => Err(Problem::new(Reason::UnknownEnum, Column::Op, "expected assert or retract")),
    }
}

fn event_type(row: &impl Row) -> Result<EventType, Problem> {
    let name = required(row, Column::EventType)?;
    EventType::parse(&name).ok_or_else(|| {
        let message = format!("the event model has no type {}", quoted(&name));
        Problem::new(Reason::UnknownEventType, Column::EventType, message)
    })
}

fn event_time(row: &impl Row) -> Result<TimeMs, Problem> {
    let time = match row.get(Column::EventTime) {
        RawValue::Null => {
            return Err(Problem::new(
                Reason::MissingField,
                Column::EventTime,
                "this column is required and is missing",
            ));
        }
        RawValue::Text(text) => parse_time(&text),
        RawValue::Int(time_ms) | RawValue::Time(time_ms) => in_range(time_ms),
        _ => Err(TimeError::Malformed),
    };
    time.map_err(|error| match error {
        TimeError::Malformed => {
            Problem::new(Reason::BadTime, Column::EventTime, "expected RFC 3339 with an offset or integer milliseconds")
        }
        TimeError::OutOfRange => Problem::new(
            Reason::OutOfRange,
            Column::EventTime,
            "expected a time from 1970-01-01 up to, not including, 2100-01-01",
        ),
    })
}

/// `ingest_time`, which only measures lateness: one that no clock shows is none.
fn ingest_time(row: &impl Row) -> Result<Option<TimeMs>, Problem> {
    let time = match row.get(Column::IngestTime) {
        RawValue::Text(text) => parse_time(&text),
        RawValue::Int(time_ms) | RawValue::Time(time_ms) => in_range(time_ms),
        _ => return Ok(None),
    };
    match time {
        Ok(time_ms) => Ok(Some(time_ms)),
        Err(TimeError::OutOfRange) => Ok(None),
        Err(TimeError::Malformed) => Err(Problem::new(
            Reason::BadTime,
            Column::IngestTime,
            "expected RFC 3339 with an offset or integer milliseconds",
        )),
    }
}

fn body(
    row: &impl Row,
    event_type: EventType,
    masking: &Masking,
    message_text: &mut Option<TextRequest>,
) -> Result<Body, Problem> {
    Ok(match event_type {
        EventType::ConversationCreated => Body::Created,
        EventType::MessageCreated => Body::Message {
            message_id: text(row, Column::MessageId)?
                .map_or_else(CompactString::default, |id| CompactString::from(id.as_ref())),
            direction: parse_enum(row, Column::Direction, Direction::parse)?,
            visibility: parse_enum(row, Column::Visibility, Visibility::parse)?.unwrap_or(Visibility::Public),
            fallback: text(row, Column::ContentType)?.as_deref() == Some("fallback"),
            text: take_text(row, masking, message_text)?,
        },
        EventType::MessageEdited => Body::Edited {
            message_id: CompactString::from(required(row, Column::MessageId)?.as_ref()),
            text: take_text(row, masking, message_text)?,
        },
        EventType::MessageDeleted => Body::Deleted {
            message_id: CompactString::from(required(row, Column::MessageId)?.as_ref()),
            not_delivered: text(row, Column::Reason)?.as_deref() == Some("not_delivered"),
        },
        EventType::StatusChanged => {
            required(row, Column::ToStatus)?;
            Body::Status(parse_enum(row, Column::ToStatus, Status::parse)?.unwrap_or(Status::Open))
        }
        EventType::Assigned => Body::Assigned { agent: symbol(row, Column::AgentId)? },
        EventType::Transferred => Body::Transferred {
            agent: symbol(row, Column::AgentId)?,
            from: symbol(row, Column::FromAgentId)?,
            kind: parse_enum(row, Column::TransferKind, TransferKind::parse)?,
        },
        EventType::Queued => Body::Queued,
        EventType::Dequeued => Body::Dequeued {
            reason: parse_enum(row, Column::Reason, DequeueReason::parse)?,
            agent: symbol(row, Column::AgentId)?,
        },
        EventType::SegmentStarted => segment(row, SegmentStep::Started)?,
        EventType::SegmentHeld => segment(row, SegmentStep::Held)?,
        EventType::SegmentEnded => segment(row, SegmentStep::Ended)?,
        EventType::AcwStarted => segment(row, SegmentStep::AcwStarted)?,
        EventType::AcwEnded => segment(row, SegmentStep::AcwEnded)?,
        EventType::BotHandoff => Body::Handoff { fallback: text(row, Column::Reason)?.as_deref() == Some("fallback") },
        EventType::CsatSent => {
            Body::SurveySent { survey: symbol(row, Column::SurveyId)?, agent: symbol(row, Column::AgentId)? }
        }
        EventType::CsatRated => Body::Rated {
            survey: symbol(row, Column::SurveyId)?,
            agent: symbol(row, Column::AgentId)?,
            csat_millionths: scaled_rating(row)?,
        },
        EventType::SlaApplied => Body::SlaApplied { policy: required_symbol(row, Column::PolicyId)? },
        EventType::SlaRemoved => Body::SlaRemoved { policy: symbol(row, Column::PolicyId)? },
        EventType::Merged => Body::Merged { target: required_symbol(row, Column::TargetConversationId)? },
        EventType::SpamMarked => Body::Spam(true),
        EventType::SpamCleared => Body::Spam(false),
        other => Body::Other(other),
    })
}

fn segment(row: &impl Row, step: SegmentStep) -> Result<Body, Problem> {
    Ok(Body::Segment {
        step,
        segment: symbol(row, Column::SegmentId)?,
        agent: symbol(row, Column::AgentId)?,
        duration_ms: not_negative(row, Column::DurationMs)?,
    })
}

/// The masked text, and what is kept of it: the hash of the masked text, the length of the text as it came.
fn take_text(
    row: &impl Row,
    masking: &Masking,
    message_text: &mut Option<TextRequest>,
) -> Result<Option<TextRef>, Problem> {
    let Some(content) = text(row, Column::Text)?.filter(|content| !content.trim().is_empty()) else {
        return Ok(None);
    };
    let chars = u32::try_from(content.chars().count()).unwrap_or(u32::MAX);
    let masked = match masking.mask(&content) {
        Cow::Borrowed(_) => content.into_owned(),
        Cow::Owned(masked) => masked,
    };
    let key = TextKey::of(&masked);
    *message_text = Some(TextRequest { key, text: masked });
    Ok(Some(TextRef { key, chars }))
}

/// Texts of private notes, bots and automations are never scored. An edit is scored whoever made it: whose message
/// it changes is known only inside the conversation.
fn may_be_scored(event: &Event) -> bool {
    match &event.body {
        Body::Message { direction, visibility, .. } => {
            *visibility == Visibility::Public && speaker(event.actor_type, *direction, event.actor).is_some()
        }
        Body::Edited { .. } => true,
        _ => false,
    }
}

/// The class of a message's author where a message without actor_type leaves it open; none for those whose messages are
/// neither the customer's nor an agent's.
pub fn speaker(
    actor_type: Option<ActorType>,
    direction: Option<Direction>,
    actor: Option<Symbol>,
) -> Option<ActorType> {
    match (actor_type, direction) {
        (Some(actor @ (ActorType::Customer | ActorType::Agent)), _) => Some(actor),
        (Some(_), _) => None,
        (None, Some(Direction::Inbound)) => Some(ActorType::Customer),
        (None, Some(Direction::Outbound)) if actor.is_some() => Some(ActorType::Agent),
        (None, _) => None,
    }
}

/// `rating` scaled from 1..`rating_scale` (default 5) to 1..5, in millionths, half away from zero.
fn scaled_rating(row: &impl Row) -> Result<i64, Problem> {
    let number = |column| match row.get(column) {
        RawValue::Int(number) => Some(number as f64),
        RawValue::Float(number) => Some(number),
        _ => None,
    };
    let Some(rating) = number(Column::Rating) else {
        return Err(Problem::new(Reason::MissingField, Column::Rating, "a rating event needs its rating"));
    };
    let scale = number(Column::RatingScale).unwrap_or(5.0);
    if !(2.0..=1000.0).contains(&scale) || scale.fract() != 0.0 {
        return Err(Problem::new(Reason::OutOfRange, Column::RatingScale, "expected a whole number from 2 to 1000"));
    }
    if !(1.0..=scale).contains(&rating) {
        return Err(Problem::new(
            Reason::OutOfRange,
            Column::Rating,
            format!("expected 1 to {scale}, the rating_scale"),
        ));
    }
    // Exact from here on: integers in millionths.
    let (above_one, steps) = ((rating * 1e6).round() as i64 - 1_000_000, scale as i64 - 1);
    Ok(1_000_000 + (above_one * 4 * 2 + steps) / (2 * steps))
}

#[cfg(test)]
#[path = "normalise_tests.rs"]
mod tests;
