//! Meaning only: events, facts, the KPI catalogue, table schemas, rejects. No I/O, no timely, no tch.

pub mod aggregate;
pub mod business;
pub mod catalogue;
pub mod clock;
pub mod columns;
pub mod dimension;
pub mod event;
pub mod facts;
pub mod histogram;
pub mod masking;
pub mod normalise;
pub mod prediction;
pub mod reject;
pub mod rules;
pub mod symbol;
pub mod tables;
pub mod tally;
pub mod windows;
pub mod zone;
