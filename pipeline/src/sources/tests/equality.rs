//! The same rows are the same in every format.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, MapBuilder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use contactflow_schemas::event::Delivery;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::*;

/// The rows of [`super::line`].
pub(super) fn batch(rows: usize) -> RecordBatch {
    let constant = |text: &'static str| text_column((0..rows).map(|_| text.to_owned()));
    let numbered = |text: &'static str| text_column((0..rows).map(move |row| format!("{text}{row}")));
    let times = (0..rows as i64).map(|row| (1_709_287_200_000 + row % 1000) * 1000 + 999);
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("+02:00"));
    RecordBatch::try_from_iter([
        ("tenant_id", constant("t")),
        ("source", constant("chatwoot")),
        ("event_id", numbered("e")),
        ("event_type", constant("message_created")),
        ("event_time", times),
        ("conversation_id", numbered("c")),
        ("channel", constant("chat")),
        ("actor_type", constant("customer")),
        ("message_id", numbered("m")),
        ("direction", constant("inbound")),
        ("text", numbered("hello ")),
    ])
    .unwrap()
}

pub(super) fn text_column(texts: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

/// Writes a batch as Parquet.
pub(super) fn parquet_of(batch: &RecordBatch, group_rows: usize) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(group_rows))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

/// `batch` with one more column.
pub(super) fn with_column(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let names = batch.schema();
    let names = names.fields().iter().map(|field| field.name().as_str());
    let columns = names.zip(batch.columns().iter().cloned()).chain([(name, column)]);
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

/// The comparable part of rows: everything but where they were read.
pub(super) fn essence(outcomes: &[Outcome]) -> Vec<String> {
    let rows = outcomes.iter().map(|outcome| {
        let (row, (conversation, event)) = (outcome.as_ref().unwrap(), event(outcome));
        let Delivery { key, version, content, .. } = row.delivery;
        let (time_ms, channel, body) = (event.time_ms, event.channel, &event.body);
        format!("{key:?} {version} {content} {conversation:?} {time_ms} {channel:?} {body:?} {:?}", row.text)
    });
    rows.collect()
}

#[test]
fn plain_compressed_and_columnar_rows_are_equal() {
    let text = lines(9000);
    let plain = essence(&read("a.ndjson", text.as_bytes()));
    assert_eq!(plain.len(), 9000);
    assert_eq!(plain, essence(&read("a.ndjson.gz", &gzip(text.as_bytes()))));
    assert_eq!(plain, essence(&read("a.ndjson.zst", &zstd_of(text.as_bytes()))));
    let parquet = parquet_of(&batch(9000), 4000);
    let rows = read("a.parquet", &parquet);
    assert_eq!(plain, essence(&rows));
    let numbers = rows.iter().map(|row| row.as_ref().unwrap().delivery.origin.row);
    assert!(numbers.eq(1..=9000));
    let (root, files) = in_memory("memory:///equality", "a.parquet", parquet);
    assert_eq!(plain, essence(&read_all(&root, &files[0])));
}

#[test]
fn unknown_columns_are_passed_over_and_missing_ones_are_null() {
    let plain = essence(&read("a.ndjson", lines(3).as_bytes()));
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
    let wide = with_column(&batch(3), "whatever", numbers);
    assert_eq!(plain, essence(&read("a.parquet", &parquet_of(&wide, 100))));
    let narrow = batch(3).project(&[1, 2, 3, 4]).unwrap();
    let rows = read("a.parquet", &parquet_of(&narrow, 100));
    let missing = (1..=3).map(|row| (row, Reason::MissingField)).collect();
    assert_eq!(summary(&rows), (0, missing));
    let raw = rows[0].as_ref().unwrap_err().reject.raw.clone().unwrap();
    let expected = r#"{"source":"chatwoot","event_id":"e0","event_type":"message_created","event_time":"2024-03-01T10:00:00.000Z"}"#;
    assert_eq!(raw, expected);
}

#[test]
fn maps_are_equal_whatever_the_order_and_format() {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for (key, value) in [("z", Some("\"quoted\"\n")), ("a", Some("é")), ("n", None)] {
        maps.keys().append_value(key);
        maps.values().append_option(value);
    }
    maps.append(true).unwrap();
    let map: ArrayRef = Arc::new(maps.finish());
    let parquet = essence(&read("a.parquet", &parquet_of(&with_column(&batch(1), "attributes", map), 100)));
    for attributes in [
        r#"{"a":"é","z":"\"quoted\"\n"}"#,
        r#"{ "z": "\u0022quoted\u0022\n", "n": null, "a": "\u00e9" }"#,
        r#""{\"z\":\"\\\"quoted\\\"\\n\",\"a\":\"é\"}""#,
    ] {
        let row = line(0).replacen('{', &format!("{{\"attributes\":{attributes},"), 1);
        assert_eq!(parquet, essence(&read("a.ndjson", row.as_bytes())), "{attributes}");
    }
    assert_ne!(parquet, essence(&read("a.ndjson", line(0).as_bytes())));
}
