//! The independent check of contactflow: an oracle that computes the tables from scratch, histories of events to try
//! the product on, and scenarios whose cells were worked out by hand.
//!
//! | module | what |
//! |---|---|
//! | [`oracle`] | rows in, tables out, slow and plain |
//! | [`tables`], [`difference`], [`bytes`], [`delta_log`] | published tables read back, and compared |
//! | [`histories`] | random histories, and changes of their delivery that must change nothing |
//! | [`shrink`] | the smallest history that still fails |
//! | [`scenario`] | the files in `tests/scenarios` |
//! | [`fake_model`] | a model that says what letters say |
//! | [`object_server`], [`stores`] | an S3 server with faults, and the other stores a job may write to |
//! | [`kills`], [`disk_watch`] | the program killed at random moments |
//! | [`program`], [`cluster`] | the built program as a process, and as several of one job |
//! | [`outside`] | readers from outside as processes beside it |
//! | [`older_program`] | a root as it was before a KPI was added |
//! | [`runner`], [`product`], [`memory`], [`property`] | what runs the product, and what must hold of it |

pub mod bytes;
pub mod clock;
pub mod cluster;
pub mod delta_log;
pub mod difference;
pub mod disk_watch;
pub mod fake_model;
pub mod histories;
pub mod kills;
pub mod memory;
pub mod model;
pub mod object_server;
pub mod older_program;
pub mod oracle;
pub mod outside;
pub mod product;
pub mod program;
pub mod property;
pub mod runner;
pub mod scenario;
pub mod shared;
pub mod shrink;
pub mod stores;
pub mod tables;
