//! Scored views: predictions joined to the turns that stand.
//!
//! A prediction is computed once per text and never taken back; a retraction only takes its turn out of the join, so it
//! never calls the model. What follows from the messages of a cycle together is in [`cycles`](self::cycles), the quality
//! that the model gives such a cycle in [`quality`](self::quality).

mod cycles;
mod evaluation;
mod quality;
mod topics;

pub use cycles::{Asking, CycleScore, Cycles, Sequence, TurnRef, cycles};
pub use evaluation::{Compared, evaluations};
pub use quality::{Qualities, qualities};
pub use topics::topics;

use contactflow_schemas::catalogue::{contribute, kpi};
use contactflow_schemas::clock::{TimeMs, day_of};
use contactflow_schemas::facts::{Cell, Group, LabelledText, MessageScore, Speaker, Turn};
use contactflow_schemas::prediction::{
    EmotionLabel, Outcome, Prediction, SentimentLabel, SharedScores, TextKey, TextScores,
};
use contactflow_schemas::rules::KpiRules;
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tally::{KpiId, Slot, Tally};
use contactflow_schemas::windows::{Window, Windows};
use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};

use crate::causes::{Cause, CauseKind, Causes, EventRef};
use crate::cells::{arrange_keyed, cell_of};
use crate::difference::TallyDiff;
use crate::epochs::Epoch;

/// What cells of the hour gain.
pub type Contributions<'scope> = VecCollection<'scope, Epoch, (Window, Cell), TallyDiff>;

/// What follows from predictions of texts.
pub struct Scores<'scope> {
    /// Rows of message_scores.
    pub messages: VecCollection<'scope, Epoch, MessageScore, isize>,
    /// What raters say beside what the model says, for [`evaluations`].
    pub compared: VecCollection<'scope, Epoch, Compared, isize>,
}

/// What the model answered to a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Answered {
    Scored(SharedScores),
    Failed(String),
}

/// Joins turns, and messages of which somebody told the class, with the predictions of a model by the content of their text.
pub fn scores<'scope>(
    turns: VecCollection<'scope, Epoch, Turn, isize>,
    labelled: VecCollection<'scope, Epoch, LabelledText, isize>,
    predictions: VecCollection<'scope, Epoch, Prediction, isize>,
    is_candidate: bool,
) -> Scores<'scope> {
    let by_text = |key: &TextKey| key.0 as u64;
    let turns = arrange_keyed(turns.map(|turn| (turn.text, turn)), by_text, "Turns");
    let predictions = predictions.map(|Prediction { key, outcome }| {
        let answered = match outcome {
            Outcome::Scored(scores) => Answered::Scored((*scores).into()),
            Outcome::Failed(reason) => Answered::Failed(reason),
        };
        (key, answered)
    });
    let predictions = arrange_keyed(predictions, by_text, "Predictions");
    let messages = turns.join_core(predictions.clone(), |_, turn, answered| Some(message_score(turn, answered)));
    let labelled = arrange_keyed(labelled.map(|row| (row.text, row)), by_text, "LabelledTexts");
    let compared = labelled.join_core(predictions, move |_, row, answered| {
        let Answered::Scored(scores) = answered else { return None };
        Some((*row, Symbol::new(scores.class_of(row.head)?), is_candidate))
    });
    Scores { messages, compared }
}

/// What single messages contribute to the hourly cells.
pub fn contributions<'scope>(
    messages: VecCollection<'scope, Epoch, MessageScore, isize>,
    rules: &KpiRules,
    windows: &Windows,
) -> Contributions<'scope> {
    let (windows, threshold) = (windows.clone(), rules.improper_threshold.0);
    messages.flat_map(move |score| contribution_of(&windows, threshold, &score)).explode(Some)
}

fn message_score(turn: &Turn, answered: &Answered) -> MessageScore {
    let (scores, error) = match answered {
        Answered::Scored(scores) => (Some(scores.clone()), None),
        Answered::Failed(reason) => (None, Some(reason.clone())),
    };
    MessageScore { day: day_of(turn.time_ms), turn: turn.clone(), scores, error }
}

/// Rules 22, 66.
fn contribution_of(windows: &Windows, threshold: i32, score: &MessageScore) -> Option<((Window, Cell), TallyDiff)> {
    let (scores, turn) = (score.scores.as_ref()?, &score.turn);
    let mut entries = Vec::with_capacity(8);
    let mut add = |kpi: KpiId, value: i64| contribute(kpi, value, None, 1, &mut entries);
    if turn.speaker == Speaker::Customer {
        add(kpi::SCORED_TURNS, 1);
        add(kpi::SENTIMENT, i64::from(scores.sentiment.score()));
        add(kpi::NEGATIVE_TURNS, i64::from(is_negative(scores)));
    }
    let tone = ToneKpis::of(turn.speaker);
    if let Some(emotion) = scores.emotion {
        add(tone.scored, 1);
        add(tone.label(emotion.label), 1);
    }
    if let Some(offensive) = scores.offensive {
        add(tone.offensive_scored, 1);
        add(tone.offensive, i64::from(offensive.is_offensive));
    }
    if turn.is_reply && scores.offensive.is_some_and(|offensive| offensive.probability >= threshold) {
        add(kpi::IMPROPER_REPLIES, 1);
    }
    Some(contribution(windows, turn.time_ms, group_of(turn), entries))
}

/// The KPIs of tone of one side of the conversation.
struct ToneKpis {
    scored: KpiId,
    angry: KpiId,
    joy: KpiId,
    optimism: KpiId,
    sadness: KpiId,
    offensive_scored: KpiId,
    offensive: KpiId,
}

impl ToneKpis {
    fn of(speaker: Speaker) -> Self {
        match speaker {
            Speaker::Customer => Self {
                scored: kpi::TONE_CUSTOMER,
                angry: kpi::TONE_ANGRY_CUSTOMER,
                joy: kpi::TONE_JOY_CUSTOMER,
                optimism: kpi::TONE_OPTIMISM_CUSTOMER,
                sadness: kpi::TONE_SADNESS_CUSTOMER,
                offensive_scored: kpi::OFFENSIVE_SCORED_CUSTOMER,
                offensive: kpi::TONE_OFFENSIVE_CUSTOMER,
            },
            Speaker::Agent => Self {
                scored: kpi::TONE_AGENT,
                angry: kpi::TONE_ANGRY_AGENT,
                joy: kpi::TONE_JOY_AGENT,
                optimism: kpi::TONE_OPTIMISM_AGENT,
                sadness: kpi::TONE_SADNESS_AGENT,
                offensive_scored: kpi::OFFENSIVE_SCORED_AGENT,
                offensive: kpi::TONE_OFFENSIVE_AGENT,
            },
        }
    }

    fn label(&self, label: EmotionLabel) -> KpiId {
        match label {
            EmotionLabel::Anger => self.angry,
            EmotionLabel::Joy => self.joy,
            EmotionLabel::Optimism => self.optimism,
            EmotionLabel::Sadness => self.sadness,
        }
    }
}

fn is_negative(scores: &TextScores) -> bool {
    scores.sentiment.label == SentimentLabel::Negative
}

fn group_of(turn: &Turn) -> Group {
    let Turn { conversation, channel, agent, team, queue, .. } = turn;
    Group { tenant: conversation.tenant, channel: Some(*channel), agent: *agent, team: *team, queue: *queue }
}

/// Why a scored message changes cells that were published.
pub fn explain(causes: &Causes, score: &MessageScore) {
    let turn = &score.turn;
    let place = Place { time_ms: turn.time_ms, group: group_of(turn) };
    let event = || EventRef { source: turn.source, event_id: turn.event_id.clone() };
    place.explain(causes, CauseKind::Prediction, || std::iter::once(event()).collect());
}

/// Where a score counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// When.
    pub time_ms: TimeMs,
    /// For whom.
    pub group: Group,
}

impl Place {
    fn contribution(&self, windows: &Windows, kpis: &[(KpiId, i64)]) -> ((Window, Cell), TallyDiff) {
        let mut entries = Vec::with_capacity(2 * kpis.len());
        for &(kpi, value) in kpis {
            contribute(kpi, value, None, 1, &mut entries);
        }
        contribution(windows, self.time_ms, self.group, entries)
    }

    /// Adds a cause of a change here, if it can reach what was published.
    fn explain(&self, causes: &Causes, kind: CauseKind, events: impl FnOnce() -> std::sync::Arc<[EventRef]>) {
        if causes.concern(self.time_ms) && !causes.is_restart() {
            let Place { time_ms, group } = *self;
            causes.add([Cause { group, from_ms: time_ms, to_ms: time_ms, kind, events: events() }]);
        }
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
