//! Identities by which the KPIs agree with each other, on random histories: what goes in comes out or is still there, and
//! every roll-up is the sum of its parts.

use anyhow::Result;
use contactflow_tests::fake_model::FakeModel;
use contactflow_tests::histories::{Size, history};
use contactflow_tests::memory::{MemoryOptions, tables};
use contactflow_tests::model::{By, Cell, Columns, DAY_MS, FACTS, HOUR_MS, KPI_TABLES, Table, Tables};
use contactflow_tests::property::seeds;
use std::collections::{BTreeMap, BTreeSet};

/// Levels and distinct counts do not add up over time; quotients, means, percentiles and extremes do not add up at all.
fn adds_up(column: &str, over_time: bool) -> bool {
    let per_window = ["backlog", "unassigned", "unattended", "queued", "conversations_resolved"]
        .iter()
        .any(|stem| column == format!("{stem}_count"))
        || column.ends_with("_pending_count")
        || column.ends_with("_at_risk_count");
    let is_sum = column.ends_with("_count") || column.ends_with("_sum") || column.ends_with("_sum_ms");
    let is_time = ["handled_ms", "connected_ms", "available_ms", "staffed_ms"].contains(&column);
    (is_sum || is_time) && !(over_time && per_window)
}

fn sum(columns: &Columns, column: &str) -> i64 {
    match columns.get(column) {
        Some(Cell::Int(number)) => *number,
        // Sums of ratings, in millionths.
        Some(Cell::Float(number)) => (number * 1e6).round() as i64,
        _ => 0,
    }
}

fn total(table: &Table, column: &str) -> i64 {
    table.values().map(|columns| sum(columns, column)).sum()
}

fn of_seed(seed: u64) -> Result<Tables> {
    let options = MemoryOptions { workers: 1 + seed as usize % 2, seed, time_zone: "UTC".to_owned() };
    tables(&history(seed, Size::default()), &options, &FakeModel)
}

/// Created = resolved + open + void, over all conversations that opened; levels count what is open now.
fn conversations_reconcile(tables: &Tables) -> Vec<String> {
    let facts = &tables[FACTS];
    let mut last: BTreeMap<Vec<Cell>, (&Columns, i64)> = BTreeMap::new();
    for (key, columns) in facts {
        last.insert(key[..2].to_vec(), (columns, 0));
    }
    let flag = |columns: &Columns, name: &str| matches!(columns.get(name), Some(Cell::Bool(true)));
    let is_void = |columns: &Columns| flag(columns, "spam") || flag(columns, "merged");
    let (mut void, mut resolved, mut open) = (0, 0, 0);
    for (columns, _) in last.values() {
        match columns.get("status") {
            _ if is_void(columns) => void += 1,
            Some(Cell::Text(status)) if status == "resolved" => resolved += 1,
            _ => open += 1,
        }
    }
    let month = &tables["kpi_tenant_month"];
    let (created, cohort_resolved) =
        (total(month, "conversations_created_count"), total(month, "cohort_resolved_count"));
    let mut wrong = Vec::new();
    let mut same = |what: &str, left: i64, right: i64| {
        if left != right {
            wrong.push(format!("{what}: {left}, not {right}"));
        }
    };
    same("created is resolved and open", created, resolved + open);
    same("all that opened are created or void", last.len() as i64, created + void);
    same("the cohort's resolved are the resolved", cohort_resolved, resolved);
    wrong
}

/// Up to the end of each window: offered = answered + abandoned + flowed out + still queued.
fn queues_reconcile(tables: &Tables, as_of: i64, first: i64) -> Vec<String> {
    // Levels are given up after 30 days.
    if as_of - first > 29 * DAY_MS {
        return Vec::new();
    }
    let tenants: BTreeSet<Cell> = tables["kpi_tenant_day"].keys().map(|key| key[0].clone()).collect();
    let mut wrong = Vec::new();
    for tenant in tenants {
        let mut offered_less_ended = 0;
        let mut day = first - first.rem_euclid(DAY_MS);
        while day <= as_of {
            let nothing = Columns::new();
            let columns = tables["kpi_tenant_day"].get(&vec![tenant.clone(), Cell::TimeMs(day)]).unwrap_or(&nothing);
            let of = |column: &str| sum(columns, &format!("queue_{column}_count"));
            offered_less_ended += of("offered") - of("answered") - of("abandoned") - of("flow_out");
            if offered_less_ended != sum(columns, "queued_count") {
                wrong.push(format!("queued at the end of day {day}: {offered_less_ended} by flow"));
            }
            day += DAY_MS;
        }
    }
    wrong
}

/// Ratios stay in 0..1 where they are shares, and a bot cannot both contain and hand over.
fn shares_are_shares(tables: &Tables) -> Vec<String> {
    let shares =
        ["resolution_rate_ratio", "first_contact_resolution_ratio", "bot_containment_ratio", "bot_handoff_ratio"];
    let mut wrong = Vec::new();
    for (name, table) in tables.iter().filter(|(name, _)| name.starts_with("kpi_")) {
        for columns in table.values() {
            let ratio = |column: &str| match columns.get(column) {
                Some(Cell::Float(ratio)) => *ratio,
                _ => 0.0,
            };
            if ratio("bot_containment_ratio") + ratio("bot_handoff_ratio") > 1.0 {
                wrong.push(format!("{name}: containment and handoff exceed 1"));
            }
            wrong.extend(
                shares
                    .iter()
                    .filter(|share| !(0.0..=1.0).contains(&ratio(share)))
                    .map(|share| format!("{name}: {share}")),
            );
        }
    }
    wrong
}

/// Every sum of a roll-up is that of its parts: over groups within each window, over time within each group.
fn roll_ups_add_up(tables: &Tables) -> Vec<String> {
    let mut wrong = Vec::new();
    let finer = |by: By| match by {
        By::AgentChannel => None,
        By::Agent | By::Channel | By::TeamChannel | By::QueueChannel => Some("kpi_agent_channel"),
        By::Tenant => Some("kpi_channel"),
    };
    let presence = ["available_ms", "staffed_ms"];
    for table in &KPI_TABLES {
        let coarse = &tables[table.name];
        let width = table.name.rsplit('_').next().unwrap_or("");
        let columns: BTreeSet<&str> = coarse.values().flat_map(Columns::keys).collect();
        if let Some(parts) = finer(table.by).map(|stem| &tables[format!("{stem}_{width}").as_str()]) {
            for column in columns.iter().filter(|column| adds_up(column, false) && !presence.contains(column)) {
                let (whole, parts) = (total(coarse, column), total(parts, column));
                if whole != parts {
                    wrong.push(format!("{} {column}: {whole}, its parts {parts}", table.name));
                }
            }
        }
        if width != "hour" {
            let hours = &tables[table.name.replace(&format!("_{width}"), "_hour").as_str()];
            for column in columns.iter().filter(|column| adds_up(column, true)) {
                let (whole, parts) = (total(coarse, column), total(hours, column));
                if whole != parts {
                    wrong.push(format!("{} {column}: {whole}, its hours {parts}", table.name));
                }
            }
        }
    }
    wrong
}

#[test]
fn identities_hold() -> Result<()> {
    for seed in seeds(60) {
        let tables = of_seed(seed)?;
        let starts = || {
            tables["kpi_tenant_hour"].keys().filter_map(|key| match key.last() {
                Some(Cell::TimeMs(start)) => Some(*start),
                _ => None,
            })
        };
        let (first, last) = (starts().min().unwrap_or(0), starts().max().unwrap_or(0));
        let mut wrong = conversations_reconcile(&tables);
        wrong.extend(queues_reconcile(&tables, last + HOUR_MS - 1, first));
        wrong.extend(shares_are_shares(&tables));
        wrong.extend(roll_ups_add_up(&tables));
        assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
    }
    Ok(())
}
