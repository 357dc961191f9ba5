//! What commits say they changed in closed windows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMillisecondType};
use bytes::Bytes;
use contactflow_operators::causes::{Cause, CauseKind, Causes, EventRef};
use contactflow_schemas::catalogue::{CATALOGUE, contribute, kpi};
use contactflow_schemas::clock::{DAY_MS, HOUR_MS, TimeMs, Window};
use contactflow_schemas::facts::{Cell, Group, Grouping};
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tables::Table;
use contactflow_schemas::tally::Tally;
use contactflow_schemas::windows::Windows;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::memory::Memory;
use super::rows;
use crate::sink::objects::Objects;
use crate::sink::restate::RESTATEMENTS_MAX;
use crate::sink::{
    CommitError, CommitInput, CommitSummary, Committer, Manifest, Partition, RowMoves, SourceFile, encode_kpi,
};

const HOURS: Table = Table::Kpi(Grouping::AgentChannel, Window::Hour);
const DAYS: Table = Table::Kpi(Grouping::Channel, Window::Day);
const DAY: i32 = 10;

/// An hour of [`DAY`].
fn at(hour: i64) -> TimeMs {
    i64::from(DAY) * DAY_MS + hour * HOUR_MS
}

fn group(agent: &str) -> Group {
    let (tenant, channel) = (Symbol::new("acme"), Some(Symbol::new("chat")));
    let agent = (!agent.is_empty()).then(|| Symbol::new(agent));
    Group { tenant, channel, agent, team: None, queue: None }
}

/// So many replies; nothing else is counted.
fn replies(count: i64) -> Tally {
    let mut entries = Vec::new();
    contribute(kpi::REPLIES, 1, None, count, &mut entries);
    Tally::from_entries(entries)
}

/// An agent, an hour, how many replies.
type Row = (&'static str, i64, i64);

/// A commit number, key (table, agent, hour), column, old, new.
type Found = (i64, String, Option<String>, i64, String, Option<f64>, Option<f64>);

/// The job under test, with what the causes are told and asked.
struct Job {
    memory: Arc<Memory>,
    committer: Committer,
    causes: Causes,
}

impl Job {
    fn open(memory: &Arc<Memory>, writer_id: &str) -> Self {
        let causes = Causes::default();
        let objects = Arc::clone(memory) as Arc<dyn Objects>;
        let committer = Committer::open(objects, "/out", writer_id, &["/in".to_owned()]).unwrap();
        let committer = committer.with_restatements(causes.clone(), Windows::utc());
        Self { memory: Arc::clone(memory), committer, causes }
    }

    fn new() -> Self {
        Self::open(&Arc::new(Memory::default()), "a")
    }

    fn write(&self, table: Table, cells: Vec<(Cell, Tally)>) {
        let partition = Partition::of_day(table, cells.first().map_or(DAY, |(cell, _)| cell.day), 0);
        let count = cells.len();
        let body = encode_kpi(table, cells, &Windows::utc(), i64::MAX).unwrap();
        self.committer.writer().write(partition, RowMoves::NoneOut, count, body);
    }

    /// Hands [`DAY`] of the hours over.
    fn hours(&self, rows: &[Row]) {
        let cell = |&(agent, hour, count): &Row| {
            (Cell { day: DAY, window_start_ms: at(hour), group: group(agent) }, replies(count))
        };
        self.write(HOURS, rows.iter().map(cell).collect());
    }

    fn try_commit(&mut self, as_of_ms: TimeMs) -> Result<CommitSummary, CommitError> {
        let source = SourceFile { name: "events.ndjson".to_owned(), bytes: 10, version: None, rows: 3 };
        self.committer.commit(CommitInput {
            epoch: 7,
            as_of_ms: Some(as_of_ms),
            committed_at_ms: 2,
            computed_at: Instant::now(),
            sources: vec![source],
        })
    }

    /// Commits; what it says about itself has to agree.
    fn commit(&mut self, as_of_ms: TimeMs) -> Vec<Found> {
        let commit = self.try_commit(as_of_ms).unwrap().commit;
        let found = found(&self.memory, commit);
        let manifest: Manifest = serde_json::from_slice(&body(&self.memory, &Manifest::path(commit))).unwrap();
        assert_eq!(manifest.restated_cells, found.len() as u64);
        let row = read(body(&self.memory, &format!("commits/part-{commit:020}.parquet")));
        let counted = row.column_by_name("restated_cells_count").unwrap().as_primitive::<Int64Type>().value(0);
        assert_eq!(counted, found.len() as i64);
        found
    }
}

fn body(memory: &Memory, name: &str) -> Bytes {
    memory.get(name).unwrap().unwrap().body
}

fn read(body: Bytes) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(body).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

fn path(commit: u64) -> String {
    format!("restatements/part-{commit:020}.parquet")
}

fn text(batch: &RecordBatch, name: &str, row: usize) -> Option<String> {
    let column = batch.column_by_name(name).unwrap().as_string::<i32>();
    column.is_valid(row).then(|| column.value(row).to_owned())
}

fn number(batch: &RecordBatch, name: &str, row: usize) -> Option<f64> {
    let column = batch.column_by_name(name).unwrap().as_primitive::<Float64Type>();
    column.is_valid(row).then(|| column.value(row))
}

/// The rows of a commit, if it has a file.
fn found(memory: &Memory, commit: u64) -> Vec<Found> {
    let Some(stored) = memory.get(&path(commit)).unwrap() else {
        return Vec::new();
    };
    let batch = read(stored.body);
    assert_eq!(batch.schema().fields(), Table::Restatements.schema().fields());
    let row = |row: usize| {
        let start = batch.column_by_name("window_start").unwrap().as_primitive::<TimestampMillisecondType>();
        (
            batch.column_by_name("commit").unwrap().as_primitive::<Int64Type>().value(row),
            text(&batch, "table", row).unwrap(),
            text(&batch, "agent_id", row),
            (start.value(row) - at(0)) / HOUR_MS,
            text(&batch, "column", row).unwrap(),
            number(&batch, "old", row),
            number(&batch, "new", row),
        )
    };
    (0..batch.num_rows()).map(row).collect()
}

/// A change of `replies_count`, and what else follows from it.
fn change(commit: i64, agent: &str, hour: i64, old: Option<f64>, new: Option<f64>) -> Found {
    let agent = (!agent.is_empty()).then(|| agent.to_owned());
    (commit, HOURS.name().to_owned(), agent, hour, "replies_count".to_owned(), old, new)
}

/// Only the rows about `replies_count`: other columns may follow from it.
fn of_replies(mut found: Vec<Found>) -> Vec<Found> {
    found.retain(|row| row.4 == "replies_count");
    found
}

#[test]
fn values_of_closed_windows_are_told_and_open_ones_are_not() {
    let mut job = Job::new();
    job.hours(&[("", 0, 1), ("ann", 0, 2), ("ann", 1, 3), ("ann", 2, 4)]);
    // The hour from 2 on is still open; the hour that ends with as_of is closed.
    assert!(job.commit(at(2)).is_empty());
    job.hours(&[("", 0, 5), ("ann", 0, 2), ("ann", 1, 6), ("ann", 2, 7)]);
    let expected = [change(2, "", 0, Some(1.0), Some(5.0)), change(2, "ann", 1, Some(3.0), Some(6.0))];
    assert_eq!(of_replies(job.commit(at(3))), expected);
    job.hours(&[("", 0, 5), ("ann", 0, 2), ("ann", 1, 6), ("ann", 2, 8)]);
    assert_eq!(of_replies(job.commit(at(4))), [change(3, "ann", 2, Some(7.0), Some(8.0))]);
}

#[test]
fn rows_that_appear_and_vanish_have_no_value_on_the_other_side() {
    let mut job = Job::new();
    job.hours(&[("ann", 0, 2), ("bob", 1, 3)]);
    job.commit(at(24));
    job.hours(&[("ann", 0, 2), ("amy", 1, 4)]);
    let found = job.commit(at(24));
    assert!(found.iter().all(|row| row.5.or(row.6) != Some(0.0) && row.5.is_some() != row.6.is_some()), "{found:?}");
    let expected = [change(2, "amy", 1, None, Some(4.0)), change(2, "bob", 1, Some(3.0), None)];
    assert_eq!(of_replies(found), expected);
}

#[test]
fn partitions_that_vanish_and_appear_are_told_row_by_row() {
    let mut job = Job::new();
    job.hours(&[("ann", 0, 2)]);
    job.commit(at(24));
    job.committer.writer().remove(Partition::of_day(HOURS, DAY, 0));
    assert_eq!(of_replies(job.commit(at(24))), [change(2, "ann", 0, Some(2.0), None)]);
    job.hours(&[("ann", 0, 3)]);
    assert_eq!(of_replies(job.commit(at(24))), [change(3, "ann", 0, None, Some(3.0))]);
    // A run that no longer has the partition does not say so: its first commit is the whole state.
    let mut job = Job::open(&job.memory, "b");
    assert_eq!(of_replies(job.commit(at(24))), [change(4, "ann", 0, Some(3.0), None)]);
}

#[test]
fn a_root_of_its_own_and_equal_files_restate_nothing() {
    let mut job = Job::new();
    job.hours(&[("ann", 0, 2)]);
    assert!(job.commit(at(24)).is_empty());
    job.hours(&[("ann", 0, 2)]);
    job.commit(at(24));
    let mut job = Job::open(&job.memory, "b");
    job.hours(&[("ann", 0, 2)]);
    assert!(job.commit(at(24)).is_empty());
    assert!(job.memory.list("restatements").unwrap().is_empty());
}

#[test]
fn without_being_asked_a_commit_restates_nothing() {
    let mut job = Job::new();
    job.hours(&[("ann", 0, 2)]);
    job.commit(at(24));
    let objects = Arc::clone(&job.memory) as Arc<dyn Objects>;
    job.committer = Committer::open(objects, "/out", "b", &["/in".to_owned()]).unwrap();
    job.hours(&[("ann", 0, 3)]);
    assert!(job.commit(at(24)).is_empty());
}

#[test]
fn a_file_that_is_not_of_the_last_commit_is_no_base() {
    let mut job = Job::new();
    job.hours(&[("ann", 0, 2)]);
    job.commit(at(24));
    let path = Partition::of_day(HOURS, DAY, 0).path();
    job.memory.put(&path, Bytes::from_static(b"edited")).unwrap();
    job.hours(&[("ann", 0, 3)]);
    assert!(job.commit(at(24)).is_empty());
    job.memory.delete(&path).unwrap();
    job.hours(&[("ann", 0, 4)]);
    assert!(job.commit(at(24)).is_empty());
    // The same content under another version is one.
    let stored = body(&job.memory, &path);
    job.memory.put(&path, stored).unwrap();
    job.hours(&[("ann", 0, 5)]);
    assert_eq!(of_replies(job.commit(at(24))), [change(4, "ann", 0, Some(4.0), Some(5.0))]);
}

fn cause(agent: &str, (from, to): (TimeMs, TimeMs), kind: CauseKind, ids: std::ops::Range<usize>) -> Cause {
    let event = |id: usize| EventRef { source: Symbol::new("crm"), event_id: format!("e{id:03}").as_str().into() };
    Cause { group: group(agent), from_ms: from, to_ms: to, kind, events: ids.map(event).collect() }
}

/// Cause, count and list of the only row about an agent, or of any row.
fn explanation(memory: &Memory, commit: u64, agent: Option<&str>) -> (String, i64, Option<String>) {
    let batch = read(body(memory, &path(commit)));
    let row = (0..batch.num_rows()).find(|&row| text(&batch, "agent_id", row).as_deref() == agent).unwrap();
    let counts = batch.column_by_name("cause_events_count").unwrap().as_primitive::<Int64Type>();
    (text(&batch, "cause", row).unwrap(), counts.value(row), text(&batch, "cause_events", row))
}

#[test]
fn causes_are_found_by_group_and_window() {
    let mut job = Job::new();
    let agents = ["ann", "bob", "cat", "dan", "eve"];
    job.hours(&agents.map(|agent| (agent, 3, 1)));
    job.commit(at(24));
    let hour = (at(3), at(4) - 1);
    job.causes.add([
        cause("ann", (at(3), at(3)), CauseKind::Time, 0..0),
        cause("ann", (at(2), at(3)), CauseKind::Events, 0..2),
        cause("ann", hour, CauseKind::Prediction, 1..3),
        // Before the window, and from its end on.
        cause("bob", (at(1), at(3) - 1), CauseKind::Events, 0..2),
        cause("bob", (at(4), at(5)), CauseKind::Events, 0..2),
        cause("cat", hour, CauseKind::Time, 0..0),
        cause("dan", hour, CauseKind::Prediction, 0..40),
        cause("dan", hour, CauseKind::Time, 0..0),
    ]);
    job.hours(&agents.map(|agent| (agent, 3, 2)));
    job.commit(at(24));
    let of = |agent| explanation(&job.memory, 2, Some(agent));
    let events = r#"[["crm","e000"],["crm","e001"],["crm","e002"]]"#;
    assert_eq!(of("ann"), ("events".to_owned(), 3, Some(events.to_owned())));
    assert_eq!(of("bob"), ("unknown".to_owned(), 0, None));
    assert_eq!(of("cat"), ("time".to_owned(), 0, None));
    assert_eq!(of("eve"), ("unknown".to_owned(), 0, None));
    let (kind, count, events) = of("dan");
    let events: Vec<[String; 2]> = serde_json::from_str(&events.unwrap()).unwrap();
    assert_eq!((kind.as_str(), count, events.len(), events[19][1].as_str()), ("prediction", 40, 20, "e019"));
    // They explain one commit only.
    job.hours(&agents.map(|agent| (agent, 3, 3)));
    job.commit(at(24));
    assert_eq!(explanation(&job.memory, 3, Some("ann")).0, "unknown");
}

#[test]
fn causes_of_a_fine_group_explain_tables_of_coarser_ones() {
    let mut job = Job::new();
    let day = |count| vec![(Cell { day: DAY, window_start_ms: at(0), group: group("") }, replies(count))];
    job.write(DAYS, day(1));
    job.commit(at(24));
    job.causes.add([cause("ann", (at(5), at(6)), CauseKind::Events, 0..1)]);
    job.write(DAYS, day(2));
    job.commit(at(24));
    assert_eq!(explanation(&job.memory, 2, None), ("events".to_owned(), 1, Some(r#"[["crm","e000"]]"#.to_owned())));
}

#[test]
fn causes_are_gathered_for_what_the_last_commit_closed() {
    let mut job = Job::new();
    assert!(!job.causes.concern(at(0)));
    job.hours(&[("ann", 0, 2)]);
    job.commit(at(12));
    assert!(job.causes.concern(at(11)) && !job.causes.concern(at(12)));
    let file = Symbol::new("events.ndjson");
    assert!(job.causes.is_news(file), "what this run reads anew is news");
    let next = Job::open(&job.memory, "b");
    assert!(next.causes.concern(at(11)) && !next.causes.is_news(file));
}

/// Cuts the line before every change of a commit, and tries again with other rows.
#[test]
fn the_next_attempt_of_a_commit_compares_with_the_last_one() {
    for loses_reply in [false, true] {
        for changes in 0..6 {
            let mut job = Job::new();
            job.hours(&[("ann", 0, 1), ("bob", 0, 1)]);
            job.commit(at(24));
            job.causes.add([cause("ann", (at(0), at(0)), CauseKind::Events, 0..1)]);
            job.memory.fail_after(Some(changes), loses_reply);
            job.hours(&[("ann", 0, 2), ("bob", 0, 2)]);
            let first = job.try_commit(at(24));
            job.memory.fail_after(None, false);
            let attempted = job.memory.get(&Manifest::path(2)).unwrap().is_some();
            let expected = [change(2, "ann", 0, Some(1.0), Some(2.0)), change(2, "bob", 0, Some(1.0), Some(2.0))];
            if attempted {
                assert_eq!(of_replies(found(&job.memory, 2)), expected);
            }
            job.causes.add([cause("bob", (at(0), at(0)), CauseKind::Events, 1..2)]);
            job.hours(&[("ann", 0, 3), ("bob", 0, 1)]);
            let found_now = of_replies(job.commit(at(24)));
            if attempted {
                assert!(first.is_ok() || loses_reply);
                let expected = [change(3, "ann", 0, Some(2.0), Some(3.0)), change(3, "bob", 0, Some(2.0), Some(1.0))];
                assert_eq!(found_now, expected, "after {changes}");
                assert_eq!(of_replies(found(&job.memory, 2)).len(), 2);
                assert_eq!(explanation(&job.memory, 2, Some("ann")).0, "events");
            } else {
                assert_eq!(found_now, [change(2, "ann", 0, Some(1.0), Some(3.0))], "after {changes}");
                assert_eq!(explanation(&job.memory, 2, Some("ann")).0, "events");
            }
        }
    }
}

#[test]
fn what_an_unfinished_commit_left_is_replaced_or_deleted() {
    for restarts in [false, true] {
        for count in [1, 2] {
            let mut job = Job::new();
            job.hours(&[("ann", 0, 1)]);
            job.commit(at(24));
            // The file and the restatements are written, the manifest is not.
            job.memory.fail_after(Some(2), false);
            job.hours(&[("ann", 0, 9)]);
            job.try_commit(at(24)).unwrap_err();
            job.memory.fail_after(None, false);
            assert_eq!(of_replies(found(&job.memory, 2)), [change(2, "ann", 0, Some(1.0), Some(9.0))]);
            if restarts {
                job = Job::open(&job.memory, "b");
            }
            job.hours(&[("ann", 0, count)]);
            let found = of_replies(job.commit(at(24)));
            // A restarted job no longer has what commit 1 published.
            let is_told = count == 2 && !restarts;
            let expected = is_told.then(|| change(2, "ann", 0, Some(1.0), Some(2.0)));
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
            assert_eq!(job.memory.get(&path(2)).unwrap().is_some(), is_told);
        }
    }
}

/// A value by agent, hour and column; what is not there counts as 0.
fn values(memory: &Memory) -> BTreeMap<(String, i64, String), f64> {
    let batch = read(body(memory, &Partition::of_day(HOURS, DAY, 0).path()));
    let start = batch.column_by_name("window_start").unwrap().as_primitive::<TimestampMillisecondType>();
    let mut values = BTreeMap::new();
    for row in 0..batch.num_rows() {
        let agent = text(&batch, "agent_id", row).unwrap_or_default();
        let hour = (start.value(row) - at(0)) / HOUR_MS;
        for column in &*contactflow_schemas::aggregate::KPI_COLUMNS {
            let array =
                arrow::compute::cast(batch.column_by_name(&column.name).unwrap(), &arrow::datatypes::DataType::Float64);
            let array = array.unwrap();
            let array = array.as_primitive::<Float64Type>();
            if array.is_valid(row) && array.value(row) != 0.0 {
                values.insert((agent.clone(), hour, column.name.clone()), array.value(row));
            }
        }
    }
    values
}

/// Makes eight commits of which each closes one more hour and changes others at random, with a restart between; shows
/// each of them: number, hours that are closed, what it restates.
fn changing_history(job: &mut Job, mut show: impl FnMut(&Memory, u64, i64, Vec<Found>)) {
    let mut random = 1_u64;
    for commit in 1..=8_u64 {
        let mut cells = Vec::new();
        for agent in ["", "bob", "cat", "dan"] {
            for hour in 0..12 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let kind = random >> 60;
                if kind < 3 {
                    let tally = rows::tally((random >> 50) as i64 % 3 * 1_000 + 1, kind == 1);
                    cells.push((Cell { day: DAY, window_start_ms: at(hour), group: group(agent) }, tally));
                }
            }
        }
        job.write(HOURS, cells);
        let closed_hours = commit as i64 + 3;
        let restated = job.commit(at(closed_hours));
        show(&job.memory, commit, closed_hours, restated);
        if commit == 5 {
            *job = Job::open(&job.memory, "b");
        }
    }
}

#[test]
fn what_was_known_at_any_commit_can_be_told() {
    let (mut states, mut restated) = (Vec::new(), Vec::new());
    changing_history(&mut Job::new(), |memory, commit, closed_hours, found| {
        states.push((commit as i64, closed_hours, values(memory)));
        restated.extend(found);
    });
    let present = states.last().unwrap().2.clone();
    for (commit, closed_hours, state) in &states {
        let mut known = present.clone();
        // Later restatements first, so that the earliest has the last word.
        for (_, _, agent, hour, column, old, _) in restated.iter().rev().filter(|row| row.0 > *commit) {
            known.insert((agent.clone().unwrap_or_default(), *hour, column.clone()), old.unwrap_or(0.0));
        }
        known.retain(|(_, hour, _), value| hour < closed_hours && *value != 0.0);
        let mut state = state.clone();
        state.retain(|(_, hour, _), _| hour < closed_hours);
        assert_eq!(known, state, "commit {commit}");
    }
}

/// Writes that history, and the table after each commit below `known/`, for a check with SQL.
#[test]
#[ignore = "writes files for outside readers into $CONTACTFLOW_SINK_OUT"]
fn history_for_outside_readers() {
    let Some(folder) = std::env::var_os("CONTACTFLOW_SINK_OUT") else {
        return;
    };
    let folder = std::path::PathBuf::from(folder);
    let write = |name: &str, body: Bytes| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, body).unwrap();
    };
    changing_history(&mut Job::new(), |memory, commit, _, _| {
        memory.names().iter().for_each(|name| write(name, body(memory, name)));
        write(&format!("known/{commit}.parquet"), body(memory, &Partition::of_day(HOURS, DAY, 0).path()));
    });
}

/// Cells of a day with `rows::cells`, every reply time shifted.
fn shifted(agents: usize, by: i64) -> Vec<(Cell, Tally)> {
    let cell = |(number, (cell, _)): (usize, (Cell, Tally))| (cell, rows::tally(1_000 + number as i64 + by, true));
    rows::cells(agents).into_iter().enumerate().map(cell).collect()
}

#[test]
fn more_than_the_bound_is_counted_and_not_written() {
    let mut job = Job::new();
    let end = (i64::from(rows::DAY) + 1) * DAY_MS;
    job.write(HOURS, shifted(800, 0));
    job.commit(end);
    job.write(HOURS, shifted(800, 1));
    let commit = job.try_commit(end).unwrap().commit;
    let manifest: Manifest = serde_json::from_slice(&body(&job.memory, &Manifest::path(commit))).unwrap();
    assert!(manifest.restated_cells > RESTATEMENTS_MAX as u64, "{}", manifest.restated_cells);
    assert_eq!(found(&job.memory, commit).len(), RESTATEMENTS_MAX);
}

/// Cells of a day with every KPI in each of them.
fn dense(agents: usize, by: i64) -> Vec<(Cell, Tally)> {
    let tally = |number: i64| {
        let mut entries = Vec::new();
        for kpi in 0..CATALOGUE.len() {
            contribute(kpi as u16, 1_000 + number, Some(500 + number), 1, &mut entries);
        }
        Tally::from_entries(entries)
    };
    let cells = rows::cells(agents).into_iter().enumerate();
    cells.map(|(number, (cell, _))| (cell, tally(number as i64 % 997 + by))).collect()
}

/// What a commit of one changed file takes, without and with restatements.
fn measure(name: &str, before: &[(Cell, Tally)], after: &[(Cell, Tally)], as_of_ms: TimeMs) {
    let mut times = Vec::new();
    let mut restated = 0;
    for asked in [false, true] {
        let mut job = Job::new();
        if !asked {
            let objects = Arc::clone(&job.memory) as Arc<dyn Objects>;
            job.committer = Committer::open(objects, "/out", "b", &["/in".to_owned()]).unwrap();
        }
        job.write(HOURS, before.to_vec());
        job.try_commit(as_of_ms).unwrap();
        job.write(HOURS, after.to_vec());
        let begin = Instant::now();
        job.try_commit(as_of_ms).unwrap();
        times.push(begin.elapsed());
        restated = job.committer.previous().unwrap().restated_cells;
    }
    println!("{name}: {} rows, {:?} without, {:?} with {restated} values", before.len(), times[0], times[1]);
}

/// `cargo nextest run --workspace restating_speed --run-ignored only --no-capture`
#[test]
#[ignore = "a measurement, not a check"]
fn restating_speed() {
    let end = (i64::from(rows::DAY) + 1) * DAY_MS;
    let kinds: [(&str, fn(usize, i64) -> Vec<(Cell, Tally)>); 2] = [("few KPIs", shifted), ("every KPI", dense)];
    for (kind, make) in kinds {
        for agents in [30, 60] {
            let (before, other) = (make(agents, 0), make(agents, 1));
            let mix = |is_other: &dyn Fn(usize) -> bool| {
                let both = before.iter().zip(&other).enumerate();
                both.map(|(number, (one, two))| if is_other(number) { two } else { one }.clone()).collect::<Vec<_>>()
            };
            measure(&format!("{kind}, one row changes"), &before, &mix(&|number| number == 700), end);
            measure(&format!("{kind}, a row goes"), &before, &before[1..], end);
            let open = mix(&|number| number % 24 == 23);
            measure(&format!("{kind}, the open hour changes"), &before, &open, end - HOUR_MS);
            measure(&format!("{kind}, every row changes"), &before, &other, end);
        }
    }
}
