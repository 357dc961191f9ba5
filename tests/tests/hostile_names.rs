//! Names in events, files and settings that want to be paths, code or much too long: they are values or refused, and
//! nothing is written anywhere but below the output.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use contactflow_tests::histories::{Size, history};
use contactflow_tests::oracle::{Line, Row};
use contactflow_tests::program::{Job, Mode, path};
use contactflow_tests::property::differences_from_oracle;
use contactflow_tests::runner::{RunOptions, to_files};
use contactflow_tests::stores::{Kind, Store};
use contactflow_tests::tables::read_tables;
use serde_json::Value;

const NAMES: [&str; 9] = [
    "../../../../tmp/contactflow-escaped",
    "/etc/contactflow-escaped",
    "date=2024-03-01",
    "a/b\\c",
    "..",
    "%2e%2e%2fcontactflow-escaped",
    "'; DROP TABLE kpi; --",
    "${AWS_SECRET_ACCESS_KEY}",
    "\u{202e}\u{0}\n\u{1f600}",
];
/// What a history calls things by, and the columns of these names.
const COLUMNS: [&str; 7] = ["tenant_id", "channel", "agent_id", "team_id", "queue_id", "contact_id", "conversation_id"];

fn options(kpi_tables: &[&str]) -> RunOptions {
    RunOptions { kpi_tables: kpi_tables.iter().map(|name| (*name).to_owned()).collect(), ..RunOptions::default() }
}

/// The rows with every name of a column replaced by a hostile one, the same by the same.
fn with_hostile_names(rows: &[Row]) -> Result<Vec<Row>> {
    let mut names: Vec<String> = Vec::new();
    let mut replaced = Vec::new();
    for row in rows {
        let Line::Json(mut event) = row.line.clone() else {
            replaced.push(row.clone());
            continue;
        };
        for column in COLUMNS {
            let Some(Value::String(name)) = event.get(column).cloned() else { continue };
            let index = names.iter().position(|known| *known == name).unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            });
            let hostile = format!("{}{}", NAMES[index % NAMES.len()], index / NAMES.len());
            event[column] = hostile.into();
        }
        replaced.push(Row { line: Line::Json(event), ..row.clone() });
    }
    Ok(replaced)
}

/// Every path below a folder.
fn below(folder: &Path, found: &mut Vec<String>, root: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            below(&path, found, root)?;
        } else {
            found.push(path.strip_prefix(root)?.display().to_string());
        }
    }
    Ok(())
}

/// Names that the product gives: a table, a date, a shard or commit.
fn is_ours(name: &str) -> bool {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-=.".contains(&byte));
    let parts: Vec<&str> = name.split('/').collect();
    parts.len() <= 4 && parts.iter().all(|part| plain(part) && !part.contains(".."))
}

#[test]
fn hostile_names_are_values() -> Result<()> {
    for kind in [Kind::Disk, Kind::S3] {
        let store = Store::start(kind)?.context("both are always there")?;
        for seed in 0..3 {
            let rows = with_hostile_names(&history(seed, Size { noise: 0, ..Size::default() }))?;
            let (events, tables) = (format!("{seed}/events"), format!("{seed}/tables"));
            for (name, content) in to_files(&rows) {
                store.put(&format!("{events}/{name}"), &content)?;
            }
            let options = options(&["kpi_agent_channel_hour", "kpi_queue_channel_day"]);
            Job::new(&store, &events, &tables, &options)?.once(2)?.well()?;
            let root = store.files(&tables)?;
            let mut read = read_tables(&root)?;
            read.retain(|name, _| !name.starts_with("kpi_") || options.kpi_tables.contains(name));
            let wrong = differences_from_oracle(&rows, &read);
            ensure!(wrong.is_empty(), "{kind}, seed {seed}: {}", wrong.join("\n"));
            let mut names = Vec::new();
            below(&root, &mut names, &root)?;
            let odd: Vec<&String> = names.iter().filter(|name| !is_ours(name)).collect();
            ensure!(odd.is_empty(), "{kind}: written under odd names: {odd:?}");
            ensure!(!Path::new("/tmp/contactflow-escaped").exists() && !Path::new("/etc/contactflow-escaped").exists());
        }
    }
    Ok(())
}

/// Event files may be called anything; what they are called comes back in rejected_events, and opens nothing.
#[test]
fn hostile_file_names_are_read() -> Result<()> {
    for kind in [Kind::Disk, Kind::S3] {
        let store = Store::start(kind)?.context("both are always there")?;
        for name in
            ["a b.ndjson", "%2e%2e%2fx.ndjson", "ä 😀.ndjson", "q?x=1&y.ndjson", "part#7x.ndjson", "'$(id)'.ndjson"]
        {
            store.put(&format!("events/{name}"), b"no event\n")?;
        }
        Job::new(&store, "events", "tables", &options(&["kpi_channel_day"]))?.once(1)?.well()?;
        let rejects = contactflow_tests::tables::rejects(&store.files("tables")?)?;
        ensure!(rejects.len() == 6, "{kind}: {rejects:?}");
    }
    Ok(())
}

#[test]
fn hostile_settings_are_refused() -> Result<()> {
    let store = Store::start(Kind::Disk)?.context("there is a disk")?;
    for table in ["../../etc", "kpi_channel_day/../x", "conversation_facts", ""] {
        let ended = Job::new(&store, "events", "tables", &options(&[table]))?.once(1)?;
        let complaint = ended.complaint()?;
        ensure!(ended.status.code() == Some(2) && complaint.contains("kpi_tables"), "{table:?}: {complaint}");
    }
    for output in ["s3://key:secret@bucket/x", "s3://bucket/x?secret=1", "nfs://host/x", "s3:///x", "file://host/x"] {
        let run = Command::new(path()?)
            .args(["run", "--once", "--inference", "off", "--input", &store.url("events")?, "--output", output])
            .output()?;
        let told = String::from_utf8_lossy(&run.stderr).into_owned();
        ensure!(run.status.code() == Some(2) && !told.contains("secret"), "{output}: {told}");
    }
    // `..` in a path is resolved once, before anything is opened by it.
    let output = format!("{}/../sideways", store.url("tables")?);
    let mut command = Job::new(&store, "events", "tables", &options(&[]))?.command(Mode::Once, 1)?;
    ensure!(command.args(["--output", &output]).status()?.success());
    ensure!(store.folder().join("sideways/_contactflow").is_dir());
    Ok(())
}
