//! The history tables in layout `delta`: a file per commit, merged when they are many.

use std::collections::BTreeMap;

use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::tables::Table;

use super::log::TableLog;
use super::version::{COMPACTION, Stamp};
use super::{DeltaTables, Wanted, below_table};
use crate::sink::encode::concatenate;
use crate::sink::error::CommitError;
use crate::sink::objects::Objects;

/// Small files of a history table from which on they are merged.
const FILES_MAX: usize = 64;
/// Size of a merged file at most, bytes; larger files are left alone.
const MERGED_BYTES_MAX: i64 = 128 << 20;

/// The last commit whose rows a file of a history table holds.
pub(super) fn number_of(path: &str) -> Option<u64> {
    path.strip_prefix("part-")?.split_once('-')?.0.parse().ok()
}

/// Files of a history table with rows of commits up to `commit`.
pub(super) fn standing_history(log: &TableLog, commit: u64) -> impl Iterator<Item = String> {
    let is_standing = move |path: &&String| number_of(path).is_some_and(|number| number <= commit);
    log.files.keys().filter(is_standing).cloned()
}

impl DeltaTables {
    /// Merges the small files of the history tables. Readers see the same rows before and after.
    pub(super) fn compact(&mut self, objects: &dyn Objects, now_ms: TimeMs) -> Result<(), CommitError> {
        for table in [Table::Commits, Table::Restatements] {
            let Some(log) = self.logs.get(&table) else { continue };
            // Names sort by the number of the commit.
            let small = log.files.values().filter(|add| add.size < MERGED_BYTES_MAX);
            let mut left = MERGED_BYTES_MAX;
            let merged = small.map_while(|add| {
                left -= add.size;
                (left >= 0).then(|| add.path.clone())
            });
            let merged: Vec<String> = merged.collect();
            if merged.len() >= FILES_MAX {
                self.merge(objects, table, &merged, now_ms)?;
            }
        }
        Ok(())
    }

    fn merge(
        &mut self,
        objects: &dyn Objects,
        table: Table,
        merged: &[String],
        now_ms: TimeMs,
    ) -> Result<(), CommitError> {
        let (Some(log), Some(commit)) = (self.logs.get(&table), merged.last().and_then(|path| number_of(path))) else {
            return Ok(());
        };
        let mut wanted: Wanted = log.files.keys().map(|path| (path.clone(), None)).collect();
        let mut bodies = Vec::with_capacity(merged.len());
        for path in merged {
            let name = format!("{}/{path}", table.name());
            let Some(stored) = objects.get(&name)? else { return Err(log.damaged(&name, "the file is gone")) };
            bodies.push(stored.body);
            wanted.remove(path);
        }
        // Files of an earlier schema stay as they are.
        let Some((rows, body)) = concatenate(table, bodies)? else { return Ok(()) };
        let file = self.put_history(objects, table, commit, rows, body)?;
        wanted.insert(below_table(&file.path).to_owned(), Some(file));
        let stamp = Stamp { commit, at_ms: now_ms, operation: COMPACTION };
        self.bring(objects, &BTreeMap::from([(table, wanted)]), stamp)
    }
}
