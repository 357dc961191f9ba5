//! Readers from outside (DuckDB, Polars, deltalake, pyarrow) as processes beside a job.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::{Cell, Table, key_columns};

/// A reader that has not come so far by then hangs.
const PATIENCE: Duration = Duration::from_secs(100);

/// The readers, and how long each pauses between two reads, seconds: the fast one makes most of the reads.
pub const READERS: [(&str, f64); 4] = [("deltalake", 0.0), ("duckdb", 0.03), ("polars", 0.03), ("pyarrow", 0.02)];

/// The Python that `deploy/setup.sh --readers` provides; `None`, with a line on standard output, without it.
pub fn python() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("CONTACTFLOW_CACHE")
        .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("contactflow")))
        .or_else(|| Some(folder("HOME")?.join(".cache/contactflow")))?;
    let python = cache.join("venv/bin/python");
    let has_readers = Command::new(&python)
        .args(["-c", "import duckdb, duckdb_extensions, deltalake, polars, pandas, pyarrow"])
        .output()
        .is_ok_and(|run| run.status.success());
    if !has_readers {
        println!("SKIPPED: {} has no readers; deploy/setup.sh --readers provides them", python.display());
    }
    has_readers.then_some(python)
}

/// A script of `tests/readers`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("readers").join(name)
}

/// What a reader found in a table: rows, and the digest of their sorted texts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Content {
    /// Rows.
    pub rows: usize,
    /// SHA-256, hexadecimal.
    pub digest: String,
}

impl Content {
    /// Of a table as the tests read it, in the given columns.
    pub fn of(name: &str, table: &Table, columns: &[String]) -> Self {
        let row = |(key, values): (&Vec<Cell>, &crate::model::Columns)| {
            let keys = key_columns(name).iter().copied().zip(key);
            let cells: BTreeMap<&str, &Cell> = keys.chain(values.iter()).collect();
            let texts = columns.iter().map(|column| match cells.get(column.as_str()) {
                Some(Cell::Int(number) | Cell::TimeMs(number)) => (*number).into(),
                Some(Cell::Text(text)) => text.as_str().into(),
                Some(Cell::Bool(flag)) => (*flag).into(),
                _ => Value::Null,
            });
            Value::Array(texts.collect()).to_string()
        };
        let mut lines: Vec<String> = table.iter().map(row).collect();
        lines.sort_unstable();
        let hash = Sha256::digest(lines.join("\n"));
        Self { rows: table.len(), digest: hash.iter().map(|byte| format!("{byte:02x}")).collect() }
    }
}

/// One read.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Read {
    /// What was found, and at which version of the table, where the reader tells.
    Found {
        /// The version.
        version: Option<u64>,
        /// The content.
        #[serde(flatten)]
        content: Content,
    },
    /// It failed.
    Failed {
        /// Why.
        error: String,
    },
}

/// A reader that reads one table again and again.
pub struct Watcher {
    /// Which reader.
    pub reader: &'static str,
    child: Child,
    /// Closed to end it.
    input: Option<ChildStdin>,
    output: PathBuf,
}

impl Watcher {
    /// Starts one of [`READERS`] on the table in `folder`, which need not be there yet; what it says is kept in `desk`.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(
        python: &Path,
        (reader, pause_seconds): (&'static str, f64),
        folder: &Path,
        columns: &[String],
        desk: &Path,
    ) -> Result<Self> {
        let output = desk.join(format!("{reader}.reads"));
        let mut command = Command::new(python);
        command.arg(script("watch_table.py")).arg(folder).args([reader, &pause_seconds.to_string()]);
        command.arg(serde_json::to_string(columns)?);
        command.stdin(Stdio::piped()).stdout(File::create(&output)?).stderr(File::create(desk.join(reader))?);
        let mut child = command.spawn().with_context(|| format!("{reader} does not start"))?;
        Ok(Self { reader, input: child.stdin.take(), child, output })
    }

    /// How many lines it has told.
    ///
    /// # Errors
    /// What the disk says.
    pub fn lines(&self) -> Result<usize> {
        Ok(std::fs::read_to_string(&self.output)?.lines().count())
    }

    /// Waits until it has told so many lines: one that it is ready, then one for each read.
    ///
    /// # Errors
    /// It does not come so far.
    pub fn wait_for_lines(&mut self, lines: usize) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.lines()? < lines {
            let what = std::fs::read_to_string(self.output.with_file_name(self.reader)).unwrap_or_default();
            ensure!(self.child.try_wait()?.is_none(), "{} ended: {what}", self.reader);
            ensure!(Instant::now() < until, "{} does not get there: {what}", self.reader);
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ends it; the reads it made.
    ///
    /// # Errors
    /// It says something else than reads.
    pub fn stop(mut self) -> Result<Vec<Read>> {
        drop(self.input.take());
        let until = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < until, "{} does not end", self.reader);
            sleep(Duration::from_millis(10));
        }
        let told = std::fs::read_to_string(&self.output)?;
        let reads = told.lines().skip(1).map(|line| serde_json::from_str(line).with_context(|| line.to_owned()));
        reads.collect()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
