//! Rows that change partition: no listing at any moment counts one twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use contactflow_schemas::tables::Table;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::PARQUET;
use super::memory::Memory;
use crate::sink::objects::Objects;
use crate::sink::{CommitInput, Committer, Partition, RowMoves};

const TABLE: Table = Table::ConversationFacts;
const DAYS: i32 = 4;

/// Row to day.
type State = BTreeMap<u32, i32>;

/// The rows of a day, one byte each: the stand-in for a file.
fn body(state: &State, day: i32) -> Vec<u8> {
    state.iter().filter(|&(_, &at)| at == day).map(|(&row, _)| row as u8).collect()
}

/// What a sink knows about the moves into and out of `day`.
fn moves(before: &State, after: &State, day: i32) -> RowMoves {
    let came = after.iter().any(|(row, &at)| at == day && before.get(row).is_some_and(|&at| at != day));
    let left = before.iter().any(|(row, &at)| at == day && after.get(row).is_some_and(|&at| at != day));
    match (came, left) {
        (true, true) => RowMoves::Unknown,
        (true, false) => RowMoves::NoneOut,
        (false, _) => RowMoves::NoneIn,
    }
}

fn watch(memory: &Memory) {
    memory.0.lock().unwrap().watch = Some(Box::new(|files| {
        let mut rows: Vec<u8> = Vec::new();
        for (_, (body, _)) in files.iter().filter(|(name, _)| name.starts_with(TABLE.name())) {
            rows.extend_from_slice(body);
        }
        let count = rows.len();
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), count, "a row is in two files");
    }));
}

fn hand_over(committer: &Committer, before: &State, after: &State) {
    for day in 0..DAYS {
        let rows = body(after, day);
        let partition = Partition::of_day(TABLE, day, 0);
        committer.writer().write(partition, moves(before, after, day), rows.len(), Bytes::from(rows));
    }
}

fn open(memory: &Arc<Memory>) -> Committer {
    Committer::open(Arc::clone(memory) as Arc<dyn Objects>, "/out", PARQUET, "a", &[]).unwrap()
}

#[test]
fn a_moved_row_is_never_counted_twice() {
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let memory = Arc::new(Memory::default());
        watch(&memory);
        let mut committer = open(&memory);
        let mut state = State::new();
        for _ in 0..8 {
            let before = state.clone();
            for _ in 0..random.random_range(1..6) {
                let row = random.random_range(0..12);
                if random.random_bool(0.2) {
                    state.remove(&row);
                } else {
                    state.insert(row, random.random_range(0..DAYS));
                }
            }
            hand_over(&committer, &before, &state);
            let fails = random.random_bool(0.3);
            memory.fail_after(fails.then(|| random.random_range(0..7)), random.random_bool(0.5));
            let input = CommitInput {
                epoch: 1,
                as_of_ms: None,
                committed_at_ms: 0,
                computed_at: Instant::now(),
                sources: vec![],
                settings: Default::default(),
                state: None,
            };
            let outcome = committer.commit(input);
            memory.fail_after(None, false);
            if outcome.is_err() && random.random_bool(0.5) {
                // The next run computes the whole state anew and knows of no moves.
                committer = open(&memory);
                hand_over(&committer, &State::new(), &state);
                continue;
            }
            if outcome.is_ok() {
                let expected: BTreeMap<_, _> =
                    (0..DAYS).map(|day| (day, body(&state, day))).filter(|(_, rows)| !rows.is_empty()).collect();
                let bodies: Vec<_> = memory.data().into_values().map(|body| body.to_vec()).collect();
                assert_eq!(bodies, expected.into_values().collect::<Vec<_>>());
            }
        }
    }
}
