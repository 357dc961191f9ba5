//! Statistics of a data file for its `add` action, from the file's own footer.

use bytes::Bytes;
use contactflow_schemas::clock::format_time;
use parquet::basic::ConvertedType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaDataReader};
use parquet::file::statistics::Statistics;
use serde_json::{Map, Value, json};

/// Columns with statistics: what queries choose files by. No identifier of a contact, conversation, message or event is
/// among them, so that erasing one is no concern of the logs.
const COLUMNS: [&str; 15] = [
    "tenant_id",
    "agent_id",
    "team_id",
    "queue_id",
    "channel",
    "entity",
    "kpi",
    "window_start",
    "window_end",
    "cycle_opened_at",
    "sent_at",
    "valid_from",
    "table",
    "column",
    "commit",
];

/// A bound that is exact.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Bound {
    Int(i64),
    Text(String),
}

/// What is known of a column after some row groups.
#[derive(Default)]
struct Column {
    nulls: u64,
    bounds: Option<(Bound, Bound)>,
    /// A row group with values did not tell its bounds exactly.
    is_vague: bool,
}

impl Column {
    fn add(&mut self, chunk: &ColumnChunkMetaData) {
        let nulls = chunk.statistics().and_then(Statistics::null_count_opt);
        self.nulls += nulls.unwrap_or(0);
        if nulls == u64::try_from(chunk.num_values()).ok() {
            return;
        }
        let Some((low, high)) = chunk.statistics().and_then(bounds) else {
            self.is_vague = true;
            return;
        };
        self.bounds = Some(match self.bounds.take() {
            None => (low, high),
            Some((lowest, highest)) => {
                (if low < lowest { low } else { lowest }, if high > highest { high } else { highest })
            }
        });
    }
}

fn bounds(statistics: &Statistics) -> Option<(Bound, Bound)> {
    match statistics {
        Statistics::Int64(values) => Some((Bound::Int(*values.min_opt()?), Bound::Int(*values.max_opt()?))),
        Statistics::ByteArray(values) if statistics.min_is_exact() && statistics.max_is_exact() => {
            let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(|text| Bound::Text(text.to_owned()));
            Some((text(values.min_bytes_opt()?)?, text(values.max_bytes_opt()?)?))
        }
        _ => None,
    }
}

/// Statistics of a Parquet file of this program as JSON: rows, and of the columns queries choose by their minimum,
/// maximum and nulls.
///
/// # Errors
/// When `body` is no Parquet file.
pub(super) fn statistics(body: &Bytes) -> Result<String, ParquetError> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(body)?;
    let schema = metadata.file_metadata().schema_descr();
    let (mut lowest, mut highest, mut nulls) = (Map::new(), Map::new(), Map::new());
    for (leaf, described) in schema.columns().iter().enumerate() {
        let name = described.path().string();
        if !COLUMNS.contains(&name.as_str()) {
            continue;
        }
        let mut column = Column::default();
        metadata.row_groups().iter().for_each(|group| column.add(group.column(leaf)));
        nulls.insert(name.clone(), json!(column.nulls));
        let is_time = described.converted_type() == ConvertedType::TIMESTAMP_MILLIS;
        let shown = |bound: Bound| match bound {
            Bound::Int(time_ms) if is_time => Value::from(format_time(time_ms)),
            Bound::Int(number) => Value::from(number),
            Bound::Text(text) => Value::from(text),
        };
        if let Some((low, high)) = column.bounds.filter(|_| !column.is_vague) {
            lowest.insert(name.clone(), shown(low));
            highest.insert(name, shown(high));
        }
    }
    let rows = metadata.file_metadata().num_rows();
    Ok(json!({ "numRecords": rows, "minValues": lowest, "maxValues": highest, "nullCount": nulls }).to_string())
}
