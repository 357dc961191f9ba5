//! The loop of one worker.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use contactflow_operators::conversation::Histories;
use contactflow_operators::deduplicate::Ledger;

use timely::worker::Worker;

use super::coordination::{Announcement, Coordination, Next, Report};
use super::shared::Shared;
use super::{JobError, Mode, sealing};
use crate::ingest::{FileAssignment, major_epoch};
use crate::job::{self, Job};
use crate::sources::list_event_files;
use crate::state::{NewState, StateJournal};
use crate::views::Views;

/// How often a job that has nothing to commit asks whether the output is still its own.
const ROOT_CHECK: Duration = Duration::from_secs(2);

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
    let mut coordination = Coordination::build(worker, shared);
    let mut job = job::build(worker, &shared.context, &journal);
    restore(worker, shared, &mut coordination, &mut job);
    match shared.mode {
        Mode::Once | Mode::Compare => once(worker, shared, &mut coordination, job, &journal),
        Mode::Follow => follow(worker, shared, &mut coordination, job, &journal),
    }
    coordination.close(worker);
}

/// Takes the state of the last commit in, in the epochs before the first round.
fn restore(worker: &mut Worker, shared: &Shared, coordination: &mut Coordination, job: &mut Job) {
    if coordination.is_planner() {
        shared.restore().into_iter().for_each(|assignment| job.files.send(assignment));
    }
    let end = major_epoch(1);
    job.files.advance_to(end);
    coordination.step_while(worker, || job.probe.less_than(&end));
    job.views.restored();
    if coordination.is_first() {
        shared.restored();
    }
    // No file of the first round is read before every process knows that from here on changes are news.
    coordination.meet(worker);
}

/// Everything in one round; the input is closed, so the frontier empties when the model has answered everything.
fn once(worker: &mut Worker, shared: &Shared, coordination: &mut Coordination, job: Job, journal: &StateJournal) {
    let Job { mut files, probe, mut views, ledger, histories } = job;
    if coordination.is_planner() {
        match assign(shared, false) {
            Ok(assignments) => assignments.into_iter().for_each(|assignment| files.send(assignment)),
            Err(error) => shared.fail(error),
        }
    }
    files.close();
    coordination.step_while(worker, || !probe.done());
    let handover = Handover { views: &mut views, journal, ledger: &ledger, histories: &histories };
    finish_round(worker, shared, coordination, handover, Round { number: 1, is_stopping: true, is_last: true });
}

/// Round after round, until stopped or something is to be sealed; then the model is drained and everything committed.
fn follow(worker: &mut Worker, shared: &Shared, coordination: &mut Coordination, job: Job, journal: &StateJournal) {
    let Job { mut files, probe, mut views, ledger, histories } = job;
    let (mut number, mut answered) = (0, 0);
    let mut next = Some(Next::Round);
    while next == Some(Next::Round) {
        number += 1;
        files.advance_to(major_epoch(number));
        let mut is_stopping = false;
        if coordination.is_planner() {
            match next_round(worker, shared, coordination, (number > 1).then_some(answered)) {
                Ok(plan) => {
                    is_stopping = plan.is_stopping;
                    plan.assignments.into_iter().for_each(|assignment| files.send(assignment));
                }
                Err(error) => shared.fail(error),
            }
        }
        let end = major_epoch(number + 1);
        // What is answered from here on may be too late for this round, and is then to have another.
        answered = shared.context.backlog.answered();
        files.advance_to(end);
        coordination.step_while(worker, || probe.less_than(&end));
        let handover = Handover { views: &mut views, journal, ledger: &ledger, histories: &histories };
        next = finish_round(worker, shared, coordination, handover, Round { number, is_stopping, is_last: false });
    }
    files.close();
    coordination.step_while(worker, || !probe.done());
    let handover = Handover { views: &mut views, journal, ledger: &ledger, histories: &histories };
    let round = Round { number: number + 1, is_stopping: false, is_last: true };
    if finish_round(worker, shared, coordination, handover, round) == Some(Next::Restart) && coordination.is_first() {
        shared.start_again();
    }
}

/// What worker 0 decided for a round.
struct Plan {
    assignments: Vec<FileAssignment>,
    is_stopping: bool,
}

/// Waits, stepping the dataflow, until there is something to do: files, predictions beyond those that were `answered` in the
/// round before, or the end. The first round does not wait, so that a job that cannot write its tables says so at once.
fn next_round(
    worker: &mut Worker,
    shared: &Shared,
    coordination: &mut Coordination,
    answered: Option<usize>,
) -> Result<Plan, JobError> {
    let interval = Duration::from_millis(shared.settings.poll_interval_ms);
    let mut scored = false;
    let mut checked_at = Instant::now();
    loop {
        let plan = Plan { assignments: assign(shared, true)?, is_stopping: shared.has_stopped() };
        if answered.is_none() || scored || plan.is_stopping || !plan.assignments.is_empty() || shared.has_failed() {
            return Ok(plan);
        }
        if checked_at.elapsed() >= ROOT_CHECK {
            shared.check_root()?;
            checked_at = Instant::now();
        }
        let until = Instant::now() + interval;
        coordination.step_while(worker, || Instant::now() < until && !shared.stop.is_requested());
        // Predictions are committed as often as files are looked for, not one by one.
        scored = Some(shared.context.backlog.answered()) != answered;
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
    fn write(&mut self, worker: usize, shared: &Shared, coordination: &mut Coordination) -> Result<(), JobError> {
        self.views.check_sealed();
        let NewState { added, texts } = self.journal.flush()?;
        coordination.report(Report::State { worker, added, texts: texts.map(|file| file.into_iter().collect()) });
        Ok(self.views.write(&shared.writer, &shared.context.models)?)
    }
}

/// A round that ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) number: u64,
    /// The job was asked to end; worker 0 knows.
    pub(super) is_stopping: bool,
    /// The inputs are closed, and everything that follows from them is there.
    pub(super) is_last: bool,
}

/// Hands the changed partitions and the new state over; worker 0 commits when all have done so, and decides for all what comes
/// next. None when somebody has failed.
fn finish_round(
    worker: &mut Worker,
    shared: &Shared,
    coordination: &mut Coordination,
    mut handover: Handover,
    round: Round,
) -> Option<Next> {
    let computed_at = Instant::now();
    if !shared.has_failed()
        && let Err(error) = handover.write(worker.index(), shared, coordination)
    {
        shared.fail(error);
    }
    if coordination.is_first() {
        coordination.report_process();
    }
    let mut is_whole = coordination.meet(worker);
    if is_whole && shared.processes() > 1 {
        if coordination.is_first() {
            shared.hand_over().into_iter().for_each(|partition| coordination.report(partition));
        }
        is_whole = coordination.meet(worker);
    }
    if is_whole && shared.seals() {
        is_whole = sealing::draw_up(worker, shared, coordination, &handover);
    }
    if !is_whole {
        return None;
    }
    let mut announcement = None;
    if coordination.is_planner() {
        match shared.commit_if_due(round, handover.views.as_of_ms(), computed_at) {
            Ok(is_committed) => {
                let committed = is_committed.then(|| handover.views.as_of_ms());
                announcement = Some(Announcement::Round { committed, next: shared.next(round) });
            }
            Err(error) => {
                shared.fail(error);
                // The others wait for a decision until they hear of it.
                return None;
            }
        }
    }
    let Some(Announcement::Round { committed, next }) = coordination.announce(worker, announcement) else {
        return None;
    };
    if let Some(as_of_ms) = committed.filter(|_| coordination.is_first()) {
        shared.committed(as_of_ms);
    }
    // Nothing of the next round is read before every process knows what this one published.
    coordination.meet(worker).then_some(next)
}
