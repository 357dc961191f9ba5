//! What is said about why.

use super::*;

#[test]
fn causes_are_found_by_group_and_window() {
    let mut job = Job::new();
    let agents = ["ann", "bob", "cat", "dan", "eve"];
    job.hours(&agents.map(|agent| (agent, 3, 1)));
    job.commit(at(24));
    let hour = (at(3), at(4) - 1);
    job.causes.add([
        cause("ann", (at(3), at(3)), CauseKind::Time, 0..0),
        cause("ann", (at(2), at(3)), CauseKind::Events, 0..2),
        cause("ann", hour, CauseKind::Prediction, 1..3),
        // Before the window, and from its end on.
        cause("bob", (at(1), at(3) - 1), CauseKind::Events, 0..2),
        cause("bob", (at(4), at(5)), CauseKind::Events, 0..2),
        cause("cat", hour, CauseKind::Time, 0..0),
        cause("dan", hour, CauseKind::Prediction, 0..40),
        cause("dan", hour, CauseKind::Time, 0..0),
    ]);
    job.hours(&agents.map(|agent| (agent, 3, 2)));
    job.commit(at(24));
    let of = |agent| explanation(&job.memory, 2, Some(agent));
    let events = r#"[["crm","e000"],["crm","e001"],["crm","e002"]]"#;
    assert_eq!(of("ann"), ("events".to_owned(), 3, Some(events.to_owned())));
    assert_eq!(of("bob"), ("unknown".to_owned(), 0, None));
    assert_eq!(of("cat"), ("time".to_owned(), 0, None));
    assert_eq!(of("eve"), ("unknown".to_owned(), 0, None));
    let (kind, count, events) = of("dan");
    let events: Vec<[String; 2]> = serde_json::from_str(&events.unwrap()).unwrap();
    assert_eq!((kind.as_str(), count, events.len(), events[19][1].as_str()), ("prediction", 40, 20, "e019"));
    // They explain one commit only.
    job.hours(&agents.map(|agent| (agent, 3, 3)));
    job.commit(at(24));
    assert_eq!(explanation(&job.memory, 3, Some("ann")).0, "unknown");
}

#[test]
fn causes_of_a_fine_group_explain_tables_of_coarser_ones() {
    let mut job = Job::new();
    let day = |count| vec![(Cell { day: DAY, window_start_ms: at(0), group: group("") }, replies(count))];
    job.write(DAYS, day(1));
    job.commit(at(24));
    job.causes.add([cause("ann", (at(5), at(6)), CauseKind::Events, 0..1)]);
    job.write(DAYS, day(2));
    job.commit(at(24));
    assert_eq!(explanation(&job.memory, 2, None), ("events".to_owned(), 1, Some(r#"[["crm","e000"]]"#.to_owned())));
}

#[test]
fn causes_are_gathered_for_what_the_last_commit_closed() {
    let mut job = Job::new();
    assert!(!job.causes.concern(at(0)));
    job.hours(&[("ann", 0, 2)]);
    job.commit(at(12));
    assert!(job.causes.concern(at(11)) && !job.causes.concern(at(12)));
    let file = Symbol::new("events.ndjson");
    assert!(job.causes.is_news(file), "what this run reads anew is news");
    let next = Job::open(&job.memory, "b");
    assert!(next.causes.concern(at(11)) && !next.causes.is_news(file));
}
