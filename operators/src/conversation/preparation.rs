//! What has to be known of a whole history before it is walked: later events change what earlier ones mean.

use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::event::{ActorType, Body, ConversationKey, Direction, Event, Label, TextRef, Visibility};
use contactflow_schemas::normalise::speaker;
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
    /// Who the customer is.
    pub(super) contact: Option<Symbol>,
    /// The first agent who had to do with it (rule 28).
    pub(super) first_agent: Option<Symbol>,
    /// Its first team.
    pub(super) first_team: Option<Symbol>,
    /// Its first queue.
    pub(super) first_queue: Option<Symbol>,
    /// For each event: it counts for nothing, being a message that was not delivered or a reference to no message (rule
    /// 8), or a label, which is no event of the conversation (rule 63).
    pub(super) void: Vec<bool>,
    /// The ratings that stand, the last of each survey, and how many they replace (rule 19).
    standing_ratings: Vec<(usize, i64)>,
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
            contact: None,
            first_agent: None,
            first_team: None,
            first_queue: None,
            void: vec![false; events.len()],
            standing_ratings: Vec::new(),
            orphans: Vec::new(),
            texts_change,
        };
        if texts_change {
            preparation.void_undelivered_and_orphans(key);
        }
        for (void, event) in preparation.void.iter_mut().zip(events) {
            *void |= is_label(event);
        }
        preparation.scan();
        if preparation.created_ms.is_none() {
            preparation.orphan_everything(key);
        }
        preparation
    }

    /// The events that count, in order.
    pub(super) fn counting(&self) -> impl Iterator<Item = &'a Event> {
        self.events.iter().zip(&self.void).filter(|(_, void)| !**void).map(|(event, _)| event)
    }

    /// How many ratings the one at `position` replaces; none unless it stands.
    pub(super) fn standing_rating(&self, position: usize) -> Option<i64> {
        self.standing_ratings.iter().find(|(standing, _)| *standing == position).map(|(_, revisions)| *revisions)
    }

    /// The text of the message at `position` as it stands: the last edit's, or none once deleted.
    pub(super) fn text_of(&self, position: usize) -> Option<TextRef> {
        let Body::Message { message_id, text, .. } = &self.events[position].body else { return None };
        // Messages of merged conversations have brought the text that stands.
        if !self.texts_change || message_id.is_empty() || self.events[position].home.is_some() {
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

    /// The label at `position` stands: no later one says something else of the same (rule 63).
    pub(super) fn label_stands(&self, position: usize, label: &Label) -> bool {
        let home = self.events[position].home;
        let is_same = |event: &Event| match &event.body {
            Body::Label(other) => {
                event.home == home
                    && (&other.message_id, other.label, other.rater) == (&label.message_id, label.label, label.rater)
            }
            _ => false,
        };
        !self.events[position + 1..].iter().any(is_same)
    }

    /// The message that a label of a conversation names: the first with this id that was delivered.
    pub(super) fn labelled_message(&self, home: Option<Symbol>, wanted: &str) -> Option<usize> {
        let is_meant = |event: &Event| {
            event.home == home && matches!(&event.body, Body::Message { message_id, .. } if message_id == wanted)
        };
        self.events.iter().zip(&self.void).position(|(event, void)| !void && is_meant(event))
    }

    /// The event at `position`.
    pub(super) fn event(&self, position: usize) -> &'a Event {
        &self.events[position]
    }

    fn has_message(&self, wanted: &str) -> bool {
        self.events.iter().any(|event| is_message(event, wanted))
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
                    *void |= is_message(other, message_id);
                }
            }
        }
    }

    fn scan(&mut self) {
        let mut first_message_ms = None;
        let mut ratings: Vec<(Option<Symbol>, usize, i64)> = Vec::new();
        let mut channel = None;
        for (position, event) in self.events.iter().enumerate().filter(|(position, _)| !self.void[*position]) {
            channel = channel.or(event.channel);
            self.contact = self.contact.or(event.contact);
            self.first_team = self.first_team.or(event.team);
            self.first_queue = self.first_queue.or(event.queue);
            match &event.body {
                Body::Created => {
                    self.created_ms.get_or_insert(event.time_ms);
                }
                Body::Message { direction, visibility, .. } => {
                    first_message_ms.get_or_insert(event.time_ms);
                    let author = speaker(event.actor_type, *direction, event.actor);
                    let replies = *visibility == Visibility::Public
                        && author == Some(ActorType::Agent)
                        && *direction != Some(Direction::Inbound);
                    if replies {
                        self.first_agent = self.first_agent.or(event.actor);
                    }
                }
                Body::Assigned { agent } | Body::Transferred { agent, .. } => {
                    self.first_agent = self.first_agent.or(*agent);
                }
                Body::Spam(marked) => self.spam = *marked,
                Body::Rated { survey, .. } => match ratings.iter_mut().find(|(other, ..)| other == survey) {
                    Some((_, standing, revisions)) => (*standing, *revisions) = (position, *revisions + 1),
                    None => ratings.push((*survey, position, 0)),
                },
                _ => {}
            }
        }
        self.channel = channel.unwrap_or(self.channel);
        self.created_ms = self.created_ms.or(first_message_ms);
        self.standing_ratings = ratings.into_iter().map(|(_, position, revisions)| (position, revisions)).collect();
    }

    /// Without an opener every event refers to a conversation that does not exist.
    fn orphan_everything(&mut self, key: ConversationKey) {
        let message = "the conversation has neither a conversation_created nor a delivered message";
        let events = self.events.iter().filter(|event| !is_label(event));
        self.orphans = events.map(|event| orphan(key, event, "conversation_id", message)).collect();
    }
}

/// A label, which is no event of the conversation that it is about.
pub(super) fn is_label(event: &Event) -> bool {
    matches!(event.body, Body::Label(_))
}

/// Ids are unique within a conversation: messages of merged ones are never meant.
fn is_message(event: &Event, wanted: &str) -> bool {
    event.home.is_none() && matches!(&event.body, Body::Message { message_id, .. } if message_id == wanted)
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
