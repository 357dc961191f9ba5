//! One request in ten fails, in every way there is, and the tables are those of a clean run (`src/object_server/faults.rs`).
//!
//! `CONTACTFLOW_ROUNDS=50` and `CONTACTFLOW_SEED=77` try more, and other ones.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use contactflow::sink::Objects;
use contactflow::store::Root;
use contactflow_tests::kills::{Campaign, Tally};
use contactflow_tests::object_server::faults::Faults;
use contactflow_tests::object_server::{ObjectServer, Options};
use contactflow_tests::stores::{Kind, Store};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

/// Rounds of a campaign, each with a file or two more; then a new root begins, in another layout.
const ROUNDS_OF_A_CAMPAIGN: u64 = 2;
const ROUNDS: u64 = 6;
/// Kills of a campaign among failing requests.
const KILLS_OF_A_CAMPAIGN: u64 = 2;
const KILLS: u64 = 6;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn again(seed: u64, test: &str) -> String {
    format!("seed {seed}; again: CONTACTFLOW_SEED={seed} cargo nextest run --workspace -E 'test(={test})'")
}

#[test]
fn tables_survive_failing_requests() -> Result<()> {
    let (first, rounds) = (number("CONTACTFLOW_SEED", 1), number("CONTACTFLOW_ROUNDS", ROUNDS));
    let mut total = Tally::default();
    for (number, seed) in (first..first + rounds.div_ceil(ROUNDS_OF_A_CAMPAIGN)).enumerate() {
        let again = again(seed, "tables_survive_failing_requests");
        println!("{again}");
        let campaign = Campaign::new(Kind::S3, seed)?.context("the S3 server is always there")?;
        let rest = rounds - number as u64 * ROUNDS_OF_A_CAMPAIGN;
        let run = campaign.with_faults(Faults::tenth(seed)).rounds(rest.min(ROUNDS_OF_A_CAMPAIGN));
        total += run.context(again)?;
    }
    println!("{total:?}");
    Ok(())
}

#[test]
fn tables_survive_kills_among_failing_requests() -> Result<()> {
    let (first, kills) = (number("CONTACTFLOW_SEED", 1), number("CONTACTFLOW_KILLS", KILLS));
    let mut total = Tally::default();
    for seed in first.. {
        let again = again(seed, "tables_survive_kills_among_failing_requests");
        println!("{again}");
        let campaign = Campaign::new(Kind::S3, seed)?.context("the S3 server is always there")?;
        let rest = kills.saturating_sub(total.kills).min(KILLS_OF_A_CAMPAIGN);
        total += campaign.with_faults(Faults::tenth(seed)).until_killed(rest).context(again)?;
        if total.kills >= kills {
            break;
        }
    }
    println!("{total:?}");
    Ok(())
}

/// A root on a server, opened without this process's environment.
fn root(environment: &[(String, String)], prefix: &str) -> Result<Root> {
    _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = AmazonS3Builder::new().with_bucket_name("contactflow");
    for (name, value) in environment {
        builder = builder.with_config(name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>()?, value);
    }
    Ok(Root::over(Arc::new(builder.build()?), "s3://contactflow", prefix))
}

/// Many writers want the same name: one gets it and knows, whatever happens to requests and replies.
#[test]
fn a_conditional_write_has_one_winner_who_knows_it() -> Result<()> {
    let store = Store::start(Kind::S3)?.context("the S3 server is always there")?;
    let server = store.server().context("it is one")?;
    let root = root(&server.environment(), "race")?;
    for round in 0..8 {
        server.set_faults(if round % 2 == 0 { Faults::default() } else { Faults::tenth(round) });
        let name = format!("claims/{round}.json");
        let race = |writer: usize| root.put_if_absent(&name, Bytes::from(format!("written by {writer}")));
        let won = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8).map(|writer| scope.spawn(move || race(writer))).collect();
            writers.into_iter().map(|writer| writer.join().expect("no writer panics")).collect::<Result<Vec<_>, _>>()
        })?;
        server.set_faults(Faults::default());
        let winners: Vec<usize> = (0..8).filter(|&writer| won[writer]).collect();
        ensure!(winners.len() == 1, "round {round}: {winners:?} won");
        let standing = root.get(&root.at(&name))?;
        ensure!(standing == format!("written by {}", winners[0]), "round {round}: the loser's content stands");
    }
    Ok(())
}

/// What is written is there and whole, in one request or in parts, and listed in pages.
#[test]
fn objects_survive_failing_requests_and_a_restart_of_the_server() -> Result<()> {
    let options = Options { page_keys: 3, ..Options::default() };
    let folder = tempfile::tempdir()?;
    let server = ObjectServer::start(folder.path(), &options)?;
    server.create_bucket("contactflow")?;
    server.set_faults(Faults { staleness: Duration::ZERO, ..Faults::tenth(11) });
    let objects = root(&server.environment(), "objects")?;
    let content =
        |number: usize| Bytes::from(vec![number as u8; if number == 5 { (8 << 20) + 17 } else { 1 + number }]);
    let names: Vec<String> = (0..10).map(|number| format!("table/date=2024-01-{number:02}/part-0.parquet")).collect();
    let mut tags = Vec::new();
    for (number, name) in names.iter().enumerate() {
        tags.push(Objects::put(&objects, name, content(number))?);
    }
    let check = |objects: &Root| -> Result<()> {
        let listed = Objects::list(objects, "table")?;
        ensure!(listed.iter().map(|object| &object.name).eq(&names), "listed {listed:?}");
        ensure!(listed.iter().map(|object| &object.tag).eq(&tags), "versions {listed:?}, written {tags:?}");
        for (number, name) in names.iter().enumerate() {
            let stored = Objects::get(objects, name)?.context("it is there")?;
            ensure!(stored.body == content(number) && stored.tag == tags[number], "{name} is another");
        }
        Ok(())
    };
    check(&objects)?;
    ensure!(server.failed_requests() > 0, "nothing failed in {} requests", server.requests());
    drop(server);

    let server = ObjectServer::start(folder.path(), &options)?;
    let objects = root(&server.environment(), "objects")?;
    check(&objects)?;
    Objects::delete(&objects, &names[0])?;
    Objects::delete(&objects, &names[0])?;
    ensure!(Objects::get(&objects, &names[0])?.is_none() && Objects::list(&objects, "table")?.len() == 9);
    server.delete_bucket("contactflow")?;
    let error = Objects::list(&objects, "table").err().context("a bucket that is gone is no empty folder")?;
    ensure!(error.to_string().contains("does not exist"), "{error}");
    Ok(())
}

/// The server as a process of its own, killed with `kill -9` while it is written to: what it answered stays.
#[test]
fn what_the_server_answered_survives_its_death() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let start = || -> Result<(Child, Vec<(String, String)>)> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_s3-test-server"));
        let mut child = command.arg(folder.path()).arg("contactflow").stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("the output is piped")?).lines();
        let variables = lines.take(5).map(|line| {
            let line = line?;
            let (name, value) = line.split_once('=').context("NAME=value")?;
            Ok((name.to_owned(), value.to_owned()))
        });
        let variables = variables.collect::<Result<_>>()?;
        Ok((child, variables))
    };
    let (mut child, environment) = start()?;
    let objects = root(&environment, "objects")?;
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Until the server dies.
            while objects
                .put(&objects.at(&answered.load(Ordering::SeqCst).to_string()), Bytes::from(vec![7; 50_000]))
                .is_ok()
            {
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
        while answered.load(Ordering::SeqCst) < 20 {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill()
    })?;
    child.wait()?;

    let (mut child, environment) = start()?;
    let objects = root(&environment, "objects")?;
    let listed = objects.list(&objects.at(""))?;
    let answered = answered.into_inner();
    ensure!((answered..=answered + 1).contains(&listed.len()), "{answered} answered, {} there", listed.len());
    ensure!(listed.iter().all(|meta| meta.size == 50_000), "half of an object: {listed:?}");
    child.kill()?;
    child.wait()?;
    Ok(())
}
