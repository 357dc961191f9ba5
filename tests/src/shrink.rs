//! Makes a failing history small enough to read.

use crate::oracle::{Line, Row};
use serde_json::Value;

/// Columns that stay: without them an event is another one, or the contract leaves open what it means.
const ESSENTIAL: [&str; 11] = [
    "tenant_id",
    "source",
    "event_id",
    "event_type",
    "event_time",
    "conversation_id",
    "message_id",
    "actor_id",
    "agent_id",
    "to_status",
    "rating",
];

/// A smaller list of rows that still fails: no row of it can be left out, and no column that need not be there.
///
/// `fails` is asked many times; it must be true for `rows`.
pub fn minimise(rows: &[Row], fails: &mut dyn FnMut(&[Row]) -> bool) -> Vec<Row> {
    let rows = fewer_rows(rows.to_vec(), fails);
    fewer_columns(rows, fails)
}

/// Delta debugging: leaves out ever smaller chunks as long as the rest fails.
fn fewer_rows(mut rows: Vec<Row>, fails: &mut dyn FnMut(&[Row]) -> bool) -> Vec<Row> {
    let mut chunk = rows.len().div_ceil(2).max(1);
    loop {
        let mut start = 0;
        let before = rows.len();
        while start < rows.len() {
            let end = (start + chunk).min(rows.len());
            let rest: Vec<Row> = rows[..start].iter().chain(&rows[end..]).cloned().collect();
            if fails(&rest) {
                rows = rest;
            } else {
                start = end;
            }
        }
        // A row that was needed may have become superfluous with the last one that went.
        if chunk == 1 && rows.len() == before {
            return rows;
        }
        chunk = chunk.div_ceil(2).max(1);
    }
}

/// Leaves out columns one by one.
fn fewer_columns(mut rows: Vec<Row>, fails: &mut dyn FnMut(&[Row]) -> bool) -> Vec<Row> {
    for index in 0..rows.len() {
        let Line::Json(Value::Object(fields)) = &rows[index].line else { continue };
        let optional = fields.keys().filter(|column| !ESSENTIAL.contains(&column.as_str()));
        for column in optional.cloned().collect::<Vec<_>>() {
            let mut changed = rows.clone();
            if let Line::Json(Value::Object(fields)) = &mut changed[index].line {
                fields.remove(&column);
            }
            if fails(&changed) {
                rows = changed;
            }
        }
    }
    rows
}

/// Rows as the NDJSON of a scenario.
pub fn ndjson(rows: &[Row]) -> String {
    rows.iter().map(|row| format!("{}\n", row.line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histories::{Size, history};

    #[test]
    fn finds_the_two_rows_that_matter() {
        let rows = history(3, Size { conversations: 3, events: 40, noise: 0 });
        assert!(rows.len() > 10);
        let (first, last) = (rows[2].line.clone(), rows[rows.len() - 2].line.clone());
        let id = |line: &Line| if let Line::Json(value) = line { value["event_id"].clone() } else { Value::Null };
        let mut fails = |rows: &[Row]| {
            let has = |wanted: &Line| rows.iter().any(|row| id(&row.line) == id(wanted));
            has(&first) && has(&last)
        };
        let small = minimise(&rows, &mut fails);
        assert_eq!(small.len(), 2);
        assert!(small.iter().all(|row| matches!(&row.line, Line::Json(value) if value.get("channel").is_none())));
        assert!(ndjson(&small).lines().all(|line| line.contains("tenant_id")));
    }
}
