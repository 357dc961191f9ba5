//! What the tables must hold, computed from scratch the slow and plain way.
//!
//! Written from the contract (`events.md`, `kpis.md`) and the decision page 0001 alone; it shares no code with the
//! product, and numbers of rules in comments are those of that page. Nothing here is incremental: every question is
//! answered by looking at all the events again.

mod business;
mod columns;
mod contribution;
mod conversation;
mod cube;
mod dimensions;
mod event;
mod facts;
mod heads;
mod labels;
mod levels;
mod measures;
mod merge;
mod message;
mod messages;
mod net;
mod opening;
mod outcomes;
mod presence;
mod quality;
mod queues;
mod ratings;
mod scored;
mod segments;
mod silence;
mod sla;
mod statuses;
mod topics;
mod windows;
#[cfg(test)]
mod worked;

use crate::model::{
    CONVERSATION_SCORES, Cell, Columns, DAY_MS, FACTS, KPI_TABLES, KpiTable, MESSAGE_SCORES, MODEL_EVAL, REJECTS,
    TOPICS, Table, Tables, Width,
};
use chrono_tz::Tz;
use contribution::{Collector, Contribution};
use conversation::Conversation;
use dimensions::Dimensions;
use event::Reject;
use serde_json::Value;
use std::collections::BTreeMap;

pub use heads::{Answer, Heads, HeardTurn, Quality, Scores, Silent};

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

/// What depends on time alone.
#[derive(Clone, Copy)]
struct Clock {
    as_of: i64,
    tau: i64,
    week: i64,
    answer_within: i64,
    short_abandon: i64,
    level_max: i64,
}

/// The oracle, with what it needs besides the rows.
#[derive(Clone, Copy)]
pub struct Oracle<'s> {
    /// The model.
    pub heads: &'s dyn Heads,
    /// From which probability on a reply that is offensive is improper, in 1/10,000.
    pub improper_threshold: i32,
    /// The time zone of the windows.
    pub zone: Tz,
    /// τ: how long a customer message may wait before its dialogue counts as silent.
    pub tau_ms: i64,
    /// How soon a reopen or a new conversation of a contact counts against a resolve.
    pub return_ms: i64,
    /// Within which time of waiting in a queue the service level wants an answer.
    pub service_level_ms: i64,
    /// Who leaves a queue sooner counts as a short abandon.
    pub short_abandon_ms: i64,
    /// How long a stretch of a conversation counts in the levels, and a status of an agent in the time staffed.
    pub level_max_ms: i64,
    /// Which of several contents at one version stands, see [`Oracle::settlements`].
    pub settlement: u64,
}

impl Default for Oracle<'_> {
    /// Without a model, in UTC; τ 24 h, 7 days, 20 s, 5 s, 30 days.
    fn default() -> Self {
        Oracle {
            heads: &Silent,
            improper_threshold: 7_000,
            zone: Tz::UTC,
            tau_ms: DAY_MS,
            return_ms: 7 * DAY_MS,
            service_level_ms: 20_000,
            short_abandon_ms: 5_000,
            level_max_ms: 30 * DAY_MS,
            settlement: 0,
        }
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
        let clock = self.clock(as_of);
        let dimensions = dimensions::dimensions(&net.events);
        let homes = merge::homes(&net.events);
        let (conversations, orphans) = merge::conversations(&homes, &dimensions);
        net.rejects.extend(orphans);
        let mut tables = Tables::new();
        if names.contains(&REJECTS) {
            tables.insert(REJECTS.to_owned(), reject_table(&net.rejects));
        }
        let counting: Vec<&Conversation> = conversations.iter().filter(|one| one.counts()).collect();
        if names.contains(&MESSAGE_SCORES) {
            tables.insert(MESSAGE_SCORES.to_owned(), scored::messages(&counting, self.heads));
        }
        if names.contains(&CONVERSATION_SCORES) {
            tables.insert(CONVERSATION_SCORES.to_owned(), scored::cycles(&counting, self.heads));
        }
        if names.contains(&TOPICS) {
            tables.insert(TOPICS.to_owned(), topics::table(&counting, self.heads, self.zone));
        }
        let labels = labels::labels(&net.events, &conversations);
        if names.contains(&MODEL_EVAL) {
            tables.insert(MODEL_EVAL.to_owned(), labels::evaluations(&labels, self.heads, self.zone));
        }
        if names.contains(&FACTS) {
            let rows = conversations.iter().flat_map(|conversation| facts::rows(conversation, clock));
            tables.insert(FACTS.to_owned(), rows.collect());
        }
        let wanted: Vec<KpiTable> = KPI_TABLES.into_iter().filter(|table| names.contains(&table.name)).collect();
        if !wanted.is_empty() {
            let mut contributions = self.contributions(&conversations, &dimensions, clock);
            contributions.extend(labels::grades(&labels));
            for width in [Width::Hour, Width::Day, Width::Week, Width::Month] {
                let computed = cube::tables(&wanted, width, &contributions, self.zone, as_of);
                tables.extend(computed.into_iter().map(|(name, table)| (name.to_owned(), table)));
            }
        }
        tables
    }

    fn clock(&self, as_of: i64) -> Clock {
        Clock {
            as_of,
            tau: self.tau_ms,
            week: self.return_ms,
            answer_within: self.service_level_ms,
            short_abandon: self.short_abandon_ms,
            level_max: self.level_max_ms,
        }
    }

    /// Everything that counts in a table of KPIs.
    fn contributions<'a>(
        &self,
        conversations: &[Conversation<'a>],
        dimensions: &BTreeMap<&'a str, Dimensions<'a>>,
        clock: Clock,
    ) -> Vec<Contribution<'a>> {
        let mut collector = Collector { found: Vec::new() };
        for (tenant, dimensions) in dimensions {
            presence::add(tenant, dimensions, (clock, self.zone), &mut collector);
        }
        // Rule 12: spam and void conversations count nowhere.
        for conversation in conversations.iter().filter(|one| one.counts()) {
            messages::add(conversation, self.heads, self.improper_threshold, &mut collector);
            quality::add(conversation, self.heads, &mut collector);
            outcomes::add(conversation, conversations, clock, &mut collector);
            ratings::add(conversation, &mut collector);
            segments::add(conversation, self.zone, &mut collector);
            queues::add(conversation, clock, &mut collector);
            queues::add_transfers(conversation, &mut collector);
            levels::add(conversation, clock, &mut collector);
            sla::add(conversation, clock, &mut collector);
            silence::add(conversation, clock, &mut collector);
        }
        collector.found
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
