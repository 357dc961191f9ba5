//! Sealing at a commit, step by step, by all workers: see [`seal`](crate::seal).
//!
//! A job that follows its inputs draws a seal up after a round. If it finds something to seal, it closes its inputs, waits until
//! the model has said everything, draws the seal up once more and commits it with the last round; then its workers start
//! again. So whatever a sealed conversation still contributes is in the tables of the commit that seals it.

use std::collections::HashSet;

use contactflow_operators::conversation::Settled;
use contactflow_schemas::clock::TimeMs;
use contactflow_schemas::event::{ConversationKey, EventKey};
use contactflow_schemas::prediction::TextKey;
use contactflow_schemas::tables::Table;
use serde::{Deserialize, Serialize};
use timely::worker::Worker;

use super::JobError;
use super::coordination::{Announcement, Coordination, Report};
use super::round::Handover;
use super::shared::{Ledger, Shared};
use crate::seal::{Horizon, Mark, conversation_hash, event_hash};
use crate::sink::sha256_hex;

/// Most that is reported at once: conversations or events.
const REPORT_ROWS: usize = 1 << 15;

/// What worker 0 wants to know of every worker, one after the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Question {
    /// What has to stay open if everything before a horizon is to be sealed.
    Open(Horizon),
    /// Which conversations are over before it, these aside, and those with these texts.
    Settled {
        /// Until when.
        horizon: Horizon,
        /// Conversations with rows in dispute.
        disputed: HashSet<ConversationKey>,
        /// Texts without a prediction.
        waiting: HashSet<TextKey>,
    },
    /// Which events belong to these conversations.
    Events(HashSet<ConversationKey>),
}

/// A part of an answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Finding {
    /// To [`Question::Open`].
    Open {
        /// Conversations with rows in dispute.
        disputed: Vec<ConversationKey>,
        /// Texts without a prediction.
        waiting: Vec<TextKey>,
    },
    /// To [`Question::Settled`].
    Settled(Vec<Settled>),
    /// To [`Question::Events`].
    Events(Vec<EventKey>),
}

/// A seal in the making.
#[derive(Default)]
pub(super) struct Draft {
    /// None while nothing is to be sealed.
    horizon: Option<Horizon>,
    disputed: HashSet<ConversationKey>,
    waiting: HashSet<TextKey>,
    settled: Vec<Settled>,
    events: HashSet<u128>,
}

impl Draft {
    /// A draft without anything in it.
    fn until(horizon: Option<Horizon>) -> Self {
        Self { horizon, ..Self::default() }
    }

    /// True when there is nothing to seal.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Takes in what a worker found.
    pub(super) fn add(&mut self, finding: Finding) {
        match finding {
            Finding::Open { disputed, waiting } => {
                self.disputed.extend(disputed);
                self.waiting.extend(waiting);
            }
            Finding::Settled(settled) => self.settled.extend(settled),
            Finding::Events(events) => self.events.extend(events.into_iter().map(|key| key.0)),
        }
    }

    /// What is asked after this question.
    fn next(&self, asked: &Question) -> Option<Question> {
        match asked {
            Question::Open(horizon) => {
                let (disputed, waiting) = (self.disputed.clone(), self.waiting.clone());
                Some(Question::Settled { horizon: *horizon, disputed, waiting })
            }
            Question::Settled { .. } => {
                let conversations: HashSet<_> = self.settled.iter().map(|one| one.conversation).collect();
                (!conversations.is_empty()).then_some(Question::Events(conversations))
            }
            Question::Events(_) => None,
        }
    }

    /// What is kept in memory of what is sealed.
    fn marks(&self) -> Vec<(Mark, u64)> {
        let mut marks = Vec::new();
        for one in &self.settled {
            marks.push((Mark::Conversation, conversation_hash(&one.conversation)));
            marks.extend(one.messages.iter().map(|hash| (Mark::Message, *hash)));
        }
        marks.extend(self.events.iter().map(|key| (Mark::Event, event_hash(EventKey(*key)))));
        marks
    }
}

/// What computes the tables: this version of the program, with these tables. What another has sealed has to be computed anew.
pub(super) fn program() -> String {
    let schemas: Vec<_> = Table::all().map(|table| (table.name(), table.schema())).collect();
    let hash = sha256_hex(format!("{schemas:?}").as_bytes());
    format!("{} {}", env!("CARGO_PKG_VERSION"), &hash[..16])
}

/// Draws up the seal that a commit is to hold, if one is due. Every worker calls it between rounds, when all have handed over.
/// False when somebody has failed.
pub(super) fn draw_up(
    worker: &mut Worker,
    shared: &Shared,
    coordination: &mut Coordination,
    handover: &Handover,
) -> bool {
    let is_planner = coordination.is_planner();
    let mut question = if is_planner { shared.plan_seal(handover.views.as_of_ms()).map(Question::Open) } else { None };
    loop {
        let announcement = is_planner.then(|| Announcement::Sealing(question.take()));
        let Some(Announcement::Sealing(asked)) = coordination.announce(worker, announcement) else { return false };
        let Some(asked) = asked else { return true };
        answer(&asked, handover).into_iter().for_each(|finding| coordination.report(Report::Sealing(finding)));
        if !coordination.meet(worker) {
            return false;
        }
        if is_planner {
            question = shared.ledger().draft.next(&asked);
        }
    }
}

/// What this worker has to say to a question.
fn answer(question: &Question, handover: &Handover) -> Vec<Finding> {
    match question {
        Question::Open(_) => {
            let disputed = handover.ledger.borrow().disputed().collect();
            vec![Finding::Open { disputed, waiting: handover.journal.waiting() }]
        }
        Question::Settled { horizon, disputed, waiting } => {
            let settled = handover.histories.settled(horizon.before_ms(), disputed, waiting);
            settled.chunks(REPORT_ROWS).map(|part| Finding::Settled(part.to_vec())).collect()
        }
        Question::Events(conversations) => {
            let events = handover.ledger.borrow().identities_of(conversations);
            events.chunks(REPORT_ROWS).map(|part| Finding::Events(part.to_vec())).collect()
        }
    }
}

impl Shared {
    /// True for a job that seals at all.
    pub(super) fn seals(&self) -> bool {
        self.settings.seal_after_days > 0 && self.settings.keep_state && self.mode.commits()
    }

    /// Decides whether a seal is drawn up, and until when. A horizon is tried once, and once more where something was found: what
    /// is not over by then stays until the next one. One that had to be opened is not sealed again by this run.
    fn plan_seal(&self, as_of_ms: Option<TimeMs>) -> Option<Horizon> {
        let mut ledger = self.ledger();
        let found = std::mem::take(&mut ledger.draft);
        let is_able = self.context.backlog.texts() == 0 && !self.has_stopped();
        let as_of_ms = as_of_ms.filter(|_| is_able)?;
        let context = &self.context;
        let horizon = Horizon::of(&context.windows, &context.rules, as_of_ms, self.settings.seal_after_days);
        let is_new = ledger.sealed_until.is_none_or(|known| horizon > known);
        ledger.sealed_until = ledger.sealed_until.max(Some(horizon));
        let horizon = if is_new { Some(horizon) } else { found.horizon.filter(|_| !found.is_empty()) };
        ledger.draft = Draft::until(horizon);
        horizon
    }

    /// Writes the seal that was drawn up, if there is one.
    pub(super) fn write_seal(&self, ledger: &mut Ledger) -> Result<(), JobError> {
        let draft = std::mem::take(&mut ledger.draft);
        let (Some(horizon), Some(state), false) = (draft.horizon, &mut ledger.state, draft.is_empty()) else {
            return Ok(());
        };
        let Horizon { frozen_day } = horizon;
        let stem = self.stem_of(format!("sealed-{frozen_day}"));
        let objects = &*self.context.ingest.objects;
        let split = crate::state::seal(objects, &state.files(), &draft.events, &draft.marks(), frozen_day, &stem)?;
        state.seal(split);
        let (conversations, events) = (draft.settled.len(), draft.events.len());
        tracing::info!(conversations, events, before = contactflow_schemas::clock::date_string(frozen_day), "sealed");
        Ok(())
    }
}
