//! Parquet, written column by column.

use std::sync::Arc;

use anyhow::bail;
use arrow::array::{
    ArrayRef, BooleanBuilder, Int64Builder, MapBuilder, RecordBatch, StringBuilder, TimestampMillisecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use crate::generate::columns::{Cell, Column, ColumnType, Row};

/// Rows built before they are encoded.
const BATCH_ROWS: usize = 16_384;
/// Rows of a row group: enough for dictionaries to pay, few enough to be read in parallel.
const ROW_GROUP_ROWS: usize = 256 * 1024;
const UTC: &str = "UTC";

/// A file being written.
pub(super) struct ParquetPart {
    writer: ArrowWriter<Vec<u8>>,
    schema: SchemaRef,
    builders: Vec<Builder>,
    rows: usize,
}

impl ParquetPart {
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut builders: Vec<Builder> =
            Column::ALL.iter().map(|(_, _, column_type)| Builder::new(*column_type)).collect();
        // The builders decide the types, so that schema and arrays cannot differ. Any column may be null: malformed rows.
        let fields: Vec<Field> = Column::ALL
            .iter()
            .zip(&mut builders)
            .map(|((_, name, _), builder)| Field::new(*name, builder.data_type(), true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(writer_properties()?))?;
        Ok(Self { writer, schema, builders, rows: 0 })
    }

    pub(super) fn append(&mut self, row: &Row) -> anyhow::Result<()> {
        for (column, cell) in row.cells() {
            self.builders[*column as usize].append(self.rows, row, cell)?;
        }
        self.rows += 1;
        if self.rows == BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let rows = self.rows;
        let columns =
            self.builders.iter_mut().map(|builder| builder.finish(rows)).collect::<anyhow::Result<Vec<_>>>()?;
        self.writer.write(&RecordBatch::try_new(self.schema.clone(), columns)?)?;
        self.rows = 0;
        Ok(())
    }

    pub(super) fn finish(mut self) -> anyhow::Result<Bytes> {
        self.flush()?;
        Ok(self.writer.into_inner()?.into())
    }
}

fn writer_properties() -> anyhow::Result<WriterProperties> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS));
    for (_, name, column_type) in Column::ALL {
        if *column_type != ColumnType::Category {
            properties = properties.set_column_dictionary_enabled(ColumnPath::from(*name), false);
        }
    }
    Ok(properties.build())
}

/// Builds one column. Nulls are appended only before the next value, so a column a row does not fill costs it nothing.
enum Builder {
    Text(StringBuilder),
    Int(Int64Builder),
    Time(TimestampMillisecondBuilder),
    Bool(BooleanBuilder),
    Map(Box<MapBuilder<StringBuilder, StringBuilder>>),
}

impl Builder {
    fn new(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::Category | ColumnType::Text => Self::Text(StringBuilder::new()),
            ColumnType::Int => Self::Int(Int64Builder::new()),
            ColumnType::Time => Self::Time(TimestampMillisecondBuilder::new().with_timezone(UTC)),
            ColumnType::Bool => Self::Bool(BooleanBuilder::new()),
            ColumnType::Map => Self::Map(Box::new(MapBuilder::new(None, StringBuilder::new(), StringBuilder::new()))),
        }
    }

    fn data_type(&mut self) -> DataType {
        match self {
            Self::Text(_) => DataType::Utf8,
            Self::Int(_) => DataType::Int64,
            Self::Time(_) => DataType::Timestamp(TimeUnit::Millisecond, Some(UTC.into())),
            Self::Bool(_) => DataType::Boolean,
            Self::Map(builder) => {
                use arrow::array::Array;
                builder.finish().data_type().clone()
            }
        }
    }

    /// Appends nulls up to row `rows`.
    fn pad(&mut self, rows: usize) -> anyhow::Result<()> {
        use arrow::array::ArrayBuilder;
        match self {
            Self::Text(builder) => builder.append_nulls(rows - builder.len()),
            Self::Int(builder) => builder.append_nulls(rows - builder.len()),
            Self::Time(builder) => builder.append_nulls(rows - builder.len()),
            Self::Bool(builder) => builder.append_nulls(rows - builder.len()),
            Self::Map(builder) => builder.append_nulls(rows - builder.len())?,
        }
        Ok(())
    }

    fn append(&mut self, position: usize, row: &Row, cell: &Cell) -> anyhow::Result<()> {
        self.pad(position)?;
        match (self, *cell) {
            (Self::Text(builder), Cell::Static(value)) => builder.append_value(value),
            (Self::Text(builder), Cell::Span(span)) => builder.append_value(row.resolve(span)),
            (Self::Int(builder), Cell::Int(value)) => builder.append_value(value),
            (Self::Bool(builder), Cell::Bool(value)) => builder.append_value(value),
            (Self::Time(builder), Cell::Time(time_ms)) => builder.append_value(time_ms),
            (Self::Map(builder), Cell::Map(entries)) => {
                for (key, value) in entries {
                    builder.keys().append_value(key);
                    builder.values().append_value(value);
                }
                builder.append(true)?;
            }
            (_, cell) => bail!("a cell does not fit the type of its column: {cell:?}"),
        }
        Ok(())
    }

    fn finish(&mut self, rows: usize) -> anyhow::Result<ArrayRef> {
        self.pad(rows)?;
        Ok(match self {
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Map(builder) => Arc::new(builder.finish()),
        })
    }
}
