//! What a table is to a test: named cells under a key, whoever computed them.

use std::collections::BTreeMap;
use std::fmt;

/// One value of a published table.
#[derive(Clone, Debug)]
pub enum Cell {
    /// No value: a mean over nothing, nobody's agent id.
    Null,
    /// An integer: counts and milliseconds.
    Int(i64),
    /// A ratio, a mean or a sum of ratings.
    Float(f64),
    /// Text.
    Text(String),
    /// A flag.
    Bool(bool),
    /// A moment, in milliseconds since the Unix epoch, UTC.
    TimeMs(i64),
}

/// The columns of one row that are not its key.
pub type Columns = BTreeMap<String, Cell>;
/// The rows of one table by key (the values of the key columns in the order of [`key_columns`]).
pub type Table = BTreeMap<Vec<Cell>, Columns>;
/// Tables by name.
pub type Tables = BTreeMap<String, Table>;

/// Facts per cycle of a conversation.
pub const FACTS: &str = "conversation_facts";
/// Rows that could not be used.
pub const REJECTS: &str = "rejected_events";
/// The four KPI tables: name, width of a window in ms, whether the agent is part of the key.
pub const KPI_TABLES: [(&str, i64, bool); 4] = [
    ("kpi_agent_channel_hour", HOUR_MS, true),
    ("kpi_agent_channel_day", DAY_MS, true),
    ("kpi_channel_hour", HOUR_MS, false),
    ("kpi_channel_day", DAY_MS, false),
];
/// One hour.
pub const HOUR_MS: i64 = 3_600_000;
/// One day.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// Names of all the tables that the oracle knows.
pub fn table_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = KPI_TABLES.iter().map(|(name, _, _)| *name).collect();
    names.extend([FACTS, REJECTS]);
    names
}

/// The key columns of a table, in order; empty for a table the tests do not know.
///
/// The rejects' real key is a place in a file, which changes when the same rows come in other files; their identity
/// and reason do not.
pub fn key_columns(table: &str) -> &'static [&'static str] {
    match table {
        FACTS => &["tenant_id", "conversation_id", "cycle"],
        REJECTS => &["tenant_id", "source", "event_id", "reason"],
        "kpi_agent_channel_hour" | "kpi_agent_channel_day" => &["tenant_id", "agent_id", "channel", "window_start"],
        "kpi_channel_hour" | "kpi_channel_day" => &["tenant_id", "channel", "window_start"],
        _ => &[],
    }
}

impl Cell {
    /// Text, or null when there is none.
    pub fn text(value: Option<&str>) -> Cell {
        value.map_or(Cell::Null, |text| Cell::Text(text.to_owned()))
    }

    /// An integer, or null when there is none.
    pub fn int(value: Option<i64>) -> Cell {
        value.map_or(Cell::Null, Cell::Int)
    }

    /// A moment, or null when there is none.
    pub fn time(value: Option<i64>) -> Cell {
        value.map_or(Cell::Null, Cell::TimeMs)
    }

    /// `sum / count`, or null over nothing.
    pub fn ratio(sum: f64, count: i64) -> Cell {
        if count == 0 { Cell::Null } else { Cell::Float(sum / count as f64) }
    }

    /// Equal but for the last digits of a float, in which two ways of adding may differ.
    pub fn agrees_with(&self, other: &Cell) -> bool {
        match (self, other) {
            (Cell::Float(a), Cell::Float(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0),
            _ => self == other,
        }
    }

    /// Place among the kinds; null first, as the tables sort.
    fn rank(&self) -> u8 {
        match self {
            Cell::Null => 0,
            Cell::Int(_) => 1,
            Cell::Float(_) => 2,
            Cell::Text(_) => 3,
            Cell::Bool(_) => 4,
            Cell::TimeMs(_) => 5,
        }
    }
}

// Keys live in ordered maps, so cells need a total order; floats get the total order of IEEE 754.
impl Ord for Cell {
    fn cmp(&self, other: &Cell) -> std::cmp::Ordering {
        match (self, other) {
            (Cell::Int(a), Cell::Int(b)) | (Cell::TimeMs(a), Cell::TimeMs(b)) => a.cmp(b),
            (Cell::Float(a), Cell::Float(b)) => a.total_cmp(b),
            (Cell::Text(a), Cell::Text(b)) => a.cmp(b),
            (Cell::Bool(a), Cell::Bool(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Cell {
    fn partial_cmp(&self, other: &Cell) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Cell {
    fn eq(&self, other: &Cell) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Cell {}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Null => f.write_str("null"),
            Cell::Int(value) => write!(f, "{value}"),
            Cell::Float(value) => write!(f, "{value:?}"),
            Cell::Text(value) => write!(f, "{value:?}"),
            Cell::Bool(value) => write!(f, "{value}"),
            Cell::TimeMs(value) => f.write_str(&crate::clock::format(*value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_agree_up_to_the_order_of_adding() {
        assert!(Cell::Float(0.1 + 0.2).agrees_with(&Cell::Float(0.3)));
        assert!(!Cell::Float(0.3).agrees_with(&Cell::Float(0.300_001)));
        assert!(!Cell::Int(1).agrees_with(&Cell::Float(1.0)));
        assert!(!Cell::Int(0).agrees_with(&Cell::Null));
    }

    #[test]
    fn null_sorts_first() {
        assert!(Cell::Null < Cell::Text(String::new()));
    }
}
