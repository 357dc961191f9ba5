//! Which events make up a conversation: edits and deletions applied, merged conversations followed (rules 8, 12).

use super::conversation::{Conversation, conversation, is_spam, opener};
use super::dimensions::Dimensions;
use super::event::{CONVERSATION_TYPES, Event, Reject};
use super::message::is_message;
use super::net::reject;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a conversation's own events say, before merges.
pub(super) struct Home<'a> {
    tenant: &'a str,
    id: &'a str,
    /// All its events in order.
    all: Vec<&'a Event>,
    /// Those that are of use, messages with the text that stands.
    usable: Vec<Event>,
}

/// The events that stay when a conversation is merged into another, besides edits and deletions.
const STAYING: [&str; 7] = [
    "merged",
    "status_changed",
    "conversation_created",
    "spam_marked",
    "spam_cleared",
    "message_edited",
    "message_deleted",
];

/// The events by the conversation that they name.
pub(super) fn homes(events: &[Event]) -> Vec<Home<'_>> {
    let mut grouped = BTreeMap::<(&str, &str), Vec<&Event>>::new();
    for event in events.iter().filter(|event| CONVERSATION_TYPES.contains(&event.content.kind.as_str())) {
        if let Some(id) = event.text("conversation_id") {
            grouped.entry((&event.identity.tenant, id)).or_default().push(event);
        }
    }
    let mut homes = Vec::new();
    for ((tenant, id), mut all) in grouped {
        all.sort_by(|a, b| a.order().cmp(&b.order()));
        homes.push(Home { tenant, id, usable: usable(&all), all });
    }
    homes
}

/// The events but messages never delivered, and edits and deletions of messages that are not there (rule 8).
fn usable(events: &[&Event]) -> Vec<Event> {
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
    events.iter().filter(|event| keeps(event)).map(|event| standing(event, events)).collect()
}

/// The event; a message with its text as it reads in the end, or without where that was deleted.
fn standing(event: &Event, events: &[&Event]) -> Event {
    let mut event = event.clone();
    let Some(id) = event.text("message_id").filter(|_| is_message(&event)) else { return event };
    let about = |kind| events.iter().filter(move |other| other.is(kind) && other.text("message_id") == Some(id));
    let text = match (about("message_deleted").next(), about("message_edited").next_back()) {
        (Some(_), _) => None,
        (None, Some(edit)) => edit.text("text"),
        (None, None) => return event,
    };
    let text = text.map(|text| Value::from(text.to_owned()));
    event.content.columns.remove("text");
    event.content.columns.extend(text.map(|text| ("text".to_owned(), text)));
    event
}

impl Home<'_> {
    fn usable(&self) -> Vec<&Event> {
        self.usable.iter().collect()
    }

    /// The conversation it was merged into last.
    fn target(&self) -> Option<&str> {
        self.usable.iter().rfind(|event| event.is("merged")).and_then(|event| event.text("target_conversation_id"))
    }

    /// The edits and deletions that refer to nothing.
    fn lost(&self) -> impl Iterator<Item = &Event> {
        let is_used = |event: &Event| self.usable.iter().any(|other| other.identity == event.identity);
        self.all.iter().copied().filter(move |event| !is_message(event) && !is_used(event))
    }
}

/// Follows the targets of a tenant's conversations from one of them to its root.
fn root<'a>(tenant: &'a str, id: &'a str, targets: &BTreeMap<(&'a str, &'a str), &'a str>) -> &'a str {
    let mut path = vec![id];
    while let Some(next) = path.last().and_then(|last| targets.get(&(tenant, *last)).copied()) {
        if let Some(place) = path.iter().position(|id| *id == next) {
            // Round in a circle: its smallest id is as if it had no target.
            return path[place..].iter().copied().min().unwrap_or(next);
        }
        path.push(next);
    }
    path.last().copied().unwrap_or(id)
}

/// All conversations, void ones as well, and the events that refer to nothing.
pub(super) fn conversations<'a>(
    homes: &'a [Home<'a>],
    dimensions: &'a BTreeMap<&'a str, Dimensions<'a>>,
) -> (Vec<Conversation<'a>>, Vec<Reject>) {
    let (mut found, mut rejects) = (Vec::new(), Vec::new());
    let mut joint = BTreeMap::<(&str, &str), Vec<&Event>>::new();
    let targets = homes.iter().filter_map(|home| Some(((home.tenant, home.id), home.target()?))).collect();
    for home in homes {
        let Some(dimensions) = dimensions.get(home.tenant) else { continue };
        let root = root(home.tenant, home.id, &targets);
        let events = joint.entry((home.tenant, root)).or_default();
        if root == home.id {
            events.extend(&home.usable);
        } else if let Some(void) = conversation(home.tenant, home.id, home.usable(), Some(root), dimensions) {
            found.push(void);
            let moves = |event: &&Event| !STAYING.contains(&event.content.kind.as_str());
            if !is_spam(&home.usable()) {
                events.extend(home.usable.iter().filter(moves));
            }
        }
    }
    let orphan = |event: &Event| reject("orphan_reference", &event.identity);
    for ((tenant, id), mut events) in joint {
        events.sort_by(|a, b| a.order().cmp(&b.order()));
        let Some(dimensions) = dimensions.get(tenant) else { continue };
        rejects.extend(events.iter().filter(|_| opener(&events).is_none()).map(|event| orphan(event)));
        found.extend(conversation(tenant, id, events, None, dimensions));
    }
    let opened: BTreeSet<(&str, &str)> = found.iter().map(|one| (one.tenant, one.id)).collect();
    for home in homes {
        let is_opened = opened.contains(&(home.tenant, home.id));
        let refused: Vec<&Event> = if is_opened { home.lost().collect() } else { home.all.clone() };
        rejects.extend(refused.into_iter().map(orphan));
    }
    (found, rejects)
}
