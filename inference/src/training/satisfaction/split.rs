//! Dialogues held out, and the folds of the others.

use crate::error::{InferenceError, Result};
use crate::training::satisfaction::SatisfactionOptions;
use crate::training::satisfaction::corpus::Corpus;

/// Which dialogues are for what.
pub(crate) struct Split {
    /// Dialogues per fold.
    pub(crate) folds: Vec<Vec<usize>>,
    pub(crate) held_out: Vec<usize>,
}

impl Split {
    /// A dialogue's lot decides where it falls: the lowest lots are held out, the rest falls into folds by turns.
    pub(crate) fn new(corpus: &Corpus, options: &SatisfactionOptions) -> Result<Self> {
        let lots: Vec<f64> = corpus.dialogues.iter().map(|dialogue| dialogue.lot(options.seed)).collect();
        let is_held_out = |member: &usize| lots[*member] < options.validation_fraction;
        let (held_out, mut training): (Vec<usize>, Vec<usize>) = (0..lots.len()).partition(is_held_out);
        if training.len() < options.folds || held_out.is_empty() {
            let counts = format!("{} training and {} validation dialogues", training.len(), held_out.len());
            let reason = format!("{counts}; at least {} and 1 are needed (files, validation_fraction?)", options.folds);
            return Err(InferenceError::Labels(reason));
        }
        training.sort_by(|&a, &b| lots[a].total_cmp(&lots[b]).then(a.cmp(&b)));
        let mut folds = vec![Vec::new(); options.folds];
        for (index, member) in training.into_iter().enumerate() {
            folds[index % options.folds].push(member);
        }
        Ok(Self { folds, held_out })
    }

    /// All of the folds.
    pub(crate) fn training(&self) -> Vec<usize> {
        self.folds.concat()
    }

    /// The training dialogues outside of a fold.
    pub(crate) fn without(&self, fold: usize) -> Vec<usize> {
        let others = self.folds.iter().enumerate().filter(|(index, _)| *index != fold);
        others.flat_map(|(_, members)| members.iter().copied()).collect()
    }

    /// Fold of every dialogue; none for the held-out ones.
    pub(crate) fn fold_of(&self, dialogues: usize) -> Vec<Option<usize>> {
        let mut folds = vec![None; dialogues];
        for (fold, members) in self.folds.iter().enumerate() {
            members.iter().for_each(|&member| folds[member] = Some(fold));
        }
        folds
    }
}
