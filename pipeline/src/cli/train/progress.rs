//! Progress of training and evaluation on the terminal.

use contactflow_inference::{InferenceError, Progress};
use indicatif::{ProgressBar, ProgressStyle};

use super::explain;
use crate::cli::CliError;

/// Shows how far `work` is, and what it fails with as the user is told it.
pub(super) fn with_progress<T>(
    work: impl FnOnce(&mut dyn FnMut(Progress)) -> Result<T, InferenceError>,
) -> Result<T, CliError> {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {msg}") {
        bar.set_style(style);
    }
    let result = work(&mut |progress| match progress {
        Progress::Lexical => bar.set_message("the lexical branch is fitted"),
        Progress::Baseline => bar.set_message("the bag-of-words baseline is fitted"),
        Progress::Encoding { done, total } => {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
            bar.set_message("texts encoded");
        }
        Progress::Epoch { epochs_max, figures } => {
            bar.set_length(u64::from(epochs_max));
            bar.set_position(u64::from(figures.epoch));
            let (loss, macro_f1) = (figures.training_loss, figures.validation_macro_f1);
            bar.set_message(format!("epochs, loss {loss:.4}, validation macro-F1 {macro_f1:.4}"));
            let validation_loss = figures.validation_loss;
            tracing::info!(epoch = figures.epoch, training_loss = loss, validation_loss, macro_f1, "epoch finished");
        }
        Progress::NetworkEpoch { network, networks, epochs_max, figures } => {
            bar.set_length(networks as u64 * u64::from(epochs_max));
            bar.set_position(network as u64 * u64::from(epochs_max) + u64::from(figures.epoch));
            let (loss, validation_loss) = (figures.training_loss, figures.validation_loss);
            bar.set_message(format!("epochs, loss {loss:.4}, on the fold left out {validation_loss:.4}"));
            let (epoch, macro_f1) = (figures.epoch, figures.validation_macro_f1);
            tracing::info!(network, epoch, training_loss = loss, validation_loss, macro_f1, "epoch finished");
        }
    });
    bar.finish_and_clear();
    result.map_err(explain)
}
