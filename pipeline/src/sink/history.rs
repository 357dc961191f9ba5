//! The tables that tell how the others came about: `commits`, one row per commit, made from its manifest, so that a row
//! lost to a crash can be written later, and `restatements`, written before the manifest.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, StringArray};
use bytes::Bytes;
use contactflow_schemas::tables::Table;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::encode::CommitRow;
use super::error::CommitError;
use super::head::read_manifest;
use super::manifest::Manifest;
use super::objects::Objects;

/// Slot of the file with the rows that `commit` adds to a history table.
pub(super) fn history_slot(table: Table, commit: u64) -> String {
    format!("{}/part-{commit:020}.parquet", table.name())
}

/// A file of `restatements` with the events taken out of what it names as causes; none when it names none of them.
///
/// # Errors
/// [`CommitError::Damaged`] for a file that cannot be read.
pub(super) fn forget_events(
    name: &str,
    body: &Bytes,
    events: &HashSet<(String, String)>,
) -> Result<Option<Bytes>, CommitError> {
    without_events(body, events).map_err(|detail| CommitError::Damaged { name: name.to_owned(), detail })
}

/// The file with the events taken out of its column `cause_events`; none when it names none of them.
fn without_events(body: &Bytes, events: &HashSet<(String, String)>) -> Result<Option<Bytes>, String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(body.clone()).map_err(|error| error.to_string())?;
    let schema = Arc::clone(builder.schema());
    let column = schema.index_of("cause_events").map_err(|error| error.to_string())?;
    let mut is_changed = false;
    let mut batches = Vec::new();
    for batch in builder.build().map_err(|error| error.to_string())? {
        let batch = batch.map_err(|error| error.to_string())?;
        let named = batch.column(column).as_string_opt::<i32>().ok_or("cause_events is no text")?;
        let edited: StringArray = named
            .iter()
            .map(|names| {
                let names = names?;
                let all: Vec<(String, String)> = serde_json::from_str(names).unwrap_or_default();
                let left: Vec<_> = all.iter().filter(|name| !events.contains(name)).collect();
                is_changed |= left.len() < all.len();
                if left.len() == all.len() { Some(names.to_owned()) } else { serde_json::to_string(&left).ok() }
            })
            .collect();
        let mut columns = batch.columns().to_vec();
        columns[column] = Arc::new(edited);
        batches.push(RecordBatch::try_new(Arc::clone(&schema), columns).map_err(|error| error.to_string())?);
    }
    if !is_changed {
        return Ok(None);
    }
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).map_err(|error| error.to_string())?;
    batches.iter().try_for_each(|batch| writer.write(batch)).map_err(|error| error.to_string())?;
    writer.into_inner().map(|body| Some(body.into())).map_err(|error| error.to_string())
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

/// The rows that the last commits lack: a crash may come between a manifest and its row, again and again. Rows are
/// written in order, so that they are missing at the end only.
pub(super) fn missing_rows(
    objects: &dyn Objects,
    root_url: &str,
    newest: Option<&Manifest>,
    has_row: impl Fn(u64) -> Result<bool, CommitError>,
) -> Result<Vec<CommitRow>, CommitError> {
    let mut missing = Vec::new();
    let mut next = newest.cloned();
    while let Some(manifest) = next {
        if has_row(manifest.commit)? {
            break;
        }
        missing.push(row_of(&manifest));
        // Manifests are deleted after a while, long after their rows were written.
        next = read_manifest(objects, root_url, &Manifest::path(manifest.commit - 1))?;
    }
    missing.reverse();
    Ok(missing)
}
