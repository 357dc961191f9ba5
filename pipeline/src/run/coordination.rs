//! How the workers of a job, of one process or of many, keep step: a second, small dataflow beside that of the job.
//!
//! Every worker has an input for what it [reports](Report) to worker 0, and one for [decisions](Decision), which worker 0 makes and
//! all hear. The time of the reports is the number of the *meeting*: a worker that has said what it has to say moves its input on,
//! and when the frontier has passed a meeting, everybody has, and everything said has arrived. The time of the decisions
//! counts [announcements](Announcement) alike, for which all wait. Meanwhile the workers go on stepping, so that nobody's
//! progress waits for another's work.
//!
//! What concerns a process and not a worker (errors, the wish to stop, texts that wait) is reported by its *first worker*.
//!
//! A worker that [has failed](Shared::has_failed) attends no further meeting, so no meeting is held without all. It waits until
//! worker 0 has told everybody of the failure, and then closes its inputs like everybody else. What is sealed and has to be
//! opened, and a late commit of the job before, end the work of the workers in the same way; they are started again.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
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
use super::resume::Again;
use super::sealing::{Finding, Question};
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
    /// How many texts wait in a process, and how many answers it has had.
    Waiting { process: usize, texts: usize, answered: usize },
    /// What a worker found that may be sealed.
    Sealing(Finding),
    /// The job is to end after this round.
    Stop,
    /// A process cannot go on.
    Failed(Told),
    /// What a process has read changes what is sealed: nothing may be frozen after this day.
    Unseal(i32),
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
enum Decision {
    /// What all wait for.
    Announced(Announcement),
    /// How many texts wait, by process.
    Waiting(Vec<usize>),
    /// Nobody goes on.
    Failed(Told),
    /// What was read and scored since the last commit is given up, and all start again.
    Again(Again),
}

/// A decision for which all wait.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Announcement {
    /// A round is over.
    Round {
        /// It was committed, with this as_of.
        committed: Option<Option<TimeMs>>,
        /// What comes after it.
        next: Next,
    },
    /// What has to be known to seal; none when nothing is to be sealed.
    Sealing(Option<Question>),
}

/// What comes after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Next {
    /// Another round.
    Round,
    /// The inputs are closed, and what the model still has to say is waited for; then comes the last round.
    Drain,
    /// The workers start again, since what was sealed is to leave memory.
    Restart,
    /// The job is over.
    End,
}

type Inbox<M> = Rc<RefCell<Vec<M>>>;
type Sender<M> = InputHandle<u64, CapacityContainerBuilder<Vec<M>>>;

/// One worker's part in it.
pub(super) struct Coordination<'a> {
    shared: &'a Shared,
    worker: usize,
    meeting: u64,
    announcements: u64,
    reports: Sender<Report>,
    /// Passes a meeting when worker 0 has every report of it.
    reported: Handle<u64>,
    received: Inbox<Report>,
    decisions: Sender<Decision>,
    /// Passes an announcement when every worker has heard it.
    decided: Handle<u64>,
    heard: Inbox<Decision>,
    /// Those that were not waited for yet: worker 0 may be ahead.
    announced: VecDeque<Announcement>,
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
    /// Texts that wait, and answers.
    waiting: [usize; 2],
    waiting_at: Option<Instant>,
    /// By process.
    waiting_of_all: Vec<usize>,
    answered_of_all: Vec<usize>,
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
        let none = vec![0; shared.processes()];
        let told = Sayings { waiting_of_all: none.clone(), answered_of_all: none, ..Sayings::default() };
        let (worker, meeting, announcements, announced) = (worker.index(), 0, 0, VecDeque::new());
        Self {
            shared,
            worker,
            meeting,
            announcements,
            reports,
            reported,
            received,
            decisions,
            decided,
            heard,
            announced,
            told,
        }
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

    /// Waits for what worker 0 announces; it passes the `announcement`, and the others none. None when somebody has failed.
    pub(super) fn announce(&mut self, worker: &mut Worker, announcement: Option<Announcement>) -> Option<Announcement> {
        if let Some(announcement) = announcement {
            self.decide(Decision::Announced(announcement));
        }
        self.announcements += 1;
        let announcements = self.announcements;
        self.decisions.advance_to(announcements);
        let decided = self.decided.clone();
        self.step_while(worker, || decided.less_than(&announcements));
        self.exchange();
        let announced = self.announced.pop_front();
        // Whoever went on without it would be waited for for ever.
        assert!(announced.is_some() || self.shared.has_failed(), "an announcement is heard by all");
        announced
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
            Decision::Announced(announcement) => self.announced.push_back(announcement),
            Decision::Waiting(texts) => {
                self.shared.context.backlog.set_elsewhere(self.of_others(&texts));
            }
            Decision::Failed(told) => {
                self.told.failure_heard = true;
                self.shared.fail(told.into());
            }
            Decision::Again(again) => {
                self.told.failure_heard = true;
                self.shared.start_over(again);
            }
        }
    }

    /// The sum of what was counted in other processes than this.
    fn of_others(&self, counts: &[usize]) -> usize {
        counts.iter().enumerate().filter(|(process, _)| *process != self.shared.process()).map(|(_, count)| count).sum()
    }

    fn speak_for_process(&mut self) {
        let shared = self.shared;
        if shared.has_failed() && !self.told.failed {
            self.told.failed = true;
            let unsealing = shared.context.sealed.unsealing.asked();
            let report = shared.told().map(Report::Failed).or(unsealing.map(Report::Unseal));
            // Who fails because it was told to has nothing to say.
            report.into_iter().for_each(|report| self.report(report));
        }
        if shared.stop.is_requested() && !self.told.stop {
            self.told.stop = true;
            self.report(Report::Stop);
        }
        let backlog = &shared.context.backlog;
        let waiting = [backlog.texts_here(), backlog.answered_here()];
        let is_time = self.told.waiting_at.is_none_or(|at| at.elapsed() >= BACKLOG_REPORT);
        if shared.processes() > 1 && waiting != self.told.waiting && is_time {
            (self.told.waiting, self.told.waiting_at) = (waiting, Some(Instant::now()));
            let [texts, answered] = waiting;
            self.report(Report::Waiting { process: shared.process(), texts, answered });
        }
    }

    fn receive(&mut self, report: Report) {
        match report {
            Report::Waiting { process, texts, answered } => {
                self.told.waiting_of_all[process] = texts;
                self.told.answered_of_all[process] = answered;
                self.shared.context.backlog.set_answered_elsewhere(self.of_others(&self.told.answered_of_all));
                self.decide(Decision::Waiting(self.told.waiting_of_all.clone()));
            }
            Report::Failed(told) if self.shared.is_preceded(&told) => self.end_work(Decision::Again(Again::Preceded)),
            Report::Failed(told) => self.end_work(Decision::Failed(told)),
            Report::Unseal(day) => self.end_work(Decision::Again(Again::Unsealed(day))),
            report => self.shared.receive(report),
        }
    }

    /// Says that nobody goes on, and why; the first reason counts.
    fn end_work(&mut self, decision: Decision) {
        if !std::mem::replace(&mut self.told.failed_to_all, true) {
            self.decide(decision);
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
