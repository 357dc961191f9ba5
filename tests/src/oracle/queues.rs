//! Visits to a queue (rule 43), and transfers (rule 42).

use super::Clock;
use super::business::business;
use super::contribution::{Collector, Group, What};
use super::conversation::{Conversation, last_text, owner_after};
use super::event::Event;
use super::segments::segments;
use crate::model::name;

/// How a visit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    Abandoned,
    FlowedOut,
}

/// A visit: index of its begin, and how and with which event it ended.
struct Visit {
    begin: usize,
    end: Option<(usize, Outcome)>,
}

fn visits(conversation: &Conversation) -> Vec<Visit> {
    let events = &conversation.events;
    let segments = segments(conversation);
    let outcome = |index: usize| {
        let event: &Event = events[index];
        if event.is("dequeued") {
            return Some(match event.text("reason") {
                Some("answered") => Outcome::Answered,
                Some("abandoned") => Outcome::Abandoned,
                _ => Outcome::FlowedOut,
            });
        }
        if segments.iter().any(|segment| segment.start == index) {
            return Some(Outcome::Answered);
        }
        (event.is("queued") || conversation.resolve_at(index).is_some()).then_some(Outcome::FlowedOut)
    };
    let end = |begin: usize| (begin + 1..events.len()).find_map(|index| Some((index, outcome(index)?)));
    let begins = (0..events.len()).filter(|index| events[*index].is("queued"));
    begins.map(|begin| Visit { begin, end: end(begin) }).collect()
}

pub(super) fn add<'a>(conversation: &Conversation<'a>, clock: Clock, collector: &mut Collector<'a>) {
    let events = &conversation.events;
    for visit in visits(conversation) {
        let begin = events[visit.begin].time();
        let queue = last_text(&events[..=visit.begin], "queue_id");
        let here = |group: Group<'a>| Group { queue, ..group };
        collector.count(here(conversation.group_at_event(None, visit.begin)), begin, "queue_offered_count");
        let until = visit.end.map(|(end, _)| events[end].time());
        let level_until = clock.level_until(begin, until);
        super::levels::pieces(conversation, begin, level_until, |from, until| {
            collector.level(here(conversation.group_at(None, from)), from, until, "queued_count");
        });
        let Some((end, outcome)) = visit.end else { continue };
        let agent = connecting_agent(conversation, end).filter(|_| outcome == Outcome::Answered);
        let group = here(conversation.group_at_event(agent, end));
        let (time, waited) = (events[end].time(), events[end].time() - begin);
        let duration = |name| What::Duration(name, waited, business(conversation, begin, time));
        let (is_quick, is_short) = (waited <= clock.answer_within, waited < clock.short_abandon);
        let counts: &[(&'static str, bool)] = match outcome {
            Outcome::Answered => {
                collector.add(group, time, duration("queue_answer_time"));
                &[("queue_answered_count", true), ("queue_answered_within_count", is_quick)]
            }
            Outcome::Abandoned => {
                collector.add(group, time, duration("abandon_time"));
                &[
                    ("queue_abandoned_count", true),
                    ("queue_abandoned_within_count", is_quick),
                    ("short_abandon_count", is_short),
                ]
            }
            Outcome::FlowedOut => &[("queue_flow_out_count", true)],
        };
        for (column, _) in counts.iter().filter(|(_, counts)| *counts) {
            collector.count(group, time, column);
        }
    }
}

fn connecting_agent<'a>(conversation: &Conversation<'a>, index: usize) -> Option<&'a str> {
    let event = conversation.events[index];
    let actor = || event.text("actor_id").filter(|_| event.text("actor_type") == Some("agent"));
    event.text("agent_id").or_else(actor).or_else(|| owner_after(&conversation.events[..=index]))
}

/// Transfers to the one who gives and the one who takes, also by kind.
pub(super) fn add_transfers<'a>(conversation: &Conversation<'a>, collector: &mut Collector<'a>) {
    for (index, event) in conversation.events.iter().enumerate().filter(|(_, event)| event.is("transferred")) {
        let giver = event.text("from_agent_id").or_else(|| owner_after(&conversation.events[..index]));
        let mut add = |way: &str, agent| {
            let group = conversation.group_at_event(agent, index);
            collector.count(group, event.time(), name(&format!("transfers_{way}_count")));
            if let Some(kind) = event.text("transfer_kind") {
                collector.count(group, event.time(), name(&format!("transfers_{way}_{kind}_count")));
            }
        };
        add("out", giver);
        if let Some(taker) = event.text("agent_id") {
            add("in", Some(taker));
        }
    }
}
