//! KPI tables.

use bytes::Bytes;
use contactflow_schemas::aggregate::{KPI_COLUMNS, PublishContext, publish};
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::facts::{Cell, Group, Grouping};
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tables::Table;
use contactflow_schemas::tally::Tally;
use contactflow_schemas::windows::Windows;

use super::writer::TableWriter;
use super::{EncodeError, unique};

/// Key of a KPI row in the order of the file: tenant, channel, agent, team, queue (nobody and none first), start of the
/// window.
type Key<'a> = (&'a str, [Option<&'a str>; 4], TimeMs);

fn key(cell: &Cell) -> Key<'static> {
    let Group { tenant, channel, agent, team, queue } = cell.group;
    (tenant.as_str(), [channel, agent, team, queue].map(|part| part.map(Symbol::as_str)), cell.window_start_ms)
}

/// Encodes the cells of one partition of a KPI table as of a time; `window_end` is the end of the table's window.
///
/// # Errors
/// [`EncodeError::NotKpi`] for any other table, [`EncodeError::DuplicateKey`] for a cell that comes twice.
pub fn encode_kpi(
    table: Table,
    cells: Vec<(Cell, Tally)>,
    windows: &Windows,
    as_of_ms: TimeMs,
) -> Result<Bytes, EncodeError> {
    let Table::Kpi(grouping, window) = table else { return Err(EncodeError::NotKpi { table }) };
    // Looking a symbol up takes a lock, so the strings are taken once, not once per comparison.
    let mut rows: Vec<(Key, &Tally)> = cells.iter().map(|(cell, tally)| (key(cell), tally)).collect();
    rows.sort_unstable_by_key(|&(key, _)| key);
    unique(table, rows.iter().map(|&(key, _)| key))?;

    let mut writer = TableWriter::new(table, rows.len())?;
    let mut numbers = Vec::with_capacity(KPI_COLUMNS.len());
    for ((tenant, [channel, agent, team, queue], window_start_ms), tally) in rows {
        writer.text(tenant);
        match grouping {
            Grouping::AgentChannel | Grouping::Agent => writer.text(agent),
            Grouping::TeamChannel => writer.text(team),
            Grouping::QueueChannel => writer.text(queue),
            Grouping::Channel | Grouping::Tenant => {}
        }
        if grouping.by_channel() {
            writer.text(channel);
        }
        let window_end_ms = windows.end_ms(window, window_start_ms);
        writer.time(window_start_ms);
        writer.time(window_end_ms);
        numbers.clear();
        let context = PublishContext { window_ms: window_end_ms - window_start_ms, as_of_ms };
        publish(tally, context, &mut numbers);
        writer.numbers(&numbers);
        writer.end_row()?;
    }
    writer.finish()
}
