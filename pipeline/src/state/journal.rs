//! What one worker writes to the state, and when.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use contactflow_operators::deduplicate::{Incoming, Journal};
use contactflow_operators::epochs::Epoch;
use serde::Serialize;

use super::{STATE, SegmentWriter, StateError, StateFile, StateKind};
use crate::ingest::major_epoch;
use crate::sink::{Objects, sha256_hex};

/// Encoded bytes from which on a file is written without waiting for the commit, so that memory stays bounded.
const SEGMENT_BYTES: usize = 16 << 20;

/// Files written since the last call, part of the next commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewState {
    /// They are added to those of the last commit.
    pub added: Vec<StateFile>,
}

/// The rows of one kind that wait for their file.
struct Stream {
    kind: StateKind,
    model_id: Option<String>,
    writer: SegmentWriter,
}

struct Inner {
    objects: Arc<dyn Objects>,
    /// Names the worker and the generation it writes in.
    stem: String,
    files: u64,
    deliveries: Stream,
    new: NewState,
    /// The first error; nothing is written after it.
    failed: Option<StateError>,
}

/// The state that one worker writes; clones share it.
#[derive(Clone)]
pub struct StateJournal(Option<Rc<RefCell<Inner>>>);

impl StateJournal {
    /// The journal of `worker` in a job that holds the root in this generation.
    pub fn new(objects: Arc<dyn Objects>, generation: u64, worker: usize) -> Self {
        let stream = |kind| Stream { kind, model_id: None, writer: SegmentWriter::default() };
        Self(Some(Rc::new(RefCell::new(Inner {
            objects,
            stem: format!("{generation:010}-{worker:04}"),
            files: 0,
            deliveries: stream(StateKind::Deliveries),
            new: NewState::default(),
            failed: None,
        }))))
    }

    /// Keeps nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Writes what was recorded and returns the files written since the last call. Call it when the dataflow has passed
    /// the epochs of the commit.
    ///
    /// # Errors
    /// The first error since the journal was made.
    pub fn flush(&self) -> Result<NewState, StateError> {
        let Some(inner) = &self.0 else { return Ok(NewState::default()) };
        let inner = &mut *inner.borrow_mut();
        if let Some(error) = inner.failed.take() {
            return Err(error);
        }
        inner.write_file()?;
        Ok(std::mem::take(&mut inner.new))
    }
}

impl Inner {
    fn push(&mut self, key: u128, version: i64, row: &impl Serialize) {
        if self.failed.is_some() {
            return;
        }
        let done = if self.deliveries.writer.encoded_bytes() >= SEGMENT_BYTES { self.write_file() } else { Ok(()) };
        let done = done.and_then(|()| self.deliveries.writer.push(key, version, row));
        self.failed = done.err();
    }

    fn write_file(&mut self) -> Result<(), StateError> {
        let Stream { kind, model_id, writer } = &mut self.deliveries;
        let Some((body, rows)) = writer.finish()? else { return Ok(()) };
        let path = format!("{STATE}/{}/{}-{:08}.parquet", kind.name(), self.stem, self.files);
        self.files += 1;
        let (bytes, sha256) = (body.len() as u64, sha256_hex(&body));
        self.objects.put(&path, body)?;
        self.new.added.push(StateFile { kind: *kind, path, rows, bytes, sha256, model_id: model_id.clone() });
        Ok(())
    }
}

impl Journal for StateJournal {
    fn record(&mut self, epoch: Epoch, row: &Incoming) {
        let Some(inner) = self.0.as_ref().filter(|_| epoch >= major_epoch(1)) else { return };
        let (key, version) = match row {
            Incoming::Delivery(delivery) => (delivery.key.0, delivery.version),
            Incoming::Rejected(row) => (row.key.map_or(0, |key| key.0), row.version),
        };
        inner.borrow_mut().push(key, version, row);
    }

    fn strike(&mut self) {
        todo!()
    }
}
