//! `kill -9` at random moments, and what must hold afterwards.
//!
//! A *campaign* is one root over which files keep arriving. Round by round the program is started with some number of
//! workers, killed, maybe killed again, and started once more and left to finish; then the data files must be those of a
//! clean run over the same files, byte for byte. The same seed makes the same choices; where exactly a kill by time
//! strikes is up to the machine. Of three seeds in a row one is of layout `parquet` and two are of layout `delta`: one without
//! retention, one whose replaced files stay, so that every version of every log can be read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use contactflow::settings::Layout;

use crate::bytes::differing_folders;
use crate::delta_log;
use crate::disk_watch::DiskWatch;
use crate::histories::{Dice, Size, history, split};
use crate::object_server::{Watch, faults::Faults};
use crate::product::Product;
use crate::program::{Commits, Ended, Job, Mode, Running};
use crate::runner::{Files, RunOptions, to_files, write_files};
use crate::stores::{Kind, Store};
use crate::tables::{commit_rows, live_files, parquet_files, read_tables, rejects};

/// Files of a campaign.
const FILES: u64 = 8;
/// A kill by time strikes at most so long after the start.
const LIFE_MS_MAX: u64 = 400;
/// Longer than a campaign takes.
const RETENTION_SECONDS: u64 = 100_000;
/// Tables of all shapes, and few enough for a run to take a moment only.
const KPI_TABLES: [&str; 3] = ["kpi_agent_channel_hour", "kpi_channel_day", "kpi_tenant_month"];

/// What a campaign went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Processes killed.
    pub kills: u64,
    /// Those killed by a count of writes, so at work on the store.
    pub kills_at_writes: u64,
    /// Runs that ended in an error for want of the store.
    pub given_up: u64,
    /// Commits.
    pub commits: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.kills += other.kills;
        self.kills_at_writes += other.kills_at_writes;
        self.given_up += other.given_up;
        self.commits += other.commits;
    }
}

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So long after its start.
    Time(Duration),
    /// At its so many-th write, before (S3 only) or after it is made.
    Write { number: u64, before: bool },
}

/// Tables of clean runs over the first so many files.
struct Clean {
    product: Product,
    files: Files,
    roots: BTreeMap<usize, PathBuf>,
}

impl Clean {
    fn root(&mut self, files: usize) -> Result<&Path> {
        if !self.roots.contains_key(&files) {
            let input = self.product.folder()?;
            write_files(&input, &self.files[..files])?;
            let (root, _) = self.product.run_over(&[input], &options(Layout::default(), 0))?;
            self.roots.insert(files, root);
        }
        Ok(&self.roots[&files])
    }
}

fn options(layout: Layout, retention_seconds: u64) -> RunOptions {
    let kpi_tables = KPI_TABLES.map(str::to_owned).to_vec();
    RunOptions { kpi_tables, layout, retention_seconds, ..RunOptions::default() }
}

/// The options of the campaign of a seed.
fn options_of(seed: u64) -> RunOptions {
    match seed % 3 {
        0 => options(Layout::Parquet, 0),
        1 => options(Layout::Delta, 0),
        _ => options(Layout::Delta, RETENTION_SECONDS),
    }
}

/// A root under attack.
pub struct Campaign {
    store: Store,
    options: RunOptions,
    job: Job,
    dice: Dice,
    clean: Clean,
    delivered: usize,
    /// Writes of the last run that was left to finish.
    writes: u64,
    newest: u64,
    tally: Tally,
}

impl Campaign {
    /// A campaign of a seed; `None` where the store is not to be had.
    ///
    /// # Errors
    /// The store does not start.
    pub fn new(kind: Kind, seed: u64) -> Result<Option<Self>> {
        let Some(store) = Store::start(kind)? else { return Ok(None) };
        let size = Size { conversations: 9, ..Size::default() };
        let files = to_files(&split(&history(seed, size), FILES, seed));
        let options = options_of(seed);
        let job = Job::new(&store, "events", "tables", &options)?;
        let clean = Clean { product: Product::new()?, files, roots: BTreeMap::new() };
        let (dice, tally) = (Dice::new(!seed), Tally::default());
        Ok(Some(Self { store, options, job, dice, clean, delivered: 0, writes: 60, newest: 0, tally }))
    }

    /// With requests to the S3 server failing.
    pub fn with_faults(self, faults: Faults) -> Self {
        if let Some(server) = self.store.server() {
            server.set_faults(faults);
        }
        self
    }

    /// Round after round until so many processes are killed.
    ///
    /// # Errors
    /// What does not hold.
    pub fn until_killed(mut self, kills: u64) -> Result<Tally> {
        let mut round = 0;
        while self.tally.kills < kills {
            round += 1;
            self.round(true).with_context(|| format!("in round {round}"))?;
        }
        Ok(self.tally)
    }

    /// So many rounds without a kill.
    ///
    /// # Errors
    /// What does not hold.
    pub fn rounds(mut self, rounds: u64) -> Result<Tally> {
        for round in 1..=rounds {
            self.round(false).with_context(|| format!("in round {round}"))?;
        }
        Ok(self.tally)
    }

    fn round(&mut self, kills: bool) -> Result<()> {
        for _ in 0..1 + self.dice.below(2) {
            self.deliver()?;
        }
        let mut again = kills;
        while again {
            self.attack()?;
            self.check_between()?;
            again = self.dice.chance(300);
        }
        self.finish()?;
        self.check_complete()
    }

    /// The next file arrives, if one is left.
    fn deliver(&mut self) -> Result<()> {
        if let Some((name, content)) = self.clean.files.get(self.delivered) {
            self.store.put(&format!("events/{name}"), content)?;
            self.delivered += 1;
        }
        Ok(())
    }

    fn tables(&self) -> Result<PathBuf> {
        self.store.files("tables")
    }

    fn all_is_read(&self) -> Result<bool> {
        Ok(Commits::read(&self.tables()?)?.sources.len() >= self.delivered)
    }

    /// Starts the program and kills it.
    fn attack(&mut self) -> Result<()> {
        let mode = self.dice.pick(&[Mode::Once, Mode::Follow]);
        let workers = self.dice.pick(&[1, 2, 4]);
        let moment = match self.dice.below(3) {
            0 => Moment::Time(Duration::from_millis(self.dice.below(LIFE_MS_MAX))),
            _ => Moment::Write { number: 1 + self.dice.below(self.writes), before: self.dice.chance(500) },
        };
        let victim = Victim::default();
        // From before the start: its first writes count too.
        let _watch = self.arm(moment, &victim)?;
        victim.set(self.job.start(mode, workers)?);
        if mode == Mode::Follow && self.dice.chance(500) {
            sleep(Duration::from_millis(self.dice.below(150)));
            self.deliver()?;
        }
        if let Moment::Time(life) = moment {
            sleep(life);
            victim.kill();
        }
        // What never writes so much is killed when it is done.
        let is_idle = || Ok(mode == Mode::Follow && self.all_is_read()?);
        let ended = victim.wait_until(is_idle)?;
        if let Some(server) = self.store.server() {
            server.set_watch(None);
        }
        if ended.status.code().is_none() {
            self.tally.kills += 1;
            self.tally.kills_at_writes += u64::from(matches!(moment, Moment::Write { .. }));
            return Ok(());
        }
        self.tolerate(&ended)
    }

    /// Lets the victim be killed at a write.
    fn arm(&self, moment: Moment, victim: &Victim) -> Result<Option<DiskWatch>> {
        let Moment::Write { number, before } = moment else { return Ok(None) };
        let victim = victim.clone();
        let Some(server) = self.store.server() else {
            let root = self.tables()?;
            return Ok(Some(DiskWatch::start(&root, move |changes| {
                if changes == number {
                    victim.kill();
                }
            })?));
        };
        let first = server.writes();
        let watch: Watch = Arc::new(move |write| {
            if write.number == first + number && write.is_done != before {
                victim.kill();
            }
        });
        server.set_watch(Some(watch));
        Ok(None)
    }

    /// A run may end in an error only where requests fail, and then says so.
    fn tolerate(&mut self, ended: &Ended) -> Result<()> {
        let faulty = self.store.server().is_some_and(|server| server.failed_requests() > 0);
        if ended.status.success() || !faulty {
            return ended.well();
        }
        ended.complaint()?;
        self.tally.given_up += 1;
        Ok(())
    }

    /// Runs to the end, over everything that has arrived.
    fn finish(&mut self) -> Result<()> {
        loop {
            let mode = self.dice.pick(&[Mode::Once, Mode::Follow]);
            let workers = self.dice.pick(&[1, 2, 4]);
            let counter = Arc::new(AtomicU64::new(0));
            let counted = Arc::clone(&counter);
            let first = self.store.server().map(|server| server.writes());
            let watch = match first {
                None => Some(DiskWatch::start(&self.tables()?, move |n| counted.store(n, Ordering::Relaxed))?),
                Some(_) => None,
            };
            let claims = Commits::read(&self.tables()?)?.claims;
            let mut job = self.job.start(mode, workers)?;
            if mode == Mode::Follow {
                // Before it claims the root a job does not listen for signals.
                let has_begun = || anyhow::Ok(Commits::read(&self.tables()?)?.claims > claims);
                job.wait_until(|| Ok(has_begun()? && self.all_is_read()?))?;
                if job.ended()?.is_none() {
                    job.stop()?;
                }
            }
            let ended = job.end()?;
            drop(watch);
            let last = self.store.server().map_or(0, |server| server.writes());
            self.writes = first.map_or(counter.load(Ordering::Relaxed), |first| last - first).max(3);
            self.tolerate(&ended)?;
            // A listing of the inputs that was stale may have left a file out: then it takes another run.
            if ended.status.success() && self.all_is_read()? {
                return Ok(());
            }
            ensure!(self.tally.given_up < 100, "the job never gets through: {}", ended.errors);
        }
    }

    /// What holds at any moment: no row twice, no commit taken back.
    fn check_between(&mut self) -> Result<()> {
        let root = self.tables()?;
        self.check_logs(&root).context("a Delta log")?;
        read_tables(&root).context("the tables after a kill")?;
        let commits = Commits::read(&root)?;
        ensure!(commits.newest >= self.newest, "commit {} was there, now {} is", self.newest, commits.newest);
        self.newest = commits.newest;
        Ok(())
    }

    /// In layout `delta` every version that shall be kept can be read, and no log is ahead of the next commit.
    fn check_logs(&self, root: &Path) -> Result<()> {
        let newest = Commits::read(root)?.newest as i64;
        let logs = delta_log::logs(root)?;
        ensure!(logs.is_empty() || self.options.layout == Layout::Delta, "layout parquet has no logs");
        for log in logs {
            ensure!(
                log.commit() <= Some(newest + 1),
                "a log is at commit {:?}, the manifest at {newest}",
                log.commit()
            );
            if self.options.retention_seconds > 0 {
                log.check_all_versions()?;
            }
        }
        Ok(())
    }

    /// What holds after a run that ended well.
    fn check_complete(&mut self) -> Result<()> {
        self.check_between()?;
        let root = self.tables()?;
        let commits = Commits::read(&root)?;
        let rows = commit_rows(&root)?;
        ensure!(rows.iter().copied().eq(1..=commits.newest as i64), "table commits has the rows {rows:?}");
        if self.options.retention_seconds == 0 {
            ensure!(parquet_files(&root)? == live_files(&root)?, "a plain listing is not the tables");
        }
        for log in delta_log::logs(&root)? {
            ensure!(log.commit() <= Some(commits.newest as i64), "a log is ahead, at commit {:?}", log.commit());
        }
        self.tally.commits = commits.newest;
        // A claim that was cut off stays for a while: it might be another's that is being made.
        let mut left = partial_files(&root)?;
        left.retain(|path| !path.starts_with(root.join("_contactflow/fence")));
        ensure!(left.is_empty(), "parts of files are left: {left:?}");
        let clean = self.clean.root(self.delivered)?;
        let differing = differing_folders(clean, &root)?;
        ensure!(differing.is_empty(), "other bytes than a clean run: {}", differing.join(", "));
        let sorted = |root: &Path| -> Result<Vec<_>> {
            let mut found = rejects(root)?;
            found.sort();
            Ok(found)
        };
        ensure!(sorted(clean)? == sorted(&root)?, "other rejects than a clean run");
        Ok(())
    }
}

/// Files under the names that the local disk gives them before they are whole.
fn partial_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(partial_files(&entry.path())?);
        } else if entry.file_name().to_string_lossy().contains('#') {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The process to be killed, by whoever comes first.
#[derive(Clone, Default)]
struct Victim(Arc<Mutex<(Option<Running>, bool)>>);

impl Victim {
    fn set(&self, process: Running) {
        let mut victim = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        victim.0 = Some(process);
        if victim.1 {
            drop(victim);
            self.kill();
        }
    }

    fn kill(&self) {
        let mut victim = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        victim.1 = true;
        if let Some(process) = &mut victim.0 {
            // One that has ended cannot be killed, and need not.
            _ = process.kill();
        }
    }

    /// Waits for the end, and kills when `is_idle`.
    fn wait_until(&self, is_idle: impl Fn() -> Result<bool>) -> Result<Ended> {
        let glance = Duration::from_millis(10);
        for _ in 0..20_000 {
            {
                let mut victim = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let process = victim.0.as_mut().context("the process was started")?;
                if let Some(ended) = process.ended()? {
                    return Ok(ended);
                }
            }
            sleep(glance);
            if is_idle()? {
                self.kill();
            }
        }
        anyhow::bail!("a process neither works nor dies")
    }
}
