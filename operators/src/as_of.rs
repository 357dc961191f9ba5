//! as_of, the clock of everything that changes by the mere passing of time, and operators that follow it.
//!
//! as_of is the greatest event time over all net events. It moves on with the data and back when the latest event is
//! taken back, so it is data too: a multiset of each worker's latest event time.

use std::collections::BTreeMap;

use contactflow_schemas::clock::TimeMs;
use timely::ExchangeData;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Broadcast;

use crate::epochs::{Epoch, EpochBuffer};

/// Latest event times, as insertions (1) and removals (−1).
pub type LatestTimes<'scope> = Stream<'scope, Epoch, Vec<(TimeMs, i64)>>;

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

/// as_of before and after an epoch; none before the first event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsOfMove {
    /// Before the epoch.
    pub before_ms: Option<TimeMs>,
    /// After it.
    pub after_ms: Option<TimeMs>,
}

impl AsOfMove {
    /// The times that one of the two has passed and the other has not: a time is passed when as_of is greater than it.
    pub fn passed(&self) -> std::ops::Range<TimeMs> {
        let (before_ms, after_ms) = (self.before_ms.unwrap_or(0), self.after_ms.unwrap_or(0));
        before_ms.min(after_ms)..before_ms.max(after_ms)
    }
}

/// What an operator that follows as_of receives.
enum Received<D> {
    Item(D),
    Latest(TimeMs, i64),
}

/// An operator with one input that follows as_of: `step` takes in the items of an epoch and the move of as_of in it, and
/// emits. Items are routed by `route`; they belong to the epoch that `epoch_of` says, or to that of their container.
pub fn follow_as_of<'scope, D: ExchangeData, O: Clone + 'static>(
    name: &str,
    input: Stream<'scope, Epoch, Vec<D>>,
    route: fn(&D) -> u64,
    epoch_of: fn(&D) -> Option<Epoch>,
    latest: LatestTimes<'scope>,
    mut step: impl FnMut(Epoch, Vec<D>, AsOfMove, &mut dyn FnMut(O)) + 'static,
) -> Stream<'scope, Epoch, Vec<O>> {
    let mut builder = OperatorBuilder::new(name.to_owned(), input.scope());
    let mut items_input = builder.new_input(input, Exchange::new(route));
    let mut latest_input = builder.new_input(latest.broadcast(), Pipeline);
    let (output, stream) = builder.new_output();
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<O>>>::from(output);
    builder.build(move |_capabilities| {
        let mut buffer = EpochBuffer::new(1);
        let mut as_of = AsOf::default();
        move |frontiers| {
            items_input.for_each(|capability, rows: &mut Vec<D>| {
                let Some(&epoch) = capability.least() else { return };
                let items = rows.drain(..).map(|row| (epoch_of(&row).unwrap_or(epoch), Received::Item(row)));
                buffer.stash_updates(&capability, items);
            });
            latest_input.for_each(|capability, rows: &mut Vec<(TimeMs, i64)>| {
                let latest = rows.drain(..).map(|(time_ms, diff)| Received::Latest(time_ms, diff));
                buffer.stash(&capability, latest.collect());
            });
            while let Some(mut batch) = buffer.next_complete(&[&frontiers[0], &frontiers[1]]) {
                let before_ms = as_of.get();
                let mut items = Vec::new();
                for received in batch.take_items() {
                    match received {
                        Received::Item(item) => items.push(item),
                        Received::Latest(time_ms, diff) => as_of.update(time_ms, diff),
                    }
                }
                let moved = AsOfMove { before_ms, after_ms: as_of.get() };
                let mut output = output.activate();
                let mut session = output.session(&batch.capabilities[0]);
                step(batch.epoch, items, moved, &mut |row| session.give(row));
            }
        }
    });
    stream
}
