//! The harness on a job that is right by construction, and on jobs with a planted mistake: it must pass the one and
//! find the others.

mod publish;

use anyhow::{Result, bail};
use contactflow_tests::bytes::differing_folders;
use contactflow_tests::difference::diff;
use contactflow_tests::histories::{Size, history, shuffled, split};
use contactflow_tests::model::Tables;
use contactflow_tests::oracle::{Line, Oracle, Row};
use contactflow_tests::property::{differences, differences_between, hold_for_histories};
use contactflow_tests::runner::{RunOptions, Runner, Scratch, rows_of_ndjson, to_files};
use contactflow_tests::tables::{read_table, read_tables};
use std::path::PathBuf;

/// The oracle dressed up as a job, with a mistake to make.
struct OracleJob {
    scratch: Scratch,
    spoil_rows: fn(&mut Vec<Row>),
    spoil_tables: fn(&mut Tables),
}

impl OracleJob {
    fn right() -> Result<OracleJob> {
        Ok(OracleJob { scratch: Scratch::new()?, spoil_rows: |_| {}, spoil_tables: |_| {} })
    }
}

impl Runner for OracleJob {
    fn run(&self, files: &[(String, Vec<u8>)], _: RunOptions) -> Result<PathBuf> {
        let mut rows = Vec::new();
        for (name, content) in files {
            rows.extend(rows_of_ndjson(name, std::str::from_utf8(content)?));
        }
        (self.spoil_rows)(&mut rows);
        let mut tables = Oracle::default().tables(&rows);
        (self.spoil_tables)(&mut tables);
        let root = self.scratch.folder()?;
        publish::publish(&tables, &root)?;
        Ok(root)
    }
}

/// The message of the smallest failing history, which there must be.
fn failure(job: &OracleJob) -> Result<String> {
    let check = |_: u64, rows: &[Row]| differences(job, rows, &RunOptions::default());
    match hold_for_histories(0..300, Size::default(), &check) {
        Ok(()) => bail!("the mistake was not found"),
        Err(error) => Ok(error.to_string()),
    }
}

/// The lines of the scenario in a failure's message.
fn scenario_lines(message: &str) -> usize {
    message.lines().filter(|line| line.starts_with('{')).count()
}

#[test]
fn tables_survive_parquet() -> Result<()> {
    let job = OracleJob::right()?;
    for seed in 0..10 {
        let rows = history(seed, Size::default());
        let root = job.run(&to_files(&rows), RunOptions::default())?;
        let expected = Oracle::default().tables(&rows);
        let found = read_tables(&root)?;
        assert_eq!(diff(&expected, &found), Vec::<String>::new(), "seed {seed}");
        assert_eq!(diff(&found, &expected), Vec::<String>::new(), "seed {seed}");
    }
    Ok(())
}

#[test]
fn a_key_twice_is_an_error() -> Result<()> {
    let job = OracleJob::right()?;
    let root = job.run(&to_files(&history(1, Size::default())), RunOptions::default())?;
    let folder = root.join("conversation_facts");
    let file = contactflow_tests::tables::parquet_files(&folder)?.remove(0);
    std::fs::copy(file, folder.join("again.parquet"))?;
    let error = format!("{:#}", read_table(&root, "conversation_facts").unwrap_err());
    assert!(error.contains("two rows for the key"), "{error}");
    Ok(())
}

#[test]
fn a_right_job_holds() -> Result<()> {
    let job = OracleJob::right()?;
    let options = RunOptions::default();
    hold_for_histories(0..10, Size::default(), &|seed, rows| {
        let other = split(&shuffled(rows, seed), 3, seed);
        let mut found = differences(&job, rows, &options)?;
        found.extend(differences_between(&job, (rows, &options), (&other, &options))?);
        let (one, two) = (job.run(&to_files(rows), options.clone())?, job.run(&to_files(&other), options.clone())?);
        found.extend(differing_folders(&one, &two)?);
        Ok(found)
    })
}

#[test]
fn a_job_that_ignores_retractions_is_found() -> Result<()> {
    let forget = |rows: &mut Vec<Row>| {
        rows.retain(|row| !matches!(&row.line, Line::Json(value) if value["op"] == "retract"));
    };
    let message = failure(&OracleJob { spoil_rows: forget, ..OracleJob::right()? })?;
    // A retraction, the event it retracts, and at most something that makes that event show.
    assert!((2..=3).contains(&scenario_lines(&message)), "{message}");
    Ok(())
}

#[test]
fn a_job_that_miscounts_one_column_is_found() -> Result<()> {
    let miscount = |tables: &mut Tables| {
        for columns in tables.values_mut().flat_map(|table| table.values_mut()) {
            if let Some(cell) = columns.get_mut("reopens_count") {
                *cell = contactflow_tests::model::Cell::Int(0);
            }
        }
    };
    let message = failure(&OracleJob { spoil_tables: miscount, ..OracleJob::right()? })?;
    // Something that opens the conversation, a resolve and a reopen; one of the latter may open it too.
    assert!((2..=3).contains(&scenario_lines(&message)), "{message}");
    assert!(message.contains("reopens_count: expected 1, found 0"), "{message}");
    Ok(())
}

#[test]
fn a_job_that_loses_a_table_is_found() -> Result<()> {
    let lose = |tables: &mut Tables| tables.retain(|name, _| name != "kpi_channel_day");
    let message = failure(&OracleJob { spoil_tables: lose, ..OracleJob::right()? })?;
    assert_eq!(scenario_lines(&message), 1, "{message}");
    Ok(())
}
