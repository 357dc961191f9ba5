//! Files, formats and columns.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMillisecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::generate::columns::Column;

#[test]
fn equal_options_give_equal_bytes() {
    for format in [Format::Parquet, Format::Ndjson] {
        let options = GenerateOptions { conversations: 2_000, days: 16, format, ..GenerateOptions::default() };
        let (first, second) = (DataSet::new(&options), DataSet::new(&options));
        assert!(first.files == second.files);
        assert_eq!(first.truth, second.truth);
        let other = DataSet::new(&GenerateOptions { seed: 43, ..options });
        assert!(first.files != other.files);
    }
}

#[test]
fn counts_are_those_of_the_rows() {
    let data = DataSet::new(&GenerateOptions { disorder: true, ..small() });
    let (rows, truth) = (data.rows(), &data.truth);
    assert_eq!(truth.rows, rows.len() as u64);
    assert_eq!(truth.rows, truth.events + truth.duplicates + truth.retracts + truth.malformed);
    assert_eq!(truth.files, data.event_files().count() as u64);
    assert_eq!(truth.conversations, 6_000);
    assert_eq!(truth.conversations_by_channel.values().sum::<u64>(), 6_000);
    assert_eq!(data.files.last().unwrap().0, TRUTH_PATH);
    let sheet: Value = serde_json::from_slice(&data.files.last().unwrap().1).unwrap();
    assert_eq!(sheet["events"], truth.events);
    assert_eq!(sheet["incidents"].as_array().unwrap().len(), truth.incidents.len());
}

#[test]
fn orderly_files_hold_their_day_in_order() {
    let data = DataSet::new(&GenerateOptions { max_rows_per_file: 1_000, ..small() });
    let mut paths = BTreeSet::new();
    for (path, content) in data.event_files() {
        assert!(paths.insert(path.clone()), "{path} written twice");
        let date = &path["events/date=".len()..][..10];
        let rows = ndjson_rows(content);
        assert!((1..=1_000).contains(&rows.len()));
        assert!(rows.iter().all(|row| str_of(row, "event_time").starts_with(date)));
        assert!(rows.is_sorted_by_key(|row| time_of(row, "event_time")));
    }
    assert!(paths.iter().any(|path| path.contains("part-0001")));
}

#[test]
fn formats_hold_the_same_rows() {
    let ndjson = DataSet::new(&small());
    let parquet = DataSet::new(&GenerateOptions { format: Format::Parquet, ..small() });
    assert_eq!(ndjson.truth, parquet.truth);
    for ((_, lines), (path, content)) in ndjson.event_files().zip(parquet.event_files()) {
        let rows = ndjson_rows(lines);
        let reader = ParquetRecordBatchReaderBuilder::try_new(content.clone()).unwrap();
        let mut at = 0;
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let ids = batch["event_id"].as_string::<i32>();
            let times = batch["event_time"].as_primitive::<TimestampMillisecondType>();
            let ratings = batch["rating"].as_primitive::<Int64Type>();
            for position in 0..batch.num_rows() {
                let row = &rows[at];
                assert_eq!(str_of(row, "event_id"), ids.value(position));
                assert_eq!(time_of(row, "event_time"), times.value(position));
                assert_eq!(row["rating"].as_i64(), ratings.is_valid(position).then(|| ratings.value(position)));
                assert_eq!(row["attributes"].is_null(), batch["attributes"].is_null(position));
                at += 1;
            }
        }
        assert_eq!(at, rows.len(), "{path}");
    }
}

#[test]
fn parquet_has_the_columns_of_the_contract() {
    let options = GenerateOptions { conversations: 200, days: 1, format: Format::Parquet, ..small() };
    let data = DataSet::new(&options);
    let reader = ParquetRecordBatchReaderBuilder::try_new(data.files[0].1.clone()).unwrap();
    let schema = reader.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, Column::ALL.iter().map(|(_, name, _)| *name).collect::<Vec<_>>());
    let type_of = |name: &str| schema.field_with_name(name).unwrap().data_type().clone();
    assert_eq!(type_of("event_time"), DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())));
    assert_eq!(type_of("source_version"), DataType::Int64);
    assert_eq!(type_of("business_hours"), DataType::Boolean);
    assert!(matches!(type_of("attributes"), DataType::Map(..)));
}

#[test]
fn events_have_what_their_type_requires() {
    let required: &[(&str, &[&str])] = &[
        ("agent_upserted", &["agent_id", "team_id", "attributes"]),
        ("calendar_upserted", &["calendar_id", "timezone", "ranges", "holidays"]),
        (
            "sla_policy_upserted",
            &["policy_id", "first_response_target_ms", "resolution_target_ms", "business_hours", "pause_statuses"],
        ),
        ("agent_status_changed", &["agent_id", "status"]),
        ("sla_applied", &["policy_id"]),
        ("conversation_created", &["priority", "direction", "attributes"]),
        ("message_created", &["message_id", "direction", "visibility", "content_type", "text", "language"]),
        ("message_edited", &["message_id", "text"]),
        ("status_changed", &["from_status", "to_status"]),
        ("queued", &["queue_id"]),
        ("dequeued", &["queue_id", "reason"]),
        ("assigned", &["agent_id"]),
        ("transferred", &["transfer_kind", "from_agent_id", "agent_id"]),
        ("segment_started", &["segment_id", "agent_id"]),
        ("segment_ended", &["segment_id", "agent_id", "duration_ms"]),
        ("bot_handoff", &["reason"]),
        ("csat_sent", &["survey_id"]),
        ("csat_rated", &["survey_id", "rating", "rating_scale"]),
    ];
    let rows = DataSet::new(&GenerateOptions { text: true, disorder: true, ..small() }).rows();
    let mut seen = BTreeSet::new();
    // The ids of malformed rows are told by their prefix, or missing.
    for row in rows.iter().filter(|row| !row["event_id"].is_null() && !str_of(row, "event_id").contains("-x")) {
        let event_type = str_of(row, "event_type");
        let (name, columns) = required.iter().find(|(name, _)| *name == event_type).unwrap();
        seen.insert(name);
        let mut envelope = vec!["tenant_id", "source", "event_id", "event_time", "ingest_time", "op", "actor_type"];
        let is_dimension = ["agent_upserted", "calendar_upserted", "sla_policy_upserted", "agent_status_changed"]
            .contains(&event_type);
        if !is_dimension {
            envelope.extend(["conversation_id", "contact_id", "channel"]);
        }
        for column in columns.iter().chain(&envelope) {
            assert!(!row[column].is_null(), "{column} is missing in {row}");
        }
        assert!(str_of(row, "event_id").len() <= 20);
    }
    assert_eq!(seen.len(), required.len(), "{seen:?}");
}

#[test]
fn progress_ends_at_the_number_of_conversations() {
    let (mut last, mut calls) = (0, 0);
    let mut progress = |started| {
        assert!(started >= last);
        last = started;
        calls += 1;
    };
    generate(&small(), &mut |_, _| Ok(()), &mut progress).unwrap();
    assert_eq!((last, calls), (6_000, 21 * 24));
}
