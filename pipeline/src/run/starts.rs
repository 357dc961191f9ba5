//! The workers of a run are started, and started again when a seal was made or has to be opened, or when the job before has made
//! one more commit: what leads from one start to the next, in the process that commits and in [members](super::member).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use contactflow_operators::infer::Backlog;

use super::cause::cause;
use super::cluster::{Connections, Start};
use super::commits::published_settings;
use super::resume::{Again, Before, Resume};
use super::shared::{Shared, Stop, Target};
use super::{JobError, Mode, RunSummary, start_workers};
use crate::job::{JobContext, ModelDevices};
use crate::seal::Sealed;
use crate::settings::JobSettings;
use crate::sink::Committer;
use crate::state;

/// A run, and how far its starts have come.
pub(super) struct Run<'a> {
    pub(super) settings: &'a JobSettings,
    pub(super) mode: Mode,
    pub(super) context: JobContext,
    pub(super) stop: &'a Stop,
    pub(super) started: Instant,
    pub(super) before: Before,
}

/// How the workers of one start have ended.
pub(super) enum Ended {
    /// The run is over.
    Over(Box<RunSummary>),
    /// They start again.
    Again(Again, Box<Shared>),
}

impl<'a> Run<'a> {
    pub(super) fn new(settings: &'a JobSettings, mode: Mode, context: JobContext, stop: &'a Stop) -> Self {
        Self { settings, mode, context, stop, started: Instant::now(), before: Before::default() }
    }

    /// Starts the workers once, and waits until they end.
    pub(super) fn start(
        &mut self,
        target: Target,
        resume: Resume,
        sealed: Sealed,
        connections: Option<Connections>,
    ) -> Result<Ended, JobError> {
        let context = JobContext { backlog: Backlog::default(), ..self.context.clone() }.with_sealed(sealed);
        if context.sealed.horizon.is_some() {
            // A round that opens a seal is broken off and begins again: no text is to be computed twice for it.
            context.devices().for_each(ModelDevices::remember);
        }
        let before = std::mem::take(&mut self.before);
        let shared = Shared::new(self.settings, self.mode, context, target, resume, before, self.stop.clone());
        let shared = Arc::new(shared.connected(connections));
        start_workers(&shared)?;
        let Some((again, before)) = shared.again() else {
            return Ok(Ended::Over(Box::new(shared.summary(self.started.elapsed())?)));
        };
        self.before = before;
        let shared = Arc::into_inner(shared);
        let shared = shared.ok_or_else(|| JobError::Workers("a worker outlived its dataflow".to_owned()))?;
        Ok(Ended::Again(again, Box::new(shared)))
    }

    /// Meets the other processes again. That the job was asked to end meanwhile is for its next round to say.
    pub(super) fn reconnect(&self) -> Result<Option<Connections>, JobError> {
        Connections::open(self.settings, &Stop::default())
    }

    /// Lets readers read again, from what was committed, of which these are the files.
    pub(super) fn go_back<'f>(&self, files: impl Iterator<Item = &'f str>) {
        let files: HashSet<&str> = files.collect();
        self.context.ingest.progress.resume(self.before.counted, &files);
    }
}

/// Runs the process that commits to the end of the job.
pub(super) fn work_until_done(
    mut run: Run,
    mut committer: Committer,
    mut connections: Option<Connections>,
) -> Result<RunSummary, JobError> {
    let mut sealed_until = sealed_until(&run, &committer);
    loop {
        let (resume, sealed) = match begin(&run, &mut committer, sealed_until, connections.as_mut()) {
            Ok(begun) => begun,
            Err(error) => {
                let error = cause(error, || committer.check_predecessor());
                connections.into_iter().for_each(|connections| connections.give_up(&error));
                return Err(error);
            }
        };
        let (again, shared) = match run.start(Target::Commit(Box::new(committer)), resume, sealed, connections)? {
            Ended::Over(summary) => return Ok(*summary),
            Ended::Again(again, shared) => (again, shared),
        };
        // Before anything of theirs is cleared away, so that all of them have ended.
        connections = run.reconnect()?;
        committer = shared.into_committer().unwrap_or_else(|| unreachable!("this process commits"));
        sealed_until = match again {
            Again::Sealed => i32::MAX,
            Again::Unsealed(day) => {
                tracing::info!("something sealed changes: the round starts again with it in memory");
                day
            }
            Again::Preceded => {
                tracing::info!("the job before made a commit after this one had begun: this one goes on from that");
                committer.go_on_from_last()?;
                if !run.settings.keep_state {
                    committer.check_inputs()?;
                }
                self::sealed_until(&run, &committer)
            }
        };
        committer.start_again();
        let previous = committer.previous();
        if committer.has_committed() {
            let live = previous.and_then(|previous| previous.state.as_deref()).unwrap_or_default();
            let stem = state::stem(committer.generation(), run.before.starts);
            state::delete_orphans(&*run.context.ingest.objects, live, &stem)?;
        }
        run.go_back(previous.iter().flat_map(|previous| &previous.sources).map(|source| source.name.as_str()));
    }
}

/// The frozen day up to which seals of the last commit hold: what other settings have sealed has to be computed anew.
fn sealed_until(run: &Run, committer: &Committer) -> i32 {
    let is_same = run.settings.keep_state
        && committer.previous().is_some_and(|previous| {
            previous.settings.as_ref() == Some(&published_settings(run.settings, &run.context))
        });
    if is_same { i32::MAX } else { i32::MIN }
}

/// What the next start goes on from, which members are told.
fn begin(
    run: &Run,
    committer: &mut Committer,
    mut sealed_until: i32,
    connections: Option<&mut Connections>,
) -> Result<(Resume, Sealed), JobError> {
    let resume = loop {
        let keep_state = run.settings.keep_state;
        let resume = Resume::of(committer.previous(), keep_state, &run.context.models.published, sealed_until);
        committer.freeze(resume.horizon().map(|horizon| horizon.frozen_day));
        if committer.has_frozen_files() {
            break resume;
        }
        tracing::warn!("a file of a sealed day is not as the last commit wrote it; it is computed anew");
        sealed_until = i32::MIN;
    };
    if let Some(connections) = connections {
        start_members(connections, committer, &resume)?;
    }
    let sealed = resume.sealed(&*run.context.ingest.objects)?;
    Ok((resume, sealed))
}

/// Tells the members what they go on from, and waits until they can.
fn start_members(connections: &mut Connections, committer: &Committer, resume: &Resume) -> Result<(), JobError> {
    let previous = committer.previous();
    let sources = previous.map_or(&[][..], |previous| &previous.sources);
    let start = Ok(Start {
        generation: committer.generation(),
        as_of_ms: previous.and_then(|previous| previous.as_of_ms),
        state: resume.state.clone(),
        files: sources.iter().map(|source| source.name.clone()).collect(),
        known: committer.writer().known(),
    });
    for process in connections.others() {
        connections.tell(process, &start)?;
    }
    connections.others().try_for_each(|process| connections.hear(process))
}
