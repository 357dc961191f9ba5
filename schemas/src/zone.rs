//! Time zones, compiled: the changes of a zone's offset as a table, so that the hot path never reads the zone database.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

use crate::clock::{DAY_MS, EARLIEST_MS, LATEST_MS, TimeMs};

/// Distance of the samples between which changes of the offset are searched, ms. Two changes that cancel each other
/// out within one step would be missed; no zone has any less than six days apart from
/// 1970 to 2100, and a step of two hours finds no more.
const SAMPLE_MS: i64 = DAY_MS;

/// An IANA time zone, compiled into the table of its offset changes from 1970-01-01 to 2100-01-01. Before and after
/// that the first and the last offset hold. Cloning shares the table.
///
/// "Local ms" are the milliseconds from 1970-01-01 00:00 to a reading of the zone's wall clock, as if it were UTC.
#[derive(Clone)]
pub struct Zone {
    table: Arc<Table>,
}

/// Spans of constant offset, in order; the columns have one row per span.
struct Table {
    name: &'static str,
    /// First instant of the span; `i64::MIN` for the first span.
    starts: Vec<TimeMs>,
    /// Local minus UTC, ms.
    offsets: Vec<i64>,
    /// What the local clock has come up to, exclusive, by the end of the span, in this or any earlier span.
    reached: Vec<i64>,
}

/// A span of time with one offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// First instant; `i64::MIN` for the first span.
    pub(crate) start: TimeMs,
    /// First instant after the span; `i64::MAX` for the last span.
    pub(crate) end: TimeMs,
    /// Local minus UTC, ms.
    pub(crate) offset: i64,
}

impl Zone {
    /// Coordinated Universal Time.
    pub fn utc() -> Self {
        Self::compile(Tz::UTC)
    }

    /// The zone of an IANA name such as `Europe/Berlin`, spelt as the database spells it; `None` if it has no such
    /// zone. Takes some milliseconds, so zones are parsed once and cloned.
    pub fn parse(name: &str) -> Option<Self> {
        name.parse().ok().map(Self::compile)
    }

    /// Whether [`Zone::parse`] would know the name. Compiles nothing.
    pub fn is_known(name: &str) -> bool {
        name.parse::<Tz>().is_ok()
    }

    /// The IANA name.
    pub fn name(&self) -> &str {
        self.table.name
    }

    /// The offset if the zone never changes it from 1970 to 2100, ms.
    pub fn fixed_offset_ms(&self) -> Option<i64> {
        match self.table.offsets.as_slice() {
            [offset] => Some(*offset),
            _ => None,
        }
    }

    /// Local time minus UTC at an instant, ms.
    pub fn offset_ms(&self, utc_ms: TimeMs) -> i64 {
        self.table.offsets[self.index(utc_ms)]
    }

    /// What the local clock shows at an instant, local ms.
    pub fn local_ms(&self, utc_ms: TimeMs) -> i64 {
        utc_ms + self.offset_ms(utc_ms)
    }

    /// The first instant whose local clock has reached `local_ms`: for a reading that is skipped, the instant of the
    /// change; for a reading that comes twice, the first time. Never decreases as `local_ms` grows.
    pub fn start_of_local(&self, local_ms: i64) -> TimeMs {
        let table = &*self.table;
        // The last span reaches everything, so an index past the end does not occur.
        let index = table.reached.partition_point(|&reached| reached <= local_ms).min(table.offsets.len() - 1);
        (local_ms - table.offsets[index]).max(table.starts[index])
    }

    /// The latest reading the local clock has shown by an instant, local ms. It differs from [`Zone::local_ms`] only
    /// while a repeated hour runs, and is the inverse of [`Zone::start_of_local`]: `start_of_local(x) <= t` exactly
    /// if `x <= latest_local_ms(t)`.
    pub fn latest_local_ms(&self, utc_ms: TimeMs) -> i64 {
        let index = self.index(utc_ms);
        let local_ms = utc_ms + self.table.offsets[index];
        if index == 0 { local_ms } else { local_ms.max(self.table.reached[index - 1] - 1) }
    }

    /// The span of constant offset that holds an instant.
    pub(crate) fn span(&self, utc_ms: TimeMs) -> Span {
        self.span_at(self.index(utc_ms))
    }

    /// All spans of constant offset, in order.
    pub(crate) fn spans(&self) -> impl Iterator<Item = Span> + '_ {
        (0..self.table.starts.len()).map(|index| self.span_at(index))
    }

    fn span_at(&self, index: usize) -> Span {
        let table = &*self.table;
        let end = table.starts.get(index + 1).copied().unwrap_or(i64::MAX);
        Span { start: table.starts[index], end, offset: table.offsets[index] }
    }

    /// Row of the span that holds an instant.
    fn index(&self, utc_ms: TimeMs) -> usize {
        let starts = &self.table.starts;
        if starts.len() == 1 { 0 } else { starts.partition_point(|&start| start <= utc_ms).saturating_sub(1) }
    }

    fn compile(zone: Tz) -> Self {
        let mut table = Table { name: zone.name(), starts: vec![i64::MIN], offsets: Vec::new(), reached: Vec::new() };
        let mut from = EARLIEST_MS;
        let mut offset = offset_of(zone, from);
        table.offsets.push(offset);
        let mut reached = i64::MIN;
        while from < LATEST_MS {
            let to = (from + SAMPLE_MS).min(LATEST_MS);
            if offset_of(zone, to) == offset {
                from = to;
                continue;
            }
            // More changes may follow before `to`, so the search goes on from the change, not from `to`.
            let change = first_change(zone, from, to);
            reached = reached.max(change + offset);
            offset = offset_of(zone, change);
            table.starts.push(change);
            table.offsets.push(offset);
            table.reached.push(reached);
            from = change;
        }
        table.reached.push(i64::MAX);
        Self { table: Arc::new(table) }
    }
}

impl PartialEq for Zone {
    /// Zones are equal if their names are: the table follows from the name.
    fn eq(&self, other: &Self) -> bool {
        self.table.name == other.table.name
    }
}

impl Eq for Zone {}

impl fmt::Debug for Zone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Zone").field(&self.table.name).finish()
    }
}

/// An instant in `(from, to]` at which the offset changes; it differs between the two ends. By bisection.
fn first_change(zone: Tz, mut from: TimeMs, mut to: TimeMs) -> TimeMs {
    let before = offset_of(zone, from);
    while to - from > 1 {
        let middle = from + (to - from) / 2;
        if offset_of(zone, middle) == before { from = middle } else { to = middle }
    }
    to
}

/// The offset at an instant by the zone database, ms.
fn offset_of(zone: Tz, utc_ms: TimeMs) -> i64 {
    // Only times from 1970 to 2100 are asked for; chrono can represent them all.
    let Some(time) = DateTime::from_timestamp_millis(utc_ms) else { return 0 };
    i64::from(zone.offset_from_utc_datetime(&time.naive_utc()).fix().local_minus_utc()) * 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{HOUR_MS, parse_time};

    fn zone(name: &str) -> Zone {
        Zone::parse(name).unwrap()
    }

    fn at(text: &str) -> TimeMs {
        parse_time(text).unwrap()
    }

    #[test]
    fn names_are_those_of_the_database() {
        assert_eq!(zone("Europe/Berlin").name(), "Europe/Berlin");
        assert_eq!(zone("UTC"), Zone::utc());
        assert_ne!(zone("Europe/Berlin"), zone("Europe/Paris"));
        assert_eq!(Zone::parse("Europe/Atlantis"), None);
        assert!(Zone::is_known("Asia/Kolkata") && !Zone::is_known(""));
        assert_eq!(Zone::utc().fixed_offset_ms(), Some(0));
        assert_eq!(zone("Asia/Kolkata").fixed_offset_ms(), Some(HOUR_MS * 11 / 2));
        assert_eq!(zone("Europe/Berlin").fixed_offset_ms(), None);
    }

    #[test]
    fn the_table_agrees_with_the_database() {
        for name in [
            "UTC",
            "Europe/Berlin",
            "Europe/London",
            "America/New_York",
            "America/Santiago",
            "America/St_Johns",
            "Africa/Casablanca",
            "Africa/Monrovia",
            "Asia/Kathmandu",
            "Asia/Gaza",
            "Australia/Lord_Howe",
            "Pacific/Apia",
            "Antarctica/Troll",
        ] {
            let database: Tz = name.parse().unwrap();
            let zone = zone(name);
            // A step that divides neither the hour nor the day, so that samples fall everywhere in the day.
            for time in (EARLIEST_MS..LATEST_MS).step_by(5 * 3_600_000 + 1_234_567) {
                assert_eq!(zone.offset_ms(time), offset_of(database, time), "{name} {time}");
            }
            for span in zone.spans().skip(1) {
                assert_ne!(offset_of(database, span.start - 1), offset_of(database, span.start), "{name}");
                assert_eq!(offset_of(database, span.start), span.offset, "{name}");
                assert!(span.end.saturating_sub(span.start) > 6 * DAY_MS, "{name} changes twice within days");
            }
        }
    }

    #[test]
    fn a_skipped_reading_starts_at_the_change_and_a_repeated_one_at_its_first_time() {
        let berlin = zone("Europe/Berlin");
        let change = at("2024-03-31T01:00:00Z");
        assert_eq!(berlin.start_of_local(at("2024-03-31T02:00:00Z")), change);
        assert_eq!(berlin.start_of_local(at("2024-03-31T02:30:00Z")), change);
        assert_eq!(berlin.start_of_local(at("2024-03-31T03:00:00Z")), change);
        assert_eq!(berlin.start_of_local(at("2024-03-31T03:00:00.001Z")), change + 1);
        assert_eq!(berlin.start_of_local(at("2024-10-27T02:30:00Z")), at("2024-10-27T00:30:00Z"));
        assert_eq!(berlin.start_of_local(at("2024-10-27T03:00:00Z")), at("2024-10-27T02:00:00Z"));
        assert_eq!(berlin.local_ms(at("2024-10-27T01:30:00Z")), at("2024-10-27T02:30:00Z"));
    }

    #[test]
    fn start_of_local_and_latest_local_are_inverse() {
        for name in ["Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Australia/Lord_Howe", "Africa/Monrovia"] {
            let zone = zone(name);
            for span in zone.spans().skip(1) {
                for step in -300..300 {
                    let time = span.start + step * 777_777;
                    let latest = zone.latest_local_ms(time);
                    assert!(latest >= zone.local_ms(time), "{name} {time}");
                    assert!(zone.start_of_local(latest) <= time, "{name} {time}");
                    assert!(zone.start_of_local(latest + 1) > time, "{name} {time}");
                }
            }
        }
    }
}
