//! Agents' teams, calendars and SLA policies, as they are in force at an instant (rules 27, 29, 30, 45).

use super::event::Event;
use super::opening::{Holidays, Ranges, holidays, pause_statuses, ranges};
use chrono_tz::Tz;
use std::collections::BTreeMap;

/// One version of a calendar.
#[derive(Debug)]
pub(super) struct Calendar<'a> {
    pub(super) id: &'a str,
    pub(super) since: i64,
    pub(super) team: Option<&'a str>,
    pub(super) channel: Option<&'a str>,
    pub(super) zone: Tz,
    pub(super) ranges: Ranges,
    pub(super) holidays: Holidays,
}

/// One version of an SLA policy.
#[derive(Debug)]
pub(super) struct Policy<'a> {
    /// Its event.
    pub(super) event: &'a Event,
    pub(super) business_hours: bool,
    pub(super) pause_statuses: Vec<String>,
}

/// The dimension events of one tenant, in order.
#[derive(Debug, Default)]
pub(super) struct Dimensions<'a> {
    agents: Vec<&'a Event>,
    pub(super) calendars: Vec<Calendar<'a>>,
    pub(super) policies: Vec<Policy<'a>>,
    /// The `agent_status_changed` events.
    pub(super) presence: Vec<&'a Event>,
}

/// The dimensions of each tenant.
pub(super) fn dimensions(events: &[Event]) -> BTreeMap<&str, Dimensions<'_>> {
    let mut ordered: Vec<&Event> = events.iter().collect();
    ordered.sort_by(|a, b| a.order().cmp(&b.order()));
    let mut found = BTreeMap::<&str, Dimensions>::new();
    for event in ordered {
        let tenant = found.entry(&event.identity.tenant).or_default();
        match event.content.kind.as_str() {
            "agent_upserted" => tenant.agents.push(event),
            "agent_status_changed" => tenant.presence.push(event),
            "calendar_upserted" => tenant.calendars.extend(calendar(event)),
            "sla_policy_upserted" => tenant.policies.push(policy(event)),
            _ => {}
        }
    }
    found
}

/// An event that passed validation has all of it.
fn calendar(event: &Event) -> Option<Calendar<'_>> {
    let column = |name: &str| event.content.columns.get(name);
    Some(Calendar {
        id: event.text("calendar_id")?,
        since: event.time(),
        team: event.text("team_id"),
        channel: event.text("channel"),
        zone: event.text("timezone")?.parse().ok()?,
        ranges: ranges(column("ranges")?)?,
        holidays: column("holidays").map_or(Some(Holidays::new()), holidays)?,
    })
}

fn policy(event: &Event) -> Policy<'_> {
    let flag = event.content.columns.get("business_hours");
    Policy {
        event,
        business_hours: flag.is_some_and(|flag| flag == true || flag == "true"),
        pause_statuses: event.content.columns.get("pause_statuses").and_then(pause_statuses).unwrap_or_default(),
    }
}

impl<'a> Dimensions<'a> {
    /// The team of an agent at an instant, if one is known.
    pub(super) fn team_of(&self, agent: &str, at: i64) -> Option<&'a str> {
        let in_force = |event: &&&Event| event.text("agent_id") == Some(agent) && event.time() <= at;
        self.agents.iter().rfind(in_force).and_then(|event| event.text("team_id"))
    }

    /// The instants at which the team of an agent may change.
    pub(super) fn team_changes<'s>(&'s self, agent: Option<&'s str>) -> impl Iterator<Item = i64> + 's {
        let about = move |event: &&&Event| agent.is_some() && event.text("agent_id") == agent;
        self.agents.iter().filter(about).map(|event| event.time())
    }

    /// The version of a policy at an instant.
    pub(super) fn policy(&self, id: &str, at: i64) -> Option<&Policy<'a>> {
        let in_force = |policy: &&Policy| policy.event.text("policy_id") == Some(id) && policy.event.time() <= at;
        self.policies.iter().rfind(in_force)
    }

    /// The calendar that counts for a team and a channel at an instant: the closest match, of several the smallest id.
    pub(super) fn calendar(&self, team: Option<&str>, channel: &str, at: i64) -> Option<&Calendar<'a>> {
        let known = self.calendars.iter().filter(|calendar| calendar.since <= at);
        // A later version of the same calendar takes the place of an earlier one.
        let in_force: BTreeMap<&str, &Calendar> = known.map(|calendar| (calendar.id, calendar)).collect();
        let rank = |calendar: &Calendar| match (calendar.team, calendar.channel) {
            (Some(its), Some(named)) => (Some(its) == team && named == channel).then_some(0),
            (Some(its), None) => (Some(its) == team).then_some(1),
            (None, Some(named)) => (named == channel).then_some(2),
            (None, None) => Some(3),
        };
        let matching = in_force.into_values().filter_map(|calendar| Some((rank(calendar)?, calendar)));
        matching.min_by_key(|(rank, calendar)| (*rank, calendar.id)).map(|(_, calendar)| calendar)
    }
}
