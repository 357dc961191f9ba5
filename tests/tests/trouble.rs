//! A full disk, a disk that may not be written, a bucket that goes away: a clear error, and a restart goes on.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use contactflow::settings::Layout;
use contactflow_tests::bytes::differing_folders;
use contactflow_tests::histories::{Size, history, split};
use contactflow_tests::product::Product;
use contactflow_tests::program::{Commits, Job, Mode, Running};
use contactflow_tests::runner::{Files, RunOptions, Runner, to_files};
use contactflow_tests::stores::{Kind, Store};

/// A job says what is wrong within this.
const SECONDS: Duration = Duration::from_secs(40);

const LAYOUTS: [Layout; 2] = [Layout::Parquet, Layout::Delta];

fn options(layout: Layout) -> RunOptions {
    let tables = ["kpi_agent_channel_hour", "kpi_channel_day"].map(str::to_owned).to_vec();
    RunOptions { kpi_tables: tables, layout, ..RunOptions::default() }
}

fn files() -> Files {
    to_files(&split(&history(5, Size::default()), 2, 5))
}

fn is_clean(store: &Store, files: &[(String, Vec<u8>)]) -> Result<()> {
    let product = Product::new()?;
    let clean = product.run(files, options(Layout::default()))?;
    let differing = differing_folders(&clean, &store.files("tables")?)?;
    ensure!(differing.is_empty(), "other bytes than a clean run: {}", differing.join(", "));
    Ok(())
}

/// Runs a script in which `$0` is the folder of the tables and `"$@"` the job, where what it mounts is its own affair.
/// `None`, with a line on standard output, where that is not allowed.
fn in_own_mounts(store: &Store, job: &Job, script: &str) -> Result<Option<Running>> {
    let allowed = Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "tmpfs"]).arg(store.desk()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("SKIPPED: this needs unshare -m and mount, as root");
        return Ok(None);
    }
    let program = job.command(Mode::Once, 1)?;
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).arg(store.files("tables")?).arg(program.get_program());
    command.args(program.get_args());
    Ok(Some(job.start_as(&mut command)?))
}

fn on_a_disk(layout: Layout) -> Result<(Store, Job, Files)> {
    let store = Store::start(Kind::Disk)?.context("there is a disk")?;
    let files = files();
    for (name, content) in &files {
        store.put(&format!("events/{name}"), content)?;
    }
    let job = Job::new(&store, "events", "tables", &options(layout))?;
    Ok((store, job, files))
}

/// 256 KiB hold some of the tables, and no more; 64 MiB hold all.
#[test]
fn a_full_disk_is_told_and_a_restart_goes_on() -> Result<()> {
    LAYOUTS.into_iter().try_for_each(a_full_disk_is_told)
}

fn a_full_disk_is_told(layout: Layout) -> Result<()> {
    let (store, job, files) = on_a_disk(layout)?;
    let script = "set -e; whole=$(mktemp -d); mount -t tmpfs -o size=256k tmpfs \"$0\"; cd \"$0\"
        if \"$@\"; then echo it was not full >&2; exit 3; fi
        mount -o remount,size=64m \"$0\"; \"$@\"; cp -a \"$0\"/. \"$whole\"; umount -l \"$0\"; cp -a \"$whole\"/. \"$0\"";
    let Some(running) = in_own_mounts(&store, &job, script)? else { return Ok(()) };
    let ended = running.end()?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.errors);
    let told = ended.errors.lines().find(|line| line.starts_with("contactflow: error: ")).context("it was told")?;
    ensure!(told.contains("No space left") && told.contains("check free space"), "{told}");
    is_clean(&store, &files)
}

#[test]
fn a_disk_that_may_not_be_written_is_told_and_a_restart_goes_on() -> Result<()> {
    LAYOUTS.into_iter().try_for_each(a_disk_that_may_not_be_written_is_told)
}

fn a_disk_that_may_not_be_written_is_told(layout: Layout) -> Result<()> {
    let (store, job, files) = on_a_disk(layout)?;
    let script = "set -e; mount --bind \"$0\" \"$0\"; mount -o remount,bind,ro \"$0\"; exec \"$@\"";
    let Some(running) = in_own_mounts(&store, &job, script)? else { return Ok(()) };
    let complaint = running.end()?.complaint()?;
    ensure!(complaint.contains("Read-only") && complaint.contains("permissions"), "{complaint}");
    job.once(2)?.well()?;
    is_clean(&store, &files)
}

/// Events on one store, so that only the tables' bucket is gone.
#[test]
fn a_bucket_that_goes_away_is_told_and_a_restart_goes_on() -> Result<()> {
    LAYOUTS.into_iter().try_for_each(a_bucket_that_goes_away_is_told)
}

fn a_bucket_that_goes_away_is_told(layout: Layout) -> Result<()> {
    let store = Store::start(Kind::S3)?.context("the S3 server is always there")?;
    let server = store.server().context("it is one")?;
    let files = files();
    let job = Job::new(&store, "events", "tables", &options(layout))?;
    let put = |number: usize| store.put(&format!("events/{}", files[number].0), &files[number].1);
    put(0)?;
    let mut running = job.start(Mode::Follow, 1)?;
    running.wait_until(|| Ok(Commits::read(&store.files("tables")?)?.newest > 0))?;
    server.delete_bucket("contactflow")?;
    let complaint = running.end_within(SECONDS)?.complaint()?;
    ensure!(complaint.contains("does not exist") && complaint.contains("s3://contactflow"), "{complaint}");

    let complaint = job.once(1)?.complaint()?;
    ensure!(complaint.contains("does not exist"), "without the bucket nothing begins: {complaint}");
    server.create_bucket("contactflow")?;
    put(0)?;
    put(1)?;
    job.once(1)?.well()?;
    is_clean(&store, &files)
}

/// A store that takes connections and never answers: what waits for it can be stopped, long before it would give up.
#[test]
fn a_job_that_waits_for_a_store_can_be_stopped() -> Result<()> {
    let store = Store::start(Kind::Disk)?.context("there is a disk")?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let job = Job::new(&store, "events", "tables", &options(Layout::Delta))?
        .with_variable("AWS_ACCESS_KEY_ID", "key")
        .with_variable("AWS_SECRET_ACCESS_KEY", "secret")
        .with_variable("AWS_ALLOW_HTTP", "true")
        .with_variable("AWS_ENDPOINT", &format!("http://{}", listener.local_addr()?));
    for signals in [1, 2] {
        let mut running = job.start_as(job.command(Mode::Once, 1)?.args(["--output", "s3://contactflow/tables"]))?;
        // Once it has connected it listens for signals.
        let (_silent, _) = listener.accept()?;
        let begun = std::time::Instant::now();
        for _ in 0..signals {
            running.stop()?;
            std::thread::sleep(Duration::from_millis(300));
        }
        let ended = running.end_within(Duration::from_secs(15))?;
        let (says, seconds) =
            [("of being asked to stop", 12), ("stopped before everything was committed", 4)][signals - 1];
        let complaint = ended.complaint()?;
        ensure!(complaint.contains(says) && ended.status.code() == Some(1), "{signals} signals: {complaint}");
        ensure!(begun.elapsed() < Duration::from_secs(seconds), "{signals} signals: after {:?}", begun.elapsed());
    }
    Ok(())
}
