//! Processes meet: process i connects to those before it and accepts those behind it.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::thread::sleep;
use std::time::{Duration, Instant};

use contactflow_inference::{ModelConfig, PoolLimits};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ClusterError, receive, send};
use crate::run::JobError;
use crate::run::sealing::program;
use crate::run::shared::Stop;
use crate::settings::{ClusterSettings, JobSettings};

/// How often a process looks for others.
const GLANCE: Duration = Duration::from_millis(50);
/// How long one attempt to connect may take.
const ATTEMPT: Duration = Duration::from_secs(1);
/// How long whoever connects may take to say who it is.
const INTRODUCTION: Duration = Duration::from_secs(2);
/// How long the answer to that may take: the other may have several to listen to.
const ANSWER: Duration = Duration::from_secs(20);
/// How long the address of this process may be in use by one that is just ending.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is told who is waited for.
const REMINDER: Duration = Duration::from_secs(10);
/// Largest introduction, bytes.
const HELLO_BYTES_MAX: u64 = 1 << 20;
const MAGIC: &str = "contactflow cluster";

/// What a process says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Hello {
    magic: String,
    process: usize,
    program: String,
    settings: Value,
    state_key: Option<String>,
}

impl Hello {
    fn of(settings: &JobSettings) -> Result<Self, JobError> {
        let mut shared = settings.clone();
        // What may differ from host to host; that the models are the same is checked when they are loaded.
        shared.inference.devices = None;
        shared.inference.model = ModelConfig::default();
        shared.inference.candidate = shared.inference.candidate.map(|_| ModelConfig::default());
        shared.inference.limits = PoolLimits::default();
        shared.cluster = ClusterSettings { hosts: settings.cluster.hosts.clone(), ..ClusterSettings::default() };
        Ok(Self {
            magic: MAGIC.to_owned(),
            process: settings.cluster.process,
            program: program(),
            settings: serde_json::to_value(shared).map_err(|error| ClusterError::Nonsense {
                process: settings.cluster.process,
                detail: error.to_string(),
            })?,
            state_key: crate::state::key_fingerprint()?,
        })
    }

    /// What `other` has that this process does not.
    fn difference(&self, other: &Self) -> Option<String> {
        if self.program != other.program {
            return Some("version of the program".to_owned());
        }
        if self.state_key != other.state_key {
            return Some(format!("key of the state ({})", crate::state::KEY_VARIABLE));
        }
        let key = differing_key(&self.settings, &other.settings)?;
        Some(format!("setting `{key}`"))
    }
}

/// The first key by name whose values differ, with the keys that lead to it.
fn differing_key(one: &Value, other: &Value) -> Option<String> {
    let (Value::Object(one), Value::Object(other)) = (one, other) else {
        return (one != other).then(String::new);
    };
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    keys.into_iter().find_map(|key| {
        let inner = differing_key(one.get(key).unwrap_or(&Value::Null), other.get(key).unwrap_or(&Value::Null))?;
        Some(if inner.is_empty() { key.clone() } else { format!("{key}.{inner}") })
    })
}

/// Connects every two processes. The result is by process, with nothing at the place of this one.
pub(super) fn meet(settings: &JobSettings, stop: &Stop) -> Result<Vec<Option<TcpStream>>, JobError> {
    let ClusterSettings { hosts, process, connect_timeout_seconds } = &settings.cluster;
    let seconds = *connect_timeout_seconds;
    let until = Instant::now() + Duration::from_secs(seconds);
    let own = Hello::of(settings)?;
    let listener = if process + 1 < hosts.len() { Some(listen(*process, &hosts[*process])?) } else { None };
    let mut sockets: Vec<Option<TcpStream>> = hosts.iter().map(|_| None).collect();
    let mut reminded = Instant::now();
    loop {
        for (other, address) in hosts.iter().enumerate().take(*process) {
            if sockets[other].is_none() {
                sockets[other] = connect(&own, other, address)?;
            }
        }
        // One that comes again was started again.
        if let Some(listener) = &listener
            && let Some((other, socket)) = accept(listener, &own, hosts)?
        {
            sockets[other] = Some(socket);
        }
        let absent = (0..hosts.len()).find(|other| other != process && sockets[*other].is_none());
        let Some(absent) = absent else { return Ok(sockets) };
        if stop.is_requested() {
            return Err(ClusterError::Stopped.into());
        }
        if Instant::now() >= until {
            return Err(ClusterError::Absent { process: absent, address: hosts[absent].clone(), seconds }.into());
        }
        if reminded.elapsed() >= REMINDER {
            tracing::info!(process = absent, address = hosts[absent], "waiting for a process of the cluster");
            reminded = Instant::now();
        }
        sleep(GLANCE);
    }
}

fn listen(process: usize, address: &str) -> Result<TcpListener, ClusterError> {
    let until = Instant::now() + ADDRESS_PATIENCE;
    loop {
        let listener = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        match listener {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && Instant::now() < until => sleep(GLANCE),
            Err(source) => return Err(ClusterError::Listen { process, address: address.to_owned(), source }),
        }
    }
}

/// Connects to process `other`; none while it is not there.
fn connect(own: &Hello, other: usize, address: &str) -> Result<Option<TcpStream>, ClusterError> {
    // A name that is not known yet may become so.
    let addresses: Vec<SocketAddr> = address.to_socket_addrs().map(Iterator::collect).unwrap_or_default();
    let socket = addresses.iter().find_map(|address| TcpStream::connect_timeout(address, ATTEMPT).ok());
    let Some(mut socket) = socket else { return Ok(None) };
    let said = prepare(&socket, ANSWER).and_then(|()| send(&mut socket, own));
    let said = said.and_then(|()| receive(&mut socket, HELLO_BYTES_MAX));
    let Some(hello) = said.ok().and_then(|said| serde_json::from_slice::<Hello>(&said).ok()) else { return Ok(None) };
    let address = address.to_owned();
    if hello.magic != MAGIC || hello.process != other {
        return Err(ClusterError::Differs { process: other, address, what: "place in the hosts file".to_owned() });
    }
    match own.difference(&hello) {
        Some(what) => Err(ClusterError::Differs { process: other, address, what }),
        None => Ok(settle(socket)),
    }
}

/// Takes a connection in, if one waits. Who is no process of a job is turned away.
fn accept(listener: &TcpListener, own: &Hello, hosts: &[String]) -> Result<Option<(usize, TcpStream)>, ClusterError> {
    let Ok((mut socket, from)) = listener.accept() else { return Ok(None) };
    let said = prepare(&socket, INTRODUCTION).and_then(|()| receive(&mut socket, HELLO_BYTES_MAX));
    let hello = said.ok().and_then(|said| serde_json::from_slice::<Hello>(&said).ok());
    let Some(hello) = hello.filter(|hello| hello.magic == MAGIC) else {
        tracing::warn!(%from, "a connection that is not of this cluster was turned away");
        return Ok(None);
    };
    // Also where the two do not fit: the other finds out the same.
    if send(&mut socket, own).is_err() {
        return Ok(None);
    }
    let process = hello.process;
    let address = hosts.get(process).cloned().unwrap_or_else(|| from.to_string());
    if process <= own.process || process >= hosts.len() {
        return Err(ClusterError::Differs { process, address, what: "place in the hosts file".to_owned() });
    }
    match own.difference(&hello) {
        Some(what) => Err(ClusterError::Differs { process, address, what }),
        None => Ok(settle(socket).map(|socket| (process, socket))),
    }
}

/// Makes a connection ready for introductions.
fn prepare(socket: &TcpStream, patience: Duration) -> std::io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(patience))?;
    socket.set_write_timeout(Some(patience))
}

/// Makes a connection ready for what comes after them; none where it broke.
fn settle(socket: TcpStream) -> Option<TcpStream> {
    let settled = socket.set_read_timeout(None).and_then(|()| socket.set_write_timeout(None));
    settled.ok().map(|()| socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(hosts: &[String], process: usize) -> JobSettings {
        let cluster = ClusterSettings { hosts: hosts.to_vec(), process, connect_timeout_seconds: 20 };
        JobSettings { cluster, ..JobSettings::default() }
    }

    /// Addresses that were free a moment ago.
    fn hosts(count: usize) -> Vec<String> {
        let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
        listeners.iter().map(|listener| listener.local_addr().expect("bound").to_string()).collect()
    }

    #[test]
    fn processes_meet_in_any_order_and_strangers_are_turned_away() {
        let hosts = hosts(3);
        let stranger = hosts[0].clone();
        let meet_as = |process| {
            let settings = settings(&hosts, process);
            std::thread::spawn(move || meet(&settings, &Stop::default()).map(|sockets| sockets.len()))
        };
        let first = meet_as(0);
        let talk = std::thread::spawn(move || {
            for _ in 0..50 {
                if let Ok(mut socket) = TcpStream::connect(&stranger) {
                    let _ = std::io::Write::write_all(&mut socket, b"GET / HTTP/1.1\r\n\r\n");
                    return;
                }
                sleep(GLANCE);
            }
        });
        talk.join().expect("ends");
        let (third, second) = (meet_as(2), meet_as(1));
        for process in [first, second, third] {
            assert_eq!(process.join().expect("ends").expect("meets"), 3);
        }
    }

    #[test]
    fn other_settings_are_named_by_both() {
        let hosts = hosts(2);
        let one = settings(&hosts, 0);
        let mut other = settings(&hosts, 1);
        other.kpi.short_abandon_ms += 1;
        let first = std::thread::spawn(move || meet(&one, &Stop::default()).map(|_| ()));
        let second = std::thread::spawn(move || meet(&other, &Stop::default()).map(|_| ()));
        for (process, thread) in [(1, first), (0, second)] {
            let error = thread.join().expect("ends").expect_err("they differ");
            let told = error.to_string();
            assert!(told.contains("kpi.short_abandon_ms") && told.contains(&format!("process {process}")), "{told}");
            assert!(error.is_configuration());
        }
    }

    #[test]
    fn who_does_not_come_is_named() {
        let hosts = hosts(2);
        let mut one = settings(&hosts, 0);
        one.cluster.connect_timeout_seconds = 1;
        let told = meet(&one, &Stop::default()).expect_err("nobody comes").to_string();
        assert!(told.contains("process 1") && told.contains(&hosts[1]), "{told}");
        let stop = Stop::default();
        stop.request();
        assert!(meet(&settings(&hosts, 0), &stop).is_err());
    }
}
