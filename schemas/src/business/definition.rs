//! A schedule as it is written down, and how it is read.

use std::fmt;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::clock::{DAY_MS, LATEST_MS};
use crate::zone::Zone;

/// Minutes of a day.
const DAY_MINUTES: u16 = 24 * 60;

/// Opening hours in normal form, as data: equal definitions open at the same times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ScheduleDefinition {
    timezone: String,
    week: [Vec<(u16, u16)>; 7],
    holidays: Vec<i32>,
}

/// Why a text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleError {
    /// The time zone database has no such zone; the name that was given.
    UnknownTimezone(String),
    /// The opening hours have the wrong form; what is wrong.
    MalformedRanges(String),
    /// A time of day, a range or a date that has the right form but is impossible; what is wrong.
    OutOfRange(String),
    /// The holidays have the wrong form; what is wrong.
    MalformedHolidays(String),
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTimezone(name) => {
                write!(formatter, "unknown time zone {name:?}: expected an IANA name such as \"Europe/Berlin\"")
            }
            Self::MalformedRanges(what) => write!(
                formatter,
                "malformed opening hours: {what}; expected {{\"mon\": [[\"09:00\", \"17:00\"]], \u{2026}}} with the \
                 keys mon to sun, or [{{\"day\": \"mon\", \"start\": \"09:00\", \"end\": \"17:00\"}}, \u{2026}]"
            ),
            Self::OutOfRange(what) => write!(formatter, "value out of range: {what}"),
            Self::MalformedHolidays(what) => {
                write!(formatter, "malformed holidays: {what}; expected a list of dates such as [\"2024-12-25\"]")
            }
        }
    }
}

impl std::error::Error for ScheduleError {}

/// The days of the week, as the JSON names them.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DayName {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// The ranges of one day; `null` is a closed day.
type DayRanges = Option<Vec<(String, String)>>;

/// The form with a key for each day. A struct, not a map: a day given twice is an error.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ByDay {
    mon: DayRanges,
    tue: DayRanges,
    wed: DayRanges,
    thu: DayRanges,
    fri: DayRanges,
    sat: DayRanges,
    sun: DayRanges,
}

/// An entry of the form with a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    day: DayName,
    start: String,
    end: String,
}

impl ScheduleDefinition {
    /// Reads a schedule.
    ///
    /// `ranges_json` is an object `{"mon": [["09:00", "12:00"], ["13:00", "17:00"]], …}` with keys `mon` to `sun`,
    /// where a missing day is closed, or a list of `{"day": "mon", "start": "09:00", "end": "17:00"}`. Times are
    /// `HH:MM` of the local clock of `timezone`, an end may be `24:00`; ranges that overlap or touch are united.
    /// `holidays_json` is a list of local dates `YYYY-MM-DD` that are closed all day.
    ///
    /// # Errors
    /// [`ScheduleError`] says what is wrong and what was expected.
    pub fn parse(timezone: &str, ranges_json: &str, holidays_json: Option<&str>) -> Result<Self, ScheduleError> {
        let timezone = timezone.trim();
        if !Zone::is_known(timezone) {
            return Err(ScheduleError::UnknownTimezone(timezone.to_owned()));
        }
        let mut week: [Vec<(u16, u16)>; 7] = Default::default();
        for (day, start, end) in entries(ranges_json)? {
            week[day as usize].push(range(&start, &end)?);
        }
        for ranges in &mut week {
            unite(ranges);
        }
        let mut holidays = holidays_json.map_or_else(|| Ok(Vec::new()), holidays)?;
        holidays.sort_unstable();
        holidays.dedup();
        Ok(Self { timezone: timezone.to_owned(), week, holidays })
    }

    /// The IANA name of the time zone.
    pub fn timezone(&self) -> &str {
        &self.timezone
    }

    /// Opening hours of Monday to Sunday, in minutes of the local day, half-open, sorted and apart from each other.
    pub fn week(&self) -> &[Vec<(u16, u16)>; 7] {
        &self.week
    }

    /// Local dates that are closed, in days since 1970-01-01, sorted.
    pub fn holidays(&self) -> &[i32] {
        &self.holidays
    }
}

/// The ranges of either form, as text.
fn entries(json: &str) -> Result<Vec<(DayName, String, String)>, ScheduleError> {
    let malformed = |error: serde_json::Error| ScheduleError::MalformedRanges(error.to_string());
    // The forms are told apart here rather than by an untagged enum, whose errors say nothing.
    if json.trim_start().starts_with('[') {
        let list: Vec<Entry> = serde_json::from_str(json).map_err(malformed)?;
        return Ok(list.into_iter().map(|entry| (entry.day, entry.start, entry.end)).collect());
    }
    let days: ByDay = serde_json::from_str(json).map_err(malformed)?;
    let named = [
        (DayName::Mon, days.mon),
        (DayName::Tue, days.tue),
        (DayName::Wed, days.wed),
        (DayName::Thu, days.thu),
        (DayName::Fri, days.fri),
        (DayName::Sat, days.sat),
        (DayName::Sun, days.sun),
    ];
    let flat = named
        .into_iter()
        .flat_map(|(day, ranges)| ranges.into_iter().flatten().map(move |(start, end)| (day, start, end)));
    Ok(flat.collect())
}

/// A range in minutes of the day.
fn range(start: &str, end: &str) -> Result<(u16, u16), ScheduleError> {
    let (from, to) = (minute_of_day(start)?, minute_of_day(end)?);
    if from < to {
        return Ok((from, to));
    }
    Err(ScheduleError::OutOfRange(format!(
        "opening hours from {start} to {end}: the end must come after the start on the same day (24:00 is the end of \
         the day; hours that pass midnight are two ranges)"
    )))
}

/// Minutes since midnight of `HH:MM`, to `24:00`.
fn minute_of_day(text: &str) -> Result<u16, ScheduleError> {
    let &[h, hh, b':', m, mm] = text.as_bytes() else { return Err(malformed_time(text)) };
    if ![h, hh, m, mm].iter().all(u8::is_ascii_digit) {
        return Err(malformed_time(text));
    }
    let number = |tens: u8, units: u8| u16::from(tens - b'0') * 10 + u16::from(units - b'0');
    let (hour, minute) = (number(h, hh), number(m, mm));
    let minutes = hour * 60 + minute;
    if minute < 60 && minutes <= DAY_MINUTES {
        return Ok(minutes);
    }
    Err(ScheduleError::OutOfRange(format!("time of day {text:?}: expected 00:00 to 24:00")))
}

fn malformed_time(text: &str) -> ScheduleError {
    ScheduleError::MalformedRanges(format!("time of day {text:?}: expected HH:MM, such as \"09:00\""))
}

/// Sorts ranges and unites those that overlap or touch.
fn unite(ranges: &mut Vec<(u16, u16)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|later, earlier| {
        let joined = later.0 <= earlier.1;
        if joined {
            earlier.1 = earlier.1.max(later.1);
        }
        joined
    });
}

/// The dates of the holidays, as days since 1970-01-01.
fn holidays(json: &str) -> Result<Vec<i32>, ScheduleError> {
    let malformed = |error: serde_json::Error| ScheduleError::MalformedHolidays(error.to_string());
    let texts: Vec<String> = serde_json::from_str(json).map_err(malformed)?;
    texts.iter().map(|text| holiday(text)).collect()
}

fn holiday(text: &str) -> Result<i32, ScheduleError> {
    let bytes = text.as_bytes();
    let form = bytes.len() == 10
        && bytes
            .iter()
            .enumerate()
            .all(|(index, byte)| if matches!(index, 4 | 7) { *byte == b'-' } else { byte.is_ascii_digit() });
    if !form {
        return Err(ScheduleError::MalformedHolidays(format!("{text:?} is not of the form YYYY-MM-DD")));
    }
    let last = (LATEST_MS / DAY_MS) as i32;
    text.parse::<NaiveDate>()
        .ok()
        .map(|date| date.to_epoch_days())
        .filter(|day| (0..last).contains(day))
        .ok_or_else(|| ScheduleError::OutOfRange(format!("holiday {text}: expected a date from 1970 to 2099")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(ranges: &str) -> Result<ScheduleDefinition, ScheduleError> {
        ScheduleDefinition::parse("Europe/Berlin", ranges, None)
    }

    #[test]
    fn both_forms_mean_the_same_and_ranges_are_united() {
        let by_day =
            parse(r#"{"mon": [["13:00","17:00"],["09:00","12:00"],["11:00","12:30"]], "sun": [["20:00","24:00"]]}"#);
        let list = parse(
            r#"[{"day":"sun","start":"20:00","end":"24:00"}, {"day":"mon","start":"09:00","end":"10:00"},
                {"day":"mon","start":"13:00","end":"17:00"}, {"day":"mon","start":"10:00","end":"12:30"}]"#,
        );
        assert_eq!(by_day, list);
        let week = by_day.unwrap().week().clone();
        assert_eq!(week[0], [(540, 750), (780, 1020)]);
        assert_eq!(week[6], [(1200, 1440)]);
        assert!(week[1..6].iter().all(Vec::is_empty));
        assert_eq!(parse(r#"{"mon": null, "tue": []}"#), parse("[]"));
    }

    #[test]
    fn holidays_are_sorted_days() {
        let definition =
            ScheduleDefinition::parse(" UTC ", "{}", Some(r#"["1970-01-03", "1970-01-01", "1970-01-03"]"#)).unwrap();
        assert_eq!((definition.timezone(), definition.holidays()), ("UTC", [0, 2].as_slice()));
    }

    #[test]
    fn errors_say_what_was_expected() {
        let error = ScheduleDefinition::parse("Mars/Olympus", "{}", None).unwrap_err();
        assert_eq!(error, ScheduleError::UnknownTimezone("Mars/Olympus".to_owned()));
        assert!(error.to_string().contains("expected an IANA name"), "{error}");
        for ranges in [
            "",
            "7",
            "{\"mon\"",
            r#"{"monday": []}"#,
            r#"{"mon": [], "mon": []}"#,
            r#"{"mon": [["09:00"]]}"#,
            r#"{"mon": [["9:00", "12:00"]]}"#,
            r#"{"mon": [["09:00", "noon!"]]}"#,
            r#"{"mon": [[9, 12]]}"#,
            r#"[{"day": "mon", "start": "09:00"}]"#,
            r#"[{"day": "mo", "start": "09:00", "end": "10:00"}]"#,
        ] {
            let error = parse(ranges).unwrap_err();
            assert!(matches!(error, ScheduleError::MalformedRanges(_)), "{ranges}: {error}");
            assert!(error.to_string().contains("expected"), "{error}");
        }
        for ranges in ["25:00-26:00", "09:60-10:00", "17:00-09:00", "09:00-09:00", "09:00-24:01", "24:00-24:00"] {
            let (start, end) = ranges.split_once('-').unwrap();
            let error = parse(&format!(r#"{{"mon": [["{start}", "{end}"]]}}"#)).unwrap_err();
            assert!(matches!(error, ScheduleError::OutOfRange(_)), "{ranges}: {error}");
        }
        for holidays in ["", "{}", r#""2024-12-25""#, "[1]", r#"["25.12.2024"]"#, r#"["2024-1-1"]"#] {
            let error = ScheduleDefinition::parse("UTC", "{}", Some(holidays)).unwrap_err();
            assert!(matches!(error, ScheduleError::MalformedHolidays(_)), "{holidays}: {error}");
        }
        for holidays in [r#"["2024-02-30"]"#, r#"["2100-01-01"]"#, r#"["1969-12-31"]"#] {
            let error = ScheduleDefinition::parse("UTC", "{}", Some(holidays)).unwrap_err();
            assert!(matches!(error, ScheduleError::OutOfRange(_)), "{holidays}: {error}");
        }
    }
}
