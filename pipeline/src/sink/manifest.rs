//! What a commit leaves behind for the next one, and for people: [`Manifest`].

use std::collections::BTreeMap;

use contactflow_schemas::clock::{TimeMs, date_string};
use contactflow_schemas::rules::KpiRules;
use contactflow_schemas::tables::Table;
use serde::{Deserialize, Serialize};

use super::encode::ModelIds;
use crate::state::StateFile;

/// Version of the manifest this program writes, and the newest it reads. Version 1 knows no state.
pub const FORMAT_VERSION: u32 = 2;
/// Folder of the manifests below the root.
pub(super) const MANIFESTS: &str = "_contactflow/manifests";

/// One file of a table: a day, or the whole table where it has no dates, and a shard of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The table.
    pub table: Table,
    /// Days since 1970-01-01; none in a table without dates (`rejected_events`).
    pub day: Option<i32>,
    /// Shard of the table's keys; the number of shards never changes under one root.
    pub shard: u32,
}

impl Partition {
    /// A day of a table.
    pub fn of_day(table: Table, day: i32, shard: u32) -> Self {
        Self { table, day: Some(day), shard }
    }

    /// A table that is not cut by day.
    pub fn undated(table: Table, shard: u32) -> Self {
        Self { table, day: None, shard }
    }

    /// What it is known by: `<table>/date=YYYY-MM-DD/part-<shard>.parquet`, without the date folder for a table without
    /// dates. In layout `parquet` this is the name of its file below the root.
    pub fn slot(&self) -> String {
        slot(self.table.name(), self.day.map(date_string).as_deref(), self.shard)
    }
}

fn slot(table: &str, date: Option<&str>, shard: u32) -> String {
    match date {
        Some(date) => format!("{table}/date={date}/part-{shard}.parquet"),
        None => format!("{table}/part-{shard}.parquet"),
    }
}

/// A live data file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Name below the root.
    pub path: String,
    /// Table.
    pub table: String,
    /// `YYYY-MM-DD`; none in a table without dates.
    pub date: Option<String>,
    /// Shard.
    pub shard: u32,
    /// Rows in it.
    pub rows: u64,
    /// Its size, bytes.
    pub bytes: u64,
    /// SHA-256 of its content, hexadecimal.
    pub sha256: String,
    /// Version the store gave it (ETag): a file whose version is another now was written by somebody else since.
    pub tag: Option<String>,
}

impl FileEntry {
    /// The partition it holds, see [`Partition::slot`].
    pub fn slot(&self) -> String {
        slot(&self.table, self.date.as_deref(), self.shard)
    }
}

/// An input file that was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its name.
    pub name: String,
    /// Its size, bytes.
    pub bytes: u64,
    /// Version the store gives it (ETag or time of change), where it gives one.
    pub version: Option<String>,
    /// Rows read of it.
    pub rows: u64,
    /// Model that was asked about its texts; empty when none was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model_id: String,
    /// Candidate that was asked too; empty when none was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub candidate_id: String,
}

/// What the content of the tables depends on besides the events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PublishedSettings {
    /// Thresholds and time zone of the KPIs.
    pub kpi: KpiRules,
    /// The KPI tables, by name; none means all.
    pub kpi_tables: Vec<String>,
    /// Model that scored the texts; empty with inference off.
    pub model_id: String,
    /// Model whose scores are shown beside; empty without one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub candidate_id: String,
    /// Conversations have a quality score.
    pub with_quality: bool,
    /// They have one by the candidate.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub candidate_with_quality: bool,
    /// What computed them: the version of the program and a hash of the tables' columns.
    pub program: String,
}

impl PublishedSettings {
    /// The models whose scores are in the tables.
    pub fn models(&self) -> ModelIds {
        ModelIds { published: self.model_id.clone(), candidate: self.candidate_id.clone() }
    }
}

/// One commit: everything that is live with it, and what it changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// Number of the commit, from 1.
    pub commit: u64,
    /// Dataflow epoch it is consistent with.
    pub epoch: u64,
    /// Job that wrote it.
    pub writer_id: String,
    /// The writer's claim of the root, see [`fence`](super::fence).
    pub generation: u64,
    /// Wall clock of the commit.
    pub committed_at_ms: TimeMs,
    /// From the end of computing to the manifest, ms.
    pub duration_ms: u64,
    /// Latest event time it knows.
    pub as_of_ms: Option<TimeMs>,
    /// URLs the events were read from, sorted.
    pub inputs: Vec<String>,
    /// Files read below them, sorted.
    pub sources: Vec<SourceFile>,
    /// Every live file, sorted by slot.
    pub files: Vec<FileEntry>,
    /// Paths of the files this commit wrote, sorted.
    pub written: Vec<String>,
    /// Paths of the files this commit removed.
    pub removed: Vec<String>,
    /// Values of closed windows that this commit changed. Older manifests do not say.
    #[serde(default)]
    pub restated_cells: u64,
    /// What the tables depend on besides the events; older manifests do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<PublishedSettings>,
    /// What a restarted job goes on from; none when the job kept none and rebuilds everything from its inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Vec<StateFile>>,
}

impl Manifest {
    /// Name of a commit's manifest below the root; sorts by number.
    pub fn path(commit: u64) -> String {
        format!("{MANIFESTS}/{commit:020}.json")
    }

    /// The commit whose manifest is called `name`.
    pub(super) fn commit_of(name: &str) -> Option<u64> {
        name.strip_prefix(MANIFESTS)?.strip_prefix('/')?.strip_suffix(".json")?.parse().ok()
    }

    /// The live files by [slot](FileEntry::slot).
    pub fn by_slot(&self) -> BTreeMap<String, FileEntry> {
        self.files.iter().map(|file| (file.slot(), file.clone())).collect()
    }

    /// Inputs of this commit that `inputs` lacks: its tables hold events that a run over `inputs` would lose.
    pub fn inputs_missing_in(&self, inputs: &[String]) -> Vec<String> {
        self.inputs.iter().filter(|input| !inputs.contains(input)).cloned().collect()
    }

    /// Reads a manifest of this or an older format version; `Err` holds the version when it is a newer one.
    pub(super) fn parse(body: &[u8]) -> Result<Result<Self, u32>, serde_json::Error> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        // The version first: a newer manifest need not have today's fields.
        let Version { format_version } = serde_json::from_slice(body)?;
        if format_version > FORMAT_VERSION {
            return Ok(Err(format_version));
        }
        serde_json::from_slice(body).map(Ok)
    }
}
