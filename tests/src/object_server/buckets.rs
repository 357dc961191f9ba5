//! What the server stores: one file per object below `ROOT/BUCKET/KEY`, so that a test reads a bucket as a folder.
//!
//! 1. Changes happen one after the other; a conditional write has one winner.
//! 2. An object changes by one rename, and the server answers after it: what was answered survives `kill -9`.
//! 3. A listing comes from the index, which is read from the disk at the start.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use s3s::crypto::{Checksum, Md5};

/// How long the past is remembered for stale listings.
const MEMORY: Duration = Duration::from_secs(10);

/// An object as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// MD5 of the content, hexadecimal.
    pub e_tag: String,
    /// Bytes.
    pub size: u64,
    /// When it was written.
    pub modified: SystemTime,
}

/// When a write may happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Always.
    None,
    /// Only where there is no object.
    Absent,
    /// Only over an object with this version.
    Matches(String),
}

/// Why something was not done.
#[derive(Debug)]
pub enum Refusal {
    /// There is no such bucket.
    NoBucket,
    /// There is no such object.
    NoObject,
    /// There is no such upload.
    NoUpload,
    /// The condition does not hold.
    Condition,
    /// The name leads out of the bucket, or is that of a folder.
    Name,
    /// The disk failed.
    Disk(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

type Place = (String, String);

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<Place, Meta>,
    /// What objects were before their latest changes, oldest first.
    before: VecDeque<(Instant, Place, Option<Meta>)>,
    /// Uploads in parts; they are gone when the server is.
    uploads: BTreeMap<String, Upload>,
    last_upload: u64,
    last_file: u64,
}

#[derive(Debug)]
enum Upload {
    Open(BTreeMap<i32, Bytes>),
    /// Completing it again gives the same answer, as S3 does.
    Complete(Meta),
}

/// Buckets below a folder.
#[derive(Debug)]
pub struct Buckets {
    root: PathBuf,
    state: Mutex<State>,
}

impl Buckets {
    /// Opens the folder with the buckets that are there.
    ///
    /// # Errors
    /// What keeps it from being read.
    pub fn open(root: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(root)?;
        let mut state = State::default();
        for entry in std::fs::read_dir(root)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                // What a write that was cut off left behind.
                std::fs::remove_file(entry.path())?;
            } else if entry.file_type()?.is_dir() {
                index(&entry.path(), &name, "", &mut state.objects)?;
            }
        }
        Ok(Self { root: root.to_owned(), state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates a bucket; one that is there stays as it is.
    ///
    /// # Errors
    /// What the disk says.
    pub fn create_bucket(&self, bucket: &str) -> Result<(), Refusal> {
        Ok(std::fs::create_dir_all(self.root.join(bucket))?)
    }

    /// Deletes a bucket with everything in it.
    ///
    /// # Errors
    /// What the disk says.
    pub fn delete_bucket(&self, bucket: &str) -> Result<(), Refusal> {
        let mut state = self.state();
        state.objects.retain(|(of, _), _| of != bucket);
        Ok(std::fs::remove_dir_all(self.root.join(bucket))?)
    }

    /// True when the bucket is there.
    pub fn has_bucket(&self, bucket: &str) -> bool {
        self.root.join(bucket).is_dir()
    }

    /// Where an object's content lies.
    fn path(&self, bucket: &str, key: &str) -> Result<PathBuf, Refusal> {
        let leads_out = |part: &str| part.is_empty() || part == "." || part == "..";
        if key.split('/').any(leads_out) {
            return Err(Refusal::Name);
        }
        if !self.has_bucket(bucket) {
            return Err(Refusal::NoBucket);
        }
        Ok(self.root.join(bucket).join(key))
    }

    /// Writes an object; its version.
    ///
    /// # Errors
    /// [`Refusal::Condition`], [`Refusal::NoBucket`], [`Refusal::Name`], what the disk says.
    pub fn put(&self, bucket: &str, key: &str, body: &[u8], condition: &Condition) -> Result<Meta, Refusal> {
        let mut state = self.state();
        let path = self.path(bucket, key)?;
        let place = (bucket.to_owned(), key.to_owned());
        let standing = state.objects.get(&place);
        let holds = match condition {
            Condition::None => true,
            Condition::Absent => standing.is_none(),
            Condition::Matches(e_tag) => standing.is_some_and(|standing| standing.e_tag == *e_tag),
        };
        if !holds {
            return Err(Refusal::Condition);
        }
        state.last_file += 1;
        let partial = self.root.join(format!(".partial-{}", state.last_file));
        let mut file = std::fs::File::create(&partial)?;
        file.write_all(body)?;
        drop(file);
        std::fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
        std::fs::rename(&partial, &path)?;
        let meta = Meta { e_tag: md5(body), size: body.len() as u64, modified: SystemTime::now() };
        let before = state.objects.insert(place.clone(), meta.clone());
        state.remember(place, before);
        Ok(meta)
    }

    /// Content and version of an object.
    ///
    /// # Errors
    /// [`Refusal::NoBucket`], [`Refusal::NoObject`], [`Refusal::Name`], what the disk says.
    pub fn get(&self, bucket: &str, key: &str) -> Result<(Bytes, Meta), Refusal> {
        let state = self.state();
        let path = self.path(bucket, key)?;
        let meta = state.objects.get(&(bucket.to_owned(), key.to_owned())).ok_or(Refusal::NoObject)?;
        Ok((std::fs::read(path)?.into(), meta.clone()))
    }

    /// Version of an object.
    ///
    /// # Errors
    /// [`Refusal::NoBucket`], [`Refusal::NoObject`].
    pub fn head(&self, bucket: &str, key: &str) -> Result<Meta, Refusal> {
        self.path(bucket, key)?;
        self.state().objects.get(&(bucket.to_owned(), key.to_owned())).cloned().ok_or(Refusal::NoObject)
    }

    /// Deletes an object; one that is not there counts as deleted.
    ///
    /// # Errors
    /// [`Refusal::NoBucket`], [`Refusal::Name`], what the disk says.
    pub fn delete(&self, bucket: &str, key: &str) -> Result<(), Refusal> {
        let mut state = self.state();
        let path = self.path(bucket, key)?;
        let place = (bucket.to_owned(), key.to_owned());
        if let Some(meta) = state.objects.remove(&place) {
            state.remember(place, Some(meta));
            std::fs::remove_file(path)?;
        }
        Ok(())
    }

    /// Objects whose key starts with `prefix` and sorts after `after`, as they are or as they were `age` ago.
    ///
    /// # Errors
    /// [`Refusal::NoBucket`].
    pub fn list(&self, bucket: &str, prefix: &str, after: &str, age: Duration) -> Result<Vec<(String, Meta)>, Refusal> {
        let state = self.state();
        if !self.has_bucket(bucket) {
            return Err(Refusal::NoBucket);
        }
        let start = (bucket.to_owned(), after.max(prefix).to_owned());
        let range = (Bound::Included(start), Bound::Unbounded);
        let in_bucket = state.objects.range(range).take_while(|((of, key), _)| of == bucket && key.starts_with(prefix));
        let mut listed: BTreeMap<String, Meta> =
            in_bucket.map(|((_, key), meta)| (key.clone(), meta.clone())).collect();
        let as_of = Instant::now().checked_sub(age);
        let later =
            state.before.iter().rev().take_while(|(at, _, _)| !age.is_zero() && as_of.is_some_and(|of| *at > of));
        for (_, (of, key), before) in later.filter(|(_, (of, key), _)| of == bucket && key.starts_with(prefix)) {
            debug_assert_eq!(of, bucket);
            match before {
                Some(meta) => _ = listed.insert(key.clone(), meta.clone()),
                None => _ = listed.remove(key),
            }
        }
        Ok(listed.into_iter().filter(|(key, _)| after.is_empty() || key.as_str() > after).collect())
    }

    /// Every object below `prefix` at one moment, with its version.
    ///
    /// # Errors
    /// What the disk says.
    pub fn snapshot(&self, bucket: &str, prefix: &str) -> io::Result<Vec<(String, String, Bytes)>> {
        let state = self.state();
        let places = state.objects.iter().filter(|((of, key), _)| of == bucket && key.starts_with(prefix));
        let read = |((_, key), meta): (&Place, &Meta)| {
            let body = std::fs::read(self.root.join(bucket).join(key))?;
            Ok((key.clone(), meta.e_tag.clone(), body.into()))
        };
        places.map(read).collect()
    }

    /// Begins an upload in parts; its name.
    ///
    /// # Errors
    /// [`Refusal::NoBucket`], [`Refusal::Name`].
    pub fn begin_upload(&self, bucket: &str, key: &str) -> Result<String, Refusal> {
        self.path(bucket, key)?;
        let mut state = self.state();
        state.last_upload += 1;
        let id = format!("{:032x}", state.last_upload);
        state.uploads.insert(id.clone(), Upload::Open(BTreeMap::new()));
        Ok(id)
    }

    /// Adds a part to an upload; its version.
    ///
    /// # Errors
    /// [`Refusal::NoUpload`].
    pub fn put_part(&self, upload: &str, number: i32, body: Bytes) -> Result<String, Refusal> {
        let e_tag = md5(&body);
        match self.state().uploads.get_mut(upload) {
            Some(Upload::Open(parts)) => _ = parts.insert(number, body),
            _ => return Err(Refusal::NoUpload),
        }
        Ok(e_tag)
    }

    /// Makes an object of the named parts.
    ///
    /// # Errors
    /// [`Refusal::NoUpload`], also for a part that is not there; as [`Buckets::put`].
    pub fn complete_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        parts: &[i32],
        condition: &Condition,
    ) -> Result<Meta, Refusal> {
        let mut body = Vec::new();
        {
            let state = self.state();
            let held = match state.uploads.get(upload) {
                Some(Upload::Open(held)) => held,
                Some(Upload::Complete(meta)) => return Ok(meta.clone()),
                None => return Err(Refusal::NoUpload),
            };
            for number in parts {
                body.extend_from_slice(held.get(number).ok_or(Refusal::NoUpload)?);
            }
        }
        let meta = self.put(bucket, key, &body, condition)?;
        self.state().uploads.insert(upload.to_owned(), Upload::Complete(meta.clone()));
        Ok(meta)
    }

    /// Forgets an upload.
    pub fn abort_upload(&self, upload: &str) {
        self.state().uploads.remove(upload);
    }
}

impl State {
    fn remember(&mut self, place: Place, before: Option<Meta>) {
        let now = Instant::now();
        self.before.push_back((now, place, before));
        while self.before.front().is_some_and(|(at, _, _)| now.duration_since(*at) > MEMORY) {
            self.before.pop_front();
        }
    }
}

fn index(folder: &Path, bucket: &str, prefix: &str, objects: &mut BTreeMap<Place, Meta>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let key = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            index(&entry.path(), bucket, &format!("{key}/"), objects)?;
        } else {
            let body = std::fs::read(entry.path())?;
            let modified = entry.metadata()?.modified()?;
            objects.insert((bucket.to_owned(), key), Meta { e_tag: md5(&body), size: body.len() as u64, modified });
        }
    }
    Ok(())
}

fn md5(body: &[u8]) -> String {
    let mut hash = Md5::new();
    hash.update(body);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
