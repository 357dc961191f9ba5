//! The loop of one worker.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use contactflow_operators::conversation::Histories;
use contactflow_operators::deduplicate::Ledger;

use timely::worker::Worker;

use super::shared::Shared;
use super::{JobError, Mode, sealing};
use crate::ingest::{FileAssignment, major_epoch};
use crate::job::{self, Job};
use crate::sources::list_event_files;
use crate::state::StateJournal;
use crate::views::Views;

/// How often a job that has nothing to commit asks whether the output is still its own.
const ROOT_CHECK: Duration = Duration::from_secs(2);
/// Longest sleep between two looks at whether something has to be done.
const PARK: Duration = Duration::from_millis(20);

/// A worker that panics takes the process down: the others would wait for its progress for ever. Restarting from the
/// last commit is what a crash of any kind comes to.
struct ExitOnPanic;

impl Drop for ExitOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "contactflow: a worker met a broken invariant (see above) and the job ends; the last commit stands"
            );
            std::process::exit(101);
        }
    }
}

/// Runs worker `worker` to the end of the job.
pub(super) fn work(worker: &mut Worker, shared: &Shared) {
    let _exit = ExitOnPanic;
    let journal = shared.journal(worker.index());
    let mut job = job::build(worker, &shared.context, &journal);
    restore(worker, shared, &mut job);
    match shared.mode {
        Mode::Once | Mode::Compare => once(worker, shared, job, &journal),
        Mode::Follow => follow(worker, shared, job, &journal),
    }
}

/// Takes the state of the last commit in, in the epochs before the first round.
fn restore(worker: &mut Worker, shared: &Shared, job: &mut Job) {
    if worker.index() == 0 {
        shared.restore().into_iter().for_each(|assignment| job.files.send(assignment));
    }
    let end = major_epoch(1);
    job.files.advance_to(end);
    worker.step_or_park_while(Some(PARK), || job.probe.less_than(&end) && !shared.has_failed());
    job.views.restored();
    if worker.index() == 0 {
        shared.restored();
    }
}

/// Everything in one round; the input is closed, so the frontier empties when the model has answered everything.
fn once(worker: &mut Worker, shared: &Shared, job: Job, journal: &StateJournal) {
    let Job { mut files, probe, mut views, ledger, histories } = job;
    if worker.index() == 0 {
        match assign(shared, false) {
            Ok(assignments) => assignments.into_iter().for_each(|assignment| files.send(assignment)),
            Err(error) => shared.fail(error),
        }
    }
    files.close();
    worker.step_or_park_while(Some(PARK), || !probe.done() && !shared.has_failed());
    finish_round(
        worker,
        shared,
        Handover { views: &mut views, journal, ledger: &ledger, histories: &histories },
        1,
        true,
    );
}

/// Round after round, until stopped; then the model is drained and everything committed.
fn follow(worker: &mut Worker, shared: &Shared, job: Job, journal: &StateJournal) {
    let Job { mut files, probe, mut views, ledger, histories } = job;
    let mut round = 0;
    while !shared.is_ending() {
        round += 1;
        files.advance_to(major_epoch(round));
        let mut stopping = false;
        if worker.index() == 0 {
            match next_round(worker, shared, round == 1) {
                Ok(plan) => {
                    stopping = plan.stopping;
                    plan.assignments.into_iter().for_each(|assignment| files.send(assignment));
                }
                Err(error) => shared.fail(error),
            }
        }
        let end = major_epoch(round + 1);
        files.advance_to(end);
        worker.step_or_park_while(Some(PARK), || probe.less_than(&end) && !shared.has_failed());
        let handover = Handover { views: &mut views, journal, ledger: &ledger, histories: &histories };
        finish_round(worker, shared, handover, round, stopping);
    }
    files.close();
    worker.step_or_park_while(Some(PARK), || !probe.done() && !shared.has_failed());
    let handover = Handover { views: &mut views, journal, ledger: &ledger, histories: &histories };
    finish_round(worker, shared, handover, round + 1, true);
}

/// What worker 0 decided for a round.
struct Plan {
    assignments: Vec<FileAssignment>,
    stopping: bool,
}

/// Waits, stepping the dataflow, until there is something to do: files, predictions, or the end. The first round does
/// not wait, so that a job that cannot write its tables says so at once.
fn next_round(worker: &mut Worker, shared: &Shared, first: bool) -> Result<Plan, JobError> {
    let interval = Duration::from_millis(shared.settings.poll_interval_ms);
    let waiting_texts = shared.context.backlog.texts();
    let mut scored = false;
    let mut checked_at = Instant::now();
    loop {
        let plan = Plan { assignments: assign(shared, true)?, stopping: shared.stop.is_requested() };
        if first || scored || plan.stopping || !plan.assignments.is_empty() || shared.has_failed() {
            return Ok(plan);
        }
        if checked_at.elapsed() >= ROOT_CHECK {
            shared.check_root()?;
            checked_at = Instant::now();
        }
        let until = Instant::now() + interval;
        worker.step_or_park_while(Some(PARK), || Instant::now() < until && !shared.stop.is_requested());
        // Predictions are committed as often as files are looked for, not one by one.
        scored = shared.context.backlog.texts() != waiting_texts;
    }
}

fn assign(shared: &Shared, settled: bool) -> Result<Vec<FileAssignment>, JobError> {
    let listing = list_event_files(&shared.context.ingest.roots)?;
    Ok(shared.ledger().planner.plan(listing, settled))
}

/// What a worker hands over at the end of a round.
pub(super) struct Handover<'a> {
    pub(super) views: &'a mut Views,
    pub(super) journal: &'a StateJournal,
    pub(super) ledger: &'a RefCell<Ledger>,
    pub(super) histories: &'a Histories,
}

impl Handover<'_> {
    fn write(&mut self, worker: usize, shared: &Shared) -> Result<(), JobError> {
        self.views.check_sealed();
        shared.add_state(worker, self.journal.flush()?);
        Ok(self.views.write(&shared.writer, &shared.model_id)?)
    }
}

/// Hands the changed partitions and the new state over; worker 0 commits when all have done so, and decides for all whether
/// this was the last round. It does so between two barriers, so that every worker takes the same decision from the same
/// round.
fn finish_round(worker: &Worker, shared: &Shared, mut handover: Handover, round: u64, stopping: bool) {
    let computed_at = Instant::now();
    if !shared.has_failed()
        && let Err(error) = handover.write(worker.index(), shared)
    {
        shared.fail(error);
    }
    shared.wait_for_all();
    // The same answer for all: nobody asks between these barriers.
    let has_failed = shared.has_failed();
    shared.wait_for_all();
    if !has_failed {
        sealing::draw_up(worker.index(), shared, &handover);
    }
    if worker.index() == 0 {
        if !shared.has_failed()
            && shared.is_commit_due()
            && let Err(error) = shared.commit(round, handover.views.as_of_ms(), computed_at)
        {
            shared.fail(error);
        }
        if stopping || shared.has_failed() || shared.is_again() {
            shared.end();
        }
    }
    shared.wait_for_all();
}
