//! What messages count for, and how they are answered (rules 13 to 16, 22, 32, 33, 46 to 48).

use super::business::business;
use super::contribution::{Collector, What};
use super::conversation::{Conversation, Cycle};
use super::event::Event;
use super::heads::{Heads, Scores};
use super::measures::{self, Closed};
use super::message::{
    Actor, actor, author_if_agent, is_bot_message, is_customer_message, is_outbound_message, is_private_message,
    is_reply,
};
use super::quality::group_of_turn;

pub(super) fn add<'a>(
    conversation: &Conversation<'a>,
    heads: &dyn Heads,
    improper: i32,
    collector: &mut Collector<'a>,
) {
    for cycle in &conversation.cycles {
        for index in cycle.start..cycle.end {
            add_message(conversation, cycle, index, heads, collector);
            add_tone(conversation, cycle, index, (heads, improper), collector);
        }
        add_shift(conversation, cycle, heads, collector);
    }
    add_responses(conversation, collector);
    for (index, event) in conversation.events.iter().enumerate() {
        if let Some(ingest) = event.ingest {
            let lateness = What::Lateness((ingest - event.time()).max(0));
            collector.add(conversation.group_at_event(None, index), event.time(), lateness);
        }
    }
}

/// The text of a customer message if it is something to score (rule 22).
pub(super) fn eligible_text(event: &Event) -> Option<&str> {
    event.text("text").filter(|text| is_customer_message(event) && !text.trim().is_empty())
}

/// The text of a public message of a customer or an agent if it is something to score.
pub(super) fn turn_text(event: &Event) -> Option<&str> {
    let by_agent = is_outbound_message(event) && actor(event) == Actor::Agent;
    let text = event.text("text").filter(|_| by_agent || is_customer_message(event));
    text.filter(|text| !text.trim().is_empty())
}

/// Emotions and insults, customers and agents apart (rule 66).
fn add_tone<'a>(
    conversation: &Conversation<'a>,
    cycle: &Cycle<'a>,
    index: usize,
    (heads, improper): (&dyn Heads, i32),
    collector: &mut Collector<'a>,
) {
    let event = conversation.events[index];
    let Some(scores) = turn_text(event).and_then(|text| heads.answer(text).scores()) else { return };
    let group = group_of_turn(conversation, cycle, index);
    let by_customer = is_customer_message(event);
    let mut count = |of_customers, of_agents| {
        collector.count(group, event.time(), if by_customer { of_customers } else { of_agents });
    };
    if let Some(emotion) = scores.emotion_label() {
        count("tone_scored_customer_count", "tone_scored_agent_count");
        match emotion {
            "anger" => count("tone_angry_customer_count", "tone_angry_agent_count"),
            "joy" => count("tone_joy_customer_count", "tone_joy_agent_count"),
            "optimism" => count("tone_optimism_customer_count", "tone_optimism_agent_count"),
            _ => count("tone_sadness_customer_count", "tone_sadness_agent_count"),
        }
    }
    if let Some(is_offensive) = scores.is_offensive() {
        count("offensive_scored_customer_count", "offensive_scored_agent_count");
        if is_offensive {
            count("tone_offensive_customer_count", "tone_offensive_agent_count");
        }
    }
    if is_reply(event) && scores.offensive.is_some_and(|probability| probability >= improper) {
        collector.count(group, event.time(), "improper_reply_count");
    }
}

fn add_message<'a>(
    conversation: &Conversation<'a>,
    cycle: &Cycle<'a>,
    index: usize,
    heads: &dyn Heads,
    collector: &mut Collector<'a>,
) {
    let event: &'a Event = conversation.events[index];
    if is_customer_message(event) {
        let group = conversation.group_at_event(conversation.in_charge(cycle, index), index);
        collector.count(group, event.time(), "messages_inbound_count");
        if let Some(text) = eligible_text(event) {
            collector.count(group, event.time(), "eligible_turns_count");
            if let Some(scores) = heads.answer(text).scores() {
                collector.add(group, event.time(), What::Scored(scores));
            }
        }
    }
    for (counts, column) in [
        (is_outbound_message as fn(&Event) -> bool, "messages_outbound_count"),
        (is_private_message, "messages_private_count"),
        (is_reply, "replies_count"),
    ] {
        if counts(event) {
            let group = conversation.group_at_event(author_if_agent(event), index);
            collector.count(group, event.time(), column);
        }
    }
    let handed_off = event.is("bot_handoff") && event.text("reason") == Some("fallback");
    if handed_off || (is_bot_message(event) && event.text("content_type") == Some("fallback")) {
        collector.count(conversation.group_at_event(None, index), event.time(), "bot_fallback_count");
    }
}

fn add_responses<'a>(conversation: &Conversation<'a>, collector: &mut Collector<'a>) {
    let events = &conversation.events;
    let mut add = |name, closed: Closed| {
        let agent = events[closed.index].text("actor_id").filter(|_| is_reply(events[closed.index]));
        let business = business(conversation, closed.start, closed.end);
        let group = conversation.group_at_event(agent, closed.index);
        collector.add(group, closed.end, What::Duration(name, closed.millis(), business));
    };
    for closed in measures::reply_times(conversation) {
        add("reply_time", closed);
    }
    for closed in measures::agent_first_responses(conversation) {
        add("agent_first_response_time", closed);
    }
    for cycle in &conversation.cycles {
        for (name, closed) in [
            ("first_response_time", measures::first_response(conversation, cycle)),
            ("first_response_time_any", measures::first_response_any(conversation, cycle)),
            ("time_to_handoff", measures::time_to_handoff(conversation, cycle)),
        ] {
            if let Some(closed) = closed {
                add(name, closed);
            }
        }
    }
}

/// How the sentiment of a cycle moves: the mean of its last quarter less that of its first (rule 48).
fn add_shift<'a>(conversation: &Conversation<'a>, cycle: &Cycle<'a>, heads: &dyn Heads, collector: &mut Collector<'a>) {
    let scored = scored_customers(conversation, cycle, heads);
    let Some((last, _)) = scored.last() else { return };
    let group = conversation.group_at_event(conversation.in_charge(cycle, *last), *last);
    collector.add(group, conversation.events[*last].time(), What::Shift(shift(&scored)));
}

/// The scored customer messages of a cycle.
pub(super) fn scored_customers(conversation: &Conversation, cycle: &Cycle, heads: &dyn Heads) -> Vec<(usize, Scores)> {
    (cycle.start..cycle.end)
        .filter_map(|index| Some((index, heads.answer(eligible_text(conversation.events[index])?).scores()?)))
        .collect()
}

/// The shift of at least one scored message, in millionths.
pub(super) fn shift(scored: &[(usize, Scores)]) -> i64 {
    let quarter = scored.len().div_ceil(4);
    let sum = |part: &[(usize, Scores)]| -> i64 {
        part.iter().map(|(_, scores)| i64::from(scores.positive - scores.negative)).sum()
    };
    let difference = sum(&scored[scored.len() - quarter..]) - sum(&scored[..quarter]);
    // Scores are in ten-thousandths.
    rounded(difference * 100, quarter as i64)
}

/// A quotient, half rounded away from zero.
fn rounded(dividend: i64, divisor: i64) -> i64 {
    dividend.signum() * ((2 * dividend.abs() + divisor) / (2 * divisor))
}
