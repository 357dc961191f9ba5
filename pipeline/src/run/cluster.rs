//! The processes of a job: how they find each other, and what they tell each other before timely takes the connections over.
//!
//! Process 0 is the one with worker 0, which plans the rounds and commits; the others are its *members*. Every two processes
//! share one TCP connection. Both ends say [who they are](Hello) and refuse a process with other settings, another program or
//! another key of the state, for which every exchange and every file would be a gamble. Then
//!
//! 1. every member opens its inputs and loads its model, and tells process 0 that it is [ready](Ready), or what is wrong;
//! 2. process 0, once all are ready, claims the root and tells every member what the job [goes on from](Start), or what is
//!    wrong;
//! 3. the connections become channels of the dataflow.
//!
//! A connection that is lost ends every process of the job ([`lost_connection`]): the last commit stands, and all of them have
//! to be started again, which is how timely works.

mod greeting;

use std::any::Any;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use contactflow_schemas::clock::TimeMs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{AllocatorBuilder, ProcessBuilder};
use timely::communication::{Hooks, WorkerGuards};
use timely::worker::Worker;

use super::JobError;
use super::shared::Stop;
use crate::settings::JobSettings;
use crate::sink::ModelIds;
use crate::state::StateFile;

/// Silence on a connection after which the other host is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(5);
/// How often it is asked without an answer until it counts as gone.
const PROBES: u32 = 3;
/// Largest message before the start, bytes.
const MESSAGE_BYTES_MAX: u64 = 1 << 30;

/// Why the processes of a job do not work together.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The address of this process cannot be used.
    #[error("process {process} cannot listen on {address}: {source}; is another process using the address?")]
    Listen {
        /// This process.
        process: usize,
        /// Its address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// Another process did not come.
    #[error("process {process} ({address}) was not there within {seconds} s; start every process of the hosts file")]
    Absent {
        /// The other process.
        process: usize,
        /// Its address.
        address: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The processes are not parts of one job.
    #[error("process {process} ({address}) runs with another {what}; it has to be the same for every process of a job")]
    Differs {
        /// The other process.
        process: usize,
        /// Its address.
        address: String,
        /// What is not the same.
        what: String,
    },
    /// A process ended before the job began.
    #[error("process {process} ({address}) ended before the job began ({detail}); it says why")]
    Broken {
        /// The other process.
        process: usize,
        /// Its address.
        address: String,
        /// What the system says.
        detail: String,
    },
    /// The job was told to end before all processes were there.
    #[error("the job was stopped before all of its processes were there")]
    Stopped,
    /// An error that another process met.
    #[error("{message} (process {process})")]
    Elsewhere {
        /// The process.
        process: usize,
        /// What it said.
        message: String,
        /// The settings or the command line have to change.
        is_configuration: bool,
    },
    /// Another process said something that makes no sense.
    #[error("process {process} said something that is no message of this program: {detail}")]
    Nonsense {
        /// The process.
        process: usize,
        /// What is wrong with it.
        detail: String,
    },
}

impl ClusterError {
    /// True when the settings or the command line have to change.
    pub(super) fn is_configuration(&self) -> bool {
        matches!(self, Self::Differs { .. } | Self::Elsewhere { is_configuration: true, .. })
    }
}

/// An error as other processes are told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// The process that met it.
    pub(super) process: usize,
    message: String,
    is_configuration: bool,
    /// A state file of the commit that the job goes on from is gone.
    pub(super) lacks_state: bool,
}

impl Told {
    /// What `process` tells of an error. One that it was told itself goes on as it was.
    pub(super) fn of(process: usize, error: &JobError) -> Self {
        match error {
            JobError::Cluster(ClusterError::Elsewhere { process, message, is_configuration }) => {
                let (message, is_configuration) = (message.clone(), *is_configuration);
                Self { process: *process, message, is_configuration, lacks_state: false }
            }
            _ => Self {
                process,
                message: error.to_string(),
                is_configuration: error.is_configuration(),
                lacks_state: error.lacks_state(),
            },
        }
    }
}

impl From<Told> for JobError {
    fn from(Told { process, message, is_configuration, .. }: Told) -> Self {
        ClusterError::Elsewhere { process, message, is_configuration }.into()
    }
}

/// A member can begin.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ready {
    /// The models that it has loaded.
    pub(super) models: ModelIds,
    /// Whether these, the model and the candidate, are good for conversations.
    pub(super) with_quality: [bool; 2],
    /// How many event files it sees.
    pub(super) files: usize,
}

/// What members have to know of the root that process 0 has claimed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Start {
    /// Claim of the root, in the names of state files.
    pub(super) generation: u64,
    /// Latest event time that the last commit knows.
    pub(super) as_of_ms: Option<TimeMs>,
    /// State that is taken in before the first round.
    pub(super) state: Vec<StateFile>,
    /// Names of the source files that the last commit has read.
    pub(super) files: Vec<String>,
    /// Content that the store is known to hold: SHA-256 by slot.
    pub(super) known: HashMap<String, String>,
}

/// The connections of this process, one per other process.
pub(super) struct Connections {
    process: usize,
    workers: usize,
    hosts: Vec<String>,
    /// By process; none at the place of this one.
    sockets: Vec<Option<TcpStream>>,
}

impl Connections {
    /// Meets the other processes; none where there are no others.
    pub(super) fn open(settings: &JobSettings, stop: &Stop) -> Result<Option<Self>, JobError> {
        let cluster = &settings.cluster;
        if cluster.processes() == 1 {
            return Ok(None);
        }
        let sockets = greeting::meet(settings, stop)?;
        for socket in sockets.iter().flatten() {
            // A host that vanishes sends no last message. Where the system refuses, it takes longer to be noticed.
            let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE).with_retries(PROBES);
            if let Err(error) = SockRef::from(socket).set_tcp_keepalive(&keepalive) {
                tracing::warn!(%error, "connections are not watched while they are silent");
            }
        }
        let (hosts, process) = (cluster.hosts.clone(), cluster.process);
        Ok(Some(Self { process, workers: settings.workers, hosts, sockets }))
    }

    /// Says `message`, or the error that stands in its place, to `process`.
    pub(super) fn tell<M: Serialize>(&mut self, process: usize, message: &Result<M, Told>) -> Result<(), ClusterError> {
        let address = &self.hosts[process];
        let broken = |detail: String| ClusterError::Broken { process, address: address.clone(), detail };
        let Some(socket) = &mut self.sockets[process] else { return Ok(()) };
        send(socket, message).map_err(|error| broken(error.to_string()))
    }

    /// Waits for what `process` says.
    pub(super) fn hear<M: DeserializeOwned>(&mut self, process: usize) -> Result<M, JobError> {
        let address = &self.hosts[process];
        let broken = |detail: String| ClusterError::Broken { process, address: address.clone(), detail };
        let Some(socket) = &mut self.sockets[process] else { return Err(broken("no connection".to_owned()).into()) };
        let body = receive(socket, MESSAGE_BYTES_MAX).map_err(|error| broken(error.to_string()))?;
        let message: Result<M, Told> = serde_json::from_slice(&body)
            .map_err(|error| ClusterError::Nonsense { process, detail: error.to_string() })?;
        Ok(message?)
    }

    /// The other processes.
    pub(super) fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let this = self.process;
        (0..self.hosts.len()).filter(move |&process| process != this)
    }

    /// Tells all others that the job does not begin. Who is gone already needs no telling.
    pub(super) fn give_up(mut self, error: &JobError) {
        let told = Told::of(self.process, error);
        for process in self.others() {
            let _ = self.tell::<()>(process, &Err(told.clone()));
        }
    }

    /// Runs workers on the connections.
    pub(super) fn execute(
        self,
        work: impl Fn(&mut Worker) + Send + Sync + 'static,
    ) -> Result<WorkerGuards<()>, JobError> {
        let Self { process, workers, sockets, .. } = self;
        let hooks = Hooks::default();
        let inner = ProcessBuilder::new_typed_vector(workers, hooks.refill.clone(), None);
        let (builders, threads) = initialize_networking_from_sockets(inner, sockets, process, workers, hooks)
            .map_err(|error| JobError::Workers(error.to_string()))?;
        let builders = builders.into_iter().map(AllocatorBuilder::Tcp).collect();
        timely::execute::execute_from(builders, Box::new(threads), timely::WorkerConfig::default(), work)
            .map_err(JobError::Workers)
    }
}

/// What a panic of a thread called `name` says about a lost connection; none when it is another panic. timely's network threads
/// panic when a connection breaks, and the workers, which would wait for ever, have to be ended with them.
pub(crate) fn lost_connection(name: &str, payload: &(dyn Any + Send)) -> Option<String> {
    let process: usize = name.strip_prefix("timely:recv-").or(name.strip_prefix("timely:send-"))?.parse().ok()?;
    let message = payload.downcast_ref::<String>()?.strip_prefix("timely communication error: ")?;
    Some(format!(
        "the connection to process {process} was lost ({message}): the job ends, and the last commit stands; start all of its processes again"
    ))
}

fn send(socket: &mut TcpStream, message: &impl Serialize) -> std::io::Result<()> {
    let body = serde_json::to_vec(message)?;
    socket.write_all(&(body.len() as u64).to_be_bytes())?;
    socket.write_all(&body)
}

fn receive(socket: &mut TcpStream, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 8];
    socket.read_exact(&mut length)?;
    let length = u64::from_be_bytes(length);
    if length > bytes_max {
        return Err(std::io::Error::other("a message that is too long"));
    }
    let mut body = Vec::new();
    socket.take(length).read_to_end(&mut body)?;
    if body.len() as u64 == length { Ok(body) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_connections_are_told_and_other_panics_are_not() {
        let said = "timely communication error: reading data: socket closed".to_owned();
        let told = lost_connection("timely:recv-2", &said).expect("a lost connection");
        assert!(told.contains("process 2") && told.contains("socket closed"), "{told}");
        assert_eq!(lost_connection("timely:work-0", &said), None);
        assert_eq!(lost_connection("timely:recv-2", &"index out of range".to_owned()), None);
    }

    #[test]
    fn an_error_goes_on_as_it_was() {
        let error = JobError::Workers("a worker died".to_owned());
        let told = Told::of(1, &error);
        let elsewhere = JobError::from(told.clone());
        assert_eq!(elsewhere.to_string(), "the dataflow stopped: a worker died (process 1)");
        assert_eq!(Told::of(0, &elsewhere), told);
    }
}
