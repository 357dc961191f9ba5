//! Closed sets of names in events: types, actors, statuses and the like.

use serde::{Deserialize, Serialize};

/// Declares an enum of the event model together with the names its values have in the input.
macro_rules! named_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The value with this name in the input.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some($name::$variant),)+ _ => None }
            }

            /// The name in the input.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }
    };
}

named_enum! {
    /// `event_type`.
    EventType {
        /// A conversation begins.
        ConversationCreated = "conversation_created",
        /// A message was sent.
        MessageCreated = "message_created",
        /// A message's text changed.
        MessageEdited = "message_edited",
        /// A message was deleted.
        MessageDeleted = "message_deleted",
        /// The conversation's status changed.
        StatusChanged = "status_changed",
        /// The conversation entered a queue.
        Queued = "queued",
        /// The conversation left a queue.
        Dequeued = "dequeued",
        /// The conversation has a new owner.
        Assigned = "assigned",
        /// The conversation went to another agent or queue.
        Transferred = "transferred",
        /// A connected stretch of one agent begins.
        SegmentStarted = "segment_started",
        /// The stretch is on hold.
        SegmentHeld = "segment_held",
        /// The stretch ends.
        SegmentEnded = "segment_ended",
        /// After-call work begins.
        AcwStarted = "acw_started",
        /// After-call work ends.
        AcwEnded = "acw_ended",
        /// The bot gives up to a human.
        BotHandoff = "bot_handoff",
        /// A survey was sent.
        CsatSent = "csat_sent",
        /// A survey was answered.
        CsatRated = "csat_rated",
        /// An SLA policy applies from now on.
        SlaApplied = "sla_applied",
        /// An SLA policy no longer applies.
        SlaRemoved = "sla_removed",
        /// A label was added.
        Tagged = "tagged",
        /// A label was removed.
        Untagged = "untagged",
        /// The conversation was merged into another.
        Merged = "merged",
        /// The conversation is spam.
        SpamMarked = "spam_marked",
        /// The conversation is no spam after all.
        SpamCleared = "spam_cleared",
        /// An agent's presence changed.
        AgentStatusChanged = "agent_status_changed",
        /// An agent's dimension row.
        AgentUpserted = "agent_upserted",
        /// A business calendar.
        CalendarUpserted = "calendar_upserted",
        /// An SLA policy.
        SlaPolicyUpserted = "sla_policy_upserted",
        /// A human quality label.
        QaLabel = "qa_label",
        /// A human score.
        ScoreLabel = "score_label",
        /// A contact asks to be forgotten.
        ErasureRequested = "erasure_requested",
    }
}

impl EventType {
    /// True for types that happen inside a conversation and so need a `conversation_id`.
    pub fn needs_conversation(self) -> bool {
        !matches!(
            self,
            Self::AgentStatusChanged
                | Self::AgentUpserted
                | Self::CalendarUpserted
                | Self::SlaPolicyUpserted
                | Self::QaLabel
                | Self::ScoreLabel
                | Self::ErasureRequested
        )
    }
}

named_enum! {
    /// `actor_type`.
    ActorType {
        /// The customer.
        Customer = "customer",
        /// A human agent.
        Agent = "agent",
        /// A bot that talks.
        Bot = "bot",
        /// A rule or macro.
        Automation = "automation",
        /// The source system itself.
        System = "system",
    }
}

named_enum! {
    /// `direction` of a message.
    Direction {
        /// From the customer.
        Inbound = "inbound",
        /// To the customer.
        Outbound = "outbound",
    }
}

named_enum! {
    /// `visibility` of a message.
    Visibility {
        /// Both sides see it.
        Public = "public",
        /// A note among agents.
        Private = "private",
    }
}

named_enum! {
    /// `reason` of a `dequeued`.
    DequeueReason {
        /// An agent took the contact.
        Answered = "answered",
        /// The customer left.
        Abandoned = "abandoned",
        /// The customer is called back.
        Callback = "callback",
        /// The contact went elsewhere.
        FlowOut = "flow_out",
    }
}

named_enum! {
    /// `transfer_kind`.
    TransferKind {
        /// Without a word to the next agent.
        Cold = "cold",
        /// Introduced to the next agent.
        Warm = "warm",
        /// Out of the contact centre.
        External = "external",
    }
}

named_enum! {
    /// What happens to a segment, a connected stretch of one agent.
    SegmentStep {
        /// `segment_started`.
        Started = "segment_started",
        /// `segment_held`.
        Held = "segment_held",
        /// `segment_ended`.
        Ended = "segment_ended",
        /// `acw_started`.
        AcwStarted = "acw_started",
        /// `acw_ended`.
        AcwEnded = "acw_ended",
    }
}

named_enum! {
    /// `to_status` of a conversation.
    Status {
        /// New.
        New = "new",
        /// Open.
        Open = "open",
        /// Waiting for the customer.
        Pending = "pending",
        /// On hold.
        OnHold = "on_hold",
        /// Snoozed.
        Snoozed = "snoozed",
        /// Resolved.
        Resolved = "resolved",
        /// Closed.
        Closed = "closed",
    }
}

impl Status {
    /// True for the states that end a cycle.
    pub fn is_resolved(self) -> bool {
        matches!(self, Self::Resolved | Self::Closed)
    }
}

named_enum! {
    /// `value` of a rubric's label.
    Grade {
        /// Met.
        Pass = "pass",
        /// Not met.
        Fail = "fail",
        /// Does not apply.
        NotApplicable = "na",
    }
}
