//! Pure dataflow over `contactflow-schemas`: no clock, no I/O, no async runtime, no tch.

pub mod anomaly;
pub mod cells;
pub mod conversation;
pub mod deduplicate;
pub mod difference;
pub mod epochs;
pub mod gauges;
pub mod infer;
pub mod scores;
