//! A worker's end of the line to its device thread.

use std::collections::HashMap;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contactflow_schemas::prediction::{Answer, KeyOf, Request, TextRequest};

use crate::device::thread::{Message, Shared, Submission};

/// What the device thread knows of a handle: where answers go and whom to wake.
pub(crate) struct Mailbox<A> {
    answers: Mutex<Vec<A>>,
    wake: Mutex<Box<dyn Fn() + Send>>,
}

impl<A> Mailbox<A> {
    /// Makes `answers` visible to the handle, then wakes its worker.
    pub(crate) fn deliver(&self, answers: Vec<A>) {
        locked(&self.answers).extend(answers);
        self.wake();
    }

    /// Calls the worker's callback.
    pub(crate) fn wake(&self) {
        locked(&self.wake)();
    }
}

/// The content of `mutex`, also after a panic elsewhere: answers and callbacks have no half-made state.
pub(crate) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A dataflow worker's access to the device thread it shares with others. Owned by that worker.
pub struct DeviceHandle<R: Request = TextRequest> {
    requests: SyncSender<Message<R>>,
    shared: Arc<Shared<R>>,
    mailbox: Arc<Mailbox<R::Answer>>,
    /// Unanswered requests: how often each key was submitted. This is what gets answered if the thread dies.
    outstanding: HashMap<KeyOf<R>, u32>,
    in_flight: usize,
    in_flight_max: usize,
}

impl<R: Request> DeviceHandle<R> {
    pub(crate) fn new(
        requests: SyncSender<Message<R>>,
        shared: Arc<Shared<R>>,
        in_flight_max: usize,
        wake: Box<dyn Fn() + Send>,
    ) -> Self {
        let mailbox = Arc::new(Mailbox { answers: Mutex::new(Vec::new()), wake: Mutex::new(wake) });
        shared.register(&mailbox);
        Self { requests, shared, mailbox, outstanding: HashMap::new(), in_flight: 0, in_flight_max }
    }

    /// Hands `requests` to the device thread without waiting.
    ///
    /// Once accepted, each of them is answered exactly once by [`drain`](Self::drain), even if the thread has died. The
    /// in-flight limit yields to a single submission when nothing is in flight, so every size gets through.
    ///
    /// # Errors
    /// Gives the requests back when the queue or the in-flight limit is full; try again after the next wake-up.
    pub fn try_submit(&mut self, requests: Vec<R>) -> Result<(), Vec<R>> {
        if requests.is_empty() {
            return Ok(());
        }
        if self.in_flight > 0 && self.in_flight + requests.len() > self.in_flight_max {
            return Err(requests);
        }
        let keys: Vec<KeyOf<R>> = requests.iter().map(Request::key).collect();
        let submission = Submission { requests, mailbox: Arc::clone(&self.mailbox) };
        let died = match self.requests.try_send(Message::Score(submission)) {
            Ok(()) => false,
            Err(TrySendError::Full(Message::Score(submission))) => return Err(submission.requests),
            // Accepted nevertheless: `drain` answers them with the reason.
            Err(_) => true,
        };
        self.in_flight += keys.len();
        for key in keys {
            *self.outstanding.entry(key).or_insert(0) += 1;
        }
        if died {
            self.mailbox.wake();
        }
        Ok(())
    }

    /// All answers that have arrived since the last call, in no particular order; never waits.
    ///
    /// If the device thread is gone, everything still unanswered comes back as failed, with the reason.
    pub fn drain(&mut self) -> Vec<R::Answer> {
        // Looked up first: a thread delivers nothing after it has said why it ended.
        let ended = self.shared.ended();
        let mut answers = std::mem::take(&mut *locked(&self.mailbox.answers));
        for answer in &answers {
            self.in_flight = self.in_flight.saturating_sub(1);
            if let Some(count) = self.outstanding.get_mut(&answer.key()) {
                *count -= 1;
                if *count == 0 {
                    self.outstanding.remove(&answer.key());
                }
            }
        }
        if let Some(reason) = ended {
            for (key, count) in self.outstanding.drain() {
                let failed = || R::Answer::failed(key, reason.to_owned());
                answers.extend(std::iter::repeat_with(failed).take(count as usize));
            }
            self.in_flight = 0;
        }
        answers
    }

    /// Requests accepted and not yet returned by [`drain`](Self::drain).
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Most requests in flight at a time.
    pub fn in_flight_max(&self) -> usize {
        self.in_flight_max
    }

    /// Why the device thread no longer works, if so.
    pub fn ended(&self) -> Option<&str> {
        self.shared.ended()
    }
}

impl<R: Request> Drop for DeviceHandle<R> {
    fn drop(&mut self) {
        self.shared.unregister(&self.mailbox);
    }
}
