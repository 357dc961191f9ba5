//! Texts per second of the sentiment model on this machine.
//!
//! `cargo run -p contactflow-inference --example throughput -- events.ndjson.gz [intra-op threads] [texts]`

use std::io::{BufRead, BufReader};
use std::time::Instant;

use contactflow_inference::{Device, ModelConfig, Scorer};
use contactflow_schemas::prediction::{TextKey, TextRequest};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments.first().ok_or("usage: throughput FILE.ndjson.gz [threads] [texts]")?;
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
    let mut config = ModelConfig::default();
    if let Some(tokens) = arguments.get(3) {
        config.batch_tokens = tokens.parse()?;
    }
    let started = Instant::now();
    let mut scorer = Scorer::load(&config, Device::Cpu)?;
    println!("loaded {} in {:?}", scorer.model_id(), started.elapsed());
    scorer.score(&requests[..requests.len().min(64)]);
    let started = Instant::now();
    for chunk in requests.chunks(512) {
        scorer.score(chunk);
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{} texts in {seconds:.2} s, {threads} thread(s): {:.0} texts/s; {:?}",
        requests.len(),
        requests.len() as f64 / seconds,
        scorer.stats()
    );
    Ok(())
}
