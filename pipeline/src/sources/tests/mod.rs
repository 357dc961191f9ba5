//! Tests of the event sources.

mod damaged;
mod equality;
mod listing;
mod ndjson;
mod speed;
mod types;

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use bytes::Bytes;
use contactflow_schemas::event::{ConversationKey, Event, Statement};
use contactflow_schemas::masking::Masking;
use contactflow_schemas::normalise::Normalised;
use contactflow_schemas::reject::{Reason, RejectedRow};

use super::*;
use crate::store::Root;

type Outcome = Result<Normalised, Box<RejectedRow>>;

/// A folder of files that goes with the test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn root(&self) -> Root {
        Root::open(self.0.path().to_str().unwrap(), false).unwrap()
    }
}

/// Reads a file to its end.
fn read_all(root: &Root, file: &SourceFile) -> Vec<Outcome> {
    let mut reader = FileReader::open(root, file, Masking::default());
    let mut out = Vec::new();
    while reader.next_chunk(&mut out).unwrap() {}
    assert!(!reader.next_chunk(&mut out).unwrap(), "the end stays the end");
    assert_eq!(reader.rows(), out.len() as u64);
    out
}

/// Reads a file with this content.
fn read(name: &str, content: &[u8]) -> Vec<Outcome> {
    let folder = Folder::new();
    let root = folder.write(name, content).root();
    let files = list_event_files(std::slice::from_ref(&root)).unwrap();
    assert_eq!(files.len(), 1);
    read_all(&root, &files[0])
}

/// A valid line about the conversation `number`.
fn line(number: usize) -> String {
    format!(
        r#"{{"tenant_id":"t","source":"chatwoot","event_id":"e{number}","event_type":"message_created","event_time":"2024-03-01T10:00:00.{:03}Z","conversation_id":"c{number}","channel":"chat","actor_type":"customer","message_id":"m{number}","direction":"inbound","text":"hello {number}"}}"#,
        number % 1000
    )
}

fn lines(count: usize) -> String {
    (0..count).map(|number| line(number) + "\n").collect()
}

/// Row and reason of the rejects; how many rows are good.
fn summary(outcomes: &[Outcome]) -> (usize, Vec<(u64, Reason)>) {
    let rejects = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    let rejects: Vec<_> = rejects.map(|row| (row.reject.row, row.reject.reason)).collect();
    (outcomes.len() - rejects.len(), rejects)
}

fn messages(outcomes: &[Outcome]) -> Vec<&str> {
    let rejects = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    rejects.map(|row| row.reject.message.as_str()).collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd_of(content: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(content, 1).unwrap()
}

/// Puts a file into the memory store and lists it.
fn in_memory(url: &str, name: &str, content: Vec<u8>) -> (Root, Vec<SourceFile>) {
    let root = Root::open(url, true).unwrap();
    root.put(&root.at(name), Bytes::from(content)).unwrap();
    let files = list_event_files(std::slice::from_ref(&root)).unwrap();
    (root, files)
}

/// The event of a good row.
fn event(outcome: &Outcome) -> (&ConversationKey, &Event) {
    match &outcome.as_ref().unwrap().delivery.statement {
        Statement::Happened(conversation, event) => (conversation, event),
        other => panic!("an event of a conversation was expected: {other:?}"),
    }
}
