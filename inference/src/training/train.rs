//! From labelled files to a head file and a report on it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contactflow_schemas::prediction::SentimentLabel;
use serde::Serialize;
use tch::Device;

use crate::config::ModelConfig;
use crate::error::{InferenceError, Result};
use crate::head::{Head, HeadMetadata};
use crate::quantise::softmax;
use crate::scorer::{TextEncoder, model_id};
use crate::training::Progress;
use crate::training::features::Features;
use crate::training::fit::{Dataset, fit, logits};
use crate::training::labels::{LabelledText, is_validation, read_labelled, without_repeats};
use crate::training::metrics::{ClassificationReport, best_temperature};

/// What to train on and how. The defaults are those of the built-in head.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// The encoder (frozen), the token limit and the batch size of encoding; `head_file` is not used.
    pub model: ModelConfig,
    /// Name of the head, the first part of its model id.
    pub name: String,
    /// Labels in the order of the logits; rows with other labels are an error.
    pub labels: Vec<String>,
    /// Labelled files, see [`read_labelled`]. A text that repeats an earlier one is dropped.
    pub inputs: Vec<PathBuf>,
    /// Only rows of this language decide when to stop and which epoch is kept; all rows if absent.
    pub selection_language: Option<String>,
    /// Where the head file goes; nothing is written if absent.
    pub output: Option<PathBuf>,
    /// Decides the split, the initial weights, the order of rows and dropout.
    pub seed: u64,
    /// Share of the texts held out for validation, 0 to 1.
    pub validation_fraction: f64,
    /// Epochs at most.
    pub epochs_max: u32,
    /// Training stops after this many epochs without a better validation macro-F1.
    pub patience_epochs: u32,
    /// Rows per step.
    pub batch_size: usize,
    /// Peak learning rate of AdamW.
    pub learning_rate: f64,
    /// Weight decay of AdamW.
    pub weight_decay: f64,
    /// Share of the token features and of the pooled features dropped in training, 0 to below 1.
    pub dropout: f64,
    /// Share of the target spread evenly over all classes, 0 to below 1.
    pub label_smoothing: f64,
    /// 0 weighs rows alike, 1 weighs classes alike, values between are in between.
    pub class_weight_power: f64,
    /// Encoder layers that the head mixes, increasing; the last half of them if empty.
    pub encoder_layers: Vec<i64>,
    /// Units of the LSTM, per direction.
    pub lstm_hidden_size: i64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            model: ModelConfig::default(),
            name: "sentiment".to_owned(),
            labels: SentimentLabel::ALL.map(|label| label.as_str().to_owned()).to_vec(),
            inputs: Vec::new(),
            selection_language: None,
            output: None,
            seed: 20_260_101,
            validation_fraction: 0.15,
            epochs_max: 8,
            patience_epochs: 4,
            batch_size: 32,
            learning_rate: 1e-3,
            weight_decay: 0.01,
            dropout: 0.3,
            label_smoothing: 0.0,
            class_weight_power: 0.0,
            encoder_layers: Vec::new(),
            lstm_hidden_size: 96,
        }
    }
}

/// How training went. The figures are those of the head as stored (fp16 weights, calibrated).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainReport {
    /// Id of the new model.
    pub model_id: String,
    /// SHA-256 of the head file, lower-case hexadecimal.
    pub head_sha256: String,
    /// Size of the head file in bytes.
    pub head_bytes: u64,
    /// Seed of the run.
    pub seed: u64,
    /// Rows read, repeats included.
    pub rows: u64,
    /// Rows dropped because an earlier row has the same text.
    pub rows_repeated: u64,
    /// Rows trained on.
    pub training_rows: u64,
    /// Epochs run.
    pub epochs: u32,
    /// The epoch that was kept, from 1.
    pub best_epoch: u32,
    /// Temperature of the calibration.
    pub temperature: f64,
    /// Figures on the validation part.
    pub validation: ClassificationReport,
    /// Figures on the validation part by language.
    pub validation_by_language: BTreeMap<String, ClassificationReport>,
}

/// Trains a head on the files of `options` and writes it.
///
/// The encoder stays as it is; its token states are computed once and kept in memory (fp16: 2 · layers · hidden
/// size bytes a token). The same options, files, thread count and machine give the same head file, byte for byte.
///
/// # Errors
/// Unreadable or malformed files, unknown labels, an empty part of the split, impossible options, LibTorch's errors.
pub fn train(options: &TrainOptions, device: Device, progress: &mut dyn FnMut(Progress)) -> Result<TrainReport> {
    let mut rows = Vec::new();
    for path in &options.inputs {
        rows.extend(read_labelled(path)?);
    }
    let (head, report) = train_rows(rows, options, device, progress)?;
    if let Some(path) = &options.output {
        write_whole(path, &head)?;
    }
    Ok(report)
}

/// As [`train`], on rows in memory; returns the head file's bytes and writes nothing.
///
/// # Errors
/// As [`train`].
pub fn train_rows(
    rows: Vec<LabelledText>,
    options: &TrainOptions,
    device: Device,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Vec<u8>, TrainReport)> {
    check(options)?;
    let rows_read = rows.len();
    let rows = without_repeats(rows);
    let classes = rows.iter().map(|row| class_of(row, &options.labels)).collect::<Result<Vec<usize>>>()?;
    let (training, held_out, selection) = split(&rows, options)?;
    let text_encoder = TextEncoder::load(&options.model, device)?;
    let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    let metadata = metadata(options, &text_encoder);
    let features = Features::compute(&text_encoder, &texts, &metadata.encoder_layers, progress)?;
    let dataset = Dataset { features: &features, classes: &classes, training, validation: selection };
    let fitted = fit(&dataset, metadata, options, device, progress)?;

    let temperature = calibrate(&fitted.head, &dataset, options, device)?;
    let metadata = HeadMetadata { temperature, ..fitted.head.metadata().clone() };
    let bytes = fitted.head.with_metadata(metadata).to_bytes()?;
    let head = Head::from_bytes(Path::new("new head"), &bytes, device)?;
    let model_id = model_id(&text_encoder, &head);
    let scored = probabilities(&head, &dataset, &held_out, options, device)?;
    let (validation, validation_by_language) = reports(&model_id, &options.labels, &rows, &scored);
    let report = TrainReport {
        model_id,
        head_sha256: head.sha256().to_owned(),
        head_bytes: bytes.len() as u64,
        seed: options.seed,
        rows: rows_read as u64,
        rows_repeated: (rows_read - rows.len()) as u64,
        training_rows: dataset.training.len() as u64,
        epochs: fitted.epochs,
        best_epoch: fitted.best_epoch,
        temperature,
        validation,
        validation_by_language,
    };
    Ok((bytes, report))
}

/// Row index, true class and probabilities.
type Scored = (usize, usize, Vec<f64>);

/// Indices of the training rows, the held-out rows, and those of the latter that select the epoch.
fn split(rows: &[LabelledText], options: &TrainOptions) -> Result<(Vec<usize>, Vec<usize>, Vec<usize>)> {
    let held_out = |index: &usize| is_validation(&rows[*index].text, options.seed, options.validation_fraction);
    let (held_out, training): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(held_out);
    let language = options.selection_language.as_deref();
    let selects = |index: &usize| language.is_none_or(|language| rows[*index].lang == language);
    let selection: Vec<usize> = held_out.iter().copied().filter(selects).collect();
    if training.is_empty() || selection.is_empty() {
        let counts = format!("{} training and {} validation rows", training.len(), selection.len());
        let reason = format!("{counts}; both parts need some (files, validation_fraction, language?)");
        return Err(InferenceError::Labels(reason));
    }
    Ok((training, held_out, selection))
}

/// The report on all of `scored` and those by language.
fn reports(
    model_id: &str,
    labels: &[String],
    rows: &[LabelledText],
    scored: &[Scored],
) -> (ClassificationReport, BTreeMap<String, ClassificationReport>) {
    let report = |members: Vec<(usize, Vec<f64>)>| ClassificationReport::new(model_id, labels, &members, 0);
    let mut by_language: BTreeMap<String, Vec<(usize, Vec<f64>)>> = BTreeMap::new();
    for (index, class, probabilities) in scored {
        by_language.entry(rows[*index].lang.clone()).or_default().push((*class, probabilities.clone()));
    }
    let all = by_language.values().flatten().cloned().collect();
    (report(all), by_language.into_iter().map(|(language, members)| (language, report(members))).collect())
}

fn check(options: &TrainOptions) -> Result<()> {
    let share = |value: f64| (0.0..1.0).contains(&value);
    let problem = if options.labels.len() < 2 {
        "at least two labels are needed"
    } else if options.batch_size == 0 || options.epochs_max == 0 || options.lstm_hidden_size < 1 {
        "batch_size, epochs_max and lstm_hidden_size must be at least 1"
    } else if !(share(options.dropout) && share(options.label_smoothing) && share(options.validation_fraction)) {
        "dropout, label_smoothing and validation_fraction must lie in 0 to below 1"
    } else if !(options.learning_rate.is_finite() && options.learning_rate > 0.0) {
        "learning_rate must be a positive number"
    } else {
        return Ok(());
    };
    Err(InferenceError::Config(problem.to_owned()))
}

/// Index of the row's label; the error names both the label and the known ones.
pub(crate) fn class_of(row: &LabelledText, labels: &[String]) -> Result<usize> {
    let position = labels.iter().position(|label| *label == row.label);
    position.ok_or_else(|| InferenceError::Labels(format!("label `{}` is none of {}", row.label, labels.join(", "))))
}

fn metadata(options: &TrainOptions, text_encoder: &TextEncoder) -> HeadMetadata {
    let last = text_encoder.encoder.config().num_hidden_layers;
    // The upper half without its embeddings: what the layers in the middle know about tone, the last one has lost.
    let upper_half = || (last / 2..=last).collect();
    let folder = options.model.encoder_dir.file_name().unwrap_or_default();
    HeadMetadata {
        name: options.name.clone(),
        labels: options.labels.clone(),
        input_size: text_encoder.encoder.config().hidden_size,
        encoder_layers: if options.encoder_layers.is_empty() { upper_half() } else { options.encoder_layers.clone() },
        lstm_hidden_size: options.lstm_hidden_size,
        encoder: folder.to_string_lossy().into_owned(),
        encoder_sha256: text_encoder.encoder.weights_sha256().to_owned(),
        temperature: 1.0,
    }
}

fn calibrate(head: &Head, dataset: &Dataset<'_>, options: &TrainOptions, device: Device) -> Result<f64> {
    let logits = logits(head, dataset.features, &dataset.validation, options.batch_size, device)?;
    let classes = dataset.validation.iter().map(|&member| dataset.classes[member]);
    Ok(best_temperature(&classes.zip(logits).collect::<Vec<_>>()))
}

/// The rows `members` with their probabilities.
fn probabilities(
    head: &Head,
    dataset: &Dataset<'_>,
    members: &[usize],
    options: &TrainOptions,
    device: Device,
) -> Result<Vec<Scored>> {
    let not_a_number = || InferenceError::Config("the trained head gives values that are no numbers".to_owned());
    let logits = logits(head, dataset.features, members, options.batch_size, device)?;
    let row = |(&member, logits): (&usize, Vec<f32>)| {
        let probabilities = softmax(&logits, head.metadata().temperature).ok_or_else(not_a_number)?;
        Ok((member, dataset.classes[member], probabilities))
    };
    members.iter().zip(logits).map(row).collect()
}

/// Writes a file so that a crash leaves the old one or the new one, never half of it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    let written = std::fs::write(&partial, bytes).and_then(|()| std::fs::rename(&partial, path));
    written.map_err(|source| InferenceError::Write { path: path.to_owned(), source })
}
