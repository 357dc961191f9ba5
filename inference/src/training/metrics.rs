//! How good a classifier is: figures from its probabilities on labelled rows.

use std::collections::BTreeMap;

use serde::Serialize;

/// Bins of the expected calibration error.
const CALIBRATION_BINS: usize = 15;

/// Figures of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ClassMetrics {
    /// Right among those predicted as this class; 0 if none was.
    pub precision: f64,
    /// Found among those of this class; 0 if there is none.
    pub recall: f64,
    /// Harmonic mean of the two; 0 if both are.
    pub f1: f64,
    /// Rows of this class.
    pub n: u64,
}

/// Figures of a classifier on a set of labelled rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassificationReport {
    /// The model, as in the published tables.
    pub model_id: String,
    /// Rows.
    pub n: u64,
    /// Share of rows whose predicted class is right, 0 to 1.
    pub accuracy: f64,
    /// Unweighted mean of F1 over the classes that occur in the rows.
    pub macro_f1: f64,
    /// Mean gap between confidence and accuracy over 15 equal bins of confidence, weighted by rows, 0 to 1.
    pub expected_calibration_error: f64,
    /// Figures per class.
    pub per_class: BTreeMap<String, ClassMetrics>,
    /// Classes in the order of `confusion`.
    pub labels: Vec<String>,
    /// `confusion[true class][predicted class]` in rows.
    pub confusion: Vec<Vec<u64>>,
    /// Rows the model could not score; they count as wrong in no figure, and not in `n`.
    pub failed: u64,
}

impl ClassificationReport {
    /// Figures of `rows`, the index of the true class and the probabilities of all `labels`, where the most probable label
    /// is what a row is taken for.
    pub(crate) fn most_probable(model_id: &str, labels: &[String], rows: &[(usize, Vec<f64>)], failed: u64) -> Self {
        Self::new(model_id, labels, rows, failed, most_probable)
    }

    /// As [`most_probable`](Self::most_probable), where `decide` says which label probabilities stand for.
    pub(crate) fn new(
        model_id: &str,
        labels: &[String],
        rows: &[(usize, Vec<f64>)],
        failed: u64,
        decide: impl Fn(&[f64]) -> usize,
    ) -> Self {
        let decisions: Vec<usize> = rows.iter().map(|(_, probabilities)| decide(probabilities)).collect();
        Self::of_decisions(model_id, labels, rows, &decisions, failed)
    }

    /// As [`most_probable`](Self::most_probable), where each row was decided for one of `decisions`.
    pub(crate) fn of_decisions(
        model_id: &str,
        labels: &[String],
        rows: &[(usize, Vec<f64>)],
        decisions: &[usize],
        failed: u64,
    ) -> Self {
        let decided = rows.iter().map(|(truth, _)| *truth).zip(decisions.iter().copied());
        let confusion = confusion(labels.len(), decided);
        let classes: Vec<ClassMetrics> = (0..labels.len()).map(|class| class_metrics(&confusion, class)).collect();
        let right: u64 = (0..labels.len()).map(|class| confusion[class][class]).sum();
        Self {
            model_id: model_id.to_owned(),
            n: rows.len() as u64,
            accuracy: ratio(right, rows.len() as u64),
            macro_f1: mean_f1(&classes),
            expected_calibration_error: expected_calibration_error(rows),
            per_class: labels.iter().cloned().zip(classes).collect(),
            labels: labels.to_vec(),
            confusion,
            failed,
        }
    }
}

/// Index of the largest probability, the first of equals: as [`Sentiment::label`] breaks ties.
///
/// [`Sentiment::label`]: contactflow_schemas::prediction::Sentiment::label
fn most_probable(probabilities: &[f64]) -> usize {
    let better = |best: usize, index: usize| if probabilities[index] > probabilities[best] { index } else { best };
    (0..probabilities.len()).fold(0, better)
}

/// `confusion[true class][predicted class]` in rows.
fn confusion(classes: usize, decided: impl Iterator<Item = (usize, usize)>) -> Vec<Vec<u64>> {
    let mut confusion = vec![vec![0_u64; classes]; classes];
    for (truth, predicted) in decided {
        confusion[truth][predicted] += 1;
    }
    confusion
}

/// Macro-F1 of pairs of true and predicted class.
pub(crate) fn macro_f1(classes: usize, decided: impl Iterator<Item = (usize, usize)>) -> f64 {
    let confusion = confusion(classes, decided);
    mean_f1(&(0..classes).map(|class| class_metrics(&confusion, class)).collect::<Vec<_>>())
}

/// Over the classes that occur.
fn mean_f1(classes: &[ClassMetrics]) -> f64 {
    let present: Vec<f64> = classes.iter().filter(|class| class.n > 0).map(|class| class.f1).collect();
    if present.is_empty() { 0.0 } else { present.iter().sum::<f64>() / present.len() as f64 }
}

fn class_metrics(confusion: &[Vec<u64>], class: usize) -> ClassMetrics {
    let hits = confusion[class][class];
    let n = confusion[class].iter().sum();
    let predicted = confusion.iter().map(|row| row[class]).sum();
    ClassMetrics { precision: ratio(hits, predicted), recall: ratio(hits, n), f1: ratio(2 * hits, n + predicted), n }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn expected_calibration_error(rows: &[(usize, Vec<f64>)]) -> f64 {
    let mut gaps = [0.0_f64; CALIBRATION_BINS];
    for (truth, probabilities) in rows {
        let class = most_probable(probabilities);
        let confidence = probabilities.get(class).copied().unwrap_or_default();
        let bin = ((confidence * CALIBRATION_BINS as f64) as usize).min(CALIBRATION_BINS - 1);
        gaps[bin] += confidence - if class == *truth { 1.0 } else { 0.0 };
    }
    if rows.is_empty() { 0.0 } else { gaps.iter().map(|gap| gap.abs()).sum::<f64>() / rows.len() as f64 }
}

/// Mean negative log-likelihood of the true classes, in nats.
pub(crate) fn mean_loss(rows: &[(usize, Vec<f64>)]) -> f64 {
    let loss = |(truth, probabilities): &(usize, Vec<f64>)| {
        -probabilities.get(*truth).copied().unwrap_or_default().max(f64::MIN_POSITIVE).ln()
    };
    rows.iter().map(loss).sum::<f64>() / rows.len().max(1) as f64
}

/// The temperature that gives `logits` the highest likelihood of the true classes, between 1/4 and 8.
///
/// The negative log-likelihood is convex in 1/temperature, so a ternary search finds its minimum.
pub(crate) fn best_temperature(rows: &[(usize, Vec<f64>)]) -> f64 {
    let loss = |inverse: f64| -> f64 {
        let row_loss = |(truth, logits): &(usize, Vec<f64>)| {
            let probabilities = crate::quantise::softmax(logits, 1.0 / inverse);
            -probabilities.and_then(|p| p.get(*truth).copied()).unwrap_or(f64::MIN_POSITIVE).max(f64::MIN_POSITIVE).ln()
        };
        rows.iter().map(row_loss).sum()
    };
    let (mut low, mut high) = (1.0 / 8.0, 4.0);
    for _ in 0..60 {
        let third = (high - low) / 3.0;
        if loss(low + third) <= loss(high - third) { high -= third } else { low += third }
    }
    2.0 / (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_equal_a_hand_worked_example() {
        let labels = ["a", "b", "c"].map(str::to_owned);
        let row = |truth, predicted: usize| {
            let mut probabilities = vec![0.1; 3];
            probabilities[predicted] = 0.8;
            (truth, probabilities)
        };
        // a: 2 of 3 found, 1 stray b; b: 1 of 2 found; c never occurs and is never predicted.
        let rows = [row(0, 0), row(0, 0), row(0, 1), row(1, 1), row(1, 0)];
        let report = ClassificationReport::most_probable("m", &labels, &rows, 0);
        assert_eq!(report.confusion, [[2, 1, 0], [1, 1, 0], [0, 0, 0]]);
        assert!((report.accuracy - 0.6).abs() < 1e-12);
        assert!((report.per_class["a"].f1 - 2.0 / 3.0).abs() < 1e-12);
        assert!((report.per_class["b"].f1 - 0.5).abs() < 1e-12);
        assert!((report.macro_f1 - (2.0 / 3.0 + 0.5) / 2.0).abs() < 1e-12);
        assert!((report.expected_calibration_error - 0.2).abs() < 1e-12);
    }

    #[test]
    fn the_loss_is_the_mean_surprise() {
        assert!((mean_loss(&[(1, vec![0.5, 0.5]), (0, vec![1.0, 0.0])]) - 0.5 * 2.0_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn overconfident_logits_get_a_temperature_above_one() {
        // Right 3 of 4 times at logit gap 4: calibrated confidence 0.75 needs a gap of ln 3.
        let rows: Vec<(usize, Vec<f64>)> =
            (0..400).map(|index| (usize::from(index % 4 == 0), vec![4.0, 0.0])).collect();
        assert!((best_temperature(&rows) - 4.0 / 3.0_f64.ln()).abs() < 1e-3);
    }
}
