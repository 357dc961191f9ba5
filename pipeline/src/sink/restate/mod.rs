//! Restatements: which values of closed windows a commit changes, and why (table `restatements`).
//!
//! Invariants:
//! 1. A window is closed when it ends by as_of of the previous commit. Its published values are those of the previous
//!    commit's file; another file (of an unfinished commit of an earlier run, or edited by hand) is no base: a warning
//!    says so, and its partition has no restatements in this commit.
//! 2. Files are read before the commit changes them and kept until it is done, so that the next attempt of a commit
//!    that failed compares with the same. The same holds for causes.
//! 3. Nothing here fails a commit.
//! 4. A closed window whose value was v at commit n has `old` = v in the earliest restatement after n; without one, v
//!    stands in the table. (Where more values change than are written, see [`RESTATEMENTS_MAX`], this does not hold.)

mod compare;
mod explain;
mod file;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use chrono::NaiveDate;
use contactflow_operators::causes::{Cause, Causes};
use contactflow_schemas::aggregate::KPI_COLUMNS;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::facts::Grouping;
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tables::Table;
use contactflow_schemas::windows::Windows;

use self::compare::{ChangedRow, Difference, compare};
use self::explain::Explainer;
use super::encode::Restatement;
use super::manifest::{FileEntry, Manifest};
use super::objects::{Objects, in_parallel};
use super::stage::{Staged, sha256_hex};

/// Rows of `restatements` per commit, some 100 MB of memory while they are made. More change only where about
/// everything does: other rules, another time zone, history read anew. What is beyond is counted.
pub(super) const RESTATEMENTS_MAX: usize = 200_000;
/// Partitions that are compared at a time; bounds the decoded columns in memory.
const PARTITIONS_COMPARED: usize = 8;

/// What a commit restates.
#[derive(Debug, Default)]
pub(super) struct Restated {
    /// The values, as many as are written.
    pub(super) rows: Vec<Restatement>,
    /// Values of closed windows that change.
    pub(super) cells: u64,
}

/// Finds restatements for a [`Committer`](super::Committer).
pub(super) struct Restater {
    causes: Causes,
    windows: Windows,
    /// Causes of the commit that is under way.
    taken: Vec<Cause>,
    /// Files of the last commit that the commit under way replaces or deletes, by slot.
    replaced: HashMap<String, Bytes>,
}

/// The state that a commit goes from and to, by slot.
pub(super) struct Change<'a> {
    pub(super) previous: &'a Manifest,
    /// Files of the previous commit.
    pub(super) live: &'a BTreeMap<String, FileEntry>,
    /// Files of this one.
    pub(super) files: &'a BTreeMap<String, FileEntry>,
    /// Those of them that are written.
    pub(super) bodies: &'a BTreeMap<String, Staged>,
}

/// A partition that changes and can hold closed windows.
struct Candidate<'a> {
    table: Table,
    grouping: Grouping,
    slot: &'a str,
    old: Option<&'a FileEntry>,
    new: Option<&'a Bytes>,
}

/// A partition after its comparison: position among the candidates, the body it had, what differs.
type Compared = (usize, Option<Bytes>, Difference);

impl Restater {
    pub(super) fn new(causes: Causes, windows: Windows) -> Self {
        Self { causes, windows, taken: Vec::new(), replaced: HashMap::new() }
    }

    /// Says what an earlier run committed last.
    pub(super) fn resume(&mut self, previous: Option<&Manifest>) {
        let sources = previous.map_or(&[][..], |previous| &previous.sources);
        let files: HashSet<Symbol> = sources.iter().map(|source| Symbol::new(&source.name)).collect();
        self.causes.published(previous.and_then(|previous| previous.as_of_ms), files);
    }

    /// Says that the commit under way is done.
    pub(super) fn committed(&mut self, as_of_ms: Option<TimeMs>) {
        self.causes.published(as_of_ms, HashSet::new());
        self.forget();
    }

    /// Says that an earlier attempt of the commit was done after all: what was gathered for it is.
    pub(super) fn forget(&mut self) {
        self.taken = Vec::new();
        self.replaced = HashMap::new();
    }

    /// The restatements of a commit; to be called before it touches a file.
    pub(super) fn restate(&mut self, objects: &dyn Objects, change: &Change) -> Restated {
        self.taken.extend(self.causes.take());
        let Some(closed_until_ms) = change.previous.as_of_ms else {
            return Restated::default();
        };
        let candidates = self.candidates(change, closed_until_ms);
        let numbered: Vec<(usize, &Candidate)> = candidates.iter().enumerate().collect();
        let (mut changed, mut cells, mut left) = (Vec::new(), 0, RESTATEMENTS_MAX);
        for some in numbered.chunks(PARTITIONS_COMPARED) {
            let one = |&(number, candidate): &(usize, &Candidate)| {
                let compared = self.compare(objects, candidate, closed_until_ms, left);
                Ok(compared.map(|(old, difference)| (number, old, difference)))
            };
            // No request of these ends in an error.
            let compared = in_parallel(some, one).unwrap_or_default();
            let mut compared: Vec<Compared> = compared.into_iter().flatten().collect();
            compared.sort_unstable_by_key(|&(number, ..)| number);
            for (number, old, difference) in compared {
                let candidate = &candidates[number];
                self.replaced.extend(old.map(|old| (candidate.slot.to_owned(), old)));
                cells += difference.cells;
                changed.extend(bounded(difference.rows, &mut left).map(|row| (candidate, row)));
            }
        }
        let rows = explained(&self.taken, changed);
        if cells > rows.len() as u64 {
            tracing::warn!(cells, written = rows.len(), "more values of closed windows change than restatements hold");
        }
        Restated { rows, cells }
    }

    /// The partitions of KPI tables that change and whose first window was closed.
    fn candidates<'a>(&self, change: &Change<'a>, closed_until_ms: TimeMs) -> Vec<Candidate<'a>> {
        let kpis = Table::all().filter_map(|table| match table {
            Table::Kpi(grouping, window) => Some((table.name(), (table, grouping, window))),
            _ => None,
        });
        let kpis: HashMap<_, _> = kpis.collect();
        let candidate = |entry: &FileEntry, slot: &'a str, new: Option<&'a Bytes>| {
            let &(table, grouping, window) = kpis.get(entry.table.as_str())?;
            let date: NaiveDate = entry.date.as_ref()?.parse().ok()?;
            let first_ms = self.windows.day_start_ms(date.to_epoch_days());
            let is_closed = self.windows.end_ms(window, first_ms) <= closed_until_ms;
            is_closed.then(|| Candidate { table, grouping, slot, old: change.live.get(slot), new })
        };
        let written = change.bodies.iter().filter_map(|(slot, staged)| {
            let entry = change.files.get(slot)?;
            let is_same = change.live.get(slot).is_some_and(|old| old.sha256 == entry.sha256);
            if is_same { None } else { candidate(entry, slot, Some(&staged.body)) }
        });
        let gone = change.live.iter().filter(|(slot, _)| !change.files.contains_key(*slot));
        let mut candidates: Vec<_> = written.chain(gone.filter_map(|(slot, old)| candidate(old, slot, None))).collect();
        candidates.sort_unstable_by_key(|candidate| candidate.slot);
        candidates
    }

    /// The body that the last commit published, and what differs now; none where that cannot be told.
    fn compare(
        &self,
        objects: &dyn Objects,
        candidate: &Candidate,
        closed_until_ms: TimeMs,
        limit: usize,
    ) -> Option<(Option<Bytes>, Difference)> {
        let slot = candidate.slot;
        let old = match candidate.old.map(|entry| self.published(objects, entry)).transpose() {
            Ok(old) => old,
            Err(error) => {
                tracing::warn!(slot, error, "what changes in closed windows is not known");
                return None;
            }
        };
        let new = candidate.new.cloned();
        let difference =
            compare(candidate.grouping, old.clone(), new, closed_until_ms, limit).unwrap_or_else(|error| {
                tracing::warn!(slot, %error, "what changes in closed windows is not known");
                Difference::default()
            });
        Some((old, difference))
    }

    /// The content of a file as the last commit published it.
    fn published(&self, objects: &dyn Objects, entry: &FileEntry) -> Result<Bytes, String> {
        if let Some(body) = self.replaced.get(&entry.slot()) {
            return Ok(body.clone());
        }
        let stored = objects.get(&entry.path).map_err(|error| error.to_string())?;
        let stored = stored.ok_or("the file of the last commit is not there")?;
        let is_version = stored.tag.is_some() && stored.tag == entry.tag;
        if is_version || sha256_hex(&stored.body) == entry.sha256 {
            Ok(stored.body)
        } else {
            Err("the file is not the one of the last commit".to_owned())
        }
    }
}

/// As many of the rows as there is room `left` for.
fn bounded(rows: Vec<ChangedRow>, left: &mut usize) -> impl Iterator<Item = ChangedRow> {
    rows.into_iter().map_while(move |mut row| {
        row.cells.truncate(*left);
        *left -= row.cells.len();
        (!row.cells.is_empty()).then_some(row)
    })
}

fn explained(causes: &[Cause], changed: Vec<(&Candidate, ChangedRow)>) -> Vec<Restatement> {
    let mut explainer = Explainer::new(causes);
    let mut rows = Vec::new();
    for (candidate, row) in changed {
        let ChangedRow { group, start_ms, end_ms, cells } = row;
        let explanation = Arc::new(explainer.explain(candidate.grouping, group, start_ms, end_ms));
        rows.extend(cells.into_iter().map(|cell| Restatement {
            table: candidate.table,
            group,
            window_start_ms: start_ms,
            column: &KPI_COLUMNS[cell.column].name,
            old: cell.old,
            new: cell.new,
            explanation: Arc::clone(&explanation),
        }));
    }
    rows
}
