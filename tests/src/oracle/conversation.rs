//! Conversations: their events in order, cut into cycles (rules 5 to 12).

use super::event::{CONVERSATION_TYPES, Event, Reject};
use super::message::{is_customer_message, is_message, is_reply};
use super::net::reject;
use std::collections::{BTreeMap, BTreeSet};

/// A conversation that something opens.
pub(super) struct Conversation<'a> {
    pub(super) tenant: &'a str,
    pub(super) id: &'a str,
    pub(super) channel: &'a str,
    pub(super) created_at: i64,
    /// In order, without messages that were never delivered and without rejected events.
    pub(super) events: Vec<&'a Event>,
    pub(super) cycles: Vec<Cycle>,
    pub(super) spam: bool,
    pub(super) merged: bool,
}

/// From the creation or a reopen up to the next reopen: a stretch of the conversation's events.
#[derive(Clone, Debug)]
pub(super) struct Cycle {
    /// 1 for the first.
    pub(super) number: usize,
    pub(super) opened_at: i64,
    /// Index of the first event; from the second cycle on the event that reopened.
    pub(super) start: usize,
    /// Index after the last event.
    pub(super) end: usize,
    /// The resolve, if there was one.
    pub(super) resolve: Option<Resolve>,
    /// Whom the reopen that began this cycle is credited to.
    pub(super) reopen_agent: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Resolve {
    /// Index of the event.
    pub(super) index: usize,
    pub(super) time: i64,
    /// Whom it is credited to.
    pub(super) agent: Option<String>,
}

/// All conversations, and the events that refer to nothing.
pub(super) fn conversations(events: &[Event]) -> (Vec<Conversation<'_>>, Vec<Reject>) {
    let mut grouped = BTreeMap::<(&str, &str), Vec<&Event>>::new();
    for event in events.iter().filter(|event| CONVERSATION_TYPES.contains(&event.content.kind.as_str())) {
        if let Some(id) = event.text("conversation_id") {
            grouped.entry((&event.identity.tenant, id)).or_default().push(event);
        }
    }
    let (mut found, mut rejects) = (Vec::new(), Vec::new());
    for ((tenant, id), mut events) in grouped {
        events.sort_by(|a, b| a.order().cmp(&b.order()));
        let usable = usable(&events);
        let lost = |event: &&&Event| !usable.iter().any(|other| std::ptr::eq(*other, **event));
        match conversation(tenant, id, &usable) {
            Some(conversation) => {
                let orphans = events.iter().filter(lost).filter(|event| !is_message(event));
                rejects.extend(orphans.map(|event| reject("orphan_reference", &event.identity)));
                found.push(conversation);
            }
            None => rejects.extend(events.iter().map(|event| reject("orphan_reference", &event.identity))),
        }
    }
    (found, rejects)
}

/// The events but messages never delivered, and edits and deletions of messages that are not there (rule 8).
fn usable<'a>(events: &[&'a Event]) -> Vec<&'a Event> {
    let ids_of = |wanted: &dyn Fn(&Event) -> bool| -> BTreeSet<&str> {
        events.iter().filter(|event| wanted(event)).filter_map(|event| event.text("message_id")).collect()
    };
    let sent = ids_of(&is_message);
    let not_delivered = ids_of(&|event| event.is("message_deleted") && event.text("reason") == Some("not_delivered"));
    let keeps = |event: &Event| match event.content.kind.as_str() {
        "message_created" => event.text("message_id").is_none_or(|id| !not_delivered.contains(id)),
        "message_edited" | "message_deleted" => event.text("message_id").is_some_and(|id| sent.contains(id)),
        _ => true,
    };
    events.iter().copied().filter(|event| keeps(event)).collect()
}

/// The conversation of these events; `None` if nothing opens it.
fn conversation<'a>(tenant: &'a str, id: &'a str, events: &[&'a Event]) -> Option<Conversation<'a>> {
    let created = events.iter().find(|event| event.is("conversation_created"));
    let created_at = created.or_else(|| events.iter().find(|event| is_message(event)))?.time();
    let last_spam = events.iter().rfind(|event| event.is("spam_marked") || event.is("spam_cleared"));
    Some(Conversation {
        tenant,
        id,
        channel: events.iter().find_map(|event| event.text("channel")).unwrap_or("unknown"),
        created_at,
        events: events.to_vec(),
        cycles: cycles(events, created_at),
        spam: last_spam.is_some_and(|event| event.is("spam_marked")),
        merged: events.iter().any(|event| event.is("merged")),
    })
}

/// Walks the events once, resolving and reopening.
fn cycles(events: &[&Event], created_at: i64) -> Vec<Cycle> {
    let first =
        Cycle { number: 1, opened_at: created_at, start: 0, end: events.len(), resolve: None, reopen_agent: None };
    let mut cycles = vec![first];
    for (index, event) in events.iter().enumerate() {
        let Some(cycle) = cycles.last_mut() else { break };
        match &cycle.resolve {
            None if resolves(event) => {
                let agent = resolve_agent(events, index).map(str::to_owned);
                cycle.resolve = Some(Resolve { index, time: event.time(), agent });
            }
            Some(resolve) if reopens(event) => {
                let next = Cycle {
                    number: cycle.number + 1,
                    opened_at: event.time(),
                    start: index,
                    end: events.len(),
                    resolve: None,
                    reopen_agent: resolve.agent.clone(),
                };
                cycle.end = index;
                cycles.push(next);
            }
            _ => {}
        }
    }
    cycles
}

fn resolves(event: &Event) -> bool {
    event.is("status_changed") && matches!(event.text("to_status"), Some("resolved" | "closed"))
}

fn reopens(event: &Event) -> bool {
    let to_open = matches!(event.text("to_status"), Some("new" | "open" | "pending" | "on_hold" | "snoozed"));
    is_customer_message(event) || (event.is("status_changed") && to_open)
}

/// The agent who resolved, else the owner at that moment (rule 10).
fn resolve_agent<'a>(events: &[&'a Event], index: usize) -> Option<&'a str> {
    let by_agent = matches!(events[index].text("actor_type"), None | Some("agent"));
    let actor = events[index].text("actor_id").filter(|_| by_agent);
    actor.or_else(|| owner_after(&events[..index]))
}

/// The owner after these events (rule 9).
pub(super) fn owner_after<'a>(events: &[&'a Event]) -> Option<&'a str> {
    events
        .iter()
        .rfind(|event| event.is("assigned") || event.is("transferred"))
        .and_then(|event| event.text("agent_id"))
}

/// Who wrote the last reply among these events.
pub(super) fn last_replier<'a>(events: &[&'a Event]) -> Option<&'a str> {
    events.iter().rfind(|event| is_reply(event)).and_then(|event| event.text("actor_id"))
}

impl<'a> Conversation<'a> {
    /// The events before a moment, itself excluded.
    pub(super) fn before(&self, time: i64) -> &[&'a Event] {
        let count = self.events.iter().take_while(|event| event.time() < time).count();
        &self.events[..count]
    }

    /// The agent in charge of the customer message at `index` (rule 13).
    pub(super) fn in_charge(&self, cycle: &Cycle, index: usize) -> Option<&'a str> {
        owner_after(&self.events[..index]).or_else(|| last_replier(&self.events[cycle.start..index]))
    }

    /// The text of a message as it reads in the end; `None` where it has none or was deleted.
    pub(super) fn final_text(&self, message: &'a Event) -> Option<&'a str> {
        let Some(id) = message.text("message_id") else { return message.text("text") };
        let about =
            |kind| self.events.iter().filter(move |event| event.is(kind) && event.text("message_id") == Some(id));
        if about("message_deleted").next().is_some() {
            return None;
        }
        about("message_edited").next_back().map_or_else(|| message.text("text"), |edit| edit.text("text"))
    }

    /// That text if it is something to score.
    pub(super) fn eligible_text(&self, message: &'a Event) -> Option<&'a str> {
        self.final_text(message).filter(|text| !text.trim().is_empty())
    }

    /// The owner at the resolve of a cycle; of an open one, at the end of the history.
    pub(super) fn final_owner(&self, cycle: &Cycle) -> Option<&'a str> {
        let end = cycle.resolve.as_ref().map_or(cycle.end, |resolve| resolve.index);
        owner_after(&self.events[..end])
    }

    /// The events of a cycle up to its resolve.
    pub(super) fn unresolved_events(&self, cycle: &Cycle) -> &[&'a Event] {
        let end = cycle.resolve.as_ref().map_or(cycle.end, |resolve| resolve.index);
        &self.events[cycle.start..end]
    }

    /// Whether the last cycle is resolved.
    pub(super) fn final_resolve(&self) -> Option<&Resolve> {
        self.cycles.last().and_then(|cycle| cycle.resolve.as_ref())
    }

    /// The cycle of the last resolve, reopened since or not.
    pub(super) fn last_resolved_cycle(&self) -> Option<&Cycle> {
        self.cycles.iter().rfind(|cycle| cycle.resolve.is_some())
    }
}
