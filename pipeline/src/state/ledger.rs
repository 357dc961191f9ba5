//! Which files are the state of the next commit.

use std::collections::BTreeMap;

use super::{NewState, StateFile, StateKind};

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
    /// Goes on from the state of the last commit; `takes_texts_over` when its waiting texts are asked about.
    pub fn resume(state: &[StateFile], takes_texts_over: bool) -> Self {
        let (texts, files): (Vec<_>, Vec<_>) = state.iter().cloned().partition(|file| file.kind == StateKind::Texts);
        let mut ledger = Self { files, ..Self::default() };
        if takes_texts_over {
            // The workers write down again what still waits.
            ledger.superseded = texts.into_iter().map(|file| file.path).collect();
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
        StateFile { kind, path: path.to_owned(), rows: 1, bytes: 1, sha256: String::new(), model_id: None }
    }

    fn paths(ledger: &StateLedger) -> Vec<String> {
        ledger.files().into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn files_add_up_and_waiting_texts_are_replaced() {
        let before = [file(StateKind::Deliveries, "d1"), file(StateKind::Texts, "t1")];
        let mut ledger = StateLedger::resume(&before, true);
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
    fn a_run_without_a_model_leaves_waiting_texts_waiting() {
        let mut ledger = StateLedger::resume(&[file(StateKind::Texts, "t1")], false);
        assert_eq!(paths(&ledger), ["t1"]);
        assert!(ledger.committed().is_empty());
    }
}
