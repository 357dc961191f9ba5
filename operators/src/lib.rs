//! Pure dataflow over `contactflow-schemas`: no clock, no I/O, no async runtime, no tch.

pub mod anomaly;
pub mod as_of;
pub mod causes;
pub mod cells;
pub mod contacts;
pub mod conversation;
pub mod deduplicate;
pub mod difference;
pub mod dimensions;
pub mod epochs;
pub mod gains;
pub mod infer;
pub mod levels;
pub mod merges;
pub mod metrics;
pub mod open_waits;
pub mod presence;
pub mod roll_up;
pub mod scores;
