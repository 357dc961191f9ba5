//! What a correction says otherwise.

use super::dimensions::{AGENTS, QUEUES, STATUSES, TARGETS, TEAMS, pause_statuses, ranges, zone};
use super::{START_MS, World};
use crate::model::HOUR_MS;
use serde_json::Value;

/// Changes what an event says: when it was, whose it is, to which conversation it belongs, or what it is about.
pub(super) fn change(world: &mut World, event: &mut Value, all: &[Value]) {
    if world.dice.chance(200) {
        let shift = world.dice.pick(&[-1, 0, 1, 60_000, -30 * 60_000, 5 * HOUR_MS, 25 * HOUR_MS]);
        event["event_time"] = (event["event_time"].as_i64().unwrap_or(START_MS) + shift).into();
        return;
    }
    match event["event_type"].as_str().unwrap_or_default() {
        "agent_upserted" => change_agent(world, event),
        "agent_status_changed" => match world.dice.below(2) {
            0 => event["status"] = world.dice.pick(&STATUSES).into(),
            _ => event["agent_id"] = world.dice.pick(&AGENTS).into(),
        },
        "sla_policy_upserted" => change_policy(world, event),
        "qa_label" | "score_label" if world.dice.chance(600) => match world.dice.below(4) {
            0 => event["value"] = world.dice.pick(&["pass", "fail", "negative", "thanks"]).into(),
            1 => event["label"] = world.dice.pick(&["greets", "sentiment", "intent"]).into(),
            2 => event["message_id"] = world.dice.pick(&[Some("m0"), Some("m1"), None]).into(),
            _ => event["conversation_id"] = Value::Null,
        },
        "calendar_upserted" => change_calendar(world, event),
        _ => change_of_conversation(world, event, all),
    }
}

fn change_agent(world: &mut World, event: &mut Value) {
    match world.dice.below(3) {
        0 => event["agent_id"] = world.dice.pick(&AGENTS).into(),
        _ => event["team_id"] = world.dice.pick(&[Some(TEAMS[0]), Some(TEAMS[1]), None]).into(),
    }
}

fn change_policy(world: &mut World, event: &mut Value) {
    match world.dice.below(5) {
        0 => event["business_hours"] = world.dice.chance(500).into(),
        1 => event["pause_statuses"] = pause_statuses(world),
        2 => event["first_response_target_ms"] = Value::Null,
        _ => {
            let target =
                world.dice.pick(&["first_response_target_ms", "next_response_target_ms", "resolution_target_ms"]);
            event[target] = world.dice.pick(&TARGETS).into();
        }
    }
}

fn change_calendar(world: &mut World, event: &mut Value) {
    match world.dice.below(5) {
        0 => event["timezone"] = zone(world).into(),
        1 => event["ranges"] = ranges(world),
        2 => event["channel"] = world.dice.pick(&[None, Some("chat"), Some("email")]).into(),
        3 => event["team_id"] = world.dice.pick(&[None, Some(TEAMS[0]), Some(TEAMS[1])]).into(),
        _ => event["calendar_id"] = world.dice.pick(&["day", "night"]).into(),
    }
}

fn change_of_conversation(world: &mut World, event: &mut Value, all: &[Value]) {
    // An edit that turns out to refer to nothing must name neither a channel nor a customer, team or queue.
    let names = event["event_type"] != "message_edited" && event["event_type"] != "message_deleted";
    match world.dice.below(8) {
        0 => event["text"] = "in other words".into(),
        1 if names => event["channel"] = "voice".into(),
        2 if event["conversation_id"].is_string() => {
            let other = &all[world.dice.below(all.len() as u64) as usize];
            if other["conversation_id"].is_string() {
                event["conversation_id"] = other["conversation_id"].clone();
            }
        }
        3 if names => event["contact_id"] = world.dice.pick(&[Some("k1"), Some("k2"), None]).into(),
        4 if names => event["team_id"] = world.dice.pick(&TEAMS).into(),
        5 if names => event["queue_id"] = world.dice.pick(&QUEUES).into(),
        6 if event["agent_id"].is_string() => event["agent_id"] = world.dice.pick(&AGENTS).into(),
        _ => event["actor_id"] = world.dice.pick(&["ann", "bob"]).into(),
    }
}
