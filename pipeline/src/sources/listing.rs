//! Which event files there are.

use object_store::ObjectMeta;
use object_store::path::Path;

use crate::store::{Root, StoreError};

/// An event file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Absolute path or full URL without credentials: the value of `rejected_events.source_file`.
    pub name: String,
    /// Size as stored, bytes.
    pub size_bytes: u64,
    /// Changes when the content does: the entity tag, or time of modification (ms since the Unix epoch) and size.
    pub version: String,
    /// Index of its root in the list given to [`list_event_files`].
    pub root: usize,
    /// Its path in the store of that root.
    pub path: Path,
}

/// How a file holds its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON object per line.
    Ndjson(Compression),
    /// Apache Parquet.
    Parquet,
}

/// How the bytes of an NDJSON file are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Plain,
    Gzip,
    Zstd,
}

impl Format {
    /// The format that the extension of `name` tells; none for files that hold no events.
    pub(super) fn of(name: &str) -> Option<Self> {
        if name.ends_with(".parquet") {
            return Some(Self::Parquet);
        }
        let (stem, compression) = if let Some(stem) = name.strip_suffix(".gz") {
            (stem, Compression::Gzip)
        } else if let Some(stem) = name.strip_suffix(".zst") {
            (stem, Compression::Zstd)
        } else {
            (name, Compression::Plain)
        };
        let is_ndjson = stem.ends_with(".ndjson") || stem.ends_with(".jsonl");
        is_ndjson.then_some(Self::Ndjson(compression))
    }
}

/// Every event file of `roots`, sorted by name: `.parquet`, and `.ndjson` or `.jsonl`, plain, `.gz` or `.zst`.
///
/// A root is a folder, searched at any depth, or a single file. Below a folder, files and folders whose name starts
/// with `_` or `.` are passed over: that is where engines keep work in progress. A file that several roots hold is
/// listed once.
///
/// # Errors
/// What keeps a store from answering. A remote folder without objects is empty, not an error.
pub fn list_event_files(roots: &[Root]) -> Result<Vec<SourceFile>, StoreError> {
    let mut files = Vec::new();
    for (index, root) in roots.iter().enumerate() {
        let found = objects(root)?;
        files.extend(found.into_iter().map(|meta| source_file(root, index, meta)));
    }
    files.sort_by(|left, right| (&left.name, left.root).cmp(&(&right.name, right.root)));
    files.dedup_by(|later, first| later.name == first.name);
    Ok(files)
}

fn objects(root: &Root) -> Result<Vec<ObjectMeta>, StoreError> {
    // A folder may be called events.parquet too: that is how Spark writes a table.
    if root.prefix.filename().and_then(Format::of).is_some()
        && let Some(meta) = root.head(&root.prefix)?
    {
        return Ok(vec![meta]);
    }
    let mut found = root.list(&root.prefix)?;
    found.retain(|meta| is_event_file(&root.prefix, &meta.location));
    Ok(found)
}

fn is_event_file(prefix: &Path, path: &Path) -> bool {
    let visible =
        path.prefix_match(prefix).is_some_and(|mut parts| !parts.any(|part| part.as_ref().starts_with(['_', '.'])));
    visible && path.filename().and_then(Format::of).is_some()
}

fn source_file(root: &Root, index: usize, meta: ObjectMeta) -> SourceFile {
    let version = meta.e_tag.unwrap_or_else(|| format!("{}-{}", meta.last_modified.timestamp_millis(), meta.size));
    SourceFile { name: root.name_of(&meta.location), size_bytes: meta.size, version, root: index, path: meta.location }
}
