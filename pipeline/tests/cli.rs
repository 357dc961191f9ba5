//! The program from outside: exit codes, and what it says when it cannot do what it was asked to.

use std::path::Path;
use std::process::{Command, Output};

/// A bucket nobody serves.
const UNREACHABLE: [(&str, &str); 5] = [
    ("AWS_ENDPOINT", "http://127.0.0.1:9"),
    ("AWS_ALLOW_HTTP", "true"),
    ("AWS_ACCESS_KEY_ID", "none"),
    ("AWS_SECRET_ACCESS_KEY", "none"),
    ("AWS_REGION", "us-east-1"),
];

fn contactflow(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_contactflow"))
        .args(arguments)
        .envs(UNREACHABLE)
        .env_remove("RUST_LOG")
        .output()
        .expect("the program starts")
}

/// Asserts an exit code, nothing on standard output, and one line on standard error, which is returned.
fn one_line(arguments: &[&str], code: i32) -> String {
    let output = contactflow(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    assert_eq!(errors.lines().count(), 1, "{arguments:?}: {errors}");
    assert!(errors.starts_with("contactflow: error: "), "{errors}");
    errors
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

#[test]
fn unreachable_stores_are_told_in_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let local = shown(folder.path());
    let run =
        |input, output| one_line(&["run", "--once", "--inference", "off", "--input", input, "--output", output], 1);
    for line in [run("s3://bucket/events", local), run(local, "s3://bucket/tables")] {
        assert!(line.contains("s3://bucket/") && line.contains("cannot be reached"), "{line}");
        assert!(!line.contains("none"), "credentials are not told: {line}");
    }
    let line = one_line(&["check", "--inference", "off", "--input", "s3://bucket/events", "--output", local], 1);
    assert!(line.contains("cannot be reached"), "{line}");
}

#[test]
fn unreadable_configurations_are_told_in_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let missing = folder.path().join("none.toml");
    // A folder is no file, whoever asks.
    for path in [missing.as_path(), folder.path()] {
        let line = one_line(&["run", "--once", "--config", shown(path)], 2);
        assert!(line.contains(shown(path)) && line.contains("cannot be read"), "{line}");
    }
}

#[test]
fn a_job_without_input_or_output_is_a_usage_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let local = shown(folder.path());
    assert!(one_line(&["run", "--once", "--output", local], 2).contains("--input"));
    assert!(one_line(&["run", "--once", "--input", local], 2).contains("--output"));
    let nowhere = folder.path().join("nowhere");
    let line = one_line(&["run", "--once", "--inference", "off", "--input", shown(&nowhere), "--output", local], 2);
    assert!(line.contains("nowhere") && line.contains("does not exist"), "{line}");
    assert_eq!(contactflow(&["run", "--no-such-flag"]).status.code(), Some(2));
}

#[test]
fn options_that_a_head_does_not_have_are_refused() {
    let train = ["train", "--head", "satisfaction", "--input", "none.ndjson", "--output", "none.safetensors"];
    for (option, value) in [
        ("--class-weight-power", "1"),
        ("--lexical-class-weight-power", "1"),
        ("--folds", "3"),
        ("--running-mean", "0.9"),
        ("--neural-rows", "9"),
        ("--lexical-inverse-penalty", "1"),
        ("--feature-cache", "none"),
        ("--adapter-output", "none"),
    ] {
        let line = one_line(&[&train[..], &[option, value]].concat(), 2);
        assert!(line.contains(option), "{line}");
    }
}

#[test]
fn help_has_examples() {
    for arguments in [&["--help"][..], &["run", "--help"]] {
        let output = contactflow(arguments);
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && output.stderr.is_empty());
        assert!(help.contains("Examples:\n  contactflow ") && help.contains("contactflow run --once"), "{help}");
    }
}

#[test]
fn a_run_over_an_empty_folder_succeeds() {
    let (input, output) = (tempfile::tempdir(), tempfile::tempdir());
    let (input, output) = (input.expect("a temporary folder"), output.expect("a temporary folder"));
    let tables = output.path().join("tables");
    let arguments =
        ["run", "--once", "--inference", "off", "--json", "--input", shown(input.path()), "--output", shown(&tables)];
    let run = contactflow(&arguments);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&run.stdout).expect("--json prints JSON");
    assert_eq!(summary["rows"], 0);
}
