//! The data beside the workspace (`../shared`), which is not part of it: tests that need it do without where it is
//! missing.

use crate::oracle::Row;
use crate::runner::rows_of_ndjson;
use anyhow::{Context, Result};
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A file below `../shared`; `None`, with a line on standard output, where it is missing.
pub fn path(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(name);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

/// The rows of a gzipped NDJSON file.
pub fn gzipped_rows(path: &Path) -> Result<Vec<Row>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut text = String::new();
    MultiGzDecoder::new(file).read_to_string(&mut text).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(rows_of_ndjson(&path.display().to_string(), &text))
}
