//! Azurite, Microsoft's emulator of Azure Blob Storage, as a child process.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::TryStreamExt;
use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::{ObjectStore, ObjectStoreExt, path::Path as Key};

/// The account every Azurite has, and its key, which its documentation publishes.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// A service that has not said its port by then does not start.
const PATIENCE: Duration = Duration::from_secs(180);

pub(super) struct Azurite {
    child: Child,
    endpoint: String,
    client: MicrosoftAzure,
    runtime: tokio::runtime::Runtime,
}

/// Where `deploy/azurite.sh` installs it; `None`, with a line on standard output, where it did not.
fn program() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("CONTACTFLOW_CACHE")
        .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("contactflow")))
        .or_else(|| Some(folder("HOME")?.join(".cache/contactflow")))?;
    let program = cache.join("azurite/node_modules/azurite/dist/src/blob/main.js");
    if !program.exists() {
        println!(
            "SKIPPED: NOTHING ON AZURE WAS TESTED: {} is not there; deploy/azurite.sh installs it",
            program.display()
        );
        return None;
    }
    Some(program)
}

impl Azurite {
    pub(super) fn start(folder: &Path, container: &str) -> Result<Option<Self>> {
        let Some(program) = program() else { return Ok(None) };
        let mut child = Command::new("node")
            .arg(&program)
            .args(["--blobHost", "127.0.0.1", "--blobPort", "0", "--skipApiVersionCheck", "--disableTelemetry"])
            .arg("--location")
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start node")?;
        let endpoint = match port(&mut child) {
            Ok(port) => format!("http://127.0.0.1:{port}/{ACCOUNT}"),
            Err(error) => {
                _ = child.kill();
                return Err(error);
            }
        };
        create_container(&endpoint, container)?;
        let mut builder = MicrosoftAzureBuilder::new().with_container_name(container);
        _ = rustls::crypto::ring::default_provider().install_default();
        for (name, value) in environment(&endpoint) {
            builder = builder.with_config(name.to_ascii_lowercase().parse::<AzureConfigKey>()?, value);
        }
        let client = builder.build()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Some(Self { child, endpoint, client, runtime }))
    }

    pub(super) fn environment(&self) -> Vec<(String, String)> {
        environment(&self.endpoint)
    }

    pub(super) fn put(&self, name: &str, body: &[u8]) -> Result<()> {
        let body = body.to_vec().into();
        Ok(self.runtime.block_on(self.client.put(&Key::from(name), body)).map(drop)?)
    }

    /// Copies a folder of the container to the disk. What a running job deletes between the listing and the read is not
    /// copied.
    pub(super) fn fetch(&self, name: &str, copy: &Path) -> Result<()> {
        std::fs::create_dir_all(copy)?;
        self.runtime.block_on(async {
            let prefix = Key::from(name);
            let found: Vec<_> = self.client.list(Some(&prefix)).try_collect().await?;
            for meta in found {
                let answer = match self.client.get(&meta.location).await {
                    Err(object_store::Error::NotFound { .. }) => continue,
                    answer => answer?,
                };
                let below = meta.location.prefix_match(&prefix).context("a listing stays below its prefix")?;
                let path = below.fold(copy.to_owned(), |path, part| path.join(part.as_ref()));
                std::fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
                std::fs::write(path, answer.bytes().await?)?;
            }
            Ok(())
        })
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn environment(endpoint: &str) -> Vec<(String, String)> {
    let variables = [
        ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
        ("AZURE_STORAGE_ACCOUNT_KEY", KEY),
        ("AZURE_ENDPOINT", endpoint),
        ("AZURE_ALLOW_HTTP", "true"),
    ];
    variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The port from "… successfully listens on http://127.0.0.1:PORT".
fn port(child: &mut Child) -> Result<u16> {
    let stdout = child.stdout.take().context("the output is piped")?;
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
            let port = line.split_once("http://127.0.0.1:").and_then(|(_, rest)| {
                rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok())
            });
            if let Some(port) = port.filter(|_| line.contains("successfully listen")) {
                _ = send.send(port);
            }
        }
    });
    receive.recv_timeout(PATIENCE).context("Azurite does not say its port")
}

/// Containers are not `object_store`'s business, so node asks for one, signed with the shared key.
fn create_container(endpoint: &str, container: &str) -> Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("azurite/create_container.js");
    let run = Command::new("node").arg(script).args([endpoint, ACCOUNT, KEY, container]).output()?;
    ensure!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    if !run.stdout.is_empty() {
        bail!("{}", String::from_utf8_lossy(&run.stdout));
    }
    Ok(())
}
