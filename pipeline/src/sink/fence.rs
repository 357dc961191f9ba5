//! The fence: which job may write below an output root.
//!
//! A job claims the root by creating `_contactflow/fence/<generation>.json` with the next free number, by a write that
//! fails when the object exists. The claim with the highest number holds. One object per generation, not one object that
//! is swapped, because a local disk knows "create if absent" but no "replace if unchanged".
//!
//! 1. At most one job succeeds in creating a generation.
//! 2. A job that finds the generation after its own has lost the root for good and stops.
//! 3. Claims are deleted in the order of their numbers, [`CLAIMS_KEPT`] generations after they were made. So a job whose
//!    next generation is gone again finds its own gone too: looking at the two, in this order, tells who holds the root.
//! 4. A listing is a hint where to begin looking, never the answer: one that is out of date costs a few more requests.

use serde::{Deserialize, Serialize};

use super::error::CommitError;
use super::objects::Objects;

/// Folder of the claims below the root.
pub(crate) const FENCE: &str = "_contactflow/fence";

/// Claims that are kept, the newest included.
const CLAIMS_KEPT: u64 = 64;
/// Numbers a job tries to claim before it gives up.
const CLAIMS_TRIED: u64 = 64;

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

/// True for the file of a claim, written in part or as a whole, that nobody asks for any more when `generation` holds.
pub(crate) fn is_outdated(file_name: &str, generation: u64) -> bool {
    let number = file_name.split('.').next().and_then(|digits| digits.parse::<u64>().ok());
    number.is_some_and(|number| is_past(number, generation))
}

fn is_past(number: u64, generation: u64) -> bool {
    number + CLAIMS_KEPT <= generation
}

/// Every generation that is there, ascending.
pub(super) fn generations(objects: &dyn Objects) -> Result<Vec<u64>, CommitError> {
    let mut found: Vec<u64> = objects.list(FENCE)?.iter().filter_map(|object| generation_of(&object.name)).collect();
    found.sort_unstable();
    Ok(found)
}

/// Takes the root over from whoever holds it. Of two jobs that do so at the same time the later one gets it.
///
/// # Errors
/// [`CommitError::Fenced`] when others claim it again and again; those of the store.
pub(super) fn claim(objects: &dyn Objects, root_url: &str, writer_id: &str) -> Result<Claim, CommitError> {
    let earlier = generations(objects)?;
    let first = earlier.last().copied().unwrap_or(0) + 1;
    for generation in first..first + CLAIMS_TRIED {
        let claim = Claim { generation, writer_id: writer_id.to_owned() };
        let body = serde_json::to_vec(&claim).map_err(CommitError::Json)?;
        if objects.put_if_absent(&path(generation), body.into())? {
            check(objects, root_url, &claim)?;
            for outdated in earlier.into_iter().filter(|earlier| is_past(*earlier, generation)) {
                objects.delete(&path(outdated))?;
            }
            return Ok(claim);
        }
    }
    Err(fenced(objects, root_url, first + CLAIMS_TRIED - 1)?)
}

/// Fails when `claim` no longer holds.
///
/// # Errors
/// [`CommitError::Fenced`] with the job that holds the root now; those of the store.
pub(super) fn check(objects: &dyn Objects, root_url: &str, claim: &Claim) -> Result<(), CommitError> {
    check_successor(objects, root_url, claim)?;
    if read(objects, claim.generation)?.as_ref() != Some(claim) {
        // The whole root was deleted under a running job: going on would leave half a root.
        let by = "nobody: its claim was deleted".to_owned();
        return Err(CommitError::Fenced { root: root_url.to_owned(), by });
    }
    Ok(())
}

/// Fails when another job claimed the root after `claim`.
///
/// # Errors
/// As [`check`].
pub(super) fn check_successor(objects: &dyn Objects, root_url: &str, claim: &Claim) -> Result<(), CommitError> {
    if objects.get(&path(claim.generation + 1))?.is_some() {
        let latest = generations(objects)?.last().copied().unwrap_or(0).max(claim.generation + 1);
        return Err(fenced(objects, root_url, latest)?);
    }
    Ok(())
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
