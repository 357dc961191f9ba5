//! Old months leave memory, and what happens to them later still ends in the right tables: a job that seals, run after every
//! chapter of a long history, gives the bytes of one run over everything that seals nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use contactflow::ingest::IngestProgress;
use contactflow::run::{Basis, Mode, RunSummary, Status, Stop, compare, run, status};
use contactflow_tests::bytes::differing_folders;
use contactflow_tests::cluster::{Cluster, Shape};
use contactflow_tests::histories::{Size, chapters};
use contactflow_tests::model::KPI_TABLES;
use contactflow_tests::oracle::Row;
use contactflow_tests::product::Product;
use contactflow_tests::program::{Commits, Job, Mode as How};
use contactflow_tests::property::{hold_for, seeds};
use contactflow_tests::runner::{RunOptions, Runner, to_files, write_files};
use contactflow_tests::stores::{Kind, Store};
use serde_json::Value;

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

/// Within this time a following job that has something to seal does so.
const SEAL_PATIENCE: Duration = Duration::from_secs(1);

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

/// An afterthought to every conversation of the first file: its first event once more, as another.
fn afterthoughts(files: &[(String, Vec<u8>)]) -> Result<(String, Vec<u8>)> {
    let (_, first) = files.first().context("a history has files")?;
    let mut events: BTreeMap<String, Value> = BTreeMap::new();
    for line in String::from_utf8_lossy(first).lines() {
        let Ok(mut event) = serde_json::from_str::<Value>(line) else { continue };
        let Some(conversation) = event["conversation_id"].as_str().map(str::to_owned) else { continue };
        event["event_id"] = format!("afterthought-{conversation}").into();
        events.entry(conversation).or_insert(event);
    }
    ensure!(!events.is_empty(), "the first file tells of conversations");
    let lines: String = events.values().map(|event| format!("{event}\n")).collect();
    Ok(("part-9.ndjson".to_owned(), lines.into_bytes()))
}

/// The built program as several processes: another number of them for every file, or the same for all files as they come.
fn in_processes(seed: u64, rows: &[Row], follows: bool) -> Result<Seen> {
    let (product, mut files) = (Product::new()?, to_files(rows));
    files.push(afterthoughts(&files)?);
    let input = product.folder()?;
    write_files(&input, &files)?;
    let plain = product.folder()?.join("tables");
    run_once(&input, &plain, &RunOptions { seal_after_days: 0, ..options(seed, 1) })?;

    let store = Store::start(Kind::Disk)?.context("the store is always there")?;
    let job = Job::new(&store, "events", "tables", &options(seed, 1))?;
    let output = store.folder().join("tables");
    let (mut seen, mut sealed_before) = (Seen::default(), 0);
    let mut look = || -> Result<()> {
        let sealed_rows = status_of(&output)?.sealed_rows;
        seen.opened += u32::from(sealed_rows < sealed_before);
        seen.sealed_rows += sealed_rows;
        sealed_before = sealed_rows;
        Ok(())
    };
    let shape = |processes, workers| Shape { processes, workers };
    let mut cluster = if follows { Some(Cluster::start(&store, &job, How::Follow, shape(2, 2))?) } else { None };
    for (number, (name, content)) in files.iter().enumerate() {
        store.put(&format!("events/{name}"), content)?;
        match &mut cluster {
            Some(cluster) => {
                let commits = || Commits::read(&store.files("tables")?);
                cluster.processes[0].wait_until(|| Ok(commits()?.sources.len() > number))?;
                // A seal comes with the next commit, and a moment later.
                let mut newest = 0;
                while commits()?.newest > newest {
                    newest = commits()?.newest;
                    std::thread::sleep(SEAL_PATIENCE);
                }
            }
            None => Cluster::once(&store, &job, [shape(2, 1), shape(3, 1), shape(1, 2), shape(2, 2)][number % 4])?,
        }
        look()?;
    }
    if let Some(cluster) = &mut cluster {
        cluster.processes[1].stop()?;
    }
    for ended in cluster.map(Cluster::end).transpose()?.into_iter().flatten() {
        ended.well()?;
    }
    let differing = differing_folders(&plain, &output)?;
    ensure!(
        differing.is_empty(),
        "seed {seed}: other bytes than one process that seals nothing: {}",
        differing.join(", ")
    );
    let (inspection, _) = compare(&output.display().to_string(), &Basis::State(Vec::new()), 2)?;
    ensure!(inspection.is_clean(), "seed {seed}: verify: {inspection:?}");
    Ok(seen)
}

#[test]
fn processes_seal_and_open_together() -> Result<()> {
    let size = Size { conversations: 6, events: 18, noise: 120 };
    for (follows, seeds) in [(false, 1..=3), (true, 1..=2)] {
        let mut tried = Seen::default();
        for seed in seeds {
            let seen = in_processes(seed, &chapters(seed, size, 4), follows)?;
            tried.sealed_rows += seen.sealed_rows;
            tried.opened += seen.opened;
        }
        ensure!(tried.sealed_rows > 0 && tried.opened > 0, "months are sealed and opened: {tried:?}");
    }
    Ok(())
}
