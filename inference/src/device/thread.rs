//! What runs on a device thread: gather what is waiting, score it, answer, sleep.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, OnceLock};

use contactflow_schemas::prediction::{Answer, KeyOf, Request};

use crate::device::handle::{Mailbox, locked};
use crate::device::memory::Memory;
use crate::scorer::DeviceScorer;

/// Requests of one handle on their way to the model.
pub(crate) struct Submission<R: Request> {
    pub(crate) requests: Vec<R>,
    pub(crate) mailbox: Arc<Mailbox<R::Answer>>,
}

/// What a device thread is told.
pub(crate) enum Message<R: Request> {
    /// Score these.
    Score(Submission<R>),
    /// Wake up and look at [`Shared::close`].
    Close,
}

/// What a device thread, its handles and its pool have in common.
pub(crate) struct Shared<R: Request> {
    /// Why the thread ended; set after its last delivery.
    end: OnceLock<String>,
    closing: AtomicBool,
    mailboxes: Mutex<Vec<Arc<Mailbox<R::Answer>>>>,
}

impl<R: Request> Default for Shared<R> {
    fn default() -> Self {
        Self { end: OnceLock::new(), closing: AtomicBool::new(false), mailboxes: Mutex::default() }
    }
}

impl<R: Request> Shared<R> {
    /// Why the thread ended, once it has.
    pub(crate) fn ended(&self) -> Option<&str> {
        self.end.get().map(String::as_str)
    }

    /// Asks the thread to end before its next batch.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(crate) fn register(&self, mailbox: &Arc<Mailbox<R::Answer>>) {
        locked(&self.mailboxes).push(Arc::clone(mailbox));
    }

    pub(crate) fn unregister(&self, mailbox: &Arc<Mailbox<R::Answer>>) {
        locked(&self.mailboxes).retain(|other| !Arc::ptr_eq(other, mailbox));
    }

    fn closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Records the end and wakes every worker, so that each finds its requests failed.
    fn end(&self, reason: String) {
        // An error here means that an end is recorded already, and the first reason is the one to keep.
        let _ = self.end.set(reason);
        let mailboxes = locked(&self.mailboxes).clone();
        for mailbox in mailboxes {
            mailbox.wake();
        }
    }
}

/// Scores submissions until the pool closes or the scorer panics; `batch_texts` bounds the texts gathered at a time.
pub(crate) fn run<R: Request>(
    scorer: impl DeviceScorer<R>,
    messages: Receiver<Message<R>>,
    shared: &Shared<R>,
    memory: &Memory<R>,
    batch_texts: usize,
) where
    R::Answer: Clone,
{
    // The scorer is not used again after a panic, so nothing can see it half changed.
    let ended = catch_unwind(AssertUnwindSafe(|| serve(scorer, &messages, shared, memory, batch_texts)));
    let reason = match ended {
        Ok(()) => "the inference thread was closed".to_owned(),
        // The payload is not quoted: it may hold the text.
        Err(_) => "the inference thread panicked".to_owned(),
    };
    tracing::debug!(reason, "inference thread ends");
    // The receiver goes first, so that no submission is accepted into the queue after the last look at it.
    drop(messages);
    shared.end(reason);
}

fn serve<R: Request>(
    mut scorer: impl DeviceScorer<R>,
    messages: &Receiver<Message<R>>,
    shared: &Shared<R>,
    memory: &Memory<R>,
    batch_texts: usize,
) where
    R::Answer: Clone,
{
    let mut backlog: VecDeque<Submission<R>> = VecDeque::new();
    while !shared.closing() {
        if backlog.is_empty() {
            match messages.recv() {
                Ok(Message::Score(submission)) => backlog.push_back(submission),
                Ok(Message::Close) => continue,
                Err(_) => return,
            }
        }
        gather(&mut backlog, messages, batch_texts);
        answer(&mut scorer, memory, &mut backlog, batch_texts);
    }
}

/// Adds what is waiting already, up to `batch_texts` texts; waits for nothing, so a lonely text is scored at once.
fn gather<R: Request>(backlog: &mut VecDeque<Submission<R>>, messages: &Receiver<Message<R>>, batch_texts: usize) {
    let mut texts: usize = backlog.iter().map(|submission| submission.requests.len()).sum();
    while texts < batch_texts {
        match messages.try_recv() {
            Ok(Message::Score(submission)) => {
                texts += submission.requests.len();
                backlog.push_back(submission);
            }
            Ok(Message::Close) | Err(_) => return,
        }
    }
}

/// Scores the first `batch_texts` texts of the backlog together, but for those that `memory` knows, and delivers the answers to
/// where they belong.
fn answer<R: Request<Answer: Clone>>(
    scorer: &mut impl DeviceScorer<R>,
    memory: &Memory<R>,
    backlog: &mut VecDeque<Submission<R>>,
    batch_texts: usize,
) {
    let mut requests = Vec::new();
    let mut shares: Vec<(Arc<Mailbox<R::Answer>>, usize)> = Vec::new();
    while requests.len() < batch_texts
        && let Some(mut submission) = backlog.pop_front()
    {
        let room = batch_texts - requests.len();
        let rest = submission.requests.split_off(submission.requests.len().min(room));
        shares.push((Arc::clone(&submission.mailbox), submission.requests.len()));
        requests.append(&mut submission.requests);
        if !rest.is_empty() {
            backlog.push_front(Submission { requests: rest, mailbox: submission.mailbox });
        }
    }
    let keys: Vec<KeyOf<R>> = requests.iter().map(Request::key).collect();
    let known = memory.recall(&keys);
    let mut known_of_requests = known.iter();
    requests.retain(|_| known_of_requests.next().is_some_and(Option::is_none));
    let computed = if requests.is_empty() { Vec::new() } else { scorer.score(&requests) };
    memory.keep(&computed);
    let mut computed = computed.into_iter();
    let mut answers = keys.into_iter().zip(known).map(|(key, known)| {
        known.unwrap_or_else(|| match computed.next() {
            Some(answer) if answer.key() == key => answer,
            _ => R::Answer::failed(key, "the model gave no answer to this request".to_owned()),
        })
    });
    for (mailbox, count) in shares {
        mailbox.deliver(answers.by_ref().take(count).collect());
    }
}
