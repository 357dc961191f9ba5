//! Disorder adds and delays deliveries, at known rates, and changes no event underneath.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn disorderly() -> GenerateOptions {
    GenerateOptions { conversations: 5_000, disorder: true, text: true, ..small() }
}

fn id_of(row: &Value) -> (String, String) {
    (str_of(row, "source").to_owned(), str_of(row, "event_id").to_owned())
}

/// The row without its arrival.
fn content(row: &Value) -> Value {
    let mut content = row.clone();
    content.as_object_mut().unwrap().remove("ingest_time");
    content
}

#[test]
fn rates_are_as_promised() {
    let truth = DataSet::new(&GenerateOptions { conversations: 30_000, text: false, ..disorderly() }).truth;
    let per_event = |count: u64| count as f64 / truth.events as f64;
    for (name, count, expected) in [
        ("duplicates", truth.duplicates, 0.005),
        ("late", truth.late, 0.01),
        ("edits", truth.edits, 0.002),
        ("retracts", truth.retracts, 0.001),
        ("malformed", truth.malformed, 0.0005),
    ] {
        let rate = per_event(count);
        assert!((0.6 * expected..1.5 * expected).contains(&rate), "{name}: {rate} instead of {expected}");
    }
    assert!(truth.rating_revisions > 20, "{truth:?}");
}

#[test]
fn events_underneath_are_those_without_disorder() {
    let orderly: BTreeSet<String> = DataSet::new(&GenerateOptions { disorder: false, ..disorderly() })
        .rows()
        .iter()
        .map(|row| content(row).to_string())
        .collect();
    let disorderly: BTreeSet<String> =
        DataSet::new(&disorderly()).rows().iter().map(|row| content(row).to_string()).collect();
    assert!(orderly.is_subset(&disorderly));
}

#[test]
fn equal_ids_have_equal_content_but_for_retracts() {
    let mut contents: BTreeMap<(String, String), Value> = BTreeMap::new();
    let mut repeated = 0;
    for row in DataSet::new(&disorderly()).rows() {
        let identified = row["op"] == "assert" && !row["event_id"].is_null();
        if identified && let Some(first) = contents.insert(id_of(&row), content(&row)) {
            assert_eq!(first, content(&row));
            repeated += 1;
        }
    }
    assert!(repeated > 50);
}

#[test]
fn retracts_follow_what_they_retract() {
    let mut asserted = BTreeSet::new();
    let mut retracts = 0;
    for row in DataSet::new(&disorderly()).rows() {
        if row["op"] == "retract" {
            assert!(asserted.contains(&id_of(&row)), "{row}");
            retracts += 1;
        } else {
            asserted.insert(id_of(&row));
        }
    }
    assert!(retracts > 10);
}

#[test]
fn edits_and_revisions_have_something_to_change() {
    let rows = DataSet::new(&disorderly()).rows();
    let of_type = |event_type: &'static str, column: &'static str| -> BTreeSet<(&str, &str)> {
        let rows = rows.iter().filter(|row| is(row, event_type));
        rows.map(|row| (str_of(row, "conversation_id"), str_of(row, column))).collect()
    };
    assert!(of_type("message_edited", "message_id").is_subset(&of_type("message_created", "message_id")));
    let mut ratings: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
    for row in rows.iter().filter(|row| is(row, "csat_rated")) {
        ratings.entry(str_of(row, "survey_id")).or_default().extend(row["rating"].as_i64());
    }
    assert!(ratings.values().any(|revisions| revisions.len() > 1));
    assert!(ratings.values().flatten().all(|rating| (1..=5).contains(rating)));
}

#[test]
fn deliveries_are_out_of_order_but_files_are_dated_by_arrival() {
    let data = DataSet::new(&disorderly());
    let mut displaced = 0;
    for (path, lines) in data.event_files() {
        let rows = ndjson_rows(lines);
        let date = &path["events/date=".len()..][..10];
        assert!(rows.iter().all(|row| str_of(row, "ingest_time").starts_with(date)));
        displaced += rows.iter().filter(|row| !str_of(row, "event_time").starts_with(date)).count();
    }
    assert!(displaced > 100, "{displaced}");
}
