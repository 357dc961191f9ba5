//! What the messages of a cycle say together: how sentiment moves, and the sequence of turns that its quality is asked
//! for once every turn has its prediction (rules 48, 67).
//!
//! The state is the answered turns of every cycle. A change computes what the cycle says before and after, a pure
//! function of its turns, and sends the difference; as for conversations, nothing derived is stored.

use std::collections::HashMap;
use std::sync::Arc;

use compact_str::CompactString;
use contactflow_schemas::catalogue::kpi;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::event::ConversationKey;
use contactflow_schemas::facts::{ConversationScore, MessageScore, Speaker, Turn};
use contactflow_schemas::prediction::{
    ConversationRequest, ConversationScoreKey, SCORE_SCALE, Sentiment, SentimentLabel, TURNS_MAX, TextKey, TurnInput,
    TurnVector,
};
use contactflow_schemas::symbol::{FastHash, Symbol};
use contactflow_schemas::windows::Windows;
use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use differential_dataflow::consolidation::consolidate;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::{Contributions, Place, group_of};
use crate::causes::{CauseKind, Causes, EventRef};
use crate::epochs::{Epoch, EpochBuffer};

/// What cycles say.
pub struct Cycles<'scope> {
    /// Cycles with scored customer messages.
    pub scores: VecCollection<'scope, Epoch, CycleScore, isize>,
    /// Sequences whose quality is wanted, as they stand at the end of a round; one that comes again is sent again.
    pub requests: Stream<'scope, Epoch, Vec<ConversationRequest>>,
    /// Contributions to the hourly cells.
    pub contributions: Contributions<'scope>,
}

/// A row of conversation_scores before its quality is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CycleScore {
    /// The row.
    pub row: ConversationScore,
    /// Where sentiment_shift counts: at the last scored customer message.
    pub place: Place,
    /// The turns in order, once all of them are answered.
    pub sequence: Option<Sequence>,
}

/// The turns of a cycle whose quality is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sequence {
    /// Under which the answer is kept.
    pub key: ConversationScoreKey,
    /// Which turns they are.
    pub turns: TurnRefs,
    /// Where the quality counts: at the last of them.
    pub place: Place,
}

/// Turns of a sequence, shared by everything that has to name them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<TurnRef>", into = "Vec<TurnRef>")]
pub struct TurnRefs(Arc<[TurnRef]>);

impl TurnRefs {
    /// The turns.
    pub fn as_slice(&self) -> &[TurnRef] {
        &self.0
    }
}

impl From<Vec<TurnRef>> for TurnRefs {
    fn from(turns: Vec<TurnRef>) -> Self {
        Self(turns.into())
    }
}

impl From<TurnRefs> for Vec<TurnRef> {
    fn from(turns: TurnRefs) -> Self {
        turns.0.to_vec()
    }
}

/// A turn, by the event of its message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TurnRef {
    /// When it was sent.
    pub time_ms: TimeMs,
    /// Its event.
    pub event: EventRef,
}

/// Cycle a turn belongs to: the day it opened and the channel are part of what its row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct CycleKey {
    conversation: ConversationKey,
    cycle: i64,
    day: i32,
    channel: Symbol,
}

impl CycleKey {
    fn of(turn: &Turn) -> Self {
        let Turn { conversation, cycle, cycle_day, channel, .. } = *turn;
        Self { conversation, cycle, day: cycle_day, channel }
    }
}

/// A turn with its answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct AnsweredTurn {
    time_ms: TimeMs,
    source: Symbol,
    event_id: CompactString,
    place: Place,
    speaker: Speaker,
    chars: u32,
    text: TextKey,
    /// None where the model failed: such a turn is part of nothing, but waited for no longer.
    scored: Option<(Sentiment, TurnVector)>,
}

impl AnsweredTurn {
    fn of(score: MessageScore) -> Self {
        let turn = score.turn;
        Self {
            place: Place { time_ms: turn.time_ms, group: group_of(&turn) },
            time_ms: turn.time_ms,
            source: turn.source,
            event_id: turn.event_id,
            speaker: turn.speaker,
            chars: turn.chars,
            text: turn.text,
            scored: score.scores.map(|scores| (scores.sentiment, scores.vector.clone())),
        }
    }

    /// Place in the order of the conversation (rule 5).
    fn order(&self) -> (TimeMs, &'static str, &str) {
        (self.time_ms, self.source.as_str(), &self.event_id)
    }

    fn event(&self) -> EventRef {
        EventRef { source: self.source, event_id: self.event_id.clone() }
    }
}

/// What comes to a cycle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Item {
    /// A turn that needs an answer.
    Due,
    /// One that has it.
    Answered(Box<AnsweredTurn>),
}

/// The turns of a cycle.
#[derive(Default)]
struct Cycle {
    due: isize,
    /// In order.
    answered: Vec<AnsweredTurn>,
}

impl Cycle {
    fn apply(&mut self, item: &Item, diff: isize) {
        match item {
            Item::Due => self.due += diff,
            Item::Answered(turn) if diff > 0 => {
                let at = self.answered.partition_point(|other| other.order() <= turn.order());
                self.answered.insert(at, (**turn).clone());
            }
            Item::Answered(turn) => {
                if let Some(at) = self.answered.iter().position(|other| other == &**turn) {
                    self.answered.remove(at);
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.due == 0 && self.answered.is_empty()
    }

    /// The turns that the model scored.
    fn scored(&self) -> impl DoubleEndedIterator<Item = (&AnsweredTurn, &Sentiment, &TurnVector)> {
        self.answered
            .iter()
            .filter_map(|turn| turn.scored.as_ref().map(|(sentiment, vector)| (turn, sentiment, vector)))
    }

    fn says(&self, key: &CycleKey, with_quality: bool) -> Option<CycleScore> {
        let customers = self.scored().filter(|(turn, ..)| turn.speaker == Speaker::Customer);
        let (values, places): (Vec<Sentiment>, Vec<Place>) =
            customers.map(|(turn, sentiment, _)| (*sentiment, turn.place)).unzip();
        let place = *places.last()?;
        let sequence = if with_quality { self.sequence() } else { None };
        Some(CycleScore { row: row(key, &values), place, sequence })
    }

    /// The turns whose quality is asked for; none while one waits for its answer (rule 67), and none where no customer's text
    /// has a vector: the head of conversations does not know their language.
    fn sequence(&self) -> Option<Sequence> {
        let is_known = |(turn, _, vector): (&AnsweredTurn, &Sentiment, &TurnVector)| {
            turn.speaker == Speaker::Customer && !vector.as_slice().is_empty()
        };
        if self.due != self.answered.len() as isize || !self.last_scored().any(is_known) {
            return None;
        }
        let turns = self.inputs();
        let refs: Vec<TurnRef> =
            self.last_scored().map(|(turn, ..)| TurnRef { time_ms: turn.time_ms, event: turn.event() }).collect();
        let (last, ..) = self.scored().next_back()?;
        Some(Sequence { key: ConversationScoreKey::of(&turns), turns: refs.into(), place: last.place })
    }

    fn last_scored(&self) -> impl Iterator<Item = (&AnsweredTurn, &Sentiment, &TurnVector)> {
        let all = self.scored().count();
        self.scored().skip(all.saturating_sub(TURNS_MAX))
    }

    fn inputs(&self) -> Vec<TurnInput> {
        let mut before_ms: Option<TimeMs> = None;
        self.last_scored()
            .map(|(turn, _, vector)| TurnInput {
                text: turn.text,
                vector: vector.clone(),
                speaker: turn.speaker,
                gap_ms: before_ms.replace(turn.time_ms).map_or(0, |before_ms| turn.time_ms - before_ms),
                chars: turn.chars,
            })
            .collect()
    }
}

/// Millionths per unit of a score.
const SHIFT_PER_SCORE: i64 = 1_000_000 / SCORE_SCALE as i64;

/// A quotient rounded to the nearest integer.
fn half_away_from_zero(numerator: i64, denominator: i64) -> i64 {
    let denominator = denominator.max(1);
    (numerator.abs() * 2 + denominator) / (2 * denominator) * numerator.signum()
}

/// The row of a cycle with these sentiments of customer messages, of which there is at least one.
fn row(key: &CycleKey, sentiments: &[Sentiment]) -> ConversationScore {
    let values: Vec<i64> = sentiments.iter().map(|sentiment| i64::from(sentiment.score())).collect();
    let quarter = values.len().div_ceil(4);
    let (first, last): (i64, i64) = (values[..quarter].iter().sum(), values[values.len() - quarter..].iter().sum());
    ConversationScore {
        day: key.day,
        conversation: key.conversation,
        cycle: key.cycle,
        channel: key.channel,
        scored_turns: values.len() as i64,
        sentiment_sum: values.iter().sum(),
        negative_turns: sentiments.iter().filter(|one| one.label == SentimentLabel::Negative).count() as i64,
        first_sentiment: values.first().copied().unwrap_or(0),
        last_sentiment: values.last().copied().unwrap_or(0),
        sentiment_shift_millionths: half_away_from_zero((last - first) * SHIFT_PER_SCORE, quarter as i64),
        quality: None,
        quality_error: None,
        attention: Vec::new(),
    }
}

/// One worker's cycles.
struct Store {
    cycles: HashMap<CycleKey, Cycle, FastHash>,
    /// Cycles whose sequence has changed in the round of this epoch or before.
    changed: HashMap<CycleKey, Epoch, FastHash>,
    with_quality: bool,
    causes: Causes,
}

type CycleDiffs = Vec<(CycleScore, isize)>;

impl Store {
    fn process(&mut self, epoch: Epoch, mut items: Vec<((CycleKey, Item), isize)>) -> CycleDiffs {
        consolidate(&mut items);
        let mut scores = CycleDiffs::new();
        for items in items.chunk_by(|((left, _), _), ((right, _), _)| left == right) {
            self.change(epoch, items[0].0.0, items, &mut scores);
        }
        scores
    }

    /// The sequences of cycles that have changed in rounds that are over.
    fn requests(&mut self, is_over: impl Fn(Epoch) -> bool) -> Vec<ConversationRequest> {
        let mut keys = Vec::new();
        self.changed.retain(|key, epoch| {
            let over = is_over(*epoch);
            keys.extend(over.then_some(*key));
            !over
        });
        let asked = keys.iter().filter_map(|key| {
            let cycle = self.cycles.get(key)?;
            let sequence = cycle.says(key, self.with_quality)?.sequence?;
            Some(ConversationRequest { key: sequence.key, turns: cycle.inputs() })
        });
        asked.collect()
    }

    fn change(&mut self, epoch: Epoch, key: CycleKey, items: &[((CycleKey, Item), isize)], scores: &mut CycleDiffs) {
        let cycle = self.cycles.entry(key).or_default();
        let before = cycle.says(&key, self.with_quality);
        // What goes makes room first: a turn that changes is taken out and put back in.
        for is_gone in [true, false] {
            let part = items.iter().filter(|(_, diff)| (*diff < 0) == is_gone);
            part.for_each(|((_, item), diff)| cycle.apply(item, *diff));
        }
        let after = cycle.says(&key, self.with_quality);
        let asked = |score: &Option<CycleScore>| score.as_ref().and_then(|score| Some(score.sequence.as_ref()?.key));
        if asked(&after).is_some() && asked(&before) != asked(&after) {
            self.changed.insert(key, epoch);
        }
        if cycle.is_empty() {
            self.cycles.remove(&key);
        }
        if before != after {
            for score in before.iter().chain(&after) {
                explain(&self.causes, score, items);
            }
            scores.extend(before.map(|score| (score, -1)));
            scores.extend(after.map(|score| (score, 1)));
        }
    }
}

/// Why what a cycle says changed, where that counts: turns came or went, or were answered.
fn explain(causes: &Causes, score: &CycleScore, items: &[((CycleKey, Item), isize)]) {
    let of_quality = score.sequence.as_ref().map(|sequence| sequence.place);
    for place in [Some(score.place), of_quality].into_iter().flatten() {
        let is_event = items.iter().any(|((_, item), _)| *item == Item::Due);
        let kind = if is_event { CauseKind::Events } else { CauseKind::Prediction };
        let events = || {
            let answered = items.iter().filter_map(|((_, item), _)| match item {
                Item::Answered(turn) => Some(turn.event()),
                Item::Due => None,
            });
            answered.collect()
        };
        place.explain(causes, kind, events);
    }
}

/// When the quality of cycles is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    /// Ever.
    pub with_quality: bool,
    /// The round of an epoch. What a cycle passes through within a round, while its rows are still being read, is not
    /// worth asking about: requests are made when a round is over.
    pub round_of: fn(Epoch) -> u64,
}

/// What cycles say of their turns, of which those in `messages` are answered.
pub fn cycles<'scope>(
    turns: VecCollection<'scope, Epoch, Turn, isize>,
    messages: VecCollection<'scope, Epoch, MessageScore, isize>,
    asking: Asking,
    windows: &Windows,
    causes: Causes,
) -> Cycles<'scope> {
    let due = turns.map(|turn| (CycleKey::of(&turn), Item::Due));
    let answered = messages.map(|score| {
        let key = CycleKey::of(&score.turn);
        (key, Item::Answered(Box::new(AnsweredTurn::of(score))))
    });
    let items = due.concat(answered).inner;
    let mut builder = OperatorBuilder::new("Cycles".to_owned(), items.scope());
    let route = Exchange::new(|((key, _), _, _): &((CycleKey, Item), Epoch, isize)| key.conversation.stable_hash());
    let mut input = builder.new_input(items, route);
    let (scores_output, scores) = builder.new_output();
    let (requests_output, requests) = builder.new_output();
    let mut scores_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(scores_output);
    let mut requests_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(requests_output);
    builder.build(move |mut capabilities| {
        let mut buffer = EpochBuffer::new(1);
        let Asking { with_quality, round_of } = asking;
        let mut store = Store { cycles: HashMap::default(), changed: HashMap::default(), with_quality, causes };
        // For requests: it follows the frontier, so nothing behind waits for the end of a round.
        let mut held = capabilities.pop();
        move |frontiers| {
            input.for_each(|capability, rows: &mut Vec<_>| {
                buffer.stash_updates(&capability, rows.drain(..).map(|(item, epoch, diff)| (epoch, (item, diff))));
            });
            while let Some(mut batch) = buffer.next_complete(&[&frontiers[0]]) {
                let items = batch.take_items().collect();
                let scores = store.process(batch.epoch, items).into_iter();
                let scores = scores.map(|(score, diff)| (score, batch.epoch, diff));
                scores_output.activate().session(&batch.capabilities[0]).give_iterator(scores);
            }
            let now = frontiers[0].frontier().first().copied();
            if let Some(capability) = &mut held {
                if let Some(now) = &now {
                    capability.downgrade(now);
                }
                let is_over = |epoch| now.is_none_or(|now| round_of(now) > round_of(epoch));
                let requests = store.requests(is_over).into_iter();
                requests_output.activate().session(capability).give_iterator(requests);
            }
            if now.is_none() {
                held = None;
            }
        }
    });
    let scores: VecCollection<'scope, Epoch, CycleScore, isize> = scores.as_collection();
    let in_windows = windows.clone();
    let contributions = scores.clone().explode(move |score| {
        let shift = score.row.sentiment_shift_millionths;
        Some(score.place.contribution(&in_windows, &[(kpi::SENTIMENT_SHIFT, shift)]))
    });
    Cycles { scores, requests, contributions }
}

#[cfg(test)]
#[path = "cycles_tests.rs"]
mod tests;
