//! New versions of the logs: what they say, and how they get to where others may write too.

use std::collections::BTreeMap;

use bytes::Bytes;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::tables::Table;

use super::action::{self, Action, Add, CommitInfo, MetaData, PROTOCOL, Txn};
use super::log::TableLog;
use super::statistics::statistics;
use super::{DeltaTables, Holder, NewFile, Wanted, schema};
use crate::sink::error::CommitError;
use crate::sink::fence;
use crate::sink::objects::{Objects, in_parallel};

/// Times a version is tried anew because another stands in its place.
const TRIES: usize = 64;
/// Operation of a version that only moves rows between files.
pub(super) const COMPACTION: &str = "OPTIMIZE";

/// A commit as a log version tells it.
#[derive(Clone, Copy)]
pub(super) struct Stamp {
    pub(super) commit: u64,
    pub(super) at_ms: TimeMs,
    pub(super) operation: &'static str,
}

/// A version about to be created.
struct Pending {
    table: Table,
    name: String,
    version: u64,
    actions: Vec<Action>,
    body: Bytes,
}

impl DeltaTables {
    /// The next version of a log; none when it says already what it should.
    fn pending(
        &self,
        objects: &dyn Objects,
        table: Table,
        wanted: &Wanted,
        stamp: Stamp,
    ) -> Result<Option<Pending>, CommitError> {
        let Some((log, metadata)) = self.logs.get(&table).zip(self.metadata.get(&table)) else { return Ok(None) };
        let mut actions = vec![Action::CommitInfo(self.info(stamp))];
        if log.is_new() {
            actions.push(Action::Protocol(PROTOCOL));
        }
        let created_time = log.metadata.as_ref().map_or(Some(stamp.at_ms), |standing| standing.created_time);
        let metadata = MetaData { created_time, ..metadata.clone() };
        if log.metadata.as_ref() != Some(&metadata) {
            actions.push(Action::MetaData(Box::new(metadata)));
        }
        let is_compaction = stamp.operation == COMPACTION;
        let added: Vec<_> = wanted.iter().filter(|(path, _)| !log.files.contains_key(*path)).collect();
        let removed = log.files.values().filter(|add| !wanted.contains_key(&add.path));
        actions.extend(removed.map(|add| Action::Remove(add.removal(stamp.at_ms, !is_compaction))));
        for (path, file) in added {
            let Some(file) = file else { continue };
            let add = add(objects, log, path, file, stamp)?;
            actions.push(Action::Add(Add { data_change: !is_compaction, ..add }));
        }
        if actions.len() == 1 && !self.is_first {
            return Ok(None);
        }
        if !is_compaction {
            // The row of a commit may come after an attempt at the next one, and a transaction's number never goes back.
            let version = i64::try_from(stamp.commit).unwrap_or(i64::MAX).max(log.transaction(&self.holder.root_id));
            let txn = Txn { app_id: self.holder.root_id.clone(), version, last_updated: Some(stamp.at_ms) };
            actions.insert(1, Action::Txn(txn));
        }
        let (version, body) = (log.next_version(), action::to_lines(&actions).map_err(CommitError::Json)?);
        Ok(Some(Pending { table, name: log.name_of(version), version, actions, body }))
    }

    fn info(&self, stamp: Stamp) -> CommitInfo {
        CommitInfo {
            timestamp: stamp.at_ms,
            operation: stamp.operation.to_owned(),
            operation_parameters: BTreeMap::new(),
            engine_info: concat!("contactflow/", env!("CARGO_PKG_VERSION")).to_owned(),
            generation: Some(self.holder.claim.generation),
            writer_id: Some(self.holder.claim.writer_id.clone()),
        }
    }

    /// Brings logs to what they should say. On an error some of them may be there and others not.
    pub(super) fn bring(
        &mut self,
        objects: &dyn Objects,
        wanted: &BTreeMap<Table, Wanted>,
        stamp: Stamp,
    ) -> Result<(), CommitError> {
        if std::mem::replace(&mut self.is_stale, true) {
            self.logs.values_mut().try_for_each(|log| log.follow(objects))?;
        }
        let mut pending = Vec::new();
        for (&table, wanted) in wanted {
            pending.extend(self.pending(objects, table, wanted, stamp)?);
        }
        let numbered: Vec<(usize, &Pending)> = pending.iter().enumerate().collect();
        let create = |&(number, one): &(usize, &Pending)| {
            objects.put_if_absent(&one.name, one.body.clone()).map(|is_created| (number, is_created))
        };
        let created: BTreeMap<usize, bool> = in_parallel(&numbered, create)?.into_iter().collect();
        for (number, one) in pending.into_iter().enumerate() {
            let log_wanted = &wanted[&one.table];
            self.settle(objects, one, created.get(&number) == Some(&true), log_wanted, stamp)?;
        }
        self.is_stale = false;
        Ok(())
    }

    /// Follows a version that was created, or makes another where one by somebody else stands (invariant 5).
    fn settle(
        &mut self,
        objects: &dyn Objects,
        mut pending: Pending,
        mut is_created: bool,
        wanted: &Wanted,
        stamp: Stamp,
    ) -> Result<(), CommitError> {
        let table = pending.table;
        for _ in 0..TRIES {
            let Some(log) = self.logs.get_mut(&table) else { return Ok(()) };
            if is_created {
                return log.apply(pending.version, pending.actions);
            }
            let Some(standing) = objects.get(&pending.name)? else {
                return Err(log.damaged(&pending.name, "it can neither be created nor read"));
            };
            if standing.body == pending.body {
                return log.apply(pending.version, pending.actions);
            }
            let actions = action::from_lines(&standing.body).map_err(CommitError::Json)?;
            self.holder.stop_for_successor(&actions)?;
            log.apply(pending.version, actions)?;
            fence::check(objects, &self.holder.root_url, &self.holder.claim)?;
            match self.pending(objects, table, wanted, stamp)? {
                Some(next) => pending = next,
                None => return Ok(()),
            }
            is_created = objects.put_if_absent(&pending.name, pending.body.clone())?;
        }
        let problem = "others write to it again and again; one job and no other program may write below an output";
        Err(CommitError::DeltaLog { table: table.name(), name: pending.name, problem: problem.to_owned() })
    }
}

impl Holder {
    /// Fails when a job that claimed the root later wrote the version.
    fn stop_for_successor(&self, actions: &[Action]) -> Result<(), CommitError> {
        let info = actions.iter().find_map(Action::as_commit_info);
        let generation = info.and_then(|info| info.generation).unwrap_or(0);
        if generation <= self.claim.generation {
            return Ok(());
        }
        let by = info.and_then(|info| info.writer_id.as_deref()).unwrap_or("unknown");
        let by = format!("job {by} (generation {generation})");
        Err(CommitError::Fenced { root: self.root_url.clone(), by })
    }
}

/// The action that makes `file` part of its table, with the statistics of its footer.
fn add(objects: &dyn Objects, log: &TableLog, path: &str, file: &NewFile, stamp: Stamp) -> Result<Add, CommitError> {
    let body = match &file.body {
        Some(body) => body.clone(),
        // A file of an earlier commit that the log does not name (any more).
        None => match objects.get(&file.path)? {
            Some(stored) => stored.body,
            None => return Err(log.damaged(&file.path, "the file is gone")),
        },
    };
    let stats = statistics(&body).unwrap_or_else(|error| {
        tracing::warn!(path = file.path, %error, "the statistics of a file cannot be read");
        serde_json::json!({ "numRecords": file.rows }).to_string()
    });
    let date = file.date.iter().map(|date| (schema::DATE.to_owned(), Some(date.clone())));
    Ok(Add {
        path: path.to_owned(),
        partition_values: date.collect(),
        size: i64::try_from(file.bytes).unwrap_or(i64::MAX),
        modification_time: stamp.at_ms,
        data_change: true,
        stats: Some(stats),
    })
}
