//! What one worker writes to the state, and when.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use contactflow_operators::deduplicate::{Incoming, Journal};
use contactflow_operators::epochs::Epoch;
use contactflow_operators::infer::AnswerJournal;
use contactflow_schemas::prediction::{
    ConversationOutcome, ConversationPrediction, ConversationRequest, Outcome, Prediction, TextKey, TextRequest,
};
use serde::Serialize;

use super::{STATE, SegmentWriter, StateError, StateFile, StateKind, store};
use crate::ingest::major_epoch;
use crate::sink::Objects;

/// Encoded bytes from which on a file is written without waiting for the commit, so that memory stays bounded.
const SEGMENT_BYTES: usize = 16 << 20;

/// What one worker adds to the state of the next commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewState {
    /// Files written since the last call; they are added to those of the last commit.
    pub added: Vec<StateFile>,
    /// The texts that wait on this worker, if others do than at the last call: this file, or none, replaces that.
    pub texts: Option<Option<StateFile>>,
}

/// The files of one worker.
struct Files {
    objects: Arc<dyn Objects>,
    /// Names the worker and the generation it writes in.
    stem: String,
    model_id: String,
    number: u64,
}

impl Files {
    /// Writes the rows of `writer` as one file; none without rows.
    fn write(&mut self, kind: StateKind, writer: &mut SegmentWriter) -> Result<Option<StateFile>, StateError> {
        let path = format!("{STATE}/{}/{}-{:08}.parquet", kind.name(), self.stem, self.number);
        let model_id = kind.is_of_a_model().then(|| self.model_id.clone());
        let file = store(&*self.objects, kind, model_id, path, writer)?;
        self.number += u64::from(file.is_some());
        Ok(file)
    }
}

struct Inner {
    files: Files,
    /// What was recorded since the last file, by kind.
    writers: BTreeMap<StateKind, SegmentWriter>,
    added: Vec<StateFile>,
    /// Whether the row recorded last went to `deliveries`.
    is_recorded: bool,
    /// Asked and not answered. A text the model failed on stays: the next run tries again.
    waiting: BTreeMap<TextKey, TextRequest>,
    /// `waiting` is not what was written last.
    is_waiting_new: bool,
    /// The first error; nothing is written after it.
    failed: Option<StateError>,
}

/// The state that one worker writes; clones share it.
#[derive(Clone)]
pub struct StateJournal(Option<Rc<RefCell<Inner>>>);

impl StateJournal {
    /// The journal of a worker in a job that scores with this model; `stem` begins the names of its files and of no others.
    pub fn new(objects: Arc<dyn Objects>, stem: &str, model_id: &str) -> Self {
        let stem = stem.to_owned();
        Self(Some(Rc::new(RefCell::new(Inner {
            files: Files { objects, stem, model_id: model_id.to_owned(), number: 0 },
            writers: BTreeMap::new(),
            added: Vec::new(),
            is_recorded: false,
            waiting: BTreeMap::new(),
            is_waiting_new: false,
            failed: None,
        }))))
    }

    /// Keeps nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// The texts that wait for the model, or that it failed on.
    pub fn waiting(&self) -> Vec<TextKey> {
        self.0.as_ref().map_or_else(Vec::new, |inner| inner.borrow().waiting.keys().copied().collect())
    }

    /// Writes what was recorded since the last call. Call it when the dataflow has passed the epochs of the commit.
    ///
    /// # Errors
    /// The first error since the journal was made.
    pub fn flush(&self) -> Result<NewState, StateError> {
        let Some(inner) = &self.0 else { return Ok(NewState::default()) };
        let inner = &mut *inner.borrow_mut();
        if let Some(error) = inner.failed.take() {
            return Err(error);
        }
        let Inner { files, writers, added, .. } = inner;
        for (kind, writer) in writers {
            added.extend(files.write(*kind, writer)?);
        }
        let texts = if std::mem::take(&mut inner.is_waiting_new) { Some(inner.write_texts()?) } else { None };
        Ok(NewState { added: std::mem::take(&mut inner.added), texts })
    }
}

impl Inner {
    fn push(&mut self, kind: StateKind, key: u128, version: i64, row: &impl Serialize) -> bool {
        if self.failed.is_some() {
            return false;
        }
        let writer = self.writers.entry(kind).or_default();
        let is_full = writer.encoded_bytes() >= SEGMENT_BYTES;
        let written = if is_full { self.files.write(kind, writer) } else { Ok(None) };
        let pushed = written.and_then(|file| {
            self.added.extend(file);
            writer.push(key, version, row)
        });
        self.failed = pushed.err();
        self.failed.is_none()
    }

    fn write_texts(&mut self) -> Result<Option<StateFile>, StateError> {
        let mut writer = SegmentWriter::default();
        for request in self.waiting.values() {
            writer.push(request.key.0, 0, request)?;
        }
        self.files.write(StateKind::Texts, &mut writer)
    }
}

impl Journal for StateJournal {
    fn record(&mut self, epoch: Epoch, row: &Incoming) {
        let Some(inner) = &self.0 else { return };
        let inner = &mut *inner.borrow_mut();
        let (key, version) = match row {
            Incoming::Delivery(delivery) => (delivery.key.0, delivery.version),
            Incoming::Rejected(row) => (row.key.map_or(0, |key| key.0), row.version),
        };
        // What is restored stands in a file already.
        inner.is_recorded = epoch >= major_epoch(1) && inner.push(StateKind::Deliveries, key, version, row);
    }

    fn strike(&mut self) {
        let Some(inner) = &self.0 else { return };
        let inner = &mut *inner.borrow_mut();
        if std::mem::take(&mut inner.is_recorded) {
            inner.writers.entry(StateKind::Deliveries).or_default().undo();
        }
    }
}

impl AnswerJournal<TextRequest> for StateJournal {
    fn asked(&mut self, request: &TextRequest) {
        let Some(inner) = &self.0 else { return };
        let inner = &mut *inner.borrow_mut();
        inner.waiting.insert(request.key, request.clone());
        inner.is_waiting_new = true;
    }

    fn answered(&mut self, answer: &Prediction) {
        let Some(inner) = &self.0 else { return };
        let inner = &mut *inner.borrow_mut();
        if let Outcome::Failed(_) = answer.outcome {
            return;
        }
        inner.waiting.remove(&answer.key);
        inner.is_waiting_new = true;
        inner.push(StateKind::Predictions, answer.key.0, 0, answer);
    }
}

/// What waits is not kept: it follows from the turns, and another run asks for it by itself.
impl AnswerJournal<ConversationRequest> for StateJournal {
    fn asked(&mut self, _request: &ConversationRequest) {}

    fn answered(&mut self, answer: &ConversationPrediction) {
        let Some(inner) = &self.0 else { return };
        if let ConversationOutcome::Scored(_) = answer.outcome {
            inner.borrow_mut().push(StateKind::Qualities, answer.key.0, 0, answer);
        }
    }
}
