//! `--head satisfaction`: the head of conversations.

use contactflow_inference::{
    Device, InferenceError, Language, SatisfactionEvaluateOptions, SatisfactionOptions, SatisfactionReport,
    SatisfactionTrainReport, evaluate_satisfaction, train_satisfaction,
};

use super::{EvaluateArgs, Format, TrainArgs, curve, explain, format, model, report, with_progress, write};
use crate::cli::{CliError, say};

/// Refuses what only heads of texts have: nothing that was asked for is passed over.
fn check(args: &TrainArgs) -> Result<(), CliError> {
    let given = [
        ("--folds", args.folds.is_some()),
        ("--running-mean", args.running_mean.is_some()),
        ("--lexical-class-weight-power", args.lexical_class_weight_power.is_some()),
        ("--class-weight-power", args.class_weight_power.is_some()),
        ("--neural-rows", args.neural_rows.is_some()),
        ("--lexical-inverse-penalty", args.lexical_inverse_penalty.is_some()),
        ("--feature-cache", args.feature_cache.is_some()),
        ("--adapter-output", args.adapter_output.is_some()),
    ];
    match given.into_iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((name, _)) => {
            let reason = format!("the head of conversations is trained without {name}: leave it out");
            Err(explain(InferenceError::Config(reason)))
        }
    }
}

pub(super) fn train(args: TrainArgs) -> Result<(), CliError> {
    check(&args)?;
    let shipped = SatisfactionOptions::default();
    let options = SatisfactionOptions {
        model: model(args.encoder.as_deref(), args.adapter, Language::Zh),
        inputs: args.input,
        language: Some(args.language.language()),
        output: Some(args.output.clone()),
        seed: args.seed,
        epochs_max: args.epochs.unwrap_or(shipped.epochs_max),
        learning_rate: args.learning_rate.unwrap_or(shipped.learning_rate),
        dropout: args.dropout.unwrap_or(shipped.dropout),
        label_smoothing: args.label_smoothing.unwrap_or(shipped.label_smoothing),
        encoder_layers: args.encoder_layers,
        ..shipped
    };
    let result = with_progress(|progress| train_satisfaction(&options, Device::cuda_if_available(), progress))?;
    let picture = curve::svg(&result.curve).map_err(CliError::failure)?;
    write(&args.output.with_extension("svg"), &picture)?;
    let json = || serde_json::to_string_pretty(&result).map_err(CliError::failure);
    for path in &args.report {
        let contents = match format(path)? {
            Format::Text => training_text(&result),
            Format::Json => json()?,
            Format::Html => report::html("satisfaction", &result.validation.classes),
        };
        write(path, &contents)?;
    }
    say(if args.json { json()? } else { training_text(&result) });
    Ok(())
}

pub(super) fn evaluate(args: EvaluateArgs) -> Result<(), CliError> {
    let options = SatisfactionEvaluateOptions {
        model: model(args.encoder.as_deref(), args.adapter, Language::Zh),
        head_file: args.head_file,
        inputs: args.input,
        language: args.language.map(super::LanguageArg::language),
    };
    let result = with_progress(|progress| evaluate_satisfaction(&options, Device::cuda_if_available(), progress))?;
    let json = || serde_json::to_string(&result).map_err(CliError::failure);
    for path in &args.report {
        let contents = match format(path)? {
            Format::Text => text(&result),
            Format::Json => json()?,
            Format::Html => report::html("satisfaction", &result.classes),
        };
        write(path, &contents)?;
    }
    say(if args.json { json()? } else { text(&result) });
    Ok(())
}

fn text(report: &SatisfactionReport) -> String {
    format!("{}\nmean recall {:.4}, {} dialogues", report::text(&report.classes), report.mean_recall, report.dialogues)
}

fn training_text(report: &SatisfactionTrainReport) -> String {
    format!(
        "model {}, {} bytes, SHA-256 {}\nseed {}, {} dialogues to train on\n\
         mean recall, cross-fitted on these: {:.4} (bag of n-grams {:.4})\n\
         mean recall of the bag of n-grams on the held-out dialogues: {:.4} (accuracy {:.4})\n{}",
        report.model_id,
        report.head_bytes,
        report.head_sha256,
        report.seed,
        report.training_dialogues,
        report.cross_fitted_mean_recall,
        report.baseline_cross_fitted_mean_recall,
        report.baseline_mean_recall,
        report.baseline.accuracy,
        text(&report.validation)
    )
}
