//! The source operator: assigned files become deliveries, rejects and texts.
//!
//! One worker mints *major* epochs and assigns files to workers. Inside a major epoch each reader moves on through minor
//! epochs, one per [`Ingest::epoch_rows`] rows, so that downstream state is brought up to date in steps of bounded size.

use std::collections::{BTreeMap, VecDeque};
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

use crate::sources::{FileReader, SourceFile};
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

/// A file, and the worker that reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileAssignment {
    /// Worker of the cluster.
    pub worker: usize,
    /// Index of the input root.
    pub root: usize,
    /// Printable name.
    pub name: String,
    /// Path in the store.
    pub path: String,
    /// Size, bytes.
    pub size_bytes: u64,
    /// Entity tag or time of modification.
    pub version: String,
}

/// Counters of all readers of a process, and the error that stopped one of them.
#[derive(Debug, Default)]
pub struct IngestProgress {
    /// Rows read, good and bad.
    pub rows: AtomicU64,
    /// Rows rejected while reading.
    pub rejects: AtomicU64,
    /// Rows per finished file.
    files: Mutex<BTreeMap<String, u64>>,
    failure: Mutex<Option<StoreError>>,
    cancelled: AtomicBool,
}

impl IngestProgress {
    /// Rows of each finished file.
    pub fn rows_by_file(&self) -> BTreeMap<String, u64> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes every reader stop where it is; nothing of this run is committed any more.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Takes the error that stopped a reader, if one did.
    pub fn take_failure(&self) -> Option<StoreError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Settings of the readers.
#[derive(Clone)]
pub struct Ingest {
    /// Input roots.
    pub roots: Arc<Vec<Root>>,
    /// Rows per minor epoch and reader.
    pub epoch_rows: u64,
    /// What is masked in texts.
    pub masking: Masking,
    /// Texts are wanted: there is a model.
    pub texts: bool,
    /// Readers pause while more texts than this wait for the model.
    pub backlog_texts_max: usize,
    /// Shared counters.
    pub progress: Arc<IngestProgress>,
}

/// What was read.
pub struct ReadRows<'scope> {
    /// Deliveries and rejects.
    pub rows: Stream<'scope, Epoch, Vec<Incoming>>,
    /// Texts to score.
    pub texts: Stream<'scope, Epoch, Vec<TextRequest>>,
}

/// The files of one major epoch on one worker.
struct Shift {
    /// For rows and for texts.
    capabilities: [Capability<Epoch>; 2],
    files: VecDeque<FileAssignment>,
    reader: Option<(FileReader, String)>,
    rows_in_minor: u64,
}

impl Shift {
    /// Moves to the next minor epoch once this one is full.
    fn count(&mut self, rows: u64, epoch_rows: u64) {
        self.rows_in_minor += rows;
        let epoch = *self.capabilities[0].time();
        let last_minor = epoch | ((1 << MINOR_BITS) - 1);
        if self.rows_in_minor >= epoch_rows && epoch < last_minor {
            self.rows_in_minor = 0;
            self.capabilities.iter_mut().for_each(|capability| capability.downgrade(&(epoch + 1)));
        }
    }

    /// Reads the next rows; false when every file is done.
    fn read(&mut self, ingest: &Ingest, out: &mut Vec<Row>) -> Result<bool, StoreError> {
        if self.reader.is_none() {
            let Some(file) = self.files.pop_front() else { return Ok(false) };
            let root = &ingest.roots[file.root];
            let source = SourceFile {
                name: file.name.clone(),
                size_bytes: file.size_bytes,
                version: file.version,
                root: file.root,
                path: file.path.as_str().into(),
            };
            self.reader = Some((FileReader::open(root, &source, ingest.masking), file.name));
        }
        if let Some((reader, name)) = &mut self.reader
            && !reader.next_chunk(out)?
        {
            let mut files = ingest.progress.files.lock().unwrap_or_else(PoisonError::into_inner);
            files.insert(std::mem::take(name), reader.rows());
            drop(files);
            self.reader = None;
        }
        Ok(true)
    }
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
    let mut rows_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(rows_output);
    let mut texts_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(texts_output);
    let behind = behind.clone();

    builder.build(move |_capabilities| {
        let mut shifts: BTreeMap<Epoch, Shift> = BTreeMap::new();
        let mut chunk = Vec::new();
        move |_frontiers| {
            input.for_each(|capability, files: &mut Vec<FileAssignment>| {
                let Some(&epoch) = capability.least() else { return };
                let shift = shifts.entry(epoch).or_insert_with(|| Shift {
                    capabilities: [capability.delayed(&epoch, 0), capability.delayed(&epoch, 1)],
                    files: VecDeque::new(),
                    reader: None,
                    rows_in_minor: 0,
                });
                shift.files.extend(files.drain(..));
            });
            if ingest.progress.cancelled.load(Ordering::Relaxed) {
                shifts.clear();
            }
            let Some(mut entry) = shifts.first_entry() else { return };
            let shift = entry.get_mut();
            let epoch = *shift.capabilities[0].time();
            let ahead = behind.less_than(&epoch.saturating_sub(MINORS_AHEAD));
            if ahead || backlog.texts() > ingest.backlog_texts_max {
                activator.activate_after(PAUSE);
                return;
            }
            match shift.read(&ingest, &mut chunk) {
                Ok(true) => {
                    let [rows_capability, texts_capability] = &shift.capabilities;
                    let rows = chunk.len() as u64;
                    let mut texts = texts_output.activate();
                    let mut texts = texts.session(texts_capability);
                    let incoming = chunk.drain(..).map(|row| incoming(row, &ingest, |text| texts.give(text)));
                    rows_output.activate().session(rows_capability).give_iterator(incoming);
                    drop(texts);
                    ingest.progress.rows.fetch_add(rows, Ordering::Relaxed);
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
    ReadRows { rows, texts }
}

fn incoming(row: Row, ingest: &Ingest, text: impl FnMut(TextRequest)) -> Incoming {
    match row {
        Ok(normalised) => {
            normalised.text.filter(|_| ingest.texts).into_iter().for_each(text);
            Incoming::Delivery(normalised.delivery)
        }
        Err(rejected) => {
            ingest.progress.rejects.fetch_add(1, Ordering::Relaxed);
            Incoming::Rejected(rejected)
        }
    }
}
