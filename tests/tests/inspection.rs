//! Commands that look at a root, and the one that takes a contact out of it: `verify`, `whatif`, `status`, `erase`.

use anyhow::{Context, Result, ensure};
use contactflow::generate::{Format, GenerateOptions, generate};
use contactflow::ingest::IngestProgress;
use contactflow::run::{Basis, Mode, RunSummary, Stop, compare, erase, run, scan, status};
use contactflow::settings::Layout;
use contactflow::store::Root;
use contactflow_tests::bytes::{data_files, differing_folders};
use contactflow_tests::histories::{Size, history};
use contactflow_tests::model::Cell;
use contactflow_tests::product::Product;
use contactflow_tests::runner::{RunOptions, to_files, write_files};
use contactflow_tests::tables::read_tables;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn options(workers: usize) -> RunOptions {
    let tables = ["kpi_agent_channel_hour", "kpi_channel_day", "kpi_tenant_month"];
    RunOptions { workers, kpi_tables: tables.map(str::to_owned).to_vec(), ..RunOptions::default() }
}

fn run_once(input: &Path, output: &Path, workers: usize) -> Result<RunSummary> {
    run_in(Layout::default(), input, output, workers)
}

fn run_in(layout: Layout, input: &Path, output: &Path, workers: usize) -> Result<RunSummary> {
    let options = RunOptions { layout, ..options(workers) };
    let settings = Product::settings(&[input.to_path_buf()], output, &options);
    Ok(run(&settings, Mode::Once, &Arc::new(IngestProgress::default()), &Stop::default())?)
}

/// Tables of a history, and where its file is.
fn published(product: &Product, seed: u64) -> Result<(PathBuf, PathBuf)> {
    let (input, output) = (product.folder()?, product.folder()?.join("tables"));
    write_files(&input, &to_files(&history(seed, Size::default())))?;
    run_once(&input, &output, 1)?;
    Ok((input, output))
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn verify_finds_nothing_until_a_file_changes() -> Result<()> {
    let product = Product::new()?;
    let (input, output) = published(&product, 11)?;
    let from_events = Basis::Inputs(vec![name(&input)]);
    for basis in [Basis::State(Vec::new()), from_events.clone()] {
        let (found, _) = compare(&name(&output), &basis, 2)?;
        assert!(found.is_clean() && found.partitions > 3 && found.cells_count == 0, "{found:?}");
    }
    let victim = contactflow_tests::tables::parquet_files(&output)?
        .into_iter()
        .find(|path| name(path).contains("kpi_channel_day"))
        .context("a partition")?;
    let body = std::fs::read(&victim)?;
    std::fs::write(&victim, &body[..body.len() - 1])?;
    let (found, _) = compare(&name(&output), &from_events, 1)?;
    assert_eq!(found.damaged.len(), 1, "{found:?}");
    assert!(name(&victim).ends_with(&found.damaged[0]) && found.differing.is_empty());
    std::fs::write(&victim, body)?;
    // Events that were never committed: the published tables lack them.
    write_files(&input, &[("more.ndjson".to_owned(), late_message().into_bytes())])?;
    let (found, _) = compare(&name(&output), &from_events, 1)?;
    assert!(!found.is_clean() && found.cells_count > 0);
    assert!(!found.differing.is_empty() || !found.unpublished.is_empty());
    Ok(())
}

/// A message of a conversation of its own, long before everything else.
fn late_message() -> String {
    let line = serde_json::json!({
        "tenant_id": "acme", "source": "late", "event_id": "late-1", "event_type": "message_created",
        "event_time": "2024-03-01T09:00:00Z", "conversation_id": "late", "channel": "chat", "actor_type": "customer",
        "direction": "inbound", "visibility": "public", "message_id": "m",
    });
    format!("{line}\n")
}

#[test]
fn whatif_tells_what_a_run_then_publishes_and_writes_nothing() -> Result<()> {
    let product = Product::new()?;
    let (input, output) = published(&product, 12)?;
    let corrections = product.folder()?;
    write_files(&corrections, &[("late.ndjson".to_owned(), late_message().into_bytes())])?;
    let before = data_files(&output)?;
    let manifests = || std::fs::read_dir(output.join("_contactflow/manifests")).map(Iterator::count);
    let commits = manifests()?;
    let (found, _) = compare(&name(&output), &Basis::State(vec![name(&corrections)]), 2)?;
    assert_eq!((data_files(&output)?, manifests()?), (before, commits), "nothing is written");
    assert_eq!(found.cells.len() as u64, found.cells_count);
    assert!(
        found.cells.iter().any(|cell| cell.column == "messages_inbound_count" && cell.explanation.cause == "events")
    );
    assert!(found.cells.iter().all(|cell| cell.explanation.events.as_deref() == Some(r#"[["late","late-1"]]"#)));

    write_files(&input, &[("late.ndjson".to_owned(), late_message().into_bytes())])?;
    run_once(&input, &output, 1)?;
    let tables = read_tables(&output)?;
    for cell in &found.cells {
        let start = Cell::TimeMs(cell.window_start_ms);
        let table = &tables[cell.table.name()];
        let holds = table.iter().filter(|(key, _)| key.contains(&start)).any(|(_, columns)| {
            columns.iter().any(|(column, value)| {
                column == cell.column
                    && match (value, cell.new) {
                        (Cell::Int(value), Some(new)) => *value as f64 == new,
                        (Cell::Float(value), Some(new)) => (value - new).abs() < 1e-9,
                        (Cell::Null, None) => true,
                        _ => false,
                    }
            })
        });
        assert!(holds, "{cell:?}");
    }
    Ok(())
}

#[test]
fn status_tells_what_was_read_and_kept() -> Result<()> {
    let product = Product::new()?;
    let (_, output) = published(&product, 13)?;
    let status = status(&name(&output))?;
    assert_eq!((status.commit, status.generation, status.source_files), (1, Some(1), 1));
    assert!(status.rows_read > 0 && status.state_rows[0] > 0 && status.state_rows[0] <= status.rows_read);
    assert!(status.as_of_ms.is_some() && status.files > 3 && status.state_bytes > 0);
    let nothing = product.folder()?;
    let error = contactflow::run::status(&name(&nothing)).expect_err("no commit");
    assert!(error.is_configuration() && error.to_string().contains("holds no commit"), "{error}");
    Ok(())
}

/// The lines of a few days of generated events.
fn generated_lines() -> Result<Vec<String>> {
    let days = GenerateOptions {
        conversations: 120,
        agents: 5,
        days: 6,
        format: Format::Ndjson,
        ..GenerateOptions::default()
    };
    let mut lines = Vec::new();
    let mut sink = |name: &str, body: bytes::Bytes| {
        if name.ends_with(".ndjson.gz") {
            let mut text = String::new();
            flate2::read::MultiGzDecoder::new(&body[..]).read_to_string(&mut text)?;
            lines.extend(text.lines().map(str::to_owned));
        }
        Ok(())
    };
    generate(&days, &mut sink, &mut |_| ())?;
    Ok(lines)
}

fn text<'a>(event: &'a Value, column: &str) -> Option<&'a str> {
    event[column].as_str()
}

/// The events without those of a contact, by the definition: those that name it, and all of conversations that name no other
/// contact.
fn without(events: &[String], contact: &str) -> Vec<String> {
    let parsed: Vec<Option<Value>> = events.iter().map(|line| serde_json::from_str(line).ok()).collect();
    let named = |wanted: &dyn Fn(&str) -> bool| -> BTreeSet<&str> {
        let named = parsed.iter().flatten().filter(|event| text(event, "contact_id").is_some_and(wanted));
        named.filter_map(|event| text(event, "conversation_id")).collect()
    };
    let (theirs, others) = (named(&|id| id == contact), named(&|id| id != contact));
    let is_theirs = |event: &&Value| {
        text(event, "contact_id") == Some(contact)
            || text(event, "actor_id") == Some(contact)
            || text(event, "conversation_id").is_some_and(|id| theirs.contains(id) && !others.contains(id))
    };
    // Retractions name the event only.
    let gone: BTreeSet<&str> =
        parsed.iter().flatten().filter(is_theirs).filter_map(|event| text(event, "event_id")).collect();
    let stays = |event: &Option<Value>| {
        event
            .as_ref()
            .is_none_or(|event| !is_theirs(&event) && text(event, "event_id").is_none_or(|id| !gone.contains(id)))
    };
    let left = events.iter().zip(&parsed).filter(|(line, event)| stays(event) && !line.contains(contact));
    left.map(|(line, _)| line.clone()).collect()
}

#[test]
fn after_an_erasure_everything_is_as_if_the_contact_had_never_written() -> Result<()> {
    nothing_of_an_erased_contact_is_left(Layout::Parquet)
}

#[test]
fn after_an_erasure_no_delta_log_and_no_earlier_version_holds_the_contact() -> Result<()> {
    nothing_of_an_erased_contact_is_left(Layout::Delta)
}

fn nothing_of_an_erased_contact_is_left(layout: Layout) -> Result<()> {
    let product = Product::new()?;
    let (input, output) = (product.folder()?, product.folder()?.join("tables"));
    let all = generated_lines()?;
    let contact = all
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|event| text(&event, "contact_id").map(str::to_owned))
        .max()
        .context("events name contacts")?;
    let left = without(&all, &contact);
    ensure!(left.len() < all.len());

    // In two runs, so that the contact is in several files and in restatements.
    let halves = [&all[..all.len() / 2], &all[all.len() / 2..]];
    for (number, half) in halves.iter().enumerate() {
        write_files(&input, &[(format!("{number}.ndjson"), half.join("\n").into_bytes())])?;
        run_in(layout, &input, &output, 1 + number)?;
    }
    let root = Root::open(&name(&output), false)?;
    assert!(!scan(&root, &contact)?.found_in.is_empty(), "it is there before");
    let receipt = erase(&name(&output), &contact, None, 2)?;
    assert!(
        receipt.events > 0 && receipt.conversations > 0 && receipt.state_files > 0 && receipt.commit == 3,
        "{receipt:?}"
    );
    assert_eq!(receipt.scan.found_in, Vec::<String>::new());

    let (other_input, expected) = (product.folder()?, product.folder()?.join("tables"));
    write_files(&other_input, &[("0.ndjson".to_owned(), left.join("\n").into_bytes())])?;
    run_in(layout, &other_input, &expected, 1)?;
    assert_eq!(differing_folders(&expected, &output)?, Vec::<String>::new());
    let (found, _) = compare(&name(&output), &Basis::State(Vec::new()), 1)?;
    assert!(found.is_clean(), "{found:?}");

    // Read again under another name, what is known to be erased does not come back.
    write_files(&input, &[("again.ndjson".to_owned(), all.join("\n").into_bytes())])?;
    run_in(layout, &input, &output, 2)?;
    assert_eq!(differing_folders(&expected, &output)?, Vec::<String>::new());
    Ok(())
}
