mod commits;
mod delta;
mod encoding;
mod memory;
mod moves;
mod restatements;
mod rows;

use crate::sink::{Layout, TableLayout};

const PARQUET: TableLayout = TableLayout { layout: Layout::Parquet, retention_ms: 0 };
const DELTA: TableLayout = TableLayout { layout: Layout::Delta, retention_ms: 0 };
