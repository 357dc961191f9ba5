//! What the workers of one process share.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use contactflow_schemas::clock::TimeMs;

use super::cause::cause;
use super::cluster::{Connections, Told};
use super::commits::wall_clock_ms;
use super::coordination::{Counted, Report};
use super::files::FilePlanner;
use super::resume::{Again, Before, Resume};
use super::sealing::Draft;
use super::{JobError, Mode, RunSummary};
use crate::ingest::FileAssignment;
use crate::job::{JobContext, ModelDevices};
use crate::seal::Horizon;
use crate::settings::JobSettings;
use crate::sink::{CommitError, CommitSummary, Committer, HandedOver, Inspection, Inspector, Objects, PartitionWriter};
use crate::state::{self, NewState, StateFile, StateJournal, StateLedger};

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

/// What becomes of the tables of a round.
pub(super) enum Target {
    /// They are committed.
    Commit(Box<Committer>),
    /// They are compared with what the last commit published.
    Compare(Box<Inspector>),
    /// Another process has the say.
    Elsewhere(Elsewhere),
}

/// What a process knows of the committer in another.
pub(super) struct Elsewhere {
    pub(super) generation: u64,
    /// Of the last commit.
    pub(super) as_of_ms: Option<TimeMs>,
    /// Where the workers of this process put what is to be handed over.
    pub(super) writer: PartitionWriter,
    /// What the store holds once the next commit is done: SHA-256 by slot.
    pub(super) promised: Vec<(String, Option<String>)>,
}

impl Target {
    fn writer(&self) -> PartitionWriter {
        match self {
            Self::Commit(committer) => committer.writer(),
            Self::Compare(inspector) => inspector.writer(),
            Self::Elsewhere(elsewhere) => elsewhere.writer.clone(),
        }
    }
}

/// State of the rounds, owned by whoever holds the lock.
pub(super) struct Ledger {
    pub(super) target: Target,
    pub(super) planner: FilePlanner,
    /// None when no state is kept.
    pub(super) state: Option<StateLedger>,
    pub(super) commits: u64,
    pub(super) last_commit: Option<CommitSummary>,
    pub(super) inspection: Option<Inspection>,
    failure: Option<JobError>,
    /// The last horizon up to which something was sealed, or was to be.
    pub(super) sealed_until: Option<Horizon>,
    /// The seal of the next commit.
    pub(super) draft: Draft,
    pub(super) again: Option<Again>,
    /// Rows read and rejected up to the last commit.
    pub(super) counted: [u64; 2],
    /// Rows of each file that is read to its end, in the whole job.
    pub(super) read: BTreeMap<String, u64>,
    /// What other processes have read.
    read_elsewhere: BTreeMap<usize, Counted>,
}

/// Shared by the workers of one process.
pub(super) struct Shared {
    pub(super) settings: JobSettings,
    pub(super) mode: Mode,
    pub(super) context: JobContext,
    pub(super) writer: PartitionWriter,
    pub(super) stop: Stop,
    /// How often the workers of this run were started before.
    starts: u32,
    /// Where the state goes; none when none is kept.
    state: Option<Arc<dyn Objects>>,
    /// State files of the last commit of an earlier run.
    restored: Vec<StateFile>,
    generation: u64,
    /// Other processes of the job, until the workers start.
    connections: Mutex<Option<Connections>>,
    failed: AtomicBool,
    ledger: Mutex<Ledger>,
}

impl Shared {
    pub(super) fn new(
        settings: &JobSettings,
        mode: Mode,
        context: JobContext,
        target: Target,
        resume: Resume,
        before: Before,
        stop: Stop,
    ) -> Self {
        let keeps_state = settings.keep_state && mode.commits();
        let horizon = resume.horizon();
        let Resume { state: restored, read, superseded, keeps_texts } = resume;
        let workers = settings.workers * settings.cluster.processes();
        let planner = FilePlanner::new(workers, context.models.clone(), &read).with_seen(before.seen);
        let state = keeps_state.then(|| StateLedger::resume(&restored, superseded, !keeps_texts));
        Self {
            settings: settings.clone(),
            mode,
            writer: target.writer(),
            stop,
            starts: before.starts,
            state: keeps_state.then(|| Arc::clone(&context.ingest.objects)),
            restored,
            generation: match &target {
                Target::Commit(committer) => committer.generation(),
                Target::Compare(_) => 0,
                Target::Elsewhere(elsewhere) => elsewhere.generation,
            },
            connections: Mutex::default(),
            failed: AtomicBool::new(false),
            ledger: Mutex::new(Ledger {
                target,
                planner,
                state,
                commits: before.commits,
                last_commit: before.last_commit,
                inspection: None,
                failure: None,
                sealed_until: before.sealed_until.max(horizon),
                draft: Draft::default(),
                again: None,
                counted: before.counted,
                read: BTreeMap::new(),
                read_elsewhere: BTreeMap::new(),
            }),
            context,
        }
    }

    /// The same as one of several processes.
    pub(super) fn connected(self, connections: Option<Connections>) -> Self {
        Self { connections: Mutex::new(connections), ..self }
    }

    /// The connections, for the workers that start.
    pub(super) fn take_connections(&self) -> Option<Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// How many processes run the job.
    pub(super) fn processes(&self) -> usize {
        self.settings.cluster.processes()
    }

    /// Which of them this is.
    pub(super) fn process(&self) -> usize {
        self.settings.cluster.process
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the first error; every worker ends at its next step.
    pub(super) fn fail(&self, error: JobError) {
        self.ledger().failure.get_or_insert(error);
        self.end_work();
    }

    /// What was read and scored since the last commit is given up, and the workers start again.
    pub(super) fn start_over(&self, again: Again) {
        self.ledger().again = Some(again);
        self.end_work();
    }

    /// True when what a process tells of ends the work because the job before made a commit after this one had begun. Asked
    /// where the say is.
    pub(super) fn is_preceded(&self, told: &Told) -> bool {
        let ledger = self.ledger();
        let Target::Commit(committer) = &ledger.target else { return false };
        let is_told = matches!(ledger.failure, Some(JobError::Commit(CommitError::Preceded { .. })));
        // A late commit takes away state that only the one before it needs.
        let may_lack = told.lacks_state && !committer.has_committed();
        is_told || may_lack && matches!(committer.check_predecessor(), Err(CommitError::Preceded { .. }))
    }

    fn end_work(&self) {
        self.failed.store(true, Ordering::SeqCst);
        // What is still being read or scored is of no use any more.
        self.context.ingest.progress.cancel();
        self.context.backlog.cancel();
    }

    /// What other processes are told of the error that ends this one.
    pub(super) fn told(&self) -> Option<Told> {
        self.ledger().failure.as_ref().map(|error| Told::of(self.process(), error))
    }

    /// True when the job was asked to end.
    pub(super) fn has_stopped(&self) -> bool {
        self.stop.is_requested()
    }

    /// What the next start of the workers of this run goes on from, and why there is one; none when the run is over.
    pub(super) fn again(&self) -> Option<(Again, Before)> {
        let ledger = self.ledger();
        // That the job before made a commit is a failure that has been seen to.
        let again = ledger.again.filter(|again| *again == Again::Preceded || ledger.failure.is_none())?;
        let before = Before {
            starts: self.starts + 1,
            sealed_until: ledger.sealed_until,
            commits: ledger.commits,
            last_commit: ledger.last_commit,
            counted: ledger.counted,
            seen: ledger.planner.seen().clone(),
        };
        Some((again, before))
    }

    /// The committer, when the workers are gone.
    pub(super) fn into_committer(self) -> Option<Committer> {
        match self.ledger.into_inner().unwrap_or_else(PoisonError::into_inner).target {
            Target::Commit(committer) => Some(*committer),
            Target::Compare(_) | Target::Elsewhere(_) => None,
        }
    }

    /// True when some worker cannot go on, or all have to start again.
    pub(super) fn has_failed(&self) -> bool {
        if let Some(error) = self.context.ingest.progress.take_failure() {
            self.fail(error.into());
        }
        let has_failed = self.failed.load(Ordering::SeqCst);
        if !has_failed && self.context.sealed.unsealing.asked().is_some() {
            self.end_work();
            return true;
        }
        has_failed
    }

    /// What `worker` writes to the state.
    pub(super) fn journal(&self, worker: usize) -> StateJournal {
        match &self.state {
            Some(objects) => StateJournal::new(Arc::clone(objects), &self.stem_of(worker), &self.context.models),
            None => StateJournal::off(),
        }
    }

    /// How the names of state files begin that are written in this start.
    pub(super) fn stem(&self) -> String {
        state::stem(self.generation, self.starts)
    }

    /// The same of those that are written by one worker, or by nobody else.
    pub(super) fn stem_of(&self, writer: impl std::fmt::Display) -> String {
        format!("{}-{writer:0>4}", self.stem())
    }

    /// The files that a restart reads before anything else.
    pub(super) fn restore(&self) -> Vec<FileAssignment> {
        self.ledger().planner.restore(&self.restored)
    }

    /// Says that the state of the last commit is taken in: from here on changes are news.
    pub(super) fn restored(&self) {
        if self.restored.is_empty() {
            return;
        }
        let as_of_ms = match &self.ledger().target {
            Target::Commit(committer) => committer.previous().and_then(|previous| previous.as_of_ms),
            Target::Compare(_) => Some(TimeMs::MAX),
            Target::Elsewhere(elsewhere) => elsewhere.as_of_ms,
        };
        self.context.causes.published(as_of_ms, HashSet::new());
    }

    /// Takes in what a worker says at the end of a round.
    pub(super) fn receive(&self, report: Report) {
        match report {
            Report::State { worker, added, texts } => {
                let texts = texts.map(|files| files.into_iter().next());
                if let Some(state) = &mut self.ledger().state {
                    state.add(worker, NewState { added, texts });
                }
            }
            Report::Partition(partition) => self.writer.take_over(*partition),
            Report::Causes(causes) => self.context.causes.add(causes),
            Report::Read { process, files, counted } => {
                let mut ledger = self.ledger();
                ledger.read.extend(files);
                if process != self.process() {
                    ledger.read_elsewhere.insert(process, counted);
                }
            }
            Report::Sealing(finding) => self.ledger().draft.add(finding),
            Report::Stop => self.stop.request(),
            // They concern everybody, and are not for the ledger.
            Report::Waiting { .. } | Report::Failed(_) | Report::Unseal(_) => {}
        }
    }

    /// What the workers of this process say to the committer in another.
    pub(super) fn hand_over(&self) -> Vec<Report> {
        let Target::Elsewhere(elsewhere) = &mut self.ledger().target else { return Vec::new() };
        let partitions = elsewhere.writer.hand_over();
        elsewhere.promised.extend(partitions.iter().map(HandedOver::will_be_known));
        partitions.into_iter().map(|partition| Report::Partition(Box::new(partition))).collect()
    }

    /// Takes note of a commit that was made by another process.
    pub(super) fn committed(&self, as_of_ms: Option<TimeMs>) {
        self.context.devices().for_each(ModelDevices::committed);
        let mut ledger = self.ledger();
        ledger.counted = self.context.ingest.progress.counted();
        let Target::Elsewhere(elsewhere) = &mut ledger.target else { return };
        elsewhere.writer.learn(elsewhere.promised.drain(..));
        if self.settings.restatements {
            self.context.causes.published(as_of_ms, HashSet::new());
        }
    }

    pub(super) fn summary(&self, elapsed: Duration) -> Result<RunSummary, JobError> {
        let mut ledger = self.ledger();
        if let Some(error) = ledger.failure.take() {
            return Err(match &ledger.target {
                Target::Commit(committer) => {
                    cause(error, || committer.check_successor().and_then(|()| committer.check_predecessor()))
                }
                Target::Compare(_) | Target::Elsewhere(_) => error,
            });
        }
        let progress = &self.context.ingest.progress;
        let here = Counted::of(progress);
        let elsewhere = ledger.read_elsewhere.values();
        let counted = elsewhere.fold(here, |sum, counted| sum.plus(counted));
        Ok(RunSummary {
            files: progress.rows_by_file().len().max(ledger.read.len()),
            rows: counted.rows,
            rejects: counted.rejects,
            restored_rows: counted.restored,
            restarts: self.starts,
            commits: ledger.commits,
            last_commit: ledger.last_commit,
            inspection: ledger.inspection.take(),
            elapsed,
            model_id: self.context.models.published.clone(),
        })
    }
}

/// Names this run and no other.
pub(super) fn writer_id() -> String {
    format!("contactflow-{}-{}", std::process::id(), wall_clock_ms())
}
