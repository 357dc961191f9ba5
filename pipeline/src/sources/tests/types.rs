//! Column types of Parquet files.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Date32Array, DictionaryArray, Float32Array, Int8Array, Int64Array, StringArray,
    Time64MicrosecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, TimeUnit};

use super::equality::{batch, essence, parquet_of, with_column};
use super::*;

/// `batch` with the column `name` cast to `data_type`.
fn recast(name: &str, data_type: &DataType) -> Vec<Outcome> {
    let rows = batch(5);
    let index = rows.schema().index_of(name).unwrap();
    let column = cast(rows.column(index), data_type).unwrap();
    replaced(name, column)
}

fn replaced(name: &str, column: ArrayRef) -> Vec<Outcome> {
    let rows = batch(column.len());
    let index = rows.schema().index_of(name).unwrap();
    let others: Vec<_> = (0..rows.num_columns()).filter(|other| *other != index).collect();
    let rows = with_column(&rows.project(&others).unwrap(), name, column);
    read("a.parquet", &parquet_of(&rows, 100))
}

#[test]
fn texts_of_every_representation_are_equal() {
    let expected = essence(&read("a.ndjson", lines(5).as_bytes()));
    let dictionary = DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8));
    for data_type in [
        DataType::LargeUtf8,
        DataType::Utf8View,
        DataType::Binary,
        DataType::LargeBinary,
        DataType::BinaryView,
        dictionary,
    ] {
        assert_eq!(expected, essence(&recast("message_id", &data_type)), "{data_type}");
    }
}

#[test]
fn times_of_every_unit_are_ms_utc() {
    for data_type in [
        DataType::Timestamp(TimeUnit::Millisecond, None),
        DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(TimeUnit::Nanosecond, None),
        DataType::Timestamp(TimeUnit::Second, None),
        DataType::Int64,
        DataType::Date64,
        DataType::Date32,
    ] {
        // Integers are ms, not the µs of the batch; Parquet has dates of days only.
        let source = batch(1);
        let ms = cast(source.column(4), &DataType::Timestamp(TimeUnit::Millisecond, None)).unwrap();
        let rows = replaced("event_time", cast(&ms, &data_type).unwrap());
        let time_ms = rows[0].as_ref().unwrap().delivery.time_ms;
        let day_only = matches!(data_type, DataType::Date32 | DataType::Date64);
        let expected = if day_only { 1_709_251_200_000 } else { 1_709_287_200_000 };
        assert_eq!(time_ms, Some(expected), "{data_type}");
    }
}

#[test]
fn a_named_zone_changes_no_instant() {
    let times = TimestampNanosecondArray::from(vec![1_709_287_200_000_999_999]).with_timezone("America/New_York");
    let rows = replaced("event_time", Arc::new(times));
    assert_eq!(rows[0].as_ref().unwrap().delivery.time_ms, Some(1_709_287_200_000));
}

#[test]
fn numbers_of_every_width_fit() {
    let columns: [ArrayRef; 4] = [
        Arc::new(Int8Array::from(vec![4])),
        Arc::new(UInt64Array::from(vec![4])),
        Arc::new(Float32Array::from(vec![4.0])),
        cast(&Int64Array::from(vec![4]), &DataType::Decimal128(10, 2)).unwrap(),
    ];
    let contents = columns.map(|column| {
        let rows = read("a.parquet", &parquet_of(&with_column(&batch(1), "rating", column), 100));
        rows[0].as_ref().unwrap().delivery.content
    });
    assert!(contents.iter().all(|content| *content == contents[0]), "{contents:?}");
}

#[test]
fn wrong_types_are_rejected_row_by_row() {
    let bad: [(&str, ArrayRef, Reason); 6] = [
        ("text", Arc::new(Int64Array::from(vec![Some(1), None])), Reason::BadType),
        ("event_time", Arc::new(Float32Array::from(vec![Some(0.5), None])), Reason::BadTime),
        ("channel", Arc::new(Date32Array::from(vec![Some(1), None])), Reason::BadType),
        ("channel", Arc::new(Time64MicrosecondArray::from(vec![Some(1), None])), Reason::BadType),
        ("channel", Arc::new(BinaryArray::from(vec![Some(&b"\xff"[..]), None])), Reason::BadType),
        ("conversation_id", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None])), Reason::BadType),
    ];
    for (name, column, reason) in bad {
        let rows = replaced(name, column);
        assert_eq!(rows.len(), 2);
        assert_eq!(summary(&rows).1[0], (1, reason), "{name}: {:?}", messages(&rows));
    }
    let times: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![1]));
    let rows = read("a.parquet", &parquet_of(&with_column(&batch(1), "attributes", times), 100));
    assert_eq!(summary(&rows), (0, vec![(1, Reason::BadType)]));
}

#[test]
fn nulls_in_dictionaries_and_whole_null_columns_are_null() {
    let keys = arrow::array::Int32Array::from(vec![Some(0), None, Some(1)]);
    let values = Arc::new(StringArray::from(vec![Some("voice"), None]));
    let channel: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::new(keys, values));
    let rows = replaced("channel", channel);
    let channels = rows.iter().map(|row| event(row).1.channel.map(|channel| channel.as_str()));
    assert_eq!(channels.collect::<Vec<_>>(), [Some("voice"), None, None]);
    let nothing = arrow::array::new_null_array(&DataType::Utf8, 2);
    assert_eq!(summary(&replaced("channel", nothing)), (2, vec![]));
}

#[test]
fn a_text_beyond_the_limit_is_rejected() {
    let texts = ["short".to_owned(), "x".repeat(ROW_BYTES_MAX + 1), "short".to_owned()];
    let rows = replaced("text", super::equality::text_column(texts.into_iter()));
    assert_eq!(summary(&rows), (2, vec![(2, Reason::TooLarge)]));
}
