//! What to train the conversation head on and how.

use std::path::PathBuf;

use crate::config::ModelConfig;
use crate::conversation::CLASSES;
use crate::error::{InferenceError, Result};
use crate::language::Language;

/// What to train the conversation head on and how. The defaults are those of the built-in head.
#[derive(Clone, Debug)]
pub struct SatisfactionOptions {
    /// The multilingual encoder (frozen), the token limit and the batch size of encoding.
    pub model: ModelConfig,
    /// Name of the head, the first part of its model id.
    pub name: String,
    /// The three labels, from dissatisfied to satisfied.
    pub labels: Vec<String>,
    /// Files of rated dialogues, see [`SatisfactionEvaluateOptions::inputs`](crate::SatisfactionEvaluateOptions::inputs).
    pub inputs: Vec<PathBuf>,
    /// Only dialogues of this language; all if absent.
    pub language: Option<Language>,
    /// Where the head goes; nothing is written if absent. An interrupted training leaves a `.checkpoint` beside it, from
    /// which the same command goes on.
    pub output: Option<PathBuf>,
    /// Decides the split, the initial weights, the order of dialogues and dropout.
    pub seed: u64,
    /// Share of the dialogues held out for validation, 0 to below 1.
    pub validation_fraction: f64,
    /// Parts of the other dialogues; each has a network that does not learn from it.
    pub folds: usize,
    /// Encoder layers whose states are pooled, increasing; every quarter of the encoder's if empty.
    pub encoder_layers: Vec<i64>,
    /// Hash buckets of the lexicon.
    pub lexicon_buckets: usize,
    /// Principal components of the states that the logistic regressions see.
    pub regression_components: usize,
    /// Principal components in a turn's vector.
    pub vector_components: usize,
    /// L2 penalty of the lexicon's regression.
    pub lexicon_l2: f64,
    /// L2 penalty of the states' regression on customers' turns.
    pub customer_l2: f64,
    /// L2 penalty of the states' regression on the agents' turns before.
    pub agent_l2: f64,
    /// How freely a dialogue may have an offset of its own in the regressions; 0 for none.
    pub dialogue_offset: f32,
    /// Units of each LSTM.
    pub lstm_hidden_size: i64,
    /// Epochs at most, per network.
    pub epochs_max: u32,
    /// A network's training stops after this many epochs without a lower loss on its fold.
    pub patience_epochs: u32,
    /// Dialogues per step.
    pub batch_size: usize,
    /// Peak learning rate of AdamW.
    pub learning_rate: f64,
    /// Weight decay of AdamW.
    pub weight_decay: f64,
    /// Share of the turn features and LSTM states dropped in training, 0 to below 1.
    pub dropout: f64,
    /// Share of the target spread evenly over all classes, 0 to below 1.
    pub label_smoothing: f64,
}

impl Default for SatisfactionOptions {
    fn default() -> Self {
        Self {
            model: ModelConfig::default(),
            name: "satisfaction".to_owned(),
            labels: ["0", "1", "2"].map(str::to_owned).to_vec(),
            inputs: Vec::new(),
            language: None,
            output: None,
            seed: 20_260_101,
            validation_fraction: 0.2,
            folds: 5,
            encoder_layers: Vec::new(),
            lexicon_buckets: 1 << 16,
            regression_components: 256,
            vector_components: 16,
            lexicon_l2: 1.0,
            customer_l2: 1.0,
            agent_l2: 3.0,
            dialogue_offset: 0.3,
            lstm_hidden_size: 16,
            epochs_max: 30,
            patience_epochs: 6,
            batch_size: 16,
            learning_rate: 3e-3,
            weight_decay: 0.02,
            dropout: 0.3,
            label_smoothing: 0.05,
        }
    }
}

impl SatisfactionOptions {
    pub(crate) fn check(&self) -> Result<()> {
        let share = |value: f64| (0.0..1.0).contains(&value);
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let problem = if self.labels.len() != CLASSES {
            "three labels are needed"
        } else if self.folds < 2 {
            "at least two folds are needed"
        } else if self.batch_size == 0 || self.epochs_max == 0 || self.lstm_hidden_size < 1 {
            "batch_size, epochs_max and lstm_hidden_size must be at least 1"
        } else if self.lexicon_buckets == 0 || self.regression_components < self.vector_components {
            "lexicon_buckets must be at least 1, and regression_components at least vector_components"
        } else if !(share(self.dropout) && share(self.label_smoothing) && share(self.validation_fraction)) {
            "dropout, label_smoothing and validation_fraction must lie in 0 to below 1"
        } else if ![self.learning_rate, self.lexicon_l2, self.customer_l2, self.agent_l2].into_iter().all(positive) {
            "learning_rate and the penalties must be positive numbers"
        } else {
            return Ok(());
        };
        Err(InferenceError::Config(problem.to_owned()))
    }
}
