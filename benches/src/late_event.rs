//! One late event on a large state: the stages of the job without files, texts and commits, on one worker.

use std::time::{Duration, Instant};

use contactflow::kpis;
use contactflow::seal::Sealed;
use contactflow::views::{ArrangedSize, Views};
use contactflow_operators::anomaly::{anomalies, series_points};
use contactflow_operators::causes::Causes;
use contactflow_operators::cells::arrange_rows;
use contactflow_operators::deduplicate::{Incoming, deduplicate};
use contactflow_operators::epochs::Epoch;
use contactflow_operators::metrics::Metrics;
use contactflow_schemas::event::mix;
use contactflow_schemas::facts::Grouping::Channel;
use contactflow_schemas::rules::KpiRules;
use contactflow_schemas::tables::Table;
use contactflow_schemas::windows::Window::{Day, Hour};
use contactflow_schemas::windows::Windows;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::vec::Input;
use timely::worker::Worker;

use crate::Story;

/// Conversations per epoch while the state is built.
const CONVERSATIONS_PER_EPOCH: u64 = 10_000;

/// Every grouping and window is wanted.
const ALL: &str = "all cells are arranged";

/// What was seen.
pub struct Measured {
    /// Time to build the state.
    pub load: Duration,
    /// Growth of the resident memory while the state was built.
    pub state_bytes: u64,
    /// What the cells of each KPI table take of it.
    pub arranged: Vec<ArrangedSize>,
    /// From feeding a late event until every table is complete.
    pub latencies: Vec<Duration>,
    /// Conversations looked at again because of the late events.
    pub conversations_evaluated: u64,
    /// Changes of the finest cells that the late events caused.
    pub cells_changed: u64,
}

struct Job {
    incoming: InputHandle<Epoch, CapacityContainerBuilder<Vec<Incoming>>>,
    probe: Handle<Epoch>,
    metrics: Metrics,
    /// Holds the traces, as a worker of the job does.
    views: Views,
}

/// The dataflow of `pipeline/src/job.rs` without sources, texts and scores.
fn build(worker: &mut Worker) -> Job {
    let metrics = Metrics::default();
    let for_job = Metrics::clone(&metrics);
    worker.dataflow::<Epoch, _, _>(|scope| {
        let probe = Handle::new();
        let mut views = Views::new(&probe, &Windows::utc(), &Sealed::default());
        let (incoming, rows) = scope.new_input();
        let net = deduplicate(rows, ());
        let (rules, windows) = (KpiRules::default(), Windows::utc());
        let kpis::Measured { conversations, contributions, presence } =
            kpis::measure(&net, &rules, &windows, &Causes::default(), &for_job);
        let cells = kpis::kpi_cells(contributions, presence, &windows, |_, _| true);
        let by_hour =
            anomalies(series_points(cells.of(Channel, Hour).expect(ALL), false), net.latest.clone(), Hour, &windows);
        let by_day = anomalies(series_points(cells.watched_of_agents.clone(), true), net.latest.clone(), Day, &windows);

        views.as_of(net.latest);
        for (grouping, window, cells) in cells.into_tables() {
            views.cells(Table::Kpi(grouping, window), cells);
        }
        views.facts(arrange_rows(conversations.facts, |row| row.day, "ConversationFacts"));
        views.anomalies(arrange_rows(by_hour.concat(by_day), |row| row.day, "AnomalyScores"));
        views.rejects(arrange_rows(net.rejects.concat(conversations.rejects), |_| 0, "RejectedEvents"));
        Job { incoming, probe, metrics, views }
    })
}

/// Builds the state of so many conversations, then feeds so many late events, one by one.
pub fn measure(worker: &mut Worker, conversations: u64, repeats: u64) -> Measured {
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
    let arranged = job.views.sizes();
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
        arranged,
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
