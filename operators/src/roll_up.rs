//! Roll-ups by changes: what a coarser level of cells gains when a finer one changes.
//!
//! Almost everything in a tally adds up, so the change of a child is the change of its parent, and only that is sent. What
//! does not add up are extremes: for the durations that a change touches, the child's least and greatest value before and
//! after are looked up in its trace.

use contactflow_schemas::aggregate::{RollUp, roll_up_change, touched_extremes};
use contactflow_schemas::facts::Cell;
use contactflow_schemas::tally::Tally;
use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use differential_dataflow::trace::TraceReader;
use differential_dataflow::trace::cursor::{Cursor, cursor_list};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::operator::Operator;
use timely::progress::frontier::Antichain;

use crate::cells::ArrangedCells;
use crate::difference::TallyDiff;
use crate::epochs::Epoch;

/// What the parents of these cells gain by their changes.
pub fn roll_up_changes<'scope>(
    children: ArrangedCells<'scope>,
    how: RollUp,
    project: impl Fn(Cell) -> Cell + 'static,
) -> VecCollection<'scope, Epoch, Cell, TallyDiff> {
    if how == RollUp::OverGroupExactly {
        return children.as_collection(move |cell, ()| project(*cell));
    }
    let mut trace = children.trace.clone();
    children
        .stream
        .unary_frontier(Pipeline, "RollUp", move |_, _| {
            let mut lower_limit = Antichain::from_elem(0);
            let mut upper_limit = Antichain::from_elem(0);
            move |(input, _frontier), output| {
                // Batches come in order: what was the end of the last ones is the beginning of these.
                lower_limit.clone_from(&upper_limit);
                let mut batches = Vec::new();
                let mut capabilities = timely::dataflow::operators::CapabilitySet::new();
                input.for_each(|capability, spans| {
                    for capability in capability.retain_stamp(0).iter() {
                        capabilities.insert(capability.clone());
                    }
                    for batch in spans.drain(..) {
                        upper_limit.clone_from(batch.upper());
                        batches.extend(batch.inner);
                    }
                });
                if !capabilities.is_empty() {
                    let mut session = output.session(&capabilities);
                    let (mut changes, changes_storage) = cursor_list(batches);
                    let earlier = trace.batches_through(lower_limit.borrow()).unwrap_or_default();
                    let (mut earlier, earlier_storage) = cursor_list(earlier);
                    while let Some(&cell) = changes.get_key(&changes_storage) {
                        let parent = project(cell);
                        // Of every epoch by itself: what cancels over several has still moved in between.
                        let mut touched = Vec::new();
                        changes.map_times(&changes_storage, |_, diff| touched.extend(touched_extremes(&diff.0)));
                        touched.sort_unstable();
                        touched.dedup();
                        // The child before, as far as extremes are concerned.
                        let mut before = Tally::default();
                        if !touched.is_empty() {
                            earlier.seek_key(&earlier_storage, &cell);
                            if earlier.get_key(&earlier_storage) == Some(&cell) {
                                let add = |_: &Epoch, diff: &TallyDiff| before.add(&diff.0.of_kpis(&touched));
                                earlier.map_times(&earlier_storage, add);
                            }
                        }
                        changes.map_times(&changes_storage, |&epoch, diff| {
                            let change = roll_up_change(&before, &diff.0, how);
                            if !change.is_zero() {
                                session.give((parent, epoch, TallyDiff(change)));
                            }
                            before.add(&diff.0.of_kpis(&touched));
                        });
                        changes.step_key(&changes_storage);
                    }
                }
                trace.advance_upper(&mut upper_limit);
                trace.set_logical_compaction(upper_limit.borrow());
                trace.set_physical_compaction(upper_limit.borrow());
            }
        })
        .as_collection()
}
