//! The oracle and the product on the real conversations beside the workspace: the totals that other tools found in
//! them, and the same tables from both.

use anyhow::{Context, Result};
use contactflow_tests::bytes::differing_folders;
use contactflow_tests::difference::diff;
use contactflow_tests::histories::reversed;
use contactflow_tests::model::{Cell, FACTS, Table, Tables, key_columns};
use contactflow_tests::oracle::{Oracle, Row};
use contactflow_tests::product::Product;
use contactflow_tests::runner::{RunOptions, Runner, to_files};
use contactflow_tests::shared;
use contactflow_tests::tables::read_table;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The day tables suffice for totals, and six years of hours are many.
const DAYS: [&str; 2] = ["kpi_agent_channel_day", "kpi_channel_day"];
/// What the oracle is asked for.
const TABLES: [&str; 3] = [DAYS[0], DAYS[1], FACTS];

fn file(name: &str) -> Option<PathBuf> {
    shared::path(&format!("data/events/{name}.ndjson.gz"))
}

fn two_workers() -> RunOptions {
    RunOptions { workers: 2, ..RunOptions::default() }
}

fn read(root: &Path) -> Result<Tables> {
    TABLES.iter().map(|name| Ok(((*name).to_owned(), read_table(root, name)?))).collect()
}

/// The first of the differences between the oracle and the product.
fn differences(expected: &Tables, actual: &Tables) -> Vec<String> {
    let mut differences = diff(expected, actual);
    differences.truncate(10);
    differences
}

/// The sum of an integer column per channel.
fn totals(tables: &Tables, table: &str, column: &str) -> BTreeMap<String, i64> {
    let channel = key_columns(table).iter().position(|column| *column == "channel").unwrap_or(1);
    let mut totals = BTreeMap::new();
    for (key, columns) in &tables[table] {
        if let (Cell::Text(channel), Some(Cell::Int(value))) = (&key[channel], columns.get(column)) {
            *totals.entry(channel.clone()).or_default() += value;
        }
    }
    totals
}

fn expect(tables: &Tables, column: &str, wanted: &[(&str, i64)]) {
    let wanted: BTreeMap<String, i64> = wanted.iter().map(|(channel, value)| ((*channel).to_owned(), *value)).collect();
    for table in DAYS {
        let found: BTreeMap<_, _> =
            totals(tables, table, column).into_iter().filter(|(_, value)| *value != 0).collect();
        assert_eq!(found, wanted, "{table} {column}");
    }
}

fn twitter_figures(tables: &Tables) {
    expect(tables, "replies_count", &[("social", 2_222)]);
    expect(tables, "reply_time_count", &[("social", 2_078)]);
    expect(tables, "reply_time_sum_ms", &[("social", 244_753_517_000)]);
    expect(tables, "first_response_time_count", &[("social", 1_311)]);
    expect(tables, "first_response_time_sum_ms", &[("social", 233_903_537_000)]);
    let replied = tables["kpi_agent_channel_day"].iter().filter(|(_, columns)| columns["replies_count"] > Cell::Int(0));
    let agents: BTreeSet<&Cell> = replied.map(|(key, _)| &key[1]).collect();
    assert_eq!(agents.len(), 510);
}

fn shopzilla_figures(tables: &Tables) -> Result<()> {
    let channels =
        |voice, voice_outbound, email| [("voice", voice), ("voice_outbound", voice_outbound), ("email", email)];
    expect(tables, "resolutions_count", &channels(6_829, 1_483, 308));
    expect(tables, "reply_time_count", &channels(6_610, 1_406, 294));
    expect(tables, "reply_time_sum_ms", &channels(65_323_260_000, 12_994_980_000, 3_270_060_000));
    expect(tables, "turns_sum", &channels(13_439, 2_889, 602));
    for (channel, mean) in [("voice", 4.2404), ("voice_outbound", 4.3196), ("email", 3.8571)] {
        let found =
            csat_mean(&tables["kpi_channel_day"], channel).with_context(|| format!("no rating of {channel}"))?;
        assert!((found - mean).abs() < 0.000_05, "{channel}: {found}");
    }
    Ok(())
}

/// The mean rating of a channel over all days.
fn csat_mean(days: &Table, channel: &str) -> Option<f64> {
    let (mut count, mut sum) = (0, 0.0);
    for (key, columns) in days.iter().filter(|(key, _)| key[1] == Cell::text(Some(channel))) {
        if let (Cell::Int(ratings), Cell::Float(total)) = (&columns["csat_count"], &columns["csat_sum"]) {
            assert!(matches!(columns["csat_mean"], Cell::Float(_)), "{key:?}");
            count += ratings;
            sum += total;
        }
    }
    (count > 0).then(|| sum / count as f64)
}

#[test]
fn twitter_support() -> Result<()> {
    let Some(path) = file("twitter_support") else { return Ok(()) };
    let expected = Oracle::default().some_tables(&shared::gzipped_rows(&path)?, &TABLES);
    twitter_figures(&expected);
    let product = Product::new()?;
    let found = read(&product.run_over(&[path], &two_workers())?.0)?;
    twitter_figures(&found);
    assert_eq!(differences(&expected, &found), Vec::<String>::new());
    Ok(())
}

#[test]
fn shopzilla() -> Result<()> {
    let Some(path) = file("shopzilla_tickets") else { return Ok(()) };
    let rows: Vec<Row> = shared::gzipped_rows(&path)?;
    let expected = Oracle::default().some_tables(&rows, &TABLES);
    shopzilla_figures(&expected)?;
    let product = Product::new()?;
    let once = product.run_over(std::slice::from_ref(&path), &two_workers())?.0;
    let found = read(&once)?;
    shopzilla_figures(&found)?;
    assert_eq!(differences(&expected, &found), Vec::<String>::new());

    let twice = product.folder()?;
    std::fs::copy(&path, twice.join("one.ndjson.gz"))?;
    std::fs::copy(&path, twice.join("two.ndjson.gz"))?;
    let (output, summary) = product.run_over(&[twice], &two_workers())?;
    assert_eq!(summary.rows, 2 * rows.len() as u64);
    assert_eq!(differing_folders(&once, &output)?, Vec::<String>::new(), "delivered twice");

    let output = product.run(&to_files(&reversed(&named(rows))), RunOptions::default())?;
    assert_eq!(differing_folders(&once, &output)?, Vec::<String>::new(), "last row first");
    Ok(())
}

/// The rows in a file with a plain name.
fn named(mut rows: Vec<Row>) -> Vec<Row> {
    rows.iter_mut().for_each(|row| row.file = "events.ndjson".to_owned());
    rows
}
