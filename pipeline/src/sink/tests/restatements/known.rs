//! What was known at an earlier commit.

use std::collections::BTreeMap;

use contactflow_schemas::aggregate::KPI_COLUMNS;

use super::*;
use crate::sink::tests::rows;

/// A value by agent, hour and column; what is not there counts as 0.
fn values(memory: &Memory) -> BTreeMap<(String, i64, String), f64> {
    let batch = read(body(memory, &Partition::of_day(HOURS, DAY, 0).slot()));
    let start = batch.column_by_name("window_start").unwrap().as_primitive::<TimestampMillisecondType>();
    let mut values = BTreeMap::new();
    for row in 0..batch.num_rows() {
        let agent = text(&batch, "agent_id", row).unwrap_or_default();
        let hour = (start.value(row) - at(0)) / HOUR_MS;
        for column in &*KPI_COLUMNS {
            let array =
                arrow::compute::cast(batch.column_by_name(&column.name).unwrap(), &arrow::datatypes::DataType::Float64);
            let array = array.unwrap();
            let array = array.as_primitive::<Float64Type>();
            if array.is_valid(row) && array.value(row) != 0.0 {
                values.insert((agent.clone(), hour, column.name.clone()), array.value(row));
            }
        }
    }
    values
}

/// Makes eight commits of which each closes one more hour and changes others at random, with a restart between; shows
/// each of them: number, hours that are closed, what it restates.
fn changing_history(job: &mut Job, mut show: impl FnMut(&Memory, u64, i64, Vec<Found>)) {
    let mut random = 1_u64;
    for commit in 1..=8_u64 {
        let mut cells = Vec::new();
        for agent in ["", "bob", "cat", "dan"] {
            for hour in 0..12 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let kind = random >> 60;
                if kind < 3 {
                    let tally = rows::tally((random >> 50) as i64 % 3 * 1_000 + 1, kind == 1);
                    cells.push((Cell { day: DAY, window_start_ms: at(hour), group: group(agent) }, tally));
                }
            }
        }
        job.write(HOURS, cells);
        let closed_hours = commit as i64 + 3;
        let restated = job.commit(at(closed_hours));
        show(&job.memory, commit, closed_hours, restated);
        if commit == 5 {
            *job = Job::open(&job.memory, "b");
        }
    }
}

#[test]
fn what_was_known_at_any_commit_can_be_told() {
    let (mut states, mut restated) = (Vec::new(), Vec::new());
    changing_history(&mut Job::new(), |memory, commit, closed_hours, found| {
        states.push((commit as i64, closed_hours, values(memory)));
        restated.extend(found);
    });
    let present = states.last().unwrap().2.clone();
    for (commit, closed_hours, state) in &states {
        let mut known = present.clone();
        // Later restatements first, so that the earliest has the last word.
        for (_, _, agent, hour, column, old, _) in restated.iter().rev().filter(|row| row.0 > *commit) {
            known.insert((agent.clone().unwrap_or_default(), *hour, column.clone()), old.unwrap_or(0.0));
        }
        known.retain(|(_, hour, _), value| hour < closed_hours && *value != 0.0);
        let mut state = state.clone();
        state.retain(|(_, hour, _), _| hour < closed_hours);
        assert_eq!(known, state, "commit {commit}");
    }
}

/// Writes that history, and the table after each commit below `known/`, for a check with SQL.
#[test]
#[ignore = "writes files for outside readers into $CONTACTFLOW_SINK_OUT"]
fn history_for_outside_readers() {
    let Some(folder) = std::env::var_os("CONTACTFLOW_SINK_OUT") else {
        return;
    };
    let folder = std::path::PathBuf::from(folder);
    let write = |name: &str, body: Bytes| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, body).unwrap();
    };
    changing_history(&mut Job::new(), |memory, commit, _, _| {
        memory.names().iter().for_each(|name| write(name, body(memory, name)));
        write(&format!("known/{commit}.parquet"), body(memory, &Partition::of_day(HOURS, DAY, 0).slot()));
    });
}
