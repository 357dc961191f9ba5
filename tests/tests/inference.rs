//! The job and its model: one that is slow, one that dies, texts that nobody expects, and texts that show too much.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use contactflow::ingest::IngestProgress;
use contactflow::job::{Devices, ModelDevices};
use contactflow::run::{JobError, Mode, RunSummary, Stop, run_with};
use contactflow::settings::JobSettings;
use contactflow_inference::{DevicePool, DeviceScorer, Placement, PoolLimits};
use contactflow_schemas::prediction::{Outcome, Prediction, Sentiment, TextRequest, TextScores};
use contactflow_tests::bytes::differing_folders;
use contactflow_tests::cluster::free_addresses;
use contactflow_tests::model::{Cell, Columns, MESSAGE_SCORES, Table};
use contactflow_tests::product::Product;
use contactflow_tests::runner::RunOptions;
use contactflow_tests::tables::read_table;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(120);
const CONVERSATIONS: usize = 40;

/// Waits for its gate to open, dies of the text `die`, fails on `poison`, calls everything else negative.
struct Fake {
    gate: Option<Arc<Mutex<Receiver<()>>>>,
}

impl DeviceScorer for Fake {
    fn score(&mut self, requests: &[TextRequest]) -> Vec<Prediction> {
        if let Some(gate) = &self.gate {
            // An error is the end of the test: whoever waits may go on.
            let _ = gate.lock().expect("gate").recv();
        }
        let outcome = |text: &str| match text {
            "die" => panic!("the model dies"),
            "poison" => Outcome::Failed("the model's output is not a number".to_owned()),
            _ => {
                let sentiment = Sentiment::most_probable(8_000, 1_000, 1_000);
                Outcome::Scored(Box::new(TextScores::of_sentiment(sentiment)))
            }
        };
        requests.iter().map(|request| Prediction { key: request.key, outcome: outcome(&request.text) }).collect()
    }
}

/// Counts what it is asked.
struct Counting(Arc<AtomicUsize>);

impl DeviceScorer for Counting {
    fn score(&mut self, requests: &[TextRequest]) -> Vec<Prediction> {
        self.0.fetch_add(requests.len(), Ordering::Relaxed);
        Fake { gate: None }.score(requests)
    }
}

fn counting_pool(asked: Arc<AtomicUsize>) -> Result<Option<Devices>, JobError> {
    let load = |_| {
        let counting = Counting(Arc::clone(&asked));
        move || Ok(("fake".to_owned(), counting))
    };
    let texts = Arc::new(DevicePool::start_with(Placement::parse("cpu", 0)?, PoolLimits::default(), load)?);
    Ok(Some(Devices { model: ModelDevices { texts, judges: None }, candidate: None }))
}

fn pool(gate: Option<Receiver<()>>) -> Result<Option<Devices>, JobError> {
    let gate = gate.map(|gate| Arc::new(Mutex::new(gate)));
    let limits = PoolLimits { batch_texts: 8, ..PoolLimits::default() };
    let load = |_| {
        let fake = Fake { gate: gate.clone() };
        move || Ok(("fake".to_owned(), fake))
    };
    let texts = Arc::new(DevicePool::start_with(Placement::parse("cpu", 0)?, limits, load)?);
    Ok(Some(Devices { model: ModelDevices { texts, judges: None }, candidate: None }))
}

/// A customer's message of a conversation of its own, as a line.
fn line(number: usize, text: &str) -> String {
    let id = format!("m{number}");
    let event = json!({
        "tenant_id": "acme", "source": "s", "event_id": id, "conversation_id": id, "message_id": id, "channel": "chat",
        "event_type": "message_created", "actor_type": "customer", "direction": "inbound", "text": text,
        "event_time": format!("2024-03-01T10:{:02}:00Z", number % 60),
    });
    format!("{event}\n")
}

fn settings(input: &Path, output: &Path) -> JobSettings {
    let options = RunOptions { workers: 2, kpi_tables: vec!["kpi_channel_day".to_owned()], ..RunOptions::default() };
    Product::settings(&[input.to_owned()], output, &options)
}

fn once(settings: &JobSettings, devices: impl FnOnce() -> Result<Option<Devices>, JobError>) -> Result<RunSummary> {
    let (progress, stop) = (Arc::new(IngestProgress::default()), Stop::default());
    Ok(run_with(settings, Mode::Once, &progress, &stop, |_| devices())?)
}

/// Messages, and the part of them that is scored, of the one cell that there is.
fn coverage(output: &Path) -> Option<(i64, f64)> {
    // While a job writes, a file may be gone the moment it is to be read.
    let table = read_table(output, "kpi_channel_day").ok()?;
    let columns = table.values().next()?;
    match (&columns["messages_inbound_count"], &columns["coverage_ratio"]) {
        (Cell::Int(messages), Cell::Float(ratio)) => Some((*messages, *ratio)),
        _ => None,
    }
}

fn wait_for(what: &str, mut reached: impl FnMut() -> bool) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while !reached() {
        if Instant::now() > until {
            bail!("not in time: {what}");
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn a_slow_model_does_not_delay_the_kpis() -> Result<()> {
    let product = Product::new()?;
    let (input, output) = (product.folder()?, product.folder()?.join("tables"));
    let lines: String = (0..CONVERSATIONS).map(|number| line(number, &format!("text {number}"))).collect();
    std::fs::write(input.join("a.ndjson"), lines)?;
    let (open, gate): (Sender<()>, _) = channel();
    let (settings, progress, stop) = (settings(&input, &output), Arc::new(IngestProgress::default()), Stop::default());
    scope(|threads| {
        let job = threads.spawn(|| run_with(&settings, Mode::Follow, &progress, &stop, |_| pool(Some(gate))));
        let followed = (|| {
            // Not one text is answered, and the KPIs of all of them are there.
            let all = CONVERSATIONS as i64;
            wait_for("KPIs without a score", || coverage(&output) == Some((all, 0.0)))?;
            // One batch of eight is answered: coverage says so.
            open.send(())?;
            let eight = 8.0 / CONVERSATIONS as f64;
            wait_for("the scores of one batch", || coverage(&output) == Some((all, eight)))?;
            drop(open);
            wait_for("all scores", || coverage(&output) == Some((all, 1.0)))
        })();
        stop.request();
        job.join().map_err(|_| anyhow!("the job panicked"))??;
        followed
    })
}

/// Nothing comes after it: what is answered while a round is being committed has to be seen all the same.
#[test]
fn what_is_answered_during_a_commit_is_committed_too() -> Result<()> {
    for _ in 0..6 {
        let product = Product::new()?;
        let (input, output) = (product.folder()?, product.folder()?.join("tables"));
        let lines: String = (0..CONVERSATIONS).map(|number| line(number, &format!("text {number}"))).collect();
        std::fs::write(input.join("a.ndjson"), lines)?;
        let (open, gate): (Sender<()>, _) = channel();
        let (settings, progress, stop) =
            (settings(&input, &output), Arc::new(IngestProgress::default()), Stop::default());
        scope(|threads| {
            let job = threads.spawn(|| run_with(&settings, Mode::Follow, &progress, &stop, |_| pool(Some(gate))));
            // The first file of a table is there: its commit is under way.
            let begun = output.join("kpi_channel_day");
            let until = Instant::now() + PATIENCE;
            while std::fs::read_dir(&begun).map_or(0, Iterator::count) == 0 && Instant::now() < until {
                sleep(Duration::from_millis(1));
            }
            drop(open);
            let followed = wait_for("all scores", || coverage(&output) == Some((CONVERSATIONS as i64, 1.0)));
            stop.request();
            job.join().map_err(|_| anyhow!("the job panicked"))??;
            followed
        })?;
    }
    Ok(())
}

#[test]
fn a_model_that_dies_leaves_kpis_and_error_rows() -> Result<()> {
    let product = Product::new()?;
    let (input, output) = (product.folder()?, product.folder()?.join("tables"));
    let lines: String =
        (0..CONVERSATIONS).map(|number| line(number, if number == 0 { "die" } else { "hello" })).collect();
    std::fs::write(input.join("a.ndjson"), lines)?;
    once(&settings(&input, &output), || pool(None))?;
    let (messages, ratio) = coverage(&output).ok_or_else(|| anyhow!("no KPIs"))?;
    assert_eq!(messages, CONVERSATIONS as i64);
    let scores = read_table(&output, MESSAGE_SCORES)?;
    let failed = scores.values().filter(|columns| error(columns).is_some()).count();
    assert!(failed > 0 && ratio == (CONVERSATIONS - failed) as f64 / CONVERSATIONS as f64, "{failed} failed, {ratio}");
    assert_eq!(scores.len(), CONVERSATIONS);
    Ok(())
}

/// The error of a row of message_scores; every row has an error or a score.
fn error(columns: &Columns) -> Option<&str> {
    match (&columns["error"], &columns["sentiment"]) {
        (Cell::Text(error), Cell::Null) => Some(error),
        (Cell::Null, Cell::Text(_)) => None,
        other => panic!("neither score nor error, or both: {other:?}"),
    }
}

fn ids(table: &Table) -> Vec<String> {
    table.keys().map(|key| key[2].to_string()).collect()
}

#[test]
fn a_text_the_model_fails_on_is_an_error_row_and_the_job_goes_on() -> Result<()> {
    let product = Product::new()?;
    let (input, output) = (product.folder()?, product.folder()?.join("tables"));
    std::fs::write(input.join("a.ndjson"), [line(0, "fine"), line(1, "poison"), line(2, "also fine")].concat())?;
    once(&settings(&input, &output), || pool(None))?;
    let scores = read_table(&output, MESSAGE_SCORES)?;
    let errors: Vec<Option<&str>> = scores.values().map(error).collect();
    assert_eq!(errors, [None, Some("the model's output is not a number"), None]);
    assert_eq!(coverage(&output), Some((3, 2.0 / 3.0)));
    Ok(())
}

/// Two processes in the eyes of timely, in one: texts read by one are scored by the device of the other.
#[test]
fn processes_of_a_job_share_the_model_s_work() -> Result<()> {
    let product = Product::new()?;
    let (input, alone, together) =
        (product.folder()?, product.folder()?.join("tables"), product.folder()?.join("tables"));
    for file in 0..4 {
        // Every text stands in two files, and is asked about once.
        let lines =
            (0..CONVERSATIONS).map(|number| line(number + 100 * file, &format!("text {}", number + 20 * (file / 2))));
        std::fs::write(input.join(format!("{file}.ndjson")), lines.collect::<String>())?;
    }
    once(&settings(&input, &alone), || pool(None))?;
    let asked = [0, 1].map(|_| Arc::new(AtomicUsize::new(0)));
    let hosts = free_addresses(2)?;
    let summaries = scope(|threads| {
        let start = |process: usize| {
            let mut settings = settings(&input, &together);
            settings.cluster.hosts = hosts.clone();
            settings.cluster.process = process;
            // One that waits holds the readers of both back.
            settings.inference.backlog_texts_max = 8;
            let asked = Arc::clone(&asked[process]);
            threads.spawn(move || once(&settings, || counting_pool(asked)))
        };
        let jobs = [start(0), start(1)];
        jobs.map(|job| job.join().map_err(|_| anyhow!("the job panicked"))?)
    });
    let [first, second] = summaries;
    assert_eq!(first?.rows, 4 * CONVERSATIONS as u64, "the first process counts for all");
    assert!(second?.rows < 4 * CONVERSATIONS as u64, "the second for itself");
    let asked = asked.map(|asked| asked.load(Ordering::Relaxed));
    assert!(asked.iter().all(|&asked| asked > 0), "both devices have worked: {asked:?}");
    assert_eq!(asked.iter().sum::<usize>(), CONVERSATIONS + 20, "once per distinct text");
    assert_eq!(differing_folders(&alone, &together)?, Vec::<String>::new());
    assert_eq!(coverage(&together), Some((4 * CONVERSATIONS as i64, 1.0)));
    Ok(())
}

#[test]
fn every_text_gets_a_score_or_an_error() -> Result<()> {
    let product = Product::new()?;
    let input = product.folder()?;
    let texts = [
        "x".repeat(1 << 20),
        "字 ".repeat(350_000),
        "word ".repeat(200_000),
        "🙂👍🏽👨‍👩‍👧".to_owned(),
        "مرحبا، الخدمة سيئة جدا \u{202E}!".to_owned(),
        "\u{1}\u{7}\u{1b}[31m\u{7f}".to_owned(),
        "\u{301}\u{302}\u{20dd}".to_owned(),
        "\u{feff}\u{200b}\u{fffd}".to_owned(),
        "'; DROP TABLE users; -- <script>".to_owned(),
    ];
    let blank = ["", " ", "\n\t\r", "\u{a0}\u{3000}"];
    let all = texts.iter().map(String::as_str).chain(blank).enumerate();
    std::fs::write(input.join("a.ndjson"), all.map(|(number, text)| line(number, text)).collect::<String>())?;
    let mut outputs = Vec::new();
    for workers in [1, 2] {
        let output = product.folder()?.join("tables");
        let mut settings = settings(&input, &output);
        settings.workers = workers;
        settings.inference.enabled = true;
        contactflow::run::run(&settings, Mode::Once, &Arc::new(IngestProgress::default()), &Stop::default())?;
        let scores = read_table(&output, MESSAGE_SCORES)?;
        let mut expected: Vec<String> = (0..texts.len()).map(|number| format!("m{number}")).collect();
        expected.sort();
        assert_eq!(ids(&scores).len(), expected.len(), "{:?}", ids(&scores));
        assert!(scores.values().all(|columns| error(columns).is_none()), "all of these can be scored");
        // What is blank says nothing and is not asked about.
        assert_eq!(coverage(&output), Some(((texts.len() + blank.len()) as i64, 1.0)));
        outputs.push(output);
    }
    assert_eq!(differing_folders(&outputs[0], &outputs[1])?, Vec::<String>::new());
    Ok(())
}
