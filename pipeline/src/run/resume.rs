//! What a run, or another start of its workers, goes on from.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::seal::{Horizon, Sealed, SealedIndex, Unsealing};
use crate::sink::{CommitSummary, Manifest, Objects, SourceFile};
use crate::state::{StateError, StateFile, StateKind};

/// What a run goes on from.
#[derive(Default)]
pub(super) struct Resume {
    /// The state; its open files are taken in before the first round.
    pub(super) state: Vec<StateFile>,
    /// Source files that are read.
    pub(super) read: Vec<SourceFile>,
    /// State files that the first commit makes superfluous.
    pub(super) superseded: Vec<String>,
    /// Texts that wait for a model go on waiting: this run asks none.
    pub(super) keeps_texts: bool,
}

impl Resume {
    /// From the last commit, with what was sealed up to `frozen_day` still sealed. What was read without keeping state has to be
    /// read again; what the model said holds all the same.
    pub(super) fn of(previous: Option<&Manifest>, keep_state: bool, model_id: &str, frozen_day: i32) -> Self {
        let Some((previous, state)) = previous.and_then(|previous| Some((previous, previous.state.as_ref()?))) else {
            return Self::default();
        };
        let is_wanted = |file: &&StateFile| keep_state || file.kind.is_of_a_model();
        Self {
            state: state.iter().filter(is_wanted).cloned().collect(),
            read: if keep_state { previous.sources.clone() } else { Vec::new() },
            keeps_texts: model_id.is_empty(),
            ..Self::default()
        }
        .unsealed_after(frozen_day)
    }

    /// From an edited state, with nothing sealed.
    pub(super) fn edited(state: Vec<StateFile>, read: Vec<SourceFile>, superseded: Vec<String>) -> Self {
        Self { state, read, superseded, keeps_texts: true }.unsealed_after(i32::MIN)
    }

    /// From what another process says that this one goes on from.
    pub(super) fn elsewhere(state: Vec<StateFile>) -> Self {
        Self { state, ..Self::default() }
    }

    /// Where the days end of which not everything is taken in.
    pub(super) fn horizon(&self) -> Option<Horizon> {
        let days = self.state.iter().filter_map(|file| file.sealed_before_day);
        days.max().map(|frozen_day| Horizon { frozen_day })
    }

    /// What it has sealed.
    ///
    /// # Errors
    /// Those of reading state files.
    pub(super) fn sealed(&self, objects: &dyn Objects) -> Result<Sealed, StateError> {
        let index = Arc::new(SealedIndex::read(objects, &self.state)?);
        Ok(Sealed { horizon: self.horizon(), index, unsealing: Unsealing::default() })
    }

    /// The same with the seals that froze days up to `frozen_day` at most; what is behind the others is taken in.
    fn unsealed_after(mut self, frozen_day: i32) -> Self {
        for file in &mut self.state {
            file.sealed_before_day = file.sealed_before_day.filter(|day| *day <= frozen_day);
        }
        let (marks, state): (Vec<_>, Vec<_>) = std::mem::take(&mut self.state)
            .into_iter()
            .partition(|file| file.kind == StateKind::Seals && file.sealed_before_day.is_none());
        self.state = state;
        self.superseded.extend(marks.into_iter().map(|file| file.path));
        self
    }
}

/// Why the workers start again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Again {
    /// A commit has sealed something, or was to: that leaves memory.
    Sealed,
    /// Something sealed changes: nothing may be frozen from this day on.
    Unsealed(i32),
    /// The job that held the root before has made a commit that this one does not go on from.
    Preceded,
}

/// What earlier starts of the workers of a run leave to the next.
#[derive(Clone, Default)]
pub(super) struct Before {
    pub(super) starts: u32,
    /// The last horizon up to which something was sealed, or was to be.
    pub(super) sealed_until: Option<Horizon>,
    pub(super) commits: u64,
    pub(super) last_commit: Option<CommitSummary>,
    pub(super) counted: [u64; 2],
    /// Files that were seen: what did not change since need not be looked at twice again.
    pub(super) seen: BTreeMap<String, String>,
}
