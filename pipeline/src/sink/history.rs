//! The table `commits`: one row and one file per commit, made from its manifest, so that a row lost to a crash can be
//! written later.

use super::encode::{CommitRow, encode_commit};
use super::manifest::Manifest;
use super::objects::Objects;

/// Name of the file with the row of `commit`.
pub(super) fn row_path(commit: u64) -> String {
    format!("commits/part-{commit:020}.parquet")
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
        restated_cells: 0,
        files_written: manifest.written.len() as i64,
        files_removed: manifest.removed.len() as i64,
        rows_written: int(written().map(|file| file.rows).sum()),
        bytes_written: int(written().map(|file| file.bytes).sum()),
        duration_ms: int(manifest.duration_ms),
    }
}

/// Writes the row of a commit; tells whether it is there. The commit itself is done, so a failure is no error of it.
pub(super) fn put_row(objects: &dyn Objects, manifest: &Manifest) -> bool {
    let path = row_path(manifest.commit);
    let written = match encode_commit(&row_of(manifest)) {
        Ok(body) => objects.put(&path, body).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = &written {
        tracing::warn!(commit = manifest.commit, error, "the row of table commits is missing until the next commit");
    }
    written.is_ok()
}
