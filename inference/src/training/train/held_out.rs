//! What rows that a network has not learnt from decide of a head, and what figures they give.

use crate::error::{InferenceError, Result};
use crate::head::{HeadMetadata, mix};
use crate::lexical::LexicalBranch;
use crate::quantise::softmax;
use crate::training::metrics::{ClassificationReport, best_temperature, macro_f1, mean_loss};
use crate::training::options::TrainOptions;
use crate::training::thresholds::best_label_bias;
use crate::training::train::task::{Part, Task};

/// Steps of the search for the lexical branch's share.
const SHARE_STEPS: u32 = 20;

/// True classes and logits of rows, each by networks that have not learnt from it.
pub(super) struct HeldOut {
    classes: Vec<usize>,
    pub(super) neural: Vec<Vec<f64>>,
    pub(super) lexical: Option<Vec<Vec<f64>>>,
}

impl HeldOut {
    /// The validation rows of all parts: `neural` logits in their order, and the logits of the part's own lexical branch,
    /// where there are any.
    pub(super) fn new(task: &Task, neural: &[Vec<f32>], lexical: &[LexicalBranch]) -> Self {
        let double = |row: &Vec<f32>| row.iter().map(|&logit| f64::from(logit)).collect();
        let of_part = |(part, branch): (&Part, &LexicalBranch)| -> Vec<Vec<f64>> {
            task.texts(&part.validation).into_iter().map(|text| branch.logits(text)).collect()
        };
        let lexical = (!lexical.is_empty()).then(|| task.parts.iter().zip(lexical).flat_map(of_part).collect());
        let classes = task.parts.iter().flat_map(|part| task.classes_of(&part.validation)).collect();
        Self { classes, neural: neural.iter().map(double).collect(), lexical }
    }

    /// Class and logits of every row, with the lexical ones in the given share.
    fn mixed(&self, share: f64) -> Vec<(usize, Vec<f64>)> {
        let row = |index: usize| {
            let neural = &self.neural[index];
            let lexical = self.lexical.as_ref().map(|rows| mix(neural.iter().copied(), &rows[index], share));
            (self.classes[index], lexical.unwrap_or_else(|| neural.clone()))
        };
        (0..self.classes.len()).map(row).collect()
    }

    /// The metadata with what these rows decide: the lexical share and the temperature of the lowest loss, and the thresholds
    /// of the highest macro-F1 where they are asked for.
    pub(super) fn calibrated(&self, metadata: HeadMetadata, options: &TrainOptions) -> Result<HeadMetadata> {
        let steps = if self.lexical.is_some() { SHARE_STEPS } else { 0 };
        let mut best: Option<(f64, f64, f64)> = None;
        for step in 0..=steps {
            let share = f64::from(step) / f64::from(SHARE_STEPS);
            let rows = self.mixed(share);
            let temperature = best_temperature(&rows);
            let loss = mean_loss(&probabilities(&rows, temperature)?);
            if best.is_none_or(|(least, ..)| loss < least) {
                best = Some((loss, share, temperature));
            }
        }
        let (_, lexical_share, temperature) = best.unwrap_or((0.0, 0.0, 1.0));
        let rows = probabilities(&self.mixed(lexical_share), temperature)?;
        let label_bias =
            if options.choose_thresholds { best_label_bias(metadata.labels.len(), &rows) } else { Vec::new() };
        Ok(HeadMetadata { lexical_share, temperature, label_bias, ..metadata })
    }

    /// Figures of the mixture as `metadata` has it.
    pub(super) fn report(&self, metadata: &HeadMetadata, model_id: &str) -> Result<ClassificationReport> {
        let rows = probabilities(&self.mixed(metadata.lexical_share), metadata.temperature)?;
        Ok(ClassificationReport::new(model_id, &metadata.labels, &rows, 0, |row| metadata.decide(row)))
    }

    /// Macro-F1 of the mixture on each part's rows.
    pub(super) fn macro_f1_by_part(&self, parts: &[Part], metadata: &HeadMetadata) -> Result<Vec<f64>> {
        let rows = probabilities(&self.mixed(metadata.lexical_share), metadata.temperature)?;
        let mut decided = rows.iter().map(|(class, row)| (*class, metadata.decide(row)));
        let classes = metadata.labels.len();
        Ok(parts.iter().map(|part| macro_f1(classes, decided.by_ref().take(part.validation.len()))).collect())
    }

    /// Figures of one branch alone, calibrated by itself.
    pub(super) fn branch_report(&self, labels: &[String], logits: &[Vec<f64>]) -> Result<ClassificationReport> {
        let rows: Vec<(usize, Vec<f64>)> = self.classes.iter().copied().zip(logits.iter().cloned()).collect();
        let rows = probabilities(&rows, best_temperature(&rows))?;
        Ok(ClassificationReport::most_probable("", labels, &rows, 0))
    }
}

/// Logits to probabilities, row by row.
pub(crate) fn probabilities(rows: &[(usize, Vec<f64>)], temperature: f64) -> Result<Vec<(usize, Vec<f64>)>> {
    let row = |(class, logits): &(usize, Vec<f64>)| Some((*class, softmax(logits, temperature)?));
    rows.iter().map(row).collect::<Option<_>>().ok_or_else(not_a_number)
}

pub(super) fn not_a_number() -> InferenceError {
    InferenceError::Config("the trained head gives values that are no numbers".to_owned())
}
