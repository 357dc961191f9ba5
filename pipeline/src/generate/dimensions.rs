//! What the centre states about itself: agents, opening hours, service promises, and who is at work when.
//!
//! Opening hours and promises change once, in the middle of longer spans, so that several versions are in force.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::channel::Channel;
use super::event::{Actor, Body, Event, Origin};
use super::roster::{AgentIndex, Roster};
use super::time::{DAY_MS, HOUR_MS, MINUTE_MS, weekday};

/// A version of the opening hours of a channel, or of the whole centre.
#[derive(Debug)]
pub(crate) struct Calendar {
    /// The value of `calendar_id`.
    pub(crate) id: &'static str,
    /// The channel it applies to.
    pub(crate) channel: Option<Channel>,
    /// Opening hours as JSON, in the centre's time zone.
    pub(crate) ranges: &'static str,
    /// Whether it is in force from the middle of the span on, not from its start.
    is_later: bool,
}

/// A version of a service promise.
#[derive(Debug)]
pub(crate) struct Policy {
    /// The value of `policy_id`.
    pub(crate) id: &'static str,
    /// Most time to the first response, milliseconds.
    pub(crate) first_response_ms: i64,
    /// Most time to every further response, milliseconds.
    pub(crate) next_response_ms: i64,
    /// Most time to the resolve, milliseconds.
    pub(crate) resolution_ms: i64,
    /// Whether only opening hours count.
    pub(crate) business_hours: bool,
    /// See [`Calendar`].
    is_later: bool,
}

/// The time zone of the opening hours: the centre keeps UTC.
pub(crate) const TIME_ZONE: &str = "UTC";
/// Statuses in which the clock of a promise stands still, as JSON.
pub(crate) const PAUSE_STATUSES: &str = r#"["pending","on_hold"]"#;

const CENTRE_HOURS: &str = r#"{"mon":[["07:00","21:00"]],"tue":[["07:00","21:00"]],"wed":[["07:00","21:00"]],"thu":[["07:00","21:00"]],"fri":[["07:00","21:00"]],"sat":[["09:00","17:00"]]}"#;
const OFFICE_HOURS: &str = r#"{"mon":[["08:00","12:30"],["13:00","18:00"]],"tue":[["08:00","12:30"],["13:00","18:00"]],"wed":[["08:00","12:30"],["13:00","18:00"]],"thu":[["08:00","12:30"],["13:00","18:00"]],"fri":[["08:00","12:30"],["13:00","17:00"]]}"#;
const LONGER_HOURS: &str = r#"{"mon":[["07:00","19:00"]],"tue":[["07:00","19:00"]],"wed":[["07:00","19:00"]],"thu":[["07:00","19:00"]],"fri":[["07:00","19:00"]],"sat":[["09:00","13:00"]]}"#;

/// Every version of every calendar.
pub(crate) const CALENDARS: [Calendar; 3] = [
    Calendar { id: "cal-centre", channel: None, ranges: CENTRE_HOURS, is_later: false },
    Calendar { id: "cal-email", channel: Some(Channel::Email), ranges: OFFICE_HOURS, is_later: false },
    Calendar { id: "cal-email", channel: Some(Channel::Email), ranges: LONGER_HOURS, is_later: true },
];

/// Every version of every promise.
pub(crate) const POLICIES: [Policy; 3] = [
    Policy {
        id: LIVE_POLICY,
        first_response_ms: 2 * MINUTE_MS,
        next_response_ms: 3 * MINUTE_MS,
        resolution_ms: HOUR_MS,
        business_hours: false,
        is_later: false,
    },
    Policy {
        id: LETTER_POLICY,
        first_response_ms: 4 * HOUR_MS,
        next_response_ms: 6 * HOUR_MS,
        resolution_ms: 24 * HOUR_MS,
        business_hours: true,
        is_later: false,
    },
    Policy {
        id: LETTER_POLICY,
        first_response_ms: 3 * HOUR_MS,
        next_response_ms: 4 * HOUR_MS,
        resolution_ms: 20 * HOUR_MS,
        business_hours: true,
        is_later: true,
    },
];

const LIVE_POLICY: &str = "sla-live";
const LETTER_POLICY: &str = "sla-letters";

/// One customer in so many has a contract that promises service.
const CONTRACT_IN: u64 = 4;

/// The promise that a customer has on a channel. A customer has a contract or not; multiplying scatters the numbers.
pub(crate) fn promise(contact: u64, channel: Channel) -> Option<&'static str> {
    let scattered = contact.wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 33;
    let policy = if channel.is_live() { LIVE_POLICY } else { LETTER_POLICY };
    scattered.is_multiple_of(CONTRACT_IN).then_some(policy)
}

/// An event of the centre that belongs to no conversation.
fn stated(event_ms: i64, number: u16, actor: Actor, body: Body) -> Event {
    Event { event_ms, thread: None, number, origin: Origin::Simulated, actor, body }
}

/// Agents, calendars and promises, in force from the start of the span or from its middle on.
pub(crate) fn dimensions(roster: &Roster, start_ms: i64, days: u32) -> Vec<Event> {
    let middle_ms = start_ms + i64::from(days / 2) * DAY_MS;
    let agents =
        (0..).zip(roster.agents()).map(|(agent, _)| stated(start_ms, 1, Actor::System, Body::AgentUpserted { agent }));
    let at = |is_later| if is_later { middle_ms } else { start_ms };
    let calendars = CALENDARS.iter().zip(0..).map(|(calendar, version)| {
        stated(at(calendar.is_later), version + 1, Actor::System, Body::CalendarUpserted { version })
    });
    let policies = POLICIES.iter().zip(0..).map(|(policy, version)| {
        stated(at(policy.is_later), version + 1, Actor::System, Body::PolicyUpserted { version })
    });
    agents.chain(calendars).chain(policies).collect()
}

/// Changes of an agent's presence in a shift: when it begins, a meeting, the break, its end. The longest they last is one
/// hour, so they fit into every shift.
fn shift(agent: AgentIndex, from_ms: i64, to_ms: i64, rng: &mut ChaCha8Rng) -> [(i64, Body); 6] {
    let mut minutes = |least: i64, most: i64| rng.random_range(least * MINUTE_MS..most * MINUTE_MS);
    let begins_ms = from_ms + minutes(0, 6);
    let meets_ms = from_ms + minutes(60, 120);
    let met_ms = meets_ms + minutes(15, 45);
    let rests_ms = from_ms + (to_ms - from_ms) / 2 + minutes(-20, 20);
    let rested_ms = rests_ms + minutes(30, 50);
    let ends_ms = to_ms + minutes(0, 10);
    [
        (begins_ms, "available"),
        (meets_ms, "busy"),
        (met_ms, "available"),
        (rests_ms, "away"),
        (rested_ms, "available"),
        (ends_ms, "offline"),
    ]
    .map(|(at_ms, status)| (at_ms, Body::AgentStatusChanged { agent, status }))
}

/// The changes of presence of all agents whose shifts begin on the day that starts at `day_ms`, which is day `day` of the
/// span.
pub(crate) fn presence(roster: &Roster, (day, day_ms): (u16, i64), rng: &mut ChaCha8Rng, mut emit: impl FnMut(Event)) {
    for (agent, member) in (0..).zip(roster.agents()) {
        let Some((from, to)) = member.hours_on(weekday(day_ms)) else { continue };
        let (from_ms, to_ms) = (day_ms + from as i64 * HOUR_MS, day_ms + to as i64 * HOUR_MS);
        let changes = shift(agent, from_ms, to_ms, rng);
        for (number, (at_ms, body)) in (1..).zip(changes) {
            // Six a day at most, and ten years: far below 65,536.
            emit(stated(at_ms, day * changes.len() as u16 + number, Actor::Agent(agent), body));
        }
    }
}
