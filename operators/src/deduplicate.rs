//! Deduplication: from deliveries, in any order and any number, to net events.
//!
//! Deliveries are only ever added, and what stands is the greatest of them (highest version; at equal version a
//! retract before an assert; of two asserts the smaller content hash). That is a join-semilattice, so the state per
//! identity is one [`Slot`], and the result does not depend on the order of arrival. Rejected rows are keyed by the same
//! identity and stand until a valid delivery with an equal or higher version exists.

mod latest;
mod ledger;
mod operator;

pub use ledger::{Effects, Ledger};
pub use operator::{Deduplicated, Journal, deduplicate};

use contactflow_schemas::event::Delivery;
use contactflow_schemas::reject::RejectedRow;
use serde::{Deserialize, Serialize};

/// One input row, valid or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Incoming {
    /// It passed validation.
    Delivery(Delivery),
    /// It did not.
    Rejected(Box<RejectedRow>),
}

impl Incoming {
    /// Routing hash: rows of one identity meet on one worker.
    pub fn stable_hash(&self) -> u64 {
        match self {
            Incoming::Delivery(delivery) => delivery.key.stable_hash(),
            Incoming::Rejected(row) => match row.key {
                Some(key) => key.stable_hash(),
                None => row.reject.file.stable_hash() ^ row.reject.row,
            },
        }
    }
}
