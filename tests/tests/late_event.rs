//! One late event on a state of a million events: it is the work of one conversation and of its own cells.

use contactflow_benches::late_event::measure;

/// Conversations of nine events each.
const CONVERSATIONS: u64 = 111_112;
const REPEATS: u64 = 20;

#[test]
fn a_late_event_touches_one_conversation_and_its_cells() {
    let measured = timely::execute_directly(|worker| measure(worker, CONVERSATIONS, REPEATS));
    assert_eq!(measured.conversations_evaluated, REPEATS, "a late event concerns its own conversation");
    // Its hour, and the hour of the reply that it comes before: nothing else of a finest cell changes.
    let cells = measured.cells_changed;
    assert!((REPEATS..=4 * REPEATS).contains(&cells), "{cells} cells for {REPEATS} late events");
}
