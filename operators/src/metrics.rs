//! What the operators count about their own work, for operation and for tests that a small change causes little work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, number: usize) {
        self.0.fetch_add(number as u64, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of all workers of a process.
#[derive(Debug, Default)]
pub struct Counters {
    /// Views computed: a conversation whose history, dimensions or deadlines changed in an epoch.
    pub conversations_evaluated: Counter,
    /// Finest cells that conversations changed.
    pub cells_changed: Counter,
}

/// A handle on the counters.
pub type Metrics = Arc<Counters>;
