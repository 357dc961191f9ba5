//! Roll-ups by changes: what coarser levels of cells gain when a finer one changes.
//!
//! Almost everything in a tally adds up, so the change of a child is the change of its parent, and only that is sent. What
//! does not add up are extremes: for the durations that a change touches, the child's least and greatest value before and
//! after are looked up in its trace. That is done once for all levels that are made of one.

use contactflow_schemas::aggregate::{RollUp, roll_up_change, touched_extremes};
use contactflow_schemas::facts::Cell;
use contactflow_schemas::tally::{KpiId, Slot, Tally};
use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use differential_dataflow::trace::TraceReader;
use differential_dataflow::trace::cursor::{BatchCursor, Cursor, CursorList, cursor_list};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::CapabilitySet;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::frontier::Antichain;

use crate::cells::{ArrangedCells, CellTrace};
use crate::difference::TallyDiff;
use crate::epochs::Epoch;
use crate::gains::Gains;

/// A coarser level.
pub struct Target {
    /// What its cells gain of their children's entries.
    takes: Box<dyn Fn(Slot) -> bool>,
    /// The cell that a child is part of.
    project: Box<dyn Fn(Cell) -> Cell>,
}

impl Target {
    /// A level of cells that are the roll-ups of their children.
    pub fn rolled_up(how: RollUp, project: impl Fn(Cell) -> Cell + 'static) -> Self {
        Self { takes: Box::new(move |slot| how.takes(slot.kpi())), project: Box::new(project) }
    }

    /// A level that keeps some entries of the groups' roll-ups only.
    pub fn excerpt(takes: impl Fn(Slot) -> bool + 'static, project: impl Fn(Cell) -> Cell + 'static) -> Self {
        Self { takes: Box::new(takes), project: Box::new(project) }
    }
}

/// What the cells of coarser levels gain by the changes of `children`: a collection for each target, in order.
pub fn roll_up_changes<'scope>(
    children: ArrangedCells<'scope>,
    targets: Vec<Target>,
) -> Vec<VecCollection<'scope, Epoch, Cell, TallyDiff>> {
    let mut trace = children.trace;
    let mut builder = OperatorBuilder::new("RollUp".to_owned(), children.stream.scope());
    let mut input = builder.new_input(children.stream, Pipeline);
    let (mut outputs, mut streams) = (Vec::new(), Vec::new());
    for _ in &targets {
        let (output, stream) = builder.new_output();
        outputs.push(OutputBuilder::<_, CapacityContainerBuilder<Vec<(Cell, Epoch, TallyDiff)>>>::from(output));
        streams.push(stream.as_collection());
    }
    builder.build(move |_capabilities| {
        let mut lower_limit = Antichain::from_elem(0);
        let mut upper_limit = Antichain::from_elem(0);
        let mut gains: Vec<Gains<(Cell, Epoch)>> = targets.iter().map(|_| Gains::default()).collect();
        move |_frontiers| {
            // Batches come in order: what was the end of the last ones is the beginning of these.
            lower_limit.clone_from(&upper_limit);
            let mut batches = Vec::new();
            let mut capabilities: Vec<CapabilitySet<Epoch>> = targets.iter().map(|_| CapabilitySet::new()).collect();
            input.for_each(|capability, spans| {
                for (output, kept) in capabilities.iter_mut().enumerate() {
                    for capability in capability.retain_stamp(output).iter() {
                        kept.insert(capability.clone());
                    }
                }
                for batch in spans.drain(..) {
                    upper_limit.clone_from(batch.upper());
                    batches.extend(batch.inner);
                }
            });
            if !batches.is_empty() {
                let (changes, changes_storage) = cursor_list(batches);
                let earlier = trace.batches_through(lower_limit.borrow()).unwrap_or_default();
                let (earlier, earlier_storage) = cursor_list(earlier);
                gather((changes, &changes_storage), (earlier, &earlier_storage), &targets, &mut gains);
                for ((output, gains), capabilities) in outputs.iter_mut().zip(&mut gains).zip(&capabilities) {
                    let mut output = output.activate();
                    let mut session = output.session(capabilities);
                    gains.take().for_each(|((parent, epoch), diff)| session.give((parent, epoch, diff)));
                }
            }
            trace.advance_upper(&mut upper_limit);
            trace.set_logical_compaction(upper_limit.borrow());
            trace.set_physical_compaction(upper_limit.borrow());
        }
    });
    streams
}

/// A cursor over batches of cells.
type Batches<'a> = (CursorList<BatchCursor<CellTrace>>, &'a Vec<<CellTrace as TraceReader>::Batch>);

/// Adds what the targets gain by the changes of children, given what these were earlier.
fn gather(
    (mut changes, changes_storage): Batches,
    (mut earlier, earlier_storage): Batches,
    targets: &[Target],
    gains: &mut [Gains<(Cell, Epoch)>],
) {
    let mut touched: Vec<KpiId> = Vec::new();
    let mut change: Vec<(Slot, i64)> = Vec::new();
    let mut gained: Vec<(Slot, i64)> = Vec::new();
    while let Some(&cell) = changes.get_key(changes_storage) {
        // Of every epoch by itself: what cancels over several has still moved in between.
        touched.clear();
        changes.map_times(changes_storage, |_, diff| touched.extend(touched_extremes(&diff.0)));
        touched.sort_unstable();
        touched.dedup();
        // The child before, as far as extremes are concerned.
        let mut before = Tally::default();
        if !touched.is_empty() {
            earlier.seek_key(earlier_storage, &cell);
            if earlier.get_key(earlier_storage) == Some(&cell) {
                earlier.map_times(earlier_storage, |_, diff| before.add(&diff.0.of_kpis(&touched)));
            }
        }
        changes.map_times(changes_storage, |&epoch, diff| {
            change.clear();
            gained.clear();
            diff.0.unpack_into(&mut change);
            roll_up_change(&before, &change, &mut gained);
            for (target, gains) in targets.iter().zip(gains.iter_mut()) {
                let taken = gained.iter().filter(|(slot, _)| (target.takes)(*slot));
                gains.of(((target.project)(cell), epoch)).extend(taken);
            }
            before.add(&diff.0.of_kpis(&touched));
        });
        changes.step_key(changes_storage);
    }
}
