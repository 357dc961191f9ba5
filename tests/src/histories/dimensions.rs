//! Events that belong to no conversation: who the agents are and what they do, when it is open, what was promised,
//! and some that merely move the clock.

use super::World;
use crate::clock;
use crate::model::{DAY_MS, HOUR_MS};
use serde_json::{Map, Value, json};

pub(super) const AGENTS: [&str; 3] = ["ann", "bob", "cleo"];
pub(super) const TEAMS: [&str; 2] = ["red", "blue"];
pub(super) const QUEUES: [&str; 2] = ["billing", "sales"];
pub(super) const POLICIES: [&str; 3] = ["gold", "silver", "tin"];
pub(super) const STATUSES: [&str; 4] = ["available", "busy", "away", "offline"];
/// What is promised, in ms.
pub(super) const TARGETS: [i64; 6] = [0, 60_000, 600_000, HOUR_MS, 8 * HOUR_MS, 2 * DAY_MS];
const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"];

/// The dimensions of a history whose conversations are told already, and the last tick of the clock.
pub(super) fn around(world: &mut World) -> Vec<Value> {
    let mut events = Vec::new();
    for agent in AGENTS {
        for _ in 0..world.dice.weighted(&[(5, 0), (4, 1), (2, 2)]) {
            let team = world.dice.pick(&[Some("red"), Some("red"), Some("blue"), None]);
            let columns = json!({ "agent_id": agent, "team_id": team, "attributes": { "shift": "late" } });
            events.push(dimension(world, "agent_upserted", 500, columns));
        }
    }
    for (policy, unknown) in POLICIES.into_iter().zip([1, 5, 12]) {
        for version in 0..world.dice.weighted(&[(unknown, 0), (4, 1), (2, 2)]) {
            let columns = policy_columns(world, policy);
            events.push(dimension(world, "sla_policy_upserted", if version == 0 { 800 } else { 200 }, columns));
        }
    }
    for version in 0..world.dice.weighted(&[(2, 0), (3, 1), (3, 2), (1, 3)]) {
        let columns = calendar_columns(world, if version == 0 { 25 } else { 3 });
        events.push(dimension(world, "calendar_upserted", if version == 0 { 850 } else { 300 }, columns));
    }
    for _ in 0..world.dice.weighted(&[(5, 0), (3, 2), (2, 5)]) {
        let columns = json!({
            "agent_id": world.dice.pick(&AGENTS), "status": world.dice.pick(&STATUSES),
            "capacity": world.dice.pick(&[None, Some(3)]),
        });
        events.push(dimension(world, "agent_status_changed", 300, columns));
    }
    for _ in 0..world.dice.below(2) {
        let kind = world.dice.pick(&["qa_label", "score_label", "erasure_requested"]);
        // Naming a conversation does not make it part of one.
        let conversation = world.dice.pick(&[None, Some("c0")]);
        let columns = json!({ "conversation_id": conversation, "channel": conversation.map(|_| "nowhere"),
            "team_id": "unheard-of", "contact_id": "k1", "label": "polite", "rater": "eve" });
        events.push(dimension(world, kind, 500, columns));
    }
    events.extend(last_tick(world));
    events
}

/// An event that lets something fall due, or not yet by a hair.
fn last_tick(world: &mut World) -> Option<Value> {
    let times = match world.dice.below(100) {
        0..50 => &world.deadlines,
        50..60 => &world.weeks,
        60..66 => &world.months,
        _ => return None,
    };
    // A clock that has gone further already would not notice.
    let latest = world.moments.iter().max()?;
    let mut ahead: Vec<i64> = times.iter().copied().filter(|time| time > latest).collect();
    ahead.sort_unstable();
    let place = world.dice.below(ahead.len() as u64) as usize * world.dice.below(2) as usize;
    let time = *ahead.get(place)? + world.dice.pick(&[-1, 0, 1, 1]);
    let (source, event_id) = world.identity("acme");
    Some(json!({ "tenant_id": "acme", "source": source, "event_id": event_id, "event_type": "qa_label",
        "event_time": time, "label": "tick" }))
}

/// One dimension event: `early` of 1,000 from before the conversations, the others amid them, or from just when
/// something happens.
fn dimension(world: &mut World, kind: &str, early: u64, columns: Value) -> Value {
    let tenant = world.dice.weighted(&[(8, "acme"), (1, "zenith")]);
    let (source, event_id) = world.identity(tenant);
    let moment = world.dice.pick(&world.moments);
    let latest = world.moments.iter().copied().max().map_or(world.start, |latest| latest.max(world.start));
    let half_hours = (latest - world.start) as u64 / (HOUR_MS as u64 / 2);
    let time = if world.dice.chance(early) {
        // The hours of a status are split one by one: none lasts long before anything happens.
        let before = if kind == "agent_status_changed" { HOUR_MS } else { 10 * DAY_MS };
        world.start - world.dice.pick(&[HOUR_MS, before])
    } else if world.dice.chance(500) {
        moment + world.dice.pick(&[-1, 0, 0, 1])
    } else {
        world.start + world.dice.below(1 + half_hours) as i64 * HOUR_MS / 2
    };
    let ingest_time = world.ingest_time(time);
    let mut event = Map::new();
    if let (Value::Object(envelope), Value::Object(columns)) = (
        json!({ "tenant_id": tenant, "source": source, "event_id": event_id, "event_type": kind, "event_time": time,
            "ingest_time": ingest_time }),
        columns,
    ) {
        event.extend(envelope);
        event.extend(columns);
    }
    event.retain(|_, value| !value.is_null());
    Value::Object(event)
}

fn policy_columns(world: &mut World, policy: &str) -> Value {
    let usual = world.target;
    let mut target = || match world.dice.below(6) {
        0 => None,
        1..3 => Some(world.dice.pick(&TARGETS)),
        _ => Some(usual),
    };
    let (first, next, resolution) = (target(), target(), target());
    let business_hours = world.dice.pick(&[None, Some(false), Some(false), Some(true), Some(true)]);
    json!({
        "policy_id": policy, "first_response_target_ms": first, "next_response_target_ms": next,
        "resolution_target_ms": resolution, "business_hours": business_hours,
        "pause_statuses": pause_statuses(world),
    })
}

/// The statuses in which a clock stands still.
pub(super) fn pause_statuses(world: &mut World) -> Value {
    let list = world.dice.pick(&[
        Value::Null,
        json!([]),
        json!(["pending"]),
        json!(["pending", "on_hold", "snoozed"]),
        json!(["new"]),
        json!(["open"]),
    ]);
    as_told(world, list)
}

fn calendar_columns(world: &mut World, of_all: u64) -> Value {
    let (team, channel) = world.dice.weighted(&[
        (of_all, (None, None)),
        (2, (None, Some("chat"))),
        (1, (None, Some("voice"))),
        (2, (Some("red"), None)),
        (2, (Some("red"), Some("chat"))),
    ]);
    json!({
        "calendar_id": world.dice.pick(&["day", "day", "night"]), "timezone": world.dice.pick(&ZONES),
        "ranges": ranges(world), "holidays": holidays(world), "team_id": team, "channel": channel,
    })
}

/// A zone that exists.
pub(super) fn zone(world: &mut World) -> &'static str {
    world.dice.pick(&ZONES)
}

/// Opening hours of a week, in one of the ways to write them.
pub(super) fn ranges(world: &mut World) -> Value {
    let week = |ranges: &[[&str; 2]], days: &[&'static str]| -> Vec<(&'static str, Vec<[String; 2]>)> {
        let ranges: Vec<[String; 2]> = ranges.iter().map(|range| range.map(str::to_owned)).collect();
        days.iter().map(|day| (*day, ranges.clone())).collect()
    };
    let all = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let days = match world.dice.below(9) {
        0 => week(&[["09:00", "17:00"]], &all[..5]),
        1 | 6 => week(&[["08:00", "12:00"], ["13:00", "18:30"]], &all),
        2 => week(&[["00:00", "24:00"]], &all),
        // Over the hours that are missing or come twice when clocks change.
        3 | 7 => week(&[["01:30", "02:30"], ["04:00", "24:00"]], &all),
        // Ranges that overlap or touch.
        4 => week(&[["10:00", "14:00"], ["09:00", "12:00"], ["14:00", "15:00"]], &all),
        5 => week(&[["00:00", "00:01"], ["23:59", "24:00"]], &all[3..]),
        _ => Vec::new(),
    };
    let told = if world.dice.chance(500) {
        days.into_iter().map(|(day, ranges)| (day.to_owned(), json!(ranges))).collect()
    } else {
        let one = |(day, ranges): (&'static str, Vec<[String; 2]>)| {
            ranges.into_iter().map(move |[start, end]| json!({ "day": day, "start": start, "end": end }))
        };
        days.into_iter().flat_map(one).collect()
    };
    as_told(world, told)
}

fn holidays(world: &mut World) -> Value {
    let start = world.start;
    let day = |number: i64| clock::format(start + number * DAY_MS)[..10].to_owned();
    let list = match world.dice.below(4) {
        0 => json!([]),
        1 => json!([day(1)]),
        2 => json!([day(0), day(2), day(2), "2024-12-25"]),
        _ => Value::Null,
    };
    as_told(world, list)
}

/// Lists and maps come as they are, or as JSON in a text.
fn as_told(world: &mut World, value: Value) -> Value {
    if !value.is_null() && world.dice.chance(400) { value.to_string().into() } else { value }
}
