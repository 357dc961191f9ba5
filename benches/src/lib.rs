//! Synthetic events for the benchmarks: conversations that all go the same way, as the dataflow keeps them.

pub mod late_event;

use contactflow_schemas::clock::{DAY_MS, HOUR_MS, TimeMs};
use contactflow_schemas::event::{
    ActorType, Body, ConversationKey, Delivery, Direction, Event, EventKey, Origin, Statement, Status, TextRef,
    Visibility, mix,
};
use contactflow_schemas::prediction::TextKey;
use contactflow_schemas::symbol::Symbol;

/// 2025-03-03, a Monday.
pub const START_MS: TimeMs = 1_740_960_000_000;
/// Days over which conversations begin.
pub const DAYS: i64 = 30;
/// Agents.
pub const AGENTS: u64 = 500;

const TENANT: &str = "bench";
const SOURCE: &str = "bench";
const CHANNELS: [&str; 4] = ["chat", "email", "social", "voice"];
const MINUTE_MS: i64 = 60_000;

/// One conversation: its number decides when it begins, on which channel and with which agent.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    number: u64,
}

impl Story {
    /// The conversation of this number.
    pub fn new(number: u64) -> Self {
        Self { number }
    }

    /// Its identity.
    pub fn key(self) -> ConversationKey {
        ConversationKey { tenant: Symbol::new(TENANT), conversation: Symbol::new(&format!("c{}", self.number)) }
    }

    /// Nine events: two questions that are answered, a resolve, a rating.
    pub fn events(self) -> Vec<Event> {
        let agent = Some(Symbol::new(&format!("agent-{}", mix(self.number ^ 0xA6E7) % AGENTS)));
        let customer = Some(ActorType::Customer);
        let human = Some(ActorType::Agent);
        let steps = [
            (0, Some(ActorType::System), None, Body::Created),
            (0, customer, None, self.message(1, Direction::Inbound)),
            (1, Some(ActorType::System), None, Body::Assigned { agent }),
            (4, human, agent, self.message(3, Direction::Outbound)),
            (9, customer, None, self.message(4, Direction::Inbound)),
            (10, customer, None, self.message(5, Direction::Inbound)),
            (17, human, agent, self.message(6, Direction::Outbound)),
            (20, human, agent, Body::Status(Status::Resolved)),
            (45, customer, None, Body::Rated { survey: None, agent: None, csat_millionths: 4_000_000 }),
        ];
        let event = |(step, (minute, actor_type, actor, body))| self.event(step, minute, actor_type, actor, body);
        (0..).zip(steps).map(event).collect()
    }

    /// The events as deliveries.
    pub fn deliveries(self) -> impl Iterator<Item = Delivery> {
        self.events().into_iter().map(move |event| self.delivery(event))
    }

    /// A message of the customer between the two answers that arrives after everything else. It is the `repeat`th of its
    /// kind, so that each is an event of its own.
    pub fn late_delivery(self, repeat: u64) -> Delivery {
        let step = 100 + repeat;
        let body = self.message(step, Direction::Inbound);
        self.delivery(self.event(step, 7, Some(ActorType::Customer), None, body))
    }

    fn begin_ms(self) -> TimeMs {
        let random = mix(self.number);
        let day = (random % DAYS as u64) as i64;
        // Within eight hours of the day.
        START_MS + day * DAY_MS + 9 * HOUR_MS + (mix(random) % (8 * HOUR_MS as u64)) as i64
    }

    fn message(self, step: u64, direction: Direction) -> Body {
        let text = TextRef { key: TextKey(u128::from(mix((self.number << 8) | step))), chars: 40 };
        Body::Message {
            message_id: self.event_id(step).into(),
            direction: Some(direction),
            visibility: Visibility::Public,
            fallback: false,
            text: Some(text),
        }
    }

    fn event_id(self, step: u64) -> String {
        format!("c{}-{step}", self.number)
    }

    fn event(self, step: u64, minute: i64, actor_type: Option<ActorType>, actor: Option<Symbol>, body: Body) -> Event {
        Event {
            source: Symbol::new(SOURCE),
            event_id: self.event_id(step).into(),
            time_ms: self.begin_ms() + minute * MINUTE_MS,
            channel: Some(Symbol::new(CHANNELS[(mix(self.number ^ 0xC4A2) % CHANNELS.len() as u64) as usize])),
            actor_type,
            actor,
            contact: None,
            queue: None,
            team: None,
            ingest_ms: None,
            home: None,
            body,
            origin: Origin { file: Symbol::new("bench.ndjson"), row: (self.number << 8) | step },
        }
    }

    fn delivery(self, event: Event) -> Delivery {
        let key = EventKey::of(TENANT, SOURCE, &event.event_id);
        Delivery {
            key,
            version: 0,
            content: key.stable_hash(),
            time_ms: Some(event.time_ms),
            ingest_ms: event.ingest_ms,
            origin: event.origin,
            statement: Statement::Happened(self.key(), Box::new(event)),
        }
    }
}
