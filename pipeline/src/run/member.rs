//! What a process does that does not commit: it reads, computes and scores its share, and hands over to process 0.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use contactflow_operators::causes::Causes;
use contactflow_schemas::symbol::Symbol;

use super::cluster::{Connections, Ready, Start, Told};
use super::resume::{Before, Resume};
use super::shared::{Elsewhere, Shared, Stop, Target};
use super::{JobError, Mode, RunSummary, open_inputs, start_workers};
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
    let (context, files) = match prepare(settings, progress, start_devices) {
        Ok(prepared) => prepared,
        Err(error) => {
            // If process 0 is gone, this error says more than that.
            let _ = connections.tell::<()>(0, &Err(Told::of(settings.cluster.process, &error)));
            return Err(error);
        }
    };
    let ready = Ready { model_id: context.model_id.clone(), with_quality: context.with_quality, files };
    connections.tell(0, &Ok(ready))?;
    let Start { generation, as_of_ms, state, files, known } = connections.hear(0)?;
    if settings.restatements {
        let files: HashSet<Symbol> = files.iter().map(|file| Symbol::new(file)).collect();
        context.causes.published(as_of_ms, files);
    }
    let writer = PartitionWriter::new(settings.layout, known);
    let target = Target::Elsewhere(Elsewhere { generation, as_of_ms, writer, promised: Vec::new() });
    let resume = Resume { state, ..Resume::default() };
    let started = Instant::now();
    let shared = Shared::new(settings, mode, context, target, resume, Before::default(), stop.clone());
    let shared = Arc::new(shared.connected(Some(connections)));
    start_workers(&shared)?;
    shared.summary(started.elapsed())
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
