//! The tables that tell how the others came about: `commits`, one row per commit, made from its manifest, so that a row
//! lost to a crash can be written later, and `restatements`, written before the manifest.

use contactflow_schemas::tables::Table;

use super::encode::CommitRow;
use super::manifest::Manifest;

/// Slot of the file with the rows that `commit` adds to a history table.
pub(super) fn history_slot(table: Table, commit: u64) -> String {
    format!("{}/part-{commit:020}.parquet", table.name())
}

/// An integer of a manifest as a table holds it.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn row_of(manifest: &Manifest) -> CommitRow {
    let is_written = |path: &String| manifest.written.binary_search(path).is_ok();
    let written = || manifest.files.iter().filter(|file| is_written(&file.path));
    CommitRow {
        commit: int(manifest.commit),
        epoch: int(manifest.epoch),
        committed_at_ms: manifest.committed_at_ms,
        as_of_ms: manifest.as_of_ms,
        source_files: manifest.sources.len() as i64,
        source_bytes: int(manifest.sources.iter().map(|source| source.bytes).sum()),
        rows_read: int(manifest.sources.iter().map(|source| source.rows).sum()),
        restated_cells: int(manifest.restated_cells),
        files_written: manifest.written.len() as i64,
        files_removed: manifest.removed.len() as i64,
        rows_written: int(written().map(|file| file.rows).sum()),
        bytes_written: int(written().map(|file| file.bytes).sum()),
        duration_ms: int(manifest.duration_ms),
    }
}
