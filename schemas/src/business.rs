//! Business hours: when a contact centre is open, and time measured while it is.

mod definition;
mod schedule;

use std::rc::Rc;

pub use definition::{ScheduleDefinition, ScheduleError};
pub use schedule::{Reached, Schedule};

use crate::clock::{LATEST_MS, TimeMs};

/// Which schedule is in force from when, for one owner (a tenant, a channel): measures business time across changes of
/// the schedule. Clones share the schedules.
#[derive(Clone, Debug, Default)]
pub struct BusinessClock {
    /// Strictly increasing starts, UTC ms; each piece holds until the next starts, the last one for ever.
    pieces: Vec<(TimeMs, Option<Rc<Schedule>>)>,
}

impl BusinessClock {
    /// A clock of pieces `(start, schedule)`: from `start`, UTC ms, the schedule is in force, or none is. Before the
    /// first piece there is none. Of pieces with the same start the last one counts.
    pub fn new(mut pieces: Vec<(TimeMs, Option<Rc<Schedule>>)>) -> Self {
        pieces.sort_by_key(|piece| piece.0);
        // `dedup_by` hands over the later of two pieces first and drops it.
        pieces.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                earlier.1 = later.1.take();
            }
            same
        });
        Self { pieces }
    }

    /// The pieces, by their start.
    pub fn pieces(&self) -> &[(TimeMs, Option<Rc<Schedule>>)] {
        &self.pieces
    }

    /// Business time of `[from, to)`, ms. `None` if no schedule is in force at some instant of it (at `from`, if it is
    /// empty), for then the measure has no value. A `to` before `from` counts as `from`.
    pub fn elapsed_ms(&self, from: TimeMs, to: TimeMs) -> Option<i64> {
        let mut elapsed = 0;
        for (start, end, schedule) in self.pieces_from(from) {
            let schedule = schedule?;
            elapsed += schedule.elapsed_ms(start, to.min(end));
            if to <= end {
                return Some(elapsed);
            }
        }
        None
    }

    /// The smallest instant `T >= from` with `elapsed_ms(from, T) >= amount_ms`, if it lies before `limit`; otherwise
    /// what of the amount is left at `limit`. As [`Schedule::advance`] otherwise. `None` if no schedule is in force at
    /// some instant of `[from, T)`, or of `[from, limit)` if `T` is not before it (at `from`, if that is empty).
    pub fn advance(&self, from: TimeMs, limit: TimeMs, amount_ms: i64) -> Option<Reached> {
        let limit = limit.min(LATEST_MS);
        let mut left = amount_ms.max(0);
        for (start, end, schedule) in self.pieces_from(from) {
            let schedule = schedule?;
            match schedule.advance(start, limit.min(end), left) {
                Reached::At(time) => return Some(Reached::At(time)),
                Reached::Remaining(rest) => left = rest,
            }
            if limit <= end {
                return Some(Reached::Remaining(left));
            }
            // Used up exactly when the piece ends: whether the next piece has a schedule does not matter any more.
            if left == 0 {
                return Some(Reached::At(end));
            }
        }
        None
    }

    /// What is in force from `from` on, as `(start, end, schedule)`; the first start is `from`, the last end is
    /// `i64::MAX`. Empty if `from` lies before the first piece.
    fn pieces_from(&self, from: TimeMs) -> impl Iterator<Item = (TimeMs, TimeMs, Option<&Schedule>)> {
        let count = self.pieces.partition_point(|piece| piece.0 <= from);
        let first = if count == 0 { self.pieces.len() } else { count - 1 };
        (first..self.pieces.len()).map(move |index| {
            let (start, schedule) = &self.pieces[index];
            let end = self.pieces.get(index + 1).map_or(i64::MAX, |next| next.0);
            (from.max(*start), end, schedule.as_deref())
        })
    }
}

#[cfg(test)]
#[path = "business/tests.rs"]
mod tests;
