//! Labels that name a message and no conversation, and which conversations have that message (rule 63).
//!
//! Every worker has all of these labels, of which there are few, and an index of the message ids of its own
//! conversations. The index only grows: a conversation that has lost a message keeps its labels, and they count for
//! nothing there.

use std::collections::{HashMap, HashSet};

use compact_str::CompactString;
use contactflow_schemas::event::{Body, ConversationKey, Event, mix};
use contactflow_schemas::prediction::TextKey;
use contactflow_schemas::symbol::{FastHash, Symbol};
use hashbrown::HashTable;

use super::Change;

/// Hash of a tenant and message id. That two ids have one hash costs a look at a conversation, nothing else.
type MessageHash = u64;
/// Tenant, source and event id of a label.
type Identity = (Symbol, Symbol, CompactString);

/// The labels of all tenants, and one worker's index of messages.
#[derive(Default)]
pub(super) struct UnplacedLabels {
    places: HashTable<(MessageHash, ConversationKey)>,
    labels: HashMap<MessageHash, Vec<Event>, FastHash>,
    messages: HashMap<Identity, MessageHash>,
}

/// Hash of a message id within its tenant, the same in every process.
pub fn message_hash(tenant: Symbol, message_id: &str) -> u64 {
    mix(TextKey::of(message_id).0 as u64 ^ tenant.stable_hash())
}

fn identity_of(key: ConversationKey, change: &Change) -> Identity {
    match change {
        Change::Put(event) => (key.tenant, event.source, event.event_id.clone()),
        Change::Remove { source, event_id, .. } => (key.tenant, *source, event_id.clone()),
    }
}

/// The last change of each label.
fn last_of_each(changes: Vec<(ConversationKey, Change)>) -> Vec<(ConversationKey, Change)> {
    let mut known: HashSet<Identity> = HashSet::new();
    let mut last: Vec<_> =
        changes.into_iter().rev().filter(|(key, change)| known.insert(identity_of(*key, change))).collect();
    last.reverse();
    last
}

fn hash_of((message, _): &(MessageHash, ConversationKey)) -> u64 {
    mix(*message)
}

impl UnplacedLabels {
    /// Takes in the changes of a conversation, and adds to them the labels of messages that are new to it.
    pub(super) fn follow(&mut self, key: ConversationKey, changes: &mut Vec<Change>) {
        let mut concerned = Vec::new();
        for change in &*changes {
            let Change::Put(event) = change else { continue };
            let Body::Message { message_id, .. } = &event.body else { continue };
            if message_id.is_empty() {
                continue;
            }
            let place = (message_hash(key.tenant, message_id), key);
            if self.places.find(mix(place.0), |other| *other == place).is_none() {
                self.places.insert_unique(mix(place.0), place, hash_of);
                let labels = self.labels.get(&place.0).map_or(&[][..], Vec::as_slice);
                concerned.extend(labels.iter().map(|label| Change::Put(Box::new(label.clone()))));
            }
        }
        changes.extend(concerned);
    }

    /// True for an event that is one of these labels.
    pub(super) fn has(&self, tenant: Symbol, event: &Event) -> bool {
        !self.messages.is_empty() && self.messages.contains_key(&(tenant, event.source, event.event_id.clone()))
    }

    /// Takes in changes of labels, in the order in which they came. Returns what they come to for conversations here: of a
    /// label at most a removal and then an insertion.
    pub(super) fn take_in(&mut self, changes: Vec<(ConversationKey, Change)>) -> Vec<(ConversationKey, Change)> {
        let mut placed: Vec<(ConversationKey, Change)> = Vec::new();
        for (key, change) in last_of_each(changes) {
            let identity = identity_of(key, &change);
            let (_, source, event_id) = identity.clone();
            if let Some(message) = self.messages.remove(&identity) {
                self.forget(message, source, &event_id);
                let remove = || Change::Remove { source, event_id: event_id.clone(), home: None };
                placed.extend(self.places_of(message).map(|place| (place, remove())));
            }
            if let Change::Put(event) = change
                && let Body::Label(label) = &event.body
            {
                let message = message_hash(key.tenant, &label.message_id);
                placed.extend(self.places_of(message).map(|place| (place, Change::Put(event.clone()))));
                self.messages.insert(identity, message);
                self.labels.entry(message).or_default().push(*event);
            }
        }
        placed
    }

    fn forget(&mut self, message: MessageHash, source: Symbol, event_id: &str) {
        if let Some(labels) = self.labels.get_mut(&message) {
            labels.retain(|label| label.source != source || label.event_id != event_id);
            if labels.is_empty() {
                self.labels.remove(&message);
            }
        }
    }

    fn places_of(&self, message: MessageHash) -> impl Iterator<Item = ConversationKey> {
        self.places.iter_hash(mix(message)).filter(move |(other, _)| *other == message).map(|(_, key)| *key)
    }
}
