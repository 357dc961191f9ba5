//! The packed history of one conversation: all state the conversation stage keeps.
//!
//! Events are stored as a byte string of variable-length integers, about a quarter of their size as structs, sorted in
//! the order of the contract (event_time, source, event_id). Symbols are stored by their process-private number, so a
//! history never leaves its process. Facts are not stored at all: they are recomputed from here, before and after a
//! change, and the difference goes downstream.

mod packing;

use std::cmp::Ordering;

use compact_str::CompactString;
use contactflow_schemas::event::Event;
use contactflow_schemas::symbol::Symbol;

use self::packing::{Reader, Shared, Writer};

/// What happens to one event of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Change {
    /// It is inserted, or replaces the event with its `(source, event_id)` and home.
    Put(Box<Event>),
    /// It is removed.
    Remove {
        /// `source`.
        source: Symbol,
        /// `event_id`.
        event_id: CompactString,
        /// The merged conversation it came from: an event that moves between a conversation and the one it was merged
        /// into leaves the one and enters the other at once, in any order.
        home: Option<Symbol>,
    },
}

/// The packed events of one conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(Box<[u8]>);

/// The contract's order inside a conversation.
pub fn order(left: &Event, right: &Event) -> Ordering {
    left.time_ms.cmp(&right.time_ms).then_with(|| {
        let sources = if left.source == right.source {
            Ordering::Equal
        } else {
            left.source.as_str().as_bytes().cmp(right.source.as_str().as_bytes())
        };
        sources.then_with(|| left.event_id.as_bytes().cmp(right.event_id.as_bytes()))
    })
}

impl History {
    /// Packs `events`, which must be in [`order`].
    pub fn pack(events: &[Event]) -> Self {
        let mut writer = Writer(Vec::with_capacity(events.len() * 48));
        let mut shared = Shared::default();
        events.iter().for_each(|event| writer.event(event, &mut shared));
        Self(writer.0.into_boxed_slice())
    }

    /// The events, in [`order`].
    pub fn unpack(&self) -> Vec<Event> {
        let mut reader = Reader(&self.0);
        let mut events: Vec<Event> = Vec::with_capacity(self.0.len() / 32);
        let mut shared = Shared::default();
        while !reader.0.is_empty() {
            events.push(reader.event(&mut shared));
        }
        events
    }

    /// True when no event is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Size of the packed events, bytes.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }
}

/// Applies changes, in their order, to events in [`order`].
pub fn apply(events: &mut Vec<Event>, changes: impl IntoIterator<Item = Change>) {
    // A conversation that arrives as a whole is the common case: sort once instead of inserting one by one.
    let mut sorted = true;
    for change in changes {
        let (source, event_id, home) = match &change {
            Change::Put(event) => (event.source, &event.event_id, event.home),
            Change::Remove { source, event_id, home } => (*source, event_id, *home),
        };
        let known =
            events.iter().position(|event| event.source == source && event.event_id == *event_id && event.home == home);
        match (change, known) {
            (Change::Put(event), Some(position)) => {
                events[position] = *event;
                sorted = false;
            }
            (Change::Put(event), None) => {
                sorted &= events.last().is_none_or(|last| order(last, &event) == Ordering::Less);
                events.push(*event);
            }
            (Change::Remove { .. }, Some(position)) => drop(events.remove(position)),
            (Change::Remove { .. }, None) => {}
        }
    }
    if !sorted {
        events.sort_by(order);
    }
}

#[cfg(test)]
mod tests {
    use contactflow_schemas::event::{
        ActorType, Body, DequeueReason, Direction, EventType, Label, Origin, SegmentStep, Status, TextRef,
        TransferKind, Verdict, Visibility,
    };
    use contactflow_schemas::prediction::{TextHead, TextKey};

    use super::*;

    fn event(time_ms: i64, source: &str, event_id: &str, body: Body) -> Event {
        let origin = Origin { file: Symbol::new("f"), row: time_ms as u64 };
        Event {
            source: Symbol::new(source),
            event_id: CompactString::from(event_id),
            time_ms,
            channel: Some(Symbol::new("chat")),
            actor_type: Some(ActorType::Agent),
            actor: None,
            contact: (time_ms % 2 == 0).then(|| Symbol::new("c1")),
            queue: (time_ms % 3 == 0).then(|| Symbol::new("q1")),
            team: None,
            ingest_ms: (time_ms % 2 == 1).then_some(time_ms + 250),
            home: (time_ms % 5 == 0).then(|| Symbol::new("other")),
            body,
            origin,
        }
    }

    fn one_of_each() -> Vec<Event> {
        let agent = Some(Symbol::new("a1"));
        let text = Some(TextRef { key: TextKey::of("hi"), chars: 2 });
        let message = |message_id: &str, direction, visibility| Body::Message {
            message_id: message_id.into(),
            direction,
            visibility,
            fallback: visibility == Visibility::Public,
            text,
        };
        let label = |message_id: &str, verdict| {
            let (message_id, label) = (message_id.into(), Symbol::new("greets"));
            Body::Label(Box::new(Label { message_id, label, rater: agent, agent: None, verdict }))
        };
        let bodies = vec![
            Body::Created,
            message("e1", Some(Direction::Outbound), Visibility::Public),
            message("other", None, Visibility::Private),
            Body::Edited { message_id: "e1".into(), text: None },
            Body::Deleted { message_id: "e1".into(), not_delivered: true },
            Body::Status(Status::Closed),
            Body::Assigned { agent },
            Body::Transferred { agent: None, from: agent, kind: Some(TransferKind::External) },
            Body::Queued,
            Body::Dequeued { reason: Some(DequeueReason::FlowOut), agent },
            Body::Segment { step: SegmentStep::AcwEnded, segment: agent, agent: None, duration_ms: Some(7) },
            Body::Handoff { fallback: true },
            Body::SurveySent { survey: agent, agent },
            Body::SlaApplied { policy: Symbol::new("gold") },
            Body::SlaRemoved { policy: None },
            Body::Rated { survey: agent, agent: None, csat_millionths: 3_666_667 },
            Body::Merged { target: Symbol::new("x") },
            Body::Spam(true),
            Body::Other(EventType::ErasureRequested),
            label("", Verdict::Graded { pass: true, weight_milli: 2_500 }),
            label("m", Verdict::NotApplicable),
            label("m", Verdict::Class(TextHead::Intent, Symbol::new("refund"))),
        ];
        let time = |n: usize| 1_700_000_000_000 + n as i64 * 1_000_003;
        bodies.into_iter().enumerate().map(|(n, body)| event(time(n), "s", &format!("e{n}"), body)).collect()
    }

    #[test]
    fn packing_loses_nothing() {
        let events = one_of_each();
        assert_eq!(History::pack(&events).unpack(), events);
        assert!(History::pack(&[]).is_empty());
    }

    #[test]
    fn ties_are_broken_by_source_and_id_in_byte_order() {
        let mut events = Vec::new();
        let ids = [("b", "1"), ("a", "10"), ("a", "9"), ("a", "1")];
        apply(
            &mut events,
            ids.map(|(source, id)| Change::Put(Box::new(event(5, source, id, Body::Handoff { fallback: false })))),
        );
        let order: Vec<_> = events.iter().map(|event| (event.source.as_str(), event.event_id.as_str())).collect();
        assert_eq!(order, [("a", "1"), ("a", "10"), ("a", "9"), ("b", "1")]);
    }

    #[test]
    fn a_put_replaces_and_a_remove_leaves_no_trace() {
        let mut events = vec![event(6, "s", "x", Body::Handoff { fallback: false })];
        let before = History::pack(&events);
        apply(&mut events, [Change::Put(Box::new(event(9, "s", "x", Body::Created)))]);
        assert_eq!((events.len(), events[0].time_ms), (1, 9));
        apply(&mut events, [Change::Remove { source: Symbol::new("s"), event_id: "x".into(), home: None }]);
        assert!(History::pack(&events).is_empty());
        apply(&mut events, [Change::Put(Box::new(event(6, "s", "x", Body::Handoff { fallback: false })))]);
        assert_eq!(History::pack(&events), before);
    }
}
