//! Sealing at a commit, step by step, by all workers: see [`seal`](crate::seal).

use std::collections::HashSet;

use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::event::ConversationKey;
use contactflow_schemas::prediction::TextKey;
use contactflow_schemas::tables::Table;

use super::JobError;
use super::round::Handover;
use super::shared::{Ledger, Shared, Target};
use crate::seal::{Horizon, Mark, conversation_hash, event_hash};
use crate::sink::sha256_hex;

/// A seal in the making.
#[derive(Default)]
pub(super) struct Draft {
    /// None while nothing is to be sealed.
    horizon: Option<Horizon>,
    disputed: HashSet<ConversationKey>,
    waiting: HashSet<TextKey>,
    conversations: HashSet<ConversationKey>,
    events: HashSet<u128>,
    marks: Vec<(Mark, u64)>,
}

/// What computes the tables: this version of the program, with these tables. What another has sealed has to be computed anew.
pub(super) fn program() -> String {
    let schemas: Vec<_> = Table::all().map(|table| (table.name(), table.schema())).collect();
    let hash = sha256_hex(format!("{schemas:?}").as_bytes());
    format!("{} {}", env!("CARGO_PKG_VERSION"), &hash[..16])
}

/// Draws up the seal that the next commit is to hold, if one is due. Every worker calls it between rounds, when all have handed
/// over.
pub(super) fn draw_up(worker: usize, shared: &Shared, handover: &Handover) {
    if worker == 0 {
        shared.plan_seal(handover.views.as_of_ms());
    }
    shared.wait_for_all();
    let Some(horizon) = shared.ledger().draft.horizon else { return };
    // What is in dispute here keeps conversations of other workers open.
    {
        let mut ledger = shared.ledger();
        ledger.draft.disputed.extend(handover.ledger.borrow().disputed());
        ledger.draft.waiting.extend(handover.journal.waiting());
    }
    shared.wait_for_all();
    let (disputed, waiting) = {
        let draft = &shared.ledger().draft;
        (draft.disputed.clone(), draft.waiting.clone())
    };
    let settled = handover.histories.settled(horizon.before_ms(), &disputed, &waiting);
    {
        let draft = &mut shared.ledger().draft;
        for one in settled {
            draft.marks.push((Mark::Conversation, conversation_hash(&one.conversation)));
            draft.marks.extend(one.messages.into_iter().map(|hash| (Mark::Message, hash)));
            draft.conversations.insert(one.conversation);
        }
    }
    shared.wait_for_all();
    let conversations = shared.ledger().draft.conversations.clone();
    let events = handover.ledger.borrow().identities_of(&conversations);
    {
        let draft = &mut shared.ledger().draft;
        draft.marks.extend(events.iter().map(|key| (Mark::Event, event_hash(*key))));
        draft.events.extend(events.iter().map(|key| key.0));
    }
    shared.wait_for_all();
}

impl Shared {
    /// Decides whether the next commit seals, and until when. A horizon is tried once: what is not over by then stays until the
    /// next one. One that had to be opened is not sealed again by this run.
    fn plan_seal(&self, as_of_ms: Option<TimeMs>) {
        let mut ledger = self.ledger();
        ledger.draft = Draft::default();
        let is_able = self.settings.seal_after_days > 0
            && ledger.state.is_some()
            && matches!(ledger.target, Target::Commit(_))
            && self.context.backlog.texts() == 0
            && !self.has_stopped()
            && self.processes() == 1;
        let Some(as_of_ms) = as_of_ms.filter(|_| is_able) else { return };
        let context = &self.context;
        let horizon = Horizon::of(&context.windows, &context.rules, as_of_ms, self.settings.seal_after_days);
        if ledger.sealed_until.is_none_or(|known| horizon > known) {
            ledger.sealed_until = Some(horizon);
            ledger.draft.horizon = Some(horizon);
        }
    }

    /// Writes the seal that was drawn up; tells whether there is one.
    pub(super) fn write_seal(&self, ledger: &mut Ledger) -> Result<bool, JobError> {
        let draft = std::mem::take(&mut ledger.draft);
        let (Some(horizon), Some(state)) = (draft.horizon, &mut ledger.state) else { return Ok(false) };
        if draft.events.is_empty() {
            return Ok(false);
        }
        let Horizon { frozen_day } = horizon;
        let stem = self.stem(format!("sealed-{frozen_day}"));
        let objects = &*self.context.ingest.objects;
        let split = crate::state::seal(objects, &state.files(), &draft.events, &draft.marks, frozen_day, &stem)?;
        state.seal(split);
        let (conversations, events) = (draft.conversations.len(), draft.events.len());
        tracing::info!(conversations, events, before = contactflow_schemas::clock::date_string(frozen_day), "sealed");
        Ok(true)
    }
}
