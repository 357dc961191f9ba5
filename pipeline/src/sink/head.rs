//! What an output root holds when a job opens it.

use std::collections::{BTreeMap, HashMap};

use contactflow_schemas::tables::Table;

use super::error::CommitError;
use super::manifest::{FileEntry, MANIFESTS, Manifest, is_partition_path};
use super::objects::{Listed, Objects};

/// The newest commit and the data files that are listed.
pub(super) struct Head {
    pub(super) manifest: Option<Manifest>,
    /// Files of tables under names this program gives.
    pub(super) data: Vec<Listed>,
    /// A Parquet file in a table's folder under another name.
    foreign: Option<String>,
}

impl Head {
    pub(super) fn read(objects: &dyn Objects, root_url: &str) -> Result<Self, CommitError> {
        let manifest = newest_manifest(objects, root_url)?;
        let (mut data, mut foreign) = (Vec::new(), None);
        for table in Table::all().filter(|table| !table.is_history()) {
            for object in objects.list(table.name())? {
                if is_partition_path(&object.name) {
                    data.push(object);
                } else if object.name.ends_with(".parquet") {
                    foreign.get_or_insert(object.name);
                }
            }
        }
        Ok(Self { manifest, data, foreign })
    }

    /// Whether a job over `inputs` may write below this root.
    pub(super) fn admit(&self, root_url: &str, was_claimed: bool, inputs: &[String]) -> Result<(), CommitError> {
        let root = || root_url.to_owned();
        if let Some(example) = &self.foreign {
            // Readers of the folder would count its rows, whoever wrote it.
            return Err(CommitError::ForeignFiles { root: root(), example: example.clone() });
        }
        let Some(manifest) = &self.manifest else {
            return match self.data.first() {
                // A claim without a commit: our own files, of a first commit that did not end.
                Some(file) if !was_claimed => {
                    Err(CommitError::ForeignFiles { root: root(), example: file.name.clone() })
                }
                _ => Ok(()),
            };
        };
        if manifest.state.is_some() {
            // What was read is kept: a job goes on from it whatever it reads next.
            return Ok(());
        }
        let missing = manifest.inputs_missing_in(inputs);
        if missing.is_empty() { Ok(()) } else { Err(CommitError::MissingInputs { root: root(), missing }) }
    }
}

/// The content that is known to be in the store: files whose version is still the one the manifest recorded.
pub(super) fn known(live: &BTreeMap<String, FileEntry>, data: &[Listed]) -> HashMap<String, String> {
    let known = |object: &Listed| {
        let file = live.get(&object.name).filter(|file| file.tag.is_some() && file.tag == object.tag)?;
        Some((file.path.clone(), file.sha256.clone()))
    };
    data.iter().filter_map(known).collect()
}

/// The manifest of the newest commit, if there is one.
pub(super) fn newest_manifest(objects: &dyn Objects, root_url: &str) -> Result<Option<Manifest>, CommitError> {
    let manifests = objects.list(MANIFESTS)?;
    let listed = manifests.iter().filter_map(|object| Manifest::commit_of(&object.name)).max();
    let read = |commit| read_manifest(objects, root_url, &Manifest::path(commit));
    let mut newest = listed.map(read).transpose()?.flatten();
    // A listing may be out of date; a read is not.
    while let Some(next) = read(newest.as_ref().map_or(0, |newest| newest.commit) + 1)? {
        newest = Some(next);
    }
    Ok(newest)
}

/// The manifest called `name`, if there is one.
pub(super) fn read_manifest(
    objects: &dyn Objects,
    root_url: &str,
    name: &str,
) -> Result<Option<Manifest>, CommitError> {
    let Some(stored) = objects.get(name)? else {
        return Ok(None);
    };
    match Manifest::parse(&stored.body).map_err(CommitError::Json)? {
        Ok(manifest) => Ok(Some(manifest)),
        Err(version) => Err(CommitError::NewerFormat { root: root_url.to_owned(), name: name.to_owned(), version }),
    }
}
