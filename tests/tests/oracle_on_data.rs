//! The oracle on the real conversations beside the workspace: the totals that other tools found in them.

use anyhow::{Context, Result};
use contactflow_tests::model::{Cell, KPI_TABLES, Tables};
use contactflow_tests::oracle::{Oracle, Row};
use contactflow_tests::shared;
use std::collections::{BTreeMap, BTreeSet};

/// The day tables suffice for totals, and six years of hours are many.
const DAYS: [&str; 2] = ["kpi_agent_channel_day", "kpi_channel_day"];

fn rows(name: &str) -> Result<Option<Vec<Row>>> {
    shared::path(&format!("data/events/{name}.ndjson.gz")).map(|path| shared::gzipped_rows(&path)).transpose()
}

/// The sum of an integer column per channel.
fn totals(tables: &Tables, table: &str, column: &str) -> BTreeMap<String, i64> {
    let channel = if KPI_TABLES.iter().any(|(name, _, by_agent)| *name == table && *by_agent) { 2 } else { 1 };
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

#[test]
fn twitter_support() -> Result<()> {
    let Some(rows) = rows("twitter_support")? else { return Ok(()) };
    let tables = Oracle::default().some_tables(&rows, &DAYS);
    expect(&tables, "replies_count", &[("social", 2_222)]);
    expect(&tables, "reply_time_count", &[("social", 2_078)]);
    expect(&tables, "reply_time_sum_ms", &[("social", 244_753_517_000)]);
    expect(&tables, "first_response_time_count", &[("social", 1_311)]);
    expect(&tables, "first_response_time_sum_ms", &[("social", 233_903_537_000)]);
    let replied = tables["kpi_agent_channel_day"].iter().filter(|(_, columns)| columns["replies_count"] > Cell::Int(0));
    let agents: BTreeSet<&Cell> = replied.map(|(key, _)| &key[1]).collect();
    assert_eq!(agents.len(), 510);
    Ok(())
}

#[test]
fn shopzilla() -> Result<()> {
    let Some(rows) = rows("shopzilla_tickets")? else { return Ok(()) };
    let tables = Oracle::default().some_tables(&rows, &DAYS);
    let channels =
        |voice, voice_outbound, email| [("voice", voice), ("voice_outbound", voice_outbound), ("email", email)];
    expect(&tables, "resolutions_count", &channels(6_829, 1_483, 308));
    expect(&tables, "reply_time_count", &channels(6_610, 1_406, 294));
    expect(&tables, "reply_time_sum_ms", &channels(65_323_260_000, 12_994_980_000, 3_270_060_000));
    expect(&tables, "turns_sum", &channels(13_439, 2_889, 602));
    for (channel, mean) in [("voice", 4.2404), ("voice_outbound", 4.3196), ("email", 3.8571)] {
        let found = csat_mean(&tables, channel).with_context(|| format!("no rating of {channel}"))?;
        assert!((found - mean).abs() < 0.000_05, "{channel}: {found}");
    }
    Ok(())
}

/// The mean rating of a channel over all days.
fn csat_mean(tables: &Tables, channel: &str) -> Option<f64> {
    let (mut count, mut sum) = (0, 0.0);
    for (key, columns) in tables["kpi_channel_day"].iter().filter(|(key, _)| key[1] == Cell::text(Some(channel))) {
        if let (Cell::Int(ratings), Cell::Float(total)) = (&columns["csat_count"], &columns["csat_sum"]) {
            assert!(matches!(columns["csat_mean"], Cell::Float(_)), "{key:?}");
            count += ratings;
            sum += total;
        }
    }
    (count > 0).then(|| sum / count as f64)
}
