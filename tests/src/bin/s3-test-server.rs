//! The S3 server of the tests as a program: `s3-test-server FOLDER BUCKET [PORT [SEED]]` serves until it is killed.
//!
//! It prints the variables a client needs, one `NAME=value` a line. With a seed, one request in ten fails.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use contactflow_tests::object_server::faults::Faults;
use contactflow_tests::object_server::{ObjectServer, Options};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, bucket, rest @ ..] = &arguments[..] else {
        bail!("usage: s3-test-server FOLDER BUCKET [PORT [SEED]]");
    };
    let port = rest.first().map_or(Ok(0), |port| port.parse()).context("PORT is a number")?;
    let server = ObjectServer::start(Path::new(folder), &Options { port, ..Options::default() })?;
    server.create_bucket(bucket)?;
    if let Some(seed) = rest.get(1) {
        server.set_faults(Faults::tenth(seed.parse().context("SEED is a number")?));
    }
    for (name, value) in server.environment() {
        writeln!(std::io::stdout(), "{name}={value}")?;
    }
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
