//! What has to be known of a whole history before it is walked: later events change what earlier ones mean.

use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::event::{Body, ConversationKey, Event, TextRef};
use contactflow_schemas::reject::{Reason, Reject};
use contactflow_schemas::symbol::Symbol;

/// Facts about a whole history.
pub(super) struct Preparation<'a> {
    events: &'a [Event],
    /// Creation of the conversation; none when it never opened (rule 5).
    pub(super) created_ms: Option<TimeMs>,
    /// Its channel (rule 6).
    pub(super) channel: Symbol,
    /// Marked as spam, and not cleared since.
    pub(super) spam: bool,
    /// Merged into another conversation.
    pub(super) merged: bool,
    /// For each event: it counts for nothing, being a message that was not delivered or a reference to no message (rule 8).
    pub(super) void: Vec<bool>,
    /// Positions of the ratings that stand: the last of each survey (rule 19).
    pub(super) standing_ratings: Vec<usize>,
    /// Events that refer to nothing.
    pub(super) orphans: Vec<Reject>,
    /// Some message was edited or deleted, so texts have to be looked up.
    texts_change: bool,
}

impl<'a> Preparation<'a> {
    pub(super) fn of(key: ConversationKey, events: &'a [Event]) -> Self {
        let texts_change = events.iter().any(|event| matches!(event.body, Body::Edited { .. } | Body::Deleted { .. }));
        let mut preparation = Preparation {
            events,
            created_ms: None,
            channel: Symbol::new("unknown"),
            spam: false,
            merged: false,
            void: vec![false; events.len()],
            standing_ratings: Vec::new(),
            orphans: Vec::new(),
            texts_change,
        };
        if texts_change {
            preparation.void_undelivered_and_orphans(key);
        }
        preparation.scan();
        if preparation.created_ms.is_none() {
            preparation.orphan_everything(key);
        }
        preparation
    }

    /// The text of the message at `position` as it stands: the last edit's, or none once deleted.
    pub(super) fn text_of(&self, position: usize) -> Option<TextRef> {
        let Body::Message { message_id, text, .. } = &self.events[position].body else { return None };
        if !self.texts_change || message_id.is_empty() {
            return *text;
        }
        let mut standing = *text;
        for event in self.events {
            match &event.body {
                Body::Deleted { message_id: deleted, .. } if deleted == message_id => return None,
                Body::Edited { message_id: edited, text } if edited == message_id => standing = *text,
                _ => {}
            }
        }
        standing
    }

    fn has_message(&self, wanted: &str) -> bool {
        let is_it = |event: &Event| matches!(&event.body, Body::Message { message_id, .. } if message_id == wanted);
        self.events.iter().any(is_it)
    }

    fn void_undelivered_and_orphans(&mut self, key: ConversationKey) {
        for (position, event) in self.events.iter().enumerate() {
            let (Body::Edited { message_id, .. } | Body::Deleted { message_id, .. }) = &event.body else { continue };
            if !self.has_message(message_id) {
                let message = "the conversation has no message with this message_id";
                self.orphans.push(orphan(key, event, "message_id", message));
                self.void[position] = true;
            } else if matches!(event.body, Body::Deleted { not_delivered: true, .. }) {
                for (void, other) in self.void.iter_mut().zip(self.events) {
                    *void |= matches!(&other.body, Body::Message { message_id: other, .. } if other == message_id);
                }
            }
        }
    }

    fn scan(&mut self) {
        let mut first_message_ms = None;
        let mut ratings: Vec<(Option<Symbol>, usize)> = Vec::new();
        let mut channel = None;
        for (position, event) in self.events.iter().enumerate().filter(|(position, _)| !self.void[*position]) {
            channel = channel.or(event.channel);
            match &event.body {
                Body::Created => {
                    self.created_ms.get_or_insert(event.time_ms);
                }
                Body::Message { .. } => {
                    first_message_ms.get_or_insert(event.time_ms);
                }
                Body::Spam(marked) => self.spam = *marked,
                Body::Merged => self.merged = true,
                Body::Rated { survey, .. } => {
                    ratings.retain(|(other, _)| other != survey);
                    ratings.push((*survey, position));
                }
                _ => {}
            }
        }
        self.channel = channel.unwrap_or(self.channel);
        self.created_ms = self.created_ms.or(first_message_ms);
        self.standing_ratings = ratings.into_iter().map(|(_, position)| position).collect();
    }

    /// Without an opener every event refers to a conversation that does not exist.
    fn orphan_everything(&mut self, key: ConversationKey) {
        let message = "the conversation has neither a conversation_created nor a delivered message";
        self.orphans = self.events.iter().map(|event| orphan(key, event, "conversation_id", message)).collect();
    }
}

fn orphan(key: ConversationKey, event: &Event, field: &str, message: &str) -> Reject {
    Reject {
        file: event.origin.file,
        row: event.origin.row,
        reason: Reason::OrphanReference,
        field: field.to_owned(),
        message: message.to_owned(),
        tenant: Some(key.tenant),
        source: Some(event.source),
        event_id: Some(event.event_id.to_string()),
        raw: None,
    }
}
