//! Reads published tables back, the way any reader of the lake would: the files that the Delta log of a table names, where it
//! has one, and otherwise every Parquet file below its folder.

use crate::delta_log::DeltaLog;
use crate::model::{Cell, Columns, REJECTS, Table, Tables, key_columns, name as column_name, table_names};
use anyhow::{Context, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMillisecondType};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The tables below `root` that the oracle knows; one without files is empty.
pub fn read_tables(root: &Path) -> Result<Tables> {
    table_names().into_iter().map(|name| Ok((name.to_owned(), read_table(root, name)?))).collect()
}

/// The rows of one Parquet file of a table.
pub fn read_rows(name: &str, file: Bytes) -> Result<Table> {
    let mut table = Table::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
        add_rows(name, &batch?, &mut table)?;
    }
    Ok(table)
}

/// One table; two rows with the same key are an error.
pub fn read_table(root: &Path, name: &str) -> Result<Table> {
    let mut table = Table::new();
    for path in live_files(&root.join(name))? {
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .and_then(|builder| builder.build())
            .with_context(|| format!("{} is no Parquet file", path.display()))?;
        for batch in reader {
            let batch = batch.with_context(|| format!("cannot read {}", path.display()))?;
            add_rows(name, &batch, &mut table).with_context(|| format!("in {}", path.display()))?;
        }
    }
    Ok(table)
}

/// The files of the table in a folder, or of all tables in a root, sorted.
pub fn live_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if let Some(log) = DeltaLog::read(folder)? {
        found = log.live_files()?;
    } else {
        for entry in list(folder)? {
            let path = entry?.path();
            let is_table = path.is_dir() && !is_hidden(&path);
            match is_table.then(|| DeltaLog::read(&path)).transpose()?.flatten() {
                Some(log) => found.extend(log.live_files()?),
                None if is_table => found.extend(parquet_files(&path)?),
                None => found.extend(Some(path).filter(|path| is_data(path))),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Numbers of the commits with a row in table `commits`, sorted.
pub fn commit_rows(root: &Path) -> Result<Vec<i64>> {
    let mut rows = Vec::new();
    for path in live_files(&root.join("commits"))? {
        for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()? {
            let batch = batch?;
            let column = batch.column_by_name("commit").context("commits have a number")?;
            rows.extend(column.as_primitive::<Int64Type>().values());
        }
    }
    rows.sort_unstable();
    Ok(rows)
}

/// The Parquet files below a folder, sorted; folders of logs and manifests (`_…`) are none of the data.
pub fn parquet_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in list(folder)? {
        let path = entry?.path();
        if path.is_dir() && !is_hidden(&path) {
            found.extend(parquet_files(&path)?);
        } else if is_data(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// What is in a folder; nothing where there is no such folder.
fn list(folder: &Path) -> Result<impl Iterator<Item = std::io::Result<fs::DirEntry>>> {
    let entries = match folder.exists() {
        true => Some(fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?),
        false => None,
    };
    Ok(entries.into_iter().flatten())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['_', '.']))
}

fn is_data(path: &Path) -> bool {
    !is_hidden(path) && path.is_file() && path.extension().is_some_and(|extension| extension == "parquet")
}

fn add_rows(name: &str, batch: &RecordBatch, table: &mut Table) -> Result<()> {
    let keys = key_columns(name)
        .iter()
        .map(|column| batch.column_by_name(column).with_context(|| format!("{name} has no column {column}")))
        .collect::<Result<Vec<_>>>()?;
    let schema = batch.schema();
    let fields = schema.fields().iter().map(|field| field.name().as_str());
    // `date` is the partition; some writers repeat it in the file.
    // Which model it was is no matter of the oracle.
    let is_value = |field: &&str| !["date", "model_id"].contains(field) && !key_columns(name).contains(field);
    let values: Vec<(&'static str, &ArrayRef)> = fields
        .zip(batch.columns())
        .filter(|(field, _)| is_value(field) && name != REJECTS)
        .map(|(field, column)| (column_name(field), column))
        .collect();
    for row in 0..batch.num_rows() {
        let key = keys.iter().map(|column| cell(column, row)).collect::<Result<Vec<_>>>()?;
        let columns = values
            .iter()
            .map(|(field, column)| Ok((*field, cell(column, row).with_context(|| format!("column {field}"))?)))
            .collect::<Result<Columns>>()?;
        let text = display_key(&key);
        // The same bad row may come in several files; everywhere else a key is a promise.
        if table.insert(key, columns).is_some() && name != REJECTS {
            bail!("{name} has two rows for the key {text}");
        }
    }
    Ok(())
}

/// Name of the file, row and reason of every reject.
pub fn rejects(root: &Path) -> Result<Vec<(String, i64, String)>> {
    let mut found = Vec::new();
    for path in live_files(&root.join(REJECTS))? {
        for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()? {
            let batch = batch?;
            let column = |name| batch.column_by_name(name).with_context(|| format!("no column {name}"));
            let (files, rows, reasons) = (column("source_file")?, column("source_row")?, column("reason")?);
            for row in 0..batch.num_rows() {
                let (Cell::Text(file), Cell::Int(place), Cell::Text(reason)) =
                    (cell(files, row)?, cell(rows, row)?, cell(reasons, row)?)
                else {
                    bail!("a reject without file, row or reason");
                };
                let name = file.rsplit('/').next().unwrap_or(&file).to_owned();
                found.push((name, place, reason));
            }
        }
    }
    Ok(found)
}

/// A key as it is printed.
pub fn display_key(key: &[Cell]) -> String {
    let parts: Vec<String> = key.iter().map(Cell::to_string).collect();
    format!("({})", parts.join(", "))
}

fn cell(column: &ArrayRef, row: usize) -> Result<Cell> {
    if column.is_null(row) {
        return Ok(Cell::Null);
    }
    Ok(match column.data_type() {
        DataType::Null => Cell::Null,
        DataType::Int32 => Cell::Int(column.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Cell::Int(column.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Cell::Float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => Cell::Bool(column.as_boolean().value(row)),
        DataType::Utf8 => Cell::Text(column.as_string::<i32>().value(row).to_owned()),
        DataType::LargeUtf8 => Cell::Text(column.as_string::<i64>().value(row).to_owned()),
        DataType::Utf8View => Cell::Text(column.as_string_view().value(row).to_owned()),
        DataType::Timestamp(TimeUnit::Millisecond, Some(zone)) if zone.as_ref() == "UTC" => {
            Cell::TimeMs(column.as_primitive::<TimestampMillisecondType>().value(row))
        }
        DataType::Dictionary(_, _) => {
            let dictionary = column.as_any_dictionary();
            return cell(dictionary.values(), dictionary.normalized_keys()[row]);
        }
        DataType::List(_) => {
            let list = column.as_list::<i32>().value(row);
            let elements = list.as_struct();
            let values = |at| elements.columns().iter().map(|column| cell(column, at)).collect::<Result<Vec<_>>>();
            Cell::list((0..elements.len()).map(values).collect::<Result<Vec<_>>>()?)
        }
        other => bail!("a column of type {other} is not in the contract"),
    })
}
