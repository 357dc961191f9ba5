//! Rows that state a label (rules 63 to 65).

use compact_str::CompactString;

use super::Problem;
use super::values::{symbol, text};
use crate::clock::TimeMs;
use crate::columns::{Column, RawValue, Row};
use crate::event::{ActorType, Body, ConversationKey, Event, EventType, Grade, Label, Origin, Verdict};
use crate::prediction::TextHead;
use crate::reject::Reason;
use crate::symbol::Symbol;

/// Bytes of a class that a label may name; a longer text is no class.
const CLASS_BYTES_MAX: usize = 64;

/// A label and the conversation that it names.
pub(super) struct Labelled {
    conversation: Option<Symbol>,
    label: Label,
}

impl Labelled {
    /// The label as an event. Of the envelope only who states it counts.
    pub(super) fn of(
        self,
        tenant: Symbol,
        source: Symbol,
        event_id: CompactString,
        time_ms: TimeMs,
        actor_type: Option<ActorType>,
        origin: Origin,
    ) -> (ConversationKey, Event) {
        let key = match self.conversation {
            Some(conversation) => ConversationKey { tenant, conversation },
            None => ConversationKey::unplaced(tenant),
        };
        let event = Event {
            source,
            event_id,
            time_ms,
            channel: None,
            actor_type,
            actor: None,
            contact: None,
            queue: None,
            team: None,
            ingest_ms: None,
            home: None,
            body: Body::Label(Box::new(self.label)),
            origin,
        };
        (key, event)
    }
}

/// The label that a row states: none for other types, and for labels of no target or of a value that no rule reads.
pub(super) fn label(row: &impl Row, event_type: EventType) -> Result<Option<Labelled>, Problem> {
    if !matches!(event_type, EventType::QaLabel | EventType::ScoreLabel) {
        return Ok(None);
    }
    let conversation = symbol(row, Column::ConversationId)?;
    let message_id = text(row, Column::MessageId)?.unwrap_or_default();
    if conversation.is_none() && message_id.is_empty() {
        return Ok(None);
    }
    let (Some(name), Some(value)) = (text(row, Column::Label)?, text(row, Column::Value)?) else { return Ok(None) };
    let verdict = match TextHead::parse(&name) {
        Some(head) => {
            let is_class = !value.is_empty() && value.len() <= CLASS_BYTES_MAX;
            is_class.then(|| (head.as_str(), Verdict::Class(head, Symbol::new(&value))))
        }
        None if event_type == EventType::QaLabel && !name.is_empty() => {
            graded(row, &value)?.map(|verdict| (name.as_ref(), verdict))
        }
        None => None,
    };
    let Some((name, verdict)) = verdict else { return Ok(None) };
    let label = Label {
        message_id: message_id.as_ref().into(),
        label: Symbol::new(name),
        rater: symbol(row, Column::Rater)?,
        agent: symbol(row, Column::AgentId)?,
        verdict,
    };
    Ok(Some(Labelled { conversation, label }))
}

fn graded(row: &impl Row, value: &str) -> Result<Option<Verdict>, Problem> {
    Ok(match Grade::parse(value) {
        Some(Grade::NotApplicable) => Some(Verdict::NotApplicable),
        Some(grade) => Some(Verdict::Graded { pass: grade == Grade::Pass, weight_milli: weight_milli(row)? }),
        None => None,
    })
}

/// `weight` of the attributes in thousandths, 1 without one.
fn weight_milli(row: &impl Row) -> Result<i64, Problem> {
    const ONE: i64 = 1_000;
    let (RawValue::Nested(attributes) | RawValue::Text(attributes)) = row.get(Column::Attributes) else {
        return Ok(ONE);
    };
    let attributes: serde_json::Value = serde_json::from_str(&attributes).unwrap_or_default();
    let weight = match attributes.get("weight") {
        None | Some(serde_json::Value::Null) => return Ok(ONE),
        Some(serde_json::Value::String(weight)) => weight.parse().ok(),
        Some(weight) => weight.as_f64(),
    };
    let weight_milli = weight.map(|weight| (weight * 1e3).round());
    match weight_milli {
        Some(milli) if (1.0..=1e6).contains(&milli) => Ok(milli as i64),
        _ => {
            let expected = "expected a weight from 0.001 to 1000 in the attributes of a label";
            Err(Problem::new(Reason::OutOfRange, Column::Attributes, expected))
        }
    }
}
