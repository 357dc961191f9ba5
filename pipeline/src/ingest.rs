//! The source operator: assigned files become deliveries, rejects and texts. State files of an earlier run are read the
//! same way, in epochs before the first round.
//!
//! One worker mints *major* epochs and assigns files to workers. Inside a major epoch each reader moves on through minor
//! epochs, one per [`Ingest::epoch_rows`] rows, so that downstream state is brought up to date in steps of bounded size.

mod known;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use contactflow_operators::deduplicate::Incoming;
use contactflow_operators::epochs::Epoch;
use contactflow_operators::infer::Backlog;
use contactflow_schemas::masking::Masking;
use contactflow_schemas::prediction::TextRequest;
use serde::{Deserialize, Serialize};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::probe::Handle;

pub use self::known::Known;
use self::known::{Capabilities, KnownOutput, Said};
use crate::seal::Sealed;
use crate::sink::Objects;
use crate::sources::{FileReader, SourceFile};
use crate::state::{SegmentReader, StateError, StateFile, StateKind};
use crate::store::{Root, StoreError};

/// Bits of an epoch below the major number.
const MINOR_BITS: u32 = 20;
/// Minor epochs a reader may be ahead of the slowest stage; bounds what operators buffer.
const MINORS_AHEAD: u64 = 2;
/// How long a reader waits before it looks again whether it may go on.
const PAUSE: Duration = Duration::from_millis(2);

/// The first epoch of a major epoch.
pub fn major_epoch(number: u64) -> Epoch {
    number << MINOR_BITS
}

/// The number of the major epoch that an epoch is part of.
pub fn round_of(epoch: Epoch) -> u64 {
    epoch >> MINOR_BITS
}

/// What an assigned file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Assigned {
    /// Events.
    Events {
        /// Index of the input root.
        root: usize,
    },
    /// State of the last commit.
    State(#[serde(with = "crate::wire::json")] StateFile),
}

/// A file, and the worker that reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileAssignment {
    /// Worker of the cluster.
    pub worker: usize,
    /// What it holds.
    pub what: Assigned,
    /// Printable name.
    pub name: String,
    /// Path in the store.
    pub path: String,
    /// Size, bytes.
    pub size_bytes: u64,
    /// Entity tag or time of modification.
    pub version: String,
}

/// What stops a reader.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store of the events.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state of the last commit.
    #[error(transparent)]
    State(#[from] StateError),
}

/// Counters of all readers of a process, and the error that stopped one of them.
#[derive(Debug, Default)]
pub struct IngestProgress {
    /// Rows read, good and bad.
    pub rows: AtomicU64,
    /// Rows rejected while reading.
    pub rejects: AtomicU64,
    /// Rows of the state taken in again.
    pub restored: AtomicU64,
    /// Rows per finished file.
    files: Mutex<BTreeMap<String, u64>>,
    failure: Mutex<Option<ReadError>>,
    cancelled: AtomicBool,
}

impl IngestProgress {
    /// Rows of each finished file.
    pub fn rows_by_file(&self) -> BTreeMap<String, u64> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes every reader stop where it is; nothing of this round is committed any more.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Lets readers read again, after those that were made to stop are gone. Goes on from what was counted when the last commit
    /// was made, which names the files `committed`: what was read since is read again.
    pub fn resume(&self, [rows, rejects]: [u64; 2], committed: &HashSet<&str>) {
        self.rows.store(rows, Ordering::Relaxed);
        self.rejects.store(rejects, Ordering::Relaxed);
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|name, _| committed.contains(name.as_str()));
        self.cancelled.store(false, Ordering::Relaxed);
    }

    /// Rows read, and those of them that were rejected.
    pub fn counted(&self) -> [u64; 2] {
        [&self.rows, &self.rejects].map(|counter| counter.load(Ordering::Relaxed))
    }

    /// Takes the error that stopped a reader, if one did.
    pub fn take_failure(&self) -> Option<ReadError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Settings of the readers.
#[derive(Clone)]
pub struct Ingest {
    /// Input roots.
    pub roots: Arc<Vec<Root>>,
    /// Where the state is.
    pub objects: Arc<dyn Objects>,
    /// Rows per minor epoch and reader.
    pub epoch_rows: u64,
    /// What is masked in texts.
    pub masking: Masking,
    /// Texts are wanted: there is a model.
    pub texts: bool,
    /// The candidate, whose answers go another way than those of the model; empty without one.
    pub candidate_id: String,
    /// Readers pause while more texts than this wait for the model, in the whole job.
    pub backlog_texts_max: usize,
    /// What of the rows concerns sealed conversations.
    pub sealed: Sealed,
    /// Shared counters.
    pub progress: Arc<IngestProgress>,
}

/// What was read.
pub struct ReadRows<'scope> {
    /// Deliveries and rejects.
    pub rows: Stream<'scope, Epoch, Vec<Incoming>>,
    /// Texts to score.
    pub texts: Stream<'scope, Epoch, Vec<TextRequest>>,
    /// What the model said in an earlier run.
    pub published: Known<'scope>,
    /// What the candidate did.
    pub candidate: Known<'scope>,
}

/// What is read of one file at a time.
enum Reader {
    Events(FileReader, String),
    State(SegmentReader, Wanted),
}

/// What a state file gives.
#[derive(Clone, Copy)]
struct Wanted {
    kind: StateKind,
    /// The candidate said it.
    is_candidate: bool,
}

/// Rows on their way out of the operator.
#[derive(Default)]
struct Chunk {
    /// Of event files.
    read: Vec<Row>,
    /// Of the state.
    restored: Vec<Incoming>,
    texts: Vec<TextRequest>,
    published: Said,
    candidate: Said,
}

impl Chunk {
    fn rows(&self) -> u64 {
        (self.read.len() + self.restored.len()) as u64
    }
}

/// The files of one major epoch on one worker.
struct Shift {
    rows_capability: Capability<Epoch>,
    texts_capability: Capability<Epoch>,
    /// Only while state is read, so that whoever waits for known predictions does not wait for event files.
    known_capabilities: Option<[Capabilities; 2]>,
    files: VecDeque<FileAssignment>,
    reader: Option<Reader>,
    rows_in_minor: u64,
}

impl Shift {
    /// True while state is read, which is not held back by texts that wait: they may wait for it.
    fn is_restoring(&self) -> bool {
        self.known_capabilities.is_some()
    }

    fn add(&mut self, files: impl IntoIterator<Item = FileAssignment>) {
        self.files.extend(files);
        if !self.files.iter().any(|file| matches!(file.what, Assigned::State(_))) {
            self.known_capabilities = None;
        }
    }

    /// Moves to the next minor epoch once this one is full.
    fn count(&mut self, rows: u64, epoch_rows: u64) {
        self.rows_in_minor += rows;
        let epoch = *self.rows_capability.time();
        let last_minor = epoch | ((1 << MINOR_BITS) - 1);
        if self.rows_in_minor >= epoch_rows && epoch < last_minor {
            self.rows_in_minor = 0;
            self.rows_capability.downgrade(&(epoch + 1));
            self.texts_capability.downgrade(&(epoch + 1));
            for capability in self.known_capabilities.iter_mut().flatten().flatten() {
                capability.downgrade(&(epoch + 1));
            }
        }
    }

    /// Reads the next rows; false when every file is done.
    fn read(&mut self, ingest: &Ingest, out: &mut Chunk) -> Result<bool, ReadError> {
        if self.reader.is_none() {
            let Some(file) = self.files.pop_front() else { return Ok(false) };
            self.reader = Some(open(ingest, file)?);
        }
        let more = match &mut self.reader {
            Some(Reader::Events(reader, name)) => {
                let more = reader.next_chunk(&mut out.read)?;
                if !more {
                    let mut files = ingest.progress.files.lock().unwrap_or_else(PoisonError::into_inner);
                    files.insert(std::mem::take(name), reader.rows());
                }
                more
            }
            Some(Reader::State(reader, wanted)) => restore(reader, *wanted, out)?,
            None => false,
        };
        if !more {
            self.reader = None;
        }
        Ok(true)
    }
}

fn open(ingest: &Ingest, file: FileAssignment) -> Result<Reader, ReadError> {
    match file.what {
        Assigned::Events { root } => {
            let source = SourceFile {
                name: file.name.clone(),
                size_bytes: file.size_bytes,
                version: file.version,
                root,
                path: file.path.as_str().into(),
            };
            Ok(Reader::Events(FileReader::open(&ingest.roots[root], &source, ingest.masking), file.name))
        }
        Assigned::State(state) => {
            let is_candidate = state.model_id.as_ref().is_some_and(|model_id| *model_id == ingest.candidate_id);
            let wanted = Wanted { kind: state.kind, is_candidate };
            Ok(Reader::State(SegmentReader::open(&*ingest.objects, &state)?, wanted))
        }
    }
}

/// Takes the next rows of a state file in; false at its end.
fn restore(reader: &mut SegmentReader, wanted: Wanted, out: &mut Chunk) -> Result<bool, ReadError> {
    fn rows<R: serde::de::DeserializeOwned>(reader: &mut SegmentReader, out: &mut Vec<R>) -> Result<bool, StateError> {
        let chunk = reader.next_chunk()?;
        let more = chunk.is_some();
        out.extend(chunk.into_iter().flatten().map(|(_, _, row)| row));
        Ok(more)
    }
    let said = if wanted.is_candidate { &mut out.candidate } else { &mut out.published };
    Ok(match wanted.kind {
        StateKind::Deliveries => rows(reader, &mut out.restored)?,
        StateKind::Texts => rows(reader, &mut out.texts)?,
        StateKind::Predictions => rows(reader, &mut said.predictions)?,
        StateKind::Qualities => rows(reader, &mut said.qualities)?,
        // Read before the dataflow is built.
        StateKind::Seals => false,
    })
}

type Row = Result<contactflow_schemas::normalise::Normalised, Box<contactflow_schemas::reject::RejectedRow>>;

/// Reads assigned files, a chunk per activation, and pauses while later stages are behind.
pub fn read_files<'scope>(
    assigned: Stream<'scope, Epoch, Vec<FileAssignment>>,
    ingest: Ingest,
    backlog: Backlog,
    behind: &Handle<Epoch>,
) -> ReadRows<'scope> {
    let scope = assigned.scope();
    let mut builder = OperatorBuilder::new("ReadFiles".to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let mut input = builder.new_input(assigned, Exchange::new(|file: &FileAssignment| file.worker as u64));
    let (rows_output, rows) = builder.new_output();
    let (texts_output, texts) = builder.new_output();
    let (mut published_output, published) = KnownOutput::new(&mut builder);
    let (mut candidate_output, candidate) = KnownOutput::new(&mut builder);
    let mut rows_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(rows_output);
    let mut texts_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(texts_output);
    let behind = behind.clone();

    builder.build(move |_capabilities| {
        let mut shifts: BTreeMap<Epoch, Shift> = BTreeMap::new();
        let mut chunk = Chunk::default();
        move |_frontiers| {
            input.for_each(|capability, files: &mut Vec<FileAssignment>| {
                let Some(&epoch) = capability.least() else { return };
                let shift = shifts.entry(epoch).or_insert_with(|| Shift {
                    rows_capability: capability.delayed(&epoch, 0),
                    texts_capability: capability.delayed(&epoch, 1),
                    known_capabilities: Some(
                        [[2, 3], [4, 5]].map(|of| of.map(|output| capability.delayed(&epoch, output))),
                    ),
                    files: VecDeque::new(),
                    reader: None,
                    rows_in_minor: 0,
                });
                shift.add(files.drain(..));
            });
            if ingest.progress.cancelled.load(Ordering::Relaxed) {
                shifts.clear();
            }
            let Some(mut entry) = shifts.first_entry() else { return };
            let shift = entry.get_mut();
            let epoch = *shift.rows_capability.time();
            let ahead = behind.less_than(&epoch.saturating_sub(MINORS_AHEAD));
            let waits = !shift.is_restoring() && backlog.texts() > ingest.backlog_texts_max;
            if ahead || waits {
                activator.activate_after(PAUSE);
                return;
            }
            match shift.read(&ingest, &mut chunk) {
                Ok(true) => {
                    let rows = chunk.rows();
                    let counter = if shift.is_restoring() { &ingest.progress.restored } else { &ingest.progress.rows };
                    counter.fetch_add(rows, Ordering::Relaxed);
                    let mut texts = texts_output.activate();
                    let mut texts = texts.session(&shift.texts_capability);
                    texts.give_iterator(chunk.texts.drain(..));
                    let read = chunk.read.drain(..).map(|row| incoming(row, &ingest, |text| texts.give(text)));
                    let all = chunk.restored.drain(..).chain(read);
                    rows_output.activate().session(&shift.rows_capability).give_iterator(all);
                    drop(texts);
                    if let Some([published, candidate]) = &shift.known_capabilities {
                        published_output.give(published, &mut chunk.published);
                        candidate_output.give(candidate, &mut chunk.candidate);
                    }
                    shift.count(rows, ingest.epoch_rows);
                }
                Ok(false) => {
                    entry.remove();
                }
                Err(error) => {
                    // Without its rows nothing of this run may be committed; the process stops with this error.
                    ingest.progress.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    shifts.clear();
                    return;
                }
            }
            activator.activate();
        }
    });
    ReadRows { rows, texts, published, candidate }
}

fn incoming(row: Row, ingest: &Ingest, text: impl FnMut(TextRequest)) -> Incoming {
    let incoming = match row {
        Ok(normalised) => {
            normalised.text.filter(|_| ingest.texts).into_iter().for_each(text);
            Incoming::Delivery(normalised.delivery)
        }
        Err(rejected) => {
            ingest.progress.rejects.fetch_add(1, Ordering::Relaxed);
            Incoming::Rejected(rejected)
        }
    };
    ingest.sealed.check_row(&incoming);
    incoming
}
