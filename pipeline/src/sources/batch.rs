//! Rows of an Arrow record batch.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use contactflow_schemas::clock::format_time;
use contactflow_schemas::columns::{Column, ColumnKind, RawValue, Row};
use contactflow_schemas::reject::RAW_BYTES_MAX;

use super::ROW_BYTES_MAX;
use super::canonical::{from_json_text, write_float, write_json_text};
use super::cells::Cells;

/// A set of columns, one bit each.
type ColumnSet = u64;

const _: () = assert!(Column::ALL.len() <= ColumnSet::BITS as usize);

/// A record batch whose columns are resolved.
///
/// Most cells of an event are null. Which are not is worked out column by column beforehand, so that a row costs what
/// it holds, not what it could hold.
pub(super) struct Batch {
    cells: [Option<Cells>; Column::ALL.len()],
    /// The columns that hold something, for each row.
    filled: Vec<ColumnSet>,
    /// The same as lists, one row after the other.
    present: Vec<Column>,
    /// Where the list of each row begins; one more entry than rows.
    starts: Vec<usize>,
    /// Below this, no row can exceed the limit of a row.
    bytes: usize,
}

impl Batch {
    /// Resolves the columns the event model knows; of several of one name the first counts.
    ///
    /// # Errors
    /// Those of Arrow's casts.
    pub(super) fn new(batch: &RecordBatch) -> Result<Self, ArrowError> {
        let mut cells = [const { None }; Column::ALL.len()];
        let mut filled: Vec<ColumnSet> = vec![0; batch.num_rows()];
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let Some(column) = Column::parse(field.name()) else { continue };
            let slot = &mut cells[column as usize];
            if slot.is_none() {
                let resolved = Cells::new(array)?;
                resolved.for_each_filled(filled.len(), |row| filled[row] |= 1 << column as ColumnSet);
                *slot = Some(resolved);
            }
        }
        let (present, starts) = lists(&filled);
        Ok(Self { cells, filled, present, starts, bytes: batch.get_array_memory_size() })
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.filled.len()
    }

    /// The row at `index`, from 0.
    pub(super) fn row(&self, index: usize) -> BatchRow<'_> {
        let present = &self.present[self.starts[index]..self.starts[index + 1]];
        BatchRow { batch: self, index, filled: self.filled[index], present }
    }
}

/// The members of each set, and where those of each begin.
fn lists(sets: &[ColumnSet]) -> (Vec<Column>, Vec<usize>) {
    let members = sets.iter().map(|set| set.count_ones() as usize).sum();
    let (mut present, mut starts) = (Vec::with_capacity(members), Vec::with_capacity(sets.len() + 1));
    starts.push(0);
    for &set in sets {
        let mut rest = set;
        while rest != 0 {
            present.push(Column::ALL[rest.trailing_zeros() as usize]);
            rest &= rest - 1;
        }
        starts.push(present.len());
    }
    (present, starts)
}

/// One row of a [`Batch`].
#[derive(Clone, Copy)]
pub(super) struct BatchRow<'a> {
    batch: &'a Batch,
    index: usize,
    filled: ColumnSet,
    present: &'a [Column],
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
    #[inline]
    fn get(&self, column: Column) -> RawValue<'_> {
        if self.filled & (1 << column as ColumnSet) == 0 {
            return RawValue::Null;
        }
        let Some(cells) = &self.batch.cells[column as usize] else { return RawValue::Null };
        match cells.get(self.index, column.kind()) {
            RawValue::Text(text) if column.kind() == ColumnKind::Nested => from_json_text(text),
            other => other,
        }
    }

    fn present(&self) -> &[Column] {
        self.present
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
