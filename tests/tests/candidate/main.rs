//! An upgrade of the model: the candidate is asked about every text and conversation beside the model, both are shown, only the
//! model's scores count, and once it is promoted nothing is computed again.

mod opinion;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use arrow::util::display::array_value_to_string;
use contactflow::ingest::IngestProgress;
use contactflow::job::Devices;
use contactflow::run::{Basis, Mode, Stop, compare, erase, run_with, status};
use contactflow::settings::JobSettings;
use contactflow_tests::bytes::differing_folders;
use contactflow_tests::cluster::free_addresses;
use contactflow_tests::product::Product;
use contactflow_tests::runner::RunOptions;
use contactflow_tests::tables::live_files;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use opinion::{Asked, FOREIGN, devices};

/// Messages, each with a label and in a conversation of its own, and how many texts there are among them.
const MESSAGES: usize = 12;
const DISTINCT: usize = 5;
/// Tables of the model, and of the candidate.
const PUBLISHED: [&str; 2] = ["message_scores", "conversation_scores"];
const CANDIDATE: [&str; 2] = ["candidate_scores", "candidate_conversation_scores"];

/// A minute of a morning.
fn at(minute: usize) -> String {
    format!("2024-03-01T10:{minute:02}:00Z")
}

/// A customer's message.
fn message(id: &str, conversation: &str, text: &str, time: &str) -> Value {
    json!({
        "tenant_id": "acme", "source": "s", "event_id": id, "conversation_id": conversation, "message_id": id,
        "contact_id": format!("contact of {conversation}"), "channel": "chat", "event_type": "message_created",
        "actor_type": "customer", "direction": "inbound", "text": text,
        "event_time": time,
    })
}

fn retraction(id: &str) -> Value {
    json!({
        "tenant_id": "acme", "source": "s", "event_id": id, "event_type": "message_created", "version": 2,
        "op": "retract", "event_time": "2024-03-01T12:00:00Z",
    })
}

/// A customer's message of a conversation of its own, and what a rater says of it.
fn labelled(number: usize) -> [Value; 2] {
    let (id, time) = (format!("m{number}"), at(number));
    let label = json!({
        "tenant_id": "acme", "source": "s", "event_id": format!("l{number}"), "conversation_id": id, "message_id": id,
        "event_type": "score_label", "label": "sentiment", "rater": "eve", "value": "negative",
        "event_time": time,
    });
    [message(&id, &id, &format!("text {}", number % DISTINCT), &time), label]
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
    input: PathBuf,
    settings: JobSettings,
    calm: Arc<Asked>,
    others: Arc<Asked>,
}

impl Scene {
    fn new(product: &Product, workers: usize) -> Result<Self> {
        let input = product.folder()?;
        let options = RunOptions { workers, kpi_tables: vec!["kpi_channel_day".to_owned()], ..RunOptions::default() };
        let settings = Product::settings(std::slice::from_ref(&input), &product.folder()?.join("tables"), &options);
        Ok(Self { input, settings, calm: Arc::default(), others: Arc::default() })
    }

    /// The scene with these events in a file.
    fn with(self, file: &str, events: impl IntoIterator<Item = Value>) -> Result<Self> {
        let lines: String = events.into_iter().map(|event| format!("{event}\n")).collect();
        std::fs::write(self.input.join(file), lines)?;
        Ok(self)
    }

    fn run(&self, published: &'static str, candidate: Option<&'static str>) -> Result<()> {
        self.run_as(&self.settings, published, candidate)
    }

    fn run_as(&self, settings: &JobSettings, published: &'static str, candidate: Option<&'static str>) -> Result<()> {
        let model = |name| devices(name, if name == "calm" { &self.calm } else { &self.others });
        let devices = Devices { model: model(published)?, candidate: candidate.map(model).transpose()? };
        let (progress, stop) = (Arc::new(IngestProgress::default()), Stop::default());
        run_with(settings, Mode::Once, &progress, &stop, |_| Ok(Some(devices)))?;
        Ok(())
    }

    /// As [`run`](Self::run), by two processes in the eyes of timely, each with devices of its own.
    fn run_together(&self, published: &'static str, candidate: Option<&'static str>) -> Result<()> {
        let hosts = free_addresses(2)?;
        std::thread::scope(|threads| {
            let jobs = [0, 1].map(|process| {
                let mut settings = self.settings.clone();
                settings.cluster.hosts.clone_from(&hosts);
                settings.cluster.process = process;
                threads.spawn(move || self.run_as(&settings, published, candidate))
            });
            jobs.into_iter().try_for_each(|job| job.join().map_err(|_| anyhow!("a process panicked"))?)
        })
    }

    fn output(&self) -> PathBuf {
        self.settings.output.clone().into()
    }

    /// Texts and conversations that `calm` and the others were asked about.
    fn asked(&self) -> [[usize; 2]; 2] {
        [self.calm.counts(), self.others.counts()]
    }

    /// The values of columns of a table of scores of [`MESSAGES`] messages or conversations, each once.
    fn opinions(&self, table: &str, names: &[&str]) -> Result<Vec<Vec<String>>> {
        let mut opinions = columns(&self.output(), table, names)?;
        ensure!(opinions.is_empty() || opinions.len() == MESSAGES, "{table} has {} rows", opinions.len());
        opinions.dedup();
        Ok(opinions)
    }

    /// Whether tables of scores, of the model or of the candidate, say this of every message and conversation.
    fn says(&self, [messages, conversations]: [&str; 2], sentiment: &str, quality: &str, model: &str) -> Result<bool> {
        let expected = |value: &str| vec![vec![value.to_owned(), model.to_owned()]];
        Ok(self.opinions(messages, &["sentiment", "model_id"])? == expected(sentiment)
            && self.opinions(conversations, &["quality_score", "model_id"])? == expected(quality))
    }

    /// Whether there is nothing by a candidate.
    fn shows_none(&self) -> Result<bool> {
        let tables = CANDIDATE.map(|table| columns(&self.output(), table, &[]));
        Ok(tables.into_iter().collect::<Result<Vec<_>>>()?.iter().all(Vec::is_empty))
    }

    /// The qualities of a table, by conversation.
    fn qualities(&self, table: &str) -> Result<Vec<String>> {
        let rows = columns(&self.output(), table, &["conversation_id", "quality_score"])?;
        Ok(rows.into_iter().flatten().skip(1).step_by(2).collect())
    }

    /// The KPIs that follow from scores.
    fn kpis(&self) -> Result<Vec<Vec<String>>> {
        let names = ["sentiment_mean", "scored_turns_count", "quality_score", "quality_scored_count"];
        columns(&self.output(), "kpi_channel_day", &names)
    }

    /// How many qualities of each model the state holds.
    fn kept(&self) -> Result<Vec<(String, u64)>> {
        let manifests = std::fs::read_dir(self.output().join("_contactflow/manifests"))?;
        let newest = manifests.filter_map(|entry| Some(entry.ok()?.path())).max().context("a commit")?;
        let manifest: Value = serde_json::from_slice(&std::fs::read(newest)?)?;
        let mut kept = std::collections::BTreeMap::new();
        for file in manifest["state"].as_array().context("a state")?.iter().filter(|file| file["kind"] == "qualities") {
            let model = file["model_id"].as_str().context("a model")?;
            *kept.entry(model.to_owned()).or_default() += file["rows"].as_u64().context("rows")?;
        }
        Ok(kept.into_iter().collect())
    }

    fn is_verified(&self) -> Result<()> {
        let (inspection, _) = compare(&self.settings.output, &Basis::State(Vec::new()), 1)?;
        ensure!(inspection.is_clean(), "verify: {inspection:?}");
        Ok(())
    }

    /// The files of the tables are those of another scene, byte for byte.
    fn is_as(&self, other: &Self) -> Result<()> {
        let differing = differing_folders(&self.output(), &other.output())?;
        ensure!(differing.is_empty(), "{differing:?}");
        Ok(())
    }
}

#[test]
fn a_candidate_is_shown_beside_the_model_until_it_is_promoted() -> Result<()> {
    let product = Product::new()?;
    let scene = |workers| Scene::new(&product, workers)?.with("a.ndjson", (0..MESSAGES).flat_map(labelled));
    let upgraded = scene(2)?;

    // Alone, then with a candidate beside it: the events are known, so the texts are read again for the candidate alone.
    upgraded.run("calm", None)?;
    let [alone, both] = [[[DISTINCT; 2], [0; 2]], [[DISTINCT; 2]; 2]];
    ensure!(upgraded.asked() == alone && upgraded.shows_none()?);
    let kpis = upgraded.kpis()?;
    upgraded.run("calm", Some("grim"))?;
    ensure!(upgraded.asked() == both, "everything once by each model: {:?}", upgraded.asked());
    ensure!(upgraded.says(PUBLISHED, "positive", "0.9", "calm")?);
    ensure!(upgraded.says(CANDIDATE, "negative", "0.1", "grim")?);
    let shown = upgraded.kpis()?;
    ensure!(shown == kpis, "a candidate counts nowhere: {kpis:?} {shown:?}");
    let accuracy = |rows: &[Vec<String>], model: &str| {
        rows.iter().find(|row| row[0] == model && row[1].is_empty()).map(|row| row[2].clone())
    };
    let compared = columns(&upgraded.output(), "model_eval", &["model_id", "class", "accuracy", "n"])?;
    ensure!(accuracy(&compared, "calm").as_deref() == Some("0.0"), "{compared:?}");
    ensure!(accuracy(&compared, "grim").as_deref() == Some("1.0"), "{compared:?}");
    upgraded.is_verified()?;

    // The bytes do not tell in how many steps and by how many workers.
    for workers in [1, 4] {
        let at_once = scene(workers)?;
        at_once.run("calm", Some("grim"))?;
        ensure!(at_once.asked() == both);
        at_once.is_as(&upgraded)?;
    }

    // Nor by how many processes; and one text is asked of one of them.
    let processes = scene(2)?;
    processes.run_together("calm", None)?;
    processes.run_together("calm", Some("grim"))?;
    ensure!(processes.asked() == both, "once by each model: {:?}", processes.asked());
    processes.is_as(&upgraded)?;

    // Promoted: nothing is asked again, and the tables are those of a job that never had another model.
    upgraded.run("grim", None)?;
    ensure!(upgraded.asked() == both, "nothing is computed again: {:?}", upgraded.asked());
    ensure!(upgraded.says(PUBLISHED, "negative", "0.1", "grim")?);
    ensure!(upgraded.shows_none()?, "no candidate any more");
    let ever = scene(2)?;
    ever.run("grim", None)?;
    ever.is_as(&upgraded)?;
    upgraded.is_verified()?;

    // And back, with the model that was replaced as the candidate.
    upgraded.run("grim", Some("calm"))?;
    ensure!(upgraded.asked() == both, "nothing is computed again: {:?}", upgraded.asked());
    ensure!(upgraded.says(CANDIDATE, "positive", "0.9", "calm")?);
    upgraded.is_verified()
}

/// A model without judges beside one that has some: each shows what it says itself.
#[test]
fn quality_is_that_of_a_model_which_judges() -> Result<()> {
    let product = Product::new()?;
    let scene = Scene::new(&product, 2)?.with("a.ndjson", (0..MESSAGES).flat_map(labelled))?;
    scene.run("calm", Some("mute"))?;
    ensure!(scene.says(PUBLISHED, "positive", "0.9", "calm")? && scene.says(CANDIDATE, "negative", "", "mute")?);
    scene.is_verified()?;
    scene.run("mute", Some("calm"))?;
    ensure!(scene.says(PUBLISHED, "negative", "", "mute")? && scene.says(CANDIDATE, "positive", "0.9", "calm")?);
    let kpis = scene.kpis()?;
    ensure!(kpis[0][2..] == ["", "0"], "no quality counts: {kpis:?}");
    ensure!(scene.asked() == [[DISTINCT; 2], [DISTINCT, 0]], "{:?}", scene.asked());
    scene.is_verified()
}

/// A retraction calls neither model, and goes back to what both said before, in every table.
#[test]
fn a_retraction_leaves_the_scores_of_both_models_without_a_call() -> Result<()> {
    let product = Product::new()?;
    let begun =
        [message("1", "c", "one", &at(1)), message("2", "c", "two", &at(2)), message("3", "d", FOREIGN, &at(3))];
    let mut scene = Scene::new(&product, 2)?.with("a.ndjson", begun.clone())?;
    scene.run("calm", Some("grim"))?;
    ensure!(scene.qualities(PUBLISHED[1])? == ["0.91", ""], "{:?}", scene.qualities(PUBLISHED[1])?);
    ensure!(scene.qualities(CANDIDATE[1])? == ["0.11", "0.1"], "{:?}", scene.qualities(CANDIDATE[1])?);
    ensure!(scene.asked() == [[3, 1], [3, 2]], "{:?}", scene.asked());

    // A message more makes a sequence more, for each of them.
    scene = scene.with("b.ndjson", [message("4", "c", "four", &at(4))])?;
    scene.settings.workers = 3;
    scene.run("calm", Some("grim"))?;
    ensure!(scene.qualities(PUBLISHED[1])? == ["0.92", ""] && scene.qualities(CANDIDATE[1])? == ["0.12", "0.1"]);
    ensure!(scene.asked() == [[4, 2], [4, 3]], "{:?}", scene.asked());
    scene.is_verified()?;

    scene = scene.with("c.ndjson", [retraction("4")])?;
    scene.settings.workers = 1;
    scene.run("calm", Some("grim"))?;
    ensure!(scene.asked() == [[4, 2], [4, 3]], "{:?}", scene.asked());
    let never = Scene::new(&product, 2)?.with("a.ndjson", begun)?;
    never.run("calm", Some("grim"))?;
    never.is_as(&scene)?;
    scene.is_verified()
}

/// What a candidate said of conversations of a contact is erased with it, and what it said of others stays, also of conversations
/// that the model does not judge.
#[test]
fn an_erased_contact_is_gone_from_what_both_models_said() -> Result<()> {
    let product = Product::new()?;
    let ann = [message("1", "ann", "one", &at(1)), message("2", "ann", "two", &at(2))];
    let others = [message("3", "bob", "three", &at(3)), message("4", "cleo", FOREIGN, &at(4))];
    let scene = Scene::new(&product, 2)?.with("a.ndjson", ann.into_iter().chain(others.clone()))?;
    scene.run("calm", Some("grim"))?;
    let kept = |of_calm, of_grim| [("calm".to_owned(), of_calm), ("grim".to_owned(), of_grim)];
    ensure!(scene.kept()? == kept(2, 3), "{:?}", scene.kept()?);

    let receipt = erase(&scene.settings.output, "contact of ann", None, 2)?;
    ensure!((receipt.conversations, receipt.qualities, receipt.predictions) == (1, 2, 4), "{receipt:?}");
    ensure!(scene.kept()? == kept(1, 2), "{:?}", scene.kept()?);
    let never = Scene::new(&product, 1)?.with("a.ndjson", others)?;
    never.run("calm", Some("grim"))?;
    never.is_as(&scene)?;
    scene.is_verified()?;

    // Nothing of it comes back, and nothing has to be said again.
    let before = scene.asked();
    scene.run("calm", Some("grim"))?;
    ensure!(scene.asked() == before, "{before:?} {:?}", scene.asked());
    never.is_as(&scene)
}

/// Months that are sealed keep what the candidate said, and have it when they are opened again.
#[test]
fn what_a_candidate_said_outlasts_a_seal() -> Result<()> {
    let product = Product::new()?;
    let resolved = json!({
        "tenant_id": "acme", "source": "s", "event_id": "2", "conversation_id": "c", "channel": "chat",
        "event_type": "status_changed", "to_status": "resolved", "event_time": at(2),
    });
    let early = [message("1", "c", "one", &at(1)), resolved];
    let much_later = [message("3", "d", "three", "2025-03-01T10:00:00Z")];
    let afterthought = [message("4", "c", "four", "2024-03-01T10:01:30Z")];
    let all = early.iter().chain(&much_later).chain(&afterthought).cloned();
    let plain = Scene::new(&product, 1)?.with("a.ndjson", all)?;
    plain.run("calm", Some("grim"))?;

    let mut scene = Scene::new(&product, 2)?.with("a.ndjson", early)?.with("b.ndjson", much_later)?;
    scene.settings.seal_after_days = 1;
    scene.run("calm", Some("grim"))?;
    let sealed = || Ok::<_, anyhow::Error>(status(&scene.settings.output)?.sealed_rows);
    ensure!(sealed()? > 0 && scene.asked() == [[2, 2]; 2], "{:?}", scene.asked());
    scene.run("calm", Some("grim"))?;
    ensure!(sealed()? > 0 && scene.asked() == [[2, 2]; 2], "{:?}", scene.asked());
    ensure!(scene.qualities(CANDIDATE[1])? == ["0.1", "0.1"]);

    let scene = scene.with("c.ndjson", afterthought)?;
    scene.run("calm", Some("grim"))?;
    // The round that meets the afterthought is begun anew and does not ask about a text again. Before, it may have asked about the
    // afterthought alone: what it belongs to was not in memory.
    for [texts, conversations] in scene.asked() {
        ensure!(texts == 3 && (3..=4).contains(&conversations), "{:?}", scene.asked());
    }
    scene.is_as(&plain)?;
    scene.is_verified()
}
