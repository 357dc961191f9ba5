//! The dataflow: the one function to read first.

use std::sync::Arc;

use contactflow_inference::DevicePool;
use contactflow_operators::anomaly::{anomalies, series_points};
use contactflow_operators::cells::{arrange_cells, arrange_roll_up, arrange_rows, to_channel, to_day};
use contactflow_operators::conversation::conversations;
use contactflow_operators::deduplicate::deduplicate;
use contactflow_operators::epochs::Epoch;
use contactflow_operators::gauges::gauges;
use contactflow_operators::infer::{Backlog, infer};
use contactflow_operators::scores::scores;
use contactflow_schemas::aggregate::RollUp::{OverGroup, OverTime};
use contactflow_schemas::clock::Window::{Day, Hour};
use contactflow_schemas::tables::Table;
use timely::dataflow::operators::probe::Handle;
use timely::worker::Worker;

use crate::ingest::{FileAssignment, Ingest, read_files};
use crate::model::{NoModel, PooledModel};
use crate::views::Views;

/// What a worker needs to build its part of the dataflow.
#[derive(Clone)]
pub struct JobContext {
    /// Where rows come from.
    pub ingest: Ingest,
    /// The model's devices; none with inference off.
    pub devices: Option<Arc<DevicePool>>,
    /// Texts that wait for the model.
    pub backlog: Backlog,
}

/// A worker's handles on the running dataflow.
pub struct Job {
    /// Files to read, fed by one worker.
    pub files: timely::dataflow::InputHandle<Epoch, timely::container::CapacityContainerBuilder<Vec<FileAssignment>>>,
    /// Passes an epoch when every table is complete up to it.
    pub probe: Handle<Epoch>,
    /// The tables this worker writes.
    pub views: Views,
}

/// Builds the whole dataflow, stage after stage:
///
/// ```text
/// files ► rows ► net events ► conversations ► cells and their roll-ups ► anomalies ► tables
///           └──────► texts ► predictions ──► scores ──┘
/// ```
pub fn build(worker: &mut Worker, context: &JobContext) -> Job {
    let JobContext { ingest, devices, backlog } = context.clone();
    let index = worker.index();
    worker.dataflow_named::<Epoch, _, _>("contactflow", |scope| {
        let probe = Handle::new();
        let mut views = Views::new(&probe);

        // Sources and normalisation: assigned files become deliveries, rejects and texts.
        let (files, assigned) = timely::dataflow::operators::vec::Input::new_input(&scope);
        let read = read_files(assigned, ingest, backlog.clone(), &probe);

        // Net events: one per identity, whatever was delivered in whatever order.
        let net = deduplicate(read.rows);

        // Conversations: facts, contributions to KPIs, levels, turns.
        let facts = conversations(net.changes, net.latest.clone());

        // Predictions, once per distinct text, and what they say about the turns that stand.
        let predictions = match devices {
            Some(devices) => infer(read.texts, backlog, move |wake| PooledModel::connect(&devices, index, wake)),
            None => infer(read.texts, backlog, |_| NoModel),
        };
        let scored = scores(facts.turns, predictions);

        // KPI cells: the finest level from the conversations, every other from a finer one.
        let unattended = |window| gauges(facts.levels.clone(), net.latest.clone(), window);
        let finest = facts.contributions.concat(scored.contributions).concat(unattended(Hour));
        let agent_hour = arrange_cells(finest, "AgentChannelHour");
        let agent_day = arrange_roll_up(agent_hour.clone(), OverTime, to_day, Some(unattended(Day)), "AgentChannelDay");
        let channel_hour = arrange_roll_up(agent_hour.clone(), OverGroup, to_channel, None, "ChannelHour");
        let channel_day = arrange_roll_up(agent_day.clone(), OverGroup, to_channel, None, "ChannelDay");

        // Anomaly scores of channels by the hour and agents by the day.
        let by_hour = anomalies(series_points(channel_hour.clone(), false), net.latest.clone(), Hour);
        let by_day = anomalies(series_points(agent_day.clone(), true), net.latest.clone(), Day);

        // Tables.
        views.as_of(net.latest);
        views.cells(Table::KpiAgentChannel(Hour), agent_hour);
        views.cells(Table::KpiAgentChannel(Day), agent_day);
        views.cells(Table::KpiChannel(Hour), channel_hour);
        views.cells(Table::KpiChannel(Day), channel_day);
        views.facts(arrange_rows(facts.facts, |row| row.day, "ConversationFacts"));
        views.message_scores(arrange_rows(scored.messages, |row| row.day, "MessageScores"));
        views.conversation_scores(arrange_rows(scored.conversations, |row| row.day, "ConversationScores"));
        views.anomalies(arrange_rows(by_hour.concat(by_day), |row| row.day, "AnomalyScores"));
        views.rejects(arrange_rows(net.rejects.concat(facts.rejects), |_| 0, "RejectedEvents"));
        Job { files, probe, views }
    })
}
