//! The KPI tables: everything measured, thrown together by key and window, then added up.

use super::conversation::{Conversation, Cycle};
use super::event::Event;
use super::message::{author_if_agent, is_customer_message, is_outbound_message, is_private_message, is_reply};
use super::{Clock, Scorer, Scores, measures};
use crate::model::{Cell, Columns, Table};
use std::collections::BTreeMap;

/// One thing that counts, once, for somebody, at some time.
pub(super) struct Contribution {
    tenant: String,
    channel: String,
    agent: Option<String>,
    time: i64,
    what: What,
}

enum What {
    /// One more in the column `{name}_count`.
    Count(&'static str),
    /// A value of a duration.
    Duration(&'static str, i64),
    /// A rating in millionths.
    Rating(i64),
    /// The turns of a conversation.
    Turns(i64),
    /// A customer message with text, and its scores.
    Eligible(Option<Scores>),
}

const COUNTS: [&str; 7] = [
    "messages_inbound",
    "messages_outbound",
    "messages_private",
    "replies",
    "resolutions",
    "reopens",
    "silent_dialogue",
];
const DURATIONS: [&str; 4] = ["reply_time", "first_response_time", "full_resolution_time", "cycle_resolution_time"];

/// Collects what one conversation contributes.
struct Collector<'c> {
    conversation: &'c Conversation<'c>,
    found: Vec<Contribution>,
}

impl Collector<'_> {
    fn add(&mut self, agent: Option<&str>, time: i64, what: What) {
        self.found.push(Contribution {
            tenant: self.conversation.tenant.to_owned(),
            channel: self.conversation.channel.to_owned(),
            agent: agent.map(str::to_owned),
            time,
            what,
        });
    }

    fn messages(&mut self, cycle: &Cycle, score: Scorer) {
        let conversation = self.conversation;
        for index in cycle.start..cycle.end {
            let event: &Event = conversation.events[index];
            if is_customer_message(event) {
                let agent = conversation.in_charge(cycle, index);
                self.add(agent, event.time(), What::Count("messages_inbound"));
                if let Some(text) = conversation.eligible_text(event) {
                    self.add(agent, event.time(), What::Eligible(score(text)));
                }
            }
            for (counts, name) in [
                (is_outbound_message as fn(&Event) -> bool, "messages_outbound"),
                (is_private_message, "messages_private"),
                (is_reply, "replies"),
            ] {
                if counts(event) {
                    self.add(author_if_agent(event), event.time(), What::Count(name));
                }
            }
        }
    }

    fn replies(&mut self) {
        let conversation = self.conversation;
        let first = conversation.cycles.iter().filter_map(|cycle| measures::first_response(conversation, cycle));
        let all = measures::reply_times(conversation);
        let named = first.map(|closed| ("first_response_time", closed));
        for (name, closed) in named.chain(all.into_iter().map(|closed| ("reply_time", closed))) {
            let reply = conversation.events[closed.index];
            self.add(reply.text("actor_id"), reply.time(), What::Duration(name, closed.millis));
        }
    }

    fn cycle(&mut self, cycle: &Cycle, clock: Clock) {
        if cycle.number > 1 {
            self.add(cycle.reopen_agent.as_deref(), cycle.opened_at, What::Count("reopens"));
        }
        if let Some(resolve) = &cycle.resolve {
            self.add(resolve.agent.as_deref(), resolve.time, What::Count("resolutions"));
            if let Some(millis) = measures::cycle_resolution_time(cycle) {
                self.add(resolve.agent.as_deref(), resolve.time, What::Duration("cycle_resolution_time", millis));
            }
        }
        if let Some(silence) = measures::silence(self.conversation, cycle, clock.tau, clock.as_of) {
            self.add(silence.agent.as_deref(), silence.time, What::Count("silent_dialogue"));
        }
    }

    fn once(&mut self) {
        let conversation = self.conversation;
        if let Some(resolve) = conversation.last_resolved_cycle().and_then(|cycle| cycle.resolve.as_ref()) {
            let turns = measures::turns(conversation, resolve.index);
            self.add(resolve.agent.as_deref(), resolve.time, What::Turns(turns));
        }
        if let (Some(resolve), Some(millis)) =
            (conversation.final_resolve(), measures::full_resolution_time(conversation))
        {
            self.add(resolve.agent.as_deref(), resolve.time, What::Duration("full_resolution_time", millis));
        }
        for rating in measures::ratings(conversation) {
            let time = conversation.events[rating.index].time();
            self.add(rating.agent.as_deref(), time, What::Rating(rating.millionths));
        }
    }
}

/// Everything one conversation contributes, but for the gauge of the unattended.
pub(super) fn contributions(conversation: &Conversation, clock: Clock, score: Scorer) -> Vec<Contribution> {
    let mut collector = Collector { conversation, found: Vec::new() };
    for cycle in &conversation.cycles {
        collector.messages(cycle, score);
        collector.cycle(cycle, clock);
    }
    collector.replies();
    collector.once();
    collector.found
}

/// Everything in one cell of the cube.
#[derive(Default)]
struct Bucket<'c> {
    contributions: Vec<&'c What>,
    unattended: i64,
}

/// One KPI table of conversations that count and what they contribute.
pub(super) fn table(
    conversations: &[Conversation],
    contributions: &[Contribution],
    as_of: i64,
    width: i64,
    by_agent: bool,
) -> Table {
    let key = |tenant: &str, agent: Option<&str>, channel: &str, start: i64| {
        let mut key = vec![Cell::text(Some(tenant)), Cell::text(Some(channel)), Cell::TimeMs(start)];
        if by_agent {
            key.insert(1, Cell::text(agent));
        }
        key
    };
    let mut buckets = BTreeMap::<Vec<Cell>, Bucket>::new();
    for one in contributions {
        let start = one.time - one.time.rem_euclid(width);
        let key = key(&one.tenant, one.agent.as_deref(), &one.channel, start);
        buckets.entry(key).or_default().contributions.push(&one.what);
    }
    for conversation in conversations {
        for (start, agent) in measures::unattended(conversation, width, as_of) {
            let key = key(conversation.tenant, agent.as_deref(), conversation.channel, start);
            buckets.entry(key).or_default().unattended += 1;
        }
    }
    buckets
        .into_iter()
        .map(|(key, bucket)| {
            let start = match key.last() {
                Some(Cell::TimeMs(start)) => *start,
                _ => 0,
            };
            let mut columns = columns(&bucket);
            columns.insert("window_end".to_owned(), Cell::TimeMs(start + width));
            (key, columns)
        })
        .collect()
}

fn columns(bucket: &Bucket) -> Columns {
    let mut columns = Columns::new();
    for name in COUNTS {
        let is_it = |what: &&&What| matches!(what, What::Count(other) if *other == name);
        let count = bucket.contributions.iter().filter(is_it).count();
        columns.insert(format!("{name}_count"), Cell::Int(count as i64));
    }
    columns.insert("unattended_count".to_owned(), Cell::Int(bucket.unattended));
    for name in DURATIONS {
        let values = collect(bucket, |what| match what {
            What::Duration(other, millis) if *other == name => Some(*millis),
            _ => None,
        });
        duration_columns(name, values, &mut columns);
    }
    let turns = collect(bucket, |what| if let What::Turns(turns) = what { Some(*turns) } else { None });
    let ratings = collect(bucket, |what| if let What::Rating(value) = what { Some(*value) } else { None });
    let (turns_sum, rating_sum) = (turns.iter().sum::<i64>(), ratings.iter().sum::<i64>() as f64 / 1e6);
    let rated = !ratings.is_empty();
    for (name, cell) in [
        ("turns_count", Cell::Int(turns.len() as i64)),
        ("turns_sum", Cell::int((!turns.is_empty()).then_some(turns_sum))),
        ("turns_mean", Cell::ratio(turns_sum as f64, turns.len() as i64)),
        ("csat_count", Cell::Int(ratings.len() as i64)),
        ("csat_sum", if rated { Cell::Float(rating_sum) } else { Cell::Null }),
        ("csat_mean", Cell::ratio(rating_sum, ratings.len() as i64)),
    ] {
        columns.insert(name.to_owned(), cell);
    }
    score_columns(bucket, &mut columns);
    columns
}

fn collect<T>(bucket: &Bucket, pick: impl Fn(&What) -> Option<T>) -> Vec<T> {
    bucket.contributions.iter().filter_map(|what| pick(what)).collect()
}

fn duration_columns(name: &str, mut values: Vec<i64>, columns: &mut Columns) {
    values.sort_unstable();
    let sum = (!values.is_empty()).then(|| values.iter().sum::<i64>());
    let mut add = |suffix: &str, cell: Cell| columns.insert(format!("{name}_{suffix}"), cell);
    add("count", Cell::Int(values.len() as i64));
    add("sum_ms", Cell::int(sum));
    add("min_ms", Cell::int(values.first().copied()));
    add("max_ms", Cell::int(values.last().copied()));
    add("mean_ms", Cell::ratio(sum.unwrap_or(0) as f64, values.len() as i64));
    for percent in [50, 90, 95, 99] {
        // Nearest rank: the ceil(p·n/100)-th smallest.
        let rank = (percent * values.len()).div_ceil(100);
        let value = rank.checked_sub(1).and_then(|index| values.get(index)).copied();
        add(&format!("p{percent}_ms"), Cell::int(value));
    }
}

fn score_columns(bucket: &Bucket, columns: &mut Columns) {
    let eligible = collect(bucket, |what| if let What::Eligible(scores) = what { Some(*scores) } else { None });
    let scored: Vec<Scores> = eligible.iter().copied().flatten().collect();
    let sentiment: i64 = scored.iter().map(|scores| i64::from(scores.positive - scores.negative)).sum();
    let negative = scored.iter().filter(|scores| scores.is_negative()).count();
    let (all, some) = (eligible.len() as i64, scored.len() as i64);
    for (name, cell) in [
        ("eligible_turns_count", Cell::Int(all)),
        ("scored_turns_count", Cell::Int(some)),
        ("sentiment_mean", Cell::ratio(sentiment as f64 / 10_000.0, some)),
        ("negative_turn_ratio", Cell::ratio(negative as f64, some)),
        ("coverage_ratio", Cell::ratio(some as f64, all)),
    ] {
        columns.insert(name.to_owned(), cell);
    }
}
