//! The stores a job can write to, real ones as far as they can be had: the local disk, S3 by the server of
//! [`object_server`](crate::object_server), which speaks enough of Google Cloud Storage too, Azure by Azurite.

mod azurite;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use self::azurite::Azurite;
use crate::object_server::{Dialect, ObjectServer, Options};

/// Name of the key file of Google Cloud Storage.
const KEY_FILE: &str = "service-account.json";
/// Bucket or container of everything a test stores.
const BUCKET: &str = "contactflow";

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Folders.
    Disk,
    /// S3.
    S3,
    /// Azure Blob Storage.
    Azure,
    /// Google Cloud Storage, as far as [`object_server`](crate::object_server) speaks its protocol.
    Gcs,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disk => "disk",
            Self::S3 => "s3",
            Self::Azure => "azure",
            Self::Gcs => "gcs",
        })
    }
}

enum Service {
    None,
    S3(ObjectServer),
    Gcs(ObjectServer),
    Azure(Azurite),
}

/// A store for one test, gone with everything in it when it is dropped.
pub struct Store {
    service: Service,
    folder: TempDir,
    desk: TempDir,
}

impl Store {
    /// Starts a store. `None`, with a line on standard output, for Azure where Azurite is not installed.
    ///
    /// # Errors
    /// A service that does not start.
    pub fn start(kind: Kind) -> Result<Option<Self>> {
        Self::start_with(kind, &Options::default())
    }

    /// As [`Store::start`], with options for the S3 server.
    ///
    /// # Errors
    /// A service that does not start.
    pub fn start_with(kind: Kind, options: &Options) -> Result<Option<Self>> {
        let (folder, desk) = (TempDir::new()?, TempDir::new()?);
        let service = match kind {
            Kind::Disk => Service::None,
            Kind::S3 => {
                let server = ObjectServer::start(folder.path(), options)?;
                server.create_bucket(BUCKET)?;
                Service::S3(server)
            }
            Kind::Gcs => {
                let server = ObjectServer::start(folder.path(), &Options { dialect: Dialect::Gcs, ..options.clone() })?;
                server.create_bucket(BUCKET)?;
                std::fs::write(desk.path().join(KEY_FILE), server.gcs_key_file())?;
                Service::Gcs(server)
            }
            Kind::Azure => match Azurite::start(folder.path(), BUCKET)? {
                Some(azurite) => Service::Azure(azurite),
                None => return Ok(None),
            },
        };
        Ok(Some(Self { service, folder, desk }))
    }

    /// Our server of S3 or Google Cloud Storage, if this is one.
    pub fn server(&self) -> Option<&ObjectServer> {
        match &self.service {
            Service::S3(server) | Service::Gcs(server) => Some(server),
            _ => None,
        }
    }

    /// What a program is given to find the store, and what lies below it.
    pub fn environment(&self) -> Vec<(String, String)> {
        match &self.service {
            Service::None => Vec::new(),
            Service::S3(server) => server.environment(),
            Service::Gcs(_) => {
                vec![("GOOGLE_SERVICE_ACCOUNT".to_owned(), self.desk.path().join(KEY_FILE).display().to_string())]
            }
            Service::Azure(azurite) => azurite.environment(),
        }
    }

    /// Path or URL of a folder of the store. A folder on the disk is there afterwards.
    ///
    /// # Errors
    /// What the disk says.
    pub fn url(&self, name: &str) -> Result<String> {
        Ok(match &self.service {
            Service::None => {
                let path = self.folder.path().join(name);
                std::fs::create_dir_all(&path)?;
                path.display().to_string()
            }
            Service::S3(_) => format!("s3://{BUCKET}/{name}"),
            Service::Gcs(_) => format!("gs://{BUCKET}/{name}"),
            Service::Azure(_) => format!("az://{BUCKET}/{name}"),
        })
    }

    /// Puts a file into a folder of the store, at once as a whole.
    ///
    /// # Errors
    /// What the store says.
    pub fn put(&self, name: &str, body: &[u8]) -> Result<()> {
        match &self.service {
            Service::None => {
                let path = self.folder.path().join(name);
                let folder = path.parent().context("a file lies in a folder")?;
                std::fs::create_dir_all(folder)?;
                // Hidden from the job until it is whole.
                let partial = self.folder.path().join(".partial");
                std::fs::write(&partial, body)?;
                Ok(std::fs::rename(partial, path)?)
            }
            Service::S3(server) | Service::Gcs(server) => server.put(BUCKET, name, body),
            Service::Azure(azurite) => azurite.put(name, body),
        }
    }

    /// The files of a folder of the store as a folder on the disk: the very ones, or, with Azure, a copy of this moment.
    ///
    /// # Errors
    /// What the store says.
    pub fn files(&self, name: &str) -> Result<PathBuf> {
        match &self.service {
            Service::None => Ok(self.folder.path().join(name)),
            Service::S3(_) | Service::Gcs(_) => Ok(self.folder.path().join(BUCKET).join(name)),
            Service::Azure(azurite) => {
                let copy = self.folder.path().join("copies").join(name);
                if copy.exists() {
                    std::fs::remove_dir_all(&copy)?;
                }
                azurite.fetch(name, &copy)?;
                Ok(copy)
            }
        }
    }

    /// The folder in which the store keeps everything.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A folder beside the store, for settings and logs.
    pub fn desk(&self) -> &Path {
        self.desk.path()
    }
}
