//! Segments of agents, and the time an agent handles a conversation (rules 40, 41, 44).

use super::business::{business, business_of_all};
use super::contribution::{Collector, What};
use super::conversation::{Conversation, assigns, owner_after};
use super::event::Event;
use super::message::is_reply;
use super::statuses::{length, stretches_in, within};
use crate::model::Width;
use chrono_tz::Tz;
use std::collections::BTreeSet;

/// A connected stretch of one agent.
#[derive(Clone, Debug)]
pub(super) struct Segment<'a> {
    /// Index of the event that started it.
    pub(super) start: usize,
    pub(super) agent: Option<&'a str>,
    /// Index of the event that ended it.
    end: Option<usize>,
    /// When it was on hold, once it has ended.
    holds: Vec<(i64, i64)>,
    acw: Acw,
}

/// After-contact work.
#[derive(Clone, Copy, Debug)]
enum Acw {
    /// There is none.
    No,
    /// It is going on, as far as anybody knows.
    Open,
    /// From an instant to the event of an index.
    Ended(i64, usize),
}

/// Whether it starts a segment, if it is the first of its id.
pub(super) fn starts_segment_of_agent(event: &Event) -> bool {
    let by_agent = event.text("agent_id").is_some() || event.text("actor_type") == Some("agent");
    event.is("segment_started") && by_agent
}

/// All segments in order of their start.
pub(super) fn segments<'a>(conversation: &Conversation<'a>) -> Vec<Segment<'a>> {
    let events = &conversation.events;
    let mut seen = BTreeSet::new();
    let is_first = |index: &usize| {
        let event = events[*index];
        event.is("segment_started") && seen.insert(event.text("segment_id"))
    };
    let firsts: Vec<usize> = (0..events.len()).filter(is_first).collect();
    let by_agent = firsts.into_iter().filter(|index| starts_segment_of_agent(events[*index]));
    by_agent.map(|index| segment(conversation, index)).collect()
}

fn segment<'a>(conversation: &Conversation<'a>, start: usize) -> Segment<'a> {
    let events = &conversation.events;
    let first = events[start];
    let actor = first.text("actor_id").filter(|_| first.text("actor_type") == Some("agent"));
    let later = |kind: &str| -> Vec<usize> {
        let is_of_it = |event: &Event| event.is(kind) && event.text("segment_id") == first.text("segment_id");
        (start + 1..events.len()).filter(|index| is_of_it(events[*index])).collect()
    };
    let end = later("segment_ended").first().copied();
    let mut segment = Segment { start, agent: first.text("agent_id").or(actor), end, holds: Vec::new(), acw: Acw::No };
    let Some(end) = end.map(|end| events[end].time()) else { return segment };
    let helds: Vec<&Event> =
        later("segment_held").into_iter().map(|index| events[index]).filter(|held| held.time() <= end).collect();
    for (place, held) in helds.iter().enumerate() {
        let latest = helds.get(place + 1).map_or(end, |next| next.time());
        let planned = held.int("duration_ms").map_or(end, |millis| held.time().saturating_add(millis.max(0)));
        segment.holds.push((held.time(), planned.min(latest)));
    }
    let (started, ended) = (later("acw_started"), later("acw_ended"));
    if started.is_empty() && ended.is_empty() {
        return segment;
    }
    let from = started.first().map_or(end, |index| events[*index].time().max(end));
    let to = ended.into_iter().find(|index| events[*index].time() >= from);
    segment.acw = to.map_or(Acw::Open, |to| Acw::Ended(from, to));
    segment
}

/// Adds what the segments of a conversation give; without any, what its owners give.
pub(super) fn add<'a>(conversation: &Conversation<'a>, zone: Tz, collector: &mut Collector<'a>) {
    let segments = segments(conversation);
    for segment in &segments {
        add_segment(conversation, segment, zone, collector);
    }
    if segments.is_empty() {
        add_ownership(conversation, collector);
    }
    add_handled(conversation, &segments, collector);
}

fn add_segment<'a>(conversation: &Conversation<'a>, segment: &Segment<'a>, zone: Tz, collector: &mut Collector<'a>) {
    let Some(end) = segment.end else { return };
    let connected = (conversation.events[segment.start].time(), conversation.events[end].time());
    let group = conversation.group_at_event(segment.agent, end);
    let mut add = |group, time, name, stretches: &[(i64, i64)]| {
        let business = business_of_all(conversation, stretches);
        collector.add(group, time, What::Duration(name, length(stretches), business));
    };
    add(group, connected.1, "talk_time", &without(connected, &segment.holds));
    if !segment.holds.is_empty() {
        add(group, connected.1, "hold_time", &segment.holds);
    }
    if let Acw::No = segment.acw {
        add(group, connected.1, "handle_time", &[connected]);
    }
    if let Acw::Ended(from, to) = segment.acw {
        let acw = (from, conversation.events[to].time());
        let group = conversation.group_at_event(segment.agent, to);
        add(group, acw.1, "handle_time", &[connected, acw]);
        let value = What::Duration("after_contact_work_time", acw.1 - acw.0, business(conversation, acw.0, acw.1));
        collector.add(group, acw.1, value);
        split(acw, zone, |time, millis| collector.add(group, time, What::Sum("handled_ms", millis)));
    }
    split(connected, zone, |time, millis| {
        collector.add(group, time, What::Sum("connected_ms", millis));
        collector.add(group, time, What::Sum("handled_ms", millis));
    });
}

/// A stretch without the holds in it, which are in order and do not overlap.
fn without(stretch: (i64, i64), holds: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let ends = std::iter::once(stretch.0).chain(holds.iter().map(|hold| hold.1));
    let starts = holds.iter().map(|hold| hold.0).chain([stretch.1]);
    ends.zip(starts).collect()
}

/// A stretch by the hours it covers (rule 44).
pub(super) fn split((from, to): (i64, i64), zone: Tz, mut part: impl FnMut(i64, i64)) {
    for hour in super::windows::windows(zone, Width::Hour, from, to - 1) {
        let (start, end) = (hour.start.max(from), hour.end.min(to));
        part(start, end - start);
    }
}

/// The time in new and open of each stretch of one owner (rule 40).
fn add_ownership<'a>(conversation: &Conversation<'a>, collector: &mut Collector<'a>) {
    let events = &conversation.events;
    let handled = stretches_in(conversation, &["new", "open"], i64::MAX);
    for cycle in &conversation.cycles {
        let mut stretch: Option<(&str, i64)> =
            owner_after(&events[..cycle.start]).map(|owner| (owner, events[cycle.start].time()));
        for index in cycle.start..cycle.resolve.as_ref().map_or(cycle.end, |resolve| resolve.index + 1) {
            let (event, now) = (events[index], owner_after(&events[..=index]));
            let is_resolve = cycle.resolve.as_ref().is_some_and(|resolve| resolve.index == index);
            if let Some((owner, since)) = stretch.filter(|(owner, _)| is_resolve || now != Some(*owner)) {
                let stretches = within(&handled, since, event.time());
                let value =
                    What::Duration("handle_time", length(&stretches), business_of_all(conversation, &stretches));
                collector.add(conversation.group_at_event(Some(owner), index), event.time(), value);
                stretch = None;
            }
            if assigns(event) && stretch.is_none() {
                stretch = now.map(|owner| (owner, event.time()));
            }
        }
    }
}

/// The agents of each cycle, at their first reply or segment in it (rule 41).
fn add_handled<'a>(conversation: &Conversation<'a>, segments: &[Segment<'a>], collector: &mut Collector<'a>) {
    for cycle in &conversation.cycles {
        let mut seen = BTreeSet::new();
        for index in cycle.start..cycle.end {
            let event = conversation.events[index];
            let segment = segments.iter().find(|segment| segment.start == index).map(|segment| segment.agent);
            let agent = if is_reply(event) { Some(event.text("actor_id")) } else { segment };
            if let Some(agent) = agent.filter(|agent| seen.insert(*agent)) {
                let group = conversation.group_at_event(agent, index);
                collector.count(group, event.time(), "conversations_handled_count");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HOUR_MS;

    #[test]
    fn time_is_split_at_the_hour() {
        let mut parts = Vec::new();
        split((HOUR_MS - 37, 2 * HOUR_MS), Tz::UTC, |time, millis| parts.push((time, millis)));
        assert_eq!(parts, [(HOUR_MS - 37, 37), (HOUR_MS, HOUR_MS)]);
        split((5, 5), Tz::UTC, |_, _| panic!("nothing to split"));
    }

    #[test]
    fn talk_is_what_holds_leave() {
        assert_eq!(length(&without((10, 100), &[(20, 30), (30, 50)])), 60);
        assert_eq!(length(&without((10, 100), &[])), 90);
    }
}
