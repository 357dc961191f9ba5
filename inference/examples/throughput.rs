//! Texts per second on the CPU, of the encoder alone and of the whole scorer: our half of `make bench-inference`.
//!
//! `cargo run --workspace --example throughput -- TEXTS.txt THREADS [encode|score] [ROUNDS] [MODEL_DIR]`, a text per line.
//! Prints a line of JSON per round: texts, tokens, wall and CPU seconds, and what a core can do at most. Waits for a line on
//! standard input before each round, so that rounds of several programs can take turns.

use std::path::PathBuf;
use std::time::Instant;

use contactflow_inference::{
    BatchInput, BatchShapes, Device, Encoder, ModelConfig, PlannedBatch, Scorer, TextTokenizer, TokenizedText, passes,
};
use contactflow_schemas::prediction::{TextKey, TextRequest};

/// Texts handed over at a time, as a device thread does.
const GATHERED_TEXTS: usize = 256;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
/// Computes texts; how many tokens they had.
type Compute = Box<dyn FnMut(&[String]) -> Result<u64>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = "usage: throughput TEXTS.txt THREADS [encode|score] [ROUNDS] [MODEL_DIR]";
    let [path, threads, ..] = arguments.as_slice() else { return Err(usage.into()) };
    let texts: Vec<String> = std::fs::read_to_string(path)?.lines().map(str::to_owned).collect();
    tch::set_num_threads(threads.parse()?);
    let what = arguments.get(2).map_or("score", String::as_str);
    let rounds: usize = arguments.get(3).map_or(Ok(1), |rounds| rounds.parse())?;
    let config = arguments.get(4).map_or_else(ModelConfig::default, |dir| ModelConfig::new(PathBuf::from(dir)));
    let mut compute: Compute = match what {
        "encode" => Box::new(encoder(&config)?),
        "score" => Box::new(scorer(&config)?),
        _ => return Err(usage.into()),
    };
    compute(&texts[..texts.len().min(GATHERED_TEXTS)])?;
    for _ in 0..rounds {
        std::io::stdin().read_line(&mut String::new())?;
        let (started, cpu) = (Instant::now(), cpu_seconds()?);
        let mut tokens = 0;
        for gathered in texts.chunks(GATHERED_TEXTS) {
            tokens += compute(gathered)?;
        }
        let (wall_s, cpu_s) = (started.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
        let line = serde_json::json!({
            "what": format!("contactflow {what}"), "texts": texts.len(), "tokens": tokens, "wall_s": wall_s, "cpu_s": cpu_s,
            "peak_gflops": peak_gflops(),
        });
        println!("{line}");
    }
    Ok(())
}

/// Tokenizer and encoder, nothing after them.
fn encoder(config: &ModelConfig) -> Result<impl FnMut(&[String]) -> Result<u64> + use<>> {
    let encoder = Encoder::load(&config.encoder_dir, None, Device::Cpu)?;
    let tokenizer = TextTokenizer::load(&config.encoder_dir, config.max_tokens)?.with_emoji_names();
    let shapes = BatchShapes::new(config.max_tokens, config.batch_tokens)?;
    let (pad_token_id, last_layer) = (encoder.config().pad_token_id, encoder.config().num_hidden_layers);
    Ok(move |texts: &[String]| {
        let tokenized =
            texts.iter().map(|text| tokenizer.tokenize(text)).collect::<contactflow_inference::Result<Vec<_>>>()?;
        let counts: Vec<usize> = tokenized.iter().map(|text| text.ids.len()).collect();
        for pass in passes(&shapes.plan(&counts), &counts, Device::Cpu) {
            let input = |batch: &PlannedBatch| {
                let members: Vec<&TokenizedText> = batch.members.iter().map(|&member| &tokenized[member]).collect();
                BatchInput::new(&members, batch.shape, pad_token_id, Device::Cpu)
            };
            let inputs = pass.iter().map(input).collect::<contactflow_inference::Result<Vec<_>>>()?;
            let _ = encoder.forward_batches(&inputs, &[last_layer])?;
        }
        Ok(counts.iter().sum::<usize>() as u64)
    })
}

/// Everything that becomes of a text, heads included.
fn scorer(config: &ModelConfig) -> Result<impl FnMut(&[String]) -> Result<u64> + use<>> {
    let mut scorer = Scorer::load(config, Device::Cpu)?;
    Ok(move |texts: &[String]| {
        let before = scorer.stats().tokens;
        let requests: Vec<TextRequest> =
            texts.iter().map(|text| TextRequest { key: TextKey::of(text), text: text.clone() }).collect();
        scorer.score(&requests);
        Ok(scorer.stats().tokens - before)
    })
}

/// What one core can multiply and add in fp32 with the widest vectors it has, GFLOP/s; none without AVX2.
#[cfg(target_arch = "x86_64")]
fn peak_gflops() -> Option<f64> {
    use pulp::{Simd, x86};

    const STEPS: u32 = 10_000_000;
    /// Enough to keep every unit busy, and within the registers.
    const CHAINS: usize = 12;

    struct Chains;
    impl pulp::WithSimd for Chains {
        /// GFLOP/s.
        type Output = f64;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> f64 {
            let started = Instant::now();
            let (factor, term) = (simd.splat_f32s(0.999), simd.splat_f32s(1e-9));
            let mut sums = [simd.splat_f32s(1.0); CHAINS];
            for _ in 0..STEPS {
                for sum in &mut sums {
                    *sum = simd.mul_add_f32s(*sum, factor, term);
                }
            }
            std::hint::black_box(sums);
            let operations = f64::from(STEPS) * (CHAINS * 2 * S::F32_LANES) as f64;
            operations / started.elapsed().as_secs_f64() / 1e9
        }
    }

    let widest = x86::V4::try_new().map(|simd| Simd::vectorize(simd, Chains));
    widest.or_else(|| Some(Simd::vectorize(x86::V3::try_new()?, Chains)))
}

#[cfg(not(target_arch = "x86_64"))]
fn peak_gflops() -> Option<f64> {
    None
}

/// CPU time of this process so far, user and system.
fn cpu_seconds() -> Result<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(')').ok_or("/proc/self/stat has no name")?.1;
    let ticks = fields.split_ascii_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<std::result::Result<f64, _>>()? / TICKS_PER_SECOND)
}
