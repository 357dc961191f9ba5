//! The rows of a run, their classes, and which of them a network learns from and which it is measured on.

use std::collections::BTreeSet;

use contactflow_schemas::prediction::TextHead;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use crate::error::{InferenceError, Result};
use crate::head::accepts;
use crate::text_encoder::TextEncoder;
use crate::training::labels::{LabelledText, fold_of, is_validation, without_repeats};
use crate::training::options::TrainOptions;

/// Rows to learn from and rows to measure on, none of them on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Rows to learn from.
    pub(crate) training: Vec<usize>,
    /// Rows held out.
    pub(crate) validation: Vec<usize>,
}

/// The rows of a run: which classes they have, which part each belongs to.
pub(crate) struct Task {
    pub(crate) rows: Vec<LabelledText>,
    pub(crate) labels: Vec<String>,
    /// Per row, the index of its label.
    pub(crate) classes: Vec<usize>,
    /// One part held out, or one per fold.
    pub(crate) parts: Vec<Part>,
}

impl Task {
    /// Drops repeats and rows in other languages, finds the labels and splits.
    pub(crate) fn new(rows: Vec<LabelledText>, options: &TrainOptions) -> Result<Self> {
        let mut rows = without_repeats(rows);
        rows.retain(|row| row.is_in(options.language));
        let labels = labels(&rows, options.head)?;
        let classes = rows.iter().map(|row| class_of(row, &labels)).collect::<Result<Vec<usize>>>()?;
        let parts = parts(&rows, options);
        if labels.len() < 2 || parts.iter().any(|part| part.training.is_empty() || part.validation.is_empty()) {
            let smallest = |of: fn(&Part) -> usize| parts.iter().map(of).min().unwrap_or_default();
            let (training, validation) = (smallest(|part| part.training.len()), smallest(|part| part.validation.len()));
            return Err(InferenceError::Labels(format!(
                "{training} training and {validation} validation rows in `{}` with {} labels; both parts need some, and two labels (files, validation_fraction, folds, language?)",
                options.language.as_str(),
                labels.len()
            )));
        }
        Ok(Self { rows, labels, classes, parts })
    }

    /// The only part of a run without folds.
    pub(crate) fn held_out(&self) -> &Part {
        &self.parts[0]
    }

    /// All rows, in order.
    pub(crate) fn all(&self) -> Vec<usize> {
        (0..self.rows.len()).collect()
    }

    pub(crate) fn texts(&self, members: &[usize]) -> Vec<&str> {
        members.iter().map(|&member| self.rows[member].text.as_str()).collect()
    }

    pub(crate) fn classes_of(&self, members: &[usize]) -> Vec<usize> {
        members.iter().map(|&member| self.classes[member]).collect()
    }

    /// The rows that the neural branch may learn from, in order: a seeded choice where there are more than `neural_rows_max`.
    pub(crate) fn neural_rows(&self, options: &TrainOptions) -> BTreeSet<usize> {
        let learnt: BTreeSet<usize> = self.parts.iter().flat_map(|part| part.training.iter().copied()).collect();
        let mut chosen: Vec<usize> = learnt.into_iter().collect();
        if chosen.len() > options.neural_rows_max {
            chosen.shuffle(&mut ChaCha8Rng::seed_from_u64(options.seed));
            chosen.truncate(options.neural_rows_max);
        }
        chosen.into_iter().collect()
    }

    /// Names the run: equal for equal rows, options and encoders.
    pub(crate) fn fingerprint(&self, options: &TrainOptions, text_encoder: &TextEncoder) -> String {
        let mut digest = Sha256::new();
        digest.update(text_encoder.fingerprint());
        // Where files lie makes no difference.
        let mut knobs =
            TrainOptions { inputs: Vec::new(), output: None, checkpoint: None, feature_cache: None, ..options.clone() };
        if let Some(corrections) = &mut knobs.corrections {
            corrections.output = None;
        }
        digest.update(format!("{knobs:?}"));
        digest.update(self.digest());
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Digest of the rows and their classes.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for (row, class) in self.rows.iter().zip(&self.classes) {
            digest.update(format!("{} {class} {}\n", row.text.len(), row.text));
        }
        digest.finalize().into()
    }
}

/// One part held out, or every fold in its turn: by a seeded hash of each text alone.
fn parts(rows: &[LabelledText], options: &TrainOptions) -> Vec<Part> {
    let part = |held_out: &dyn Fn(&str) -> bool| {
        let (validation, training) = (0..rows.len()).partition(|&index| held_out(&rows[index].text));
        Part { training, validation }
    };
    match options.folds {
        None => vec![part(&|text| is_validation(text, options.seed, options.validation_fraction))],
        Some(folds) => (0..folds).map(|fold| part(&|text| fold_of(text, options.seed, folds) == fold)).collect(),
    }
}

/// Labels in the order of the logits: those the head may have, as far as the rows have them, or else all that the rows have.
fn labels(rows: &[LabelledText], head: TextHead) -> Result<Vec<String>> {
    let found: BTreeSet<&str> = rows.iter().map(|row| row.label.as_str()).collect();
    let Some(known) = head.labels() else { return Ok(found.into_iter().map(str::to_owned).collect()) };
    if let Some(unknown) = found.iter().find(|label| !known.contains(label)) {
        return Err(unknown_label(unknown, &known));
    }
    let labels: Vec<String> =
        known.iter().filter(|label| found.contains(*label)).map(|label| (*label).to_owned()).collect();
    if labels.len() >= 2 && !accepts(head, &labels) {
        let (found, known) = (labels.join(", "), known.join(", "));
        return Err(InferenceError::Labels(format!("the rows have the labels {found} only; the head needs {known}")));
    }
    Ok(labels)
}

fn unknown_label(label: &str, known: &[impl AsRef<str>]) -> InferenceError {
    let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    InferenceError::Labels(format!("label `{label}` is none of {}", known.join(", ")))
}

/// Index of the row's label; the error names both the label and the known ones.
pub(crate) fn class_of(row: &LabelledText, labels: &[String]) -> Result<usize> {
    labels.iter().position(|label| *label == row.label).ok_or_else(|| unknown_label(&row.label, labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;

    #[test]
    fn every_row_is_held_out_of_one_fold_and_in_the_training_part_of_the_others() {
        let row = |index: usize| LabelledText {
            text: format!("text {index}"),
            label: if index.is_multiple_of(2) { "negative" } else { "positive" }.to_owned(),
            lang: String::new(),
        };
        let shipped = TrainOptions::shipped(TextHead::Sentiment, Language::En);
        let task = Task::new((0..500).map(row).collect(), &TrainOptions { folds: Some(5), ..shipped }).expect("splits");
        let mut held_out: Vec<usize> = task.parts.iter().flat_map(|part| part.validation.clone()).collect();
        held_out.sort_unstable();
        assert_eq!(held_out, task.all());
        for part in &task.parts {
            assert!((60..140).contains(&part.validation.len()), "{}", part.validation.len());
            let mut both = [&part.training[..], &part.validation].concat();
            both.sort_unstable();
            assert_eq!(both, task.all());
        }
    }
}
