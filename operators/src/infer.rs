//! The inference operator: requests in, predictions out, asynchronously. Requests are texts, or sequences of turns.
//!
//! The model is behind the [`Model`] trait (two bounded channels to a device thread in production, anything in tests), so
//! this crate needs no LibTorch. Each distinct request is made once in the whole cluster: requests are routed by their key
//! and remembered.
//!
//! Predictions enter the dataflow at the operator's *current* epoch, not at that of their request. The operator holds a
//! capability for the frontier of its input and no less, so the KPI frontier never waits for a model; when the input is
//! closed it keeps its last capability until nothing is in flight. `coverage_ratio` says how far the scores are.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use contactflow_schemas::prediction::{Answer, KeyOf, Request, RequestKey};
use contactflow_schemas::symbol::FastHash;
use differential_dataflow::collection::AsCollection;
use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Operator;
use timely::scheduling::SyncActivator;

use crate::epochs::Epoch;

/// Requests handed to the model at a time.
const SUBMISSION_REQUESTS: usize = 256;

/// A model that answers later.
pub trait Model {
    /// What it is asked.
    type Request: Request;

    /// Takes requests without waiting; each is answered exactly once by [`Model::drain`].
    ///
    /// # Errors
    /// Gives the requests back when the model's queue is full.
    fn try_submit(&mut self, requests: Vec<Self::Request>) -> Result<(), Vec<Self::Request>>;

    /// The answers since the last call.
    fn drain(&mut self) -> Vec<<Self::Request as Request>::Answer>;

    /// Requests taken and not answered yet.
    fn in_flight(&self) -> usize;
}

/// Texts (and sequences of turns) that wait for their prediction; sources pause while they are too many.
#[derive(Clone, Debug, Default)]
pub struct Backlog {
    /// On the workers of this process.
    texts: Arc<AtomicUsize>,
    /// On those of others, as far as they have told.
    elsewhere: Arc<AtomicUsize>,
    /// Answers that the workers of this process have passed on.
    answered: Arc<AtomicUsize>,
    /// Those of others, as far as they have told.
    answered_elsewhere: Arc<AtomicUsize>,
    cancelled: Arc<AtomicBool>,
}

impl Backlog {
    /// How many, in the whole job.
    pub fn texts(&self) -> usize {
        self.texts_here().saturating_add(self.elsewhere.load(Ordering::Relaxed))
    }

    /// How many wait in this process.
    pub fn texts_here(&self) -> usize {
        self.texts.load(Ordering::Relaxed)
    }

    /// Says how many wait in other processes.
    pub fn set_elsewhere(&self, texts: usize) {
        self.elsewhere.store(texts, Ordering::Relaxed);
    }

    /// How many answers the model has given, in the whole job. Those counted while an epoch is open are of that epoch or an
    /// earlier one; those that come to it afterwards may be of a later one.
    pub fn answered(&self) -> usize {
        self.answered_here().wrapping_add(self.answered_elsewhere.load(Ordering::Relaxed))
    }

    /// How many of them in this process.
    pub fn answered_here(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Says how many answers were given in other processes.
    pub fn set_answered_elsewhere(&self, answers: usize) {
        self.answered_elsewhere.store(answers, Ordering::Relaxed);
    }

    /// Gives all of them up: the job fails, and must not wait for the model.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn change(&self, from: usize, to: usize) {
        // Each operator only ever takes back what it added, so the sum cannot underflow.
        self.texts.fetch_add(to, Ordering::Relaxed);
        self.texts.fetch_sub(from, Ordering::Relaxed);
    }
}

/// What outlives the operator: its answers, and what still waits for one.
pub trait AnswerJournal<R: Request> {
    /// A request waits from now on.
    fn asked(&mut self, request: &R);

    /// It is answered; called once per distinct request of this run, not for answers known before.
    fn answered(&mut self, answer: &R::Answer);
}

/// No journal: another run asks again.
impl<R: Request> AnswerJournal<R> for () {
    fn asked(&mut self, _request: &R) {}

    fn answered(&mut self, _answer: &R::Answer) {}
}

/// Scores the distinct requests, but for those whose answer is `known`. A request of an epoch is asked when no more known
/// answers of that epoch can come. `connect` receives what wakes the operator when answers are ready.
pub fn infer<'scope, M, R>(
    requests: Stream<'scope, Epoch, Vec<R>>,
    known: Stream<'scope, Epoch, Vec<R::Answer>>,
    backlog: Backlog,
    mut journal: impl AnswerJournal<R> + 'static,
    connect: impl FnOnce(SyncActivator) -> M + 'static,
) -> VecCollection<'scope, Epoch, R::Answer, isize>
where
    M: Model<Request = R> + 'static,
    R: Request<Answer: ExchangeData> + timely::ExchangeData,
{
    let scope = requests.scope();
    let route = Exchange::new(|request: &R| request.key().route());
    let route_known = Exchange::new(|answer: &R::Answer| answer.key().route());
    requests
        .binary_frontier(known, route, route_known, "Infer", move |capability, info| {
            let mut model = connect(scope.worker().sync_activator_for(info.address.to_vec()));
            let mut capability = Some(capability);
            let mut requested: HashSet<KeyOf<R>, FastHash> = HashSet::default();
            // Of epochs in which known answers may still come.
            let mut early: VecDeque<(Epoch, Vec<R>)> = VecDeque::new();
            let mut queue: VecDeque<R> = VecDeque::new();
            let mut reported = 0;
            move |(input, frontier), (known, known_frontier), output| {
                let mut answers: Vec<R::Answer> = Vec::new();
                known.for_each(|_, known: &mut Vec<R::Answer>| {
                    answers.extend(known.drain(..).filter(|answer| requested.insert(answer.key())));
                });
                input.for_each(|capability, requests: &mut Vec<R>| {
                    let epoch = capability.least().copied().unwrap_or_default();
                    early.push_back((epoch, std::mem::take(requests)));
                });
                while early.front().is_some_and(|(epoch, _)| !known_frontier.less_equal(epoch)) {
                    let Some((_, requests)) = early.pop_front() else { break };
                    let new = requests.into_iter().filter(|request| requested.insert(request.key()));
                    queue.extend(new.inspect(|request| journal.asked(request)));
                }
                while !queue.is_empty() {
                    let submission: Vec<R> = queue.drain(..queue.len().min(SUBMISSION_REQUESTS)).collect();
                    if let Err(refused) = model.try_submit(submission) {
                        refused.into_iter().rev().for_each(|request| queue.push_front(request));
                        break;
                    }
                }
                if let Some(held) = &mut capability {
                    if let Some(epoch) = frontier.frontier().first() {
                        held.downgrade(epoch);
                    }
                    let epoch = *held.time();
                    let new = model.drain();
                    backlog.answered.fetch_add(new.len(), Ordering::Relaxed);
                    let new = new.into_iter().inspect(|answer| journal.answered(answer));
                    let predictions = answers.into_iter().chain(new).map(|prediction| (prediction, epoch, 1));
                    output.session(&*held).give_iterator(predictions);
                }
                let waiting =
                    early.iter().map(|(_, requests)| requests.len()).sum::<usize>() + queue.len() + model.in_flight();
                backlog.change(std::mem::replace(&mut reported, waiting), waiting);
                if (frontier.is_empty() && known_frontier.is_empty() && waiting == 0) || backlog.is_cancelled() {
                    capability = None;
                }
            }
        })
        .as_collection()
}

#[cfg(test)]
#[path = "infer_tests.rs"]
mod tests;
