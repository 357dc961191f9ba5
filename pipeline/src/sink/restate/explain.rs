//! Which of the gathered causes explain a changed row.

use std::collections::{HashMap, HashSet};

use contactflow_operators::causes::{Cause, CauseKind, EventRef};
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::facts::{Group, Grouping};

use crate::sink::encode::Explanation;

/// Events that a row names; all are counted.
const EVENTS_NAMED: usize = 20;

/// Causes by the group of a table that they are part of, earliest first.
type ByGroup<'a> = HashMap<Group, Vec<&'a Cause>>;

/// The causes of a commit, found by group and window.
pub(super) struct Explainer<'a> {
    causes: &'a [Cause],
    /// Made for a grouping when it is first asked for.
    by_grouping: HashMap<Grouping, ByGroup<'a>>,
}

impl<'a> Explainer<'a> {
    pub(super) fn new(causes: &'a [Cause]) -> Self {
        Self { causes, by_grouping: HashMap::new() }
    }

    /// Why values of a group changed in the window `[start_ms, end_ms)`.
    pub(super) fn explain(
        &mut self,
        grouping: Grouping,
        group: Group,
        start_ms: TimeMs,
        end_ms: TimeMs,
    ) -> Explanation {
        let causes = self.causes;
        let by_group = self.by_grouping.entry(grouping).or_insert_with(|| index(causes, grouping));
        let of_group = by_group.get(&group).map_or(&[][..], Vec::as_slice);
        let begun = &of_group[..of_group.partition_point(|cause| cause.from_ms < end_ms)];
        explanation(begun.iter().copied().filter(|cause| cause.to_ms >= start_ms))
    }
}

fn index(causes: &[Cause], grouping: Grouping) -> ByGroup<'_> {
    let mut by_group = ByGroup::new();
    for cause in causes {
        by_group.entry(grouping.of(cause.group)).or_default().push(cause);
    }
    for causes in by_group.values_mut() {
        causes.sort_by_key(|cause| cause.from_ms);
    }
    by_group
}

fn explanation<'a>(causes: impl Iterator<Item = &'a Cause>) -> Explanation {
    // Events say more than a prediction, and a prediction more than time: the order of the kinds.
    let mut kind: Option<CauseKind> = None;
    let mut events: HashSet<&EventRef> = HashSet::new();
    for cause in causes {
        kind = Some(kind.map_or(cause.kind, |kind| kind.min(cause.kind)));
        if cause.kind != CauseKind::Time {
            events.extend(cause.events.iter());
        }
    }
    Explanation {
        cause: kind.map_or("unknown", CauseKind::as_str),
        events_count: events.len() as i64,
        events: named(events.into_iter()),
    }
}

/// The first events by source and id, as JSON.
fn named<'a>(events: impl Iterator<Item = &'a EventRef>) -> Option<String> {
    let mut events: Vec<[&str; 2]> = events.map(|event| [event.source.as_str(), event.event_id.as_str()]).collect();
    if events.len() > EVENTS_NAMED {
        events.select_nth_unstable(EVENTS_NAMED);
        events.truncate(EVENTS_NAMED);
    }
    events.sort_unstable();
    if events.is_empty() { None } else { serde_json::to_string(&events).ok() }
}
