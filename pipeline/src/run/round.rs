//! The loop of one worker.

use std::time::{Duration, Instant};

use timely::worker::Worker;

use super::shared::Shared;
use super::{JobError, Mode};
use crate::ingest::{FileAssignment, major_epoch};
use crate::job::{self, Job};
use crate::sources::list_event_files;

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
    let job = job::build(worker, &shared.context);
    match shared.mode {
        Mode::Once => once(worker, shared, job),
        Mode::Follow => follow(worker, shared, job),
    }
}

/// Everything in one round; the input is closed, so the frontier empties when the model has answered everything.
fn once(worker: &mut Worker, shared: &Shared, job: Job) {
    let Job { mut files, probe, mut views } = job;
    if worker.index() == 0 {
        match assign(shared, false) {
            Ok(assignments) => {
                files.advance_to(major_epoch(1));
                assignments.into_iter().for_each(|assignment| files.send(assignment));
            }
            Err(error) => shared.fail(error),
        }
    }
    files.close();
    worker.step_or_park_while(Some(PARK), || !probe.done() && !shared.has_failed());
    finish_round(worker, shared, &mut views, 1, true);
}

/// Round after round, until stopped; then the model is drained and everything committed.
fn follow(worker: &mut Worker, shared: &Shared, job: Job) {
    let Job { mut files, probe, mut views } = job;
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
        finish_round(worker, shared, &mut views, round, stopping);
    }
    files.close();
    worker.step_or_park_while(Some(PARK), || !probe.done() && !shared.has_failed());
    finish_round(worker, shared, &mut views, round + 1, true);
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
            shared.ledger().committer.check_root()?;
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

/// Hands the changed partitions over; worker 0 commits when all have done so, and decides for all whether this was the
/// last round. It does so between two barriers, so that every worker takes the same decision from the same round.
fn finish_round(worker: &Worker, shared: &Shared, views: &mut crate::views::Views, round: u64, stopping: bool) {
    let computed_at = Instant::now();
    if !shared.has_failed()
        && let Err(error) = views.write(&shared.writer, &shared.model_id)
    {
        shared.fail(error.into());
    }
    shared.wait_for_all();
    if worker.index() == 0 {
        // The first commit of a run says what the inputs hold now, even if that is nothing.
        let due = !shared.has_committed() || shared.writer.has_changes();
        if !shared.has_failed()
            && due
            && let Err(error) = shared.commit(round, views.as_of_ms(), computed_at)
        {
            shared.fail(error);
        }
        if stopping || shared.has_failed() {
            shared.end();
        }
    }
    shared.wait_for_all();
}
