//! Readers from outside open the tables: DuckDB, Polars and pandas find the same in them.

use anyhow::{Context, Result, ensure};
use contactflow::generate::{GenerateOptions, generate};
use contactflow::ingest::IngestProgress;
use contactflow::run::{Mode, Stop, run};
use contactflow::settings::Layout;
use contactflow_tests::product::Product;
use contactflow_tests::runner::RunOptions;
use contactflow_tests::tables::parquet_files;
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// More than from one checkpoint to the next.
const COMMITS: usize = 12;

/// The Python that `deploy/setup.sh --readers` provides; `None`, with a line on standard output, without it.
fn python() -> Option<PathBuf> {
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
        println!("skipped: {} has no readers; deploy/setup.sh --readers provides them", python.display());
    }
    has_readers.then_some(python)
}

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

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers/check_readers.py");
    let run = Command::new(python).arg(script).arg(&output).output()?;
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
