//! The built program as a process of its own: what it is told, how it ends, and how it is killed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::runner::{RunOptions, Runner};
use crate::stores::Store;

/// A process that has not ended by then hangs.
const PATIENCE: Duration = Duration::from_secs(220);
/// How often it is looked at.
const GLANCE: Duration = Duration::from_millis(2);

/// Where the tests' build put the program.
///
/// # Errors
/// It is not there: tests are built with `--workspace`.
pub fn path() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.ancestors().nth(2).context("tests lie in target/PROFILE/deps")?;
    let program = folder.join("contactflow");
    ensure!(program.exists(), "{} is not there; build the workspace first", program.display());
    Ok(program)
}

/// How a job is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `--once`.
    Once,
    /// Until it is stopped.
    Follow,
}

/// A job of the program from `events` to `tables` in a store.
#[derive(Clone, Debug)]
pub struct Job {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    log: PathBuf,
}

/// How a process ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// What it said on standard error.
    pub errors: String,
}

impl Ended {
    /// Fails unless it ended well.
    ///
    /// # Errors
    /// What it said.
    pub fn well(&self) -> Result<()> {
        ensure!(self.status.success(), "the job ended with {}: {}", self.status, self.errors);
        Ok(())
    }

    /// The one line that says why it did not end well.
    ///
    /// # Errors
    /// It ended well, or was killed, or panicked, or said nothing.
    pub fn complaint(&self) -> Result<String> {
        ensure!(matches!(self.status.code(), Some(1 | 2)), "the job ended with {}: {}", self.status, self.errors);
        let line = self.errors.lines().find_map(|line| line.strip_prefix("contactflow: error: "));
        line.map(str::to_owned).with_context(|| format!("no error is told: {}", self.errors))
    }
}

impl Job {
    /// A job over the folder `events` of `store` that writes below its folder `tables`, with inference off.
    ///
    /// # Errors
    /// The settings cannot be written.
    pub fn new(store: &Store, events: &str, tables: &str, options: &RunOptions) -> Result<Self> {
        let settings = store.desk().join(format!("{}.toml", tables.replace('/', "-")));
        let epoch_rows = options.epoch_rows.map_or_else(String::new, |rows| format!("epoch_rows = {rows}\n"));
        let text = format!(
            "inputs = [{:?}]\noutput = {:?}\nlayout = {:?}\nretention_seconds = {}\npoll_interval_ms = 20\nkpi_tables = {:?}\nseal_after_days = {}\n{epoch_rows}\
             [kpi]\ntime_zone = {:?}\n[inference]\nenabled = false\n[cluster]\nconnect_timeout_seconds = 10\n",
            store.url(events)?,
            store.url(tables)?,
            options.layout.name(),
            options.retention_seconds,
            options.kpi_tables,
            options.seal_after_days,
            options.time_zone,
        );
        std::fs::write(&settings, text)?;
        let log = settings.with_extension("log");
        let arguments = ["run", "--config", &settings.display().to_string()].map(str::to_owned).to_vec();
        Ok(Self { arguments, environment: store.environment(), log })
    }

    /// With another variable of the environment.
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without a variable of the store.
    pub fn without_variable(mut self, name: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self
    }

    /// What starts it.
    ///
    /// # Errors
    /// The program is not built.
    pub fn command(&self, mode: Mode, workers: usize) -> Result<Command> {
        let mut command = Command::new(path()?);
        command.args(&self.arguments).args(["--workers", &workers.to_string()]).env_remove("RUST_LOG");
        if mode == Mode::Once {
            command.arg("--once");
        }
        let ours = |name: &str| ["AWS_", "AZURE_", "GOOGLE_"].iter().any(|prefix| name.starts_with(prefix));
        for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Starts it.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&self, mode: Mode, workers: usize) -> Result<Running> {
        let mut command = self.command(mode, workers)?;
        self.start_as(&mut command)
    }

    /// Starts a command that runs it in some special way.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_as(&self, command: &mut Command) -> Result<Running> {
        let mut log = self.log.clone();
        let mut number = 0;
        while log.exists() {
            number += 1;
            log = self.log.with_extension(format!("{number}.log"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        Ok(Running { child: command.spawn().context("the program does not start")?, log })
    }

    /// Runs it over what is there.
    ///
    /// # Errors
    /// It does not start, or hangs.
    pub fn once(&self, workers: usize) -> Result<Ended> {
        self.start(Mode::Once, workers)?.end()
    }
}

/// The program as a [`Runner`] on a store. One per store: it numbers its runs.
pub struct Program<'s> {
    store: &'s Store,
    runs: AtomicUsize,
}

impl<'s> Program<'s> {
    /// Every run gets folders of its own in the store.
    pub fn on(store: &'s Store) -> Self {
        Self { store, runs: AtomicUsize::new(0) }
    }
}

impl Runner for Program<'_> {
    fn run(&self, files: &[(String, Vec<u8>)], options: RunOptions) -> Result<PathBuf> {
        let run = format!("run-{}", self.runs.fetch_add(1, Ordering::Relaxed));
        let (events, tables) = (format!("{run}/events"), format!("{run}/tables"));
        let job = Job::new(self.store, &events, &tables, &options)?;
        let mut following = options.file_by_file.then(|| job.start(Mode::Follow, options.workers)).transpose()?;
        for (number, (name, content)) in files.iter().enumerate() {
            self.store.put(&format!("{events}/{name}"), content)?;
            if let Some(job) = &mut following {
                let is_read = || Ok(Commits::read(&self.store.files(&tables)?)?.sources.len() > number);
                job.wait_until(is_read)?;
            }
        }
        match following {
            Some(job) => {
                job.stop()?;
                job.end()?.well()?;
            }
            None => job.once(options.workers)?.well()?,
        }
        self.store.files(&tables)
    }
}

/// A process of the program; killed when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it said on standard error so far.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn ended(&mut self) -> Result<Option<Ended>> {
        let status = self.child.try_wait()?;
        Ok(status.map(|status| Ended { status, errors: self.errors() }))
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn end(mut self) -> Result<Ended> {
        self.end_within(PATIENCE)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// It does not end within `patience`.
    pub fn end_within(&mut self, patience: Duration) -> Result<Ended> {
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if let Some(ended) = self.ended()? {
                return Ok(ended);
            }
            sleep(GLANCE);
        }
        bail!("the job does not end within {} s: {}", patience.as_secs(), self.errors())
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill()?)
    }

    /// SIGTERM: asks a following job to end.
    ///
    /// # Errors
    /// The system refuses.
    pub fn stop(&self) -> Result<()> {
        let done = Command::new("kill").args(["-TERM", &self.id().to_string()]).status()?;
        ensure!(done.success(), "process {} cannot be stopped", self.id());
        Ok(())
    }

    /// Waits until `done` or the end of the process.
    ///
    /// # Errors
    /// Neither comes in time; what `done` says.
    pub fn wait_until(&mut self, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if done()? || self.ended()?.is_some() {
                return Ok(());
            }
            sleep(5 * GLANCE);
        }
        bail!("the job does not get there: {}", self.errors())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A look at the commits below a root on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commits {
    /// The newest commit; 0 where there is none.
    pub newest: u64,
    /// File names of the sources it has read.
    pub sources: Vec<String>,
    /// How many jobs have claimed the root so far.
    pub claims: u64,
}

impl Commits {
    /// What manifests and claims say.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(root: &Path) -> Result<Self> {
        let numbers = |folder: PathBuf| -> Result<Vec<u64>> {
            let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
            let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            let mut numbers = Vec::new();
            for name in names.collect::<Result<Vec<_>>>()? {
                let number = name.strip_suffix(".json");
                numbers.extend(number.and_then(|digits| digits.parse::<u64>().ok()));
            }
            numbers.sort_unstable();
            Ok(numbers)
        };
        let manifests = root.join("_contactflow/manifests");
        let newest = numbers(manifests.clone())?.last().copied().unwrap_or(0);
        let mut sources = Vec::new();
        if newest > 0 {
            let path = manifests.join(format!("{newest:020}.json"));
            let manifest = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let manifest: serde_json::Value = serde_json::from_slice(&manifest)?;
            let names = manifest["sources"].as_array().context("a manifest lists its sources")?;
            let name = |source: &serde_json::Value| {
                source["name"].as_str().and_then(|name| name.rsplit('/').next()).unwrap_or_default().to_owned()
            };
            sources = names.iter().map(name).collect();
        }
        let claims = numbers(root.join("_contactflow/fence"))?.last().copied().unwrap_or(0);
        Ok(Self { newest, sources, claims })
    }
}
