//! The product as a [`Runner`]: the job in this process, over folders, with inference off.

use crate::runner::{RunOptions, Runner, Scratch, write_files};
use crate::tables::{live_files, parquet_files};
use anyhow::{Context, Result, anyhow, bail, ensure};
use contactflow::ingest::IngestProgress;
use contactflow::run::{Mode, RunSummary, Stop, run};
use contactflow::settings::{InferenceSettings, JobSettings};
use contactflow_schemas::rules::KpiRules;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{ScopedJoinHandle, scope, sleep};
use std::time::{Duration, Instant};

/// How often a following job looks for files.
const POLL_MS: u64 = 10;
/// A file that a following job has not read by then is taken for lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the job; its inputs and tables are gone when it is dropped.
#[derive(Debug)]
pub struct Product {
    scratch: Scratch,
}

impl Product {
    /// With a scratch folder of its own.
    pub fn new() -> Result<Product> {
        Ok(Product { scratch: Scratch::new()? })
    }

    /// Settings of a job between two folders.
    pub fn settings(inputs: &[PathBuf], output: &Path, options: &RunOptions) -> JobSettings {
        let mut settings = JobSettings {
            inputs: inputs.iter().map(|input| input.display().to_string()).collect(),
            output: output.display().to_string(),
            workers: options.workers,
            layout: options.layout,
            retention_seconds: options.retention_seconds,
            poll_interval_ms: POLL_MS,
            kpi_tables: options.kpi_tables.clone(),
            seal_after_days: options.seal_after_days,
            kpi: KpiRules { time_zone: options.time_zone.clone(), ..KpiRules::default() },
            inference: InferenceSettings { enabled: false, ..InferenceSettings::default() },
            ..JobSettings::default()
        };
        if let Some(rows) = options.epoch_rows {
            settings.epoch_rows = rows as u64;
        }
        settings
    }

    /// Runs once over files where they are, several times over one that is named several times.
    pub fn run_over(&self, inputs: &[PathBuf], options: &RunOptions) -> Result<(PathBuf, RunSummary)> {
        let output = self.scratch.folder()?.join("tables");
        let settings = Product::settings(inputs, &output, options);
        let summary = run(&settings, Mode::Once, &Arc::new(IngestProgress::default()), &Stop::default())?;
        Ok((output, summary))
    }

    /// A new folder that goes with the product.
    pub fn folder(&self) -> Result<PathBuf> {
        self.scratch.folder()
    }
}

impl Runner for Product {
    fn run(&self, files: &[(String, Vec<u8>)], options: RunOptions) -> Result<PathBuf> {
        let input = self.scratch.folder()?;
        let output = if options.file_by_file {
            let output = self.scratch.folder()?.join("tables");
            follow(&Product::settings(std::slice::from_ref(&input), &output, &options), &input, files)?;
            output
        } else {
            write_files(&input, files)?;
            self.run_over(&[input], &options)?.0
        };
        if options.retention_seconds == 0 {
            ensure!(parquet_files(&output)? == live_files(&output)?, "a plain listing is not the tables");
        }
        Ok(output)
    }
}

/// A following job that gets one file after the other, each when the one before was read.
fn follow(settings: &JobSettings, input: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    let (progress, stop) = (Arc::new(IngestProgress::default()), Stop::default());
    scope(|threads| {
        let job = threads.spawn(|| run(settings, Mode::Follow, &progress, &stop));
        let fed = feed(input, files, &progress, &job);
        stop.request();
        // What the job says explains best why it could not be fed.
        job.join().map_err(|_| anyhow!("the job panicked"))??;
        fed
    })
}

fn feed<T>(
    input: &Path,
    files: &[(String, Vec<u8>)],
    progress: &IngestProgress,
    job: &ScopedJoinHandle<T>,
) -> Result<()> {
    for (number, (name, content)) in files.iter().enumerate() {
        // The job passes over hidden files, so it never sees half of one.
        let hidden = input.join(format!(".{name}"));
        std::fs::write(&hidden, content).with_context(|| format!("cannot write {}", hidden.display()))?;
        std::fs::rename(&hidden, input.join(name))?;
        let until = Instant::now() + PATIENCE;
        while progress.rows_by_file().len() <= number {
            if job.is_finished() || Instant::now() > until {
                bail!("the job did not read {name}");
            }
            sleep(Duration::from_millis(2));
        }
    }
    Ok(())
}
