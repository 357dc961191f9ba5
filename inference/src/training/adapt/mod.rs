//! Learning an adapter: low-rank corrections of an encoder's upper layers that serve several heads at once.
//!
//! The lower layers are frozen, so their states are computed once. A plain classifier per task (mean and maximum of the
//! mixed states, a dense layer) says what the states should tell; it is thrown away, and the heads are trained on the
//! adapted encoder afterwards. The texts held out are those that [`train`](crate::train) holds out with the same seed, and
//! they decide nothing here: the last epoch is kept.

mod fit;

use std::path::{Path, PathBuf};

use contactflow_schemas::prediction::TextHead;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tch::Device;

use crate::adapter::{Adapter, AdapterMetadata};
use crate::config::{AdapterSetting, ModelConfig};
use crate::error::{InferenceError, Result, write_whole};
use crate::language::Language;
use crate::text_encoder::TextEncoder;
use crate::training::features::Features;
use crate::training::labels::{LabelledText, read_labelled};
use crate::training::metrics::ClassificationReport;
use crate::training::options::TrainOptions;
use crate::training::train::Task;
use crate::training::{EpochFigures, Progress};
use fit::{Fitting, TaskData, fit};

/// What to adapt an encoder to and how. [`AdaptOptions::shipped`] gives usual ones.
#[derive(Clone, Debug)]
pub struct AdaptOptions {
    /// The encoders, the token limit and the batch size of encoding; adapters in it are not used.
    pub model: ModelConfig,
    /// Whose encoder.
    pub language: Language,
    /// The heads to serve and their labelled files, see [`read_labelled`].
    pub tasks: Vec<(TextHead, PathBuf)>,
    /// Where the adapter goes; nothing is written if absent.
    pub output: Option<PathBuf>,
    /// Where the state of training is kept after every epoch, and taken up from; removed at the end.
    pub checkpoint: Option<PathBuf>,
    /// Folder where the states of the frozen layers are kept for the next run.
    pub feature_cache: Option<PathBuf>,
    /// Decides the split, the initial weights, the order of rows and dropout.
    pub seed: u64,
    /// Share of the texts held out, 0 to 1.
    pub validation_fraction: f64,
    /// Upper layers that get corrections.
    pub layers: i64,
    /// Rank of a correction.
    pub rank: i64,
    /// Factor of a correction.
    pub scale: f64,
    /// Passes over the data.
    pub epochs: u32,
    /// Rows per step, all of one task.
    pub batch_size: usize,
    /// Peak learning rate of the corrections.
    pub learning_rate: f64,
    /// Peak learning rate of the classifiers.
    pub classifier_learning_rate: f64,
    /// Weight decay of AdamW.
    pub weight_decay: f64,
    /// Share of what the corrections read that is dropped, 0 to below 1.
    pub dropout: f64,
    /// Share of the pooled features that is dropped, 0 to below 1.
    pub classifier_dropout: f64,
}

impl Default for AdaptOptions {
    fn default() -> Self {
        Self::shipped(Language::En)
    }
}

impl AdaptOptions {
    /// Usual ones for the encoder of `language`; tasks and output are left to fill in.
    pub fn shipped(language: Language) -> Self {
        let heads = TrainOptions::shipped(TextHead::Sentiment, language);
        Self {
            model: ModelConfig::default(),
            language,
            tasks: Vec::new(),
            output: None,
            checkpoint: None,
            feature_cache: None,
            seed: heads.seed,
            validation_fraction: heads.validation_fraction,
            layers: 3,
            rank: 16,
            scale: 2.0,
            epochs: 3,
            batch_size: 32,
            learning_rate: 5e-4,
            classifier_learning_rate: 1e-3,
            weight_decay: 0.01,
            dropout: 0.1,
            classifier_dropout: 0.3,
        }
    }

    fn check(&self) -> Result<()> {
        let share = |value: f64| (0.0..1.0).contains(&value);
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let problem = if self.batch_size == 0 || self.epochs == 0 || self.rank < 1 || self.layers < 1 {
            "batch_size, epochs, rank and layers must be at least 1"
        } else if ![self.dropout, self.classifier_dropout, self.validation_fraction].into_iter().all(share) {
            "dropout, classifier_dropout and validation_fraction must lie in 0 to below 1"
        } else if ![self.learning_rate, self.classifier_learning_rate, self.scale].into_iter().all(positive) {
            "learning rates and scale must be positive numbers"
        } else {
            return Ok(());
        };
        Err(InferenceError::Config(problem.to_owned()))
    }
}

/// How the adaptation went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AdaptReport {
    /// SHA-256 of the adapter's file, lower-case hexadecimal.
    pub adapter_sha256: String,
    /// Size of the file in bytes.
    pub adapter_bytes: u64,
    /// Seed of the run.
    pub seed: u64,
    /// Rows trained on, all tasks.
    pub training_rows: u64,
    /// Means over the tasks.
    pub curve: Vec<EpochFigures>,
    /// Figures of each task's plain classifier on the texts held out, under the head's name.
    pub tasks: Vec<ClassificationReport>,
}

/// Learns an adapter on the files of `options` and writes it.
///
/// The same options, files, thread count and machine give the same file, byte for byte.
///
/// # Errors
/// Unreadable or malformed files, unknown labels, an empty part of the split, impossible options, LibTorch's errors.
pub fn adapt(options: &AdaptOptions, device: Device, progress: &mut dyn FnMut(Progress)) -> Result<AdaptReport> {
    let read = |(head, path): &(TextHead, PathBuf)| Ok((*head, read_labelled(path)?));
    let rows = options.tasks.iter().map(read).collect::<Result<Vec<_>>>()?;
    let (bytes, report) = adapt_rows(rows, options, device, progress)?;
    if let Some(path) = &options.output {
        write_whole(path, &bytes)?;
    }
    if let Some(path) = options.checkpoint.as_ref().filter(|path| path.exists()) {
        std::fs::remove_file(path).map_err(|source| InferenceError::Write { path: path.clone(), source })?;
    }
    Ok(report)
}

/// As [`adapt`], on rows in memory; the files of [`AdaptOptions::tasks`] are not read. Returns the file's bytes and writes
/// nothing but checkpoints.
///
/// # Errors
/// As [`adapt`].
pub fn adapt_rows(
    rows: Vec<(TextHead, Vec<LabelledText>)>,
    options: &AdaptOptions,
    device: Device,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Vec<u8>, AdaptReport)> {
    options.check()?;
    if rows.is_empty() {
        return Err(InferenceError::Config("an adapter needs a task to serve".to_owned()));
    }
    let bare = bare(&options.model);
    let text_encoder = TextEncoder::load(&bare, options.language, device)?;
    let folder = bare.encoder(options.language).0.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let encoder = &text_encoder.encoder;
    let about = (folder.as_str(), encoder.weights_sha256(), encoder.config());
    let metadata = AdapterMetadata::of_encoder(about, options.layers, options.rank, options.scale)?;
    let mut tasks = Vec::new();
    let mut digest = Sha256::new().chain_update(knobs(options)).chain_update(text_encoder.fingerprint());
    for (head, rows) in rows {
        let split = TrainOptions { head, seed: options.seed, ..TrainOptions::shipped(head, options.language) };
        let split = TrainOptions { validation_fraction: options.validation_fraction, ..split };
        let task = Task::new(rows, &split)?;
        digest.update(task.digest());
        let below = [metadata.layers_below];
        let cache = options.feature_cache.as_deref();
        let features = Features::compute(&text_encoder, &task.texts(&task.all()), &below, cache, progress)?;
        tasks.push(TaskData { head, task, features });
    }
    let run: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let fitting = Fitting { tasks: &tasks, encoder, metadata: &metadata, options, run: &run, device };
    let fitted = fit(&fitting, progress)?;
    let bytes = Adapter::serialize(&metadata, &fitted.corrections)?;
    let report = AdaptReport {
        adapter_sha256: Adapter::from_bytes(Path::new("new adapter"), &bytes)?.sha256().to_owned(),
        adapter_bytes: bytes.len() as u64,
        seed: options.seed,
        training_rows: tasks.iter().map(|data| data.task.held_out().training.len() as u64).sum(),
        curve: fitted.curve,
        tasks: fitted.reports,
    };
    Ok((bytes, report))
}

/// The settings without adapters.
pub(crate) fn bare(model: &ModelConfig) -> ModelConfig {
    let mut bare = ModelConfig { adapter: AdapterSetting::None, ..model.clone() };
    bare.multilingual.adapter = AdapterSetting::None;
    bare
}

/// What of the options decides the result.
fn knobs(options: &AdaptOptions) -> String {
    let tasks = Vec::new();
    format!("{:?}", AdaptOptions { tasks, output: None, checkpoint: None, feature_cache: None, ..options.clone() })
}
