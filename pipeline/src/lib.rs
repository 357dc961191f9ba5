//! contactflow: contact-centre quality KPIs, maintained incrementally by a Timely/Differential dataflow.

pub mod generate;
pub mod ingest;
pub mod job;
pub mod model;
pub mod sink;
pub mod sources;
pub mod store;
pub mod views;
