//! Which files are the state of the next commit.

use std::collections::BTreeMap;

use super::{NewState, Split, StateFile, StateKind};

/// Files below this size are merged with others. With [`FILES_MERGED`] it bounds the memory of a merge, and what is merged
/// grows out of it, so that a row is copied a few times at most.
const SMALL_BYTES: u64 = 4 << 20;
/// Small files of one kind from which on they become one.
const FILES_MERGED: usize = 32;

/// The state files of a job, brought up to date by its workers before each commit.
#[derive(Debug, Default)]
pub struct StateLedger {
    /// Deliveries and predictions.
    files: Vec<StateFile>,
    /// The texts that wait, by worker.
    texts: BTreeMap<usize, StateFile>,
    /// Texts that an earlier run left waiting and this one, without a model, does not ask about.
    carried: Vec<StateFile>,
    /// Files that the next commit no longer names.
    superseded: Vec<String>,
    /// The state is another one than that of the last commit.
    is_new: bool,
}

impl StateLedger {
    /// Goes on from a state; `takes_texts_over` when its waiting texts are asked about. `superseded` are files that no
    /// commit needs after the next.
    pub fn resume(state: &[StateFile], superseded: Vec<String>, takes_texts_over: bool) -> Self {
        let (texts, files): (Vec<_>, Vec<_>) = state.iter().cloned().partition(|file| file.kind == StateKind::Texts);
        let mut ledger = Self { files, is_new: !superseded.is_empty(), superseded, ..Self::default() };
        if takes_texts_over {
            // The workers write down again what still waits.
            ledger.superseded.extend(texts.into_iter().map(|file| file.path));
        } else {
            ledger.carried = texts;
        }
        ledger
    }

    /// Takes in what a worker wrote.
    pub fn add(&mut self, worker: usize, new: NewState) {
        self.is_new |= new != NewState::default();
        self.files.extend(new.added);
        let Some(texts) = new.texts else { return };
        let before = match texts {
            Some(file) => self.texts.insert(worker, file),
            None => self.texts.remove(&worker),
        };
        self.superseded.extend(before.map(|file| file.path));
    }

    /// Small files of one kind and model that had better be one; none while there are few.
    pub fn to_merge(&self) -> Vec<StateFile> {
        let is_small = |file: &&StateFile| file.bytes < SMALL_BYTES;
        let mut of_kind: BTreeMap<(StateKind, Option<&str>), Vec<&StateFile>> = BTreeMap::new();
        for file in self.files.iter().filter(|file| file.sealed_before_day.is_none()).filter(is_small) {
            of_kind.entry((file.kind, file.model_id.as_deref())).or_default().push(file);
        }
        let many = of_kind.into_values().find(|files| files.len() >= FILES_MERGED);
        many.unwrap_or_default().into_iter().take(FILES_MERGED).cloned().collect()
    }

    /// Puts `merged` in the place of `files`.
    pub fn replace(&mut self, files: &[StateFile], merged: Option<StateFile>) {
        self.files.retain(|file| !files.contains(file));
        self.files.extend(merged);
        self.superseded.extend(files.iter().map(|file| file.path.clone()));
    }

    /// Puts what a seal made of deliveries in the place of what they were.
    pub fn seal(&mut self, split: Split) {
        self.is_new = true;
        self.files.retain(|file| !split.replaced.contains(&file.path));
        self.files.extend(split.files);
        self.superseded.extend(split.replaced);
    }

    /// True when a commit would make something durable that is not.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Every file of the state.
    pub fn files(&self) -> Vec<StateFile> {
        self.files.iter().chain(&self.carried).chain(self.texts.values()).cloned().collect()
    }

    /// Says that a commit names [`Self::files`]; returns the files that no commit needs any more.
    pub fn committed(&mut self) -> Vec<String> {
        self.is_new = false;
        std::mem::take(&mut self.superseded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(kind: StateKind, path: &str) -> StateFile {
        StateFile {
            kind,
            path: path.to_owned(),
            rows: 1,
            bytes: 1,
            sha256: String::new(),
            model_id: None,
            sealed_before_day: None,
        }
    }

    fn paths(ledger: &StateLedger) -> Vec<String> {
        ledger.files().into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn files_add_up_and_waiting_texts_are_replaced() {
        let before = [file(StateKind::Deliveries, "d1"), file(StateKind::Texts, "t1")];
        let mut ledger = StateLedger::resume(&before, Vec::new(), true);
        assert!(!ledger.is_new());
        ledger.add(0, NewState { added: vec![file(StateKind::Deliveries, "d2")], texts: None });
        ledger.add(1, NewState { added: Vec::new(), texts: Some(Some(file(StateKind::Texts, "t2"))) });
        assert!(ledger.is_new());
        assert_eq!(paths(&ledger), ["d1", "d2", "t2"]);
        assert_eq!(ledger.committed(), ["t1"]);
        ledger.add(1, NewState { added: Vec::new(), texts: Some(None) });
        assert_eq!(paths(&ledger), ["d1", "d2"]);
        assert_eq!(ledger.committed(), ["t2"]);
        ledger.add(1, NewState::default());
        assert!(!ledger.is_new());
    }

    #[test]
    fn many_small_files_become_one() {
        let mut ledger = StateLedger::default();
        let names: Vec<String> = (0..FILES_MERGED).map(|number| format!("d{number}")).collect();
        for (number, name) in names.iter().enumerate() {
            assert!(ledger.to_merge().is_empty(), "{number} are few");
            let large = StateFile { bytes: SMALL_BYTES, ..file(StateKind::Deliveries, "large") };
            let added = vec![file(StateKind::Deliveries, name), file(StateKind::Predictions, "p"), large];
            ledger.add(0, NewState { added: if number == 0 { added } else { added[..1].to_vec() }, texts: None });
        }
        let merged = ledger.to_merge();
        assert_eq!(merged.iter().map(|file| file.path.clone()).collect::<Vec<_>>(), names);
        ledger.replace(&merged, Some(file(StateKind::Deliveries, "all")));
        assert_eq!(paths(&ledger), ["p", "large", "all"]);
        assert_eq!(ledger.committed(), names);
    }

    #[test]
    fn a_run_without_a_model_leaves_waiting_texts_waiting() {
        let mut ledger = StateLedger::resume(&[file(StateKind::Texts, "t1")], Vec::new(), false);
        assert_eq!(paths(&ledger), ["t1"]);
        assert!(ledger.committed().is_empty());
    }
}
