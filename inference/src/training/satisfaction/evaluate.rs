//! Figures of a conversation head on rated dialogues, read exactly as scoring reads them.

use std::path::PathBuf;

use contactflow_schemas::prediction::TurnInput;
use serde::Serialize;
use tch::Device;

use crate::config::ModelConfig;
use crate::conversation::{CLASSES, ConversationHead, ConversationScorer};
use crate::error::Result;
use crate::language::Language;
use crate::text_encoder::TextEncoder;
use crate::training::Progress;
use crate::training::metrics::ClassificationReport;
use crate::training::satisfaction::calibrate::mean_recall;
use crate::training::satisfaction::corpus::Corpus;
use crate::training::satisfaction::dialogues::read_dialogues;

/// Prefixes of dialogues that are read together.
const PREFIXES_AT_ONCE: usize = 512;

/// Which conversation head to measure on what.
#[derive(Clone, Debug, Default)]
pub struct SatisfactionEvaluateOptions {
    /// The multilingual encoder, which conversation heads read, and the batch size of encoding.
    pub model: ModelConfig,
    /// The conversation head; the built-in one if absent.
    pub head_file: Option<PathBuf>,
    /// Files of rated dialogues: turns of role, text and label, or one label for the end of the dialogue.
    pub inputs: Vec<PathBuf>,
    /// Only dialogues of this language; all if absent.
    pub language: Option<Language>,
}

/// Figures of a conversation head. Classes are decided by its thresholds; the calibration error is that of the
/// probabilities behind the quality score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SatisfactionReport {
    /// Figures per rated turn.
    #[serde(flatten)]
    pub classes: ClassificationReport,
    /// Unweighted mean of recall over the classes that occur.
    pub mean_recall: f64,
    /// Dialogues with a rated turn.
    pub dialogues: u64,
}

/// Scores the conversation after every rated turn as [`ConversationScorer`] would and compares with its label.
///
/// # Errors
/// Unreadable or malformed files, unknown labels, no rated dialogue, a model that does not load.
pub fn evaluate_satisfaction(
    options: &SatisfactionEvaluateOptions,
    device: Device,
    progress: &mut dyn FnMut(Progress),
) -> Result<SatisfactionReport> {
    let head = match &options.head_file {
        Some(path) => ConversationHead::load(path, device)?,
        None => ConversationHead::built_in(device)?,
    };
    let dialogues = read_dialogues(&options.inputs, options.language, &head.metadata().labels)?;
    let encoder = TextEncoder::load(&options.model, Language::Zh, device)?;
    head.check_encoder(encoder.encoder.weights_sha256())?;
    let layers = head.metadata().encoder_layers.clone();
    let buckets = head.metadata().lexicon_buckets as usize;
    let corpus = Corpus::new(dialogues, &encoder, &layers, buckets, progress)?;
    let scorer = ConversationScorer::new(head, &encoder.fingerprint(), device);
    let members: Vec<usize> = (0..corpus.dialogues.len()).collect();
    Ok(report(&scorer, &corpus, &members))
}

/// The figures of `scorer` on the dialogues `members`.
pub(crate) fn report(scorer: &ConversationScorer, corpus: &Corpus, members: &[usize]) -> SatisfactionReport {
    let (rows, failed) = raw_probabilities(scorer, corpus, members);
    let metadata = scorer.head().metadata();
    let calibration = metadata.calibration;
    let calibrated: Vec<(usize, [f64; CLASSES])> =
        rows.into_iter().map(|(class, raw)| (class, calibration.probabilities(raw))).collect();
    let labelled = calibrated.iter().map(|&(class, row)| (class, calibration.label(row)));
    let rows: Vec<(usize, Vec<f64>)> = calibrated.iter().map(|(class, row)| (*class, row.to_vec())).collect();
    let decide = |row: &[f64]| calibration.label(std::array::from_fn(|class| row[class]));
    SatisfactionReport {
        classes: ClassificationReport::new(scorer.model_id(), &metadata.labels, &rows, failed, decide),
        mean_recall: mean_recall(labelled),
        dialogues: members.len() as u64,
    }
}

/// Class and raw probabilities of every rated turn of `members`, and how many could not be scored.
pub(crate) fn raw_probabilities(
    scorer: &ConversationScorer,
    corpus: &Corpus,
    members: &[usize],
) -> (Vec<(usize, [f64; CLASSES])>, u64) {
    let mut prefixes: Vec<(usize, Vec<TurnInput>)> = Vec::new();
    for &member in members {
        let turns = corpus.inputs(&scorer.head().turn_encoder, member, usize::MAX);
        for (place, class) in corpus.dialogues[member].rated() {
            prefixes.push((class, turns[..=place].to_vec()));
        }
    }
    let mut rows = Vec::with_capacity(prefixes.len());
    let mut failed = 0;
    for chunk in prefixes.chunks(PREFIXES_AT_ONCE) {
        let sequences: Vec<&[TurnInput]> = chunk.iter().map(|(_, turns)| turns.as_slice()).collect();
        for ((class, _), reading) in chunk.iter().zip(scorer.read(&sequences)) {
            match reading {
                Ok(reading) => rows.push((*class, reading.raw)),
                Err(_) => failed += 1,
            }
        }
    }
    (rows, failed)
}
