//! An S3 server for tests, in this process: conditional writes with one winner, uploads in parts, ranges, paging,
//! signatures checked, durable, and faulty on demand.
//!
//! `s3s` speaks the protocol. The buckets are our own ([`buckets`]): the ones of `s3s-fs` let several conditional writes
//! win, list no versions, and read the whole bucket for every listing. Faults come above the protocol, where they come
//! in reality: on the connection ([`connection`]).

pub mod buckets;
mod connection;
pub mod faults;
mod gcs;
mod service;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;

use self::buckets::Buckets;
use self::faults::{Fates, Faults};

/// Keys a page of a listing holds unless told otherwise, as with S3.
const PAGE_KEYS: usize = 1000;
const ACCESS_KEY: &str = "contactflow-tests";

/// A write that the server is about to make or has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its number among all writes, from 1.
    pub number: u64,
    /// HTTP method.
    pub method: String,
    /// `/BUCKET/KEY`, without a query.
    pub path: String,
    /// False before it is made.
    pub is_done: bool,
}

/// Is told of every write, before and after, while the client waits.
pub type Watch = Arc<dyn Fn(&Write) + Send + Sync>;

/// What connections and operations share.
#[derive(Clone)]
struct Shared(Arc<Inner>);

struct Inner {
    buckets: Buckets,
    page_keys: usize,
    dialect: Dialect,
    fates: Fates,
    faults: Mutex<Faults>,
    watch: Mutex<Option<Watch>>,
    writes: AtomicU64,
    requests: AtomicU64,
    failed: AtomicU64,
}

impl std::ops::Deref for Shared {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    fn faults(&self) -> Faults {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn staleness(&self) -> Duration {
        self.fates.staleness(&self.faults())
    }

    fn watch(&self) -> Option<Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whose protocol a server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// That of S3.
    #[default]
    S3,
    /// That of Google Cloud Storage.
    Gcs,
}

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The one secret key it accepts.
    pub secret_key: String,
    /// Port on 127.0.0.1; 0 for any free one.
    pub port: u16,
    /// Keys per page of a listing at most.
    pub page_keys: usize,
    /// Whose protocol it speaks.
    pub dialect: Dialect,
}

impl Default for Options {
    fn default() -> Self {
        Self { secret_key: "not-a-secret".to_owned(), port: 0, page_keys: PAGE_KEYS, dialect: Dialect::S3 }
    }
}

/// A running server; it ends when this is dropped.
pub struct ObjectServer {
    address: SocketAddr,
    root: PathBuf,
    secret_key: String,
    shared: Shared,
    runtime: Option<tokio::runtime::Runtime>,
}

impl ObjectServer {
    /// Serves the buckets below `root` on a free port.
    ///
    /// # Errors
    /// A folder that cannot be read, a port that is taken.
    pub fn start(root: &Path, options: &Options) -> Result<Self> {
        let buckets = Buckets::open(root).with_context(|| format!("cannot open {}", root.display()))?;
        let shared = Shared(Arc::new(Inner {
            buckets,
            page_keys: options.page_keys,
            dialect: options.dialect,
            fates: Fates::default(),
            faults: Mutex::default(),
            watch: Mutex::default(),
            writes: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }));
        let mut builder = S3ServiceBuilder::new(shared.clone());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, options.secret_key.as_str()));
        let service = builder.build();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("object-server")
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", options.port)))?;
        let address = listener.local_addr()?;
        runtime.spawn(connection::accept(listener, service, shared.clone()));
        let secret_key = options.secret_key.clone();
        Ok(Self { address, root: root.to_owned(), secret_key, shared, runtime: Some(runtime) })
    }

    /// Creates a bucket; the folder its objects lie in.
    ///
    /// # Errors
    /// What the disk says.
    pub fn create_bucket(&self, bucket: &str) -> Result<PathBuf> {
        self.shared.buckets.create_bucket(bucket).map_err(|refusal| anyhow::anyhow!("{bucket}: {refusal:?}"))?;
        Ok(self.root.join(bucket))
    }

    /// Writes an object past the connection, so that nothing goes wrong with it.
    ///
    /// # Errors
    /// What the disk says, or that there is no such bucket.
    pub fn put(&self, bucket: &str, key: &str, body: &[u8]) -> Result<()> {
        let put = self.shared.buckets.put(bucket, key, body, &buckets::Condition::None);
        put.map(drop).map_err(|refusal| anyhow::anyhow!("{bucket}/{key}: {refusal:?}"))
    }

    /// Key, version and content of every object below `prefix` at one moment, between two writes.
    ///
    /// # Errors
    /// What the disk says.
    pub fn snapshot(&self, bucket: &str, prefix: &str) -> Result<Vec<(String, String, Bytes)>> {
        Ok(self.shared.buckets.snapshot(bucket, prefix)?)
    }

    /// Deletes a bucket with everything in it.
    ///
    /// # Errors
    /// What the disk says.
    pub fn delete_bucket(&self, bucket: &str) -> Result<()> {
        self.shared.buckets.delete_bucket(bucket).map_err(|refusal| anyhow::anyhow!("{bucket}: {refusal:?}"))
    }

    /// The key file by which a client of Google Cloud Storage finds this server.
    pub fn gcs_key_file(&self) -> String {
        let key = serde_json::json!({
            "gcs_base_url": format!("http://{}", self.address), "disable_oauth": true,
            "client_email": "", "private_key": "", "private_key_id": "",
        });
        key.to_string()
    }

    /// The variables by which a client of S3 finds this server.
    pub fn environment(&self) -> Vec<(String, String)> {
        let variables = [
            ("AWS_ENDPOINT", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_key.clone()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ];
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Lets requests fail from now on.
    pub fn set_faults(&self, faults: Faults) {
        *self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// Lets `watch` be told of every write from now on.
    pub fn set_watch(&self, watch: Option<Watch>) {
        *self.shared.watch.lock().unwrap_or_else(PoisonError::into_inner) = watch;
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Requests so far that did not go well by [`Faults`].
    pub fn failed_requests(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Writes so far.
    pub fn writes(&self) -> u64 {
        self.shared.writes.load(Ordering::Relaxed)
    }
}

impl Drop for ObjectServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
