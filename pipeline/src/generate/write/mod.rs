//! Event files: one folder per day, parts of bounded size.

mod ndjson;
mod parquet;

use anyhow::Context;
use bytes::Bytes;

use super::columns::Row;
use super::options::Format;
use super::time::{DAY_MS, date_string};
use ndjson::NdjsonPart;
use parquet::ParquetPart;

/// Takes a finished file: path relative to the output, content.
pub(crate) type Sink<'a> = dyn FnMut(&str, Bytes) -> anyhow::Result<()> + 'a;

/// A file being written.
enum Part {
    Parquet(Box<ParquetPart>),
    Ndjson(NdjsonPart),
}

impl Part {
    fn new(format: Format) -> anyhow::Result<Self> {
        Ok(match format {
            Format::Parquet => Self::Parquet(Box::new(ParquetPart::new()?)),
            Format::Ndjson => Self::Ndjson(NdjsonPart::new()),
        })
    }

    fn append(&mut self, row: &Row) -> anyhow::Result<()> {
        match self {
            Self::Parquet(part) => part.append(row),
            Self::Ndjson(part) => part.append(row),
        }
    }

    fn finish(self) -> anyhow::Result<Bytes> {
        match self {
            Self::Parquet(part) => part.finish(),
            Self::Ndjson(part) => part.finish(),
        }
    }
}

/// Writes rows, given in order of their delivery, to the files of their days.
pub(crate) struct EventFiles<'s, 'f> {
    sink: &'s mut Sink<'f>,
    format: Format,
    max_rows: usize,
    day: Option<i64>,
    part: Option<Part>,
    part_number: u32,
    rows: usize,
    files: u64,
}

impl<'s, 'f> EventFiles<'s, 'f> {
    /// Files of `format` with at most `max_rows` rows each.
    pub(crate) fn new(sink: &'s mut Sink<'f>, format: Format, max_rows: usize) -> Self {
        Self { sink, format, max_rows, day: None, part: None, part_number: 0, rows: 0, files: 0 }
    }

    /// Writes a row delivered at `ingest_ms`, milliseconds since the Unix epoch.
    pub(crate) fn append(&mut self, ingest_ms: i64, row: &Row) -> anyhow::Result<()> {
        let day = ingest_ms.div_euclid(DAY_MS);
        if self.day != Some(day) {
            self.close_part()?;
            self.day = Some(day);
            self.part_number = 0;
        } else if self.rows == self.max_rows {
            self.close_part()?;
        }
        let part = match &mut self.part {
            Some(part) => part,
            empty => empty.insert(Part::new(self.format)?),
        };
        part.append(row)?;
        self.rows += 1;
        Ok(())
    }

    fn close_part(&mut self) -> anyhow::Result<()> {
        let (Some(part), Some(day)) = (self.part.take(), self.day) else { return Ok(()) };
        let date = date_string(day * DAY_MS);
        let path = format!("events/date={date}/part-{:04}.{}", self.part_number, self.format.extension());
        let content = part.finish().with_context(|| format!("encoding {path}"))?;
        (self.sink)(&path, content).with_context(|| format!("writing {path}"))?;
        self.part_number += 1;
        self.files += 1;
        self.rows = 0;
        Ok(())
    }

    /// Completes the last file and returns the number of files.
    pub(crate) fn finish(mut self) -> anyhow::Result<u64> {
        self.close_part()?;
        Ok(self.files)
    }
}
