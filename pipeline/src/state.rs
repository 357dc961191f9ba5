//! The durable state: what a restarted job goes on from instead of reading its inputs again.
//!
//! Three base collections are kept, everything else follows from them:
//!
//! - *deliveries*: every row, valid or rejected, that changed the ledger of net events ([`Journal`]), without its text;
//! - *predictions* and *qualities*: what the model said of a text, by content key, or of a sequence of turns, and which
//!   model, so that neither is ever scored twice;
//!
//! and the *texts* that were read and not scored yet, which live until they are.
//!
//! They are Parquet files below `_contactflow/state`, written as the rows come and listed in the manifest of the commit
//! that they are part of, together with the source files that are read to their end. Invariants:
//!
//! 1. A commit's manifest names exactly the rows its tables follow from: rows, source positions and tables become durable
//!    in the one write that creates the manifest. A file that no manifest names is left over from an attempt and is
//!    deleted with the first commit of the next run, not before: until then the job before may still create a manifest.
//! 2. A state file is written once and never changed; its name holds the generation of the writer, so that a zombie
//!    cannot touch one of its successor. Its SHA-256 is in the manifest and is checked when it is read.
//! 3. Order does not matter: the ledger is a join-semilattice, and the rows that shaped it shape it again, whichever
//!    worker takes them in. A restart with another number of workers reads the same files.
//! 4. Rows restored belong to the epochs before the first round, and are not recorded again.

mod cipher;
mod journal;
mod ledger;
mod rewrite;
mod sealing;
mod segment;

use std::collections::HashSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::cipher::{KEY_VARIABLE, key_fingerprint};
pub use self::journal::{ModelJournal, NewState, StateJournal};
pub use self::ledger::StateLedger;
pub use self::rewrite::{Edit, merge, read_rows, rewrite};
pub use self::sealing::{Split, seal};
pub use self::segment::{Keyed, SegmentReader, SegmentWriter, VisitRaw};
use crate::sink::{ObjectError, Objects, sha256_hex};

/// Folder of the state files below the root.
pub const STATE: &str = "_contactflow/state";

/// What a state file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateKind {
    /// Rows that changed the ledger of net events.
    Deliveries,
    /// What a model said.
    Predictions,
    /// Texts that wait for a model.
    Texts,
    /// What a model said of conversations.
    Qualities,
    /// Marks of sealed conversations, see [`seal`](crate::seal).
    Seals,
}

impl StateKind {
    /// True for what a model said.
    pub fn is_of_a_model(self) -> bool {
        matches!(self, Self::Predictions | Self::Qualities)
    }

    /// Name of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deliveries => "deliveries",
            Self::Predictions => "predictions",
            Self::Texts => "texts",
            Self::Qualities => "qualities",
            Self::Seals => "seals",
        }
    }
}

/// A state file of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFile {
    /// What it holds.
    pub kind: StateKind,
    /// Name below the root.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size, bytes.
    pub bytes: u64,
    /// SHA-256 of its content, hexadecimal.
    pub sha256: String,
    /// Model that predictions are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
    /// Frozen day of the seal that it belongs to, days since 1970-01-01: a restart does not take its deliveries in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_before_day: Option<i32>,
}

/// Why the state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The store failed.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// A file of the last commit is gone.
    #[error(
        "{path}, a state file of the last commit, is gone; restore it, or give the job a new --output to read all events again"
    )]
    Missing {
        /// The file.
        path: String,
    },
    /// A file of the last commit does not hold what was written.
    #[error(
        "{path}, a state file of the last commit, is damaged ({detail}); restore it, or give the job a new --output to read all events again"
    )]
    Damaged {
        /// The file.
        path: String,
        /// How.
        detail: String,
    },
    /// The key of the state is missing, no key, or another.
    #[error("the key of the state (CONTACTFLOW_STATE_KEY): {problem}")]
    Key {
        /// What is wrong; never the key itself.
        problem: String,
    },
    /// Rows cannot be encoded.
    #[error("rows of the state cannot be encoded: {0}")]
    Encode(String),
}

/// Stores the rows of `writer` as one file, encrypted where there is a key; none without rows.
fn store(
    objects: &dyn Objects,
    kind: StateKind,
    model_id: Option<String>,
    path: String,
    writer: &mut SegmentWriter,
) -> Result<Option<StateFile>, StateError> {
    let Some((body, rows)) = writer.finish()? else { return Ok(None) };
    let body = cipher::seal(body)?;
    let (bytes, sha256) = (body.len() as u64, sha256_hex(&body));
    objects.put(&path, body)?;
    Ok(Some(StateFile { kind, path, rows, bytes, sha256, model_id, sealed_before_day: None }))
}

/// Reads a state file as it was written.
///
/// # Errors
/// [`StateError::Missing`], [`StateError::Damaged`], [`StateError::Key`], those of the store.
fn fetch(objects: &dyn Objects, file: &StateFile) -> Result<Bytes, StateError> {
    let Some(stored) = objects.get(&file.path)? else {
        return Err(StateError::Missing { path: file.path.clone() });
    };
    if sha256_hex(&stored.body) != file.sha256 {
        let detail = "its SHA-256 is not that of the manifest".to_owned();
        return Err(StateError::Damaged { path: file.path.clone(), detail });
    }
    cipher::unseal(stored.body, &file.path)
}

/// What a state file holds, in the open, for a search; `body` as stored.
///
/// # Errors
/// [`StateError::Key`].
pub fn in_the_open(body: Bytes, path: &str) -> Result<Bytes, StateError> {
    cipher::unseal(body, path)
}

/// How the names begin of the state files that a job writes in one start of its workers: `generation` is the number of its claim
/// of the root, `starts` how often they were started before. In the order of names, later starts and jobs follow earlier ones.
pub fn stem(generation: u64, starts: u32) -> String {
    format!("{generation:010}-{starts:04}")
}

/// Deletes state files that `live` does not name and an earlier start or job than that of `stem` wrote: an attempt that was not
/// committed left them. Others may be of a commit that is yet to come.
///
/// # Errors
/// Those of the store.
pub fn delete_orphans(objects: &dyn Objects, live: &[StateFile], stem: &str) -> Result<usize, StateError> {
    let live: HashSet<&str> = live.iter().map(|file| file.path.as_str()).collect();
    let mut deleted = 0;
    for found in objects.list(STATE)? {
        let name = found.name.rsplit('/').next().unwrap_or_default();
        if name < stem && !live.contains(found.name.as_str()) {
            objects.delete(&found.name)?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Root;

    #[test]
    fn orphans_are_of_earlier_starts_and_jobs() {
        let folder = tempfile::tempdir().unwrap();
        let root: &dyn Objects = &Root::open(folder.path().to_str().unwrap(), true).unwrap();
        let names = [
            "0000000001-0003-0000",
            "0000000001-erased-00000000",
            "0000000002-0000-0000",
            "0000000002-0000-merged-00000007",
            // This start, and a job that has claimed the root meanwhile.
            "0000000002-0001-0000",
            "0000000003-0000-0000",
        ];
        let paths = names.map(|name| format!("{STATE}/deliveries/{name}.parquet"));
        paths.iter().for_each(|path| _ = root.put(path, Bytes::from_static(b"rows")).unwrap());
        let live = StateFile {
            kind: StateKind::Deliveries,
            path: paths[3].clone(),
            rows: 1,
            bytes: 4,
            sha256: String::new(),
            model_id: None,
            sealed_before_day: None,
        };
        assert_eq!(delete_orphans(root, &[live], &stem(2, 1)).unwrap(), 3);
        let mut left: Vec<String> = root.list(STATE).unwrap().into_iter().map(|found| found.name).collect();
        left.sort_unstable();
        assert_eq!(left, paths[3..]);
    }
}
