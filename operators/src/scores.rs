//! Scored views: predictions joined to the turns that stand.
//!
//! A prediction is computed once per text and never taken back; a retraction only takes its turn out of the join, so it
//! never calls the model.

use contactflow_schemas::catalogue::Moment;
use contactflow_schemas::clock::{Window, day_of};
use contactflow_schemas::event::ConversationKey;
use contactflow_schemas::facts::{Cell, ConversationScore, MessageScore, Speaker, Turn};
use contactflow_schemas::prediction::{Outcome, Prediction, Sentiment, SentimentLabel, TextKey};
use contactflow_schemas::symbol::Symbol;
use differential_dataflow::VecCollection;
use differential_dataflow::trace::implementations::{ValBuilder, ValSpine};

use crate::cells::{arrange_keyed, contribution};
use crate::conversation::GaugeGroup;
use crate::difference::TallyDiff;
use crate::epochs::Epoch;

/// What follows from predictions.
pub struct Scores<'scope> {
    /// Rows of message_scores.
    pub messages: VecCollection<'scope, Epoch, MessageScore, isize>,
    /// Rows of conversation_scores.
    pub conversations: VecCollection<'scope, Epoch, ConversationScore, isize>,
    /// Contributions to the hourly cells.
    pub contributions: VecCollection<'scope, Epoch, Cell, TallyDiff>,
}

/// Joins turns with predictions by the content of their text.
pub fn scores<'scope>(
    turns: VecCollection<'scope, Epoch, Turn, isize>,
    predictions: VecCollection<'scope, Epoch, Prediction, isize>,
) -> Scores<'scope> {
    let by_text = |key: &TextKey| key.0 as u64;
    let turns = arrange_keyed(turns.map(|turn| (turn.text, turn)), by_text, "Turns");
    let predictions = predictions.map(|prediction| (prediction.key, prediction.outcome));
    let predictions = arrange_keyed(predictions, by_text, "Predictions");
    let messages = turns.join_core(predictions, |_, turn, outcome| Some(message_score(turn, outcome)));
    let customers = messages.clone().flat_map(customer_sentiment);
    Scores {
        contributions: customers.clone().explode(|(turn, sentiment)| Some(scored_turn(&turn, sentiment))),
        conversations: conversation_scores(customers),
        messages,
    }
}

fn message_score(turn: &Turn, outcome: &Outcome) -> MessageScore {
    let (sentiment, error) = match outcome {
        Outcome::Scored(sentiment) => (Some(*sentiment), None),
        Outcome::Failed(reason) => (None, Some(reason.clone())),
    };
    MessageScore { day: day_of(turn.time_ms), turn: turn.clone(), sentiment, error }
}

fn customer_sentiment(score: MessageScore) -> Option<(Turn, Sentiment)> {
    let sentiment = score.sentiment?;
    (score.turn.speaker == Speaker::Customer).then_some((score.turn, sentiment))
}

fn scored_turn(turn: &Turn, sentiment: Sentiment) -> (Cell, TallyDiff) {
    let group = GaugeGroup { tenant: turn.conversation.tenant, channel: turn.channel, agent: turn.agent };
    let moment = Moment::ScoredTurn {
        sentiment: i64::from(sentiment.score()),
        negative: sentiment.label() == SentimentLabel::Negative,
    };
    contribution(moment, turn.time_ms, Window::Hour, group)
}

/// Cycle a score belongs to: (conversation, cycle, day the cycle opened, channel).
type CycleKey = (ConversationKey, i64, i32, Symbol);
/// A scored customer turn, ordered as in the conversation: (time, source, event id, sentiment).
type ScoredTurn = (i64, String, String, Sentiment);

fn conversation_scores<'scope>(
    customers: VecCollection<'scope, Epoch, (Turn, Sentiment), isize>,
) -> VecCollection<'scope, Epoch, ConversationScore, isize> {
    let keyed = customers.map(|(turn, sentiment)| {
        let key: CycleKey = (turn.conversation, turn.cycle, turn.cycle_day, turn.channel);
        // Strings, not symbols: their order decides which turn is first.
        let value: ScoredTurn = (turn.time_ms, turn.source.to_string(), turn.event_id.to_string(), sentiment);
        (key, value)
    });
    arrange_keyed(keyed, |key: &CycleKey| key.0.stable_hash(), "ScoredTurns")
        .reduce_abelian::<_, ValBuilder<_, _, _, _>, ValSpine<CycleKey, ConversationScore, Epoch, isize>, _, _>(
            "ConversationScores",
            |key, turns, out| out.push((conversation_score(key, turns), 1)),
            |batch, key, updates| {
                batch.clear();
                batch.extend(updates.drain(..).map(|(score, time, diff)| ((*key, score), time, diff)));
            },
        )
        .as_collection(|_, score| score.clone())
}

fn conversation_score(key: &CycleKey, turns: &[(&ScoredTurn, isize)]) -> ConversationScore {
    let (conversation, cycle, day, channel) = *key;
    let sentiments: Vec<Sentiment> = turns.iter().map(|((_, _, _, sentiment), _)| *sentiment).collect();
    let values: Vec<i64> = sentiments.iter().map(|sentiment| i64::from(sentiment.score())).collect();
    let quarter = values.len().div_ceil(4);
    let mean = |values: &[i64]| values.iter().sum::<i64>() / (values.len() as i64).max(1);
    ConversationScore {
        day,
        conversation,
        cycle,
        channel,
        scored_turns: values.len() as i64,
        sentiment_sum: values.iter().sum(),
        negative_turns: sentiments.iter().filter(|one| one.label() == SentimentLabel::Negative).count() as i64,
        first_sentiment: values.first().copied().unwrap_or(0),
        last_sentiment: values.last().copied().unwrap_or(0),
        sentiment_shift: mean(&values[values.len() - quarter..]) - mean(&values[..quarter]),
    }
}
