//! The timely operator that keeps the histories.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::dimension::{DimensionEvent, MergeEvent};
use contactflow_schemas::event::ConversationKey;
use contactflow_schemas::facts::{Cell, CycleFacts, LabelledText, Turn};
use contactflow_schemas::prediction::TextKey;
use contactflow_schemas::reject::Reject;
use contactflow_schemas::rules::KpiRules;
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::windows::{Window, Windows};
use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::{Broadcast, Partition, ToStream};

use super::settled::Settled;
use super::store::{Received, Store};
use super::{Change, LevelUpdate, VisitUpdate, WaitUpdate};
use crate::as_of::LatestTimes;
use crate::causes::Causes;
use crate::difference::TallyDiff;
use crate::epochs::{Epoch, EpochBatch, EpochBuffer};
use crate::metrics::Metrics;

/// What conversations depend on.
#[derive(Clone)]
pub struct ConversationsInput<'scope> {
    /// Latest event times.
    pub latest: LatestTimes<'scope>,
    /// Changes of dimensions.
    pub dimensions: Stream<'scope, Epoch, Vec<(DimensionEvent, isize)>>,
    /// Changes of merges.
    pub merges: Stream<'scope, Epoch, Vec<(MergeEvent, isize)>>,
    /// Thresholds.
    pub rules: KpiRules,
    /// Windows of the tables.
    pub windows: Windows,
    /// Where causes of restatements go.
    pub causes: Causes,
    /// What the operators count.
    pub metrics: Metrics,
}

/// What follows from the conversations.
pub struct Conversations<'scope> {
    /// Rows of conversation_facts.
    pub facts: VecCollection<'scope, Epoch, CycleFacts, isize>,
    /// Contributions to the finest cells, in the difference.
    pub contributions: VecCollection<'scope, Epoch, (Window, Cell), TallyDiff>,
    /// Changes of levels.
    pub levels: Stream<'scope, Epoch, Vec<LevelUpdate>>,
    /// Customers who begin or cease to wait.
    pub waits: Stream<'scope, Epoch, Vec<WaitUpdate>>,
    /// What conversations are to the others of their contact.
    pub visits: Stream<'scope, Epoch, Vec<VisitUpdate>>,
    /// Messages to score.
    pub turns: VecCollection<'scope, Epoch, Turn, isize>,
    /// Messages whose true class somebody has told.
    pub labelled: VecCollection<'scope, Epoch, LabelledText, isize>,
    /// Rows that refer to nothing.
    pub rejects: VecCollection<'scope, Epoch, Reject, isize>,
    /// The histories on this worker; to be looked at between the steps of the dataflow.
    pub histories: Histories,
}

impl<'scope> Conversations<'scope> {
    fn concat(self, other: Self) -> Self {
        use timely::dataflow::operators::Concat;
        Self {
            facts: self.facts.concat(other.facts),
            contributions: self.contributions.concat(other.contributions),
            levels: self.levels.concat(other.levels),
            waits: self.waits.concat(other.waits),
            visits: self.visits.concat(other.visits),
            turns: self.turns.concat(other.turns),
            labelled: self.labelled.concat(other.labelled),
            rejects: self.rejects.concat(other.rejects),
            histories: self.histories,
        }
    }
}

/// One worker's histories.
#[derive(Clone)]
pub struct Histories(Rc<RefCell<Store>>);

impl Histories {
    /// The conversations of which everything lies before a time, for good: see [`Settled`]. Left out are those that are
    /// `disputed` and those with a text that is `waiting` for the model.
    pub fn settled(
        &self,
        before_ms: TimeMs,
        disputed: &HashSet<ConversationKey>,
        waiting: &HashSet<TextKey>,
    ) -> Vec<Settled> {
        self.0.borrow().settled(before_ms, disputed, waiting)
    }
}

/// Which histories an operator keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Every conversation's own events. Those that merges concern are handed on.
    Own,
    /// Joint histories of merged conversations, under their root.
    Joint,
}

/// Changes of histories, by conversation.
type Changes<'scope> = Stream<'scope, Epoch, Vec<(ConversationKey, Change)>>;

/// Everything that follows from histories: merged conversations count under the one they were merged into (rule 12).
///
/// Each conversation's own events stay with the worker of its id. Only where a merge concerns it, its events go on to
/// the worker of the root, so a merge costs what it concerns and nothing else.
pub fn conversations<'scope>(changes: Changes<'scope>, input: ConversationsInput<'scope>) -> Conversations<'scope> {
    let (own, moved) = stage(Stage::Own, changes, input.clone());
    let (joint, _) = stage(Stage::Joint, moved, input);
    own.concat(joint)
}

fn stage<'scope>(
    stage: Stage,
    changes: Changes<'scope>,
    input: ConversationsInput<'scope>,
) -> (Conversations<'scope>, Changes<'scope>) {
    let ConversationsInput { latest, dimensions, merges, rules, windows, causes, metrics } = input;
    let scope = changes.scope();
    // Labels without a conversation concern whatever has their message, which only own histories know.
    let (changes, labels, merges) = match stage {
        Stage::Own => {
            let unplaced = Symbol::new("");
            let is_unplaced = move |key: &ConversationKey| u64::from(key.conversation == unplaced);
            let mut parts = changes.partition(2, move |(key, change)| (is_unplaced(&key), (key, change)));
            let labels = parts.pop().unwrap_or_else(|| Vec::new().to_stream(scope));
            let changes = parts.pop().unwrap_or_else(|| Vec::new().to_stream(scope));
            (changes, labels, merges)
        }
        Stage::Joint => (changes, Vec::new().to_stream(scope), Vec::new().to_stream(scope)),
    };
    let mut builder = OperatorBuilder::new(format!("Conversations: {stage:?}"), scope);
    let route = Exchange::new(|(key, _): &(ConversationKey, Change)| key.stable_hash());
    let mut changes_input = builder.new_input(changes, route);
    let mut latest_input = builder.new_input(latest.broadcast(), Pipeline);
    let mut dimensions_input = builder.new_input(dimensions.broadcast(), Pipeline);
    let mut merges_input = builder.new_input(merges.broadcast(), Pipeline);
    let mut labels_input = builder.new_input(labels.broadcast(), Pipeline);
    let (facts_output, facts) = builder.new_output();
    let (cells_output, cells) = builder.new_output();
    let (levels_output, levels) = builder.new_output();
    let (waits_output, waits) = builder.new_output();
    let (visits_output, visits) = builder.new_output();
    let (turns_output, turns) = builder.new_output();
    let (rejects_output, rejects) = builder.new_output();
    let (moved_output, moved) = builder.new_output();
    let (labelled_output, labelled) = builder.new_output();
    let mut facts_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(facts_output);
    let mut cells_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(cells_output);
    let mut levels_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(levels_output);
    let mut waits_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(waits_output);
    let mut visits_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(visits_output);
    let mut turns_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(turns_output);
    let mut rejects_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(rejects_output);
    let mut moved_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(moved_output);
    let mut labelled_output = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(labelled_output);

    let histories = Histories(Rc::new(RefCell::new(Store::new(rules, windows, causes, Arc::clone(&metrics)))));
    let shared = histories.clone();
    builder.build(move |_capabilities| {
        let mut buffer = EpochBuffer::new(9);
        move |frontiers| {
            changes_input.for_each(|capability, rows: &mut Vec<_>| {
                buffer.stash(&capability, vec![Received::Changes(std::mem::take(rows))]);
            });
            latest_input.for_each(|capability, rows: &mut Vec<(TimeMs, i64)>| {
                buffer.stash(&capability, vec![Received::Latest(std::mem::take(rows))]);
            });
            dimensions_input.for_each(|capability, rows: &mut Vec<_>| {
                buffer.stash(&capability, vec![Received::Dimensions(std::mem::take(rows))]);
            });
            merges_input.for_each(|capability, rows: &mut Vec<_>| {
                buffer.stash(&capability, vec![Received::Merges(std::mem::take(rows))]);
            });
            labels_input.for_each(|capability, rows: &mut Vec<_>| {
                buffer.stash(&capability, vec![Received::Labels(std::mem::take(rows))]);
            });
            let open = [&frontiers[0], &frontiers[1], &frontiers[2], &frontiers[3], &frontiers[4]];
            while let Some(mut batch) = buffer.next_complete(&open) {
                let (mut differences, moved) = shared.0.borrow_mut().process(batch.take_items());
                let EpochBatch { epoch, capabilities, .. } = batch;
                let facts = std::mem::take(&mut differences.facts).into_iter();
                facts_output
                    .activate()
                    .session(&capabilities[0])
                    .give_iterator(facts.map(|(row, diff)| (row, epoch, diff)));
                let cells: Vec<_> = differences.take_cells().map(|(cell, diff)| (cell, epoch, diff)).collect();
                metrics.cells_changed.add(cells.len());
                let cells = cells.into_iter();
                cells_output.activate().session(&capabilities[1]).give_iterator(cells);
                levels_output.activate().session(&capabilities[2]).give_iterator(differences.levels.into_iter());
                waits_output.activate().session(&capabilities[3]).give_iterator(differences.waits.into_iter());
                visits_output.activate().session(&capabilities[4]).give_iterator(differences.visits.into_iter());
                let turns = differences.turns.into_iter().map(|(row, diff)| (row, epoch, diff));
                turns_output.activate().session(&capabilities[5]).give_iterator(turns);
                let rejects = differences.rejects.into_iter().map(|(row, diff)| (row, epoch, diff));
                rejects_output.activate().session(&capabilities[6]).give_iterator(rejects);
                moved_output.activate().session(&capabilities[7]).give_iterator(moved.into_iter());
                let labelled = differences.labelled.into_iter().map(|(row, diff)| (row, epoch, diff));
                labelled_output.activate().session(&capabilities[8]).give_iterator(labelled);
            }
        }
    });
    let conversations = Conversations {
        facts: facts.as_collection(),
        contributions: cells.as_collection(),
        levels,
        waits,
        visits,
        turns: turns.as_collection(),
        labelled: labelled.as_collection(),
        rejects: rejects.as_collection(),
        histories,
    };
    (conversations, moved)
}
