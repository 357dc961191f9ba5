//! Old months leave memory, and what happens to them later still ends in the right tables: a job that seals, run after every
//! chapter of a long history, gives the bytes of one run over everything that seals nothing.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, ensure};
use contactflow::ingest::IngestProgress;
use contactflow::run::{Basis, Mode, RunSummary, Status, Stop, compare, run, status};
use contactflow_tests::bytes::differing_folders;
use contactflow_tests::histories::{Size, chapters};
use contactflow_tests::model::KPI_TABLES;
use contactflow_tests::oracle::Row;
use contactflow_tests::product::Product;
use contactflow_tests::property::{hold_for, seeds};
use contactflow_tests::runner::{RunOptions, Runner, to_files, write_files};

/// One of the KPI tables, by the seed: a year of days has many files.
fn options(seed: u64, workers: usize) -> RunOptions {
    RunOptions {
        workers,
        epoch_rows: [None, Some(3)][seed as usize % 2],
        time_zone: ["UTC", "Europe/Berlin", "Asia/Kolkata"][seed as usize % 3].to_owned(),
        kpi_tables: vec![KPI_TABLES[seed as usize * 7 % KPI_TABLES.len()].name.to_owned()],
        seal_after_days: 1,
        ..RunOptions::default()
    }
}

fn run_once(input: &Path, output: &Path, options: &RunOptions) -> Result<RunSummary> {
    let settings = Product::settings(&[input.to_path_buf()], output, options);
    Ok(run(&settings, Mode::Once, &Arc::new(IngestProgress::default()), &Stop::default())?)
}

fn status_of(output: &Path) -> Result<Status> {
    Ok(status(&output.display().to_string())?)
}

/// Deliveries that a restart takes in.
fn open_rows(output: &Path) -> Result<u64> {
    let status = status_of(output)?;
    Ok(status.state_rows[0] - status.sealed_rows)
}

/// What a sequence of runs went through.
#[derive(Default, Debug)]
struct Seen {
    sealed_rows: u64,
    opened: u32,
}

/// A run after every file, which finds that file alone.
fn run_after_run(product: &Product, rows: &[Row], seed: u64, seen: &RefCell<Seen>) -> Result<PathBuf> {
    let (input, output) = (product.folder()?, product.folder()?.join("tables"));
    for (number, file) in to_files(rows).into_iter().enumerate() {
        write_files(&input, std::slice::from_ref(&file))?;
        let kept = if number == 0 { 0 } else { open_rows(&output)? };
        let summary = run_once(&input, &output, &options(seed, [1, 4, 2][(seed as usize + number) % 3]))?;
        ensure!(summary.files == 1, "it reads what is new, not {} files", summary.files);
        ensure!(summary.restarts > 0 || summary.restored_rows == kept, "it takes in what is open and nothing else");
        let mut seen = seen.borrow_mut();
        seen.sealed_rows += status_of(&output)?.sealed_rows;
        seen.opened += summary.restarts;
        std::fs::remove_file(input.join(&file.0))?;
    }
    Ok(output)
}

fn wrong(seed: u64, rows: &[Row], seen: &RefCell<Seen>) -> Result<Vec<String>> {
    let product = Product::new()?;
    let input = product.folder()?;
    write_files(&input, &to_files(rows))?;
    let plain = product.folder()?.join("tables");
    run_once(&input, &plain, &RunOptions { seal_after_days: 0, ..options(seed, 1) })?;
    // A job that follows its inputs lets go of what it sealed, and takes it in again, without ending.
    let sealed = match seed % 3 {
        2 => product.run(&to_files(rows), RunOptions { file_by_file: true, ..options(seed, 2) })?,
        _ => run_after_run(&product, rows, seed, seen)?,
    };
    let mut found: Vec<String> =
        differing_folders(&plain, &sealed)?.into_iter().map(|folder| format!("bytes of {folder}")).collect();
    let (inspection, _) = compare(&sealed.display().to_string(), &Basis::State(Vec::new()), 2)?;
    if !inspection.is_clean() {
        found.push(format!("verify: {inspection:?}"));
    }
    Ok(found)
}

#[test]
fn months_that_are_sealed_and_opened_give_what_one_run_gives() -> Result<()> {
    let seen = RefCell::new(Seen::default());
    let size = Size { conversations: 6, events: 18, noise: 120 };
    let history = |seed| chapters(seed, size, 4);
    let all = seeds(6);
    hold_for(all.clone(), &history, &|seed, rows| wrong(seed, rows, &seen))?;
    let seen = seen.into_inner();
    let is_tried = seen.sealed_rows > 0 && seen.opened > 0;
    assert!(all.count() < 6 || is_tried, "months are sealed and opened: {seen:?}");
    Ok(())
}
