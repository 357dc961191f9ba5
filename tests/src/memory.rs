//! The product's dataflow in memory: rows in, tables out, without files, Parquet and commits.
//!
//! What runs is the code of the job from the normalised row to the cell; what is left out are readers and sink, which
//! other tests run. It is some ten times as fast, so that tens of thousands of histories can be tried.

use crate::fake_model::{Heard, judge, signature};
use crate::histories::Dice;
use crate::model::{
    CONVERSATION_SCORES, Cell as Value, Columns, FACTS, KPI_TABLES, MESSAGE_SCORES, MODEL_EVAL, REJECTS, TOPICS, Table,
    Tables, name,
};
use crate::oracle::{self, Answer, Heads, Row, Scores};
use crate::tables::read_rows;
use anyhow::{Result, anyhow};
use contactflow::kpis::{kpi_cells, measure};
use contactflow::sink::{
    ModelIds, encode_conversation_scores, encode_evaluations, encode_facts, encode_message_scores, encode_rejects,
    encode_topics,
};
use contactflow::sources::normalise_line;
use contactflow_operators::as_of::AsOf;
use contactflow_operators::causes::Causes;
use contactflow_operators::deduplicate::{Incoming, deduplicate};
use contactflow_operators::epochs::Epoch;
use contactflow_operators::infer::{Backlog, Model, infer};
use contactflow_operators::metrics::Metrics;
use contactflow_operators::scores::{Asking, contributions, cycles, evaluations, qualities, scores, topics};
use contactflow_schemas::aggregate::{KPI_COLUMNS, Number, PublishContext, publish};
use contactflow_schemas::event::Origin;
use contactflow_schemas::facts::{
    Cell, ConversationScore, CycleFacts, Grouping, MessageScore, ModelEvaluation, Speaker, TopicWindow,
};
use contactflow_schemas::masking::Masking;
use contactflow_schemas::prediction::{
    ConversationOutcome, ConversationPrediction, ConversationRequest, ConversationScoreKey, Emotion, EmotionLabel,
    IntentScore, Offensive, Outcome, Prediction, Quality, Sentiment, SentimentLabel, TextRequest, TextScores,
    TurnInput,
};
use contactflow_schemas::reject::Reject;
use contactflow_schemas::rules::KpiRules;
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tables::Table as Published;
use contactflow_schemas::tally::Tally;
use contactflow_schemas::windows::{Window, Windows};
use contactflow_schemas::zone::Zone;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::vec::{Input, ToStream};
use timely::dataflow::operators::{Inspect, Probe};
use timely::scheduling::SyncActivator;

/// How the dataflow is run.
#[derive(Clone, Debug)]
pub struct MemoryOptions {
    /// Timely workers.
    pub workers: usize,
    /// Chooses how rows are cut into epochs and which worker gets them.
    pub seed: u64,
    /// IANA time zone of the windows.
    pub time_zone: String,
}

/// The names of the KPI columns, sorted, each with its place in a published row.
static NAMES: LazyLock<Vec<(&'static str, usize)>> = LazyLock::new(|| {
    let mut names: Vec<_> = KPI_COLUMNS.iter().map(|column| name(&column.name)).zip(0..).collect();
    names.sort_unstable();
    names
});

/// What came out, summed up.
#[derive(Default)]
struct Collected {
    cells: HashMap<(Grouping, Window, Cell), Tally>,
    facts: HashMap<CycleFacts, isize>,
    rejects: HashMap<Reject, isize>,
    messages: HashMap<MessageScore, isize>,
    cycles: HashMap<ConversationScore, isize>,
    topics: HashMap<TopicWindow, isize>,
    evaluations: HashMap<ModelEvaluation, isize>,
    /// Sequences of turns whose quality was asked for.
    asked: BTreeSet<ConversationScoreKey>,
    as_of: AsOf,
}

/// More workers than cores must not spin.
const PARK: Duration = Duration::from_micros(200);

type Shared = Arc<Mutex<Collected>>;

fn lock(shared: &Shared) -> std::sync::MutexGuard<'_, Collected> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What judges whole conversations.
pub type Judge = Arc<dyn Fn(&[Heard]) -> Option<oracle::Quality> + Send + Sync>;

/// The tables of these rows; `heads` stands for the model of texts, [`judge`] for that of conversations.
///
/// # Errors
/// When the dataflow stops or makes tables that cannot be.
pub fn tables(rows: &[Row], options: &MemoryOptions, heads: &dyn Heads) -> Result<Tables> {
    tables_judged(rows, options, heads, &(Arc::new(judge) as Judge))
}

/// The same with another judge of conversations.
///
/// # Errors
/// As [`tables`].
pub fn tables_judged(rows: &[Row], options: &MemoryOptions, heads: &dyn Heads, judge: &Judge) -> Result<Tables> {
    let (incoming, predictions) = inputs(rows, heads);
    let zone = Zone::parse(&options.time_zone).ok_or_else(|| anyhow!("unknown zone {}", options.time_zone))?;
    let windows = Windows::new(zone);
    let shared = Shared::default();
    let (for_workers, in_windows, judge) = (Arc::clone(&shared), windows.clone(), Arc::clone(judge));
    let (workers, seed) = (options.workers, options.seed);
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let model = (predictions.as_slice(), &judge);
        run(worker, &for_workers, &in_windows, &incoming, model, seed);
    });
    for result in guards.map_err(|error| anyhow!(error))?.join() {
        result.map_err(|error| anyhow!(error))?;
    }
    let collected = std::mem::take(&mut *lock(&shared));
    published(collected, &windows)
}

/// The rows as the job's readers would hand them on, and what the model says of their texts.
fn inputs(rows: &[Row], heads: &dyn Heads) -> (Vec<Incoming>, Vec<Prediction>) {
    let mut requests: Vec<TextRequest> = Vec::new();
    let incoming = rows.iter().map(|row| {
        let origin = Origin { file: Symbol::new(&row.file), row: row.position + 1 };
        match normalise_line(row.line.to_string().as_bytes(), origin, &Masking::OFF) {
            Ok(normalised) => {
                requests.extend(normalised.text);
                Incoming::Delivery(normalised.delivery)
            }
            Err(reject) => Incoming::Rejected(reject),
        }
    });
    let incoming = incoming.collect();
    let mut seen = BTreeSet::new();
    let predictions = requests.into_iter().filter(|request| seen.insert(request.key)).filter_map(|request| {
        let outcome = match heads.answer(&request.text) {
            Answer::Scored(scores) => Outcome::Scored(Box::new(text_scores(&request.text, scores))),
            Answer::Failed => Outcome::Failed("failed".to_owned()),
            Answer::Pending => return None,
        };
        Some(Prediction { key: request.key, outcome })
    });
    (incoming, predictions.collect())
}

fn text_scores(text: &str, scores: Scores) -> TextScores {
    let Scores { negative, neutral, positive, emotion, offensive, intent, .. } = scores;
    let label = SentimentLabel::ALL.into_iter().find(|label| label.as_str() == scores.sentiment());
    let label = label.expect("a label of the sentiment head");
    let emotion = emotion.zip(scores.emotion_label()).map(|([anger, joy, optimism, sadness], decided)| {
        let label = EmotionLabel::ALL.into_iter().find(|label| label.as_str() == decided);
        Emotion { anger, joy, optimism, sadness, label: label.expect("a label of the emotion head") }
    });
    let offensive = offensive.zip(scores.is_offensive());
    TextScores {
        sentiment: Sentiment { negative, neutral, positive, label },
        emotion,
        offensive: offensive.map(|(probability, is_offensive)| Offensive { probability, is_offensive }),
        intent: intent.map(|(label, probability)| IntentScore { label: Symbol::new(label), probability }),
        vector: signature(text).to_vec().into(),
        highlights: Vec::new(),
    }
}

/// Answers the newest sequence first, now and then; no sequence comes twice.
struct FakeJudge {
    judge: Judge,
    waiting: Vec<ConversationRequest>,
    idle: usize,
    shared: Shared,
    wake: SyncActivator,
}

impl Model for FakeJudge {
    type Request = ConversationRequest;

    fn try_submit(&mut self, requests: Vec<ConversationRequest>) -> Result<(), Vec<ConversationRequest>> {
        if self.waiting.len() > 3 {
            return Err(requests);
        }
        for request in &requests {
            let is_new = lock(&self.shared).asked.insert(request.key);
            assert!(is_new, "a sequence of turns was asked for twice");
        }
        self.waiting.extend(requests);
        Ok(())
    }

    fn drain(&mut self) -> Vec<ConversationPrediction> {
        if !self.waiting.is_empty() {
            let _ = self.wake.activate();
        }
        self.idle += 1;
        if !self.idle.is_multiple_of(2) {
            return Vec::new();
        }
        let answer = |request: ConversationRequest| {
            let heard = |turn: &TurnInput| {
                let TurnInput { vector, speaker, gap_ms, chars, .. } = turn;
                let signature = [vector.as_slice()[0], vector.as_slice()[1]];
                Heard { signature, by_agent: *speaker == Speaker::Agent, gap_ms: *gap_ms, chars: *chars }
            };
            let outcome = match (self.judge)(&request.turns.iter().map(heard).collect::<Vec<_>>()) {
                Some(quality) => {
                    ConversationOutcome::Scored(Quality { score: quality.score, attention: quality.attention })
                }
                None => ConversationOutcome::Failed("failed".to_owned()),
            };
            ConversationPrediction { key: request.key, outcome }
        };
        self.waiting.pop().map(answer).into_iter().collect()
    }

    fn in_flight(&self) -> usize {
        self.waiting.len()
    }
}

fn run(
    worker: &mut timely::worker::Worker,
    shared: &Shared,
    windows: &Windows,
    incoming: &[Incoming],
    (predictions, judge): (&[Prediction], &Judge),
    seed: u64,
) {
    let mut rows: InputHandle<Epoch, _> = InputHandle::new();
    let mut scored: InputHandle<Epoch, _> = InputHandle::new();
    let probe = worker.dataflow::<Epoch, _, _>(|scope| {
        let net = deduplicate(scope.input_from(&mut rows), ());
        let measured = measure(&net, &KpiRules::default(), windows, &Causes::default(), &Metrics::default());
        let predictions = differential_dataflow::AsCollection::as_collection(scope.input_from(&mut scored));
        let (turns, rules) = (measured.conversations.turns, KpiRules::default());
        let scores = scores(turns.clone(), measured.conversations.labelled, predictions, false);
        let asking = Asking { with_quality: true, round_of: |epoch| epoch / 3 };
        let cycles = cycles(turns, scores.messages.clone(), asking, windows, Causes::default());
        let (to, judge) = (Arc::clone(shared), Arc::clone(judge));
        let known = Vec::new().to_stream(scope);
        let answers = infer(cycles.requests, known, Backlog::default(), (), move |wake| FakeJudge {
            judge,
            waiting: Vec::new(),
            idle: 0,
            shared: to,
            wake,
        });
        let quality = qualities(cycles.scores, answers, windows, Causes::default());
        let of_messages = contributions(scores.messages.clone(), &rules, windows);
        let contributions = measured.contributions.concat(of_messages);
        let contributions = contributions.concat(cycles.contributions).concat(quality.contributions);
        let cells = kpi_cells(contributions, measured.presence, windows, |_, _| true);
        let probe = timely::dataflow::ProbeHandle::new();
        for (grouping, window, cells) in cells.into_tables() {
            let to = Arc::clone(shared);
            let sink = move |(cell, _, diff): &(Cell, Epoch, contactflow_operators::difference::TallyDiff)| {
                // Cells may be finer than the rows of their table.
                let row = Cell { group: grouping.of(cell.group), ..*cell };
                lock(&to).cells.entry((grouping, window, row)).or_default().add(&diff.0);
            };
            cells.as_collection(|cell, ()| *cell).inner.inspect(sink).probe_with(&probe);
        }
        let to = Arc::clone(shared);
        let facts = measured.conversations.facts.inner;
        facts.inspect(move |(row, _, diff)| add(&mut lock(&to).facts, row, *diff)).probe_with(&probe);
        let to = Arc::clone(shared);
        let topics = topics(scores.messages.clone(), windows).inner;
        topics.inspect(move |(row, _, diff)| add(&mut lock(&to).topics, row, *diff)).probe_with(&probe);
        let to = Arc::clone(shared);
        let messages = scores.messages.inner;
        messages.inspect(move |(row, _, diff)| add(&mut lock(&to).messages, row, *diff)).probe_with(&probe);
        let to = Arc::clone(shared);
        let rows = quality.rows.inner;
        rows.inspect(move |(row, _, diff)| add(&mut lock(&to).cycles, row, *diff)).probe_with(&probe);
        let to = Arc::clone(shared);
        let evaluations = evaluations(scores.compared, windows).inner;
        evaluations.inspect(move |(row, _, diff)| add(&mut lock(&to).evaluations, row, *diff)).probe_with(&probe);
        let to = Arc::clone(shared);
        let rejects = net.rejects.concat(measured.conversations.rejects).inner;
        rejects.inspect(move |(row, _, diff)| add(&mut lock(&to).rejects, row, *diff)).probe_with(&probe);
        let to = Arc::clone(shared);
        net.latest.inspect(move |(time_ms, diff)| lock(&to).as_of.update(*time_ms, *diff)).probe_with(&probe);
        probe
    });
    // Every worker draws the same, and feeds what is its own.
    let mut dice = Dice::new(seed);
    let (mut incoming, mut predictions) = (incoming.iter(), predictions.iter());
    let mut epoch: Epoch = 0;
    let mut left = incoming.len();
    while left > 0 {
        let size = (1 + dice.below(1 + left as u64)).min(1 + dice.below(12)) as usize;
        for row in incoming.by_ref().take(size.min(left)) {
            if dice.below(worker.peers() as u64) as usize == worker.index() {
                rows.send(row.clone());
            }
        }
        for prediction in predictions.by_ref().take(dice.below(3) as usize).filter(|_| worker.index() == 0) {
            scored.send((prediction.clone(), epoch, 1isize));
        }
        left -= size.min(left);
        epoch += 1;
        rows.advance_to(epoch);
        scored.advance_to(epoch);
        // Half of the time the next epoch is fed before this one is complete, so that batches hold several.
        if dice.chance(500) {
            worker.step_or_park_while(Some(PARK), || probe.less_than(&epoch));
        }
    }
    for prediction in predictions.filter(|_| worker.index() == 0) {
        scored.send((prediction.clone(), epoch, 1isize));
    }
    rows.close();
    scored.close();
    worker.step_or_park_while(Some(PARK), || !probe.done());
}

fn add<D: Clone + Eq + Hash>(rows: &mut HashMap<D, isize>, row: &D, diff: isize) {
    *rows.entry(row.clone()).or_default() += diff;
}

fn standing<D: Clone>(rows: HashMap<D, isize>) -> Vec<D> {
    rows.into_iter().flat_map(|(row, count)| (0..count).map(move |_| row.clone())).collect()
}

/// The tables as they would be published.
fn published(collected: Collected, windows: &Windows) -> Result<Tables> {
    let as_of_ms = collected.as_of.get().unwrap_or(0);
    let mut tables: Tables = KPI_TABLES.iter().map(|table| (table.name.to_owned(), Table::new())).collect();
    for ((grouping, window, cell), tally) in collected.cells.into_iter().filter(|(_, tally)| !tally.is_zero()) {
        let (key, columns) = row(grouping, window, cell, &tally, windows, as_of_ms);
        tables.entry(Published::Kpi(grouping, window).name().to_owned()).or_default().insert(key, columns);
    }
    tables.insert(FACTS.to_owned(), read_rows(FACTS, encode_facts(standing(collected.facts))?)?);
    let model = "fake";
    let models = ModelIds { published: model.to_owned(), ..ModelIds::default() };
    let files = [
        (MESSAGE_SCORES, encode_message_scores(Published::MessageScores, standing(collected.messages), model)?),
        (
            CONVERSATION_SCORES,
            encode_conversation_scores(Published::ConversationScores, standing(collected.cycles), model)?,
        ),
        (TOPICS, encode_topics(standing(collected.topics), windows, model)?),
    ];
    for (name, file) in files {
        tables.insert(name.to_owned(), read_rows(name, file)?);
    }
    // A partition holds one day.
    let mut days: BTreeMap<i32, Vec<ModelEvaluation>> = BTreeMap::new();
    for evaluation in standing(collected.evaluations) {
        days.entry(evaluation.day).or_default().push(evaluation);
    }
    let evaluations = tables.entry(MODEL_EVAL.to_owned()).or_default();
    for day in days.into_values() {
        evaluations.extend(read_rows(MODEL_EVAL, encode_evaluations(day, windows, &models)?)?);
    }
    tables.insert(REJECTS.to_owned(), read_rows(REJECTS, encode_rejects(standing(collected.rejects))?)?);
    Ok(tables)
}

fn row(
    grouping: Grouping,
    window: Window,
    cell: Cell,
    tally: &Tally,
    windows: &Windows,
    as_of_ms: i64,
) -> (Vec<Value>, Columns) {
    let text = |symbol: Option<Symbol>| Value::text(symbol.map(Symbol::as_str));
    let group = cell.group;
    let mut key = vec![Value::text(Some(group.tenant.as_str()))];
    match grouping {
        Grouping::AgentChannel | Grouping::Agent => key.push(text(group.agent)),
        Grouping::TeamChannel => key.push(text(group.team)),
        Grouping::QueueChannel => key.push(text(group.queue)),
        Grouping::Channel | Grouping::Tenant => {}
    }
    if grouping.by_channel() {
        key.push(text(group.channel));
    }
    key.push(Value::TimeMs(cell.window_start_ms));
    let end_ms = windows.end_ms(window, cell.window_start_ms);
    let mut numbers = Vec::with_capacity(KPI_COLUMNS.len());
    publish(tally, PublishContext { window_ms: end_ms - cell.window_start_ms, as_of_ms }, &mut numbers);
    let value = |number: Number| match number {
        Number::Null => Value::Null,
        Number::Int(value) => Value::Int(value),
        Number::Float(value) => Value::Float(value),
    };
    let mut columns: Columns = NAMES.iter().map(|&(name, place)| (name, value(numbers[place]))).collect();
    columns.insert("window_end", Value::TimeMs(end_ms));
    (key, columns)
}
