//! How the workers of a job, of one process or of many, keep step: a second, small dataflow beside that of the job.
//!
//! Every worker has an input for what it [reports](Report) to worker 0, and one for [decisions](Decision), which worker 0 makes and
//! all hear. The time of both is the number of the *meeting*: a worker that has said what it has to say moves its inputs on, and
//! when the frontier has passed a meeting, everybody has, and everything said has arrived. Between meetings the workers go on
//! stepping, so that nobody's progress waits for another's work.
//!
//! What concerns a process and not a worker (errors, the wish to stop, texts that wait) is reported by its *first worker*.
//!
//! A worker that [has failed](Shared::has_failed) attends no further meeting, so no meeting is held without all. It waits until
//! worker 0 has told everybody of the failure, and then closes its inputs like everybody else.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use contactflow_operators::causes::Cause;
use contactflow_schemas::clock::TimeMs;
use serde::{Deserialize, Serialize};
use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, ParallelizationContract, Pipeline};
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::probe::{Handle, Probe};
use timely::dataflow::operators::vec::{Broadcast, Input, Map};
use timely::dataflow::{InputHandle, Stream};
use timely::worker::Worker;

use super::cluster::Told;
use super::shared::Shared;
use crate::ingest::IngestProgress;
use crate::sink::HandedOver;
use crate::state::StateFile;

/// Longest sleep between two looks at whether something has to be done.
pub(super) const PARK: Duration = Duration::from_millis(20);
/// How often a process tells how many of its texts wait.
const BACKLOG_REPORT: Duration = Duration::from_millis(50);

/// What a worker tells worker 0.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// State files that a worker wrote, and the texts that wait on it if others do than before: in one file, or in none.
    State {
        worker: usize,
        #[serde(with = "crate::wire::json")]
        added: Vec<StateFile>,
        #[serde(with = "crate::wire::json")]
        texts: Option<Vec<StateFile>>,
    },
    /// A partition that changed, of another process.
    Partition(Box<HandedOver>),
    /// Why published values change, of another process.
    Causes(Vec<Cause>),
    /// What a process has read since it was started.
    Read { process: usize, files: Vec<(String, u64)>, counted: Counted },
    /// How many texts wait in a process.
    Waiting { process: usize, texts: usize },
    /// The job is to end after this round.
    Stop,
    /// A process cannot go on; without an error it asks to start again.
    Failed(Option<Told>),
}

/// Rows that a process has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counted {
    pub(super) rows: u64,
    pub(super) rejects: u64,
    pub(super) restored: u64,
}

impl Counted {
    /// What the readers of this process have read.
    pub(super) fn of(progress: &IngestProgress) -> Self {
        let [rows, rejects] = progress.counted();
        Self { rows, rejects, restored: progress.restored.load(Ordering::Relaxed) }
    }

    /// The sum of both.
    pub(super) fn plus(self, other: &Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            rejects: self.rejects + other.rejects,
            restored: self.restored + other.restored,
        }
    }
}

/// What worker 0 tells all.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Decision {
    /// A round is over.
    Round {
        /// It was committed, with this as_of.
        committed: Option<Option<TimeMs>>,
        /// It was the last.
        is_last: bool,
    },
    /// How many texts wait, by process.
    Waiting(Vec<usize>),
    /// Nobody goes on.
    Failed(Option<Told>),
}

type Inbox<M> = Rc<RefCell<Vec<M>>>;
type Sender<M> = InputHandle<u64, CapacityContainerBuilder<Vec<M>>>;

/// One worker's part in it.
pub(super) struct Coordination<'a> {
    shared: &'a Shared,
    worker: usize,
    meeting: u64,
    reports: Sender<Report>,
    /// Passes a meeting when worker 0 has every report of it.
    reported: Handle<u64>,
    received: Inbox<Report>,
    decisions: Sender<Decision>,
    /// Passes a meeting when every worker has heard its decisions.
    decided: Handle<u64>,
    heard: Inbox<Decision>,
    /// The decision on a round that was not asked for yet.
    round: Option<(Option<Option<TimeMs>>, bool)>,
    told: Sayings,
}

/// What this worker said for its process, or to all, so that it says it once.
#[derive(Default)]
struct Sayings {
    stop: bool,
    failed: bool,
    failed_to_all: bool,
    /// Everybody knows of a failure.
    failure_heard: bool,
    waiting: usize,
    waiting_at: Option<Instant>,
    waiting_of_all: Vec<usize>,
    files: BTreeMap<String, u64>,
}

impl<'a> Coordination<'a> {
    /// Builds the dataflow; every worker does so, before that of the job.
    pub(super) fn build(worker: &mut Worker, shared: &'a Shared) -> Self {
        let (received, heard) = (Inbox::default(), Inbox::default());
        let (reported, decided) = (Handle::new(), Handle::new());
        let (to_first, to_all) = (Rc::clone(&received), Rc::clone(&heard));
        let (reports, decisions) = worker.dataflow_named::<u64, _, _>("coordination", |scope| {
            let (reports, stream) = scope.new_input();
            // An input alone keeps what it exchanges until its time moves on; an operator sends when it is done.
            let stream = stream.map(|report: Report| report);
            deliver(stream, Exchange::new(|_: &Report| 0), to_first, &reported);
            let (decisions, stream) = scope.new_input();
            deliver(stream.broadcast(), Pipeline, to_all, &decided);
            (reports, decisions)
        });
        let told = Sayings { waiting_of_all: vec![0; shared.processes()], ..Sayings::default() };
        let (worker, meeting, round) = (worker.index(), 0, None);
        Self { shared, worker, meeting, reports, reported, received, decisions, decided, heard, round, told }
    }

    /// This is worker 0.
    pub(super) fn is_planner(&self) -> bool {
        self.worker == 0
    }

    /// This is the first worker of its process.
    pub(super) fn is_first(&self) -> bool {
        self.worker.is_multiple_of(self.shared.settings.workers)
    }

    /// Tells worker 0.
    pub(super) fn report(&mut self, report: Report) {
        self.reports.send(report);
        // One at a time: some are large.
        self.reports.flush();
    }

    fn decide(&mut self, decision: Decision) {
        self.decisions.send(decision);
        self.decisions.flush();
    }

    /// Steps the dataflows while `busy` and nothing has failed.
    pub(super) fn step_while(&mut self, worker: &mut Worker, mut busy: impl FnMut() -> bool) {
        worker.step_or_park_while(Some(PARK), || {
            self.exchange();
            busy() && !self.shared.has_failed()
        });
    }

    /// Waits until all workers are here and worker 0 has heard what they had to say. False when somebody has failed.
    pub(super) fn meet(&mut self, worker: &mut Worker) -> bool {
        if self.shared.has_failed() {
            return false;
        }
        self.meeting += 1;
        let meeting = self.meeting;
        self.reports.advance_to(meeting);
        let reported = self.reported.clone();
        self.step_while(worker, || reported.less_than(&meeting));
        self.exchange();
        // Who is here before a failure elsewhere is known goes on as the others do.
        !self.reported.less_than(&meeting)
    }

    /// Waits for what worker 0 decides on a round; it passes its `decision`. None when somebody has failed.
    pub(super) fn round(
        &mut self,
        worker: &mut Worker,
        decision: Option<Decision>,
    ) -> Option<(Option<Option<TimeMs>>, bool)> {
        if let Some(decision) = decision {
            self.decide(decision);
        }
        let meeting = self.meeting;
        self.decisions.advance_to(meeting);
        let decided = self.decided.clone();
        self.step_while(worker, || decided.less_than(&meeting));
        self.exchange();
        self.round.take()
    }

    /// Reports what the process has read, and why published values change.
    pub(super) fn report_process(&mut self) {
        let shared = self.shared;
        let (process, progress) = (shared.process(), &shared.context.ingest.progress);
        let mut files = progress.rows_by_file();
        files.retain(|name, rows| self.told.files.get(name) != Some(rows));
        self.told.files.extend(files.clone());
        self.report(Report::Read { process, files: files.into_iter().collect(), counted: Counted::of(progress) });
        // Those of worker 0's process are where they are asked for.
        if process > 0 {
            self.report(Report::Causes(shared.context.causes.take()));
        }
    }

    /// Ends the coordination. After a failure everybody has to know of it first.
    pub(super) fn close(mut self, worker: &mut Worker) {
        while self.shared.has_failed() && !self.told.failure_heard {
            self.exchange();
            worker.step_or_park(Some(PARK));
        }
    }

    /// Takes in what was said, and says what there is to say. Called between steps.
    fn exchange(&mut self) {
        let heard = std::mem::take(&mut *self.heard.borrow_mut());
        heard.into_iter().for_each(|decision| self.hear(decision));
        if self.is_first() {
            self.speak_for_process();
        }
        if self.is_planner() {
            let received = std::mem::take(&mut *self.received.borrow_mut());
            received.into_iter().for_each(|report| self.receive(report));
        }
    }

    fn hear(&mut self, decision: Decision) {
        match decision {
            Decision::Round { committed, is_last } => self.round = Some((committed, is_last)),
            Decision::Waiting(texts) => {
                let others = texts.iter().enumerate().filter(|(process, _)| *process != self.shared.process());
                self.shared.context.backlog.set_elsewhere(others.map(|(_, texts)| texts).sum());
            }
            Decision::Failed(told) => {
                self.told.failure_heard = true;
                if let Some(told) = told {
                    self.shared.fail(told.into());
                }
            }
        }
    }

    fn speak_for_process(&mut self) {
        let shared = self.shared;
        if shared.has_failed() && !self.told.failed {
            self.told.failed = true;
            self.report(Report::Failed(shared.told()));
        }
        if shared.stop.is_requested() && !self.told.stop {
            self.told.stop = true;
            self.report(Report::Stop);
        }
        let waiting = shared.context.backlog.texts_here();
        let is_time = self.told.waiting_at.is_none_or(|at| at.elapsed() >= BACKLOG_REPORT);
        if shared.processes() > 1 && waiting != self.told.waiting && is_time {
            (self.told.waiting, self.told.waiting_at) = (waiting, Some(Instant::now()));
            self.report(Report::Waiting { process: shared.process(), texts: waiting });
        }
    }

    fn receive(&mut self, report: Report) {
        match report {
            Report::Waiting { process, texts } => {
                self.told.waiting_of_all[process] = texts;
                self.decide(Decision::Waiting(self.told.waiting_of_all.clone()));
            }
            Report::Failed(told) => {
                if !std::mem::replace(&mut self.told.failed_to_all, true) {
                    self.decide(Decision::Failed(told));
                }
            }
            report => self.shared.receive(report),
        }
    }
}

/// Puts what arrives into `inbox`.
fn deliver<'scope, M: ExchangeData>(
    stream: Stream<'scope, u64, Vec<M>>,
    pact: impl ParallelizationContract<u64, Vec<M>>,
    inbox: Inbox<M>,
    probe: &Handle<u64>,
) {
    let delivered: Stream<'scope, u64, Vec<()>> = stream.unary(pact, "Inbox", move |_, _| {
        move |input, output| {
            input.for_each(|capability, messages: &mut Vec<M>| {
                inbox.borrow_mut().append(messages);
                // Nothing is sent; the stream exists for its frontier.
                output.session(&capability).give_iterator(std::iter::empty::<()>());
            });
        }
    });
    delivered.probe_with(probe);
}
