//! Where files live: the local file system, S3, Azure, Google Cloud Storage, or (in tests) memory, behind one blocking
//! interface for the worker threads.
//!
//! Credentials come from the environment only (`AWS_*`, `AZURE_*`, `GOOGLE_*`); a URL that carries some is refused, so
//! that none can reach a log or a table.

use std::fs::File;
use std::future::Future;
use std::io::{Seek, Write};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode};
use url::Url;

pub use self::error::StoreError;
use self::error::{Refusal, innermost, redacted, refusal};
pub(crate) use self::retry::give_up_soon;
use self::retry::{CLIENT_TIMEOUTS, bounded, fenced, is_no_address, persistently, retries, until_stopped};

/// Larger objects are uploaded in parts of this size, so that a slow line does not run into the timeout of a request.
const PART_BYTES: usize = 8 << 20;

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

    /// The root `prefix` of a store that the caller has opened and calls `base` (scheme and bucket, without a slash).
    pub fn over(store: Arc<dyn ObjectStore>, base: &str, prefix: &str) -> Self {
        let prefix = Path::from(prefix);
        Self { store, url: printable(base, &prefix), prefix, base: base.to_owned() }
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
        self.get_with_meta(path).map(|(content, _)| content)
    }

    /// The content of an object, and its size and version.
    ///
    /// # Errors
    /// As [`Root::get`].
    pub fn get_with_meta(&self, path: &Path) -> Result<(Bytes, ObjectMeta), StoreError> {
        self.ask(path, || async {
            let answer = bounded(self.store.get(path)).await?;
            let meta = answer.meta.clone();
            Ok((answer.bytes().await?, meta))
        })
    }

    /// The content of an object as a file: the local file itself, or a copy in an unlinked temporary file, so that
    /// memory stays bounded whatever the size.
    ///
    /// # Errors
    /// As [`Root::get`], and [`StoreError::LocalDisk`] when the copy fails.
    pub fn get_file(&self, path: &Path) -> Result<File, StoreError> {
        self.ask(path, || async {
            let mut chunks = match bounded(self.store.get(path)).await?.payload {
                GetResultPayload::File(file, _) => return Ok(Ok(file)),
                GetResultPayload::Stream(chunks) => chunks,
            };
            let mut copy = match tempfile::tempfile() {
                Ok(copy) => copy,
                Err(error) => return Ok(Err(error)),
            };
            while let Some(chunk) = chunks.next().await {
                if let Err(error) = copy.write_all(&chunk?) {
                    return Ok(Err(error));
                }
            }
            Ok(copy.rewind().map(|()| copy))
        })?
        .map_err(scratch)
    }

    /// Size and version of an object; none when there is no such object.
    ///
    /// # Errors
    /// What keeps the store from answering.
    pub fn head(&self, path: &Path) -> Result<Option<ObjectMeta>, StoreError> {
        match self.ask(path, || bounded(self.store.head(path))) {
            Ok(meta) => Ok(Some(meta)),
            Err(StoreError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes an object, replacing one of the same name; readers see the old or the new content, nothing between. Gives
    /// the version it made, where the store tells one.
    ///
    /// # Errors
    /// What keeps the store from storing it; it may have been stored all the same.
    pub fn put(&self, path: &Path, content: Bytes) -> Result<Option<String>, StoreError> {
        let written = self.ask(path, || async {
            if content.len() <= PART_BYTES {
                return bounded(self.store.put(path, content.clone().into())).await;
            }
            let mut upload = bounded(self.store.put_multipart(path)).await?;
            let outcome = async {
                for start in (0..content.len()).step_by(PART_BYTES) {
                    let part = content.slice(start..content.len().min(start + PART_BYTES));
                    bounded(upload.put_part(part.into())).await?;
                }
                upload.complete().await
            }
            .await;
            if outcome.is_err() {
                // Without this a store may keep, and charge for, the parts; the first error is the one that counts.
                _ = bounded(upload.abort()).await;
            }
            outcome
        });
        written.map(|written| written.e_tag).map_err(StoreError::on_write)
    }

    /// Writes an object of at most a few MiB unless there is one of that name. Tells whether it holds `content` now, by
    /// this write or by one that was made although its reply was lost: content that nobody else would write tells who
    /// was first.
    ///
    /// # Errors
    /// What keeps the store from storing it; it may have been stored all the same.
    pub fn create(&self, path: &Path, content: &Bytes) -> Result<bool, StoreError> {
        use object_store::Error;
        let created = self.ask(path, || async {
            let written = self.store.put_opts(path, content.clone().into(), PutMode::Create.into());
            match bounded(written).await {
                Ok(_) => Ok(true),
                // Not made for certain only if the object does not hold it. S3 says 409 also where there is no object
                // yet, while another write of it is on its way.
                Err(error @ (Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::Generic { .. })) => {
                    match bounded(self.store.get(path)).await {
                        Ok(standing) => Ok(standing.bytes().await? == *content),
                        Err(_) => Err(error),
                    }
                }
                Err(error) => Err(error),
            }
        });
        created.map_err(StoreError::on_write)
    }

    /// Deletes an object; one that is not there counts as deleted.
    ///
    /// # Errors
    /// What keeps the store from deleting it.
    pub fn delete(&self, path: &Path) -> Result<(), StoreError> {
        match self.ask(path, || bounded(self.store.delete(path))) {
            Ok(()) | Err(StoreError::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Every object below the folder `under`, at any depth, sorted by path; none where there is no such folder.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when there is no such bucket; otherwise what keeps the store from answering.
    pub fn list(&self, under: &Path) -> Result<Vec<ObjectMeta>, StoreError> {
        let listed = self.ask(under, || async {
            let mut found = Vec::new();
            let mut stream = self.store.list(Some(under).filter(|under| !under.is_root()));
            loop {
                match bounded(stream.try_next()).await {
                    Ok(Some(meta)) => found.push(meta),
                    Ok(None) => return Ok(found),
                    Err(object_store::Error::NotFound { .. }) if self.is_local() => return Ok(found),
                    Err(object_store::Error::InvalidPath { source }) => {
                        tracing::warn!(error = %source, "a file whose name is no UTF-8 path was passed over");
                    }
                    Err(error) => return Err(error),
                }
            }
        });
        let mut found = listed.map_err(StoreError::on_write)?;
        found.sort_by(|left, right| left.location.cmp(&right.location));
        Ok(found)
    }

    /// Deletes what writes that were cut off left below this root of the local disk: files under the names they have
    /// until they are whole. Other stores show no such thing. Gives how many there were. For the job that holds `generation`.
    ///
    /// # Errors
    /// [`StoreError::LocalDisk`].
    pub fn clear_partial_files(&self, generation: u64) -> Result<usize, StoreError> {
        if !self.is_local() {
            return Ok(0);
        }
        let path = LocalFileSystem::new().path_to_filesystem(&self.prefix);
        let path = path.map_err(|error| self.failed(&self.prefix, &error))?;
        let disk = |error: std::io::Error| StoreError::LocalDisk { path: self.url.clone(), detail: error.to_string() };
        clear_partial_files(&path, generation).map_err(disk)
    }

    /// Blocks for the answer to a request that may be repeated.
    fn ask<T, F>(&self, path: &Path, mut attempt: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        // A disk does not get better by being asked again.
        let answer = match self.is_local() {
            true => runtime().block_on(attempt()),
            false => runtime().block_on(fenced(until_stopped(persistently(attempt)))),
        };
        answer.map_err(|error| self.failed(path, &error))
    }

    /// Translates an error at `path` to the decision it asks for.
    fn failed(&self, path: &Path, error: &object_store::Error) -> StoreError {
        let (url, detail) = (self.name_of(path), innermost(error));
        match error {
            _ if is_no_address(error) => StoreError::Configuration { url, detail },
            _ if refusal(error) == Some(Refusal::NoBucket) => StoreError::NoBucket { url },
            _ if refusal(error) == Some(Refusal::Denied) => StoreError::Denied { url, detail },
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
    endpoint::check(url.scheme()).map_err(|detail| StoreError::Configuration { url: url.to_string(), detail })?;
    let built = match url.scheme() {
        "memory" => return Ok(MEMORY.clone()),
        "s3" | "s3a" => build!(AmazonS3Builder, AmazonS3ConfigKey::Client),
        "az" | "azure" | "abfs" | "abfss" => build!(MicrosoftAzureBuilder, AzureConfigKey::Client),
        "gs" => build!(GoogleCloudStorageBuilder, GoogleConfigKey::Client),
        other => return Err(bad_url(url.to_string(), &format!("the scheme {other} is unknown"))),
    };
    built.map_err(|error| StoreError::Configuration { url: url.to_string(), detail: innermost(&error) })
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

/// Deletes files called `NAME#NUMBER`, which is how `object_store` calls them until they are whole. Those of claims stay while
/// anybody could ask for the claim: another job may be making its own at this moment, and nothing else is written before one.
fn clear_partial_files(folder: &std::path::Path, generation: u64) -> std::io::Result<usize> {
    let mut cleared = 0;
    let is_of_claims = folder.ends_with(crate::sink::FENCE);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            cleared += clear_partial_files(&entry.path(), generation)?;
            continue;
        }
        let name = entry.file_name();
        let Some((name, number)) = name.to_str().and_then(|name| name.rsplit_once('#')) else { continue };
        let is_partial = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if is_partial && (!is_of_claims || crate::sink::is_outdated_claim(name, generation)) {
            std::fs::remove_file(entry.path())?;
            cleared += 1;
        }
    }
    Ok(cleared)
}

mod endpoint;
mod error;
mod retry;
#[cfg(test)]
mod tests;
