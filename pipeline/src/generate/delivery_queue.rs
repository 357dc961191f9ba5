//! Deliveries not yet due: a calendar queue with one bucket per hour.
//!
//! Conversations are simulated when they start, their later events wait here. What is held is bounded by the arrivals
//! of the longest conversation's span (about two weeks), not by the length of the run.

use std::collections::VecDeque;

use super::event::Delivery;
use super::time::HOUR_MS;

/// Deliveries by the hour they are due in.
#[derive(Debug)]
pub(crate) struct DeliveryQueue {
    /// Start of the first bucket, milliseconds since the Unix epoch.
    first_ms: i64,
    /// End of the span; what is due later is due in the last hour.
    end_ms: i64,
    buckets: VecDeque<Vec<Delivery>>,
    waiting: usize,
}

impl DeliveryQueue {
    /// An empty queue for deliveries from `start_ms` to `end_ms`, whole hours.
    pub(crate) fn new(start_ms: i64, end_ms: i64) -> Self {
        Self { first_ms: start_ms, end_ms, buckets: VecDeque::new(), waiting: 0 }
    }

    /// Takes in a delivery due at its `ingest_ms`. What would come after the span is delivered at its end, else it
    /// would be lost; what was due before the current hour, now.
    pub(crate) fn push(&mut self, mut delivery: Delivery) {
        delivery.ingest_ms = delivery.ingest_ms.min(self.end_ms - 1);
        let bucket = usize::try_from((delivery.ingest_ms - self.first_ms).div_euclid(HOUR_MS)).unwrap_or(0);
        while self.buckets.len() <= bucket {
            self.buckets.push_back(Vec::new());
        }
        self.buckets[bucket].push(delivery);
        self.waiting += 1;
    }

    /// The deliveries of the next hour, in order of ingestion.
    pub(crate) fn pop_hour(&mut self) -> Vec<Delivery> {
        self.first_ms += HOUR_MS;
        let mut due = self.buckets.pop_front().unwrap_or_default();
        self.waiting -= due.len();
        // Stable, so that equal times keep the order of simulation and a run repeats byte for byte.
        due.sort_by_key(|delivery| delivery.ingest_ms);
        due
    }

    /// Deliveries held.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }
}
