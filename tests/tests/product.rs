//! The product against scenarios worked out by hand, and against the oracle on random histories.

use anyhow::Result;
use contactflow_tests::bytes::differing_folders;
use contactflow_tests::difference::diff;
use contactflow_tests::histories::{Size, duplicated, reversed, shuffled, split};
use contactflow_tests::model::{KPI_TABLES, Tables};
use contactflow_tests::oracle::Row;
use contactflow_tests::product::Product;
use contactflow_tests::property::{differences_from_oracle, hold_for_histories, seeds};
use contactflow_tests::runner::{RunOptions, Runner, run_and_read, to_files};
use contactflow_tests::scenario::{Scenario, folder, load_all};
use contactflow_tests::tables::read_tables;

fn options(workers: usize, epoch_rows: Option<usize>) -> RunOptions {
    RunOptions { workers, epoch_rows, ..RunOptions::default() }
}

#[test]
fn every_scenario_holds() -> Result<()> {
    let mut wrong = Vec::new();
    for (number, scenario) in load_all(&folder())?.iter().filter(|scenario| !scenario.needs_scores()).enumerate() {
        let how = RunOptions {
            time_zone: scenario.time_zone.name().to_owned(),
            kpi_tables: scenario.kpi_tables(),
            ..options(1 + number % 2, [None, Some(1), Some(2)][number % 3])
        };
        let by_product = |scenario: &Scenario| run_and_read(&Product::new()?, &to_files(&scenario.rows), how.clone());
        let tables: Tables = by_product(scenario)?;
        let found = scenario.check(&tables, &by_product)?;
        wrong.extend(found.into_iter().map(|line| format!("{}: {line}", scenario.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// What is wrong about a history delivered as it is, and differently: the oracle decides about the one, and the other
/// must give the same rejects and the very bytes.
///
/// Four of the KPI tables by the seed: hundreds of columns a file make writing what takes the time, and the dataflow in
/// memory is compared in all of them (`histories.rs`).
fn wrong(seed: u64, rows: &[Row], other: &[Row], how: RunOptions) -> Result<Vec<String>> {
    let kpi_tables: Vec<String> =
        (0..4).map(|number| KPI_TABLES[(seed as usize * 5 + number * 7) % KPI_TABLES.len()].name.to_owned()).collect();
    let how = RunOptions { kpi_tables: kpi_tables.clone(), ..how };
    let product = Product::new()?;
    let plain = product.run(&to_files(rows), RunOptions { kpi_tables, ..options(1, None) })?;
    let mut tables = read_tables(&plain)?;
    tables.retain(|name, _| !name.starts_with("kpi_") || how.kpi_tables.contains(name));
    let mut found = differences_from_oracle(rows, &tables);
    let what = format!("delivered otherwise with {how:?}: ");
    let otherwise = product.run(&to_files(other), how)?;
    found.extend(diff(&tables, &read_tables(&otherwise)?).into_iter().map(|line| what.clone() + &line));
    found.extend(differing_folders(&plain, &otherwise)?.into_iter().map(|folder| format!("{what}bytes of {folder}")));
    Ok(found)
}

#[test]
fn histories_hold_in_any_order_on_any_workers() -> Result<()> {
    hold_for_histories(seeds(24), Size::default(), &|seed, rows| {
        let workers = [1, 2, 4][seed as usize % 3];
        let (other, epoch_rows) = match seed % 5 {
            0 => (shuffled(rows, seed), Some(1)),
            1 => (reversed(rows), Some(3)),
            2 => (split(&duplicated(rows, seed), 3, seed), Some(7)),
            3 => (duplicated(&shuffled(rows, seed), seed), None),
            _ => (split(&shuffled(rows, seed), 4, seed), Some(1)),
        };
        wrong(seed, rows, &other, options(workers, epoch_rows))
    })
}

#[test]
fn histories_hold_when_files_come_one_after_another() -> Result<()> {
    hold_for_histories(seeds(10), Size::default(), &|seed, rows| {
        let other = match seed % 3 {
            0 => split(rows, 3, seed),
            1 => split(&shuffled(rows, seed), 4, seed),
            _ => split(&duplicated(&reversed(rows), seed), 2, seed),
        };
        let how = options([2, 1, 4][seed as usize / 3 % 3], [None, Some(3), Some(1)][seed as usize % 3]);
        wrong(seed, rows, &other, RunOptions { file_by_file: true, ..how })
    })
}
