//! Event files: which there are, and their rows, normalised.
//!
//! Nothing in a file stops the job: a row that cannot be used, and a file or a part of one that cannot be read, become
//! rejects at their position. Only a store that no longer answers is an error.

mod batch;
mod canonical;
mod cells;
mod lines;
mod listing;
mod ndjson;
mod parquet_file;
mod reader;

pub use listing::{SourceFile, list_event_files};
pub use reader::{FileReader, normalise_line};

/// Rows with more bytes than this are rejected, so that one row cannot take the memory of the job.
const ROW_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests;
