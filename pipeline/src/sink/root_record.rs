//! What is fixed for an output root when it is first used: its identity and its layout.

use serde::{Deserialize, Serialize};

use super::error::CommitError;
use super::fence::Claim;
use super::layout::Layout;
use super::objects::Objects;
use super::stage::sha256_hex;

/// Name of the record below the root.
const ROOT: &str = "_contactflow/root.json";
/// Version of the record this program writes, and the newest it reads.
const FORMAT_VERSION: u32 = 1;

/// The record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RootRecord {
    pub(super) format_version: u32,
    /// Tells the root from every other, and its job from others: the application of transactions in Delta logs.
    pub(super) root_id: String,
    pub(super) layout: Layout,
}

impl RootRecord {
    fn read(objects: &dyn Objects) -> Result<Option<Self>, CommitError> {
        let stored = objects.get(ROOT)?;
        stored.map(|stored| serde_json::from_slice(&stored.body)).transpose().map_err(CommitError::Json)
    }

    /// The layout of a root that has commits.
    pub(super) fn layout(objects: &dyn Objects) -> Result<Layout, CommitError> {
        Ok(Self::read(objects)?.map_or(Layout::Parquet, |record| record.layout))
    }

    /// The record, if there is one. A root that was used before there were records has layout `parquet`.
    ///
    /// # Errors
    /// [`CommitError::OtherLayout`] when it has another layout; those of the store.
    pub(super) fn admit(
        objects: &dyn Objects,
        root_url: &str,
        layout: Layout,
        has_commits: bool,
    ) -> Result<Option<Self>, CommitError> {
        let record = Self::read(objects)?;
        let standing = match &record {
            Some(record) => record.layout,
            None if has_commits => Layout::Parquet,
            None => layout,
        };
        if standing == layout {
            return Ok(record);
        }
        Err(CommitError::OtherLayout { root: root_url.to_owned(), standing: standing.name(), wanted: layout.name() })
    }

    /// Writes the record of a root that has none.
    ///
    /// # Errors
    /// As [`RootRecord::admit`]: another job may be faster.
    pub(super) fn create(
        objects: &dyn Objects,
        root_url: &str,
        layout: Layout,
        claim: &Claim,
    ) -> Result<Self, CommitError> {
        // The writer names this run and no other.
        let root_id = uuid_of(&format!("{root_url}\n{}\n{}", claim.writer_id, claim.generation));
        let record = Self { format_version: FORMAT_VERSION, root_id, layout };
        let body = serde_json::to_vec(&record).map_err(CommitError::Json)?;
        objects.put_if_absent(ROOT, body.into())?;
        let standing = Self::admit(objects, root_url, layout, false)?;
        Ok(standing.unwrap_or(record))
    }
}

/// A hash of `text` in the form of a UUID (version 8: made by the application).
pub(super) fn uuid_of(text: &str) -> String {
    let hex = sha256_hex(text.as_bytes());
    format!("{}-{}-8{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}
