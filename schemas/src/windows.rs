//! The windows KPIs are kept for: hours, days, weeks and months of a time zone's calendar.

use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

use crate::clock::{DAY_MS, HOUR_MS, TimeMs};
use crate::zone::Zone;

/// Width of a KPI window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Window {
    /// An hour of the local clock.
    Hour,
    /// A local calendar day.
    Day,
    /// Seven local days from Monday (ISO 8601).
    Week,
    /// A local calendar month.
    Month,
}

impl Window {
    /// Every width, from the shortest to the longest.
    pub const ALL: [Window; 4] = [Window::Hour, Window::Day, Window::Week, Window::Month];

    /// The name in tables and options.
    pub fn name(self) -> &'static str {
        match self {
            Window::Hour => "hour",
            Window::Day => "day",
            Window::Week => "week",
            Window::Month => "month",
        }
    }
}

/// Cuts time into windows by the calendar of one time zone.
///
/// Windows are half-open `[start, end)`; those of one width tile time without gap or overlap; hours nest in days, days
/// in weeks and in months. Day `D` runs from the first instant whose local clock has reached `D` 00:00 to the same
/// for `D + 1`: 23 or 25 hours when the clock changes, and none at all for a date that the zone skipped. An hour is a
/// full hour of the local clock, cut where the offset changes: a repeated hour is a window of its own, and a change by
/// half an hour leaves windows shorter than an hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    zone: Zone,
    /// The offset of a zone that never changes it: plain arithmetic then does.
    fixed: Option<i64>,
}

impl Windows {
    /// Windows in UTC.
    pub fn utc() -> Self {
        Self::new(Zone::utc())
    }

    /// Windows by the calendar of `zone`.
    pub fn new(zone: Zone) -> Self {
        let fixed = zone.fixed_offset_ms();
        Self { zone, fixed }
    }

    /// The time zone.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Start of the window that holds `time_ms`. Times are at most centuries away from 1970.
    #[inline]
    pub fn start_ms(&self, window: Window, time_ms: TimeMs) -> TimeMs {
        match window {
            Window::Hour => self.hour_start_ms(time_ms),
            Window::Day => self.day_start_ms(self.day_of(time_ms)),
            Window::Week => self.day_start_ms(monday_of(self.day_of(time_ms))),
            Window::Month => self.day_start_ms(month_of(self.day_of(time_ms)).0),
        }
    }

    /// End (exclusive) of the window that starts at `start_ms`, which is the start of the next one. Any other instant
    /// of the window gives the same.
    #[inline]
    pub fn end_ms(&self, window: Window, start_ms: TimeMs) -> TimeMs {
        match window {
            Window::Hour => self.hour_end_ms(start_ms),
            Window::Day => self.day_start_ms(self.day_of(start_ms) + 1),
            Window::Week => self.day_start_ms(monday_of(self.day_of(start_ms)) + 7),
            Window::Month => self.day_start_ms(month_of(self.day_of(start_ms)).1),
        }
    }

    /// Start of the window before the one that holds `time_ms`.
    pub fn previous_ms(&self, window: Window, time_ms: TimeMs) -> TimeMs {
        self.start_ms(window, self.start_ms(window, time_ms) - 1)
    }

    /// The starts of the windows that share an instant with `[from, to)`, in order.
    pub fn starts(&self, window: Window, from: TimeMs, to: TimeMs) -> impl Iterator<Item = TimeMs> + '_ {
        let first = (from < to).then(|| self.start_ms(window, from));
        std::iter::successors(first, move |&start| Some(self.end_ms(window, start)).filter(|&next| next < to))
    }

    /// The local date of an instant, in days since 1970-01-01: the day whose window holds it. That is what the local
    /// clock shows, unless the clock has just been set back over midnight: the repeated minutes then stay with the
    /// new date, because days do not alternate.
    #[inline]
    pub fn day_of(&self, time_ms: TimeMs) -> i32 {
        let local_ms = match self.fixed {
            Some(offset) => time_ms + offset,
            None => self.zone.latest_local_ms(time_ms),
        };
        // Accepted times lie before 2100, so the day fits.
        local_ms.div_euclid(DAY_MS) as i32
    }

    /// The first instant of a local date, given in days since 1970-01-01.
    #[inline]
    pub fn day_start_ms(&self, day: i32) -> TimeMs {
        let local_ms = i64::from(day) * DAY_MS;
        match self.fixed {
            Some(offset) => local_ms - offset,
            None => self.zone.start_of_local(local_ms),
        }
    }

    #[inline]
    fn hour_start_ms(&self, time_ms: TimeMs) -> TimeMs {
        match self.fixed {
            Some(offset) => full_hour(time_ms, offset),
            None => {
                let span = self.zone.span(time_ms);
                full_hour(time_ms, span.offset).max(span.start)
            }
        }
    }

    #[inline]
    fn hour_end_ms(&self, time_ms: TimeMs) -> TimeMs {
        match self.fixed {
            Some(offset) => full_hour(time_ms, offset) + HOUR_MS,
            None => {
                let span = self.zone.span(time_ms);
                (full_hour(time_ms, span.offset) + HOUR_MS).min(span.end)
            }
        }
    }
}

/// The instant of the last full hour of a clock with this offset.
#[inline]
fn full_hour(time_ms: TimeMs, offset: i64) -> TimeMs {
    (time_ms + offset).div_euclid(HOUR_MS) * HOUR_MS - offset
}

/// The Monday of the week of a day; both in days since 1970-01-01, which was a Thursday.
#[inline]
fn monday_of(day: i32) -> i32 {
    day - (day + 3).rem_euclid(7)
}

/// The first day of the month of a day, and of the month after; all in days since 1970-01-01.
#[inline]
fn month_of(day: i32) -> (i32, i32) {
    // Every day of an accepted time has a date; any other is a month by itself.
    NaiveDate::from_epoch_days(day).map_or((day, day + 1), |date| {
        let first = day - date.day0() as i32;
        (first, first + i32::from(date.num_days_in_month()))
    })
}

#[cfg(test)]
#[path = "windows_tests.rs"]
mod tests;
