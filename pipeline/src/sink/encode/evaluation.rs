//! `model_eval`: numbers from confusion matrices.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use contactflow_schemas::facts::ModelEvaluation;
use contactflow_schemas::tables::Table;
use contactflow_schemas::windows::{Window, Windows};
use serde::{Deserialize, Serialize};

use super::writer::TableWriter;
use super::{EncodeError, unique};

/// What a class, or all of them, comes to.
#[derive(Default)]
struct Agreement {
    labelled: i64,
    predicted: i64,
    correct: i64,
}

/// A quotient; none over nothing.
fn quotient(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl Agreement {
    /// Correct of those predicted.
    fn precision(&self) -> Option<f64> {
        quotient(self.correct, self.predicted)
    }

    /// Correct of those labelled.
    fn recall(&self) -> Option<f64> {
        quotient(self.correct, self.labelled)
    }

    fn f1(&self) -> Option<f64> {
        quotient(2 * self.correct, self.labelled + self.predicted)
    }
}

/// The agreement on each class that a label or the head names, and on all together.
fn agreements(evaluation: &ModelEvaluation) -> (BTreeMap<&str, Agreement>, Agreement) {
    let mut classes: BTreeMap<&str, Agreement> = BTreeMap::new();
    let mut all = Agreement::default();
    for (truth, predicted, count) in &evaluation.confusion {
        let correct = if truth == predicted { *count } else { 0 };
        let of_truth = classes.entry(truth.as_str()).or_default();
        of_truth.labelled += count;
        of_truth.correct += correct;
        classes.entry(predicted.as_str()).or_default().predicted += count;
        all.labelled += count;
        all.predicted += count;
        all.correct += correct;
    }
    (classes, all)
}

/// The mean over classes that have a label, of which each counts once; a class without value counts as 0.
fn macro_mean(classes: &BTreeMap<&str, Agreement>, value: fn(&Agreement) -> Option<f64>) -> Option<f64> {
    let labelled = classes.values().filter(|class| class.labelled > 0);
    let (sum, count) = labelled.fold((0.0, 0), |(sum, count), class| (sum + value(class).unwrap_or(0.0), count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// The models of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelIds {
    /// Whose scores count; empty with inference off.
    pub published: String,
    /// Whose scores are shown beside them; empty without one.
    pub candidate: String,
}

impl fmt::Display for ModelIds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.published.is_empty(), self.candidate.is_empty()) {
            (true, _) => formatter.write_str("none"),
            (false, true) => formatter.write_str(&self.published),
            (false, false) => write!(formatter, "{}, candidate {}", self.published, self.candidate),
        }
    }
}

impl ModelIds {
    /// The one of the two.
    pub fn of(&self, is_candidate: bool) -> &str {
        if is_candidate { &self.candidate } else { &self.published }
    }

    /// True when `model_id` is one of them.
    pub fn have(&self, model_id: &str) -> bool {
        !model_id.is_empty() && (self.published == model_id || self.candidate == model_id)
    }
}

/// Encodes one partition of `model_eval`, by tenant, head, model (the published one first) and class (all of them first).
///
/// # Errors
/// [`EncodeError::DuplicateKey`] for a head that comes twice on a day.
pub fn encode_evaluations(
    evaluations: Vec<ModelEvaluation>,
    windows: &Windows,
    models: &ModelIds,
) -> Result<Bytes, EncodeError> {
    let table = Table::ModelEval;
    let key = |one: &ModelEvaluation| (one.tenant.as_str(), one.head.as_str(), one.is_candidate);
    let mut rows: Vec<_> = evaluations.iter().map(|evaluation| (key(evaluation), evaluation)).collect();
    rows.sort_unstable_by_key(|&(key, _)| key);
    unique(table, rows.iter().map(|&(key, _)| key))?;

    let mut writer = TableWriter::new(table, rows.len())?;
    for ((tenant, head, is_candidate), evaluation) in rows {
        let start_ms = windows.day_start_ms(evaluation.day);
        let end_ms = windows.end_ms(Window::Day, start_ms);
        let mut row = |class: Option<&str>, counts: &Agreement, quotients: [Option<f64>; 4]| {
            writer.text(tenant);
            writer.text(head);
            writer.text(class);
            writer.time(start_ms);
            writer.time(end_ms);
            writer.int(counts.labelled);
            writer.int(counts.predicted);
            writer.int(counts.correct);
            quotients.into_iter().for_each(|quotient| writer.float(quotient));
            writer.text(models.of(is_candidate));
            writer.end_row()
        };
        let (classes, all) = agreements(evaluation);
        let mean = |value| macro_mean(&classes, value);
        let overall = [
            quotient(all.correct, all.labelled),
            mean(Agreement::precision),
            mean(Agreement::recall),
            mean(Agreement::f1),
        ];
        row(None, &all, overall)?;
        for (class, counts) in &classes {
            row(Some(class), counts, [None, counts.precision(), counts.recall(), counts.f1()])?;
        }
    }
    writer.finish()
}
