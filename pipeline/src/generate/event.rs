//! An event as the simulation holds it: small, without strings, so that many can be in flight.

use super::channel::Channel;
use super::roster::AgentIndex;
use super::text::TextSpec;

/// Which conversation an event belongs to, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thread {
    /// Number of the conversation, from 0.
    pub(crate) conversation: u64,
    /// Number of the customer.
    pub(crate) contact: u64,
    /// The channel.
    pub(crate) channel: Channel,
}

/// Why an event exists; keeps the ids of the deliveries that disorder adds apart from the simulated ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// The simulation.
    Simulated,
    /// An edit of the message with the same number.
    Edit,
    /// A stray message, to be retracted.
    Stray,
    /// A revision of the rating with the same number.
    Revision,
    /// A malformed row.
    Malformed,
}

impl Origin {
    /// What stands before the number in an event id.
    pub(crate) fn id_prefix(self) -> &'static str {
        ["", "e", "s", "v", "x"][self as usize]
    }
}

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// The customer of the thread.
    Customer,
    /// A human agent.
    Agent(AgentIndex),
    /// The chat bot.
    Bot,
    /// A rule of the help desk.
    Automation,
    /// The system itself.
    System,
}

/// How a malformed row is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// An event time that is none (NDJSON) or lies in the year 2242 (Parquet, where the column is typed).
    BadTime,
    /// An event type nobody knows.
    UnknownType,
    /// No `event_id`.
    MissingEventId,
    /// No `conversation_id`.
    MissingConversation,
}

/// The state of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Being worked on.
    Open,
    /// Done.
    Resolved,
}

impl Status {
    /// The value of `from_status` and `to_status`.
    pub(crate) fn as_str(self) -> &'static str {
        if self == Self::Open { "open" } else { "resolved" }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// `agent_upserted`; this and the next three are without a thread.
    AgentUpserted { agent: AgentIndex },
    /// `calendar_upserted`: an entry of `dimensions::CALENDARS`.
    CalendarUpserted { version: u16 },
    /// `sla_policy_upserted`: an entry of `dimensions::POLICIES`.
    PolicyUpserted { version: u16 },
    /// `agent_status_changed`.
    AgentStatusChanged { agent: AgentIndex, status: &'static str },
    /// `conversation_created`.
    ConversationCreated { priority: &'static str, topic: super::text::Topic },
    /// `message_created`; offsets of voice transcripts are from the start of the segment.
    MessageCreated { private: bool, text: TextSpec, offsets_ms: Option<(u32, u32)> },
    /// `message_edited` of the message with the same number.
    MessageEdited { text: TextSpec },
    /// `status_changed`.
    StatusChanged { from: Status, to: Status },
    /// `queued`.
    Queued,
    /// `dequeued`.
    Dequeued { reason: &'static str },
    /// `assigned`.
    Assigned { agent: AgentIndex },
    /// `transferred`.
    Transferred { kind: &'static str, from: AgentIndex, to: AgentIndex },
    /// `segment_started`.
    SegmentStarted { segment: u16, agent: AgentIndex },
    /// `segment_ended`.
    SegmentEnded { segment: u16, agent: AgentIndex, duration_ms: i64 },
    /// `bot_handoff`.
    BotHandoff { reason: &'static str },
    /// `sla_applied`.
    SlaApplied { policy: &'static str },
    /// `csat_sent`.
    CsatSent { survey: u16, agent: Option<AgentIndex> },
    /// `csat_rated`.
    CsatRated { survey: u16, agent: Option<AgentIndex>, rating: i64, text: Option<TextSpec> },
}

impl Body {
    /// The value of `event_type`.
    pub(crate) fn event_type(&self) -> &'static str {
        match self {
            Self::AgentUpserted { .. } => "agent_upserted",
            Self::CalendarUpserted { .. } => "calendar_upserted",
            Self::PolicyUpserted { .. } => "sla_policy_upserted",
            Self::AgentStatusChanged { .. } => "agent_status_changed",
            Self::SlaApplied { .. } => "sla_applied",
            Self::ConversationCreated { .. } => "conversation_created",
            Self::MessageCreated { .. } => "message_created",
            Self::MessageEdited { .. } => "message_edited",
            Self::StatusChanged { .. } => "status_changed",
            Self::Queued => "queued",
            Self::Dequeued { .. } => "dequeued",
            Self::Assigned { .. } => "assigned",
            Self::Transferred { .. } => "transferred",
            Self::SegmentStarted { .. } => "segment_started",
            Self::SegmentEnded { .. } => "segment_ended",
            Self::BotHandoff { .. } => "bot_handoff",
            Self::CsatSent { .. } => "csat_sent",
            Self::CsatRated { .. } => "csat_rated",
        }
    }
}

/// One event, not yet delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// When it happened, milliseconds since the Unix epoch.
    pub(crate) event_ms: i64,
    /// The conversation; none for dimension events.
    pub(crate) thread: Option<Thread>,
    /// Number within the thread, from 1; of an edit or revision, that of the event it changes.
    pub(crate) number: u16,
    /// Why it exists.
    pub(crate) origin: Origin,
    /// Who did it.
    pub(crate) actor: Actor,
    /// What happened.
    pub(crate) body: Body,
}

/// One row to be written: a delivery of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// The event.
    pub(crate) event: Event,
    /// When it reaches the platform, milliseconds since the Unix epoch.
    pub(crate) ingest_ms: i64,
    /// Whether it retracts the event.
    pub(crate) retract: bool,
    /// How the row is broken, if it is.
    pub(crate) defect: Option<Defect>,
}

/// The value of `agent_id`.
pub(crate) fn agent_id(agent: AgentIndex) -> String {
    format!("a{:04}", agent + 1)
}
