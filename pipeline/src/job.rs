//! The dataflow: the one function to read first.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use contactflow_inference::DevicePool;
use contactflow_operators::anomaly::{anomalies, series_points};
use contactflow_operators::causes::Causes;
use contactflow_operators::cells::arrange_rows;
use contactflow_operators::conversation::Histories;
use contactflow_operators::deduplicate::{Ledger, deduplicate};
use contactflow_operators::dimensions::versions;
use contactflow_operators::epochs::Epoch;
use contactflow_operators::infer::Backlog;
use contactflow_operators::metrics::Metrics;
use contactflow_operators::scores::{contributions as contributions_of_messages, evaluations, topics};
use contactflow_schemas::dimension::{Dimension, DimensionEvent};
use contactflow_schemas::facts::Grouping::Channel;
use contactflow_schemas::prediction::{ConversationRequest, ConversationScoreKey};
use contactflow_schemas::rules::KpiRules;
use contactflow_schemas::tables::Table;
use contactflow_schemas::windows::Window::{Day, Hour};
use contactflow_schemas::windows::Windows;
use timely::dataflow::operators::Inspect;
use timely::dataflow::operators::probe::{Handle, Probe};
use timely::worker::Worker;

use crate::ingest::{FileAssignment, Ingest, IngestProgress, read_files, round_of};
use crate::kpis::{Measured, kpi_cells, measure};
use crate::opinions::{Asker, Subjects};
use crate::seal::Sealed;
use crate::settings::{JobSettings, SettingsError, TableSelection};
use crate::sink::{ModelIds, Objects, PublishedSettings};
use crate::state::StateJournal;
use crate::store::Root;
use crate::views::Views;

/// What a worker needs to build its part of the dataflow.
#[derive(Clone)]
pub struct JobContext {
    /// Where rows come from.
    pub ingest: Ingest,
    /// The model whose predictions are published, and the candidate whose predictions are shown beside them.
    pub models: ModelIds,
    /// How the model takes part.
    pub model: Scoring,
    /// How the candidate does, if there is one.
    pub candidate: Scoring,
    /// Texts that wait for the model.
    pub backlog: Backlog,
    /// Thresholds of the KPIs.
    pub rules: KpiRules,
    /// Windows of the tables.
    pub windows: Windows,
    /// The KPI tables to publish.
    pub tables: TableSelection,
    /// Why published values change.
    pub causes: Causes,
    /// What the operators count.
    pub metrics: Metrics,
    /// What is not in memory.
    pub sealed: Sealed,
    /// Workers of this process.
    pub workers: usize,
    /// Where the sequences are noted that cycles ask a quality for; none where nobody wants to know.
    pub sequences: Option<Sequences>,
}

/// Keys of the sequences of turns that a dataflow asks for.
pub type Sequences = Arc<Mutex<HashSet<ConversationScoreKey>>>;

/// How one of the models takes part in a job.
#[derive(Clone, Default)]
pub struct Scoring {
    /// Its devices; none with inference off, and where only what it said before is of interest.
    pub devices: Option<ModelDevices>,
    /// It gives conversations a quality: it has judges, or what they said in an earlier run is shown.
    pub with_quality: bool,
}

impl From<ModelDevices> for Scoring {
    fn from(devices: ModelDevices) -> Self {
        Self { with_quality: devices.judges.is_some(), devices: Some(devices) }
    }
}

/// The device threads of one model.
#[derive(Clone)]
pub struct ModelDevices {
    /// They score texts.
    pub texts: Arc<DevicePool>,
    /// They judge conversations; none without a head for that.
    pub judges: Option<Arc<DevicePool<ConversationRequest>>>,
}

impl ModelDevices {
    /// Has what the models answer kept until a commit has it.
    pub fn remember(&self) {
        self.texts.remember();
        self.judges.iter().for_each(|judges| judges.remember());
    }

    /// Says that what the workers had been answered when they handed a round over is stored.
    pub fn committed(&self) {
        self.texts.committed();
        self.judges.iter().for_each(|judges| judges.committed());
    }
}

/// The device threads of a job.
#[derive(Clone)]
pub struct Devices {
    /// Those of the model.
    pub model: ModelDevices,
    /// Those of another one, which is asked about the same.
    pub candidate: Option<ModelDevices>,
}

impl Devices {
    /// The models that they run.
    pub fn models(&self) -> ModelIds {
        ModelIds {
            published: self.model.texts.model_id().to_owned(),
            candidate: self.candidate.as_ref().map_or_else(String::new, |other| other.texts.model_id().to_owned()),
        }
    }
}

impl JobContext {
    /// The same showing what the models of published tables said before.
    pub fn showing(mut self, published: &PublishedSettings) -> Self {
        let models = published.models();
        self.ingest.candidate_id.clone_from(&models.candidate);
        self.model.with_quality = published.with_quality;
        self.candidate.with_quality = published.candidate_with_quality;
        Self { models, ..self }
    }

    /// The same noting which sequences of turns the conversations come to, as both models see them.
    pub fn noting(mut self, sequences: &Sequences) -> Self {
        for scoring in [&mut self.model, &mut self.candidate] {
            scoring.with_quality = true;
        }
        Self { sequences: Some(Arc::clone(sequences)), ..self }
    }

    /// Whether the model and the candidate give conversations a quality.
    pub fn with_quality(&self) -> [bool; 2] {
        [&self.model, &self.candidate].map(|scoring| scoring.with_quality)
    }

    /// The same with something sealed.
    pub fn with_sealed(mut self, sealed: Sealed) -> Self {
        self.ingest.sealed = sealed.clone();
        Self { sealed, ..self }
    }

    /// The devices of the models that are asked.
    pub fn devices(&self) -> impl Iterator<Item = &ModelDevices> {
        [&self.model, &self.candidate].into_iter().filter_map(|scoring| scoring.devices.as_ref())
    }

    /// The context of a job over `roots` whose state and tables are in `objects`.
    ///
    /// # Errors
    /// [`SettingsError`] for an unknown time zone or table.
    pub fn new(
        settings: &JobSettings,
        roots: Vec<Root>,
        objects: Arc<dyn Objects>,
        progress: &Arc<IngestProgress>,
        devices: Option<Devices>,
        causes: Causes,
    ) -> Result<Self, SettingsError> {
        let models = devices.as_ref().map_or_else(ModelIds::default, Devices::models);
        let texts = devices.is_some();
        let (model, candidate) = devices.map(|Devices { model, candidate }| (model, candidate)).unzip();
        Ok(Self {
            ingest: Ingest {
                roots: Arc::new(roots),
                objects,
                epoch_rows: settings.epoch_rows,
                masking: settings.privacy.mask,
                texts,
                candidate_id: models.candidate.clone(),
                backlog_texts_max: settings.inference.backlog_texts_max,
                sealed: Sealed::default(),
                progress: Arc::clone(progress),
            },
            models,
            model: model.map_or_else(Scoring::default, Scoring::from),
            candidate: candidate.flatten().map_or_else(Scoring::default, Scoring::from),
            backlog: Backlog::default(),
            rules: settings.kpi.clone(),
            windows: settings.windows()?,
            tables: settings.tables()?,
            causes,
            metrics: Metrics::default(),
            sealed: Sealed::default(),
            workers: settings.workers,
            sequences: None,
        })
    }
}

/// A worker's handles on the running dataflow.
pub struct Job {
    /// Files to read, fed by one worker.
    pub files: timely::dataflow::InputHandle<Epoch, timely::container::CapacityContainerBuilder<Vec<FileAssignment>>>,
    /// Passes an epoch when every table is complete up to it.
    pub probe: Handle<Epoch>,
    /// The tables this worker writes.
    pub views: Views,
    /// What stands for every event.
    pub ledger: Rc<RefCell<Ledger>>,
    /// The conversations.
    pub histories: Histories,
}

fn check_dimensions(sealed: &Sealed, rows: &[(DimensionEvent, isize)]) {
    let is_read_by_conversations = |row: &DimensionEvent| !matches!(row.dimension, Dimension::Presence { .. });
    let rows = rows.iter().filter(|(row, _)| is_read_by_conversations(row));
    rows.for_each(|(row, _)| sealed.check_dimension(row.time_ms));
}

/// Builds the whole dataflow, stage after stage; what a restart needs goes to `journal`:
///
/// ```text
/// files ► rows ► net events ► conversations ► cells and their roll-ups ► anomalies ► tables
///           └──────► texts ► predictions ──► scores ──┘
/// ```
pub fn build(worker: &mut Worker, context: &JobContext, journal: &StateJournal) -> Job {
    let JobContext { ingest, models, backlog, rules, windows, tables, causes, metrics, sealed, workers, .. } =
        context.clone();
    let journal = StateJournal::clone(journal);
    // Devices belong to a process, so its workers count from 0.
    let index = worker.index() % workers;
    let asker = |is_candidate| Asker::new(context, index, is_candidate, journal.of(is_candidate));
    worker.dataflow_named::<Epoch, _, _>("contactflow", |scope| {
        let probe = Handle::new();
        let mut views = Views::new(&probe, &windows, &sealed);

        // Sources and normalisation: assigned files become deliveries, rejects and texts.
        let (files, assigned) = timely::dataflow::operators::vec::Input::new_input(&scope);
        let read = read_files(assigned, ingest, backlog, &probe);

        // Net events: one per identity, whatever was delivered in whatever order.
        let net = deduplicate(read.rows, journal.clone());

        let watched = net.dimensions.clone().inspect_core(move |event| {
            // What is restored stood when it was sealed.
            if let Ok((stamp, rows)) = event
                && stamp.iter().any(|&epoch| round_of(epoch) > 0)
            {
                check_dimensions(&sealed, rows);
            }
        });
        watched.probe_with(&probe);

        // Conversations: facts, contributions to KPIs, turns.
        let Measured { conversations, contributions, presence } = measure(&net, &rules, &windows, &causes, &metrics);

        // Predictions, once per distinct text and sequence of turns, and what they say about the turns that stand.
        let is_on = !models.published.is_empty();
        let turns = conversations.turns.filter(move |_| is_on);
        let subjects = Subjects { texts: read.texts, turns, labelled: conversations.labelled };
        let scored = asker(false).ask(subjects.clone(), read.published);
        let mut compared = scored.compared;

        // A candidate is asked about everything too, and what it says stands beside that and counts nowhere.
        if !models.candidate.is_empty() {
            let scored = asker(true).ask(subjects, read.candidate);
            compared = compared.concat(scored.compared);
            views.message_scores(arrange_rows(scored.messages, |row| row.day, "CandidateScores"), true);
            let conversations = arrange_rows(scored.conversations, |row| row.day, "CandidateConversationScores");
            views.conversation_scores(conversations, true);
        }

        // KPI cells: the finest from conversations and scores, every other from a finer one.
        let messages = scored.messages;
        let of_messages = contributions_of_messages(messages.clone(), &rules, &windows);
        let contributions = contributions.concat(of_messages).concat(scored.contributions);
        let wanted = |grouping, window| {
            let is_watched = (grouping, window) == (Channel, Hour);
            is_watched || tables.publishes(Table::Kpi(grouping, window))
        };
        let cells = kpi_cells(contributions, presence, &windows, wanted);

        // Anomaly scores of channels by the hour and agents by the day.
        let by_hour = cells.of(Channel, Hour).map(|cells| (series_points(cells, false), Hour));
        let by_day = (series_points(cells.watched_of_agents.clone(), true), Day);
        let scores = by_hour.into_iter().chain([by_day]);
        let scores = scores.map(|(points, window)| anomalies(points, net.latest.clone(), window, &windows));
        if let Some(scores) = scores.reduce(|left, right| left.concat(right)) {
            views.anomalies(arrange_rows(scores, |row| row.day, "AnomalyScores"));
        }

        // Tables.
        views.as_of(net.latest);
        for (grouping, window, cells) in cells.into_tables() {
            let table = Table::Kpi(grouping, window);
            if tables.publishes(table) {
                views.cells(table, cells);
            }
        }
        views.facts(arrange_rows(conversations.facts, |row| row.day, "ConversationFacts"));
        views.topics(arrange_rows(topics(messages.clone(), &windows), |row| row.day, "TopicWindow"));
        views.message_scores(arrange_rows(messages, |row| row.day, "MessageScores"), false);
        views.conversation_scores(arrange_rows(scored.conversations, |row| row.day, "ConversationScores"), false);
        views.evaluations(arrange_rows(evaluations(compared, &windows), |row| row.day, "ModelEval"));
        views.rejects(arrange_rows(net.rejects.concat(conversations.rejects), |_| 0, "RejectedEvents"));
        views.dimensions(arrange_rows(versions(net.dimensions), |_| 0, "Dimensions"));
        Job { files, probe, views, ledger: net.ledger, histories: conversations.histories }
    })
}
