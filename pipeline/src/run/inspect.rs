//! Looking at a root without writing to it: what would be published (`verify`, `whatif`) and how things stand (`status`).

use std::sync::Arc;

use contactflow_operators::causes::Causes;
use contactflow_schemas::clock::date_string;
use serde::Serialize;

use super::resume::{Before, Resume};
use super::shared::{Shared, Target};
use super::{JobError, Mode, RunSummary, Stop, open_inputs, start_workers};
use crate::ingest::IngestProgress;
use crate::job::JobContext;
use crate::settings::JobSettings;
use crate::sink::{Claim, Inspection, Inspector, Manifest, ModelIds, Objects, PublishedSettings, holder, last_commit};
use crate::state::StateKind;
use crate::store::Root;

/// What tables are compared with the published ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Those that follow from the state of the last commit and, on top of it, from the events of these inputs.
    State(Vec<String>),
    /// Those that follow from the events of these inputs alone, read anew; predictions are those of the state.
    Inputs(Vec<String>),
}

/// Computes the tables of a root anew and compares them with the published ones; nothing is written.
///
/// # Errors
/// [`JobError::NoCommit`], [`JobError::NoState`], and those of reading.
pub fn compare(output: &str, basis: &Basis, workers: usize) -> Result<(Inspection, RunSummary), JobError> {
    let root = Root::open(output, false)?;
    let url = root.url.clone();
    let objects: Arc<dyn Objects> = Arc::new(root);
    let manifest = last_commit(&*objects, &url)?.ok_or_else(|| JobError::NoCommit { root: url.clone() })?;
    let (inputs, keep_state) = match basis {
        Basis::State(inputs) => (inputs, true),
        Basis::Inputs(inputs) => (inputs, false),
    };
    if keep_state && manifest.state.is_none() {
        return Err(JobError::NoState { root: url });
    }
    let published = manifest.settings.clone().unwrap_or_default();
    let mut settings = JobSettings::of_published(output, workers, manifest.settings.as_ref());
    settings.inputs = inputs.clone();
    settings.keep_state = keep_state;
    let causes = Causes::default();
    let windows = settings.windows()?;
    let progress = Arc::new(IngestProgress::default());
    let roots = open_inputs(&settings)?;
    let inspector = Inspector::new(Arc::clone(&objects), manifest, causes.clone(), windows);
    let context = JobContext::new(&settings, roots, objects, &progress, None, causes)?;
    let context = context.showing(&published);
    let resume = Resume::of(Some(inspector.manifest()), keep_state, "", i32::MIN);
    let target = Target::Compare(Box::new(inspector));
    let shared =
        Arc::new(Shared::new(&settings, Mode::Compare, context, target, resume, Before::default(), Stop::default()));
    let started = std::time::Instant::now();
    start_workers(&shared)?;
    let mut summary = shared.summary(started.elapsed())?;
    let inspection = summary.inspection.take().unwrap_or_default();
    Ok((inspection, summary))
}

/// How a job stands, as its last commit tells.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// The root.
    pub output: String,
    /// The writer that holds the root, running or not.
    pub writer: Option<String>,
    /// Number of its claim.
    pub generation: Option<u64>,
    /// Number of the last commit.
    pub commit: u64,
    /// Epoch it is consistent with.
    pub epoch: u64,
    /// Wall clock of the last commit, ms since 1970.
    pub committed_at_ms: i64,
    /// Latest event time it knows: everything up to here is in the tables, ms since 1970.
    pub as_of_ms: Option<i64>,
    /// Source files read to their end.
    pub source_files: u64,
    /// Rows read of them.
    pub rows_read: u64,
    /// Live files of the tables.
    pub files: u64,
    /// Their size, bytes.
    pub bytes: u64,
    /// Rows of `rejected_events`.
    pub rejected_rows: u64,
    /// Rows of the state that a restart goes on from, by what they are: deliveries, predictions, texts that wait.
    pub state_rows: [u64; 3],
    /// Size of the state, bytes.
    pub state_bytes: u64,
    /// Deliveries of sealed conversations, which a restart leaves alone.
    pub sealed_rows: u64,
    /// The first day that is not sealed; none when nothing is.
    pub open_from_date: Option<String>,
    /// Model that scored the texts; empty with inference off.
    pub model_id: String,
    /// Model whose scores are shown beside; empty without one.
    pub candidate_id: String,
}

/// Reads how the job of a root stands.
///
/// # Errors
/// [`JobError::NoCommit`], and those of the store.
pub fn status(output: &str) -> Result<Status, JobError> {
    let root = Root::open(output, false)?;
    let manifest = last_commit(&root, &root.url)?.ok_or_else(|| JobError::NoCommit { root: root.url.clone() })?;
    let claim = holder(&root)?;
    Ok(status_of(root.url.clone(), &manifest, claim))
}

fn status_of(output: String, manifest: &Manifest, claim: Option<Claim>) -> Status {
    let state = manifest.state.as_deref().unwrap_or_default();
    let rows = |kind: StateKind| state.iter().filter(|file| file.kind == kind).map(|file| file.rows).sum();
    let sealed = state.iter().filter(|file| file.kind == StateKind::Deliveries && file.sealed_before_day.is_some());
    let models = manifest.settings.as_ref().map_or_else(ModelIds::default, PublishedSettings::models);
    let rejects = manifest.files.iter().filter(|file| file.table == "rejected_events");
    Status {
        output,
        generation: claim.as_ref().map(|claim| claim.generation),
        writer: claim.map(|claim| claim.writer_id),
        commit: manifest.commit,
        epoch: manifest.epoch,
        committed_at_ms: manifest.committed_at_ms,
        as_of_ms: manifest.as_of_ms,
        source_files: manifest.sources.len() as u64,
        rows_read: manifest.sources.iter().map(|source| source.rows).sum(),
        files: manifest.files.len() as u64,
        bytes: manifest.files.iter().map(|file| file.bytes).sum(),
        rejected_rows: rejects.map(|file| file.rows).sum(),
        state_rows: [StateKind::Deliveries, StateKind::Predictions, StateKind::Texts].map(rows),
        state_bytes: state.iter().map(|file| file.bytes).sum(),
        sealed_rows: sealed.clone().map(|file| file.rows).sum(),
        open_from_date: sealed.filter_map(|file| file.sealed_before_day).max().map(date_string),
        model_id: models.published,
        candidate_id: models.candidate,
    }
}
