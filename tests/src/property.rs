//! What must hold of a job whatever the history, and the smallest history for which it does not.

use crate::difference::diff;
use crate::histories::{Size, history};
use crate::model::Tables;
use crate::oracle::{Oracle, Row};
use crate::runner::{RunOptions, Runner, run_and_read, to_files};
use crate::shrink::{minimise, ndjson};
use anyhow::{Result, bail};

/// What is wrong about a history, of a seed that may choose how it is run; empty if nothing is.
pub type Check<'c> = &'c dyn Fn(u64, &[Row]) -> Result<Vec<String>>;

/// How many differences a failure prints.
const SHOWN: usize = 20;

/// How the tables of a job differ from what they must be; empty if they are right.
pub fn differences(runner: &dyn Runner, rows: &[Row], options: &RunOptions) -> Result<Vec<String>> {
    let actual = run_and_read(runner, &to_files(rows), options.clone())?;
    Ok(differences_from_oracle(rows, &actual))
}

/// The fewest differences between the tables that are there and the oracle's, over all ways of settling duplicate conflicts.
pub fn differences_from_oracle(rows: &[Row], actual: &Tables) -> Vec<String> {
    let oracle = Oracle::default();
    let names: Vec<&str> = actual.keys().map(String::as_str).collect();
    (0..oracle.settlements(rows))
        .map(|settlement| diff(&Oracle { settlement, ..oracle }.some_tables(rows, &names), actual))
        .min_by_key(Vec::len)
        .unwrap_or_default()
}

/// How the tables of two deliveries of the same events differ.
pub fn differences_between(
    runner: &dyn Runner,
    (one, one_options): (&[Row], &RunOptions),
    (other, other_options): (&[Row], &RunOptions),
) -> Result<Vec<String>> {
    let expected = run_and_read(runner, &to_files(one), one_options.clone())?;
    let actual = run_and_read(runner, &to_files(other), other_options.clone())?;
    Ok(diff(&expected, &actual))
}

/// Fails with the smallest history for which `check` finds something, out of those of the seeds.
///
/// A run that ends in an error counts as found something. The message holds the differences and the scenario to save.
pub fn hold_for_histories(seeds: impl IntoIterator<Item = u64>, size: Size, check: Check) -> Result<()> {
    hold_for(seeds, &|seed| history(seed, size), check)
}

/// As [`hold_for_histories`], with any history of a seed.
pub fn hold_for(seeds: impl IntoIterator<Item = u64>, history: &dyn Fn(u64) -> Vec<Row>, check: Check) -> Result<()> {
    let found = |seed: u64, rows: &[Row]| check(seed, rows).unwrap_or_else(|error| vec![format!("{error:#}")]);
    for seed in seeds {
        let rows = history(seed);
        if found(seed, &rows).is_empty() {
            continue;
        }
        let small = minimise(&rows, &mut |rows| !found(seed, rows).is_empty());
        let differences = found(seed, &small);
        bail!(
            "seed {seed}: {} differences, the first of them:\n  {}\nto keep as tests/scenarios/NAME.ndjson:\n{}",
            differences.len(),
            differences.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n  "),
            ndjson(&small)
        );
    }
    Ok(())
}

/// The seeds to try: `default` many, or as many as `CONTACTFLOW_HISTORIES` says, from `CONTACTFLOW_SEED` on.
pub fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("CONTACTFLOW_SEED").unwrap_or(0);
    first..first.saturating_add(number("CONTACTFLOW_HISTORIES").unwrap_or(default))
}
