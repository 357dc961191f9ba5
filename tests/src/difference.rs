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
    // Both are in order of column, so one walk over both finds the partners.
    let mut others = actual.iter().peekable();
    let mut differences = Vec::new();
    for (column, wanted) in expected.iter() {
        while others.next_if(|(other, _)| *other < column).is_some() {}
        match others.next_if(|(other, _)| *other == column).map(|(_, found)| found) {
            Some(found) if agrees(name, column, wanted, found, expected) => {}
            Some(found) => {
                differences.push(format!("{name} {} {column}: expected {wanted}, found {found}", display_key(key)));
            }
            None => {
                differences.push(format!("{name} {} {column}: no such column, expected {wanted}", display_key(key)))
            }
        }
    }
    differences
}

/// Whether a cell is right: exactly, or for percentiles from a sketch within its error.
fn agrees(table: &str, column: &str, expected: &Cell, actual: &Cell, row: &Columns) -> bool {
    let (Cell::Int(exact), Cell::Int(found)) = (expected, actual) else { return expected.agrees_with(actual) };
    let is_near = || (found - exact).abs() as f64 <= SKETCH_ERROR * exact.abs() as f64 + 1.0;
    if column == "lateness_p99_ms" {
        return is_near();
    }
    if exact == found {
        return true;
    }
    let percentile = ["_p50_ms", "_p90_ms", "_p95_ms", "_p99_ms"].iter().find_map(|end| column.strip_suffix(end));
    let Some(measure) = percentile.filter(|_| table != "kpi_agent_channel_hour") else { return false };
    let bound = |end: &str| row.get(format!("{measure}_{end}_ms").as_str());
    let clamped = bound("min") <= Some(actual) && Some(actual) <= bound("max");
    clamped && is_near()
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
        let columns = cells.iter().map(|(column, cell)| (crate::model::name(column), cell.clone())).collect();
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

    #[test]
    fn business_percentiles_have_bounds_of_their_own() {
        let row = |p50| {
            let (min, max) = (("x_min_ms", Cell::Int(0)), ("x_max_ms", Cell::Int(9_999)));
            let business = [("x_business_min_ms", Cell::Int(995)), ("x_business_max_ms", Cell::Int(1_009))];
            [vec![min, max, ("x_business_p50_ms", Cell::Int(p50))], business.to_vec()].concat()
        };
        let differs =
            |p50| !diff(&tables("kpi_tenant_week", &row(1_001)), &tables("kpi_tenant_week", &row(p50))).is_empty();
        assert!(!differs(1_009));
        assert!(!differs(995));
        assert!(differs(994));
    }

    #[test]
    fn lateness_errs_everywhere_and_knows_no_bounds() {
        let late = |p99| tables("kpi_agent_channel_hour", &[("lateness_p99_ms", Cell::Int(p99))]);
        assert!(diff(&late(1_000), &late(1_009)).is_empty());
        assert_eq!(diff(&late(1_000), &late(1_010)).len(), 1);
    }
}
