//! What a table is to a test: named cells under a key, whoever computed them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

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

/// The columns of one row that are not its key, in order of name; [`name`] gives a name its long life.
///
/// A map in one piece: rows have hundreds of columns, and a test makes and drops thousands of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns(Vec<(&'static str, Cell)>);
/// The rows of one table by key (the values of the key columns in the order of [`key_columns`]).
pub type Table = BTreeMap<Vec<Cell>, Columns>;
/// Tables by name.
pub type Tables = BTreeMap<String, Table>;

/// Facts per cycle of a conversation.
pub const FACTS: &str = "conversation_facts";
/// Rows that could not be used.
pub const REJECTS: &str = "rejected_events";
/// Scored messages.
pub const MESSAGE_SCORES: &str = "message_scores";
/// Scored cycles.
pub const CONVERSATION_SCORES: &str = "conversation_scores";
/// What customers write about.
pub const TOPICS: &str = "topic_window";
/// How well heads agree with labels.
pub const MODEL_EVAL: &str = "model_eval";
/// One hour.
pub const HOUR_MS: i64 = 3_600_000;
/// One day.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// What the rows of a KPI table are by, besides tenant and window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Agent and channel.
    AgentChannel,
    /// Agent.
    Agent,
    /// Channel.
    Channel,
    /// Team and channel.
    TeamChannel,
    /// Queue and channel.
    QueueChannel,
    /// Nothing more.
    Tenant,
}

/// How long the windows of a KPI table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// An hour of the local clock.
    Hour,
    /// A local day.
    Day,
    /// A local week, from Monday.
    Week,
    /// A local month.
    Month,
}

/// A KPI table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KpiTable {
    /// Its name.
    pub name: &'static str,
    /// What its rows are by.
    pub by: By,
    /// The length of its windows.
    pub width: Width,
}

macro_rules! kpi_tables {
    ($($group:literal $by:ident),*) => {
        [$(
            KpiTable { name: concat!("kpi_", $group, "_hour"), by: By::$by, width: Width::Hour },
            KpiTable { name: concat!("kpi_", $group, "_day"), by: By::$by, width: Width::Day },
            KpiTable { name: concat!("kpi_", $group, "_week"), by: By::$by, width: Width::Week },
            KpiTable { name: concat!("kpi_", $group, "_month"), by: By::$by, width: Width::Month },
        )*]
    };
}

/// All KPI tables: six groupings, four widths of windows each.
pub const KPI_TABLES: [KpiTable; 24] = kpi_tables!(
    "agent_channel" AgentChannel,
    "agent" Agent,
    "channel" Channel,
    "team_channel" TeamChannel,
    "queue_channel" QueueChannel,
    "tenant" Tenant
);

/// Names of all the tables that the oracle knows.
pub fn table_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = KPI_TABLES.iter().map(|table| table.name).collect();
    names.extend([FACTS, REJECTS, MESSAGE_SCORES, CONVERSATION_SCORES, TOPICS, MODEL_EVAL]);
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
        MESSAGE_SCORES => &["tenant_id", "source", "event_id"],
        CONVERSATION_SCORES => &["tenant_id", "conversation_id", "cycle"],
        TOPICS => &["tenant_id", "channel", "intent", "window", "window_start"],
        MODEL_EVAL => &["tenant_id", "head", "class", "window_start"],
        _ => match KPI_TABLES.iter().find(|kpi| kpi.name == table).map(|kpi| kpi.by) {
            Some(By::AgentChannel) => &["tenant_id", "agent_id", "channel", "window_start"],
            Some(By::Agent) => &["tenant_id", "agent_id", "window_start"],
            Some(By::Channel) => &["tenant_id", "channel", "window_start"],
            Some(By::TeamChannel) => &["tenant_id", "team_id", "channel", "window_start"],
            Some(By::QueueChannel) => &["tenant_id", "queue_id", "channel", "window_start"],
            Some(By::Tenant) => &["tenant_id", "window_start"],
            None => &[],
        },
    }
}

/// The one copy of a column's name, kept for good: rows are many, names are few.
pub fn name(text: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    // A panic elsewhere leaves a set of names that is as good as before.
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    names.get(text).copied().unwrap_or_else(|| {
        let kept: &'static str = Box::leak(text.to_owned().into_boxed_str());
        names.insert(kept);
        kept
    })
}

impl Columns {
    /// No columns.
    pub fn new() -> Columns {
        Columns::default()
    }

    fn place(&self, column: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(name, _)| (*name).cmp(column))
    }

    /// The cell of a column.
    pub fn get(&self, column: &str) -> Option<&Cell> {
        self.place(column).ok().map(|place| &self.0[place].1)
    }

    /// The cell of a column, to change it.
    pub fn get_mut(&mut self, column: &str) -> Option<&mut Cell> {
        self.place(column).ok().map(|place| &mut self.0[place].1)
    }

    /// Sets a column.
    pub fn insert(&mut self, column: &'static str, cell: Cell) {
        match self.place(column) {
            Ok(place) => self.0[place].1 = cell,
            Err(place) => self.0.insert(place, (column, cell)),
        }
    }

    /// The columns with their cells.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Cell)> {
        self.0.iter().map(|(column, cell)| (*column, cell))
    }

    /// The names of the columns.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(column, _)| *column)
    }
}

impl Extend<(&'static str, Cell)> for Columns {
    fn extend<T: IntoIterator<Item = (&'static str, Cell)>>(&mut self, columns: T) {
        columns.into_iter().for_each(|(column, cell)| self.insert(column, cell));
    }
}

impl FromIterator<(&'static str, Cell)> for Columns {
    fn from_iter<T: IntoIterator<Item = (&'static str, Cell)>>(columns: T) -> Columns {
        let mut columns: Vec<_> = columns.into_iter().collect();
        columns.sort_by_key(|(column, _)| *column);
        Columns(columns)
    }
}

impl IntoIterator for Columns {
    type Item = (&'static str, Cell);
    type IntoIter = std::vec::IntoIter<(&'static str, Cell)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl std::ops::Index<&str> for Columns {
    type Output = Cell;

    /// The cell of a column that must be there.
    fn index(&self, column: &str) -> &Cell {
        self.get(column).unwrap_or_else(|| panic!("no column {column}"))
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

    /// A list of structs, as it is compared: the values of each, one after the other.
    pub fn list(elements: impl IntoIterator<Item = Vec<Cell>>) -> Cell {
        let element = |values: Vec<Cell>| {
            let values: Vec<String> = values.iter().map(Cell::to_string).collect();
            format!("({})", values.join(", "))
        };
        Cell::Text(elements.into_iter().map(element).collect())
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
    fn every_table_has_a_key() {
        assert_eq!(table_names().len(), 30);
        assert!(table_names().iter().all(|table| !key_columns(table).is_empty()));
        assert_eq!(key_columns("kpi_team_channel_week"), ["tenant_id", "team_id", "channel", "window_start"]);
        assert!(key_columns("commits").is_empty());
    }

    #[test]
    fn null_sorts_first() {
        assert!(Cell::Null < Cell::Text(String::new()));
    }
}
