//! Planted incidents, as they show in the raw rows.

use super::*;
use crate::generate::{Incident, IncidentKind};

const HOUR_MS: i64 = 3_600_000;
const WEEK_MS: i64 = 7 * 24 * HOUR_MS;

fn planted() -> GenerateOptions {
    GenerateOptions { conversations: 16_000, agents: 30, days: 28, ..small() }
}

fn of_kind(truth: &Truth, kind: IncidentKind) -> Vec<&Incident> {
    let incidents: Vec<&Incident> = truth.incidents.iter().filter(|incident| incident.kind == kind).collect();
    assert!(!incidents.is_empty());
    incidents
}

/// Rows of the incident's channel in its window, shifted by `shift_ms`, for which `holds`.
fn count(rows: &[Value], incident: &Incident, shift_ms: i64, holds: impl Fn(&Value) -> bool) -> usize {
    let window = incident.start_ms + shift_ms..incident.end_ms + shift_ms;
    let on_channel = rows.iter().filter(|row| row["channel"] == *incident.channel);
    on_channel.filter(|row| window.contains(&time_of(row, "event_time")) && holds(row)).count()
}

#[test]
fn silent_channels_are_silent_even_in_disorder() {
    let data = DataSet::new(&GenerateOptions { disorder: true, ..planted() });
    // A bad time is no time to compare.
    let rows: Vec<Value> =
        data.rows().into_iter().filter(|row| DateTime::parse_from_rfc3339(str_of(row, "event_time")).is_ok()).collect();
    for incident in of_kind(&data.truth, IncidentKind::SilentChannel) {
        assert_eq!(count(&rows, incident, 0, |_| true), 0, "{incident:?}");
        assert!(count(&rows, incident, -WEEK_MS, |_| true) > 100, "{incident:?}");
    }
}

#[test]
fn nobody_is_answered_in_an_outage() {
    let data = DataSet::new(&planted());
    let rows = data.rows();
    for incident in of_kind(&data.truth, IncidentKind::QueueOutage) {
        let is_answer = |row: &Value| {
            is_reply(row) || row["actor_type"] == "bot" && is(row, "message_created") || row["reason"] == "answered"
        };
        assert_eq!(count(&rows, incident, 0, is_answer), 0, "{incident:?}");
        assert!(count(&rows, incident, -WEEK_MS, is_answer) > 10, "{incident:?}");
        assert!(
            count(&rows, incident, 0, |row| is(row, "conversation_created")) > 20,
            "customers keep coming: {incident:?}"
        );
    }
}

#[test]
fn bursts_are_large_and_angry() {
    let data = DataSet::new(&planted());
    let rows = data.rows();
    for incident in of_kind(&data.truth, IncidentKind::AngryBurst) {
        let created = |row: &Value| is(row, "conversation_created");
        let (now, usual) = (count(&rows, incident, 0, created), count(&rows, incident, -WEEK_MS, created));
        assert!(now as f64 > 1.9 * usual as f64 && usual > 5, "{now} instead of {usual}: {incident:?}");
        let window = incident.start_ms..incident.end_ms;
        let angry: Vec<&str> = rows
            .iter()
            .filter(|row| {
                created(row) && row["channel"] == *incident.channel && window.contains(&time_of(row, "event_time"))
            })
            .map(|row| str_of(row, "conversation_id"))
            .collect();
        let ratings: Vec<i64> = rows
            .iter()
            .filter(|row| is(row, "csat_rated") && angry.contains(&str_of(row, "conversation_id")))
            .filter_map(|row| row["rating"].as_i64())
            .collect();
        assert!(ratings.iter().sum::<i64>() < 3 * ratings.len() as i64, "{ratings:?}");
    }
}

#[test]
fn slow_agents_are_slow_on_their_days() {
    let data = DataSet::new(&GenerateOptions { conversations: 20_000, ..planted() });
    let rows = data.rows();
    for incident in of_kind(&data.truth, IncidentKind::SlowAgent) {
        let agent = incident.agent_id.as_deref().unwrap();
        let (within_ms, others_ms) = wait_medians(&rows, incident, agent);
        assert!(within_ms > 2 * others_ms, "{within_ms} ms instead of {others_ms} ms: {incident:?}");
    }
}

/// Median time from the conversation's start to the agent's first reply: of conversations that start within the
/// incident, and of all others.
fn wait_medians(rows: &[Value], incident: &Incident, agent: &str) -> (i64, i64) {
    let mut started = std::collections::BTreeMap::new();
    let (mut within, mut others) = (Vec::new(), Vec::new());
    for row in rows.iter().filter(|row| row["channel"] == *incident.channel) {
        let (id, time_ms) = (str_of(row, "conversation_id"), time_of(row, "event_time"));
        if is(row, "conversation_created") {
            started.insert(id, time_ms);
        } else if is_reply(row) {
            let Some(start_ms) = started.remove(id) else { continue };
            if row["actor_id"] == agent {
                let side =
                    if (incident.start_ms..incident.end_ms).contains(&start_ms) { &mut within } else { &mut others };
                side.push(time_ms - start_ms);
            }
        }
    }
    let median = |values: &mut Vec<i64>| {
        values.sort_unstable();
        values[values.len() / 2]
    };
    (median(&mut within), median(&mut others))
}

#[test]
fn without_incidents_there_are_none() {
    let data = DataSet::new(&GenerateOptions { incidents: false, conversations: 100, ..small() });
    assert!(data.truth.incidents.is_empty());
}
