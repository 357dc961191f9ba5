//! The quality of a cycle (rule 67).

use super::contribution::{Collector, Group, What};
use super::conversation::{Conversation, Cycle};
use super::heads::{Answer, Heads, HeardTurn, Quality};
use super::message::{author_if_agent, is_customer_message};
use super::messages::turn_text;

/// The scored turns of a cycle, by the index of their event, and whether no other waits for its answer.
fn scored_turns(conversation: &Conversation, cycle: &Cycle, heads: &dyn Heads) -> (Vec<usize>, bool) {
    let answers = (cycle.start..cycle.end)
        .filter_map(|index| Some((index, heads.answer(turn_text(conversation.events[index])?))))
        .collect::<Vec<_>>();
    let complete = answers.iter().all(|(_, answer)| *answer != Answer::Pending);
    let scored = answers.iter().filter(|(_, answer)| answer.scores().is_some());
    (scored.map(|(index, _)| *index).collect(), complete)
}

/// What the model says of a cycle with at least one scored customer message and no turn without answer: the turns that
/// it was asked about, and its answer.
pub(super) fn judged(
    conversation: &Conversation,
    cycle: &Cycle,
    heads: &dyn Heads,
) -> Option<(Vec<usize>, Option<Quality>)> {
    let (scored, complete) = scored_turns(conversation, cycle, heads);
    let by_customer = scored.iter().any(|turn| is_customer_message(conversation.events[*turn]));
    if !complete || !by_customer {
        return None;
    }
    let last: Vec<usize> = scored.iter().skip(scored.len().saturating_sub(64)).copied().collect();
    let heard = |(place, index): (usize, &usize)| {
        let event = conversation.events[*index];
        let before = place.checked_sub(1).map_or(event.time(), |before| conversation.events[last[before]].time());
        HeardTurn {
            text: turn_text(event).unwrap_or_default(),
            by_agent: !is_customer_message(event),
            gap_ms: event.time() - before,
        }
    };
    let heard: Vec<HeardTurn> = last.iter().enumerate().map(heard).collect();
    let quality = heads.quality(&heard);
    Some((last, quality))
}

/// Whom a turn is credited to.
pub(super) fn group_of_turn<'a>(conversation: &Conversation<'a>, cycle: &Cycle<'a>, index: usize) -> Group<'a> {
    let event = conversation.events[index];
    let agent = if is_customer_message(event) { conversation.in_charge(cycle, index) } else { author_if_agent(event) };
    conversation.group_at_event(agent, index)
}

pub(super) fn add<'a>(conversation: &Conversation<'a>, heads: &dyn Heads, collector: &mut Collector<'a>) {
    for cycle in &conversation.cycles {
        let Some((turns, Some(quality))) = judged(conversation, cycle, heads) else { continue };
        let Some(last) = turns.last() else { continue };
        let (group, time) = (group_of_turn(conversation, cycle, *last), conversation.events[*last].time());
        collector.count(group, time, "quality_scored_count");
        collector.add(group, time, What::Quality(quality.score));
    }
}
