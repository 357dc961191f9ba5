//! `contactflow incidents`: which of the planted incidents the anomaly scores found.

use std::collections::BTreeMap;

use arrow::array::{Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use clap::Args;
use comfy_table::Table as TextTable;
use comfy_table::presets::UTF8_BORDERS_ONLY;
use contactflow_schemas::clock::{DAY_MS, HOUR_MS, Window, format_time};
use contactflow_schemas::facts::Grouping;
use contactflow_schemas::tables::Table;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{CliError, say};
use crate::generate::{Incident, IncidentKind, Truth};
use crate::sink::last_commit;
use crate::store::Root;

/// Score from which a window counts as anomalous: at the bounds of the normal range.
const THRESHOLD: f64 = 0.5;

/// Arguments of `incidents`.
#[derive(Debug, Args)]
pub(super) struct IncidentsArgs {
    /// Root of the tables
    #[arg(long, value_name = "URL_OR_PATH")]
    output: String,
    /// Incidents file of `generate`
    #[arg(long, value_name = "URL_OR_PATH")]
    truth: String,
}

/// An anomalous window.
struct Alarm {
    channel: String,
    agent: Option<String>,
    kpi: String,
    start_ms: i64,
    end_ms: i64,
    score: f64,
}

impl Alarm {
    /// The alarm is about what the incident did: its channel (and agent), in its time, on a KPI it should show in.
    fn explains(&self, incident: &Incident) -> bool {
        let entity = self.channel == incident.channel && self.agent == incident.agent_id;
        let time = self.start_ms < incident.end_ms && self.end_ms > incident.start_ms;
        entity && time && shows_in(incident.kind).contains(&self.kpi.as_str())
    }
}

/// The watched series in which each kind of incident shows.
fn shows_in(kind: IncidentKind) -> &'static [&'static str] {
    match kind {
        IncidentKind::QueueOutage => &["replies_count", "reply_time_mean_ms"],
        IncidentKind::SlowAgent => &["reply_time_mean_ms"],
        IncidentKind::AngryBurst => &["messages_inbound_count", "negative_turn_ratio", "csat_mean"],
        IncidentKind::SilentChannel => &["messages_inbound_count", "replies_count"],
    }
}

pub(super) fn incidents(args: IncidentsArgs) -> Result<(), CliError> {
    let truth_file = Root::open(&args.truth, false)?;
    let truth: Truth = serde_json::from_slice(&truth_file.get(&truth_file.prefix)?)
        .map_err(|error| CliError::configuration(format!("{} is no incidents file: {error}", truth_file.url)))?;
    let root = Root::open(&args.output, false)?;
    let mut windows = 0;
    let mut alarms = Vec::new();
    for batch in read_table(&root, Table::AnomalyScores)? {
        windows += batch.num_rows();
        alarms.extend(alarms_of(&batch)?);
    }
    print_incidents(&truth, &alarms);
    let is_planted = |alarm: &&Alarm| truth.incidents.iter().any(|incident| near(alarm, incident));
    let unexplained = alarms.len() - alarms.iter().filter(is_planted).count();
    say(format!(
        "{windows} windows scored, {} anomalous (score >= {THRESHOLD}), {unexplained} of them ({:.2} %) away from any planted incident",
        alarms.len(),
        100.0 * unexplained as f64 / windows.max(1) as f64,
    ));
    print_channels(&root)
}

/// An incident has consequences: alarms on its channel up to a day after it are not held against the detector.
fn near(alarm: &Alarm, incident: &Incident) -> bool {
    alarm.channel == incident.channel
        && alarm.start_ms < incident.end_ms + DAY_MS
        && alarm.end_ms > incident.start_ms - HOUR_MS
}

fn print_incidents(truth: &Truth, alarms: &[Alarm]) {
    let mut table = TextTable::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    table.set_header(["incident", "where", "from", "found", "best score", "in"]);
    let mut found = 0;
    for incident in &truth.incidents {
        let best = alarms
            .iter()
            .filter(|alarm| alarm.explains(incident))
            .max_by(|left, right| left.score.total_cmp(&right.score));
        found += usize::from(best.is_some());
        let place = match &incident.agent_id {
            Some(agent) => format!("{} / {agent}", incident.channel),
            None => incident.channel.clone(),
        };
        table.add_row([
            format!("{:?}", incident.kind),
            place,
            format_time(incident.start_ms),
            if best.is_some() { "yes" } else { "NO" }.to_owned(),
            best.map_or_else(String::new, |alarm| format!("{:.2}", alarm.score)),
            best.map_or_else(String::new, |alarm| alarm.kpi.clone()),
        ]);
    }
    say(table);
    say(format!("{found} of {} planted incidents found", truth.incidents.len()));
}

fn print_channels(root: &Root) -> Result<(), CliError> {
    let mut inbound: BTreeMap<String, i64> = BTreeMap::new();
    for batch in read_table(root, Table::Kpi(Grouping::Channel, Window::Day))? {
        let channels: &StringArray = column(&batch, "channel")?;
        let counts: &Int64Array = column(&batch, "messages_inbound_count")?;
        for row in 0..batch.num_rows() {
            *inbound.entry(channels.value(row).to_owned()).or_default() += counts.value(row);
        }
    }
    if let Some((channel, messages)) = inbound.iter().max_by_key(|(_, messages)| **messages) {
        say(format!("busiest channel: {channel}, {messages} customer messages"));
    }
    Ok(())
}

fn alarms_of(batch: &RecordBatch) -> Result<Vec<Alarm>, CliError> {
    let channel: &StringArray = column(batch, "channel")?;
    let agent: &StringArray = column(batch, "agent_id")?;
    let kpi: &StringArray = column(batch, "kpi")?;
    let start: &TimestampMillisecondArray = column(batch, "window_start")?;
    let end: &TimestampMillisecondArray = column(batch, "window_end")?;
    let score: &Float64Array = column(batch, "score")?;
    let alarm = |row: usize| Alarm {
        channel: channel.value(row).to_owned(),
        agent: agent.is_valid(row).then(|| agent.value(row).to_owned()),
        kpi: kpi.value(row).to_owned(),
        start_ms: start.value(row),
        end_ms: end.value(row),
        score: score.value(row),
    };
    Ok((0..batch.num_rows()).filter(|&row| score.value(row) >= THRESHOLD).map(alarm).collect())
}

/// The rows of a table as of the last commit.
fn read_table(root: &Root, table: Table) -> Result<Vec<RecordBatch>, CliError> {
    let mut batches = Vec::new();
    let commit = last_commit(root, &root.url).map_err(|error| CliError::failure(error.to_string()))?;
    let commit =
        commit.ok_or_else(|| CliError::configuration(format!("{} holds no commit of contactflow", root.url)))?;
    let files = commit.files.iter().filter(|file| file.table == table.name());
    for path in files.map(|file| root.at(&file.path)) {
        let unreadable = |error: &dyn std::fmt::Display| {
            CliError::failure(format!("{} cannot be read: {error}", root.name_of(&path)))
        };
        let reader = ParquetRecordBatchReaderBuilder::try_new(root.get(&path)?)
            .and_then(ParquetRecordBatchReaderBuilder::build)
            .map_err(|error| unreadable(&error))?;
        for batch in reader {
            batches.push(batch.map_err(|error| unreadable(&error))?);
        }
    }
    Ok(batches)
}

fn column<'a, A: Array + 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a A, CliError> {
    batch
        .column_by_name(name)
        .and_then(|array| array.as_any().downcast_ref())
        .ok_or_else(|| CliError::failure(format!("a table has no column {name} of the expected type")))
}
