//! Readers from outside open the tables: DuckDB, Polars and pandas find the same in them.

use anyhow::{Context, Result, ensure};
use contactflow::generate::{GenerateOptions, generate};
use contactflow::ingest::IngestProgress;
use contactflow::run::{Mode, Stop, run};
use contactflow::settings::Layout;
use contactflow_tests::bytes::differing_folders;
use contactflow_tests::histories::{Size, history, split};
use contactflow_tests::older_program::without_column;
use contactflow_tests::outside::{python, script};
use contactflow_tests::product::Product;
use contactflow_tests::runner::{Files, RunOptions, Runner, to_files, write_files};
use contactflow_tests::tables::{commit_rows, live_files, parquet_files};
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// More than from one checkpoint to the next.
const COMMITS: usize = 12;

/// Rows of a table, from the footers of its files.
fn rows(folder: &Path) -> Result<i64> {
    let mut rows = 0;
    for path in parquet_files(folder)? {
        rows += SerializedFileReader::new(File::open(path)?)?.metadata().file_metadata().num_rows();
    }
    Ok(rows)
}

/// A run per file over one output, then runs that find nothing new: enough commits for a checkpoint of every log.
fn commits(product: &Product, layout: Layout) -> Result<PathBuf> {
    let (input, output) = (product.folder()?, product.folder()?.join("tables"));
    let options = GenerateOptions { conversations: 400, agents: 8, days: 5, text: false, ..GenerateOptions::default() };
    let mut files = Vec::new();
    let mut write = |name: &str, content: bytes::Bytes| -> Result<()> {
        files.push((name.to_owned(), content.to_vec()));
        Ok(())
    };
    generate(&options, &mut write, &mut |_| {})?;
    // The generator spoils few rows of so small a set.
    files.push(("broken.ndjson".to_owned(), "not an event\n".into()));
    let how = RunOptions { workers: 2, layout, ..RunOptions::default() };
    let settings = Product::settings(std::slice::from_ref(&input), &output, &how);
    for number in 0..COMMITS.max(files.len()) {
        if let Some((name, content)) = files.get(number) {
            let path = input.join(name);
            std::fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
            std::fs::write(path, content)?;
        }
        run(&settings, Mode::Once, &Arc::new(IngestProgress::default()), &Stop::default())?;
    }
    Ok(output)
}

fn readers_agree(layout: Layout) -> Result<()> {
    let Some(python) = python() else { return Ok(()) };
    let product = Product::new()?;
    let output = commits(&product, layout)?;
    let checkpoint = output.join("kpi_channel_day/_delta_log/_last_checkpoint");
    ensure!(checkpoint.exists() == (layout == Layout::Delta), "a log has a checkpoint, a listing has none");

    let run = Command::new(python).arg(script("check_readers.py")).arg(&output).output()?;
    ensure!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let found: BTreeMap<String, i64> = serde_json::from_slice::<serde_json::Value>(&run.stdout)?
        .as_object()
        .context("the script prints an object")?
        .iter()
        .filter_map(|(table, rows)| Some((table.clone(), rows.as_i64()?)))
        .collect();
    for table in contactflow_tests::model::table_names().into_iter().chain(["commits"]) {
        let expected = rows(&output.join(table))?;
        assert_eq!(found.get(table).copied().unwrap_or(0), expected, "{table}");
    }
    ensure!(
        found["kpi_channel_day"] > 0 && found["commits"] >= COMMITS as i64,
        "there is something to read: {found:?}"
    );
    Ok(())
}

#[test]
fn outside_readers_agree_on_delta_logs() -> Result<()> {
    readers_agree(Layout::Delta)
}

#[test]
fn outside_readers_agree_on_plain_files() -> Result<()> {
    readers_agree(Layout::Parquet)
}

/// A table whose files every commit replaces.
const MONTH: &str = "kpi_tenant_month";

/// One file of a history after the other, a run each.
struct Runs {
    product: Product,
    files: Files,
    input: PathBuf,
    output: PathBuf,
    options: RunOptions,
    delivered: usize,
}

impl Runs {
    fn new(retention_seconds: u64) -> Result<Self> {
        let (product, kpi_tables) = (Product::new()?, vec![MONTH.to_owned(), "kpi_channel_day".to_owned()]);
        let files = to_files(&split(&history(3, Size { conversations: 20, ..Size::default() }), 4, 3));
        let (input, output) = (product.folder()?, product.folder()?.join("tables"));
        let options = RunOptions { kpi_tables, retention_seconds, ..RunOptions::default() };
        Ok(Self { product, files, input, output, options, delivered: 0 })
    }

    /// A run that finds `more` new files.
    fn run(&mut self, more: usize) -> Result<()> {
        write_files(&self.input, &self.files[self.delivered..self.delivered + more])?;
        self.delivered += more;
        let settings = Product::settings(std::slice::from_ref(&self.input), &self.output, &self.options);
        run(&settings, Mode::Once, &Arc::new(IngestProgress::default()), &Stop::default())?;
        Ok(())
    }

    fn is_clean(&self) -> Result<()> {
        let options = RunOptions { retention_seconds: 0, ..self.options.clone() };
        let clean = self.product.run(&self.files[..self.delivered], options)?;
        let differing = differing_folders(&clean, &self.output)?;
        ensure!(differing.is_empty(), "other bytes than a clean run: {}", differing.join(", "));
        Ok(())
    }

    /// What the outside readers find in versions of a table, all of them without any: rows, and the sum of a column.
    fn versions(
        &self,
        python: &Path,
        table: &str,
        column: &str,
        versions: &[usize],
    ) -> Result<Vec<(i64, Option<i64>)>> {
        let mut command = Command::new(python);
        command.arg(script("check_versions.py")).arg(self.output.join(table)).arg(column);
        let run = command.args(versions.iter().map(usize::to_string)).output()?;
        ensure!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let found: serde_json::Value = serde_json::from_slice(&run.stdout)?;
        let one = |version: &serde_json::Value| Some((version["rows"].as_i64()?, version["sum"].as_i64()));
        found.as_array().context("a list")?.iter().map(|version| one(version).context("rows")).collect()
    }
}

/// The version before knows nothing of the column, the one after has it, and both can be read.
#[test]
fn outside_readers_follow_a_kpi_that_is_added() -> Result<()> {
    let Some(python) = python() else { return Ok(()) };
    const COLUMN: &str = "messages_inbound_count";
    let mut runs = Runs::new(3600)?;
    runs.run(2)?;
    let first = runs.versions(&python, MONTH, COLUMN, &[])?;
    ensure!(first.len() == 1 && first[0].1 > Some(0), "{first:?}");
    without_column(&runs.output, MONTH, COLUMN)?;
    let before = runs.versions(&python, MONTH, COLUMN, &[])?;
    ensure!(before == [first[0], (first[0].0, None)], "without the column: {before:?}");

    runs.run(1)?;
    let after = runs.versions(&python, MONTH, COLUMN, &[])?;
    let [one, two, three] = after[..] else { anyhow::bail!("three versions: {after:?}") };
    ensure!([one, two] == before[..], "earlier versions are what they were: {after:?}");
    ensure!(three.0 >= one.0 && three.1 > one.1, "the column is back, with more messages: {after:?}");
    runs.is_clean()
}

/// Files stay for the retention and go after it, and the last version can always be read.
#[test]
fn outside_readers_follow_a_vacuum() -> Result<()> {
    let Some(python) = python() else { return Ok(()) };
    const COLUMN: &str = "messages_inbound_count";
    let mut runs = Runs::new(RETENTION_SECONDS)?;
    runs.run(1)?;
    runs.run(2)?;
    let versions = runs.versions(&python, MONTH, COLUMN, &[])?;
    ensure!(versions.len() == 2 && versions[0] != versions[1], "{versions:?}");
    ensure!(parquet_files(&runs.output)? != live_files(&runs.output)?, "replaced files are kept");
    // Longer than what was replaced a moment ago is to stay.
    std::thread::sleep(std::time::Duration::from_millis(RETENTION_SECONDS * 1000 + 300));
    runs.run(0)?;
    assert_eq!(parquet_files(&runs.output)?, live_files(&runs.output)?, "replaced files are gone");
    assert_eq!(runs.versions(&python, MONTH, COLUMN, &[1, 2])?, [versions[1], versions[1]]);
    ensure!(runs.versions(&python, MONTH, COLUMN, &[0]).is_err(), "a version whose files are gone cannot be read");
    runs.is_clean()
}

/// Seconds that a run and the readers after it need, and some more.
const RETENTION_SECONDS: u64 = 20;
/// Files, each a round of its own or nearly so: more than the commits after which the files of table `commits` are merged.
const COMMITS_TO_MERGE: u64 = 100;

#[test]
fn outside_readers_follow_a_compaction() -> Result<()> {
    let Some(python) = python() else { return Ok(()) };
    let product = Product::new()?;
    let rows = history(3, Size { conversations: 20, ..Size::default() });
    let files = to_files(&split(&rows, COMMITS_TO_MERGE, 3));
    let options = RunOptions { kpi_tables: vec![MONTH.to_owned()], file_by_file: true, ..RunOptions::default() };
    let output = product.run(&files, options.clone())?;
    let commits = commit_rows(&output)?;
    ensure!(commits.len() > 64 && commits.iter().copied().eq(1..=commits.len() as i64), "{commits:?}");
    let left = live_files(&output.join("commits"))?;
    ensure!(left.len() * 2 < commits.len(), "{} files are left of {} commits", left.len(), commits.len());
    let run = Command::new(&python).arg(script("check_readers.py")).arg(&output).output()?;
    ensure!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let found: serde_json::Value = serde_json::from_slice(&run.stdout)?;
    ensure!(found["commits"] == commits.len(), "{found}");
    let clean = product.run(&files, RunOptions { file_by_file: false, ..options })?;
    ensure!(differing_folders(&clean, &output)?.is_empty(), "other bytes than a clean run");
    Ok(())
}
