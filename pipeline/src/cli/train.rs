//! `contactflow train` and `contactflow evaluate`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use contactflow_inference::{
    ClassificationReport, Device, EvaluateOptions, InferenceError, ModelConfig, Progress, TrainOptions,
};
use indicatif::{ProgressBar, ProgressStyle};

use super::{CliError, say};

mod satisfaction;

/// Heads the program knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum HeadArg {
    Sentiment,
    Satisfaction,
}

/// Arguments of `train`.
#[derive(Debug, Args)]
#[command(after_help = "Labelled texts are NDJSON, plain or gzipped: {\"text\": …, \"label\": …, \"lang\": …} a line.

Example:
  contactflow train --head sentiment --input labels.ndjson.gz --output sentiment.safetensors --seed 7")]
pub(super) struct TrainArgs {
    /// What to fit
    #[arg(long, value_enum, default_value = "sentiment")]
    head: HeadArg,
    /// Labelled texts (may be repeated)
    #[arg(long, required = true, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Where the head goes
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Seed of the split, the initial weights and the order of batches
    #[arg(long, default_value_t = TrainOptions::default().seed)]
    seed: u64,
    /// Language whose validation macro-F1 decides which epoch is kept; all by default
    #[arg(long)]
    selection_language: Option<String>,
    /// Most passes over the data
    #[arg(long, default_value_t = TrainOptions::default().epochs_max)]
    epochs: u32,
    /// Dropout
    #[arg(long, default_value_t = TrainOptions::default().dropout)]
    dropout: f64,
    /// Label smoothing
    #[arg(long, default_value_t = TrainOptions::default().label_smoothing)]
    label_smoothing: f64,
    /// Power of the inverse class frequency that weights the loss; 0 is unweighted
    #[arg(long, default_value_t = TrainOptions::default().class_weight_power)]
    class_weight_power: f64,
    /// Encoder layers the head mixes, such as 3,4,5,6; the last by default
    #[arg(long, value_delimiter = ',')]
    encoder_layers: Vec<i64>,
    /// Hugging Face folder of the encoder
    #[arg(long, value_name = "FOLDER")]
    encoder: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  contactflow evaluate --head sentiment --language en --input labels.ndjson.gz --json")]
pub(super) struct EvaluateArgs {
    /// Which head
    #[arg(long, value_enum, default_value = "sentiment")]
    head: HeadArg,
    /// Labelled texts (may be repeated)
    #[arg(long, required = true, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Only rows of this language
    #[arg(long)]
    language: Option<String>,
    /// Head file; the built-in head by default
    #[arg(long, value_name = "FILE")]
    head_file: Option<PathBuf>,
    /// Hugging Face folder of the encoder
    #[arg(long, value_name = "FOLDER")]
    encoder: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn model(encoder: Option<&Path>, head_file: Option<PathBuf>) -> ModelConfig {
    let config = encoder.map_or_else(ModelConfig::default, ModelConfig::new);
    ModelConfig { head_file, ..config }
}

/// Wrong files and options are the user's to correct; everything else is a failure.
fn explain(error: InferenceError) -> CliError {
    match error {
        InferenceError::Config(_) | InferenceError::Labels(_) => CliError::configuration(error),
        other => CliError::failure(other),
    }
}

pub(super) fn train(args: TrainArgs) -> Result<(), CliError> {
    match args.head {
        HeadArg::Sentiment => train_sentiment(args),
        HeadArg::Satisfaction => satisfaction::train(args),
    }
}

fn train_sentiment(args: TrainArgs) -> Result<(), CliError> {
    let options = TrainOptions {
        model: model(args.encoder.as_deref(), None),
        inputs: args.input,
        output: Some(args.output),
        seed: args.seed,
        selection_language: args.selection_language,
        epochs_max: args.epochs,
        dropout: args.dropout,
        label_smoothing: args.label_smoothing,
        class_weight_power: args.class_weight_power,
        encoder_layers: args.encoder_layers,
        ..TrainOptions::default()
    };
    let report =
        with_progress(|progress| contactflow_inference::train(&options, Device::cuda_if_available(), progress))?;
    if args.json {
        say(serde_json::to_string_pretty(&report).map_err(CliError::failure)?);
    } else {
        say(format!("model {}, epoch {} of {}", report.model_id, report.best_epoch, report.epochs));
        print_report(&report.validation);
    }
    Ok(())
}

pub(super) fn evaluate(args: EvaluateArgs) -> Result<(), CliError> {
    match args.head {
        HeadArg::Sentiment => evaluate_sentiment(args),
        HeadArg::Satisfaction => satisfaction::evaluate(args),
    }
}

fn evaluate_sentiment(args: EvaluateArgs) -> Result<(), CliError> {
    let options = EvaluateOptions {
        model: model(args.encoder.as_deref(), args.head_file),
        inputs: args.input,
        language: args.language,
    };
    let report =
        with_progress(|progress| contactflow_inference::evaluate(&options, Device::cuda_if_available(), progress))?;
    if args.json {
        say(serde_json::to_string(&report).map_err(CliError::failure)?);
    } else {
        print_report(&report);
    }
    Ok(())
}

fn with_progress<T>(work: impl FnOnce(&mut dyn FnMut(Progress)) -> Result<T, InferenceError>) -> Result<T, CliError> {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {msg}") {
        bar.set_style(style);
    }
    let result = work(&mut |progress| match progress {
        Progress::Encoding { done, total } => {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
            bar.set_message("texts encoded");
        }
        Progress::Epoch { epoch, epochs_max, training_loss, validation_macro_f1 } => {
            bar.set_length(u64::from(epochs_max));
            bar.set_position(u64::from(epoch));
            bar.set_message(format!("epochs, loss {training_loss:.4}, validation macro-F1 {validation_macro_f1:.4}"));
            tracing::info!(epoch, training_loss, validation_macro_f1, "epoch finished");
        }
        Progress::FoldEpoch { network, networks, epoch, epochs_max, training_loss, fold_loss } => {
            bar.set_length(networks as u64 * u64::from(epochs_max));
            bar.set_position(network as u64 * u64::from(epochs_max) + u64::from(epoch));
            bar.set_message(format!("epochs, loss {training_loss:.4}, on its fold {fold_loss:.4}"));
            tracing::info!(network, epoch, training_loss, fold_loss, "epoch finished");
        }
    });
    bar.finish_and_clear();
    result.map_err(explain)
}

fn print_report(report: &ClassificationReport) {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::UTF8_BORDERS_ONLY);
    table.set_header(["class", "precision", "recall", "F1", "n"]);
    for (label, class) in &report.per_class {
        let number = |value: f64| format!("{value:.4}");
        table.add_row([
            label.clone(),
            number(class.precision),
            number(class.recall),
            number(class.f1),
            class.n.to_string(),
        ]);
    }
    say(table);
    say(format!(
        "accuracy {:.4}, macro-F1 {:.4}, expected calibration error {:.4}, n {}, model {}",
        report.accuracy, report.macro_f1, report.expected_calibration_error, report.n, report.model_id
    ));
}
