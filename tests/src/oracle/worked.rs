//! The worked examples of `kpis.md` that must hold, on the oracle.

use super::{Oracle, rows_of};
use crate::clock;
use crate::model::{Cell, Columns, Tables};
use serde_json::{Value, json};

/// An event of a conversation at a time of March 2024 (`day hour:minute:second`).
fn event(conversation: &str, at: &str, kind: &str, columns: Value) -> Value {
    let (day, time) = at.split_once(' ').unwrap();
    let mut event = json!({
        "tenant_id": "t", "source": "s", "event_id": format!("{conversation} {at} {kind}"), "event_type": kind,
        "event_time": format!("2024-03-{day}T{time}Z"), "conversation_id": conversation, "channel": "chat",
    });
    let fields = columns.as_object().unwrap().clone();
    event.as_object_mut().unwrap().extend(fields);
    event
}

fn asks(conversation: &str, at: &str) -> Value {
    event(conversation, at, "message_created", json!({ "actor_type": "customer", "text": "?" }))
}

fn replies(conversation: &str, at: &str) -> Value {
    event(conversation, at, "message_created", json!({ "actor_type": "agent", "actor_id": "ann", "text": "!" }))
}

fn resolves(conversation: &str, at: &str) -> Value {
    let columns = json!({ "actor_type": "agent", "actor_id": "ann", "to_status": "resolved" });
    event(conversation, at, "status_changed", columns)
}

fn rates(conversation: &str, at: &str, rating: i64) -> Value {
    event(conversation, at, "csat_rated", json!({ "survey_id": "q", "rating": rating }))
}

/// Questions in conversations of their own, each with a reply so many seconds later.
fn answered_after(seconds: &[i64]) -> Vec<Value> {
    let pair = |(number, seconds): (usize, &i64)| {
        let id = format!("c{number}");
        [asks(&id, "04 09:00:00"), replies(&id, &format!("04 09:{:02}:{:02}", seconds / 60, seconds % 60))]
    };
    seconds.iter().enumerate().flat_map(pair).collect()
}

/// 80, 90, 100, 90 and 80 % of ten conversations each are resolved.
fn mostly_resolved() -> Vec<Value> {
    let mut events = Vec::new();
    for (day, resolved) in [(4, 8), (5, 9), (6, 10), (7, 9), (8, 8)] {
        for number in 0..10 {
            let id = format!("c{day}-{number}");
            events.push(asks(&id, &format!("{day:02} 09:00:00")));
            events.extend((number < resolved).then(|| resolves(&id, &format!("{day:02} 10:00:00"))));
        }
    }
    events
}

fn rated(ratings: &[i64]) -> Vec<Value> {
    let one = |(number, rating): (usize, &i64)| {
        let id = format!("c{number}");
        [asks(&id, "04 09:00:00"), rates(&id, "04 10:00:00", *rating)]
    };
    ratings.iter().enumerate().flat_map(one).collect()
}

fn reopened_on_day_six() -> Vec<Value> {
    vec![
        asks("c", "01 09:00:00"),
        replies("c", "01 09:05:00"),
        resolves("c", "01 10:00:00"),
        asks("c", "06 09:00:00"),
        replies("c", "06 09:10:00"),
    ]
}

fn handed_off_by_the_bot() -> Vec<Value> {
    vec![
        asks("c", "04 09:00:00"),
        event("c", "04 09:00:10", "message_created", json!({ "actor_type": "bot", "direction": "outbound" })),
        event("c", "04 09:01:00", "bot_handoff", json!({ "actor_type": "bot" })),
        resolves("c", "04 09:30:00"),
    ]
}

fn replied_after_due() -> Vec<Value> {
    vec![
        event(
            "c",
            "01 00:00:00",
            "sla_policy_upserted",
            json!({ "policy_id": "gold", "first_response_target_ms": 600_000 }),
        ),
        asks("c", "04 09:00:00"),
        event("c", "04 09:00:00", "sla_applied", json!({ "policy_id": "gold" })),
        replies("c", "04 09:10:00.001"),
    ]
}

fn call_over_the_hour() -> Vec<Value> {
    let of = |kind: &str, at| event("c", at, kind, json!({ "segment_id": "g", "agent_id": "ann" }));
    vec![
        event("c", "04 05:20:00", "conversation_created", json!({})),
        event("c", "04 05:00:00", "agent_status_changed", json!({ "agent_id": "ann", "status": "available" })),
        event("c", "04 05:23:00", "agent_status_changed", json!({ "agent_id": "ann", "status": "busy" })),
        of("segment_started", "04 05:23:00"),
        of("segment_ended", "04 06:15:00"),
        of("acw_started", "04 06:15:00"),
        of("acw_ended", "04 06:20:00"),
    ]
}

fn rating_revised() -> Vec<Value> {
    vec![asks("c", "04 09:00:00"), rates("c", "04 10:00:00", 2), rates("c", "04 11:00:00", 5)]
}

/// The only row of a table whose window starts then.
fn row<'t>(tables: &'t Tables, table: &str, start: &str) -> &'t Columns {
    let start = clock::parse(&format!("2024-03-{start}:00:00Z")).unwrap();
    let mut rows = tables[table].iter().filter(|(key, _)| key.last() == Some(&Cell::TimeMs(start)));
    let (_, columns) = rows.next().unwrap_or_else(|| panic!("no row of {table} at {start}"));
    columns
}

const MINUTE: i64 = 60_000;

#[test]
fn worked_examples_hold() {
    let (day, hour, month) = ("kpi_tenant_day", "kpi_tenant_hour", "kpi_channel_month");
    let by_agent = "kpi_agent_hour";
    for (events, table, window, column, expected) in [
        (answered_after(&[60, 45, 30, 50, 40]), day, "04T00", "reply_time_mean_ms", Cell::Float(45_000.0)),
        (mostly_resolved(), month, "01T00", "resolution_rate_ratio", Cell::Float(0.88)),
        (rated(&[4, 5, 5, 4, 5]), day, "04T00", "csat_mean", Cell::Float(4.6)),
        (reopened_on_day_six(), day, "06T00", "first_response_time_max_ms", Cell::Int(10 * MINUTE)),
        (reopened_on_day_six(), day, "06T00", "first_response_time_count", Cell::Int(1)),
        (handed_off_by_the_bot(), day, "04T00", "bot_containment_ratio", Cell::Float(0.0)),
        (handed_off_by_the_bot(), day, "04T00", "bot_handoff_ratio", Cell::Float(1.0)),
        (replied_after_due(), day, "04T00", "sla_first_response_breached_count", Cell::Int(1)),
        (replied_after_due(), day, "04T00", "sla_first_response_met_count", Cell::Int(0)),
        (call_over_the_hour(), by_agent, "04T05", "handled_ms", Cell::Int(37 * MINUTE)),
        (call_over_the_hour(), by_agent, "04T06", "handled_ms", Cell::Int(20 * MINUTE)),
        (call_over_the_hour(), by_agent, "04T05", "occupancy_ratio", Cell::Float(37.0 / 60.0)),
        (call_over_the_hour(), by_agent, "04T06", "occupancy_ratio", Cell::Float(1.0)),
        (call_over_the_hour(), hour, "04T05", "handle_time_count", Cell::Int(0)),
        (call_over_the_hour(), hour, "04T06", "handle_time_sum_ms", Cell::Int(57 * MINUTE)),
        (rating_revised(), day, "04T00", "csat_mean", Cell::Float(5.0)),
        (rating_revised(), day, "04T00", "csat_revisions_count", Cell::Int(1)),
    ] {
        let tables = Oracle::default().tables(&rows_of(&events));
        // Of the tables by agent, the row of the agent.
        let found = match table {
            "kpi_agent_hour" => {
                let start = clock::parse(&format!("2024-03-{window}:00:00Z")).unwrap();
                &tables[table][&vec![Cell::text(Some("t")), Cell::text(Some("ann")), Cell::TimeMs(start)]]
            }
            _ => row(&tables, table, window),
        };
        assert!(found[column].agrees_with(&expected), "{table} {window} {column}: {} is not {expected}", found[column]);
    }
}

#[test]
fn a_reply_taken_back_was_never_sent() {
    let never = vec![asks("c", "04 09:00:00"), resolves("d", "04 11:00:00"), asks("d", "04 10:00:00")];
    let reply = replies("c", "04 09:10:00");
    let mut retraction = reply.clone();
    retraction["op"] = "retract".into();
    let sent = [never.clone(), vec![reply.clone()]].concat();
    let taken_back = [sent.clone(), vec![retraction]].concat();
    let tables = |events: &[Value]| Oracle::default().tables(&rows_of(events));
    assert_eq!(tables(&taken_back), tables(&never));
    assert_ne!(tables(&sent), tables(&never));
    let tables = tables(&taken_back);
    let row = row(&tables, "kpi_channel_day", "04T00");
    assert_eq!(row["unattended_count"], Cell::Int(1));
    assert_eq!(row["first_response_time_mean_ms"], Cell::Null);
    assert_eq!(row["reply_time_count"], Cell::Int(0));
}
