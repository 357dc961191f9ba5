//! KPI tables.

use bytes::Bytes;
use contactflow_schemas::aggregate::{KPI_COLUMNS, publish};
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::facts::Cell;
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tables::Table;
use contactflow_schemas::tally::Tally;

use super::writer::TableWriter;
use super::{EncodeError, unique};

/// Key of a KPI row in the order of the file: tenant, channel, agent (nobody first), start of the window.
type Key = (&'static str, &'static str, Option<&'static str>, TimeMs);

fn key(cell: &Cell) -> Key {
    (cell.tenant.as_str(), cell.channel.as_str(), cell.agent.map(Symbol::as_str), cell.window_start_ms)
}

/// Encodes the cells of one partition of a KPI table; `window_end` is the table's window after `window_start`, and in a
/// table without agents the cells' agents must be none.
///
/// # Errors
/// [`EncodeError::NotKpi`] for any other table, [`EncodeError::DuplicateKey`] for a cell that comes twice.
pub fn encode_kpi(table: Table, cells: Vec<(Cell, Tally)>) -> Result<Bytes, EncodeError> {
    let (window, with_agent) = match table {
        Table::KpiAgentChannel(window) => (window, true),
        Table::KpiChannel(window) => (window, false),
        _ => return Err(EncodeError::NotKpi { table }),
    };
    // Looking a symbol up takes a lock, so the strings are taken once, not once per comparison.
    let mut rows: Vec<(Key, &Tally)> = cells.iter().map(|(cell, tally)| (key(cell), tally)).collect();
    rows.sort_unstable_by_key(|&(key, _)| key);
    unique(table, rows.iter().map(|&(key, _)| key))?;

    let mut writer = TableWriter::new(table)?;
    let mut numbers = Vec::with_capacity(KPI_COLUMNS.len());
    for ((tenant, channel, agent, window_start_ms), tally) in rows {
        writer.text(tenant);
        if with_agent {
            writer.text(agent);
        }
        writer.text(channel);
        writer.time(window_start_ms);
        writer.time(window.end_ms(window_start_ms));
        numbers.clear();
        publish(tally, &mut numbers);
        for &number in &numbers {
            writer.number(number);
        }
        writer.end_row()?;
    }
    writer.finish()
}
