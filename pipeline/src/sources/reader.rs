//! From an event file to normalised rows and rejects.

use contactflow_schemas::event::Origin;
use contactflow_schemas::masking::{Masking, RawRow};
use contactflow_schemas::normalise::{Normalised, normalise};
use contactflow_schemas::reject::{Reason, Reject, RejectedRow};
use contactflow_schemas::symbol::Symbol;
use object_store::path::Path;

use super::ROW_BYTES_MAX;
use super::batch::Batch;
use super::lines::{Line, Lines};
use super::listing::{Format, SourceFile};
use super::ndjson::JsonRow;
use super::parquet_file::{ParquetBatches, Step};
use crate::store::{Root, StoreError};

/// Rows of a chunk.
const CHUNK_ROWS: usize = 8192;
/// A chunk of large lines ends early, after this many bytes.
const CHUNK_BYTES: usize = 32 << 20;

/// A row that can be used, or its reject.
type Outcome = Result<Normalised, Box<RejectedRow>>;

/// Reads one event file from its first row to its last.
///
/// Memory is bounded whatever the file holds: by a chunk of rows, the longest line, or a batch of one row group.
pub struct FileReader {
    root: Root,
    path: Path,
    format: Option<Format>,
    masking: Masking,
    symbol: Symbol,
    state: State,
    position: u64,
    rows: u64,
}

enum State {
    /// Nothing was read yet.
    Closed,
    Lines(Box<Lines>),
    Parquet(Box<ParquetBatches>),
    /// Everything was read.
    Done,
}

impl FileReader {
    /// Prepares to read `file` of `root` and to mask its texts. The store is asked with the first chunk.
    pub fn open(root: &Root, file: &SourceFile, masking: Masking) -> Self {
        Self {
            root: root.clone(),
            path: file.path.clone(),
            format: Format::of(&file.name),
            masking,
            symbol: Symbol::new(&file.name),
            state: State::Closed,
            position: 0,
            rows: 0,
        }
    }

    /// Appends the next rows, about 8192 of them, to `out`; false when there are no more.
    ///
    /// A file that is gone, unreadable or damaged gives a reject at its position. After an error the call may be
    /// repeated.
    ///
    /// # Errors
    /// When the store does not answer or refuses, after its retries; or when there is no room for a temporary copy.
    pub fn next_chunk(&mut self, out: &mut Vec<Outcome>) -> Result<bool, StoreError> {
        if matches!(self.state, State::Closed) {
            self.state = self.start(out)?;
        }
        let before = out.len();
        let place = Place { file: self.symbol, masking: &self.masking };
        let more = match &mut self.state {
            State::Closed | State::Done => false,
            State::Lines(lines) => {
                let more = read_lines(lines, place, out);
                self.position = lines.number();
                more
            }
            State::Parquet(batches) => {
                let (position, more) = read_batch(batches, place, out);
                self.position = position.max(self.position);
                more
            }
        };
        if !more {
            self.state = State::Done;
        }
        self.rows += (out.len() - before) as u64;
        Ok(more)
    }

    /// The number of the row read last, from 1 (lines of NDJSON, blank ones included); 0 before the first.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many rows and rejects were handed out.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    fn start(&mut self, out: &mut Vec<Outcome>) -> Result<State, StoreError> {
        let opened = match self.root.get_file(&self.path) {
            Ok(file) => match self.format {
                Some(Format::Ndjson(compression)) => Lines::new(file, compression)
                    .map(|lines| State::Lines(Box::new(lines)))
                    .map_err(|error| error.to_string()),
                Some(Format::Parquet) => ParquetBatches::open(file).map(|batches| State::Parquet(Box::new(batches))),
                None => Err("its name tells no format of event files".to_owned()),
            },
            // One file that went away or is closed to the job is that file's trouble; a store that fails is the job's.
            Err(StoreError::Missing { .. }) => Err("it is no longer there".to_owned()),
            Err(StoreError::Denied { detail, .. } | StoreError::LocalDisk { detail, .. }) if self.root.is_local() => {
                Err(detail)
            }
            Err(error) => return Err(error),
        };
        Ok(opened.unwrap_or_else(|detail| {
            let message = format!("the file cannot be read: {detail}");
            let place = Place { file: self.symbol, masking: &self.masking };
            out.push(Err(place.reject(0, Reason::UnreadableFile, message, None)));
            self.rows += 1;
            State::Done
        }))
    }
}

/// Reads a chunk of lines; false at the end.
fn read_lines(lines: &mut Lines, place: Place<'_>, out: &mut Vec<Outcome>) -> bool {
    let mut bytes = 0;
    for _ in 0..CHUNK_ROWS {
        let row = lines.number() + 1;
        match lines.read() {
            Line::Complete(line) => {
                bytes += line.len();
                if !line.trim_ascii().is_empty() {
                    out.push(normalise_line(line, Origin { file: place.file, row }, place.masking));
                }
            }
            Line::TooLong(head) => {
                let message = format!("a row has at most {ROW_BYTES_MAX} bytes");
                out.push(Err(place.reject(row, Reason::TooLarge, message, Some((head, RawRow::Unknown)))));
            }
            Line::Broken(head, detail) => {
                let message =
                    format!("the file breaks off or is damaged here, and nothing after this row can be read: {detail}");
                out.push(Err(place.reject(row, Reason::UnreadableFile, message, Some((head, RawRow::Unknown)))));
            }
            Line::End => return false,
        }
        if bytes > CHUNK_BYTES {
            break;
        }
    }
    true
}

/// Reads one line of NDJSON.
///
/// # Errors
/// The row for `rejected_events`.
pub fn normalise_line(line: &[u8], origin: Origin, masking: &Masking) -> Result<Normalised, Box<RejectedRow>> {
    let place = Place { file: origin.file, masking };
    let bad = |reason, message| Err(place.reject(origin.row, reason, message, Some((line, RawRow::Unknown))));
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("the line is not UTF-8 at byte {}", error.valid_up_to() + 1);
            return bad(Reason::Encoding, message);
        }
    };
    match JsonRow::parse(text) {
        Ok(row) => normalise(&row, origin, masking),
        Err(message) => bad(Reason::MalformedJson, message),
    }
}

/// Reads a batch; returns the last row it covers and false at the end.
fn read_batch(batches: &mut ParquetBatches, place: Place<'_>, out: &mut Vec<Outcome>) -> (u64, bool) {
    let damaged = |row, message| Err(place.reject(row, Reason::UnreadableFile, message, None));
    match batches.step() {
        Step::Rows(first_row, records) => {
            match Batch::new(&records) {
                Ok(batch) => normalise_batch(&batch, place, first_row, out),
                Err(error) => out.push(damaged(first_row, error.to_string())),
            }
            (first_row + records.num_rows() as u64 - 1, true)
        }
        Step::Damaged(row, message) => {
            out.push(damaged(row, message));
            (row, true)
        }
        Step::End => (0, false),
    }
}

fn normalise_batch(batch: &Batch, place: Place<'_>, first_row: u64, out: &mut Vec<Outcome>) {
    out.reserve(batch.rows());
    for index in 0..batch.rows() {
        let row = batch.row(index);
        let origin = Origin { file: place.file, row: first_row + index as u64 };
        out.push(if row.is_too_large() {
            let message = format!("a row has at most {ROW_BYTES_MAX} bytes");
            let raw = contactflow_schemas::columns::Row::raw(&row);
            Err(place.reject(origin.row, Reason::TooLarge, message, Some((raw.as_bytes(), RawRow::Object))))
        } else {
            normalise(&row, origin, place.masking)
        });
    }
}

/// What the rows of a file have in common.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: Symbol,
    masking: &'a Masking,
}

impl Place<'_> {
    /// A reject of a row, or of a file from this row on, whose columns cannot be read.
    fn reject(&self, row: u64, reason: Reason, message: String, raw: Option<(&[u8], RawRow)>) -> Box<RejectedRow> {
        Box::new(RejectedRow {
            key: None,
            version: 0,
            reject: Reject {
                file: self.file,
                row,
                reason,
                field: String::new(),
                message: self.masking.mask_message(&message),
                tenant: None,
                source: None,
                event_id: None,
                raw: raw.map(|(raw, what)| self.masking.mask_row(raw, what)),
            },
        })
    }
}
