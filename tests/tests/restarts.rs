//! A job that is started again goes on from its state: what was read need not be there any more, whatever the number of
//! workers, and the tables are those of one run over everything.

use anyhow::{Result, ensure};
use contactflow::ingest::IngestProgress;
use contactflow::run::{Basis, Mode, RunSummary, Stop, compare, run, status};
use contactflow::settings::InferenceSettings;
use contactflow_tests::bytes::differing_folders;
use contactflow_tests::difference::diff;
use contactflow_tests::histories::{Size, duplicated, history, reversed, shuffled, split};
use contactflow_tests::model::KPI_TABLES;
use contactflow_tests::oracle::Row;
use contactflow_tests::product::Product;
use contactflow_tests::property::{differences_from_oracle, hold_for_histories, seeds};
use contactflow_tests::runner::{RunOptions, to_files, write_files};
use contactflow_tests::tables::read_tables;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Four of the KPI tables, by the seed: writing hundreds of columns a file is what takes the time.
fn options(seed: u64, workers: usize) -> RunOptions {
    let tables = (0..4).map(|number| KPI_TABLES[(seed as usize * 5 + number * 7) % KPI_TABLES.len()].name.to_owned());
    RunOptions {
        workers,
        epoch_rows: [None, Some(1), Some(5)][seed as usize % 3],
        kpi_tables: tables.collect(),
        ..RunOptions::default()
    }
}

fn run_once(input: &Path, output: &Path, options: &RunOptions) -> Result<RunSummary> {
    let settings = Product::settings(&[input.to_path_buf()], output, options);
    Ok(run(&settings, Mode::Once, &Arc::new(IngestProgress::default()), &Stop::default())?)
}

/// A run per file, each of which finds that file alone.
fn run_after_run(product: &Product, rows: &[Row], seed: u64) -> Result<PathBuf> {
    let (input, output) = (product.folder()?, product.folder()?.join("tables"));
    let mut rows_before = 0;
    for (number, file) in to_files(rows).into_iter().enumerate() {
        write_files(&input, std::slice::from_ref(&file))?;
        let summary = run_once(&input, &output, &options(seed, [1, 4, 2][(seed as usize + number) % 3]))?;
        ensure!(summary.files == 1, "it reads what is new, not {} files", summary.files);
        ensure!(summary.restored_rows <= rows_before, "it keeps no row that changed nothing");
        rows_before += summary.rows;
        std::fs::remove_file(input.join(&file.0))?;
    }
    Ok(output)
}

fn wrong(seed: u64, rows: &[Row]) -> Result<Vec<String>> {
    let product = Product::new()?;
    let input = product.folder()?;
    let delivered = match seed % 4 {
        0 => split(rows, 3, seed),
        1 => split(&shuffled(rows, seed), 4, seed),
        2 => split(&duplicated(&reversed(rows), seed), 3, seed),
        _ => split(&duplicated(&shuffled(rows, seed), seed), 2, seed),
    };
    write_files(&input, &to_files(rows))?;
    let plain = product.folder()?.join("tables");
    run_once(&input, &plain, &options(seed, 1))?;
    let restarted = run_after_run(&product, &delivered, seed)?;
    let mut tables = read_tables(&plain)?;
    let published = options(seed, 1).kpi_tables;
    tables.retain(|name, _| !name.starts_with("kpi_") || published.contains(name));
    let mut found = differences_from_oracle(rows, &tables);
    found.extend(diff(&tables, &read_tables(&restarted)?));
    found.extend(differing_folders(&plain, &restarted)?.into_iter().map(|folder| format!("bytes of {folder}")));
    Ok(found)
}

#[test]
fn a_run_after_every_file_gives_what_one_run_gives() -> Result<()> {
    hold_for_histories(seeds(12), Size::default(), &wrong)
}

#[test]
fn a_start_with_nothing_new_changes_nothing() -> Result<()> {
    let product = Product::new()?;
    let (input, output) = (product.folder()?, product.folder()?.join("tables"));
    let rows = history(3, Size::default());
    write_files(&input, &to_files(&rows))?;
    run_once(&input, &output, &options(3, 2))?;
    let before = contactflow_tests::bytes::data_files(&output)?;
    let again = run_once(&input, &output, &options(3, 4))?;
    assert_eq!((again.files, again.rows, again.rejects), (0, 0, 0));
    assert!(again.restored_rows > 0);
    let commit = again.last_commit.expect("the first commit of a run is always made");
    assert_eq!((commit.files_written, commit.files_removed), (0, 0));
    assert_eq!(contactflow_tests::bytes::data_files(&output)?, before);
    Ok(())
}

#[test]
fn a_damaged_state_is_told_and_nothing_is_written() -> Result<()> {
    let product = Product::new()?;
    let (input, output) = (product.folder()?, product.folder()?.join("tables"));
    write_files(&input, &to_files(&history(5, Size::default())))?;
    run_once(&input, &output, &options(5, 1))?;
    let before = contactflow_tests::bytes::data_files(&output)?;
    let folder = output.join("_contactflow/state/deliveries");
    let file = std::fs::read_dir(&folder)?.next().expect("rows were kept")?.path();
    let mut content = std::fs::read(&file)?;
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(&file, content)?;
    let error = run_once(&input, &output, &options(5, 2)).expect_err("damaged").to_string();
    assert!(error.contains("is damaged") && error.contains("_contactflow/state/deliveries"), "{error}");
    std::fs::remove_file(&file)?;
    let error = run_once(&input, &output, &options(5, 1)).expect_err("gone").to_string();
    assert!(error.contains("is gone"), "{error}");
    assert_eq!(contactflow_tests::bytes::data_files(&output)?, before);
    Ok(())
}

/// With the model that `make setup` provides.
fn run_with_model(input: &Path, output: &Path, seed: u64, workers: usize) -> Result<RunSummary> {
    let mut settings = Product::settings(&[input.to_path_buf()], output, &options(seed, workers));
    settings.inference = InferenceSettings::default();
    Ok(run(&settings, Mode::Once, &Arc::new(IngestProgress::default()), &Stop::default())?)
}

/// Predictions ever made, and texts that wait.
fn predictions(output: &Path) -> Result<(u64, u64)> {
    let [_, predictions, texts] = status(&output.display().to_string())?.state_rows;
    Ok((predictions, texts))
}

#[test]
fn a_text_is_scored_once_whatever_is_restarted() -> Result<()> {
    let (product, seed) = (Product::new()?, 7);
    let rows = history(seed, Size { conversations: 8, events: 60, ..Size::default() });
    let (plain_input, plain) = (product.folder()?, product.folder()?.join("tables"));
    write_files(&plain_input, &to_files(&rows))?;
    run_with_model(&plain_input, &plain, seed, 2)?;
    let (all, waiting) = predictions(&plain)?;
    assert!(all >= 4 && waiting == 0, "{all} {waiting}");
    run_with_model(&plain_input, &plain, seed, 1)?;
    assert_eq!(predictions(&plain)?, (all, 0), "nothing is asked twice");

    let (input, output) = (product.folder()?, product.folder()?.join("tables"));
    for (number, file) in to_files(&split(&duplicated(&rows, seed), 3, seed)).into_iter().enumerate() {
        write_files(&input, std::slice::from_ref(&file))?;
        run_with_model(&input, &output, seed, [1, 4, 2][number % 3])?;
        std::fs::remove_file(input.join(&file.0))?;
    }
    assert_eq!(predictions(&output)?, (all, 0), "of every distinct text one prediction");
    assert_eq!(differing_folders(&plain, &output)?, Vec::<String>::new());
    let (found, _) = compare(&output.display().to_string(), &Basis::State(Vec::new()), 2)?;
    assert!(found.is_clean(), "scores are verified from the stored predictions: {found:?}");
    Ok(())
}
