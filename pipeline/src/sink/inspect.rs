//! Comparing with what the last commit published, without writing anything: `verify` and `whatif`.
//!
//! Workers hand partitions over as for a commit; nothing is claimed, so a running job is not disturbed. A job that commits
//! meanwhile replaces files under the comparison: what it replaced is reported as damaged, and the next comparison is
//! right again.

use std::collections::BTreeSet;
use std::sync::Arc;

use contactflow_operators::causes::Causes;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::windows::Windows;

use super::encode::Restatement;
use super::error::CommitError;
use super::fence::{self, Claim};
use super::head;
use super::layout::Layout;
use super::manifest::{FileEntry, Manifest};
use super::objects::{ObjectError, Objects, in_parallel};
use super::restate::{Change, Restater};
use super::stage::{PartitionWriter, sha256_hex};

/// What a comparison found. Partitions are told by their [slot](FileEntry::slot).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inspection {
    /// Partitions compared.
    pub partitions: usize,
    /// Computed otherwise than published.
    pub differing: Vec<String>,
    /// Computed, and not published.
    pub unpublished: Vec<String>,
    /// Published, and not computed.
    pub uncomputed: Vec<String>,
    /// Files that were published, and of which the store holds something else now, or nothing.
    pub damaged: Vec<String>,
    /// The KPI values that differ, as many as a commit would tell.
    pub cells: Vec<Restatement>,
    /// How many KPI values differ.
    pub cells_count: u64,
}

impl Inspection {
    /// True when what is published is what was computed.
    pub fn is_clean(&self) -> bool {
        let lists = [&self.differing, &self.unpublished, &self.uncomputed, &self.damaged];
        lists.into_iter().all(Vec::is_empty)
    }
}

/// The newest commit below a root; none where there is none.
///
/// # Errors
/// Those of reading the root.
pub fn last_commit(objects: &dyn Objects, root_url: &str) -> Result<Option<Manifest>, CommitError> {
    head::newest_manifest(objects, root_url)
}

/// The claim that holds a root; none where nobody ever wrote.
///
/// # Errors
/// Those of reading the root.
pub fn holder(objects: &dyn Objects) -> Result<Option<Claim>, CommitError> {
    match fence::generations(objects)?.last() {
        Some(&generation) => fence::read(objects, generation),
        None => Ok(None),
    }
}

/// The last commit below a root, to compare with.
pub struct Inspector {
    objects: Arc<dyn Objects>,
    manifest: Manifest,
    writer: PartitionWriter,
    restater: Restater,
}

impl Inspector {
    /// Compares with the commit of `manifest`. Once that is restored, `causes` is to be told that everything is published,
    /// so that every change is explained.
    pub fn new(objects: Arc<dyn Objects>, manifest: Manifest, causes: Causes, windows: Windows) -> Self {
        let mut restater = Restater::new(causes, windows);
        restater.resume(Some(&manifest));
        let writer = PartitionWriter::new(Layout::default(), Default::default());
        Self { objects, manifest, writer, restater }
    }

    /// The last commit.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// A handle through which workers hand over partitions.
    pub fn writer(&self) -> PartitionWriter {
        self.writer.clone()
    }

    /// Compares what was handed over, the whole state of all tables, with what is published.
    ///
    /// # Errors
    /// Those of the store.
    pub fn compare(&mut self) -> Result<Inspection, CommitError> {
        let live = self.manifest.by_slot();
        let stage = self.writer.lock();
        let (files, bodies) = (stage.entries.clone(), stage.bodies.clone());
        drop(stage);
        let slots: BTreeSet<&String> = live.keys().chain(files.keys()).collect();
        let mut found = Inspection { partitions: slots.len(), ..Inspection::default() };
        for slot in slots {
            match (live.get(slot), files.get(slot)) {
                (Some(published), Some(computed)) if published.sha256 != computed.sha256 => {
                    found.differing.push(slot.clone());
                }
                (Some(_), None) => found.uncomputed.push(slot.clone()),
                (None, Some(_)) => found.unpublished.push(slot.clone()),
                _ => {}
            }
        }
        let published: Vec<&FileEntry> = live.values().collect();
        let damaged = in_parallel(&published, |entry| self.is_damaged(entry).map(|is| is.then(|| entry.path.clone())))?;
        found.damaged = damaged.into_iter().flatten().collect();
        found.damaged.sort_unstable();
        // Every window counts as closed, so that every value that differs is told.
        let previous = Manifest { as_of_ms: Some(TimeMs::MAX), ..self.manifest.clone() };
        let change = Change { previous: &previous, live: &live, files: &files, bodies: &bodies };
        let restated = self.restater.restate(&*self.objects, &change);
        (found.cells, found.cells_count) = (restated.rows, restated.cells);
        Ok(found)
    }

    fn is_damaged(&self, entry: &FileEntry) -> Result<bool, ObjectError> {
        let stored = self.objects.get(&entry.path)?;
        Ok(stored.is_none_or(|stored| sha256_hex(&stored.body) != entry.sha256))
    }
}
