//! Random histories of a small contact centre, awkward on purpose: few names, clustered times, clocks that disagree,
//! and every way a delivery can be wrong. The same seed always gives the same history.

mod deliveries;
mod dice;
mod operations;
mod story;

use crate::oracle::{Line, Row};
use dice::Dice;
use serde_json::Value;
use std::collections::BTreeSet;

pub use operations::{duplicated, renumbered, reversed, shuffled, split};

/// First moment of all histories: 2024-03-01T00:00:00Z, three days before whose end nearly everything happens.
pub const START_MS: i64 = 1_709_251_200_000;

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
    let mut world = World { dice: Dice::new(seed), taken: BTreeSet::new() };
    let mut events: Vec<Value> = Vec::new();
    for number in 0..1 + world.dice.below(size.conversations) {
        events.extend(story::conversation(&mut world, number, size.events));
    }
    for _ in 0..world.dice.below(3) {
        events.push(story::dimension(&mut world));
    }
    // Sources deliver roughly in order of time.
    events.sort_by_key(|event| event["event_time"].as_i64());
    renumbered(deliveries::deliver(&mut world, events, size.noise))
}

/// What one history shares: the dice, and the identities given away.
struct World {
    dice: Dice,
    taken: BTreeSet<(String, String, String)>,
}

impl World {
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
}

/// A row whose place is not known yet.
fn unplaced(line: Line) -> Row {
    Row { file: "events.ndjson".to_owned(), position: 0, line }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let mut telling = BTreeMap::<String, bool>::new();
        for seed in 0..400 {
            let tables = Oracle::default().tables(&history(seed, Size::default()));
            for (name, table) in tables {
                for (key, columns) in table {
                    if let (true, Some(reason)) = (name == crate::model::REJECTS, key.last()) {
                        telling.insert(format!("{reason}"), true);
                    }
                    for (column, cell) in columns {
                        use crate::model::Cell;
                        let tells = !matches!(cell, Cell::Null | Cell::Int(0) | Cell::Bool(false));
                        *telling.entry(format!("{name}.{column}")).or_default() |= tells;
                    }
                }
            }
        }
        let needs_a_model = |column: &str| {
            ["sentiment_mean", "scored_turns_count", "negative_turn_ratio"].iter().any(|name| column.ends_with(name))
        };
        let mute: Vec<&String> = telling
            .iter()
            .filter(|(column, tells)| !**tells && !needs_a_model(column))
            .map(|(column, _)| column)
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
            assert!(telling.contains_key(&format!("{reason:?}")), "never seen: {reason}");
        }
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
