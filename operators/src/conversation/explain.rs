//! Which cells a change of a view reaches, for the table `restatements`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::event::ConversationKey;
use contactflow_schemas::facts::Group;
use contactflow_schemas::tally::KpiId;

use super::difference::group;
use super::view::{Credit, View};
use super::{Change, EventRefs};
use crate::causes::{Cause, CauseKind, Causes, EventRef};

/// The events among changes that explain something: those that the last commit of an earlier run did not know.
pub(super) fn news(causes: &Causes, changes: &[Change]) -> Vec<EventRef> {
    if !causes.is_watching() {
        return Vec::new();
    }
    let event_ref = |change: &Change| match change {
        Change::Put(event) => causes
            .is_news(event.origin.file)
            .then(|| EventRef { source: event.source, event_id: event.event_id.clone() }),
        Change::Remove { source, event_id, .. } => Some(EventRef { source: *source, event_id: event_id.clone() }),
    };
    changes.iter().filter_map(event_ref).collect()
}

/// Adds the causes of the difference between two views: every group and time at which they differ.
pub(super) fn explain(
    causes: &Causes,
    key: ConversationKey,
    before: &View,
    after: &View,
    kind: CauseKind,
    events: &EventRefs,
) {
    let first = |view: &View| {
        let credited = view.credits.iter().map(|credit| credit.time_ms);
        credited.chain(view.levels.iter().map(|level| level.time_ms)).min().unwrap_or(TimeMs::MAX)
    };
    if !causes.concern(first(before).min(first(after))) {
        return;
    }
    let mut reached: BTreeSet<(Group, TimeMs, TimeMs)> = BTreeSet::new();
    credits_that_differ(key, before, after, &mut reached);
    levels_that_differ(key, before, after, &mut reached);
    let cause = |(group, from_ms, to_ms)| Cause { group, from_ms, to_ms, kind, events: Arc::clone(events) };
    causes.add(reached.into_iter().filter(|(_, from_ms, _)| causes.concern(*from_ms)).map(cause));
}

fn credits_that_differ(
    key: ConversationKey,
    before: &View,
    after: &View,
    reached: &mut BTreeSet<(Group, TimeMs, TimeMs)>,
) {
    let mut counts: BTreeMap<(Option<Group>, Credit), i64> = BTreeMap::new();
    for (view, sign) in [(before, -1), (after, 1)] {
        for credit in &view.credits {
            let group = view.channel.map(|channel| group(key, channel, credit.credited));
            *counts.entry((group, *credit)).or_default() += sign;
        }
    }
    let different = counts.into_iter().filter(|(_, count)| *count != 0);
    reached.extend(different.filter_map(|((group, credit), _)| Some((group?, credit.time_ms, credit.time_ms))));
}

fn levels_that_differ(
    key: ConversationKey,
    before: &View,
    after: &View,
    reached: &mut BTreeSet<(Group, TimeMs, TimeMs)>,
) {
    if before.levels == after.levels && before.channel == after.channel {
        return;
    }
    let mut changes: BTreeMap<(Group, KpiId), BTreeMap<TimeMs, i64>> = BTreeMap::new();
    for (view, sign) in [(before, -1), (after, 1)] {
        let Some(channel) = view.channel else { continue };
        for level in &view.levels {
            let steps = changes.entry((group(key, channel, level.credited), level.kpi)).or_default();
            *steps.entry(level.time_ms).or_default() += sign * level.delta;
        }
    }
    for ((group, _), steps) in changes {
        // The views differ from each step at which the sum leaves 0 until it is back there.
        let (mut sum, mut since_ms) = (0, None);
        for (time_ms, delta) in steps {
            sum += delta;
            if sum != 0 {
                since_ms.get_or_insert(time_ms);
            } else if let Some(from_ms) = since_ms.take() {
                reached.insert((group, from_ms, time_ms));
            }
        }
        if let Some(from_ms) = since_ms {
            reached.insert((group, from_ms, TimeMs::MAX));
        }
    }
}
