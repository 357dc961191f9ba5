//! What commits say they changed in closed windows: the job under test.

mod attempts;
mod causes;
mod known;
mod speed;
mod values;

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMillisecondType};
use bytes::Bytes;
use contactflow_operators::causes::{Cause, CauseKind, Causes, EventRef};
use contactflow_schemas::catalogue::{contribute, kpi};
use contactflow_schemas::clock::{DAY_MS, HOUR_MS, TimeMs, Window};
use contactflow_schemas::facts::{Cell, Group, Grouping};
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tables::Table;
use contactflow_schemas::tally::Tally;
use contactflow_schemas::windows::Windows;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::PARQUET;
use super::memory::Memory;
use super::rows;
use crate::sink::objects::Objects;
use crate::sink::{
    CommitError, CommitInput, CommitSummary, Committer, Manifest, Partition, RowMoves, TableLayout, encode_kpi,
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
        Self::open_as(PARQUET, memory, writer_id)
    }

    fn open_as(tables: TableLayout, memory: &Arc<Memory>, writer_id: &str) -> Self {
        let causes = Causes::default();
        let objects = Arc::clone(memory) as Arc<dyn Objects>;
        let committer = Committer::open(objects, "/out", tables, writer_id, &["/in".to_owned()]).unwrap();
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
        let source = rows::source_file();
        self.committer.commit(CommitInput {
            epoch: 7,
            as_of_ms: Some(as_of_ms),
            committed_at_ms: 2,
            computed_at: Instant::now(),
            sources: vec![source],
            settings: Default::default(),
            state: None,
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

/// A cause with the events of these numbers.
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
