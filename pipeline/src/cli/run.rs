//! `contactflow run` and `contactflow check`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use serde_json::json;

use super::{CliError, say};
use crate::ingest::IngestProgress;
use crate::run::{Mode, RunSummary, Stop};
use crate::settings::{ClusterSettings, JobSettings, Layout};

/// `on` or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Switch {
    On,
    Off,
}

/// Layouts the command line knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LayoutArg {
    Delta,
    Parquet,
}

/// Settings shared by the commands about a job.
#[derive(Debug, Args)]
struct JobArgs {
    /// Job configuration; flags override it
    #[arg(long, value_name = "TOML")]
    config: Option<PathBuf>,
    /// Prefix or file with events: a path, file://, s3://, az:// or gs:// (may be repeated)
    #[arg(long, value_name = "URL_OR_PATH")]
    input: Vec<String>,
    /// Root of the tables
    #[arg(long, value_name = "URL_OR_PATH")]
    output: Option<String>,
    /// Worker threads of each process
    #[arg(long)]
    workers: Option<usize>,
    /// Several processes run the job: a file with the address (host:port) of each, one a line, the same for all
    #[arg(long, value_name = "FILE")]
    hosts: Option<PathBuf>,
    /// Which line of the hosts this process is, from 0
    #[arg(long, value_name = "INDEX")]
    process: Option<usize>,
    /// Layout of the tables
    #[arg(long, value_enum)]
    layout: Option<LayoutArg>,
    /// Score texts with the model
    #[arg(long, value_enum)]
    inference: Option<Switch>,
    /// Devices of the model, such as cpu or cuda:0,cuda:1 (worker i uses device i mod n)
    #[arg(long)]
    devices: Option<String>,
    /// How long layout delta keeps replaced files for readers of earlier versions; 0 deletes them at once
    #[arg(long, value_name = "SECONDS")]
    retention: Option<u64>,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  contactflow run --once --input events --output tables --workers 2
  contactflow run --input s3://bucket/events --output s3://bucket/tables --inference off
  contactflow run --config job.toml
  contactflow run --config job.toml --hosts hosts.txt --process 0    # and --process 1 … elsewhere")]
pub(super) struct RunArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Read what is there, commit, exit; without it the inputs are followed until SIGTERM or ctrl-C
    #[arg(long)]
    once: bool,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    job: JobArgs,
}

impl JobArgs {
    fn settings(self) -> Result<JobSettings, CliError> {
        let mut settings = match &self.config {
            Some(path) => JobSettings::read(path).map_err(CliError::configuration)?,
            None => JobSettings::default(),
        };
        settings.layout = match self.layout {
            Some(LayoutArg::Delta) => Layout::Delta,
            Some(LayoutArg::Parquet) => Layout::Parquet,
            None => settings.layout,
        };
        settings.retention_seconds = self.retention.unwrap_or(settings.retention_seconds);
        if !self.input.is_empty() {
            settings.inputs = self.input;
        }
        settings.output = self.output.unwrap_or(settings.output);
        settings.workers = self.workers.unwrap_or(settings.workers);
        if let Some(path) = &self.hosts {
            settings.cluster.hosts = ClusterSettings::read_hosts(path).map_err(CliError::configuration)?;
        }
        settings.cluster.process = self.process.unwrap_or(settings.cluster.process);
        if let Some(switch) = self.inference {
            settings.inference.enabled = switch == Switch::On;
        }
        settings.inference.devices = self.devices.or(settings.inference.devices);
        Ok(settings)
    }
}

pub(super) fn run(args: RunArgs) -> Result<(), CliError> {
    let settings = args.job.settings()?;
    let mode = if args.once { Mode::Once } else { Mode::Follow };
    let progress = Arc::new(IngestProgress::default());
    let stop = Stop::default();
    stop_on_signals(&stop);
    let summary = watch(&progress, || crate::run::run(&settings, mode, &progress, &stop))?;
    if args.json {
        say(as_json(&summary))
    } else {
        say(as_text(&summary, &settings.output))
    }
    Ok(())
}

pub(super) fn check(args: CheckArgs) -> Result<(), CliError> {
    for line in crate::run::check(&args.job.settings()?)? {
        say(line);
    }
    Ok(())
}

/// SIGTERM and ctrl-C end a following job after its round: drained, committed, exit 0. A store that does not answer is not
/// waited for then. The second one ends the process at once, as `kill -9` would.
fn stop_on_signals(stop: &Stop) {
    let stop = stop.clone();
    crate::store::runtime().spawn(async move {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return;
        };
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        stop.request();
        crate::store::give_up_soon();
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        eprintln!("contactflow: error: stopped before everything was committed; the last commit stands");
        std::process::exit(1);
    });
}

/// Says that the work is done, also where it ends in a panic: the thread that draws would be waited for for ever.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work` while a line on the terminal says how far reading is; silent where there is no terminal.
fn watch<T>(progress: &IngestProgress, work: impl FnOnce() -> T) -> T {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}") {
        bar.set_style(style);
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let rows = progress.rows.load(Ordering::Relaxed);
                let seconds = bar.elapsed().as_secs_f64().max(0.001);
                let rate = (rows as f64 / seconds) as u64;
                bar.set_message(format!("{} rows read, {} rows/s", HumanCount(rows), HumanCount(rate)));
                bar.tick();
                std::thread::park_timeout(Duration::from_millis(200));
            }
        });
        let done = Done(&done);
        let result = work();
        drop(done);
        bar.finish_and_clear();
        result
    })
}

fn as_text(summary: &RunSummary, output: &str) -> String {
    let seconds = summary.elapsed.as_secs_f64();
    let mut text = format!(
        "read {} rows of {} files in {seconds:.1} s ({} rows/s), {} rejected while reading",
        HumanCount(summary.rows),
        summary.files,
        HumanCount((summary.rows as f64 / seconds.max(0.001)) as u64),
        HumanCount(summary.rejects),
    );
    if let Some(commit) = &summary.last_commit {
        text += &format!(
            "\ncommit {}: {} files written ({} rows, {}), {} removed, {} live\ntables: {output}",
            commit.commit,
            commit.files_written,
            HumanCount(commit.rows_written),
            HumanBytes(commit.bytes_written),
            commit.files_removed,
            commit.files_live,
        );
    }
    text
}

fn as_json(summary: &RunSummary) -> serde_json::Value {
    let commit = summary.last_commit.as_ref().map(|commit| {
        json!({
            "commit": commit.commit,
            "files_live": commit.files_live,
            "files_written": commit.files_written,
            "files_removed": commit.files_removed,
            "rows_written": commit.rows_written,
            "bytes_written": commit.bytes_written,
        })
    });
    json!({
        "files": summary.files,
        "rows": summary.rows,
        "rejected_while_reading": summary.rejects,
        "commits": summary.commits,
        "last_commit": commit,
        "elapsed_ms": summary.elapsed.as_millis() as u64,
        "model_id": summary.model_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_panics_is_not_waited_for() {
        let progress = IngestProgress::default();
        let panicked =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| watch(&progress, || panic!("as it may happen"))));
        assert!(panicked.is_err());
    }
}
