//! Rows that cannot be used.

use super::World;
use crate::clock;
use crate::oracle::Line;
use serde_json::{Value, json};

/// Puts exactly one thing wrong, without touching the identity or the version.
pub(super) fn spoil(world: &mut World, event: &mut Value) {
    if world.dice.chance(500) && spoil_by_type(world, event) {
        return;
    }
    match world.dice.below(9) {
        0 => event["event_time"] = "yesterday at noon".into(),
        1 => event["event_time"] = "2024-03-01T10:00:00".into(),
        2 => event["event_type"] = "message_sung".into(),
        3 => event["actor_type"] = "ghost".into(),
        4 => event["event_time"] = "2100-01-01T00:00:00Z".into(),
        5 => event["event_time"] = (-1).into(),
        6 => event["event_type"] = Value::Null,
        7 => event["channel"] = 17.into(),
        _ => event["event_time"] = Value::Null,
    }
}

/// Spoils what only events of this type need; false if there is nothing.
fn spoil_by_type(world: &mut World, event: &mut Value) -> bool {
    let wrong: &[(&str, Value)] = match event["event_type"].as_str().unwrap_or_default() {
        "calendar_upserted" => &[
            ("calendar_id", Value::Null),
            ("timezone", Value::Null),
            ("ranges", Value::Null),
            ("timezone", "Mars/Olympus".into()),
            ("ranges", json!({ "mon": [["17:00", "09:00"]] })),
            ("ranges", json!([{ "day": "tue", "start": "09:00", "end": "24:30" }])),
            ("ranges", json!({ "sun": [["10:00", "10:00"]] }).to_string().into()),
        ],
        "sla_policy_upserted" | "sla_applied" => &[("policy_id", Value::Null)],
        "agent_upserted" => &[("agent_id", Value::Null)],
        "agent_status_changed" => &[("agent_id", Value::Null), ("status", Value::Null), ("status", "asleep".into())],
        "merged" => &[("target_conversation_id", Value::Null)],
        _ => return false,
    };
    let (column, value) = world.dice.pick(wrong);
    event[column] = value;
    true
}

/// A row of its own that cannot be used.
pub(super) fn unusable(world: &mut World) -> Line {
    let (source, event_id) = world.identity("acme");
    let time = clock::format(world.start);
    let mut event = json!({
        "tenant_id": "acme", "source": source, "event_id": event_id, "event_type": "message_created",
        "event_time": time, "conversation_id": "c0", "channel": "chat", "actor_type": "customer",
    });
    let rated = |rating: i64| json!({ "event_type": "csat_rated", "rating": rating });
    let (columns, missing) = match world.dice.below(13) {
        0 => return Line::Malformed("{\"tenant_id\":\"acme\",".to_owned()),
        1 => (json!({}), "conversation_id"),
        2 => (json!({}), "tenant_id"),
        3 => (rated(6), ""),
        4 => (rated(0), ""),
        5 => (json!({ "event_type": "status_changed", "to_status": "asleep" }), ""),
        6 => (json!({ "direction": "sideways" }), ""),
        7 => (json!({ "op": "forget" }), ""),
        8 => (json!({ "event_type": "merged" }), ""),
        9 => (json!({ "event_type": "agent_status_changed", "agent_id": "ann", "status": "dancing" }), ""),
        11 => {
            let weight = world.dice.pick(&[json!("heavy"), json!(0), json!(-1), json!([2])]);
            let columns = json!({ "event_type": "qa_label", "label": "greets", "value": "pass",
                "attributes": { "weight": weight } });
            (columns, "")
        }
        10 => (json!({ "event_type": "sla_policy_upserted", "resolution_target_ms": 60_000 }), ""),
        _ => (json!({ "event_type": "message_edited", "conversation_id": "no such", "message_id": "m0" }), ""),
    };
    if let (Value::Object(event), Value::Object(columns)) = (&mut event, columns) {
        event.extend(columns);
        event.remove(missing);
    }
    Line::Json(event)
}
