//! The actions of a Delta log, as far as this program writes them
//! ([protocol](https://github.com/delta-io/delta/blob/master/PROTOCOL.md)).

use std::collections::BTreeMap;

use bytes::Bytes;
use contactflow_schemas::clock::TimeMs;
use serde::{Deserialize, Serialize};

/// One line of a log version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Action {
    CommitInfo(CommitInfo),
    Protocol(Protocol),
    MetaData(Box<MetaData>),
    Txn(Txn),
    Add(Add),
    Remove(Remove),
}

macro_rules! as_kind {
    ($($name:ident: $kind:ident -> $content:ty),*) => {
        impl Action {
            $(pub(super) fn $name(&self) -> Option<&$content> {
                if let Self::$kind(content) = self { Some(content) } else { None }
            })*
        }
    };
}

as_kind!(
    as_commit_info: CommitInfo -> CommitInfo,
    as_protocol: Protocol -> Protocol,
    as_metadata: MetaData -> MetaData,
    as_txn: Txn -> Txn,
    as_add: Add -> Add,
    as_remove: Remove -> Remove
);

/// Who wrote a version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CommitInfo {
    pub(super) timestamp: TimeMs,
    pub(super) operation: String,
    #[serde(default)]
    pub(super) operation_parameters: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) engine_info: String,
    /// The claim the writer held; none in a version by another program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) generation: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) writer_id: Option<String>,
}

/// What a program must know to read or write the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Protocol {
    pub(super) min_reader_version: i32,
    pub(super) min_writer_version: i32,
}

/// The protocol of the tables: no feature beyond plain files, which every reader knows.
pub(super) const PROTOCOL: Protocol = Protocol { min_reader_version: 1, min_writer_version: 2 };

/// Schema and properties of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetaData {
    /// A UUID.
    pub(super) id: String,
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) description: Option<String>,
    pub(super) format: Format,
    /// The schema as JSON.
    pub(super) schema_string: String,
    pub(super) partition_columns: Vec<String>,
    pub(super) configuration: BTreeMap<String, String>,
    pub(super) created_time: Option<TimeMs>,
}

/// Format of the data files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Format {
    pub(super) provider: String,
    #[serde(default)]
    pub(super) options: BTreeMap<String, String>,
}

/// How far an application has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Txn {
    pub(super) app_id: String,
    pub(super) version: i64,
    #[serde(default)]
    pub(super) last_updated: Option<TimeMs>,
}

/// A file becomes part of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::sink) struct Add {
    /// Name below the table's folder.
    pub(super) path: String,
    pub(super) partition_values: BTreeMap<String, Option<String>>,
    /// Bytes.
    pub(super) size: i64,
    pub(super) modification_time: TimeMs,
    /// False when rows are only moved between files.
    pub(super) data_change: bool,
    /// Statistics as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::sink) stats: Option<String>,
}

/// A file is no part of the table any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remove {
    pub(super) path: String,
    #[serde(default)]
    pub(super) deletion_timestamp: Option<TimeMs>,
    pub(super) data_change: bool,
    #[serde(default)]
    pub(super) extended_file_metadata: Option<bool>,
    #[serde(default)]
    pub(super) partition_values: Option<BTreeMap<String, Option<String>>>,
    #[serde(default)]
    pub(super) size: Option<i64>,
}

impl Add {
    /// Takes the file out of the table.
    pub(super) fn removal(&self, at_ms: TimeMs, data_change: bool) -> Remove {
        Remove {
            path: self.path.clone(),
            deletion_timestamp: Some(at_ms),
            data_change,
            extended_file_metadata: Some(true),
            partition_values: Some(self.partition_values.clone()),
            size: Some(self.size),
        }
    }
}

/// The content of a log version: an action a line.
pub(super) fn to_lines(actions: &[Action]) -> Result<Bytes, serde_json::Error> {
    let mut body = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut body, action)?;
        body.push(b'\n');
    }
    Ok(body.into())
}

/// The actions of a log version.
pub(super) fn from_lines(body: &[u8]) -> Result<Vec<Action>, serde_json::Error> {
    let lines = body.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines.map(serde_json::from_slice).collect()
}
