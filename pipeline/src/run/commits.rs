//! When a round is committed, with what, and what comes after it.

use std::collections::HashSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use contactflow_schemas::clock::TimeMs;

use super::coordination::Next;
use super::resume::Again;
use super::round::Round;
use super::sealing::program;
use super::shared::{Shared, Target};
use super::{JobError, Mode};
use crate::job::JobContext;
use crate::settings::JobSettings;
use crate::sink::{CommitInput, Manifest, PublishedSettings};
use crate::state::{STATE, StateLedger, delete_orphans, merge};

impl Shared {
    /// True when a commit would make something durable that is not: the first of a run says what the inputs hold now,
    /// even if that is nothing.
    fn is_commit_due(&self, round: Round) -> bool {
        let ledger = self.ledger();
        let is_new = ledger.state.as_ref().is_some_and(StateLedger::is_new);
        let seals = round.is_last && !ledger.draft.is_empty();
        ledger.commits == 0 || is_new || seals || ledger.planner.is_new() || self.writer.has_changes()
    }

    /// What comes after a round, which is decided by worker 0 alone.
    pub(super) fn next(&self, round: Round) -> Next {
        let is_going_on = self.mode == Mode::Follow && !self.has_stopped();
        match (round.is_last, is_going_on) {
            (true, true) => Next::Restart,
            (true, false) => Next::End,
            (false, _) if round.is_stopping || !self.ledger().draft.is_empty() => Next::Drain,
            (false, _) => Next::Round,
        }
    }

    /// Takes note that the workers start again.
    pub(super) fn start_again(&self) {
        self.ledger().again = Some(Again::Sealed);
    }

    /// Fails when another job holds the output by now.
    pub(super) fn check_root(&self) -> Result<(), JobError> {
        match &self.ledger().target {
            Target::Commit(committer) => Ok(committer.check_root()?),
            Target::Compare(_) | Target::Elsewhere(_) => Ok(()),
        }
    }

    /// Commits what the workers handed over for a round, if that makes something durable. Tells whether it did.
    pub(super) fn commit_if_due(
        &self,
        round: Round,
        as_of_ms: Option<TimeMs>,
        computed_at: Instant,
    ) -> Result<bool, JobError> {
        let is_due = self.is_commit_due(round);
        if is_due {
            self.commit(round, as_of_ms, computed_at)?;
        }
        Ok(is_due)
    }

    fn commit(&self, round: Round, as_of_ms: Option<TimeMs>, computed_at: Instant) -> Result<(), JobError> {
        let ledger = &mut *self.ledger();
        if round.is_last {
            self.write_seal(ledger)?;
        }
        let committer = match &mut ledger.target {
            Target::Commit(committer) => committer,
            Target::Compare(inspector) => {
                ledger.inspection = Some(inspector.compare()?);
                return Ok(());
            }
            Target::Elsewhere(_) => return Ok(()),
        };
        if let Some(state) = &mut ledger.state {
            let files = state.to_merge();
            if let Some(first) = files.first() {
                let next = committer.previous().map_or(1, |previous| previous.commit + 1);
                let path = format!("{STATE}/{}/{}-{next:08}.parquet", first.kind.name(), self.stem_of("merged"));
                let merged = merge(&*self.context.ingest.objects, &files, path)?;
                state.replace(&files, merged);
            }
        }
        let input = CommitInput {
            epoch: round.number,
            as_of_ms,
            committed_at_ms: wall_clock_ms(),
            computed_at,
            sources: ledger.planner.sources(&ledger.read),
            settings: published_settings(&self.settings, &self.context),
            state: ledger.state.as_ref().map(StateLedger::files),
        };
        let is_first = !committer.has_committed();
        let summary = committer.commit(input)?;
        if is_first {
            self.delete_orphans(committer.previous());
        }
        ledger.planner.committed();
        let superseded = ledger.state.as_mut().map(StateLedger::committed).unwrap_or_default();
        for path in superseded {
            if let Err(error) = self.context.ingest.objects.delete(&path) {
                tracing::warn!(%error, "an outdated state file stays until the next start");
            }
        }
        ledger.commits += 1;
        ledger.last_commit = Some(summary);
        ledger.counted = self.context.ingest.progress.counted();
        Ok(())
    }

    /// Deletes state files of earlier runs that no commit names: nobody can make a commit any more that does.
    fn delete_orphans(&self, last: Option<&Manifest>) {
        let live = last.and_then(|last| last.state.as_deref()).unwrap_or_default();
        match delete_orphans(&*self.context.ingest.objects, live, &self.stem()) {
            Ok(0) => {}
            Ok(deleted) => tracing::debug!(deleted, "state files that no commit names were deleted"),
            Err(error) => tracing::warn!(%error, "outdated state files stay until the next start"),
        }
    }

    /// Takes events out of what restatements name as causes; tells how many files named any.
    pub(super) fn forget_events(&self, events: &HashSet<(String, String)>) -> Result<usize, JobError> {
        match &mut self.ledger().target {
            Target::Commit(committer) => Ok(committer.forget_events(events)?),
            Target::Compare(_) | Target::Elsewhere(_) => Ok(0),
        }
    }
}

/// What the tables of a job depend on besides the events.
pub(super) fn published_settings(settings: &JobSettings, context: &JobContext) -> PublishedSettings {
    PublishedSettings {
        kpi: context.rules.clone(),
        kpi_tables: settings.kpi_tables.clone(),
        model_id: context.models.published.clone(),
        candidate_id: context.models.candidate.clone(),
        with_quality: context.model.with_quality,
        candidate_with_quality: context.candidate.with_quality,
        program: program(),
    }
}

/// The wall clock, for the history only: no data file depends on it.
pub(super) fn wall_clock_ms() -> TimeMs {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as TimeMs)
}
