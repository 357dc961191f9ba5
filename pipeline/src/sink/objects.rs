//! The store as commits see it: blocking, whole objects, names below the output root.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::store::{Root, StoreError};

/// Why a request to the store failed, after its own retries.
#[derive(Debug, thiserror::Error)]
#[error("{action} {name}: {source}")]
pub struct ObjectError {
    /// `reading`, `writing`, `deleting` or `listing`.
    pub action: &'static str,
    /// Name of the object or folder, below the root.
    pub name: String,
    /// What the store said.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A version of an object as its store tells it apart from others (an ETag); none where the store has none.
pub type Tag = Option<String>;

/// An object that was read.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its content.
    pub body: Bytes,
    /// Its version.
    pub tag: Tag,
}

/// An object that was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Name below the root.
    pub name: String,
    /// Its version.
    pub tag: Tag,
}

/// What a commit needs of a store. A read sees every write that ended before it began, and so does a listing (local disk,
/// S3, Azure and Google Cloud Storage all do so); which job may write and which commit is the newest does not depend on
/// listings. Names are relative to the root, parts separated by `/`.
pub trait Objects: Send + Sync {
    /// The object, if there is one.
    ///
    /// # Errors
    /// What keeps the store from answering.
    fn get(&self, name: &str) -> Result<Option<Stored>, ObjectError>;

    /// Writes the object, replacing one of the same name in one step.
    ///
    /// # Errors
    /// What keeps the store from storing it; it may have been stored all the same.
    fn put(&self, name: &str, body: Bytes) -> Result<Tag, ObjectError>;

    /// Writes the object unless there is one of that name; tells whether it holds `body` now, by this write or by one
    /// whose reply was lost.
    ///
    /// # Errors
    /// What keeps the store from storing it; it may have been stored all the same.
    fn put_if_absent(&self, name: &str, body: Bytes) -> Result<bool, ObjectError>;

    /// Deletes the object; one that is not there counts as deleted.
    ///
    /// # Errors
    /// What keeps the store from deleting it.
    fn delete(&self, name: &str) -> Result<(), ObjectError>;

    /// Every object below the folder, at any depth, sorted by name.
    ///
    /// # Errors
    /// What keeps the store from answering.
    fn list(&self, folder: &str) -> Result<Vec<Listed>, ObjectError>;
}

/// Requests in flight at a time.
const REQUESTS: usize = 8;

/// Runs `request` for every one of `items`, several at a time; the answers, in no particular order.
///
/// # Errors
/// The first that a request meets; requests that were not begun by then are not made.
pub(super) fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    request: impl Fn(&T) -> Result<R, ObjectError> + Sync,
) -> Result<Vec<R>, ObjectError> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut answers = Vec::new();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            let answer = request(item);
            if answer.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            answers.push(answer?);
        }
        Ok(answers)
    };
    if items.len() <= 1 {
        return work();
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..items.len().min(REQUESTS)).map(|_| scope.spawn(work)).collect();
        let mut answers = Vec::with_capacity(items.len());
        let mut failed = None;
        for thread in threads {
            match thread.join() {
                Ok(Ok(some)) => answers.extend(some),
                Ok(Err(error)) => failed = failed.or(Some(error)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        failed.map_or(Ok(answers), Err)
    })
}

fn failed(action: &'static str, name: &str) -> impl FnOnce(StoreError) -> ObjectError {
    move |error| ObjectError { action, name: name.to_owned(), source: error.into() }
}

impl Objects for Root {
    fn get(&self, name: &str) -> Result<Option<Stored>, ObjectError> {
        match self.get_with_meta(&self.at(name)) {
            Ok((body, meta)) => Ok(Some(Stored { body, tag: meta.e_tag })),
            Err(StoreError::Missing { .. }) => Ok(None),
            Err(error) => Err(failed("reading", name)(error)),
        }
    }

    fn put(&self, name: &str, body: Bytes) -> Result<Tag, ObjectError> {
        Root::put(self, &self.at(name), body).map_err(failed("writing", name))
    }

    fn put_if_absent(&self, name: &str, body: Bytes) -> Result<bool, ObjectError> {
        self.create(&self.at(name), &body).map_err(failed("writing", name))
    }

    fn delete(&self, name: &str) -> Result<(), ObjectError> {
        Root::delete(self, &self.at(name)).map_err(failed("deleting", name))
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, ObjectError> {
        let found = Root::list(self, &self.at(folder)).map_err(failed("listing", folder))?;
        let below = |meta: object_store::ObjectMeta| {
            let parts: Vec<_> = meta.location.prefix_match(&self.prefix)?.collect();
            let name: Vec<&str> = parts.iter().map(|part| part.as_ref()).collect();
            Some(Listed { name: name.join("/"), tag: meta.e_tag })
        };
        Ok(found.into_iter().filter_map(below).collect())
    }
}
