//! Conversations of which everything is over: what they contribute lies before a time, and neither as_of nor dimensions or
//! predictions to come change it. Such a conversation can leave memory, as long as whoever lets it go notices what
//! concerns it later.

use std::collections::{BTreeMap, HashSet};

use contactflow_schemas::clock::{DAY_MS, TimeMs};
use contactflow_schemas::event::{Body, ConversationKey, Event};
use contactflow_schemas::prediction::TextKey;
use serde::{Deserialize, Serialize};

use super::store::Store;
use super::unplaced::message_hash;
use super::view::View;

/// A conversation that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Which one.
    pub conversation: ConversationKey,
    /// [Hashes](message_hash) of its messages: a label may name one of them and not the conversation.
    pub messages: Vec<u64>,
}

impl Store {
    /// The settled conversations here, in no order, without those that merges concern: their events stand twice.
    pub(super) fn settled(
        &self,
        before_ms: TimeMs,
        disputed: &HashSet<ConversationKey>,
        waiting: &HashSet<TextKey>,
    ) -> Vec<Settled> {
        self.plain_histories()
            .filter(|(key, _)| !disputed.contains(key))
            .filter_map(|(key, history)| {
                let events = history.unpack();
                // What merges and labels from elsewhere say of it is kept elsewhere, and refers to it.
                let refers = |event: &Event| matches!(event.body, Body::Merged { .. }) || self.is_unplaced(key, event);
                let is_over = events.iter().all(|event| event.time_ms < before_ms && !refers(event))
                    && is_over(&self.view(key, &events), before_ms, waiting);
                is_over.then(|| Settled { conversation: key, messages: messages(key, &events) })
            })
            .collect()
    }
}

fn messages(key: ConversationKey, events: &[Event]) -> Vec<u64> {
    let ids = events.iter().filter_map(|event| match &event.body {
        Body::Message { message_id, .. } if !message_id.is_empty() => Some(message_hash(key.tenant, message_id)),
        _ => None,
    });
    ids.collect()
}

/// Whether everything in a view lies before a time and stays as it is.
fn is_over(view: &View, before_ms: TimeMs, waiting: &HashSet<TextKey>) -> bool {
    let mut levels: BTreeMap<_, i64> = BTreeMap::new();
    for level in &view.levels {
        *levels.entry((level.kpi, level.credited)).or_default() += level.delta;
    }
    let is_carried = levels.into_values().any(|level| level != 0);
    let is_scored = view.turns.iter().all(|turn| !waiting.contains(&turn.text));
    let credits = view.credits.iter().map(|credit| credit.time_ms);
    let levels = view.levels.iter().map(|level| level.time_ms);
    let facts = view.facts.iter().map(|facts| (i64::from(facts.day) + 1) * DAY_MS - 1);
    let times = credits.chain(levels).chain(facts).chain(view.deadlines_ms.iter().copied());
    view.rejects.is_empty()
        && view.wait.is_none()
        && !view.is_measured
        && !is_carried
        && is_scored
        && times.max().is_none_or(|last_ms| last_ms < before_ms)
}
