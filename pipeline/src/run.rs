//! Running a job: workers, rounds, commits.
//!
//! A *round* is one major epoch: worker 0 looks for new files and assigns them, all workers bring their tables to the
//! end of the round, every worker hands its changed partitions over, and worker 0 commits. `--once` is a single round
//! that also waits for the model.

mod cause;
mod cluster;
mod commits;
mod coordination;
mod erase;
mod files;
mod inspect;
mod member;
mod resume;
mod round;
mod scan;
mod sealing;
mod shared;
mod starts;

use std::sync::Arc;
use std::time::Duration;

use contactflow_inference::{DevicePool, InferenceError, ModelConfig, Placement};
use contactflow_operators::causes::Causes;
use timely::worker::Worker;

use self::cluster::{Connections, Ready};
use self::starts::Run;
use crate::ingest::{IngestProgress, ReadError};
use crate::job::{Devices, JobContext, ModelDevices};
use crate::settings::{InferenceSettings, JobSettings, SettingsError};
use crate::sink::{CommitError, CommitSummary, Committer, EncodeError, Inspection, Objects};
use crate::state::StateError;
use crate::store::{Root, StoreError};

pub use cluster::ClusterError;
pub(crate) use cluster::lost_connection;
pub use erase::{ErasureRequest, Receipt, erase, erasure_requests};
pub use inspect::{Basis, Status, compare, status};
pub use scan::{Scan, scan};
pub use shared::Stop;

/// Why a job ended without doing what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The tables cannot be committed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The state of the last commit cannot be read, or the next not be written.
    #[error(transparent)]
    State(#[from] StateError),
    /// A table cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Nothing was ever committed.
    #[error("{root} holds no commit of contactflow; `contactflow run --output` makes one")]
    NoCommit {
        /// The output root.
        root: String,
    },
    /// The last commit kept no state.
    #[error(
        "the last commit below {root} kept no state to go on from (keep_state = false, or an older contactflow); pass the events with --input"
    )]
    NoState {
        /// The output root.
        root: String,
    },
    /// The model cannot be loaded.
    #[error("{0}; `make setup` provides the default model, --inference off runs without one")]
    Inference(#[from] InferenceError),
    /// The processes of the job do not work together, or one of them met an error.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The workers could not be started, or one of them died.
    #[error("the dataflow stopped: {0}")]
    Workers(String),
}

impl From<ReadError> for JobError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => error.into(),
            ReadError::State(error) => error.into(),
        }
    }
}

impl JobError {
    /// True when a state file of the commit that the job goes on from is gone.
    fn lacks_state(&self) -> bool {
        matches!(self, Self::State(StateError::Missing { .. }))
    }

    /// True when the settings or the command line have to change (exit code 2).
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Cluster(error) => return error.is_configuration(),
            Self::Commit(error) if matches!(error.of_store(), Some(StoreError::Configuration { .. })) => return true,
            _ => {}
        }
        matches!(
            self,
            Self::Settings(_)
                | Self::Store(
                    StoreError::BadUrl { .. }
                        | StoreError::Configuration { .. }
                        | StoreError::Missing { .. }
                        | StoreError::NoBucket { .. }
                )
                | Self::NoCommit { .. }
                | Self::NoState { .. }
                | Self::Commit(
                    CommitError::MissingInputs { .. }
                        | CommitError::ForeignFiles { .. }
                        | CommitError::OtherLayout { .. }
                )
        )
    }
}

/// How long a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Reads what is there, commits, ends.
    Once,
    /// Follows the inputs until stopped.
    Follow,
    /// Goes on from the last commit, reads what is there, and compares the tables with the published ones.
    Compare,
}

impl Mode {
    /// True when the tables are committed.
    fn commits(self) -> bool {
        self != Self::Compare
    }
}

/// What a job did.
#[derive(Clone, Debug)]
pub struct RunSummary {
    /// Files read.
    pub files: usize,
    /// Rows read, good and bad.
    pub rows: u64,
    /// Rows that could not be used as read; later stages may reject more.
    pub rejects: u64,
    /// Rows taken over from the state of an earlier run.
    pub restored_rows: u64,
    /// How often the workers were started again: something was sealed, something sealed changed, or the job before made a
    /// commit after this one had begun.
    pub restarts: u32,
    /// Commits made.
    pub commits: u64,
    /// The last of them, if any.
    pub last_commit: Option<CommitSummary>,
    /// How the tables differ from the published ones, where that was asked.
    pub inspection: Option<Inspection>,
    /// From the start of reading to the end.
    pub elapsed: Duration,
    /// Model that scored the texts; empty with inference off.
    pub model_id: String,
}

/// Runs a job to its end. `progress` may be watched meanwhile; `stop` ends a following job after its current round.
///
/// # Errors
/// [`JobError`]; what was committed before stays.
pub fn run(
    settings: &JobSettings,
    mode: Mode,
    progress: &Arc<IngestProgress>,
    stop: &Stop,
) -> Result<RunSummary, JobError> {
    run_with(settings, mode, progress, stop, start_devices)
}

/// As [`run`] with device threads of the caller's making; they are asked for once inputs and output are known to be there.
///
/// # Errors
/// As [`run`], and those of `start_devices`.
pub fn run_with(
    settings: &JobSettings,
    mode: Mode,
    progress: &Arc<IngestProgress>,
    stop: &Stop,
    start_devices: impl FnOnce(&JobSettings) -> Result<Option<Devices>, JobError>,
) -> Result<RunSummary, JobError> {
    settings.validate()?;
    let mut connections = Connections::open(settings, stop)?;
    if settings.cluster.process > 0
        && let Some(connections) = connections
    {
        return member::run(settings, mode, progress, stop, start_devices, connections);
    }
    match prepare(settings, progress, start_devices, connections.as_mut()) {
        Ok((context, committer)) => {
            starts::work_until_done(Run::new(settings, mode, context, stop), committer, connections)
        }
        Err(error) => {
            connections.into_iter().for_each(|connections| connections.give_up(&error));
            Err(error)
        }
    }
}

/// Opens what the first process of a job needs, and claims the root.
fn prepare(
    settings: &JobSettings,
    progress: &Arc<IngestProgress>,
    start_devices: impl FnOnce(&JobSettings) -> Result<Option<Devices>, JobError>,
    mut connections: Option<&mut Connections>,
) -> Result<(JobContext, Committer), JobError> {
    let roots = open_inputs(settings)?;
    let output = Root::open(&settings.output, true)?;
    // Unreachable inputs are told before anything is claimed or loaded.
    let files = crate::sources::list_event_files(&roots)?.len();
    // So are members that cannot take part.
    let members: Vec<(usize, Ready)> = match &mut connections {
        Some(connections) => connections
            .others()
            .map(|process| Ok((process, connections.hear(process)?)))
            .collect::<Result<_, JobError>>()?,
        None => Vec::new(),
    };
    // Files may come at any moment, but one who sees none looks at another place, and would reject what it is to read.
    if let Some((process, _)) = members.iter().find(|(_, ready)| ready.files == 0 && files > 0) {
        let address = settings.cluster.hosts[*process].clone();
        let what = format!("view of the inputs (no event files, here {files})");
        return Err(ClusterError::Differs { process: *process, address, what }.into());
    }
    let inputs: Vec<String> = roots.iter().map(|root| root.url.clone()).collect();
    let output_url = output.url.clone();
    let objects: Arc<dyn Objects> = Arc::new(output.clone());
    let causes = Causes::default();
    let mut committer =
        Committer::open(Arc::clone(&objects), &output_url, settings.table_layout(), &shared::writer_id(), &inputs)?;
    // Only after the claim: until then another job may be writing.
    output.clear_partial_files(committer.generation())?;
    if !settings.keep_state {
        // Such a run takes the state of the root away with its first commit.
        committer.check_inputs()?;
    }
    if settings.restatements {
        committer = committer.with_restatements(causes.clone(), settings.windows()?);
    }
    let devices = start_devices(settings)?;

    let context = JobContext::new(settings, roots, objects, progress, devices, causes)?;
    for (process, ready) in members {
        if (&ready.models, ready.with_quality) != (&context.models, context.with_quality()) {
            let address = settings.cluster.hosts[process].clone();
            let what = format!("model ({}, here {})", ready.models, context.models);
            return Err(ClusterError::Differs { process, address, what }.into());
        }
    }
    Ok((context, committer))
}

fn open_inputs(settings: &JobSettings) -> Result<Vec<Root>, StoreError> {
    settings.inputs.iter().map(|input| Root::open(input, false)).collect()
}

fn start_devices(settings: &JobSettings) -> Result<Option<Devices>, JobError> {
    let InferenceSettings { enabled, devices, model, candidate, limits, .. } = &settings.inference;
    if !enabled {
        return Ok(None);
    }
    let placement = Placement::detect(devices.as_deref(), settings.workers)?;
    let start = |model: &ModelConfig| {
        let texts = Arc::new(DevicePool::start(model, placement.clone(), *limits)?);
        let judges = DevicePool::start_conversations(model, placement.clone(), *limits)?.map(Arc::new);
        Ok::<_, JobError>(ModelDevices { texts, judges })
    };
    let devices = Devices { model: start(model)?, candidate: candidate.as_ref().map(start).transpose()? };
    if devices.models().published == devices.models().candidate {
        let problem =
            "it is the model of inference.model; a candidate has another encoder, other heads or another precision";
        return Err(SettingsError::Value { key: "inference.candidate", problem: problem.to_owned() }.into());
    }
    Ok(Some(devices))
}

fn start_workers(shared: &Arc<shared::Shared>) -> Result<(), JobError> {
    let config = timely::Config::process(shared.settings.workers);
    let for_workers = Arc::clone(shared);
    let work = move |worker: &mut Worker| round::work(worker, &for_workers);
    let guards = match shared.take_connections() {
        Some(connections) => connections.execute(work)?,
        None => timely::execute(config, work).map_err(JobError::Workers)?,
    };
    for result in guards.join() {
        result.map_err(JobError::Workers)?;
    }
    Ok(())
}

/// Checks a job without writing anything: settings, inputs, output, model. Returns lines that describe the plan.
///
/// # Errors
/// What would keep the job from running.
pub fn check(settings: &JobSettings) -> Result<Vec<String>, JobError> {
    settings.validate()?;
    let roots = open_inputs(settings)?;
    let files = crate::sources::list_event_files(&roots)?;
    let bytes: u64 = files.iter().map(|file| file.size_bytes).sum();
    let output = match Root::open(&settings.output, false) {
        Ok(root) => format!("output {} exists", root.url),
        Err(StoreError::Missing { url }) => format!("output {url} will be created"),
        Err(error) => return Err(error.into()),
    };
    let mut plan = vec![format!("{} event files, {bytes} bytes", files.len()), output];
    plan.push(format!("{} workers, {} rows per epoch", settings.workers, settings.epoch_rows));
    if let Some(address) = settings.cluster.hosts.get(settings.cluster.process) {
        let cluster = &settings.cluster;
        plan.push(format!("process {} of {}, listening on {address}", cluster.process, cluster.processes()));
    }
    match start_devices(settings)? {
        Some(Devices { model, candidate }) => {
            let placement = model.texts.placement().devices();
            plan.push(format!("model {} on {placement:?}", model.texts.model_id()));
            plan.extend(model.judges.map(|judges| format!("quality of conversations by {}", judges.model_id())));
            if let Some(ModelDevices { texts, judges }) = candidate {
                plan.push(format!("candidate {} beside it", texts.model_id()));
                plan.extend(judges.map(|judges| format!("its quality of conversations by {}", judges.model_id())));
            }
        }
        None => plan.push("inference off: no text is scored".to_owned()),
    }
    Ok(plan)
}
