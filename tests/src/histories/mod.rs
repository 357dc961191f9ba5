//! Random histories of a small contact centre, awkward on purpose: few names, clustered times, clocks that disagree,
//! and every way a delivery can be wrong. The same seed always gives the same history.

mod changes;
mod chapters;
mod deliveries;
mod dice;
mod dimensions;
mod operations;
mod spoilt;
mod story;

use crate::model::{DAY_MS, HOUR_MS};
use crate::oracle::{Line, Row};
use serde_json::Value;
use std::collections::BTreeSet;

pub use chapters::chapters;
pub use dice::Dice;
pub use operations::{duplicated, renumbered, reversed, shuffled, split};

/// First moment of most histories: 2024-03-01T00:00:00Z, three days before whose end nearly everything happens.
pub const START_MS: i64 = 1_709_251_200_000;

/// First moments, with weights: the others lie a day before clocks change, or before a year of weeks begins.
const STARTS: [(u64, i64); 6] = [
    (8, START_MS),
    (2, START_MS + 8 * DAY_MS + 6 * HOUR_MS),
    (3, START_MS + 29 * DAY_MS),
    (2, START_MS + 239 * DAY_MS),
    (1, START_MS + 246 * DAY_MS),
    (1, START_MS + 304 * DAY_MS),
];

/// How much there is of what.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Conversations at most.
    pub conversations: u64,
    /// Events per conversation at most, before deliveries are spoilt.
    pub events: u64,
    /// Of 1,000 deliveries, how many something odd happens to.
    pub noise: u64,
}

impl Default for Size {
    fn default() -> Self {
        Size { conversations: 4, events: 22, noise: 250 }
    }
}

/// A history: rows in order of delivery, in one file.
pub fn history(seed: u64, size: Size) -> Vec<Row> {
    let mut world = World::new(seed);
    let mut events: Vec<Value> = Vec::new();
    for number in 0..1 + world.dice.below(size.conversations) {
        events.extend(story::conversation(&mut world, number, size.events));
    }
    events.extend(dimensions::around(&mut world));
    // Sources deliver roughly in order of time.
    events.sort_by_key(|event| event["event_time"].as_i64());
    renumbered(deliveries::deliver(&mut world, events, size.noise))
}

/// What one history shares: the dice, the identities given away, and the times at which something hangs in the balance.
struct World {
    dice: Dice,
    taken: BTreeSet<(String, String, String)>,
    /// The first moment.
    start: i64,
    /// What most policies of this history promise.
    target: i64,
    /// When something happened.
    moments: Vec<i64>,
    /// When something falls due: the times around which an event changes what another means.
    deadlines: Vec<i64>,
    /// Those of 7 days.
    weeks: Vec<i64>,
    /// Those of 30 days.
    months: Vec<i64>,
    /// When conversations were resolved.
    resolves: Vec<i64>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut dice = Dice::new(seed);
        let start = dice.weighted(&STARTS);
        let target = dice.pick(&dimensions::TARGETS[1..]);
        World {
            dice,
            start,
            target,
            moments: vec![start],
            taken: BTreeSet::new(),
            deadlines: Vec::new(),
            weeks: Vec::new(),
            months: Vec::new(),
            resolves: Vec::new(),
        }
    }

    /// A new identity. Few numbers, so that the same event id comes from several sources and tenants.
    fn identity(&mut self, tenant: &str) -> (String, String) {
        loop {
            let source = self.dice.pick(&["alpha", "beta"]).to_owned();
            let prefix = self.dice.pick(&["e", "E", "10", "9", "é", "~"]);
            let id = format!("{prefix}{}", self.dice.below(300));
            if self.taken.insert((tenant.to_owned(), source.clone(), id.clone())) {
                return (source, id);
            }
        }
    }

    /// When an event reaches the platform; clocks disagree here too.
    fn ingest_time(&mut self, time: i64) -> Option<i64> {
        let delay = self.dice.pick(&[-1000, 0, 1, 1500, 60_000, 2 * HOUR_MS, 3 * DAY_MS]);
        self.dice.chance(500).then_some(time + delay)
    }
}

/// A row whose place is not known yet.
fn unplaced(line: Line) -> Row {
    Row { file: "events.ndjson".to_owned(), position: 0, line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_model::FakeModel;
    use crate::model::Cell;
    use crate::oracle::Oracle;
    use std::collections::BTreeMap;

    #[test]
    fn a_seed_is_a_history() {
        let lines = |seed| history(seed, Size::default()).iter().map(|row| row.line.to_string()).collect::<Vec<_>>();
        assert_eq!(lines(7), lines(7));
        assert_ne!(lines(7), lines(8));
    }

    /// Over a few hundred seeds every column of every table says something, and every reject reason occurs:
    /// a generator that never leads somewhere would find nothing there.
    #[test]
    fn histories_reach_every_column() {
        let mut telling = BTreeMap::<String, BTreeMap<&str, bool>>::new();
        let mut reasons = BTreeSet::new();
        for seed in 0..400 {
            let oracle = Oracle { heads: &FakeModel, ..Oracle::default() };
            for (name, table) in oracle.tables(&history(seed, Size::default())) {
                let telling = telling.entry(name.clone()).or_default();
                for (key, columns) in table {
                    if name == crate::model::REJECTS {
                        reasons.extend(key.last().map(ToString::to_string));
                    }
                    for (column, cell) in columns.iter() {
                        let tells = !matches!(cell, Cell::Null | Cell::Int(0) | Cell::Bool(false));
                        if tells || !telling.contains_key(column) {
                            *telling.entry(column).or_default() |= tells;
                        }
                    }
                }
            }
        }
        let columns = telling.iter().flat_map(|(table, columns)| columns.iter().map(move |column| (table, column)));
        let mute: Vec<String> = columns
            .filter(|(table, (column, tells))| !**tells && !can_say_nothing(table, column))
            .map(|(table, (column, _))| format!("{table}.{column}"))
            .collect();
        assert!(mute.is_empty(), "never seen: {mute:?}");
        for reason in [
            "malformed_json",
            "missing_field",
            "bad_type",
            "bad_time",
            "unknown_event_type",
            "unknown_enum",
            "out_of_range",
            "duplicate_conflict",
            "orphan_reference",
        ] {
            assert!(reasons.contains(&format!("{reason:?}")), "never seen: {reason}");
        }
    }

    /// Statuses of agents belong to no channel (rule 44), and the model of tests knows nothing of tokens.
    fn can_say_nothing(table: &str, column: &str) -> bool {
        column == "highlights"
            || table.contains("channel") && ["available_ms", "staffed_ms", "occupancy_ratio"].contains(&column)
    }

    #[test]
    fn delivery_changes_nothing_for_the_oracle() {
        for seed in 0..60 {
            let rows = history(seed, Size::default());
            let expected = Oracle::default().tables(&rows);
            for changed in [shuffled(&rows, seed), reversed(&rows), duplicated(&rows, seed), split(&rows, 3, seed)] {
                let found = Oracle::default().tables(&changed);
                assert_eq!(crate::difference::diff(&expected, &found), Vec::<String>::new(), "seed {seed}");
            }
        }
    }
}
