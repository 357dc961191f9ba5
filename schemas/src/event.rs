//! The normalised event: what the dataflow keeps of one input row.

mod names;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::clock::TimeMs;
use crate::dimension::Dimension;
use crate::prediction::{TextHead, TextKey};
use crate::symbol::Symbol;

pub use self::names::{
    ActorType, DequeueReason, Direction, EventType, Grade, SegmentStep, Status, TransferKind, Visibility,
};

/// What the dataflow keeps of a text: its content key, never the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TextRef {
    /// Content hash.
    pub key: TextKey,
    /// Unicode characters.
    pub chars: u32,
}

/// The type-specific part of an event. Types no KPI reads keep their time and place only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// `conversation_created`.
    Created,
    /// `message_created`.
    Message {
        /// Its id, empty when the source gives none.
        message_id: CompactString,
        /// Who it goes to, where the source says.
        direction: Option<Direction>,
        /// Public or a note.
        visibility: Visibility,
        /// A bot says that it does not know further (`content_type` is `fallback`).
        fallback: bool,
        /// The text, where there is a non-blank one.
        text: Option<TextRef>,
    },
    /// `message_edited`.
    Edited {
        /// The message that changes.
        message_id: CompactString,
        /// The new text.
        text: Option<TextRef>,
    },
    /// `message_deleted`.
    Deleted {
        /// The message that goes.
        message_id: CompactString,
        /// It never reached the other side, so it closes and opens nothing.
        not_delivered: bool,
    },
    /// `status_changed`.
    Status(Status),
    /// `assigned`.
    Assigned {
        /// The new owner.
        agent: Option<Symbol>,
    },
    /// `transferred`.
    Transferred {
        /// The new owner.
        agent: Option<Symbol>,
        /// The owner before, where the source says.
        from: Option<Symbol>,
        /// How.
        kind: Option<TransferKind>,
    },
    /// `queued`.
    Queued,
    /// `dequeued`.
    Dequeued {
        /// How the visit ended.
        reason: Option<DequeueReason>,
        /// The connected agent, where the source says.
        agent: Option<Symbol>,
    },
    /// `segment_started` to `acw_ended`.
    Segment {
        /// What happens.
        step: SegmentStep,
        /// Which segment; none is an id of its own.
        segment: Option<Symbol>,
        /// The connected agent.
        agent: Option<Symbol>,
        /// Length of a hold, ms.
        duration_ms: Option<i64>,
    },
    /// `bot_handoff`.
    Handoff {
        /// Because the bot did not know further (`reason` is `fallback`).
        fallback: bool,
    },
    /// `csat_sent`.
    SurveySent {
        /// Which survey; none means the conversation's own.
        survey: Option<Symbol>,
        /// The agent it asks about, where the source says.
        agent: Option<Symbol>,
    },
    /// `csat_rated`.
    Rated {
        /// Which survey; none means the conversation's own.
        survey: Option<Symbol>,
        /// The rated agent, where the survey names one.
        agent: Option<Symbol>,
        /// Scaled to 1..5, in millionths.
        csat_millionths: i64,
    },
    /// `sla_applied`.
    SlaApplied {
        /// The policy that applies from now on.
        policy: Symbol,
    },
    /// `sla_removed`.
    SlaRemoved {
        /// The policy that no longer applies; none means whichever does.
        policy: Option<Symbol>,
    },
    /// `merged`.
    Merged {
        /// The conversation it is merged into.
        target: Symbol,
    },
    /// `spam_marked` (true) and `spam_cleared` (false).
    Spam(bool),
    /// `qa_label`, `score_label`: no event of the conversation, only about it.
    Label(Box<Label>),
    /// Any other type of a conversation.
    Other(EventType),
}

/// What a rater says of a message or of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Label {
    /// The message; empty for the conversation as a whole.
    pub message_id: CompactString,
    /// Criterion of the rubric, or name of a head.
    pub label: Symbol,
    /// Who says so.
    pub rater: Option<Symbol>,
    /// The agent it is about, where the label names one.
    pub agent: Option<Symbol>,
    /// What is said.
    pub verdict: Verdict,
}

/// The value of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// A criterion of a rubric was met, or not.
    Graded {
        /// Met.
        pass: bool,
        /// How much the criterion weighs, thousandths.
        weight_milli: i64,
    },
    /// A criterion of a rubric does not apply.
    NotApplicable,
    /// The true class of a message, for a head to be compared with.
    Class(TextHead, Symbol),
}

/// Where a row was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// File or partition.
    pub file: Symbol,
    /// Row of the file, from 1 (a line of NDJSON, a row of Parquet), or the offset in the partition.
    pub row: u64,
}

/// One normalised event of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// `source`.
    pub source: Symbol,
    /// `event_id`.
    pub event_id: CompactString,
    /// `event_time`.
    pub time_ms: TimeMs,
    /// `channel`.
    pub channel: Option<Symbol>,
    /// `actor_type`.
    pub actor_type: Option<ActorType>,
    /// `actor_id`.
    pub actor: Option<Symbol>,
    /// `contact_id`.
    pub contact: Option<Symbol>,
    /// `queue_id`.
    pub queue: Option<Symbol>,
    /// `team_id`.
    pub team: Option<Symbol>,
    /// `ingest_time`: the least of all equal deliveries.
    pub ingest_ms: Option<TimeMs>,
    /// The conversation it belonged to before that was merged into this one.
    pub home: Option<Symbol>,
    /// The rest.
    pub body: Body,
    /// Where it was read.
    pub origin: Origin,
}

/// `(tenant_id, conversation_id)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConversationKey {
    /// `tenant_id`.
    pub tenant: Symbol,
    /// `conversation_id`.
    pub conversation: Symbol,
}

impl ConversationKey {
    /// A key that no other is less than, for ranges; it is no conversation.
    pub fn least() -> Self {
        Self { tenant: Symbol::least(), conversation: Symbol::least() }
    }

    /// The place of a tenant's labels that name a message and no conversation; no conversation has this id.
    pub fn unplaced(tenant: Symbol) -> Self {
        Self { tenant, conversation: Symbol::new("") }
    }

    /// True for [`Self::unplaced`].
    pub fn is_unplaced(&self) -> bool {
        self.conversation.as_str().is_empty()
    }

    /// A hash that is the same in every process, for routing.
    pub fn stable_hash(&self) -> u64 {
        mix(self.tenant.stable_hash() ^ self.conversation.stable_hash().rotate_left(32))
    }
}

/// Spreads the bits of a hash (the finaliser of SplitMix64).
#[inline]
pub fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// 128-bit hash of `(tenant_id, source, event_id)`: the identity under which deliveries are the same event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventKey(pub u128);

impl EventKey {
    /// The key of an identity.
    pub fn of(tenant: &str, source: &str, event_id: &str) -> Self {
        // Lengths keep ("ab", "c") and ("a", "bc") apart. One contiguous buffer, on the stack where it fits: hashing
        // in pieces costs several times as much.
        let mut buffer = smallvec::SmallVec::<[u8; 192]>::new();
        for part in [tenant, source, event_id] {
            buffer.extend_from_slice(&(part.len() as u64).to_le_bytes());
            buffer.extend_from_slice(part.as_bytes());
        }
        Self(xxhash_rust::xxh3::xxh3_128(&buffer))
    }

    /// Routing hash.
    pub fn stable_hash(self) -> u64 {
        self.0 as u64
    }
}

/// What a delivery says about its event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Statement {
    /// It happened in a conversation.
    Happened(ConversationKey, Box<Event>),
    /// It happened outside any conversation (dimensions, labels, requests).
    Outside {
        /// `tenant_id`.
        tenant: Symbol,
        /// `source`.
        source: Symbol,
        /// `event_id`.
        event_id: CompactString,
        /// The dimension row it states, if it states one.
        dimension: Option<Box<Dimension>>,
    },
    /// It and every lower version is removed.
    Retracted {
        /// `source`.
        source: Symbol,
        /// `event_id`.
        event_id: CompactString,
    },
    /// A contact asks to be forgotten: kept until `erase` acts on it. Last, because state files number the variants.
    ErasureRequested {
        /// `tenant_id`.
        tenant: Symbol,
        /// `source`.
        source: Symbol,
        /// `event_id`.
        event_id: CompactString,
        /// `contact_id`.
        contact: Symbol,
    },
}

/// One input row that passed validation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Identity.
    pub key: EventKey,
    /// `source_version`.
    pub version: i64,
    /// Hash of the content (all columns but `ingest_time`); tells a redelivery from a conflict.
    pub content: u64,
    /// `event_time`; none for a retract.
    pub time_ms: Option<TimeMs>,
    /// `ingest_time`.
    pub ingest_ms: Option<TimeMs>,
    /// What it says.
    pub statement: Statement,
    /// Where it was read.
    pub origin: Origin,
}
