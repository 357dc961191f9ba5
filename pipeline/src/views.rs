//! The tables a worker writes: arrangements of rows by day, and which days changed since the last commit.
//!
//! The arrangement is the table: nothing is kept twice. A changed day is read back from the trace as a whole and encoded
//! as the new content of its partition.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use bytes::Bytes;
use contactflow_operators::as_of::AsOf;
use contactflow_operators::cells::{ArrangedCells, CellTrace, RowTrace};
use contactflow_operators::difference::TallyDiff;
use contactflow_operators::epochs::Epoch;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::dimension::DimensionEvent;
use contactflow_schemas::facts::{
    AnomalyScore, Cell, ConversationScore, CycleFacts, Group, MessageScore, ModelEvaluation, TopicWindow,
};
use contactflow_schemas::reject::Reject;
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tables::Table;
use contactflow_schemas::tally::Tally;
use contactflow_schemas::windows::Windows;
use differential_dataflow::ExchangeData;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::cursor::{BatchCursor, Cursor, Navigable, cursor_list};
use differential_dataflow::trace::{Trace, TraceReader};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Inspect;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::probe::{Handle, Probe};
use timely::dataflow::operators::vec::Broadcast;
use timely::progress::Antichain;

use crate::seal::Sealed;
use crate::sink::{
    EncodeError, ModelIds, Partition, PartitionWriter, RowMoves, encode_anomalies, encode_conversation_scores,
    encode_dimensions, encode_evaluations, encode_facts, encode_kpi, encode_message_scores, encode_rejects,
    encode_topics,
};

/// One shard per day: a day is written by the worker that keeps it.
const SHARD: u32 = 0;

/// Encodes the rows of one partition.
type Encode<D> = Box<dyn Fn(Vec<D>, &ModelIds) -> Result<Bytes, EncodeError>>;
/// Days whose rows changed since they were last written.
type Dirty = Rc<RefCell<BTreeSet<i32>>>;

/// What the content of files depends on besides their rows.
struct WriteContext<'a> {
    models: &'a ModelIds,
    as_of_ms: TimeMs,
}

/// One table on one worker.
trait View {
    /// Hands every changed partition over.
    fn write(&mut self, writer: &PartitionWriter, context: &WriteContext) -> Result<(), EncodeError>;

    /// Forgets which frozen days changed; returns the first of them.
    fn take_frozen(&mut self, sealed: &Sealed) -> Option<i32>;

    /// How large its arrangement is; none where that is not counted.
    fn size(&self) -> Option<ArrangedSize> {
        None
    }
}

/// How large the arrangement behind a KPI table is on this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArrangedSize {
    /// The table.
    pub table: Table,
    /// Cells. Those by agent and channel are by team and queue too.
    pub cells: u64,
    /// Bytes of keys, times and tallies, without what the allocator and spare capacity add.
    pub bytes: u64,
}

/// The tables of one worker.
pub struct Views {
    probe: Handle<Epoch>,
    windows: Windows,
    views: Vec<Box<dyn View>>,
    as_of: Rc<RefCell<AsOf>>,
    sealed: Sealed,
}

impl Views {
    /// No tables yet; `probe` will follow all that are added.
    pub fn new(probe: &Handle<Epoch>, windows: &Windows, sealed: &Sealed) -> Self {
        let (as_of, sealed) = (Rc::default(), sealed.clone());
        Self { probe: probe.clone(), windows: windows.clone(), views: Vec::new(), as_of, sealed }
    }

    /// Latest event time of what the tables know.
    pub fn as_of_ms(&self) -> Option<TimeMs> {
        self.as_of.borrow().get()
    }

    /// Follows the latest event times, for [`Views::as_of_ms`].
    pub fn as_of(&mut self, latest: Stream<'_, Epoch, Vec<(TimeMs, i64)>>) {
        let as_of = Rc::clone(&self.as_of);
        latest
            .broadcast()
            .inspect(move |&(time_ms, diff)| as_of.borrow_mut().update(time_ms, diff))
            .probe_with(&self.probe);
    }

    /// Says that the state of the last commit is taken in. What of it lies in frozen partitions is a part of what they hold,
    /// and not news.
    pub fn restored(&mut self) {
        for view in &mut self.views {
            view.take_frozen(&self.sealed);
        }
    }

    /// Asks for what is sealed if something in a frozen partition changed since the last call, or as_of went back there.
    /// Call it before [`Self::write`].
    pub fn check_sealed(&mut self) {
        self.sealed.check_as_of(self.as_of_ms());
        for view in &mut self.views {
            if let Some(day) = view.take_frozen(&self.sealed) {
                self.sealed.unsealing.ask(day);
            }
        }
    }

    /// Hands every partition that changed since the last call over. Call it when the probe has passed what was fed.
    ///
    /// # Errors
    /// Only those of the Parquet writer.
    pub fn write(&mut self, writer: &PartitionWriter, models: &ModelIds) -> Result<(), EncodeError> {
        let context = WriteContext { models, as_of_ms: self.as_of_ms().unwrap_or(0) };
        self.views.iter_mut().try_for_each(|view| view.write(writer, &context))
    }

    /// How large the arrangements behind the KPI tables are.
    pub fn sizes(&self) -> Vec<ArrangedSize> {
        self.views.iter().filter_map(|view| view.size()).collect()
    }

    /// Adds a KPI table.
    pub fn cells(&mut self, table: Table, cells: ArrangedCells<'_>) {
        let (trace, dirty) = follow(cells, table.name(), |cell: &Cell| cell.day, &self.probe);
        let windows = self.windows.clone();
        self.views.push(Box::new(CellView { table, windows, trace, dirty, written_as_of_ms: None }));
    }

    /// Adds `conversation_facts`.
    pub fn facts(&mut self, rows: Arranged<'_, RowTrace<CycleFacts>>) {
        self.rows(Table::ConversationFacts, rows, Box::new(|rows, _| encode_facts(rows)));
    }

    /// Adds `message_scores`, or `candidate_scores`.
    pub fn message_scores(&mut self, rows: Arranged<'_, RowTrace<MessageScore>>, is_candidate: bool) {
        let table = if is_candidate { Table::CandidateScores } else { Table::MessageScores };
        let encode = move |rows, models: &ModelIds| encode_message_scores(table, rows, models.of(is_candidate));
        self.rows(table, rows, Box::new(encode));
    }

    /// Adds `conversation_scores`, or `candidate_conversation_scores`.
    pub fn conversation_scores(&mut self, rows: Arranged<'_, RowTrace<ConversationScore>>, is_candidate: bool) {
        let table = if is_candidate { Table::CandidateConversationScores } else { Table::ConversationScores };
        let encode = move |rows, models: &ModelIds| encode_conversation_scores(table, rows, models.of(is_candidate));
        self.rows(table, rows, Box::new(encode));
    }

    /// Adds `topic_window`.
    pub fn topics(&mut self, rows: Arranged<'_, RowTrace<TopicWindow>>) {
        let windows = self.windows.clone();
        self.rows(
            Table::TopicWindow,
            rows,
            Box::new(move |rows, models| encode_topics(rows, &windows, &models.published)),
        );
    }

    /// Adds `model_eval`.
    pub fn evaluations(&mut self, rows: Arranged<'_, RowTrace<ModelEvaluation>>) {
        let windows = self.windows.clone();
        self.rows(Table::ModelEval, rows, Box::new(move |rows, models| encode_evaluations(rows, &windows, models)));
    }

    /// Adds `anomaly_scores`.
    pub fn anomalies(&mut self, rows: Arranged<'_, RowTrace<AnomalyScore>>) {
        self.rows(Table::AnomalyScores, rows, Box::new(|rows, _| encode_anomalies(rows)));
    }

    /// Adds `dimensions`, which has no days.
    pub fn dimensions(&mut self, rows: Arranged<'_, RowTrace<DimensionEvent>>) {
        self.rows(Table::Dimensions, rows, Box::new(|rows, _| encode_dimensions(rows)));
    }

    /// Adds `rejected_events`, which has no days.
    pub fn rejects(&mut self, rows: Arranged<'_, RowTrace<Reject>>) {
        self.rows(Table::RejectedEvents, rows, Box::new(|rows, _| encode_rejects(rows)));
    }

    fn rows<D: ExchangeData>(&mut self, table: Table, rows: Arranged<'_, RowTrace<D>>, encode: Encode<D>) {
        let (trace, dirty) = follow(rows, table.name(), |day: &i32| *day, &self.probe);
        self.views.push(Box::new(RowView { table, trace, dirty, encode }));
    }
}

/// Follows an arrangement: marks the days of changed keys, lets the trace compact, and reports to the probe.
fn follow<Tr, K: 'static>(
    arranged: Arranged<'_, TraceAgent<Tr>>,
    name: &str,
    day: fn(&K) -> i32,
    probe: &Handle<Epoch>,
) -> (Rc<RefCell<TraceAgent<Tr>>>, Dirty)
where
    Tr: Trace<Time = Epoch, Batch: Navigable> + 'static,
    for<'a> BatchCursor<TraceAgent<Tr>>: Cursor<Storage = Tr::Batch, Key<'a> = &'a K>,
{
    let trace = Rc::new(RefCell::new(arranged.trace));
    let dirty = Dirty::default();
    let (shared, marked) = (Rc::clone(&trace), Rc::clone(&dirty));
    let followed = arranged.stream.unary_frontier(Pipeline, &format!("Follow: {name}"), move |_, _| {
        move |(input, frontier), output| {
            let mut dirty = marked.borrow_mut();
            input.for_each(|capability, spans| {
                for batch in spans.drain(..).filter_map(|span| span.inner) {
                    let mut cursor = batch.cursor();
                    while let Some(key) = cursor.get_key(&batch) {
                        dirty.insert(day(key));
                        cursor.step_key(&batch);
                    }
                }
                // Nothing is sent; the stream exists for its frontier.
                output.session(&capability).give_iterator(std::iter::empty::<()>());
            });
            // An empty frontier would give up the right to read.
            if !frontier.is_empty() {
                let mut trace = shared.borrow_mut();
                trace.set_logical_compaction(frontier.frontier());
                trace.set_physical_compaction(frontier.frontier());
            }
        }
    });
    let followed: timely::dataflow::Stream<'_, Epoch, Vec<()>> = followed;
    followed.probe_with(probe);
    (trace, dirty)
}

fn take_frozen(dirty: &Dirty, sealed: &Sealed) -> Option<i32> {
    let horizon = sealed.horizon?;
    let mut dirty = dirty.borrow_mut();
    let open = dirty.split_off(&horizon.frozen_day);
    std::mem::replace(&mut *dirty, open).first().copied()
}

/// A KPI table: cells with their tally in the difference.
struct CellView {
    table: Table,
    windows: Windows,
    trace: Rc<RefCell<CellTrace>>,
    dirty: Dirty,
    /// as_of of the last call: ages in the windows that hold it change with it.
    written_as_of_ms: Option<TimeMs>,
}

impl CellView {
    /// The rows of one day. Cells finer than the table's rows lie one after the other.
    fn day(&self, day: i32) -> Vec<(Cell, Tally)> {
        let Table::Kpi(grouping, _) = self.table else { return Vec::new() };
        let mut trace = self.trace.borrow_mut();
        let batches = trace.batches_through(Antichain::new().borrow()).unwrap_or_default();
        let (mut cursor, storage) = cursor_list(batches);
        let least = Symbol::least();
        let group = Group { tenant: least, channel: None, agent: None, team: None, queue: None };
        let first = Cell { day, window_start_ms: TimeMs::MIN, group };
        cursor.seek_key(&storage, &first);
        let mut rows: Vec<(Cell, Tally)> = Vec::new();
        while let Some(cell) = cursor.get_key(&storage).filter(|cell| cell.day == day) {
            let row = Cell { group: grouping.of(cell.group), ..*cell };
            if rows.last().is_none_or(|(last, tally)| *last != row || tally.is_zero()) {
                rows.pop_if(|(_, tally)| tally.is_zero());
                rows.push((row, Tally::default()));
            }
            if let Some((_, sum)) = rows.last_mut() {
                cursor.map_times(&storage, |_, diff| sum.add(&diff.0));
            }
            cursor.step_key(&storage);
        }
        rows.pop_if(|(_, tally)| tally.is_zero());
        rows
    }
}

impl View for CellView {
    fn take_frozen(&mut self, sealed: &Sealed) -> Option<i32> {
        take_frozen(&self.dirty, sealed)
    }

    fn write(&mut self, writer: &PartitionWriter, context: &WriteContext) -> Result<(), EncodeError> {
        let as_of_ms = context.as_of_ms;
        let mut days = self.dirty.take();
        // The partition of as_of's window changes with as_of, if it is this worker's.
        let current = match self.table {
            Table::Kpi(_, window) if self.written_as_of_ms.replace(as_of_ms) != Some(as_of_ms) => {
                Some(self.windows.day_of(self.windows.start_ms(window, as_of_ms))).filter(|day| !days.contains(day))
            }
            _ => None,
        };
        days.extend(current);
        for day in days {
            let cells = self.day(day);
            if cells.is_empty() && Some(day) == current {
                continue;
            }
            let rows = cells.len();
            let body = encode_kpi(self.table, cells, &self.windows, as_of_ms)?;
            writer.write(Partition::of_day(self.table, day, SHARD), RowMoves::NoneOut, rows, body);
        }
        Ok(())
    }

    fn size(&self) -> Option<ArrangedSize> {
        let mut trace = self.trace.borrow_mut();
        let batches = trace.batches_through(Antichain::new().borrow()).unwrap_or_default();
        let (mut cursor, storage) = cursor_list(batches);
        let mut size = ArrangedSize { table: self.table, cells: 0, bytes: 0 };
        while cursor.get_key(&storage).is_some() {
            size.cells += 1;
            // A key, and where its updates end.
            size.bytes += (size_of::<Cell>() + size_of::<usize>()) as u64;
            cursor.map_times(&storage, |_, diff| {
                size.bytes += (size_of::<(Epoch, TallyDiff)>() + diff.0.packed_bytes()) as u64;
            });
            cursor.step_key(&storage);
        }
        Some(size)
    }
}

/// Any other table: rows by day.
struct RowView<D: ExchangeData> {
    table: Table,
    trace: Rc<RefCell<RowTrace<D>>>,
    dirty: Dirty,
    encode: Encode<D>,
}

impl<D: ExchangeData> RowView<D> {
    fn day(&self, day: i32) -> Vec<D> {
        let mut trace = self.trace.borrow_mut();
        let batches = trace.batches_through(Antichain::new().borrow()).unwrap_or_default();
        let (mut cursor, storage) = cursor_list(batches);
        cursor.seek_key(&storage, &day);
        let mut rows = Vec::new();
        if cursor.get_key(&storage) != Some(&day) {
            return rows;
        }
        while let Some(row) = cursor.get_val(&storage) {
            let row = row.clone();
            let mut count = 0;
            cursor.map_times(&storage, |_, diff| count += *diff);
            rows.extend((0..count).map(|_| row.clone()));
            cursor.step_val(&storage);
        }
        rows
    }
}

impl<D: ExchangeData> View for RowView<D> {
    fn take_frozen(&mut self, sealed: &Sealed) -> Option<i32> {
        if self.table.is_dated() { take_frozen(&self.dirty, sealed) } else { None }
    }

    fn write(&mut self, writer: &PartitionWriter, context: &WriteContext) -> Result<(), EncodeError> {
        for day in self.dirty.take() {
            let rows = self.day(day);
            let count = rows.len();
            let body = (self.encode)(rows, context.models)?;
            let partition = match self.table.is_dated() {
                true => Partition::of_day(self.table, day, SHARD),
                false => Partition::undated(self.table, SHARD),
            };
            // A late event can move a cycle, and with it its rows, to another day.
            writer.write(partition, RowMoves::Unknown, count, body);
        }
        Ok(())
    }
}
