//! Tests of the normaliser: each kind of bad row, and what redeliveries have in common.

use std::collections::BTreeMap;

use super::*;

/// A row as a map.
struct MapRow {
    values: BTreeMap<&'static str, RawValue<'static>>,
    present: Vec<Column>,
}

impl Row for MapRow {
    fn get(&self, column: Column) -> RawValue<'_> {
        self.values.get(column.name()).cloned().unwrap_or(RawValue::Null)
    }
    fn present(&self) -> &[Column] {
        &self.present
    }
    fn raw(&self) -> String {
        format!("{:?}", self.values)
    }
}

fn text_value(text: &str) -> RawValue<'static> {
    RawValue::Text(Cow::Owned(text.to_owned()))
}

fn row(changes: &[(&'static str, RawValue<'static>)]) -> MapRow {
    let mut values: BTreeMap<_, _> = [
        ("tenant_id", "t"),
        ("source", "chatwoot"),
        ("event_id", "e1"),
        ("event_type", "message_created"),
        ("event_time", "2024-03-01T10:00:00Z"),
        ("conversation_id", "c1"),
        ("channel", "chat"),
        ("actor_type", "customer"),
        ("message_id", "m1"),
        ("direction", "inbound"),
        ("text", "hello"),
    ]
    .into_iter()
    .map(|(name, text)| (name, text_value(text)))
    .collect();
    values.extend(changes.iter().cloned());
    let present = values.keys().filter_map(|name| Column::parse(name)).collect();
    MapRow { values, present }
}

fn origin() -> Origin {
    Origin { file: Symbol::new("events.ndjson"), row: 7 }
}

fn reason(changes: &[(&'static str, RawValue<'static>)]) -> (Reason, String) {
    let rejected = normalise(&row(changes), origin(), &Masking::default()).expect_err("the row is bad");
    assert_eq!((rejected.reject.file, rejected.reject.row), (origin().file, 7));
    assert!(rejected.reject.raw.is_some());
    (rejected.reject.reason, rejected.reject.field)
}

#[test]
fn each_fault_has_its_reason_and_field() {
    let null = RawValue::Null;
    let cases = [
        (vec![("tenant_id", null.clone())], Reason::MissingField, "tenant_id"),
        (vec![("event_id", text_value(""))], Reason::MissingField, "event_id"),
        (vec![("tenant_id", RawValue::Int(3))], Reason::BadType, "tenant_id"),
        (vec![("event_time", text_value("noon"))], Reason::BadTime, "event_time"),
        (vec![("event_time", RawValue::Bool(true))], Reason::BadTime, "event_time"),
        (vec![("event_time", text_value("9999-01-01T00:00:00Z"))], Reason::OutOfRange, "event_time"),
        (vec![("event_time", text_value("0000-01-01T00:00:00Z"))], Reason::OutOfRange, "event_time"),
        (vec![("event_type", text_value("message_teleported"))], Reason::UnknownEventType, "event_type"),
        (vec![("actor_type", text_value("ghost"))], Reason::UnknownEnum, "actor_type"),
        (vec![("op", text_value("upsert"))], Reason::UnknownEnum, "op"),
        (vec![("conversation_id", null.clone())], Reason::MissingField, "conversation_id"),
        (vec![("source_version", text_value("1"))], Reason::BadType, "source_version"),
        (vec![("event_type", text_value("status_changed"))], Reason::MissingField, "to_status"),
        (vec![("event_type", text_value("csat_rated")), ("rating", RawValue::Int(6))], Reason::OutOfRange, "rating"),
    ];
    for (changes, expected, field) in cases {
        assert_eq!(reason(&changes), (expected, field.to_owned()), "{changes:?}");
    }
}

#[test]
fn a_redelivery_has_the_same_content_whatever_its_form() {
    let first = normalise(&row(&[]), origin(), &Masking::default()).unwrap().delivery;
    let again = row(&[
        ("event_time", RawValue::Int(1_709_287_200_000)),
        ("ingest_time", text_value("2024-03-02T00:00:00Z")),
        ("source_version", RawValue::Int(0)),
    ]);
    let again = normalise(&again, origin(), &Masking::default()).unwrap().delivery;
    assert_eq!((first.key, first.content), (again.key, again.content));
    let changed = normalise(&row(&[("text", text_value("bye"))]), origin(), &Masking::default()).unwrap().delivery;
    assert_ne!(first.content, changed.content);
}

#[test]
fn a_retract_needs_its_identity_only() {
    let mut retract = row(&[("op", text_value("retract"))]);
    for name in ["event_type", "event_time", "conversation_id"] {
        retract.values.remove(name);
    }
    let delivery = normalise(&retract, origin(), &Masking::default()).unwrap().delivery;
    assert!(matches!(delivery.statement, Statement::Retracted { .. }), "{delivery:?}");
}

#[test]
fn ratings_are_scaled_to_five() {
    let scaled = |rating, scale| {
        let changes = [("event_type", text_value("csat_rated")), ("rating", rating), ("rating_scale", scale)];
        let statement = normalise(&row(&changes), origin(), &Masking::default()).unwrap().delivery.statement;
        let Statement::Happened(_, event) = statement else { panic!("{statement:?}") };
        let Body::Rated { csat_millionths, .. } = event.body else { panic!("{event:?}") };
        csat_millionths
    };
    assert_eq!(scaled(RawValue::Int(4), RawValue::Null), 4_000_000);
    assert_eq!(scaled(RawValue::Int(1), RawValue::Int(2)), 1_000_000);
    assert_eq!(scaled(RawValue::Int(2), RawValue::Int(2)), 5_000_000);
    assert_eq!(scaled(RawValue::Int(7), RawValue::Int(10)), 3_666_667);
    assert_eq!(scaled(RawValue::Float(4.5), RawValue::Int(5)), 4_500_000);
}

#[test]
fn notes_and_bots_are_not_sent_to_the_model() {
    let text = |changes: &[_]| normalise(&row(changes), origin(), &Masking::default()).unwrap().text;
    assert_eq!(text(&[]).unwrap().text, "hello");
    assert!(text(&[("visibility", text_value("private"))]).is_none());
    assert!(text(&[("actor_type", text_value("bot"))]).is_none());
    assert!(text(&[("text", text_value(" \n"))]).is_none());
}
