//! Many restatements: the bound, and what they cost.

use contactflow_schemas::catalogue::CATALOGUE;

use super::*;
use crate::sink::restate::RESTATEMENTS_MAX;
use crate::sink::tests::rows;

/// Cells of a day with `rows::cells`, every reply time shifted.
fn shifted(agents: usize, by: i64) -> Vec<(Cell, Tally)> {
    let cell = |(number, (cell, _)): (usize, (Cell, Tally))| (cell, rows::tally(1_000 + number as i64 + by, true));
    rows::cells(agents).into_iter().enumerate().map(cell).collect()
}

#[test]
fn more_than_the_bound_is_counted_and_not_written() {
    let mut job = Job::new();
    let end = (i64::from(rows::DAY) + 1) * DAY_MS;
    job.write(HOURS, shifted(800, 0));
    job.commit(end);
    job.write(HOURS, shifted(800, 1));
    let commit = job.try_commit(end).unwrap().commit;
    let manifest: Manifest = serde_json::from_slice(&body(&job.memory, &Manifest::path(commit))).unwrap();
    assert!(manifest.restated_cells > RESTATEMENTS_MAX as u64, "{}", manifest.restated_cells);
    assert_eq!(found(&job.memory, commit).len(), RESTATEMENTS_MAX);
}

/// Cells of a day with every KPI in each of them.
fn dense(agents: usize, by: i64) -> Vec<(Cell, Tally)> {
    let tally = |number: i64| {
        let mut entries = Vec::new();
        for kpi in 0..CATALOGUE.len() {
            contribute(kpi as u16, 1_000 + number, Some(500 + number), 1, &mut entries);
        }
        Tally::from_entries(entries)
    };
    let cells = rows::cells(agents).into_iter().enumerate();
    cells.map(|(number, (cell, _))| (cell, tally(number as i64 % 997 + by))).collect()
}

/// What a commit of one changed file takes, without and with restatements.
fn measure(name: &str, before: &[(Cell, Tally)], after: &[(Cell, Tally)], as_of_ms: TimeMs) {
    let mut times = Vec::new();
    let mut restated = 0;
    for asked in [false, true] {
        let mut job = Job::new();
        if !asked {
            let objects = Arc::clone(&job.memory) as Arc<dyn Objects>;
            job.committer = Committer::open(objects, "/out", PARQUET, "b", &["/in".to_owned()]).unwrap();
        }
        job.write(HOURS, before.to_vec());
        job.try_commit(as_of_ms).unwrap();
        job.write(HOURS, after.to_vec());
        let begin = Instant::now();
        job.try_commit(as_of_ms).unwrap();
        times.push(begin.elapsed());
        restated = job.committer.previous().unwrap().restated_cells;
    }
    println!("{name}: {} rows, {:?} without, {:?} with {restated} values", before.len(), times[0], times[1]);
}

/// `cargo nextest run --workspace restating_speed --run-ignored only --no-capture`
#[test]
#[ignore = "a measurement, not a check"]
fn restating_speed() {
    let end = (i64::from(rows::DAY) + 1) * DAY_MS;
    type Make = fn(usize, i64) -> Vec<(Cell, Tally)>;
    let kinds: [(&str, Make); 2] = [("few KPIs", shifted), ("every KPI", dense)];
    for (kind, make) in kinds {
        for agents in [30, 60] {
            let (before, other) = (make(agents, 0), make(agents, 1));
            let mix = |is_other: &dyn Fn(usize) -> bool| {
                let both = before.iter().zip(&other).enumerate();
                both.map(|(number, (one, two))| if is_other(number) { two } else { one }.clone()).collect::<Vec<_>>()
            };
            measure(&format!("{kind}, one row changes"), &before, &mix(&|number| number == 700), end);
            measure(&format!("{kind}, a row goes"), &before, &before[1..], end);
            let open = mix(&|number| number % 24 == 23);
            measure(&format!("{kind}, the open hour changes"), &before, &open, end - HOUR_MS);
            measure(&format!("{kind}, every row changes"), &before, &other, end);
        }
    }
}
