//! Several processes run one job: the tables are those of one process, byte for byte, whatever ends and begins in between; and
//! whatever goes wrong in one of them ends all, with a clear error, within seconds.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use contactflow_tests::bytes::differing_folders;
use contactflow_tests::cluster::{Cluster, Shape, hosts_file};
use contactflow_tests::histories::{Size, history, split};
use contactflow_tests::product::Product;
use contactflow_tests::program::{Commits, Job, Mode};
use contactflow_tests::runner::{Files, RunOptions, Runner, to_files};
use contactflow_tests::stores::{Kind, Store};
use contactflow_tests::tables::read_tables;

/// What ends one process has ended the others by then.
const SECONDS: Duration = Duration::from_secs(15);
/// How long the processes wait for each other, by the settings of [`Job`].
const WAIT: Duration = Duration::from_secs(10);

fn shape(processes: usize, workers: usize) -> Shape {
    Shape { processes, workers }
}

fn options() -> RunOptions {
    let tables = ["kpi_agent_channel_hour", "kpi_channel_day", "kpi_queue_channel_week", "kpi_tenant_month"];
    RunOptions { kpi_tables: tables.map(str::to_owned).to_vec(), epoch_rows: Some(50), ..RunOptions::default() }
}

/// A job over files that arrive one by one, and what a clean run of one process makes of them.
struct Scene {
    store: Store,
    job: Job,
    files: Files,
    product: Product,
}

impl Scene {
    fn new(kind: Kind, seed: u64, files: u64) -> Result<Self> {
        let store = Store::start(kind)?.context("the store is always there")?;
        let files = to_files(&split(&history(seed, Size { conversations: 40, ..Size::default() }), files, seed));
        let job = Job::new(&store, "events", "tables", &options())?;
        Ok(Self { store, job, files, product: Product::new()? })
    }

    fn deliver(&self, files: std::ops::Range<usize>) -> Result<()> {
        self.files[files].iter().try_for_each(|(name, content)| self.store.put(&format!("events/{name}"), content))
    }

    fn once(&self, shape: Shape) -> Result<()> {
        Cluster::once(&self.store, &self.job, shape)
    }

    fn follow(&self, shape: Shape) -> Result<Cluster> {
        Cluster::start(&self.store, &self.job, Mode::Follow, shape)
    }

    fn commits(&self) -> Result<Commits> {
        Commits::read(&self.store.files("tables")?)
    }

    /// The tables are those of a clean run over the first so many files.
    fn is_clean(&self, files: usize) -> Result<()> {
        let clean = self.product.run(&self.files[..files], options())?;
        let tables = self.store.files("tables")?;
        let count = read_tables(&tables)?.values().map(|table| table.len()).sum::<usize>();
        ensure!(count > 20, "there is next to nothing to compare");
        let differing = differing_folders(&clean, &tables)?;
        ensure!(differing.is_empty(), "other bytes than a clean run: {}", differing.join(", "));
        Ok(())
    }
}

#[test]
fn processes_and_workers_do_not_change_a_byte() -> Result<()> {
    for (seed, shape) in [(11, shape(2, 2)), (12, shape(3, 1))] {
        let scene = Scene::new(Kind::Disk, seed, 5)?;
        scene.deliver(0..5)?;
        scene.once(shape)?;
        scene.is_clean(5).with_context(|| format!("{shape:?}"))?;
        let commits = scene.commits()?;
        ensure!(commits.newest == 1 && commits.sources.len() == 5, "{commits:?}");
    }
    Ok(())
}

#[test]
fn a_restart_with_other_processes_goes_on() -> Result<()> {
    let scene = Scene::new(Kind::S3, 13, 5)?;
    for (number, shape) in [shape(2, 1), shape(1, 1), shape(3, 1), shape(1, 2), shape(2, 2)].into_iter().enumerate() {
        scene.deliver(number..number + 1)?;
        scene.once(shape).with_context(|| format!("file {number}"))?;
        scene.is_clean(number + 1).with_context(|| format!("after file {number} with {shape:?}"))?;
    }
    ensure!(scene.commits()?.newest == 5, "a commit per file");
    // With nothing new nothing is written.
    let before = scene.commits()?;
    scene.once(shape(2, 1))?;
    scene.is_clean(5)?;
    ensure!(scene.commits()?.sources == before.sources, "the same sources");
    Ok(())
}

#[test]
fn a_following_job_is_stopped_at_any_process() -> Result<()> {
    let scene = Scene::new(Kind::Disk, 14, 4)?;
    scene.deliver(0..1)?;
    let mut cluster = scene.follow(shape(2, 2))?;
    for number in 1..=4 {
        cluster.processes[0].wait_until(|| Ok(scene.commits()?.sources.len() >= number))?;
        if number < 4 {
            scene.deliver(number..number + 1)?;
        }
    }
    ensure!(scene.commits()?.newest >= 4, "a commit per file");
    cluster.processes[1].stop()?;
    for ended in cluster.end_within(SECONDS)? {
        ended.well()?;
    }
    scene.is_clean(4)
}

fn the_others_end(dies: usize, told: &str) -> Result<()> {
    let scene = Scene::new(Kind::Disk, 15 + dies as u64, 3)?;
    scene.deliver(0..1)?;
    let mut cluster = scene.follow(shape(3, 1))?;
    cluster.processes[0].wait_until(|| Ok(scene.commits()?.sources.len() == 1))?;
    ensure!(cluster.processes[0].ended()?.is_none(), "{}", cluster.processes[0].errors());
    scene.deliver(1..2)?;
    let begun = Instant::now();
    cluster.processes[dies].kill()?;
    for (process, ended) in cluster.end_within(SECONDS)?.iter().enumerate().filter(|(process, _)| *process != dies) {
        let complaint = ended.complaint()?;
        ensure!(ended.status.code() == Some(1) && complaint.contains(told), "process {process}: {complaint}");
    }
    println!("the others ended {:?} after process {dies} was killed", begun.elapsed());
    scene.deliver(2..3)?;
    scene.once(shape(2, 1))?;
    scene.is_clean(3)
}

#[test]
fn a_killed_member_ends_the_job_and_a_restart_goes_on() -> Result<()> {
    the_others_end(1, "start all of its processes again")
}

#[test]
fn a_killed_first_process_ends_the_job_and_a_restart_goes_on() -> Result<()> {
    the_others_end(0, "start all of its processes again")
}

/// Killed at moments spread over its run, from before the processes have met to after the commit.
#[test]
fn a_process_killed_at_any_moment_leaves_tables_to_go_on_from() -> Result<()> {
    let scene = Scene::new(Kind::Disk, 18, 6)?;
    for (number, after_ms) in [50, 400, 700, 1000, 1500].into_iter().enumerate() {
        scene.deliver(number..number + 1)?;
        let mut cluster = Cluster::start(&scene.store, &scene.job, Mode::Once, shape(2, 1))?;
        std::thread::sleep(Duration::from_millis(after_ms));
        let dies = number % 2;
        cluster.processes[dies].kill()?;
        // One that has met nobody yet waits a while for the other.
        let survivor = cluster.processes[1 - dies].end_within(WAIT + SECONDS)?;
        if !survivor.status.success() {
            let complaint = survivor.complaint()?;
            let told = ["was lost", "ended before", "was not there"];
            ensure!(told.iter().any(|told| complaint.contains(told)), "killed after {after_ms} ms: {complaint}");
        }
    }
    scene.deliver(5..6)?;
    scene.once(shape(2, 2))?;
    scene.is_clean(6)
}

/// The second process looks for the tables below another folder, where a file is in the way of the state.
#[test]
fn an_error_of_one_process_ends_all() -> Result<()> {
    let scene = Scene::new(Kind::Disk, 16, 4)?;
    scene.deliver(0..4)?;
    let elsewhere = scene.store.desk().join("elsewhere");
    std::fs::create_dir_all(elsewhere.join("tables/_contactflow"))?;
    std::fs::write(elsewhere.join("tables/_contactflow/state"), "in the way")?;
    let hosts = hosts_file(&scene.store, 2)?;
    let start = |process: usize, folder: &Path| {
        let mut command = scene.job.command(Mode::Follow, 1)?;
        command.args(["--output", "tables", "--process", &process.to_string()]).arg("--hosts").arg(&hosts);
        scene.job.start_as(command.current_dir(folder))
    };
    let processes = vec![start(0, scene.store.folder())?, start(1, &elsewhere)?];
    for (process, ended) in (Cluster { processes }).end_within(SECONDS)?.iter().enumerate() {
        let complaint = ended.complaint()?;
        ensure!(complaint.contains("_contactflow/state"), "process {process}: {complaint}");
        ensure!((process == 1) != complaint.contains("(process 1)"), "process {process}: {complaint}");
        ensure!(ended.status.code() == Some(1), "process {process}: {}", ended.status);
    }
    ensure!(scene.commits()?.sources.is_empty(), "nothing is committed as read");
    scene.once(shape(2, 1))?;
    scene.is_clean(4)
}

/// What keeps one process from beginning, all tell, and nobody claims the root.
#[test]
fn what_keeps_one_process_from_beginning_keeps_all() -> Result<()> {
    let scene = Scene::new(Kind::Disk, 17, 2)?;
    scene.deliver(0..2)?;
    let elsewhere = scene.store.desk().join("elsewhere");
    std::fs::create_dir_all(&elsewhere)?;
    let empty = scene.store.desk().join("empty");
    std::fs::create_dir_all(empty.join("events"))?;
    for (workers, layout, folder, told) in [
        (2, "parquet", scene.store.folder(), "another setting `workers`"),
        (1, "delta", scene.store.folder(), "another setting `layout`"),
        (1, "parquet", elsewhere.as_path(), "events"),
        (1, "parquet", empty.as_path(), "event files"),
    ] {
        let hosts = hosts_file(&scene.store, 2)?;
        let start = |process: usize, workers, layout, folder: &Path| {
            let mut command = scene.job.command(Mode::Once, workers)?;
            command.args(["--input", "events", "--layout", layout, "--process", &process.to_string()]);
            scene.job.start_as(command.arg("--hosts").arg(&hosts).current_dir(folder))
        };
        let first = start(0, 1, "parquet", scene.store.folder())?;
        let cluster = Cluster { processes: vec![first, start(1, workers, layout, folder)?] };
        for (process, ended) in cluster.end_within(SECONDS)?.iter().enumerate() {
            let complaint = ended.complaint()?;
            ensure!(complaint.contains(told), "process {process}: {complaint}");
            ensure!(ended.status.code() == Some(2), "process {process}: {}", ended.status);
        }
    }
    ensure!(scene.commits()?.claims == 0, "nobody has claimed the root");
    Ok(())
}

/// A second job on the root ends the whole first one.
#[test]
fn a_cluster_that_lost_its_root_ends_as_a_whole() -> Result<()> {
    let scene = Scene::new(Kind::Disk, 19, 2)?;
    scene.deliver(0..1)?;
    let mut zombie = scene.follow(shape(2, 1))?;
    zombie.processes[0].wait_until(|| Ok(scene.commits()?.sources.len() == 1))?;
    scene.deliver(1..2)?;
    scene.once(shape(1, 1))?;
    for ended in zombie.end_within(SECONDS)? {
        let complaint = ended.complaint()?;
        ensure!(complaint.contains("held by another writer") && ended.status.code() == Some(1), "{complaint}");
    }
    scene.is_clean(2)
}
