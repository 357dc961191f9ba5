//! Fitting a head on labelled texts and measuring one: what `contactflow train` and `evaluate` do.

mod evaluate;
mod features;
mod fit;
mod labels;
mod metrics;
mod satisfaction;
mod train;

pub use evaluate::{EvaluateOptions, evaluate};
pub use labels::{LabelledText, read_labelled};
pub use metrics::{ClassMetrics, ClassificationReport};
pub use satisfaction::{
    SatisfactionEpoch, SatisfactionEvaluateOptions, SatisfactionOptions, SatisfactionReport, SatisfactionTrainReport,
    evaluate_satisfaction, train_satisfaction,
};
pub use train::{TrainOptions, TrainReport, train, train_rows};

/// What training or evaluation is doing, for a progress bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress {
    /// The encoder reads the texts.
    Encoding {
        /// Texts read so far.
        done: usize,
        /// All texts.
        total: usize,
    },
    /// An epoch of training is over.
    Epoch {
        /// This epoch, from 1.
        epoch: u32,
        /// The last one, unless training stops early.
        epochs_max: u32,
        /// Mean cross-entropy on the training part, in nats.
        training_loss: f64,
        /// Macro-F1 on the validation part.
        validation_macro_f1: f64,
    },
    /// An epoch of one of several networks is over.
    FoldEpoch {
        /// This network, from 0.
        network: usize,
        /// All networks.
        networks: usize,
        /// This epoch, from 1.
        epoch: u32,
        /// The last one, unless training stops early.
        epochs_max: u32,
        /// Mean weighted cross-entropy on what the network learns from, in nats.
        training_loss: f64,
        /// The same on the fold that it does not learn from.
        fold_loss: f64,
    },
}
