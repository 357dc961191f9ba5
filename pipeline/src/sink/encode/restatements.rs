//! `restatements`: history, one file per commit that changed values of closed windows.

use std::sync::Arc;

use bytes::Bytes;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::facts::Group;
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tables::Table;

use super::writer::TableWriter;
use super::{EncodeError, unique};

/// Why the values of a row changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// `events`, `prediction`, `time` or `unknown`.
    pub cause: &'static str,
    /// Distinct events that caused it.
    pub events_count: i64,
    /// The first of them, as a JSON list of `[source, event_id]`; none where there are none.
    pub events: Option<String>,
}

/// One row of `restatements`: a value of a closed window that a commit changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Restatement {
    /// Table of the value.
    pub table: Table,
    /// Group of its row.
    pub group: Group,
    /// Window of its row.
    pub window_start_ms: TimeMs,
    /// Its column.
    pub column: &'static str,
    /// What was published before; none also when there was no such row.
    pub old: Option<f64>,
    /// What the commit publishes; none also when there is no such row.
    pub new: Option<f64>,
    /// Why, shared by the values of a row.
    pub explanation: Arc<Explanation>,
}

/// Table, tenant, agent, team, queue, channel, start of the window, column.
type Key<'a> = (&'a str, &'a str, [Option<&'a str>; 4], TimeMs, &'a str);

fn key(row: &Restatement) -> Key<'static> {
    let Group { tenant, channel, agent, team, queue } = row.group;
    let parts = [agent, team, queue, channel].map(|part| part.map(Symbol::as_str));
    (row.table.name(), tenant.as_str(), parts, row.window_start_ms, row.column)
}

/// Encodes the rows of one commit.
///
/// # Errors
/// [`EncodeError::DuplicateKey`] for a value that comes twice.
pub fn encode_restatements(commit: u64, rows: &[Restatement]) -> Result<Bytes, EncodeError> {
    let mut rows: Vec<(Key, &Restatement)> = rows.iter().map(|row| (key(row), row)).collect();
    rows.sort_unstable_by_key(|&(key, _)| key);
    unique(Table::Restatements, rows.iter().map(|&(key, _)| key))?;

    let commit = i64::try_from(commit).unwrap_or(i64::MAX);
    let mut writer = TableWriter::new(Table::Restatements, rows.len())?;
    for ((table, tenant, [agent, team, queue, channel], window_start_ms, column), row) in rows {
        writer.int(commit);
        writer.text(table);
        writer.text(tenant);
        for part in [agent, team, queue, channel] {
            writer.text(part);
        }
        writer.time(window_start_ms);
        writer.text(column);
        writer.float(row.old);
        writer.float(row.new);
        writer.text(row.explanation.cause);
        writer.int(row.explanation.events_count);
        writer.text(row.explanation.events.as_deref());
        writer.end_row()?;
    }
    writer.finish()
}
