//! The built program as several processes of one job, on ports of this machine.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::program::{Ended, Job, Mode, Running};
use crate::stores::Store;

/// How many processes run a job, and how many workers each of them has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Processes.
    pub processes: usize,
    /// Workers of each.
    pub workers: usize,
}

/// Processes of one job, by position; killed when they are dropped.
#[derive(Debug)]
pub struct Cluster {
    /// They.
    pub processes: Vec<Running>,
}

/// Addresses of this machine that were free a moment ago.
///
/// # Errors
/// There is none.
pub fn free_addresses(count: usize) -> Result<Vec<String>> {
    let listeners = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<Vec<_>>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.to_string())).collect()
}

/// What `--hosts` is given for so many processes.
///
/// # Errors
/// It cannot be written.
pub fn hosts_file(store: &Store, processes: usize) -> Result<PathBuf> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let path = store.desk().join(format!("hosts-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
    std::fs::write(&path, free_addresses(processes)?.join("\n"))?;
    Ok(path)
}

impl Cluster {
    /// Starts the job as `shape` says.
    ///
    /// # Errors
    /// A process does not start.
    pub fn start(store: &Store, job: &Job, mode: Mode, shape: Shape) -> Result<Self> {
        let hosts = hosts_file(store, shape.processes)?;
        let start = |process: usize| {
            let mut command = job.command(mode, shape.workers)?;
            command.arg("--hosts").arg(&hosts).args(["--process", &process.to_string()]);
            job.start_as(&mut command)
        };
        Ok(Self { processes: (0..shape.processes).map(start).collect::<Result<_>>()? })
    }

    /// Runs the job over what is there; every process has to end well.
    ///
    /// # Errors
    /// What a process says that does not.
    pub fn once(store: &Store, job: &Job, shape: Shape) -> Result<()> {
        for (process, ended) in Self::start(store, job, Mode::Once, shape)?.end()?.iter().enumerate() {
            ended.well().with_context(|| format!("process {process} of {shape:?}"))?;
        }
        Ok(())
    }

    /// How all of them ended.
    ///
    /// # Errors
    /// One does not end.
    pub fn end(self) -> Result<Vec<Ended>> {
        self.processes.into_iter().map(Running::end).collect()
    }

    /// How all of them ended.
    ///
    /// # Errors
    /// One does not end in time.
    pub fn end_within(mut self, patience: Duration) -> Result<Vec<Ended>> {
        self.processes.iter_mut().map(|process| process.end_within(patience)).collect()
    }
}
