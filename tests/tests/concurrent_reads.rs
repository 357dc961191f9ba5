//! Plain listings, read while commits go on: no row twice, no file torn.
//!
//! On S3 the store is looked at between any two writes. On a disk readers run beside the job, as they please.
//! `CONTACTFLOW_READS=10000` reads that many times per store instead of the default; `CONTACTFLOW_SEED=77` starts there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use contactflow_tests::histories::{Size, history, split};
use contactflow_tests::model::{Cell, table_names};
use contactflow_tests::object_server::Watch;
use contactflow_tests::program::{Commits, Job, Mode};
use contactflow_tests::runner::{RunOptions, to_files};
use contactflow_tests::stores::{Kind, Store};
use contactflow_tests::tables::{parquet_files, read_rows};

const READS: u64 = 300;
const FILES: u64 = 10;

type Key = Vec<Cell>;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Reads of one root. Files that have not changed since the last read are not parsed again.
#[derive(Default)]
struct Reader {
    keys: HashMap<String, (String, Arc<Vec<Key>>)>,
}

impl Reader {
    /// Checks one picture of the tables: name, version and content of every file.
    fn check(&mut self, files: Vec<(String, String, Bytes)>) -> Result<()> {
        let mut seen: BTreeMap<&str, BTreeSet<Key>> = BTreeMap::new();
        let names = table_names();
        for (name, version, body) in files {
            let table = name.split('/').next().unwrap_or_default();
            let Some(table) = names.iter().find(|known| **known == table) else { continue };
            if *table == "rejected_events" || !name.ends_with(".parquet") {
                continue;
            }
            let known = self.keys.get(&name).filter(|(of, _)| *of == version).map(|(_, keys)| Arc::clone(keys));
            let keys = match known {
                Some(keys) => keys,
                None => {
                    let rows = read_rows(table, body).with_context(|| format!("{name} is torn"))?;
                    Arc::new(rows.into_keys().collect::<Vec<_>>())
                }
            };
            let seen = seen.entry(table).or_default();
            for key in keys.iter() {
                ensure!(seen.insert(key.clone()), "{name} repeats the row {key:?} of another file");
            }
            self.keys.insert(name, (version, keys));
        }
        Ok(())
    }
}

/// A following job that gets one file after the other; `ends` when it is done or failed.
fn feed(store: &Store, seed: u64, ends: &AtomicBool) -> Result<()> {
    let files = to_files(&split(&history(seed, Size { conversations: 6, ..Size::default() }), FILES, seed));
    let (events, tables) = (format!("{seed}/events"), format!("{seed}/tables"));
    let options = RunOptions { kpi_tables: vec!["kpi_agent_channel_hour".to_owned()], ..RunOptions::default() };
    let fed = || -> Result<()> {
        let mut job = Job::new(store, &events, &tables, &options)?.start(Mode::Follow, 2)?;
        for (number, (name, content)) in files.iter().enumerate() {
            store.put(&format!("{events}/{name}"), content)?;
            job.wait_until(|| Ok(Commits::read(&store.files(&tables)?)?.sources.len() > number))?;
        }
        job.stop()?;
        job.end()?.well()
    };
    let fed = fed();
    ends.store(true, Ordering::Relaxed);
    fed
}

fn again(seed: u64, test: &str) -> String {
    format!(
        "seed {seed}; again: CONTACTFLOW_SEED={seed} CONTACTFLOW_READS=1 cargo nextest run --workspace -E 'test(={test})'"
    )
}

#[test]
fn no_moment_between_two_writes_shows_a_row_twice() -> Result<()> {
    let (wanted, first) = (number("CONTACTFLOW_READS", READS), number("CONTACTFLOW_SEED", 1));
    let store = Arc::new(Store::start(Kind::S3)?.context("the S3 server is always there")?);
    let reads = Arc::new(AtomicU64::new(0));
    for seed in first.. {
        let (reader, wrong) = (Mutex::new(Reader::default()), Arc::new(Mutex::new(None)));
        let (looked_at, counted, told) = (Arc::clone(&store), Arc::clone(&reads), Arc::clone(&wrong));
        let prefix = format!("{seed}/tables/");
        let watch: Watch = Arc::new(move |write| {
            if !write.is_done {
                return;
            }
            let look = || -> Result<()> {
                let server = looked_at.server().context("it is one")?;
                // The lock first: looks come in the order of their pictures.
                let mut reader = reader.lock().expect("no look panics");
                let files = server.snapshot("contactflow", &prefix)?.into_iter();
                reader.check(files.map(|(key, tag, body)| (key[prefix.len()..].to_owned(), tag, body)).collect())
            };
            if let Err(error) = look() {
                told.lock().expect("no look panics").get_or_insert(format!("after {write:?}: {error:#}"));
            }
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let server = store.server().context("it is one")?;
        server.set_watch(Some(watch));
        let again = again(seed, "no_moment_between_two_writes_shows_a_row_twice");
        let fed = feed(&store, seed, &AtomicBool::new(false));
        server.set_watch(None);
        fed.with_context(|| again.clone())?;
        if let Some(wrong) = wrong.lock().expect("no look panics").take() {
            anyhow::bail!("{again}: {wrong}");
        }
        if reads.load(Ordering::Relaxed) >= wanted {
            println!("{} looks between writes, histories {first} to {seed}", reads.load(Ordering::Relaxed));
            return Ok(());
        }
    }
    Ok(())
}

/// What is below a folder: path, inode and time of every file. Equal lists are of one state.
fn state(root: &Path) -> Result<Vec<(PathBuf, u64, i64)>> {
    let files = parquet_files(root)?;
    files
        .into_iter()
        .map(|path| {
            let meta = path.metadata()?;
            Ok((path, meta.ino(), meta.mtime_nsec()))
        })
        .collect()
}

/// Opens every file at once, as far as that goes, then reads. `None` where files changed while they were opened: what a
/// reader makes of two states is no picture of either.
fn picture(root: &Path) -> Option<Vec<(String, String, Bytes)>> {
    let before = state(root).ok()?;
    let opened: Vec<File> = before.iter().map(|(path, ..)| File::open(path).ok()).collect::<Option<_>>()?;
    if state(root).ok()? != before {
        return None;
    }
    let files = before.into_iter().zip(opened);
    files
        .map(|((path, inode, time), mut file)| {
            let mut body = Vec::new();
            file.read_to_end(&mut body).ok()?;
            let name = path.strip_prefix(root).ok()?.display().to_string();
            Some((name, format!("{inode}-{time}"), body.into()))
        })
        .collect()
}

#[test]
fn readers_beside_the_job_see_no_row_twice() -> Result<()> {
    let (wanted, first) = (number("CONTACTFLOW_READS", READS), number("CONTACTFLOW_SEED", 1));
    let store = Store::start(Kind::Disk)?.context("there is a disk")?;
    let (reads, repeated) = (AtomicU64::new(0), AtomicU64::new(0));
    for seed in first.. {
        let ends = AtomicBool::new(false);
        let root = store.files(&format!("{seed}/tables"))?;
        let read = || -> Result<()> {
            let mut reader = Reader::default();
            while !ends.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
                match picture(&root) {
                    Some(files) => {
                        reader.check(files)?;
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                    None => _ = repeated.fetch_add(1, Ordering::Relaxed),
                }
            }
            Ok(())
        };
        let again = again(seed, "readers_beside_the_job_see_no_row_twice");
        std::thread::scope(|scope| {
            let readers = [scope.spawn(read), scope.spawn(read)];
            let fed = feed(&store, seed, &ends);
            for reader in readers {
                reader.join().expect("no reader panics").with_context(|| again.clone())?;
            }
            fed.with_context(|| again.clone())
        })?;
        if reads.load(Ordering::Relaxed) >= wanted {
            println!(
                "{} reads, {} begun again, histories {first} to {seed}",
                reads.into_inner(),
                repeated.into_inner()
            );
            return Ok(());
        }
    }
    Ok(())
}
