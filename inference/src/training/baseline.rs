//! What a head must beat: a bag of words with a logistic regression, fitted until it no longer moves.

use serde::Serialize;

use crate::error::Result;
use crate::language::Language;
use crate::lexical::NgramSpec;
use crate::training::descent::class_weights;
use crate::training::lexical;
use crate::training::metrics::{ClassificationReport, best_temperature};
use crate::training::options::{LexicalOptions, TrainOptions};
use crate::training::train::{Task, probabilities};

/// Penalties tried; the one with the best macro-F1 on the validation part counts, which favours the baseline.
const INVERSE_PENALTIES: [f64; 3] = [3.0, 10.0, 30.0];

/// The baseline and its figures on the validation part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Baseline {
    /// Words (Chinese: characters and pairs of them) that it knows; with folds, the most of any fold.
    pub features: u64,
    /// Inverse strength of its penalty, see [`LexicalOptions::inverse_penalty`].
    pub inverse_penalty: f64,
    /// Whether the fit came to its end, in every fold.
    pub converged: bool,
    /// Its figures.
    pub validation: ClassificationReport,
}

/// Fits the baseline on the training rows of every part of `task`, and measures it on the rows held out of each.
pub(crate) fn baseline(task: &Task, options: &TrainOptions) -> Result<Baseline> {
    let ngrams = match options.language {
        Language::En => NgramSpec { words_max: 1, chars_min: 1, chars_max: 0 },
        // Chinese has no spaces between words; single characters and pairs are the usual stand-in.
        Language::Zh => NgramSpec { words_max: 0, chars_min: 1, chars_max: 2 },
    };
    let mut best: Option<Baseline> = None;
    for inverse_penalty in INVERSE_PENALTIES {
        let class_weight_power = options.class_weight_power;
        let lexical =
            LexicalOptions { ngrams, documents_min: 2, features_max: usize::MAX, inverse_penalty, class_weight_power };
        let tried = of_penalty(task, &lexical)?;
        if best.as_ref().is_none_or(|best| tried.validation.macro_f1 > best.validation.macro_f1) {
            best = Some(tried);
        }
    }
    best.ok_or_else(|| crate::error::InferenceError::Config("there is no penalty to try".to_owned()))
}

fn of_penalty(task: &Task, lexical: &LexicalOptions) -> Result<Baseline> {
    let (mut features, mut converged, mut rows) = (0, true, Vec::with_capacity(task.rows.len()));
    for part in &task.parts {
        let weights = class_weights(&task.classes, &part.training, task.labels.len(), lexical.class_weight_power);
        let (texts, classes) = (task.texts(&part.training), task.classes_of(&part.training));
        let fitted = lexical::fit(&texts, &classes, &weights, lexical);
        let logits = task.texts(&part.validation).into_iter().map(|text| fitted.branch.logits(text));
        rows.extend(task.classes_of(&part.validation).into_iter().zip(logits));
        features = features.max(fitted.branch.vocabulary.len() as u64);
        converged &= fitted.converged;
    }
    let rows = probabilities(&rows, best_temperature(&rows))?;
    let validation = ClassificationReport::most_probable("bag of words", &task.labels, &rows, 0);
    Ok(Baseline { features, inverse_penalty: lexical.inverse_penalty, converged, validation })
}
