//! The flat columns of an input row, and access to them independent of the file format.

use std::borrow::Cow;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// UTF-8 text.
    Text,
    /// A whole number.
    Int,
    /// Any number.
    Number,
    /// RFC 3339 text, integer ms, or a timestamp.
    Time,
    /// True or false.
    Bool,
    /// A list or map, kept in a canonical text form.
    Nested,
}

impl ColumnKind {
    /// For messages.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Int => "an integer",
            Self::Number => "a number",
            Self::Time => "RFC 3339 with an offset or integer milliseconds",
            Self::Bool => "true or false",
            Self::Nested => "an object or array",
        }
    }
}

macro_rules! columns {
    ($($variant:ident $name:literal $kind:ident),+ $(,)?) => {
        /// A column of the event model.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, reason = "the variants are the column names of the event model")]
        pub enum Column { $($variant),+ }

        impl Column {
            /// Every column.
            pub const ALL: &'static [Column] = &[$(Column::$variant),+];

            /// The column called `name`.
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Column::$variant),)+ _ => None }
            }

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Column::$variant => $name),+ }
            }

            /// What it holds.
            #[inline]
            pub fn kind(self) -> ColumnKind {
                match self { $(Column::$variant => ColumnKind::$kind),+ }
            }
        }
    };
}

columns! {
    TenantId "tenant_id" Text,
    Source "source" Text,
    EventId "event_id" Text,
    EventType "event_type" Text,
    EventTime "event_time" Time,
    IngestTime "ingest_time" Time,
    SourceVersion "source_version" Int,
    Op "op" Text,
    ConversationId "conversation_id" Text,
    ContactId "contact_id" Text,
    Channel "channel" Text,
    QueueId "queue_id" Text,
    TeamId "team_id" Text,
    InboxId "inbox_id" Text,
    ActorType "actor_type" Text,
    ActorId "actor_id" Text,
    Attributes "attributes" Nested,
    Priority "priority" Text,
    Direction "direction" Text,
    MessageId "message_id" Text,
    Visibility "visibility" Text,
    ContentType "content_type" Text,
    Text "text" Text,
    Language "language" Text,
    BeginOffsetMs "begin_offset_ms" Int,
    EndOffsetMs "end_offset_ms" Int,
    Reason "reason" Text,
    FromStatus "from_status" Text,
    ToStatus "to_status" Text,
    AgentId "agent_id" Text,
    FromAgentId "from_agent_id" Text,
    TransferKind "transfer_kind" Text,
    SegmentId "segment_id" Text,
    DurationMs "duration_ms" Int,
    SurveyId "survey_id" Text,
    Rating "rating" Number,
    RatingScale "rating_scale" Number,
    PolicyId "policy_id" Text,
    Label "label" Text,
    TargetConversationId "target_conversation_id" Text,
    Status "status" Text,
    Capacity "capacity" Int,
    CalendarId "calendar_id" Text,
    Timezone "timezone" Text,
    Ranges "ranges" Nested,
    Holidays "holidays" Nested,
    FirstResponseTargetMs "first_response_target_ms" Int,
    NextResponseTargetMs "next_response_target_ms" Int,
    ResolutionTargetMs "resolution_target_ms" Int,
    BusinessHours "business_hours" Bool,
    PauseStatuses "pause_statuses" Nested,
    Value "value" Text,
    Rater "rater" Text,
}

/// One value of an input row.
#[derive(Clone, Debug, PartialEq)]
pub enum RawValue<'a> {
    /// Missing or null.
    Null,
    /// Text.
    Text(Cow<'a, str>),
    /// Whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A timestamp of a typed format, ms UTC.
    Time(i64),
    /// A list or map, in a canonical text form.
    Nested(Cow<'a, str>),
}

impl RawValue<'_> {
    /// For messages; never quotes a text.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Text(_) => "a text",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a fraction",
            Self::Bool(_) => "a boolean",
            Self::Time(_) => "a timestamp",
            Self::Nested(_) => "an object or array",
        }
    }

    /// True when the value may stand in a column of `kind`.
    #[inline]
    pub fn fits(&self, kind: ColumnKind) -> bool {
        match (self, kind) {
            (Self::Null, _)
            | (Self::Text(_), ColumnKind::Text | ColumnKind::Time)
            | (Self::Int(_), ColumnKind::Int | ColumnKind::Number | ColumnKind::Time)
            | (Self::Float(_), ColumnKind::Number)
            | (Self::Time(_), ColumnKind::Time)
            | (Self::Bool(_), ColumnKind::Bool)
            // A list or map may come as JSON text where the format has no nested types.
            | (Self::Nested(_) | Self::Text(_), ColumnKind::Nested) => true,
            (Self::Float(number), ColumnKind::Int) => number.fract() == 0.0 && number.abs() < 9e15,
            _ => false,
        }
    }
}

/// An input row of any format.
pub trait Row {
    /// The value of `column`; [`RawValue::Null`] where there is none.
    fn get(&self, column: Column) -> RawValue<'_>;

    /// The columns that may hold something; the others are null.
    fn present(&self) -> &[Column];

    /// The row as it came, for the table of rejects; at most a little more than the bytes that are kept.
    fn raw(&self) -> String;
}
