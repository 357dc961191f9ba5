//! Meaning only: events, facts, the KPI catalogue, table schemas, rejects. No I/O, no timely, no tch.

pub mod prediction;
