//! Figures of an existing head on labelled texts.

use std::path::PathBuf;

use tch::Device;

use crate::config::ModelConfig;
use crate::error::{InferenceError, Result};
use crate::head::Head;
use crate::quantise::softmax;
use crate::scorer::{TextEncoder, model_id, rows};
use crate::tokenizer::TokenizedText;
use crate::training::Progress;
use crate::training::labels::{LabelledText, read_labelled};
use crate::training::metrics::ClassificationReport;
use crate::training::train::class_of;

/// Which model to measure on what.
#[derive(Clone, Debug, Default)]
pub struct EvaluateOptions {
    /// The model; its head may have any labels.
    pub model: ModelConfig,
    /// Labelled files, see [`read_labelled`]; repeated texts all count.
    pub inputs: Vec<PathBuf>,
    /// Only rows of this language, such as `en`; all if absent.
    pub language: Option<String>,
}

/// Scores every row as [`Scorer`](crate::Scorer) would and compares with its label.
///
/// # Errors
/// Unreadable or malformed files, a label the head does not know, no rows at all, a model that does not load.
pub fn evaluate(
    options: &EvaluateOptions,
    device: Device,
    progress: &mut dyn FnMut(Progress),
) -> Result<ClassificationReport> {
    let mut labelled = Vec::new();
    for path in &options.inputs {
        labelled.extend(read_labelled(path)?);
    }
    labelled.retain(|row| options.language.as_ref().is_none_or(|language| row.lang == *language));
    if labelled.is_empty() {
        return Err(InferenceError::Labels("there are no rows to evaluate (files, language?)".to_owned()));
    }
    let text_encoder = TextEncoder::load(&options.model, device)?;
    let head = match &options.model.head_file {
        Some(path) => Head::load(path, device)?,
        None => Head::built_in(device)?,
    };
    head.check_encoder(text_encoder.encoder.weights_sha256())?;
    let labels = head.metadata().labels.clone();
    let classes = labelled.iter().map(|row| class_of(row, &labels)).collect::<Result<Vec<usize>>>()?;
    let scored = score(&text_encoder, &head, &labelled, progress)?;
    let failed = scored.iter().filter(|row| row.is_none()).count() as u64;
    let pairs: Vec<(usize, Vec<f64>)> =
        classes.into_iter().zip(scored).filter_map(|(class, row)| row.map(|row| (class, row))).collect();
    Ok(ClassificationReport::new(&model_id(&text_encoder, &head), &labels, &pairs, failed))
}

/// Probabilities per row, `None` for texts that cannot be scored.
fn score(
    text_encoder: &TextEncoder,
    head: &Head,
    labelled: &[LabelledText],
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Option<Vec<f64>>>> {
    let mut texts: Vec<TokenizedText> = Vec::with_capacity(labelled.len());
    let mut origins = Vec::with_capacity(labelled.len());
    for (index, row) in labelled.iter().enumerate() {
        if let Ok(text) = text_encoder.tokenize(&row.text) {
            texts.push(text);
            origins.push(index);
        }
    }
    let counts: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
    let mut scored = vec![None; labelled.len()];
    let mut done = 0;
    for batch in text_encoder.shapes.plan(&counts) {
        let members: Vec<&TokenizedText> = batch.members.iter().map(|&member| &texts[member]).collect();
        let (input, hidden) = text_encoder.encode(&members, batch.shape, &head.metadata().encoder_layers)?;
        let logits = tch::no_grad(|| head.forward(&hidden, &input.attention_mask))?;
        for (&member, row) in batch.members.iter().zip(rows(&logits, members.len())?) {
            scored[origins[member]] = softmax(&row, head.metadata().temperature);
        }
        done += members.len();
        progress(Progress::Encoding { done, total: labelled.len() });
    }
    Ok(scored)
}
