//! Everything that counts, thrown together by key and window.

use super::columns::{Bucket, columns};
use super::contribution::{Contribution, Group, What, When};
use super::windows::{Window, window};
use crate::model::{By, Cell, KpiTable, Table, Width};
use chrono_tz::Tz;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The windows of one width, each worked out once.
struct Windows {
    zone: Tz,
    width: Width,
    /// Ends by start.
    known: RefCell<BTreeMap<i64, i64>>,
}

impl Windows {
    fn of(&self, instant: i64) -> Window {
        let mut known = self.known.borrow_mut();
        if let Some((start, end)) = known.range(..=instant).next_back().filter(|(_, end)| instant < **end) {
            return Window { start: *start, end: *end };
        }
        let window = window(self.zone, self.width, instant);
        known.insert(window.start, window.end);
        window
    }

    /// All windows in which something counts.
    fn counting(&self, when: When, as_of: i64) -> Vec<Window> {
        match when {
            When::At(instant) => vec![self.of(instant)],
            When::Unless(instant, undone) => {
                vec![self.of(instant)].into_iter().filter(|one| one.end <= undone).collect()
            }
            When::Level(from, until) => {
                let last = until.map_or(as_of, |until| as_of.min(until - 1));
                let mut found = Vec::new();
                let mut instant = from;
                while instant <= last {
                    let window = self.of(instant);
                    // The window of as_of is looked at as_of, all others right before their end.
                    if (window.end - 1).min(as_of) <= last {
                        found.push(window);
                    }
                    instant = window.end;
                }
                found
            }
        }
    }
}

/// The tables of one width.
pub(super) fn tables(
    wanted: &[KpiTable],
    width: Width,
    contributions: &[Contribution],
    zone: Tz,
    as_of: i64,
) -> Vec<(&'static str, Table)> {
    let windows = Windows { zone, width, known: RefCell::default() };
    let placed: Vec<(Window, &Contribution)> = contributions
        .iter()
        .flat_map(|one| windows.counting(one.when, as_of).into_iter().map(move |window| (window, one)))
        .collect();
    wanted.iter().filter(|table| table.width == width).map(|kpi| (kpi.name, table(kpi.by, &placed))).collect()
}

fn table(by: By, placed: &[(Window, &Contribution)]) -> Table {
    let mut buckets = BTreeMap::<(Group, Window), Bucket>::new();
    for (window, one) in placed {
        // A sum of nothing makes no row.
        if let (Some(group), false) = (seen_by(by, one.group), matches!(one.what, What::Sum(_, 0))) {
            buckets.entry((group, *window)).or_default().add(one.what);
        }
    }
    buckets.into_iter().map(|((group, window), bucket)| (key(by, group, window), columns(&bucket, window))).collect()
}

/// The part of a group that a table is by; `None` for what is not in it.
fn seen_by(by: By, group: Group) -> Option<Group> {
    let nothing = Group { tenant: group.tenant, channel: None, agent: None, team: None, queue: None };
    let channel = group.channel;
    Some(match by {
        By::Tenant => nothing,
        By::Agent => Group { agent: group.agent, ..nothing },
        _ if channel.is_none() => return None,
        By::AgentChannel => Group { agent: group.agent, channel, ..nothing },
        By::TeamChannel => Group { team: group.team, channel, ..nothing },
        By::QueueChannel => Group { queue: group.queue, channel, ..nothing },
        By::Channel => Group { channel, ..nothing },
    })
}

fn key(by: By, group: Group, window: Window) -> Vec<Cell> {
    let mut key = vec![Cell::text(Some(group.tenant))];
    match by {
        By::Agent | By::AgentChannel => key.push(Cell::text(group.agent)),
        By::TeamChannel => key.push(Cell::text(group.team)),
        By::QueueChannel => key.push(Cell::text(group.queue)),
        By::Channel | By::Tenant => {}
    }
    if !matches!(by, By::Agent | By::Tenant) {
        key.push(Cell::text(group.channel));
    }
    key.push(Cell::TimeMs(window.start));
    key
}

#[cfg(test)]
mod tests {
    use crate::histories::{Size, history};
    use crate::model::{Cell, Tables};
    use crate::oracle::Oracle;
    use std::collections::BTreeMap;

    /// The totals of what adds up over windows and groups.
    fn totals(tables: &Tables, table: &str) -> BTreeMap<&'static str, i64> {
        let is_level = |column: &str| {
            let levels = ["backlog", "unassigned", "unattended", "queued", "conversations_resolved"];
            let is_promise = column.ends_with("_pending_count") || column.ends_with("_at_risk_count");
            is_promise || levels.iter().any(|level| column == format!("{level}_count"))
        };
        let is_sum = |column: &str| column.ends_with("_count") || column.ends_with("_sum_ms") || column == "handled_ms";
        let mut totals = BTreeMap::new();
        for columns in tables[table].values() {
            for (column, cell) in columns.iter().filter(|(column, _)| is_sum(column) && !is_level(column)) {
                if let Cell::Int(value) = cell {
                    *totals.entry(column).or_default() += value;
                }
            }
        }
        totals
    }

    #[test]
    fn sums_are_the_same_in_every_table() {
        let zones = [chrono_tz::UTC, chrono_tz::America::St_Johns, chrono_tz::Pacific::Apia];
        for (seed, zone) in (0..15).zip(zones.into_iter().cycle()) {
            let tables = Oracle { zone, ..Oracle::default() }.tables(&history(seed, Size::default()));
            let expected = totals(&tables, "kpi_tenant_month");
            for table in tables.keys().filter(|table| table.starts_with("kpi_")) {
                assert_eq!(totals(&tables, table), expected, "seed {seed} {table} {zone}");
            }
        }
    }
}
