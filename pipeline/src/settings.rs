//! Settings of a job: from a TOML file, overridden by flags.

use std::path::Path;

use contactflow_inference::{ModelConfig, PoolLimits};
use contactflow_schemas::masking::Masking;
use contactflow_schemas::rules::KpiRules;
use contactflow_schemas::tables::Table;
use contactflow_schemas::windows::Windows;
use contactflow_schemas::zone::Zone;
use serde::{Deserialize, Serialize};

pub use crate::sink::Layout;
use crate::sink::{PublishedSettings, TableLayout};

/// The model and where it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InferenceSettings {
    /// Scores texts; without it every text stays unscored and coverage_ratio says so.
    pub enabled: bool,
    /// `cpu`, `cuda:0`, `cuda:0,cuda:1` …; worker i uses device i mod n. Default: every CUDA device, else the CPU.
    pub devices: Option<String>,
    /// Sources pause while more texts than this wait for the model.
    pub backlog_texts_max: usize,
    /// Encoder and head.
    pub model: ModelConfig,
    /// Another model that is asked about every text and conversation too: its scores are shown in `candidate_scores`,
    /// `candidate_conversation_scores` and `model_eval`, and count nowhere. It is promoted by making it the model; what it
    /// said by then is not computed again.
    pub candidate: Option<ModelConfig>,
    /// Bounds of the device queues.
    pub limits: PoolLimits,
}

impl Default for InferenceSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            devices: None,
            backlog_texts_max: 100_000,
            model: ModelConfig::default(),
            candidate: None,
            limits: PoolLimits::default(),
        }
    }
}

/// What texts may show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrivacySettings {
    /// Masked in texts before they are scored, in rejected rows and in messages: a list of `email`, `card`, `order`,
    /// `phone` and `handle`, or `off`. Default: all of them.
    pub mask: Masking,
}

/// The processes that run one job together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterSettings {
    /// Address of every process, `host:port`, the same list in the same order for all; none for a job of one process.
    pub hosts: Vec<String>,
    /// Position of this process in `hosts`.
    pub process: usize,
    /// How long the processes wait for each other at the start, s.
    pub connect_timeout_seconds: u64,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self { hosts: Vec::new(), process: 0, connect_timeout_seconds: 120 }
    }
}

impl ClusterSettings {
    /// How many processes there are.
    pub fn processes(&self) -> usize {
        self.hosts.len().max(1)
    }

    /// Reads addresses from a file, one a line; blank lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// [`SettingsError::Unreadable`].
    pub fn read_hosts(path: &Path) -> Result<Vec<String>, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Unreadable { path: path.display().to_string(), source })?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Ok(lines.map(str::to_owned).collect())
    }

    fn validate(&self) -> Result<(), SettingsError> {
        let problem = |key, problem: String| Err(SettingsError::Value { key, problem });
        if self.process >= self.processes() {
            let expected = format!("expected 0 to {}, a position in cluster.hosts (--hosts)", self.processes() - 1);
            return problem("cluster.process", expected);
        }
        for (number, host) in self.hosts.iter().enumerate() {
            let port = host.rsplit_once(':').filter(|(name, _)| !name.is_empty()).map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(1..))) {
                return problem("cluster.hosts", format!("expected host:port, found {host:?}"));
            }
            if self.hosts[..number].contains(host) {
                return problem("cluster.hosts", format!("{host} is there twice"));
            }
        }
        if self.connect_timeout_seconds == 0 {
            return problem("cluster.connect_timeout_seconds", "expected at least 1".to_owned());
        }
        Ok(())
    }
}

/// Everything a job needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobSettings {
    /// Prefixes or files with events.
    pub inputs: Vec<String>,
    /// Root of the tables.
    pub output: String,
    /// Worker threads of each process.
    pub workers: usize,
    /// Layout of the tables.
    pub layout: Layout,
    /// For how long layout `delta` keeps files that a commit replaced, for readers of earlier versions, s; 0 deletes them
    /// at once.
    pub retention_seconds: u64,
    /// Rows per minor epoch and reader: the step in which state is brought up to date.
    pub epoch_rows: u64,
    /// How often a following job looks for new files, ms.
    pub poll_interval_ms: u64,
    /// Keeps what a restart goes on from (`_contactflow/state`). Without it every start reads all inputs again.
    pub keep_state: bool,
    /// Days after which a month is sealed: its partitions stay as they are and its conversations leave memory, until
    /// something in it changes. 0 keeps everything in memory.
    pub seal_after_days: u32,
    /// The KPI tables to publish, by name; none means all.
    pub kpi_tables: Vec<String>,
    /// Publishes what commits change in windows that were closed (table `restatements`); that reads the files they
    /// replace.
    pub restatements: bool,
    /// Thresholds and time zone of the KPIs.
    pub kpi: KpiRules,
    /// What texts may show.
    pub privacy: PrivacySettings,
    /// The model.
    pub inference: InferenceSettings,
    /// The processes that run the job.
    pub cluster: ClusterSettings,
}

/// A hundred years.
const SEAL_AFTER_DAYS_MAX: u32 = 36_500;

/// Which KPI tables a job publishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSelection(Vec<Table>);

impl TableSelection {
    /// True when `table` is published.
    pub fn publishes(&self, table: Table) -> bool {
        self.0.is_empty() || self.0.contains(&table)
    }
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            inputs: Vec::new(),
            output: String::new(),
            workers: 1,
            layout: Layout::default(),
            retention_seconds: 3_600,
            epoch_rows: 500_000,
            poll_interval_ms: 1_000,
            keep_state: true,
            seal_after_days: 92,
            kpi_tables: Vec::new(),
            restatements: true,
            kpi: KpiRules::default(),
            privacy: PrivacySettings::default(),
            inference: InferenceSettings::default(),
            cluster: ClusterSettings::default(),
        }
    }
}

/// What is wrong with settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is no valid TOML of the known keys.
    #[error("the configuration {path} is not valid: {detail}")]
    Invalid {
        /// The file.
        path: String,
        /// Line, key, what was expected.
        detail: String,
    },
    /// A value is missing or out of range.
    #[error("{key}: {problem}")]
    Value {
        /// Key or flag.
        key: &'static str,
        /// What is expected.
        problem: String,
    },
}

impl JobSettings {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// [`SettingsError::Unreadable`], [`SettingsError::Invalid`].
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Unreadable { path: shown.clone(), source })?;
        toml::from_str(&text).map_err(|error| {
            // One sentence instead of the excerpt that the parser's own message draws over several lines.
            let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            SettingsError::Invalid { path: shown, detail: format!("line {line}: {}", error.message()) }
        })
    }

    /// Settings that compute what is published below `output`, without inputs and without asking a model.
    pub fn of_published(output: &str, workers: usize, published: Option<&PublishedSettings>) -> Self {
        let published = published.cloned().unwrap_or_default();
        Self {
            output: output.to_owned(),
            workers,
            kpi: published.kpi,
            kpi_tables: published.kpi_tables,
            inference: InferenceSettings { enabled: false, ..InferenceSettings::default() },
            seal_after_days: 0,
            ..Self::default()
        }
    }

    /// The windows of the configured time zone.
    ///
    /// # Errors
    /// [`SettingsError::Value`] for a zone nobody knows.
    pub fn windows(&self) -> Result<Windows, SettingsError> {
        let zone = Zone::parse(&self.kpi.time_zone).ok_or_else(|| SettingsError::Value {
            key: "kpi.time_zone",
            problem: format!("expected an IANA time zone such as Europe/Berlin, found {:?}", self.kpi.time_zone),
        })?;
        Ok(Windows::new(zone))
    }

    /// Layout of the tables, and what goes with it.
    pub fn table_layout(&self) -> TableLayout {
        let retention_ms = i64::try_from(self.retention_seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
        TableLayout { layout: self.layout, retention_ms }
    }

    /// The KPI tables to publish.
    ///
    /// # Errors
    /// [`SettingsError::Value`] for a name that is no KPI table.
    pub fn tables(&self) -> Result<TableSelection, SettingsError> {
        let find = |name: &String| {
            let known = Table::all().find(|table| matches!(table, Table::Kpi(..)) && table.name() == name);
            known.ok_or_else(|| SettingsError::Value {
                key: "kpi_tables",
                problem: format!("there is no KPI table {name:?}; kpi_agent_channel_hour is one"),
            })
        };
        Ok(TableSelection(self.kpi_tables.iter().map(find).collect::<Result<_, _>>()?))
    }

    /// Checks that everything needed is there and in range.
    ///
    /// # Errors
    /// [`SettingsError::Value`] with the first problem.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let problem = |key, problem: &str| Err(SettingsError::Value { key, problem: problem.to_owned() });
        if self.inputs.is_empty() {
            return problem("inputs", "give at least one prefix or file with events (--input)");
        }
        if self.output.is_empty() {
            return problem("output", "give the root of the tables (--output)");
        }
        if !(1..=1024).contains(&self.workers) {
            return problem("workers", "expected 1 to 1024");
        }
        if self.epoch_rows == 0 {
            return problem("epoch_rows", "expected at least 1");
        }
        if let Some((key, expected)) = self.kpi.problem() {
            return problem(key, expected);
        }
        self.windows()?;
        self.tables()?;
        if self.seal_after_days > SEAL_AFTER_DAYS_MAX {
            return problem("seal_after_days", "expected 0 to 36500");
        }
        self.cluster.validate()?;
        if self.poll_interval_ms == 0 {
            return problem("poll_interval_ms", "expected at least 1");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_and_missing_values_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("job.toml");
        std::fs::write(&path, "inputs = [\"a\"]\nworkerz = 3\n").unwrap();
        let message = JobSettings::read(&path).unwrap_err().to_string();
        assert!(message.contains("workerz") && message.contains("line 2"), "{message}");
        std::fs::write(&path, "inputs = [\"a\"]\n").unwrap();
        let message = JobSettings::read(&path).unwrap().validate().unwrap_err().to_string();
        assert!(message.starts_with("output"), "{message}");
        assert!(JobSettings::read(&folder.path().join("none")).unwrap_err().to_string().contains("none"));
    }

    #[test]
    fn addresses_are_checked() {
        let settings = |hosts: &[&str], process| ClusterSettings {
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            process,
            ..ClusterSettings::default()
        };
        for (hosts, process) in [(&[][..], 0), (&["a:1"], 0), (&["a:1", "b:1"], 1), (&["[::1]:1", "[::1]:2"], 0)] {
            assert!(settings(hosts, process).validate().is_ok(), "{hosts:?}");
        }
        for (hosts, process, told) in [
            (&[][..], 1, "cluster.process"),
            (&["a:1", "b:1"], 2, "0 to 1"),
            (&["a", "b:1"], 0, "\"a\""),
            (&["a:0"], 0, "host:port"),
            (&[":7"], 0, "host:port"),
            (&["a:1", "a:1"], 0, "twice"),
        ] {
            let message = settings(hosts, process).validate().unwrap_err().to_string();
            assert!(message.contains(told), "{message}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        std::fs::write(&path, "# two\na:1\n\n  b:2\n").unwrap();
        assert_eq!(ClusterSettings::read_hosts(&path).unwrap(), ["a:1", "b:2"]);
    }

    #[test]
    fn nested_tables_have_defaults() {
        let settings: JobSettings =
            toml::from_str("inputs = [\"a\"]\noutput = \"b\"\n[inference]\ndevices = \"cpu\"\n").unwrap();
        assert!(settings.inference.enabled && settings.validate().is_ok());
        assert_eq!(settings.inference.model, ModelConfig::default());
        assert_eq!(settings.privacy.mask, Masking::default());
        let privacy = |mask: &str| toml::from_str::<JobSettings>(&format!("[privacy]\nmask = {mask}\n"));
        assert_eq!(privacy("\"off\"").unwrap().privacy.mask, Masking::OFF);
        assert!(!privacy("[\"email\"]").unwrap().privacy.mask.is_off());
        assert!(privacy("[\"names\"]").is_err());
    }
}
