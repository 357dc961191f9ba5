//! Small tables to encode.

use contactflow_schemas::catalogue::{contribute, kpi};
use contactflow_schemas::clock::{DAY_MS, HOUR_MS};
use contactflow_schemas::event::ConversationKey;
use contactflow_schemas::facts::{
    AnomalyScore, Cell, ConversationScore, CycleFacts, Group, MessageScore, ModelEvaluation, Speaker, TopicWindow,
    Turn, TurnAttention,
};
use contactflow_schemas::prediction::{
    Emotion, Highlight, IntentScore, Offensive, Sentiment, TextHead, TextKey, TextScores,
};
use contactflow_schemas::reject::{Reason, Reject};
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tally::Tally;
use contactflow_schemas::windows::Window;

use crate::sink::SourceFile;

/// 2024-03-01.
pub(super) const DAY: i32 = 19_783;

fn start_ms() -> i64 {
    i64::from(DAY) * DAY_MS
}

fn symbol(text: &str) -> Symbol {
    Symbol::new(text)
}

fn conversation(number: usize) -> ConversationKey {
    ConversationKey { tenant: symbol("acme"), conversation: symbol(&format!("conversation-{number:03}")) }
}

/// A tally with a reply, and with a rating where `rated`.
pub(super) fn tally(reply_time_ms: i64, rated: bool) -> Tally {
    let mut entries = Vec::new();
    contribute(kpi::MESSAGES_INBOUND, 1, None, 1, &mut entries);
    contribute(kpi::REPLIES, 1, None, 1, &mut entries);
    contribute(kpi::REPLY_TIME, reply_time_ms, Some(reply_time_ms / 2), 1, &mut entries);
    if rated {
        contribute(kpi::CSAT, 4_600_000, None, 1, &mut entries);
    }
    Tally::from_entries(entries)
}

/// Cells of a day: `agents` agents and nobody, two channels, every hour.
pub(super) fn cells(agents: usize) -> Vec<(Cell, Tally)> {
    let mut cells = Vec::new();
    for agent in 0..=agents {
        let name = (agent > 0).then(|| symbol(&format!("agent-{agent:04}")));
        for channel in ["voice", "chat"] {
            for hour in 0..24 {
                let cell = Cell {
                    day: DAY,
                    window_start_ms: start_ms() + hour * HOUR_MS,
                    group: Group {
                        tenant: symbol("acme"),
                        channel: Some(symbol(channel)),
                        agent: name,
                        team: None,
                        queue: None,
                    },
                };
                cells.push((cell, tally(1_000 * (agent as i64 * 31 + hour), hour % 2 == 0)));
            }
        }
    }
    cells
}

pub(super) fn facts() -> Vec<CycleFacts> {
    let cycle = |number: usize| {
        let resolved = number.is_multiple_of(2);
        CycleFacts {
            day: DAY,
            conversation: conversation(number / 2),
            cycle: number as i64 % 2 + 1,
            channel: symbol("chat"),
            conversation_created_ms: start_ms(),
            opened_ms: start_ms() + number as i64,
            resolved_ms: resolved.then_some(start_ms() + HOUR_MS),
            owner: resolved.then(|| symbol("agent-0001")),
            resolved_by: resolved.then(|| symbol("agent-0001")),
            first_reply_agent: None,
            messages_inbound: 2,
            messages_outbound: 1,
            messages_private: 0,
            replies: 1,
            eligible_turns: 2,
            first_customer_message_ms: Some(start_ms() + 5),
            first_reply_ms: None,
            first_response_time_ms: None,
            reply_time_count: i64::from(resolved),
            reply_time_sum_ms: if resolved { 60_000 } else { 0 },
            cycle_resolution_time_ms: resolved.then_some(HOUR_MS),
            full_resolution_time_ms: None,
            turns: resolved.then_some(3),
            csat_count: i64::from(resolved),
            csat_sum_millionths: if resolved { 4_600_000 } else { 0 },
            agent_first: false,
            out_of_order: !resolved,
            silent: false,
            spam: false,
            merged_into: None,
            one_touch: resolved,
            handed_off: false,
            contact: resolved.then(|| symbol("contact-1")),
            team: None,
            queue: None,
            first_response_time_business_ms: None,
            cycle_resolution_time_business_ms: resolved.then_some(HOUR_MS / 2),
            full_resolution_time_business_ms: None,
        }
    };
    (0..40).map(cycle).collect()
}

pub(super) fn message_scores() -> Vec<MessageScore> {
    let score = |number: usize| {
        let failed = number.is_multiple_of(5);
        let turn = Turn {
            time_ms: start_ms() + number as i64 / 3,
            conversation: conversation(number % 4),
            cycle: 1,
            cycle_day: DAY,
            source: symbol("crm"),
            event_id: format!("event-{number}").into(),
            message_id: format!("message-{number}").into(),
            channel: symbol("chat"),
            agent: (!failed).then(|| symbol("agent-0002")),
            team: None,
            queue: None,
            speaker: if failed { Speaker::Agent } else { Speaker::Customer },
            is_reply: failed,
            chars: 1,
            text: TextKey::of("x"),
        };
        let scores = TextScores {
            emotion: number.is_multiple_of(2).then(|| Emotion::most_probable([7_000, 1_000, 500, 1_500])),
            offensive: number.is_multiple_of(4).then(|| Offensive::most_probable(1_250)),
            intent: Some(IntentScore { label: symbol("refund"), probability: 9_000 }),
            highlights: vec![Highlight { char_start: 0, char_end: 4, weight: -2_500 }; number % 4],
            ..TextScores::of_sentiment(Sentiment::most_probable(2_500, 500, 7_000))
        };
        MessageScore {
            day: DAY,
            turn,
            scores: (!failed).then(|| scores.into()),
            error: failed.then(|| "too long".to_owned()),
        }
    };
    (0..30).map(score).collect()
}

pub(super) fn conversation_scores() -> Vec<ConversationScore> {
    let score = |number: usize| ConversationScore {
        day: DAY,
        conversation: conversation(number),
        cycle: 1,
        channel: symbol("chat"),
        scored_turns: 4,
        sentiment_sum: -10_000,
        negative_turns: 3,
        first_sentiment: 4_500,
        last_sentiment: -9_000,
        sentiment_shift_millionths: -1_350_000,
        quality: number.is_multiple_of(3).then_some(6_250),
        quality_error: (number % 3 == 1).then(|| "not a number".to_owned()),
        attention: (0..if number.is_multiple_of(3) { 2 } else { 0 })
            .map(|turn| TurnAttention {
                time_ms: start_ms() + turn,
                event_id: format!("event-{turn}").into(),
                weight: 5_000,
            })
            .collect(),
    };
    (0..20).map(score).collect()
}

pub(super) fn topics() -> Vec<TopicWindow> {
    let topic = |number: i64| TopicWindow {
        day: DAY,
        window_start_ms: start_ms(),
        window: if number % 2 == 0 { Window::Day } else { Window::Week },
        tenant: symbol("acme"),
        channel: symbol("chat"),
        intent: symbol(["refund", "thanks", "where_is_it"][number as usize / 2]),
        messages: 1 + number,
        all_messages: 9,
        messages_before: number / 2,
        negative_messages: number / 3,
    };
    (0..6).map(topic).collect()
}

pub(super) fn evaluations() -> Vec<ModelEvaluation> {
    let [negative, positive] = ["negative", "positive"].map(symbol);
    let evaluation = |head| ModelEvaluation {
        day: DAY,
        tenant: symbol("acme"),
        head,
        is_candidate: false,
        confusion: vec![(negative, negative, 6), (negative, positive, 2), (positive, positive, 4)],
    };
    TextHead::ALL.map(evaluation).to_vec()
}

pub(super) fn anomalies() -> Vec<AnomalyScore> {
    let score = |number: i64| AnomalyScore {
        day: DAY,
        window_start_ms: start_ms() + number / 2 * HOUR_MS,
        window_end_ms: start_ms() + number / 2 * HOUR_MS + HOUR_MS,
        tenant: symbol("acme"),
        channel: symbol("chat"),
        agent: (number % 2 == 1).then(|| symbol("agent-0001")),
        kpi: symbol("replies_count"),
        observed_milli: (number % 3 != 0).then_some(number * 1_500),
        expected_milli: 2_000,
        lower_milli: -250,
        upper_milli: 4_250,
        score_millionths: 125_000,
    };
    (0..48).map(score).collect()
}

pub(super) fn rejects() -> Vec<Reject> {
    let reject = |number: u64| Reject {
        file: symbol("events.ndjson"),
        row: number / 2 + 1,
        reason: if number.is_multiple_of(2) { Reason::MissingField } else { Reason::BadTime },
        field: "event_time".to_owned(),
        message: "a time was expected".to_owned(),
        tenant: number.is_multiple_of(2).then(|| symbol("acme")),
        source: None,
        event_id: number.is_multiple_of(3).then(|| format!("event-{number}")),
        raw: Some("{\"a\": 1}".to_owned()),
    };
    // The last one twice: rejects have no key.
    (0..20).chain([19]).map(reject).collect()
}

/// An event file that a commit has read.
pub(super) fn source_file() -> SourceFile {
    SourceFile {
        name: "events.ndjson".to_owned(),
        bytes: 10,
        version: None,
        rows: 3,
        model_id: String::new(),
        candidate_id: String::new(),
    }
}
