//! Tables as Parquet bytes.
//!
//! Invariants:
//! 1. Equal rows give equal bytes, in whatever order they come and whichever process encodes them. Rows are therefore
//!    sorted here, by the strings of their key: a [`Symbol`](contactflow_schemas::symbol::Symbol) orders by arrival.
//! 2. Everything the Parquet writer may choose is fixed in `writer::properties`, and rows reach it in batches of a
//!    fixed size, since page boundaries follow batch boundaries.
//! 3. No wall clock and no name of a machine, process or library version is in a file. (A row of `commits` holds the
//!    time it is given.)
//! 4. A key comes once per file: two rows with one key are an [`EncodeError`], not a silently doubled count. Rejects
//!    have no key.

mod commits;
mod concatenate;
mod dimensions;
mod evaluation;
mod facts;
mod footer;
mod kpi;
mod lists;
mod rejects;
mod restatements;
mod scores;
mod topics;
mod writer;

pub use commits::{CommitRow, encode_commit};
pub(in crate::sink) use concatenate::concatenate;
pub use dimensions::encode_dimensions;
pub use evaluation::{ModelIds, encode_evaluations};
pub use facts::encode_facts;
pub use kpi::encode_kpi;
pub use rejects::encode_rejects;
pub use restatements::{Explanation, Restatement, encode_restatements};
pub use scores::{
    ANOMALY_METHOD, ANOMALY_MODEL_ID, encode_anomalies, encode_conversation_scores, encode_message_scores,
};
pub use topics::encode_topics;

use contactflow_schemas::tables::Table;

/// Why rows could not be encoded: a broken promise of the code that made them, never bad input data.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The table has another encoder.
    #[error("table {} is not one of KPI cells", table.name())]
    NotKpi {
        /// The table asked for.
        table: Table,
    },
    /// Two rows have the same key.
    #[error("table {} would hold two rows with the key {key}", table.name())]
    DuplicateKey {
        /// The table.
        table: Table,
        /// The key, for a person.
        key: String,
    },
    /// A conversation score over no scored turn has no mean.
    #[error("a conversation score counts {scored_turns} scored turns; rows are for 1 and more")]
    NothingScored {
        /// What the row says.
        scored_turns: i64,
    },
    /// An encoder and the schema of its table disagree.
    #[error("the encoder of table {} does not fit its schema at column {column:?}", table.name())]
    Schema {
        /// The table.
        table: Table,
        /// The first column that does not fit; empty when the row has too many values.
        column: String,
    },
    /// The Parquet library ends files in another way than [`footer`] knows.
    #[error("the Parquet library writes footers of an unknown form")]
    Footer,
    /// The Parquet writer failed.
    #[error("Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Arrow refused the columns.
    #[error("Arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}

/// Fails when two neighbours of the sorted `keys` are equal.
fn unique<K: PartialEq + std::fmt::Debug>(
    table: Table,
    keys: impl ExactSizeIterator<Item = K>,
) -> Result<usize, EncodeError> {
    let rows = keys.len();
    let mut previous = None;
    for key in keys {
        if previous.as_ref() == Some(&key) {
            return Err(EncodeError::DuplicateKey { table, key: format!("{key:?}") });
        }
        previous = Some(key);
    }
    Ok(rows)
}
