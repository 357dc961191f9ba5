//! When the quality of a cycle is asked for, and about what.

use contactflow_schemas::facts::Group;

use super::*;

const ROUND: u64 = 10;

fn key() -> CycleKey {
    let [tenant, conversation, channel] = ["t", "c", "chat"].map(Symbol::new);
    CycleKey { conversation: ConversationKey { tenant, conversation }, cycle: 1, day: 0, channel }
}

/// A turn at a time; every other is the customer's. Without `scored` the model has failed on it.
fn turn(time_ms: TimeMs, scored: bool) -> Item {
    let tenant = Symbol::new("t");
    let group = Group { tenant, channel: Some(Symbol::new("chat")), agent: None, team: None, queue: None };
    let sentiment = Sentiment::most_probable(1_000, 2_000, 7_000);
    Item::Answered(Box::new(AnsweredTurn {
        time_ms,
        source: Symbol::new("s"),
        event_id: format!("e{time_ms}").into(),
        place: Place { time_ms, group },
        speaker: if time_ms % 2 == 0 { Speaker::Customer } else { Speaker::Agent },
        chars: 3,
        text: TextKey(time_ms as u128),
        scored: scored.then(|| (sentiment, vec![time_ms as i8].into())),
    }))
}

struct Bench(Store);

impl Bench {
    fn new() -> Self {
        let causes = Causes::default();
        Self(Store { cycles: HashMap::default(), changed: HashMap::default(), with_quality: true, causes })
    }

    fn feed(&mut self, epoch: Epoch, items: Vec<(Item, isize)>) {
        self.0.process(epoch, items.into_iter().map(|(item, diff)| ((key(), item), diff)).collect());
    }

    /// The times of the turns asked about when everything before `now` is over.
    fn asked(&mut self, now: Epoch) -> Vec<Vec<u128>> {
        let requests = self.0.requests(|epoch| epoch / ROUND < now / ROUND);
        requests.into_iter().map(|request| request.turns.iter().map(|turn| turn.text.0).collect()).collect()
    }
}

#[test]
fn nothing_is_asked_while_a_turn_waits_and_nothing_within_a_round() {
    let mut bench = Bench::new();
    bench.feed(1, vec![(Item::Due, 3), (turn(2, true), 1), (turn(3, true), 1)]);
    assert!(bench.asked(100).is_empty(), "one turn has no answer yet");
    bench.feed(101, vec![(turn(4, true), 1)]);
    assert!(bench.asked(105).is_empty(), "the round goes on");
    bench.feed(105, vec![(Item::Due, 1), (turn(6, false), 1)]);
    assert_eq!(bench.asked(110), [vec![2, 3, 4]], "a turn that failed is waited for no longer, and left out");
    assert!(bench.asked(200).is_empty(), "once");
}

#[test]
fn a_retraction_goes_back_to_the_earlier_sequence() {
    let mut bench = Bench::new();
    bench.feed(1, vec![(Item::Due, 2), (turn(2, true), 1), (turn(3, true), 1)]);
    let first = bench.0.cycles[&key()].says(&key(), true).unwrap().sequence.unwrap();
    assert_eq!(bench.asked(10), [vec![2, 3]]);
    bench.feed(11, vec![(Item::Due, 1), (turn(5, true), 1)]);
    let longer = bench.0.cycles[&key()].says(&key(), true).unwrap().sequence.unwrap();
    assert_ne!(first.key, longer.key);
    assert_eq!(bench.asked(20), [vec![2, 3, 5]]);
    bench.feed(21, vec![(Item::Due, -1), (turn(5, true), -1)]);
    assert_eq!(bench.0.cycles[&key()].says(&key(), true).unwrap().sequence.unwrap(), first);
    bench.feed(31, vec![(Item::Due, -2), (turn(2, true), -1), (turn(3, true), -1)]);
    assert!(bench.0.cycles.is_empty(), "no trace is left");
}

#[test]
fn a_sequence_is_the_last_turns_with_the_time_between_them() {
    let mut bench = Bench::new();
    let turns = (1..=100).map(|number| (turn(number * number, true), 1));
    bench.feed(1, turns.chain([(Item::Due, 100)]).collect());
    let requests = bench.0.requests(|_| true);
    let turns = &requests[0].turns;
    assert_eq!(turns.len(), TURNS_MAX);
    assert_eq!((turns[0].text.0, turns[0].gap_ms), (37 * 37, 0));
    assert_eq!((turns[63].text.0, turns[63].gap_ms), (100 * 100, 100 * 100 - 99 * 99));
    assert_eq!(requests[0].key, ConversationScoreKey::of(turns));
}

#[test]
fn agents_alone_have_no_quality() {
    let mut bench = Bench::new();
    bench.feed(1, vec![(Item::Due, 1), (turn(3, true), 1)]);
    assert!(bench.asked(100).is_empty());
}
