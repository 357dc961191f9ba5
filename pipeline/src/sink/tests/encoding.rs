//! Bytes of tables: the same for equal rows, and with the types, nulls and descriptions of the schema.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use bytes::Bytes;
use contactflow_schemas::clock::{DAY_MS, HOUR_MS, Window};
use contactflow_schemas::facts::{Cell, Grouping};
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tables::Table;
use contactflow_schemas::tally::Tally;
use contactflow_schemas::windows::Windows;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::ColumnOrder;
use sha2::{Digest, Sha256};

use super::rows;
use crate::sink::encode::*;

const AGENT_CHANNEL_HOUR: Table = Table::Kpi(Grouping::AgentChannel, Window::Hour);

/// KPI cells in UTC, as of a time that none of them depends on.
fn encode(table: Table, cells: Vec<(Cell, Tally)>) -> Result<Bytes, EncodeError> {
    encode_kpi(table, cells, &Windows::utc(), 0)
}

/// One small file per table, its rows rotated by `turn` and reversed where `turn` is odd.
fn files(turn: usize) -> Vec<(&'static str, Bytes)> {
    fn shuffled<T>(mut rows: Vec<T>, turn: usize) -> Vec<T> {
        let by = turn * 7 % rows.len();
        rows.rotate_left(by);
        if turn % 2 == 1 {
            rows.reverse();
        }
        rows
    }
    let mut channel_cells = rows::cells(0);
    channel_cells.retain(|(cell, _)| cell.window_start_ms % DAY_MS == 0);
    vec![
        ("kpi_agent_channel_hour", encode(AGENT_CHANNEL_HOUR, shuffled(rows::cells(12), turn)).unwrap()),
        ("kpi_channel_day", encode(Table::Kpi(Grouping::Channel, Window::Day), shuffled(channel_cells, turn)).unwrap()),
        ("conversation_facts", encode_facts(shuffled(rows::facts(), turn)).unwrap()),
        (
            "message_scores",
            encode_message_scores(Table::MessageScores, shuffled(rows::message_scores(), turn), "head-1").unwrap(),
        ),
        (
            "conversation_scores",
            encode_conversation_scores(
                Table::ConversationScores,
                shuffled(rows::conversation_scores(), turn),
                "head-1",
            )
            .unwrap(),
        ),
        ("topic_window", encode_topics(shuffled(rows::topics(), turn), &Windows::utc(), "head-1").unwrap()),
        ("model_eval", encode_evaluations(shuffled(rows::evaluations(), turn), &Windows::utc(), &models()).unwrap()),
        ("anomaly_scores", encode_anomalies(shuffled(rows::anomalies(), turn)).unwrap()),
        ("rejected_events", encode_rejects(shuffled(rows::rejects(), turn)).unwrap()),
    ]
}

fn models() -> ModelIds {
    ModelIds { published: "head-1".to_owned(), candidate: "head-2".to_owned() }
}

fn read(body: &Bytes) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(body.clone()).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<_> = reader.with_batch_size(1 << 20).build().unwrap().map(Result::unwrap).collect();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

fn hex(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn equal_rows_in_any_order_give_equal_bytes() {
    // Symbols that were interned in another order than that of their strings.
    for name in ["voice", "conversation-019", "agent-0009", "agent-0001", "chat"] {
        Symbol::new(name);
    }
    let first = files(0);
    for turn in 1..6 {
        for ((table, expected), (_, body)) in first.iter().zip(files(turn)) {
            assert!(*expected == body, "{table} in order {turn}");
        }
    }
}

/// These change only together with `CREATED_BY`, since they make every published file differ.
#[test]
fn bytes_are_those_of_every_other_process_and_version() {
    let golden = [
        ("kpi_agent_channel_hour", "640dcd181b81f1bc"),
        ("kpi_channel_day", "e0b99bbf84b6772c"),
        ("conversation_facts", "98cdf66b878cb52b"),
        ("message_scores", "c9be5ac4df012e26"),
        ("conversation_scores", "704af25faa7316cb"),
        ("topic_window", "22381a9eaab5b46a"),
        ("model_eval", "3de26f6ca4a72dd5"),
        ("anomaly_scores", "e932c6a70b31eee5"),
        ("rejected_events", "bc10c87a24e54a0b"),
    ];
    let found: Vec<_> = files(0).into_iter().map(|(table, body)| (table, hex(&body)[..16].to_owned())).collect();
    let golden: Vec<_> = golden.into_iter().map(|(table, hash)| (table, hash.to_owned())).collect();
    assert_eq!(found, golden);
}

#[test]
fn files_have_the_schema_of_their_table_with_descriptions() {
    for (name, body) in files(0) {
        let table = Table::all().find(|table| table.name() == name).unwrap();
        assert_eq!(read(&body).schema().fields(), table.schema().fields(), "{name}");
    }
}

/// Polars refuses files that declare another order.
#[test]
fn every_column_declares_the_order_that_all_readers_know() {
    for (name, body) in files(0) {
        let reader = ParquetRecordBatchReaderBuilder::try_new(body).unwrap();
        let orders = reader.metadata().file_metadata().column_orders().unwrap();
        assert!(orders.iter().all(|order| matches!(order, ColumnOrder::TYPE_DEFINED_ORDER(_))), "{name}: {orders:?}");
    }
}

#[test]
fn rows_are_sorted_by_their_strings_nobody_first() {
    let batch = read(&files(3)[0].1);
    let text = |name: &str, row: usize| {
        let column = batch.column_by_name(name).unwrap().as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    let keys: Vec<_> = (0..batch.num_rows()).map(|row| (text("channel", row), text("agent_id", row))).collect();
    assert!(keys.is_sorted());
    assert_eq!(keys[0], (Some("chat".to_owned()), None));
    assert_eq!(keys[24].1.as_deref(), Some("agent-0001"));
}

/// Eight negative labels, of which six are met; four positive ones, all met.
#[test]
fn agreement_is_counted_by_class_and_over_all() {
    let batch = encode_evaluations(rows::evaluations(), &Windows::utc(), &models()).unwrap();
    let batch = read(&batch);
    let number = |name: &str, row: usize| {
        let column = batch.column_by_name(name).unwrap().as_primitive::<Float64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    let row = |row: usize| ["accuracy", "precision", "recall", "f1"].map(|name| number(name, row));
    let f1 = [12.0 / 14.0, 8.0 / 10.0];
    assert_eq!(batch.num_rows(), 12);
    assert_eq!(row(0), [Some(10.0 / 12.0), Some((1.0 + 4.0 / 6.0) / 2.0), Some(0.875), Some((f1[0] + f1[1]) / 2.0)]);
    assert_eq!(row(1), [None, Some(1.0), Some(0.75), Some(f1[0])]);
    assert_eq!(row(2), [None, Some(4.0 / 6.0), Some(1.0), Some(f1[1])]);
}

#[test]
fn missing_is_null_and_counts_are_zero() {
    let batch = read(&files(0)[0].1);
    let csat_count = batch.column_by_name("csat_count").unwrap().as_primitive::<Int64Type>();
    let csat_mean = batch.column_by_name("csat_mean").unwrap().as_primitive::<Float64Type>();
    let reopens = batch.column_by_name("reopens_count").unwrap().as_primitive::<Int64Type>();
    assert_eq!((csat_count.value(0), csat_mean.value(0)), (1, 4.6));
    assert_eq!((csat_count.value(1), csat_mean.is_null(1)), (0, true));
    assert_eq!((reopens.null_count(), reopens.value(0)), (0, 0));

    let facts = read(&files(0)[2].1);
    let sums = facts.column_by_name("reply_time_sum_ms").unwrap().as_primitive::<Int64Type>();
    assert_eq!((sums.value(0), sums.is_null(1)), (60_000, true));
    let rated = facts.column_by_name("csat_sum").unwrap().as_primitive::<Float64Type>();
    assert_eq!((rated.value(0), rated.is_null(1)), (4.6, true));
}

#[test]
fn a_key_that_comes_twice_is_refused() {
    let table = AGENT_CHANNEL_HOUR;
    let mut cells = rows::cells(1);
    cells.push(cells[3].clone());
    assert!(matches!(encode(table, cells), Err(EncodeError::DuplicateKey { .. })));
    assert!(matches!(encode(Table::ConversationFacts, Vec::new()), Err(EncodeError::NotKpi { .. })));
    let mut scores = rows::conversation_scores();
    scores[0].scored_turns = 0;
    let encoded = encode_conversation_scores(Table::ConversationScores, scores, "m");
    assert!(matches!(encoded, Err(EncodeError::NothingScored { .. })));
}

#[test]
fn more_rows_than_a_batch_and_a_row_group_stay_deterministic() {
    let cells: Vec<_> = rows::cells(2_900);
    let table = AGENT_CHANNEL_HOUR;
    let body = encode(table, cells.clone()).unwrap();
    let reversed = encode(table, cells.iter().rev().cloned().collect()).unwrap();
    assert!(body == reversed);
    let reader = ParquetRecordBatchReaderBuilder::try_new(body).unwrap();
    let metadata = reader.metadata();
    assert_eq!((metadata.file_metadata().num_rows(), metadata.num_row_groups()), (cells.len() as i64, 2));
}

/// `cargo nextest run -p contactflow sink --run-ignored only --no-capture`
#[test]
#[ignore = "a measurement, not a check"]
fn encoding_speed() {
    let table = AGENT_CHANNEL_HOUR;
    for (files, agents) in [(1, 15_000), (60, 250), (600, 24)] {
        let parts: Vec<_> = (0..files).map(|_| rows::cells(agents)).collect();
        let rows: usize = parts.iter().map(Vec::len).sum();
        let begin = std::time::Instant::now();
        let bytes: usize = parts.into_iter().map(|cells| encode(table, cells).unwrap().len()).sum();
        println!("{files} files, {rows} rows, {bytes} bytes: {:?}", begin.elapsed());
    }
}

/// Writes the small tables for the check with DuckDB, Polars and pandas.
#[test]
#[ignore = "writes files for outside readers into $CONTACTFLOW_SINK_OUT"]
fn files_for_outside_readers() {
    let Some(folder) = std::env::var_os("CONTACTFLOW_SINK_OUT") else {
        return;
    };
    for (name, body) in files(0) {
        let path = std::path::Path::new(&folder).join(name).join("date=2024-03-01");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("part-0.parquet"), body).unwrap();
    }
    let row = CommitRow {
        commit: 1,
        epoch: 2,
        committed_at_ms: i64::from(rows::DAY) * DAY_MS + HOUR_MS,
        as_of_ms: None,
        source_files: 1,
        source_bytes: 2,
        rows_read: 3,
        restated_cells: 0,
        files_written: 4,
        files_removed: 5,
        rows_written: 6,
        bytes_written: 7,
        duration_ms: 8,
    };
    std::fs::write(std::path::Path::new(&folder).join("commit.parquet"), encode_commit(&row).unwrap()).unwrap();
}
