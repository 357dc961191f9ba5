//! What becomes of a row that cannot be used: one row of the table `rejected_events`.

use serde::{Deserialize, Serialize};

use crate::event::EventKey;
use crate::symbol::Symbol;

/// Bytes of the raw row that are kept.
pub const RAW_BYTES_MAX: usize = 8 * 1024;

/// `reason` codes of `rejected_events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// The line is no JSON object, or the file breaks off.
    MalformedJson,
    /// A required column is missing or empty.
    MissingField,
    /// A column has the wrong type.
    BadType,
    /// A time that is neither RFC 3339 with an offset nor integer milliseconds.
    BadTime,
    /// An `event_type` the model does not know.
    UnknownEventType,
    /// A value outside a closed set.
    UnknownEnum,
    /// The row is larger than the limit.
    TooLarge,
    /// A number or time outside its range.
    OutOfRange,
    /// Same identity and version as the standing delivery, other content.
    DuplicateConflict,
    /// It refers to a conversation or message that does not exist.
    OrphanReference,
    /// Not UTF-8.
    Encoding,
    /// The file as a whole, or its rest, cannot be read.
    UnreadableFile,
}

impl Reason {
    /// The code in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed_json",
            Self::MissingField => "missing_field",
            Self::BadType => "bad_type",
            Self::BadTime => "bad_time",
            Self::UnknownEventType => "unknown_event_type",
            Self::UnknownEnum => "unknown_enum",
            Self::TooLarge => "too_large",
            Self::OutOfRange => "out_of_range",
            Self::DuplicateConflict => "duplicate_conflict",
            Self::OrphanReference => "orphan_reference",
            Self::Encoding => "encoding",
            Self::UnreadableFile => "unreadable_file",
        }
    }
}

/// One row of `rejected_events`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reject {
    /// File or partition it was read from.
    pub file: Symbol,
    /// Row of the file (from 1) or offset in the partition.
    pub row: u64,
    /// Why.
    pub reason: Reason,
    /// The column at fault, empty for the row as a whole.
    pub field: String,
    /// What was expected and what was found, for a person.
    pub message: String,
    /// `tenant_id`, where it could be read.
    pub tenant: Option<Symbol>,
    /// `source`, where it could be read.
    pub source: Option<Symbol>,
    /// `event_id`, where it could be read.
    pub event_id: Option<String>,
    /// The row as it came, masked ([`Masking::mask_row`](crate::masking::Masking::mask_row)) and cut at [`RAW_BYTES_MAX`];
    /// none where only its position is kept.
    pub raw: Option<String>,
}

/// A reject with the identity and version under which a later, valid delivery takes it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedRow {
    /// Identity, where the row had one.
    pub key: Option<EventKey>,
    /// `source_version`, 0 where it could not be read.
    pub version: i64,
    /// The table row.
    pub reject: Reject,
}
