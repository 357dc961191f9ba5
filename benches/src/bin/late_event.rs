//! How long one late event takes to reach every table: from feeding it until the dataflow's probe has passed it. Also
//! what a conversation costs in memory.
//!
//! One worker, the stages of the job without files, texts and commits: `late_event [CONVERSATIONS] [REPEATS]`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use contactflow::kpis;
use contactflow::views::Views;
use contactflow_benches::Story;
use contactflow_operators::anomaly::{anomalies, series_points};
use contactflow_operators::causes::Causes;
use contactflow_operators::cells::arrange_rows;
use contactflow_operators::conversation::{History, order};
use contactflow_operators::deduplicate::{Incoming, deduplicate};
use contactflow_operators::epochs::Epoch;
use contactflow_operators::metrics::Metrics;
use contactflow_schemas::event::mix;
use contactflow_schemas::facts::Grouping::{AgentChannel, Channel};
use contactflow_schemas::rules::KpiRules;
use contactflow_schemas::tables::Table;
use contactflow_schemas::windows::Window::{Day, Hour};
use contactflow_schemas::windows::Windows;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::vec::Input;
use timely::worker::Worker;

const USAGE: &str = "usage: late_event [CONVERSATIONS (100000)] [REPEATS (100)]";
/// Conversations per epoch while the state is built.
const CONVERSATIONS_PER_EPOCH: u64 = 10_000;

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

struct Measured {
    load: Duration,
    /// Growth of the resident memory while the state was built.
    state_bytes: u64,
    latencies: Vec<Duration>,
    /// Conversations looked at again because of the late events.
    conversations_evaluated: u64,
    /// Changes of the finest cells that the late events caused.
    cells_changed: u64,
}

struct Job {
    incoming: InputHandle<Epoch, CapacityContainerBuilder<Vec<Incoming>>>,
    probe: Handle<Epoch>,
    metrics: Metrics,
    /// Holds the traces, as a worker of the job does.
    _views: Views,
}

/// The dataflow of `pipeline/src/job.rs` without sources, texts and scores.
fn build(worker: &mut Worker) -> Job {
    let metrics = Metrics::default();
    let for_job = Metrics::clone(&metrics);
    worker.dataflow::<Epoch, _, _>(|scope| {
        let probe = Handle::new();
        let mut views = Views::new(&probe, &Windows::utc());
        let (incoming, rows) = scope.new_input();
        let net = deduplicate(rows);
        let (rules, windows) = (KpiRules::default(), Windows::utc());
        let kpis::Measured { conversations, contributions, presence } = kpis::measure(&net, &rules, &windows, &Causes::default(), &for_job);
        let cells = kpis::kpi_cells(contributions, presence, &windows);
        let by_hour = anomalies(series_points(cells.of(Channel, Hour), false), net.latest.clone(), Hour, &windows);
        let by_day = anomalies(series_points(cells.of(AgentChannel, Day), true), net.latest.clone(), Day, &windows);

        views.as_of(net.latest);
        for (grouping, window, cells) in cells.into_iter() {
            views.cells(Table::Kpi(grouping, window), cells);
        }
        views.facts(arrange_rows(conversations.facts, |row| row.day, "ConversationFacts"));
        views.anomalies(arrange_rows(by_hour.concat(by_day), |row| row.day, "AnomalyScores"));
        views.rejects(arrange_rows(net.rejects.concat(conversations.rejects), |_| 0, "RejectedEvents"));
        Job { incoming, probe, metrics, _views: views }
    })
}

fn measure(worker: &mut Worker, conversations: u64, repeats: u64) -> Measured {
    let mut job = build(worker);
    let mut epoch: Epoch = 0;
    let bytes_before = resident_bytes();
    let started = Instant::now();
    for first in (0..conversations).step_by(CONVERSATIONS_PER_EPOCH as usize) {
        let last = conversations.min(first + CONVERSATIONS_PER_EPOCH);
        let deliveries = (first..last).flat_map(|number| Story::new(number).deliveries());
        deliveries.for_each(|delivery| job.incoming.send(Incoming::Delivery(delivery)));
        finish_epoch(worker, &mut job, &mut epoch);
    }
    let load = started.elapsed();
    let state_bytes = resident_bytes().saturating_sub(bytes_before);
    let (evaluated, changed) = (job.metrics.conversations_evaluated.get(), job.metrics.cells_changed.get());
    let latencies = (0..repeats)
        .map(|repeat| {
            // Another conversation each time, most of them days old by then.
            let late = Story::new(mix(repeat ^ 0x1A7E) % conversations).late_delivery(repeat);
            let started = Instant::now();
            job.incoming.send(Incoming::Delivery(late));
            finish_epoch(worker, &mut job, &mut epoch);
            started.elapsed()
        })
        .collect();
    Measured {
        load,
        state_bytes,
        latencies,
        conversations_evaluated: job.metrics.conversations_evaluated.get() - evaluated,
        cells_changed: job.metrics.cells_changed.get() - changed,
    }
}

fn finish_epoch(worker: &mut Worker, job: &mut Job, epoch: &mut Epoch) {
    *epoch += 1;
    job.incoming.advance_to(*epoch);
    worker.step_while(|| job.probe.less_than(epoch));
}

/// Resident memory of this process; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}

/// Packed size of a conversation, bytes per event.
fn packed_bytes_per_event() -> usize {
    let mut events = Story::new(7).events();
    events.sort_by(order);
    History::pack(&events).bytes() / events.len()
}

fn print_report(conversations: u64, measured: Measured) {
    let Measured { load, state_bytes, mut latencies, conversations_evaluated, cells_changed } = measured;
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
