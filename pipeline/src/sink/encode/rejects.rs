//! `rejected_events`.

use bytes::Bytes;
use contactflow_schemas::reject::Reject;
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tables::Table;

use super::EncodeError;
use super::writer::TableWriter;

/// Encodes rejected rows, by file, row and then all other columns. Rejects have no key: equal rows all stay.
///
/// # Errors
/// Only those of the Parquet writer.
pub fn encode_rejects(rejects: Vec<Reject>) -> Result<Bytes, EncodeError> {
    // A row number beyond 2^63 cannot be: it would not fit its file.
    let row = |reject: &Reject| i64::try_from(reject.row).unwrap_or(i64::MAX);
    let mut rows: Vec<_> = rejects
        .iter()
        .map(|reject| {
            let place = (reject.file.as_str(), row(reject), reject.reason.as_str());
            let what = (reject.field.as_str(), reject.message.as_str());
            let whose = (reject.tenant.map(Symbol::as_str), reject.source.map(Symbol::as_str));
            (place, what, whose, reject.event_id.as_deref(), reject.raw.as_deref())
        })
        .collect();
    rows.sort_unstable();

    let mut writer = TableWriter::new(Table::RejectedEvents, rows.len())?;
    for ((file, row, reason), (field, message), (tenant, source), event_id, raw) in rows {
        writer.text(file);
        writer.int(row);
        writer.text(reason);
        writer.text(field);
        writer.text(message);
        writer.text(tenant);
        writer.text(source);
        writer.text(event_id);
        writer.text(raw);
        writer.end_row()?;
    }
    writer.finish()
}
