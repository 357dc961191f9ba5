//! What can be measured in one conversation (rules 15 to 20).

use super::conversation::{Conversation, Cycle, last_replier, owner_after};
use super::event::Event;
use super::message::{is_customer_message, is_reply, speaker};
use crate::model::DAY_MS;
use std::collections::BTreeSet;

/// How long a conversation counts as unattended at most (rule 21).
const UNATTENDED_MAX_MS: i64 = 30 * DAY_MS;

/// A duration closed by a reply.
pub(super) struct Closed {
    /// Index of the reply.
    pub(super) index: usize,
    pub(super) millis: i64,
}

/// A rating that stands.
pub(super) struct Rating {
    /// Index of its event.
    pub(super) index: usize,
    /// Scaled to 1..5, in millionths.
    pub(super) millionths: i64,
    pub(super) agent: Option<String>,
}

/// The moment a cycle counts as silent.
pub(super) struct Silence {
    pub(super) time: i64,
    pub(super) agent: Option<String>,
}

/// Every run of customer messages that a reply closes, over the whole conversation (rule 15).
pub(super) fn reply_times(conversation: &Conversation) -> Vec<Closed> {
    let mut closed = Vec::new();
    let mut run_start = None;
    for (index, event) in conversation.events.iter().enumerate() {
        if is_customer_message(event) {
            run_start.get_or_insert(event.time());
        } else if is_reply(event)
            && let Some(start) = run_start.take()
        {
            closed.push(Closed { index, millis: event.time() - start });
        }
    }
    closed
}

/// Index of the first customer message of a cycle.
pub(super) fn first_customer_message(conversation: &Conversation, cycle: &Cycle) -> Option<usize> {
    (cycle.start..cycle.end).find(|index| is_customer_message(conversation.events[*index]))
}

/// The first reply of a cycle after its first customer message, and how long it took (rule 16).
pub(super) fn first_response(conversation: &Conversation, cycle: &Cycle) -> Option<Closed> {
    let events = &conversation.events;
    let question = first_customer_message(conversation, cycle)?;
    let index = (question..cycle.end).find(|index| is_reply(events[*index]))?;
    let handoff = (cycle.start..cycle.end).find(|index| events[*index].is("bot_handoff"));
    let start = handoff.filter(|handoff| (question..index).contains(handoff)).unwrap_or(question);
    Some(Closed { index, millis: events[index].time() - events[start].time() })
}

/// From the opening of a cycle to its resolve (rule 17).
pub(super) fn cycle_resolution_time(cycle: &Cycle) -> Option<i64> {
    let resolve = cycle.resolve.as_ref()?;
    Some(resolve.time - cycle.opened_at).filter(|millis| *millis >= 0)
}

/// From the creation to the resolve in which the conversation rests (rule 18).
pub(super) fn full_resolution_time(conversation: &Conversation) -> Option<i64> {
    let resolve = conversation.final_resolve()?;
    Some(resolve.time - conversation.created_at).filter(|millis| *millis >= 0)
}

/// How often the speaker changes before the event at `end`, the first speaker counted (rule 18).
pub(super) fn turns(conversation: &Conversation, end: usize) -> i64 {
    let speakers: Vec<_> = conversation.events[..end].iter().filter_map(|event| speaker(event)).collect();
    let changes = speakers.windows(2).filter(|pair| pair[0] != pair[1]).count();
    (changes + usize::from(!speakers.is_empty())) as i64
}

/// The latest rating of each survey (rule 19).
pub(super) fn ratings(conversation: &Conversation) -> Vec<Rating> {
    let events = &conversation.events;
    let is_rating = |event: &Event| event.is("csat_rated") && event.int("rating").is_some();
    let revised = |index: usize| {
        let survey = events[index].text("survey_id");
        events[index + 1..].iter().any(|later| is_rating(later) && later.text("survey_id") == survey)
    };
    (0..events.len())
        .filter(|index| is_rating(events[*index]) && !revised(*index))
        .filter_map(|index| {
            let agent = events[index].text("agent_id").or_else(|| last_replier(&events[..index])).map(str::to_owned);
            Some(Rating { index, millionths: scaled_rating(events[index])?, agent })
        })
        .collect()
}

/// `1 + (rating − 1)·4/(scale − 1)` in millionths, half rounded away from zero.
fn scaled_rating(event: &Event) -> Option<i64> {
    let (rating, steps) = (event.int("rating")?, event.int("rating_scale").unwrap_or(5) - 1);
    // All terms are positive, so half away from zero is half up; doubling keeps it in integers.
    Some(1_000_000 + (2 * (rating - 1) * 4_000_000 + steps) / (2 * steps))
}

/// When a cycle counts as silent, if it does (rule 20).
pub(super) fn silence(conversation: &Conversation, cycle: &Cycle, tau: i64, as_of: i64) -> Option<Silence> {
    let unanswered = unanswered_run(conversation, cycle, tau, as_of);
    let resolved_mute = cycle.resolve.as_ref().filter(|_| !agent_took_part(conversation, cycle));
    let by_resolve = resolved_mute.map(|resolve| Silence { time: resolve.time, agent: resolve.agent.clone() });
    match (unanswered, by_resolve) {
        (Some(run), Some(resolve)) => Some(if run.time <= resolve.time { run } else { resolve }),
        (run, resolve) => run.or(resolve),
    }
}

/// The first run of customer messages of a cycle that waits for more than `tau`.
fn unanswered_run(conversation: &Conversation, cycle: &Cycle, tau: i64, as_of: i64) -> Option<Silence> {
    let mut run_start = None;
    for index in cycle.start..cycle.end {
        let event = conversation.events[index];
        let resolves = cycle.resolve.as_ref().is_some_and(|resolve| resolve.index == index);
        if is_customer_message(event) {
            run_start.get_or_insert(event.time());
        } else if (is_reply(event) || resolves)
            && let Some(start) = run_start.take()
            && event.time() - start > tau
        {
            return Some(silence_at(conversation, start + tau));
        }
    }
    run_start.filter(|start| as_of > start + tau).map(|start| silence_at(conversation, start + tau))
}

fn silence_at(conversation: &Conversation, time: i64) -> Silence {
    // An owner assigned at the very moment owns it.
    Silence { time, agent: owner_after(conversation.before(time + 1)).map(str::to_owned) }
}

fn agent_took_part(conversation: &Conversation, cycle: &Cycle) -> bool {
    let is_segment = |event: &Event| {
        let by_agent = event.text("agent_id").is_some() || event.text("actor_type") == Some("agent");
        event.is("segment_started") && by_agent
    };
    conversation.unresolved_events(cycle).iter().any(|event| is_reply(event) || is_segment(event))
}

/// The starts of the windows at whose end a conversation is unattended, with its owner then (rule 21).
pub(super) fn unattended(conversation: &Conversation, width: i64, as_of: i64) -> Vec<(i64, Option<String>)> {
    let floor = |time: i64| time - time.rem_euclid(width);
    // Only windows that a cycle's first 30 days touch can hold anything.
    let mut starts = BTreeSet::new();
    for cycle in &conversation.cycles {
        let since = waits_since(conversation, cycle);
        let last = floor(as_of.min(since + UNATTENDED_MAX_MS));
        starts.extend((floor(since)..=last).step_by(width as usize));
    }
    starts
        .into_iter()
        .filter_map(|start| Some((start, unattended_at_end(conversation, start + width, as_of)?)))
        .collect()
}

/// From when on a cycle is unattended, if it is.
fn waits_since(conversation: &Conversation, cycle: &Cycle) -> i64 {
    // An event before the creation acts at the creation.
    cycle.opened_at.max(conversation.created_at)
}

/// The owner of a conversation that is unattended at the end of a window; `None` if it is not.
fn unattended_at_end(conversation: &Conversation, end: i64, as_of: i64) -> Option<Option<String>> {
    // The window of as_of is looked at after the last event there is; all others right before their end.
    let seen = conversation.before(end.min(as_of + 1));
    let cycle = conversation.cycles.iter().rfind(|cycle| cycle.start < seen.len())?;
    let is_resolved = cycle.resolve.as_ref().is_some_and(|resolve| resolve.index < seen.len());
    if is_resolved || seen.iter().any(|event| is_reply(event)) {
        return None;
    }
    let given_up_at = waits_since(conversation, cycle) + UNATTENDED_MAX_MS;
    let is_given_up = given_up_at < end && given_up_at < as_of;
    (!is_given_up).then(|| owner_after(seen).map(str::to_owned))
}
