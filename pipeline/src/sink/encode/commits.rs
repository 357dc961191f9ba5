//! `commits`: history, one row and one file per commit. The only table that holds a wall clock, and the only one
//! outside the promise of equal bytes.

use bytes::Bytes;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::tables::Table;

use super::EncodeError;
use super::writer::TableWriter;

/// One row of `commits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitRow {
    /// Number of the commit, from 1.
    pub commit: i64,
    /// Dataflow epoch it is consistent with.
    pub epoch: i64,
    /// Wall clock of the commit.
    pub committed_at_ms: TimeMs,
    /// Latest event time it knows.
    pub as_of_ms: Option<TimeMs>,
    /// Source files read so far.
    pub source_files: i64,
    /// Their size, bytes.
    pub source_bytes: i64,
    /// Rows read so far.
    pub rows_read: i64,
    /// Values of closed windows that this commit changed.
    pub restated_cells: i64,
    /// Files written by this commit.
    pub files_written: i64,
    /// Files removed by this commit.
    pub files_removed: i64,
    /// Rows in the files written.
    pub rows_written: i64,
    /// Size of the files written, bytes.
    pub bytes_written: i64,
    /// From the end of computing to the manifest.
    pub duration_ms: i64,
}

/// Encodes one row of `commits`.
///
/// # Errors
/// Only those of the Parquet writer.
pub fn encode_commit(row: &CommitRow) -> Result<Bytes, EncodeError> {
    let mut writer = TableWriter::new(Table::Commits, 1)?;
    writer.int(row.commit);
    writer.int(row.epoch);
    writer.time(row.committed_at_ms);
    writer.time(row.as_of_ms);
    writer.int(row.source_files);
    writer.int(row.source_bytes);
    writer.int(row.rows_read);
    writer.int(row.restated_cells);
    writer.int(row.files_written);
    writer.int(row.files_removed);
    writer.int(row.rows_written);
    writer.int(row.bytes_written);
    writer.int(row.duration_ms);
    writer.end_row()?;
    writer.finish()
}
