//! [`TableWriter`]: rows, value by value in the order of the schema, into one Parquet file.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMillisecondBuilder,
};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use bytes::Bytes;
use contactflow_schemas::aggregate::Number;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::tables::Table;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::EncodeError;
use super::footer::declare_type_defined_orders;

/// What files say wrote them. parquet-mr (Spark, Trino) distrusts text statistics of a writer whose string does not read
/// `name version x`. The version is that of the bytes: it grows when equal rows are to give other bytes than before.
const CREATED_BY: &str = "contactflow version 2";
/// zstd level.
const ZSTD_LEVEL: i32 = 3;
/// Rows of a row group: a multiple of [`BATCH_ROWS`], near DuckDB's own 122 880.
const ROW_GROUP_ROWS: usize = 8 * BATCH_ROWS;
/// Rows handed to the Parquet writer at a time; bounds the memory of the builders.
const BATCH_ROWS: usize = 16 * 1024;
/// Bytes of a data or dictionary page before compression.
const PAGE_BYTES: usize = 1024 * 1024;
/// Rows of a page at most.
const PAGE_ROWS: usize = 20_000;
/// Values between two checks of the page size.
const CHECK_ROWS: usize = 1024;
/// Bytes of a text that statistics keep.
const STATISTICS_BYTES: usize = 64;

/// Values from which on a column is worth compressing. A KPI table has hundreds of columns of which most are empty or 0 in
/// a partition; dictionaries and run lengths make these a few bytes, and setting a compressor up would cost more than
/// everything else about the file.
const COMPRESSED_VALUES_MIN: usize = 256;
/// Bytes of texts from which on a column is worth compressing.
const COMPRESSED_TEXT_BYTES_MIN: usize = 2048;

/// True for a column with enough in it to be compressed.
fn is_worth_compressing(column: &ArrayRef) -> bool {
    let count = |is_something: &dyn Fn(usize) -> bool| {
        (0..column.len()).filter(|row| is_something(*row)).take(COMPRESSED_VALUES_MIN).count() == COMPRESSED_VALUES_MIN
    };
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value_data().len() >= COMPRESSED_TEXT_BYTES_MIN,
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>();
            count(&|row| values.is_valid(row) && values.value(row) != 0)
        }
        _ => count(&|row| column.is_valid(row)),
    }
}

/// Every choice of the Parquet writer, spelled out even where it is the library's default of today; the first rows decide
/// which columns are compressed.
pub(super) fn properties(first: &RecordBatch) -> Result<WriterProperties, ParquetError> {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?);
    let schema = first.schema();
    let columns = schema.fields().iter().zip(first.columns());
    let worthy = columns.filter(|(_, column)| is_worth_compressing(column)).map(|(field, _)| field.name().as_str());
    let builder = worthy.fold(WriterProperties::builder(), |builder, name| {
        builder.set_column_compression(ColumnPath::from(name), zstd)
    });
    Ok(builder
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(Compression::UNCOMPRESSED)
        .set_encoding(Encoding::PLAIN)
        .set_dictionary_enabled(true)
        .set_dictionary_page_size_limit(PAGE_BYTES)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(CHECK_ROWS)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(None)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_write_page_header_statistics(false)
        .set_statistics_truncate_length(Some(STATISTICS_BYTES))
        .set_column_index_truncate_length(Some(STATISTICS_BYTES))
        .set_offset_index_disabled(true)
        .set_bloom_filter_enabled(false)
        .set_coerce_types(false)
        .set_content_defined_chunking(None)
        .set_key_value_metadata(None)
        .build())
}

/// A column under construction.
enum Column {
    Text(StringBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Time(TimestampMillisecondBuilder),
    Flag(BooleanBuilder),
}

impl Column {
    /// For so many rows.
    fn new(data_type: &DataType, rows: usize) -> Option<Self> {
        Some(match data_type {
            DataType::Utf8 => Self::Text(StringBuilder::with_capacity(rows, 16 * rows)),
            DataType::Int64 => Self::Int(Int64Builder::with_capacity(rows)),
            DataType::Float64 => Self::Float(Float64Builder::with_capacity(rows)),
            DataType::Timestamp(..) => {
                Self::Time(TimestampMillisecondBuilder::with_capacity(rows).with_data_type(data_type.clone()))
            }
            DataType::Boolean => Self::Flag(BooleanBuilder::with_capacity(rows)),
            _ => return None,
        })
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(builder) => ArrayBuilder::finish(builder),
            Self::Int(builder) => ArrayBuilder::finish(builder),
            Self::Float(builder) => ArrayBuilder::finish(builder),
            Self::Time(builder) => ArrayBuilder::finish(builder),
            Self::Flag(builder) => ArrayBuilder::finish(builder),
        }
    }
}

/// Writes one file. Each row is one call per column, in the order of the schema, then [`Self::end_row`]; a value of the
/// wrong type or in a wrong place is reported there.
pub(super) struct TableWriter {
    table: Table,
    schema: SchemaRef,
    /// None before the first batch.
    parquet: Option<ArrowWriter<Vec<u8>>>,
    columns: Vec<Column>,
    /// Position of the next value in its row.
    at: usize,
    /// Rows in `columns`.
    rows: usize,
    /// First column of the row whose value did not fit.
    misfit: Option<usize>,
}

impl TableWriter {
    /// A writer of about so many rows.
    pub(super) fn new(table: Table, rows: usize) -> Result<Self, EncodeError> {
        let schema = table.schema();
        let rows = rows.min(BATCH_ROWS);
        let columns = schema.fields().iter().map(|field| {
            let column = Column::new(field.data_type(), rows);
            column.ok_or_else(|| EncodeError::Schema { table, column: field.name().clone() })
        });
        let columns = columns.collect::<Result<_, _>>()?;
        Ok(Self { table, schema, parquet: None, columns, at: 0, rows: 0, misfit: None })
    }

    fn next(&mut self) -> Option<&mut Column> {
        let column = self.columns.get_mut(self.at);
        self.at += 1;
        column
    }

    fn misfit(&mut self) {
        self.misfit.get_or_insert(self.at.saturating_sub(1));
    }

    pub(super) fn text<'a>(&mut self, value: impl Into<Option<&'a str>>) {
        match self.next() {
            Some(Column::Text(builder)) => builder.append_option(value.into()),
            _ => self.misfit(),
        }
    }

    pub(super) fn int(&mut self, value: impl Into<Option<i64>>) {
        match self.next() {
            Some(Column::Int(builder)) => builder.append_option(value.into()),
            _ => self.misfit(),
        }
    }

    pub(super) fn float(&mut self, value: impl Into<Option<f64>>) {
        match self.next() {
            Some(Column::Float(builder)) => builder.append_option(value.into()),
            _ => self.misfit(),
        }
    }

    pub(super) fn time(&mut self, value: impl Into<Option<TimeMs>>) {
        match self.next() {
            Some(Column::Time(builder)) => builder.append_option(value.into()),
            _ => self.misfit(),
        }
    }

    pub(super) fn flag(&mut self, value: bool) {
        match self.next() {
            Some(Column::Flag(builder)) => builder.append_value(value),
            _ => self.misfit(),
        }
    }

    /// A published KPI number; its column says whether a null stands for an integer or a float.
    pub(super) fn number(&mut self, number: Number) {
        match (self.next(), number) {
            (Some(Column::Int(builder)), Number::Int(value)) => builder.append_value(value),
            (Some(Column::Int(builder)), Number::Null) => builder.append_null(),
            (Some(Column::Float(builder)), Number::Float(value)) => builder.append_value(value),
            (Some(Column::Float(builder)), Number::Null) => builder.append_null(),
            _ => self.misfit(),
        }
    }

    pub(super) fn end_row(&mut self) -> Result<(), EncodeError> {
        if self.at != self.columns.len() {
            self.misfit.get_or_insert(self.at.min(self.columns.len()));
        }
        if let Some(at) = self.misfit {
            let column = self.schema.fields().get(at).map_or_else(String::new, |field| field.name().clone());
            return Err(EncodeError::Schema { table: self.table, column });
        }
        self.at = 0;
        self.rows += 1;
        if self.rows == BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), EncodeError> {
        let columns = self.columns.iter_mut().map(Column::finish).collect();
        self.rows = 0;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        let parquet = match &mut self.parquet {
            Some(parquet) => parquet,
            None => {
                let properties = properties(&batch)?;
                let parquet = ArrowWriter::try_new(Vec::new(), Arc::clone(&self.schema), Some(properties))?;
                self.parquet.insert(parquet)
            }
        };
        parquet.write(&batch)?;
        Ok(())
    }

    /// The file.
    pub(super) fn finish(mut self) -> Result<Bytes, EncodeError> {
        if self.rows > 0 || self.parquet.is_none() {
            self.flush()?;
        }
        let parquet = self.parquet.ok_or(EncodeError::Footer)?;
        let mut file = parquet.into_inner()?;
        declare_type_defined_orders(&mut file, self.columns.len())?;
        Ok(file.into())
    }
}
