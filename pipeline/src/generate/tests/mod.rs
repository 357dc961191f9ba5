//! Tests of whole data sets, read back as a job would read them.

mod disorder;
mod incidents;
mod memory;
mod options;
mod output;
mod realism;
mod speed;

use std::io::Read;

use bytes::Bytes;
use chrono::DateTime;
use serde_json::Value;

use super::{Format, GenerateOptions, TRUTH_PATH, Truth, generate};

/// A data set held in memory.
struct DataSet {
    files: Vec<(String, Bytes)>,
    truth: Truth,
}

impl DataSet {
    fn new(options: &GenerateOptions) -> Self {
        let mut files = Vec::new();
        let mut sink = |path: &str, content: Bytes| {
            files.push((path.to_owned(), content));
            Ok(())
        };
        let truth = generate(options, &mut sink, &mut |_| ()).unwrap();
        Self { files, truth }
    }

    /// The event files, without the answer sheet.
    fn event_files(&self) -> impl Iterator<Item = &(String, Bytes)> {
        self.files.iter().filter(|(path, _)| path != TRUTH_PATH)
    }

    /// The rows of NDJSON event files, in order.
    fn rows(&self) -> Vec<Value> {
        self.event_files().flat_map(|(_, content)| ndjson_rows(content)).collect()
    }
}

fn ndjson_rows(content: &Bytes) -> Vec<Value> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(content.as_ref()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A small orderly month in NDJSON.
fn small() -> GenerateOptions {
    GenerateOptions {
        conversations: 6_000,
        agents: 20,
        days: 21,
        format: Format::Ndjson,
        text: false,
        disorder: false,
        ..GenerateOptions::default()
    }
}

fn str_of<'a>(row: &'a Value, column: &str) -> &'a str {
    row[column].as_str().unwrap_or_default()
}

/// A time column, milliseconds since the Unix epoch.
fn time_of(row: &Value, column: &str) -> i64 {
    DateTime::parse_from_rfc3339(str_of(row, column)).unwrap().timestamp_millis()
}

fn is(row: &Value, event_type: &str) -> bool {
    row["event_type"] == event_type
}

/// A public message of an agent.
fn is_reply(row: &Value) -> bool {
    is(row, "message_created") && row["actor_type"] == "agent" && row["visibility"] == "public"
}

fn is_customer_message(row: &Value) -> bool {
    is(row, "message_created") && row["actor_type"] == "customer"
}
