//! The independent check of contactflow: an oracle that computes the tables from scratch, histories of events to try
//! the product on, and scenarios whose cells were worked out by hand.
//!
//! | module | what |
//! |---|---|
//! | [`oracle`] | rows in, tables out, slow and plain |
//! | [`tables`], [`difference`], [`bytes`] | published tables read back, and compared |
//! | [`histories`] | random histories, and changes of their delivery that must change nothing |
//! | [`shrink`] | the smallest history that still fails |
//! | [`scenario`] | the files in `tests/scenarios` |
//! | [`fake_model`] | a model that says what letters say |
//! | [`runner`], [`product`], [`memory`], [`property`] | what runs the product, and what must hold of it |

pub mod bytes;
pub mod clock;
pub mod difference;
pub mod fake_model;
pub mod histories;
pub mod memory;
pub mod model;
pub mod oracle;
pub mod product;
pub mod property;
pub mod runner;
pub mod scenario;
pub mod shared;
pub mod shrink;
pub mod tables;
