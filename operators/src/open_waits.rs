//! Customers who wait now: `open_wait_ms` of the windows that hold as_of (rule 34).
//!
//! A cell keeps the time of its oldest unanswered message, not its age: as time passes within a window, only the published
//! number changes. Only the oldest of each group enters its cell, so a new window costs one row per group that waits.

use std::collections::{BTreeMap, HashMap};

use contactflow_schemas::catalogue::{contribute, kpi};
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::facts::{Cell, Group};
use contactflow_schemas::symbol::FastHash;
use contactflow_schemas::tally::Tally;
use contactflow_schemas::windows::{Window, Windows};
use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use timely::dataflow::Stream;

use crate::as_of::{LatestTimes, follow_as_of};
use crate::cells::cell_of;
use crate::conversation::WaitUpdate;
use crate::difference::TallyDiff;
use crate::epochs::Epoch;

/// What a group has in the cells of the windows that hold as_of.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shown {
    oldest_ms: TimeMs,
    as_of_ms: TimeMs,
}

#[derive(Default)]
struct Waits {
    /// First unanswered messages and how many customers wait since then.
    since: HashMap<Group, BTreeMap<TimeMs, i64>, FastHash>,
    shown: HashMap<Group, Shown, FastHash>,
}

impl Waits {
    fn update(&mut self, (group, since_ms, diff): WaitUpdate) {
        let waiting = self.since.entry(group).or_default();
        let count = waiting.entry(since_ms).or_default();
        *count += diff;
        if *count == 0 {
            waiting.remove(&since_ms);
        }
        if waiting.is_empty() {
            self.since.remove(&group);
        }
    }

    fn oldest(&self, group: &Group, as_of_ms: Option<TimeMs>) -> Option<Shown> {
        let (&oldest_ms, _) = self.since.get(group)?.first_key_value()?;
        as_of_ms.map(|as_of_ms| Shown { oldest_ms, as_of_ms })
    }
}

/// Contributions to the cells of the windows that hold as_of.
pub fn open_waits<'scope>(
    updates: Stream<'scope, Epoch, Vec<WaitUpdate>>,
    latest: LatestTimes<'scope>,
    windows: &Windows,
) -> VecCollection<'scope, Epoch, (Window, Cell), TallyDiff> {
    let windows = windows.clone();
    let mut waits = Waits::default();
    let route = |(group, ..): &WaitUpdate| group.stable_hash();
    follow_as_of(
        "OpenWaits",
        updates,
        route,
        |_| None,
        latest,
        move |epoch, updates, moved, emit| {
            let mut groups: Vec<Group> = updates.iter().map(|(group, ..)| *group).collect();
            updates.into_iter().for_each(|update| waits.update(update));
            let hour = |as_of_ms: Option<TimeMs>| as_of_ms.map(|time_ms| windows.start_ms(Window::Hour, time_ms));
            if hour(moved.before_ms) != hour(moved.after_ms) {
                groups.extend(waits.shown.keys().chain(waits.since.keys()));
            }
            groups.sort_unstable();
            groups.dedup();
            for group in groups {
                let after = waits.oldest(&group, moved.after_ms);
                let before = waits.shown.remove(&group);
                waits.shown.extend(after.map(|shown| (group, shown)));
                for (shown, sign) in before.map(|shown| (shown, -1)).into_iter().chain(after.map(|shown| (shown, 1))) {
                    for window in Window::ALL {
                        let mut entries = Vec::with_capacity(1);
                        contribute(kpi::OPEN_WAIT, shown.oldest_ms, None, sign, &mut entries);
                        let cell = cell_of(&windows, window, shown.as_of_ms, group);
                        emit(((window, cell), epoch, TallyDiff(Tally::from_entries(entries))));
                    }
                }
            }
        },
    )
    .as_collection()
}
