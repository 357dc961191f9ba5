//! What a process does that does not commit: it reads, computes and scores its share, and hands over to process 0.

use std::collections::HashSet;
use std::sync::Arc;

use contactflow_operators::causes::Causes;
use contactflow_schemas::symbol::Symbol;
use serde::Serialize;

use super::cluster::{Connections, Ready, Start, Told};
use super::resume::Resume;
use super::shared::{Elsewhere, Stop, Target};
use super::starts::{Ended, Run};
use super::{JobError, Mode, RunSummary, open_inputs};
use crate::ingest::IngestProgress;
use crate::job::{Devices, JobContext};
use crate::settings::JobSettings;
use crate::sink::{Objects, PartitionWriter};
use crate::store::Root;

/// Runs this process as a member of a job. The summary counts what it has read itself.
pub(super) fn run(
    settings: &JobSettings,
    mode: Mode,
    progress: &Arc<IngestProgress>,
    stop: &Stop,
    start_devices: impl FnOnce(&JobSettings) -> Result<Option<Devices>, JobError>,
    mut connections: Connections,
) -> Result<RunSummary, JobError> {
    let process = settings.cluster.process;
    let ready = |(context, files): &(JobContext, usize)| Ready {
        models: context.models.clone(),
        with_quality: context.with_quality(),
        files: *files,
    };
    let prepared = prepare(settings, progress, start_devices);
    let (context, _) = said(process, &mut connections, prepared, ready)?;
    let mut run = Run::new(settings, mode, context, stop);
    loop {
        let Start { generation, as_of_ms, state, files, known } = connections.hear(0)?;
        run.go_back(files.iter().map(String::as_str));
        if settings.restatements {
            let files: HashSet<Symbol> = files.iter().map(|file| Symbol::new(file)).collect();
            run.context.causes.published(as_of_ms, files);
        }
        let resume = Resume::elsewhere(state);
        let sealed = resume.sealed(&*run.context.ingest.objects).map_err(JobError::from);
        let sealed = said(process, &mut connections, sealed, |_| ())?;
        let writer = PartitionWriter::new(settings.layout, known);
        let target = Target::Elsewhere(Elsewhere { generation, as_of_ms, writer, promised: Vec::new() });
        match run.start(target, resume, sealed, Some(connections))? {
            Ended::Over(summary) => return Ok(*summary),
            Ended::Again(..) => {
                let open = run.reconnect()?;
                connections = open.unwrap_or_else(|| unreachable!("a member is one of several processes"));
            }
        }
    }
}

/// Tells process 0 that something is done, or why it is not.
fn said<T, M: Serialize>(
    process: usize,
    connections: &mut Connections,
    done: Result<T, JobError>,
    message: impl FnOnce(&T) -> M,
) -> Result<T, JobError> {
    let told = match &done {
        Ok(done) => connections.tell(0, &Ok(message(done))),
        Err(error) => connections.tell::<M>(0, &Err(Told::of(process, error))),
    };
    // If process 0 is gone, an error of this one says more than that.
    let done = done?;
    told?;
    Ok(done)
}

fn prepare(
    settings: &JobSettings,
    progress: &Arc<IngestProgress>,
    start_devices: impl FnOnce(&JobSettings) -> Result<Option<Devices>, JobError>,
) -> Result<(JobContext, usize), JobError> {
    let roots = open_inputs(settings)?;
    let files = crate::sources::list_event_files(&roots)?.len();
    let objects: Arc<dyn Objects> = Arc::new(Root::open(&settings.output, true)?);
    let devices = start_devices(settings)?;
    Ok((JobContext::new(settings, roots, objects, progress, devices, Causes::default())?, files))
}
