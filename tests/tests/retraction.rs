//! Insert, then retract, anything: the tables are those of never having had it.

use anyhow::Result;
use contactflow_tests::bytes::differing_folders;
use contactflow_tests::difference::diff;
use contactflow_tests::fake_model::FakeModel;
use contactflow_tests::histories::{Dice, Size, history};
use contactflow_tests::memory::{MemoryOptions, tables};
use contactflow_tests::oracle::{Line, Row};
use contactflow_tests::product::Product;
use contactflow_tests::property::seeds;
use contactflow_tests::runner::{RunOptions, Runner, to_files};
use serde_json::{Map, Value};

/// Events of another history under ids of their own, each followed sooner or later by its retraction.
fn with_passing_events(rows: &[Row], seed: u64) -> Vec<Row> {
    let mut dice = Dice::new(seed);
    let mut all = rows.to_vec();
    for row in history(seed + 1_000_003, Size::default()).into_iter().take(25) {
        let Row { file, position, line } = row;
        let Line::Json(Value::Object(mut event)) = line else { continue };
        let Some(id) = event.get("event_id").and_then(Value::as_str).map(|id| format!("passing-{id}")) else {
            continue;
        };
        // A row that does not say whose it is cannot be taken back.
        if ["tenant_id", "source"].iter().any(|column| !event.get(*column).is_some_and(Value::is_string)) {
            continue;
        }
        event.insert("event_id".to_owned(), id.into());
        event.remove("op");
        let identity = ["tenant_id", "source", "event_id"];
        let mut retraction: Map<String, Value> =
            identity.into_iter().map(|column| (column.to_owned(), event[column].clone())).collect();
        retraction.insert("op".to_owned(), "retract".into());
        // Of one id many deliveries may come: the last word is a retraction above all of them.
        retraction.insert("source_version".to_owned(), 99.into());
        let at = dice.below(all.len() as u64 + 1) as usize;
        all.insert(at, Row { line: Line::Json(Value::Object(event)), file: file.clone(), position });
        let later = at + 1 + dice.below((all.len() - at) as u64) as usize;
        all.insert(later, Row { line: Line::Json(Value::Object(retraction)), file, position });
    }
    all
}

#[test]
fn what_was_retracted_never_was() -> Result<()> {
    for seed in seeds(60) {
        let rows = history(seed, Size::default());
        let options = MemoryOptions { workers: 1 + seed as usize % 2, seed, time_zone: "UTC".to_owned() };
        let expected = tables(&rows, &options, &FakeModel)?;
        let actual = tables(&with_passing_events(&rows, seed), &options, &FakeModel)?;
        let mut wrong = diff(&expected, &actual);
        wrong.extend(diff(&actual, &expected));
        assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.into_iter().take(20).collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}

#[test]
fn files_are_those_of_a_history_without_it() -> Result<()> {
    let how = RunOptions {
        workers: 2,
        kpi_tables: ["kpi_agent_channel_hour", "kpi_team_channel_day", "kpi_tenant_month"].map(str::to_owned).to_vec(),
        ..RunOptions::default()
    };
    for seed in 0..3 {
        let rows = history(seed, Size::default());
        let product = Product::new()?;
        let expected = product.run(&to_files(&rows), how.clone())?;
        let passing = to_files(&with_passing_events(&rows, seed));
        let actual = product.run(&passing, RunOptions { epoch_rows: Some(5), ..how.clone() })?;
        let differing = differing_folders(&expected, &actual)?;
        assert!(differing.is_empty(), "seed {seed}: {}", differing.join(", "));
    }
    Ok(())
}
