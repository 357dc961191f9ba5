//! Training and measuring the conversation head on dialogues whose turns are rated.
//!
//! Cross-fitting keeps every figure honest. The dialogues that are not held out fall into folds. A turn encoder fitted
//! without a fold makes that fold's vectors, a network trained without it predicts it: so the networks learn from
//! vectors that are as uncertain as unseen texts' are, and calibration and thresholds come from predictions on
//! dialogues that the predicting network has not learnt from. The head holds all networks, and a turn encoder fitted on
//! all folds. The held-out dialogues decide nothing.

mod calibrate;
mod checkpoint;
mod corpus;
mod dialogues;
mod evaluate;
mod fit;
mod options;
mod softmax_regression;
mod split;
mod turn_stage;

use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};
use tch::Device;

pub use evaluate::{SatisfactionEvaluateOptions, SatisfactionReport, evaluate_satisfaction};
pub use options::SatisfactionOptions;

use crate::conversation::calibration::Calibration;
use crate::conversation::network::{Network, NetworkSizes};
use crate::conversation::turn_encoder::TurnEncoder;
use crate::conversation::{CLASSES, ConversationHead, ConversationHeadMetadata, ConversationScorer};
use crate::error::{Result, write_whole};
use crate::language::Language;
use crate::text_encoder::TextEncoder;
use crate::training::metrics::ClassificationReport;
use crate::training::satisfaction::calibrate::{calibrate, mean_recall};
use crate::training::satisfaction::checkpoint::Checkpoint;
use crate::training::satisfaction::corpus::Corpus;
use crate::training::satisfaction::dialogues::read_dialogues;
use crate::training::satisfaction::evaluate::{raw_probabilities, report};
use crate::training::satisfaction::fit::fit;
use crate::training::satisfaction::split::Split;
use crate::training::satisfaction::turn_stage::{Basis, TurnPenalties, bag_of_ngrams, fit_turn_encoder};
use crate::training::{EpochFigures, Progress};

/// L2 penalty of the bag of n-grams that is run beside: scikit-learn's default.
const BASELINE_L2: f64 = 1.0;

/// How training went. The figures are those of the head as stored (fp16 weights, calibrated).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SatisfactionTrainReport {
    /// Id of the new model.
    pub model_id: String,
    /// SHA-256 of the head file, lower-case hexadecimal.
    pub head_sha256: String,
    /// Size of the head file in bytes.
    pub head_bytes: u64,
    /// Seed of the run.
    pub seed: u64,
    /// Dialogues that networks learnt from.
    pub training_dialogues: u64,
    /// Mean recall of cross-fitted predictions on them. The thresholds are chosen for it, so it flatters a little.
    pub cross_fitted_mean_recall: f64,
    /// Mean recall, on the same dialogues and folds, of the bag of n-grams with thresholds chosen likewise.
    pub baseline_cross_fitted_mean_recall: f64,
    /// Figures on the held-out dialogues, which decided nothing.
    pub validation: SatisfactionReport,
    /// Figures of a converged logistic regression (classes weighed alike) on the n-grams of the rated turn alone, on
    /// the same split.
    pub baseline: ClassificationReport,
    /// Its mean recall.
    pub baseline_mean_recall: f64,
    /// Learning curve: means over the networks that this run trained and that were still learning.
    pub curve: Vec<EpochFigures>,
}

/// Trains a conversation head, writes it if an output is given, and measures it on the held-out dialogues.
///
/// The same options, files, thread count and machine give the same head file, byte for byte.
///
/// # Errors
/// Unreadable or malformed files, unknown labels, an empty part of the split, impossible options, LibTorch's errors.
pub fn train_satisfaction(
    options: &SatisfactionOptions,
    device: Device,
    progress: &mut dyn FnMut(Progress),
) -> Result<SatisfactionTrainReport> {
    options.check()?;
    let dialogues = read_dialogues(&options.inputs, options.language, &options.labels)?;
    let text_encoder = TextEncoder::load(&options.model, Language::Zh, device)?;
    let metadata = metadata(options, &text_encoder);
    let buckets = options.lexicon_buckets;
    let corpus = Corpus::new(dialogues, &text_encoder, &metadata.encoder_layers, buckets, progress)?;
    let split = Split::new(&corpus, options)?;
    let stage = TurnStage::new(&corpus, &split, &metadata, options)?;
    let fingerprint = fingerprint(options, &corpus, &text_encoder);
    let checkpoint = Checkpoint::new(options.output.as_deref(), fingerprint, metadata.network_sizes());
    let (networks, curve) = train_networks(&corpus, &split, &stage, &checkpoint, options, device, progress)?;

    let cross_fitted = cross_fitted(&corpus, &split, &stage, &networks, &metadata, device)?;
    let calibration = calibrate(&cross_fitted);
    let metadata = ConversationHeadMetadata { calibration, ..metadata };
    let bytes = ConversationHead::serialize(&metadata, &stage.whole, &networks)?;
    let head = ConversationHead::from_bytes(Path::new("new conversation head"), &bytes, device)?;
    let scorer = ConversationScorer::new(head, &text_encoder.fingerprint(), device);
    let (baseline, baseline_mean_recall) = baseline(&corpus, &split, options);
    if let Some(path) = &options.output {
        write_whole(path, &bytes)?;
        checkpoint.remove();
    }
    Ok(SatisfactionTrainReport {
        model_id: scorer.model_id().to_owned(),
        head_sha256: scorer.head().sha256().to_owned(),
        head_bytes: bytes.len() as u64,
        seed: options.seed,
        training_dialogues: split.training().len() as u64,
        cross_fitted_mean_recall: recall_of(&cross_fitted, calibration),
        baseline_cross_fitted_mean_recall: baseline_cross_fitted(&corpus, &split, options),
        validation: report(&scorer, &corpus, &split.held_out),
        baseline,
        baseline_mean_recall,
        curve,
    })
}

/// Turn encoders: one per fold, fitted without it, and one fitted on all.
struct TurnStage {
    by_fold: Vec<TurnEncoder>,
    whole: TurnEncoder,
}

impl TurnStage {
    fn new(
        corpus: &Corpus,
        split: &Split,
        metadata: &ConversationHeadMetadata,
        options: &SatisfactionOptions,
    ) -> Result<Self> {
        let texts = corpus.texts_of(&split.training());
        let components = options.regression_components.max(options.vector_components);
        let basis = Basis::new(&corpus.texts.states, &texts, components)?;
        let penalties = TurnPenalties {
            lexicon: options.lexicon_l2,
            customer: options.customer_l2,
            agent: options.agent_l2,
            dialogue: options.dialogue_offset,
        };
        let sizes = metadata.turn_sizes();
        let on =
            |members: &[usize]| fit_turn_encoder(&corpus.texts, &basis, &corpus.samples(members), sizes, penalties);
        let by_fold = (0..split.folds.len()).map(|fold| on(&split.without(fold))).collect();
        Ok(Self { by_fold, whole: on(&split.training()) })
    }
}

/// One network per fold, trained without it, from the checkpoint where it is finished.
fn train_networks(
    corpus: &Corpus,
    split: &Split,
    stage: &TurnStage,
    checkpoint: &Checkpoint,
    options: &SatisfactionOptions,
    device: Device,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Vec<Network>, Vec<EpochFigures>)> {
    let fold_of = split.fold_of(corpus.dialogues.len());
    let encoder_of = |member: usize| fold_of[member].map_or(&stage.whole, |fold| &stage.by_fold[fold]);
    let sequences = corpus.sequences(encoder_of, &split.training(), device)?;
    let as_index = |members: &[usize]| -> Vec<i64> { members.iter().map(|&member| member as i64).collect() };
    let mut networks = checkpoint.load(device);
    networks.truncate(split.folds.len());
    let sizes = NetworkSizes::new(stage.whole.sizes.vector(), options.lstm_hidden_size);
    let mut curves = Vec::new();
    for network in networks.len()..split.folds.len() {
        let (members, fold) = (as_index(&split.without(network)), as_index(&split.folds[network]));
        let mut curve = Vec::new();
        let mut each_epoch = |figures: EpochFigures| {
            curve.push(figures);
            let (networks, epochs_max) = (options.folds, options.epochs_max);
            progress(Progress::NetworkEpoch { network, networks, epochs_max, figures });
        };
        let seed = options.seed.wrapping_add(network as u64);
        networks.push(fit(&sequences, (&members, &fold), sizes, (options, seed), &mut each_epoch)?);
        curves.push(curve);
        checkpoint.save(&networks)?;
    }
    Ok((networks, mean_curve(&curves)))
}

/// Means over the curves that reach an epoch.
fn mean_curve(curves: &[Vec<EpochFigures>]) -> Vec<EpochFigures> {
    let longest = curves.iter().map(Vec::len).max().unwrap_or_default();
    let at = |index: usize| {
        let found: Vec<&EpochFigures> = curves.iter().filter_map(|curve| curve.get(index)).collect();
        let mean = |figure: fn(&EpochFigures) -> f64| {
            found.iter().map(|figures| figure(figures)).sum::<f64>() / found.len() as f64
        };
        EpochFigures {
            epoch: index as u32 + 1,
            training_loss: mean(|figures| figures.training_loss),
            validation_loss: mean(|figures| figures.validation_loss),
            validation_macro_f1: mean(|figures| figures.validation_macro_f1),
        }
    };
    (0..longest).map(at).collect()
}

/// Class and raw probabilities of every rated training turn, by the network and turn encoder that did not see it.
fn cross_fitted(
    corpus: &Corpus,
    split: &Split,
    stage: &TurnStage,
    networks: &[Network],
    metadata: &ConversationHeadMetadata,
    device: Device,
) -> Result<Vec<(usize, [f64; CLASSES])>> {
    let metadata = ConversationHeadMetadata { networks: 1, ..metadata.clone() };
    let mut rows = Vec::new();
    for ((network, encoder), members) in networks.iter().zip(&stage.by_fold).zip(&split.folds) {
        let bytes = ConversationHead::serialize(&metadata, encoder, std::slice::from_ref(network))?;
        let head = ConversationHead::from_bytes(Path::new("conversation head of a fold"), &bytes, device)?;
        rows.extend(raw_probabilities(&ConversationScorer::new(head, "", device), corpus, members).0);
    }
    Ok(rows)
}

fn recall_of(rows: &[(usize, [f64; CLASSES])], calibration: Calibration) -> f64 {
    mean_recall(rows.iter().map(|(class, raw)| (*class, calibration.label(calibration.probabilities(*raw)))))
}

fn baseline(corpus: &Corpus, split: &Split, options: &SatisfactionOptions) -> (ClassificationReport, f64) {
    let held_out = corpus.samples(&split.held_out);
    let samples = corpus.samples(&split.training());
    let found = bag_of_ngrams(&corpus.texts, &samples, &held_out, options.lexicon_buckets, BASELINE_L2);
    let rows: Vec<(usize, Vec<f64>)> =
        held_out.iter().zip(&found).map(|(sample, row)| (sample.class, row.to_vec())).collect();
    let report = ClassificationReport::most_probable("bag of character n-grams", &options.labels, &rows, 0);
    let labels = held_out.iter().zip(found).map(|(sample, row)| (sample.class, Calibration::NONE.label(row)));
    (report, mean_recall(labels))
}

fn baseline_cross_fitted(corpus: &Corpus, split: &Split, options: &SatisfactionOptions) -> f64 {
    let mut rows = Vec::new();
    for (fold, members) in split.folds.iter().enumerate() {
        let (samples, held_out) = (corpus.samples(&split.without(fold)), corpus.samples(members));
        let found = bag_of_ngrams(&corpus.texts, &samples, &held_out, options.lexicon_buckets, BASELINE_L2);
        rows.extend(held_out.iter().zip(found).map(|(sample, row)| (sample.class, row)));
    }
    recall_of(&rows, calibrate(&rows))
}

fn metadata(options: &SatisfactionOptions, text_encoder: &TextEncoder) -> ConversationHeadMetadata {
    let config = text_encoder.encoder.config();
    let last = config.num_hidden_layers;
    let quarters = || {
        let mut layers: Vec<i64> = (1..=4).map(|quarter| last * quarter / 4).collect();
        layers.dedup();
        layers
    };
    let folder = options.model.multilingual.encoder_dir.file_name().unwrap_or_default();
    let layers = if options.encoder_layers.is_empty() { quarters() } else { options.encoder_layers.clone() };
    let states = layers.len() as i64 * config.hidden_size;
    ConversationHeadMetadata {
        name: options.name.clone(),
        labels: options.labels.clone(),
        encoder_layers: layers,
        hidden_size: config.hidden_size,
        lexicon_buckets: options.lexicon_buckets as i64,
        components: (options.vector_components as i64).min(states),
        lstm_hidden_size: options.lstm_hidden_size,
        networks: options.folds as i64,
        encoder: folder.to_string_lossy().into_owned(),
        encoder_sha256: text_encoder.encoder.weights_sha256().to_owned(),
        calibration: Calibration::NONE,
    }
}

/// Digest of the options, the dialogues and the encoder: equal ones give equal networks.
fn fingerprint(options: &SatisfactionOptions, corpus: &Corpus, text_encoder: &TextEncoder) -> String {
    let options = SatisfactionOptions { inputs: Vec::new(), output: None, ..options.clone() };
    let mut digest = Sha256::new().chain_update(format!("{options:?}")).chain_update(text_encoder.fingerprint());
    for dialogue in &corpus.dialogues {
        digest.update(format!("{:?}", dialogue.turns));
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
