//! The time that agents are there (rule 44).

use super::Clock;
use super::contribution::{Collector, Group, What};
use super::dimensions::Dimensions;
use super::segments::split;
use chrono_tz::Tz;

pub(super) fn add<'a>(
    tenant: &'a str,
    dimensions: &Dimensions<'a>,
    (clock, zone): (Clock, Tz),
    collector: &mut Collector<'a>,
) {
    let events = &dimensions.presence;
    for (index, event) in events.iter().enumerate() {
        let agent = event.text("agent_id");
        let next = events[index + 1..].iter().find(|next| next.text("agent_id") == agent);
        let until = next.map_or(clock.as_of, |next| next.time()).min(event.time() + clock.level_max);
        let columns: &[&'static str] = match event.text("status") {
            Some("available") => &["available_ms", "staffed_ms"],
            Some("busy") => &["staffed_ms"],
            _ => &[],
        };
        let group = Group { tenant, channel: None, agent, team: None, queue: None };
        for column in columns {
            split((event.time(), until), zone, |time, millis| collector.add(group, time, What::Sum(column, millis)));
        }
    }
}
