//! Texts per second of the sentiment model on the CPU.
//!
//! `cargo run -p contactflow-inference --example throughput -- EVENTS.ndjson.gz [INTRA_OP_THREADS] [TEXTS]`

use std::io::{BufRead, BufReader};
use std::time::Instant;

use contactflow_inference::{Device, ModelConfig, Scorer};
use contactflow_schemas::prediction::{TextKey, TextRequest};

/// Texts handed over at a time, as a device thread would.
const BATCH_TEXTS: usize = 256;
/// Texts scored before the clock starts.
const WARM_UP_TEXTS: usize = 64;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments.first().ok_or("usage: throughput EVENTS.ndjson.gz [INTRA_OP_THREADS] [TEXTS]")?;
    let threads: i32 = arguments.get(1).map_or(Ok(1), |text| text.parse())?;
    let limit: usize = arguments.get(2).map_or(Ok(usize::MAX), |text| text.parse())?;
    let mut requests = Vec::new();
    for line in BufReader::new(flate2::read::GzDecoder::new(std::fs::File::open(path)?)).lines().take(limit) {
        let row: serde_json::Value = serde_json::from_str(&line?)?;
        if let Some(text) = row["text"].as_str() {
            requests.push(TextRequest { key: TextKey::of(text), text: text.to_owned() });
        }
    }
    tch::set_num_threads(threads);
    let mut scorer = Scorer::load(&ModelConfig::default(), Device::Cpu)?;
    scorer.score(&requests[..requests.len().min(WARM_UP_TEXTS)]);
    let started = Instant::now();
    for chunk in requests.chunks(BATCH_TEXTS) {
        scorer.score(chunk);
    }
    let seconds = started.elapsed().as_secs_f64();
    let rate = requests.len() as f64 / seconds;
    println!(
        "{}: {} texts in {seconds:.2} s with {threads} thread(s): {rate:.0} texts/s",
        scorer.model_id(),
        requests.len()
    );
    println!("{:?}", scorer.stats());
    Ok(())
}
