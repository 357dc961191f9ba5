//! The status of a conversation over time, and the time it spends in each (rule 35).

use super::conversation::Conversation;

/// A status from an event on.
#[derive(Clone, Copy, Debug)]
struct Change<'a> {
    time: i64,
    status: &'a str,
}

/// The changes in order, the creation first.
fn changes<'a>(conversation: &Conversation<'a>) -> Vec<Change<'a>> {
    let created = conversation.created_at;
    let mut changes = vec![Change { time: created, status: "new" }];
    for (index, event) in conversation.events.iter().enumerate() {
        let reopens = conversation.cycles.iter().any(|cycle| cycle.number > 1 && cycle.start == index);
        let status = match event.text("to_status").filter(|_| event.is("status_changed")) {
            Some(status) => status,
            None if reopens => "open",
            None => continue,
        };
        // Before the creation there is nothing to change.
        changes.push(Change { time: event.time().max(created), status });
    }
    changes
}

/// The stretches of some statuses from the creation up to an instant.
pub(super) fn stretches_in(conversation: &Conversation, statuses: &[&str], until: i64) -> Vec<(i64, i64)> {
    let changes = changes(conversation);
    let ends = changes.iter().skip(1).map(|change| change.time).chain([i64::MAX]);
    changes
        .iter()
        .zip(ends)
        .filter(|(change, _)| statuses.contains(&change.status))
        .map(|(change, end)| (change.time, end.min(until)))
        .filter(|(start, end)| start < end)
        .collect()
}

/// The parts of stretches within [from, to).
pub(super) fn within(stretches: &[(i64, i64)], from: i64, to: i64) -> Vec<(i64, i64)> {
    let cut = stretches.iter().map(|(start, end)| ((*start).max(from), (*end).min(to)));
    cut.filter(|(start, end)| start < end).collect()
}

/// Their length.
pub(super) fn length(stretches: &[(i64, i64)]) -> i64 {
    stretches.iter().map(|(start, end)| end - start).sum()
}
