//! Changing what state files hold, file by file: for erasure, and for making one file of many.

use std::collections::HashMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{SegmentReader, SegmentWriter, StateError, StateFile, StateKind, store};
use crate::sink::Objects;

/// What becomes of a row.
pub enum Edit<R> {
    /// It stays.
    Keep,
    /// It goes.
    Drop,
    /// Another takes its place, with this version.
    Replace(i64, R),
}

/// Reads every row of the `files` of one kind.
///
/// # Errors
/// Those of reading.
pub fn read_rows<R: DeserializeOwned>(
    objects: &dyn Objects,
    files: &[StateFile],
    kind: StateKind,
    mut visit: impl FnMut(R),
) -> Result<(), StateError> {
    for file in files.iter().filter(|file| file.kind == kind) {
        let mut reader = SegmentReader::open(objects, file)?;
        while let Some(rows) = reader.next_chunk()? {
            rows.into_iter().for_each(|(_, _, row)| visit(row));
        }
    }
    Ok(())
}

/// Writes `file` anew under `path` with its rows edited; none when no row changed. An inner none is a file without rows.
///
/// # Errors
/// Those of reading and writing.
pub fn rewrite<R: Serialize + DeserializeOwned>(
    objects: &dyn Objects,
    file: &StateFile,
    path: String,
    mut edit: impl FnMut(&R) -> Edit<R>,
) -> Result<Option<Option<StateFile>>, StateError> {
    let mut reader = SegmentReader::open(objects, file)?;
    let mut writer = SegmentWriter::default();
    let mut is_changed = false;
    while let Some(rows) = reader.next_chunk::<R>()? {
        for (key, version, row) in rows {
            let edited = edit(&row);
            is_changed |= !matches!(edited, Edit::Keep);
            match edited {
                Edit::Keep => writer.push(key, version, &row)?,
                Edit::Replace(version, row) => writer.push(key, version, &row)?,
                Edit::Drop => {}
            }
        }
    }
    if is_changed { write(objects, file, path, &mut writer).map(Some) } else { Ok(None) }
}

/// Makes one file of several of one kind and model. Of deliveries of one identity only those of the highest version stay,
/// since no other can stand again; rejected rows stay while their version is above.
///
/// # Errors
/// Those of reading and writing.
pub fn merge(objects: &dyn Objects, files: &[StateFile], path: String) -> Result<Option<StateFile>, StateError> {
    let Some(first) = files.first() else { return Ok(None) };
    let mut standing: HashMap<u128, i64> = HashMap::new();
    if first.kind == StateKind::Deliveries {
        for_raw_rows(objects, files, |key, version, row| {
            if is_delivery(row) {
                let highest = standing.entry(key).or_insert(version);
                *highest = version.max(*highest);
            }
            Ok(())
        })?;
    }
    let mut writer = SegmentWriter::default();
    for_raw_rows(objects, files, |key, version, row| {
        let stands = standing.get(&key).is_none_or(|&highest| match is_delivery(row) {
            true => version >= highest,
            false => version > highest,
        });
        if stands { writer.push_encoded(key, version, row) } else { Ok(()) }
    })?;
    write(objects, first, path, &mut writer)
}

/// The variant `Incoming::Delivery`, as bincode begins it. Rows of other kinds are never asked.
fn is_delivery(row: &[u8]) -> bool {
    row.starts_with(&0_u32.to_le_bytes())
}

fn for_raw_rows(
    objects: &dyn Objects,
    files: &[StateFile],
    mut visit: impl FnMut(u128, i64, &[u8]) -> Result<(), StateError>,
) -> Result<(), StateError> {
    for file in files {
        let mut reader = SegmentReader::open(objects, file)?;
        while reader.next_raw(&mut visit)? {}
    }
    Ok(())
}

fn write(
    objects: &dyn Objects,
    like: &StateFile,
    path: String,
    writer: &mut SegmentWriter,
) -> Result<Option<StateFile>, StateError> {
    let file = store(objects, like.kind, like.model_id.clone(), path, writer)?;
    Ok(file.map(|file| StateFile { sealed_before_day: like.sealed_before_day, ..file }))
}

#[cfg(test)]
mod tests {
    use contactflow_operators::deduplicate::Incoming;
    use contactflow_schemas::event::{Delivery, EventKey, Origin, Statement};
    use contactflow_schemas::reject::{Reason, Reject, RejectedRow};
    use contactflow_schemas::symbol::Symbol;

    use super::*;
    use crate::store::Root;

    fn origin(row: u64) -> Origin {
        Origin { file: Symbol::new("f"), row }
    }

    fn delivery(key: u128, version: i64, row: u64) -> Incoming {
        let statement = Statement::Retracted { source: Symbol::new("s"), event_id: "e".into() };
        let (content, time_ms, ingest_ms, origin) = (0, None, None, origin(row));
        Incoming::Delivery(Delivery { key: EventKey(key), version, content, time_ms, ingest_ms, statement, origin })
    }

    fn rejected(key: u128, version: i64, row: u64) -> Incoming {
        let reject = Reject {
            file: Symbol::new("f"),
            row,
            reason: Reason::BadTime,
            field: String::new(),
            message: String::new(),
            tenant: None,
            source: None,
            event_id: None,
            raw: None,
        };
        Incoming::Rejected(Box::new(RejectedRow { key: (key != 0).then_some(EventKey(key)), version, reject }))
    }

    fn key_of(row: &Incoming) -> (u128, i64) {
        match row {
            Incoming::Delivery(delivery) => (delivery.key.0, delivery.version),
            Incoming::Rejected(row) => (row.key.map_or(0, |key| key.0), row.version),
        }
    }

    #[test]
    fn merged_files_keep_what_can_still_stand() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::open(&folder.path().display().to_string(), true).expect("opens");
        let stays = [
            delivery(1, 2, 1),
            delivery(1, 2, 2),
            rejected(1, 3, 3),
            delivery(2, 0, 4),
            rejected(0, 0, 5),
            rejected(0, 0, 6),
            rejected(3, 1, 7),
        ];
        let goes = [delivery(1, 0, 11), delivery(1, 1, 12), rejected(1, 2, 13), rejected(2, 0, 14)];
        let mut files = Vec::new();
        for (number, part) in stays.iter().chain(&goes).collect::<Vec<_>>().chunks(3).enumerate() {
            let mut writer = SegmentWriter::default();
            for row in part {
                let (key, version) = key_of(row);
                writer.push(key, version, row).expect("encodes");
            }
            let path = format!("_contactflow/state/{number}");
            files.extend(store(&root, StateKind::Deliveries, None, path, &mut writer).expect("writes"));
        }
        let path = "_contactflow/state/merged".to_owned();
        let merged = merge(&root, &files, path).expect("merges").expect("has rows");
        let mut found = Vec::new();
        read_rows(&root, &[merged], StateKind::Deliveries, |row: Incoming| found.push(row)).expect("reads");
        assert_eq!(found, stays);
        assert_eq!(merge(&root, &[], "x".to_owned()).expect("nothing to do"), None);
    }

    #[test]
    fn a_file_without_a_changed_row_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::open(&folder.path().display().to_string(), true).expect("opens");
        let mut writer = SegmentWriter::default();
        for key in 1..4 {
            writer.push(key, 0, &delivery(key, 0, 1)).expect("encodes");
        }
        let file = store(&root, StateKind::Deliveries, None, "a".to_owned(), &mut writer).expect("writes");
        let file = file.expect("has rows");
        let keep = rewrite(&root, &file, "b".to_owned(), |_: &Incoming| Edit::Keep).expect("reads");
        assert_eq!(keep, None);
        let edit = |row: &Incoming| match key_of(row) {
            (1, _) => Edit::Drop,
            (2, _) => Edit::Replace(9, delivery(2, 9, 1)),
            _ => Edit::Keep,
        };
        let edited = rewrite(&root, &file, "b".to_owned(), edit).expect("writes").expect("changed").expect("has rows");
        let mut found = Vec::new();
        read_rows(&root, &[edited], StateKind::Deliveries, |row: Incoming| found.push(key_of(&row))).expect("reads");
        assert_eq!(found, [(2, 9), (3, 0)]);
        let empty = rewrite(&root, &file, "b".to_owned(), |_: &Incoming| Edit::Drop).expect("writes");
        assert_eq!(empty, Some(None));
    }
}
