//! What becomes of conversations: resolves, reopens, contacts that return, cohorts (rules 17, 18, 28, 32, 35 to 38).

use super::Clock;
use super::business::{business, business_of_all};
use super::contribution::{Collector, Contribution, What, When};
use super::conversation::{Conversation, Cycle, Resolve};
use super::measures;
use super::message::is_reply;
use super::statuses::{length, stretches_in};

pub(super) fn add<'a>(
    conversation: &Conversation<'a>,
    all: &[Conversation<'a>],
    clock: Clock,
    collector: &mut Collector<'a>,
) {
    for cycle in &conversation.cycles {
        if cycle.number > 1 {
            let group = conversation.group_at_event(cycle.reopen_agent, cycle.start);
            collector.count(group, cycle.opened_at, "reopens_count");
        }
        if let Some(resolve) = &cycle.resolve {
            add_resolve(conversation, cycle, resolve, clock, collector);
            add_first_contact(conversation, cycle, resolve, (all, clock), collector);
        }
    }
    add_last_resolve(conversation, collector);
    add_cohort(conversation, collector);
    add_repeat_contact(conversation, all, clock, collector);
}

/// Each resolve (rules 17, 36, 37, 39).
fn add_resolve<'a>(
    conversation: &Conversation<'a>,
    cycle: &Cycle<'a>,
    resolve: &Resolve<'a>,
    clock: Clock,
    collector: &mut Collector<'a>,
) {
    let group = conversation.group_at_event(resolve.agent, resolve.index);
    collector.count(group, resolve.time, "resolutions_count");
    if let Some(millis) = measures::cycle_resolution_time(cycle) {
        let business = business(conversation, cycle.opened_at, resolve.time);
        collector.add(group, resolve.time, What::Duration("cycle_resolution_time", millis, business));
    }
    let reopened = conversation.reopened_at(cycle);
    let when = When::Unless(resolve.time, reopened.unwrap_or(i64::MAX));
    collector.found.push(Contribution { group, when, what: What::Sum("conversations_resolved_count", 1) });
    if reopened.is_some_and(|reopened| reopened - resolve.time <= clock.week) {
        collector.count(group, resolve.time, "reopened_resolutions_count");
    }
    if is_one_touch(conversation, cycle, clock) {
        collector.count(group, resolve.time, "one_touch_count");
    }
    let replies = measures::replies_to_resolution(conversation, cycle);
    collector.add(group, resolve.time, What::Plain("replies_to_resolution", replies));
}

/// Whether the resolve of a cycle counts in one_touch_count (rule 37).
pub(super) fn is_one_touch(conversation: &Conversation, cycle: &Cycle, clock: Clock) -> bool {
    let Some(resolve) = cycle.resolve.as_ref().filter(|_| conversation.counts()) else { return false };
    let reopened = conversation.reopened_at(cycle);
    let stays = reopened.is_none_or(|reopened| reopened - resolve.time > clock.week);
    measures::replies_to_resolution(conversation, cycle) == 1 && stays && clock.as_of > resolve.time + clock.week
}

/// Whether one contact sufficed (rule 38).
fn add_first_contact<'a>(
    conversation: &Conversation<'a>,
    cycle: &Cycle<'a>,
    resolve: &Resolve<'a>,
    (all, clock): (&[Conversation<'a>], Clock),
    collector: &mut Collector<'a>,
) {
    let deadline = resolve.time + clock.week;
    if clock.as_of <= deadline {
        return;
    }
    let group = conversation.group_at_event(resolve.agent, resolve.index);
    collector.count(group, resolve.time, "fcr_eligible_count");
    let reopened = conversation.reopened_at(cycle).is_some_and(|reopened| reopened <= deadline);
    let returned = others_of_contact(conversation, all)
        .any(|other| resolve.time < other.created_at && other.created_at <= deadline);
    if !reopened && !returned {
        collector.count(group, resolve.time, "fcr_count");
    }
}

/// The other conversations of the same contact.
fn others_of_contact<'c, 'a>(
    conversation: &'c Conversation<'a>,
    all: &'c [Conversation<'a>],
) -> impl Iterator<Item = &'c Conversation<'a>> {
    all.iter().filter(|other| {
        let same_contact = conversation.contact.is_some() && other.contact == conversation.contact;
        same_contact && other.tenant == conversation.tenant && other.id != conversation.id && other.counts()
    })
}

/// A contact that comes back after a resolve (rule 38).
fn add_repeat_contact<'a>(
    conversation: &Conversation<'a>,
    all: &[Conversation<'a>],
    clock: Clock,
    collector: &mut Collector<'a>,
) {
    let created = conversation.created_at;
    let resolves =
        others_of_contact(conversation, all).flat_map(|other| other.resolves().map(move |(_, one)| (other, one)));
    let recent = resolves.filter(|(_, resolve)| created - clock.week <= resolve.time && resolve.time < created);
    if let Some((other, resolve)) = recent.max_by_key(|(other, resolve)| (resolve.time, other.id, resolve.index)) {
        collector.count(other.group_at_event(resolve.agent, resolve.index), created, "repeat_contact_count");
    }
}

/// What counts once, at the last resolve (rules 18, 35, 39).
fn add_last_resolve<'a>(conversation: &Conversation<'a>, collector: &mut Collector<'a>) {
    let Some(resolve) = conversation.last_resolved_cycle().and_then(|cycle| cycle.resolve.as_ref()) else { return };
    let group = conversation.group_at_event(resolve.agent, resolve.index);
    let (created, time) = (conversation.created_at, resolve.time);
    collector.add(group, time, What::Plain("turns", measures::turns(conversation, resolve.index)));
    let length_of_texts = measures::message_length(conversation, resolve.index);
    collector.add(group, time, What::Plain("message_length", length_of_texts));
    if let Some(millis) = measures::full_resolution_time(conversation) {
        let business = business(conversation, created, time);
        collector.add(group, time, What::Duration("full_resolution_time", millis, business));
    }
    if time < created {
        return;
    }
    for (name, statuses) in [
        ("requester_wait_time", &["new", "open", "on_hold"][..]),
        ("agent_wait_time", &["pending"]),
        ("on_hold_time", &["on_hold"]),
    ] {
        let stretches = stretches_in(conversation, statuses, time);
        if name == "requester_wait_time" || !stretches.is_empty() {
            let business = business_of_all(conversation, &stretches);
            collector.add(group, time, What::Duration(name, length(&stretches), business));
        }
    }
}

/// What counts in the window of the creation (rules 28, 32, 36, 46).
fn add_cohort<'a>(conversation: &Conversation<'a>, collector: &mut Collector<'a>) {
    let created = conversation.created_at;
    let group = conversation.cohort_group(conversation.first_agent());
    let is_resolved = conversation.final_resolve().is_some();
    collector.count(group, created, "conversations_created_count");
    if is_resolved {
        collector.count(group, created, "cohort_resolved_count");
    }
    for cycle in &conversation.cycles {
        if let Some(closed) = measures::first_response(conversation, cycle) {
            let group = conversation.cohort_group(conversation.events[closed.index].text("actor_id"));
            let business = business(conversation, closed.start, closed.end);
            let value = What::Duration("first_response_time_cohort", closed.millis(), business);
            collector.add(group, created, value);
        }
    }
    if let Some(resolve) = conversation.cycles.first().and_then(|cycle| cycle.resolve.as_ref())
        && resolve.time >= created
    {
        let business = business(conversation, created, resolve.time);
        let value = What::Duration("first_resolution_time", resolve.time - created, business);
        collector.add(conversation.cohort_group(resolve.agent), created, value);
    }
    let events = &conversation.events;
    let handed_off = events.iter().any(|event| event.is("bot_handoff"));
    if handed_off || events.iter().any(|event| super::message::is_bot_message(event)) {
        let nobodys = conversation.cohort_group(None);
        collector.count(nobodys, created, "bot_conversations_count");
        if handed_off {
            collector.count(nobodys, created, "bot_handoff_conversations_count");
        } else if is_resolved && !events.iter().any(|event| is_reply(event)) {
            collector.count(nobodys, created, "bot_contained_count");
        }
    }
}
