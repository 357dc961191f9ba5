//! What the tables must hold, computed from scratch the slow and plain way.
//!
//! Written from the contract (`events.md`, `kpis.md`) and the decision page 0001 alone; it shares no code with the
//! product, and numbers of rules in comments are those of that page. Nothing here is incremental: every question is
//! answered by looking at all the events again.

mod conversation;
mod event;
mod facts;
mod kpi;
mod measures;
mod message;
mod net;

use crate::model::{Cell, Columns, FACTS, KPI_TABLES, REJECTS, Table, Tables};
use conversation::{Conversation, conversations};
use event::Reject;
use serde_json::Value;

/// One input row, where it stood.
#[derive(Clone, Debug)]
pub struct Row {
    /// The file it came in.
    pub file: String,
    /// Its place in that file, from 0.
    pub position: u64,
    /// What it says.
    pub line: Line,
}

/// The content of an input row.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// A row that is JSON.
    Json(Value),
    /// Text that is not.
    Malformed(String),
}

impl Line {
    /// Reads one line of NDJSON.
    pub fn read(text: &str) -> Line {
        serde_json::from_str(text).map_or_else(|_| Line::Malformed(text.to_owned()), Line::Json)
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Line::Json(value) => write!(f, "{value}"),
            Line::Malformed(text) => f.write_str(text),
        }
    }
}

/// What a model says of a text: probabilities in 1/10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scores {
    /// Of a negative sentiment.
    pub negative: i32,
    /// Of a neutral one.
    pub neutral: i32,
    /// Of a positive one.
    pub positive: i32,
}

impl Scores {
    /// Whether negative is the label: the most probable, the first of equals.
    pub fn is_negative(self) -> bool {
        self.negative >= self.neutral && self.negative >= self.positive
    }
}

/// Scores a text; `None` leaves it unscored.
pub type Scorer<'s> = &'s dyn Fn(&str) -> Option<Scores>;

/// What depends on time alone.
#[derive(Clone, Copy)]
struct Clock {
    as_of: i64,
    tau: i64,
}

/// The oracle, with what it needs besides the rows.
#[derive(Clone, Copy)]
pub struct Oracle<'s> {
    /// The model.
    pub score: Scorer<'s>,
    /// τ: how long a customer message may wait before its dialogue counts as silent.
    pub tau_ms: i64,
    /// Which of several contents at one version stands, see [`Oracle::settlements`].
    pub settlement: u64,
}

impl Default for Oracle<'_> {
    /// Without a model, τ = 24 h.
    fn default() -> Self {
        Oracle { score: &|_| None, tau_ms: crate::model::DAY_MS, settlement: 0 }
    }
}

/// Rows as they stand one after the other in one file.
pub fn rows_of(values: &[Value]) -> Vec<Row> {
    let row = |(position, value): (usize, &Value)| Row {
        file: "events.ndjson".to_owned(),
        position: position as u64,
        line: Line::Json(value.clone()),
    };
    values.iter().enumerate().map(row).collect()
}

impl Oracle<'_> {
    /// In how many ways the duplicate conflicts of these rows can be settled.
    ///
    /// The decision page leaves it to a content hash which of two contents stands. The hash is the product's, so its
    /// tables are right if they are those of any settlement in `0..settlements(rows)`.
    pub fn settlements(&self, rows: &[Row]) -> u64 {
        net::settle(rows, 0).settlements
    }

    /// All tables.
    pub fn tables(&self, rows: &[Row]) -> Tables {
        self.some_tables(rows, &crate::model::table_names())
    }

    /// The tables named.
    pub fn some_tables(&self, rows: &[Row], names: &[&str]) -> Tables {
        let mut net = net::settle(rows, self.settlement);
        // Rule 4: the clock is the latest event, whatever it is about.
        let as_of = net.events.iter().map(event::Event::time).max().unwrap_or(0);
        let clock = Clock { as_of, tau: self.tau_ms };
        let (conversations, orphans) = conversations(&net.events);
        net.rejects.extend(orphans);
        let mut tables = Tables::new();
        if names.contains(&REJECTS) {
            tables.insert(REJECTS.to_owned(), reject_table(&net.rejects));
        }
        if names.contains(&FACTS) {
            let rows = conversations.iter().flat_map(|conversation| facts::rows(conversation, clock));
            tables.insert(FACTS.to_owned(), rows.collect());
        }
        // Rule 12: spam counts nowhere else.
        let counted: Vec<Conversation> = conversations.into_iter().filter(|one| !one.spam).collect();
        let contributions: Vec<kpi::Contribution> =
            counted.iter().flat_map(|conversation| kpi::contributions(conversation, clock, self.score)).collect();
        for (name, width, by_agent) in KPI_TABLES.into_iter().filter(|(name, _, _)| names.contains(name)) {
            tables.insert(name.to_owned(), kpi::table(&counted, &contributions, as_of, width, by_agent));
        }
        tables
    }
}

/// The rejects by identity and reason.
fn reject_table(rejects: &[Reject]) -> Table {
    let key = |reject: &Reject| {
        let parts = [&reject.tenant, &reject.source, &reject.event_id];
        let identity = parts.into_iter().map(|part| Cell::text(part.as_deref()));
        identity.chain([Cell::text(Some(reject.reason))]).collect()
    };
    rejects.iter().map(|reject| (key(reject), Columns::new())).collect()
}
