//! From a delivery to a row of columns.

use super::columns::{Cell, Column, Row};
use super::dimensions::{CALENDARS, Calendar, PAUSE_STATUSES, POLICIES, Policy, TIME_ZONE};
use super::event::{Actor, Body, Defect, Delivery, Event, Origin, Thread};
use super::options::Format;
use super::roster::{AgentIndex, Roster};
use super::text::{TextSpec, render};
use super::time::date_string;

/// 2242-03-16: typed as a time, yet outside what the job accepts.
const BAD_TIME_MS: i64 = 8_589_934_592_000;

/// Writes deliveries as rows.
#[derive(Debug)]
pub(crate) struct Flattener<'a> {
    /// The value of `tenant_id`.
    pub(crate) tenant_id: &'a str,
    /// The agents, for their dimension events.
    pub(crate) roster: &'a Roster,
    /// Whether texts are written.
    pub(crate) text: bool,
    /// The format, which decides what a bad time can look like.
    pub(crate) format: Format,
}

impl Flattener<'_> {
    /// Makes `row` the row of `delivery`.
    pub(crate) fn flatten(&self, delivery: &Delivery, row: &mut Row) {
        let event = &delivery.event;
        row.clear();
        row.set_with(Column::TenantId, |arena| arena.push_str(self.tenant_id));
        row.set_str(Column::Source, event.thread.map_or("helpdesk", |thread| thread.channel.source()));
        set_event_id(event, row);
        row.set_str(Column::EventType, event.body.event_type());
        row.set(Column::EventTime, Cell::Time(event.event_ms));
        row.set(Column::IngestTime, Cell::Time(delivery.ingest_ms));
        row.set(Column::SourceVersion, Cell::Int(0));
        row.set_str(Column::Op, if delivery.retract { "retract" } else { "assert" });
        if let Some(thread) = event.thread {
            set_thread(thread, row);
        }
        set_actor(event, row);
        self.set_body(event, row);
        if let Some(defect) = delivery.defect {
            self.spoil(defect, row);
        }
    }

    fn set_body(&self, event: &Event, row: &mut Row) {
        let conversation = event.thread.map_or(0, |thread| thread.conversation);
        match event.body {
            Body::AgentUpserted { agent } => self.set_agent_dimension(agent, row),
            Body::CalendarUpserted { version } => set_calendar(&CALENDARS[usize::from(version)], event.event_ms, row),
            Body::PolicyUpserted { version } => set_policy(&POLICIES[usize::from(version)], row),
            Body::AgentStatusChanged { agent, status } => {
                set_agent(Column::AgentId, agent, row);
                row.set_str(Column::Status, status);
            }
            Body::SlaApplied { policy } => row.set_str(Column::PolicyId, policy),
            Body::ConversationCreated { priority, topic } => {
                row.set(
                    Column::Attributes,
                    Cell::Map([("category", topic.as_str()), ("product_line", topic.product_line())]),
                );
                row.set_str(Column::Priority, priority);
                row.set_str(Column::Direction, "inbound");
            }
            Body::MessageCreated { private, text, offsets_ms } => {
                self.set_message(event, conversation, private, text, offsets_ms, row);
            }
            Body::MessageEdited { text } => {
                set_message_id(event, conversation, row);
                self.set_text(text, row);
            }
            Body::StatusChanged { from, to } => {
                row.set_str(Column::FromStatus, from.as_str());
                row.set_str(Column::ToStatus, to.as_str());
            }
            Body::Queued => {}
            Body::Dequeued { reason } | Body::BotHandoff { reason } => row.set_str(Column::Reason, reason),
            Body::Assigned { agent } => set_agent(Column::AgentId, agent, row),
            Body::Transferred { kind, from, to } => {
                set_agent(Column::AgentId, to, row);
                row.set_str(Column::TransferKind, kind);
                set_agent(Column::FromAgentId, from, row);
            }
            Body::SegmentStarted { segment, agent } => {
                set_agent(Column::AgentId, agent, row);
                row.set_fmt(Column::SegmentId, format_args!("c{conversation:07}-g{segment}"));
            }
            Body::SegmentEnded { segment, agent, duration_ms } => {
                set_agent(Column::AgentId, agent, row);
                row.set_fmt(Column::SegmentId, format_args!("c{conversation:07}-g{segment}"));
                row.set(Column::Duration, Cell::Int(duration_ms));
            }
            Body::CsatSent { survey, agent } => set_survey(conversation, survey, agent, row),
            Body::CsatRated { survey, agent, rating, text } => {
                if let Some(text) = text {
                    self.set_text(text, row);
                    row.set_str(Column::Language, text.language.as_str());
                }
                set_survey(conversation, survey, agent, row);
                row.set(Column::Rating, Cell::Int(rating));
                row.set(Column::RatingScale, Cell::Int(5));
            }
        }
    }

    fn set_agent_dimension(&self, index: AgentIndex, row: &mut Row) {
        let agent = self.roster.agent(index);
        row.set_str(Column::TeamId, agent.channel.team_id());
        row.set(Column::Attributes, Cell::Map([("shift", agent.shift), ("site", agent.site)]));
        set_agent(Column::AgentId, index, row);
    }

    fn set_message(
        &self,
        event: &Event,
        conversation: u64,
        private: bool,
        text: TextSpec,
        offsets_ms: Option<(u32, u32)>,
        row: &mut Row,
    ) {
        row.set_str(Column::Direction, if event.actor == Actor::Customer { "inbound" } else { "outbound" });
        set_message_id(event, conversation, row);
        row.set_str(Column::Visibility, if private { "private" } else { "public" });
        row.set_str(Column::ContentType, if offsets_ms.is_some() { "transcript" } else { "text" });
        self.set_text(text, row);
        row.set_str(Column::Language, text.language.as_str());
        if let Some((begin_ms, end_ms)) = offsets_ms {
            row.set(Column::BeginOffset, Cell::Int(begin_ms.into()));
            row.set(Column::EndOffset, Cell::Int(end_ms.into()));
        }
    }

    fn set_text(&self, text: TextSpec, row: &mut Row) {
        if self.text {
            row.set_with(Column::Text, |arena| render(text, arena));
        }
    }

    fn spoil(&self, defect: Defect, row: &mut Row) {
        match (defect, self.format) {
            (Defect::BadTime, Format::Ndjson) => row.replace(Column::EventTime, Cell::Static("2025-02-30T25:61:00Z")),
            (Defect::BadTime, Format::Parquet) => row.replace(Column::EventTime, Cell::Time(BAD_TIME_MS)),
            (Defect::UnknownType, _) => row.replace(Column::EventType, Cell::Static("message_exploded")),
            (Defect::MissingEventId, _) => row.remove(Column::EventId),
            (Defect::MissingConversation, _) => row.remove(Column::ConversationId),
        }
    }
}

fn set_event_id(event: &Event, row: &mut Row) {
    let (prefix, number) = (event.origin.id_prefix(), event.number);
    match (event.thread, event.body) {
        (Some(Thread { conversation, .. }), _) => {
            row.set_fmt(Column::EventId, format_args!("c{conversation:07}-{prefix}{number:02}"));
        }
        (None, Body::AgentUpserted { agent }) => {
            row.set_fmt(Column::EventId, format_args!("a{:04}-u{number:02}", agent + 1))
        }
        (None, Body::AgentStatusChanged { agent, .. }) => {
            row.set_fmt(Column::EventId, format_args!("a{:04}-p{number}", agent + 1))
        }
        (None, Body::PolicyUpserted { .. }) => row.set_fmt(Column::EventId, format_args!("p{number:02}")),
        (None, _) => row.set_fmt(Column::EventId, format_args!("d{number:02}")),
    }
}

fn set_thread(thread: Thread, row: &mut Row) {
    row.set_fmt(Column::ConversationId, format_args!("c{:07}", thread.conversation));
    row.set_fmt(Column::ContactId, format_args!("k{:07}", thread.contact));
    row.set_str(Column::Channel, thread.channel.as_str());
    row.set_str(Column::QueueId, thread.channel.queue_id());
    row.set_str(Column::InboxId, thread.channel.inbox_id());
}

fn set_actor(event: &Event, row: &mut Row) {
    match event.actor {
        Actor::Customer => {
            row.set_str(Column::ActorType, "customer");
            if let Some(thread) = event.thread {
                row.set_fmt(Column::ActorId, format_args!("k{:07}", thread.contact));
            }
        }
        Actor::Agent(agent) => {
            row.set_str(Column::ActorType, "agent");
            set_agent(Column::ActorId, agent, row);
        }
        Actor::Bot => {
            row.set_str(Column::ActorType, "bot");
            row.set_str(Column::ActorId, "bot-1");
        }
        Actor::Automation => row.set_str(Column::ActorType, "automation"),
        Actor::System => row.set_str(Column::ActorType, "system"),
    }
}

fn set_agent(column: Column, agent: AgentIndex, row: &mut Row) {
    // The same form as `event::agent_id`, without its allocation.
    row.set_fmt(column, format_args!("a{:04}", agent + 1));
}

/// An edit bears the number of the message it edits; a stray message has its own id.
fn set_message_id(event: &Event, conversation: u64, row: &mut Row) {
    let stray = if event.origin == Origin::Stray { "s" } else { "" };
    row.set_fmt(Column::MessageId, format_args!("c{conversation:07}-m{stray}{:02}", event.number));
}

fn set_calendar(calendar: &Calendar, event_ms: i64, row: &mut Row) {
    if let Some(channel) = calendar.channel {
        row.set_str(Column::Channel, channel.as_str());
    }
    row.set_str(Column::CalendarId, calendar.id);
    row.set_str(Column::Timezone, TIME_ZONE);
    row.set_str(Column::Ranges, calendar.ranges);
    let year = date_string(event_ms)[..4].to_owned();
    row.set_fmt(Column::Holidays, format_args!("[\"{year}-01-01\",\"{year}-12-25\",\"{year}-12-26\"]"));
}

fn set_policy(policy: &Policy, row: &mut Row) {
    row.set_str(Column::PolicyId, policy.id);
    row.set(Column::FirstResponseTarget, Cell::Int(policy.first_response_ms));
    row.set(Column::NextResponseTarget, Cell::Int(policy.next_response_ms));
    row.set(Column::ResolutionTarget, Cell::Int(policy.resolution_ms));
    row.set(Column::BusinessHours, Cell::Bool(policy.business_hours));
    row.set_str(Column::PauseStatuses, PAUSE_STATUSES);
}

fn set_survey(conversation: u64, survey: u16, agent: Option<AgentIndex>, row: &mut Row) {
    if let Some(agent) = agent {
        set_agent(Column::AgentId, agent, row);
    }
    row.set_fmt(Column::SurveyId, format_args!("c{conversation:07}-q{survey}"));
}
