//! Tables, read while commits go on: no row twice, no file torn, no commit by half.
//!
//! Plain listings (layout `parquet`): on S3 the store is looked at between any two writes; on a disk readers run beside the
//! job, as they please. Delta logs: DuckDB, Polars, deltalake and pyarrow read beside the job, and every read is one of
//! the contents that clean runs, and the oracle, have for the files delivered so far.
//! `CONTACTFLOW_READS=10000` reads that many times per test instead of the default; `CONTACTFLOW_SEED=77` starts there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use arrow::datatypes::DataType;
use bytes::Bytes;
use contactflow::settings::Layout;
use contactflow_tests::histories::{Size, history, split};
use contactflow_tests::model::{Cell, Tables, table_names};
use contactflow_tests::object_server::Watch;
use contactflow_tests::oracle::Row;
use contactflow_tests::outside::{self, Content, READERS, Watcher, python};
use contactflow_tests::product::Product;
use contactflow_tests::program::{Commits, Job, Mode};
use contactflow_tests::property::differences_from_oracle;
use contactflow_tests::runner::{RunOptions, Runner, to_files};
use contactflow_tests::stores::{Kind, Store};
use contactflow_tests::tables::{live_files, parquet_files, read_rows, read_tables};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

const READS: u64 = 300;
const FILES: u64 = 10;
/// Histories that outside readers share their reads between.
const HISTORIES: u64 = 8;
/// The KPI table that is read.
const TABLE: &str = "kpi_channel_hour";

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

fn rows(seed: u64) -> Vec<Row> {
    split(&history(seed, Size { conversations: 12, ..Size::default() }), FILES, seed)
}

fn options(layout: Layout, retention_seconds: u64) -> RunOptions {
    RunOptions { kpi_tables: vec![TABLE.to_owned()], layout, retention_seconds, ..RunOptions::default() }
}

/// A following job that gets one file after the other, each after its commit and what is done `between`; `ends` when it is
/// done or failed.
fn feed(
    store: &Store,
    seed: u64,
    options: &RunOptions,
    mut between: impl FnMut() -> Result<()>,
    ends: &AtomicBool,
) -> Result<()> {
    let files = to_files(&rows(seed));
    let (events, tables) = (format!("{seed}/events"), format!("{seed}/tables"));
    let mut fed = || -> Result<()> {
        let mut job = Job::new(store, &events, &tables, options)?.start(Mode::Follow, 2)?;
        for (number, (name, content)) in files.iter().enumerate() {
            store.put(&format!("{events}/{name}"), content)?;
            job.wait_until(|| Ok(Commits::read(&store.files(&tables)?)?.sources.len() > number))?;
            between()?;
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
        let fed = feed(&store, seed, &options(Layout::Parquet, 0), || Ok(()), &AtomicBool::new(false));
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
            let fed = feed(&store, seed, &options(Layout::Parquet, 0), || Ok(()), &ends);
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

/// The columns of a table that are no fractions, in order of name: their texts are the same whoever reads them.
fn exact_columns(root: &Path) -> Result<Vec<String>> {
    let path = live_files(&root.join(TABLE))?.into_iter().next().context("the table has a file")?;
    let schema = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.schema().clone();
    let is_exact = |kind: &DataType| {
        matches!(kind, DataType::Int32 | DataType::Int64 | DataType::Utf8 | DataType::Boolean | DataType::Timestamp(..))
    };
    let names = schema.fields().iter().filter(|field| is_exact(field.data_type())).map(|field| field.name().clone());
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    Ok(names)
}

/// What the table holds after so many files: that of clean runs, where the oracle agrees. None where that hardly changes.
fn contents(seed: u64) -> Result<Option<(Vec<String>, Vec<Content>)>> {
    let (product, rows) = (Product::new()?, rows(seed));
    let files = to_files(&rows);
    let root = product.run(&files, options(Layout::Delta, 0))?;
    if live_files(&root.join(TABLE))?.is_empty() {
        return Ok(None);
    }
    let columns = exact_columns(&root)?;
    let mut contents = Vec::new();
    for count in 0..=files.len() {
        let known = &files[..count];
        let tables = read_tables(&product.run(known, options(Layout::Delta, 0))?)?;
        contents.push(Content::of(TABLE, &tables[TABLE], &columns));
        let known: Vec<Row> =
            rows.iter().filter(|row| known.iter().any(|(name, _)| *name == row.file)).cloned().collect();
        let wrong = differences_from_oracle(&known, &Tables::from([(TABLE.to_owned(), tables[TABLE].clone())]));
        ensure!(wrong.is_empty(), "a clean run over {count} files: {}", wrong.join("\n"));
    }
    let distinct: BTreeSet<&str> = contents.iter().map(|content| content.digest.as_str()).collect();
    Ok((distinct.len() > 5).then_some((columns, contents)))
}

/// What readers have found so far.
#[derive(Default)]
struct Tally {
    reads: BTreeMap<&'static str, u64>,
    /// Reads without retention that lost a file on the way.
    begun_again: u64,
    states: u64,
}

impl Tally {
    fn total(&self) -> u64 {
        self.reads.values().sum()
    }

    /// Every read is one of the contents, none goes back behind the one before, and a version has one content.
    fn add(
        &mut self,
        reads: Vec<(&'static str, Vec<outside::Read>)>,
        contents: &[Content],
        has_retention: bool,
    ) -> Result<()> {
        let mut versions: BTreeMap<u64, Content> = BTreeMap::new();
        let mut states = BTreeSet::new();
        for (reader, reads) in reads {
            let mut at = None;
            for read in reads {
                match read {
                    outside::Read::Found { version, content } => {
                        let from = at.unwrap_or(0);
                        let next = (from..contents.len()).find(|&next| contents[next] == content);
                        let next = next.with_context(|| {
                            format!(
                                "{reader} read {content:?} at version {version:?}, which no commit from {from} on has"
                            )
                        })?;
                        at = Some(next);
                        states.insert(next);
                        *self.reads.entry(reader).or_default() += 1;
                        if let Some(version) = version {
                            let known = versions.entry(version).or_insert_with(|| content.clone());
                            ensure!(*known == content, "{reader}: version {version} is {known:?} and {content:?}");
                        }
                    }
                    // Before the first commit there is no table.
                    outside::Read::Failed { .. } if at.is_none() => {}
                    outside::Read::Failed { error } => {
                        let lost = ["No such file", "not found", "NotFound", "Cannot open file", "Object at location"];
                        let is_lost = lost.iter().any(|said| error.contains(said));
                        ensure!(!has_retention && is_lost, "{reader} cannot read: {error}");
                        self.begun_again += 1;
                    }
                }
            }
            // The last file may change nothing, so that the last contents are the same.
            let is_last = at.is_some_and(|at| contents.get(at) == contents.last());
            ensure!(is_last, "{reader} came to {at:?} of {} contents", contents.len());
        }
        self.states += states.len() as u64;
        ensure!(states.len() > 2, "nobody read while commits went on");
        Ok(())
    }
}

#[test]
fn outside_readers_beside_the_job_read_whole_commits() -> Result<()> {
    let Some(python) = python() else { return Ok(()) };
    let (wanted, first) = (number("CONTACTFLOW_READS", READS), number("CONTACTFLOW_SEED", 1));
    let mut tally = Tally::default();
    for seed in first.. {
        let again = again(seed, "outside_readers_beside_the_job_read_whole_commits");
        let Some((columns, contents)) = contents(seed).with_context(|| again.clone())? else { continue };
        let store = Store::start(Kind::Disk)?.context("there is a disk")?;
        let options = options(Layout::Delta, if seed % 3 == 0 { 0 } else { 3600 });
        let folder = store.files(&format!("{seed}/tables/{TABLE}"))?;
        let start = |reader| Watcher::start(&python, reader, &folder, &columns, store.desk());
        let mut watchers = READERS.into_iter().map(start).collect::<Result<Vec<_>>>()?;
        watchers.iter_mut().try_for_each(|watcher| watcher.wait_for_lines(1))?;
        // Between two commits readers make so many reads; each commit comes into the middle of others. What they tell before
        // the first commit are failures: there is no table.
        let step = wanted.div_ceil(FILES * HISTORIES) as usize;
        let between = || {
            let lines = || watchers.iter().map(Watcher::lines).sum::<Result<usize>>();
            let told = lines()? + step;
            let until = Instant::now() + Duration::from_secs(200);
            while lines()? < told {
                ensure!(Instant::now() < until, "the readers do not get on");
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(())
        };
        let fed = feed(&store, seed, &options, between, &AtomicBool::new(false));
        let read = fed.and_then(|()| {
            // Everybody sees the end.
            let reads = watchers.into_iter().map(|mut watcher| {
                let lines = watcher.lines()?;
                watcher.wait_for_lines(lines + 2)?;
                Ok((watcher.reader, watcher.stop()?))
            });
            reads.collect::<Result<Vec<_>>>()
        });
        tally.add(read.with_context(|| again.clone())?, &contents, options.retention_seconds > 0).context(again)?;
        if tally.total() >= wanted {
            let Tally { reads, begun_again, states } = &tally;
            println!(
                "{} reads of {states} contents, {reads:?}, {begun_again} begun again, histories {first} to {seed}",
                tally.total()
            );
            return Ok(());
        }
    }
    Ok(())
}
