//! The Delta log of one table, as far as it was followed.

use std::collections::{BTreeMap, BTreeSet};

use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::tables::Table;

use super::action::{self, Action, Add, MetaData, PROTOCOL, Remove, Txn};
use super::checkpoint::{self, LastCheckpoint};
use crate::sink::error::CommitError;
use crate::sink::layout::LOG;
use crate::sink::objects::Objects;

/// Versions from one checkpoint to the next.
const CHECKPOINT_VERSIONS: u64 = 10;

/// What a log says the table is.
pub(in crate::sink) struct TableLog {
    pub(super) table: Table,
    /// The last version that was read or written; none before the table exists.
    version: Option<u64>,
    pub(super) metadata: Option<MetaData>,
    txns: BTreeMap<String, Txn>,
    /// Files of the table, by name below its folder.
    pub(in crate::sink) files: BTreeMap<String, Add>,
    /// Files that left it and are kept for readers of earlier versions.
    removed: BTreeMap<String, Remove>,
    /// Checkpoints in the store.
    checkpoints: BTreeSet<u64>,
    /// Versions in the store and when they were written, as far as that is known.
    versions: BTreeMap<u64, Option<TimeMs>>,
}

impl TableLog {
    /// Reads the log from its last checkpoint on. `listed` are the objects in its folder by a listing, which may be out of
    /// date: it only says where to begin.
    ///
    /// # Errors
    /// [`CommitError::DeltaLog`] when another program changed the table in a way this one does not know; those of the
    /// store.
    pub(super) fn read<'a>(
        objects: &dyn Objects,
        table: Table,
        listed: impl Iterator<Item = &'a String>,
    ) -> Result<Self, CommitError> {
        let mut log = Self {
            table,
            version: None,
            metadata: None,
            txns: BTreeMap::new(),
            files: BTreeMap::new(),
            removed: BTreeMap::new(),
            checkpoints: BTreeSet::new(),
            versions: BTreeMap::new(),
        };
        for name in listed.filter_map(|name| name.rsplit('/').next()) {
            let number = |ending| name.strip_suffix(ending).and_then(|digits: &str| digits.parse().ok());
            log.checkpoints.extend(number(".checkpoint.parquet"));
            log.versions.extend(number(".json").map(|version| (version, None)));
        }
        if let Some(stored) = objects.get(&log.name("_last_checkpoint"))? {
            let last: LastCheckpoint = serde_json::from_slice(&stored.body).map_err(CommitError::Json)?;
            log.checkpoints.insert(last.version);
        }
        for version in log.checkpoints.clone().into_iter().rev() {
            if log.read_checkpoint(objects, version)? {
                break;
            }
            log.checkpoints.remove(&version);
        }
        log.follow(objects)?;
        if log.version.is_none() && !log.versions.is_empty() {
            return Err(log.damaged("00000000000000000000.json", "the log has lost its beginning"));
        }
        Ok(log)
    }

    fn read_checkpoint(&mut self, objects: &dyn Objects, version: u64) -> Result<bool, CommitError> {
        let name = self.checkpoint_name(version);
        let Some(stored) = objects.get(&name)? else { return Ok(false) };
        let actions = checkpoint::decode(stored.body).map_err(|problem| self.damaged(&name, &problem))?;
        self.apply(version, actions)?;
        Ok(true)
    }

    /// Reads the versions that others have written since.
    pub(super) fn follow(&mut self, objects: &dyn Objects) -> Result<(), CommitError> {
        while let Some(stored) = objects.get(&self.name_of(self.next_version()))? {
            let actions = action::from_lines(&stored.body).map_err(CommitError::Json)?;
            self.apply(self.next_version(), actions)?;
        }
        Ok(())
    }

    /// Number of the last transaction of an application; 0 before the first.
    pub(super) fn transaction(&self, app_id: &str) -> i64 {
        self.txns.get(app_id).map_or(0, |txn| txn.version)
    }

    /// Makes a version of the log the last one.
    pub(super) fn apply(&mut self, version: u64, actions: Vec<Action>) -> Result<(), CommitError> {
        let mut written_ms = None;
        for action in actions {
            match action {
                Action::CommitInfo(info) => written_ms = Some(info.timestamp),
                Action::Protocol(protocol) if protocol == PROTOCOL => {}
                Action::Protocol(_) => {
                    return Err(self.damaged(&self.name_of(version), "another program raised the protocol"));
                }
                Action::MetaData(metadata) => self.metadata = Some(*metadata),
                Action::Txn(txn) => _ = self.txns.insert(txn.app_id.clone(), txn),
                Action::Add(add) => {
                    self.removed.remove(&add.path);
                    self.files.insert(add.path.clone(), add);
                }
                Action::Remove(remove) => {
                    self.files.remove(&remove.path);
                    self.removed.insert(remove.path.clone(), remove);
                }
            }
        }
        self.version = Some(version);
        self.versions.insert(version, written_ms);
        Ok(())
    }

    /// The version that comes next.
    pub(in crate::sink) fn next_version(&self) -> u64 {
        self.version.map_or(0, |version| version + 1)
    }

    /// True before the first version.
    pub(super) fn is_new(&self) -> bool {
        self.version.is_none()
    }

    /// True when the file is kept for readers of earlier versions.
    pub(super) fn keeps(&self, path: &str, now_ms: TimeMs, retention_ms: i64) -> bool {
        self.removed.get(path).is_some_and(|remove| is_kept(remove, now_ms, retention_ms))
    }

    /// True when so many versions were written since the last checkpoint that the next is due.
    pub(super) fn is_checkpoint_due(&self) -> bool {
        let since = self.checkpoints.last().map_or(0, |last| last + 1);
        self.next_version() >= since + CHECKPOINT_VERSIONS
    }

    /// Writes a checkpoint of the last version.
    pub(super) fn put_checkpoint(
        &mut self,
        objects: &dyn Objects,
        now_ms: TimeMs,
        retention_ms: i64,
    ) -> Result<(), CommitError> {
        let Some(version) = self.version else { return Ok(()) };
        self.removed.retain(|_, remove| is_kept(remove, now_ms, retention_ms));
        let metadata = self.metadata.iter().map(|metadata| Action::MetaData(Box::new(metadata.clone())));
        let actions: Vec<Action> = std::iter::once(Action::Protocol(PROTOCOL))
            .chain(metadata)
            .chain(self.txns.values().cloned().map(Action::Txn))
            .chain(self.files.values().cloned().map(Action::Add))
            .chain(self.removed.values().cloned().map(Action::Remove))
            .collect();
        objects.put(&self.checkpoint_name(version), checkpoint::encode(&actions)?)?;
        let last = LastCheckpoint { version, size: actions.len() as u64 };
        let body = serde_json::to_vec(&last).map_err(CommitError::Json)?;
        objects.put(&self.name("_last_checkpoint"), body.into())?;
        self.checkpoints.insert(version);
        Ok(())
    }

    /// Takes the objects of the log out that nobody needs who reads a version of the time since `since_ms`: everything
    /// before the newest checkpoint that was written by then. Versions of an unknown time count as written now.
    pub(super) fn outdated(&mut self, since_ms: TimeMs, now_ms: TimeMs) -> Vec<String> {
        let written: BTreeMap<u64, TimeMs> =
            self.versions.iter_mut().map(|(&version, at)| (version, *at.get_or_insert(now_ms))).collect();
        let is_old = |version: &&u64| written.get(*version).is_some_and(|&at_ms| at_ms <= since_ms);
        let Some(first) = self.checkpoints.iter().rev().find(is_old).copied() else {
            return Vec::new();
        };
        let (checkpoints, versions) = (self.checkpoints.split_off(&first), self.versions.split_off(&first));
        let (checkpoints, versions) =
            (std::mem::replace(&mut self.checkpoints, checkpoints), std::mem::replace(&mut self.versions, versions));
        let checkpoints = checkpoints.into_iter().map(|version| self.checkpoint_name(version));
        checkpoints.chain(versions.into_keys().map(|version| self.name_of(version))).collect()
    }

    fn name(&self, file: &str) -> String {
        format!("{}/{LOG}/{file}", self.table.name())
    }

    /// Name of a version below the root.
    pub(super) fn name_of(&self, version: u64) -> String {
        self.name(&format!("{version:020}.json"))
    }

    fn checkpoint_name(&self, version: u64) -> String {
        self.name(&format!("{version:020}.checkpoint.parquet"))
    }

    pub(super) fn damaged(&self, name: &str, problem: &str) -> CommitError {
        CommitError::DeltaLog { table: self.table.name(), name: name.to_owned(), problem: problem.to_owned() }
    }
}

fn is_kept(remove: &Remove, now_ms: TimeMs, retention_ms: i64) -> bool {
    now_ms - remove.deletion_timestamp.unwrap_or(now_ms) < retention_ms
}
