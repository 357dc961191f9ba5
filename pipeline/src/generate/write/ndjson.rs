//! Newline-delimited JSON, gzip.

use std::io::Write;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::generate::columns::{Cell, Column, Row};

/// A file being written. Gzip's header carries no time, so equal rows give equal bytes.
pub(super) struct NdjsonPart {
    gzip: GzEncoder<Vec<u8>>,
    line: Vec<u8>,
}

impl NdjsonPart {
    pub(super) fn new() -> Self {
        Self { gzip: GzEncoder::new(Vec::new(), Compression::fast()), line: Vec::new() }
    }

    pub(super) fn append(&mut self, row: &Row) -> anyhow::Result<()> {
        self.line.clear();
        for (position, (column, cell)) in row.cells().iter().enumerate() {
            let (_, name, _) = Column::ALL[*column as usize];
            let separator = if position == 0 { '{' } else { ',' };
            write!(self.line, "{separator}\"{name}\":")?;
            self.append_cell(row, cell)?;
        }
        self.line.extend_from_slice(b"}\n");
        self.gzip.write_all(&self.line)?;
        Ok(())
    }

    fn append_cell(&mut self, row: &Row, cell: &Cell) -> anyhow::Result<()> {
        match *cell {
            Cell::Static(value) => serde_json::to_writer(&mut self.line, value)?,
            Cell::Span(span) => serde_json::to_writer(&mut self.line, row.resolve(span))?,
            Cell::Int(value) => write!(self.line, "{value}")?,
            Cell::Bool(value) => write!(self.line, "{value}")?,
            Cell::Time(time_ms) => {
                let time = DateTime::from_timestamp_millis(time_ms).unwrap_or_default();
                write!(self.line, "\"{}\"", time.to_rfc3339_opts(SecondsFormat::Millis, true))?;
            }
            Cell::Map(entries) => {
                for (position, (key, value)) in entries.into_iter().enumerate() {
                    self.line.push(if position == 0 { b'{' } else { b',' });
                    serde_json::to_writer(&mut self.line, key)?;
                    self.line.push(b':');
                    serde_json::to_writer(&mut self.line, value)?;
                }
                self.line.push(b'}');
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> anyhow::Result<Bytes> {
        Ok(self.gzip.finish()?.into())
    }
}
