//! Rows the dataflow derives from conversations: facts per cycle, cells, scores.

use serde::{Deserialize, Serialize};

use crate::clock::TimeMs;
use crate::event::{ConversationKey, mix};
use crate::prediction::{SharedScores, TextHead, TextKey};
use crate::symbol::Symbol;
use crate::windows::Window;

/// Whose KPIs a cell holds. What a table does not group by is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Group {
    /// Tenant.
    pub tenant: Symbol,
    /// Channel.
    pub channel: Option<Symbol>,
    /// Agent; none also for nobody.
    pub agent: Option<Symbol>,
    /// Team; none also for no team.
    pub team: Option<Symbol>,
    /// Queue; none also for no queue.
    pub queue: Option<Symbol>,
}

impl Group {
    /// A hash that is the same in every process, for routing.
    pub fn stable_hash(&self) -> u64 {
        let parts = [self.channel, self.agent, self.team, self.queue];
        parts.iter().fold(self.tenant.stable_hash(), |hash, part| {
            mix(hash.rotate_left(13) ^ part.map_or(0, Symbol::stable_hash))
        })
    }
}

/// What a KPI table groups by, besides the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Grouping {
    /// Agent and channel.
    AgentChannel,
    /// Agent.
    Agent,
    /// Channel.
    Channel,
    /// Team and channel.
    TeamChannel,
    /// Queue and channel.
    QueueChannel,
    /// Nothing more.
    Tenant,
}

impl Grouping {
    /// Every grouping.
    pub const ALL: [Grouping; 6] =
        [Self::AgentChannel, Self::Agent, Self::Channel, Self::TeamChannel, Self::QueueChannel, Self::Tenant];

    /// Name in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::AgentChannel => "agent_channel",
            Self::Agent => "agent",
            Self::Channel => "channel",
            Self::TeamChannel => "team_channel",
            Self::QueueChannel => "queue_channel",
            Self::Tenant => "tenant",
        }
    }

    /// Groups by channel.
    pub fn by_channel(self) -> bool {
        !matches!(self, Self::Agent | Self::Tenant)
    }

    /// The group of this grouping that `group` is part of.
    pub fn of(self, group: Group) -> Group {
        let channel = group.channel.filter(|_| self.by_channel());
        let agent = group.agent.filter(|_| matches!(self, Self::AgentChannel | Self::Agent));
        let team = group.team.filter(|_| self == Self::TeamChannel);
        let queue = group.queue.filter(|_| self == Self::QueueChannel);
        Group { tenant: group.tenant, channel, agent, team, queue }
    }
}

/// Key of a KPI cell. Which window and groups it has follows from the table it belongs to; sorted by day first, so that
/// the cells of one partition lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// Local day of the window's start (its partition), days since 1970-01-01.
    pub day: i32,
    /// Start of the window.
    pub window_start_ms: TimeMs,
    /// Whose it is.
    pub group: Group,
}

/// One cycle of a conversation: a row of `conversation_facts`. Times are event times, durations ms.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CycleFacts {
    /// Day the cycle opened (its partition), days since 1970-01-01.
    pub day: i32,
    /// Tenant and conversation.
    pub conversation: ConversationKey,
    /// Number of the cycle, from 1.
    pub cycle: i64,
    /// The conversation's channel.
    pub channel: Symbol,
    /// Creation of the conversation.
    pub conversation_created_ms: TimeMs,
    /// Opening of the cycle.
    pub opened_ms: TimeMs,
    /// Its resolve.
    pub resolved_ms: Option<TimeMs>,
    /// Owner at the end of the cycle.
    pub owner: Option<Symbol>,
    /// Who is credited with the resolve.
    pub resolved_by: Option<Symbol>,
    /// Who gave the first response.
    pub first_reply_agent: Option<Symbol>,
    /// Public customer messages.
    pub messages_inbound: i64,
    /// Public messages of agents and bots.
    pub messages_outbound: i64,
    /// Private notes.
    pub messages_private: i64,
    /// Public human replies.
    pub replies: i64,
    /// Customer messages that can be scored.
    pub eligible_turns: i64,
    /// First customer message.
    pub first_customer_message_ms: Option<TimeMs>,
    /// The reply that ended first_response_time.
    pub first_reply_ms: Option<TimeMs>,
    /// First response time.
    pub first_response_time_ms: Option<i64>,
    /// Reply times closed in this cycle.
    pub reply_time_count: i64,
    /// Their sum.
    pub reply_time_sum_ms: i64,
    /// Opening to resolve.
    pub cycle_resolution_time_ms: Option<i64>,
    /// Creation to the last resolve, while it stands.
    pub full_resolution_time_ms: Option<i64>,
    /// Speaker runs before the last resolve.
    pub turns: Option<i64>,
    /// Standing ratings given in this cycle.
    pub csat_count: i64,
    /// Their sum, millionths of a point.
    pub csat_sum_millionths: i64,
    /// The first public message was an agent's reply.
    pub agent_first: bool,
    /// An event lies before one it should follow.
    pub out_of_order: bool,
    /// The cycle counts in silent_dialogue_count.
    pub silent: bool,
    /// The conversation is marked as spam.
    pub spam: bool,
    /// The conversation it was merged into.
    pub merged_into: Option<Symbol>,
    /// Resolved with exactly one reply, and not reopened for long enough.
    pub one_touch: bool,
    /// A bot gave up to a human.
    pub handed_off: bool,
    /// Who the customer is.
    pub contact: Option<Symbol>,
    /// Team at the end of the cycle.
    pub team: Option<Symbol>,
    /// Queue at the end of the cycle.
    pub queue: Option<Symbol>,
    /// First response time in business time.
    pub first_response_time_business_ms: Option<i64>,
    /// Opening to resolve in business time.
    pub cycle_resolution_time_business_ms: Option<i64>,
    /// Creation to the last resolve in business time, while it stands.
    pub full_resolution_time_business_ms: Option<i64>,
}

/// Who a message belongs to, for scoring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Speaker {
    /// The customer: counts in the sentiment KPIs.
    Customer,
    /// A human agent.
    Agent,
}

impl Speaker {
    /// Name in the tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Agent => "agent",
        }
    }
}

/// A message to be scored: what is known of it before its prediction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Turn {
    /// When it was sent.
    pub time_ms: TimeMs,
    /// Tenant and conversation.
    pub conversation: ConversationKey,
    /// Cycle it belongs to.
    pub cycle: i64,
    /// Day that cycle opened: the partition of `conversation_scores`.
    pub cycle_day: i32,
    /// Source system of the message event.
    pub source: Symbol,
    /// Id of the message event; tells messages of one time apart.
    pub event_id: compact_str::CompactString,
    /// Message id.
    pub message_id: compact_str::CompactString,
    /// Channel of the conversation.
    pub channel: Symbol,
    /// Agent in charge (of a customer's message) or who wrote it.
    pub agent: Option<Symbol>,
    /// Team it is credited to.
    pub team: Option<Symbol>,
    /// Queue of the conversation.
    pub queue: Option<Symbol>,
    /// Who spoke.
    pub speaker: Speaker,
    /// It is a public human reply.
    pub is_reply: bool,
    /// Unicode characters of its text.
    pub chars: u32,
    /// Its text.
    pub text: TextKey,
}

/// A message whose true class a rater has told, for a head to be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LabelledText {
    /// Tenant.
    pub tenant: Symbol,
    /// When the label was given.
    pub time_ms: TimeMs,
    /// The head.
    pub head: TextHead,
    /// The true class.
    pub class: Symbol,
    /// The text of the message.
    pub text: TextKey,
}

/// A scored message: a row of `message_scores`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageScore {
    /// Day of the message (its partition).
    pub day: i32,
    /// The message.
    pub turn: Turn,
    /// What the heads say of it; none when the model failed on it.
    pub scores: Option<SharedScores>,
    /// Why the model failed.
    pub error: Option<String>,
}

/// How much a turn counted in the quality of its cycle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TurnAttention {
    /// When it was sent.
    pub time_ms: TimeMs,
    /// The event that created it.
    pub event_id: compact_str::CompactString,
    /// Its weight, units of 1/10 000; those of a cycle add up to 1.
    pub weight: i32,
}

/// A scored cycle: a row of `conversation_scores`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConversationScore {
    /// Day the cycle opened (its partition).
    pub day: i32,
    /// Tenant and conversation.
    pub conversation: ConversationKey,
    /// Cycle.
    pub cycle: i64,
    /// Channel.
    pub channel: Symbol,
    /// Scored customer messages.
    pub scored_turns: i64,
    /// Sum of their sentiment, units of 1/10 000.
    pub sentiment_sum: i64,
    /// How many of them are negative.
    pub negative_turns: i64,
    /// Sentiment of the first of them, units of 1/10 000.
    pub first_sentiment: i64,
    /// Sentiment of the last of them, units of 1/10 000.
    pub last_sentiment: i64,
    /// Mean sentiment of the last quarter of turns minus the first quarter's, millionths.
    pub sentiment_shift_millionths: i64,
    /// Quality of the conversation, units of 1/10 000; none before every turn is scored.
    pub quality: Option<i32>,
    /// Why there is none, where the model failed.
    pub quality_error: Option<String>,
    /// The turns that the quality was computed from, in order.
    pub attention: Vec<TurnAttention>,
}

/// What customers write about on a channel in a window: a row of `topic_window`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicWindow {
    /// Local day of the window's start (its partition).
    pub day: i32,
    /// Start of the window.
    pub window_start_ms: TimeMs,
    /// Its width.
    pub window: Window,
    /// Tenant.
    pub tenant: Symbol,
    /// Channel.
    pub channel: Symbol,
    /// Intent.
    pub intent: Symbol,
    /// Customer messages of this intent.
    pub messages: i64,
    /// Customer messages of any intent.
    pub all_messages: i64,
    /// Customer messages of this intent in the window before.
    pub messages_before: i64,
    /// How many of `messages` are negative.
    pub negative_messages: i64,
}

/// How well a head agrees with the labels of a day: rows of `model_eval`, one for each class and one for all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ModelEvaluation {
    /// Local day (its partition and window).
    pub day: i32,
    /// Tenant.
    pub tenant: Symbol,
    /// The head.
    pub head: TextHead,
    /// It is one of the candidate, and not of the model whose scores are published.
    pub is_candidate: bool,
    /// How often each (true class, predicted class) came together, ascending by their names.
    pub confusion: Vec<(Symbol, Symbol, i64)>,
}

/// One anomaly score: a row of `anomaly_scores`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AnomalyScore {
    /// Day of the window (its partition).
    pub day: i32,
    /// Start of the window.
    pub window_start_ms: TimeMs,
    /// End of the window.
    pub window_end_ms: TimeMs,
    /// Tenant.
    pub tenant: Symbol,
    /// Channel.
    pub channel: Symbol,
    /// Agent, for agent×channel series.
    pub agent: Option<Symbol>,
    /// KPI column.
    pub kpi: Symbol,
    /// Observed value, thousandths; none where there is none.
    pub observed_milli: Option<i64>,
    /// Expected value, thousandths.
    pub expected_milli: i64,
    /// Lower bound of the normal range, thousandths.
    pub lower_milli: i64,
    /// Upper bound of the normal range, thousandths.
    pub upper_milli: i64,
    /// 0 (normal) to 1 (certainly not), millionths.
    pub score_millionths: i64,
}
