//! Files that are broken in every way: their rows end in `rejected_events` with reason and place, the good rows count,
//! and the run succeeds.

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use contactflow_tests::model::{Cell, REJECTS};
use contactflow_tests::product::Product;
use contactflow_tests::runner::{RunOptions, write_files};
use contactflow_tests::tables::{parquet_files, read_table, rejects};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use std::io::Write;
use std::sync::Arc;

/// File, row, reason.
type Place = (String, i64, String);

const TIME: &str = "2024-03-01T10:00:00Z";

/// A customer's message, as a line; good unless `more` spoils it.
fn line(id: &str, more: &str) -> String {
    let time = if more.contains("event_time") { String::new() } else { format!(r#","event_time":"{TIME}""#) };
    let kind = if more.contains("event_type") { "" } else { r#","event_type":"message_created""# };
    format!(
        r#"{{"tenant_id":"acme","source":"s","event_id":"{id}","conversation_id":"{id}","actor_type":"customer"{kind}{time}{more}}}"#
    ) + "\n"
}

fn gzip(text: &str) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes())?;
    Ok(encoder.finish()?)
}

/// Two good lines, then a stream that breaks off.
fn truncated() -> Result<Vec<u8>> {
    let mut content = gzip(&(line("t1", "") + &line("t2", "")))?;
    let rest = gzip(&line("t3", r#","text":"it never came""#))?;
    content.extend(&rest[..rest.len() / 2]);
    Ok(content)
}

/// One line of 50 MB between two good ones.
fn huge() -> Vec<u8> {
    let text = "x".repeat(50 << 20);
    [line("h1", ""), line("h2", &format!(r#","text":"{text}""#)), line("h3", "")].concat().into_bytes()
}

/// Lines with one thing wrong each, the reason it must be given; the last is good.
fn wrong_values() -> Vec<(String, &'static str)> {
    let spoilt = [
        (r#","channel":17"#, "bad_type"),
        (r#","text":["a"]"#, "bad_type"),
        (r#","source_version":"first""#, "bad_type"),
        (r#","event_type":"message_sung""#, "unknown_event_type"),
        (r#","event_type":null"#, "missing_field"),
        (r#","event_time":"9999-12-31T23:59:59Z""#, "out_of_range"),
        (r#","event_time":"0000-01-01T00:00:00Z""#, "out_of_range"),
        (r#","event_time":253402300799000"#, "out_of_range"),
        (r#","event_time":"9223372036854775807""#, "out_of_range"),
        (r#","event_time":{"seconds":1}"#, "bad_time"),
        (r#","event_time":"2024-02-30T10:00:00Z""#, "bad_time"),
        (r#","visibility":"whispered""#, "unknown_enum"),
        ("", ""),
    ];
    let mut lines: Vec<(String, &str)> = spoilt
        .iter()
        .enumerate()
        .map(|(number, (more, reason))| (line(&format!("w{number}"), more), *reason))
        .collect();
    for (text, reason) in [
        ("[]", "malformed_json"),
        ("{\"tenant_id\":\"acme\"", "malformed_json"),
        ("\u{0}", "malformed_json"),
        ("{}", "missing_field"),
        ("{\"tenant_id\":{},\"source\":1}", "bad_type"),
    ] {
        lines.push((format!("{text}\n"), reason));
    }
    // Deeper than any parser should follow.
    lines.push((
        line("deep", &format!(r#","attributes":{}1{}"#, "[".repeat(5_000), "]".repeat(5_000))),
        "malformed_json",
    ));
    lines.push((line("last", ""), ""));
    lines
}

fn parquet(columns: Vec<(&str, ArrayRef)>) -> Result<Vec<u8>> {
    let batch = RecordBatch::try_from_iter(columns)?;
    let mut content = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut content, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(content)
}

/// The columns of one message.
fn columns(id: &str) -> Vec<(&'static str, ArrayRef)> {
    let text = |value: &str| Arc::new(StringArray::from(vec![value.to_owned()])) as ArrayRef;
    vec![
        ("tenant_id", text("acme")),
        ("source", text("s")),
        ("event_id", text(id)),
        ("event_type", text("message_created")),
        ("conversation_id", text(id)),
        ("actor_type", text("customer")),
        ("event_time", text(TIME)),
    ]
}

#[test]
fn broken_files_cost_their_broken_rows_only() -> Result<()> {
    let mut missing = columns("p1");
    missing.pop();
    let mut extra = columns("p2");
    extra.push(("favourite_colour", Arc::new(StringArray::from(vec!["blue"]))));
    let mut mistyped = columns("p3");
    mistyped.push(("channel", Arc::new(Int64Array::from(vec![7]))));
    let mut cut = parquet(columns("p4"))?;
    cut.truncate(cut.len() / 2);
    let values = wrong_values();
    let latin = [b"{\"text\":\"caf\xe9\"}\n".as_slice(), line("l2", "").as_bytes()].concat();
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("cut.parquet", cut),
        ("empty.ndjson", Vec::new()),
        ("empty.ndjson.gz", Vec::new()),
        ("empty.parquet", Vec::new()),
        ("extra.parquet", parquet(extra)?),
        ("foreign.parquet", parquet(vec![("n", Arc::new(Int64Array::from(vec![1])))])?),
        ("garbage.ndjson.gz", b"this is no gzip".to_vec()),
        ("garbage.parquet", b"PAR1 nothing of the sort PAR1".to_vec()),
        ("huge.ndjson", huge()),
        ("latin.ndjson", latin),
        ("missing.parquet", parquet(missing)?),
        ("mistyped.parquet", parquet(mistyped)?),
        ("truncated.ndjson.gz", truncated()?),
        ("values.ndjson", values.iter().map(|(line, _)| line.as_str()).collect::<String>().into_bytes()),
    ];
    let files: Vec<(String, Vec<u8>)> = files.into_iter().map(|(name, content)| (name.to_owned(), content)).collect();

    let product = Product::new()?;
    let input = product.folder()?;
    write_files(&input, &files)?;
    let (output, summary) = product.run_over(&[input], &RunOptions { workers: 2, ..RunOptions::default() })?;

    let mut expected: Vec<Place> = [
        ("cut.parquet", 0, "unreadable_file"),
        ("empty.parquet", 0, "unreadable_file"),
        ("foreign.parquet", 0, "unreadable_file"),
        ("garbage.ndjson.gz", 1, "unreadable_file"),
        ("garbage.parquet", 0, "unreadable_file"),
        ("huge.ndjson", 2, "too_large"),
        ("latin.ndjson", 1, "encoding"),
        ("missing.parquet", 1, "missing_field"),
        ("mistyped.parquet", 1, "bad_type"),
        ("truncated.ndjson.gz", 3, "unreadable_file"),
    ]
    .map(|(file, row, reason)| (file.to_owned(), row, reason.to_owned()))
    .to_vec();
    let bad = values.iter().enumerate().filter(|(_, (_, reason))| !reason.is_empty());
    expected.extend(bad.map(|(row, (_, reason))| ("values.ndjson".to_owned(), row as i64 + 1, (*reason).to_owned())));
    let mut found = rejects(&output)?;
    found.sort();
    expected.sort();
    let only = |one: &[Place], other: &[Place]| -> Vec<Place> {
        one.iter().filter(|place| !other.contains(place)).cloned().collect()
    };
    assert_eq!((only(&found, &expected), only(&expected, &found)), (vec![], vec![]), "unexpected, and missing");
    assert_eq!(found.len(), expected.len());

    // p2, h1, h3, l2, t1, t2, and the good ones among the wrong values.
    let good = 6 + values.iter().filter(|(_, reason)| reason.is_empty()).count() as i64;
    let mut inbound = 0;
    for columns in read_table(&output, "kpi_channel_day")?.values() {
        if let Cell::Int(count) = columns["messages_inbound_count"] {
            inbound += count;
        }
    }
    assert_eq!(inbound, good);
    assert_eq!(summary.files, files.len());
    assert!(!parquet_files(&output.join(REJECTS)).context("no rejects")?.is_empty());
    Ok(())
}
