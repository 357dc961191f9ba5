//! Windows against a walk along the time line with the zone database itself.

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

use super::*;
use crate::clock::{EARLIEST_MS, LATEST_MS, date_string, parse_time};

/// Step of the walk, ms. Offsets are multiples of it (Monrovia was 44 min 30 s behind until 1972).
const STEP_MS: i64 = 30_000;

const ZONES: [&str; 11] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/Santiago",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Africa/Monrovia",
    "Africa/Casablanca",
];

fn windows(name: &str) -> Windows {
    Windows::new(Zone::parse(name).unwrap())
}

fn at(text: &str) -> TimeMs {
    parse_time(text).unwrap()
}

fn database_offset(zone: Tz, time: TimeMs) -> i64 {
    let time = DateTime::from_timestamp_millis(time).unwrap().naive_utc();
    i64::from(zone.offset_from_utc_datetime(&time).fix().local_minus_utc()) * 1000
}

/// Identity of the windows that hold an instant, by the definition: for an hour, the reading of the clock and the
/// offset; for the others the date, by the latest reading of the clock.
fn identities(local: i64, offset: i64, latest: i64) -> [(i64, i64); 4] {
    let date = NaiveDate::from_epoch_days(latest.div_euclid(DAY_MS) as i32).unwrap();
    let week = date.iso_week();
    [
        (local.div_euclid(HOUR_MS), offset),
        (i64::from(date.to_epoch_days()), 0),
        (i64::from(week.year()), i64::from(week.week())),
        (i64::from(date.year()), i64::from(date.month())),
    ]
}

/// Walks from `from` to `to`: every window must begin where the walk enters a new one, and hold each instant until
/// the next begins.
fn walk(name: &str, from: TimeMs, to: TimeMs) {
    let zone: Tz = name.parse().unwrap();
    let windows = windows(name);
    let mut latest = i64::MIN;
    let mut previous: Option<[(i64, i64); 4]> = None;
    // Where the walk entered the windows it is in; unknown for those it began in.
    let mut entered: [Option<TimeMs>; 4] = [None; 4];
    for time in (from..to).step_by(STEP_MS as usize) {
        let offset = database_offset(zone, time);
        latest = latest.max(time + offset);
        let now = identities(time + offset, offset, latest);
        for (index, &window) in Window::ALL.iter().enumerate() {
            let start = windows.start_ms(window, time);
            let end = windows.end_ms(window, start);
            assert!(start <= time && time < end, "{name} {window:?} {time}: [{start}, {end})");
            assert_eq!(windows.end_ms(window, time), end, "{name} {window:?} {time}");
            if let Some(previous) = previous.filter(|previous| previous[index] != now[index]) {
                entered[index] = Some(time);
                assert_eq!(windows.end_ms(window, time - 1), time, "{name} {window:?} after {previous:?}");
            }
            if let Some(entered) = entered[index] {
                assert_eq!(start, entered, "{name} {window:?} {time}");
            }
        }
        assert_eq!(windows.day_of(time), latest.div_euclid(DAY_MS) as i32, "{name} {time}");
        previous = Some(now);
    }
}

#[test]
fn windows_agree_with_a_walk_around_every_kind_of_change() {
    for name in ZONES {
        let zone = Zone::parse(name).unwrap();
        walk(name, at("2024-02-27T00:00:00Z"), at("2024-03-13T00:00:00Z"));
        let changes: Vec<_> = zone.spans().skip(1).map(|span| span.start).collect();
        // All changes until 1975, of 1987 to 2011 some (Apia skips a day, St John's sets back over midnight), of 2024.
        for change in changes {
            let year = &date_string(change.div_euclid(DAY_MS) as i32)[..4];
            if year < "1975" || ["1987", "2010", "2011", "2024"].contains(&year) {
                walk(name, change - 3 * DAY_MS, change + 3 * DAY_MS);
            }
        }
    }
}

#[test]
fn windows_tile_time_and_nest() {
    for name in ZONES {
        let windows = windows(name);
        for window in Window::ALL {
            let starts: Vec<_> = windows.starts(window, EARLIEST_MS, LATEST_MS).collect();
            assert!(starts[0] <= EARLIEST_MS && windows.end_ms(window, *starts.last().unwrap()) >= LATEST_MS);
            for pair in starts.windows(2) {
                assert!(pair[0] < pair[1], "{name} {window:?}");
                assert_eq!(windows.start_ms(window, pair[1]), pair[1], "{name} {window:?}");
                assert_eq!(windows.start_ms(window, pair[1] - 1), pair[0], "{name} {window:?}");
                assert_eq!(windows.previous_ms(window, pair[1]), pair[0], "{name} {window:?}");
            }
        }
        let nested = [(Window::Hour, Window::Day), (Window::Day, Window::Week), (Window::Day, Window::Month)];
        for (inner, outer) in nested {
            for start in windows.starts(inner, EARLIEST_MS, LATEST_MS) {
                let outer_start = windows.start_ms(outer, start);
                assert!(outer_start <= start, "{name} {inner:?} in {outer:?}");
                assert!(
                    windows.end_ms(inner, start) <= windows.end_ms(outer, outer_start),
                    "{name} {inner:?} in {outer:?}"
                );
            }
        }
    }
}

/// Lengths of the hours of a local date, in minutes.
fn hours(name: &str, date: &str) -> Vec<i64> {
    let windows = windows(name);
    let day = date.parse::<NaiveDate>().unwrap().to_epoch_days();
    let (from, to) = (windows.day_start_ms(day), windows.day_start_ms(day + 1));
    windows.starts(Window::Hour, from, to).map(|start| (windows.end_ms(Window::Hour, start) - start) / 60_000).collect()
}

#[test]
fn days_with_a_clock_change_have_23_or_25_hours() {
    for (name, date, count) in [
        ("Europe/Berlin", "2024-03-30", 24),
        ("Europe/Berlin", "2024-03-31", 23),
        ("Europe/Berlin", "2024-10-27", 25),
        ("America/New_York", "2024-03-10", 23),
        ("America/New_York", "2024-11-03", 25),
        // At midnight: the day begins at 01:00; the last hour of Saturday comes twice.
        ("America/Santiago", "2024-09-08", 23),
        ("America/Santiago", "2024-04-06", 25),
        ("Asia/Kathmandu", "2024-03-31", 24),
        ("Pacific/Apia", "2011-12-29", 24),
        ("Pacific/Apia", "2011-12-30", 0),
        ("Pacific/Apia", "2011-12-31", 24),
    ] {
        assert_eq!(hours(name, date), vec![60; count], "{name} {date}");
    }
    // Half an hour forward cuts the hour of the change, half an hour back repeats half of it.
    let mut forward = vec![60; 24];
    forward[2] = 30;
    assert_eq!(hours("Australia/Lord_Howe", "2024-10-06"), forward);
    let mut back = vec![60; 25];
    back[2] = 30;
    assert_eq!(hours("Australia/Lord_Howe", "2024-04-07"), back);
}

#[test]
fn hours_begin_at_the_full_hour_of_the_local_clock() {
    let time = at("2024-03-01T10:50:00Z");
    assert_eq!(Windows::utc().start_ms(Window::Hour, time), at("2024-03-01T10:00:00Z"));
    assert_eq!(windows("Asia/Kolkata").start_ms(Window::Hour, time), at("2024-03-01T10:30:00Z"));
    assert_eq!(windows("Asia/Kathmandu").start_ms(Window::Hour, time), at("2024-03-01T10:15:00Z"));
}

#[test]
fn weeks_begin_on_monday_and_months_on_the_first() {
    let berlin = windows("Europe/Berlin");
    let time = at("2024-03-31T22:30:00Z");
    assert_eq!(berlin.start_ms(Window::Month, time), at("2024-03-31T22:00:00Z"));
    assert_eq!(berlin.start_ms(Window::Week, time), at("2024-03-31T22:00:00Z"));
    assert_eq!(berlin.end_ms(Window::Month, at("2024-03-31T22:00:00Z")), at("2024-04-30T22:00:00Z"));
    let utc = Windows::utc();
    assert_eq!(utc.start_ms(Window::Week, time), at("2024-03-25T00:00:00Z"));
    assert_eq!(utc.end_ms(Window::Week, at("2024-03-25T00:00:00Z")), at("2024-04-01T00:00:00Z"));
    assert_eq!(utc.start_ms(Window::Month, at("2024-02-29T12:00:00Z")), at("2024-02-01T00:00:00Z"));
    assert_eq!(utc.start_ms(Window::Week, EARLIEST_MS), -3 * DAY_MS);
    assert_eq!(date_string(berlin.day_of(time)), "2024-04-01");
}
