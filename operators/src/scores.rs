//! Scored views: predictions joined to the turns that stand.
//!
//! A prediction is computed once per text and never taken back; a retraction only takes its turn out of the join, so it
//! never calls the model.

use contactflow_schemas::catalogue::{contribute, kpi};
use contactflow_schemas::clock::{TimeMs, day_of};
use contactflow_schemas::event::ConversationKey;
use contactflow_schemas::facts::{Cell, ConversationScore, Group, MessageScore, Speaker, Turn};
use contactflow_schemas::prediction::{Outcome, Prediction, SCORE_SCALE, Sentiment, SentimentLabel, TextKey};
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tally::{Slot, Tally};
use contactflow_schemas::windows::{Window, Windows};
use differential_dataflow::VecCollection;
use differential_dataflow::trace::implementations::{ValBuilder, ValSpine};

use serde::{Deserialize, Serialize};

use crate::causes::{Cause, CauseKind, Causes, EventRef};
use crate::cells::{arrange_keyed, cell_of};
use crate::difference::TallyDiff;
use crate::epochs::Epoch;

/// What follows from predictions.
pub struct Scores<'scope> {
    /// Rows of message_scores.
    pub messages: VecCollection<'scope, Epoch, MessageScore, isize>,
    /// Rows of conversation_scores.
    pub conversations: VecCollection<'scope, Epoch, ConversationScore, isize>,
    /// Contributions to the hourly cells.
    pub contributions: VecCollection<'scope, Epoch, (Window, Cell), TallyDiff>,
}

/// Joins turns with predictions by the content of their text.
pub fn scores<'scope>(
    turns: VecCollection<'scope, Epoch, Turn, isize>,
    predictions: VecCollection<'scope, Epoch, Prediction, isize>,
    windows: &Windows,
) -> Scores<'scope> {
    let by_text = |key: &TextKey| key.0 as u64;
    let turns = arrange_keyed(turns.map(|turn| (turn.text, turn)), by_text, "Turns");
    let predictions = predictions.map(|prediction| (prediction.key, prediction.outcome));
    let predictions = arrange_keyed(predictions, by_text, "Predictions");
    let messages = turns.join_core(predictions, |_, turn, outcome| Some(message_score(turn, outcome)));
    let customers = messages.clone().flat_map(customer_sentiment);
    let cycles = conversation_scores(customers.clone());
    let (of_turns, of_cycles) = (windows.clone(), windows.clone());
    let turns = customers.explode(move |(turn, sentiment)| Some(scored_turn(&of_turns, &turn, sentiment)));
    let shifts = cycles.clone().explode(move |score| Some(shift(&of_cycles, &score)));
    Scores { contributions: turns.concat(shifts), conversations: cycles.map(|score| score.row), messages }
}

fn message_score(turn: &Turn, outcome: &Outcome) -> MessageScore {
    let (sentiment, error) = match outcome {
        Outcome::Scored(scores) => (Some(scores.sentiment), None),
        Outcome::Failed(reason) => (None, Some(reason.clone())),
    };
    MessageScore { day: day_of(turn.time_ms), turn: turn.clone(), sentiment, error }
}

fn customer_sentiment(score: MessageScore) -> Option<(Turn, Sentiment)> {
    let sentiment = score.sentiment?;
    (score.turn.speaker == Speaker::Customer).then_some((score.turn, sentiment))
}

fn scored_turn(windows: &Windows, turn: &Turn, sentiment: Sentiment) -> ((Window, Cell), TallyDiff) {
    let negative = sentiment.label() == SentimentLabel::Negative;
    let mut entries = Vec::with_capacity(3);
    contribute(kpi::SCORED_TURNS, 1, None, 1, &mut entries);
    contribute(kpi::SENTIMENT, i64::from(sentiment.score()), None, 1, &mut entries);
    contribute(kpi::NEGATIVE_TURNS, i64::from(negative), None, 1, &mut entries);
    contribution(windows, turn.time_ms, group_of(turn), entries)
}

fn group_of(turn: &Turn) -> Group {
    let Turn { conversation, channel, agent, team, queue, .. } = turn;
    Group { tenant: conversation.tenant, channel: Some(*channel), agent: *agent, team: *team, queue: *queue }
}

/// Why a scored message changes cells that were published.
pub fn explain(causes: &Causes, score: &MessageScore) {
    let turn = &score.turn;
    if causes.concern(turn.time_ms) && !causes.is_restart() {
        let events = [EventRef { source: turn.source, event_id: turn.event_id.clone() }];
        causes.add([Cause {
            group: group_of(turn),
            from_ms: turn.time_ms,
            to_ms: turn.time_ms,
            kind: CauseKind::Prediction,
            events: events.into(),
        }]);
    }
}

fn contribution(
    windows: &Windows,
    time_ms: TimeMs,
    group: Group,
    entries: Vec<(Slot, i64)>,
) -> ((Window, Cell), TallyDiff) {
    ((Window::Hour, cell_of(windows, Window::Hour, time_ms, group)), TallyDiff(Tally::from_entries(entries)))
}

/// A cycle's score counts at the last of its scored turns.
fn shift(windows: &Windows, score: &CycleScore) -> ((Window, Cell), TallyDiff) {
    let mut entries = Vec::with_capacity(2);
    contribute(kpi::SENTIMENT_SHIFT, score.row.sentiment_shift_millionths, None, 1, &mut entries);
    contribution(windows, score.last_ms, score.group, entries)
}

/// A row of conversation_scores, with the place of its last turn.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct CycleScore {
    row: ConversationScore,
    last_ms: TimeMs,
    group: Group,
}

/// Cycle a score belongs to: (conversation, cycle, day the cycle opened, channel).
type CycleKey = (ConversationKey, i64, i32, Symbol);
/// A scored customer turn, ordered as in the conversation: (time, source, event id, sentiment, group).
type ScoredTurn = (i64, String, String, Sentiment, Group);

fn conversation_scores<'scope>(
    customers: VecCollection<'scope, Epoch, (Turn, Sentiment), isize>,
) -> VecCollection<'scope, Epoch, CycleScore, isize> {
    let keyed = customers.map(|(turn, sentiment)| {
        let key: CycleKey = (turn.conversation, turn.cycle, turn.cycle_day, turn.channel);
        // Strings, not symbols: their order decides which turn is first.
        let value: ScoredTurn =
            (turn.time_ms, turn.source.to_string(), turn.event_id.to_string(), sentiment, group_of(&turn));
        (key, value)
    });
    arrange_keyed(keyed, |key: &CycleKey| key.0.stable_hash(), "ScoredTurns")
        .reduce_abelian::<_, ValBuilder<_, _, _, _>, ValSpine<CycleKey, CycleScore, Epoch, isize>, _, _>(
            "ConversationScores",
            |key, turns, out| out.push((conversation_score(key, turns), 1)),
            |batch, key, updates| {
                batch.clear();
                batch.extend(updates.drain(..).map(|(score, time, diff)| ((*key, score), time, diff)));
            },
        )
        .as_collection(|_, score| score.clone())
}

/// Millionths per unit of a score.
const SHIFT_PER_SCORE: i64 = 1_000_000 / SCORE_SCALE as i64;

/// A quotient rounded to the nearest integer.
fn half_away_from_zero(numerator: i64, denominator: i64) -> i64 {
    let denominator = denominator.max(1);
    (numerator.abs() * 2 + denominator) / (2 * denominator) * numerator.signum()
}

fn conversation_score(key: &CycleKey, turns: &[(&ScoredTurn, isize)]) -> CycleScore {
    let (conversation, cycle, day, channel) = *key;
    let sentiments: Vec<Sentiment> = turns.iter().map(|((_, _, _, sentiment, _), _)| *sentiment).collect();
    let values: Vec<i64> = sentiments.iter().map(|sentiment| i64::from(sentiment.score())).collect();
    let quarter = values.len().div_ceil(4);
    let (first, last): (i64, i64) = (values[..quarter].iter().sum(), values[values.len() - quarter..].iter().sum());
    let (last_ms, group) = turns.last().map_or_else(
        || unreachable!("a reduction sees no empty group"),
        |((time_ms, _, _, _, group), _)| (*time_ms, *group),
    );
    let row = ConversationScore {
        day,
        conversation,
        cycle,
        channel,
        scored_turns: values.len() as i64,
        sentiment_sum: values.iter().sum(),
        negative_turns: sentiments.iter().filter(|one| one.label() == SentimentLabel::Negative).count() as i64,
        first_sentiment: values.first().copied().unwrap_or(0),
        last_sentiment: values.last().copied().unwrap_or(0),
        sentiment_shift_millionths: half_away_from_zero((last - first) * SHIFT_PER_SCORE, quarter as i64),
    };
    CycleScore { row, last_ms, group }
}
