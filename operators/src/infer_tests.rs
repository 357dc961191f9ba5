//! The operator against models that answer late, in another order, or not before they are asked twice.

use std::collections::BTreeMap;
use std::sync::Mutex;

use contactflow_schemas::prediction::{Outcome, Prediction, Sentiment, TextKey, TextRequest, TextScores};
use timely::dataflow::operators::vec::Input;
use timely::dataflow::operators::{Inspect, Probe};

use super::*;

/// Answers the newest request first, one per `drain`, after a number of idle calls; refuses when more than two wait.
struct Slow {
    waiting: Vec<TextRequest>,
    idle: usize,
    asked: Arc<Mutex<Vec<String>>>,
    activator: SyncActivator,
}

impl Model for Slow {
    type Request = TextRequest;

    fn try_submit(&mut self, requests: Vec<TextRequest>) -> Result<(), Vec<TextRequest>> {
        if self.waiting.len() > 2 {
            return Err(requests);
        }
        self.asked.lock().unwrap().extend(requests.iter().map(|request| request.text.clone()));
        self.waiting.extend(requests);
        Ok(())
    }

    fn drain(&mut self) -> Vec<Prediction> {
        let _ = self.activator.activate();
        self.idle += 1;
        if !self.idle.is_multiple_of(3) {
            return Vec::new();
        }
        let scores = TextScores::of_sentiment(Sentiment::most_probable(0, 0, 10_000));
        let answer =
            |request: TextRequest| Prediction { key: request.key, outcome: Outcome::Scored(Box::new(scores.clone())) };
        self.waiting.pop().map(answer).into_iter().collect()
    }

    fn in_flight(&self) -> usize {
        self.waiting.len()
    }
}

#[test]
fn every_distinct_text_is_asked_once_and_answered_once_and_no_epoch_waits() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let answers = Arc::new(Mutex::new(BTreeMap::<TextKey, isize>::new()));
    let backlog = Backlog::default();
    let (asked_by_model, seen, observed) = (Arc::clone(&asked), Arc::clone(&answers), backlog.clone());
    timely::execute_directly(move |worker| {
        let (mut input, probe) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (input, texts) = scope.new_input();
            let known = timely::dataflow::operators::generic::operator::empty(scope);
            let connect = move |activator| Slow { waiting: Vec::new(), idle: 0, asked: asked_by_model, activator };
            let predictions = infer(texts, known, backlog, (), connect);
            let seen = Arc::clone(&seen);
            let counted = predictions.inner.inspect(move |(prediction, _, diff)| {
                *seen.lock().unwrap().entry(prediction.key).or_default() += diff;
            });
            (input, counted.probe().0)
        });
        for epoch in 0..20u64 {
            for text in ["a", "b", "c", "d"].iter().take(1 + epoch as usize % 4) {
                input.send(TextRequest { key: TextKey::of(text), text: (*text).to_owned() });
            }
            input.advance_to(epoch + 1);
            // The frontier follows the input although answers are missing.
            let mut steps = 0;
            while probe.less_than(&(epoch + 1)) {
                worker.step();
                steps += 1;
                assert!(steps < 100, "epoch {epoch} waits for the model");
            }
        }
        input.close();
        while !probe.done() {
            worker.step();
        }
        assert_eq!(observed.texts(), 0);
    });
    let mut asked = asked.lock().unwrap().clone();
    asked.sort();
    assert_eq!(asked, ["a", "b", "c", "d"]);
    assert_eq!(answers.lock().unwrap().values().copied().collect::<Vec<_>>(), [1, 1, 1, 1]);
}
