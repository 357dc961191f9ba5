//! Windows of the configured time zone (rule 23), and the local clock.

use crate::model::{HOUR_MS, Width};
use chrono::offset::{LocalResult, Offset, TimeZone};
use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, TimeDelta, Timelike};
use chrono_tz::Tz;

/// A window: from its start up to, but without, its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Window {
    pub(super) start: i64,
    pub(super) end: i64,
}

/// What the local clock reads at an instant.
pub(super) fn local_time(zone: Tz, instant: i64) -> NaiveDateTime {
    let utc = DateTime::from_timestamp_millis(instant).unwrap_or_default().naive_utc();
    utc + zone.offset_from_utc_datetime(&utc).fix()
}

/// The first instant whose local clock has reached a reading.
pub(super) fn reached(zone: Tz, reading: NaiveDateTime) -> i64 {
    match zone.from_local_datetime(&reading) {
        LocalResult::Single(time) => time.timestamp_millis(),
        LocalResult::Ambiguous(first, _) => first.timestamp_millis(),
        LocalResult::None => {
            // The clock jumps over it: halve until the jump is found. No clock is two days from UTC.
            let middle = reading.and_utc().timestamp_millis();
            let (mut before, mut after) = (middle - 48 * HOUR_MS, middle + 48 * HOUR_MS);
            while before + 1 < after {
                let between = before.midpoint(after);
                if local_time(zone, between) < reading { before = between } else { after = between }
            }
            after
        }
    }
}

/// The hour, or the first day of the stretch of days, in which a reading of the clock lies.
fn floor(width: Width, reading: NaiveDateTime) -> NaiveDateTime {
    let date = reading.date();
    let day = match width {
        Width::Hour => return at_hour(date, reading.hour()),
        Width::Day => date,
        Width::Week => date - Days::new(u64::from(date.weekday().num_days_from_monday())),
        Width::Month => date.with_day(1).unwrap_or(date),
    };
    at_hour(day, 0)
}

fn at_hour(date: NaiveDate, hour: u32) -> NaiveDateTime {
    date.and_hms_opt(hour, 0, 0).unwrap_or_default()
}

/// The first reading of the next window.
fn next(width: Width, first: NaiveDateTime) -> NaiveDateTime {
    match width {
        Width::Hour => first + TimeDelta::hours(1),
        Width::Day => first + Days::new(1),
        Width::Week => first + Days::new(7),
        Width::Month => first + Months::new(1),
    }
}

/// The window an instant lies in.
pub(super) fn window(zone: Tz, width: Width, instant: i64) -> Window {
    if width == Width::Hour {
        return hour(zone, instant);
    }
    let mut first = floor(width, local_time(zone, instant));
    // A clock that was set back has been further before.
    loop {
        let following = next(width, first);
        let end = reached(zone, following);
        if end > instant {
            return Window { start: reached(zone, first), end };
        }
        first = following;
    }
}

/// The hour an instant lies in, cut where the clock is changed: an hour that is read twice is two windows.
fn hour(zone: Tz, instant: i64) -> Window {
    let offset = |time: i64| local_time(zone, time).and_utc().timestamp_millis() - time;
    let start = instant - (instant + offset(instant)).rem_euclid(HOUR_MS);
    let same = |time: &i64| offset(*time) == offset(instant);
    if same(&start) && same(&(start + HOUR_MS - 1)) {
        return Window { start, end: start + HOUR_MS };
    }
    // Clocks are changed at full minutes or, long ago, seconds.
    let second = instant - instant.rem_euclid(1000);
    let first = (start..=second).rev().step_by(1000).take_while(same).last();
    let end = (second + 1000..start + HOUR_MS).step_by(1000).find(|time| !same(time));
    Window { start: first.unwrap_or(second), end: end.unwrap_or(start + HOUR_MS) }
}

/// The windows from that of one instant up to that of another.
pub(super) fn windows(zone: Tz, width: Width, from: i64, to: i64) -> impl Iterator<Item = Window> {
    let first = (from <= to).then(|| window(zone, width, from));
    std::iter::successors(first, move |last| (last.end <= to).then(|| window(zone, width, last.end)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn shown(zone: Tz, width: Width, instant: &str) -> (String, String) {
        let window = window(zone, width, clock::parse(instant).unwrap());
        (clock::format(window.start).replace(":00.000Z", ""), clock::format(window.end).replace(":00.000Z", ""))
    }

    #[test]
    fn windows_of_utc() {
        for (width, start, end) in [
            (Width::Hour, "2024-02-29T13:00", "2024-02-29T14:00"),
            (Width::Day, "2024-02-29T00:00", "2024-03-01T00:00"),
            (Width::Week, "2024-02-26T00:00", "2024-03-04T00:00"),
            (Width::Month, "2024-02-01T00:00", "2024-03-01T00:00"),
        ] {
            let found = shown(Tz::UTC, width, "2024-02-29T13:45:10Z");
            assert_eq!(found, (start.to_owned(), end.to_owned()), "{width:?}");
        }
    }

    #[test]
    fn windows_where_clocks_change() {
        let berlin = chrono_tz::Europe::Berlin;
        for (width, instant, start, end) in [
            // 02:00 is set forward to 03:00: the hour from 02:00 holds nothing.
            (Width::Hour, "2024-03-31T00:59:59Z", "2024-03-31T00:00", "2024-03-31T01:00"),
            (Width::Hour, "2024-03-31T01:00:00Z", "2024-03-31T01:00", "2024-03-31T02:00"),
            (Width::Day, "2024-03-31T12:00:00Z", "2024-03-30T23:00", "2024-03-31T22:00"),
            // 03:00 is set back to 02:00: there are two hours from 02:00.
            (Width::Hour, "2024-10-27T00:10:00Z", "2024-10-27T00:00", "2024-10-27T01:00"),
            (Width::Hour, "2024-10-27T01:10:00Z", "2024-10-27T01:00", "2024-10-27T02:00"),
            (Width::Week, "2024-10-27T12:00:00Z", "2024-10-20T22:00", "2024-10-27T23:00"),
            (Width::Month, "2024-10-27T12:00:00Z", "2024-09-30T22:00", "2024-10-31T23:00"),
        ] {
            assert_eq!(shown(berlin, width, instant), (start.to_owned(), end.to_owned()), "{instant} {width:?}");
        }
        // In 2011 Samoa had no 30 December.
        let apia = chrono_tz::Pacific::Apia;
        assert_eq!(shown(apia, Width::Day, "2011-12-30T10:00:00Z").0, "2011-12-30T10:00");
        assert_eq!(
            shown(apia, Width::Day, "2011-12-30T09:59:59Z"),
            ("2011-12-29T10:00".into(), "2011-12-30T10:00".into())
        );
        // Half an hour off UTC, and half an hour of summer time.
        assert_eq!(shown(chrono_tz::Asia::Kolkata, Width::Hour, "2024-01-01T10:00:00Z").0, "2024-01-01T09:30");
        let back = shown(chrono_tz::Australia::Lord_Howe, Width::Hour, "2024-04-06T15:00:00Z");
        assert_eq!(back, ("2024-04-06T15:00".into(), "2024-04-06T15:30".into()));
    }

    #[test]
    fn windows_follow_one_another() {
        let zone = chrono_tz::America::Sao_Paulo;
        let (from, to) = (clock::parse("2018-10-01T00:00:00Z").unwrap(), clock::parse("2019-03-01T00:00:00Z").unwrap());
        for width in [Width::Hour, Width::Day, Width::Week, Width::Month] {
            let all: Vec<Window> = windows(zone, width, from, to).collect();
            assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start && pair[0].start < pair[0].end));
            assert!(all.first().is_some_and(|first| first.start <= from && from < first.end));
            assert!(all.last().is_some_and(|last| last.start <= to && to < last.end));
        }
    }
}
