//! Time as data: UTC milliseconds since the Unix epoch, and their parsing. The windows they fall into
//! are those of [`crate::windows`].

use chrono::DateTime;

pub use crate::windows::Window;

/// UTC milliseconds since the Unix epoch.
pub type TimeMs = i64;

/// Milliseconds of an hour.
pub const HOUR_MS: i64 = 3_600_000;
/// Milliseconds of a day.
pub const DAY_MS: i64 = 24 * HOUR_MS;
/// The first event time that is accepted: 1970-01-01.
pub const EARLIEST_MS: TimeMs = 0;
/// The first event time that is no longer accepted: 2100-01-01.
pub const LATEST_MS: TimeMs = 4_102_444_800_000;

/// The UTC day of `time_ms`, counted from 1970-01-01.
pub fn day_of(time_ms: TimeMs) -> i32 {
    // Accepted times lie before 2100, so the day fits.
    time_ms.div_euclid(DAY_MS) as i32
}

/// The date of a day counted from 1970-01-01, as `YYYY-MM-DD`.
pub fn date_string(day: i32) -> String {
    DateTime::from_timestamp_millis(i64::from(day) * DAY_MS)
        .map_or_else(|| format!("day-{day}"), |date| date.format("%Y-%m-%d").to_string())
}

/// Why a text is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeError {
    /// Neither RFC 3339 with an offset nor an integer.
    Malformed,
    /// A time outside [`EARLIEST_MS`]..[`LATEST_MS`].
    OutOfRange,
}

/// Checks that a time lies in the accepted range.
///
/// # Errors
/// [`TimeError::OutOfRange`].
pub fn in_range(time_ms: i64) -> Result<TimeMs, TimeError> {
    if (EARLIEST_MS..LATEST_MS).contains(&time_ms) { Ok(time_ms) } else { Err(TimeError::OutOfRange) }
}

/// Parses RFC 3339 with an offset, or integer milliseconds since the Unix epoch. Fractions of a millisecond are cut.
///
/// # Errors
/// [`TimeError`] says whether the form or the range is wrong.
pub fn parse_time(text: &str) -> Result<TimeMs, TimeError> {
    let text = text.trim();
    if let Ok(time_ms) = text.parse::<i64>() {
        return in_range(time_ms);
    }
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| TimeError::Malformed)?;
    in_range(time.timestamp_millis())
}

/// A time as RFC 3339 in UTC with milliseconds.
pub fn format_time(time_ms: TimeMs) -> String {
    DateTime::from_timestamp_millis(time_ms)
        .map_or_else(|| time_ms.to_string(), |time| time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_integers_name_the_same_instant() {
        assert_eq!(parse_time("2024-03-01T12:00:00+02:00"), Ok(1_709_287_200_000));
        assert_eq!(parse_time("1709287200000"), Ok(1_709_287_200_000));
        assert_eq!(parse_time("2024-03-01T10:00:00.123Z"), Ok(1_709_287_200_123));
    }

    #[test]
    fn what_is_no_time_is_said() {
        assert_eq!(parse_time("2024-03-01 12:00"), Err(TimeError::Malformed));
        assert_eq!(parse_time("yesterday"), Err(TimeError::Malformed));
        assert_eq!(parse_time("9999-01-01T00:00:00Z"), Err(TimeError::OutOfRange));
        assert_eq!(parse_time("0000-01-01T00:00:00Z"), Err(TimeError::OutOfRange));
        assert_eq!(parse_time("-1"), Err(TimeError::OutOfRange));
    }

    #[test]
    fn days_have_dates() {
        assert_eq!(date_string(day_of(1_709_287_200_000)), "2024-03-01");
        assert_eq!(date_string(0), "1970-01-01");
    }
}
