//! State files: rows behind a 128-bit key, as Parquet.
//!
//! A row's content is one binary column (bincode of a row of `contactflow-schemas`, where identifiers are strings), because it
//! is read as a whole or not at all; key and version stand beside it, so that files can be merged without decoding.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray, Int64Array, RecordBatch};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{StateError, StateFile};
use crate::sink::Objects;

/// Rows of a batch that is encoded at once.
const BATCH_ROWS: usize = 32 * 1024;
/// Bytes of a batch that is encoded at once.
const BATCH_BYTES: usize = 8 << 20;
/// Rows decoded at a time.
const READ_ROWS: usize = 8 * 1024;
/// Fast, and repeated identifiers are what there is to find.
const ZSTD_LEVEL: i32 = 1;
/// Bytes of a key.
const KEY_BYTES: i32 = 16;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::FixedSizeBinary(KEY_BYTES), false),
        Field::new("version", DataType::Int64, false),
        Field::new("row", DataType::Binary, false),
    ]))
}

fn encode_error(error: impl ToString) -> StateError {
    StateError::Encode(error.to_string())
}

/// Rows on their way into a state file.
#[derive(Default)]
pub struct SegmentWriter {
    keys: Vec<u8>,
    versions: Vec<i64>,
    offsets: Vec<i32>,
    rows: Vec<u8>,
    writer: Option<ArrowWriter<Vec<u8>>>,
    written_rows: u64,
}

impl SegmentWriter {
    /// Appends a row.
    ///
    /// # Errors
    /// [`StateError::Encode`].
    pub fn push(&mut self, key: u128, version: i64, row: &impl Serialize) -> Result<(), StateError> {
        self.begin(key, version)?;
        bincode::serialize_into(&mut self.rows, row).map_err(encode_error)
    }

    /// Appends a row as [`SegmentReader::next_raw`] gives it.
    ///
    /// # Errors
    /// [`StateError::Encode`].
    pub fn push_encoded(&mut self, key: u128, version: i64, row: &[u8]) -> Result<(), StateError> {
        self.begin(key, version)?;
        self.rows.extend_from_slice(row);
        Ok(())
    }

    fn begin(&mut self, key: u128, version: i64) -> Result<(), StateError> {
        // Before, not after: the row pushed last stays where `undo` finds it.
        if self.versions.len() >= BATCH_ROWS || self.rows.len() >= BATCH_BYTES {
            self.encode_batch()?;
        }
        self.keys.extend_from_slice(&key.to_be_bytes());
        self.versions.push(version);
        self.offsets.push(offset(self.rows.len())?);
        Ok(())
    }

    /// Takes the row pushed last back.
    pub fn undo(&mut self) {
        if let Some(start) = self.offsets.pop() {
            self.rows.truncate(start as usize);
            self.versions.pop();
            self.keys.truncate(self.keys.len().saturating_sub(KEY_BYTES as usize));
        }
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.written_rows + self.versions.len() as u64
    }

    /// Encoded bytes so far; what waits for its batch is not counted.
    pub fn encoded_bytes(&self) -> usize {
        self.writer.as_ref().map_or(0, |writer| writer.bytes_written() + writer.in_progress_size())
    }

    /// The file; none without rows. The writer is empty afterwards.
    ///
    /// # Errors
    /// [`StateError::Encode`].
    pub fn finish(&mut self) -> Result<Option<(Bytes, u64)>, StateError> {
        self.encode_batch()?;
        let rows = std::mem::take(&mut self.written_rows);
        let Some(writer) = self.writer.take() else { return Ok(None) };
        Ok(Some((writer.into_inner().map_err(encode_error)?.into(), rows)))
    }

    fn encode_batch(&mut self) -> Result<(), StateError> {
        if self.versions.is_empty() {
            return Ok(());
        }
        let mut offsets = std::mem::take(&mut self.offsets);
        offsets.push(offset(self.rows.len())?);
        let versions = std::mem::take(&mut self.versions);
        let count = versions.len() as u64;
        let keys = Buffer::from_vec(std::mem::take(&mut self.keys));
        let rows = Buffer::from_vec(std::mem::take(&mut self.rows));
        let columns: [ArrayRef; 3] = [
            Arc::new(FixedSizeBinaryArray::try_new(KEY_BYTES, keys, None).map_err(encode_error)?),
            Arc::new(Int64Array::from(versions)),
            Arc::new(
                BinaryArray::try_new(OffsetBuffer::new(ScalarBuffer::from(offsets)), rows, None)
                    .map_err(encode_error)?,
            ),
        ];
        let batch = RecordBatch::try_new(schema(), columns.into()).map_err(encode_error)?;
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(writer()?),
        };
        writer.write(&batch).map_err(encode_error)?;
        // A row group per batch, so that neither writing nor reading holds more than one uncompressed.
        writer.flush().map_err(encode_error)?;
        self.written_rows += count;
        Ok(())
    }
}

fn offset(bytes: usize) -> Result<i32, StateError> {
    i32::try_from(bytes).map_err(|_| StateError::Encode("a batch of rows has more than 2 GiB".to_owned()))
}

fn writer() -> Result<ArrowWriter<Vec<u8>>, StateError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL).map_err(encode_error)?))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_created_by("contactflow state".to_owned())
        .build();
    ArrowWriter::try_new(Vec::new(), schema(), Some(properties)).map_err(encode_error)
}

/// A row with its key and version.
pub type Keyed<R> = (u128, i64, R);
/// Sees rows as they are encoded, with key and version.
pub type VisitRaw<'a> = dyn FnMut(u128, i64, &[u8]) -> Result<(), StateError> + 'a;

/// Reads a state file, a chunk of rows at a time.
pub struct SegmentReader {
    file: StateFile,
    batches: ParquetRecordBatchReader,
}

impl SegmentReader {
    /// Fetches `file` and checks it against its hash.
    ///
    /// # Errors
    /// [`StateError::Missing`], [`StateError::Damaged`], [`StateError::Key`], those of the store.
    pub fn open(objects: &dyn Objects, file: &StateFile) -> Result<Self, StateError> {
        let body = super::fetch(objects, file)?;
        let damaged = |detail: String| StateError::Damaged { path: file.path.clone(), detail };
        let builder = ParquetRecordBatchReaderBuilder::try_new(body).map_err(|error| damaged(error.to_string()))?;
        let batches = builder.with_batch_size(READ_ROWS).build().map_err(|error| damaged(error.to_string()))?;
        Ok(Self { file: file.clone(), batches })
    }

    /// The next rows, each with its key and version; none at the end.
    ///
    /// # Errors
    /// [`StateError::Damaged`].
    pub fn next_chunk<R: DeserializeOwned>(&mut self) -> Result<Option<Vec<Keyed<R>>>, StateError> {
        let mut rows = Vec::new();
        let path = self.file.path.clone();
        let more = self.next_raw(&mut |key, version, row| {
            let row = bincode::deserialize(row)
                .map_err(|error| StateError::Damaged { path: path.clone(), detail: error.to_string() })?;
            rows.push((key, version, row));
            Ok(())
        })?;
        Ok(more.then_some(rows))
    }

    /// Shows the next rows as they are encoded, with key and version; false at the end.
    ///
    /// # Errors
    /// [`StateError::Damaged`], and what `visit` returns.
    pub fn next_raw(&mut self, visit: &mut VisitRaw<'_>) -> Result<bool, StateError> {
        let damaged = |detail: String| StateError::Damaged { path: self.file.path.clone(), detail };
        let Some(batch) = self.batches.next() else { return Ok(false) };
        let batch = batch.map_err(|error| damaged(error.to_string()))?;
        if batch.schema().fields() != schema().fields() {
            return Err(damaged("it has other columns".to_owned()));
        }
        let keys = batch.column(0).as_fixed_size_binary();
        let versions = batch.column(1).as_primitive::<Int64Type>();
        let rows = batch.column(2).as_binary::<i32>();
        for index in 0..batch.num_rows() {
            let mut key = [0; KEY_BYTES as usize];
            key.copy_from_slice(keys.value(index));
            visit(u128::from_be_bytes(key), versions.value(index), rows.value(index))?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StateKind;
    use crate::store::Root;

    #[test]
    fn rows_come_back_as_they_were_without_those_taken_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::open(&folder.path().display().to_string(), true).expect("opens");
        let mut writer = SegmentWriter::default();
        let expected: Vec<(u128, i64, String)> =
            (0..BATCH_ROWS as u128 + 10).map(|key| (key << 70, key as i64, format!("row {key}"))).collect();
        for (key, version, row) in &expected {
            writer.push(7, 7, &"nothing").expect("encodes");
            writer.undo();
            writer.push(*key, *version, row).expect("encodes");
        }
        assert_eq!(writer.rows(), expected.len() as u64);
        let path = "_contactflow/state/a".to_owned();
        let file = super::super::store(&root, StateKind::Texts, None, path, &mut writer).expect("writes");
        let file = file.expect("has rows");
        assert_eq!(file.rows, expected.len() as u64);
        assert!(writer.finish().expect("empty").is_none());
        let mut reader = SegmentReader::open(&root, &file).expect("opens");
        let mut found = Vec::new();
        while let Some(chunk) = reader.next_chunk::<String>().expect("reads") {
            found.extend(chunk);
        }
        assert_eq!(found, expected);
    }
}
