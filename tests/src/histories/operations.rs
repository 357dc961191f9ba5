//! Changes of a delivery that must not change any table.

use super::dice::Dice;
use crate::oracle::Row;

/// The same rows in any order.
pub fn shuffled(rows: &[Row], seed: u64) -> Vec<Row> {
    let mut rows = rows.to_vec();
    Dice::new(seed).shuffle(&mut rows);
    renumbered(rows)
}

/// The same rows, last first.
pub fn reversed(rows: &[Row]) -> Vec<Row> {
    renumbered(rows.iter().rev().cloned().collect())
}

/// Some rows twice or three times, anywhere.
pub fn duplicated(rows: &[Row], seed: u64) -> Vec<Row> {
    let mut dice = Dice::new(seed);
    let mut more = rows.to_vec();
    for row in rows {
        for _ in 0..dice.weighted(&[(6, 0), (3, 1), (1, 2)]) {
            more.insert(dice.below(more.len() as u64 + 1) as usize, row.clone());
        }
    }
    renumbered(more)
}

/// The same rows over several files.
pub fn split(rows: &[Row], files: u64, seed: u64) -> Vec<Row> {
    let mut dice = Dice::new(seed);
    let place = |row: &Row| Row { file: format!("part-{}.ndjson", dice.below(files)), ..row.clone() };
    renumbered(rows.iter().map(place).collect())
}

/// The rows with their positions counted anew in each file.
pub fn renumbered(mut rows: Vec<Row>) -> Vec<Row> {
    let mut counts = std::collections::BTreeMap::<String, u64>::new();
    for row in &mut rows {
        let next = counts.entry(row.file.clone()).or_default();
        row.position = *next;
        *next += 1;
    }
    rows
}
