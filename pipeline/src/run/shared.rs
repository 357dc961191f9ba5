//! What the workers of one process share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use contactflow_schemas::clock::TimeMs;

use super::files::FilePlanner;
use super::{JobError, Mode, RunSummary};
use crate::job::JobContext;
use crate::settings::JobSettings;
use crate::sink::{CommitInput, CommitSummary, Committer, PartitionWriter};

/// Asks a following job to end after its current round.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// True once asked.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// State of the rounds, owned by whoever holds the lock.
pub(super) struct Ledger {
    pub(super) committer: Committer,
    pub(super) planner: FilePlanner,
    commits: u64,
    last_commit: Option<CommitSummary>,
    failure: Option<JobError>,
}

/// Shared by the workers of one process.
pub(super) struct Shared {
    pub(super) settings: JobSettings,
    pub(super) mode: Mode,
    pub(super) context: JobContext,
    pub(super) writer: PartitionWriter,
    pub(super) model_id: String,
    pub(super) stop: Stop,
    /// All workers have handed over, or have seen the commit.
    barrier: Barrier,
    failed: AtomicBool,
    /// Set by worker 0 between the barriers of the last round.
    ending: AtomicBool,
    ledger: Mutex<Ledger>,
}

impl Shared {
    pub(super) fn new(
        settings: &JobSettings,
        mode: Mode,
        context: JobContext,
        committer: Committer,
        stop: Stop,
    ) -> Self {
        let model_id = context.devices.as_ref().map_or_else(String::new, |devices| devices.model_id().to_owned());
        Self {
            settings: settings.clone(),
            mode,
            writer: committer.writer(),
            model_id,
            stop,
            barrier: Barrier::new(settings.workers),
            failed: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            ledger: Mutex::new(Ledger {
                committer,
                planner: FilePlanner::new(settings.workers),
                commits: 0,
                last_commit: None,
                failure: None,
            }),
            context,
        }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the first error; every worker ends at its next step.
    pub(super) fn fail(&self, error: JobError) {
        self.ledger().failure.get_or_insert(error);
        self.failed.store(true, Ordering::SeqCst);
        // What is still being read or scored is of no use any more.
        self.context.ingest.progress.cancel();
        self.context.backlog.cancel();
    }

    /// Lets every worker end after this round.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    /// True once the last round is over.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// True once this run has committed.
    pub(super) fn has_committed(&self) -> bool {
        self.ledger().commits > 0
    }

    /// True when some worker cannot go on.
    pub(super) fn has_failed(&self) -> bool {
        if let Some(error) = self.context.ingest.progress.take_failure() {
            self.fail(error.into());
        }
        self.failed.load(Ordering::SeqCst)
    }

    pub(super) fn wait_for_all(&self) {
        self.barrier.wait();
    }

    /// Commits what the workers handed over for a round.
    pub(super) fn commit(&self, round: u64, as_of_ms: Option<TimeMs>, computed_at: Instant) -> Result<(), JobError> {
        let mut ledger = self.ledger();
        let read = self.context.ingest.progress.rows_by_file();
        let input = CommitInput {
            epoch: round,
            as_of_ms,
            committed_at_ms: wall_clock_ms(),
            computed_at,
            sources: ledger.planner.sources(&read),
        };
        let summary = ledger.committer.commit(input)?;
        ledger.commits += 1;
        ledger.last_commit = Some(summary);
        Ok(())
    }

    pub(super) fn summary(&self, elapsed: Duration) -> Result<RunSummary, JobError> {
        let mut ledger = self.ledger();
        if let Some(error) = ledger.failure.take() {
            return Err(error);
        }
        let progress = &self.context.ingest.progress;
        Ok(RunSummary {
            files: progress.rows_by_file().len(),
            rows: progress.rows.load(Ordering::Relaxed),
            rejects: progress.rejects.load(Ordering::Relaxed),
            commits: ledger.commits,
            last_commit: ledger.last_commit,
            elapsed,
            model_id: self.model_id.clone(),
        })
    }
}

/// The wall clock, for the history only: no data file depends on it.
fn wall_clock_ms() -> TimeMs {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as TimeMs)
}

/// Names this run and no other.
pub(super) fn writer_id() -> String {
    format!("contactflow-{}-{}", std::process::id(), wall_clock_ms())
}
