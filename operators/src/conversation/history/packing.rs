//! Events as bytes, and back.
//!
//! Variable-length integers; columns that an event is likely to share with the one before take two bits.

use compact_str::CompactString;
use contactflow_schemas::event::{
    ActorType, Body, DequeueReason, Direction, Event, EventType, Label, Origin, SegmentStep, Status, TextRef,
    TransferKind, Verdict, Visibility,
};
use contactflow_schemas::prediction::{TextHead, TextKey};
use contactflow_schemas::symbol::Symbol;

/// Tags of [`Body`] variants; [`Body::Other`] follows with its type's position.
mod tag {
    pub(super) const CREATED: u8 = 0;
    pub(super) const MESSAGE: u8 = 1;
    pub(super) const EDITED: u8 = 2;
    pub(super) const DELETED: u8 = 3;
    pub(super) const STATUS: u8 = 4;
    pub(super) const ASSIGNED: u8 = 5;
    pub(super) const TRANSFERRED: u8 = 6;
    pub(super) const QUEUED: u8 = 7;
    pub(super) const DEQUEUED: u8 = 8;
    pub(super) const SEGMENT: u8 = 9;
    pub(super) const HANDOFF: u8 = 10;
    pub(super) const SURVEY_SENT: u8 = 11;
    pub(super) const RATED: u8 = 12;
    pub(super) const SLA_APPLIED: u8 = 13;
    pub(super) const SLA_REMOVED: u8 = 14;
    pub(super) const MERGED: u8 = 15;
    pub(super) const SPAM: u8 = 16;
    pub(super) const OTHER: u8 = 17;
    pub(super) const GRADED: u8 = 18;
    pub(super) const NOT_APPLICABLE: u8 = 19;
    pub(super) const CLASS: u8 = 20;
}

/// What the next event is likely to share with the one before: stored as two bits where it does.
#[derive(Clone, Copy, Default)]
pub(super) struct Shared {
    time_ms: i64,
    channel: Option<Symbol>,
    contact: Option<Symbol>,
    queue: Option<Symbol>,
    team: Option<Symbol>,
}

impl Shared {
    fn columns(&mut self) -> [&mut Option<Symbol>; 4] {
        [&mut self.channel, &mut self.contact, &mut self.queue, &mut self.team]
    }
}

/// How a column relates to the last event that had it.
mod shared {
    pub(super) const NONE: u8 = 0;
    pub(super) const SAME: u8 = 1;
    pub(super) const NEW: u8 = 2;
}

pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn unsigned(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn signed(&mut self, value: i64) {
        self.unsigned(((value << 1) ^ (value >> 63)) as u64);
    }

    fn symbol(&mut self, symbol: Option<Symbol>) {
        self.unsigned(symbol.map_or(0, |symbol| u64::from(symbol.index())));
    }

    fn string(&mut self, text: &str) {
        self.unsigned(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn text(&mut self, text: Option<TextRef>) {
        self.byte(u8::from(text.is_some()));
        if let Some(text) = text {
            self.0.extend_from_slice(&text.key.0.to_le_bytes());
            self.unsigned(u64::from(text.chars));
        }
    }

    pub(super) fn event(&mut self, event: &Event, shared: &mut Shared) {
        self.signed(event.time_ms - shared.time_ms);
        shared.time_ms = event.time_ms;
        self.symbol(Some(event.source));
        self.string(&event.event_id);
        let values = [event.channel, event.contact, event.queue, event.team];
        let relation = |(value, last): (&Option<Symbol>, &mut Option<Symbol>)| match value {
            None => shared::NONE,
            Some(_) if value == last => shared::SAME,
            Some(_) => shared::NEW,
        };
        let relations: Vec<u8> = values.iter().zip(shared.columns()).map(relation).collect();
        self.byte(relations.iter().enumerate().fold(0, |bits, (at, relation)| bits | relation << (2 * at)));
        for ((value, last), relation) in values.into_iter().zip(shared.columns()).zip(relations) {
            if relation == shared::NEW {
                self.symbol(value);
                *last = value;
            }
        }
        let actor_type = event.actor_type.map_or(0, |actor| actor as u8 + 1);
        let (has_ingest, has_home) = (event.ingest_ms.is_some(), event.home.is_some());
        self.byte(actor_type | u8::from(has_ingest) << 3 | u8::from(has_home) << 4);
        if let Some(ingest_ms) = event.ingest_ms {
            self.signed(ingest_ms - event.time_ms);
        }
        if has_home {
            self.symbol(event.home);
        }
        self.symbol(event.actor);
        self.symbol(Some(event.origin.file));
        self.unsigned(event.origin.row);
        self.body(&event.body, &event.event_id);
    }

    fn optional(&mut self, value: Option<i64>) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            self.signed(value);
        }
    }

    fn body(&mut self, body: &Body, event_id: &str) {
        match body {
            Body::Created => self.byte(tag::CREATED),
            Body::Message { message_id, direction, visibility, fallback, text } => {
                self.byte(tag::MESSAGE);
                // Most sources use one id for the message and its event.
                let same = message_id == event_id;
                let flags = u8::from(same)
                    | (u8::from(*visibility == Visibility::Private) << 1)
                    | (u8::from(*fallback) << 2)
                    | (direction.map_or(0, |direction| direction as u8 + 1) << 3);
                self.byte(flags);
                if !same {
                    self.string(message_id);
                }
                self.text(*text);
            }
            Body::Edited { message_id, text } => {
                self.byte(tag::EDITED);
                self.string(message_id);
                self.text(*text);
            }
            Body::Deleted { message_id, not_delivered } => {
                self.byte(tag::DELETED);
                self.string(message_id);
                self.byte(u8::from(*not_delivered));
            }
            Body::Segment { step, segment, agent, duration_ms } => {
                self.byte(tag::SEGMENT);
                self.byte(*step as u8);
                self.symbol(*segment);
                self.symbol(*agent);
                self.optional(*duration_ms);
            }
            Body::Rated { survey, agent, csat_millionths } => {
                self.byte(tag::RATED);
                self.symbol(*survey);
                self.symbol(*agent);
                self.signed(*csat_millionths);
            }
            Body::Label(label) => self.label(label),
            other => self.small_body(other),
        }
    }

    fn label(&mut self, label: &Label) {
        match label.verdict {
            Verdict::Graded { pass, weight_milli } => {
                self.byte(tag::GRADED);
                self.byte(u8::from(pass));
                self.signed(weight_milli);
            }
            Verdict::NotApplicable => self.byte(tag::NOT_APPLICABLE),
            Verdict::Class(head, class) => {
                self.byte(tag::CLASS);
                self.byte(head as u8);
                self.symbol(Some(class));
            }
        }
        self.string(&label.message_id);
        self.symbol(Some(label.label));
        self.symbol(label.rater);
        self.symbol(label.agent);
    }

    /// A body of a tag and a few symbols or small numbers.
    fn small_body(&mut self, body: &Body) {
        let (tag, symbols, number): (u8, &[Option<Symbol>], Option<u8>) = match body {
            Body::Status(status) => (tag::STATUS, &[], Some(*status as u8)),
            Body::Assigned { agent } => (tag::ASSIGNED, &[*agent], None),
            Body::Transferred { agent, from, kind } => {
                (tag::TRANSFERRED, &[*agent, *from], Some(kind.map_or(0, |kind| kind as u8 + 1)))
            }
            Body::Queued => (tag::QUEUED, &[], None),
            Body::Dequeued { reason, agent } => {
                (tag::DEQUEUED, &[*agent], Some(reason.map_or(0, |reason| reason as u8 + 1)))
            }
            Body::Handoff { fallback } => (tag::HANDOFF, &[], Some(u8::from(*fallback))),
            Body::SurveySent { survey, agent } => (tag::SURVEY_SENT, &[*survey, *agent], None),
            Body::SlaApplied { policy } => (tag::SLA_APPLIED, &[Some(*policy)], None),
            Body::SlaRemoved { policy } => (tag::SLA_REMOVED, &[*policy], None),
            Body::Merged { target } => (tag::MERGED, &[Some(*target)], None),
            Body::Spam(marked) => (tag::SPAM, &[], Some(u8::from(*marked))),
            Body::Other(event_type) => (tag::OTHER, &[], Some(*event_type as u8)),
            _ => unreachable!("larger bodies are written by their own code"),
        };
        self.byte(tag);
        symbols.iter().for_each(|symbol| self.symbol(*symbol));
        if let Some(number) = number {
            self.byte(number);
        }
    }
}

/// Reads what [`Writer`] wrote. The bytes never come from outside, so a malformed history is a broken invariant.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

const WRITTEN_HERE: &str = "a packed history was written by this module";

impl Reader<'_> {
    fn byte(&mut self) -> u8 {
        let (&byte, rest) = self.0.split_first().expect(WRITTEN_HERE);
        self.0 = rest;
        byte
    }

    fn unsigned(&mut self) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = self.byte();
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }

    fn signed(&mut self) -> i64 {
        let value = self.unsigned();
        (value >> 1) as i64 ^ -((value & 1) as i64)
    }

    fn symbol(&mut self) -> Option<Symbol> {
        let index = self.unsigned() as u32;
        (index != 0).then(|| Symbol::from_index(index))
    }

    fn string(&mut self) -> CompactString {
        let length = self.unsigned() as usize;
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        CompactString::from_utf8(bytes).expect(WRITTEN_HERE)
    }

    fn text(&mut self) -> Option<TextRef> {
        (self.byte() != 0).then(|| {
            let (key, rest) = self.0.split_first_chunk().expect(WRITTEN_HERE);
            self.0 = rest;
            TextRef { key: TextKey(u128::from_le_bytes(*key)), chars: self.unsigned() as u32 }
        })
    }

    pub(super) fn event(&mut self, shared: &mut Shared) -> Event {
        let time_ms = shared.time_ms + self.signed();
        shared.time_ms = time_ms;
        let source = self.symbol().expect(WRITTEN_HERE);
        let event_id = self.string();
        let relations = self.byte();
        let mut values = [None; 4];
        for (at, (value, last)) in values.iter_mut().zip(shared.columns()).enumerate() {
            let relation = relations >> (2 * at) & 3;
            if relation == shared::NEW {
                *last = self.symbol();
            }
            *value = if relation == shared::NONE { None } else { *last };
        }
        let [channel, contact, queue, team] = values;
        let flags = self.byte();
        let actor_type = match flags & 7 {
            0 => None,
            number => Some(ActorType::ALL[usize::from(number) - 1]),
        };
        let ingest_ms = (flags & 8 != 0).then(|| time_ms + self.signed());
        let home = if flags & 16 != 0 { self.symbol() } else { None };
        let actor = self.symbol();
        let origin = Origin { file: self.symbol().expect(WRITTEN_HERE), row: self.unsigned() };
        let body = self.body(&event_id);
        Event {
            source,
            event_id,
            time_ms,
            channel,
            actor_type,
            actor,
            contact,
            queue,
            team,
            ingest_ms,
            home,
            body,
            origin,
        }
    }

    fn optional(&mut self) -> Option<i64> {
        (self.byte() != 0).then(|| self.signed())
    }

    /// A value of a closed set, or none, as it is numbered from 1.
    fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        usize::from(self.byte()).checked_sub(1).map(|number| all[number])
    }

    fn body(&mut self, event_id: &CompactString) -> Body {
        match self.byte() {
            tag::CREATED => Body::Created,
            tag::MESSAGE => self.message(event_id),
            tag::EDITED => Body::Edited { message_id: self.string(), text: self.text() },
            tag::DELETED => Body::Deleted { message_id: self.string(), not_delivered: self.byte() != 0 },
            tag::STATUS => Body::Status(Status::ALL[usize::from(self.byte())]),
            tag::ASSIGNED => Body::Assigned { agent: self.symbol() },
            tag::TRANSFERRED => {
                Body::Transferred { agent: self.symbol(), from: self.symbol(), kind: self.one_of(TransferKind::ALL) }
            }
            tag::QUEUED => Body::Queued,
            tag::DEQUEUED => {
                let agent = self.symbol();
                Body::Dequeued { agent, reason: self.one_of(DequeueReason::ALL) }
            }
            tag::SEGMENT => Body::Segment {
                step: SegmentStep::ALL[usize::from(self.byte())],
                segment: self.symbol(),
                agent: self.symbol(),
                duration_ms: self.optional(),
            },
            tag::HANDOFF => Body::Handoff { fallback: self.byte() != 0 },
            tag::SURVEY_SENT => Body::SurveySent { survey: self.symbol(), agent: self.symbol() },
            tag::RATED => Body::Rated { survey: self.symbol(), agent: self.symbol(), csat_millionths: self.signed() },
            tag::SLA_APPLIED => Body::SlaApplied { policy: self.symbol().expect(WRITTEN_HERE) },
            tag::SLA_REMOVED => Body::SlaRemoved { policy: self.symbol() },
            tag::MERGED => Body::Merged { target: self.symbol().expect(WRITTEN_HERE) },
            tag::SPAM => Body::Spam(self.byte() != 0),
            tag::GRADED => {
                let pass = self.byte() != 0;
                self.label(|reader| Verdict::Graded { pass, weight_milli: reader.signed() })
            }
            tag::NOT_APPLICABLE => self.label(|_| Verdict::NotApplicable),
            tag::CLASS => {
                let head = TextHead::ALL[usize::from(self.byte())];
                self.label(|reader| Verdict::Class(head, reader.symbol().expect(WRITTEN_HERE)))
            }
            tag::OTHER => Body::Other(EventType::ALL[usize::from(self.byte())]),
            unknown => panic!("{WRITTEN_HERE}, which knows no tag {unknown}"),
        }
    }

    fn label(&mut self, verdict: impl FnOnce(&mut Self) -> Verdict) -> Body {
        Body::Label(Box::new(Label {
            verdict: verdict(self),
            message_id: self.string(),
            label: self.symbol().expect(WRITTEN_HERE),
            rater: self.symbol(),
            agent: self.symbol(),
        }))
    }

    fn message(&mut self, event_id: &CompactString) -> Body {
        let flags = self.byte();
        let message_id = if flags & 1 != 0 { event_id.clone() } else { self.string() };
        let visibility = if flags & 2 != 0 { Visibility::Private } else { Visibility::Public };
        let direction = match flags >> 3 {
            0 => None,
            number => Some(Direction::ALL[usize::from(number) - 1]),
        };
        Body::Message { message_id, direction, visibility, fallback: flags & 4 != 0, text: self.text() }
    }
}
