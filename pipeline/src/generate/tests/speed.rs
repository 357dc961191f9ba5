//! Measures throughput: `cargo nextest run -p contactflow generate::tests::speed --run-ignored only --no-capture`.

use std::time::Instant;

use super::*;

fn measure(conversations: u64, format: Format, text: bool) {
    let options =
        GenerateOptions { conversations, format, text, disorder: false, agents: 400, ..GenerateOptions::default() };
    let mut size = 0;
    let mut sink = |_: &str, content: Bytes| {
        size += content.len();
        Ok(())
    };
    let started = Instant::now();
    let truth = generate(&options, &mut sink, &mut |_| ()).unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let (events, mib) = (truth.events, size >> 20);
    println!("{conversations} conversations, {events} events, {format:?}, text {text}: {seconds:.1} s, {mib} MiB");
}

#[test]
#[ignore = "a measurement of a minute"]
fn throughput() {
    measure(100_000, Format::Parquet, false);
    measure(1_000_000, Format::Parquet, false);
    measure(100_000, Format::Parquet, true);
    measure(100_000, Format::Ndjson, true);
}
