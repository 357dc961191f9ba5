//! Histories of most of a year, in chapters a quarter apart: what an early chapter told is long over when a later one is
//! delivered, and now and then is told on all the same.

use super::dice::Dice;
use super::{START_MS, Size, World, deliveries, dimensions, renumbered, story};
use crate::model::DAY_MS;
use crate::oracle::Row;
use serde_json::Value;

/// From one chapter to the next.
const CHAPTER_MS: i64 = 80 * DAY_MS;

/// A history in `chapters`, each of which is a file of its own.
pub fn chapters(seed: u64, size: Size, chapters: u64) -> Vec<Row> {
    let mut world = World::new(seed);
    let mut rows: Vec<Row> = Vec::new();
    for chapter in 0..chapters {
        begin(&mut world, chapter);
        let mut events: Vec<Value> = Vec::new();
        for number in 0..1 + world.dice.below(size.conversations) {
            // A conversation of an earlier chapter, now and then.
            let of = if world.dice.chance(120) { world.dice.below(chapter + 1) } else { chapter };
            events.extend(story::conversation(&mut world, of * size.conversations + number, size.events));
        }
        events.extend(dimensions::around(&mut world));
        events.sort_by_key(|event| event["event_time"].as_i64());
        let delivered = deliveries::deliver(&mut world, events, size.noise);
        rows.extend(delivered.into_iter().map(|row| Row { file: file_of(chapter), ..row }));
    }
    let late = |row: Row| Row { file: delivered_in(&mut world.dice, chapters).unwrap_or(row.file.clone()), ..row };
    rows = rows.into_iter().map(late).collect();
    rows.sort_by(|left, right| left.file.cmp(&right.file));
    renumbered(rows)
}

/// What hangs in the balance from earlier chapters is forgotten, mostly.
fn begin(world: &mut World, chapter: u64) {
    world.start = START_MS + chapter as i64 * CHAPTER_MS;
    if world.dice.chance(900) {
        world.moments = vec![world.start];
        for moments in [&mut world.deadlines, &mut world.weeks, &mut world.months, &mut world.resolves] {
            moments.clear();
        }
    }
}

fn file_of(chapter: u64) -> String {
    format!("part-{chapter}.ndjson")
}

/// A few rows come with the last chapters, wherever they belong.
fn delivered_in(dice: &mut Dice, chapters: u64) -> Option<String> {
    dice.chance(8).then(|| file_of(chapters - 1 - dice.below(2)))
}
