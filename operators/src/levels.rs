//! Levels at the end of every window, from changes of the levels.
//!
//! A level carries over from window to window, up to and including the window that holds as_of. A change adds to every
//! window from its own on, so the operator is linear and its only state is the current total per group and the
//! horizon.

use std::collections::HashMap;

use contactflow_schemas::catalogue::contribute;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::facts::Cell;
use contactflow_schemas::symbol::FastHash;
use contactflow_schemas::windows::{Window, Windows};
use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use timely::dataflow::Stream;

use crate::as_of::{AsOfMove, LatestTimes, follow_as_of};
use crate::cells::cell_of;
use crate::conversation::{LevelKey, LevelUpdate};
use crate::difference::TallyDiff;
use crate::epochs::Epoch;
use crate::gains::Gains;

/// Levels of one worker's groups, at the ends of windows of one width.
struct Levels {
    window: Window,
    windows: Windows,
    /// The level after the last change.
    totals: HashMap<LevelKey, i64, FastHash>,
}

impl Levels {
    fn new(window: Window, windows: Windows) -> Self {
        Self { window, windows, totals: HashMap::default() }
    }

    /// Takes in one epoch and emits what each window gains: (level, start of the window, by how much).
    fn process(&mut self, updates: &[LevelUpdate], moved: AsOfMove, emit: &mut dyn FnMut(LevelKey, TimeMs, i64)) {
        // The last window is the one that holds as_of.
        let horizon = |as_of_ms: Option<TimeMs>| as_of_ms.map(|time_ms| self.windows.start_ms(self.window, time_ms));
        let (before, after) = (horizon(moved.before_ms), horizon(moved.after_ms));
        let mut changes: HashMap<LevelKey, Vec<(TimeMs, i64)>, FastHash> = HashMap::default();
        for &(key, time_ms, delta) in updates {
            changes.entry(key).or_default().push((self.windows.start_ms(self.window, time_ms), delta));
        }
        if before != after {
            // The horizon moves for every group that has a level to carry.
            for key in self.totals.keys() {
                changes.entry(*key).or_default();
            }
        }
        for (key, mut changes) in changes {
            changes.sort_unstable();
            self.update(key, &changes, before, after, emit);
        }
    }

    /// What the windows of one group gain from sorted changes and from the horizon's move from `before` to `after`.
    ///
    /// Up to both horizons a window gains the changes up to it. Windows that are new with a later horizon also get the
    /// level from before. Windows beyond an earlier horizon lose what they held: the level from before less the old
    /// changes after them, all of which are taken back in this very epoch.
    fn update(
        &mut self,
        key: LevelKey,
        changes: &[(TimeMs, i64)],
        before: Option<TimeMs>,
        after: Option<TimeMs>,
        emit: &mut dyn FnMut(LevelKey, TimeMs, i64),
    ) {
        let delta: i64 = changes.iter().map(|(_, delta)| delta).sum();
        let total = self.totals.remove(&key).unwrap_or(0);
        if total + delta != 0 {
            self.totals.insert(key, total + delta);
        }
        let Some(horizon) = before.max(after) else { return };
        let after_window = |start: TimeMs| self.windows.end_ms(self.window, start);
        let (edge, extra) = match (before, after) {
            (Some(before), Some(after)) if after > before => (after_window(before), total),
            (Some(before), Some(after)) if after < before => (after_window(after), -(total + delta)),
            _ => (TimeMs::MAX, 0),
        };
        // Between these windows the gain is constant, so a stretch without any costs nothing however long it is.
        let mut steps: Vec<TimeMs> = changes.iter().map(|(at, _)| *at).chain([edge]).collect();
        steps.sort_unstable();
        steps.dedup();
        let end = after_window(horizon);
        let (mut gain, mut next) = (0, 0);
        for (number, &step) in steps.iter().enumerate() {
            while let Some((_, delta)) = changes.get(next).filter(|(at, _)| *at <= step) {
                gain += delta;
                next += 1;
            }
            let gain = gain + if step >= edge { extra } else { 0 };
            let until = steps.get(number + 1).map_or(end, |following| *following.min(&end));
            if gain != 0 && step < until {
                self.windows.starts(self.window, step, until).for_each(|start| emit(key, start, gain));
            }
        }
    }
}

/// The levels of each group at the end of each window, as contributions to the cells of that window.
pub fn levels<'scope>(
    updates: Stream<'scope, Epoch, Vec<LevelUpdate>>,
    latest: LatestTimes<'scope>,
    windows: &Windows,
) -> VecCollection<'scope, Epoch, (Window, Cell), TallyDiff> {
    let mut gains = Gains::default();
    let mut widths = Window::ALL.map(|window| Levels::new(window, windows.clone()));
    let route = |(key, ..): &LevelUpdate| key.stable_hash();
    follow_as_of(
        "Levels",
        updates,
        route,
        |_| None,
        latest,
        move |epoch, updates, moved, emit| {
            for width in &mut widths {
                let (window, windows) = (width.window, width.windows.clone());
                width.process(&updates, moved, &mut |key, start_ms, level| {
                    let cell = cell_of(&windows, window, start_ms, key.group);
                    contribute(key.kpi, level, None, 1, gains.of((window, cell)));
                });
            }
            gains.take().for_each(|(cell, diff)| emit((cell, epoch, diff)));
        },
    )
    .as_collection()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use contactflow_schemas::catalogue::kpi;
    use contactflow_schemas::clock::HOUR_MS;
    use contactflow_schemas::facts::Group;
    use contactflow_schemas::symbol::Symbol;

    use super::*;

    fn level() -> LevelKey {
        let channel = Some(Symbol::new("chat"));
        let group = Group { tenant: Symbol::new("t"), channel, agent: None, team: None, queue: None };
        LevelKey { group, kpi: kpi::BACKLOG }
    }

    /// The levels a from-scratch computation gives.
    fn expected(changes: &[(TimeMs, i64)], as_of_ms: TimeMs) -> BTreeMap<TimeMs, i64> {
        let mut levels = BTreeMap::new();
        for start_ms in (0..=Windows::utc().start_ms(Window::Hour, as_of_ms)).step_by(HOUR_MS as usize) {
            let level: i64 = changes.iter().filter(|(at, _)| *at < start_ms + HOUR_MS).map(|(_, delta)| delta).sum();
            if level != 0 {
                levels.insert(start_ms, level);
            }
        }
        levels
    }

    #[test]
    fn levels_follow_changes_and_the_horizon_in_both_directions() {
        // Epochs of (changes, latest event time after the epoch); the last takes the latest events back.
        let hour = |number: i64| number * HOUR_MS + 7;
        let epochs: Vec<(Vec<(TimeMs, i64)>, TimeMs)> = vec![
            (vec![(hour(1), 1)], hour(1)),
            (vec![(hour(2), 1), (hour(4), -1)], hour(5)),
            (vec![(hour(3), 1), (hour(9), 1)], hour(9)),
            (vec![(hour(9), -1), (hour(2), -1)], hour(6)),
            (vec![(hour(6), 2), (hour(8), -1)], hour(8)),
            (vec![(hour(8), 1), (hour(6), -2), (hour(4), 1)], hour(2)),
        ];
        let mut levels = Levels::new(Window::Hour, Windows::utc());
        let (mut all, mut state, mut latest) = (Vec::new(), BTreeMap::new(), None);
        for (changes, as_of_ms) in epochs {
            let moved = AsOfMove { before_ms: latest, after_ms: Some(as_of_ms) };
            let updates: Vec<LevelUpdate> = changes.iter().map(|&(at, delta)| (level(), at, delta)).collect();
            latest = Some(as_of_ms);
            levels.process(&updates, moved, &mut |_, start_ms, level| *state.entry(start_ms).or_insert(0) += level);
            state.retain(|_, level| *level != 0);
            all.extend(changes);
            assert_eq!(state, expected(&all, as_of_ms), "as of {as_of_ms}");
        }
    }
}
