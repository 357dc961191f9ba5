//! From labelled files to a head file and a report on it.

use std::collections::BTreeSet;
use std::path::Path;

use contactflow_schemas::prediction::TextHead;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tch::Device;

use crate::adapter::{Adapter, AdapterMetadata};
use crate::error::{InferenceError, Result, write_whole};
use crate::head::{Head, HeadMetadata, accepts, mix};
use crate::lexical::LexicalBranch;
use crate::quantise::softmax;
use crate::scorer::head_model_id;
use crate::text_encoder::TextEncoder;
use crate::training::adapt::bare;
use crate::training::baseline::{Baseline, baseline};
use crate::training::features::Features;
use crate::training::fit::{Dataset, class_weights, fit, logits};
use crate::training::labels::{LabelledText, is_validation, read_labelled, without_repeats};
use crate::training::metrics::{ClassificationReport, best_temperature, mean_loss};
use crate::training::options::{CorrectionOptions, TrainOptions};
use crate::training::thresholds::best_label_bias;
use crate::training::{EpochFigures, Progress, lexical};
use crate::weights::sha256_hex;

/// Steps of the search for the lexical branch's share.
const SHARE_STEPS: u32 = 20;

/// How training went. The figures are those of the head as stored (fp16 weights, calibrated).
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
    /// Rows read, repeats included.
    pub rows: u64,
    /// Rows dropped because an earlier row has the same text, or because they are in another language.
    pub rows_dropped: u64,
    /// Rows trained on.
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
    /// Figures of the head on the validation part.
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
    if let Some(path) = options.checkpoint.as_ref().filter(|path| path.exists()) {
        std::fs::remove_file(path).map_err(|source| InferenceError::Write { path: path.clone(), source })?;
    }
    Ok(report)
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
    let weights = class_weights(&task.classes, &task.training, task.labels.len(), options.class_weight_power);

    // The convex fits first: they are quick, and wrong labels or options show before the encoder has run.
    let training = task.texts(&task.training);
    let training_classes = task.classes_of(&task.training);
    let lexical = options.lexical.map(|lexical| {
        progress(Progress::Lexical);
        lexical::fit(&training, &training_classes, &weights, &lexical).branch
    });
    progress(Progress::Baseline);
    let baseline = baseline(&task, options, &weights)?;

    let encoded = task.encoded(options);
    let texts = task.texts(&encoded.rows);
    let below = corrected.as_ref().map(|adapter| vec![adapter.layers_below]);
    let layers = below.as_ref().unwrap_or(&metadata.encoder_layers);
    let cache = options.feature_cache.as_deref();
    let features = Features::compute(&text_encoder, &texts, layers, cache, progress)?;
    let classes = task.classes_of(&encoded.rows);
    let Encoded { training, mut validation, .. } = encoded;
    let dataset = Dataset { features: &features, classes: &classes, training, validation: validation.clone() };
    let run = task.fingerprint(options, &text_encoder);
    let with = corrected.as_ref().map(|adapter| (&text_encoder.encoder, adapter));
    let fitted = fit(&dataset, &metadata, options, (&weights, with), &run, device, progress)?;

    let neural_rows = dataset.training.len() as u64;
    let adapter = corrected.map(|own| Adapter::serialize(&own, &fitted.corrections)).transpose()?;
    let (mut text_encoder, mut metadata, mut features) = (text_encoder, metadata, features);
    if let Some(bytes) = &adapter {
        // From here on with the encoder as the job will have it.
        let adapter = Adapter::from_bytes(Path::new("new adapter"), bytes)?;
        text_encoder = TextEncoder::load_with(&model, options.language, device, Some(adapter))?;
        metadata.encoder_sha256 = text_encoder.encoder.weights_sha256().to_owned();
        let texts = task.texts(&task.validation);
        features = Features::compute(&text_encoder, &texts, &metadata.encoder_layers, None, progress)?;
        validation = (0..texts.len()).collect();
    }
    let neural = logits(&fitted.branch, &features, &validation, options.batch_size, device)?;
    let held_out = HeldOut::new(&task, &neural, lexical.as_ref());
    let metadata = held_out.calibrated(metadata, lexical.as_ref(), options)?;
    let bytes = Head::new(metadata, fitted.branch, lexical).to_bytes()?;

    let head = Head::from_bytes(Path::new("new head"), &bytes, device)?;
    let model_id = head_model_id(&text_encoder, &head);
    let neural = logits(head.neural(), &features, &validation, options.batch_size, device)?;
    let report = TrainReport {
        head_sha256: head.sha256().to_owned(),
        head_bytes: bytes.len() as u64,
        adapter_sha256: adapter.as_deref().map(sha256_hex),
        seed: options.seed,
        rows: rows_read as u64,
        rows_dropped: (rows_read - task.rows.len()) as u64,
        training_rows: task.training.len() as u64,
        neural_rows,
        curve: fitted.curve,
        best_epoch: fitted.best_epoch,
        lexical_share: head.metadata().lexical_share,
        temperature: head.metadata().temperature,
        label_bias: head.metadata().label_bias.clone(),
        validation: head_report(&task, &head, &neural, &model_id)?,
        neural_branch: held_out.branch_report(&task.labels, &held_out.neural)?,
        lexical_branch: held_out.lexical.as_ref().map(|rows| held_out.branch_report(&task.labels, rows)).transpose()?,
        baseline,
        model_id,
    };
    Ok(Trained { head: bytes, adapter, report })
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

/// The rows of a run: which classes they have, which part each belongs to.
pub(crate) struct Task {
    pub(crate) rows: Vec<LabelledText>,
    pub(crate) labels: Vec<String>,
    /// Per row, the index of its label.
    pub(crate) classes: Vec<usize>,
    /// Rows to learn from.
    pub(crate) training: Vec<usize>,
    /// Rows held out.
    pub(crate) validation: Vec<usize>,
}

/// The rows that go through the encoder, and the parts as places among them.
struct Encoded {
    rows: Vec<usize>,
    training: Vec<usize>,
    validation: Vec<usize>,
}

impl Task {
    /// Drops repeats and rows in other languages, finds the labels and splits.
    pub(crate) fn new(rows: Vec<LabelledText>, options: &TrainOptions) -> Result<Self> {
        let mut rows = without_repeats(rows);
        rows.retain(|row| row.is_in(options.language));
        let labels = labels(&rows, options.head)?;
        let classes = rows.iter().map(|row| class_of(row, &labels)).collect::<Result<Vec<usize>>>()?;
        let held_out = |index: &usize| is_validation(&rows[*index].text, options.seed, options.validation_fraction);
        let (validation, training): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(held_out);
        if training.is_empty() || validation.is_empty() || labels.len() < 2 {
            let (training, validation) = (training.len(), validation.len());
            return Err(InferenceError::Labels(format!(
                "{training} training and {validation} validation rows in `{}` with {} labels; both parts need some, and two labels (files, validation_fraction, language?)",
                options.language.as_str(),
                labels.len()
            )));
        }
        Ok(Self { rows, labels, classes, training, validation })
    }

    pub(crate) fn texts(&self, members: &[usize]) -> Vec<&str> {
        members.iter().map(|&member| self.rows[member].text.as_str()).collect()
    }

    pub(crate) fn classes_of(&self, members: &[usize]) -> Vec<usize> {
        members.iter().map(|&member| self.classes[member]).collect()
    }

    /// All validation rows and at most `neural_rows_max` training rows.
    fn encoded(&self, options: &TrainOptions) -> Encoded {
        let mut chosen = self.training.clone();
        if chosen.len() > options.neural_rows_max {
            chosen.shuffle(&mut ChaCha8Rng::seed_from_u64(options.seed));
            chosen.truncate(options.neural_rows_max);
        }
        let chosen: BTreeSet<usize> = chosen.into_iter().collect();
        let rows: Vec<usize> = chosen.iter().copied().chain(self.validation.iter().copied()).collect();
        Encoded { training: (0..chosen.len()).collect(), validation: (chosen.len()..rows.len()).collect(), rows }
    }

    /// Names the run: equal for equal rows, options and encoders.
    fn fingerprint(&self, options: &TrainOptions, text_encoder: &TextEncoder) -> String {
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

/// True classes and logits of the validation rows.
struct HeldOut {
    classes: Vec<usize>,
    neural: Vec<Vec<f64>>,
    lexical: Option<Vec<Vec<f64>>>,
}

impl HeldOut {
    fn new(task: &Task, neural: &[Vec<f32>], lexical: Option<&LexicalBranch>) -> Self {
        let double = |row: &Vec<f32>| row.iter().map(|&logit| f64::from(logit)).collect();
        let texts = task.texts(&task.validation);
        Self {
            classes: task.classes_of(&task.validation),
            neural: neural.iter().map(double).collect(),
            lexical: lexical.map(|branch| texts.iter().map(|text| branch.logits(text)).collect()),
        }
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

    /// The metadata with what the validation part decides: the lexical share and the temperature of the lowest loss, and the
    /// thresholds of the highest macro-F1 where they are asked for.
    fn calibrated(
        &self,
        metadata: HeadMetadata,
        lexical: Option<&LexicalBranch>,
        options: &TrainOptions,
    ) -> Result<HeadMetadata> {
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
        let lexical = lexical.map(LexicalBranch::metadata);
        Ok(HeadMetadata { lexical, lexical_share, temperature, label_bias, ..metadata })
    }

    /// Figures of one branch alone, calibrated by itself.
    fn branch_report(&self, labels: &[String], logits: &[Vec<f64>]) -> Result<ClassificationReport> {
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

fn not_a_number() -> InferenceError {
    InferenceError::Config("the trained head gives values that are no numbers".to_owned())
}

/// Figures of the head as it will be loaded.
fn head_report(task: &Task, head: &Head, neural: &[Vec<f32>], model_id: &str) -> Result<ClassificationReport> {
    let mut rows = Vec::with_capacity(neural.len());
    for (&member, logits) in task.validation.iter().zip(neural) {
        let probabilities = head.probabilities(logits, &task.rows[member].text).ok_or_else(not_a_number)?;
        rows.push((task.classes[member], probabilities));
    }
    let decide = |row: &[f64]| head.metadata().decide(row);
    Ok(ClassificationReport::new(model_id, &task.labels, &rows, 0, decide))
}
