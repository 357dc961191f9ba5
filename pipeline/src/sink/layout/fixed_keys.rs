//! Layout `parquet`: one object per partition under a fixed key, replaced by one PUT.
//!
//! Order: files that only lost rows, deletes, all other files. Together with [`RowMoves`] this keeps a row from being in
//! two files at any moment. Between two PUTs a plain listing may see one partition before and another after the commit;
//! readers that need one picture read the files of a manifest.
//!
//! What remains: a zombie that passes the fence check and is paused just before a PUT can still finish the requests it
//! has begun, since an unconditional PUT cannot be called back. The next start repairs those files; a file of
//! `restatements` that it replaces stays as it is, and so does one that its heir replaces before the zombie's manifest.

use std::collections::BTreeSet;

use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::tables::Table;

use super::{Change, Edit, Publication, TableFiles, Written};
use crate::sink::encode::{CommitRow, encode_commit, encode_restatements};
use crate::sink::error::CommitError;
use crate::sink::history::history_slot;
use crate::sink::objects::{Objects, in_parallel};
use crate::sink::stage::{RowMoves, Staged};

/// The tables of layout `parquet`.
pub(in crate::sink) struct FixedKeys {
    /// Data files that may be in the store: those listed at the start and every one written since.
    present: BTreeSet<String>,
}

impl FixedKeys {
    pub(in crate::sink) fn new(listed: impl Iterator<Item = String>) -> Self {
        Self { present: listed.collect() }
    }
}

impl TableFiles for FixedKeys {
    fn write(&mut self, objects: &dyn Objects, change: Change) -> Result<Written, CommitError> {
        let Change { files, bodies, is_uncertain, .. } = change;
        let removed: Vec<String> = self.present.iter().filter(|path| !files.contains_key(*path)).cloned().collect();
        let moves = |staged: &Staged| match staged.moves {
            Some(_) if is_uncertain => RowMoves::Unknown,
            // Rows that cannot move: any place in the order is right.
            None => RowMoves::NoneOut,
            Some(moves) => moves,
        };
        let (first, last): (Vec<_>, Vec<_>) = bodies.iter().partition(|(_, staged)| moves(staged) == RowMoves::NoneIn);
        let replaced = last.iter().filter(|(_, staged)| moves(staged) == RowMoves::Unknown).map(|(path, _)| *path);
        let replaced = replaced.filter(|path| self.present.contains(*path));
        let deleted: Vec<String> = removed.iter().chain(replaced).cloned().collect();

        self.present.extend(bodies.keys().cloned());
        let put = |&(path, staged): &(&String, &Staged)| {
            objects.put(path, staged.body.clone()).map(|tag| (path.clone(), tag))
        };
        let mut tags = in_parallel(&first, put)?;
        in_parallel(&deleted, |path| objects.delete(path))?;
        tags.extend(in_parallel(&last, put)?);
        for path in &removed {
            self.present.remove(path);
        }
        Ok(Written { tags: tags.into_iter().collect(), removed })
    }

    /// The restatements of a commit that is not done yet: a file without a manifest of its number is of a commit that
    /// was not finished, and the next attempt replaces or deletes it.
    fn publish(&mut self, objects: &dyn Objects, publication: &Publication) -> Result<(), CommitError> {
        let Publication { commit, restatements, change, .. } = *publication;
        let path = history_slot(Table::Restatements, commit);
        if !restatements.is_empty() {
            objects.put(&path, encode_restatements(commit, restatements)?)?;
        } else if change.is_uncertain && objects.get(&path)?.is_some() {
            objects.delete(&path)?;
        }
        Ok(())
    }

    fn has_row(&self, objects: &dyn Objects, commit: u64) -> Result<bool, CommitError> {
        Ok(objects.get(&history_slot(Table::Commits, commit))?.is_some())
    }

    fn put_row(&mut self, objects: &dyn Objects, row: &CommitRow) -> Result<(), CommitError> {
        objects.put(&history_slot(Table::Commits, row.commit as u64), encode_commit(row)?)?;
        Ok(())
    }

    fn edit_restatements(
        &mut self,
        objects: &dyn Objects,
        _: u64,
        _: TimeMs,
        edit: Edit,
    ) -> Result<usize, CommitError> {
        let mut edited = 0;
        for object in objects.list(Table::Restatements.name())? {
            let Some(stored) = objects.get(&object.name)? else { continue };
            if let Some(body) = edit(&object.name, &stored.body)? {
                objects.put(&object.name, body)?;
                edited += 1;
            }
        }
        Ok(edited)
    }

    fn clean_up(&mut self, _: &dyn Objects, _: TimeMs) {}
}
