//! Checkpoints: the state of a log up to a version as one Parquet file, so that nobody has to read it from its beginning.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, Int64Array, ListBuilder, MapBuilder, MapFieldNames,
    RecordBatch, StringArray, StringBuilder, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};

use super::action::{Action, Add, Format, MetaData, Protocol, Remove, Txn};
use crate::sink::encode::EncodeError;

/// What `_last_checkpoint` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastCheckpoint {
    pub(super) version: u64,
    /// Actions in it.
    pub(super) size: u64,
}

type Map = BTreeMap<String, Option<String>>;

/// The column of one kind of action: a struct per row, null in rows of other kinds.
struct Column<'a, T> {
    name: &'static str,
    rows: Vec<Option<&'a T>>,
    fields: Vec<(Arc<Field>, ArrayRef)>,
}

impl<'a, T> Column<'a, T> {
    fn new(name: &'static str, actions: &'a [Action], of: impl Fn(&'a Action) -> Option<&'a T>) -> Self {
        Self { name, rows: actions.iter().map(of).collect(), fields: Vec::new() }
    }

    fn field(mut self, name: &str, array: ArrayRef) -> Self {
        self.fields.push((Arc::new(Field::new(name, array.data_type().clone(), true)), array));
        self
    }

    fn text(self, name: &str, value: impl Fn(&'a T) -> Option<&'a str>) -> Self {
        let array = StringArray::from_iter(self.rows.iter().map(|row| row.and_then(&value)));
        self.field(name, Arc::new(array))
    }

    fn long(self, name: &str, value: impl Fn(&T) -> Option<i64>) -> Self {
        let array = Int64Array::from_iter(self.rows.iter().map(|row| row.and_then(&value)));
        self.field(name, Arc::new(array))
    }

    fn int(self, name: &str, value: impl Fn(&T) -> i32) -> Self {
        let array = Int32Array::from_iter(self.rows.iter().map(|row| row.map(&value)));
        self.field(name, Arc::new(array))
    }

    fn flag(self, name: &str, value: impl Fn(&T) -> Option<bool>) -> Self {
        let array = BooleanArray::from_iter(self.rows.iter().map(|row| row.and_then(&value)));
        self.field(name, Arc::new(array))
    }

    fn map(self, name: &str, value: impl Fn(&T) -> Option<Map>) -> Result<Self, ArrowError> {
        let array = maps(self.rows.iter().map(|row| row.and_then(&value)))?;
        Ok(self.field(name, array))
    }

    fn finish(self) -> Result<(Field, ArrayRef), ArrowError> {
        let nulls = NullBuffer::from_iter(self.rows.iter().map(Option::is_some));
        let (fields, arrays): (Vec<_>, Vec<_>) = self.fields.into_iter().unzip();
        let array = StructArray::try_new(fields.into(), arrays, Some(nulls))?;
        Ok((Field::new(self.name, array.data_type().clone(), true), Arc::new(array)))
    }
}

fn maps(rows: impl Iterator<Item = Option<Map>>) -> Result<ArrayRef, ArrowError> {
    let names = MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for row in rows {
        for (key, value) in row.iter().flatten() {
            builder.keys().append_value(key);
            builder.values().append_option(value.as_deref());
        }
        builder.append(row.is_some())?;
    }
    Ok(Arc::new(builder.finish()))
}

fn texts(rows: &[Option<&MetaData>]) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
    for row in rows {
        for name in row.iter().flat_map(|metadata| &metadata.partition_columns) {
            builder.values().append_value(name);
        }
        builder.append(row.is_some());
    }
    Arc::new(builder.finish())
}

fn some(map: &BTreeMap<String, String>) -> Option<Map> {
    Some(map.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect())
}

fn metadata_column(actions: &[Action]) -> Result<(Field, ArrayRef), ArrowError> {
    let metadata = Column::new("metaData", actions, Action::as_metadata);
    let format = Column { name: "format", rows: metadata.rows.clone(), fields: Vec::new() };
    let format = format.text("provider", |row| Some(&row.format.provider));
    let (_, format) = format.map("options", |row| some(&row.format.options))?.finish()?;
    let columns = texts(&metadata.rows);
    metadata
        .text("id", |row| Some(&row.id))
        .text("name", |row| row.name.as_deref())
        .text("description", |row| row.description.as_deref())
        .field("format", format)
        .text("schemaString", |row| Some(&row.schema_string))
        .field("partitionColumns", columns)
        .map("configuration", |row| some(&row.configuration))?
        .long("createdTime", |row| row.created_time)
        .finish()
}

fn columns(actions: &[Action]) -> Result<[(Field, ArrayRef); 5], ArrowError> {
    let txn = Column::new("txn", actions, Action::as_txn)
        .text("appId", |row| Some(&row.app_id))
        .long("version", |row| Some(row.version))
        .long("lastUpdated", |row| row.last_updated)
        .finish()?;
    let add = Column::new("add", actions, Action::as_add)
        .text("path", |row| Some(&row.path))
        .map("partitionValues", |row| Some(row.partition_values.clone()))?
        .long("size", |row| Some(row.size))
        .long("modificationTime", |row| Some(row.modification_time))
        .flag("dataChange", |row| Some(row.data_change))
        .text("stats", |row| row.stats.as_deref())
        .finish()?;
    let remove = Column::new("remove", actions, Action::as_remove)
        .text("path", |row| Some(&row.path))
        .long("deletionTimestamp", |row| row.deletion_timestamp)
        .flag("dataChange", |row| Some(row.data_change))
        .flag("extendedFileMetadata", |row| row.extended_file_metadata)
        .map("partitionValues", |row| row.partition_values.clone())?
        .long("size", |row| row.size)
        .finish()?;
    let protocol = Column::new("protocol", actions, Action::as_protocol)
        .int("minReaderVersion", |row| row.min_reader_version)
        .int("minWriterVersion", |row| row.min_writer_version)
        .finish()?;
    Ok([txn, add, remove, metadata_column(actions)?, protocol])
}

/// A checkpoint file of these actions.
///
/// # Errors
/// Only those of the Parquet writer.
pub(super) fn encode(actions: &[Action]) -> Result<Bytes, EncodeError> {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns(actions)?.into_iter().unzip();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
    let compression = Compression::ZSTD(ZstdLevel::default());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?.into())
}

/// The actions of a checkpoint file.
///
/// # Errors
/// What is wrong with it, where it is none that [`encode`] made.
pub(super) fn decode(body: Bytes) -> Result<Vec<Action>, String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(body).and_then(|builder| builder.build());
    let mut actions = Vec::new();
    for batch in reader.map_err(|error| error.to_string())? {
        let batch = batch.map_err(|error| error.to_string())?;
        for row in 0..batch.num_rows() {
            let action = action(&batch, row);
            actions.push(action.ok_or_else(|| format!("row {row} holds no action this program knows"))?);
        }
    }
    Ok(actions)
}

fn action(batch: &RecordBatch, row: usize) -> Option<Action> {
    let of = |name| {
        let fields = batch.column_by_name(name)?.as_struct_opt()?;
        fields.is_valid(row).then_some(Fields(fields))
    };
    if let Some(add) = of("add") {
        return Some(Action::Add(add.add(row)?));
    }
    if let Some(remove) = of("remove") {
        return Some(Action::Remove(remove.remove(row)?));
    }
    if let Some(txn) = of("txn") {
        return Some(Action::Txn(txn.txn(row)?));
    }
    if let Some(metadata) = of("metaData") {
        return Some(Action::MetaData(Box::new(metadata.metadata(row)?)));
    }
    Some(Action::Protocol(of("protocol")?.protocol(row)?))
}

/// The fields of one kind of action.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a StructArray);

impl Fields<'_> {
    fn text(&self, name: &str, row: usize) -> Option<String> {
        let column = self.0.column_by_name(name)?.as_string_opt::<i32>()?;
        column.is_valid(row).then(|| column.value(row).to_owned())
    }

    fn long(&self, name: &str, row: usize) -> Option<i64> {
        let column = self.0.column_by_name(name)?.as_primitive_opt::<Int64Type>()?;
        column.is_valid(row).then(|| column.value(row))
    }

    fn int(&self, name: &str, row: usize) -> Option<i32> {
        let column = self.0.column_by_name(name)?.as_primitive_opt::<Int32Type>()?;
        column.is_valid(row).then(|| column.value(row))
    }

    fn flag(&self, name: &str, row: usize) -> Option<bool> {
        let column = self.0.column_by_name(name)?.as_boolean_opt()?;
        column.is_valid(row).then(|| column.value(row))
    }

    fn map(&self, name: &str, row: usize) -> Option<Map> {
        let column = self.0.column_by_name(name)?.as_map_opt()?;
        if column.is_null(row) {
            return None;
        }
        let entries = column.value(row);
        let (keys, values) = (entries.column(0).as_string_opt::<i32>()?, entries.column(1).as_string_opt::<i32>()?);
        let value = |at: usize| values.is_valid(at).then(|| values.value(at).to_owned());
        Some((0..entries.len()).map(|at| (keys.value(at).to_owned(), value(at))).collect())
    }

    /// A map without nulls.
    fn properties(&self, name: &str, row: usize) -> Option<BTreeMap<String, String>> {
        Some(self.map(name, row)?.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
    }

    fn texts(&self, name: &str, row: usize) -> Option<Vec<String>> {
        let column = self.0.column_by_name(name)?.as_list_opt::<i32>()?;
        let values = column.value(row);
        Some(values.as_string_opt::<i32>()?.iter().flatten().map(str::to_owned).collect())
    }

    fn txn(&self, row: usize) -> Option<Txn> {
        let (app_id, version) = (self.text("appId", row)?, self.long("version", row)?);
        Some(Txn { app_id, version, last_updated: self.long("lastUpdated", row) })
    }

    fn add(&self, row: usize) -> Option<Add> {
        Some(Add {
            path: self.text("path", row)?,
            partition_values: self.map("partitionValues", row)?,
            size: self.long("size", row)?,
            modification_time: self.long("modificationTime", row)?,
            data_change: self.flag("dataChange", row)?,
            stats: self.text("stats", row),
        })
    }

    fn remove(&self, row: usize) -> Option<Remove> {
        Some(Remove {
            path: self.text("path", row)?,
            deletion_timestamp: self.long("deletionTimestamp", row),
            data_change: self.flag("dataChange", row)?,
            extended_file_metadata: self.flag("extendedFileMetadata", row),
            partition_values: self.map("partitionValues", row),
            size: self.long("size", row),
        })
    }

    fn metadata(&self, row: usize) -> Option<MetaData> {
        let format = Fields(self.0.column_by_name("format")?.as_struct_opt()?);
        Some(MetaData {
            id: self.text("id", row)?,
            name: self.text("name", row),
            description: self.text("description", row),
            format: Format { provider: format.text("provider", row)?, options: format.properties("options", row)? },
            schema_string: self.text("schemaString", row)?,
            partition_columns: self.texts("partitionColumns", row)?,
            configuration: self.properties("configuration", row)?,
            created_time: self.long("createdTime", row),
        })
    }

    fn protocol(&self, row: usize) -> Option<Protocol> {
        let (min_reader_version, min_writer_version) =
            (self.int("minReaderVersion", row)?, self.int("minWriterVersion", row)?);
        Some(Protocol { min_reader_version, min_writer_version })
    }
}
