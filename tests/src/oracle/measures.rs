//! What can be measured of the messages of one conversation (rules 15 to 18, 32, 33, 39).

use super::conversation::{Conversation, Cycle, assigns, owner_after};
use super::message::{is_bot_message, is_customer_message, is_reply, speaker};

/// A duration closed by an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed {
    /// When it began.
    pub(super) start: i64,
    /// Index of the event that closed it.
    pub(super) index: usize,
    /// When that was.
    pub(super) end: i64,
}

impl Closed {
    fn new(conversation: &Conversation, start: i64, index: usize) -> Closed {
        Closed { start, index, end: conversation.events[index].time() }
    }

    pub(super) fn millis(self) -> i64 {
        self.end - self.start
    }
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
            closed.push(Closed::new(conversation, start, index));
        }
    }
    closed
}

/// A run of customer messages within a cycle, ended by a reply or the resolve, or going on (rule 20).
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Index of its first message.
    pub(super) first: usize,
    /// When that was.
    pub(super) start: i64,
    /// Index of what ended it.
    pub(super) end: Option<usize>,
}

/// The runs of a cycle.
pub(super) fn runs(conversation: &Conversation, cycle: &Cycle) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for index in cycle.start..cycle.end {
        let event = conversation.events[index];
        let resolves = cycle.resolve.as_ref().is_some_and(|resolve| resolve.index == index);
        let going_on = runs.last_mut().filter(|run| run.end.is_none());
        match going_on {
            None if is_customer_message(event) => runs.push(Run { first: index, start: event.time(), end: None }),
            Some(run) if is_reply(event) || resolves => run.end = Some(index),
            _ => {}
        }
    }
    runs
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
    let start = response_start(conversation, cycle, question, index);
    Some(Closed::new(conversation, start, index))
}

/// From when on a response is waited for: the first bot_handoff of the cycle counts if it comes between the question
/// and the end.
pub(super) fn response_start(conversation: &Conversation, cycle: &Cycle, question: usize, end: usize) -> i64 {
    let events = &conversation.events;
    let handoff = (cycle.start..cycle.end).find(|index| events[*index].is("bot_handoff"));
    let start = handoff.filter(|handoff| (question..end).contains(handoff)).unwrap_or(question);
    events[start].time()
}

/// The first message after the first customer message that a bot or an agent answers with (rule 32).
pub(super) fn first_response_any(conversation: &Conversation, cycle: &Cycle) -> Option<Closed> {
    let events = &conversation.events;
    let question = first_customer_message(conversation, cycle)?;
    let index = (question..cycle.end).find(|index| is_reply(events[*index]) || is_bot_message(events[*index]))?;
    Some(Closed::new(conversation, events[question].time(), index))
}

/// From a new owner to that agent's first reply (rule 33).
pub(super) fn agent_first_responses(conversation: &Conversation) -> Vec<Closed> {
    let events = &conversation.events;
    let close = |start: usize| {
        let agent = events[start].text("agent_id").filter(|_| assigns(events[start]))?;
        if owner_after(&events[..start]) == Some(agent) {
            return None;
        }
        for index in start + 1..events.len() {
            let event = events[index];
            let loses = assigns(event) && event.text("agent_id") != Some(agent);
            if loses || conversation.resolve_at(index).is_some() {
                return None;
            }
            if is_reply(event) && event.text("actor_id") == Some(agent) {
                return Some(Closed::new(conversation, events[start].time(), index));
            }
        }
        None
    };
    (0..events.len()).filter_map(close).collect()
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

/// The characters of the same messages (rule 39).
pub(super) fn message_length(conversation: &Conversation, end: usize) -> i64 {
    let spoken = conversation.events[..end].iter().filter(|event| speaker(event).is_some());
    let texts = spoken.filter_map(|event| event.text("text")).filter(|text| !text.trim().is_empty());
    texts.map(|text| text.chars().count() as i64).sum()
}

/// The replies of a cycle before its resolve (rule 39).
pub(super) fn replies_to_resolution(conversation: &Conversation, cycle: &Cycle) -> i64 {
    conversation.unresolved_events(cycle).iter().filter(|event| is_reply(event)).count() as i64
}

/// From the first customer message of a cycle to its first bot_handoff after that (rule 46).
pub(super) fn time_to_handoff(conversation: &Conversation, cycle: &Cycle) -> Option<Closed> {
    let events = &conversation.events;
    let question = first_customer_message(conversation, cycle)?;
    let index = (question..cycle.end).find(|index| events[*index].is("bot_handoff"))?;
    Some(Closed::new(conversation, events[question].time(), index))
}
