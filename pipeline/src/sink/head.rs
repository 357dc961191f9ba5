//! What an output root holds when a job opens it.

use std::collections::{BTreeMap, HashMap};

use super::encode::CommitRow;
use super::error::CommitError;
use super::history::missing_rows;
use super::layout::{DeltaTables, FixedKeys, Holder, Kind, Layout, TableFiles, TableLayout};
use super::manifest::{FileEntry, MANIFESTS, Manifest};
use super::objects::{Listed, Objects, in_parallel};
use super::stage::PartitionWriter;

/// The newest commit and the data files that are listed.
pub(super) struct Head {
    pub(super) manifest: Option<Manifest>,
    /// Files of tables under names this program gives.
    pub(super) data: Vec<Listed>,
    /// Files of Delta logs, in a layout that has them.
    pub(super) logs: Vec<String>,
    /// A Parquet file in a table's folder under another name.
    foreign: Option<String>,
}

impl Head {
    pub(super) fn read(objects: &dyn Objects, root_url: &str, layout: Layout) -> Result<Self, CommitError> {
        let manifest = newest_manifest(objects, root_url)?;
        let (mut data, mut logs, mut foreign) = (Vec::new(), Vec::new(), None);
        let tables: Vec<_> = layout.listed().collect();
        let mut listed: Vec<_> =
            in_parallel(&tables, |table| objects.list(table.name()))?.into_iter().flatten().collect();
        listed.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        for object in listed {
            match layout.kind(&object.name) {
                Kind::Data => data.push(object),
                Kind::Log => logs.push(object.name),
                Kind::Foreign => _ = foreign.get_or_insert(object.name),
                Kind::Other => {}
            }
        }
        Ok(Self { manifest, data, logs, foreign })
    }

    /// Whether a job over `inputs` may write below this root.
    pub(super) fn admit(&self, root_url: &str, was_claimed: bool, inputs: &[String]) -> Result<(), CommitError> {
        let root = || root_url.to_owned();
        if let Some(example) = &self.foreign {
            // Readers of the folder would count its rows, whoever wrote it.
            return Err(CommitError::ForeignFiles { root: root(), example: example.clone() });
        }
        let Some(manifest) = &self.manifest else {
            return match self.data.first().map(|file| &file.name).or(self.logs.first()) {
                // A claim without a commit: our own files, of a first commit that did not end.
                Some(file) if !was_claimed => Err(CommitError::ForeignFiles { root: root(), example: file.clone() }),
                _ => Ok(()),
            };
        };
        if manifest.state.is_some() {
            // What was read is kept: a job goes on from it whatever it reads next.
            return Ok(());
        }
        admit_inputs(root_url, manifest, inputs)
    }
}

/// Fails when `manifest` was made from inputs that a job over `inputs` lacks.
pub(super) fn admit_inputs(root_url: &str, manifest: &Manifest, inputs: &[String]) -> Result<(), CommitError> {
    let missing = manifest.inputs_missing_in(inputs);
    if missing.is_empty() { Ok(()) } else { Err(CommitError::MissingInputs { root: root_url.to_owned(), missing }) }
}

/// What a job that holds a root goes on from, commit after commit.
pub(super) struct Standing {
    /// The last commit.
    pub(super) previous: Option<Manifest>,
    /// Its files, by slot.
    pub(super) live: BTreeMap<String, FileEntry>,
    pub(super) tables: Box<dyn TableFiles>,
    pub(super) writer: PartitionWriter,
    /// Rows of `commits` that are not there yet, oldest first.
    pub(super) missing_rows: Vec<CommitRow>,
}

impl Standing {
    /// The newest commit below a root that `holder` has claimed, for a job over `inputs`.
    ///
    /// # Errors
    /// [`CommitError::MissingInputs`] and those of files in the way, which the holder before may have brought; those of the
    /// store.
    pub(super) fn read(
        objects: &dyn Objects,
        holder: &Holder,
        TableLayout { layout, retention_ms }: TableLayout,
        inputs: &[String],
    ) -> Result<Self, CommitError> {
        let head = Head::read(objects, &holder.root_url, layout)?;
        head.admit(&holder.root_url, true, inputs)?;
        let Head { manifest, data, logs, .. } = head;
        let live = manifest.as_ref().map(Manifest::by_slot).unwrap_or_default();
        let known = known(&live, &data);
        let listed = data.into_iter().map(|file| file.name);
        let tables: Box<dyn TableFiles> = match layout {
            Layout::Parquet => Box::new(FixedKeys::new(listed)),
            Layout::Delta => Box::new(DeltaTables::open(objects, holder.clone(), retention_ms, listed, &logs)?),
        };
        let has_row = |commit| tables.has_row(objects, commit);
        let missing_rows = missing_rows(objects, &holder.root_url, manifest.as_ref(), has_row)?;
        Ok(Self { writer: PartitionWriter::new(layout, known), previous: manifest, live, tables, missing_rows })
    }
}

/// The content that is known to be in the store, by slot: files whose version is still the one the manifest recorded.
fn known(live: &BTreeMap<String, FileEntry>, data: &[Listed]) -> HashMap<String, String> {
    let listed: HashMap<&str, &Listed> = data.iter().map(|object| (object.name.as_str(), object)).collect();
    let is_known =
        |file: &FileEntry| file.tag.is_some() && listed.get(file.path.as_str()).is_some_and(|it| it.tag == file.tag);
    let known = live.iter().filter(|(_, file)| is_known(file));
    known.map(|(slot, file)| (slot.clone(), file.sha256.clone())).collect()
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
