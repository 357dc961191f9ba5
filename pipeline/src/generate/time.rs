//! Civil time of the contact centre, which keeps UTC.

use chrono::{DateTime, Datelike};

/// Milliseconds of a second.
pub(crate) const SECOND_MS: i64 = 1_000;
/// Milliseconds of a minute.
pub(crate) const MINUTE_MS: i64 = 60 * SECOND_MS;
/// Milliseconds of an hour.
pub(crate) const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Milliseconds of a day.
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// Hours of a week.
pub(crate) const WEEK_HOURS: usize = 168;

/// Day of the week, Monday = 0. (1970-01-01 was a Thursday.)
pub(crate) fn weekday(time_ms: i64) -> usize {
    (time_ms.div_euclid(DAY_MS) + 3).rem_euclid(7) as usize
}

/// Whether the day is a Saturday or Sunday.
pub(crate) fn is_weekend(time_ms: i64) -> bool {
    weekday(time_ms) >= 5
}

/// Hour of the week, Monday 00:00 = 0.
pub(crate) fn hour_of_week(time_ms: i64) -> usize {
    weekday(time_ms) * 24 + (time_ms.rem_euclid(DAY_MS) / HOUR_MS) as usize
}

/// `YYYY-MM-DD` of the day that holds `time_ms`.
pub(crate) fn date_string(time_ms: i64) -> String {
    let date = DateTime::from_timestamp_millis(time_ms).unwrap_or_default().date_naive();
    format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
}
