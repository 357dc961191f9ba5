//! `contactflow adapt`: corrections of an encoder that several heads share.

use std::path::PathBuf;

use clap::Args;
use contactflow_inference::{AdaptOptions, AdaptReport, ClassificationReport, Device, adapt as learn};
use contactflow_schemas::prediction::TextHead;

use super::{Format, LanguageArg, curve, format, model, report, with_progress, write};
use crate::cli::{CliError, say};

/// Arguments of `adapt`.
#[derive(Debug, Args)]
#[command(after_help = "Labelled texts are as for `train`, and the same of them are held out with the same seed.
Heads are trained on the adapted encoder afterwards: `contactflow train --adapter ADAPTER …`. An adaptation that was
stopped goes on after its last whole epoch when the same command is run again (OUTPUT.checkpoint).

Example:
  contactflow adapt --task sentiment=tweets.ndjson.gz --task intent=questions.ndjson.gz --output adapter.safetensors")]
pub(in crate::cli) struct AdaptArgs {
    /// A head to serve and its labelled texts (may be repeated)
    #[arg(long, required = true, value_name = "HEAD=FILE", value_parser = task)]
    task: Vec<(TextHead, PathBuf)>,
    /// Whose encoder
    #[arg(long, value_enum, default_value = "en")]
    language: LanguageArg,
    /// Where the adapter goes
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Seed of the split, the initial weights and the order of batches
    #[arg(long, default_value_t = AdaptOptions::default().seed)]
    seed: u64,
    /// Upper layers of the encoder that are corrected [default: 3]
    #[arg(long)]
    layers: Option<i64>,
    /// Rank of the corrections [default: 16]
    #[arg(long)]
    rank: Option<i64>,
    /// Passes over the data [default: 3]
    #[arg(long)]
    epochs: Option<u32>,
    /// Peak learning rate of the corrections [default: 0.0005]
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Hugging Face folder of the encoder
    #[arg(long, value_name = "FOLDER")]
    encoder: Option<PathBuf>,
    /// Keep the frozen layers' states there, for further runs on the same texts
    #[arg(long, value_name = "FOLDER")]
    feature_cache: Option<PathBuf>,
    /// Write the report there too, as .txt or .json (may be repeated)
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

fn task(argument: &str) -> Result<(TextHead, PathBuf), String> {
    let (name, file) = argument.split_once('=').ok_or("it has the form HEAD=FILE")?;
    let known = TextHead::ALL.map(TextHead::as_str).join(", ");
    let head = TextHead::ALL.into_iter().find(|head| head.as_str() == name);
    Ok((head.ok_or_else(|| format!("`{name}` is none of the heads {known}"))?, file.into()))
}

pub(in crate::cli) fn adapt(args: AdaptArgs) -> Result<(), CliError> {
    let language = args.language.language();
    let shipped = AdaptOptions::shipped(language);
    let options = AdaptOptions {
        model: model(args.encoder.as_deref(), None, language),
        tasks: args.task,
        checkpoint: Some(args.output.with_extension("checkpoint")),
        feature_cache: args.feature_cache,
        seed: args.seed,
        layers: args.layers.unwrap_or(shipped.layers),
        rank: args.rank.unwrap_or(shipped.rank),
        epochs: args.epochs.unwrap_or(shipped.epochs),
        learning_rate: args.learning_rate.unwrap_or(shipped.learning_rate),
        output: Some(args.output.clone()),
        ..shipped
    };
    let result = with_progress(|progress| learn(&options, Device::cuda_if_available(), progress))?;
    let picture = curve::svg(&result.curve).map_err(CliError::failure)?;
    write(&args.output.with_extension("svg"), &picture)?;
    let json = || serde_json::to_string_pretty(&result).map_err(CliError::failure);
    for path in &args.report {
        let contents = match format(path)? {
            Format::Json => json()?,
            Format::Text | Format::Html => text(&result),
        };
        write(path, &contents)?;
    }
    say(if args.json { json()? } else { text(&result) });
    Ok(())
}

fn text(result: &AdaptReport) -> String {
    let figures = |task: &ClassificationReport| format!("{}\n{}\n", task.model_id, report::text(task));
    format!(
        "{} bytes, SHA-256 {}\nseed {}, {} rows to train on\n{}",
        result.adapter_bytes,
        result.adapter_sha256,
        result.seed,
        result.training_rows,
        result.tasks.iter().map(figures).collect::<String>()
    )
}
