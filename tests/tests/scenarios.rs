//! The scenarios on the oracle: the hand-worked cells check the oracle before it checks anything else.

use std::collections::BTreeSet;

use anyhow::Result;
use contactflow_schemas::catalogue::CATALOGUE;
use contactflow_tests::memory::{Judge, MemoryOptions, tables_judged};
use contactflow_tests::model::{Cell, Table, Tables};
use contactflow_tests::oracle::{Oracle, Quality};
use contactflow_tests::scenario::{Scenario, folder, load_all};
use serde_json::Value;
use std::sync::Arc;

fn by_oracle(scenario: &Scenario) -> Result<Tables> {
    Ok(Oracle { heads: scenario, zone: scenario.time_zone, ..Oracle::default() }.tables(&scenario.rows))
}

#[test]
fn every_scenario_holds_for_the_oracle() -> Result<()> {
    let scenarios = load_all(&folder())?;
    assert!(scenarios.len() >= 18, "only {} scenarios", scenarios.len());
    let mut wrong = Vec::new();
    for scenario in &scenarios {
        let found = scenario.check(&by_oracle(scenario)?, &by_oracle)?;
        wrong.extend(found.into_iter().map(|line| format!("{}: {line}", scenario.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Every KPI has a cell worked out by hand that tells something: a declaration without one is an untested promise.
#[test]
fn every_kpi_has_a_worked_example() -> Result<()> {
    let mut telling = BTreeSet::new();
    for entry in std::fs::read_dir(folder())? {
        let path = entry?.path();
        if !path.to_string_lossy().ends_with(".expected.json") {
            continue;
        }
        let expected: Value = serde_json::from_slice(&std::fs::read(path)?)?;
        for columns in expected["rows"].as_array().into_iter().flatten().filter_map(|row| row["columns"].as_object()) {
            let tells = |value: &Value| value.as_f64().is_some_and(|number| number != 0.0);
            telling.extend(columns.iter().filter(|(_, value)| tells(value)).map(|(name, _)| name.clone()));
        }
    }
    let has_example = |stem: &str| telling.iter().any(|column| column.starts_with(stem));
    let without: Vec<&str> = CATALOGUE.iter().map(|kpi| kpi.name).filter(|stem| !has_example(stem)).collect();
    assert!(without.is_empty(), "no scenario expects {without:?}");
    Ok(())
}

/// What needs a model runs on the dataflow in memory, with the answers given; all turns count the same in a quality.
#[test]
fn scored_scenarios_hold_in_memory() -> Result<()> {
    let by_dataflow = |scenario: &Scenario| {
        let options = MemoryOptions { workers: 2, seed: 7, time_zone: scenario.time_zone.name().to_owned() };
        let qualities = scenario.qualities.clone();
        let judge: Judge = Arc::new(move |turns| {
            let score = *qualities.get(&turns.len())?;
            Some(Quality { score, attention: vec![10_000 / turns.len() as i32; turns.len()] })
        });
        tables_judged(&scenario.rows, &options, scenario, &judge)
    };
    let scenarios = load_all(&folder())?;
    let scored: Vec<&Scenario> = scenarios.iter().filter(|scenario| scenario.needs_scores()).collect();
    assert!(scored.len() >= 6, "only {} scenarios have scores", scored.len());
    let mut wrong = Vec::new();
    for scenario in scored {
        let found = scenario.check(&by_dataflow(scenario)?, &by_dataflow)?;
        wrong.extend(found.into_iter().map(|line| format!("{}: {line}", scenario.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn a_scenario_notices_wrong_cells_and_rows() -> Result<()> {
    let scenario = contactflow_tests::scenario::load(&folder(), "worked_ratings")?;
    let mut tables = by_oracle(&scenario)?;
    for columns in tables.values_mut().flat_map(|table| table.values_mut()) {
        if let Some(cell) = columns.get_mut("csat_mean") {
            *cell = Cell::Float(4.8);
        }
    }
    let wrong = scenario.check(&tables, &by_oracle)?;
    assert_eq!(wrong.len(), 3, "{wrong:?}");
    assert!(wrong[0].ends_with("csat_mean: expected 4.6, found 4.8"), "{wrong:?}");
    assert!(wrong[2].ends_with("csat_mean: expected null, found 4.8"), "{wrong:?}");

    let empty: Tables = tables.keys().map(|name| (name.clone(), Table::new())).collect();
    for scenario in load_all(&folder())? {
        assert!(!scenario.check(&empty, &by_oracle)?.is_empty(), "{}", scenario.name);
    }
    Ok(())
}
