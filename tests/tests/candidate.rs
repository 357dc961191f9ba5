//! An upgrade of the model: the candidate is asked about every text beside the model, both are shown, only the model's scores count,
//! and once it is promoted nothing is computed again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use arrow::util::display::array_value_to_string;
use contactflow::ingest::IngestProgress;
use contactflow::job::Devices;
use contactflow::run::{Basis, Mode, Stop, compare, run_with};
use contactflow::settings::JobSettings;
use contactflow_inference::{DevicePool, DeviceScorer, Placement, PoolLimits};
use contactflow_schemas::prediction::{Outcome, Prediction, Sentiment, TextRequest, TextScores};
use contactflow_tests::bytes::differing_folders;
use contactflow_tests::product::Product;
use contactflow_tests::runner::RunOptions;
use contactflow_tests::tables::live_files;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;

/// Messages, each with a label, and how many texts there are among them.
const MESSAGES: usize = 12;
const DISTINCT: usize = 5;

/// Always of one opinion.
struct Opinion {
    sentiment: Sentiment,
    asked: Arc<AtomicUsize>,
}

impl DeviceScorer for Opinion {
    fn score(&mut self, requests: &[TextRequest]) -> Vec<Prediction> {
        self.asked.fetch_add(requests.len(), Ordering::Relaxed);
        let outcome = || Outcome::Scored(Box::new(TextScores::of_sentiment(self.sentiment)));
        requests.iter().map(|request| Prediction { key: request.key, outcome: outcome() }).collect()
    }
}

/// A model by its name: `calm` finds everything positive, `grim` negative.
fn model(name: &'static str, asked: &Arc<AtomicUsize>) -> Result<Arc<DevicePool>> {
    let (negative, positive) = if name == "calm" { (1_000, 8_000) } else { (8_000, 1_000) };
    let load = |_| {
        let opinion =
            Opinion { sentiment: Sentiment::most_probable(negative, 1_000, positive), asked: Arc::clone(asked) };
        move || Ok((name.to_owned(), opinion))
    };
    Ok(Arc::new(DevicePool::start_with(Placement::parse("cpu", 0)?, PoolLimits::default(), load)?))
}

/// A customer's message of a conversation of its own, and what a rater says of it.
fn lines(number: usize) -> String {
    let (id, time) = (format!("m{number}"), format!("2024-03-01T10:{number:02}:00Z"));
    let text = format!("text {}", number % DISTINCT);
    let message = json!({
        "tenant_id": "acme", "source": "s", "event_id": id, "conversation_id": id, "message_id": id, "channel": "chat",
        "event_type": "message_created", "actor_type": "customer", "direction": "inbound", "text": text,
        "event_time": time,
    });
    let label = json!({
        "tenant_id": "acme", "source": "s", "event_id": format!("l{number}"), "conversation_id": id, "message_id": id,
        "event_type": "score_label", "label": "sentiment", "rater": "eve", "value": "negative", "event_time": time,
    });
    format!("{message}\n{label}\n")
}

/// The sorted values of columns of a table, as text.
fn columns(output: &Path, table: &str, names: &[&str]) -> Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    for path in live_files(&output.join(table))? {
        for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()? {
            let batch = batch?;
            let column = |name: &&str| batch.column_by_name(name).with_context(|| format!("no column {name}"));
            let columns: Vec<_> = names.iter().map(column).collect::<Result<_>>()?;
            for row in 0..batch.num_rows() {
                let values = columns.iter().map(|column| Ok(array_value_to_string(column, row)?));
                rows.push(values.collect::<Result<Vec<String>>>()?);
            }
        }
    }
    rows.sort();
    Ok(rows)
}

/// A job over a folder of events, and how often each model was asked.
struct Scene {
    settings: JobSettings,
    calm: Arc<AtomicUsize>,
    grim: Arc<AtomicUsize>,
}

impl Scene {
    fn new(product: &Product, input: &Path, workers: usize) -> Result<Self> {
        let options = RunOptions { workers, kpi_tables: vec!["kpi_channel_day".to_owned()], ..RunOptions::default() };
        let settings = Product::settings(&[input.to_owned()], &product.folder()?.join("tables"), &options);
        Ok(Self { settings, calm: Arc::default(), grim: Arc::default() })
    }

    fn run(&self, published: &'static str, candidate: Option<&'static str>) -> Result<()> {
        let asked = |name| if name == "calm" { &self.calm } else { &self.grim };
        let texts = model(published, asked(published))?;
        let candidate = candidate.map(|name| model(name, asked(name))).transpose()?;
        let devices = Devices { texts, judges: None, candidate };
        let (progress, stop) = (Arc::new(IngestProgress::default()), Stop::default());
        run_with(&self.settings, Mode::Once, &progress, &stop, |_| Ok(Some(devices)))?;
        Ok(())
    }

    fn output(&self) -> PathBuf {
        self.settings.output.clone().into()
    }

    fn asked(&self) -> [usize; 2] {
        [&self.calm, &self.grim].map(|asked| asked.load(Ordering::Relaxed))
    }

    /// Sentiments and models of a table of scores, counted.
    fn opinions(&self, table: &str) -> Result<Vec<Vec<String>>> {
        let mut opinions = columns(&self.output(), table, &["sentiment", "model_id"])?;
        ensure!(opinions.is_empty() || opinions.len() == MESSAGES, "{table} has {} rows", opinions.len());
        opinions.dedup();
        Ok(opinions)
    }

    fn is_verified(&self) -> Result<()> {
        let (inspection, _) = compare(&self.settings.output, &Basis::State(Vec::new()), 1)?;
        ensure!(inspection.is_clean(), "verify: {inspection:?}");
        Ok(())
    }
}

fn opinion(sentiment: &str, model: &str) -> Vec<Vec<String>> {
    vec![vec![sentiment.to_owned(), model.to_owned()]]
}

#[test]
fn a_candidate_is_shown_beside_the_model_until_it_is_promoted() -> Result<()> {
    let product = Product::new()?;
    let input = product.folder()?;
    std::fs::write(input.join("a.ndjson"), (0..MESSAGES).map(lines).collect::<String>())?;
    let scene = Scene::new(&product, &input, 2)?;

    // Alone, then with a candidate beside it: the events are known, so the texts are read again for the candidate alone.
    scene.run("calm", None)?;
    ensure!(scene.asked() == [DISTINCT, 0] && scene.opinions("candidate_scores")?.is_empty());
    let kpis = columns(&scene.output(), "kpi_channel_day", &["sentiment_mean", "scored_turns_count"])?;
    scene.run("calm", Some("grim"))?;
    ensure!(scene.asked() == [DISTINCT, DISTINCT], "each text once by each model: {:?}", scene.asked());
    ensure!(scene.opinions("message_scores")? == opinion("positive", "calm"));
    ensure!(scene.opinions("candidate_scores")? == opinion("negative", "grim"));
    let shown = columns(&scene.output(), "kpi_channel_day", &["sentiment_mean", "scored_turns_count"])?;
    ensure!(shown == kpis, "a candidate counts nowhere: {kpis:?} {shown:?}");
    let accuracy = |rows: &[Vec<String>], model: &str| {
        rows.iter().find(|row| row[0] == model && row[1].is_empty()).map(|row| row[2].clone())
    };
    let compared = columns(&scene.output(), "model_eval", &["model_id", "class", "accuracy", "n"])?;
    ensure!(accuracy(&compared, "calm").as_deref() == Some("0.0"), "{compared:?}");
    ensure!(accuracy(&compared, "grim").as_deref() == Some("1.0"), "{compared:?}");
    scene.is_verified()?;

    // The bytes do not tell in how many steps and by how many workers.
    let at_once = Scene::new(&product, &input, 1)?;
    at_once.run("calm", Some("grim"))?;
    ensure!(differing_folders(&scene.output(), &at_once.output())?.is_empty());

    // Promoted: nothing is asked again, and the tables are those of a job that never had another model.
    scene.run("grim", None)?;
    ensure!(scene.asked() == [DISTINCT, DISTINCT], "nothing is computed again: {:?}", scene.asked());
    ensure!(scene.opinions("message_scores")? == opinion("negative", "grim"));
    ensure!(scene.opinions("candidate_scores")?.is_empty(), "no candidate any more");
    let ever = Scene::new(&product, &input, 2)?;
    ever.run("grim", None)?;
    ensure!(differing_folders(&scene.output(), &ever.output())?.is_empty());
    scene.is_verified()
}

/// A retraction calls neither model, and takes the message out of both tables.
#[test]
fn a_retraction_leaves_the_scores_of_both_models_without_a_call() -> Result<()> {
    let product = Product::new()?;
    let input = product.folder()?;
    std::fs::write(input.join("a.ndjson"), (0..MESSAGES + 1).map(lines).collect::<String>())?;
    let scene = Scene::new(&product, &input, 2)?;
    scene.run("calm", Some("grim"))?;
    let before = scene.asked();
    let retracted = json!({
        "tenant_id": "acme", "source": "s", "event_id": format!("m{MESSAGES}"), "event_type": "message_created",
        "version": 2, "op": "retract", "event_time": "2024-03-01T12:00:00Z",
    });
    std::fs::write(input.join("b.ndjson"), format!("{retracted}\n"))?;
    scene.run("calm", Some("grim"))?;
    ensure!(scene.asked() == before, "{before:?} {:?}", scene.asked());
    ensure!(scene.opinions("message_scores")? == opinion("positive", "calm"));
    ensure!(scene.opinions("candidate_scores")? == opinion("negative", "grim"));
    scene.is_verified()
}
