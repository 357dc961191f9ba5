//! Sealing: old days leave memory.
//!
//! Everything before a *frozen day* is sealed: its partitions stay as the last commit has them, and the conversations that are
//! over by then ([`Settled`](contactflow_operators::conversation::Settled)) are not taken in by a restart. What stays in memory
//! are the conversations that reach into what is still open, or into the [`LOOKBACK_DAYS`] before it on which open days
//! depend: weeks, waiting times and the seasons of the anomaly detector look back. So open partitions follow from what is in
//! memory alone, and nothing of a sealed day has to be kept to compute them.
//!
//! A later change of a sealed day is not missed. Of every sealed conversation a few hashes are kept ([`SealedIndex`]): of its
//! key, its messages and its events. A row that hits one, a change of a dimension in force then, a change of a row in a frozen
//! partition, or an as_of that goes back so far make the round start again without the seal ([`Unsealing`]), with everything in
//! memory that the change can reach; its commit holds the frozen partitions like any other.
//!
//! Seals of several commits pile up; each is known by its frozen day.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use contactflow_operators::conversation::message_hash;
use contactflow_operators::deduplicate::Incoming;
use contactflow_schemas::clock::{DAY_MS, TimeMs};
use contactflow_schemas::event::{Body, ConversationKey, EventKey, Statement, mix};
use contactflow_schemas::rules::KpiRules;
use contactflow_schemas::windows::{Window, Windows};
use serde::{Deserialize, Serialize};

use crate::sink::Objects;
use crate::state::{SegmentReader, StateError, StateFile, StateKind};

/// Days before the frozen day on which open days depend. The detector's seasons are the longest: eight weeks, of windows in the
/// two weeks that tell its spread, after a silence of two weeks. One more day for the zones in which days are counted.
pub const LOOKBACK_DAYS: i32 = 12 * 7 + 1;

/// Until when days are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Horizon {
    /// Partitions of earlier days are frozen; the first day of a week, in the zone of the windows, days since 1970-01-01.
    pub frozen_day: i32,
}

impl Horizon {
    /// The horizon of a job that seals what is `seal_after_days` old as of a time. It lies at the week in which a month begins,
    /// so that a month is sealed as a whole. What rules let happen late is waited for.
    pub fn of(windows: &Windows, rules: &KpiRules, as_of_ms: TimeMs, seal_after_days: u32) -> Self {
        let late_ms = rules.level_max_ms.max(rules.return_within_ms).max(rules.silence_after_ms);
        let age_ms = (i64::from(seal_after_days) * DAY_MS).max(late_ms + DAY_MS);
        let month_ms = windows.start_ms(Window::Month, as_of_ms.saturating_sub(age_ms));
        Self { frozen_day: windows.day_of(windows.start_ms(Window::Week, month_ms)) }
    }

    /// Conversations that are over before this time leave memory.
    pub fn before_ms(self) -> TimeMs {
        i64::from(self.frozen_day - LOOKBACK_DAYS) * DAY_MS
    }

    /// as_of may go back to this time without touching what is sealed.
    pub fn as_of_min_ms(self) -> TimeMs {
        (i64::from(self.frozen_day) + 1) * DAY_MS
    }
}

/// What is kept of sealed conversations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// The identity of an event.
    Event = 0,
    /// A conversation.
    Conversation = 1,
    /// A message id.
    Message = 2,
}

/// Hash of a conversation's key, the same in every process.
pub fn conversation_hash(key: &ConversationKey) -> u64 {
    mix(key.stable_hash() ^ 0x5EA1)
}

/// Hash of an event's identity.
pub fn event_hash(key: EventKey) -> u64 {
    mix(key.0 as u64 ^ (key.0 >> 64) as u64)
}

/// The marks of one seal: sorted hashes, eight bytes each. That two things have one hash costs a needless [`Unsealing`] in some
/// 10¹⁸ / (marks × rows) runs, nothing else.
#[derive(Debug)]
struct Seal {
    frozen_day: i32,
    marks: [Box<[u64]>; 3],
}

impl Seal {
    fn has(&self, mark: Mark, hash: u64) -> bool {
        self.marks[mark as usize].binary_search(&hash).is_ok()
    }
}

/// The marks of everything that is sealed.
#[derive(Debug, Default)]
pub struct SealedIndex(Vec<Seal>);

impl SealedIndex {
    /// Reads the marks of a state.
    ///
    /// # Errors
    /// Those of reading state files.
    pub fn read(objects: &dyn Objects, state: &[StateFile]) -> Result<Self, StateError> {
        let indexes = || state.iter().filter(|file| file.kind == StateKind::Seals);
        let days: BTreeSet<i32> = indexes().filter_map(|file| file.sealed_before_day).collect();
        let mut seals = Vec::new();
        for frozen_day in days {
            let mut marks: [Vec<u64>; 3] = Default::default();
            for file in indexes().filter(|file| file.sealed_before_day == Some(frozen_day)) {
                let mut reader = SegmentReader::open(objects, file)?;
                let mut visit = |key: u128, mark: i64, _: &[u8]| {
                    if let Some(marks) = usize::try_from(mark).ok().and_then(|mark| marks.get_mut(mark)) {
                        marks.push(key as u64);
                    }
                    Ok(())
                };
                while reader.next_raw(&mut visit)? {}
            }
            let marks = marks.map(|mut hashes| {
                hashes.sort_unstable();
                hashes.dedup();
                hashes.into_boxed_slice()
            });
            seals.push(Seal { frozen_day, marks });
        }
        Ok(Self(seals))
    }

    /// How many marks there are.
    pub fn len(&self) -> usize {
        self.0.iter().flat_map(|seal| &seal.marks).map(|marks| marks.len()).sum()
    }

    /// True when nothing is sealed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The frozen day of the earliest seal that a row concerns.
    pub fn concerned_by(&self, row: &Incoming) -> Option<i32> {
        if self.0.is_empty() {
            return None;
        }
        let mut marks: Vec<(Mark, u64)> = Vec::with_capacity(3);
        match row {
            Incoming::Rejected(row) => marks.extend(row.key.map(|key| (Mark::Event, event_hash(key)))),
            Incoming::Delivery(delivery) => {
                marks.push((Mark::Event, event_hash(delivery.key)));
                if let Statement::Happened(key, event) = &delivery.statement {
                    marks.push((Mark::Conversation, conversation_hash(key)));
                    match &event.body {
                        Body::Merged { target } => {
                            let target = ConversationKey { conversation: *target, ..*key };
                            marks.push((Mark::Conversation, conversation_hash(&target)));
                        }
                        Body::Label(label) if !label.message_id.is_empty() => {
                            marks.push((Mark::Message, message_hash(key.tenant, &label.message_id)));
                        }
                        _ => {}
                    }
                }
            }
        }
        let is_concerned = |seal: &&Seal| marks.iter().any(|(mark, hash)| seal.has(*mark, *hash));
        self.0.iter().find(is_concerned).map(|seal| seal.frozen_day)
    }
}

/// Asks that a round starts again with less sealed. Whoever notices that something sealed changes asks, on any worker.
#[derive(Clone, Debug, Default)]
pub struct Unsealing(Arc<Request>);

#[derive(Debug, Default)]
struct Request {
    is_made: AtomicBool,
    /// Seals may stay whose frozen day is this or an earlier one.
    until_day: Mutex<Option<i32>>,
}

impl Unsealing {
    /// Asks that days from `day` on are not frozen.
    pub fn ask(&self, day: i32) {
        let mut until = self.0.until_day.lock().unwrap_or_else(PoisonError::into_inner);
        *until = Some(until.map_or(day, |other| other.min(day)));
        self.0.is_made.store(true, Ordering::SeqCst);
    }

    /// The last frozen day that may stay, if anybody has asked.
    pub fn asked(&self) -> Option<i32> {
        if !self.0.is_made.load(Ordering::Relaxed) {
            return None;
        }
        *self.0.until_day.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a run has sealed, and how it notices that it has to be opened.
#[derive(Clone, Debug, Default)]
pub struct Sealed {
    /// Where the frozen days end; none when nothing is sealed.
    pub horizon: Option<Horizon>,
    /// What lies behind it.
    pub index: Arc<SealedIndex>,
    /// Who notices asks here.
    pub unsealing: Unsealing,
}

impl Sealed {
    /// Looks at a row that was read.
    pub fn check_row(&self, row: &Incoming) {
        if let Some(frozen_day) = self.index.concerned_by(row) {
            self.unsealing.ask(frozen_day - 1);
        }
    }

    /// Looks at a dimension that changes from a time on.
    pub fn check_dimension(&self, time_ms: TimeMs) {
        if self.horizon.is_some_and(|horizon| time_ms < horizon.before_ms()) {
            // Seals stay whose conversations were over by then.
            let day = i32::try_from(time_ms.div_euclid(DAY_MS)).unwrap_or(i32::MIN);
            self.unsealing.ask(day.saturating_add(LOOKBACK_DAYS));
        }
    }

    /// Looks at as_of after a round.
    pub fn check_as_of(&self, as_of_ms: Option<TimeMs>) {
        if let Some(horizon) = self.horizon
            && as_of_ms.is_none_or(|as_of_ms| as_of_ms < horizon.as_of_min_ms())
        {
            self.unsealing.ask(i32::MIN);
        }
    }

    /// True for a partition that stays as it is.
    pub fn is_frozen(&self, day: i32) -> bool {
        self.horizon.is_some_and(|horizon| day < horizon.frozen_day)
    }
}

#[cfg(test)]
mod tests {
    use contactflow_schemas::event::{Delivery, Origin};
    use contactflow_schemas::symbol::Symbol;
    use contactflow_schemas::zone::Zone;

    use super::*;

    fn day(date: &str) -> i32 {
        let date: chrono::NaiveDate = date.parse().expect("a date");
        date.signed_duration_since(chrono::NaiveDate::default()).num_days() as i32
    }

    fn horizon(zone: &str, as_of: &str, seal_after_days: u32) -> i32 {
        let windows = Windows::new(Zone::parse(zone).expect("a zone"));
        let as_of_ms = i64::from(day(as_of)) * DAY_MS;
        Horizon::of(&windows, &KpiRules::default(), as_of_ms, seal_after_days).frozen_day
    }

    #[test]
    fn months_are_sealed_as_a_whole_with_the_weeks_they_begin_in_open() {
        // 2024-06-01 is a Saturday; its week begins on 2024-05-27.
        assert_eq!(horizon("UTC", "2024-07-15", 40), day("2024-05-27"));
        // 2024-07-01 is a Monday.
        assert_eq!(horizon("UTC", "2024-08-15", 40), day("2024-07-01"));
        assert_eq!(horizon("Pacific/Auckland", "2024-08-15", 40), day("2024-07-01"));
        // Levels last 30 days, so nothing younger is sealed however short the age.
        assert_eq!(horizon("UTC", "2024-07-31", 1), day("2024-05-27"));
        assert_eq!(horizon("UTC", "2024-08-01", 1), day("2024-07-01"));
    }

    fn key(conversation: &str) -> ConversationKey {
        ConversationKey { tenant: Symbol::new("t"), conversation: Symbol::new(conversation) }
    }

    fn retraction(event: EventKey) -> Incoming {
        let statement = Statement::Retracted { source: Symbol::new("s"), event_id: "e".into() };
        let origin = Origin { file: Symbol::new("f"), row: 0 };
        let (version, content, time_ms, ingest_ms) = (1, 0, None, None);
        Incoming::Delivery(Delivery { key: event, version, content, time_ms, ingest_ms, statement, origin })
    }

    #[test]
    fn the_earliest_seal_that_a_row_concerns_is_opened() {
        let (old, young, other) = (EventKey(1), EventKey(2), EventKey(3));
        let seal = |frozen_day, events: &[EventKey]| {
            let mut hashes: Vec<u64> = events.iter().map(|event| event_hash(*event)).collect();
            hashes.sort_unstable();
            Seal { frozen_day, marks: [hashes.into(), [conversation_hash(&key("c"))].into(), [].into()] }
        };
        let sealed = Sealed {
            horizon: Some(Horizon { frozen_day: 200 }),
            index: Arc::new(SealedIndex(vec![seal(100, &[old]), seal(200, &[old, young])])),
            unsealing: Unsealing::default(),
        };
        sealed.check_row(&retraction(other));
        assert_eq!(sealed.unsealing.asked(), None);
        sealed.check_row(&retraction(young));
        assert_eq!(sealed.unsealing.asked(), Some(199), "the seal of day 100 may stay");
        sealed.check_row(&retraction(old));
        sealed.check_row(&retraction(young));
        assert_eq!(sealed.unsealing.asked(), Some(99));
    }

    #[test]
    fn dimensions_and_as_of_open_what_they_reach() {
        let sealed = |frozen_day| Sealed { horizon: Some(Horizon { frozen_day }), ..Sealed::default() };
        let day_ms = |day: i32| i64::from(day) * DAY_MS;
        let open = sealed(1000);
        open.check_dimension(day_ms(1000 - LOOKBACK_DAYS));
        open.check_as_of(Some(day_ms(1001)));
        assert_eq!(open.unsealing.asked(), None);
        open.check_dimension(day_ms(800) + 5);
        assert_eq!(open.unsealing.asked(), Some(800 + LOOKBACK_DAYS), "what was over by day 800 stays sealed");
        open.check_as_of(Some(day_ms(1001) - 1));
        assert_eq!(open.unsealing.asked(), Some(i32::MIN));
        let nothing = Sealed::default();
        nothing.check_as_of(None);
        assert_eq!(nothing.unsealing.asked(), None);
    }
}
