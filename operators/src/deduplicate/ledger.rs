//! The state behind deduplication, without any dataflow: a table of what stands per identity.

use std::collections::{HashMap, HashSet};

use contactflow_schemas::clock::{TimeMs, format_time};
use contactflow_schemas::dimension::{DimensionEvent, MergeEvent};
use contactflow_schemas::event::{Body, ConversationKey, Delivery, EventKey, Origin, Statement, mix};
use contactflow_schemas::reject::{Reason, Reject, RejectedRow};
use contactflow_schemas::symbol::{FastHash, Symbol};
use hashbrown::HashTable;

use super::latest::Latest;
use crate::conversation::Change;

/// Slots per block: blocks never move, so growth never copies the whole table.
const BLOCK: usize = 1 << 14;

/// What stands for one identity.
#[derive(Clone, Copy, Debug)]
struct Slot {
    key: EventKey,
    version: i64,
    content: u64,
    /// The conversation the standing event belongs to; none for retracts and events outside conversations.
    conversation: Option<ConversationKey>,
    /// [`NO_TIME`] for a retract.
    time_ms: TimeMs,
    /// The least of all equal deliveries; [`NO_TIME`] where none says.
    ingest_ms: TimeMs,
    origin: Origin,
    retracted: bool,
}

/// No time: greater than any.
const NO_TIME: TimeMs = TimeMs::MAX;

/// What a standing event says beyond its conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Aside {
    Dimension(Box<DimensionEvent>),
    Merge(MergeEvent),
}

/// Changes that one or more deliveries cause.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// To the histories of conversations.
    pub changes: Vec<(ConversationKey, Change)>,
    /// To `rejected_events`: +1 or −1 of a row.
    pub rejects: Vec<(Reject, isize)>,
    /// To the dimensions.
    pub dimensions: Vec<(DimensionEvent, isize)>,
    /// To the merges of conversations.
    pub merges: Vec<(MergeEvent, isize)>,
}

/// A row that does not count as long as no better delivery of its identity exists.
#[derive(Clone, Debug)]
struct Pending {
    version: i64,
    /// Content hash of the losing side of a conflict; none for a malformed row.
    conflict: Option<u64>,
    reject: Reject,
}

impl Pending {
    /// True for the very row.
    fn is(&self, row: &RejectedRow) -> bool {
        self.conflict.is_none() && self.version == row.version && self.reject == row.reject
    }
}

/// What stands for every identity this worker is responsible for.
#[derive(Default)]
pub struct Ledger {
    index: HashTable<u32>,
    blocks: Vec<Vec<Slot>>,
    pending: HashMap<EventKey, Vec<Pending>, FastHash>,
    /// Rejected rows without an identity, by position: a file that is read again replaces its rows.
    anonymous: HashMap<(Symbol, u64), Reject, FastHash>,
    /// What standing events say beyond their conversation; few have something.
    asides: HashMap<EventKey, Aside, FastHash>,
    latest: Latest,
}

impl Ledger {
    /// Number of identities known.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// True when nothing was ever delivered.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Latest event time of the net events here.
    pub fn latest_ms(&mut self) -> Option<TimeMs> {
        let standing = self.blocks.iter().flatten().filter(|slot| !slot.retracted);
        self.latest.get(standing.filter_map(Slot::time))
    }

    /// Conversations with events of which rejected rows are known: these rows say how the events stand.
    pub fn disputed(&self) -> impl Iterator<Item = ConversationKey> {
        self.pending.keys().filter_map(|key| self.find(*key)?.conversation)
    }

    /// The identities of the events that stand in `conversations`.
    pub fn identities_of(&self, conversations: &HashSet<ConversationKey>) -> Vec<EventKey> {
        let is_meant = |slot: &&Slot| slot.conversation.is_some_and(|key| conversations.contains(&key));
        self.blocks.iter().flatten().filter(is_meant).map(|slot| slot.key).collect()
    }

    /// Takes in a rejected row; tells whether the ledger is another one now.
    pub fn reject(&mut self, row: RejectedRow, effects: &mut Effects) -> bool {
        let position = (row.reject.file, row.reject.row);
        let Some(key) = row.key else {
            effects.rejects.push((row.reject.clone(), 1));
            let after = row.reject.clone();
            let before = self.anonymous.insert(position, row.reject);
            let is_new = before.as_ref() != Some(&after);
            effects.rejects.extend(before.map(|reject| (reject, -1)));
            return is_new;
        };
        if self.find(key).is_some_and(|slot| slot.version >= row.version) {
            return false;
        }
        let pending = self.pending.entry(key).or_default();
        let is_new = !pending.iter().any(|other| other.is(&row));
        // The same row read again.
        pending.retain(|other| {
            let again = other.conflict.is_none() && (other.reject.file, other.reject.row) == position;
            if again {
                effects.rejects.push((other.reject.clone(), -1));
            }
            !again
        });
        effects.rejects.push((row.reject.clone(), 1));
        pending.push(Pending { version: row.version, conflict: None, reject: row.reject });
        is_new
    }

    /// Takes in a valid delivery; tells whether the ledger is another one now.
    pub fn deliver(&mut self, delivery: Delivery, effects: &mut Effects) -> bool {
        let slot = Slot::of(&delivery);
        let Some(known) = self.find(delivery.key).copied() else {
            self.insert(slot);
            self.accept(None, slot, delivery, effects);
            return true;
        };
        let newer = delivery.version > known.version;
        let overrides = delivery.version == known.version && slot.retracted && !known.retracted;
        if newer || overrides {
            *self.find_mut(delivery.key) = slot;
            self.accept(Some(known), slot, delivery, effects);
            return true;
        }
        let is_second_assert = delivery.version == known.version && !known.retracted && !slot.retracted;
        is_second_assert && self.same_version(known, slot, delivery, effects)
    }

    /// Two asserts with one version: a redelivery, or a conflict.
    fn same_version(&mut self, known: Slot, slot: Slot, delivery: Delivery, effects: &mut Effects) -> bool {
        if slot.content == known.content {
            return self.redelivered(known, slot, delivery, effects);
        }
        let identity = identity_of(&delivery);
        let (winner, loser) = if slot.content < known.content { (slot, known) } else { (known, slot) };
        let wins = winner.content == slot.content;
        if wins {
            *self.find_mut(slot.key) = slot;
            self.accept(Some(known), slot, delivery, effects);
        }
        self.conflict(&loser, identity, effects) || wins
    }

    /// The same event again. Its position and ingest_time are no part of its content; of several the first position in
    /// byte order and the least time stand, so that it is always the same.
    fn redelivered(&mut self, known: Slot, slot: Slot, delivery: Delivery, effects: &mut Effects) -> bool {
        let is_first = position(&slot.origin) < position(&known.origin);
        let origin = if is_first { slot.origin } else { known.origin };
        let ingest_ms = known.ingest_ms.min(slot.ingest_ms);
        if !is_first && ingest_ms == known.ingest_ms {
            return false;
        }
        let standing = self.find_mut(slot.key);
        (standing.origin, standing.ingest_ms) = (origin, ingest_ms);
        if let Statement::Happened(conversation, mut event) = delivery.statement {
            event.origin = origin;
            event.ingest_ms = (ingest_ms != NO_TIME).then_some(ingest_ms);
            effects.changes.push((conversation, Change::Put(event)));
        }
        true
    }

    /// Reports the losing side of a conflict, once per distinct content, at its first position; tells whether that is
    /// news.
    fn conflict(&mut self, loser: &Slot, (tenant, source, event_id): Identity, effects: &mut Effects) -> bool {
        let reject = Reject {
            file: loser.origin.file,
            row: loser.origin.row,
            reason: Reason::DuplicateConflict,
            field: String::new(),
            message: format!(
                "another delivery with the same identity and source_version {} has different content and stands instead \
                 (this one says {})",
                loser.version,
                loser.time().map_or_else(|| "no time".to_owned(), format_time),
            ),
            tenant,
            source,
            event_id,
            raw: None,
        };
        let pending = self.pending.entry(loser.key).or_default();
        match pending.iter_mut().find(|other| other.conflict == Some(loser.content)) {
            Some(other) => {
                let first = (reject.file.as_str(), reject.row) < (other.reject.file.as_str(), other.reject.row);
                if first {
                    effects.rejects.push((std::mem::replace(&mut other.reject, reject.clone()), -1));
                    effects.rejects.push((reject, 1));
                }
                first
            }
            None => {
                effects.rejects.push((reject.clone(), 1));
                pending.push(Pending { version: loser.version, conflict: Some(loser.content), reject });
                true
            }
        }
    }

    /// `slot` now stands instead of `before`: changes the conversations and takes back rejects it supersedes.
    fn accept(&mut self, before: Option<Slot>, slot: Slot, delivery: Delivery, effects: &mut Effects) {
        if let Some(time_ms) = before.filter(|before| !before.retracted).and_then(|before| before.time()) {
            self.latest.remove(time_ms);
        }
        if let Some(time_ms) = slot.time() {
            self.latest.insert(time_ms);
        }
        self.change_aside(slot.key, Aside::of(&delivery), effects);
        let before_in = before.and_then(|before| before.conversation);
        match delivery.statement {
            Statement::Happened(conversation, event) => {
                if let Some(moved_from) = before_in.filter(|before| *before != conversation) {
                    let (source, event_id) = (event.source, event.event_id.clone());
                    effects.changes.push((moved_from, Change::Remove { source, event_id, home: None }));
                }
                effects.changes.push((conversation, Change::Put(event)));
            }
            // Removed, or moved out of its conversation.
            Statement::Retracted { source, event_id }
            | Statement::Outside { source, event_id, .. }
            | Statement::ErasureRequested { source, event_id, .. } => {
                effects.changes.extend(before_in.map(|from| (from, Change::Remove { source, event_id, home: None })));
            }
        }
        self.clear_rejects(slot, effects);
    }

    fn change_aside(&mut self, key: EventKey, aside: Option<Aside>, effects: &mut Effects) {
        let before = match &aside {
            Some(aside) => self.asides.insert(key, aside.clone()),
            None => self.asides.remove(&key),
        };
        if before == aside {
            return;
        }
        for (aside, diff) in before.map(|aside| (aside, -1)).into_iter().chain(aside.map(|aside| (aside, 1))) {
            match aside {
                Aside::Dimension(row) => effects.dimensions.push((*row, diff)),
                Aside::Merge(merge) => effects.merges.push((merge, diff)),
            }
        }
    }

    fn clear_rejects(&mut self, slot: Slot, effects: &mut Effects) {
        let Some(pending) = self.pending.get_mut(&slot.key) else { return };
        pending.retain(|pending| {
            // A conflict lasts as long as its version stands as an assert.
            let stays = match pending.conflict {
                Some(_) => pending.version == slot.version && !slot.retracted,
                None => pending.version > slot.version,
            };
            if !stays {
                effects.rejects.push((pending.reject.clone(), -1));
            }
            stays
        });
        if pending.is_empty() {
            self.pending.remove(&slot.key);
        }
    }

    fn find(&self, key: EventKey) -> Option<&Slot> {
        let number = *self.index.find(hash(key), |&number| self.slot(number).key == key)?;
        Some(self.slot(number))
    }

    fn find_mut(&mut self, key: EventKey) -> &mut Slot {
        let number = self.index.find(hash(key), |&number| self.slot(number).key == key);
        let number = *number.expect("the slot was found a moment ago") as usize;
        &mut self.blocks[number / BLOCK][number % BLOCK]
    }

    fn slot(&self, number: u32) -> &Slot {
        &self.blocks[number as usize / BLOCK][number as usize % BLOCK]
    }

    fn insert(&mut self, slot: Slot) {
        let number = u32::try_from(self.index.len()).expect("fewer than 2^32 events on one worker");
        if self.blocks.last().is_none_or(|block| block.len() == BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        if let Some(block) = self.blocks.last_mut() {
            block.push(slot);
        }
        let blocks = &self.blocks;
        let hash_of = |&number: &u32| hash(blocks[number as usize / BLOCK][number as usize % BLOCK].key);
        self.index.insert_unique(hash(slot.key), number, hash_of);
    }
}

/// The readable identity of a delivery.
type Identity = (Option<Symbol>, Option<Symbol>, Option<String>);

fn identity_of(delivery: &Delivery) -> Identity {
    match &delivery.statement {
        Statement::Happened(conversation, event) => {
            (Some(conversation.tenant), Some(event.source), Some(event.event_id.to_string()))
        }
        Statement::Outside { tenant, source, event_id, .. }
        | Statement::ErasureRequested { tenant, source, event_id, .. } => {
            (Some(*tenant), Some(*source), Some(event_id.to_string()))
        }
        Statement::Retracted { source, event_id } => (None, Some(*source), Some(event_id.to_string())),
    }
}

fn hash(key: EventKey) -> u64 {
    mix(key.stable_hash())
}

fn position(origin: &Origin) -> (&'static str, u64) {
    (origin.file.as_str(), origin.row)
}

impl Slot {
    fn of(delivery: &Delivery) -> Self {
        let (conversation, retracted) = match &delivery.statement {
            Statement::Happened(conversation, _) => (Some(*conversation), false),
            Statement::Outside { .. } | Statement::ErasureRequested { .. } => (None, false),
            Statement::Retracted { .. } => (None, true),
        };
        Slot {
            key: delivery.key,
            version: delivery.version,
            content: delivery.content,
            conversation,
            time_ms: delivery.time_ms.unwrap_or(NO_TIME),
            ingest_ms: delivery.ingest_ms.unwrap_or(NO_TIME),
            origin: delivery.origin,
            retracted,
        }
    }

    fn time(&self) -> Option<TimeMs> {
        (self.time_ms != NO_TIME).then_some(self.time_ms)
    }
}

impl Aside {
    fn of(delivery: &Delivery) -> Option<Self> {
        let time_ms = delivery.time_ms?;
        match &delivery.statement {
            Statement::Outside { tenant, source, event_id, dimension } => {
                let dimension = dimension.as_deref()?.clone();
                let (tenant, source, event_id) = (*tenant, *source, event_id.clone());
                Some(Self::Dimension(Box::new(DimensionEvent { tenant, time_ms, source, event_id, dimension })))
            }
            Statement::Happened(key, event) => match event.body {
                Body::Merged { target } => Some(Self::Merge(MergeEvent {
                    tenant: key.tenant,
                    conversation: key.conversation,
                    target,
                    time_ms,
                    source: event.source,
                    event_id: event.event_id.clone(),
                })),
                _ => None,
            },
            Statement::Retracted { .. } | Statement::ErasureRequested { .. } => None,
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
