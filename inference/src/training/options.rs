//! What to train on and how.

use std::path::PathBuf;

use contactflow_schemas::prediction::TextHead;

use crate::config::ModelConfig;
use crate::error::{InferenceError, Result};
use crate::language::Language;
use crate::lexical::NgramSpec;

/// What to train on and how. [`TrainOptions::shipped`] gives those of a built-in head.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// The encoders (frozen), the token limit and the batch size of encoding; head files are not used.
    pub model: ModelConfig,
    /// Which head: decides the labels that rows may have.
    pub head: TextHead,
    /// Whose encoder the head is for; rows in other languages are left out.
    pub language: Language,
    /// Labelled files, see [`read_labelled`](crate::read_labelled). A text that repeats an earlier one is dropped.
    pub inputs: Vec<PathBuf>,
    /// Where the head file goes; nothing is written if absent.
    pub output: Option<PathBuf>,
    /// Where the state of training is kept after every epoch, and taken up from; removed at the end.
    pub checkpoint: Option<PathBuf>,
    /// Folder where the token states of the texts are kept for the next run.
    pub feature_cache: Option<PathBuf>,
    /// Decides the split, the initial weights, the order of rows and dropout.
    pub seed: u64,
    /// Share of the texts held out for validation, 0 to 1. With `folds` it does not count.
    pub validation_fraction: f64,
    /// Cross-validation with this many folds: every row is judged by a network that has not learnt from it, the epoch, the
    /// lexical share, the temperature and the thresholds are chosen on all rows, and the head learns from all of them. One part
    /// is held out if absent.
    pub folds: Option<u32>,
    /// Epochs at most.
    pub epochs_max: u32,
    /// Training stops after this many epochs without a better validation macro-F1; with `folds` it does not.
    pub patience_epochs: u32,
    /// Rows per step.
    pub batch_size: usize,
    /// Peak learning rate of AdamW.
    pub learning_rate: f64,
    /// Weight decay of AdamW.
    pub weight_decay: f64,
    /// Share of the token features and of the pooled features dropped in training, 0 to below 1.
    pub dropout: f64,
    /// Running means of what is learnt count instead of the last values: the share of them that a step leaves as it was, 0 to
    /// below 1; 0 for no means.
    pub running_mean: f64,
    /// Share of the target spread evenly over all classes, 0 to below 1.
    pub label_smoothing: f64,
    /// 0 weighs rows alike, 1 weighs classes alike, values between are in between: in the neural branch and the baseline.
    pub class_weight_power: f64,
    /// Encoder layers that the head mixes, increasing; the last half of them if empty.
    pub encoder_layers: Vec<i64>,
    /// Units of the LSTM, per direction.
    pub lstm_hidden_size: i64,
    /// Most training rows that the neural branch reads; a seeded choice if there are more. The lexical branch reads all.
    pub neural_rows_max: usize,
    /// The lexical branch; none if absent.
    pub lexical: Option<LexicalOptions>,
    /// Whether the labels' thresholds are chosen on the validation part, for the highest macro-F1 there; otherwise the most
    /// probable label is the head's.
    pub choose_thresholds: bool,
    /// Corrections of the encoder that are learnt together with the neural branch; none if absent.
    pub corrections: Option<CorrectionOptions>,
}

/// Low-rank corrections of an encoder's upper layers, learnt together with a head: an [`Adapter`](crate::Adapter) comes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct CorrectionOptions {
    /// Where the adapter goes; nothing is written if absent.
    pub output: Option<PathBuf>,
    /// Upper layers that get corrections. The head mixes none below them but the one that they begin from.
    pub layers: i64,
    /// Rank of a correction.
    pub rank: i64,
    /// Factor of a correction.
    pub scale: f64,
    /// Peak learning rate of AdamW for the corrections.
    pub learning_rate: f64,
    /// Share of what the corrections read that is dropped in training, 0 to below 1.
    pub dropout: f64,
}

impl Default for CorrectionOptions {
    fn default() -> Self {
        Self { output: None, layers: 6, rank: 16, scale: 2.0, learning_rate: 4e-4, dropout: 0.1 }
    }
}

impl CorrectionOptions {
    fn is_possible(&self) -> bool {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        self.layers >= 1
            && self.rank >= 1
            && positive(self.scale)
            && positive(self.learning_rate)
            && (0.0..1.0).contains(&self.dropout)
    }
}

/// How a lexical branch is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LexicalOptions {
    /// Which sequences count.
    pub ngrams: NgramSpec,
    /// A sequence must stand in this many training texts.
    pub documents_min: u32,
    /// Most sequences; the most frequent are kept.
    pub features_max: usize,
    /// Inverse strength of the L2 penalty: sum of the rows' losses times this, plus half the squared weights.
    pub inverse_penalty: f64,
    /// As [`TrainOptions::class_weight_power`], of this branch.
    pub class_weight_power: f64,
}

impl Default for LexicalOptions {
    fn default() -> Self {
        Self::shipped(TextHead::Sentiment, Language::En)
    }
}

impl LexicalOptions {
    /// Those of the built-in head.
    pub fn shipped(head: TextHead, language: Language) -> Self {
        let english = NgramSpec { words_max: 2, chars_min: 2, chars_max: 5 };
        // Chinese has no spaces: characters and sequences of two and three stand for words.
        let chinese = NgramSpec { words_max: 0, chars_min: 1, chars_max: 3 };
        let (ngrams, documents_min) = match language {
            Language::En => (english, 2),
            Language::Zh => (chinese, 3),
        };
        // With 77 labels every feature costs 154 bytes.
        let features_max = if head == TextHead::Intent { 16_000 } else { 150_000 };
        let (inverse_penalty, class_weight_power) = match (head, language) {
            (TextHead::Intent, _) => (30.0, 0.0),
            // Two of three texts are negative.
            (TextHead::Sentiment, Language::En) => (3.0, 1.0),
            _ => (10.0, 0.0),
        };
        Self { ngrams, documents_min, features_max, inverse_penalty, class_weight_power }
    }
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self::shipped(TextHead::Sentiment, Language::En)
    }
}

impl TrainOptions {
    /// Those of the built-in head `head` for `language`; inputs and output are left to fill in.
    pub fn shipped(head: TextHead, language: Language) -> Self {
        let lexical = LexicalOptions::shipped(head, language);
        let common = Self {
            model: ModelConfig::default(),
            head,
            language,
            inputs: Vec::new(),
            output: None,
            checkpoint: None,
            feature_cache: None,
            seed: 20_260_101,
            validation_fraction: 0.15,
            folds: None,
            epochs_max: 8,
            patience_epochs: 4,
            batch_size: 32,
            learning_rate: 1e-3,
            weight_decay: 0.01,
            dropout: 0.3,
            running_mean: 0.0,
            label_smoothing: 0.0,
            class_weight_power: 0.0,
            encoder_layers: Vec::new(),
            lstm_hidden_size: 96,
            neural_rows_max: usize::MAX,
            lexical: Some(lexical),
            choose_thresholds: head == TextHead::Offensive,
            corrections: None,
        };
        match (head, language) {
            (TextHead::Intent, _) => Self { epochs_max: 12, learning_rate: 2e-3, ..common },
            (TextHead::Offensive, _) => Self { epochs_max: 5, ..common },
            // Two layers from the middle of twelve: more would not fit in memory for all rows.
            (TextHead::Sentiment, Language::Zh) => Self { encoder_layers: vec![6, 9], epochs_max: 5, ..common },
            _ => common,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let share = |value: f64| (0.0..1.0).contains(&value);
        let lexical = self.lexical.is_none_or(|lexical| lexical.inverse_penalty > 0.0 && lexical.features_max > 0);
        let problem = if self.batch_size == 0 || self.epochs_max == 0 || self.lstm_hidden_size < 1 {
            "batch_size, epochs_max and lstm_hidden_size must be at least 1"
        } else if ![self.dropout, self.running_mean, self.label_smoothing, self.validation_fraction]
            .into_iter()
            .all(share)
        {
            "dropout, running_mean, label_smoothing and validation_fraction must lie in 0 to below 1"
        } else if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            "learning_rate must be a positive number"
        } else if self.folds.is_some_and(|folds| folds < 2) {
            "at least two folds are needed"
        } else if !lexical {
            "the lexical branch needs a positive inverse penalty and room for features"
        } else if !self.corrections.as_ref().is_none_or(CorrectionOptions::is_possible) {
            "corrections need layers and rank of at least 1, a positive scale and learning rate, and a dropout of 0 to below 1"
        } else {
            return Ok(());
        };
        Err(InferenceError::Config(problem.to_owned()))
    }
}
