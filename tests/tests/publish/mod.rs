//! Writes tables as the product is meant to: Parquet files in Hive folders, sorted by key.

use anyhow::{Result, bail};
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use contactflow_tests::model::{Cell, Table, Tables, key_columns};
use parquet::arrow::ArrowWriter;
use std::fs::{File, create_dir_all};
use std::path::Path;
use std::sync::Arc;

/// Writes all tables, each in two partitions.
pub(crate) fn publish(tables: &Tables, root: &Path) -> Result<()> {
    for (name, table) in tables.iter().filter(|(_, table)| !table.is_empty()) {
        let columns = columns(name, table)?;
        let rows = columns.first().map_or(0, |(_, column)| column.len());
        let batch = RecordBatch::try_from_iter(columns)?;
        let half = rows / 2;
        for (date, part) in [("2024-03-01", batch.slice(0, half)), ("2024-03-02", batch.slice(half, rows - half))] {
            let folder = root.join(name).join(format!("date={date}"));
            create_dir_all(&folder)?;
            let mut writer = ArrowWriter::try_new(File::create(folder.join("part.parquet"))?, part.schema(), None)?;
            writer.write(&part)?;
            writer.close()?;
        }
    }
    Ok(())
}

fn columns(name: &str, table: &Table) -> Result<Vec<(String, ArrayRef)>> {
    let mut columns = Vec::new();
    for (index, column) in key_columns(name).iter().enumerate() {
        let cells: Vec<&Cell> = table.keys().map(|key| &key[index]).collect();
        columns.push(((*column).to_owned(), array(&cells)?));
    }
    for column in table.values().next().into_iter().flat_map(|columns| columns.keys()) {
        let cells: Vec<&Cell> = table.values().map(|columns| &columns[column]).collect();
        columns.push((column.to_owned(), array(&cells)?));
    }
    Ok(columns)
}

/// The cells as an array of the type of the first that is not null.
fn array(cells: &[&Cell]) -> Result<ArrayRef> {
    macro_rules! collect {
        ($array:ty, $variant:path) => {{
            let mut values = Vec::new();
            for cell in cells {
                values.push(match cell {
                    Cell::Null => None,
                    $variant(value) => Some(value.to_owned()),
                    other => bail!("{other} among cells of another type"),
                });
            }
            <$array>::from(values)
        }};
    }
    Ok(match cells.iter().find(|cell| !matches!(cell, Cell::Null)) {
        Some(Cell::Text(_)) => Arc::new(collect!(StringArray, Cell::Text)),
        Some(Cell::Float(_)) => Arc::new(collect!(Float64Array, Cell::Float)),
        Some(Cell::Bool(_)) => Arc::new(collect!(BooleanArray, Cell::Bool)),
        Some(Cell::TimeMs(_)) => Arc::new(collect!(TimestampMillisecondArray, Cell::TimeMs).with_timezone("UTC")),
        Some(Cell::Int(_) | Cell::Null) | None => Arc::new(collect!(Int64Array, Cell::Int)),
    })
}
