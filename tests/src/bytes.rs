//! The bytes of published data files: the same events must give the same ones, however they came.

use crate::model::REJECTS;
use crate::tables::live_files;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// Tables about how rows came, not about what they say: rejects tell the place of a row in its file, commits the time.
const ABOUT_DELIVERY: [&str; 3] = [REJECTS, "commits", "restatements"];

/// The contents of the live data files by folder (table and partition). File names are left to the layout.
pub fn data_files(root: &Path) -> Result<BTreeMap<String, Vec<Vec<u8>>>> {
    let mut files = BTreeMap::<String, Vec<Vec<u8>>>::new();
    for path in live_files(root)? {
        let folder = path.parent().unwrap_or(root).strip_prefix(root)?;
        if ABOUT_DELIVERY.iter().any(|table| folder.starts_with(table)) {
            continue;
        }
        let content = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        files.entry(folder.display().to_string()).or_default().push(content);
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
