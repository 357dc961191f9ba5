//! Gauges: levels at the end of every window, from changes of the level.
//!
//! A level carries over from window to window, up to and including the window that holds as_of. A change adds to every
//! window from its own on, so the operator is linear and its only state is the current total per group and the
//! horizon.

use std::collections::HashMap;

use contactflow_schemas::catalogue::Moment;
use contactflow_schemas::clock::{TimeMs, Window};
use contactflow_schemas::facts::Cell;
use contactflow_schemas::symbol::FastHash;
use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Broadcast;

use crate::cells::contribution;
use crate::conversation::{AsOf, GaugeChange, GaugeGroup};
use crate::difference::TallyDiff;
use crate::epochs::{Epoch, EpochBuffer};

enum Input {
    Change(GaugeChange),
    Latest(TimeMs, i64),
}

/// Levels of one worker's groups.
struct Levels {
    window: Window,
    /// The level after the last change.
    totals: HashMap<GaugeGroup, i64, FastHash>,
    as_of: AsOf,
}

impl Levels {
    fn new(window: Window) -> Self {
        Self { window, totals: HashMap::default(), as_of: AsOf::default() }
    }

    /// The last window, the one that holds as_of.
    fn horizon(&self) -> Option<TimeMs> {
        self.as_of.get().map(|time_ms| self.window.start_ms(time_ms))
    }

    /// Takes in one epoch and emits what each window gains: (group, start of the window, by how much).
    fn process(&mut self, items: impl IntoIterator<Item = Input>, emit: &mut impl FnMut(GaugeGroup, TimeMs, i64)) {
        let before = self.horizon();
        let mut changes: HashMap<GaugeGroup, Vec<(TimeMs, i64)>, FastHash> = HashMap::default();
        for item in items {
            match item {
                Input::Change((group, time_ms, delta)) => {
                    changes.entry(group).or_default().push((self.window.start_ms(time_ms), delta));
                }
                Input::Latest(time_ms, diff) => self.as_of.update(time_ms, diff),
            }
        }
        let after = self.horizon();
        if before != after {
            // The horizon moves for every group that has a level to carry.
            for group in self.totals.keys() {
                changes.entry(*group).or_default();
            }
        }
        for (group, mut changes) in changes {
            changes.sort_unstable();
            self.update(group, &changes, before, after, emit);
        }
    }

    /// What the windows of one group gain from sorted changes and from the horizon's move from `before` to `after`.
    ///
    /// Up to both horizons a window gains the changes up to it. Windows that are new with a later horizon also get the
    /// level from before. Windows beyond an earlier horizon lose what they held: the level from before less the old
    /// changes after them, all of which are taken back in this very epoch.
    fn update(
        &mut self,
        group: GaugeGroup,
        changes: &[(TimeMs, i64)],
        before: Option<TimeMs>,
        after: Option<TimeMs>,
        emit: &mut impl FnMut(GaugeGroup, TimeMs, i64),
    ) {
        let delta: i64 = changes.iter().map(|(_, delta)| delta).sum();
        let total = self.totals.remove(&group).unwrap_or(0);
        if total + delta != 0 {
            self.totals.insert(group, total + delta);
        }
        let Some(horizon) = before.max(after) else { return };
        let length_ms = self.window.length_ms();
        let (edge, extra) = match (before, after) {
            (Some(before), Some(after)) if after > before => (before + length_ms, total),
            (Some(before), Some(after)) if after < before => (after + length_ms, -(total + delta)),
            _ => (TimeMs::MAX, 0),
        };
        // Between these windows the gain is constant, so a stretch without any costs nothing however long it is.
        let mut steps: Vec<TimeMs> = changes.iter().map(|(at, _)| *at).chain([edge]).collect();
        steps.sort_unstable();
        steps.dedup();
        let end = horizon + length_ms;
        let (mut gain, mut next) = (0, 0);
        for (number, &step) in steps.iter().enumerate() {
            while let Some((_, delta)) = changes.get(next).filter(|(at, _)| *at <= step) {
                gain += delta;
                next += 1;
            }
            let gain = gain + if step >= edge { extra } else { 0 };
            let until = steps.get(number + 1).map_or(end, |following| *following.min(&end));
            if gain != 0 && step < until {
                (0..(until - step) / length_ms).for_each(|window| emit(group, step + window * length_ms, gain));
            }
        }
    }
}

/// The unattended level of each group at the end of each window, as contributions to the cells of that window.
pub fn gauges<'scope>(
    levels: Stream<'scope, Epoch, Vec<GaugeChange>>,
    latest: Stream<'scope, Epoch, Vec<(TimeMs, i64)>>,
    window: Window,
) -> VecCollection<'scope, Epoch, Cell, TallyDiff> {
    let mut builder = OperatorBuilder::new(format!("Gauges: {window:?}"), levels.scope());
    let route = Exchange::new(|(group, _, _): &GaugeChange| group.stable_hash());
    let mut levels_input = builder.new_input(levels, route);
    let mut latest_input = builder.new_input(latest.broadcast(), Pipeline);
    let (output, cells) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(output);
    builder.build(move |_capabilities| {
        let mut buffer = EpochBuffer::new(1);
        let mut levels = Levels::new(window);
        move |frontiers| {
            levels_input.for_each(|capability, rows: &mut Vec<_>| {
                buffer.stash(&capability, rows.drain(..).map(Input::Change).collect());
            });
            latest_input.for_each(|capability, rows: &mut Vec<_>| {
                buffer.stash(&capability, rows.drain(..).map(|(time_ms, diff)| Input::Latest(time_ms, diff)).collect());
            });
            while let Some(mut batch) = buffer.next_complete(&[&frontiers[0], &frontiers[1]]) {
                let items = batch.take_items();
                let mut output = output.activate();
                let mut session = output.session(&batch.capabilities[0]);
                levels.process(items, &mut |group, start_ms, level| {
                    let (cell, tally) = contribution(Moment::Unattended(level), start_ms, window, group);
                    session.give((cell, batch.epoch, tally));
                });
            }
        }
    });
    cells.as_collection()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use contactflow_schemas::clock::HOUR_MS;
    use contactflow_schemas::symbol::Symbol;

    use super::*;

    fn group() -> GaugeGroup {
        GaugeGroup { tenant: Symbol::new("t"), channel: Symbol::new("chat"), agent: None }
    }

    /// The levels a from-scratch computation gives.
    fn expected(changes: &[(TimeMs, i64)], as_of_ms: TimeMs) -> BTreeMap<TimeMs, i64> {
        let mut levels = BTreeMap::new();
        for start_ms in (0..=Window::Hour.start_ms(as_of_ms)).step_by(HOUR_MS as usize) {
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
        let mut levels = Levels::new(Window::Hour);
        let (mut all, mut state, mut latest) = (Vec::new(), BTreeMap::new(), None);
        for (changes, as_of_ms) in epochs {
            let mut items: Vec<Input> = latest.map(|time_ms| Input::Latest(time_ms, -1)).into_iter().collect();
            items.push(Input::Latest(as_of_ms, 1));
            items.extend(changes.iter().map(|&(at, delta)| Input::Change((group(), at, delta))));
            latest = Some(as_of_ms);
            levels.process(items, &mut |_, start_ms, level| *state.entry(start_ms).or_insert(0) += level);
            state.retain(|_, level| *level != 0);
            all.extend(changes);
            assert_eq!(state, expected(&all, as_of_ms), "as of {as_of_ms}");
        }
    }
}
