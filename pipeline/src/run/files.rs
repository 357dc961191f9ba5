//! Which files a round reads, and on which worker.

use std::collections::BTreeMap;

use crate::ingest::FileAssignment;
use crate::sink;
use crate::sources::SourceFile;

/// Plans rounds of files.
pub(super) struct FilePlanner {
    workers: usize,
    /// Version of each file that was assigned.
    assigned: BTreeMap<String, SourceFile>,
    /// Version of each file as last seen, to tell files that are still being written.
    seen: BTreeMap<String, String>,
}

impl FilePlanner {
    pub(super) fn new(workers: usize) -> Self {
        Self { workers, assigned: BTreeMap::new(), seen: BTreeMap::new() }
    }

    /// Assigns the files of `listing` that are new or changed. With `settled`, only those that look the same as at the
    /// last call: a file that still grows is left for later.
    pub(super) fn plan(&mut self, listing: Vec<SourceFile>, settled: bool) -> Vec<FileAssignment> {
        let mut load_bytes = vec![0u64; self.workers];
        let mut assignments = Vec::new();
        for file in listing {
            let before = self.seen.insert(file.name.clone(), file.version.clone());
            if settled && before.as_ref() != Some(&file.version) {
                continue;
            }
            if self.assigned.get(&file.name).is_some_and(|known| known.version == file.version) {
                continue;
            }
            // Files in the order of their names, each to the least loaded worker: names mostly follow time, so all
            // workers read about the same days.
            let worker = (0..self.workers).min_by_key(|&worker| load_bytes[worker]).unwrap_or(0);
            load_bytes[worker] += file.size_bytes.max(1);
            assignments.push(FileAssignment {
                worker,
                root: file.root,
                name: file.name.clone(),
                path: file.path.to_string(),
                size_bytes: file.size_bytes,
                version: file.version.clone(),
            });
            self.assigned.insert(file.name.clone(), file);
        }
        assignments
    }

    /// Every file assigned so far, with the rows read of it.
    pub(super) fn sources(&self, rows_by_file: &BTreeMap<String, u64>) -> Vec<sink::SourceFile> {
        let source = |file: &SourceFile| sink::SourceFile {
            name: file.name.clone(),
            bytes: file.size_bytes,
            version: Some(file.version.clone()),
            rows: rows_by_file.get(&file.name).copied().unwrap_or(0),
        };
        self.assigned.values().map(source).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, version: &str, size_bytes: u64) -> SourceFile {
        SourceFile { name: name.into(), size_bytes, version: version.into(), root: 0, path: name.into() }
    }

    #[test]
    fn files_are_read_once_per_version_and_not_while_they_grow() {
        let mut planner = FilePlanner::new(2);
        let names = |plan: Vec<FileAssignment>| plan.into_iter().map(|one| (one.name, one.worker)).collect::<Vec<_>>();
        let listing = || vec![file("a", "1", 10), file("b", "1", 3), file("c", "1", 3)];
        assert!(planner.plan(listing(), true).is_empty(), "not settled yet");
        let first = names(planner.plan(listing(), true));
        assert_eq!(first, [("a".to_owned(), 0), ("b".to_owned(), 1), ("c".to_owned(), 1)]);
        assert!(planner.plan(listing(), true).is_empty());
        let changed = vec![file("a", "2", 12)];
        assert!(planner.plan(changed.clone(), true).is_empty());
        assert_eq!(names(planner.plan(changed, true)), [("a".to_owned(), 0)]);
    }
}
