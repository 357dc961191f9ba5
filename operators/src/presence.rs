//! Time in which agents were available or at work, from their changes of presence (rule 44).
//!
//! Presence belongs to agents, not to conversations, so it enters at the cells by agent. A presence lasts until the next
//! one or as_of, so the last one of every agent grows as time passes; only the piece by which it grew is sent.

use std::collections::HashMap;

use contactflow_schemas::catalogue::{contribute, kpi};
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::dimension::{Dimension, DimensionEvent, Presence};
use contactflow_schemas::event::mix;
use contactflow_schemas::facts::{Cell, Group};
use contactflow_schemas::symbol::{FastHash, Symbol};
use contactflow_schemas::windows::{Window, Windows};
use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use timely::dataflow::Stream;

use crate::as_of::{LatestTimes, follow_as_of};
use crate::causes::{Cause, CauseKind, Causes, EventRef};
use crate::cells::cell_of;
use crate::difference::TallyDiff;
use crate::epochs::Epoch;
use crate::gains::Gains;

/// Tenant and agent.
type AgentKey = (Symbol, Symbol);

/// A stretch of one presence.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stretch {
    presence: Presence,
    from_ms: TimeMs,
    to_ms: TimeMs,
}

/// Presence of one worker's agents.
struct Agents {
    windows: Windows,
    presence_max_ms: i64,
    /// Changes of presence, in the contract's order.
    changes: HashMap<AgentKey, Vec<DimensionEvent>, FastHash>,
}

impl Agents {
    fn stretches(&self, key: &AgentKey, as_of_ms: TimeMs) -> Vec<Stretch> {
        let changes = self.changes.get(key).map_or(&[][..], Vec::as_slice);
        let until = |position: usize| changes.get(position + 1).map_or(as_of_ms, |next| next.time_ms);
        changes
            .iter()
            .enumerate()
            .filter_map(|(position, change)| {
                let Dimension::Presence { presence, .. } = change.dimension else { return None };
                let from_ms = change.time_ms;
                let to_ms = until(position).min(from_ms + self.presence_max_ms);
                let counts = matches!(presence, Presence::Available | Presence::Busy) && to_ms > from_ms;
                counts.then_some(Stretch { presence, from_ms, to_ms })
            })
            .collect()
    }

    fn update(&mut self, event: DimensionEvent, diff: isize) {
        let Some(key) = key_of(&event) else { return };
        let changes = self.changes.entry(key).or_default();
        if diff > 0 {
            let place = changes.partition_point(|other| other.order() <= event.order());
            changes.insert(place, event);
        } else if let Some(position) = changes.iter().position(|other| *other == event) {
            changes.remove(position);
        }
        if changes.is_empty() {
            self.changes.remove(&key);
        }
    }

    /// Adds a stretch to the hours it lies in.
    fn add(&self, (tenant, agent): AgentKey, stretch: Stretch, sign: i64, gains: &mut Gains<Cell>) {
        let group = Group { tenant, channel: None, agent: Some(agent), team: None, queue: None };
        for start_ms in self.windows.starts(Window::Hour, stretch.from_ms, stretch.to_ms) {
            let end_ms = self.windows.end_ms(Window::Hour, start_ms).min(stretch.to_ms);
            let length_ms = end_ms - start_ms.max(stretch.from_ms);
            let entries = gains.of(cell_of(&self.windows, Window::Hour, start_ms, group));
            contribute(kpi::STAFFED_MS, length_ms, None, sign, entries);
            if stretch.presence == Presence::Available {
                contribute(kpi::AVAILABLE_MS, length_ms, None, sign, entries);
            }
        }
    }

    /// Adds the difference of two lists of stretches; what both have in common costs nothing.
    fn replace(&self, key: AgentKey, before: &[Stretch], after: &[Stretch], gains: &mut Gains<Cell>) {
        let same = before.iter().zip(after).take_while(|(left, right)| left == right).count();
        let (mut before, mut after) = (&before[same..], &after[same..]);
        if let ([old, rest_before @ ..], [new, rest_after @ ..]) = (before, after)
            && (old.presence, old.from_ms) == (new.presence, new.from_ms)
        {
            // The last stretch grew, or shrank.
            let (sign, from_ms, to_ms) =
                if new.to_ms > old.to_ms { (1, old.to_ms, new.to_ms) } else { (-1, new.to_ms, old.to_ms) };
            self.add(key, Stretch { presence: old.presence, from_ms, to_ms }, sign, gains);
            (before, after) = (rest_before, rest_after);
        }
        before.iter().for_each(|stretch| self.add(key, *stretch, -1, gains));
        after.iter().for_each(|stretch| self.add(key, *stretch, 1, gains));
    }
}

fn key_of(event: &DimensionEvent) -> Option<AgentKey> {
    match event.dimension {
        Dimension::Presence { agent, .. } => Some((event.tenant, agent)),
        _ => None,
    }
}

fn route((event, _): &(DimensionEvent, isize)) -> u64 {
    key_of(event).map_or(0, |(tenant, agent)| mix(tenant.stable_hash() ^ agent.stable_hash().rotate_left(29)))
}

/// Why an agent's hours changed: from the first to the last time at which the stretches differ.
fn explain(
    key: AgentKey,
    before: &[Stretch],
    after: &[Stretch],
    changed: &[DimensionEvent],
) -> impl Iterator<Item = Cause> + use<> {
    let same = before.iter().zip(after).take_while(|(left, right)| left == right).count();
    let different = || before[same..].iter().chain(&after[same..]);
    let from_ms = different().map(|stretch| stretch.from_ms).min();
    let to_ms = different().map(|stretch| stretch.to_ms).max();
    let own = changed.iter().filter(|event| key_of(event) == Some(key));
    let events: Vec<EventRef> =
        own.map(|event| EventRef { source: event.source, event_id: event.event_id.clone() }).collect();
    let kind = if events.is_empty() { CauseKind::Time } else { CauseKind::Events };
    let group = Group { tenant: key.0, channel: None, agent: Some(key.1), team: None, queue: None };
    from_ms.zip(to_ms).map(|(from_ms, to_ms)| Cause { group, from_ms, to_ms, kind, events: events.into() }).into_iter()
}

/// Contributions of presence to the hourly cells by agent.
pub fn presence<'scope>(
    events: Stream<'scope, Epoch, Vec<(DimensionEvent, isize)>>,
    latest: LatestTimes<'scope>,
    windows: &Windows,
    presence_max_ms: i64,
    causes: Causes,
) -> VecCollection<'scope, Epoch, (Window, Cell), TallyDiff> {
    let mut agents = Agents { windows: windows.clone(), presence_max_ms, changes: HashMap::default() };
    follow_as_of(
        "Presence",
        events,
        route,
        |_| None,
        latest,
        move |epoch, updates, moved, emit| {
            let touched: Vec<AgentKey> = if moved.before_ms == moved.after_ms {
                let mut keys: Vec<AgentKey> = updates.iter().filter_map(|(event, _)| key_of(event)).collect();
                keys.sort_unstable();
                keys.dedup();
                keys
            } else {
                let new = updates.iter().filter_map(|(event, _)| key_of(event));
                let mut keys: Vec<AgentKey> = agents.changes.keys().copied().chain(new).collect();
                keys.sort_unstable();
                keys.dedup();
                keys
            };
            let at = |agents: &Agents, as_of_ms: Option<TimeMs>| -> Vec<Vec<Stretch>> {
                touched.iter().map(|key| agents.stretches(key, as_of_ms.unwrap_or(0))).collect()
            };
            let before = at(&agents, moved.before_ms);
            let changed: Vec<DimensionEvent> = updates.iter().map(|(event, _)| event.clone()).collect();
            updates.into_iter().for_each(|(event, diff)| agents.update(event, diff));
            let after = at(&agents, moved.after_ms);
            let mut gains = Gains::default();
            for ((key, before), after) in touched.iter().zip(&before).zip(&after) {
                agents.replace(*key, before, after, &mut gains);
                if !causes.is_restart() {
                    causes.add(explain(*key, before, after, &changed).filter(|cause| causes.concern(cause.from_ms)));
                }
            }
            gains.take().for_each(|(cell, diff)| emit(((Window::Hour, cell), epoch, diff)));
        },
    )
    .as_collection()
}
