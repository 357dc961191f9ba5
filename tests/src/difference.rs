//! Says in words how two sets of tables differ.

use crate::model::{Cell, Columns, Table, Tables};
use crate::tables::display_key;

/// The declared relative error of percentiles in the roll-ups.
const SKETCH_ERROR: f64 = 0.008;

/// All differences: rows missing, rows too many, and cells; empty if `actual` is right.
///
/// Columns and tables that `expected` does not know are not looked at.
pub fn diff(expected: &Tables, actual: &Tables) -> Vec<String> {
    let nothing = Table::new();
    expected.iter().flat_map(|(name, table)| diff_table(name, table, actual.get(name).unwrap_or(&nothing))).collect()
}

fn diff_table(name: &str, expected: &Table, actual: &Table) -> Vec<String> {
    let mut differences = Vec::new();
    for (key, columns) in expected {
        match actual.get(key) {
            Some(found) => differences.extend(diff_row(name, key, columns, found)),
            None => differences.push(format!("{name} {}: missing; expected {}", display_key(key), telling(columns))),
        }
    }
    for (key, columns) in actual.iter().filter(|(key, _)| !expected.contains_key(*key)) {
        differences.push(format!("{name} {}: unexpected row {}", display_key(key), telling(columns)));
    }
    differences
}

fn diff_row(name: &str, key: &[Cell], expected: &Columns, actual: &Columns) -> Vec<String> {
    expected
        .iter()
        .filter_map(|(column, wanted)| match actual.get(column) {
            Some(found) if agrees(name, column, wanted, found, expected) => None,
            Some(found) => Some(format!("{name} {} {column}: expected {wanted}, found {found}", display_key(key))),
            None => Some(format!("{name} {} {column}: no such column, expected {wanted}", display_key(key))),
        })
        .collect()
}

/// Whether a cell is right: exactly, or for percentiles of the roll-ups within the sketch's error.
fn agrees(table: &str, column: &str, expected: &Cell, actual: &Cell, row: &Columns) -> bool {
    let percentile = ["_p50_ms", "_p90_ms", "_p95_ms", "_p99_ms"].iter().find_map(|end| column.strip_suffix(end));
    match (percentile, expected, actual) {
        (Some(measure), Cell::Int(exact), Cell::Int(found)) if table != "kpi_agent_channel_hour" => {
            let bound = |end: &str| row.get(&format!("{measure}_{end}_ms"));
            let clamped = bound("min") <= Some(actual) && Some(actual) <= bound("max");
            let error = (found - exact).abs() as f64;
            clamped && error <= SKETCH_ERROR * exact.abs() as f64 + 1.0
        }
        _ => expected.agrees_with(actual),
    }
}

/// The columns of a row that say something.
fn telling(columns: &Columns) -> String {
    let is_telling = |cell: &Cell| !matches!(cell, Cell::Null | Cell::Int(0) | Cell::Bool(false));
    let parts: Vec<String> =
        columns.iter().filter(|(_, cell)| is_telling(cell)).map(|(column, cell)| format!("{column}={cell}")).collect();
    format!("{{{}}}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(name: &str, cells: &[(&str, Cell)]) -> Tables {
        let columns = cells.iter().map(|(column, cell)| ((*column).to_owned(), cell.clone())).collect();
        Tables::from([(name.to_owned(), Table::from([(vec![Cell::text(Some("k"))], columns)]))])
    }

    #[test]
    fn names_the_cell() {
        let expected = tables("t", &[("n", Cell::Int(1)), ("m", Cell::Null)]);
        let actual = tables("t", &[("n", Cell::Int(2)), ("m", Cell::Null), ("more", Cell::Int(7))]);
        assert_eq!(diff(&expected, &actual), ["t (\"k\") n: expected 1, found 2"]);
        assert!(diff(&expected, &expected).is_empty());
    }

    #[test]
    fn tells_missing_and_unexpected_rows() {
        let some = tables("t", &[("n", Cell::Int(1))]);
        let none = Tables::from([("t".to_owned(), Table::new())]);
        assert_eq!(diff(&some, &none), ["t (\"k\"): missing; expected {n=1}"]);
        assert_eq!(diff(&none, &some), ["t (\"k\"): unexpected row {n=1}"]);
        assert_eq!(diff(&some, &Tables::new()).len(), 1);
    }

    #[test]
    fn percentiles_may_err_in_roll_ups_only() {
        let row = |p50| [("x_min_ms", Cell::Int(900)), ("x_max_ms", Cell::Int(1_100)), ("x_p50_ms", Cell::Int(p50))];
        let differs = |table, p50| !diff(&tables(table, &row(1_000)), &tables(table, &row(p50))).is_empty();
        assert!(differs("kpi_agent_channel_hour", 1_001));
        assert!(!differs("kpi_agent_channel_day", 1_009));
        assert!(differs("kpi_agent_channel_day", 1_010));
        assert!(differs("kpi_channel_hour", 899));
    }
}
