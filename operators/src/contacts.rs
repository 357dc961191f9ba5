//! What the conversations of one contact are to each other: first contact resolution and repeat contact (rule 38).
//!
//! State is one small row per conversation. A contact is evaluated anew when one of its conversations changes or as_of
//! passes the end of a resolve's waiting time; only differences are sent.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use contactflow_schemas::catalogue::{contribute, kpi};
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::event::mix;
use contactflow_schemas::facts::{Cell, Group};
use contactflow_schemas::symbol::{FastHash, Symbol};
use contactflow_schemas::tally::KpiId;
use contactflow_schemas::windows::{Window, Windows};
use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use timely::dataflow::Stream;

use crate::as_of::{LatestTimes, follow_as_of};
use crate::causes::{Cause, CauseKind, Causes, EventRef};
use crate::cells::cell_of;
use crate::conversation::{ContactResolve, ContactVisit, EventRefs, VisitUpdate};
use crate::difference::TallyDiff;
use crate::epochs::Epoch;
use crate::gains::Gains;

/// A contact, or a conversation of which nobody knows whose it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct ContactKey {
    tenant: Symbol,
    contact: Option<Symbol>,
    conversation: Option<Symbol>,
}

impl ContactKey {
    fn of(tenant: Symbol, visit: &ContactVisit) -> Self {
        let conversation = visit.contact.is_none().then_some(visit.conversation);
        Self { tenant, contact: visit.contact, conversation }
    }
}

fn route(VisitUpdate { tenant, visit, .. }: &VisitUpdate) -> u64 {
    let of_contact = visit.contact.map_or(1, Symbol::stable_hash);
    let of_conversation = if visit.contact.is_none() { visit.conversation.stable_hash() } else { 0 };
    mix(tenant.stable_hash() ^ of_contact.rotate_left(23) ^ of_conversation.rotate_left(41))
}

/// What one contact contributes: (time, group, KPI).
type Credits = Vec<(TimeMs, Group, KpiId)>;

/// The conversations of one worker's contacts.
struct Contacts {
    return_within_ms: i64,
    visits: HashMap<ContactKey, Vec<ContactVisit>, FastHash>,
    deadlines: BTreeSet<(TimeMs, ContactKey)>,
}

impl Contacts {
    fn credits(&self, key: &ContactKey, as_of_ms: TimeMs) -> Credits {
        let visits = self.visits.get(key).map_or(&[][..], Vec::as_slice);
        let mut credits = Credits::new();
        for (position, visit) in visits.iter().enumerate() {
            let others = || visits.iter().enumerate().filter(|(other, _)| *other != position).map(|(_, visit)| visit);
            for resolve in visit.resolves.iter().filter(|one| as_of_ms > one.time_ms + self.return_within_ms) {
                let group = group(key.tenant, visit, resolve);
                credits.push((resolve.time_ms, group, kpi::FCR_ELIGIBLE));
                let returns = |other: &ContactVisit| {
                    let after_ms = other.created_ms - resolve.time_ms;
                    after_ms > 0 && after_ms <= self.return_within_ms
                };
                if !resolve.reopened && !others().any(returns) {
                    credits.push((resolve.time_ms, group, kpi::FCR));
                }
            }
            let earlier = others().flat_map(|other| other.resolves.iter().map(move |resolve| (other, resolve)));
            let recent = earlier.filter(|(_, resolve)| {
                let before_ms = visit.created_ms - resolve.time_ms;
                before_ms > 0 && before_ms <= self.return_within_ms
            });
            let latest = recent.max_by_key(|(other, resolve)| (resolve.time_ms, other.conversation.as_str()));
            if let Some((other, resolve)) = latest {
                credits.push((visit.created_ms, group(key.tenant, other, resolve), kpi::REPEAT_CONTACTS));
            }
        }
        credits
    }

    fn move_deadlines(&mut self, tenant: Symbol, visit: &ContactVisit, diff: i64) {
        let key = ContactKey::of(tenant, visit);
        for resolve in &visit.resolves {
            let deadline_ms = resolve.time_ms + self.return_within_ms;
            if diff > 0 {
                self.deadlines.insert((deadline_ms, key));
            }
            // Deadlines of resolves that are gone stay: looking once more changes nothing.
        }
    }

    fn update(&mut self, VisitUpdate { tenant, visit, diff, .. }: VisitUpdate) {
        self.move_deadlines(tenant, &visit, diff);
        let key = ContactKey::of(tenant, &visit);
        let visits = self.visits.entry(key).or_default();
        if diff > 0 {
            visits.push(visit);
        } else if let Some(position) = visits.iter().position(|other| *other == visit) {
            visits.swap_remove(position);
        }
        if visits.is_empty() {
            self.visits.remove(&key);
        }
    }
}

fn group(tenant: Symbol, visit: &ContactVisit, resolve: &ContactResolve) -> Group {
    let credited = resolve.credited;
    let channel = Some(visit.channel);
    Group { tenant, channel, agent: credited.agent, team: credited.team, queue: credited.queue }
}

/// Contributions of contacts to the hourly cells.
pub fn contacts<'scope>(
    visits: Stream<'scope, Epoch, Vec<VisitUpdate>>,
    latest: LatestTimes<'scope>,
    windows: &Windows,
    return_within_ms: i64,
    causes: Causes,
) -> VecCollection<'scope, Epoch, (Window, Cell), TallyDiff> {
    let windows = windows.clone();
    let mut contacts = Contacts { return_within_ms, visits: HashMap::default(), deadlines: BTreeSet::new() };
    follow_as_of(
        "Contacts",
        visits,
        route,
        |_| None,
        latest,
        move |epoch, updates, moved, emit| {
            let mut touched: BTreeMap<ContactKey, Vec<EventRef>> = BTreeMap::new();
            let passed = moved.passed();
            let from = (passed.start, ContactKey { tenant: Symbol::least(), contact: None, conversation: None });
            let passed = contacts.deadlines.range(from..).take_while(|(deadline_ms, _)| *deadline_ms < passed.end);
            touched.extend(passed.map(|(_, key)| (*key, Vec::new())));
            for update in &updates {
                let key = ContactKey::of(update.tenant, &update.visit);
                touched.entry(key).or_default().extend(update.events.iter().cloned());
            }
            let at = |contacts: &Contacts, as_of_ms: Option<TimeMs>| -> Vec<Credits> {
                touched.keys().map(|key| contacts.credits(key, as_of_ms.unwrap_or(0))).collect()
            };
            let before = at(&contacts, moved.before_ms);
            updates.into_iter().for_each(|update| contacts.update(update));
            let after = at(&contacts, moved.after_ms);
            let mut gains = Gains::default();
            for ((before, after), events) in before.into_iter().zip(after).zip(touched.into_values()) {
                let kind = if events.is_empty() { CauseKind::Time } else { CauseKind::Events };
                let events: EventRefs = events.into();
                for ((time_ms, group, kpi), count) in difference(before, after) {
                    contribute(kpi, 1, None, count, gains.of(cell_of(&windows, Window::Hour, time_ms, group)));
                    if causes.concern(time_ms) && !(causes.is_restart() && kind == CauseKind::Time) {
                        let events = Arc::clone(&events);
                        causes.add([Cause { group, from_ms: time_ms, to_ms: time_ms, kind, events }]);
                    }
                }
            }
            gains.take().for_each(|(cell, diff)| emit(((Window::Hour, cell), epoch, diff)));
        },
    )
    .as_collection()
}

/// What comes (1) and goes (−1) between two lists.
fn difference(before: Credits, after: Credits) -> impl Iterator<Item = ((TimeMs, Group, KpiId), i64)> {
    let mut counts: BTreeMap<(TimeMs, Group, KpiId), i64> = BTreeMap::new();
    before.into_iter().for_each(|credit| *counts.entry(credit).or_default() -= 1);
    after.into_iter().for_each(|credit| *counts.entry(credit).or_default() += 1);
    counts.into_iter().filter(|(_, count)| *count != 0)
}
