//! Why commits fail: [`CommitError`].

use super::encode::EncodeError;
use super::manifest::FORMAT_VERSION;
use super::objects::ObjectError;
use crate::store::StoreError;

/// Why a root cannot be opened or a commit not be made.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another job holds the root. Stop: nothing more may be written.
    #[error(
        "{root} is held by another writer now, {by}; this job stops and writes nothing more. Run one job per output"
    )]
    Fenced {
        /// The output root.
        root: String,
        /// Who holds it.
        by: String,
    },
    /// The job that held the root before had begun a commit when this one took the root over, and made it after this one
    /// read what it goes on from. Nothing is lost: go on from that commit.
    #[error("{by}, below {root} after this job took it over; start the job again, and it goes on from there")]
    Preceded {
        /// The output root.
        root: String,
        /// Who made it.
        by: String,
    },
    /// A newer program wrote the root.
    #[error(
        "{name} below {root} has format version {version}, this program knows {FORMAT_VERSION}; use a newer contactflow"
    )]
    NewerFormat {
        /// The output root.
        root: String,
        /// The manifest.
        name: String,
        /// Its version.
        version: u32,
    },
    /// The root holds files of somebody else.
    #[error(
        "{root} holds Parquet files that contactflow did not write, such as {example}; choose another --output, or move them away"
    )]
    ForeignFiles {
        /// The output root.
        root: String,
        /// One of them.
        example: String,
    },
    /// The tables hold more than this run would compute.
    #[error("the tables below {root} were also built from {}, which this run does not read and would therefore drop; pass it too, or choose another --output", missing.join(", "))]
    MissingInputs {
        /// The output root.
        root: String,
        /// Inputs of the last commit that this run lacks.
        missing: Vec<String>,
    },
    /// The root was begun in another layout.
    #[error(
        "the tables below {root} have layout {standing}, not {wanted}; pass --layout {standing}, or choose another --output"
    )]
    OtherLayout {
        /// The output root.
        root: String,
        /// Its layout.
        standing: &'static str,
        /// The layout asked for.
        wanted: &'static str,
    },
    /// A Delta log is not what this program left.
    #[error("the Delta log of {table} cannot be followed at {name}: {problem}")]
    DeltaLog {
        /// The table.
        table: &'static str,
        /// Object of the log.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A manifest or claim cannot be read or written as JSON.
    #[error("a file below _contactflow is damaged: {0}")]
    Json(#[source] serde_json::Error),
    /// A file of a table that is history cannot be read.
    #[error("{name} is damaged ({detail}); delete it or restore it, then try again")]
    Damaged {
        /// The file, below the root.
        name: String,
        /// How.
        detail: String,
    },
    /// The store failed. The commit may be tried again.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The row of `commits` could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl CommitError {
    /// The error of the store, where it is one.
    pub(crate) fn of_store(&self) -> Option<&StoreError> {
        match self {
            Self::Object(error) => error.source.downcast_ref(),
            _ => None,
        }
    }
}
