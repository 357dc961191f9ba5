//! What a test needs of the product: run it over some files, and say where the tables are.

use crate::model::Tables;
use crate::oracle::{Line, Row};
use crate::tables::read_tables;
use anyhow::Result;
use contactflow::settings::Layout;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// Input files: name and content.
pub type Files = Vec<(String, Vec<u8>)>;

/// How to run the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Timely workers.
    pub workers: usize,
    /// Rows per epoch; `None` leaves it to the job.
    pub epoch_rows: Option<usize>,
    /// The KPI tables to publish; all of them where there are none.
    pub kpi_tables: Vec<String>,
    /// IANA time zone of the windows.
    pub time_zone: String,
    /// Layout of the tables.
    pub layout: Layout,
    /// How long files that left a table are kept in layout `delta`, seconds.
    pub retention_seconds: u64,
    /// Run once per file over the same output, each time with one file more, instead of once over all of them.
    pub file_by_file: bool,
    /// Age at which months are sealed, days; 0 for never.
    pub seal_after_days: u32,
}

impl Default for RunOptions {
    fn default() -> Self {
        RunOptions {
            workers: 1,
            epoch_rows: None,
            kpi_tables: Vec::new(),
            time_zone: "UTC".to_owned(),
            layout: Layout::default(),
            // A plain listing is the tables.
            retention_seconds: 0,
            file_by_file: false,
            seal_after_days: 0,
        }
    }
}

/// Folders for the inputs and outputs of a runner, gone when it is dropped.
#[derive(Debug)]
pub struct Scratch {
    root: TempDir,
    used: AtomicUsize,
}

impl Scratch {
    /// A place in the system's folder for temporary files.
    pub fn new() -> Result<Scratch> {
        Ok(Scratch { root: TempDir::new()?, used: AtomicUsize::new(0) })
    }

    /// A new, empty folder.
    pub fn folder(&self) -> Result<PathBuf> {
        let number = self.used.fetch_add(1, Ordering::Relaxed);
        let path = self.root.path().join(number.to_string());
        std::fs::create_dir(&path)?;
        Ok(path)
    }
}

/// Something that computes tables from files.
pub trait Runner {
    /// Runs over the files with inference off; the tables lie below the returned folder until the runner is dropped.
    fn run(&self, files: &[(String, Vec<u8>)], options: RunOptions) -> Result<PathBuf>;
}

/// Runs and reads the tables back.
pub fn run_and_read(runner: &dyn Runner, files: &[(String, Vec<u8>)], options: RunOptions) -> Result<Tables> {
    read_tables(&runner.run(files, options)?)
}

/// Rows as NDJSON files, each row in the file it names, files in order of name.
pub fn to_files(rows: &[Row]) -> Files {
    let mut names: Vec<&str> = rows.iter().map(|row| row.file.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|name| {
            let lines = rows.iter().filter(|row| row.file == name).map(|row| format!("{}\n", row.line));
            (name.to_owned(), lines.collect::<String>().into_bytes())
        })
        .collect()
}

/// Reads NDJSON; blank lines are no rows.
pub fn rows_of_ndjson(file: &str, text: &str) -> Vec<Row> {
    let lines = text.lines().filter(|line| !line.trim().is_empty()).enumerate();
    lines
        .map(|(position, line)| Row { file: file.to_owned(), position: position as u64, line: Line::read(line) })
        .collect()
}

/// Writes input files below a folder, for runners that read from disk.
pub fn write_files(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<()> {
    for (name, content) in files {
        std::fs::write(folder.join(name), content)?;
    }
    Ok(())
}
