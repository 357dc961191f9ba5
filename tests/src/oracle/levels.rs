//! Levels: how many conversations are in a state at an instant (rule 21).

use super::Clock;
use super::contribution::Collector;
use super::conversation::Conversation;
use super::message::is_reply;

/// Cuts [from, until) where the group of the conversation may change: at its events, and where the team of an owner
/// does.
pub(super) fn pieces(
    conversation: &Conversation,
    from: i64,
    until: Option<i64>,
    mut piece: impl FnMut(i64, Option<i64>),
) {
    let owners = conversation.events.iter().filter_map(|event| event.text("agent_id"));
    let teams = owners.flat_map(|owner| conversation.dimensions.team_changes(Some(owner)));
    let inside = |cut: &i64| from < *cut && until.is_none_or(|until| *cut < until);
    let cuts = conversation.events.iter().map(|event| event.time()).chain(teams).filter(inside);
    let mut starts: Vec<i64> = cuts.chain([from]).collect();
    starts.sort_unstable();
    starts.dedup();
    for (place, start) in starts.iter().enumerate() {
        let end = starts.get(place + 1).copied().or(until);
        // What ends before it begins is never seen.
        if end.is_none_or(|end| *start < end) {
            piece(*start, end);
        }
    }
}

impl Clock {
    /// The end of a level: its own, or when it has lasted as long as a level may.
    pub(super) fn level_until(self, from: i64, until: Option<i64>) -> Option<i64> {
        let given_up = Some(from + self.level_max).filter(|given_up| self.as_of > *given_up);
        [given_up, until].into_iter().flatten().min()
    }
}

pub(super) fn add<'a>(conversation: &Conversation<'a>, clock: Clock, collector: &mut Collector<'a>) {
    for cycle in &conversation.cycles {
        // An event before the creation acts at the creation.
        let from = cycle.opened_at.max(conversation.created_at);
        let until = clock.level_until(from, cycle.resolve.as_ref().map(|resolve| resolve.time));
        pieces(conversation, from, until, |from, until| {
            let owner = conversation.owner_at(from);
            let group = conversation.group_at(owner, from);
            collector.level(group, from, until, "backlog_count");
            if owner.is_none() {
                collector.level(group, from, until, "unassigned_count");
            }
            if !conversation.up_to(from).iter().any(|event| is_reply(event)) {
                collector.level(group, from, until, "unattended_count");
            }
        });
    }
}
