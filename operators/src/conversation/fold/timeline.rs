//! Owner, team, queue and status of a conversation over time, and business time along them.

use contactflow_schemas::business::Reached;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::dimension::StatusSet;
use contactflow_schemas::event::{Body, Event, Status};
use contactflow_schemas::symbol::Symbol;

use crate::conversation::view::{Context, Credited};

/// Where a conversation stands (rules 9 and 26).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) owner: Option<Symbol>,
    pub(super) team: Option<Symbol>,
    pub(super) queue: Option<Symbol>,
}

impl Placement {
    /// Takes in what an event says about it.
    pub(super) fn follow(&mut self, event: &Event) {
        self.team = event.team.or(self.team);
        self.queue = event.queue.or(self.queue);
        if let Body::Assigned { agent } | Body::Transferred { agent, .. } = event.body {
            self.owner = agent;
        }
    }
}

/// Placements and statuses, each from its time on.
pub(super) struct Timeline<'a> {
    context: Context<'a>,
    channel: Symbol,
    placements: Vec<(TimeMs, Placement)>,
    /// Ascending; grows as the fold meets changes of status.
    statuses: Vec<(TimeMs, Status)>,
}

impl<'a> Timeline<'a> {
    pub(super) fn new<'e>(
        context: Context<'a>,
        channel: Symbol,
        created_ms: TimeMs,
        events: impl Iterator<Item = &'e Event>,
    ) -> Self {
        let mut placements: Vec<(TimeMs, Placement)> = Vec::new();
        let mut now = Placement::default();
        for event in events {
            let before = now;
            now.follow(event);
            if now != before {
                placements.push((event.time_ms, now));
            }
        }
        Self { context, channel, placements, statuses: vec![(created_ms, Status::New)] }
    }

    /// The placement after all events up to and including a time.
    pub(super) fn at(&self, time_ms: TimeMs) -> Placement {
        let later = self.placements.partition_point(|(from_ms, _)| *from_ms <= time_ms);
        later.checked_sub(1).map_or_else(Placement::default, |position| self.placements[position].1)
    }

    /// Rule 27: whom a credit to `agent` at a time belongs to.
    pub(super) fn credited(&self, agent: Option<Symbol>, time_ms: TimeMs, placement: Placement) -> Credited {
        let own_team = agent.and_then(|agent| self.context.dimensions.team_of(agent, time_ms));
        Credited { agent, team: own_team.or(placement.team), queue: placement.queue }
    }

    /// The times in `(from_ms, to_ms)` at which owner, team or queue change, ascending.
    pub(super) fn changes(&self, from_ms: TimeMs, to_ms: TimeMs) -> Vec<TimeMs> {
        let inside = |time_ms: &TimeMs| (from_ms + 1..to_ms).contains(time_ms);
        let mut changes: Vec<TimeMs> = self.placements.iter().map(|(at, _)| *at).filter(inside).collect();
        let owners = self.placements.iter().filter_map(|(_, placement)| placement.owner);
        for owner in owners {
            changes.extend(self.context.dimensions.team_changes(owner, from_ms, to_ms));
        }
        changes.sort_unstable();
        changes.dedup();
        changes
    }

    /// The status is this from a time on.
    pub(super) fn set_status(&mut self, time_ms: TimeMs, status: Status) {
        self.statuses.push((time_ms, status));
    }

    /// The stretches of `[from_ms, to_ms)` in which the status is one of `wanted`, ascending.
    pub(super) fn stretches(&self, wanted: StatusSet, from_ms: TimeMs, to_ms: TimeMs) -> Vec<(TimeMs, TimeMs)> {
        let mut stretches: Vec<(TimeMs, TimeMs)> = Vec::new();
        for (position, &(start_ms, status)) in self.statuses.iter().enumerate() {
            let end_ms = self.statuses.get(position + 1).map_or(TimeMs::MAX, |(next_ms, _)| *next_ms);
            let (start_ms, end_ms) = (start_ms.max(from_ms), end_ms.min(to_ms));
            if start_ms >= end_ms || !wanted.contains(status) {
                continue;
            }
            match stretches.last_mut() {
                Some((_, last_ms)) if *last_ms == start_ms => *last_ms = end_ms,
                _ => stretches.push((start_ms, end_ms)),
            }
        }
        stretches
    }

    /// The pieces of `[from_ms, to_ms)` with one team each; one empty piece when both are equal.
    fn teams(&self, from_ms: TimeMs, to_ms: TimeMs) -> impl Iterator<Item = (Option<Symbol>, TimeMs, TimeMs)> {
        // The first placement after the piece's start: the one before it holds in the piece.
        let mut next = self.placements.partition_point(|(at, _)| *at <= from_ms);
        let mut start_ms = Some(from_ms);
        std::iter::from_fn(move || {
            let piece_ms = start_ms?;
            let team = next.checked_sub(1).and_then(|position| self.placements[position].1.team);
            while next < self.placements.len()
                && self.placements[next].0 < to_ms
                && self.placements[next].1.team == team
            {
                next += 1;
            }
            let end_ms = self.placements.get(next).map_or(to_ms, |(at, _)| (*at).min(to_ms));
            next = self.placements.partition_point(|(at, _)| *at <= end_ms);
            start_ms = (end_ms < to_ms).then_some(end_ms);
            Some((team, piece_ms, end_ms))
        })
    }

    /// Rule 29: business milliseconds of `[from_ms, to_ms)`.
    pub(super) fn business_ms(&self, from_ms: TimeMs, to_ms: TimeMs) -> Option<i64> {
        if !self.context.dimensions.has_calendars() {
            return None;
        }
        self.teams(from_ms, to_ms)
            .map(|(team, from_ms, to_ms)| self.context.dimensions.clock(team, self.channel).elapsed_ms(from_ms, to_ms))
            .sum()
    }

    /// Rule 31: the sum over several stretches; none over none. A stretch of no length is none.
    pub(super) fn business_of(&self, stretches: &[(TimeMs, TimeMs)]) -> Option<i64> {
        let mut sum_ms = None;
        for &(from_ms, to_ms) in stretches.iter().filter(|(from_ms, to_ms)| from_ms < to_ms) {
            sum_ms = Some(sum_ms.unwrap_or(0) + self.business_ms(from_ms, to_ms)?);
        }
        sum_ms
    }

    /// The first time from `from_ms` on, before or at `limit_ms`, at which a clock that stands still in `pauses` has run
    /// for `amount_ms`. `Err` where business time is not known.
    pub(super) fn reach(
        &self,
        from_ms: TimeMs,
        limit_ms: TimeMs,
        amount_ms: i64,
        pauses: StatusSet,
        business: bool,
    ) -> Result<Option<TimeMs>, NoCalendar> {
        if amount_ms == 0 {
            return Ok(Some(from_ms));
        }
        let mut left_ms = amount_ms;
        // Before the creation there is no status, and so no pause.
        let created_ms = self.statuses.first().map_or(from_ms, |(created_ms, _)| *created_ms);
        let before = Some((from_ms, created_ms.min(limit_ms))).filter(|(from_ms, to_ms)| from_ms < to_ms);
        let after = self.stretches(pauses.complement(), from_ms, limit_ms);
        for (start_ms, end_ms) in before.into_iter().chain(after) {
            if !business {
                if left_ms <= end_ms - start_ms {
                    return Ok(Some(start_ms + left_ms));
                }
                left_ms -= end_ms - start_ms;
                continue;
            }
            for (team, piece_ms, to_ms) in self.teams(start_ms, end_ms) {
                let clock = self.context.dimensions.clock(team, self.channel);
                match clock.advance(piece_ms, to_ms, left_ms).ok_or(NoCalendar)? {
                    Reached::At(time_ms) => return Ok(Some(time_ms)),
                    Reached::Remaining(0) => return Ok(Some(to_ms)),
                    Reached::Remaining(rest_ms) => left_ms = rest_ms,
                }
            }
        }
        Ok(None)
    }
}

/// No calendar is in force at some instant at which one is needed.
#[derive(Debug)]
pub(super) struct NoCalendar;
