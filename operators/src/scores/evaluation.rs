//! How well the heads agree with what raters say, kept live: the confusion matrix of every head and day (rule 65).

use contactflow_schemas::event::mix;
use contactflow_schemas::facts::{LabelledText, ModelEvaluation};
use contactflow_schemas::prediction::TextHead;
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::windows::Windows;
use differential_dataflow::VecCollection;
use differential_dataflow::trace::implementations::{ValBuilder, ValSpine};
use serde::{Deserialize, Serialize};

use crate::cells::arrange_keyed;
use crate::epochs::Epoch;

/// A head on a day of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct EvaluationKey {
    tenant: Symbol,
    head: TextHead,
    is_candidate: bool,
    day: i32,
}

impl EvaluationKey {
    fn stable_hash(&self) -> u64 {
        mix(self.tenant.stable_hash() ^ (self.head as u64) << 40 ^ (self.is_candidate as u64) << 48 ^ self.day as u64)
    }
}

/// A labelled message, the class that a model gives it, and whether that is the candidate.
pub type Compared = (LabelledText, Symbol, bool);

/// Rows of model_eval from labelled messages with the classes that models give them.
pub fn evaluations<'scope>(
    compared: VecCollection<'scope, Epoch, Compared, isize>,
    windows: &Windows,
) -> VecCollection<'scope, Epoch, ModelEvaluation, isize> {
    let windows = windows.clone();
    let keyed = compared.map(move |(labelled, predicted, is_candidate)| {
        let LabelledText { tenant, time_ms, head, class, .. } = labelled;
        let key = EvaluationKey { tenant, head, is_candidate, day: windows.day_of(time_ms) };
        (key, (class, predicted))
    });
    arrange_keyed(keyed, EvaluationKey::stable_hash, "Compared")
        .reduce_abelian::<_, ValBuilder<_, _, _, _>, ValSpine<EvaluationKey, ModelEvaluation, Epoch, isize>, _, _>(
            "ModelEvaluations",
            |key, pairs, out| out.push((evaluation(key, pairs), 1)),
            |batch, key, updates| {
                batch.clear();
                batch.extend(updates.drain(..).map(|(row, time, diff)| ((*key, row), time, diff)));
            },
        )
        .as_collection(|_, row| row.clone())
}

fn evaluation(key: &EvaluationKey, pairs: &[(&(Symbol, Symbol), isize)]) -> ModelEvaluation {
    let mut confusion: Vec<(Symbol, Symbol, i64)> =
        pairs.iter().map(|((truth, predicted), count)| (*truth, *predicted, *count as i64)).collect();
    confusion.sort_by_key(|(truth, predicted, _)| (truth.as_str(), predicted.as_str()));
    let EvaluationKey { tenant, head, is_candidate, day } = *key;
    ModelEvaluation { day, tenant, head, is_candidate, confusion }
}
