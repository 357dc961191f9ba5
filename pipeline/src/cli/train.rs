//! `contactflow train` and `contactflow evaluate`.

mod adapt;
mod curve;
mod progress;
mod report;
mod satisfaction;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use contactflow_inference::{
    AdapterSetting, CorrectionOptions, Device, EvaluateOptions, InferenceError, Language, LexicalOptions, ModelConfig,
    Multilingual, TrainOptions, evaluate as evaluate_head, read_labelled, train as train_head,
};
use contactflow_schemas::prediction::TextHead;

use super::{CliError, say};
pub(super) use adapt::{AdaptArgs, adapt};
use progress::with_progress;

/// Heads the program knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum HeadArg {
    /// negative, neutral, positive (Chinese: negative, positive)
    Sentiment,
    /// anger, joy, optimism, sadness
    Emotion,
    /// not-offensive, offensive
    Offensive,
    /// emotion or offensive, whichever the labels of the input belong to
    Tone,
    /// any labels; the built-in head has the 77 of banking77
    Intent,
    /// 0 dissatisfied, 1 neutral, 2 satisfied, after every turn of a conversation (multilingual encoder)
    Satisfaction,
}

/// Languages that have an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LanguageArg {
    En,
    Zh,
}

impl LanguageArg {
    fn language(self) -> Language {
        match self {
            Self::En => Language::En,
            Self::Zh => Language::Zh,
        }
    }
}

/// Arguments of `train`.
#[derive(Debug, Args)]
#[command(after_help = "Labelled texts are NDJSON, plain or gzipped: {\"text\": …, \"label\": …, \"lang\": …} a line.
15 % of them, chosen by a seeded hash of the text, are held out; the figures are on these, beside those of a
bag-of-words baseline. With --folds all are: every row is judged by a network that has not learnt from it, and the head then
learns from all rows. Training that was stopped goes on after its last whole epoch when the same command is run again
(OUTPUT.checkpoint). The learning curve goes to OUTPUT.svg.

Examples:
  contactflow train --head sentiment --input labels.ndjson.gz --output sentiment.safetensors --seed 7
  contactflow train --head sentiment --language zh --input labels.ndjson.gz --output zh.safetensors
  contactflow train --head emotion --folds 5 --input labels.ndjson.gz --output emotion.safetensors
  contactflow train --head intent --input intents.ndjson --output intent.safetensors --report intent.html
  contactflow train --head sentiment --input labels.ndjson.gz --adapter-output adapter.safetensors --output sentiment.safetensors")]
pub(super) struct TrainArgs {
    /// What to fit
    #[arg(long, value_enum, default_value = "sentiment")]
    head: HeadArg,
    /// Whose encoder the head is for; rows in other languages are left out
    #[arg(long, value_enum, default_value = "en")]
    language: LanguageArg,
    /// Labelled texts (may be repeated)
    #[arg(long, required = true, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Where the head goes
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Seed of the split, the initial weights and the order of batches
    #[arg(long, default_value_t = TrainOptions::default().seed)]
    seed: u64,
    /// Cross-validate with so many folds instead of holding a part out, and train on all rows
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(2..))]
    folds: Option<u32>,
    /// Most passes over the data [default: the built-in head's]
    #[arg(long)]
    epochs: Option<u32>,
    /// Peak learning rate [default: the built-in head's]
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Dropout [default: the built-in head's]
    #[arg(long)]
    dropout: Option<f64>,
    /// Running means of what is learnt count: the share of them that a step leaves as it was, such as 0.995; 0 for none [default:
    /// the built-in head's]
    #[arg(long, value_name = "SHARE")]
    running_mean: Option<f64>,
    /// Label smoothing [default: the built-in head's]
    #[arg(long)]
    label_smoothing: Option<f64>,
    /// Power of the inverse class frequency that weights the LSTM's loss; 0 is unweighted [default: the built-in head's]
    #[arg(long, value_name = "POWER")]
    class_weight_power: Option<f64>,
    /// The same of the lexical branch [default: the built-in head's]
    #[arg(long, value_name = "POWER")]
    lexical_class_weight_power: Option<f64>,
    /// Encoder layers the head mixes, such as 3,4,5,6 [default: the built-in head's]
    #[arg(long, value_delimiter = ',')]
    encoder_layers: Vec<i64>,
    /// Most training rows the LSTM reads [default: the built-in head's]
    #[arg(long)]
    neural_rows: Option<usize>,
    /// Inverse strength of the lexical branch's penalty; 0 leaves the branch out [default: the built-in head's]
    #[arg(long)]
    lexical_inverse_penalty: Option<f64>,
    /// Hugging Face folder of the encoder
    #[arg(long, value_name = "FOLDER")]
    encoder: Option<PathBuf>,
    /// Corrections of the encoder: a file of `adapt` or of --adapter-output, `none` or `built-in` (English) [default: built-in]
    #[arg(long, value_name = "ADAPTER")]
    adapter: Option<String>,
    /// Learn corrections of the encoder together with the head, and write them there; the head is for the encoder with them
    #[arg(long, value_name = "FILE", conflicts_with = "adapter")]
    adapter_output: Option<PathBuf>,
    /// Upper layers of the encoder that are corrected, with --adapter-output [default: 6]
    #[arg(long, requires = "adapter_output")]
    adapter_layers: Option<i64>,
    /// Peak learning rate of the corrections, with --adapter-output [default: 0.0004]
    #[arg(long, requires = "adapter_output")]
    adapter_learning_rate: Option<f64>,
    /// Keep the encoder's states there (gigabytes), for further runs on the same texts
    #[arg(long, value_name = "FOLDER")]
    feature_cache: Option<PathBuf>,
    /// Write the report there too, as .txt, .json or .html (may be repeated)
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  contactflow evaluate --head sentiment --language en --input labels.ndjson.gz --json
  contactflow evaluate --head intent --input intents.ndjson.gz --report intent.html")]
pub(super) struct EvaluateArgs {
    /// Which head
    #[arg(long, value_enum, default_value = "sentiment")]
    head: HeadArg,
    /// Labelled texts (may be repeated)
    #[arg(long, required = true, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Whose encoder and head, and only rows in it; by the script of each text if absent
    #[arg(long, value_enum)]
    language: Option<LanguageArg>,
    /// Head file; the built-in head by default
    #[arg(long, value_name = "FILE")]
    head_file: Option<PathBuf>,
    /// Hugging Face folder of the encoder
    #[arg(long, value_name = "FOLDER")]
    encoder: Option<PathBuf>,
    /// Corrections of the encoder: a file of `adapt` or of --adapter-output, `none` or `built-in` (English) [default: built-in]
    #[arg(long, value_name = "ADAPTER")]
    adapter: Option<String>,
    /// Write the report there too, as .txt, .json or .html (may be repeated)
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The encoders, with another folder and another adapter for `language` if they are given.
fn model(encoder: Option<&Path>, adapter: Option<String>, language: Language) -> ModelConfig {
    let mut config = ModelConfig::default();
    if let Some(adapter) = adapter.map(AdapterSetting::from) {
        match language {
            Language::En => config.adapter = adapter,
            Language::Zh => config.multilingual.adapter = adapter,
        }
    }
    if let Some(folder) = encoder {
        match language {
            Language::En => config.encoder_dir = folder.to_owned(),
            Language::Zh => {
                config.multilingual.encoder_dir = folder.to_owned();
                config.multilingual.when = Multilingual::On;
            }
        }
    }
    config
}

/// Wrong files and options are the user's to correct; everything else is a failure.
fn explain(error: InferenceError) -> CliError {
    match error {
        InferenceError::Config(_) | InferenceError::Labels(_) => CliError::configuration(error),
        other => CliError::failure(other),
    }
}

/// The head an argument means; `tone` is two of them, told apart by the labels in the first file.
fn head(argument: HeadArg, inputs: &[PathBuf]) -> Result<TextHead, CliError> {
    match argument {
        HeadArg::Sentiment => Ok(TextHead::Sentiment),
        HeadArg::Emotion => Ok(TextHead::Emotion),
        HeadArg::Offensive => Ok(TextHead::Offensive),
        HeadArg::Intent => Ok(TextHead::Intent),
        HeadArg::Satisfaction => Err(explain(InferenceError::Config("satisfaction is no head of texts".to_owned()))),
        HeadArg::Tone => {
            let rows = inputs.first().map_or_else(|| Ok(Vec::new()), |path| read_labelled(path)).map_err(explain)?;
            let label = rows.first().map(|row| row.label.as_str()).unwrap_or_default();
            let knows = |head: &TextHead| head.labels().is_some_and(|labels| labels.contains(&label));
            [TextHead::Emotion, TextHead::Offensive].into_iter().find(knows).ok_or_else(|| {
                explain(InferenceError::Labels(format!("label `{label}` belongs to neither emotion nor offensive")))
            })
        }
    }
}

/// The lexical branch that the arguments ask for.
fn lexical(args: &TrainArgs, shipped: Option<LexicalOptions>) -> Option<LexicalOptions> {
    let shipped = shipped?;
    let inverse_penalty = args.lexical_inverse_penalty.unwrap_or(shipped.inverse_penalty);
    let class_weight_power = args.lexical_class_weight_power.unwrap_or(shipped.class_weight_power);
    (inverse_penalty > 0.0).then_some(LexicalOptions { inverse_penalty, class_weight_power, ..shipped })
}

pub(super) fn train(args: TrainArgs) -> Result<(), CliError> {
    let head = match args.head {
        HeadArg::Satisfaction => return satisfaction::train(args),
        text_head => head(text_head, &args.input)?,
    };
    let language = args.language.language();
    let shipped = TrainOptions::shipped(head, language);
    let lexical = lexical(&args, shipped.lexical);
    let usual = CorrectionOptions::default();
    let corrections = args.adapter_output.map(|output| CorrectionOptions {
        output: Some(output),
        layers: args.adapter_layers.unwrap_or(usual.layers),
        learning_rate: args.adapter_learning_rate.unwrap_or(usual.learning_rate),
        ..usual
    });
    let options = TrainOptions {
        model: model(args.encoder.as_deref(), args.adapter, language),
        corrections,
        inputs: args.input,
        checkpoint: Some(args.output.with_extension("checkpoint")),
        feature_cache: args.feature_cache,
        seed: args.seed,
        folds: args.folds,
        running_mean: args.running_mean.unwrap_or(shipped.running_mean),
        epochs_max: args.epochs.unwrap_or(shipped.epochs_max),
        learning_rate: args.learning_rate.unwrap_or(shipped.learning_rate),
        dropout: args.dropout.unwrap_or(shipped.dropout),
        label_smoothing: args.label_smoothing.unwrap_or(shipped.label_smoothing),
        class_weight_power: args.class_weight_power.unwrap_or(shipped.class_weight_power),
        encoder_layers: if args.encoder_layers.is_empty() {
            shipped.encoder_layers.clone()
        } else {
            args.encoder_layers
        },
        neural_rows_max: args.neural_rows.unwrap_or(shipped.neural_rows_max),
        lexical,
        output: Some(args.output.clone()),
        ..shipped
    };
    let result = with_progress(|progress| train_head(&options, Device::cuda_if_available(), progress))?;
    let picture = curve::svg(&result.curve).map_err(CliError::failure)?;
    write(&args.output.with_extension("svg"), &picture)?;
    let title = format!("{} ({})", head.as_str(), language.as_str());
    for path in &args.report {
        let contents = match format(path)? {
            Format::Text => report::training_text(&result),
            Format::Json => serde_json::to_string_pretty(&result).map_err(CliError::failure)?,
            Format::Html => report::training_html(&title, &result, &picture),
        };
        write(path, &contents)?;
    }
    if args.json {
        say(serde_json::to_string_pretty(&result).map_err(CliError::failure)?);
    } else {
        say(report::training_text(&result));
    }
    Ok(())
}

pub(super) fn evaluate(args: EvaluateArgs) -> Result<(), CliError> {
    let head = match args.head {
        HeadArg::Satisfaction => return satisfaction::evaluate(args),
        text_head => head(text_head, &args.input)?,
    };
    let language = args.language.map(LanguageArg::language);
    let options = EvaluateOptions {
        model: model(args.encoder.as_deref(), args.adapter, language.unwrap_or(Language::En)),
        head,
        head_file: args.head_file,
        inputs: args.input,
        language,
    };
    let result = with_progress(|progress| evaluate_head(&options, Device::cuda_if_available(), progress))?;
    for path in &args.report {
        let contents = match format(path)? {
            Format::Text => report::text(&result),
            Format::Json => serde_json::to_string_pretty(&result).map_err(CliError::failure)?,
            Format::Html => report::html(head.as_str(), &result),
        };
        write(path, &contents)?;
    }
    if args.json {
        say(serde_json::to_string(&result).map_err(CliError::failure)?);
    } else {
        say(report::text(&result));
    }
    Ok(())
}

/// What a report file's name asks for.
enum Format {
    Text,
    Json,
    Html,
}

fn format(path: &Path) -> Result<Format, CliError> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("txt") => Ok(Format::Text),
        Some("json") => Ok(Format::Json),
        Some("html") => Ok(Format::Html),
        _ => {
            let reason = format!("--report {} ends in none of .txt, .json and .html", path.display());
            Err(CliError::configuration(InferenceError::Config(reason)))
        }
    }
}

fn write(path: &Path, contents: &str) -> Result<(), CliError> {
    std::fs::write(path, contents)
        .map_err(|source| CliError::failure(InferenceError::Write { path: path.to_owned(), source }))
}
