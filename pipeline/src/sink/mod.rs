//! Writing tables: rows become Parquet bytes ([`encode`]), bytes become commits ([`commit`]).
//!
//! ```text
//! rows of a partition ─► encode_… ─► PartitionWriter::write ─┐   (any worker: hashes, drops what is unchanged)
//!                                                            ├─► Committer::commit   (one per output root)
//! partitions that emptied ────────► PartitionWriter::remove ─┘   fence ► what closed windows change ([`restate`]) ►
//!                          data ► restatements ► Delta logs ([`layout`]) ► manifest ► row of commits ► clean-up
//! ```

pub mod commit;
pub mod encode;
mod error;
pub mod fence;
mod head;
mod history;
mod inspect;
mod layout;
pub mod manifest;
pub mod objects;
mod restate;
mod root_record;
pub mod stage;

#[cfg(test)]
mod tests;

pub use commit::{CommitInput, CommitSummary, Committer};
pub use encode::{
    CommitRow, EncodeError, Explanation, ModelIds, Restatement, encode_anomalies, encode_commit,
    encode_conversation_scores, encode_dimensions, encode_evaluations, encode_facts, encode_kpi, encode_message_scores,
    encode_rejects, encode_restatements, encode_topics,
};
pub use error::CommitError;
pub use fence::Claim;
pub(crate) use fence::{FENCE, is_outdated as is_outdated_claim};
pub use inspect::{Inspection, Inspector, holder, last_commit};
pub use layout::{Layout, TableLayout};
pub use manifest::{FileEntry, Manifest, Partition, PublishedSettings, SourceFile};
pub use objects::{Listed, ObjectError, Objects, Stored};
pub(crate) use stage::sha256_hex;
pub use stage::{HandedOver, PartitionWriter, RowMoves};
