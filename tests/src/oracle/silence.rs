//! Silent dialogues (rule 20), and who waits now (rule 34).

use super::Clock;
use super::contribution::{Collector, Group, What};
use super::conversation::{Conversation, Cycle};
use super::measures::runs;
use super::message::is_reply;
use super::segments::starts_segment_of_agent;

/// The moment a cycle counts as silent.
pub(super) struct Silence<'a> {
    pub(super) time: i64,
    pub(super) group: Group<'a>,
}

/// When a cycle counts as silent, if it does (rule 20).
pub(super) fn silence<'a>(conversation: &Conversation<'a>, cycle: &Cycle<'a>, clock: Clock) -> Option<Silence<'a>> {
    let unanswered = unanswered_run(conversation, cycle, clock);
    let resolved_mute = cycle.resolve.as_ref().filter(|_| !agent_took_part(conversation, cycle));
    let by_resolve = resolved_mute.map(|resolve| Silence {
        time: resolve.time,
        group: conversation.group_at_event(resolve.agent, resolve.index),
    });
    match (unanswered, by_resolve) {
        (Some(run), Some(resolve)) => Some(if run.time <= resolve.time { run } else { resolve }),
        (run, resolve) => run.or(resolve),
    }
}

/// The first run of customer messages of a cycle that waits for more than `tau`.
fn unanswered_run<'a>(conversation: &Conversation<'a>, cycle: &Cycle, clock: Clock) -> Option<Silence<'a>> {
    let waits_too_long = |start: i64, end: Option<usize>| {
        let until = end.map_or(clock.as_of, |end| conversation.events[end].time());
        until > start + clock.tau
    };
    let run = runs(conversation, cycle).into_iter().find(|run| waits_too_long(run.start, run.end))?;
    let time = run.start + clock.tau;
    // An owner assigned at the very moment owns it.
    Some(Silence { time, group: conversation.group_at(conversation.owner_at(time), time) })
}

fn agent_took_part(conversation: &Conversation, cycle: &Cycle) -> bool {
    conversation.unresolved_events(cycle).iter().any(|event| is_reply(event) || starts_segment_of_agent(event))
}

/// How long the customer of an unresolved conversation has been waiting (rule 34).
fn open_wait(conversation: &Conversation, clock: Clock) -> Option<i64> {
    let cycle = conversation.cycles.last().filter(|cycle| cycle.resolve.is_none())?;
    let run = runs(conversation, cycle).into_iter().find(|run| run.end.is_none())?;
    Some(clock.as_of - run.start)
}

/// Adds silent dialogues, and who waits now.
pub(super) fn add<'a>(conversation: &Conversation<'a>, clock: Clock, collector: &mut Collector<'a>) {
    for cycle in &conversation.cycles {
        if let Some(silence) = silence(conversation, cycle, clock) {
            collector.count(silence.group, silence.time, "silent_dialogue_count");
        }
    }
    if let Some(millis) = open_wait(conversation, clock) {
        let owner = conversation.owner_at(clock.as_of);
        collector.add(conversation.group_at(owner, clock.as_of), clock.as_of, What::OpenWait(millis));
    }
}
