//! Fitting a head on labelled texts and measuring one: what `contactflow train` and `evaluate` do.

mod adamw;
mod adapt;
mod baseline;
mod checkpoint;
mod corrections;
mod descent;
mod evaluate;
mod features;
mod fit;
mod labels;
mod lbfgs;
mod lexical;
mod metrics;
mod options;
mod satisfaction;
mod thresholds;
mod train;

use serde::Serialize;

pub use adapt::{AdaptOptions, AdaptReport, adapt, adapt_rows};
pub use baseline::Baseline;
pub use evaluate::{EvaluateOptions, evaluate};
pub use labels::{LabelledText, read_labelled};
pub use metrics::{ClassMetrics, ClassificationReport};
pub use options::{CorrectionOptions, LexicalOptions, TrainOptions};
pub use satisfaction::{
    SatisfactionEvaluateOptions, SatisfactionOptions, SatisfactionReport, SatisfactionTrainReport,
    evaluate_satisfaction, train_satisfaction,
};
pub use train::{TrainReport, Trained, train, train_rows};

/// What training or evaluation is doing, for a progress bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress {
    /// The lexical branch is being fitted.
    Lexical,
    /// The baseline is being fitted.
    Baseline,
    /// The encoder reads the texts.
    Encoding {
        /// Texts read so far.
        done: usize,
        /// All texts.
        total: usize,
    },
    /// An epoch of training is over.
    Epoch {
        /// The last one, unless training stops early.
        epochs_max: u32,
        /// How the epoch went.
        figures: EpochFigures,
    },
    /// An epoch of one of several networks is over: of those of a conversation head, or of a cross-validation.
    NetworkEpoch {
        /// This network, from 0.
        network: usize,
        /// All networks.
        networks: usize,
        /// The last epoch, unless training stops early.
        epochs_max: u32,
        /// How the epoch went; the validation part is the fold that the network does not learn from. For the last network of
        /// a cross-validation, which learns from all rows, it is what all folds together had after this epoch.
        figures: EpochFigures,
    },
}

/// One point of the learning curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EpochFigures {
    /// The epoch, from 1.
    pub epoch: u32,
    /// Mean loss on the training part while it was learnt, in nats (with dropout and class weights).
    pub training_loss: f64,
    /// Mean cross-entropy on the validation part, in nats.
    pub validation_loss: f64,
    /// Macro-F1 on the validation part.
    pub validation_macro_f1: f64,
}
