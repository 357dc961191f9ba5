//! Every order of deliveries gives the same net result.

use contactflow_schemas::event::{Body, Event};

use super::*;

fn conversation(name: &str) -> ConversationKey {
    ConversationKey { tenant: Symbol::new("t"), conversation: Symbol::new(name) }
}

fn delivery(version: i64, content: u64, row: u64, place: Option<&str>) -> Delivery {
    let origin = Origin { file: Symbol::new("ledger-test"), row };
    let source = Symbol::new("s");
    let time_ms = 1_000 + content as i64;
    let event = Event {
        source,
        event_id: "e".into(),
        time_ms,
        channel: None,
        actor_type: None,
        actor: None,
        contact: None,
        queue: None,
        team: None,
        ingest_ms: None,
        home: None,
        body: Body::Handoff { fallback: false },
        origin,
    };
    let statement = match place {
        Some(place) => Statement::Happened(conversation(place), Box::new(event)),
        None => Statement::Retracted { source, event_id: "e".into() },
    };
    let time_ms = place.map(|_| time_ms);
    Delivery { key: EventKey::of("t", "s", "e"), version, content, time_ms, ingest_ms: None, statement, origin }
}

fn malformed(version: i64) -> RejectedRow {
    let reject = Reject {
        file: Symbol::new("ledger-test"),
        row: 99,
        reason: Reason::BadTime,
        field: "event_time".to_owned(),
        message: String::new(),
        tenant: None,
        source: None,
        event_id: None,
        raw: None,
    };
    RejectedRow { key: Some(EventKey::of("t", "s", "e")), version, reject }
}

/// Standing events by conversation, standing rejects, latest event time.
type Net = (Vec<(String, u64)>, Vec<(Reason, u64)>, Option<TimeMs>);

/// Net state after `deliveries`: per conversation whether the event is there, and the rejects that stand. Also the
/// deliveries that changed the ledger.
fn net(deliveries: &[Option<Delivery>]) -> (Net, Vec<Option<Delivery>>) {
    let mut ledger = Ledger::default();
    let mut effects = Effects::default();
    let mut journal = Vec::new();
    for delivery in deliveries {
        let is_new = match delivery {
            Some(delivery) => ledger.deliver(delivery.clone(), &mut effects),
            None => ledger.reject(malformed(1), &mut effects),
        };
        journal.extend(is_new.then(|| delivery.clone()));
    }
    let mut places: std::collections::BTreeMap<String, u64> = Default::default();
    for (conversation, change) in effects.changes {
        let name = conversation.conversation.to_string();
        match change {
            Change::Put(event) => places.insert(name, event.origin.row),
            Change::Remove { .. } => places.remove(&name),
        };
    }
    let mut rejects: std::collections::BTreeMap<(Reason, u64), isize> = Default::default();
    for (reject, diff) in effects.rejects {
        *rejects.entry((reject.reason, reject.row)).or_default() += diff;
    }
    assert!(rejects.values().all(|count| (0..=1).contains(count)), "{rejects:?}");
    let rejects = rejects.into_iter().filter(|(_, count)| *count == 1).map(|(key, _)| key).collect();
    ((places.into_iter().collect(), rejects, ledger.latest_ms()), journal)
}

fn permutations(items: &[Option<Delivery>]) -> Vec<Vec<Option<Delivery>>> {
    if items.len() <= 1 {
        return vec![items.to_vec()];
    }
    let mut all = Vec::new();
    for first in 0..items.len() {
        let mut rest = items.to_vec();
        let head = rest.remove(first);
        for mut tail in permutations(&rest) {
            tail.insert(0, head.clone());
            all.push(tail);
        }
    }
    all
}

fn assert_order_free(deliveries: &[Option<Delivery>]) -> Net {
    let (expected, _) = net(deliveries);
    for order in permutations(deliveries) {
        let (found, journal) = net(&order);
        assert_eq!(found, expected, "{order:?}");
        let (restored, again) = net(&journal);
        assert_eq!(restored, expected, "the journal of {order:?} gives the same ledger");
        assert_eq!(again, journal, "and every row of it is needed in this order");
        let twice: Vec<_> = order.iter().chain(&order).cloned().collect();
        assert_eq!(net(&twice).1, journal, "what was delivered before is no news");
    }
    expected
}

#[test]
fn the_highest_version_stands_wherever_it_moved() {
    let (places, rejects, latest) = assert_order_free(&[
        Some(delivery(0, 7, 1, Some("a"))),
        Some(delivery(0, 7, 2, Some("a"))),
        Some(delivery(2, 9, 3, Some("b"))),
        Some(delivery(1, 8, 4, Some("a"))),
    ]);
    assert_eq!((places, rejects, latest), (vec![("b".to_owned(), 3)], vec![], Some(1_009)));
}

#[test]
fn a_retract_beats_an_assert_of_its_version_but_not_a_higher_one() {
    let retract = Some(delivery(1, 0, 5, None));
    let (places, _, latest) = assert_order_free(&[Some(delivery(1, 7, 1, Some("a"))), retract.clone()]);
    assert_eq!((places, latest), (vec![], None));
    let (places, _, _) = assert_order_free(&[retract, Some(delivery(2, 7, 1, Some("a")))]);
    assert_eq!(places.len(), 1);
}

#[test]
fn of_two_contents_the_smaller_stands_and_the_other_is_reported_once() {
    let (places, rejects, _) = assert_order_free(&[
        Some(delivery(0, 7, 1, Some("a"))),
        Some(delivery(0, 5, 2, Some("b"))),
        Some(delivery(0, 7, 3, Some("a"))),
    ]);
    assert_eq!(places, vec![("b".to_owned(), 2)]);
    assert_eq!(rejects, vec![(Reason::DuplicateConflict, 1)]);
}

#[test]
fn a_valid_delivery_takes_rejects_and_conflicts_back() {
    let (_, rejects, _) = assert_order_free(&[
        Some(delivery(0, 7, 1, Some("a"))),
        Some(delivery(0, 5, 2, Some("a"))),
        None,
        Some(delivery(1, 4, 3, Some("a"))),
    ]);
    assert_eq!(rejects, vec![]);
    let (_, rejects, _) = assert_order_free(&[None, Some(delivery(0, 7, 1, Some("a")))]);
    assert_eq!(rejects, vec![(Reason::BadTime, 99)], "a lower version does not correct it");
}
