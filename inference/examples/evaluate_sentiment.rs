//! Figures of the built-in head: `evaluate_sentiment LABELS.ndjson.gz…`, as JSON.

use contactflow_inference::{Device, EvaluateOptions, evaluate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let inputs = std::env::args().skip(1).map(Into::into).collect();
    let options = EvaluateOptions { inputs, ..EvaluateOptions::default() };
    let report = evaluate(&options, Device::cuda_if_available(), &mut |_| ())?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}
