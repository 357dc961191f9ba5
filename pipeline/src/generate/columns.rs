//! The columns of an event file, as the contract (`events.md`) names and types them, and one row of them.

use std::fmt::{self, Write};

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ColumnType {
    /// UTF-8 of few distinct values: dictionary-encoded.
    Category,
    /// UTF-8 of mostly distinct values.
    Text,
    /// 64-bit integer.
    Int,
    /// Milliseconds since the Unix epoch, UTC.
    Time,
    /// Truth value.
    Bool,
    /// Strings by string.
    Map,
}

macro_rules! columns {
    ($($variant:ident $name:literal $type:ident,)*) => {
        /// A column of an event file.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(dead_code, reason = "columns the generator never fills are still columns of the file")]
        pub(crate) enum Column { $($variant,)* }

        impl Column {
            /// Every column in file order, which is that of the variants.
            pub(crate) const ALL: &'static [(Self, &'static str, ColumnType)] =
                &[$((Self::$variant, $name, ColumnType::$type),)*];
        }
    };
}

columns! {
    TenantId "tenant_id" Category,
    Source "source" Category,
    EventId "event_id" Text,
    EventType "event_type" Category,
    EventTime "event_time" Time,
    IngestTime "ingest_time" Time,
    SourceVersion "source_version" Int,
    Op "op" Category,
    ConversationId "conversation_id" Text,
    ContactId "contact_id" Text,
    Channel "channel" Category,
    QueueId "queue_id" Category,
    TeamId "team_id" Category,
    InboxId "inbox_id" Category,
    ActorType "actor_type" Category,
    ActorId "actor_id" Text,
    Attributes "attributes" Map,
    Priority "priority" Category,
    Direction "direction" Category,
    MessageId "message_id" Text,
    Visibility "visibility" Category,
    ContentType "content_type" Category,
    Text "text" Text,
    Language "language" Category,
    BeginOffset "begin_offset_ms" Int,
    EndOffset "end_offset_ms" Int,
    Reason "reason" Category,
    FromStatus "from_status" Category,
    ToStatus "to_status" Category,
    AgentId "agent_id" Category,
    TransferKind "transfer_kind" Category,
    FromAgentId "from_agent_id" Category,
    SegmentId "segment_id" Text,
    Duration "duration_ms" Int,
    SurveyId "survey_id" Text,
    Rating "rating" Int,
    RatingScale "rating_scale" Int,
    PolicyId "policy_id" Category,
    Label "label" Category,
    TargetConversationId "target_conversation_id" Text,
    Status "status" Category,
    Capacity "capacity" Int,
    CalendarId "calendar_id" Category,
    Timezone "timezone" Category,
    Ranges "ranges" Category,
    Holidays "holidays" Category,
    FirstResponseTarget "first_response_target_ms" Int,
    NextResponseTarget "next_response_target_ms" Int,
    ResolutionTarget "resolution_target_ms" Int,
    BusinessHours "business_hours" Bool,
    PauseStatuses "pause_statuses" Category,
    Value "value" Category,
    Rater "rater" Category,
}

/// A string in the arena of a [`Row`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    start: usize,
    end: usize,
}

/// The value of a column in one row; a column without a cell is null.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell {
    /// A string known at compile time.
    Static(&'static str),
    /// A string in the row's arena.
    Span(Span),
    /// An integer.
    Int(i64),
    /// A time, milliseconds since the Unix epoch.
    Time(i64),
    /// A truth value.
    Bool(bool),
    /// Strings by string.
    Map([(&'static str, &'static str); 2]),
}

/// One row: the cells that are not null, in file order. Reused from row to row.
#[derive(Debug, Default)]
pub(crate) struct Row {
    arena: String,
    cells: Vec<(Column, Cell)>,
}

impl Row {
    /// Empties the row.
    pub(crate) fn clear(&mut self) {
        self.arena.clear();
        self.cells.clear();
    }

    /// The cells that are not null.
    pub(crate) fn cells(&self) -> &[(Column, Cell)] {
        &self.cells
    }

    /// The string of a span of this row.
    pub(crate) fn resolve(&self, span: Span) -> &str {
        &self.arena[span.start..span.end]
    }

    /// Fills a column.
    pub(crate) fn set(&mut self, column: Column, cell: Cell) {
        self.cells.push((column, cell));
    }

    /// Fills a column with a string known at compile time.
    pub(crate) fn set_str(&mut self, column: Column, value: &'static str) {
        self.set(column, Cell::Static(value));
    }

    /// Fills a column with a formatted string.
    pub(crate) fn set_fmt(&mut self, column: Column, value: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        self.set_with(column, |arena| _ = arena.write_fmt(value));
    }

    /// Fills a column with what `write` appends to the string it gets.
    pub(crate) fn set_with(&mut self, column: Column, write: impl FnOnce(&mut String)) {
        let start = self.arena.len();
        write(&mut self.arena);
        self.set(column, Cell::Span(Span { start, end: self.arena.len() }));
    }

    /// Replaces what a column holds.
    pub(crate) fn replace(&mut self, column: Column, cell: Cell) {
        self.remove(column);
        self.set(column, cell);
    }

    /// Makes a column null.
    pub(crate) fn remove(&mut self, column: Column) {
        self.cells.retain(|(filled, _)| *filled != column);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The column names of the tables of `events.md`, kept here so that a renamed column fails a test.
    const CONTRACT: &str = "tenant_id source event_id event_type event_time ingest_time source_version op conversation_id \
        contact_id channel queue_id team_id inbox_id actor_type actor_id attributes priority direction message_id \
        visibility content_type text language begin_offset_ms end_offset_ms reason from_status to_status agent_id \
        transfer_kind from_agent_id segment_id duration_ms survey_id rating rating_scale policy_id label \
        target_conversation_id status capacity calendar_id timezone ranges holidays first_response_target_ms \
        next_response_target_ms resolution_target_ms business_hours pause_statuses value rater";

    #[test]
    fn columns_are_those_of_the_contract() {
        let names: Vec<&str> = Column::ALL.iter().map(|(_, name, _)| *name).collect();
        assert_eq!(names, CONTRACT.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn columns_stand_at_their_position() {
        assert!(Column::ALL.iter().enumerate().all(|(position, (column, ..))| *column as usize == position));
    }
}
