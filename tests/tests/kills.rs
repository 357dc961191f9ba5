//! `kill -9`, restart, compare, again and again (`src/kills.rs`).
//!
//! `CONTACTFLOW_KILLS=100` kills that many processes per store instead of the default; `CONTACTFLOW_SEED=77` starts with
//! the campaign of that seed.

use anyhow::{Context, Result};
use contactflow_tests::kills::{Campaign, Tally};
use contactflow_tests::stores::Kind;

/// Kills per campaign: then a new root begins, in another layout.
const KILLS_OF_A_CAMPAIGN: u64 = 4;
const KILLS: u64 = 10;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn survives_kills(kind: Kind, test: &str) -> Result<()> {
    let kills = number("CONTACTFLOW_KILLS", KILLS);
    let first = number("CONTACTFLOW_SEED", 1);
    let mut total = Tally::default();
    for seed in first.. {
        let Some(campaign) = Campaign::new(kind, seed)? else { return Ok(()) };
        let rest = kills.saturating_sub(total.kills).min(KILLS_OF_A_CAMPAIGN);
        let again = format!(
            "seed {seed}; again: CONTACTFLOW_KILLS={rest} CONTACTFLOW_SEED={seed} cargo nextest run --workspace -E 'test(={test})'"
        );
        println!("{kind}: {again}");
        total += campaign.until_killed(rest).context(again)?;
        if total.kills >= kills {
            break;
        }
    }
    println!("{kind}: {total:?}");
    Ok(())
}

#[test]
fn tables_survive_kills_on_a_disk() -> Result<()> {
    survives_kills(Kind::Disk, "tables_survive_kills_on_a_disk")
}

#[test]
fn tables_survive_kills_on_s3() -> Result<()> {
    survives_kills(Kind::S3, "tables_survive_kills_on_s3")
}
