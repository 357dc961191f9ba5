//! Delta logs as a reader follows them: version by version from the first, with the checkpoints compared on the way. It
//! shares no code with the product; what the outside readers make of the same logs is `tests/readers.rs`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use arrow::array::{Array, AsArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

/// Folder of a log below that of its table.
const LOG: &str = "_delta_log";

/// Files of a table at one version, by name below its folder, with their sizes in bytes.
type Live = BTreeMap<String, u64>;

/// The log of one table.
#[derive(Clone, Debug)]
pub struct DeltaLog {
    folder: PathBuf,
    versions: Vec<Version>,
}

/// One version of a table.
#[derive(Clone, Debug, Default)]
struct Version {
    live: Live,
    /// The last commit of the job that the version holds.
    commit: Option<i64>,
}

impl DeltaLog {
    /// The log of the table in `folder`; none where it has none.
    ///
    /// # Errors
    /// Gaps between versions, files that are added twice or taken out without being there, commits that go back,
    /// checkpoints that say something else.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let log = folder.join(LOG);
        if !log.is_dir() {
            return Ok(None);
        }
        let (mut numbers, mut checkpoints) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&log)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let number = |ending: &str| name.strip_suffix(ending).and_then(|digits| digits.parse::<usize>().ok());
            numbers.extend(number(".json"));
            checkpoints.extend(number(".checkpoint.parquet"));
        }
        numbers.sort_unstable();
        ensure!(numbers.iter().copied().eq(0..numbers.len()), "{}: versions {numbers:?}", log.display());
        let mut versions: Vec<Version> = Vec::new();
        for number in numbers {
            let name = log.join(format!("{number:020}.json"));
            let next = versions.last().cloned().unwrap_or_default();
            versions.push(next.followed_by(&fs::read_to_string(&name)?).with_context(|| name.display().to_string())?);
        }
        for number in checkpoints {
            let name = log.join(format!("{number:020}.checkpoint.parquet"));
            let version = versions.get(number).with_context(|| format!("{} is of no version", name.display()))?;
            let paths = checkpoint_paths(&name)?;
            ensure!(paths.iter().eq(version.live.keys()), "{} says {paths:?}", name.display());
        }
        Ok(Some(Self { folder: folder.to_owned(), versions }))
    }

    /// The files of the last version; none before the first.
    ///
    /// # Errors
    /// One of them is missing, or has another size.
    pub fn live_files(&self) -> Result<Vec<PathBuf>> {
        self.versions.len().checked_sub(1).map_or_else(|| Ok(Vec::new()), |last| self.files_of(last))
    }

    /// Checks that every version can be read.
    ///
    /// # Errors
    /// A file of one of them is missing, or has another size.
    pub fn check_all_versions(&self) -> Result<()> {
        (0..self.versions.len()).try_for_each(|version| self.files_of(version).map(drop))
    }

    /// The version that comes next.
    pub fn next_version(&self) -> usize {
        self.versions.len()
    }

    /// The last commit that the table holds.
    pub fn commit(&self) -> Option<i64> {
        self.versions.last().and_then(|version| version.commit)
    }

    fn files_of(&self, version: usize) -> Result<Vec<PathBuf>> {
        let file = |(name, bytes): (&String, &u64)| {
            let path = self.folder.join(name);
            let found = fs::metadata(&path).with_context(|| format!("version {version} names {}", path.display()))?;
            ensure!(found.len() == *bytes, "{} has {} bytes, not {bytes}", path.display(), found.len());
            Ok(path)
        };
        self.versions[version].live.iter().map(file).collect()
    }
}

impl Version {
    fn followed_by(mut self, actions: &str) -> Result<Self> {
        let actions = actions.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let path = |action: &Value| -> Result<String> {
            let path = action["path"].as_str().context("a file has a path")?;
            ensure!(!path.contains('%'), "{path} is encoded");
            Ok(path.to_owned())
        };
        for action in &actions {
            if let Some(remove) = action.get("remove") {
                let path = path(remove)?;
                ensure!(self.live.remove(&path).is_some(), "{path} is taken out and was not there");
            }
            if let Some(txn) = action.get("txn") {
                let commit = txn["version"].as_i64();
                ensure!(commit >= self.commit, "commit {commit:?} after {:?}", self.commit);
                self.commit = commit;
            }
        }
        for add in actions.iter().filter_map(|action| action.get("add")) {
            let (path, bytes) = (path(add)?, add["size"].as_u64().context("a file has a size")?);
            ensure!(self.live.insert(path.clone(), bytes).is_none(), "{path} is added twice");
        }
        Ok(self)
    }
}

/// The files that a checkpoint names, sorted.
fn checkpoint_paths(path: &Path) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()? {
        let batch = batch?;
        let adds = batch.column_by_name("add").context("a checkpoint has a column add")?.as_struct();
        let names = adds.column_by_name("path").context("a file has a path")?.as_string::<i32>();
        let named = (0..adds.len()).filter(|&row| adds.is_valid(row) && names.is_valid(row));
        paths.extend(named.map(|row| names.value(row).to_owned()));
    }
    paths.sort_unstable();
    Ok(paths)
}

/// The logs of all tables below a root; none before there is one.
///
/// # Errors
/// As [`DeltaLog::read`].
pub fn logs(root: &Path) -> Result<Vec<DeltaLog>> {
    let mut found = Vec::new();
    // Nothing was written yet.
    if !root.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(root).with_context(|| format!("cannot list {}", root.display()))? {
        found.extend(DeltaLog::read(&entry?.path())?);
    }
    Ok(found)
}
