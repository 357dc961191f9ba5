//! What customers write about (rule 68).

use super::conversation::Conversation;
use super::heads::{Heads, Scores};
use super::messages::eligible_text;
use super::windows::{Window, window};
use crate::model::{Cell, Table, Width};
use chrono_tz::Tz;
use std::collections::BTreeSet;

/// A customer message whose intent is known.
struct Said<'a> {
    tenant: &'a str,
    channel: &'a str,
    time: i64,
    intent: &'static str,
    scores: Scores,
}

/// The table of all widths but the hour.
pub(super) fn table(conversations: &[&Conversation], heads: &dyn Heads, zone: Tz) -> Table {
    let mut said: Vec<Said> = Vec::new();
    for conversation in conversations {
        for event in &conversation.events {
            let Some(scores) = eligible_text(event).and_then(|text| heads.answer(text).scores()) else { continue };
            let Some((intent, _)) = scores.intent else { continue };
            let (tenant, channel) = (conversation.tenant, conversation.channel);
            said.push(Said { tenant, channel, time: event.time(), intent, scores });
        }
    }
    let mut table = Table::new();
    for (width, name) in [(Width::Day, "day"), (Width::Week, "week"), (Width::Month, "month")] {
        let keys: BTreeSet<(&str, &str, &str, Window)> =
            said.iter().map(|one| (one.tenant, one.channel, one.intent, window(zone, width, one.time))).collect();
        for (tenant, channel, intent, now) in keys {
            let before = window(zone, width, now.start - 1);
            let of = |within: Window, of_intent: Option<&str>| -> Vec<&Said> {
                said.iter()
                    .filter(|one| one.tenant == tenant && one.channel == channel)
                    .filter(|one| of_intent.is_none_or(|intent| one.intent == intent))
                    .filter(|one| (within.start..within.end).contains(&one.time))
                    .collect()
            };
            let these = of(now, Some(intent));
            let (count, earlier) = (these.len() as i64, of(before, Some(intent)).len() as i64);
            let negative = these.iter().filter(|one| one.scores.is_negative()).count();
            let key = vec![
                Cell::Text(tenant.to_owned()),
                Cell::Text(channel.to_owned()),
                Cell::Text(intent.to_owned()),
                Cell::Text(name.to_owned()),
                Cell::TimeMs(now.start),
            ];
            let columns = [
                ("window_end", Cell::TimeMs(now.end)),
                ("messages_count", Cell::Int(count)),
                ("share_ratio", Cell::ratio(count as f64, of(now, None).len() as i64)),
                ("change_count", Cell::Int(count - earlier)),
                ("change_ratio", Cell::ratio((count - earlier) as f64, earlier)),
                ("negative_ratio", Cell::ratio(negative as f64, count)),
            ];
            table.insert(key, columns.into_iter().collect());
        }
    }
    table
}
