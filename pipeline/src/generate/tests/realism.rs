//! Volumes, durations and moods as a contact centre has them.

use std::collections::BTreeMap;

use super::*;
use crate::generate::time::{hour_of_week, is_weekend};

fn calm() -> GenerateOptions {
    GenerateOptions { conversations: 12_000, agents: 40, days: 28, incidents: false, ..small() }
}

fn by_conversation(rows: &[Value]) -> BTreeMap<&str, Vec<&Value>> {
    let mut conversations: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row["conversation_id"].is_null()) {
        conversations.entry(str_of(row, "conversation_id")).or_default().push(row);
    }
    conversations
}

fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values[values.len() / 2]
}

#[test]
fn conversations_have_about_nine_events() {
    let truth = DataSet::new(&calm()).truth;
    let mean = truth.events as f64 / truth.conversations as f64;
    assert!((8.4..10.0).contains(&mean), "{mean}");
}

#[test]
fn volume_follows_hour_and_weekday() {
    let rows = DataSet::new(&calm()).rows();
    let (mut by_hour, mut weekend, mut total) = ([0_u32; 24], 0, 0);
    for row in rows.iter().filter(|row| is(row, "conversation_created")) {
        let time_ms = time_of(row, "event_time");
        by_hour[hour_of_week(time_ms) % 24] += 1;
        weekend += u32::from(is_weekend(time_ms));
        total += 1;
    }
    assert!(by_hour[10] > 8 * by_hour[3], "{by_hour:?}");
    // Two of seven days, at well below half of the volume.
    let share = f64::from(weekend) / f64::from(total);
    assert!((0.08..0.2).contains(&share), "{share}");
}

#[test]
fn first_replies_take_as_long_as_their_channel_does() {
    let rows = DataSet::new(&calm()).rows();
    let mut waits_ms: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for events in by_conversation(&rows).values() {
        let answered = |row: &&&Value| match str_of(row, "channel") {
            "voice" => is(row, "segment_started"),
            _ => is_reply(row),
        };
        if let Some(answer) = events.iter().find(answered) {
            let waited_ms = time_of(answer, "event_time") - time_of(events[0], "event_time");
            waits_ms.entry(str_of(answer, "channel")).or_default().push(waited_ms);
        }
    }
    let medians_s: BTreeMap<&str, i64> =
        waits_ms.into_iter().map(|(channel, waits)| (channel, median(waits) / 1_000)).collect();
    for (channel, range) in [("chat", 40..110), ("email", 7_000..30_000), ("social", 1_200..4_500), ("voice", 10..40)] {
        assert!(range.contains(&medians_s[channel]), "{channel}: {medians_s:?}");
    }
}

#[test]
fn conversations_are_causal() {
    let rows = DataSet::new(&small()).rows();
    for (id, events) in by_conversation(&rows) {
        assert!(is(events[0], "conversation_created"), "{id}");
        assert!(events.windows(2).all(|pair| time_of(pair[0], "event_time") < time_of(pair[1], "event_time")), "{id}");
        assert!(events.windows(2).all(|pair| str_of(pair[0], "event_id") < str_of(pair[1], "event_id")), "{id}");
        let mut status = "open";
        let (mut queued, mut talking, mut asked, mut surveys) = (false, false, false, 0);
        for event in events {
            match str_of(event, "event_type") {
                "status_changed" => {
                    assert_eq!(str_of(event, "from_status"), status, "{event}");
                    status = str_of(event, "to_status");
                }
                "queued" => assert!(!std::mem::replace(&mut queued, true), "{event}"),
                "dequeued" => assert!(std::mem::take(&mut queued), "{event}"),
                "segment_started" => assert!(!std::mem::replace(&mut talking, true), "{event}"),
                "segment_ended" => assert!(std::mem::take(&mut talking), "{event}"),
                "csat_sent" => surveys += 1,
                "csat_rated" => assert!(surveys > 0, "{event}"),
                "message_created" if event["channel"] == "voice" => assert!(talking, "{event}"),
                "message_created" if is_customer_message(event) => asked = true,
                "message_created" => assert!(asked, "{event}"),
                _ => {}
            }
        }
    }
}

#[test]
fn segments_last_as_long_as_they_say() {
    let rows = DataSet::new(&small()).rows();
    let mut started = BTreeMap::new();
    for row in &rows {
        if is(row, "segment_started") {
            started.insert(str_of(row, "segment_id"), time_of(row, "event_time"));
        } else if is(row, "segment_ended") {
            let lasted_ms = time_of(row, "event_time") - started[str_of(row, "segment_id")];
            assert_eq!(row["duration_ms"].as_i64(), Some(lasted_ms));
        }
    }
    assert!(started.len() > 500);
}

#[test]
fn a_few_conversations_reopen_stay_open_or_go_unanswered() {
    let rows = DataSet::new(&calm()).rows();
    let conversations = by_conversation(&rows);
    let share = |holds: &dyn Fn(&[&Value]) -> bool| {
        conversations.values().filter(|events| holds(events)).count() as f64 / conversations.len() as f64
    };
    let resolved = |row: &&&Value| row["to_status"] == "resolved";
    let reopened = share(&|events| events.iter().any(|row| row["to_status"] == "open"));
    let open =
        share(&|events| events.iter().rev().find(|row| is(row, "status_changed")).iter().all(|row| !resolved(row)));
    let ignored = share(&|events| {
        !events.iter().any(|row| is_reply(row) || row["actor_type"] == "bot" || is(row, "segment_started"))
    });
    assert!((0.03..0.09).contains(&reopened), "{reopened}");
    assert!((0.02..0.12).contains(&open), "{open}");
    assert!((0.01..0.12).contains(&ignored), "{ignored}");
}

#[test]
fn ratings_fall_with_the_wait() {
    let rows = DataSet::new(&calm()).rows();
    let (mut quick, mut slow) = (Vec::new(), Vec::new());
    for events in by_conversation(&rows).values() {
        let (Some(rated), Some(reply)) =
            (events.iter().find(|row| is(row, "csat_rated")), events.iter().find(|row| is_reply(row)))
        else {
            continue;
        };
        if rated["channel"] == "email" {
            let waited_ms = time_of(reply, "event_time") - time_of(events[0], "event_time");
            let side = if waited_ms < 2 * 3_600_000 {
                &mut quick
            } else if waited_ms > 12 * 3_600_000 {
                &mut slow
            } else {
                continue;
            };
            side.push(rated["rating"].as_i64().unwrap());
        }
    }
    let mean = |ratings: &[i64]| ratings.iter().sum::<i64>() as f64 / ratings.len() as f64;
    assert!(quick.len() > 30 && slow.len() > 30, "{} {}", quick.len(), slow.len());
    assert!(mean(&quick) > mean(&slow) + 0.3, "{} {}", mean(&quick), mean(&slow));
}

#[test]
fn agents_are_present_in_their_shifts_and_never_twice() {
    let rows = DataSet::new(&calm()).rows();
    let mut by_agent: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for row in rows.iter().filter(|row| is(row, "agent_status_changed")) {
        by_agent.entry(str_of(row, "agent_id")).or_default().push(row);
    }
    assert_eq!(by_agent.len(), 40);
    for changes in by_agent.values() {
        assert!(changes.is_sorted_by_key(|row| time_of(row, "event_time")));
        // Five of seven days, six changes each: two weeks at least.
        assert!(changes.len() >= 60, "{}", changes.len());
        for shift in changes.chunks_exact(6) {
            let statuses: Vec<&str> = shift.iter().map(|row| str_of(row, "status")).collect();
            assert_eq!(statuses, ["available", "busy", "available", "away", "available", "offline"]);
            let length_ms = time_of(shift[5], "event_time") - time_of(shift[0], "event_time");
            assert!(length_ms < 15 * 3_600_000, "{length_ms}");
        }
    }
}

#[test]
fn a_quarter_of_the_customers_has_a_promise_which_changes_once() {
    let rows = DataSet::new(&calm()).rows();
    let applied = rows.iter().filter(|row| is(row, "sla_applied")).count() as f64;
    assert!((0.2..0.3).contains(&(applied / 12_000.0)), "{applied}");
    let mut versions: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for row in rows.iter().filter(|row| is(row, "sla_policy_upserted") || is(row, "calendar_upserted")) {
        let id = if is(row, "calendar_upserted") { "calendar_id" } else { "policy_id" };
        versions.entry(str_of(row, id)).or_default().push(time_of(row, "event_time"));
    }
    let counts: Vec<(&str, usize)> = versions.iter().map(|(id, times)| (*id, times.len())).collect();
    assert_eq!(counts, [("cal-centre", 1), ("cal-email", 2), ("sla-letters", 2), ("sla-live", 1)]);
    assert!(versions.values().all(|times| times.is_sorted_by(|left, right| left < right)));
}
