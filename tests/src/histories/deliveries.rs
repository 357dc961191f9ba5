//! How events arrive: twice, late, in versions, taken back, in conflict, or spoilt.

use super::changes::change;
use super::spoilt::{spoil, unusable};
use super::{START_MS, World, unplaced};
use crate::clock;
use crate::model::{DAY_MS, HOUR_MS};
use crate::oracle::{Line, Row};
use serde_json::Value;

/// Conflicts per history at most: a test tries every way of settling them.
const CONFLICTS: usize = 2;

/// Delivers events, `noise` of 1,000 with something odd about them.
pub(super) fn deliver(world: &mut World, events: Vec<Value>, noise: u64) -> Vec<Row> {
    let mut delivered: Vec<Value> = Vec::new();
    let mut late: Vec<Value> = Vec::new();
    let mut conflicts = 0;
    for event in &events {
        let mut copies = vec![event.clone()];
        if world.dice.chance(noise) {
            let oddity = world.dice.weighted::<fn(&mut World, &Value, &[Value]) -> Vec<Value>>(&[
                (5, same_again),
                (6, corrected),
                (5, retracted),
                (3, stale),
                (3, corrected_reject),
                (2, spoilt_correction),
            ]);
            copies = oddity(world, event, &events);
        } else if conflicts < CONFLICTS && world.dice.chance(noise / 12) {
            conflicts += 1;
            copies = conflicting(world, event);
        }
        for copy in copies {
            let target = if world.dice.chance(noise / 5) { &mut late } else { &mut delivered };
            target.push(copy);
        }
    }
    world.dice.shuffle(&mut late);
    delivered.extend(late);
    let mut rows: Vec<Row> = delivered
        .into_iter()
        .map(|event| {
            let written = write_time(world, event);
            unplaced(Line::Json(written))
        })
        .collect();
    for _ in 0..world.dice.below(1 + noise / 60) {
        let place = world.dice.below(rows.len() as u64 + 1) as usize;
        let line = unusable(world);
        rows.insert(place, unplaced(line));
    }
    rows
}

/// The same event again, said a little differently.
fn same_again(world: &mut World, event: &Value, _: &[Value]) -> Vec<Value> {
    let mut again = event.clone();
    if world.dice.chance(500) {
        let time = again["event_time"].as_i64().unwrap_or(START_MS);
        again["ingest_time"] = (time + world.dice.pick(&[0, 40 * HOUR_MS, 9 * DAY_MS])).into();
        again["source_version"] = 0.into();
        again["op"] = "assert".into();
        again["text"] = again["text"].take();
    }
    vec![event.clone(), again]
}

/// The event with a higher version that says something else; sometimes the correction comes first.
fn corrected(world: &mut World, event: &Value, all: &[Value]) -> Vec<Value> {
    let mut correction = event.clone();
    correction["source_version"] = (1 + world.dice.below(3)).into();
    change(world, &mut correction, all);
    let mut copies = vec![event.clone(), correction];
    if world.dice.chance(300) {
        copies.swap(0, 1);
    }
    copies
}

/// The event and its retraction, in any order, with all columns or only the identity.
fn retracted(world: &mut World, event: &Value, _: &[Value]) -> Vec<Value> {
    let mut retraction = event.clone();
    if world.dice.chance(500) {
        let identity = ["tenant_id", "source", "event_id"];
        retraction = identity.iter().map(|column| ((*column).to_owned(), event[*column].clone())).collect();
    }
    retraction["op"] = "retract".into();
    let mut copies = vec![event.clone(), retraction];
    match world.dice.below(4) {
        // At the same version the retraction wins, and above it too.
        0 => copies[1]["source_version"] = 2.into(),
        // A retraction of an older version takes nothing back.
        1 => copies[0]["source_version"] = 3.into(),
        _ => {}
    }
    if world.dice.chance(500) {
        copies.swap(0, 1);
    }
    copies
}

/// A version that something newer has overtaken already.
fn stale(world: &mut World, event: &Value, all: &[Value]) -> Vec<Value> {
    let mut newest = event.clone();
    newest["source_version"] = 7.into();
    let mut old = event.clone();
    change(world, &mut old, all);
    let mut older = event.clone();
    older["source_version"] = (-1).into();
    vec![newest, old, older]
}

/// Two contents at one version.
fn conflicting(world: &mut World, event: &Value) -> Vec<Value> {
    let mut other = event.clone();
    if world.dice.chance(500) {
        other["text"] = "something else".into();
    } else {
        other["event_time"] = (event["event_time"].as_i64().unwrap_or(START_MS) + 7 * 60_000).into();
    }
    vec![event.clone(), other]
}

/// A row that cannot be used, then the same event as it should be: no reject is left.
fn corrected_reject(world: &mut World, event: &Value, _: &[Value]) -> Vec<Value> {
    let mut bad = event.clone();
    spoil(world, &mut bad);
    let mut good = event.clone();
    good["source_version"] = world.dice.below(2).into();
    vec![bad, good]
}

/// A correction that cannot be used: the event stands as it was, and the reject with it.
fn spoilt_correction(world: &mut World, event: &Value, _: &[Value]) -> Vec<Value> {
    let mut bad = event.clone();
    bad["source_version"] = 5.into();
    spoil(world, &mut bad);
    vec![event.clone(), bad]
}

/// Writes a time in one of the ways the contract allows.
fn write_time(world: &mut World, mut event: Value) -> Value {
    let Some(time) = event["event_time"].as_i64().filter(|time| *time >= 0) else { return event };
    let text = match world.dice.below(4) {
        0 => return event,
        1 => format!("{}+05:30", clock::format(time + 330 * 60_000).trim_end_matches('Z')),
        2 => format!("{}-03:00", clock::format(time - 180 * 60_000).trim_end_matches('Z')),
        _ => clock::format(time),
    };
    event["event_time"] = text.into();
    event
}
