//! `message_scores`, `conversation_scores` and `anomaly_scores`.

use bytes::Bytes;
use contactflow_schemas::facts::{AnomalyScore, ConversationScore, MessageScore};
use contactflow_schemas::prediction::{EmotionLabel, Highlight, SCORE_SCALE, TextScores};
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tables::Table;

use super::lists::Value;
use super::writer::TableWriter;
use super::{EncodeError, unique};

/// `method` of `anomaly_scores`.
pub const ANOMALY_METHOD: &str = "robust_seasonal";
/// `model_id` of `anomaly_scores`.
pub const ANOMALY_MODEL_ID: &str = "robust_seasonal-1";

/// Fixed-point predictions to units.
fn units(fixed: i64) -> f64 {
    fixed as f64 / f64::from(SCORE_SCALE)
}

/// Encodes the messages of one partition of `table`, `message_scores` or `candidate_scores`, by tenant, time, conversation, event id, source.
///
/// # Errors
/// [`EncodeError::DuplicateKey`] for an event that comes twice.
pub fn encode_message_scores(table: Table, scores: Vec<MessageScore>, model_id: &str) -> Result<Bytes, EncodeError> {
    let mut rows: Vec<_> = scores
        .iter()
        .map(|score| {
            let turn = &score.turn;
            let conversation = turn.conversation;
            let (tenant, conversation) = (conversation.tenant.as_str(), conversation.conversation.as_str());
            ((tenant, turn.time_ms, conversation, turn.event_id.as_str(), turn.source.as_str()), score)
        })
        .collect();
    rows.sort_unstable_by_key(|&(key, _)| key);
    unique(table, rows.iter().map(|&(key, _)| key))?;

    let mut writer = TableWriter::new(table, rows.len())?;
    for ((tenant, sent_at_ms, conversation, event_id, source), score) in rows {
        let turn = &score.turn;
        writer.text(tenant);
        writer.text(conversation);
        writer.int(turn.cycle);
        writer.text(turn.message_id.as_str());
        writer.text(source);
        writer.text(event_id);
        writer.time(sent_at_ms);
        writer.text(turn.channel.as_str());
        writer.text(turn.agent.map(Symbol::as_str));
        writer.text(turn.speaker.as_str());
        let scores = score.scores.as_deref();
        let sentiment = scores.map(|scores| scores.sentiment);
        writer.text(sentiment.map(|sentiment| sentiment.label.as_str()));
        writer.float(sentiment.map(|sentiment| units(sentiment.score().into())));
        writer.float(sentiment.map(|sentiment| units(sentiment.negative.into())));
        writer.float(sentiment.map(|sentiment| units(sentiment.neutral.into())));
        writer.float(sentiment.map(|sentiment| units(sentiment.positive.into())));
        further_heads(&mut writer, scores);
        writer.text(score.error.as_deref());
        writer.text(model_id);
        writer.end_row()?;
    }
    writer.finish()
}

/// Emotion, offensiveness, intent, and what drove the sentiment.
fn further_heads(writer: &mut TableWriter, scores: Option<&TextScores>) {
    let emotion = scores.and_then(|scores| scores.emotion);
    writer.text(emotion.map(|emotion| emotion.label.as_str()));
    for label in EmotionLabel::ALL {
        writer.float(emotion.map(|emotion| units(emotion.of(label).into())));
    }
    writer.float(scores.and_then(|scores| scores.offensive).map(|offensive| units(offensive.probability.into())));
    let intent = scores.and_then(|scores| scores.intent);
    writer.text(intent.map(|intent| intent.label.as_str()));
    writer.float(intent.map(|intent| units(intent.probability.into())));
    let highlights = scores.map_or(&[][..], |scores| &scores.highlights);
    writer.list(highlights.iter().map(|Highlight { char_start, char_end, weight }| {
        [Value::Int((*char_start).into()), Value::Int((*char_end).into()), Value::Float(units((*weight).into()))]
    }));
}

/// Encodes the cycles of one partition of `table`, `conversation_scores` or `candidate_conversation_scores`, by tenant, conversation,
/// cycle.
///
/// # Errors
/// [`EncodeError::DuplicateKey`] for a cycle that comes twice, [`EncodeError::NothingScored`] for one without scored
/// turns.
pub fn encode_conversation_scores(
    table: Table,
    scores: Vec<ConversationScore>,
    model_id: &str,
) -> Result<Bytes, EncodeError> {
    let key = |score: &ConversationScore| {
        (score.conversation.tenant.as_str(), score.conversation.conversation.as_str(), score.cycle)
    };
    let mut rows: Vec<_> = scores.iter().map(|score| (key(score), score)).collect();
    rows.sort_unstable_by_key(|&(key, _)| key);
    unique(table, rows.iter().map(|&(key, _)| key))?;

    let mut writer = TableWriter::new(table, rows.len())?;
    for ((tenant, conversation, cycle), score) in rows {
        if score.scored_turns <= 0 {
            return Err(EncodeError::NothingScored { scored_turns: score.scored_turns });
        }
        writer.text(tenant);
        writer.text(conversation);
        writer.int(cycle);
        writer.text(score.channel.as_str());
        writer.int(score.scored_turns);
        // One division each, from exact integers.
        writer.float(score.sentiment_sum as f64 / (score.scored_turns * i64::from(SCORE_SCALE)) as f64);
        writer.float(score.negative_turns as f64 / score.scored_turns as f64);
        writer.float(units(score.first_sentiment));
        writer.float(units(score.last_sentiment));
        writer.float(score.sentiment_shift_millionths as f64 / 1e6);
        writer.float(score.quality.map(|quality| units(quality.into())));
        writer.list(score.attention.iter().map(|turn| {
            [Value::Text(&turn.event_id), Value::Time(turn.time_ms), Value::Float(units(turn.weight.into()))]
        }));
        writer.text(score.quality_error.as_deref());
        writer.text(model_id);
        writer.end_row()?;
    }
    writer.finish()
}

/// Encodes the windows of one partition of `anomaly_scores`, by tenant, channel, agent (none first), KPI, window. A
/// score without an agent belongs to the series of its channel, one with an agent to that agent's on the channel.
///
/// # Errors
/// [`EncodeError::DuplicateKey`] for a window that comes twice in one series.
pub fn encode_anomalies(scores: Vec<AnomalyScore>) -> Result<Bytes, EncodeError> {
    let table = Table::AnomalyScores;
    let key = |score: &AnomalyScore| {
        let agent = score.agent.map(Symbol::as_str);
        let series = (score.tenant.as_str(), score.channel.as_str(), agent, score.kpi.as_str());
        (series, score.window_start_ms, score.window_end_ms)
    };
    let mut rows: Vec<_> = scores.iter().map(|score| (key(score), score)).collect();
    rows.sort_unstable_by_key(|&(key, _)| key);
    unique(table, rows.iter().map(|&(key, _)| key))?;

    let mut writer = TableWriter::new(table, rows.len())?;
    let thousandths = |value: i64| value as f64 / 1e3;
    for (((tenant, channel, agent, kpi), start_ms, length_ms), score) in rows {
        writer.text(tenant);
        writer.text(if agent.is_some() { "agent_channel" } else { "channel" });
        writer.text(channel);
        writer.text(agent);
        writer.text(kpi);
        writer.time(start_ms);
        writer.time(start_ms + length_ms);
        writer.float(score.observed_milli.map(thousandths));
        writer.float(thousandths(score.expected_milli));
        writer.float(thousandths(score.lower_milli));
        writer.float(thousandths(score.upper_milli));
        writer.float(score.score_millionths as f64 / 1e6);
        writer.text(ANOMALY_METHOD);
        writer.text(ANOMALY_MODEL_ID);
        writer.end_row()?;
    }
    writer.finish()
}
