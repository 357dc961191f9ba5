//! contactflow: contact-centre quality KPIs, maintained incrementally by a Timely/Differential dataflow.

pub mod cli;
pub mod generate;
pub mod ingest;
pub mod job;
pub mod kpis;
pub mod model;
pub mod opinions;
pub mod run;
pub mod seal;
pub mod settings;
pub mod sink;
pub mod sources;
pub mod state;
pub mod store;
pub mod views;
mod wire;
