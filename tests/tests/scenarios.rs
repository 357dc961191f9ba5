//! The scenarios on the oracle: the hand-worked cells check the oracle before it checks anything else.

use anyhow::Result;
use contactflow_tests::model::Tables;
use contactflow_tests::oracle::Oracle;
use contactflow_tests::scenario::{Scenario, folder, load_all};

fn by_oracle(scenario: &Scenario) -> Result<Tables> {
    let score = |text: &str| scenario.scores.get(text).copied();
    Ok(Oracle { score: &score, ..Oracle::default() }.tables(&scenario.rows))
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
