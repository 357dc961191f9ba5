//! Record batches of a Parquet file, row group by row group.
//!
//! A damaged row group costs the rest of that row group, not of the file. The decoder is outside code that meets
//! arbitrary bytes: it may panic, so every call into it is fenced.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use contactflow_schemas::columns::Column;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

/// Rows of a batch, unless the rows are large.
const BATCH_ROWS: usize = 8192;
/// Batches of large rows are made smaller, towards this many bytes.
const BATCH_BYTES: u64 = 64 << 20;

/// What comes next in a file.
pub(super) enum Step {
    /// Rows, the first of which has this number, from 1.
    Rows(u64, RecordBatch),
    /// The rest of a row group, from this row on, cannot be read.
    Damaged(u64, String),
    /// There is nothing more.
    End,
}

/// Reads the known columns of a file.
pub(super) struct ParquetBatches {
    file: File,
    metadata: ArrowReaderMetadata,
    projection: ProjectionMask,
    /// The row group to open next.
    group: usize,
    /// Number of the first row of that row group, from 1.
    group_row: u64,
    current: Option<Group>,
}

/// A row group being read.
struct Group {
    reader: ParquetRecordBatchReader,
    /// Number of the next row, from 1.
    row: u64,
}

impl ParquetBatches {
    /// Reads the footer.
    ///
    /// # Errors
    /// A sentence on why the file cannot be read.
    pub(super) fn open(file: File) -> Result<Self, String> {
        // The schema that Arrow writers embed is a hint (it tells seconds from plain integers); one that contradicts
        // the columns is passed over.
        let load = |skip_hint| {
            let options = ArrowReaderOptions::new().with_skip_arrow_metadata(skip_hint);
            fenced(|| ArrowReaderMetadata::load(&file, options))
        };
        let metadata = load(false).or_else(|_| load(true))?;
        let roots = metadata.parquet_schema().root_schema().get_fields().iter().enumerate();
        let known: Vec<usize> =
            roots.filter(|(_, field)| Column::parse(field.name()).is_some()).map(|(index, _)| index).collect();
        if known.is_empty() {
            return Err("it has none of the columns of an event".to_owned());
        }
        let projection = ProjectionMask::roots(metadata.parquet_schema(), known);
        Ok(Self { file, metadata, projection, group: 0, group_row: 1, current: None })
    }

    /// Reads on.
    pub(super) fn step(&mut self) -> Step {
        loop {
            let Some(group) = &mut self.current else {
                if self.group == self.metadata.metadata().num_row_groups() {
                    return Step::End;
                }
                let first_row = self.group_row;
                match self.open_group() {
                    Ok(reader) => self.current = Some(Group { reader, row: first_row }),
                    Err(message) => return Step::Damaged(first_row, message),
                }
                continue;
            };
            match fenced(|| group.reader.next().transpose()) {
                Ok(Some(batch)) => {
                    let first_row = group.row;
                    group.row += batch.num_rows() as u64;
                    return Step::Rows(first_row, batch);
                }
                Ok(None) => {
                    let row = group.row;
                    self.current = None;
                    if row < self.group_row {
                        return Step::Damaged(row, self.lost("it ends early"));
                    }
                }
                Err(message) => {
                    let row = group.row;
                    self.current = None;
                    return Step::Damaged(row, self.lost(&message));
                }
            }
        }
    }

    /// Opens the next row group; whether that works or not, the one after it is next then.
    fn open_group(&mut self) -> Result<ParquetRecordBatchReader, String> {
        let index = self.group;
        let group = self.metadata.metadata().row_group(index);
        let rows = u64::try_from(group.num_rows()).unwrap_or(0);
        let bytes = u64::try_from(group.total_byte_size()).unwrap_or(0);
        self.group += 1;
        self.group_row = self.group_row.saturating_add(rows);
        // Dictionaries make rows smaller on disk than in memory; the factor leaves room for that.
        let row_bytes = (bytes.saturating_mul(4) / rows.max(1)).max(1);
        let batch_rows = usize::try_from(BATCH_BYTES / row_bytes).unwrap_or(BATCH_ROWS);
        let opened = self.file.try_clone().map_err(|error| error.to_string()).and_then(|file| {
            fenced(|| {
                ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                    .with_projection(self.projection.clone())
                    .with_row_groups(vec![index])
                    .with_batch_size(batch_rows.clamp(64, BATCH_ROWS))
                    .build()
            })
        });
        opened.map_err(|message| self.lost(&message))
    }

    /// The message on the row group that was opened last.
    fn lost(&self, detail: &str) -> String {
        let last_row = self.group_row - 1;
        format!("row group {} is damaged and its rows up to {last_row} are lost: {detail}", self.group)
    }
}

/// Calls the decoder; a panic in it is an error like any other.
fn fenced<T, E: std::fmt::Display>(call: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the decoder gave up on it".to_owned()),
    }
}
