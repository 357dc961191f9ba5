//! The quality of conversations: what the model answered to the sequences of turns of cycles (rule 67).
//!
//! Answers are kept under the key of their sequence. A cycle that goes back to an earlier sequence, because a turn was
//! taken back, finds the earlier answer.

use contactflow_schemas::catalogue::kpi;
use contactflow_schemas::facts::{ConversationScore, TurnAttention};
use contactflow_schemas::prediction::{ConversationOutcome, ConversationPrediction, ConversationScoreKey, RequestKey};
use contactflow_schemas::windows::Windows;
use differential_dataflow::VecCollection;
use timely::dataflow::operators::Inspect;

use super::{Contributions, CycleScore};
use crate::causes::{CauseKind, Causes};
use crate::cells::arrange_keyed;
use crate::epochs::Epoch;
use differential_dataflow::collection::AsCollection;

/// Cycles with their quality.
pub struct Qualities<'scope> {
    /// Rows of conversation_scores.
    pub rows: VecCollection<'scope, Epoch, ConversationScore, isize>,
    /// Contributions to the hourly cells.
    pub contributions: Contributions<'scope>,
}

/// Joins cycles with the answers to their sequences; a cycle without one keeps its row without quality.
pub fn qualities<'scope>(
    cycles: VecCollection<'scope, Epoch, CycleScore, isize>,
    answers: VecCollection<'scope, Epoch, ConversationPrediction, isize>,
    windows: &Windows,
    causes: Causes,
) -> Qualities<'scope> {
    let by_sequence = |key: &ConversationScoreKey| key.route();
    let asked = cycles.clone().flat_map(|score| Some((score.sequence.as_ref()?.key, score)));
    let asked = arrange_keyed(asked, by_sequence, "Sequences");
    let answers = arrange_keyed(answers.map(|answer| (answer.key, answer.outcome)), by_sequence, "Qualities");
    let answered = asked.join_core(answers, |_, score, outcome| Some((score.clone(), outcome.clone())));
    let explained = answered.inner.inspect(move |((score, _), _, _)| explain(&causes, score));
    let answered = explained.as_collection();
    let without = answered.clone().map(|(score, _)| score.row);
    let with = answered.clone().map(|(score, outcome)| with_quality(score, outcome));
    let in_windows = windows.clone();
    let contributions = answered.explode(move |(score, outcome)| match (score.sequence, outcome) {
        (Some(sequence), ConversationOutcome::Scored(quality)) => {
            let kpis = [(kpi::QUALITY_SCORED, 1), (kpi::QUALITY, i64::from(quality.score))];
            Some(sequence.place.contribution(&in_windows, &kpis))
        }
        _ => None,
    });
    Qualities { rows: cycles.map(|score| score.row).concat(without.negate()).concat(with), contributions }
}

fn with_quality(score: CycleScore, outcome: ConversationOutcome) -> ConversationScore {
    let mut row = score.row;
    match outcome {
        ConversationOutcome::Scored(quality) => {
            row.quality = Some(quality.score);
            let turns = score.sequence.iter().flat_map(|sequence| sequence.turns.as_slice());
            let attention = turns.zip(quality.attention).map(|(turn, weight)| TurnAttention {
                time_ms: turn.time_ms,
                event_id: turn.event.event_id.clone(),
                weight,
            });
            row.attention = attention.collect();
        }
        ConversationOutcome::Failed(reason) => row.quality_error = Some(reason),
    }
    row
}

/// Why a quality changes cells that were published.
fn explain(causes: &Causes, score: &CycleScore) {
    let Some(sequence) = &score.sequence else { return };
    let last = || sequence.turns.as_slice().last().map(|turn| turn.event.clone()).into_iter().collect();
    sequence.place.explain(causes, CauseKind::Prediction, last);
}
