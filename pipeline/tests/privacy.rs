//! No canary survives: a job over events that are full of addresses and numbers, good rows and rows broken in every way,
//! at the most talkative log level. Everything it writes and says is searched.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// Canaries of each kind.
const EACH: usize = 60;

/// A digit from 1 to 9, so that no run of zeros is found by chance.
fn digits(rng: &mut ChaCha8Rng, count: usize) -> String {
    (0..count).map(|_| char::from(b'1' + rng.random_range(0..9))).collect()
}

fn letters(rng: &mut ChaCha8Rng, count: usize) -> String {
    (0..count).map(|_| char::from(b'a' + rng.random_range(0..26))).collect()
}

/// Sixteen digits with a valid check digit, written together or in groups.
fn card(rng: &mut ChaCha8Rng) -> String {
    let mut number = format!("4{}", digits(rng, 14));
    let sum: u32 = number
        .bytes()
        .enumerate()
        .map(|(place, digit)| (place, u32::from(digit - b'0')))
        .map(|(place, digit)| if place % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit })
        .sum();
    number.push(char::from(b'0' + ((10 - sum % 10) % 10) as u8));
    let groups: Vec<&str> = (0..4).map(|group| &number[group * 4..group * 4 + 4]).collect();
    [number.clone(), groups.join(" "), groups.join("-")][rng.random_range(0..3)].clone()
}

fn phone(rng: &mut ChaCha8Rng) -> String {
    let (a, b, c) = (digits(rng, 3), digits(rng, 3), digits(rng, 4));
    let number = rng.random_range(0..6);
    [
        format!("({a}) {b}-{c}"),
        format!("+49 (0){a} {b}{c}"),
        format!("+1{a}{b}{c}"),
        format!("{a}.{b}.{c}"),
        format!("138{a}{b}12"),
        format!("00{a} {b} / {c}"),
    ][number]
        .clone()
}

/// Words before it, and the canary.
fn order(rng: &mut ChaCha8Rng) -> (&'static str, String) {
    match rng.random_range(0..5) {
        0 => ("order ", digits(rng, 6)),
        1 => ("Order No.: ", format!("A-{}", digits(rng, 5))),
        2 => ("订单号：", format!("SF{}", digits(rng, 9))),
        3 => ("", format!("#{}", digits(rng, 7))),
        _ => ("", format!("RMA-{}", digits(rng, 8))),
    }
}

/// Sentences with what must not survive of each.
fn canaries(rng: &mut ChaCha8Rng) -> Vec<(String, String)> {
    let mut canaries = Vec::new();
    for _ in 0..EACH {
        let name = letters(rng, 8);
        let domain = ["example.com", "mail.example.co.uk", "ex-ample.org"][rng.random_range(0..3)];
        let email = format!("{name}.{}@{domain}", letters(rng, 4));
        canaries.push((format!("write to {email}, please"), name));
        let handle = letters(rng, 10);
        canaries.push((format!("thanks @{handle}!"), handle));
        for number in [card(rng), phone(rng)] {
            canaries.push((
                ["call ", "我的号码是", "nr:", ""][rng.random_range(0..4)].to_owned() + &number + "。ok",
                number,
            ));
        }
        let (before, number) = order(rng);
        canaries.push((format!("where is {before}{number} now?"), number));
    }
    canaries
}

fn event(number: usize) -> Value {
    let id = format!("m{number}");
    json!({
        "tenant_id": "acme", "source": "s", "event_id": id, "conversation_id": id, "message_id": id, "channel": "chat",
        "event_type": "message_created", "actor_type": "customer", "direction": "inbound", "text": "hello",
        "event_time": "2024-03-01T10:00:00Z",
    })
}

/// A row that carries `text`, good or broken in one of many ways.
fn line(number: usize, text: &str) -> Vec<u8> {
    let mut event = event(number);
    let mut set = |column: &str, value: Value| event[column] = value;
    match number % 14 {
        0..3 => set("text", json!(text)),
        3 => set("text", json!([text])),
        4 => set("event_type", json!(text)),
        5 => {
            set("visibility", json!(text));
            set("attributes", json!({"note": text, "deep": [{"x": text}]}));
        }
        6 => {
            set("event_time", json!("yesterday"));
            set("comment", json!({"from": text}));
            set(text, json!(text));
        }
        7 => {
            set("text", json!(text));
            set("actor_type", json!("martian"));
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            return event.to_string().replace(&json!(text).to_string(), &format!("\"{escaped}\"")).into_bytes();
        }
        8 => set("source_version", json!(text)),
        9 => return format!("{{\"tenant_id\":\"acme\",\"text\":\"{text}").into_bytes(),
        10 => return text.as_bytes().to_vec(),
        11 => return [b"{\"text\":\"\xff ", text.as_bytes(), b"\"}"].concat(),
        12 => return format!("{}{text} and more \"", "x ".repeat(4_096 - number % 40)).into_bytes(),
        // One row beyond the limit of a row.
        13 if number < 28 => set("text", json!(format!("{} {text}", "x".repeat(17 << 20)))),
        _ => {
            set("text", json!(text));
            set("event_time", json!(text));
        }
    }
    event.to_string().into_bytes()
}

/// A Parquet file with a text per row: good rows, and some without a time.
fn parquet(path: &Path, texts: &[&str]) {
    let column = |value: &dyn Fn(usize) -> Option<String>| {
        Arc::new((0..texts.len()).map(value).collect::<StringArray>()) as ArrayRef
    };
    let constant = |text: &'static str| column(&|_| Some(text.to_owned()));
    let columns = vec![
        ("tenant_id", constant("acme")),
        ("source", constant("parquet")),
        ("event_id", column(&|row| Some(format!("p{row}")))),
        ("conversation_id", column(&|row| Some(format!("p{row}")))),
        ("event_type", constant("message_created")),
        ("actor_type", constant("customer")),
        ("event_time", column(&|row| (row % 2 == 0).then(|| "2024-03-01T10:00:00Z".to_owned()))),
        ("text", column(&|row| Some(texts[row].to_owned()))),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let mut writer = ArrowWriter::try_new(File::create(path).expect("creates"), batch.schema(), None).expect("writes");
    writer.write(&batch).expect("writes");
    writer.close().expect("writes");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("lists").map(|entry| entry.expect("lists").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// All bytes of an array, its children's included.
fn collect(data: &ArrayData, bytes: &mut Vec<u8>) {
    for buffer in data.buffers() {
        bytes.extend_from_slice(buffer.as_slice());
        bytes.push(b'\n');
    }
    data.child_data().iter().for_each(|child| collect(child, bytes));
}

/// What a file holds: the values of a Parquet file, and the bytes of any.
fn content(path: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(path).expect("reads");
    if path.extension().is_some_and(|extension| extension == "parquet") {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).expect("opens")).expect("is Parquet");
        for batch in reader.build().expect("is Parquet") {
            for column in batch.expect("is Parquet").columns() {
                collect(&column.to_data(), &mut bytes);
            }
        }
    }
    bytes
}

/// The canaries that `bytes` hold.
fn found<'a>(bytes: &[u8], canaries: &'a [(String, String)]) -> BTreeSet<&'a str> {
    let text = String::from_utf8_lossy(bytes);
    canaries.iter().map(|(_, canary)| canary.as_str()).filter(|canary| text.contains(canary)).collect()
}

/// Runs the job over `input` and returns what it said.
fn run(input: &Path, output: &Path, workers: &str) -> Vec<u8> {
    let run = Command::new(env!("CARGO_BIN_EXE_contactflow"))
        .args(["run", "--once", "--workers", workers, "--input"])
        .args([input.as_os_str(), "--output".as_ref(), output.as_os_str()])
        .env("RUST_LOG", "trace")
        .env("RUST_BACKTRACE", "full")
        .output()
        .expect("the program starts");
    let said = [run.stdout, run.stderr].concat();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&said));
    said
}

#[test]
fn no_canary_survives_in_files_or_logs() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let canaries = canaries(&mut rng);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let input = folder.path().join("events");
    std::fs::create_dir(&input).expect("creates");
    let lines: Vec<Vec<u8>> = canaries.iter().enumerate().map(|(number, (text, _))| line(number, text)).collect();
    std::fs::write(input.join("a.ndjson"), lines.join(&b'\n')).expect("writes");
    let texts: Vec<&str> = canaries.iter().map(|(text, _)| text.as_str()).collect();
    parquet(&input.join("b.parquet"), &texts);

    let outputs = ["1", "2"].map(|workers| {
        let output = folder.path().join(format!("tables-{workers}"));
        let said = run(&input, &output, workers);
        assert_eq!(found(&said, &canaries), BTreeSet::new(), "in what the job says");
        let mut rows_with_placeholders = 0;
        for path in files(&output) {
            let bytes = content(&path);
            assert_eq!(found(&bytes, &canaries), BTreeSet::new(), "in {}", path.display());
            rows_with_placeholders += String::from_utf8_lossy(&bytes).matches("[phone]").count();
        }
        // The rows are there, and the search would have found them.
        assert!(rows_with_placeholders > 20);
        output
    });
    // The log of the table tells when each version came.
    let is_data = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "parquet");
    let table = |output: &Path| {
        let rejected = files(&output.join("rejected_events")).into_iter().filter(is_data);
        rejected.map(|path| std::fs::read(path).expect("reads")).collect::<BTreeSet<_>>()
    };
    assert_eq!(table(&outputs[0]), table(&outputs[1]), "the same bytes with one worker and two");
}
