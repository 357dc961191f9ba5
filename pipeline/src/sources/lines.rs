//! The lines of a file, with bounded memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use contactflow_schemas::reject::RAW_BYTES_MAX;
use flate2::bufread::MultiGzDecoder;

use super::ROW_BYTES_MAX;
use super::listing::Compression;

const BUFFER_BYTES: usize = 256 << 10;

/// What the next line is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A line, without its end.
    Complete(&'a [u8]),
    /// The first bytes of a line that is longer than [`ROW_BYTES_MAX`]; the rest was skipped.
    TooLong(&'a [u8]),
    /// What came of a line before the file could not be read any further.
    Broken(&'a [u8], String),
    /// There are no more lines.
    End,
}

/// Reads lines, decompressing on the way.
pub(super) struct Lines {
    input: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    number: u64,
    ended: bool,
}

impl Lines {
    /// The lines of `file`.
    ///
    /// # Errors
    /// When the decompressor cannot be set up.
    pub(super) fn new(file: File, compression: Compression) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
        // An empty file is no valid compressed stream, but it is plain what it holds: nothing.
        let ended = file.fill_buf()?.is_empty();
        let input: Box<dyn BufRead + Send> = match compression {
            Compression::Plain => Box::new(file),
            Compression::Gzip => Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(file))),
            Compression::Zstd => {
                Box::new(BufReader::with_capacity(BUFFER_BYTES, zstd::stream::read::Decoder::with_buffer(file)?))
            }
        };
        Ok(Self { input, line: Vec::new(), number: 0, ended })
    }

    /// The number of the line read last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Reads the next line. After [`Line::Broken`] comes [`Line::End`].
    pub(super) fn read(&mut self) -> Line<'_> {
        if self.ended {
            return Line::End;
        }
        self.line.clear();
        let limit = ROW_BYTES_MAX as u64 + 1;
        let outcome = self.input.by_ref().take(limit).read_until(b'\n', &mut self.line);
        if matches!(outcome, Ok(0)) {
            self.ended = true;
            return Line::End;
        }
        self.number += 1;
        if let Err(error) = outcome {
            return self.broken(&error);
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if self.line.len() > ROW_BYTES_MAX {
            self.line.truncate(RAW_BYTES_MAX);
            self.line.shrink_to_fit();
            return match self.input.skip_until(b'\n') {
                Ok(_) => Line::TooLong(&self.line),
                Err(error) => self.broken(&error),
            };
        }
        let mut line = self.line.as_slice();
        if self.number == 1 {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        Line::Complete(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn broken(&mut self, error: &io::Error) -> Line<'_> {
        self.ended = true;
        Line::Broken(&self.line, error.to_string())
    }
}
