//! Promises about time (rule 45).

use super::Clock;
use super::business::{NoCalendar, Reached, business, run_business};
use super::contribution::Collector;
use super::conversation::Conversation;
use super::dimensions::Policy;
use super::measures::{first_customer_message, first_response, response_start, runs};
use super::message::is_reply;
use super::statuses::stretches_in;
use crate::model::name;

/// What is promised: from a start to an end, or for ever.
struct Measure<'a> {
    what: &'static str,
    start: i64,
    end: Option<End<'a>>,
}

/// What ends a measure.
#[derive(Clone, Copy)]
struct End<'a> {
    index: usize,
    time: i64,
    agent: Option<&'a str>,
    fulfilled: bool,
}

/// The part of a measure that one version of a policy is about.
struct Piece<'p> {
    from: i64,
    /// None: for ever.
    to: Option<i64>,
    policy: Option<&'p Policy<'p>>,
}

/// Whatever ends at the event of that index: with a reply it is fulfilled.
fn end<'a>(conversation: &Conversation<'a>, index: usize) -> End<'a> {
    let event = conversation.events[index];
    let fulfilled = is_reply(event);
    End { index, time: event.time(), agent: event.text("actor_id").filter(|_| fulfilled), fulfilled }
}

fn measures<'a>(conversation: &Conversation<'a>) -> Vec<Measure<'a>> {
    let mut measures = Vec::new();
    for cycle in &conversation.cycles {
        let resolve = cycle.resolve.as_ref();
        let response = first_response(conversation, cycle).map(|response| response.index);
        if let Some(question) = first_customer_message(conversation, cycle) {
            let index = [response, resolve.map(|resolve| resolve.index)].into_iter().flatten().min();
            let start = response_start(conversation, cycle, question, index.unwrap_or(cycle.end));
            let end = index.map(|index| end(conversation, index));
            measures.push(Measure { what: "first_response", start, end });
        }
        for run in runs(conversation, cycle).iter().filter(|run| response.is_some_and(|reply| run.first > reply)) {
            let end = run.end.map(|index| end(conversation, index));
            measures.push(Measure { what: "next_response", start: run.start, end });
        }
        let end = resolve.map(|resolve| End {
            index: resolve.index,
            time: resolve.time,
            agent: resolve.agent,
            fulfilled: true,
        });
        measures.push(Measure { what: "resolution", start: cycle.opened_at, end });
    }
    // A resolve before the creation fulfils nothing.
    measures.retain(|measure| measure.end.is_none_or(|end| measure.start <= end.time));
    measures
}

/// The version of the policy that counts at an instant.
fn policy_at<'c>(conversation: &'c Conversation, at: i64) -> Option<&'c Policy<'c>> {
    let seen = conversation.up_to(at);
    let applied = seen.iter().rposition(|event| event.is("sla_applied"))?;
    let id = seen[applied].text("policy_id")?;
    let removes = seen[applied..]
        .iter()
        .any(|event| event.is("sla_removed") && event.text("policy_id").is_none_or(|removed| removed == id));
    if removes { None } else { conversation.dimensions.policy(id, at) }
}

/// A measure cut where the version changes.
fn cut<'c>(conversation: &'c Conversation, measure: &Measure) -> Vec<Piece<'c>> {
    let policies = conversation.dimensions.policies.iter().map(|policy| policy.event.time());
    let switches = |kind| conversation.events.iter().filter(move |event| event.is(kind)).map(|event| event.time());
    let end = measure.end.map(|end| end.time);
    let mut starts: Vec<i64> = policies
        .chain(switches("sla_applied"))
        .chain(switches("sla_removed"))
        .filter(|at| measure.start < *at && end.is_none_or(|end| *at < end))
        .chain([measure.start])
        .collect();
    starts.sort_unstable();
    let mut pieces: Vec<Piece> = Vec::new();
    let identity = |policy: Option<&'c Policy<'c>>| policy.map(|policy| &policy.event.identity);
    for from in starts {
        let policy = policy_at(conversation, from);
        if let Some(before) = pieces.last_mut() {
            if identity(before.policy) == identity(policy) {
                continue;
            }
            before.to = Some(from);
        }
        pieces.push(Piece { from, to: end, policy });
    }
    pieces
}

/// The instant at which the clock of a policy that runs from `start` has reached `wanted`, if that is up to `limit`.
fn reaches(
    conversation: &Conversation,
    policy: &Policy,
    start: i64,
    limit: i64,
    wanted: i64,
) -> Result<Option<i64>, NoCalendar> {
    if wanted == 0 {
        return Ok(Some(start));
    }
    let pauses: Vec<&str> = policy.pause_statuses.iter().map(String::as_str).collect();
    let mut run = 0;
    for (from, to) in outside(&stretches_in(conversation, &pauses, i64::MAX), start, limit) {
        let reached = if policy.business_hours {
            run_business(conversation, from, to, wanted - run)?
        } else if to - from >= wanted - run {
            Reached::At(from + wanted - run)
        } else {
            Reached::NotYet(to - from)
        };
        match reached {
            Reached::At(instant) => return Ok(Some(instant)),
            Reached::NotYet(more) => run += more,
        }
    }
    Ok(None)
}

fn is_paused(conversation: &Conversation, policy: &Policy, at: i64) -> bool {
    let pauses: Vec<&str> = policy.pause_statuses.iter().map(String::as_str).collect();
    stretches_in(conversation, &pauses, i64::MAX).iter().any(|(from, to)| (*from..*to).contains(&at))
}

/// The parts of [from, to) outside of some stretches, which are in order.
fn outside(stretches: &[(i64, i64)], from: i64, to: i64) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    let mut since = from;
    for (start, end) in stretches {
        found.push((since, (*start).min(to)));
        since = since.max(*end);
    }
    found.push((since, to));
    found.retain(|(start, end)| start < end);
    found
}

pub(super) fn add<'a>(conversation: &Conversation<'a>, clock: Clock, collector: &mut Collector<'a>) {
    if !conversation.events.iter().any(|event| event.is("sla_applied")) {
        return;
    }
    for measure in measures(conversation) {
        for piece in cut(conversation, &measure) {
            add_piece(conversation, &measure, &piece, clock, collector);
        }
    }
}

fn add_piece<'a>(
    conversation: &Conversation<'a>,
    measure: &Measure<'a>,
    piece: &Piece,
    clock: Clock,
    collector: &mut Collector<'a>,
) {
    let column = |outcome: &str| name(&format!("sla_{}_{outcome}_count", measure.what));
    let Some(policy) = piece.policy else { return };
    let Some(target) = policy.event.int(name(&format!("{}_target_ms", measure.what))) else { return };
    let limit = piece.to.unwrap_or(clock.as_of);
    let reaches = |wanted| reaches(conversation, policy, measure.start, limit, wanted);
    // Without a calendar there is no instance.
    let (Ok(due), Ok(risk)) = (reaches(target), reaches(target.saturating_mul(4) / 5)) else { return };
    // What is not due yet goes on at as_of, and needs a calendar there unless it is paused.
    let goes_on = due.is_none() && piece.to.is_none() && !is_paused(conversation, policy, clock.as_of);
    if goes_on && policy.business_hours && business(conversation, clock.as_of, clock.as_of).is_none() {
        return;
    }
    let breached_at = due.map(|due| due.max(piece.from)).filter(|due| *due < limit);
    if let Some(due) = breached_at {
        let group = conversation.group_at(conversation.owner_at(due), due);
        collector.count(group, due, column("breached"));
    } else if let Some(end) = measure.end.filter(|end| end.fulfilled && piece.to == Some(end.time)) {
        collector.count(conversation.group_at_event(end.agent, end.index), end.time, column("met"));
    }
    let until = clock.level_until(piece.from, breached_at.or(piece.to));
    let mut level = |from: i64, column| {
        super::levels::pieces(conversation, from, until, |from, until| {
            let group = conversation.group_at(conversation.owner_at(from), from);
            collector.level(group, from, until, column);
        });
    };
    level(piece.from, column("pending"));
    if let Some(risk) = risk {
        level(risk.max(piece.from), column("at_risk"));
    }
}
