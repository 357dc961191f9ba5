//! Conversations: their events in order, cut into cycles (rules 5 to 12).

use super::contribution::Group;
use super::dimensions::Dimensions;
use super::event::Event;
use super::message::{is_customer_message, is_message, is_reply};

/// A conversation that something opens.
pub(super) struct Conversation<'a> {
    pub(super) tenant: &'a str,
    pub(super) id: &'a str,
    pub(super) channel: &'a str,
    pub(super) created_at: i64,
    /// In order, without messages that were never delivered and without rejected events, with the texts that stand
    /// in the end. Those of a root have what was merged into it among them.
    pub(super) events: Vec<&'a Event>,
    pub(super) cycles: Vec<Cycle<'a>>,
    pub(super) spam: bool,
    /// The root of a conversation that is void.
    pub(super) merged_into: Option<&'a str>,
    /// The customer.
    pub(super) contact: Option<&'a str>,
    /// Those of the tenant.
    pub(super) dimensions: &'a Dimensions<'a>,
}

/// From the creation or a reopen up to the next reopen: a stretch of the conversation's events.
#[derive(Clone, Debug)]
pub(super) struct Cycle<'a> {
    /// 1 for the first.
    pub(super) number: usize,
    pub(super) opened_at: i64,
    /// Index of the first event; from the second cycle on the event that reopened.
    pub(super) start: usize,
    /// Index after the last event.
    pub(super) end: usize,
    /// The resolve, if there was one.
    pub(super) resolve: Option<Resolve<'a>>,
    /// Whom the reopen that began this cycle is credited to.
    pub(super) reopen_agent: Option<&'a str>,
}

#[derive(Clone, Debug)]
pub(super) struct Resolve<'a> {
    /// Index of the event.
    pub(super) index: usize,
    pub(super) time: i64,
    /// Whom it is credited to.
    pub(super) agent: Option<&'a str>,
}

/// The conversation of these events; `None` if nothing opens it.
pub(super) fn conversation<'a>(
    tenant: &'a str,
    id: &'a str,
    events: Vec<&'a Event>,
    merged_into: Option<&'a str>,
    dimensions: &'a Dimensions<'a>,
) -> Option<Conversation<'a>> {
    let created_at = opener(&events)?.time();
    Some(Conversation {
        tenant,
        id,
        channel: events.iter().find_map(|event| event.text("channel")).unwrap_or("unknown"),
        created_at,
        cycles: cycles(&events, created_at),
        spam: is_spam(&events),
        merged_into,
        contact: events.iter().find_map(|event| event.text("contact_id")),
        events,
        dimensions,
    })
}

/// What opens a conversation: that it was created, else its first message.
pub(super) fn opener<'a>(events: &[&'a Event]) -> Option<&'a Event> {
    let created = events.iter().find(|event| event.is("conversation_created"));
    created.or_else(|| events.iter().find(|event| is_message(event))).copied()
}

/// Whether the last mark stands (rule 12).
pub(super) fn is_spam(events: &[&Event]) -> bool {
    let last = events.iter().rfind(|event| event.is("spam_marked") || event.is("spam_cleared"));
    last.is_some_and(|event| event.is("spam_marked"))
}

/// Walks the events once, resolving and reopening.
fn cycles<'a>(events: &[&'a Event], created_at: i64) -> Vec<Cycle<'a>> {
    let first =
        Cycle { number: 1, opened_at: created_at, start: 0, end: events.len(), resolve: None, reopen_agent: None };
    let mut cycles = vec![first];
    for (index, event) in events.iter().enumerate() {
        let Some(cycle) = cycles.last_mut() else { break };
        match &cycle.resolve {
            None if resolves(event) => {
                let agent = resolve_agent(events, index);
                cycle.resolve = Some(Resolve { index, time: event.time(), agent });
            }
            Some(resolve) if reopens(event) => {
                let next = Cycle {
                    number: cycle.number + 1,
                    opened_at: event.time(),
                    start: index,
                    end: events.len(),
                    resolve: None,
                    reopen_agent: resolve.agent,
                };
                cycle.end = index;
                cycles.push(next);
            }
            _ => {}
        }
    }
    cycles
}

fn resolves(event: &Event) -> bool {
    event.is("status_changed") && matches!(event.text("to_status"), Some("resolved" | "closed"))
}

fn reopens(event: &Event) -> bool {
    let to_open = matches!(event.text("to_status"), Some("new" | "open" | "pending" | "on_hold" | "snoozed"));
    is_customer_message(event) || (event.is("status_changed") && to_open)
}

/// The agent who resolved, else the owner at that moment (rule 10).
fn resolve_agent<'a>(events: &[&'a Event], index: usize) -> Option<&'a str> {
    let by_agent = matches!(events[index].text("actor_type"), None | Some("agent"));
    let actor = events[index].text("actor_id").filter(|_| by_agent);
    actor.or_else(|| owner_after(&events[..index]))
}

/// The owner after these events (rule 9).
pub(super) fn owner_after<'a>(events: &[&'a Event]) -> Option<&'a str> {
    events.iter().rfind(|event| assigns(event)).and_then(|event| event.text("agent_id"))
}

/// Whether an event says who is the owner from now on.
pub(super) fn assigns(event: &Event) -> bool {
    event.is("assigned") || event.is("transferred")
}

/// The last value of a column among these events (rule 26).
pub(super) fn last_text<'a>(events: &[&'a Event], column: &str) -> Option<&'a str> {
    events.iter().rev().find_map(|event| event.text(column))
}

/// Who wrote the last reply among these events.
pub(super) fn last_replier<'a>(events: &[&'a Event]) -> Option<&'a str> {
    events.iter().rfind(|event| is_reply(event)).and_then(|event| event.text("actor_id"))
}

impl<'a> Conversation<'a> {
    /// The events up to an instant, itself included.
    pub(super) fn up_to(&self, time: i64) -> &[&'a Event] {
        let count = self.events.iter().take_while(|event| event.time() <= time).count();
        &self.events[..count]
    }

    /// Whether it counts in the tables of KPIs (rule 12).
    pub(super) fn counts(&self) -> bool {
        !self.spam && self.merged_into.is_none()
    }

    /// The team of the conversation at an instant (rule 26).
    pub(super) fn team_at(&self, time: i64) -> Option<&'a str> {
        last_text(self.up_to(time), "team_id")
    }

    /// The owner at an instant (rule 26).
    pub(super) fn owner_at(&self, time: i64) -> Option<&'a str> {
        owner_after(self.up_to(time))
    }

    /// The group of a credit at the event of that index (rule 27).
    pub(super) fn group_at_event(&self, agent: Option<&'a str>, index: usize) -> Group<'a> {
        self.group(agent, &self.events[..=index], self.events[index].time())
    }

    /// The group of a credit at something that comes after so many events and is none of them (rule 63).
    pub(super) fn group_after(&self, agent: Option<&'a str>, events: usize, time: i64) -> Group<'a> {
        self.group(agent, &self.events[..events], time)
    }

    /// The group of a credit at an instant that is no event (rule 27).
    pub(super) fn group_at(&self, agent: Option<&'a str>, time: i64) -> Group<'a> {
        self.group(agent, self.up_to(time), time)
    }

    fn group(&self, agent: Option<&'a str>, seen: &[&'a Event], time: i64) -> Group<'a> {
        Group {
            tenant: self.tenant,
            channel: Some(self.channel),
            agent,
            team: self.team_of(agent, time).or_else(|| last_text(seen, "team_id")),
            queue: last_text(seen, "queue_id"),
        }
    }

    /// The group of a cohort credit (rule 28).
    pub(super) fn cohort_group(&self, agent: Option<&'a str>) -> Group<'a> {
        let first = |column| self.events.iter().find_map(|event| event.text(column));
        Group {
            tenant: self.tenant,
            channel: Some(self.channel),
            agent,
            team: self.team_of(agent, self.created_at).or_else(|| first("team_id")),
            queue: first("queue_id"),
        }
    }

    fn team_of(&self, agent: Option<&str>, time: i64) -> Option<&'a str> {
        agent.and_then(|agent| self.dimensions.team_of(agent, time))
    }

    /// The first who owned it or replied (rule 28).
    pub(super) fn first_agent(&self) -> Option<&'a str> {
        self.events.iter().find_map(|event| {
            let owner = event.text("agent_id").filter(|_| assigns(event));
            owner.or_else(|| event.text("actor_id").filter(|_| is_reply(event)))
        })
    }

    /// The agent in charge of the customer message at `index` (rule 13).
    pub(super) fn in_charge(&self, cycle: &Cycle, index: usize) -> Option<&'a str> {
        owner_after(&self.events[..index]).or_else(|| last_replier(&self.events[cycle.start..index]))
    }

    /// The owner at the resolve of a cycle; of an open one, at the end of the history.
    pub(super) fn final_owner(&self, cycle: &Cycle) -> Option<&'a str> {
        let end = cycle.resolve.as_ref().map_or(cycle.end, |resolve| resolve.index);
        owner_after(&self.events[..end])
    }

    /// The events of a cycle up to its resolve.
    pub(super) fn unresolved_events(&self, cycle: &Cycle) -> &[&'a Event] {
        let end = cycle.resolve.as_ref().map_or(cycle.end, |resolve| resolve.index);
        &self.events[cycle.start..end]
    }

    /// The resolve in which the conversation rests at the end.
    pub(super) fn final_resolve(&self) -> Option<&Resolve<'a>> {
        self.cycles.last().and_then(|cycle| cycle.resolve.as_ref())
    }

    /// The cycle of the last resolve, reopened since or not.
    pub(super) fn last_resolved_cycle(&self) -> Option<&Cycle<'a>> {
        self.cycles.iter().rfind(|cycle| cycle.resolve.is_some())
    }

    /// The resolve of the event of that index, if it is one.
    pub(super) fn resolve_at(&self, index: usize) -> Option<&Resolve<'a>> {
        self.resolves().map(|(_, resolve)| resolve).find(|resolve| resolve.index == index)
    }

    /// The resolves with their cycles.
    pub(super) fn resolves(&self) -> impl Iterator<Item = (&Cycle<'a>, &Resolve<'a>)> {
        self.cycles.iter().filter_map(|cycle| Some((cycle, cycle.resolve.as_ref()?)))
    }

    /// When the resolve of a cycle was undone, if it was.
    pub(super) fn reopened_at(&self, cycle: &Cycle) -> Option<i64> {
        self.cycles.get(cycle.number).map(|next| next.opened_at)
    }
}
