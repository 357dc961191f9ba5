//! Where files live: the local file system, S3, Azure, Google Cloud Storage, or (in tests) memory, behind one blocking
//! interface for the worker threads.
//!
//! Credentials come from the environment only (`AWS_*`, `AZURE_*`, `GOOGLE_*`); a URL that carries some is refused, so
//! that none can reach a log or a table.

use std::fs::File;
use std::future::Future;
use std::io::{Seek, Write};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig,
};
use url::Url;

pub use self::error::StoreError;
use self::error::{innermost, redacted};

/// Longest wait for one answer of a store, retries included: a dead endpoint is an error after this long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(18);
/// No retry starts later than this after the first attempt of a request.
const RETRY_TIMEOUT: Duration = Duration::from_secs(8);
/// Larger objects are uploaded in parts of this size, so that a slow line does not run into the timeout of a request.
const PART_BYTES: usize = 8 << 20;

/// Timeouts of one attempt. `Timeout` bounds a whole download, so it is long; `ReadTimeout` is what notices silence.
const CLIENT_TIMEOUTS: [(ClientConfigKey, &str); 3] = [
    (ClientConfigKey::ConnectTimeout, "4 seconds"),
    (ClientConfigKey::ReadTimeout, "8 seconds"),
    (ClientConfigKey::Timeout, "1 hour"),
];

/// The runtime that all requests to stores share: two threads, which mostly wait.
///
/// # Panics
/// When the operating system grants no thread at the first call.
pub fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("store")
            .enable_all()
            .build()
            .expect("the operating system grants two threads")
    });
    &RUNTIME
}

/// A folder of a store, or a single object of it.
///
/// The methods block and must not be called from asynchronous code. Paths are those of the store; [`Root::at`] makes
/// them from names below the root.
#[derive(Clone, Debug)]
pub struct Root {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The folder or object inside the store.
    pub prefix: Path,
    /// Printable, without credentials: an absolute path, or a URL.
    pub url: String,
    /// What printable names of objects start with, up to the slash before the path; empty for local files.
    base: String,
}

impl Root {
    /// Opens a local path (relative or absolute) or a URL of one of the schemes `file`, `s3`, `az`, `abfs`, `gs` and
    /// `memory`. With `create`, a local folder that is missing is created. Remote stores are not contacted yet.
    ///
    /// # Errors
    /// [`StoreError::BadUrl`], [`StoreError::Configuration`], and for local paths [`StoreError::Missing`] or
    /// [`StoreError::LocalDisk`].
    pub fn open(url_or_path: &str, create: bool) -> Result<Self, StoreError> {
        if !url_or_path.contains("://") {
            return Self::open_local(std::path::Path::new(url_or_path), create);
        }
        let url = Url::parse(url_or_path).map_err(|error| bad_url(redacted(url_or_path), &error.to_string()))?;
        // abfs://container@account names the account there, which is no secret.
        let names_account = url.scheme().starts_with("abfs");
        if url.password().is_some() || url.query().is_some() || !(url.username().is_empty() || names_account) {
            let detail = "credentials and options belong into the environment, not the URL";
            return Err(bad_url(redacted(url_or_path), detail));
        }
        if url.scheme() == "file" {
            let path =
                url.to_file_path().map_err(|()| bad_url(url.to_string(), "a file URL names no other machine"))?;
            return Self::open_local(&path, create);
        }
        let prefix = Path::from_url_path(url.path()).map_err(|error| bad_url(url.to_string(), &error.to_string()))?;
        let store = remote_store(&url)?;
        let base = url[..url::Position::BeforePath].to_owned();
        let url = printable(&base, &prefix);
        Ok(Self { store, prefix, url, base })
    }

    fn open_local(path: &std::path::Path, create: bool) -> Result<Self, StoreError> {
        let shown = path.display().to_string();
        let disk = |error: std::io::Error| StoreError::LocalDisk { path: shown.clone(), detail: error.to_string() };
        if create {
            std::fs::create_dir_all(path).map_err(disk)?;
        } else if !path.try_exists().map_err(disk)? {
            return Err(StoreError::Missing { url: shown });
        }
        // Links stay as they are, so that names do not change with where they point; `..` has no place in a store path.
        let climbs = path.components().any(|part| part == std::path::Component::ParentDir);
        let absolute = if climbs { path.canonicalize() } else { std::path::absolute(path) };
        let prefix = Path::from_absolute_path(absolute.map_err(disk)?)
            .map_err(|error| bad_url(shown.clone(), &error.to_string()))?;
        Ok(Self { store: Arc::new(LocalFileSystem::new()), url: printable("", &prefix), prefix, base: String::new() })
    }

    /// The path of `name` (parts separated by `/`) below this root.
    pub fn at(&self, name: &str) -> Path {
        self.prefix.parts().chain(Path::from(name).parts()).collect()
    }

    /// The printable name of an object: an absolute path, or a URL without credentials.
    pub fn name_of(&self, path: &Path) -> String {
        printable(&self.base, path)
    }

    /// True for the local file system.
    pub fn is_local(&self) -> bool {
        self.base.is_empty()
    }

    /// The content of an object.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is none; otherwise what keeps the store from answering.
    pub fn get(&self, path: &Path) -> Result<Bytes, StoreError> {
        let answer = runtime().block_on(async { bounded(self.store.get(path)).await?.bytes().await });
        answer.map_err(|error| self.failed(path, &error))
    }

    /// The content of an object as a file: the local file itself, or a copy in an unlinked temporary file, so that
    /// memory stays bounded whatever the size.
    ///
    /// # Errors
    /// As [`Root::get`], and [`StoreError::LocalDisk`] when the copy fails.
    pub fn get_file(&self, path: &Path) -> Result<File, StoreError> {
        runtime().block_on(async {
            let answer = bounded(self.store.get(path)).await;
            let answer = answer.map_err(|error| self.failed(path, &error))?;
            let mut chunks = match answer.payload {
                GetResultPayload::File(file, _) => return Ok(file),
                GetResultPayload::Stream(chunks) => chunks,
            };
            let mut copy = tempfile::tempfile().map_err(scratch)?;
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk.map_err(|error| self.failed(path, &error))?;
                copy.write_all(&chunk).map_err(scratch)?;
            }
            copy.rewind().map_err(scratch)?;
            Ok(copy)
        })
    }

    /// Size and version of an object; none when there is no such object.
    ///
    /// # Errors
    /// What keeps the store from answering.
    pub fn head(&self, path: &Path) -> Result<Option<ObjectMeta>, StoreError> {
        match runtime().block_on(bounded(self.store.head(path))) {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(path, &error)),
        }
    }

    /// Writes an object, replacing one of the same name; readers see the old or the new content, nothing between.
    ///
    /// # Errors
    /// What keeps the store from storing it.
    pub fn put(&self, path: &Path, content: Bytes) -> Result<(), StoreError> {
        let done = runtime().block_on(async {
            if content.len() <= PART_BYTES {
                return bounded(self.store.put(path, content.into())).await.map(drop);
            }
            let mut upload = bounded(self.store.put_multipart(path)).await?;
            let outcome = async {
                for start in (0..content.len()).step_by(PART_BYTES) {
                    let part = content.slice(start..content.len().min(start + PART_BYTES));
                    bounded(upload.put_part(part.into())).await?;
                }
                upload.complete().await.map(drop)
            }
            .await;
            if outcome.is_err() {
                // Without this a store may keep, and charge for, the parts; the first error is the one that counts.
                _ = bounded(upload.abort()).await;
            }
            outcome
        });
        done.map_err(|error| self.failed(path, &error))
    }

    /// Deletes an object; one that is not there counts as deleted.
    ///
    /// # Errors
    /// What keeps the store from deleting it.
    pub fn delete(&self, path: &Path) -> Result<(), StoreError> {
        match runtime().block_on(bounded(self.store.delete(path))) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(path, &error)),
        }
    }

    /// Every object below the folder `under`, at any depth, sorted by path; none where there is no such folder.
    ///
    /// # Errors
    /// What keeps the store from answering.
    pub fn list(&self, under: &Path) -> Result<Vec<ObjectMeta>, StoreError> {
        let listed = runtime().block_on(async {
            let mut found = Vec::new();
            let mut stream = self.store.list(Some(under).filter(|under| !under.is_root()));
            loop {
                match bounded(stream.try_next()).await {
                    Ok(Some(meta)) => found.push(meta),
                    Ok(None) | Err(object_store::Error::NotFound { .. }) => return Ok(found),
                    Err(object_store::Error::InvalidPath { source }) => {
                        tracing::warn!(error = %source, "a file whose name is no UTF-8 path was passed over");
                    }
                    Err(error) => return Err(error),
                }
            }
        });
        let mut found = listed.map_err(|error| self.failed(under, &error))?;
        found.sort_by(|left, right| left.location.cmp(&right.location));
        Ok(found)
    }

    /// Translates an error at `path` to the decision it asks for.
    fn failed(&self, path: &Path, error: &object_store::Error) -> StoreError {
        let (url, detail) = (self.name_of(path), innermost(error));
        match error {
            object_store::Error::NotFound { .. } => StoreError::Missing { url },
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                StoreError::Denied { url, detail }
            }
            _ if self.is_local() => StoreError::LocalDisk { path: url, detail },
            _ => StoreError::Unreachable { url, detail },
        }
    }
}

/// Opens the bucket, container or memory store that `url` names, with the credentials of the environment.
fn remote_store(url: &Url) -> Result<Arc<dyn ObjectStore>, StoreError> {
    /// The memory store of this process.
    static MEMORY: LazyLock<Arc<InMemory>> = LazyLock::new(|| Arc::new(InMemory::new()));
    // object_store is built with ring for signatures; TLS needs it too. A provider installed earlier stays.
    _ = rustls::crypto::ring::default_provider().install_default();
    macro_rules! build {
        ($builder:ty, $client_key:path) => {
            CLIENT_TIMEOUTS
                .into_iter()
                .fold(<$builder>::from_env(), |builder, (key, value)| builder.with_config($client_key(key), value))
                .with_url(url.as_str())
                .with_retry(retries())
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
        };
    }
    let built = match url.scheme() {
        "memory" => return Ok(MEMORY.clone()),
        "s3" | "s3a" => build!(AmazonS3Builder, AmazonS3ConfigKey::Client),
        "az" | "azure" | "abfs" | "abfss" => build!(MicrosoftAzureBuilder, AzureConfigKey::Client),
        "gs" => build!(GoogleCloudStorageBuilder, GoogleConfigKey::Client),
        other => return Err(bad_url(url.to_string(), &format!("the scheme {other} is unknown"))),
    };
    built.map_err(|error| StoreError::Configuration { url: url.to_string(), detail: innermost(&error) })
}

fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: 4,
        retry_timeout: RETRY_TIMEOUT,
    }
}

/// Gives up on an answer that takes longer than [`ANSWER_TIMEOUT`]: the retries bound single requests only, not the
/// search for credentials before them.
async fn bounded<T>(answer: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(object_store::Error::Generic {
            store: "remote store",
            source: format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()).into(),
        }),
    }
}

fn printable(base: &str, path: &Path) -> String {
    format!("{base}/{path}")
}

fn bad_url(url: String, detail: &str) -> StoreError {
    StoreError::BadUrl { url, detail: detail.to_owned() }
}

fn scratch(error: std::io::Error) -> StoreError {
    StoreError::LocalDisk { path: std::env::temp_dir().display().to_string(), detail: error.to_string() }
}

mod error;
#[cfg(test)]
mod tests;
