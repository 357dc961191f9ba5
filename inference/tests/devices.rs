//! Device threads with scorers that are not models.
//!
//! Catches: answers lost, doubled or sent to another worker, submissions that block, requests that are never answered
//! after a thread's death or a closed pool, and missing wake-ups.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contactflow_inference::{
    DeviceHandle, DevicePool, DeviceScorer, InferenceError, ModelConfig, Placement, PoolLimits,
};
use contactflow_schemas::prediction::{Outcome, Prediction, Sentiment, TextKey, TextRequest, TextScores};

const PATIENCE: Duration = Duration::from_secs(20);

/// Scores by length, panics on `panic`, and waits for a token per call if it has a gate.
struct Fake {
    gate: Option<Arc<Mutex<Receiver<()>>>>,
    calls: Arc<AtomicUsize>,
}

fn scored(text: &str) -> Outcome {
    let negative = text.len() as i32;
    let sentiment = Sentiment::most_probable(negative, 10_000 - negative, 0);
    Outcome::Scored(Box::new(TextScores::of_sentiment(sentiment)))
}

impl DeviceScorer for Fake {
    fn score(&mut self, requests: &[TextRequest]) -> Vec<Prediction> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if let Some(gate) = &self.gate {
            let _ = gate.lock().expect("gate").recv();
        }
        assert!(requests.iter().all(|request| request.text != "panic"), "a poisoned text");
        requests.iter().map(|request| Prediction { key: request.key, outcome: scored(&request.text) }).collect()
    }
}

struct Bench {
    pool: DevicePool,
    gate: SyncSender<()>,
    calls: Arc<AtomicUsize>,
}

fn bench(devices: &str, gated: bool, limits: PoolLimits) -> Bench {
    let (gate, tokens) = sync_channel(1000);
    let tokens = gated.then(|| Arc::new(Mutex::new(tokens)));
    let calls = Arc::new(AtomicUsize::new(0));
    let placement = Placement::parse(devices, 0).expect("devices");
    let pool = DevicePool::start_with(placement, limits, |_| {
        let fake = Fake { gate: tokens.clone(), calls: Arc::clone(&calls) };
        move || Ok(("fake".to_owned(), fake))
    });
    Bench { pool: pool.expect("starts"), gate, calls }
}

struct Worker {
    handle: DeviceHandle,
    woken: Receiver<()>,
}

impl Worker {
    fn new(pool: &DevicePool, index: usize) -> Self {
        let (wake, woken) = channel();
        let wake = Box::new(move || {
            let _ = wake.send(());
        });
        Self { handle: pool.handle(index, wake), woken }
    }

    /// Drains after every wake-up until `count` answers are there; fails rather than hangs.
    fn collect(&mut self, count: usize) -> Vec<Prediction> {
        let mut answers = self.handle.drain();
        while answers.len() < count {
            self.woken.recv_timeout(PATIENCE).expect("woken before patience runs out");
            answers.extend(self.handle.drain());
        }
        assert_eq!(answers.len(), count);
        answers
    }
}

fn requests(names: impl IntoIterator<Item = String>) -> Vec<TextRequest> {
    names.into_iter().map(|text| TextRequest { key: TextKey::of(&text), text }).collect()
}

fn texts(worker: usize, count: usize) -> Vec<TextRequest> {
    requests((0..count).map(|index| format!("{worker} {}", "x".repeat(index))))
}

#[test]
fn every_worker_gets_exactly_its_own_answers() {
    let bench = bench("cpu:0,cpu:1", false, PoolLimits { batch_texts: 7, ..PoolLimits::default() });
    let mut workers: Vec<Worker> = (0..5).map(|index| Worker::new(&bench.pool, index)).collect();
    for (index, worker) in workers.iter_mut().enumerate() {
        for submission in texts(index, 100).chunks(9) {
            worker.handle.try_submit(submission.to_vec()).expect("room");
        }
        assert_eq!(worker.handle.in_flight(), 100);
    }
    for (index, worker) in workers.iter_mut().enumerate() {
        let found: BTreeMap<TextKey, Outcome> =
            worker.collect(100).into_iter().map(|answer| (answer.key, answer.outcome)).collect();
        let expected = texts(index, 100).into_iter().map(|request| (request.key, scored(&request.text))).collect();
        assert_eq!(found, expected);
        assert_eq!(worker.handle.in_flight(), 0);
    }
    assert_eq!(bench.pool.model_id(), "fake");
}

#[test]
fn a_full_line_gives_the_requests_back_and_a_large_submission_still_gets_through() {
    let limits = PoolLimits { in_flight_max: 10, queue_submissions_max: 2, batch_texts: 4 };
    let bench = bench("cpu", true, limits);
    let (mut first, mut second) = (Worker::new(&bench.pool, 0), Worker::new(&bench.pool, 1));
    first.handle.try_submit(texts(0, 25)).expect("a lone submission may exceed the limit");
    assert_eq!(first.handle.try_submit(texts(1, 1)).expect_err("in-flight limit"), texts(1, 1));
    assert_eq!(first.handle.in_flight(), 25);
    // The thread is stuck in its first batch, so the two places of the queue fill up for the other worker.
    while bench.calls.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    second.handle.try_submit(texts(2, 1)).expect("room");
    second.handle.try_submit(texts(3, 1)).expect("room");
    assert_eq!(second.handle.try_submit(texts(4, 1)).expect_err("queue is full"), texts(4, 1));
    for _ in 0..100 {
        bench.gate.send(()).expect("open");
    }
    assert_eq!(first.collect(25).len(), 25);
    assert_eq!(second.collect(2).len(), 2);
    first.handle.try_submit(texts(1, 1)).expect("room again");
    first.collect(1);
}

#[test]
fn waiting_texts_are_scored_together_and_a_lonely_one_at_once() {
    let bench = bench("cpu", true, PoolLimits::default());
    let mut worker = Worker::new(&bench.pool, 0);
    worker.handle.try_submit(texts(0, 1)).expect("room");
    while bench.calls.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    for index in 1..=50 {
        worker.handle.try_submit(texts(index, 1)).expect("room");
    }
    bench.gate.send(()).expect("open");
    bench.gate.send(()).expect("open");
    worker.collect(51);
    assert_eq!(bench.calls.load(Ordering::SeqCst), 2);
}

#[test]
fn a_dead_thread_fails_everything_outstanding_and_later_without_hanging() {
    let bench = bench("cpu:0,cpu:1", true, PoolLimits { batch_texts: 2, ..PoolLimits::default() });
    let mut worker = Worker::new(&bench.pool, 0);
    let mut idle = Worker::new(&bench.pool, 2);
    let mut elsewhere = Worker::new(&bench.pool, 1);
    let names = ["fine", "also", "panic", "later", "last", "last"];
    for text in names {
        worker.handle.try_submit(requests([text.to_owned()])).expect("room");
    }
    for _ in 0..10 {
        bench.gate.send(()).expect("open");
    }
    let answers = worker.collect(6);
    let failed: Vec<&Prediction> =
        answers.iter().filter(|answer| matches!(answer.outcome, Outcome::Failed(_))).collect();
    assert!(failed.len() >= 4, "{answers:?}");
    assert_eq!(
        failed.iter().filter(|answer| answer.key == TextKey::of("last")).count(),
        2,
        "each submission is answered"
    );
    assert!(worker.handle.ended().expect("ended").contains("panicked"));
    idle.woken.recv_timeout(PATIENCE).expect("every worker of the device is woken");
    for worker in [&mut worker, &mut idle] {
        worker.handle.try_submit(texts(9, 3)).expect("accepted, to be failed");
        let late = worker.collect(3);
        assert!(
            late.iter().all(|answer| matches!(&answer.outcome, Outcome::Failed(reason) if reason.contains("panicked")))
        );
        assert_eq!(worker.handle.in_flight(), 0);
    }
    elsewhere.handle.try_submit(texts(1, 2)).expect("room");
    assert!(
        elsewhere.collect(2).iter().all(|answer| matches!(answer.outcome, Outcome::Scored(_))),
        "the other device works on"
    );
}

#[test]
fn a_dropped_pool_joins_its_threads_and_fails_what_is_left() {
    let bench = bench("cpu", true, PoolLimits { batch_texts: 1, ..PoolLimits::default() });
    let mut worker = Worker::new(&bench.pool, 0);
    worker.handle.try_submit(texts(0, 5)).expect("room");
    while bench.calls.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    // The batch under way finishes, with its answer; the other four are not begun.
    let Bench { pool, gate, calls } = bench;
    let closer = std::thread::spawn(move || drop(pool));
    std::thread::sleep(Duration::from_millis(50));
    gate.send(()).expect("open");
    closer.join().expect("joins");
    let answers = worker.collect(5);
    assert_eq!(answers.iter().filter(|answer| matches!(answer.outcome, Outcome::Scored(_))).count(), 1);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    worker.handle.try_submit(texts(1, 1)).expect("accepted, to be failed");
    assert!(matches!(worker.collect(1)[0].outcome, Outcome::Failed(_)));
}

#[test]
fn a_model_that_does_not_load_fails_the_start() {
    let placement = Placement::parse("cpu:0,cpu:1", 0).expect("devices");
    let config = ModelConfig::new("/nowhere");
    let error = DevicePool::start(&config, placement.clone(), PoolLimits::default()).err().expect("no model");
    assert!(matches!(&error, InferenceError::Read { path, .. } if path.ends_with("config.json")), "{error}");
    let panicking = |index: usize| {
        move || {
            assert!(index == 0, "cannot load");
            Ok(("fake".to_owned(), Fake { gate: None, calls: Arc::default() }))
        }
    };
    let error = DevicePool::start_with(placement, PoolLimits::default(), panicking).err().expect("one device fails");
    assert!(matches!(error, InferenceError::Thread(_)), "{error}");
}
