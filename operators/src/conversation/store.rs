//! One worker's conversations, without any dataflow: what changes in the views when histories, dimensions, merges or
//! as_of change.

use std::collections::{BTreeSet, HashMap};

use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::dimension::{DimensionEvent, MergeEvent};
use contactflow_schemas::event::{ConversationKey, Event};
use contactflow_schemas::rules::KpiRules;
use contactflow_schemas::symbol::FastHash;
use contactflow_schemas::windows::Windows;

use super::unplaced::UnplacedLabels;
use super::{Change, Context, Differences, EventRefs, History, View, apply, explain, moved_events, view, void_view};
use crate::as_of::{AsOf, AsOfMove};
use crate::causes::{CauseKind, Causes, EventRef};
use crate::dimensions::{Dimensions, TenantDimensions};
use crate::merges::{Merges, Role};
use crate::metrics::Metrics;

/// A container of any input.
pub(super) enum Received {
    Changes(Vec<(ConversationKey, Change)>),
    Latest(Vec<(TimeMs, i64)>),
    Dimensions(Vec<(DimensionEvent, isize)>),
    Merges(Vec<(MergeEvent, isize)>),
    /// Labels that name a message and no conversation.
    Labels(Vec<(ConversationKey, Change)>),
}

/// A conversation's history, and until when its view depends on dimensions.
struct Kept {
    history: History,
    /// Dimensions that change from a later time on do not matter; [`TimeMs::MAX`] while the view can change by itself.
    settled_ms: TimeMs,
}

/// One worker's conversations.
pub(super) struct Store {
    rules: KpiRules,
    windows: Windows,
    conversations: HashMap<ConversationKey, Kept, FastHash>,
    /// Conversations whose view changes when as_of passes a time.
    deadlines: BTreeSet<(TimeMs, ConversationKey)>,
    as_of: AsOf,
    dimensions: Dimensions,
    merges: Merges,
    labels: UnplacedLabels,
    causes: Causes,
    metrics: Metrics,
}

/// Changes of events that count under another conversation, by that one.
type Moves = Vec<(ConversationKey, Change)>;

/// What the view of a conversation depended on before an epoch.
struct Before<'a> {
    as_of_ms: TimeMs,
    dimensions: &'a TenantDimensions,
    role: Role,
}

impl Store {
    pub(super) fn new(rules: KpiRules, windows: Windows, causes: Causes, metrics: Metrics) -> Self {
        Self {
            rules,
            windows,
            conversations: HashMap::default(),
            deadlines: BTreeSet::new(),
            as_of: AsOf::default(),
            dimensions: Dimensions::default(),
            merges: Merges::default(),
            labels: UnplacedLabels::default(),
            causes,
            metrics,
        }
    }

    /// Brings the store to the end of an epoch. Returns what changed in the views, and in the events that go on to the
    /// root of a merge.
    pub(super) fn process(
        &mut self,
        inputs: impl Iterator<Item = Received>,
    ) -> (Differences, Vec<(ConversationKey, Change)>) {
        let before_ms = self.as_of.get();
        let mut changes: HashMap<ConversationKey, Vec<Change>, FastHash> = HashMap::default();
        let (mut dimensions, mut merges, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for input in inputs {
            match input {
                Received::Changes(chunk) => {
                    chunk.into_iter().for_each(|(key, change)| changes.entry(key).or_default().push(change));
                }
                Received::Latest(chunk) => {
                    chunk.into_iter().for_each(|(time_ms, diff)| self.as_of.update(time_ms, diff));
                }
                Received::Dimensions(chunk) => dimensions.extend(chunk),
                Received::Merges(chunk) => merges.extend(chunk),
                Received::Labels(chunk) => labels.extend(chunk),
            }
        }
        let placed = self.labels.take_in(labels);
        for (key, changes) in &mut changes {
            self.labels.follow(*key, changes);
        }
        for (key, change) in placed {
            let changes = changes.entry(key).or_default();
            // A label that moves between a conversation and none at all leaves the one and enters the other at once.
            match change {
                Change::Remove { .. } => changes.insert(0, change),
                Change::Put(_) => changes.push(change),
            }
        }
        let moved = AsOfMove { before_ms, after_ms: self.as_of.get() };
        let passed = moved.passed();
        let from = (passed.start, ConversationKey::least());
        for (_, key) in self.deadlines.range(from..).take_while(|(deadline_ms, _)| *deadline_ms < passed.end) {
            changes.entry(*key).or_default();
        }
        let dimensions = self.dimensions.update(dimensions);
        for change in &dimensions {
            let concerned = self
                .conversations
                .iter()
                .filter(|(key, kept)| key.tenant == change.tenant && kept.settled_ms >= change.since_ms);
            for (key, _) in concerned {
                changes.entry(*key).or_default();
            }
        }
        let roles = self.merges.update(merges);
        for key in roles.keys().filter(|key| self.conversations.contains_key(key)) {
            changes.entry(*key).or_default();
        }
        self.metrics.conversations_evaluated.add(changes.len());
        let mut output = (Differences::default(), Vec::new());
        for (key, changes) in changes {
            let changed = dimensions.iter().find(|change| change.tenant == key.tenant);
            let before = Before {
                as_of_ms: before_ms.unwrap_or(0),
                dimensions: changed.map_or(self.dimensions.of(key.tenant), |change| &change.before).as_ref(),
                role: roles.get(&key).copied().unwrap_or_else(|| self.merges.role(key)),
            };
            let mut news = explain::news(&self.causes, &changes);
            if let Some(change) = changed.filter(|_| self.causes.is_watching() && !self.causes.is_restart()) {
                news.extend(change.events.iter().cloned());
            }
            // What is only computed again explains nothing.
            let is_explained = changes.is_empty() || !news.is_empty();
            let kind = if news.is_empty() { CauseKind::Time } else { CauseKind::Events };
            let (events, shown, difference) = self.change(key, changes, &before);
            output.1.extend(difference);
            let news: EventRefs = news.into();
            if is_explained {
                explain::explain(&self.causes, key, &shown[0].view, &shown[1].view, kind, &news);
            }
            self.keep(key, events, shown, &news, &mut output.0);
        }
        output
    }

    /// The conversations that no merge concerns.
    pub(super) fn plain_histories(&self) -> impl Iterator<Item = (ConversationKey, &History)> {
        let plain = self.conversations.iter().filter(|(key, _)| self.merges.role(**key) == Role::Plain);
        plain.map(|(key, kept)| (*key, &kept.history))
    }

    /// The view of a conversation that no merge concerns, as of now.
    pub(super) fn view(&self, key: ConversationKey, events: &[Event]) -> View {
        let dimensions = self.dimensions.of(key.tenant);
        let as_of_ms = self.as_of.get().unwrap_or(0);
        view(&Context { rules: &self.rules, windows: &self.windows, dimensions, as_of_ms }, key, events)
    }

    /// True for an event that is a label without a conversation of its own.
    pub(super) fn is_unplaced(&self, key: ConversationKey, event: &Event) -> bool {
        self.labels.has(key.tenant, event)
    }

    fn change(
        &self,
        key: ConversationKey,
        changes: Vec<Change>,
        before: &Before,
    ) -> (Option<Vec<Event>>, [Shown; 2], Moves) {
        let mut events = self.conversations.get(&key).map_or_else(Vec::new, |kept| kept.history.unpack());
        let context =
            |dimensions, as_of_ms| Context { rules: &self.rules, windows: &self.windows, dimensions, as_of_ms };
        let shown_before = Shown::of(&context(before.dimensions, before.as_of_ms), key, &events, before.role);
        let changed = !changes.is_empty();
        apply(&mut events, changes);
        let as_of_ms = self.as_of.get().unwrap_or(0);
        let role = self.merges.role(key);
        let shown_after = Shown::of(&context(self.dimensions.of(key.tenant), as_of_ms), key, &events, role);
        let difference = moves(&shown_before.moved, &shown_after.moved);
        (changed.then_some(events), [shown_before, shown_after], difference)
    }

    /// Makes the state after an epoch that of a conversation; `events` are its events if they changed.
    fn keep(
        &mut self,
        key: ConversationKey,
        events: Option<Vec<Event>>,
        [before, after]: [Shown; 2],
        news: &[EventRef],
        differences: &mut Differences,
    ) {
        if before.view.deadlines_ms != after.view.deadlines_ms {
            self.move_deadlines(key, &before.view.deadlines_ms, &after.view.deadlines_ms);
        }
        match events {
            Some(events) if events.is_empty() => drop(self.conversations.remove(&key)),
            Some(events) => {
                let history = History::pack(&events);
                self.conversations.insert(key, Kept { history, settled_ms: after.settled_ms });
            }
            None => {
                if let Some(kept) = self.conversations.get_mut(&key) {
                    kept.settled_ms = after.settled_ms;
                }
            }
        }
        differences.add(&self.windows, key, before.view, after.view, news);
    }

    fn move_deadlines(&mut self, key: ConversationKey, before_ms: &[TimeMs], after_ms: &[TimeMs]) {
        for &deadline_ms in before_ms {
            self.deadlines.remove(&(deadline_ms, key));
        }
        for &deadline_ms in after_ms {
            self.deadlines.insert((deadline_ms, key));
        }
    }
}

/// What a conversation shows: its view, and the events that count elsewhere.
struct Shown {
    view: View,
    /// Root and events.
    moved: Option<(ConversationKey, Vec<Event>)>,
    settled_ms: TimeMs,
}

impl Shown {
    fn of(context: &Context, key: ConversationKey, events: &[Event], role: Role) -> Self {
        if events.is_empty() {
            return Self { view: View::default(), moved: None, settled_ms: 0 };
        }
        let (view, moved) = match role {
            Role::Plain => (view(context, key, events), None),
            Role::Root => (View::default(), Some((key, events.to_vec()))),
            Role::Void(root) => {
                let target = ConversationKey { conversation: root, ..key };
                (void_view(context, key, events, root), Some((target, moved_events(key, events))))
            }
        };
        let settled_ms = settled_ms(&view, events);
        Self { view, moved, settled_ms }
    }
}

/// The last time at which a view looks at dimensions.
fn settled_ms(view: &View, events: &[Event]) -> TimeMs {
    let is_resolved = view.facts.last().is_some_and(|facts| facts.resolved_ms.is_some());
    if !is_resolved {
        return TimeMs::MAX;
    }
    let deadlines = view.deadlines_ms.iter().copied();
    let credited = view.credits.iter().map(|credit| credit.time_ms);
    let leveled = view.levels.iter().map(|level| level.time_ms);
    events
        .iter()
        .map(|event| event.time_ms)
        .chain(credited)
        .chain(leveled)
        .chain(deadlines)
        .max()
        .unwrap_or(TimeMs::MAX)
}

/// The changes that lead from the events moved before to those moved after.
fn moves(
    before: &Option<(ConversationKey, Vec<Event>)>,
    after: &Option<(ConversationKey, Vec<Event>)>,
) -> Vec<(ConversationKey, Change)> {
    let remove =
        |event: &Event| Change::Remove { source: event.source, event_id: event.event_id.clone(), home: event.home };
    let put = |event: &Event| Change::Put(Box::new(event.clone()));
    match (before, after) {
        (None, None) => Vec::new(),
        (Some((root, old)), Some((same, new))) if root == same => {
            let mut changes = Vec::new();
            let is_same = |left: &Event, right: &Event| left.source == right.source && left.event_id == right.event_id;
            for event in old.iter().filter(|event| !new.iter().any(|other| is_same(event, other))) {
                changes.push((*root, remove(event)));
            }
            for event in new.iter().filter(|event| !old.contains(event)) {
                changes.push((*root, put(event)));
            }
            changes
        }
        _ => {
            let gone = before.iter().flat_map(|(root, old)| old.iter().map(|event| (*root, remove(event))));
            let come = after.iter().flat_map(|(root, new)| new.iter().map(|event| (*root, put(event))));
            gone.chain(come).collect()
        }
    }
}
