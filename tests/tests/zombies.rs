//! Two jobs on one root: one of them stops with a clear error within seconds, and the tables are those of a clean run.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use contactflow::settings::Layout;
use contactflow_tests::bytes::differing_folders;
use contactflow_tests::cluster::{Cluster, Shape};
use contactflow_tests::delta_log::{self, DeltaLog};
use contactflow_tests::histories::{Size, history, split};
use contactflow_tests::object_server::Write;
use contactflow_tests::product::Product;
use contactflow_tests::program::{Commits, Job, Mode};
use contactflow_tests::runner::{Files, RunOptions, Runner, to_files};
use contactflow_tests::stores::{Kind, Store};
use contactflow_tests::tables::read_tables;

/// A job that lost its root says so within this, idle or not.
const SECONDS: Duration = Duration::from_secs(20);

/// Both layouts; replaced files stay, so that readers of every version could go on.
const LAYOUTS: [Layout; 2] = [Layout::Parquet, Layout::Delta];

fn options(layout: Layout) -> RunOptions {
    let tables = ["kpi_agent_channel_hour", "kpi_tenant_month"].map(str::to_owned).to_vec();
    RunOptions { kpi_tables: tables, layout, retention_seconds: 3600, ..RunOptions::default() }
}

fn files(seed: u64) -> Files {
    to_files(&split(&history(seed, Size::default()), 2, seed))
}

fn is_clean(store: &Store, files: &[(String, Vec<u8>)]) -> Result<()> {
    let product = Product::new()?;
    let clean = product.run(files, RunOptions { retention_seconds: 0, ..options(Layout::default()) })?;
    let tables = store.files("tables")?;
    read_tables(&tables)?;
    delta_log::logs(&tables)?.iter().try_for_each(DeltaLog::check_all_versions)?;
    let differing = differing_folders(&clean, &tables)?;
    ensure!(differing.is_empty(), "other bytes than a clean run: {}", differing.join(", "));
    Ok(())
}

fn the_first_of_two_stops(kind: Kind) -> Result<()> {
    LAYOUTS.into_iter().try_for_each(|layout| the_first_of_two_stops_in(kind, layout))
}

fn the_first_of_two_stops_in(kind: Kind, layout: Layout) -> Result<()> {
    let Some(store) = Store::start(kind)? else { return Ok(()) };
    let files = files(3);
    let job = Job::new(&store, "events", "tables", &options(layout))?;
    store.put(&format!("events/{}", files[0].0), &files[0].1)?;
    let has_read = |count: usize| Ok(Commits::read(&store.files("tables")?)?.sources.len() >= count);

    let mut zombie = job.start(Mode::Follow, 2)?;
    zombie.wait_until(|| has_read(1))?;
    // It has nothing to do when the other comes, and finds out all the same.
    let mut heir = job.start(Mode::Follow, 1)?;
    let begun = Instant::now();
    let ended = zombie.end_within(SECONDS).context("the job that lost its root goes on")?;
    let complaint = ended.complaint()?;
    ensure!(complaint.contains("held by another writer") && ended.status.code() == Some(1), "{complaint}");
    println!("{kind}, {layout:?}: the first job stopped {:?} after the second began", begun.elapsed());

    store.put(&format!("events/{}", files[1].0), &files[1].1)?;
    heir.wait_until(|| has_read(2))?;
    ensure!(heir.ended()?.is_none(), "the second job ended: {}", heir.errors());
    heir.stop()?;
    heir.end()?.well()?;
    is_clean(&store, &files)
}

#[test]
fn the_first_of_two_jobs_stops_on_a_disk() -> Result<()> {
    the_first_of_two_stops(Kind::Disk)
}

#[test]
fn the_first_of_two_jobs_stops_on_s3() -> Result<()> {
    the_first_of_two_stops(Kind::S3)
}

#[test]
fn the_first_of_two_jobs_stops_on_gcs() -> Result<()> {
    the_first_of_two_stops(Kind::Gcs)
}

#[test]
fn the_first_of_two_jobs_stops_on_azure() -> Result<()> {
    the_first_of_two_stops(Kind::Azure)
}

/// Several jobs start at the same moment: whoever does not get through says why, and nothing is damaged.
#[test]
fn jobs_that_start_together_damage_nothing() -> Result<()> {
    for (kind, layout) in [Kind::Disk, Kind::S3].into_iter().flat_map(|kind| LAYOUTS.map(|layout| (kind, layout))) {
        let store = Store::start(kind)?.context("both are always there")?;
        let files = files(4);
        for (name, content) in &files {
            store.put(&format!("events/{name}"), content)?;
        }
        let job = Job::new(&store, "events", "tables", &options(layout))?;
        for round in 0..2 {
            let running: Vec<_> = (0..3).map(|_| job.start(Mode::Once, 1)).collect::<Result<_>>()?;
            let mut done = 0;
            for one in running {
                let ended = one.end()?;
                if ended.status.success() {
                    done += 1;
                } else {
                    let complaint = ended.complaint()?;
                    ensure!(
                        complaint.contains("held by another writer"),
                        "{kind}, {layout:?}, round {round}: {complaint}"
                    );
                }
            }
            ensure!(done > 0, "{kind}, {layout:?}, round {round}: every job stopped");
            read_tables(&store.files("tables")?)?;
        }
        job.once(1)?.well()?;
        is_clean(&store, &files)?;
    }
    Ok(())
}

/// How far the second job has come when the last commit of the first, which had begun before, is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    /// It has claimed the root, read what it goes on from, and is about to write its first state.
    Computing,
    /// It has written its tables and is about to say that they are a commit.
    Committing,
}

/// A commit, held back in the server until the heir has come so far.
#[derive(Default)]
struct HeldBack {
    /// The request is there; it may go on; it is done.
    stage: Mutex<[bool; 3]>,
    changed: Condvar,
}

impl HeldBack {
    fn set(&self, number: usize) -> bool {
        let mut stage = self.stage.lock().expect("no watch panics");
        self.changed.notify_all();
        std::mem::replace(&mut stage[number], true)
    }

    fn wait(&self, number: usize) {
        let stage = self.stage.lock().expect("no watch panics");
        let waited = self.changed.wait_timeout_while(stage, SECONDS, |stage| !stage[number]).expect("no watch panics");
        assert!(waited.0[number], "stage {number} is not reached");
    }

    /// Told of every write.
    fn watch(&self, write: &Write, late: Late, commit: u64) {
        let is_manifest = write.path.ends_with(&format!("manifests/{commit:020}.json"));
        match (is_manifest, write.is_done) {
            (true, false) if !self.set(0) => self.wait(1),
            (true, true) => _ = self.set(2),
            (_, false) => {
                let is_there = match late {
                    Late::Computing => {
                        write.path.contains("/_contactflow/state/") && write.path.contains("/0000000002-")
                    }
                    Late::Committing => is_manifest,
                };
                if is_there {
                    self.set(1);
                    self.wait(2);
                }
            }
            _ => {}
        }
    }
}

/// A job that has made sure that the root is its own, and is held up before it says so, commits after its heir has begun.
fn a_late_commit_is_gone_on_from_in(layout: Layout, late: Late, processes: usize) -> Result<()> {
    let store = Store::start(Kind::S3)?.context("it is always there")?;
    let server = store.server().context("it is one")?;
    let files = to_files(&split(&history(5, Size::default()), 3, 5));
    let job = Job::new(&store, "events", "tables", &options(layout))?;
    let put = |number: usize| store.put(&format!("events/{}", files[number].0), &files[number].1);
    put(0)?;
    let mut zombie = job.start(Mode::Follow, 1)?;
    zombie.wait_until(|| Ok(Commits::read(&store.files("tables")?)?.sources.len() == 1))?;

    let commit = Commits::read(&store.files("tables")?)?.newest + 1;
    let held_back = Arc::new(HeldBack::default());
    let watching = Arc::clone(&held_back);
    server.set_watch(Some(Arc::new(move |write| watching.watch(write, late, commit))));
    put(1)?;
    held_back.wait(0);
    // The zombie has not read this one.
    put(2)?;
    Cluster::once(&store, &job, Shape { processes, workers: 1 })?;
    let complaint = zombie.end_within(SECONDS).context("the job that lost its root goes on")?.complaint()?;
    ensure!(complaint.contains("held by another writer"), "{complaint}");
    let commits = Commits::read(&store.files("tables")?)?;
    ensure!((commits.newest, commits.sources.len()) == (commit + 1, 3), "{commits:?}");
    is_clean(&store, &files)?;
    // What the two have left is enough to go on from.
    job.once(1)?.well()?;
    is_clean(&store, &files)
}

#[test]
fn a_late_commit_is_gone_on_from() -> Result<()> {
    use Late::{Committing, Computing};
    use Layout::{Delta, Parquet};
    for (layout, late, processes) in
        [(Parquet, Computing, 1), (Parquet, Committing, 2), (Delta, Computing, 2), (Delta, Committing, 1)]
    {
        let context = || format!("{layout:?}, {late:?}, {processes} processes");
        a_late_commit_is_gone_on_from_in(layout, late, processes).with_context(context)?;
    }
    Ok(())
}
