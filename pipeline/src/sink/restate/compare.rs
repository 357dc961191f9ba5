//! What two files of one KPI partition publish differently for closed windows.
//!
//! Invariants:
//! 1. Rows are matched by their key, whatever order the files have them in. A window is closed by the end that was
//!    published for it.
//! 2. A row that only one of the files has counts as null in the other; its zeros and nulls are no difference then.
//! 3. A column that only one of the files has was never published otherwise, so it is no difference.
//! 4. Columns that are stored as the same bytes, or hold the same single value throughout, are not decoded; the others
//!    are, a bounded number of values at a time.

use std::collections::HashMap;

use arrow::array::{Array, Float64Array};
use bytes::Bytes;
use contactflow_schemas::aggregate::KPI_COLUMNS;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::facts::{Group, Grouping};

use super::file::{Keys, KpiFile, ReadError};

/// Values of one file that are decoded at a time.
const VALUES_DECODED: usize = 1 << 20;

/// A value that differs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cell {
    /// Position in [`KPI_COLUMNS`].
    pub(super) column: usize,
    pub(super) old: Option<f64>,
    pub(super) new: Option<f64>,
}

/// A row of a closed window of which values differ.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ChangedRow {
    pub(super) group: Group,
    pub(super) start_ms: TimeMs,
    pub(super) end_ms: TimeMs,
    /// By column.
    pub(super) cells: Vec<Cell>,
}

/// What differs between two files.
#[derive(Debug, Default)]
pub(super) struct Difference {
    pub(super) rows: Vec<ChangedRow>,
    /// Values that differ, those that `rows` has no room for included.
    pub(super) cells: u64,
}

/// A row of either file or of both.
#[derive(Clone, Copy)]
struct Pair {
    old: Option<usize>,
    new: Option<usize>,
}

/// One side of the comparison.
struct Side {
    file: KpiFile,
    keys: Keys,
}

impl Side {
    fn open(body: Option<Bytes>, grouping: Grouping) -> Result<Option<Self>, ReadError> {
        let Some(body) = body else { return Ok(None) };
        let file = KpiFile::open(body)?;
        let keys = file.read_keys(grouping)?;
        Ok(Some(Self { file, keys }))
    }
}

/// Compares the windows that end by `closed_until_ms`; no body is a partition without rows. At most `limit` values are
/// told, the rest is counted.
pub(super) fn compare(
    grouping: Grouping,
    old: Option<Bytes>,
    new: Option<Bytes>,
    closed_until_ms: TimeMs,
    limit: usize,
) -> Result<Difference, ReadError> {
    let (old, new) = (Side::open(old, grouping)?, Side::open(new, grouping)?);
    let pairs = pairs(old.as_ref(), new.as_ref(), closed_until_ms);
    if pairs.is_empty() {
        return Ok(Difference::default());
    }
    let rows_alike = match (&old, &new) {
        (Some(old), Some(new)) => old.keys == new.keys,
        _ => false,
    };
    let columns = columns(old.as_ref(), new.as_ref(), rows_alike);
    let rows = [&old, &new].into_iter().flatten().map(|side| side.keys.len()).max().unwrap_or(0);
    let (mut found, mut cells) = (Vec::new(), 0);
    for columns in columns.chunks((VALUES_DECODED / rows.max(1)).max(1)) {
        let old_values = numbers(old.as_ref(), columns.iter().map(|column| column.old))?;
        let new_values = numbers(new.as_ref(), columns.iter().map(|column| column.new))?;
        for (position, &Column { column, .. }) in columns.iter().enumerate() {
            let sides = (old_values.get(position), new_values.get(position));
            cells += differences(&pairs, sides, |pair, old, new| {
                if found.len() < limit {
                    found.push((pair, Cell { column, old, new }));
                }
            });
        }
    }
    found.sort_unstable_by_key(|&(pair, cell)| (pair, cell.column));
    let row = |cells: &[(usize, Cell)]| changed_row(&pairs, (old.as_ref(), new.as_ref()), cells);
    let rows = found.chunk_by(|(one, _), (other, _)| one == other).filter_map(row).collect();
    Ok(Difference { rows, cells })
}

/// The rows of closed windows, matched by key.
fn pairs(old: Option<&Side>, new: Option<&Side>, closed_until_ms: TimeMs) -> Vec<Pair> {
    let rows = |side: Option<&Side>| 0..side.map_or(0, |side| side.keys.len());
    let is_closed = |side: Option<&Side>, row| side.is_some_and(|side| side.keys.end_ms(row) <= closed_until_ms);
    let (Some(before), Some(after)) = (old, new) else {
        let old_pairs = rows(old).filter(|&row| is_closed(old, row)).map(|row| Pair { old: Some(row), new: None });
        let new_pairs = rows(new).filter(|&row| is_closed(new, row)).map(|row| Pair { old: None, new: Some(row) });
        return old_pairs.chain(new_pairs).collect();
    };
    if before.keys == after.keys {
        let closed = rows(old).filter(|&row| is_closed(old, row));
        return closed.map(|row| Pair { old: Some(row), new: Some(row) }).collect();
    }
    let mut by_key: HashMap<_, _> = rows(new).map(|row| (after.keys.key(row), row)).collect();
    // Every row of the new file that is left in `by_key` after this is one the old file lacks.
    let matched = rows(old).map(|row| Pair { old: Some(row), new: by_key.remove(&before.keys.key(row)) });
    let mut pairs: Vec<Pair> = matched.collect();
    pairs.retain(|pair| pair.old.is_some_and(|row| is_closed(old, row)));
    let appeared = by_key.into_values().filter(|&row| is_closed(new, row));
    let known = pairs.len();
    pairs.extend(appeared.map(|row| Pair { old: None, new: Some(row) }));
    pairs[known..].sort_unstable_by_key(|pair| pair.new);
    pairs
}

/// A column to compare, with its place in both files.
struct Column {
    /// Position in [`KPI_COLUMNS`].
    column: usize,
    old: Option<usize>,
    new: Option<usize>,
}

/// The value columns that may differ.
fn columns(old: Option<&Side>, new: Option<&Side>, rows_alike: bool) -> Vec<Column> {
    let (old, new) = (old.map(|side| &side.file), new.map(|side| &side.file));
    let column = |(column, name): (usize, &str)| {
        let place = |file: Option<&KpiFile>| file.and_then(|file| file.leaf(name));
        let found = Column { column, old: place(old), new: place(new) };
        let may_differ = match (old.zip(found.old), new.zip(found.new)) {
            (Some((old, old_leaf)), Some((new, new_leaf))) => {
                let is_alike = rows_alike && old.is_stored_alike(old_leaf, new, new_leaf);
                let blank = old.blank(old_leaf);
                !is_alike && (blank.is_none() || blank != new.blank(new_leaf))
            }
            (Some((file, leaf)), None) if new.is_none() => file.blank(leaf).is_none(),
            (None, Some((file, leaf))) if old.is_none() => file.blank(leaf).is_none(),
            _ => false,
        };
        may_differ.then_some(found)
    };
    let named = KPI_COLUMNS.iter().map(|column| column.name.as_str()).enumerate();
    named.filter_map(column).collect()
}

/// The columns of one side; none without a file.
fn numbers(side: Option<&Side>, leaves: impl Iterator<Item = Option<usize>>) -> Result<Vec<Float64Array>, ReadError> {
    let Some(side) = side else { return Ok(Vec::new()) };
    side.file.read_numbers(&leaves.flatten().collect::<Vec<_>>())
}

/// Reports every pair whose values differ, and counts them.
fn differences(
    pairs: &[Pair],
    (old, new): (Option<&Float64Array>, Option<&Float64Array>),
    mut report: impl FnMut(usize, Option<f64>, Option<f64>),
) -> u64 {
    let value = |array: Option<&Float64Array>, row: Option<usize>| {
        let (array, row) = (array?, row?);
        array.is_valid(row).then(|| array.value(row))
    };
    let mut count = 0;
    for (position, pair) in pairs.iter().enumerate() {
        let (old, new) = (value(old, pair.old), value(new, pair.new));
        let is_change = match (pair.old, pair.new) {
            (Some(_), Some(_)) => old != new,
            _ => old.or(new).is_some_and(|value| value != 0.0),
        };
        if is_change {
            count += 1;
            report(position, old, new);
        }
    }
    count
}

fn changed_row(
    pairs: &[Pair],
    (old, new): (Option<&Side>, Option<&Side>),
    cells: &[(usize, Cell)],
) -> Option<ChangedRow> {
    let pair = pairs[cells.first()?.0];
    let (side, row) = old.zip(pair.old).or(new.zip(pair.new))?;
    let keys = &side.keys;
    Some(ChangedRow {
        group: keys.group(row),
        start_ms: keys.start_ms(row),
        end_ms: keys.end_ms(row),
        cells: cells.iter().map(|&(_, cell)| cell).collect(),
    })
}
