//! A schedule, compiled: business time between two instants, and the way back.

use std::collections::BTreeSet;

use super::{ScheduleDefinition, ScheduleError};
use crate::clock::{DAY_MS, LATEST_MS, TimeMs};
use crate::windows::Windows;
use crate::zone::Zone;

/// Milliseconds of a minute.
const MINUTE_MS: i64 = 60_000;

/// How far an amount of business time reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It has passed at this instant.
    At(TimeMs),
    /// It has not passed before the limit; this much of it is left there, ms.
    Remaining(i64),
}

/// Opening hours, compiled for measuring. The range `(s, e)` of a local day is open from the first instant whose local
/// clock has reached `s` to the first whose clock has reached `e`, so clock changes are measured as the time that
/// really passes: a range over the skipped hour is an hour shorter, one over the repeated hour an hour longer.
///
/// The business time before a day is the count of whole weeks times that of a week, plus what the days of holidays and
/// of clock changes differ by. So a measure costs the same for any span, and nothing is cached.
#[derive(Clone, Debug)]
pub struct Schedule {
    windows: Windows,
    /// Open ranges of Monday to Sunday, local ms of the day.
    week: [Vec<(i64, i64)>; 7],
    /// Business time of a regular week before each of its days, ms; the last entry is that of the week.
    week_before: [i64; 8],
    holidays: Vec<i32>,
    /// Days whose business time is not the regular one, and the sum of the differences up to and including the day, ms.
    irregular: Vec<(i32, i64)>,
}

impl Schedule {
    /// Compiles a definition. Takes some milliseconds, most of them for the time zone.
    ///
    /// # Errors
    /// [`ScheduleError::UnknownTimezone`], for a definition that was not read by [`ScheduleDefinition::parse`].
    pub fn new(definition: &ScheduleDefinition) -> Result<Self, ScheduleError> {
        let unknown = || ScheduleError::UnknownTimezone(definition.timezone().to_owned());
        Zone::parse(definition.timezone()).map(|zone| Self::in_zone(definition, zone)).ok_or_else(unknown)
    }

    /// Compiles a definition with its time zone compiled before, which replaces the one the definition names.
    pub fn in_zone(definition: &ScheduleDefinition, zone: Zone) -> Self {
        let in_ms = |&(start, end): &(u16, u16)| (i64::from(start) * MINUTE_MS, i64::from(end) * MINUTE_MS);
        let week = definition.week().each_ref().map(|ranges| ranges.iter().map(in_ms).collect::<Vec<_>>());
        let mut week_before = [0; 8];
        for (day, ranges) in week.iter().enumerate() {
            week_before[day + 1] = week_before[day] + ranges.iter().map(|(start, end)| end - start).sum::<i64>();
        }
        let holidays = definition.holidays().to_vec();
        let mut schedule = Self { windows: Windows::new(zone), week, week_before, holidays, irregular: Vec::new() };
        schedule.irregular = schedule.differences();
        schedule
    }

    /// Business time of `[from, to)`, ms. A `to` before `from` counts as `from`.
    pub fn elapsed_ms(&self, from: TimeMs, to: TimeMs) -> i64 {
        if to <= from { 0 } else { self.open_before(to) - self.open_before(from) }
    }

    /// The smallest instant `T >= from` with `elapsed_ms(from, T) >= amount_ms`, if it lies before `limit`; otherwise
    /// what of the amount is left at `limit`. An amount of 0 or less has passed at `from`. A limit after 2100-01-01
    /// (`i64::MAX` for none) counts as 2100-01-01.
    pub fn advance(&self, from: TimeMs, limit: TimeMs, amount_ms: i64) -> Reached {
        let limit = limit.min(LATEST_MS);
        let amount_ms = amount_ms.max(0);
        if limit <= from {
            return Reached::Remaining(amount_ms);
        }
        if amount_ms == 0 {
            return Reached::At(from);
        }
        let open_at_limit = self.open_before(limit);
        let target = self.open_before(from).saturating_add(amount_ms);
        if open_at_limit < target {
            return Reached::Remaining(target - open_at_limit);
        }
        let time = self.instant_of(target, self.windows.day_of(from));
        if time < limit { Reached::At(time) } else { Reached::Remaining(0) }
    }

    /// The smallest instant by which `target` ms of business time have passed, counted as by
    /// [`Schedule::open_before`]. It lies on `day` or later, and there is one.
    fn instant_of(&self, target: i64, mut day: i32) -> TimeMs {
        // The day sought is the last one that begins with less than `target`. Doubling steps find a day after it,
        // halving them finds it: most deadlines are near.
        let mut step = 1;
        while self.open_before_day(day + step) < target {
            day += step;
            step *= 2;
        }
        while step > 1 {
            step /= 2;
            if self.open_before_day(day + step) < target {
                day += step;
            }
        }
        let mut left = target - self.open_before_day(day);
        for (start, end) in self.intervals(day) {
            if left <= end - start {
                return start + left;
            }
            left -= end - start;
        }
        // Not reached: the day after begins with `target` or more, so the intervals of this one hold it.
        self.windows.day_start_ms(day + 1)
    }

    /// Business time before an instant, ms, from an origin that is the same for all instants.
    fn open_before(&self, time_ms: TimeMs) -> i64 {
        let day = self.windows.day_of(time_ms);
        let mut open = self.open_before_day(day);
        for (start, end) in self.intervals(day).take_while(|interval| interval.0 < time_ms) {
            open += end.min(time_ms) - start;
        }
        open
    }

    /// Business time before the start of a local day, ms, from the same origin.
    fn open_before_day(&self, day: i32) -> i64 {
        let (weeks, weekday) = week_of(day);
        let before = self.irregular.partition_point(|irregular| irregular.0 < day);
        let difference = if before == 0 { 0 } else { self.irregular[before - 1].1 };
        weeks * self.week_before[7] + self.week_before[weekday] + difference
    }

    /// The open intervals of a local day, UTC ms, in order.
    fn intervals(&self, day: i32) -> impl Iterator<Item = (TimeMs, TimeMs)> + '_ {
        let holiday = !self.holidays.is_empty() && self.holidays.binary_search(&day).is_ok();
        let ranges: &[(i64, i64)] = if holiday { &[] } else { &self.week[week_of(day).1] };
        let midnight = i64::from(day) * DAY_MS;
        let zone = self.windows.zone();
        ranges
            .iter()
            .map(move |(start, end)| (zone.start_of_local(midnight + start), zone.start_of_local(midnight + end)))
    }

    /// The column `irregular`: holidays and the days that readings skipped or repeated by a clock change fall on.
    fn differences(&self) -> Vec<(i32, i64)> {
        let mut days: BTreeSet<i32> = self.holidays.iter().copied().collect();
        let spans: Vec<_> = self.windows.zone().spans().collect();
        for pair in spans.windows(2) {
            let change = pair[1].start;
            let (before, after) = (change + pair[0].offset, change + pair[1].offset);
            days.extend(local_day(before.min(after))..=local_day(before.max(after)));
        }
        let mut sum = 0;
        let mut differences = Vec::new();
        for day in days {
            let regular = self.week_before[week_of(day).1 + 1] - self.week_before[week_of(day).1];
            let actual: i64 = self.intervals(day).map(|(start, end)| end - start).sum();
            if actual != regular {
                sum += actual - regular;
                differences.push((day, sum));
            }
        }
        differences
    }
}

/// The local day of a reading of the clock.
fn local_day(local_ms: i64) -> i32 {
    // Changes of the clock lie before 2100, so the day fits.
    local_ms.div_euclid(DAY_MS) as i32
}

/// The week of a day and its weekday from Monday, 0 to 6. Day 0, 1970-01-01, was the Thursday of week 0.
fn week_of(day: i32) -> (i64, usize) {
    let since_monday = i64::from(day) + 3;
    (since_monday.div_euclid(7), since_monday.rem_euclid(7) as usize)
}
