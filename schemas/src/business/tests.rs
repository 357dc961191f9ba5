//! Business time by hand, and against a walk minute by minute with the zone database itself.

use chrono::{DateTime, NaiveDate, Offset, TimeZone};
use chrono_tz::Tz;

use super::*;
use crate::clock::{DAY_MS, HOUR_MS, LATEST_MS, parse_time};

const MINUTE_MS: i64 = 60_000;

/// Monday to Friday, 09:00 to 12:00 and 13:00 to 17:00.
const OFFICE: &str = r#"{"mon": [["09:00","12:00"],["13:00","17:00"]], "tue": [["09:00","12:00"],["13:00","17:00"]],
    "wed": [["09:00","12:00"],["13:00","17:00"]], "thu": [["09:00","12:00"],["13:00","17:00"]],
    "fri": [["09:00","12:00"],["13:00","17:00"]]}"#;

/// At night and over midnight, at weekends.
const NIGHT: &str = r#"{"fri": [["20:00","24:00"]], "sat": [["00:00","04:15"],["22:30","24:00"]],
    "sun": [["00:00","02:30"],["02:45","06:00"],["23:15","23:45"]]}"#;

fn definition(zone: &str, ranges: &str, holidays: Option<&str>) -> ScheduleDefinition {
    ScheduleDefinition::parse(zone, ranges, holidays).unwrap()
}

fn schedule(zone: &str, ranges: &str, holidays: Option<&str>) -> Schedule {
    Schedule::new(&definition(zone, ranges, holidays)).unwrap()
}

fn at(text: &str) -> TimeMs {
    parse_time(text).unwrap()
}

/// Business time in minutes.
fn minutes(schedule: &Schedule, from: &str, to: &str) -> i64 {
    schedule.elapsed_ms(at(from), at(to)) / MINUTE_MS
}

#[test]
fn breaks_nights_weekends_and_holidays_are_left_out() {
    let office = schedule("Europe/Berlin", OFFICE, Some(r#"["2024-03-06"]"#));
    // Monday 2024-03-04, one hour ahead of UTC.
    assert_eq!(minutes(&office, "2024-03-04T10:30:00+01:00", "2024-03-04T11:00:00+01:00"), 30);
    assert_eq!(minutes(&office, "2024-03-04T11:30:00+01:00", "2024-03-04T13:30:00+01:00"), 60);
    assert_eq!(minutes(&office, "2024-03-04T12:10:00+01:00", "2024-03-04T12:50:00+01:00"), 0);
    assert_eq!(minutes(&office, "2024-03-04T16:00:00+01:00", "2024-03-05T10:00:00+01:00"), 120);
    // Tuesday evening to Thursday, with Wednesday closed.
    assert_eq!(minutes(&office, "2024-03-05T16:30:00+01:00", "2024-03-07T09:30:00+01:00"), 60);
    // Friday to Monday, and a week with a holiday in it.
    assert_eq!(minutes(&office, "2024-03-08T16:00:00+01:00", "2024-03-11T10:00:00+01:00"), 120);
    assert_eq!(minutes(&office, "2024-03-04T00:00:00+01:00", "2024-03-11T00:00:00+01:00"), 4 * 7 * 60);
    assert_eq!(office.elapsed_ms(at("2024-03-04T09:00:00Z"), at("2024-03-04T09:00:00Z")), 0);
    assert_eq!(office.elapsed_ms(at("2024-03-04T09:00:00Z"), at("2024-03-04T08:00:00Z")), 0);
}

#[test]
fn a_change_of_the_clock_is_measured_as_the_time_that_passes() {
    let sundays = |ranges: &str| schedule("Europe/Berlin", &format!(r#"{{"sun": {ranges}}}"#), None);
    let forward = ("2024-03-31T00:00:00+01:00", "2024-04-01T00:00:00+02:00");
    let back = ("2024-10-27T00:00:00+02:00", "2024-10-28T00:00:00+01:00");
    for (ranges, skipped, repeated) in [
        (r#"[["00:00","24:00"]]"#, 23 * 60, 25 * 60),
        (r#"[["01:00","04:00"]]"#, 120, 240),
        // Wholly in the skipped hour: no time; up to 02:30: to the first 02:30 of two.
        (r#"[["02:00","03:00"]]"#, 0, 120),
        (r#"[["01:00","02:30"]]"#, 60, 90),
        (r#"[["02:30","04:00"]]"#, 60, 150),
        (r#"[["02:15","02:30"],["02:45","05:00"]]"#, 120, 15 + 195),
        (r#"[["09:00","17:00"]]"#, 480, 480),
    ] {
        let schedule = sundays(ranges);
        assert_eq!(minutes(&schedule, forward.0, forward.1), skipped, "{ranges}");
        assert_eq!(minutes(&schedule, back.0, back.1), repeated, "{ranges}");
    }
}

#[test]
fn a_date_the_zone_skipped_has_no_business_time() {
    let open = r#"{"thu": [["00:00","24:00"]], "fri": [["00:00","24:00"]], "sat": [["09:00","10:00"]]}"#;
    let apia = schedule("Pacific/Apia", open, None);
    assert_eq!(minutes(&apia, "2011-12-29T00:00:00-10:00", "2012-01-01T00:00:00+14:00"), 25 * 60);
}

#[test]
fn an_amount_ends_within_opening_hours() {
    let office = schedule("Europe/Berlin", OFFICE, Some(r#"["2024-03-11"]"#));
    let friday = at("2024-03-08T16:00:00+01:00");
    let hours = |hours: i64| hours * HOUR_MS;
    let advance = |amount| office.advance(friday, i64::MAX, amount);
    assert_eq!(advance(0), Reached::At(friday));
    assert_eq!(advance(1), Reached::At(friday + 1));
    // To the very end of Friday, not to the start of the next day that is open.
    assert_eq!(advance(hours(1)), Reached::At(friday + hours(1)));
    // Monday is a holiday.
    assert_eq!(advance(hours(1) + 1), Reached::At(at("2024-03-12T09:00:00.001+01:00")));
    assert_eq!(advance(hours(5)), Reached::At(at("2024-03-12T14:00:00+01:00")));
    let closed = at("2024-03-09T12:00:00+01:00");
    assert_eq!(office.advance(closed, i64::MAX, 0), Reached::At(closed));
    assert_eq!(office.advance(closed, i64::MAX, MINUTE_MS), Reached::At(at("2024-03-12T09:01:00+01:00")));
}

#[test]
fn a_limit_leaves_the_rest_of_the_amount() {
    let office = schedule("UTC", OFFICE, None);
    let monday = at("2024-03-04T11:00:00Z");
    let limit = at("2024-03-04T14:00:00Z");
    assert_eq!(office.advance(monday, limit, 3 * HOUR_MS), Reached::Remaining(HOUR_MS));
    assert_eq!(
        office.advance(monday, limit, 2 * HOUR_MS),
        Reached::Remaining(0),
        "reached at the limit, not before it"
    );
    assert_eq!(office.advance(monday, limit + 1, 2 * HOUR_MS), Reached::At(limit));
    assert_eq!(office.advance(monday, monday, 5), Reached::Remaining(5));
    assert_eq!(office.advance(monday, monday, 0), Reached::Remaining(0));
    let year = at("2099-12-31T00:00:00Z");
    assert_eq!(office.advance(year, i64::MAX, 8 * HOUR_MS), Reached::Remaining(HOUR_MS), "the search ends in 2100");
    let closed = schedule("UTC", "{}", None);
    assert_eq!(closed.advance(monday, i64::MAX, 1), Reached::Remaining(1));
    assert_eq!(closed.elapsed_ms(0, LATEST_MS), 0);
}

#[test]
fn a_schedule_may_change_on_the_way() {
    let early = Rc::new(schedule("UTC", r#"{"mon": [["06:00","10:00"]]}"#, None));
    let late = Rc::new(schedule("UTC", r#"{"mon": [["08:00","20:00"]]}"#, None));
    let (six, nine, ten) = (at("2024-03-04T06:00:00Z"), at("2024-03-04T09:00:00Z"), at("2024-03-04T10:00:00Z"));
    let noon = at("2024-03-04T12:00:00Z");
    let clock = BusinessClock::new(vec![(noon, None), (six, Some(early.clone())), (ten, Some(late.clone()))]);
    assert_eq!(clock.elapsed_ms(six, noon), Some(6 * HOUR_MS));
    assert_eq!(clock.elapsed_ms(nine, ten + HOUR_MS), Some(2 * HOUR_MS));
    assert_eq!(clock.elapsed_ms(nine, nine), Some(0));
    // Not before the first piece, nor where a piece says that there is none.
    assert_eq!(clock.elapsed_ms(six - 1, nine), None);
    assert_eq!(clock.elapsed_ms(nine, noon + 1), None);
    assert_eq!(clock.elapsed_ms(noon, noon), None);
    assert_eq!(BusinessClock::default().elapsed_ms(nine, ten), None);

    let none = i64::MAX;
    assert_eq!(clock.advance(nine, none, HOUR_MS), Some(Reached::At(ten)));
    assert_eq!(clock.advance(nine, none, 2 * HOUR_MS), Some(Reached::At(ten + HOUR_MS)));
    assert_eq!(clock.advance(nine, none, 3 * HOUR_MS), Some(Reached::At(noon)), "used up just as the schedule ends");
    assert_eq!(clock.advance(nine, none, 3 * HOUR_MS + 1), None);
    assert_eq!(clock.advance(nine, noon, 4 * HOUR_MS), Some(Reached::Remaining(HOUR_MS)));
    assert_eq!(clock.advance(nine, noon, 3 * HOUR_MS), Some(Reached::Remaining(0)));
    assert_eq!(clock.advance(nine, noon + 1, 4 * HOUR_MS), None);
    assert_eq!(clock.advance(six - 1, none, 0), None);
    assert_eq!(clock.advance(six, none, 0), Some(Reached::At(six)));
    assert_eq!(clock.advance(noon, noon, 0), None);

    // Of two pieces with the same start the last one counts.
    let replaced = BusinessClock::new(vec![(six, None), (six, Some(early)), (six, Some(late))]);
    assert_eq!(replaced.elapsed_ms(six, ten), Some(2 * HOUR_MS));
    assert_eq!(replaced.pieces().len(), 1);
}

/// A small generator of random numbers (SplitMix64), so that the test repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) % bound.unsigned_abs()) as i64
    }
}

/// Whether each minute from `from` is open, by walking the clock: a range is open from when the clock first reaches
/// its start until it first reaches its end, so the latest reading decides, not the current one.
fn open_minutes(definition: &ScheduleDefinition, from: TimeMs, count: i64) -> Vec<bool> {
    let zone: Tz = definition.timezone().parse().unwrap();
    let mut latest = i64::MIN;
    // The walk starts two days early, to know the latest reading.
    let early = 2 * DAY_MS / MINUTE_MS;
    let mut open = Vec::new();
    for minute in -early..count {
        let time = DateTime::from_timestamp_millis(from + minute * MINUTE_MS).unwrap().naive_utc();
        let offset = i64::from(zone.offset_from_utc_datetime(&time).fix().local_minus_utc()) * 1000;
        latest = latest.max(from + minute * MINUTE_MS + offset);
        if minute < 0 {
            continue;
        }
        let day = latest.div_euclid(DAY_MS) as i32;
        let of_day = (latest.rem_euclid(DAY_MS) / MINUTE_MS) as u16;
        let weekday = chrono::Datelike::weekday(&NaiveDate::from_epoch_days(day).unwrap()).num_days_from_monday();
        let ranges = &definition.week()[weekday as usize];
        let in_range = ranges.iter().any(|&(start, end)| start <= of_day && of_day < end);
        open.push(in_range && !definition.holidays().contains(&day));
    }
    open
}

/// Open time of `[from, to)`, both measured from the first minute of `open`, ms.
fn walked(open: &[bool], from: i64, to: i64) -> i64 {
    let overlap = |minute: i64| (to.min((minute + 1) * MINUTE_MS) - from.max(minute * MINUTE_MS)).max(0);
    open.iter().enumerate().filter(|(_, open)| **open).map(|(minute, _)| overlap(minute as i64)).sum()
}

/// Compares random spans within `days` days from `origin` with the walk, and checks that `advance` inverts them.
fn compare(definition: &ScheduleDefinition, schedule: &Schedule, origin: TimeMs, days: i64, random: &mut Random) {
    let open = open_minutes(definition, origin, days * 1440);
    for _ in 0..40 {
        let (one, other) = (random.below(days * DAY_MS), random.below(days * DAY_MS));
        let (from, to) = (one.min(other), one.max(other));
        let case = format!("{} [{}, {})", definition.timezone(), origin + from, origin + to);
        let elapsed = walked(&open, from, to);
        assert_eq!(schedule.elapsed_ms(origin + from, origin + to), elapsed, "{case}");
        let reached = schedule.advance(origin + from, origin + to, elapsed + 1);
        assert_eq!(reached, Reached::Remaining(1), "{case}");
        if elapsed == 0 {
            continue;
        }
        let amount = 1 + random.below(elapsed);
        let Reached::At(time) = schedule.advance(origin + from, i64::MAX, amount) else { panic!("{case}") };
        assert!(time <= origin + to, "{case}");
        assert_eq!(walked(&open, from, time - origin), amount, "{case}");
        assert_eq!(walked(&open, from, time - 1 - origin), amount - 1, "{case}: {time} is not the smallest");
    }
}

#[test]
fn measures_agree_with_a_walk_minute_by_minute() {
    let holidays = r#"["2024-03-29", "2024-04-01", "2024-10-27", "2024-12-25", "2011-12-31"]"#;
    let mut random = Random(7);
    for zone in [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "America/Santiago",
        "America/St_Johns",
        "Asia/Kathmandu",
        "Pacific/Apia",
        "Africa/Casablanca",
    ] {
        for ranges in [OFFICE, NIGHT] {
            let definition = definition(zone, ranges, Some(holidays));
            let schedule = Schedule::new(&definition).unwrap();
            // Around the changes of the clock of 2024, of 2011 (Apia, St John's) and anywhere.
            for origin in
                ["2024-03-08T00:00:00Z", "2024-10-25T00:00:00Z", "2011-12-27T00:00:00Z", "2011-10-28T00:00:00Z"]
            {
                compare(&definition, &schedule, at(origin), 12, &mut random);
            }
            let origin = random.below(100 * 365) * DAY_MS + 2 * DAY_MS;
            compare(&definition, &schedule, origin, 60, &mut random);
        }
    }
}

#[test]
fn advance_inverts_elapsed_over_years() {
    let schedule = schedule("Europe/Berlin", OFFICE, Some(r#"["2024-12-25", "2024-12-26"]"#));
    let mut random = Random(11);
    for _ in 0..20_000 {
        let from = random.below(LATEST_MS / 2);
        let amount = 1 + random.below(20 * 250 * 7 * HOUR_MS);
        let Reached::At(time) = schedule.advance(from, i64::MAX, amount) else { panic!("{from} {amount}") };
        assert_eq!(schedule.elapsed_ms(from, time), amount);
        assert_eq!(schedule.elapsed_ms(from, time - 1), amount - 1);
    }
}

#[test]
fn a_clock_measures_each_minute_by_the_schedule_in_force() {
    let days = 40;
    let origin = at("2024-10-07T00:00:00Z");
    let mut random = Random(13);
    let definitions = [
        definition("Europe/Berlin", OFFICE, Some(r#"["2024-10-09"]"#)),
        definition("America/New_York", NIGHT, None),
        definition("Australia/Lord_Howe", OFFICE, None),
    ];
    let open = definitions.each_ref().map(|definition| open_minutes(definition, origin, days * 1440));
    let schedules = definitions.each_ref().map(|definition| Rc::new(Schedule::new(definition).unwrap()));
    for _ in 0..20 {
        // From the origin on there is always a schedule, a new one every few days.
        let (mut pieces, mut in_force) = (Vec::new(), Vec::new());
        while in_force.len() < open[0].len() {
            let (choice, length) = (random.below(3) as usize, 1 + random.below(6 * 1440) as usize);
            pieces.push((origin + in_force.len() as i64 * MINUTE_MS, Some(schedules[choice].clone())));
            let (start, end) = (in_force.len(), (in_force.len() + length).min(open[choice].len()));
            in_force.extend_from_slice(&open[choice][start..end]);
        }
        let clock = BusinessClock::new(pieces);
        for _ in 0..40 {
            let (one, other) = (random.below(days * DAY_MS), random.below(days * DAY_MS));
            let (from, to) = (one.min(other), one.max(other));
            let elapsed = walked(&in_force, from, to);
            assert_eq!(clock.elapsed_ms(origin + from, origin + to), Some(elapsed), "[{from}, {to})");
            let rest = clock.advance(origin + from, origin + to, elapsed + 7);
            assert_eq!(rest, Some(Reached::Remaining(7)), "[{from}, {to})");
            let amount = 1 + random.below(elapsed.max(1));
            let Some(Reached::At(time)) = clock.advance(origin + from, i64::MAX, amount) else { continue };
            if time < origin + to {
                assert_eq!(walked(&in_force, from, time - origin), amount);
                assert_eq!(walked(&in_force, from, time - 1 - origin), amount - 1, "{time} is not the smallest");
            } else {
                assert!(amount >= elapsed, "[{from}, {to}) {amount}");
            }
        }
    }
}
