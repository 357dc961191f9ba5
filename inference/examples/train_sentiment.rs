//! Trains the built-in head: `train_sentiment OUTPUT.safetensors LABELS.ndjson.gz… [--set KEY=VALUE]…`
//!
//! The same as `contactflow train`, without the rest of the program; it prints the report as JSON.

use contactflow_inference::{Device, Progress, TrainOptions, train};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = TrainOptions { selection_language: Some("en".to_owned()), ..TrainOptions::default() };
    let mut arguments = std::env::args().skip(1);
    options.output = Some(arguments.next().ok_or("usage: train_sentiment OUTPUT LABELS… [--set KEY=VALUE]…")?.into());
    while let Some(argument) = arguments.next() {
        if argument != "--set" {
            options.inputs.push(argument.into());
            continue;
        }
        let setting = arguments.next().unwrap_or_default();
        let (key, value) = setting.split_once('=').ok_or("--set wants KEY=VALUE")?;
        match key {
            "seed" => options.seed = value.parse()?,
            "epochs_max" => options.epochs_max = value.parse()?,
            "batch_size" => options.batch_size = value.parse()?,
            "learning_rate" => options.learning_rate = value.parse()?,
            "weight_decay" => options.weight_decay = value.parse()?,
            "dropout" => options.dropout = value.parse()?,
            "label_smoothing" => options.label_smoothing = value.parse()?,
            "class_weight_power" => options.class_weight_power = value.parse()?,
            "lstm_hidden_size" => options.lstm_hidden_size = value.parse()?,
            _ => return Err(format!("unknown setting {key}").into()),
        }
    }
    let mut progress = |progress: Progress| {
        if let Progress::Epoch { epoch, training_loss, validation_macro_f1, .. } = progress {
            eprintln!("epoch {epoch}: loss {training_loss:.4}, validation macro-F1 {validation_macro_f1:.4}");
        }
    };
    let report = train(&options, Device::cuda_if_available(), &mut progress)?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}
