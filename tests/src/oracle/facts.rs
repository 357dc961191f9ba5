//! The table of cycles.

use super::business::business;
use super::conversation::{Conversation, Cycle, last_text};
use super::event::Event;
use super::message::{is_customer_message, is_outbound_message, is_private_message, is_reply, speaker};
use super::messages::eligible_text;
use super::outcomes::is_one_touch;
use super::{Clock, measures, ratings, silence};
use crate::model::{Cell, Columns, Table};

/// The rows of one conversation.
pub(super) fn rows(conversation: &Conversation, clock: Clock) -> Table {
    conversation
        .cycles
        .iter()
        .map(|cycle| {
            let key = vec![
                Cell::Text(conversation.tenant.to_owned()),
                Cell::Text(conversation.id.to_owned()),
                Cell::Int(cycle.number as i64),
            ];
            let mut columns = Columns::new();
            for (name, cell) in [
                state(conversation, cycle),
                counts(conversation, cycle),
                times(conversation, cycle),
                whole_conversation(conversation, cycle),
                flags(conversation, cycle, clock),
            ]
            .into_iter()
            .flatten()
            {
                columns.insert(name, cell);
            }
            (key, columns)
        })
        .collect()
}

type Named = Vec<(&'static str, Cell)>;

fn state(conversation: &Conversation, cycle: &Cycle) -> Named {
    let resolve = cycle.resolve.as_ref();
    let seen = &conversation.events[..resolve.map_or(cycle.end, |resolve| resolve.index + 1)];
    vec![
        ("contact_id", Cell::text(conversation.contact)),
        ("team_id", Cell::text(last_text(seen, "team_id"))),
        ("queue_id", Cell::text(last_text(seen, "queue_id"))),
        ("merged_into", Cell::text(conversation.merged_into)),
        ("channel", Cell::Text(conversation.channel.to_owned())),
        ("conversation_created_at", Cell::TimeMs(conversation.created_at)),
        ("cycle_opened_at", Cell::TimeMs(cycle.opened_at)),
        ("cycle_resolved_at", Cell::time(resolve.map(|resolve| resolve.time))),
        ("status", Cell::text(Some(if resolve.is_some() { "resolved" } else { "open" }))),
        ("owner_agent_id", Cell::text(conversation.final_owner(cycle))),
        ("resolved_by_agent_id", Cell::text(resolve.and_then(|resolve| resolve.agent))),
        ("spam", Cell::Bool(conversation.spam)),
        ("merged", Cell::Bool(conversation.merged_into.is_some())),
        ("reopened", Cell::Bool(cycle.number > 1)),
    ]
}

fn counts(conversation: &Conversation, cycle: &Cycle) -> Named {
    let events = &conversation.events[cycle.start..cycle.end];
    let count = |counts: fn(&Event) -> bool| Cell::Int(events.iter().filter(|event| counts(event)).count() as i64);
    let eligible = events.iter().filter(|event| eligible_text(event).is_some()).count();
    vec![
        ("messages_inbound_count", count(is_customer_message)),
        ("messages_outbound_count", count(is_outbound_message)),
        ("messages_private_count", count(is_private_message)),
        ("replies_count", count(is_reply)),
        ("eligible_turns_count", Cell::Int(eligible as i64)),
    ]
}

fn times(conversation: &Conversation, cycle: &Cycle) -> Named {
    let events = &conversation.events;
    let question = measures::first_customer_message(conversation, cycle);
    let response = measures::first_response(conversation, cycle);
    let reply = response.as_ref().map(|response| events[response.index]);
    let resolution = measures::cycle_resolution_time(cycle);
    let replies: Vec<i64> = measures::reply_times(conversation)
        .iter()
        .filter(|closed| (cycle.start..cycle.end).contains(&closed.index))
        .map(|closed| closed.millis())
        .collect();
    vec![
        ("first_customer_message_at", Cell::time(question.map(|index| events[index].time()))),
        ("first_reply_at", Cell::time(reply.map(Event::time))),
        ("first_reply_agent_id", Cell::text(reply.and_then(|reply| reply.text("actor_id")))),
        ("first_response_time_ms", Cell::int(response.map(|response| response.millis()))),
        (
            "first_response_time_business_ms",
            Cell::int(response.and_then(|response| business(conversation, response.start, response.end))),
        ),
        ("reply_time_count", Cell::Int(replies.len() as i64)),
        ("reply_time_sum_ms", Cell::int((!replies.is_empty()).then(|| replies.iter().sum()))),
        ("cycle_resolution_time_ms", Cell::int(resolution)),
        ("cycle_resolution_time_business_ms", Cell::int(business_since(conversation, cycle.opened_at, resolution))),
    ]
}

/// The business time of a duration from an instant on.
fn business_since(conversation: &Conversation, start: i64, millis: Option<i64>) -> Option<i64> {
    business(conversation, start, start + millis?)
}

/// What there is once per conversation, told in the cycle it falls into.
fn whole_conversation(conversation: &Conversation, cycle: &Cycle) -> Named {
    let is_last = cycle.number == conversation.cycles.len();
    let full = measures::full_resolution_time(conversation).filter(|_| is_last);
    let last_resolve = conversation
        .last_resolved_cycle()
        .filter(|last| last.number == cycle.number)
        .and_then(|last| last.resolve.as_ref());
    let ratings: Vec<i64> = ratings::ratings(conversation)
        .iter()
        .filter(|rating| (cycle.start..cycle.end).contains(&rating.index))
        .map(|rating| rating.millionths)
        .collect();
    let csat_sum = Cell::Float(ratings.iter().sum::<i64>() as f64 / 1e6);
    vec![
        ("full_resolution_time_ms", Cell::int(full)),
        ("full_resolution_time_business_ms", Cell::int(business_since(conversation, conversation.created_at, full))),
        ("turns", Cell::int(last_resolve.map(|resolve| measures::turns(conversation, resolve.index)))),
        ("csat_count", Cell::Int(ratings.len() as i64)),
        ("csat_sum", if ratings.is_empty() { Cell::Null } else { csat_sum }),
    ]
}

/// Rule 25.
fn flags(conversation: &Conversation, cycle: &Cycle, clock: Clock) -> Named {
    let events = &conversation.events;
    let first_turn = (cycle.start..cycle.end).find(|index| speaker(events[*index]).is_some());
    let agent_first = first_turn.is_some_and(|index| is_reply(events[index]));
    let answered_later = first_turn.is_some_and(|first| events[first..].iter().any(|event| is_customer_message(event)));
    let created = events.iter().position(|event| event.is("conversation_created"));
    let created_late = cycle.number == 1 && created.is_some_and(|index| index > 0);
    // Spam and void conversations are counted by no rule.
    let silent = conversation.counts() && silence::silence(conversation, cycle, clock).is_some();
    let handed_off = events[cycle.start..cycle.end].iter().any(|event| event.is("bot_handoff"));
    vec![
        ("agent_first", Cell::Bool(agent_first)),
        ("out_of_order", Cell::Bool(created_late || (agent_first && answered_later))),
        ("silent", Cell::Bool(silent)),
        ("one_touch", Cell::Bool(is_one_touch(conversation, cycle, clock))),
        ("handed_off", Cell::Bool(handed_off)),
    ]
}
