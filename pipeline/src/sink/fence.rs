//! The fence: which job may write below an output root.
//!
//! A job claims the root by creating `_contactflow/fence/<generation>.json` with the next free number, by a write that
//! fails when the object exists. The claim with the highest number holds. One object per generation, not one object that
//! is swapped, because a local disk knows "create if absent" but no "replace if unchanged".
//!
//! 1. At most one job succeeds in creating a generation.
//! 2. A job that finds a higher generation than its own has lost the root for good and stops.
//! 3. Claims below one's own are deleted when claiming; a claim with a number that was freed that way never holds,
//!    because its maker looks again after making it.

use serde::{Deserialize, Serialize};

use super::error::CommitError;
use super::objects::Objects;

/// Folder of the claims below the root.
pub(super) const FENCE: &str = "_contactflow/fence";

/// What a claim says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Number of the claim, from 1.
    pub generation: u64,
    /// Job that made it.
    pub writer_id: String,
}

fn path(generation: u64) -> String {
    format!("{FENCE}/{generation:020}.json")
}

fn generation_of(name: &str) -> Option<u64> {
    name.strip_prefix(FENCE)?.strip_prefix('/')?.strip_suffix(".json")?.parse().ok()
}

/// Every generation that is there, ascending.
pub(super) fn generations(objects: &dyn Objects) -> Result<Vec<u64>, CommitError> {
    let mut found: Vec<u64> = objects.list(FENCE)?.iter().filter_map(|object| generation_of(&object.name)).collect();
    found.sort_unstable();
    Ok(found)
}

/// Takes the root over from whoever holds it.
///
/// # Errors
/// [`CommitError::Fenced`] when another job claims it at the same time and wins; those of the store.
pub(super) fn claim(objects: &dyn Objects, root_url: &str, writer_id: &str) -> Result<Claim, CommitError> {
    let earlier = generations(objects)?;
    let generation = earlier.last().copied().unwrap_or(0) + 1;
    let claim = Claim { generation, writer_id: writer_id.to_owned() };
    let body = serde_json::to_vec(&claim).map_err(CommitError::Json)?;
    let created = objects.put_if_absent(&path(generation), body.into())?;
    // Not created: another was faster, or it is our own write whose reply got lost.
    if !created && read(objects, generation)?.as_ref() != Some(&claim) {
        return Err(fenced(objects, root_url, generation)?);
    }
    check(objects, root_url, &claim)?;
    for generation in earlier {
        objects.delete(&path(generation))?;
    }
    Ok(claim)
}

/// Fails when `claim` no longer holds.
///
/// # Errors
/// [`CommitError::Fenced`] with the job that holds the root now; those of the store.
pub(super) fn check(objects: &dyn Objects, root_url: &str, claim: &Claim) -> Result<(), CommitError> {
    match generations(objects)?.last() {
        Some(&latest) if latest == claim.generation => Ok(()),
        Some(&latest) => Err(fenced(objects, root_url, latest)?),
        // The whole root was deleted under a running job: going on would leave half a root.
        None => Err(CommitError::Fenced { root: root_url.to_owned(), by: "nobody: its claim was deleted".to_owned() }),
    }
}

/// The claim of `generation`, if it is there.
pub(super) fn read(objects: &dyn Objects, generation: u64) -> Result<Option<Claim>, CommitError> {
    let stored = objects.get(&path(generation))?;
    stored.map(|stored| serde_json::from_slice(&stored.body)).transpose().map_err(CommitError::Json)
}

/// The error that names the holder of `generation`.
fn fenced(objects: &dyn Objects, root_url: &str, generation: u64) -> Result<CommitError, CommitError> {
    let by = read(objects, generation)?.map_or_else(
        || format!("the holder of generation {generation}"),
        |claim| format!("job {} (generation {generation})", claim.writer_id),
    );
    Ok(CommitError::Fenced { root: root_url.to_owned(), by })
}
