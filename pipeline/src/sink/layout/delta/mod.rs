//! Layout `delta`: files that never change, and a Delta Lake log per table that says which of them are the table
//! ([decision 0004](../../../../decisions/0004-delta-layout.md)).
//!
//! Invariants:
//! 1. The name of a data file holds a hash of its content. A file is written once; writing it again changes nothing.
//! 2. A version of a log is created only where there is none, so each has one writer, and a reader sees a commit of a
//!    table whole or not at all. It carries the transaction (root, commit).
//! 3. Whatever a log says, the next commit ends with what it should say: a version holds the difference between the files
//!    the log names and those of the commit. So a commit that broke off between two logs is finished or undone by the
//!    next one, and a table that has the commit already is left alone.
//! 4. The first commit of a run writes a version to every log, changed or not. A job that lost the root knows an older
//!    last version of each log, so from then on it cannot add one: the version it tries is there already, it looks at the
//!    fence and stops.
//! 5. A version that stands where this job wanted to write its own is its own, when the bytes are the same (the reply was
//!    lost); that of a successor, when its generation is higher (this job stops); otherwise that of a predecessor or of
//!    another program: it is followed, the fence is asked again, and the difference is made anew (invariant 3).
//! 6. A file is deleted when no log names it, and none did for the time of the retention.
//!
//! What remains: a zombie that was paused just before a DELETE of a file that left its table may finish it after its
//! successor has made a file of the same content, and so of the same name, part of the table again. Readers then miss the
//! file until the next start, which finds it gone and writes it.
//! A zombie whose manifest comes after its heir has published the same commit, and before the heir's own manifest, leaves that
//! commit with the restatements of the heir's attempt.

mod action;
mod checkpoint;
mod history;
mod log;
mod schema;
mod statistics;
mod version;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::tables::Table;

use self::action::{Format, MetaData};
use self::history::{number_of, standing_history};
use self::log::TableLog;
use self::version::Stamp;
use super::{Change, Edit, Layout, Publication, TableFiles, Written};
use crate::sink::encode::{CommitRow, EncodeError, encode_commit, encode_restatements};
use crate::sink::error::CommitError;
use crate::sink::fence::{self, Claim};
use crate::sink::history::history_slot;
use crate::sink::manifest::FileEntry;
use crate::sink::objects::{Objects, in_parallel};
use crate::sink::root_record::uuid_of;
use crate::sink::stage::sha256_hex;

/// For how long log versions are kept at least, ms: a reader that has begun goes on.
const LOG_KEPT_MS_MIN: i64 = 60 * 60 * 1000;

/// Who writes.
#[derive(Clone)]
pub(in crate::sink) struct Holder {
    pub(in crate::sink) root_id: String,
    pub(in crate::sink) root_url: String,
    pub(in crate::sink) claim: Claim,
}

/// The tables of layout `delta`.
pub(in crate::sink) struct DeltaTables {
    holder: Holder,
    retention_ms: i64,
    logs: BTreeMap<Table, TableLog>,
    /// Schema and properties that the tables shall have.
    metadata: BTreeMap<Table, MetaData>,
    /// Data files that may be in the store, by name below the root.
    present: BTreeSet<String>,
    /// Logs may have versions by this job that it does not know of.
    is_stale: bool,
    /// No commit of this run has reached every log.
    is_first: bool,
}

/// The files that a table shall have, by name below its folder; none where the log has it already.
type Wanted = BTreeMap<String, Option<NewFile>>;

/// A file that may be new to a log.
struct NewFile {
    /// Name below the root.
    path: String,
    date: Option<String>,
    rows: u64,
    bytes: u64,
    /// Its content, where that is at hand.
    body: Option<Bytes>,
}

/// The name below the folder of its table.
fn below_table(path: &str) -> &str {
    path.split_once('/').map_or(path, |(_, rest)| rest)
}

impl DeltaTables {
    /// Reads every log. `listed` are the data files and `logs` the files of logs by a listing.
    pub(in crate::sink) fn open(
        objects: &dyn Objects,
        holder: Holder,
        retention_ms: i64,
        listed: impl Iterator<Item = String>,
        logs: &[String],
    ) -> Result<Self, CommitError> {
        let tables: Vec<Table> = Table::all().collect();
        let of = |table: &Table| {
            let folder = format!("{}/", table.name());
            TableLog::read(objects, *table, logs.iter().filter(|name| name.starts_with(&folder)))
        };
        let read = in_parallel(&tables, |table| Ok(of(table)))?;
        let read = read.into_iter().map(|log| log.map(|log| (log.table, log)));
        let metadata = tables.iter().map(|&table| Ok((table, wanted_metadata(&holder, table, retention_ms)?)));
        Ok(Self {
            logs: read.collect::<Result<_, CommitError>>()?,
            metadata: metadata.collect::<Result<_, EncodeError>>()?,
            present: listed.collect(),
            holder,
            retention_ms,
            is_stale: false,
            is_first: true,
        })
    }

    /// The files every table shall have after a commit; writes its restatements.
    fn wanted(
        &mut self,
        objects: &dyn Objects,
        publication: &Publication,
    ) -> Result<BTreeMap<Table, Wanted>, CommitError> {
        let Publication { commit, previous, change: Change { files, bodies, .. }, restatements, .. } = *publication;
        let mut wanted: BTreeMap<&str, Wanted> = Table::all().map(|table| (table.name(), Wanted::new())).collect();
        for (slot, entry) in files {
            let body = bodies.get(slot).map(|staged| staged.body.clone());
            let file = new_file(entry, body);
            let table = wanted.entry(&entry.table).or_default();
            table.insert(below_table(&entry.path).to_owned(), Some(file));
        }
        for table in [Table::Commits, Table::Restatements] {
            let standing = self.logs.get(&table).into_iter().flat_map(|log| standing_history(log, previous));
            wanted.entry(table.name()).or_default().extend(standing.map(|path| (path, None)));
        }
        if !restatements.is_empty() {
            let body = encode_restatements(commit, restatements)?;
            let file = self.put_history(objects, Table::Restatements, commit, restatements.len() as u64, body)?;
            let table = wanted.entry(Table::Restatements.name()).or_default();
            table.insert(below_table(&file.path).to_owned(), Some(file));
        }
        Ok(Table::all().filter_map(|table| Some((table, wanted.remove(table.name())?))).collect())
    }

    fn put_history(
        &mut self,
        objects: &dyn Objects,
        table: Table,
        commit: u64,
        rows: u64,
        body: Bytes,
    ) -> Result<NewFile, CommitError> {
        let path = Layout::Delta.file_name(&history_slot(table, commit), &sha256_hex(&body));
        self.present.insert(path.clone());
        objects.put(&path, body.clone())?;
        Ok(NewFile { path, date: None, rows, bytes: body.len() as u64, body: Some(body) })
    }

    /// Deletes the data files that no log names and no reader of an earlier version needs.
    fn vacuum(&mut self, objects: &dyn Objects, now_ms: TimeMs) -> Result<(), CommitError> {
        let named: BTreeMap<&str, &TableLog> = self.logs.values().map(|log| (log.table.name(), log)).collect();
        let is_needed = |path: &str| {
            let Some((table, below)) = path.split_once('/') else { return true };
            let log = named.get(table);
            log.is_none_or(|log| log.files.contains_key(below) || log.keeps(below, now_ms, self.retention_ms))
        };
        let outdated: Vec<String> = self.present.iter().filter(|path| !is_needed(path)).cloned().collect();
        if outdated.is_empty() {
            return Ok(());
        }
        fence::check(objects, &self.holder.root_url, &self.holder.claim)?;
        in_parallel(&outdated, |path| objects.delete(path))?;
        outdated.iter().for_each(|path| _ = self.present.remove(path));
        Ok(())
    }

    /// Writes the checkpoints that are due, and deletes what of the logs is older than their retention.
    fn tidy_logs(&mut self, objects: &dyn Objects, now_ms: TimeMs) -> Result<(), CommitError> {
        let kept_ms = self.retention_ms.max(LOG_KEPT_MS_MIN);
        let mut outdated = Vec::new();
        for log in self.logs.values_mut().filter(|log| log.is_checkpoint_due()) {
            log.put_checkpoint(objects, now_ms, self.retention_ms)?;
            outdated.extend(log.outdated(now_ms - kept_ms, now_ms));
        }
        in_parallel(&outdated, |name| objects.delete(name))?;
        Ok(())
    }
}

/// A log as it is found without a listing.
#[cfg(test)]
pub(in crate::sink) fn read_log(objects: &dyn Objects, table: Table) -> Result<TableLog, CommitError> {
    TableLog::read(objects, table, std::iter::empty())
}

fn new_file(entry: &FileEntry, body: Option<Bytes>) -> NewFile {
    let FileEntry { path, date, rows, bytes, .. } = entry.clone();
    NewFile { path, date, rows, bytes, body }
}

fn wanted_metadata(holder: &Holder, table: Table, retention_ms: i64) -> Result<MetaData, EncodeError> {
    let interval = |ms: i64| format!("interval {} seconds", ms / 1000);
    let configuration = [
        ("delta.deletedFileRetentionDuration", interval(retention_ms)),
        ("delta.logRetentionDuration", interval(retention_ms.max(LOG_KEPT_MS_MIN))),
    ];
    Ok(MetaData {
        id: uuid_of(&format!("{}\n{}", holder.root_id, table.name())),
        name: Some(table.name().to_owned()),
        description: None,
        format: Format { provider: "parquet".to_owned(), options: BTreeMap::new() },
        schema_string: schema::schema_string(table)?,
        partition_columns: schema::partition_columns(table),
        configuration: configuration.map(|(key, value)| (key.to_owned(), value)).into(),
        created_time: None,
    })
}

impl TableFiles for DeltaTables {
    fn write(&mut self, objects: &dyn Objects, change: Change) -> Result<Written, CommitError> {
        let Change { live, files, bodies, .. } = change;
        let named: BTreeSet<&str> = files.values().map(|file| file.path.as_str()).collect();
        let removed =
            live.values().map(|file| file.path.clone()).filter(|path| !named.contains(path.as_str())).collect();
        let put: Vec<_> = bodies.iter().filter_map(|(slot, staged)| Some((slot, files.get(slot)?, staged))).collect();
        self.present.extend(put.iter().map(|(_, file, _)| file.path.clone()));
        let tags = in_parallel(&put, |(slot, file, staged)| {
            objects.put(&file.path, staged.body.clone()).map(|tag| ((*slot).clone(), tag))
        })?;
        Ok(Written { tags: tags.into_iter().collect(), removed })
    }

    fn publish(&mut self, objects: &dyn Objects, publication: &Publication) -> Result<(), CommitError> {
        if self.is_stale {
            self.logs.values_mut().try_for_each(|log| log.follow(objects))?;
        }
        let wanted = self.wanted(objects, publication)?;
        let stamp = Stamp { commit: publication.commit, at_ms: publication.committed_at_ms, operation: "WRITE" };
        self.bring(objects, &wanted, stamp)?;
        self.is_first = false;
        Ok(())
    }

    fn has_row(&self, _: &dyn Objects, commit: u64) -> Result<bool, CommitError> {
        // Rows are added in the order of the commits.
        let log = self.logs.get(&Table::Commits);
        Ok(log.is_some_and(|log| log.files.keys().filter_map(|path| number_of(path)).any(|number| number >= commit)))
    }

    fn put_row(&mut self, objects: &dyn Objects, row: &CommitRow) -> Result<(), CommitError> {
        let (table, commit) = (Table::Commits, row.commit as u64);
        let file = self.put_history(objects, table, commit, 1, encode_commit(row)?)?;
        let standing = self.logs.get(&table).into_iter().flat_map(|log| standing_history(log, commit));
        let mut wanted: Wanted = standing.map(|path| (path, None)).collect();
        wanted.retain(|path, _| number_of(path) != Some(commit));
        wanted.insert(below_table(&file.path).to_owned(), Some(file));
        let stamp = Stamp { commit, at_ms: row.committed_at_ms, operation: "WRITE" };
        self.bring(objects, &BTreeMap::from([(table, wanted)]), stamp)
    }

    fn edit_restatements(
        &mut self,
        objects: &dyn Objects,
        commit: u64,
        now_ms: TimeMs,
        edit: Edit,
    ) -> Result<usize, CommitError> {
        let table = Table::Restatements;
        let Some(log) = self.logs.get(&table) else { return Ok(0) };
        let mut wanted = Wanted::new();
        for path in log.files.keys().cloned().collect::<Vec<_>>() {
            let name = format!("{}/{path}", table.name());
            let edited = match objects.get(&name)? {
                Some(stored) => edit(&name, &stored.body)?,
                None => None,
            };
            let Some((body, number)) = edited.zip(number_of(&path)) else {
                wanted.insert(path, None);
                continue;
            };
            let file = self.put_history(objects, table, number, 0, body)?;
            wanted.insert(below_table(&file.path).to_owned(), Some(file));
        }
        let edited = wanted.values().flatten().count();
        if edited > 0 {
            let stamp = Stamp { commit, at_ms: now_ms, operation: "UPDATE" };
            self.bring(objects, &BTreeMap::from([(table, wanted)]), stamp)?;
        }
        Ok(edited)
    }

    fn clean_up(&mut self, objects: &dyn Objects, now_ms: TimeMs) {
        let outcome = self
            .compact(objects, now_ms)
            .and_then(|()| self.tidy_logs(objects, now_ms))
            .and_then(|()| self.vacuum(objects, now_ms));
        if let Err(error) = outcome {
            tracing::warn!(%error, "what no reader needs any more stays until the next commit");
        }
    }
}
