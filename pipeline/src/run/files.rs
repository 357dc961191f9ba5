//! Which files a round reads, and on which worker.

use std::collections::BTreeMap;

use crate::ingest::{Assigned, FileAssignment};
use crate::sink::{self, ModelIds};
use crate::sources::SourceFile;
use crate::state::{StateFile, StateKind};

/// Plans rounds of files.
pub(super) struct FilePlanner {
    workers: usize,
    /// The models that are asked about the texts of the files read.
    models: ModelIds,
    /// The files that are read or assigned, also by earlier runs whose state this one goes on from.
    assigned: BTreeMap<String, sink::SourceFile>,
    /// Files were assigned since the last commit, which does not name them as read.
    is_new: bool,
    /// Version of each file as last seen, to tell files that are still being written.
    seen: BTreeMap<String, String>,
}

impl FilePlanner {
    /// Goes on from files that are `read`.
    pub(super) fn new(workers: usize, models: ModelIds, read: &[sink::SourceFile]) -> Self {
        let assigned = read.iter().map(|file| (file.name.clone(), file.clone())).collect();
        Self { workers, models, assigned, is_new: false, seen: BTreeMap::new() }
    }

    /// Takes over what an earlier planner of this run has seen.
    pub(super) fn with_seen(mut self, seen: BTreeMap<String, String>) -> Self {
        self.seen = seen;
        self
    }

    /// Version of each file as last seen.
    pub(super) fn seen(&self) -> &BTreeMap<String, String> {
        &self.seen
    }

    /// Assigns the files of `listing` that are new or changed. With `settled`, only those that look the same as at the
    /// last call: a file that still grows is left for later.
    pub(super) fn plan(&mut self, listing: Vec<SourceFile>, settled: bool) -> Vec<FileAssignment> {
        let mut balance = Balance::new(self.workers);
        let mut assignments = Vec::new();
        for file in listing {
            let before = self.seen.insert(file.name.clone(), file.version.clone());
            if settled && before.as_ref() != Some(&file.version) {
                continue;
            }
            if self.assigned.get(&file.name).is_some_and(|known| self.is_read(known, &file)) {
                continue;
            }
            // Files in the order of their names, each to the least loaded worker: names mostly follow time, so all
            // workers read about the same days.
            assignments.push(FileAssignment {
                worker: balance.next(file.size_bytes),
                what: Assigned::Events { root: file.root },
                name: file.name.clone(),
                path: file.path.to_string(),
                size_bytes: file.size_bytes,
                version: file.version.clone(),
            });
            let assigned = sink::SourceFile {
                name: file.name.clone(),
                bytes: file.size_bytes,
                version: Some(file.version),
                rows: 0,
                model_id: self.models.published.clone(),
                candidate_id: self.models.candidate.clone(),
            };
            self.assigned.insert(file.name, assigned);
        }
        self.is_new |= !assignments.is_empty();
        assignments
    }

    /// Whether a file as it is now needs no reading. Its events are known from the state whatever the model; its texts are
    /// not kept, so another model asks for them again.
    fn is_read(&self, known: &sink::SourceFile, file: &SourceFile) -> bool {
        let asked = ModelIds { published: known.model_id.clone(), candidate: known.candidate_id.clone() };
        let is_asked = |model_id: &str| model_id.is_empty() || asked.have(model_id);
        let is_asked = is_asked(&self.models.published) && is_asked(&self.models.candidate);
        known.version.as_ref() == Some(&file.version) && is_asked
    }

    /// Assigns the state of the last commit: its open deliveries and waiting texts, and what this run's models have said. What
    /// workers wrote at one time is read at one time, so that a conversation, whose events several of them wrote down, comes
    /// together soon.
    pub(super) fn restore(&self, state: &[StateFile]) -> Vec<FileAssignment> {
        let mut state: Vec<&StateFile> = state.iter().collect();
        state.sort_by_key(|file| file.path.rsplit('-').next());
        let mut balance = Balance::new(self.workers);
        let is_wanted = |file: &&StateFile| match file.kind {
            StateKind::Deliveries => file.sealed_before_day.is_none(),
            StateKind::Seals => false,
            StateKind::Texts => !self.models.published.is_empty(),
            StateKind::Predictions | StateKind::Qualities => {
                file.model_id.as_deref().is_some_and(|model_id| self.models.have(model_id))
            }
        };
        let assign = |file: &StateFile| FileAssignment {
            worker: balance.next(file.bytes),
            what: Assigned::State(file.clone()),
            name: file.path.clone(),
            path: file.path.clone(),
            size_bytes: file.bytes,
            version: file.sha256.clone(),
        };
        state.into_iter().filter(is_wanted).map(assign).collect()
    }

    /// True when files were read that the last commit does not name: without a commit a restart would read them again.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Says that a commit names [`Self::sources`].
    pub(super) fn committed(&mut self) {
        self.is_new = false;
    }

    /// Every file read so far, with its rows.
    pub(super) fn sources(&self, rows_by_file: &BTreeMap<String, u64>) -> Vec<sink::SourceFile> {
        let source = |file: &sink::SourceFile| sink::SourceFile {
            rows: rows_by_file.get(&file.name).copied().unwrap_or(file.rows),
            ..file.clone()
        };
        self.assigned.values().map(source).collect()
    }
}

/// Gives each file to the worker with the fewest bytes so far.
struct Balance {
    load_bytes: Vec<u64>,
}

impl Balance {
    fn new(workers: usize) -> Self {
        Self { load_bytes: vec![0; workers] }
    }

    fn next(&mut self, bytes: u64) -> usize {
        let worker = (0..self.load_bytes.len()).min_by_key(|&worker| self.load_bytes[worker]).unwrap_or(0);
        self.load_bytes[worker] += bytes.max(1);
        worker
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, version: &str, size_bytes: u64) -> SourceFile {
        SourceFile { name: name.into(), size_bytes, version: version.into(), root: 0, path: name.into() }
    }

    fn names(plan: Vec<FileAssignment>) -> Vec<(String, usize)> {
        plan.into_iter().map(|one| (one.name, one.worker)).collect()
    }

    #[test]
    fn files_are_read_once_per_version_and_not_while_they_grow() {
        let mut planner = FilePlanner::new(2, ModelIds::default(), &[]);
        let listing = || vec![file("a", "1", 10), file("b", "1", 3), file("c", "1", 3)];
        assert!(planner.plan(listing(), true).is_empty(), "not settled yet");
        let first = names(planner.plan(listing(), true));
        assert_eq!(first, [("a".to_owned(), 0), ("b".to_owned(), 1), ("c".to_owned(), 1)]);
        assert!(planner.plan(listing(), true).is_empty());
        let changed = vec![file("a", "2", 12)];
        assert!(planner.plan(changed.clone(), true).is_empty());
        assert_eq!(names(planner.plan(changed, true)), [("a".to_owned(), 0)]);
    }

    #[test]
    fn state_files_are_read_in_the_order_in_which_all_workers_wrote_them() {
        let state_file = |path: &str, sealed_before_day| StateFile {
            kind: StateKind::Deliveries,
            path: path.to_owned(),
            rows: 1,
            bytes: 1,
            sha256: String::new(),
            model_id: None,
            sealed_before_day,
        };
        let paths = ["d/1-0000-00000000", "d/1-0000-00000001", "d/1-0001-00000000", "d/1-0001-00000001"];
        let mut state = paths.map(|path| state_file(path, None)).to_vec();
        state.push(state_file("d/1-sealed-00000000", Some(7)));
        let plan = names(FilePlanner::new(2, ModelIds::default(), &[]).restore(&state));
        let expected = [(paths[0], 0), (paths[2], 1), (paths[1], 0), (paths[3], 1)];
        assert_eq!(plan, expected.map(|(path, worker)| (path.to_owned(), worker)));
    }

    fn models(published: &str, candidate: &str) -> ModelIds {
        ModelIds { published: published.to_owned(), candidate: candidate.to_owned() }
    }

    #[test]
    fn what_the_models_of_this_run_said_is_taken_in_and_no_other() {
        let said = |kind: StateKind, model: &str| StateFile {
            kind,
            path: format!("{}/{model}", kind.name()),
            rows: 1,
            bytes: 1,
            sha256: String::new(),
            model_id: Some(model.to_owned()),
            sealed_before_day: None,
        };
        let kinds = [StateKind::Predictions, StateKind::Qualities];
        let state: Vec<_> =
            kinds.iter().flat_map(|kind| ["old", "new", "next"].map(|model| said(*kind, model))).collect();
        let restored = |models: ModelIds| {
            let plan = FilePlanner::new(1, models, &[]).restore(&state);
            plan.into_iter().map(|one| one.name).collect::<std::collections::BTreeSet<_>>()
        };
        let expected = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let both: std::collections::BTreeSet<String> =
            expected(&["predictions/new", "predictions/next", "qualities/new", "qualities/next"]);
        assert_eq!(restored(models("new", "next")), both);
        assert_eq!(restored(models("next", "")), expected(&["predictions/next", "qualities/next"]));
        assert_eq!(restored(models("", "")), expected(&[]));
    }

    #[test]
    fn files_of_an_earlier_run_are_read_again_only_for_another_model() {
        let mut planner = FilePlanner::new(1, models("model-1", "candidate-1"), &[]);
        assert_eq!(planner.plan(vec![file("a", "1", 10)], false).len(), 1);
        let read = planner.sources(&BTreeMap::from([("a".to_owned(), 7)]));
        assert_eq!(read[0].rows, 7);
        for (model_id, candidate_id, version, files) in [
            ("model-1", "", "1", 0),
            ("", "", "1", 0),
            ("model-1", "", "2", 1),
            ("model-2", "", "1", 1),
            ("candidate-1", "", "1", 0),
            ("candidate-1", "model-1", "1", 0),
            ("model-1", "candidate-2", "1", 1),
        ] {
            let mut next = FilePlanner::new(1, models(model_id, candidate_id), &read);
            let planned = next.plan(vec![file("a", version, 10)], false).len();
            assert_eq!(planned, files, "{model_id} {candidate_id} {version}");
        }
        let rows = FilePlanner::new(1, models("model-1", ""), &read).sources(&BTreeMap::new());
        assert_eq!(rows, read, "a file that is not read again keeps its rows");
    }
}
