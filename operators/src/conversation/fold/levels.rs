//! Levels: states of a conversation that are counted at the end of windows (rules 21, 43, 45).

use contactflow_schemas::catalogue::kpi;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::symbol::Symbol;
use contactflow_schemas::tally::KpiId;

use super::Fold;
use super::timeline::Placement;
use crate::conversation::view::LevelChange;

/// From the creation or a reopen to the next resolve.
#[derive(Clone, Copy)]
pub(super) struct Stretch {
    pub(super) from_ms: TimeMs,
    pub(super) to_ms: Option<TimeMs>,
}

impl Fold<'_> {
    /// Counts the conversation in a level from `from_ms` to `to_ms` (or for good), for whoever `whose` makes of its
    /// placement. A change of the placement moves it.
    pub(super) fn level(
        &mut self,
        kpi: KpiId,
        from_ms: TimeMs,
        to_ms: Option<TimeMs>,
        whose: impl Fn(Placement) -> Option<Placement>,
    ) {
        let end_ms = to_ms.unwrap_or(TimeMs::MAX);
        if from_ms >= end_ms {
            return;
        }
        let credited_at = |fold: &Self, time_ms: TimeMs| {
            whose(fold.timeline.at(time_ms))
                .map(|placement| fold.timeline.credited(placement.owner, time_ms, placement))
        };
        let mut standing = None;
        for time_ms in std::iter::once(from_ms).chain(self.timeline.changes(from_ms, end_ms)) {
            let credited = credited_at(self, time_ms);
            if credited == standing {
                continue;
            }
            let change = |credited, delta| LevelChange { time_ms, credited, kpi, delta };
            self.view.levels.extend(standing.map(|credited| change(credited, -1)));
            self.view.levels.extend(credited.map(|credited| change(credited, 1)));
            standing = credited;
        }
        if let (Some(time_ms), Some(credited)) = (to_ms, standing) {
            self.view.levels.push(LevelChange { time_ms, credited, kpi, delta: -1 });
        }
    }

    /// The end of a level that began at `from_ms`: its own, or when it has lasted too long.
    pub(super) fn level_end(&mut self, from_ms: TimeMs, to_ms: Option<TimeMs>) -> Option<TimeMs> {
        let given_up_ms = from_ms + self.context.rules.level_max_ms;
        if to_ms.is_some_and(|to_ms| to_ms <= given_up_ms) {
            return to_ms;
        }
        self.view.deadlines_ms.push(given_up_ms);
        if self.context.as_of_ms > given_up_ms { Some(given_up_ms) } else { to_ms }
    }

    /// Rules 21 and 43.
    pub(super) fn finish_levels(&mut self) {
        let replied_ms = self.first_reply_ms.map(|time_ms| time_ms.max(self.created_ms));
        for Stretch { from_ms, to_ms } in std::mem::take(&mut self.stretches) {
            let to_ms = self.level_end(from_ms, to_ms.map(|to_ms| to_ms.max(from_ms)));
            self.level(kpi::BACKLOG, from_ms, to_ms, Some);
            self.level(kpi::UNASSIGNED, from_ms, to_ms, |placement| {
                Some(placement).filter(|placement| placement.owner.is_none())
            });
            let attended_ms = match (to_ms, replied_ms) {
                (Some(to_ms), Some(replied_ms)) => Some(to_ms.min(replied_ms)),
                (to_ms, replied_ms) => to_ms.or(replied_ms),
            };
            self.level(kpi::UNATTENDED, from_ms, attended_ms, Some);
        }
        let visits = std::mem::take(&mut self.visits);
        for visit in visits.into_iter().chain(self.visit) {
            let to_ms = self.level_end(visit.from_ms, visit.to_ms);
            let nobody = move |placement: Placement| {
                let owner: Option<Symbol> = None;
                Some(Placement { owner, queue: visit.queue, ..placement })
            };
            self.level(kpi::QUEUED, visit.from_ms, to_ms, nobody);
        }
    }
}
