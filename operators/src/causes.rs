//! Why published values change: which events, or the mere passing of time, moved a cell of a window that was published
//! as complete (table `restatements`).
//!
//! Causes are history, not state: they are gathered while an epoch is processed, read at the next commit and forgotten.
//! They are gathered only for what reaches windows that the last commit has published as closed, so a job that only
//! moves on gathers none.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use compact_str::CompactString;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::facts::Group;
use contactflow_schemas::symbol::Symbol;
use serde::{Deserialize, Serialize};

/// An event, by its identity within the tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventRef {
    /// `source`.
    pub source: Symbol,
    /// `event_id`.
    pub event_id: CompactString,
}

/// What kind of thing changed a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CauseKind {
    /// Events came, changed or went.
    Events,
    /// A text was scored.
    Prediction,
    /// as_of passed a deadline.
    Time,
}

impl CauseKind {
    /// Name in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Prediction => "prediction",
            Self::Time => "time",
        }
    }
}

/// Why cells of one group changed in a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The finest group concerned.
    pub group: Group,
    /// From when.
    pub from_ms: TimeMs,
    /// Until when, inclusive.
    pub to_ms: TimeMs,
    /// What kind of cause.
    pub kind: CauseKind,
    /// The events, where there are any.
    #[serde(with = "as_list")]
    pub events: Arc<[EventRef]>,
}

/// A shared slice as serde knows a list.
mod as_list {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::EventRef;

    pub(super) fn serialize<S: Serializer>(events: &Arc<[EventRef]>, serializer: S) -> Result<S::Ok, S::Error> {
        events.as_ref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[EventRef]>, D::Error> {
        Vec::deserialize(deserializer).map(Arc::from)
    }
}

#[derive(Default)]
struct Shared {
    /// What was published as closed: windows that end by this time. `i64::MIN` before the first commit.
    closed_until_ms: AtomicI64,
    /// Files that the last commit of an earlier run had read: their events explain nothing new.
    known_files: RwLock<HashSet<Symbol>>,
    causes: Mutex<Vec<Cause>>,
}

/// The causes gathered since the last commit, shared by the workers of a process.
#[derive(Clone)]
pub struct Causes(Arc<Shared>);

impl Default for Causes {
    fn default() -> Self {
        let shared = Shared { closed_until_ms: AtomicI64::new(i64::MIN), ..Shared::default() };
        Self(Arc::new(shared))
    }
}

impl Causes {
    /// What the last commit published: windows that end by `as_of_ms`, from these files. Forgets what was gathered.
    pub fn published(&self, as_of_ms: Option<TimeMs>, known_files: HashSet<Symbol>) {
        self.0.closed_until_ms.store(as_of_ms.unwrap_or(i64::MIN), Ordering::SeqCst);
        *self.0.known_files.write().unwrap_or_else(PoisonError::into_inner) = known_files;
        self.take();
    }

    /// True once something was published as closed, so that changes may have to be explained.
    pub fn is_watching(&self) -> bool {
        self.0.closed_until_ms.load(Ordering::Relaxed) != i64::MIN
    }

    /// True when a change from `from_ms` on can reach a window that was published as closed.
    pub fn concern(&self, from_ms: TimeMs) -> bool {
        from_ms < self.0.closed_until_ms.load(Ordering::Relaxed)
    }

    /// True while this run computes anew what an earlier run has published: nothing but events of new files explains
    /// a change.
    pub fn is_restart(&self) -> bool {
        !self.0.known_files.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// True when an event of this file explains something: the last commit does not know the file.
    pub fn is_news(&self, file: Symbol) -> bool {
        !self.0.known_files.read().unwrap_or_else(PoisonError::into_inner).contains(&file)
    }

    /// Adds causes.
    pub fn add(&self, causes: impl IntoIterator<Item = Cause>) {
        self.0.causes.lock().unwrap_or_else(PoisonError::into_inner).extend(causes);
    }

    /// Takes what was gathered.
    pub fn take(&self) -> Vec<Cause> {
        std::mem::take(&mut *self.0.causes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
