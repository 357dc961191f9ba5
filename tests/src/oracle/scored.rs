//! The tables of scored messages and cycles.

use super::conversation::{Conversation, Cycle};
use super::heads::{Answer, Heads};
use super::message::is_customer_message;
use super::messages::{scored_customers, shift, turn_text};
use super::quality::{group_of_turn, judged};
use crate::model::{Cell, Columns, Table};

/// Probabilities are published as fractions.
fn fraction(number: i32) -> Cell {
    Cell::Float(f64::from(number) / 10_000.0)
}

fn or_null(number: Option<i32>) -> Cell {
    number.map_or(Cell::Null, fraction)
}

/// Messages that have an answer.
pub(super) fn messages(conversations: &[&Conversation], heads: &dyn Heads) -> Table {
    let mut table = Table::new();
    for conversation in conversations {
        for cycle in &conversation.cycles {
            for index in cycle.start..cycle.end {
                let Some(text) = turn_text(conversation.events[index]) else { continue };
                let answer = heads.answer(text);
                if answer != Answer::Pending {
                    let (key, columns) = message(conversation, cycle, index, answer);
                    table.insert(key, columns);
                }
            }
        }
    }
    table
}

fn message(conversation: &Conversation, cycle: &Cycle, index: usize, answer: Answer) -> (Vec<Cell>, Columns) {
    let event = conversation.events[index];
    let identity = &event.identity;
    let key = vec![
        Cell::Text(identity.tenant.clone()),
        Cell::Text(identity.source.clone()),
        Cell::Text(identity.event_id.clone()),
    ];
    let scores = answer.scores();
    let emotion = scores.and_then(|scores| scores.emotion);
    let intent = scores.and_then(|scores| scores.intent);
    let by = if is_customer_message(event) { "customer" } else { "agent" };
    let columns = [
        ("conversation_id", Cell::Text(conversation.id.to_owned())),
        ("cycle", Cell::Int(cycle.number as i64)),
        ("message_id", Cell::text(Some(event.text("message_id").unwrap_or_default()))),
        ("sent_at", Cell::TimeMs(event.time())),
        ("channel", Cell::Text(conversation.channel.to_owned())),
        ("agent_id", Cell::text(group_of_turn(conversation, cycle, index).agent)),
        ("speaker", Cell::text(Some(by))),
        ("sentiment", Cell::text(scores.map(|scores| scores.sentiment()))),
        ("sentiment_score", or_null(scores.map(|scores| scores.positive - scores.negative))),
        ("probability_negative", or_null(scores.map(|scores| scores.negative))),
        ("probability_neutral", or_null(scores.map(|scores| scores.neutral))),
        ("probability_positive", or_null(scores.map(|scores| scores.positive))),
        ("emotion", Cell::text(scores.and_then(|scores| scores.emotion_label()))),
        ("probability_anger", or_null(emotion.map(|emotion| emotion[0]))),
        ("probability_joy", or_null(emotion.map(|emotion| emotion[1]))),
        ("probability_optimism", or_null(emotion.map(|emotion| emotion[2]))),
        ("probability_sadness", or_null(emotion.map(|emotion| emotion[3]))),
        ("probability_offensive", or_null(scores.and_then(|scores| scores.offensive))),
        ("intent", Cell::text(intent.map(|(label, _)| label))),
        ("probability_intent", or_null(intent.map(|(_, probability)| probability))),
        // Models of tests do not say what drove them.
        ("highlights", Cell::list([])),
        ("error", if scores.is_none() { Cell::text(Some("failed")) } else { Cell::Null }),
    ];
    (key, columns.into_iter().collect())
}

/// Cycles with a scored customer message.
pub(super) fn cycles(conversations: &[&Conversation], heads: &dyn Heads) -> Table {
    let mut table = Table::new();
    for conversation in conversations {
        for cycle in &conversation.cycles {
            table.extend(cycle_row(conversation, cycle, heads));
        }
    }
    table
}

fn cycle_row(conversation: &Conversation, cycle: &Cycle, heads: &dyn Heads) -> Option<(Vec<Cell>, Columns)> {
    let scored = scored_customers(conversation, cycle, heads);
    let values: Vec<i32> = scored.iter().map(|(_, scores)| scores.positive - scores.negative).collect();
    let (first, last) = (*values.first()?, *values.last()?);
    let count = values.len() as i64;
    let negative = scored.iter().filter(|(_, scores)| scores.is_negative()).count();
    let sum: i64 = values.iter().map(|value| i64::from(*value)).sum();
    let judged = judged(conversation, cycle, heads);
    let quality = judged.as_ref().and_then(|(_, quality)| quality.as_ref());
    let failed = judged.as_ref().is_some_and(|(_, quality)| quality.is_none());
    let turns = judged.iter().flat_map(|(turns, _)| turns);
    let weights = quality.map_or(&[][..], |quality| &quality.attention);
    let attention = turns.zip(weights).map(|(index, weight)| {
        let event = conversation.events[*index];
        vec![Cell::Text(event.identity.event_id.clone()), Cell::TimeMs(event.time()), fraction(*weight)]
    });
    let columns = [
        ("channel", Cell::Text(conversation.channel.to_owned())),
        ("scored_turns_count", Cell::Int(count)),
        ("sentiment_mean", Cell::ratio(sum as f64 / 10_000.0, count)),
        ("negative_turn_ratio", Cell::ratio(negative as f64, count)),
        ("sentiment_first", fraction(first)),
        ("sentiment_last", fraction(last)),
        ("sentiment_shift", Cell::Float(shift(&scored) as f64 / 1e6)),
        ("quality_score", or_null(quality.map(|quality| quality.score))),
        ("attention", Cell::list(attention)),
        ("quality_error", if failed { Cell::text(Some("failed")) } else { Cell::Null }),
    ];
    let key = vec![
        Cell::Text(conversation.tenant.to_owned()),
        Cell::Text(conversation.id.to_owned()),
        Cell::Int(cycle.number as i64),
    ];
    Some((key, columns.into_iter().collect()))
}
