//! `contactflow verify`, `whatif`, `status` and `erase`.

use clap::Args;
use comfy_table::Table;
use contactflow_schemas::clock::format_time;
use contactflow_schemas::symbol::Symbol;
use serde_json::{Value, json};

use super::{CliError, say};
use crate::run::{Basis, ErasureRequest, Receipt, Status, compare, erasure_requests, status as read_status};
use crate::sink::{Inspection, ModelIds, Restatement};

/// Paths and cells that are printed for people; `--json` prints all that are known.
const SHOWN: usize = 40;

/// Arguments of `verify`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  contactflow verify --output tables
  contactflow verify --output s3://bucket/tables --input s3://bucket/events --json

Exit code 1 when anything differs.")]
pub(super) struct VerifyArgs {
    /// Root of the tables
    #[arg(long, value_name = "URL_OR_PATH")]
    output: String,
    /// Events to compute from, all of them; the state of the last commit by default
    #[arg(long, value_name = "URL_OR_PATH")]
    input: Vec<String>,
    /// Worker threads
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `whatif`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  contactflow whatif --output tables --events corrections.ndjson

Texts that no model has scored yet stay unscored here.")]
pub(super) struct WhatIfArgs {
    /// Root of the tables
    #[arg(long, value_name = "URL_OR_PATH")]
    output: String,
    /// Prefix or file with events to add: corrections, retractions, late events (may be repeated)
    #[arg(long, required = true, value_name = "URL_OR_PATH")]
    events: Vec<String>,
    /// Worker threads
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Print every changed cell as a line of JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  contactflow status --output tables --json
  contactflow status --output tables --erasures      # reads the whole state")]
pub(super) struct StatusArgs {
    /// Root of the tables
    #[arg(long, value_name = "URL_OR_PATH")]
    output: String,
    /// List the contacts that asked to be forgotten (erasure_requested) and are still there
    #[arg(long)]
    erasures: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `erase`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  contactflow erase --output tables --contact c-1042
  contactflow erase --output tables --requested      # every contact that `status --erasures` lists

Stops a job that runs on this root; start it again afterwards. Delete or mask the contact in the source files yourself:
events known today cannot come back from them, new ones of the same contact would be read.")]
pub(super) struct EraseArgs {
    /// Root of the tables
    #[arg(long, value_name = "URL_OR_PATH")]
    output: String,
    /// The contact_id
    #[arg(long, value_name = "ID", required_unless_present = "requested", conflicts_with = "requested")]
    contact: Option<String>,
    /// Only of this tenant
    #[arg(long, value_name = "ID", conflicts_with = "requested")]
    tenant: Option<String>,
    /// Every contact of an erasure_requested event that was not acted on yet, in its tenant
    #[arg(long)]
    requested: bool,
    /// Worker threads
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Print the receipt as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn erase(args: EraseArgs) -> Result<(), CliError> {
    let EraseArgs { output, contact, tenant, requested: _, workers, json } = args;
    let Some(contact) = contact else {
        let requests = erasure_requests(&output)?;
        if requests.is_empty() && !json {
            say("nobody asked to be forgotten who is still there".to_owned());
        }
        return requests
            .iter()
            .try_for_each(|request| erase_one(&output, &request.contact, Some(&request.tenant), workers, json));
    };
    if contact.trim().is_empty() {
        return Err(CliError::configuration("--contact: give the contact_id"));
    }
    erase_one(&output, &contact, tenant.as_deref(), workers, json)
}

fn erase_one(output: &str, contact: &str, tenant: Option<&str>, workers: usize, json: bool) -> Result<(), CliError> {
    let receipt = crate::run::erase(output, contact, tenant, workers)?;
    if json {
        say(serde_json::to_string(&receipt).map_err(CliError::failure)?);
    } else {
        let Receipt { commit, events, conversations, rejected_rows, predictions, texts, qualities, scan, .. } =
            &receipt;
        say(format!(
            "commit {commit}: {events} events, {conversations} conversations, {rejected_rows} rejected rows, {predictions} \
             predictions, {qualities} scores of conversations and {texts} waiting texts erased"
        ));
        say(format!("{} files, {} bytes searched afterwards", scan.files, scan.bytes));
        say("the receipt is in _contactflow/erasures below the root".to_owned());
    }
    if receipt.scan.found_in.is_empty() {
        return Ok(());
    }
    let shown: Vec<&str> = receipt.scan.found_in.iter().take(SHOWN).map(String::as_str).collect();
    Err(CliError::failure(format!("the identifier still stands in {}", shown.join(", "))))
}

pub(super) fn verify(args: VerifyArgs) -> Result<(), CliError> {
    let basis = if args.input.is_empty() { Basis::State(Vec::new()) } else { Basis::Inputs(args.input) };
    let (found, summary) = compare(&args.output, &basis, args.workers)?;
    if args.json {
        say(json!({
            "clean": found.is_clean(),
            "partitions": found.partitions,
            "differing": found.differing,
            "unpublished": found.unpublished,
            "uncomputed": found.uncomputed,
            "damaged": found.damaged,
            "cells": found.cells_count,
            "rows": summary.rows + summary.restored_rows,
            "elapsed_ms": summary.elapsed.as_millis() as u64,
        }));
    } else {
        say_paths(&found);
    }
    if found.is_clean() {
        return Ok(());
    }
    let wrong = found.differing.len() + found.unpublished.len() + found.uncomputed.len() + found.damaged.len();
    Err(CliError::failure(format!(
        "{wrong} of {} partitions below {} are not what their events give; a new commit repairs damaged files",
        found.partitions, args.output
    )))
}

fn say_paths(found: &Inspection) {
    let kinds = [
        ("computed otherwise than published", &found.differing),
        ("computed and not published", &found.unpublished),
        ("published and not computed", &found.uncomputed),
        ("damaged or replaced in the store", &found.damaged),
    ];
    for (what, paths) in kinds {
        paths.iter().take(SHOWN).for_each(|path| say(format!("{what}: {path}")));
        if paths.len() > SHOWN {
            say(format!("{what}: {} more", paths.len() - SHOWN));
        }
    }
    if found.is_clean() {
        say(format!("{} partitions are what their events give, byte for byte", found.partitions));
    }
}

pub(super) fn whatif(args: WhatIfArgs) -> Result<(), CliError> {
    let (found, _) = compare(&args.output, &Basis::State(args.events), args.workers)?;
    if args.json {
        found.cells.iter().for_each(|cell| say(as_json(cell)));
        return Ok(());
    }
    let mut table = Table::new();
    table.set_header(["table", "group", "window", "column", "published", "would be"]);
    for cell in found.cells.iter().take(SHOWN) {
        let number = |value: Option<f64>| value.map_or_else(|| "null".to_owned(), |value| value.to_string());
        table.add_row([
            cell.table.name().to_owned(),
            group_of(cell),
            format_time(cell.window_start_ms),
            cell.column.to_owned(),
            number(cell.old),
            number(cell.new),
        ]);
    }
    if !found.cells.is_empty() {
        say(table);
    }
    let more = found.cells_count.saturating_sub(SHOWN as u64);
    if more > 0 {
        say(format!("{more} more; --json prints them"));
    }
    let partitions = found.differing.len() + found.unpublished.len() + found.uncomputed.len();
    say(format!(
        "{} KPI values in {partitions} changed partitions of all tables; nothing was written",
        found.cells_count
    ));
    Ok(())
}

fn group_of(cell: &Restatement) -> String {
    let group = &cell.group;
    let parts = [group.agent, group.team, group.queue, group.channel];
    let parts = parts.into_iter().flatten().map(Symbol::as_str);
    std::iter::once(group.tenant.as_str()).chain(parts).collect::<Vec<_>>().join(" · ")
}

fn as_json(cell: &Restatement) -> Value {
    let text = |symbol: Option<Symbol>| symbol.map(Symbol::as_str);
    json!({
        "table": cell.table.name(),
        "tenant_id": cell.group.tenant.as_str(),
        "agent_id": text(cell.group.agent),
        "team_id": text(cell.group.team),
        "queue_id": text(cell.group.queue),
        "channel": text(cell.group.channel),
        "window_start": format_time(cell.window_start_ms),
        "column": cell.column,
        "old": cell.old,
        "new": cell.new,
        "cause": cell.explanation.cause,
        "events": cell.explanation.events,
    })
}

pub(super) fn status(args: StatusArgs) -> Result<(), CliError> {
    let status = read_status(&args.output)?;
    let requests = if args.erasures { Some(erasure_requests(&args.output)?) } else { None };
    if args.json {
        let mut told = serde_json::to_value(&status).map_err(CliError::failure)?;
        if let Some(requests) = requests {
            told["erasures_requested"] = serde_json::to_value(requests).map_err(CliError::failure)?;
        }
        say(told);
        return Ok(());
    }
    say(as_text(&status));
    let Some(requests) = requests else { return Ok(()) };
    say(format!("{} contacts asked to be forgotten; `contactflow erase --requested` does it", requests.len()));
    requests.iter().for_each(|ErasureRequest { tenant, contact }| say(format!("  {contact} of {tenant}")));
    Ok(())
}

fn as_text(status: &Status) -> String {
    let [deliveries, predictions, texts] = status.state_rows;
    let time = |time_ms: Option<i64>| time_ms.map_or_else(|| "nothing".to_owned(), format_time);
    let lag_s = status.as_of_ms.map(|as_of_ms| (status.committed_at_ms - as_of_ms) / 1_000);
    let writer = status.writer.as_deref().unwrap_or("nobody");
    [
        format!("commit {} of epoch {} at {}", status.commit, status.epoch, time(Some(status.committed_at_ms))),
        format!(
            "events known up to {}{}",
            time(status.as_of_ms),
            lag_s.map_or_else(String::new, |lag| { format!(", {lag} s before the commit") })
        ),
        format!(
            "{} rows of {} source files read, {} rejected",
            status.rows_read, status.source_files, status.rejected_rows
        ),
        format!("{} files of tables, {} bytes", status.files, status.bytes),
        format!(
            "state: {deliveries} deliveries, {predictions} predictions, {texts} texts waiting, {} bytes",
            status.state_bytes
        ),
        match &status.open_from_date {
            Some(date) => format!("sealed: {} deliveries of conversations over before {date}", status.sealed_rows),
            None => "sealed: nothing".to_owned(),
        },
        format!("held by {writer}, generation {}", status.generation.unwrap_or(0)),
        format!("model: {}", ModelIds { published: status.model_id.clone(), candidate: status.candidate_id.clone() }),
    ]
    .join("\n")
}
