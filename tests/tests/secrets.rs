//! Credentials are told nowhere: not in logs at any level, not in errors, not in tables, not in the list of processes.

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use contactflow_tests::histories::{Size, history};
use contactflow_tests::object_server::Options;
use contactflow_tests::object_server::faults::Faults;
use contactflow_tests::program::{Job, Mode};
use contactflow_tests::runner::{RunOptions, to_files};
use contactflow_tests::stores::{Kind, Store};

/// Marks that no other text holds. They are chosen so that encodings of URLs and JSON would not change them.
const SECRET: &str = "canary0SecretKey0canary";
const TOKEN: &str = "canary0SessionToken0canary";
const AZURE_SECRET: &str = "Y2FuYXJ5MEF6dXJlS2V5MGNhbmFyeQ==";
const SIGNATURE: &str = "canary0SharedSignature0canary";

/// Stands for a variable that is not there.
const UNSET: &str = "unset";

fn options() -> RunOptions {
    RunOptions { kpi_tables: vec!["kpi_channel_day".to_owned()], ..RunOptions::default() }
}

fn is_silent(what: &str, text: &str) -> Result<()> {
    for secret in [SECRET, TOKEN, AZURE_SECRET, SIGNATURE] {
        let line = text.lines().find(|line| line.contains(secret)).unwrap_or_default();
        ensure!(!text.contains(secret), "{what} tells {secret}: {line}");
    }
    Ok(())
}

fn files_are_silent(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files_are_silent(&path)?;
        } else {
            is_silent(&path.display().to_string(), &String::from_utf8_lossy(&std::fs::read(&path)?))?;
        }
    }
    Ok(())
}

/// What goes wrong, and what the error must say.
struct Case {
    name: &'static str,
    faults: Faults,
    variables: &'static [(&'static str, &'static str)],
    says: &'static [&'static str],
}

/// Every request the same way.
fn always(share: fn(&mut Faults) -> &mut u64) -> Faults {
    let mut faults = Faults::default();
    *share(&mut faults) = 1000;
    faults
}

fn cases() -> Vec<Case> {
    let case = |name, faults, variables, says| Case { name, faults, variables, says };
    vec![
        case("well", Faults::default(), &[], &[]),
        case("faults", Faults { stale: 0, ..Faults::tenth(1) }, &[], &[]),
        case(
            "refused",
            Faults::default(),
            &[("AWS_SECRET_ACCESS_KEY", "canary0SecretKey0canaryX")],
            &["was refused", "SignatureDoesNotMatch"],
        ),
        case("unknown key", Faults::default(), &[("AWS_ACCESS_KEY_ID", "nobody")], &["was refused"]),
        case("busy", always(|faults| &mut faults.unavailable), &[], &["cannot be reached", "SlowDown"]),
        case("cut", always(|faults| &mut faults.cut), &[], &["cannot be reached"]),
        case("nobody there", Faults::default(), &[("AWS_ENDPOINT", "http://127.0.0.1:9")], &["cannot be reached"]),
        case(
            "no address",
            Faults::default(),
            &[("AWS_ENDPOINT", "canary0SecretKey0canary is no address")],
            &["AWS_ENDPOINT is no address", "https://host"],
        ),
        case(
            "no http",
            Faults::default(),
            &[("AWS_ALLOW_HTTP", "false")],
            &["AWS_ENDPOINT", "set AWS_ALLOW_HTTP=true"],
        ),
        case(
            "no region",
            Faults::default(),
            &[("AWS_ENDPOINT", UNSET), ("AWS_REGION", "canary0SecretKey0canary is no region")],
            &["its endpoint, region or account in the environment makes no valid address"],
        ),
    ]
}

#[test]
fn credentials_of_s3_are_told_nowhere() -> Result<()> {
    let secret_key = SECRET.to_owned();
    let store = Store::start_with(Kind::S3, &Options { secret_key, ..Options::default() })?.context("always there")?;
    let server = store.server().context("it is one")?;
    for (name, content) in to_files(&history(1, Size::default())) {
        store.put(&format!("events/{name}"), &content)?;
    }
    for level in ["info", "trace"] {
        for (number, case) in cases().iter().enumerate() {
            let mut job = Job::new(&store, "events", &format!("tables-{level}-{number}"), &options())?
                .with_variable("AWS_SESSION_TOKEN", TOKEN)
                .with_variable("RUST_LOG", level);
            for (name, value) in case.variables {
                job = if *value == UNSET { job.without_variable(name) } else { job.with_variable(name, value) };
            }
            server.set_faults(case.faults);
            let mut running = job.start(Mode::Once, 1)?;
            let line = std::fs::read(format!("/proc/{}/cmdline", running.id()))?;
            is_silent("the list of processes", &String::from_utf8_lossy(&line))?;
            let ended = running.end_within(Duration::from_secs(200)).with_context(|| case.name)?;
            server.set_faults(Faults::default());
            is_silent(&format!("{} at level {level}", case.name), &ended.errors)?;
            if case.says.is_empty() {
                ended.well().with_context(|| case.name)?;
                continue;
            }
            let complaint = ended.complaint().with_context(|| case.name)?;
            let is_configuration = case.name.starts_with("no ");
            let code = if is_configuration { 2 } else { 1 };
            ensure!(ended.status.code() == Some(code), "{}: {}, {complaint}", case.name, ended.status);
            for said in case.says {
                ensure!(complaint.contains(said), "{}: {complaint}", case.name);
            }
        }
    }
    files_are_silent(store.folder())
}

#[test]
fn credentials_of_azure_are_told_nowhere() -> Result<()> {
    let store = Store::start(Kind::Disk)?.context("there is a disk")?;
    // Takes requests, so that they are sent with their signatures, and hangs up.
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let endpoint = format!("http://{}/account", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            _ = stream.read(&mut [0; 4096]);
        }
    });
    for (name, value) in [
        ("AZURE_STORAGE_ACCOUNT_KEY", AZURE_SECRET),
        ("AZURE_STORAGE_SAS_KEY", "sv=2021&sig=canary0SharedSignature0canary"),
    ] {
        for level in ["info", "trace"] {
            let mut command = Job::new(&store, "events", "tables", &options())?
                .with_variable("AZURE_STORAGE_ACCOUNT_NAME", "account")
                .with_variable("AZURE_ENDPOINT", &endpoint)
                .with_variable("AZURE_ALLOW_HTTP", "true")
                .with_variable(name, value)
                .with_variable("RUST_LOG", level)
                .command(Mode::Once, 1)?;
            let output = command.args(["--output", "az://container/tables"]).output()?;
            ensure!(output.status.code() == Some(1), "{name}: {output:?}");
            is_silent(&format!("{name} at level {level}"), &String::from_utf8_lossy(&output.stderr))?;
            is_silent(&format!("{name} at level {level}"), &String::from_utf8_lossy(&output.stdout))?;
        }
    }
    Ok(())
}
