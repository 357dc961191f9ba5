//! Layout `delta` on a store in memory: what the logs say is what the manifest says, whatever happens.

mod interruptions;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use contactflow_schemas::clock::{TimeMs, Window};
use contactflow_schemas::facts::Grouping;
use contactflow_schemas::tables::Table;
use serde_json::Value;

use super::memory::Memory;
use crate::sink::objects::Objects;
use crate::sink::{
    CommitError, CommitInput, CommitSummary, Committer, Layout, Manifest, Partition, RowMoves, TableLayout,
};

const DAYS: Table = Table::Kpi(Grouping::Channel, Window::Day);
const HOURS: Table = Table::Kpi(Grouping::Tenant, Window::Hour);
const HOUR_MS: i64 = 3_600_000;

fn layout(retention_ms: i64) -> TableLayout {
    TableLayout { layout: Layout::Delta, retention_ms }
}

fn open_with(memory: &Arc<Memory>, writer_id: &str, retention_ms: i64) -> Result<Committer, CommitError> {
    let objects = Arc::clone(memory) as Arc<dyn Objects>;
    Committer::open(objects, "/out", layout(retention_ms), writer_id, &["/in".to_owned()])
}

fn open(memory: &Arc<Memory>, writer_id: &str) -> Committer {
    open_with(memory, writer_id, 0).unwrap()
}

fn commit_at(committer: &mut Committer, committed_at_ms: TimeMs) -> Result<CommitSummary, CommitError> {
    committer.commit(CommitInput {
        epoch: 7,
        as_of_ms: Some(1),
        committed_at_ms,
        computed_at: Instant::now(),
        sources: Vec::new(),
        settings: Default::default(),
        state: None,
    })
}

fn commit(committer: &mut Committer) -> Result<CommitSummary, CommitError> {
    commit_at(committer, 1_000)
}

/// Hands a file per day over; the text stands for Parquet bytes.
fn write(committer: &Committer, table: Table, days: &[(i32, &str)]) {
    for &(day, body) in days {
        let partition = Partition::of_day(table, day, 0);
        committer.writer().write(partition, RowMoves::NoneOut, 1, Bytes::copy_from_slice(body.as_bytes()));
    }
}

fn newest(memory: &Memory) -> Manifest {
    let name = memory.names().into_iter().rfind(|name| name.starts_with("_contactflow/manifests")).unwrap();
    serde_json::from_slice(&memory.get(&name).unwrap().unwrap().body).unwrap()
}

/// The versions of a table's log that are in the store: number and lines.
fn versions(memory: &Memory, table: Table) -> BTreeMap<u64, Vec<Value>> {
    let folder = format!("{}/_delta_log", table.name());
    let version = |name: &str| -> Option<u64> { name.rsplit('/').next()?.strip_suffix(".json")?.parse().ok() };
    let lines = |body: Bytes| {
        let text = String::from_utf8(body.to_vec()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let listed = memory.list(&folder).unwrap().into_iter();
    listed.filter_map(|object| Some((version(&object.name)?, lines(memory.get(&object.name).unwrap()?.body)))).collect()
}

/// The files that a log read from its very beginning makes the table.
fn files(memory: &Memory, table: Table) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for (expected, (version, lines)) in versions(memory, table).into_iter().enumerate() {
        assert_eq!(version, expected as u64, "no version is missing");
        for line in lines {
            if let Some(path) = line["add"]["path"].as_str() {
                files.insert(format!("{}/{path}", table.name()));
            }
            if let Some(path) = line["remove"]["path"].as_str() {
                files.remove(&format!("{}/{path}", table.name()));
            }
        }
    }
    files
}

/// The logs name the files of the last manifest, and (with retention 0) the store holds no other data files.
fn assert_whole(memory: &Memory) {
    let manifest = newest(memory);
    let named: BTreeSet<String> = manifest.files.iter().map(|file| file.path.clone()).collect();
    let logged: BTreeSet<String> =
        Table::all().filter(|table| !table.is_history()).flat_map(|table| files(memory, table)).collect();
    assert_eq!(logged, named);
    let stored: BTreeSet<String> = memory.data().into_keys().filter(|name| !name.contains("_delta_log")).collect();
    assert_eq!(stored, named);
    let rows: BTreeSet<String> = files(memory, Table::Commits);
    assert_eq!(rows.len() as u64, manifest.commit, "every commit has its row");
}

/// The content of the table, by day.
fn texts(memory: &Memory, table: Table) -> Vec<(String, String)> {
    let text = |name: String| {
        let body = memory.get(&name).unwrap().unwrap().body;
        let date = name.split("date=").nth(1).unwrap()[..10].to_owned();
        (date, String::from_utf8(body.to_vec()).unwrap())
    };
    files(memory, table).into_iter().map(text).collect()
}

#[test]
fn a_commit_is_one_version_of_each_table_it_changes() {
    let memory = Arc::new(Memory::default());
    let mut committer = open(&memory, "a");
    write(&committer, DAYS, &[(0, "one"), (1, "two")]);
    commit(&mut committer).unwrap();
    // Every table is there from the first commit on, also those without rows.
    for table in Table::all() {
        // The row of the commit comes after it.
        assert_eq!(versions(&memory, table).len(), 1 + usize::from(table == Table::Commits), "{table:?}");
    }
    memory.take_changes();

    write(&committer, DAYS, &[(0, "one"), (1, "TWO"), (2, "three")]);
    let summary = commit(&mut committer).unwrap();
    assert_eq!((summary.files_written, summary.files_removed, summary.files_live), (2, 1, 3));
    let changed = memory.take_changes();
    let logs: Vec<&String> = changed.iter().filter(|name| name.contains("_delta_log")).collect();
    assert_eq!(
        logs,
        ["kpi_channel_day/_delta_log/00000000000000000001.json", "commits/_delta_log/00000000000000000002.json",]
    );
    let place = |part: &str| changed.iter().position(|name| name.contains(part)).unwrap();
    assert!(place("date=1970-01-03") < place("kpi_channel_day/_delta_log"));
    assert!(place("kpi_channel_day/_delta_log") < place("_contactflow/manifests"));
    assert!(place("_contactflow/manifests") < place("commits/_delta_log"));

    let lines = &versions(&memory, DAYS)[&1];
    let kinds: Vec<&String> = lines.iter().flat_map(|line| line.as_object().unwrap().keys()).collect();
    assert_eq!(kinds, ["commitInfo", "txn", "remove", "add", "add"]);
    assert_eq!(lines[1]["txn"]["version"], 2);
    assert_eq!(lines[3]["add"]["partitionValues"]["date"], "1970-01-02");
    assert_eq!(lines[1]["txn"]["appId"], versions(&memory, Table::Commits)[&1][1]["txn"]["appId"]);
    assert_whole(&memory);
}

#[test]
fn names_follow_from_the_content_alone() {
    let names = |order: &[(i32, &str)]| {
        let memory = Arc::new(Memory::default());
        let mut committer = open(&memory, "whoever");
        for one in order {
            write(&committer, DAYS, &[*one]);
            commit(&mut committer).unwrap();
        }
        memory.data().into_keys().filter(|name| !name.contains("_delta_log")).collect::<Vec<_>>()
    };
    assert_eq!(names(&[(0, "one"), (1, "two")]), names(&[(1, "other"), (0, "one"), (1, "two")]));
}

#[test]
fn a_root_keeps_its_layout() {
    let parquet = TableLayout { layout: Layout::Parquet, retention_ms: 0 };
    let open = |memory: &Arc<Memory>, tables| {
        Committer::open(Arc::clone(memory) as Arc<dyn Objects>, "/out", tables, "a", &["/in".to_owned()])
    };
    for (first, second) in [(parquet, layout(0)), (layout(0), parquet)] {
        let memory = Arc::new(Memory::default());
        commit(&mut open(&memory, first).unwrap()).unwrap();
        memory.take_changes();
        let error = open(&memory, second).map(drop).unwrap_err();
        assert!(matches!(error, CommitError::OtherLayout { .. }), "{error}");
        assert!(error.to_string().contains(&format!("--layout {}", first.layout.name())), "{error}");
        assert!(memory.take_changes().is_empty());
        // A root from before there were records.
        memory.delete("_contactflow/root.json").unwrap();
        assert_eq!(open(&memory, second).is_err(), second.layout == Layout::Delta);
    }
}

#[test]
fn a_delta_log_of_somebody_else_is_refused() {
    let memory = Arc::new(Memory::default());
    let name = format!("{}/_delta_log/00000000000000000000.json", DAYS.name());
    memory.put(&name, Bytes::from_static(b"{\"protocol\":{\"minReaderVersion\":1,\"minWriterVersion\":2}}")).unwrap();
    let error = open_with(&memory, "a", 0).map(drop).unwrap_err();
    assert!(matches!(&error, CommitError::ForeignFiles { example, .. } if *example == name), "{error}");
}
