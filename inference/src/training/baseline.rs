//! What a head must beat: a bag of words with a logistic regression, fitted until it no longer moves.

use serde::Serialize;

use crate::error::Result;
use crate::language::Language;
use crate::lexical::NgramSpec;
use crate::training::lexical;
use crate::training::metrics::{ClassificationReport, best_temperature};
use crate::training::options::{LexicalOptions, TrainOptions};
use crate::training::train::{Task, probabilities};

/// Penalties tried; the one with the best macro-F1 on the validation part counts, which favours the baseline.
const INVERSE_PENALTIES: [f64; 3] = [3.0, 10.0, 30.0];

/// The baseline and its figures on the validation part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Baseline {
    /// Words (Chinese: characters and pairs of them) that it knows.
    pub features: u64,
    /// Inverse strength of its penalty, see [`LexicalOptions::inverse_penalty`].
    pub inverse_penalty: f64,
    /// Whether the fit came to its end.
    pub converged: bool,
    /// Its figures.
    pub validation: ClassificationReport,
}

/// Fits the baseline on the training part of `task`.
pub(crate) fn baseline(task: &Task, options: &TrainOptions, class_weights: &[f64]) -> Result<Baseline> {
    let ngrams = match options.language {
        Language::En => NgramSpec { words_max: 1, chars_min: 1, chars_max: 0 },
        // Chinese has no spaces between words; single characters and pairs are the usual stand-in.
        Language::Zh => NgramSpec { words_max: 0, chars_min: 1, chars_max: 2 },
    };
    let (texts, classes) = (task.texts(&task.training), task.classes_of(&task.training));
    let mut best: Option<Baseline> = None;
    for inverse_penalty in INVERSE_PENALTIES {
        let lexical = LexicalOptions { ngrams, documents_min: 2, features_max: usize::MAX, inverse_penalty };
        let fitted = lexical::fit(&texts, &classes, class_weights, &lexical);
        let logits = task.texts(&task.validation).into_iter().map(|text| fitted.branch.logits(text));
        let rows: Vec<(usize, Vec<f64>)> = task.classes_of(&task.validation).into_iter().zip(logits).collect();
        let rows = probabilities(&rows, best_temperature(&rows))?;
        let validation = ClassificationReport::most_probable("bag of words", &task.labels, &rows, 0);
        if best.as_ref().is_none_or(|best| validation.macro_f1 > best.validation.macro_f1) {
            let features = fitted.branch.vocabulary.len() as u64;
            best = Some(Baseline { features, inverse_penalty, converged: fitted.converged, validation });
        }
    }
    best.ok_or_else(|| crate::error::InferenceError::Config("there is no penalty to try".to_owned()))
}
