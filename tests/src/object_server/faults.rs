//! What goes wrong, how often, and by which seed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::histories::Dice;

/// Shares of requests that fail in each way, in thousandths; together at most 1000. All zero: nothing fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Decides which requests fail: the same for every run that sends the same number of requests.
    pub seed: u64,
    /// Answered 503 `SlowDown`, not done.
    pub unavailable: u64,
    /// Writes answered 409 `ConditionalRequestConflict`, not done.
    pub conflict: u64,
    /// Connection cut, not done.
    pub cut: u64,
    /// Done, and the connection cut instead of an answer.
    pub lost_reply: u64,
    /// The connection cut in the middle of the answer.
    pub torn_reply: u64,
    /// Answered late, by `delay`.
    pub delayed: u64,
    /// Listings that show the bucket as it was `staleness` ago.
    pub stale: u64,
    /// Of delayed answers.
    pub delay: Duration,
    /// Of stale listings.
    pub staleness: Duration,
}

impl Faults {
    /// One request in ten fails, in every way there is, and one listing in ten is stale.
    pub fn tenth(seed: u64) -> Self {
        Self {
            seed,
            unavailable: 25,
            conflict: 25,
            cut: 20,
            lost_reply: 20,
            torn_reply: 10,
            delayed: 10,
            stale: 100,
            delay: Duration::from_millis(300),
            staleness: Duration::from_millis(500),
        }
    }
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// What was asked for.
    Served,
    /// See [`Faults::unavailable`].
    Unavailable,
    /// See [`Faults::conflict`].
    Conflict,
    /// See [`Faults::cut`].
    Cut,
    /// See [`Faults::lost_reply`].
    LostReply,
    /// See [`Faults::torn_reply`].
    TornReply,
    /// See [`Faults::delayed`].
    Delayed(Duration),
}

/// Draws the fate of requests, in the order in which they come.
#[derive(Debug, Default)]
pub struct Fates {
    requests: AtomicU64,
    listings: AtomicU64,
}

impl Fates {
    /// The fate of the next request; `writes` when it changes something.
    pub fn fate(&self, faults: &Faults, writes: bool) -> Fate {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut left = draw(faults.seed, number);
        let outcomes = [
            (faults.unavailable, Fate::Unavailable),
            (faults.conflict, if writes { Fate::Conflict } else { Fate::Unavailable }),
            (faults.cut, Fate::Cut),
            (faults.lost_reply, Fate::LostReply),
            (faults.torn_reply, Fate::TornReply),
            (faults.delayed, Fate::Delayed(faults.delay)),
        ];
        for (share, fate) in outcomes {
            if left < share {
                return fate;
            }
            left -= share;
        }
        Fate::Served
    }

    /// How old the next listing is.
    pub fn staleness(&self, faults: &Faults) -> Duration {
        let number = self.listings.fetch_add(1, Ordering::Relaxed);
        let is_stale = draw(!faults.seed, number) < faults.stale;
        if is_stale { faults.staleness } else { Duration::ZERO }
    }
}

/// A number in `0..1000` that depends on nothing else.
fn draw(seed: u64, number: u64) -> u64 {
    Dice::new(seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15))).below(1000)
}
