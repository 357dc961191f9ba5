//! [`TableWriter`]: rows, value by value in the order of the schema, into one Parquet file.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, AsArray, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMillisecondBuilder,
};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef};
use arrow::error::ArrowError;
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
use super::lists::{ListColumn, Value};

/// What files say wrote them. parquet-mr (Spark, Trino) distrusts text statistics of a writer whose string does not read
/// `name version x`. The version is that of the bytes: it grows when equal rows are to give other bytes than before.
const CREATED_BY: &str = "contactflow version 3";
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
    if column.data_type() == &DataType::Utf8 {
        return column.as_string::<i32>().value_data().len() >= COMPRESSED_TEXT_BYTES_MIN;
    }
    if column.len() - column.null_count() < COMPRESSED_VALUES_MIN {
        return false;
    }
    let Some(values) = column.as_primitive_opt::<Int64Type>() else { return true };
    let is_something = |(row, value): &(usize, &i64)| **value != 0 && values.is_valid(*row);
    let something = values.values().iter().enumerate().filter(is_something);
    something.take(COMPRESSED_VALUES_MIN).count() == COMPRESSED_VALUES_MIN
}

/// Every choice of the Parquet writer, spelled out even where it is the library's default of today; the first rows decide
/// which columns are compressed.
pub(super) fn properties(first: &RecordBatch) -> Result<WriterProperties, ParquetError> {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?);
    let schema = first.schema();
    let columns = schema.fields().iter().zip(first.columns());
    let leaves = columns.flat_map(|(field, column)| leaves(field, column));
    let worthy = leaves.filter(|(_, column)| is_worth_compressing(column)).map(|(path, _)| path);
    let builder = worthy.fold(WriterProperties::builder(), |builder, path| builder.set_column_compression(path, zstd));
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

/// The Parquet columns of a column: itself, or the fields of the elements of a list.
fn leaves(field: &Field, column: &ArrayRef) -> Vec<(ColumnPath, ArrayRef)> {
    let Some(list) = column.as_list_opt::<i32>() else {
        return vec![(ColumnPath::from(field.name().as_str()), Arc::clone(column))];
    };
    let elements = list.values().as_struct();
    let path = |name: &str| ["list", "element", name].map(str::to_owned);
    let leaf = |(name, values): (&str, &ArrayRef)| {
        let parts = std::iter::once(field.name().clone()).chain(path(name)).collect();
        (ColumnPath::new(parts), Arc::clone(values))
    };
    elements.column_names().into_iter().zip(elements.columns()).map(leaf).collect()
}

/// How many Parquet columns a field has.
fn leaf_count(field: &Field) -> usize {
    match field.data_type() {
        DataType::List(element) => leaf_count(element),
        DataType::Struct(fields) => fields.iter().map(|field| leaf_count(field)).sum(),
        _ => 1,
    }
}

/// A column under construction.
pub(super) enum Column {
    Text(StringBuilder),
    /// With what stands for a row that [`TableWriter::numbers`] passed over.
    Int(Int64Builder, Nothing),
    Float(Float64Builder),
    Time(TimestampMillisecondBuilder),
    Flag(BooleanBuilder),
    List(ListColumn),
}

/// What an integer column has where there is nothing to say.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Nothing {
    Zero,
    Null,
}

impl Column {
    /// For so many rows.
    pub(super) fn new(field: &Field, rows: usize) -> Option<Self> {
        let data_type = field.data_type();
        Some(match data_type {
            DataType::Utf8 => Self::Text(StringBuilder::with_capacity(rows, 16 * rows)),
            DataType::Int64 => {
                let nothing = if field.is_nullable() { Nothing::Null } else { Nothing::Zero };
                Self::Int(Int64Builder::with_capacity(rows), nothing)
            }
            DataType::Float64 => Self::Float(Float64Builder::with_capacity(rows)),
            DataType::Timestamp(..) => {
                Self::Time(TimestampMillisecondBuilder::with_capacity(rows).with_data_type(data_type.clone()))
            }
            DataType::Boolean => Self::Flag(BooleanBuilder::with_capacity(rows)),
            DataType::List(element) => Self::List(ListColumn::new(element, rows)?),
            _ => return None,
        })
    }

    /// Appends nothing for the rows up to row `rows` that have no value yet.
    fn pad(&mut self, rows: usize) {
        match self {
            Self::Int(builder, Nothing::Zero) if builder.len() < rows => {
                builder.append_value_n(0, rows - builder.len());
            }
            Self::Int(builder, Nothing::Null) if builder.len() < rows => builder.append_nulls(rows - builder.len()),
            Self::Float(builder) if builder.len() < rows => builder.append_nulls(rows - builder.len()),
            _ => {}
        }
    }

    /// The column, filled up to row `rows`.
    pub(super) fn finish(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        self.pad(rows);
        Ok(match self {
            Self::Text(builder) => ArrayBuilder::finish(builder),
            Self::Int(builder, _) => ArrayBuilder::finish(builder),
            Self::Float(builder) => ArrayBuilder::finish(builder),
            Self::Time(builder) => ArrayBuilder::finish(builder),
            Self::Flag(builder) => ArrayBuilder::finish(builder),
            Self::List(list) => list.finish()?,
        })
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
            let column = Column::new(field, rows);
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
            Some(Column::Int(builder, _)) => builder.append_option(value.into()),
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

    /// The elements of a list, each with a value per field.
    pub(super) fn list<'a, const N: usize>(&mut self, elements: impl IntoIterator<Item = [Value<'a>; N]>) {
        let fits = match self.next() {
            Some(Column::List(list)) => {
                // Every element is pushed, also after one that does not fit.
                let misfits = elements.into_iter().filter(|element| !list.push(element)).count();
                list.end();
                misfits == 0
            }
            _ => false,
        };
        if !fits {
            self.misfit();
        }
    }

    /// The published KPI numbers of a row, in order. Most say nothing, and these cost nothing here: their columns are
    /// filled up before their next value.
    pub(super) fn numbers(&mut self, numbers: &[Number]) {
        for &number in numbers {
            let rows = self.rows;
            match (self.next(), number) {
                (Some(Column::Int(_, Nothing::Zero)), Number::Int(0)) => {}
                (Some(Column::Int(_, Nothing::Null) | Column::Float(_)), Number::Null) => {}
                (Some(column), Number::Int(value)) if matches!(column, Column::Int(..)) => {
                    column.pad(rows);
                    if let Column::Int(builder, _) = column {
                        builder.append_value(value);
                    }
                }
                (Some(column), Number::Float(value)) if matches!(column, Column::Float(_)) => {
                    column.pad(rows);
                    if let Column::Float(builder) = column {
                        builder.append_value(value);
                    }
                }
                _ => self.misfit(),
            }
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
        let rows = std::mem::take(&mut self.rows);
        let columns = self.columns.iter_mut().map(|column| column.finish(rows)).collect::<Result<_, _>>()?;
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
        let leaves = self.schema.fields().iter().map(|field| leaf_count(field)).sum();
        declare_type_defined_orders(&mut file, leaves)?;
        Ok(file.into())
    }
}
