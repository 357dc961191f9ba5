//! The timely operator around the [`Ledger`].

use std::cell::RefCell;
use std::rc::Rc;

use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::dimension::{DimensionEvent, MergeEvent};
use contactflow_schemas::event::ConversationKey;
use contactflow_schemas::reject::Reject;
use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::{Effects, Incoming, Ledger};
use crate::as_of::LatestTimes;
use crate::conversation::Change;
use crate::epochs::{Epoch, EpochBuffer};

/// Net results of deduplication.
pub struct Deduplicated<'scope> {
    /// Changes to the histories of conversations.
    pub changes: Stream<'scope, Epoch, Vec<(ConversationKey, Change)>>,
    /// Rows that cannot be used.
    pub rejects: VecCollection<'scope, Epoch, Reject, isize>,
    /// Latest event time per worker, as insertions and removals: the greatest of all of them is as_of.
    pub latest: LatestTimes<'scope>,
    /// Changes of dimensions.
    pub dimensions: Stream<'scope, Epoch, Vec<(DimensionEvent, isize)>>,
    /// Changes of merges.
    pub merges: Stream<'scope, Epoch, Vec<(MergeEvent, isize)>>,
    /// What stands, on this worker; to be looked at between the steps of the dataflow.
    pub ledger: Rc<RefCell<Ledger>>,
}

/// Where the rows that changed the ledger are written down, in their order: whoever takes in these rows again, in any
/// order between identities, has the same ledger.
pub trait Journal {
    /// Takes a row of `epoch` down.
    fn record(&mut self, epoch: Epoch, row: &Incoming);

    /// Takes the row recorded last back: it changed nothing.
    fn strike(&mut self);
}

/// No journal: what was taken in is known to nobody else.
impl Journal for () {
    fn record(&mut self, _epoch: Epoch, _row: &Incoming) {}

    fn strike(&mut self) {}
}

/// Reduces deliveries to net events. Rows are routed by identity; each epoch is processed when it is complete, and the
/// rows that changed something go to the `journal` of this worker.
pub fn deduplicate<'scope>(
    incoming: Stream<'scope, Epoch, Vec<Incoming>>,
    mut journal: impl Journal + 'static,
) -> Deduplicated<'scope> {
    let mut builder = OperatorBuilder::new("Deduplicate".to_owned(), incoming.scope());
    let mut input = builder.new_input(incoming, Exchange::new(Incoming::stable_hash));
    let (changes_output, changes) = builder.new_output();
    let (rejects_output, rejects) = builder.new_output();
    let (latest_output, latest) = builder.new_output();
    let (dimensions_output, dimensions) = builder.new_output();
    let (merges_output, merges) = builder.new_output();
    let mut changes_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(changes_output);
    let mut rejects_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(rejects_output);
    let mut latest_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(latest_output);
    let mut dimensions_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(dimensions_output);
    let mut merges_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(merges_output);

    let ledger = Rc::new(RefCell::new(Ledger::default()));
    let shared = Rc::clone(&ledger);
    builder.build(move |_capabilities| {
        let mut buffer = EpochBuffer::new(5);
        let mut reported_ms: Option<TimeMs> = None;
        move |frontiers| {
            input.for_each(|capability, rows: &mut Vec<Incoming>| buffer.stash(&capability, std::mem::take(rows)));
            while let Some(mut batch) = buffer.next_complete(&[&frontiers[0]]) {
                let mut effects = Effects::default();
                let mut ledger = shared.borrow_mut();
                for row in batch.take_items() {
                    journal.record(batch.epoch, &row);
                    let is_new = match row {
                        Incoming::Delivery(delivery) => ledger.deliver(delivery, &mut effects),
                        Incoming::Rejected(row) => ledger.reject(*row, &mut effects),
                    };
                    if !is_new {
                        journal.strike();
                    }
                }
                let mut output = changes_output.activate();
                output.session(&batch.capabilities[0]).give_iterator(effects.changes.into_iter());
                let mut output = rejects_output.activate();
                let rejects = effects.rejects.into_iter().map(|(reject, diff)| (reject, batch.epoch, diff));
                output.session(&batch.capabilities[1]).give_iterator(rejects);
                let mut output = dimensions_output.activate();
                output.session(&batch.capabilities[3]).give_iterator(effects.dimensions.into_iter());
                let mut output = merges_output.activate();
                output.session(&batch.capabilities[4]).give_iterator(effects.merges.into_iter());
                let latest_ms = ledger.latest_ms();
                if latest_ms != reported_ms {
                    let mut output = latest_output.activate();
                    let mut session = output.session(&batch.capabilities[2]);
                    session.give_iterator(reported_ms.map(|time_ms| (time_ms, -1)).into_iter());
                    session.give_iterator(latest_ms.map(|time_ms| (time_ms, 1)).into_iter());
                    reported_ms = latest_ms;
                }
            }
        }
    });
    Deduplicated { changes, rejects: rejects.as_collection(), latest, dimensions, merges, ledger }
}
