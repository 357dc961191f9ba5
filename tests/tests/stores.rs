//! The product on every kind of store: the oracle's tables, and the very bytes that the job in this process writes to
//! the disk.

use anyhow::{Context, Result, ensure};
use contactflow::settings::Layout;
use contactflow_tests::bytes::differing_folders;
use contactflow_tests::histories::{Size, history, split};
use contactflow_tests::model::KPI_TABLES;
use contactflow_tests::object_server::Options;
use contactflow_tests::product::Product;
use contactflow_tests::program::Program;
use contactflow_tests::property::{differences_from_oracle, seeds};
use contactflow_tests::runner::{RunOptions, Runner, to_files};
use contactflow_tests::scenario::{folder, load_all};
use contactflow_tests::stores::{Kind, Store};
use contactflow_tests::tables::read_tables;

/// Scenarios that a store is tried on: every so many of all.
const SCENARIOS_EVERY: usize = 30;

/// The layouts in turn.
fn layout(number: usize) -> Layout {
    [Layout::Delta, Layout::Parquet][number % 2]
}

fn scenarios_hold(program: &Program) -> Result<()> {
    let scenarios = load_all(&folder())?;
    let tried = scenarios.iter().filter(|scenario| !scenario.needs_scores()).step_by(SCENARIOS_EVERY);
    for (number, scenario) in tried.enumerate() {
        let options = RunOptions {
            layout: layout(number),
            time_zone: scenario.time_zone.name().to_owned(),
            kpi_tables: scenario.kpi_tables(),
            ..RunOptions::default()
        };
        let tables = |rows: &[_]| read_tables(&program.run(&to_files(rows), options.clone())?);
        let found = scenario.check(&tables(&scenario.rows)?, &|scenario| tables(&scenario.rows))?;
        ensure!(found.is_empty(), "{}: {}", scenario.name, found.join("\n"));
    }
    Ok(())
}

/// Histories in one run and file by file.
fn histories_hold(program: &Program) -> Result<()> {
    let product = Product::new()?;
    for seed in seeds(4) {
        let rows = split(&history(seed, Size::default()), 3, seed);
        let tables = (0..3).map(|number| KPI_TABLES[(seed as usize * 5 + number * 7) % KPI_TABLES.len()].name);
        let plain = RunOptions { kpi_tables: tables.map(str::to_owned).collect(), ..RunOptions::default() };
        let options = RunOptions {
            workers: [1, 2, 4][seed as usize % 3],
            file_by_file: seed % 2 == 0,
            layout: layout(seed as usize / 2),
            retention_seconds: seed % 3 * 1000,
            ..plain.clone()
        };
        let root = program.run(&to_files(&rows), options).with_context(|| format!("seed {seed}"))?;
        let mut tables = read_tables(&root)?;
        tables.retain(|name, _| !name.starts_with("kpi_") || plain.kpi_tables.contains(name));
        let wrong = differences_from_oracle(&rows, &tables);
        ensure!(wrong.is_empty(), "seed {seed}: {}", wrong.join("\n"));
        let on_disk = product.run(&to_files(&rows), plain)?;
        let differing = differing_folders(&on_disk, &root)?;
        ensure!(differing.is_empty(), "seed {seed}: bytes of {}", differing.join(", "));
    }
    Ok(())
}

fn holds_on(kind: Kind) -> Result<()> {
    // Pages of seven keys: listings of several pages are the rule.
    let Some(store) = Store::start_with(kind, &Options { page_keys: 7, ..Options::default() })? else { return Ok(()) };
    let program = Program::on(&store);
    scenarios_hold(&program)?;
    histories_hold(&program)
}

#[test]
fn the_product_holds_on_a_disk() -> Result<()> {
    holds_on(Kind::Disk)
}

#[test]
fn the_product_holds_on_s3() -> Result<()> {
    holds_on(Kind::S3)
}

#[test]
fn the_product_holds_on_azure() -> Result<()> {
    holds_on(Kind::Azure)
}

/// Against a server of our own that speaks the protocol, not against anybody else's.
#[test]
fn the_product_holds_on_gcs() -> Result<()> {
    holds_on(Kind::Gcs)
}
