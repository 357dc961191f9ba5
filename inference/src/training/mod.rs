//! Fitting a head on labelled texts and measuring one: what `contactflow train` and `evaluate` do.

mod evaluate;
mod features;
mod fit;
mod labels;
mod metrics;
mod train;

pub use evaluate::{EvaluateOptions, evaluate};
pub use labels::{LabelledText, read_labelled};
pub use metrics::{ClassMetrics, ClassificationReport};
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
}
