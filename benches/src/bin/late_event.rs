//! How long one late event takes to reach every table: from feeding it until the dataflow's probe has passed it. Also
//! what conversations and cells cost in memory.
//!
//! One worker, the stages of the job without files, texts and commits: `late_event [CONVERSATIONS] [REPEATS]`.

use std::process::ExitCode;
use std::time::Duration;

use contactflow::views::ArrangedSize;
use contactflow_benches::Story;
use contactflow_benches::late_event::{Measured, measure};
use contactflow_operators::conversation::{History, order};

const USAGE: &str = "usage: late_event [CONVERSATIONS (100000)] [REPEATS (100)]";

fn main() -> ExitCode {
    // Also what cargo passes to benchmark binaries is no number.
    let numbers: Result<Vec<u64>, _> = std::env::args().skip(1).map(|argument| argument.parse()).collect();
    let (conversations, repeats) = match numbers.as_deref() {
        Ok([]) => (100_000, 100),
        Ok([conversations]) => (*conversations, 100),
        Ok([conversations, repeats]) => (*conversations, *repeats),
        _ => (0, 0),
    };
    if conversations == 0 || repeats == 0 {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    let measured = timely::execute_directly(move |worker| measure(worker, conversations, repeats));
    print_report(conversations, measured);
    ExitCode::SUCCESS
}

/// Packed size of a conversation, bytes per event.
fn packed_bytes_per_event() -> usize {
    let mut events = Story::new(7).events();
    events.sort_by(order);
    History::pack(&events).bytes() / events.len()
}

/// Cells per KPI table, the largest first, and what they take.
fn print_arranged(mut arranged: Vec<ArrangedSize>) {
    arranged.sort_by_key(|size| std::cmp::Reverse(size.bytes));
    println!("{:<26} {:>10} {:>12} {:>14}", "cells of", "cells", "KiB", "bytes per cell");
    for ArrangedSize { table, cells, bytes } in &arranged {
        println!("{:<26} {cells:>10} {:>12} {:>14}", table.name(), bytes >> 10, bytes / (*cells).max(1));
    }
    let sum = |of: fn(&ArrangedSize) -> u64| arranged.iter().map(of).sum::<u64>();
    let (cells, bytes) = (sum(|size| size.cells), sum(|size| size.bytes));
    println!("{:<26} {cells:>10} {:>12} {:>14}", "all", bytes >> 10, bytes / cells.max(1));
}

fn print_report(conversations: u64, measured: Measured) {
    let Measured { load, state_bytes, arranged, mut latencies, conversations_evaluated, cells_changed } = measured;
    latencies.sort_unstable();
    let ms = |latency: Duration| latency.as_secs_f64() * 1_000.0;
    let (median, greatest) = (latencies[latencies.len() / 2], latencies[latencies.len() - 1]);
    println!("{conversations} conversations, 9 events each, loaded in {:.1} s", load.as_secs_f64());
    println!(
        "state of all stages: {} MiB, {} bytes per conversation; a packed history has {} bytes per event",
        state_bytes >> 20,
        state_bytes / conversations,
        packed_bytes_per_event(),
    );
    print_arranged(arranged);
    println!(
        "one late event: median {:.3} ms, max {:.3} ms over {} repeats ({conversations_evaluated} conversations looked at, \
         {cells_changed} cells changed in all)",
        ms(median),
        ms(greatest),
        latencies.len(),
    );
    assert_eq!(conversations_evaluated, latencies.len() as u64, "a late event concerns one conversation");
    assert!(cells_changed >= latencies.len() as u64, "every late event changes the cell of its hour");
}
