//! The timely operator that keeps the histories.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::event::ConversationKey;
use contactflow_schemas::facts::{Cell, CycleFacts, Turn};
use contactflow_schemas::reject::Reject;
use contactflow_schemas::symbol::FastHash;
use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Broadcast;

use super::{Change, Differences, GaugeChange, History, View, apply, view};
use crate::difference::TallyDiff;
use crate::epochs::{Epoch, EpochBatch, EpochBuffer};

/// What follows from the conversations.
pub struct Conversations<'scope> {
    /// Rows of conversation_facts.
    pub facts: VecCollection<'scope, Epoch, CycleFacts, isize>,
    /// Contributions to the hourly agent×channel cells, in the difference.
    pub contributions: VecCollection<'scope, Epoch, Cell, TallyDiff>,
    /// Changes of the unattended level.
    pub levels: Stream<'scope, Epoch, Vec<GaugeChange>>,
    /// Messages to score.
    pub turns: VecCollection<'scope, Epoch, Turn, isize>,
    /// Rows that refer to nothing.
    pub rejects: VecCollection<'scope, Epoch, Reject, isize>,
}

/// A container of either input.
enum Input {
    Changes(Vec<(ConversationKey, Change)>),
    Latest(Vec<(TimeMs, i64)>),
}

/// The multiset of each worker's latest event time; its greatest element is as_of.
#[derive(Debug, Default)]
pub struct AsOf(BTreeMap<TimeMs, i64>);

impl AsOf {
    /// Inserts (`diff` 1) or removes (−1) a worker's latest event time.
    pub fn update(&mut self, time_ms: TimeMs, diff: i64) {
        let count = self.0.entry(time_ms).or_default();
        *count += diff;
        if *count == 0 {
            self.0.remove(&time_ms);
        }
    }

    /// The latest event time; none before the first event.
    pub fn get(&self) -> Option<TimeMs> {
        self.0.last_key_value().map(|(&time_ms, _)| time_ms)
    }
}

/// One worker's conversations.
#[derive(Default)]
struct Store {
    histories: HashMap<ConversationKey, History, FastHash>,
    /// Conversations whose view changes when as_of passes a time.
    deadlines: BTreeMap<TimeMs, BTreeSet<ConversationKey>>,
    as_of: AsOf,
}

impl Store {
    /// Brings the store to the end of an epoch and returns what changed in the views.
    fn process(&mut self, inputs: impl Iterator<Item = Input>) -> Differences {
        let before_ms = self.as_of.get().unwrap_or(0);
        let mut changes: HashMap<ConversationKey, Vec<Change>, FastHash> = HashMap::default();
        for input in inputs {
            match input {
                Input::Changes(chunk) => {
                    chunk.into_iter().for_each(|(key, change)| changes.entry(key).or_default().push(change));
                }
                Input::Latest(chunk) => {
                    chunk.into_iter().for_each(|(time_ms, diff)| self.as_of.update(time_ms, diff));
                }
            }
        }
        let after_ms = self.as_of.get().unwrap_or(0);
        for key in self.passed(before_ms, after_ms) {
            changes.entry(key).or_default();
        }
        let mut differences = Differences::default();
        for (key, changes) in changes {
            self.change(key, changes, before_ms, after_ms, &mut differences);
        }
        differences
    }

    /// Conversations with a deadline that one of two values of as_of has passed and the other has not. A deadline is
    /// passed when as_of is greater than it.
    fn passed(&self, before_ms: TimeMs, after_ms: TimeMs) -> Vec<ConversationKey> {
        let (from_ms, to_ms) = (before_ms.min(after_ms), before_ms.max(after_ms));
        self.deadlines.range(from_ms..to_ms).flat_map(|(_, keys)| keys.iter().copied()).collect()
    }

    fn change(
        &mut self,
        key: ConversationKey,
        changes: Vec<Change>,
        before_ms: TimeMs,
        after_ms: TimeMs,
        differences: &mut Differences,
    ) {
        let mut events = self.histories.get(&key).map_or_else(Vec::new, History::unpack);
        let before = if events.is_empty() { View::default() } else { view(key, &events, before_ms) };
        let changed = !changes.is_empty();
        apply(&mut events, changes);
        let after = if events.is_empty() { View::default() } else { view(key, &events, after_ms) };
        if before.deadlines_ms != after.deadlines_ms {
            self.move_deadlines(key, &before.deadlines_ms, &after.deadlines_ms);
        }
        if events.is_empty() {
            self.histories.remove(&key);
        } else if changed {
            self.histories.insert(key, History::pack(&events));
        }
        differences.add(key, before, after);
    }

    fn move_deadlines(&mut self, key: ConversationKey, before_ms: &[TimeMs], after_ms: &[TimeMs]) {
        for deadline_ms in before_ms {
            if let Some(keys) = self.deadlines.get_mut(deadline_ms) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.deadlines.remove(deadline_ms);
                }
            }
        }
        for &deadline_ms in after_ms {
            self.deadlines.entry(deadline_ms).or_default().insert(key);
        }
    }
}

/// Keeps the histories, routed by conversation, and sends what changes in their views.
pub fn conversations<'scope>(
    changes: Stream<'scope, Epoch, Vec<(ConversationKey, Change)>>,
    latest: Stream<'scope, Epoch, Vec<(TimeMs, i64)>>,
) -> Conversations<'scope> {
    let mut builder = OperatorBuilder::new("Conversations".to_owned(), changes.scope());
    let route = Exchange::new(|(key, _): &(ConversationKey, Change)| key.stable_hash());
    let mut changes_input = builder.new_input(changes, route);
    let mut latest_input = builder.new_input(latest.broadcast(), Pipeline);
    let (facts_output, facts) = builder.new_output();
    let (cells_output, cells) = builder.new_output();
    let (levels_output, levels) = builder.new_output();
    let (turns_output, turns) = builder.new_output();
    let (rejects_output, rejects) = builder.new_output();
    let mut facts_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(facts_output);
    let mut cells_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(cells_output);
    let mut levels_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(levels_output);
    let mut turns_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(turns_output);
    let mut rejects_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(rejects_output);

    builder.build(move |_capabilities| {
        let mut buffer = EpochBuffer::new(5);
        let mut store = Store::default();
        move |frontiers| {
            changes_input.for_each(|capability, rows: &mut Vec<_>| {
                buffer.stash(&capability, vec![Input::Changes(std::mem::take(rows))]);
            });
            latest_input.for_each(|capability, rows: &mut Vec<_>| {
                buffer.stash(&capability, vec![Input::Latest(std::mem::take(rows))]);
            });
            while let Some(mut batch) = buffer.next_complete(&[&frontiers[0], &frontiers[1]]) {
                let mut differences = store.process(batch.take_items());
                let EpochBatch { epoch, capabilities, .. } = batch;
                let cells = differences.take_cells().map(|(cell, diff)| (cell, epoch, diff));
                cells_output.activate().session(&capabilities[1]).give_iterator(cells);
                let facts = differences.facts.into_iter().map(|(row, diff)| (row, epoch, diff));
                facts_output.activate().session(&capabilities[0]).give_iterator(facts);
                levels_output.activate().session(&capabilities[2]).give_iterator(differences.levels.into_iter());
                let turns = differences.turns.into_iter().map(|(row, diff)| (row, epoch, diff));
                turns_output.activate().session(&capabilities[3]).give_iterator(turns);
                let rejects = differences.rejects.into_iter().map(|(row, diff)| (row, epoch, diff));
                rejects_output.activate().session(&capabilities[4]).give_iterator(rejects);
            }
        }
    });
    Conversations {
        facts: facts.as_collection(),
        contributions: cells.as_collection(),
        levels,
        turns: turns.as_collection(),
        rejects: rejects.as_collection(),
    }
}
