//! From labelled files to a head file and a report on it.

mod folds;
mod held_out;
mod learning;
mod task;

use std::path::{Path, PathBuf};

use serde::Serialize;
use tch::Device;

use crate::adapter::{Adapter, AdapterMetadata};
use crate::config::ModelConfig;
use crate::error::{InferenceError, Result, write_whole};
use crate::head::{Head, HeadMetadata};
use crate::lexical::LexicalBranch;
use crate::scorer::head_model_id;
use crate::text_encoder::TextEncoder;
use crate::training::adapt::bare;
use crate::training::baseline::{Baseline, baseline};
use crate::training::features::Features;
use crate::training::fit::{Fitted, Until};
use crate::training::labels::{LabelledText, read_labelled};
use crate::training::metrics::ClassificationReport;
use crate::training::options::{CorrectionOptions, TrainOptions};
use crate::training::train::folds::cross_fit;
use crate::training::train::held_out::{HeldOut, not_a_number};
use crate::training::train::learning::{Learning, lexical_branch};
use crate::training::{EpochFigures, Progress};
use crate::weights::sha256_hex;

pub(crate) use held_out::probabilities;
pub(crate) use task::{Part, Task, class_of};

/// How training went. The figures are those of the head as stored (fp16 weights, calibrated); with folds, those of the folds'
/// heads, which are like it but have learnt from fewer rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainReport {
    /// Id of the new head on its encoder.
    pub model_id: String,
    /// SHA-256 of the head file, lower-case hexadecimal.
    pub head_sha256: String,
    /// Size of the head file in bytes.
    pub head_bytes: u64,
    /// SHA-256 of the adapter that was learnt with the head, lower-case hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter_sha256: Option<String>,
    /// Seed of the run.
    pub seed: u64,
    /// Folds of the cross-validation; none where one part was held out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folds: Option<u32>,
    /// Macro-F1 of each fold's head on the fold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fold_macro_f1: Vec<f64>,
    /// Rows read, repeats included.
    pub rows: u64,
    /// Rows dropped because an earlier row has the same text, or because they are in another language.
    pub rows_dropped: u64,
    /// Rows that the head was trained on: with folds, all.
    pub training_rows: u64,
    /// Those of them that the neural branch read.
    pub neural_rows: u64,
    /// Figures of every epoch of the neural branch.
    pub curve: Vec<EpochFigures>,
    /// The epoch that was kept, from 1.
    pub best_epoch: u32,
    /// Share of the lexical logits, 0 to 1; chosen for the lowest loss on the validation part.
    pub lexical_share: f64,
    /// Temperature of the calibration.
    pub temperature: f64,
    /// See [`HeadMetadata::label_bias`].
    pub label_bias: Vec<f64>,
    /// Figures of the head on the validation part; with folds, of every row by a head that has not learnt from it.
    pub validation: ClassificationReport,
    /// The same of its neural branch alone.
    pub neural_branch: ClassificationReport,
    /// The same of its lexical branch alone.
    pub lexical_branch: Option<ClassificationReport>,
    /// The same of a bag-of-words logistic regression on the same rows.
    pub baseline: Baseline,
}

/// Trains a head on the files of `options` and writes it.
///
/// Without [`corrections`](TrainOptions::corrections) the encoder stays as it is; its token states are computed once and kept
/// in memory (fp16: 2 · layers · hidden size bytes a token). The same options, files, thread count and machine give the same head file, byte for byte.
///
/// # Errors
/// Unreadable or malformed files, unknown labels, an empty part of the split, impossible options, LibTorch's errors.
pub fn train(options: &TrainOptions, device: Device, progress: &mut dyn FnMut(Progress)) -> Result<TrainReport> {
    let mut rows = Vec::new();
    for path in &options.inputs {
        rows.extend(read_labelled(path)?);
    }
    let Trained { head, adapter, report } = train_rows(rows, options, device, progress)?;
    if let Some(path) = &options.output {
        write_whole(path, &head)?;
    }
    if let (Some(adapter), Some(path)) = (adapter, options.corrections.as_ref().and_then(|own| own.output.as_ref())) {
        write_whole(path, &adapter)?;
    }
    for path in options.checkpoint.iter().flat_map(|path| kept_files(path, options.folds)).filter(|path| path.exists())
    {
        std::fs::remove_file(&path).map_err(|source| InferenceError::Write { path, source })?;
    }
    Ok(report)
}

/// The files that keep the state of a run.
fn kept_files(checkpoint: &Path, folds: Option<u32>) -> Vec<PathBuf> {
    let of_folds = (0..folds.unwrap_or_default() as usize).map(|fold| folds::file(checkpoint, fold));
    of_folds.chain([checkpoint.to_owned()]).collect()
}

/// What [`train_rows`] gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// The bytes of the head's file.
    pub head: Vec<u8>,
    /// The bytes of the file of the adapter that was learnt with it.
    pub adapter: Option<Vec<u8>>,
    /// How it went.
    pub report: TrainReport,
}

/// As [`train`], on rows in memory; writes nothing but checkpoints.
///
/// # Errors
/// As [`train`].
pub fn train_rows(
    rows: Vec<LabelledText>,
    options: &TrainOptions,
    device: Device,
    progress: &mut dyn FnMut(Progress),
) -> Result<Trained> {
    options.check()?;
    let rows_read = rows.len();
    let task = Task::new(rows, options)?;
    // Corrections are of the encoder as it is: those of two adapters do not go on top of each other.
    let model = if options.corrections.is_some() { bare(&options.model) } else { options.model.clone() };
    let text_encoder = TextEncoder::load(&model, options.language, device)?;
    let metadata = metadata(options, &task.labels, &text_encoder);
    let corrected = options.corrections.as_ref().map(|own| corrected(own, &metadata, &text_encoder)).transpose()?;

    // The convex fits first: they are quick, and wrong labels or options show before the encoder has run.
    let of_part = |part: &Part| lexical_branch(&task, &part.training, options, progress);
    let lexical: Vec<LexicalBranch> = task.parts.iter().filter_map(of_part).collect();
    progress(Progress::Baseline);
    let baseline = baseline(&task, options)?;

    let about = (&text_encoder, &metadata);
    let learning = Learning::new((&task, options), about, corrected.as_ref(), device, progress)?;
    let learnt = learn(&learning, &lexical, progress)?;
    let adapter = corrected.as_ref().map(|own| Adapter::serialize(own, &learnt.fitted.corrections)).transpose()?;
    // From here on with the encoder as the job will have it.
    let with_adapter = adapter.as_deref().map(|bytes| with_adapter(bytes, &model, options, device)).transpose()?;
    let scoring = with_adapter.as_ref().unwrap_or(&text_encoder);
    let validation = task.texts(&task.held_out().validation);
    let recomputed = match (&with_adapter, options.folds) {
        (Some(encoder), None) => {
            Some(Features::compute(encoder, &validation, &metadata.encoder_layers, None, progress)?)
        }
        _ => None,
    };
    let neural = match learnt.out_of_fold {
        Some(logits) => logits,
        None => learning.judged(&learnt.fitted.branch, recomputed.as_ref())?,
    };
    let held_out = HeldOut::new(&task, &neural, &lexical);
    let metadata = HeadMetadata {
        lexical: learnt.lexical.as_ref().map(LexicalBranch::metadata),
        encoder_sha256: scoring.encoder.weights_sha256().to_owned(),
        ..held_out.calibrated(metadata.clone(), options)?
    };
    let bytes = Head::new(metadata, learnt.fitted.branch, learnt.lexical).to_bytes()?;

    let head = Head::from_bytes(Path::new("new head"), &bytes, device)?;
    let model_id = head_model_id(scoring, &head);
    let (validation, fold_macro_f1) = if options.folds.is_some() {
        let by_fold = held_out.macro_f1_by_part(&task.parts, head.metadata())?;
        (held_out.report(head.metadata(), &model_id)?, by_fold)
    } else {
        let neural = learning.judged(head.neural(), recomputed.as_ref())?;
        (head_report(&task, &head, &neural, &model_id)?, Vec::new())
    };
    let report = TrainReport {
        head_sha256: head.sha256().to_owned(),
        head_bytes: bytes.len() as u64,
        adapter_sha256: adapter.as_deref().map(sha256_hex),
        seed: options.seed,
        folds: options.folds,
        fold_macro_f1,
        rows: rows_read as u64,
        rows_dropped: (rows_read - task.rows.len()) as u64,
        training_rows: learnt.training_rows,
        neural_rows: learnt.neural_rows,
        curve: learnt.fitted.curve,
        best_epoch: learnt.fitted.best_epoch,
        lexical_share: head.metadata().lexical_share,
        temperature: head.metadata().temperature,
        label_bias: head.metadata().label_bias.clone(),
        validation,
        neural_branch: held_out.branch_report(&task.labels, &held_out.neural)?,
        lexical_branch: held_out.lexical.as_ref().map(|rows| held_out.branch_report(&task.labels, rows)).transpose()?,
        baseline,
        model_id,
    };
    Ok(Trained { head: bytes, adapter, report })
}

/// The branches of the head, and how they came about.
struct Learnt {
    fitted: Fitted,
    lexical: Option<LexicalBranch>,
    /// Logits of all rows by networks that have not learnt from them; none without folds.
    out_of_fold: Option<Vec<Vec<f32>>>,
    training_rows: u64,
    neural_rows: u64,
}

/// Fits the head's branches; `lexical` are those of the parts.
fn learn(learning: &Learning<'_>, lexical: &[LexicalBranch], progress: &mut dyn FnMut(Progress)) -> Result<Learnt> {
    let (task, options) = (learning.task, learning.options);
    let (training, fitted, out_of_fold, lexical) = if options.folds.is_some() {
        let (fitted, logits) = cross_fit(learning, progress)?;
        let all = task.all();
        let lexical = lexical_branch(task, &all, options, progress);
        (all, fitted, Some(logits), lexical)
    } else {
        let part = task.held_out();
        let fitted = learning.fit(part, Until::Best, options.checkpoint.as_deref(), progress)?;
        (part.training.clone(), fitted, None, lexical.first().cloned())
    };
    let neural_rows = learning.neural_rows_of(&training).len() as u64;
    Ok(Learnt { fitted, lexical, out_of_fold, training_rows: training.len() as u64, neural_rows })
}

/// The encoder with the adapter in `bytes`.
fn with_adapter(bytes: &[u8], model: &ModelConfig, options: &TrainOptions, device: Device) -> Result<TextEncoder> {
    let adapter = Adapter::from_bytes(Path::new("new adapter"), bytes)?;
    TextEncoder::load_with(model, options.language, device, Some(adapter))
}

/// What the adapter will be like that is learnt with a head.
fn corrected(options: &CorrectionOptions, head: &HeadMetadata, text_encoder: &TextEncoder) -> Result<AdapterMetadata> {
    let encoder = &text_encoder.encoder;
    let about = (head.encoder.as_str(), encoder.weights_sha256(), encoder.config());
    let adapter = AdapterMetadata::of_encoder(about, options.layers, options.rank, options.scale)?;
    if head.encoder_layers.iter().any(|&layer| layer < adapter.layers_below) {
        let below = adapter.layers_below;
        let reason = format!("the head mixes layers below {below}, where the corrections begin; correct more layers");
        return Err(InferenceError::Config(reason));
    }
    Ok(adapter)
}

fn metadata(options: &TrainOptions, labels: &[String], text_encoder: &TextEncoder) -> HeadMetadata {
    let last = text_encoder.encoder.config().num_hidden_layers;
    // The upper half without its embeddings: what the layers in the middle know about tone, the last one has lost.
    let upper_half = || (last / 2..=last).collect();
    let folder = options.model.encoder(options.language).0.file_name().unwrap_or_default();
    HeadMetadata {
        name: options.head.as_str().to_owned(),
        language: options.language,
        labels: labels.to_vec(),
        input_size: text_encoder.encoder.config().hidden_size,
        encoder_layers: if options.encoder_layers.is_empty() { upper_half() } else { options.encoder_layers.clone() },
        lstm_hidden_size: options.lstm_hidden_size,
        encoder: folder.to_string_lossy().into_owned(),
        encoder_sha256: text_encoder.encoder.weights_sha256().to_owned(),
        lexical: None,
        lexical_share: 0.0,
        temperature: 1.0,
        label_bias: Vec::new(),
    }
}

/// Figures of the head as it will be loaded.
fn head_report(task: &Task, head: &Head, neural: &[Vec<f32>], model_id: &str) -> Result<ClassificationReport> {
    let mut rows = Vec::with_capacity(neural.len());
    for (&member, logits) in task.held_out().validation.iter().zip(neural) {
        let probabilities = head.probabilities(logits, &task.rows[member].text).ok_or_else(not_a_number)?;
        rows.push((task.classes[member], probabilities));
    }
    let decide = |row: &[f64]| head.metadata().decide(row);
    Ok(ClassificationReport::new(model_id, &task.labels, &rows, 0, decide))
}
