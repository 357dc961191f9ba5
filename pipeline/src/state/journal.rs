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
use crate::sink::{ModelIds, Objects};

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
    models: ModelIds,
    number: u64,
}

impl Files {
    /// Writes the rows of `writer` as one file; none without rows.
    fn write(&mut self, what: Rows, writer: &mut SegmentWriter) -> Result<Option<StateFile>, StateError> {
        let Rows { kind, is_candidate } = what;
        let path = format!("{STATE}/{}/{}-{:08}.parquet", kind.name(), self.stem, self.number);
        let model_id = kind.is_of_a_model().then(|| self.models.of(is_candidate).to_owned());
        let file = store(&*self.objects, kind, model_id, path, writer)?;
        self.number += u64::from(file.is_some());
        Ok(file)
    }
}

/// What the rows of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rows {
    kind: StateKind,
    /// They are of the candidate.
    is_candidate: bool,
}

impl From<StateKind> for Rows {
    fn from(kind: StateKind) -> Self {
        Self { kind, is_candidate: false }
    }
}

struct Inner {
    files: Files,
    /// What was recorded since the last file.
    writers: BTreeMap<Rows, SegmentWriter>,
    added: Vec<StateFile>,
    /// Whether the row recorded last went to `deliveries`.
    is_recorded: bool,
    /// Asked and not answered by the model, or by the candidate. A text a model failed on stays: the next run tries again.
    waiting: [BTreeMap<TextKey, TextRequest>; 2],
    /// `waiting` is not what was written last.
    is_waiting_new: bool,
    /// The first error; nothing is written after it.
    failed: Option<StateError>,
}

/// The state that one worker writes; clones share it.
#[derive(Clone)]
pub struct StateJournal(Option<Rc<RefCell<Inner>>>);

impl StateJournal {
    /// The journal of a worker in a job that scores with these models; `stem` begins the names of its files and of no others.
    pub fn new(objects: Arc<dyn Objects>, stem: &str, models: &ModelIds) -> Self {
        let stem = stem.to_owned();
        Self(Some(Rc::new(RefCell::new(Inner {
            files: Files { objects, stem, models: models.clone(), number: 0 },
            writers: BTreeMap::new(),
            added: Vec::new(),
            is_recorded: false,
            waiting: Default::default(),
            is_waiting_new: false,
            failed: None,
        }))))
    }

    /// Keeps nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// What is written of the model, or of the candidate.
    pub fn of(&self, is_candidate: bool) -> ModelJournal {
        ModelJournal { journal: self.clone(), is_candidate }
    }

    /// The texts that wait for a model, or that it failed on.
    pub fn waiting(&self) -> Vec<TextKey> {
        let of = |inner: &Inner| inner.waiting.iter().flat_map(BTreeMap::keys).copied().collect();
        self.0.as_ref().map_or_else(Vec::new, |inner| of(&inner.borrow()))
    }

    fn asked(&self, request: &TextRequest, is_candidate: bool) {
        let Some(inner) = &self.0 else { return };
        let inner = &mut *inner.borrow_mut();
        inner.waiting[usize::from(is_candidate)].insert(request.key, request.clone());
        inner.is_waiting_new = true;
    }

    fn answered(&self, answer: &Prediction, is_candidate: bool) {
        let Some(inner) = &self.0 else { return };
        let inner = &mut *inner.borrow_mut();
        if let Outcome::Failed(_) = answer.outcome {
            return;
        }
        inner.waiting[usize::from(is_candidate)].remove(&answer.key);
        inner.is_waiting_new = true;
        inner.push(Rows { kind: StateKind::Predictions, is_candidate }, answer.key.0, 0, answer);
    }

    fn judged(&self, answer: &ConversationPrediction, is_candidate: bool) {
        let Some(inner) = &self.0 else { return };
        if let ConversationOutcome::Scored(_) = answer.outcome {
            inner.borrow_mut().push(Rows { kind: StateKind::Qualities, is_candidate }, answer.key.0, 0, answer);
        }
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
        for (what, writer) in writers {
            added.extend(files.write(*what, writer)?);
        }
        let texts = if std::mem::take(&mut inner.is_waiting_new) { Some(inner.write_texts()?) } else { None };
        Ok(NewState { added: std::mem::take(&mut inner.added), texts })
    }
}

impl Inner {
    fn push(&mut self, what: impl Into<Rows>, key: u128, version: i64, row: &impl Serialize) -> bool {
        let what = what.into();
        if self.failed.is_some() {
            return false;
        }
        let writer = self.writers.entry(what).or_default();
        let is_full = writer.encoded_bytes() >= SEGMENT_BYTES;
        let written = if is_full { self.files.write(what, writer) } else { Ok(None) };
        let pushed = written.and_then(|file| {
            self.added.extend(file);
            writer.push(key, version, row)
        });
        self.failed = pushed.err();
        self.failed.is_none()
    }

    fn write_texts(&mut self) -> Result<Option<StateFile>, StateError> {
        let mut writer = SegmentWriter::default();
        let [published, candidate] = &self.waiting;
        let further = candidate.iter().filter(|(key, _)| !published.contains_key(key));
        for (key, request) in published.iter().chain(further) {
            writer.push(key.0, 0, request)?;
        }
        self.files.write(StateKind::Texts.into(), &mut writer)
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
            inner.writers.entry(StateKind::Deliveries.into()).or_default().undo();
        }
    }
}

/// What one of the models is asked and answers.
#[derive(Clone)]
pub struct ModelJournal {
    journal: StateJournal,
    is_candidate: bool,
}

impl AnswerJournal<TextRequest> for ModelJournal {
    fn asked(&mut self, request: &TextRequest) {
        self.journal.asked(request, self.is_candidate);
    }

    fn answered(&mut self, answer: &Prediction) {
        self.journal.answered(answer, self.is_candidate);
    }
}

/// What waits is not kept: it follows from the turns, and another run asks for it by itself.
impl AnswerJournal<ConversationRequest> for ModelJournal {
    fn asked(&mut self, _request: &ConversationRequest) {}

    fn answered(&mut self, answer: &ConversationPrediction) {
        self.journal.judged(answer, self.is_candidate);
    }
}
