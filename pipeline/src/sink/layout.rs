//! Layouts: how files become tables. What the layouts have in common is the [`Committer`](super::Committer); what they do
//! differently is a [`TableFiles`].

mod delta;
mod fixed_keys;

use std::collections::BTreeMap;

use bytes::Bytes;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::tables::Table;
use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(super) use self::delta::read_log;
pub(super) use self::delta::{DeltaTables, Holder};
pub(super) use self::fixed_keys::FixedKeys;
use super::encode::{CommitRow, Restatement};
use super::error::CommitError;
use super::manifest::FileEntry;
use super::objects::{Objects, Tag};
use super::root_record::RootRecord;
use super::stage::Staged;

/// How tables are laid out in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Files that never change, whose names hold a hash of their content, and a Delta Lake log per table.
    #[default]
    Delta,
    /// One object per partition under a fixed key, replaced by one PUT, and a manifest per commit.
    Parquet,
}

/// What an object in the folder of a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Rows, under a name the layout gives.
    Data,
    /// Part of the Delta log.
    Log,
    /// Parquet under another name: readers of the folder would count its rows.
    Foreign,
    /// No concern of readers.
    Other,
}

/// Folder of a table's Delta log, below the table.
pub(super) const LOG: &str = "_delta_log";
/// Digits of the content hash in names of layout `delta`: 64 bits, among the files of one partition.
const HASH_DIGITS: usize = 16;

impl Layout {
    /// Its name, as settings have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::Parquet => "parquet",
        }
    }

    /// The name of the file that holds a content, for a file that [`Layout::Parquet`] calls `slot`.
    pub(super) fn file_name(self, slot: &str, sha256: &str) -> String {
        match (self, slot.strip_suffix(".parquet")) {
            (Self::Delta, Some(stem)) => format!("{stem}-{}.parquet", &sha256[..HASH_DIGITS.min(sha256.len())]),
            _ => slot.to_owned(),
        }
    }

    /// What an object below the root is that lies in the folder of a table.
    pub(super) fn kind(self, name: &str) -> Kind {
        let parts: Vec<&str> = name.split('/').collect();
        let file = match parts[..] {
            [_, LOG, ..] => return if self == Self::Delta { Kind::Log } else { Kind::Other },
            [_, file] => file,
            [_, date, file] if date.starts_with("date=") => file,
            _ => "",
        };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_hash = |text: &str| text.len() == HASH_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let stem = file.strip_prefix("part-").and_then(|file| file.strip_suffix(".parquet"));
        let is_data = stem.is_some_and(|stem| match self {
            Self::Parquet => is_number(stem),
            Self::Delta => stem.split_once('-').is_some_and(|(shard, hash)| is_number(shard) && is_hash(hash)),
        });
        match is_data {
            true => Kind::Data,
            false if name.ends_with(".parquet") => Kind::Foreign,
            false => Kind::Other,
        }
    }

    /// Tables whose folders are looked through when a root is opened: files of layout `parquet` that tell the history
    /// are not told apart by a listing.
    pub(super) fn listed(self) -> impl Iterator<Item = Table> {
        Table::all().filter(move |table| self == Self::Delta || !table.is_history())
    }
}

/// Layout of the tables, and what goes with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableLayout {
    /// The layout.
    pub layout: Layout,
    /// For how long files that a commit took out of a table are kept, ms. None are left behind in layout `parquet`.
    pub retention_ms: i64,
}

impl TableLayout {
    /// The layout that a root has, without retention.
    ///
    /// # Errors
    /// Those of the store.
    pub fn of_root(objects: &dyn Objects) -> Result<Self, CommitError> {
        Ok(Self { layout: RootRecord::layout(objects)?, retention_ms: 0 })
    }
}

/// The state that a commit goes from and to; the keys are slots, see [`FileEntry::slot`].
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    /// Files of the last commit.
    pub(super) live: &'a BTreeMap<String, FileEntry>,
    /// Files of this one.
    pub(super) files: &'a BTreeMap<String, FileEntry>,
    /// Those of them that have to be written.
    pub(super) bodies: &'a BTreeMap<String, Staged>,
    /// The store may hold another state than that of the last commit.
    pub(super) is_uncertain: bool,
}

/// What the tables are told before the manifest says that the commit is done.
pub(super) struct Publication<'a> {
    pub(super) commit: u64,
    /// The last commit that is done; 0 for none.
    pub(super) previous: u64,
    pub(super) committed_at_ms: TimeMs,
    pub(super) change: Change<'a>,
    pub(super) restatements: &'a [Restatement],
}

/// What [`TableFiles::write`] did.
pub(super) struct Written {
    /// Versions of the files written, by slot.
    pub(super) tags: BTreeMap<String, Tag>,
    /// Names of the files that are no part of the tables any more.
    pub(super) removed: Vec<String>,
}

/// Makes another content of that of the file of a name, or leaves it.
pub(super) type Edit<'a> = &'a dyn Fn(&str, &Bytes) -> Result<Option<Bytes>, CommitError>;

/// What a layout does with the files of the tables, in the order of a commit.
pub(super) trait TableFiles: Send {
    /// Writes the bodies. May be repeated.
    fn write(&mut self, objects: &dyn Objects, change: Change) -> Result<Written, CommitError>;

    /// Makes what was written the tables, as far as that is not done by writing; writes the restatements. May be
    /// repeated, with another content as long as the manifest is not there.
    fn publish(&mut self, objects: &dyn Objects, publication: &Publication) -> Result<(), CommitError>;

    /// True when the row of a commit is in the table `commits`.
    fn has_row(&self, objects: &dyn Objects, commit: u64) -> Result<bool, CommitError>;

    /// Adds the row of a commit that is done to the table `commits`.
    fn put_row(&mut self, objects: &dyn Objects, row: &CommitRow) -> Result<(), CommitError>;

    /// Replaces the files of `restatements` that `edit` makes something else of; tells how many.
    fn edit_restatements(
        &mut self,
        objects: &dyn Objects,
        commit: u64,
        now_ms: TimeMs,
        edit: Edit,
    ) -> Result<usize, CommitError>;

    /// Removes what no reader needs any more, after a commit. Whatever fails is logged and done the next time.
    fn clean_up(&mut self, objects: &dyn Objects, now_ms: TimeMs);
}
