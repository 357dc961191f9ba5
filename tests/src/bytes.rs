//! The bytes of published data files: the same events must give the same ones, however they came.

use crate::model::{FACTS, KPI_TABLES};
use crate::tables::parquet_files;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// The contents of the data files by folder (table and partition). File names are left to the layout.
///
/// Rejects tell the place of a row in its file, and so may differ.
pub fn data_files(root: &Path) -> Result<BTreeMap<String, Vec<Vec<u8>>>> {
    let mut files = BTreeMap::<String, Vec<Vec<u8>>>::new();
    for table in KPI_TABLES.iter().map(|(name, _, _)| *name).chain([FACTS]) {
        for path in parquet_files(&root.join(table))? {
            let folder = path.parent().unwrap_or(root).strip_prefix(root)?.display().to_string();
            let content = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            files.entry(folder).or_default().push(content);
        }
    }
    for contents in files.values_mut() {
        contents.sort();
    }
    Ok(files)
}

/// The folders whose data files differ between two outputs.
pub fn differing_folders(one: &Path, other: &Path) -> Result<Vec<String>> {
    let (one, other) = (data_files(one)?, data_files(other)?);
    let folders = one.keys().chain(other.keys().filter(|folder| !one.contains_key(*folder)));
    Ok(folders.filter(|folder| one.get(*folder) != other.get(*folder)).cloned().collect())
}
