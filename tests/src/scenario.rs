//! Scenarios: a few events, and cells that were worked out by hand.
//!
//! `NAME.ndjson` holds the events in order of delivery, `NAME.expected.json` what must come of them:
//!
//! | field | meaning |
//! |---|---|
//! | `why` | how the values were worked out, for a reader |
//! | `rows` | list of `{table, key, columns, why}`: exactly one row of `table` has the values of `key` (some key columns may be left out), and these values in `columns` |
//! | `absent` | list of `{table, key}`: no row has these values |
//! | `row_counts` | table → number of its rows |
//! | `same_as` | name of a scenario whose tables must be the same |
//! | `scores` | what a model says, in 1/10,000: text → `[negative, neutral, positive]`, or an object with that as `sentiment`, and `emotion` (`[anger, joy, optimism, sadness]`), `offensive`, `intent` (`[label, probability]`); or null, which it fails on |
//! | `quality` | number of turns → what the model says of every conversation of so many, in 1/10,000 |
//! | `time_zone` | IANA name of the time zone of the windows; UTC without it |
//!
//! A time is written as RFC 3339, everything else as in JSON.

use crate::clock;
use crate::difference::diff;
use crate::model::{Cell, Columns, Tables, key_columns};
use crate::oracle::{Answer, Heads, HeardTurn, Quality, Row, Scores};
use crate::runner::rows_of_ndjson;
use crate::tables::display_key;
use anyhow::{Context, Result, bail, ensure};
use chrono_tz::Tz;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// One scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The name of its files.
    pub name: String,
    /// Its events.
    pub rows: Vec<Row>,
    /// What a model says of its texts; empty without one.
    pub scores: BTreeMap<String, Answer>,
    /// What it says of conversations, by their number of turns.
    pub qualities: BTreeMap<usize, i32>,
    /// The time zone of the windows.
    pub time_zone: Tz,
    expected: Map<String, Value>,
}

/// The folder of the scenarios of this crate.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// All scenarios of a folder by name; one of the two files without the other is an error.
pub fn load_all(folder: &Path) -> Result<Vec<Scenario>> {
    let mut names = std::collections::BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let file = entry?.file_name().to_string_lossy().into_owned();
        let name = file.strip_suffix(".ndjson").or_else(|| file.strip_suffix(".expected.json"));
        names.insert(name.with_context(|| format!("{file} is no part of a scenario"))?.to_owned());
    }
    names.iter().map(|name| load(folder, name)).collect()
}

/// One scenario of a folder.
pub fn load(folder: &Path, name: &str) -> Result<Scenario> {
    let read = |end: &str| {
        let path = folder.join(format!("{name}{end}"));
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let expected: Value =
        serde_json::from_str(&read(".expected.json")?).with_context(|| format!("in {name}.expected.json"))?;
    let Value::Object(expected) = expected else { bail!("{name}.expected.json is no object") };
    let known = ["why", "rows", "absent", "row_counts", "same_as", "scores", "quality", "time_zone"];
    for field in expected.keys() {
        ensure!(known.contains(&field.as_str()), "{name}.expected.json: unknown field {field}");
    }
    let scores = scores(expected.get("scores")).with_context(|| format!("scores of {name}.expected.json"))?;
    let qualities = qualities(expected.get("quality")).with_context(|| format!("quality of {name}.expected.json"))?;
    let zone = expected.get("time_zone").map_or(Some("UTC"), Value::as_str).and_then(|zone| zone.parse().ok());
    let time_zone = zone.with_context(|| format!("{name}.expected.json: unknown time_zone"))?;
    let rows = rows_of_ndjson(&format!("{name}.ndjson"), &read(".ndjson")?);
    Ok(Scenario { name: name.to_owned(), rows, scores, qualities, time_zone, expected })
}

fn qualities(field: Option<&Value>) -> Result<BTreeMap<usize, i32>> {
    let Some(field) = field else { return Ok(BTreeMap::new()) };
    let one = |(turns, score): (&String, &Value)| {
        let score = score.as_i64().and_then(|score| i32::try_from(score).ok()).context("a score is a number")?;
        Ok((turns.parse().context("the number of turns")?, score))
    };
    field.as_object().context("not an object")?.iter().map(one).collect()
}

/// So many numbers.
fn numbers<const N: usize>(value: &Value) -> Option<[i32; N]> {
    let list = value.as_array()?.iter().map(|number| i32::try_from(number.as_i64()?).ok());
    list.collect::<Option<Vec<i32>>>()?.try_into().ok()
}

fn answer(value: &Value) -> Option<Answer> {
    if value.is_null() {
        return Some(Answer::Failed);
    }
    let [negative, neutral, positive] = numbers(value).or_else(|| numbers(value.get("sentiment")?))?;
    let intent = value
        .get("intent")
        .and_then(|intent| Some((crate::model::name(intent[0].as_str()?), i32::try_from(intent[1].as_i64()?).ok()?)));
    Some(Answer::Scored(Scores {
        negative,
        neutral,
        positive,
        emotion: value.get("emotion").and_then(numbers),
        offensive: value.get("offensive").and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok()),
        intent,
        is_reluctant: false,
    }))
}

impl Heads for Scenario {
    fn answer(&self, text: &str) -> Answer {
        self.scores.get(text).copied().unwrap_or(Answer::Pending)
    }

    /// All turns count the same.
    fn quality(&self, turns: &[HeardTurn]) -> Option<Quality> {
        let score = *self.qualities.get(&turns.len())?;
        Some(Quality { score, attention: vec![10_000 / turns.len() as i32; turns.len()] })
    }
}

fn scores(field: Option<&Value>) -> Result<BTreeMap<String, Answer>> {
    let Some(field) = field else { return Ok(BTreeMap::new()) };
    let texts = field.as_object().context("not an object")?;
    let one = |(text, value): (&String, &Value)| {
        let answer = answer(value).with_context(|| format!("{text:?} has no three numbers"))?;
        Ok((text.clone(), answer))
    };
    texts.iter().map(one).collect()
}

impl Scenario {
    /// Whether it needs a model whose answers are given.
    pub fn needs_scores(&self) -> bool {
        !self.scores.is_empty()
    }

    /// The KPI tables of which it says something.
    pub fn kpi_tables(&self) -> Vec<String> {
        let listed = ["rows", "absent"].into_iter().filter_map(|field| self.expected.get(field)?.as_array()).flatten();
        let in_lists = listed.filter_map(|row| row.get("table")?.as_str());
        let counts = self.expected.get("row_counts").and_then(Value::as_object);
        let names = in_lists.chain(counts.into_iter().flat_map(|counts| counts.keys().map(String::as_str)));
        let named: BTreeSet<&str> = names.filter(|name| name.starts_with("kpi_")).collect();
        if named.is_empty() {
            return vec!["kpi_agent_channel_hour".to_owned()];
        }
        named.into_iter().map(str::to_owned).collect()
    }

    /// The scenario whose tables must be the same.
    pub fn same_as(&self) -> Option<&str> {
        self.expected.get("same_as").and_then(Value::as_str)
    }

    /// Everything about the tables that is not as expected. `tables_of` computes those of another scenario.
    pub fn check(&self, tables: &Tables, tables_of: &dyn Fn(&Scenario) -> Result<Tables>) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        for row in self.list("rows")? {
            wrong.extend(check_row(row, tables)?);
        }
        for row in self.list("absent")? {
            let found = matching(row, tables)?.len();
            wrong.extend((found > 0).then(|| format!("{row}: must be absent, found {found} times")));
        }
        if let Some(counts) = self.expected.get("row_counts").and_then(Value::as_object) {
            for (table, count) in counts {
                let found = tables.get(table).map_or(0, BTreeMap::len) as u64;
                wrong.extend((count.as_u64() != Some(found)).then(|| format!("{table}: {found} rows, not {count}")));
            }
        }
        if let Some(other) = self.same_as() {
            let expected = tables_of(&load(&folder(), other)?)?;
            wrong.extend(diff(&expected, tables).into_iter().map(|line| format!("not as in {other}: {line}")));
        }
        Ok(wrong)
    }

    fn list(&self, field: &str) -> Result<&[Value]> {
        match self.expected.get(field) {
            None => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => bail!("{}: {field} is no list", self.name),
        }
    }
}

/// The rows that have the values of a `key`.
fn matching<'t>(row: &Value, tables: &'t Tables) -> Result<Vec<(&'t Vec<Cell>, &'t Columns)>> {
    let name = row["table"].as_str().with_context(|| format!("no table in {row}"))?;
    let names = key_columns(name);
    ensure!(!names.is_empty(), "there is no table {name}");
    let wanted = row["key"].as_object().with_context(|| format!("no key in {row}"))?;
    for column in wanted.keys() {
        ensure!(names.contains(&column.as_str()), "{column} is no key column of {name}");
    }
    let fits = |key: &[Cell]| {
        names.iter().zip(key).all(|(column, cell)| wanted.get(*column).is_none_or(|value| is_value(cell, value)))
    };
    let table = tables.get(name).with_context(|| format!("no table {name} was computed"))?;
    Ok(table.iter().filter(|(key, _)| fits(key)).collect())
}

fn check_row(row: &Value, tables: &Tables) -> Result<Vec<String>> {
    let found = matching(row, tables)?;
    let place = format!("{} {}", row["table"], row["key"]);
    let [(key, columns)] = found.as_slice() else {
        let keys: Vec<String> = found.iter().map(|(key, _)| display_key(key)).collect();
        return Ok(vec![format!("{place}: one row expected, found {}: {}", keys.len(), keys.join(" "))]);
    };
    let Some(wanted) = row.get("columns") else { return Ok(Vec::new()) };
    let mut wrong = Vec::new();
    for (column, value) in wanted.as_object().with_context(|| format!("columns of {place}"))? {
        match columns.get(column.as_str()) {
            Some(cell) if is_value(cell, value) => {}
            Some(cell) => wrong.push(format!("{} {column}: expected {value}, found {cell}", display_key(key))),
            None => wrong.push(format!("{place}: no column {column}")),
        }
    }
    Ok(wrong)
}

/// Whether a cell has the value written in a scenario.
fn is_value(cell: &Cell, value: &Value) -> bool {
    match (cell, value) {
        (Cell::Null, Value::Null) => true,
        (Cell::Int(number), value) => value.as_i64() == Some(*number),
        (Cell::Float(_), value) => value.as_f64().is_some_and(|number| cell.agrees_with(&Cell::Float(number))),
        (Cell::Text(text), Value::String(value)) => text == value,
        (Cell::Bool(flag), Value::Bool(value)) => flag == value,
        (Cell::TimeMs(time), Value::String(value)) => clock::parse(value) == Some(*time),
        _ => false,
    }
}
