//! Business time (rules 29 to 31): by the local days that a stretch touches.

use super::conversation::Conversation;
use super::dimensions::Calendar;
use super::windows::{local_time, reached};
use chrono::{Datelike, Days, NaiveDate, NaiveTime, TimeDelta};
use chrono_tz::Tz;

/// Milliseconds of [a, b) inside the opening hours; `None` if some instant of it has no calendar.
pub(super) fn business(conversation: &Conversation, a: i64, b: i64) -> Option<i64> {
    if a == b {
        return calendar_at(conversation, a).map(|_| 0);
    }
    let mut total = 0;
    for (from, to, calendar) in calendars(conversation, a, b) {
        total += open(calendar?, from, to).iter().map(|(from, to)| to - from).sum::<i64>();
    }
    Some(total)
}

/// The sum over stretches; those of no length are none, and over none there is no business time (rule 31).
pub(super) fn business_of_all(conversation: &Conversation, stretches: &[(i64, i64)]) -> Option<i64> {
    let long: Vec<_> = stretches.iter().filter(|(from, to)| from < to).collect();
    if long.is_empty() {
        return None;
    }
    long.into_iter().map(|(from, to)| business(conversation, *from, *to)).sum()
}

/// The instant at which a clock that runs in the opening hours of [a, b) has run for `wanted`, and how long it has
/// run if that is not reached; an error if it needs a calendar that is not there.
pub(super) fn run_business(conversation: &Conversation, a: i64, b: i64, wanted: i64) -> Result<Reached, NoCalendar> {
    let mut run = 0;
    for (from, to, calendar) in calendars(conversation, a, b) {
        for (from, to) in open(calendar.ok_or(NoCalendar)?, from, to) {
            if run + to - from >= wanted {
                return Ok(Reached::At(from + wanted - run));
            }
            run += to - from;
        }
    }
    Ok(Reached::NotYet(run))
}

/// How far a clock got.
pub(super) enum Reached {
    /// Where it was to get, at that instant.
    At(i64),
    /// Only so many milliseconds.
    NotYet(i64),
}

/// An instant has no calendar.
pub(super) struct NoCalendar;

/// [a, b) in pieces that have one calendar, or none.
fn calendars<'c>(conversation: &'c Conversation, a: i64, b: i64) -> Vec<(i64, i64, Option<&'c Calendar<'c>>)> {
    let changes = conversation.dimensions.calendars.iter().map(|calendar| calendar.since);
    let teams = conversation.events.iter().filter(|event| event.text("team_id").is_some()).map(|event| event.time());
    let mut cuts: Vec<i64> = changes.chain(teams).filter(|cut| a < *cut && *cut < b).chain([a, b]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts.windows(2).map(|pair| (pair[0], pair[1], calendar_at(conversation, pair[0]))).collect()
}

fn calendar_at<'c>(conversation: &'c Conversation, at: i64) -> Option<&'c Calendar<'c>> {
    if conversation.dimensions.calendars.is_empty() {
        return None;
    }
    conversation.dimensions.calendar(conversation.team_at(at), conversation.channel, at)
}

/// The opening hours of a calendar within [from, to), in order, none touching another.
fn open(calendar: &Calendar, from: i64, to: i64) -> Vec<(i64, i64)> {
    // A local day may begin late; a day more on both sides does no harm.
    let first = local_time(calendar.zone, from).date() - Days::new(1);
    let last = local_time(calendar.zone, to).date() + Days::new(1);
    let mut found: Vec<(i64, i64)> = Vec::new();
    for date in first.iter_days().take_while(|date| *date <= last) {
        for (start, end) in open_on(calendar, date) {
            let (start, end) = (start.max(from), end.min(to));
            match found.last_mut().filter(|before| start <= before.1) {
                _ if start >= end => {}
                Some(before) => before.1 = before.1.max(end),
                None => found.push((start, end)),
            }
        }
    }
    found
}

/// The opening ranges of a local day.
fn open_on(calendar: &Calendar, date: NaiveDate) -> Vec<(i64, i64)> {
    if calendar.holidays.contains(&date) {
        return Vec::new();
    }
    let mut ranges = calendar.ranges[date.weekday().num_days_from_monday() as usize].clone();
    ranges.sort_unstable();
    ranges.iter().map(|(start, end)| (at(calendar.zone, date, *start), at(calendar.zone, date, *end))).collect()
}

fn at(zone: Tz, date: NaiveDate, minutes: i64) -> i64 {
    reached(zone, date.and_time(NaiveTime::MIN) + TimeDelta::minutes(minutes))
}
