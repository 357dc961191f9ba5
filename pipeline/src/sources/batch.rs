//! Rows of an Arrow record batch.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use contactflow_schemas::clock::format_time;
use contactflow_schemas::columns::{Column, ColumnKind, RawValue, Row};
use contactflow_schemas::reject::RAW_BYTES_MAX;

use super::ROW_BYTES_MAX;
use super::canonical::{from_json_text, write_float, write_json_text};
use super::cells::Cells;

/// A record batch whose columns are resolved.
pub(super) struct Batch {
    cells: [Option<Cells>; Column::ALL.len()],
    present: Vec<Column>,
    rows: usize,
    /// Below this, no row can exceed the limit of a row.
    bytes: usize,
}

impl Batch {
    /// Resolves the columns the event model knows; of several of one name the first counts.
    ///
    /// # Errors
    /// Those of Arrow's casts.
    pub(super) fn new(batch: &RecordBatch) -> Result<Self, ArrowError> {
        let mut resolved = Self {
            cells: [const { None }; Column::ALL.len()],
            present: Vec::new(),
            rows: batch.num_rows(),
            bytes: batch.get_array_memory_size(),
        };
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let Some(column) = Column::parse(field.name()) else { continue };
            let slot = &mut resolved.cells[column as usize];
            let cells = Cells::new(array)?;
            if slot.is_none() && !cells.all_null(resolved.rows) {
                *slot = Some(cells);
                resolved.present.push(column);
            }
        }
        Ok(resolved)
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The row at `index`, from 0.
    pub(super) fn row(&self, index: usize) -> BatchRow<'_> {
        BatchRow { batch: self, index }
    }
}

/// One row of a [`Batch`].
#[derive(Clone, Copy)]
pub(super) struct BatchRow<'a> {
    batch: &'a Batch,
    index: usize,
}

impl BatchRow<'_> {
    /// True when its texts together exceed the limit of a row.
    pub(super) fn is_too_large(&self) -> bool {
        self.batch.bytes > ROW_BYTES_MAX && {
            let cells = self.batch.cells.iter().flatten();
            cells.map(|cells| cells.text_bytes(self.index)).sum::<usize>() > ROW_BYTES_MAX
        }
    }
}

impl Row for BatchRow<'_> {
    fn get(&self, column: Column) -> RawValue<'_> {
        let Some(cells) = &self.batch.cells[column as usize] else { return RawValue::Null };
        match cells.get(self.index, column.kind()) {
            RawValue::Text(text) if column.kind() == ColumnKind::Nested => from_json_text(text),
            other => other,
        }
    }

    fn present(&self) -> &[Column] {
        &self.batch.present
    }

    /// The row as the line of NDJSON that holds the same, so that it can be corrected and sent again.
    fn raw(&self) -> String {
        let mut json = String::from("{");
        for &column in self.present() {
            let value = self.get(column);
            if value == RawValue::Null || json.len() > RAW_BYTES_MAX {
                continue;
            }
            if json.len() > 1 {
                json.push(',');
            }
            write_json_text(&mut json, column.name());
            json.push(':');
            write_value(&mut json, &value);
        }
        json.push('}');
        json
    }
}

fn write_value(json: &mut String, value: &RawValue<'_>) {
    match value {
        RawValue::Null => json.push_str("null"),
        RawValue::Text(text) => write_json_text(json, head(text)),
        RawValue::Nested(text) => json.push_str(head(text)),
        RawValue::Int(number) => json.push_str(&number.to_string()),
        RawValue::Float(number) => write_float(json, *number),
        RawValue::Bool(value) => json.push_str(if *value { "true" } else { "false" }),
        RawValue::Time(time_ms) => write_json_text(json, &format_time(*time_ms)),
    }
}

/// As much of a text as can be kept of a reject.
fn head(text: &str) -> &str {
    let mut end = text.len().min(RAW_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
