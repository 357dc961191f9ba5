//! The right to erasure: a contact's events leave the state, and with it every table.
//!
//! A contact's events are those that name it (as `contact_id`, or as the customer who acted) and, in conversations where no other
//! contact is named, all events. They are taken out of the base collections, the tables are computed from what is left and
//! committed, and the files that held them are deleted; so every aggregate is what it would be had they never been sent.
//!
//! What stays of an event is a tombstone: the hash of its identity, as a retraction that no later delivery outdoes. A source
//! that still holds the event and is read again (another model asks for its texts) cannot bring it back.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use contactflow_operators::causes::Causes;
use contactflow_operators::deduplicate::Incoming;
use contactflow_schemas::event::{ActorType, Body, ConversationKey, Delivery, Event, EventKey, Origin, Statement};
use contactflow_schemas::prediction::{ConversationPrediction, ConversationScoreKey, Prediction, TextKey, TextRequest};
use contactflow_schemas::reject::RejectedRow;
use contactflow_schemas::symbol::Symbol;
use serde::Serialize;

use super::resume::{Before, Resume};
use super::scan::{Scan, scan};
use super::shared::{Shared, Target, writer_id};
use super::{JobError, Mode, Stop, start_workers};
use crate::ingest::IngestProgress;
use crate::job::{JobContext, Sequences};
use crate::settings::JobSettings;
use crate::sink::{Committer, Inspector, Manifest, Objects, TableLayout};
use crate::state::{Edit, STATE, StateError, StateFile, StateKind, read_rows, rewrite};
use crate::store::Root;

/// Folder of the receipts below the root.
const RECEIPTS: &str = "_contactflow/erasures";

/// What an erasure removed. It names nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// Commit from which on nothing of the contact is left.
    pub commit: u64,
    /// Wall clock, ms since 1970.
    pub erased_at_ms: i64,
    /// Events of the contact, each counted once.
    pub events: u64,
    /// Conversations that are gone as a whole.
    pub conversations: u64,
    /// Rejected rows that named it.
    pub rejected_rows: u64,
    /// Predictions of texts that nobody else wrote.
    pub predictions: u64,
    /// Texts that waited for a model.
    pub texts: u64,
    /// Scores of conversations that do not stand any more.
    pub qualities: u64,
    /// State files written anew without it.
    pub state_files: u64,
    /// Files of `restatements` that named its events.
    pub restatement_files: u64,
    /// Files of tables that the commit wrote or removed.
    pub table_files: u64,
    /// What was searched afterwards, and found.
    pub scan: Scan,
}

/// What is to go.
#[derive(Default)]
struct Found {
    conversations: HashSet<ConversationKey>,
    events: HashSet<EventKey>,
    /// `[source, event_id]` of the events, as restatements name them.
    names: HashSet<(String, String)>,
    /// Texts of the contact that nobody else wrote.
    texts: HashSet<TextKey>,
}

/// Erases `contact` of `tenant` (of every tenant without one) from the root.
///
/// # Errors
/// [`JobError::NoCommit`], [`JobError::NoState`], [`Fenced`](crate::sink::CommitError::Fenced) or
/// [`Preceded`](crate::sink::CommitError::Preceded) by a running job, those of the store. An erasure that was cut short is
/// finished by calling it again.
pub fn erase(output: &str, contact: &str, tenant: Option<&str>, workers: usize) -> Result<Receipt, JobError> {
    let root = Root::open(output, false)?;
    let url = root.url.clone();
    let objects: Arc<dyn Objects> = Arc::new(root);
    if crate::sink::last_commit(&*objects, &url)?.is_none() {
        return Err(JobError::NoCommit { root: url });
    }
    let causes = Causes::default();
    let committer = Committer::open(Arc::clone(&objects), &url, TableLayout::of_root(&*objects)?, &writer_id(), &[])?;
    let previous = committer.previous().cloned().unwrap_or_else(|| unreachable!("a commit was found a moment ago"));
    let Some(state) = previous.state.clone() else { return Err(JobError::NoState { root: url }) };
    let found = Found::search(&*objects, &state, contact, tenant)?;
    let mut receipt = Receipt {
        events: found.events.len() as u64,
        conversations: found.conversations.len() as u64,
        ..Receipt::default()
    };
    let mut eraser = Eraser { objects: &*objects, found: &found, contact, receipt: &mut receipt };
    let edited = eraser.edit(&state, committer.generation())?;

    let settings = JobSettings::of_published(output, workers, previous.settings.as_ref());
    let edited = match edited.iter().any(|file| file.kind == StateKind::Qualities) && !found.events.is_empty() {
        true => {
            let wanted = sequences(&objects, &settings, &previous, edited.clone())?;
            keep_qualities(&*objects, edited, &wanted, committer.generation(), &mut receipt)?
        }
        false => edited,
    };
    let progress = Arc::new(IngestProgress::default());
    let context = JobContext::new(&settings, Vec::new(), Arc::clone(&objects), &progress, None, causes)?;
    let published = previous.settings.unwrap_or_default();
    let context = context.showing(&published);
    let superseded = gone(&state, &edited);
    // What is sealed may hold the contact too.
    let resume = Resume::edited(edited, previous.sources, superseded);
    let target = Target::Commit(Box::new(committer));
    let shared =
        Arc::new(Shared::new(&settings, Mode::Once, context, target, resume, Before::default(), Stop::default()));
    start_workers(&shared)?;
    let summary = shared.summary(std::time::Duration::ZERO)?;
    if let Some(commit) = summary.last_commit {
        receipt.commit = commit.commit;
        receipt.table_files = (commit.files_written + commit.files_removed) as u64;
    }
    receipt.restatement_files = shared.forget_events(&found.names)? as u64;
    receipt.erased_at_ms = super::commits::wall_clock_ms();
    receipt.scan = scan(&*objects, contact)?;
    let body = serde_json::to_vec(&receipt).map_err(|error| StateError::Encode(error.to_string()))?;
    let name = format!("{RECEIPTS}/{:020}.json", receipt.commit);
    objects.put(&name, body.into()).map_err(StateError::from)?;
    Ok(receipt)
}

/// The sequences of turns that stand in the tables of a state, for the model or for a candidate; nothing is written.
fn sequences(
    objects: &Arc<dyn Objects>,
    settings: &JobSettings,
    previous: &Manifest,
    state: Vec<StateFile>,
) -> Result<HashSet<ConversationScoreKey>, JobError> {
    let causes = Causes::default();
    let inspector = Inspector::new(Arc::clone(objects), previous.clone(), causes.clone(), settings.windows()?);
    let progress = Arc::new(IngestProgress::default());
    let context = JobContext::new(settings, Vec::new(), Arc::clone(objects), &progress, None, causes)?;
    let sequences = Sequences::default();
    let context = context.showing(&previous.settings.clone().unwrap_or_default()).noting(&sequences);
    let read = previous.sources.clone();
    let resume = Resume::edited(state, read, Vec::new());
    let target = Target::Compare(Box::new(inspector));
    let shared =
        Arc::new(Shared::new(settings, Mode::Compare, context, target, resume, Before::default(), Stop::default()));
    start_workers(&shared)?;
    shared.summary(std::time::Duration::ZERO)?;
    Ok(std::mem::take(&mut *sequences.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// The state files without the qualities of sequences that do not stand any more: those of the contact, and others that
/// were asked for before their conversations went on.
fn keep_qualities(
    objects: &dyn Objects,
    state: Vec<StateFile>,
    wanted: &HashSet<ConversationScoreKey>,
    generation: u64,
    receipt: &mut Receipt,
) -> Result<Vec<StateFile>, StateError> {
    let mut kept = Vec::new();
    for (number, file) in state.into_iter().enumerate() {
        if file.kind != StateKind::Qualities {
            kept.push(file);
            continue;
        }
        let path = format!("{STATE}/{}/{generation:010}-erased-{number:08}.parquet", file.kind.name());
        let rewritten = rewrite(objects, &file, path, |row: &ConversationPrediction| {
            let stands = wanted.contains(&row.key);
            receipt.qualities += u64::from(!stands);
            if stands { Edit::Keep } else { Edit::Drop }
        })?;
        receipt.state_files += u64::from(rewritten.is_some());
        match rewritten {
            Some(rewritten) => kept.extend(rewritten),
            None => kept.push(file),
        }
    }
    Ok(kept)
}

/// A contact that asked to be forgotten (`erasure_requested`) and is still there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ErasureRequest {
    /// `tenant_id`.
    pub tenant: String,
    /// `contact_id`.
    pub contact: String,
}

/// The requests that stand and were not acted on, sorted. A request that was acted on is erased with its contact.
///
/// # Errors
/// [`JobError::NoCommit`], [`JobError::NoState`], and those of the store.
pub fn erasure_requests(output: &str) -> Result<Vec<ErasureRequest>, JobError> {
    let root = Root::open(output, false)?;
    let url = root.url.clone();
    let previous = crate::sink::last_commit(&root, &url)?.ok_or_else(|| JobError::NoCommit { root: url.clone() })?;
    let state = previous.state.ok_or(JobError::NoState { root: url })?;
    let mut asked: HashSet<EventKey> = HashSet::new();
    read_rows(&root, &state, StateKind::Deliveries, |row: Incoming| {
        if let Incoming::Delivery(Delivery { key, statement: Statement::ErasureRequested { .. }, .. }) = row {
            asked.insert(key);
        }
    })?;
    // The greatest version of each identity stands; at equal versions a retraction does.
    let mut standing: HashMap<EventKey, (i64, bool, Option<ErasureRequest>)> = HashMap::new();
    read_rows(&root, &state, StateKind::Deliveries, |row: Incoming| {
        let Incoming::Delivery(delivery) = row else { return };
        if !asked.contains(&delivery.key) {
            return;
        }
        let request = match &delivery.statement {
            Statement::ErasureRequested { tenant, contact, .. } => {
                Some(ErasureRequest { tenant: tenant.to_string(), contact: contact.to_string() })
            }
            _ => None,
        };
        let found = (delivery.version, matches!(delivery.statement, Statement::Retracted { .. }), request);
        let known = standing.entry(delivery.key).or_insert_with(|| found.clone());
        if (found.0, found.1) > (known.0, known.1) {
            *known = found;
        }
    })?;
    let mut requests: Vec<_> = standing.into_values().filter_map(|(_, _, request)| request).collect();
    requests.sort_unstable();
    requests.dedup();
    Ok(requests)
}

/// The files of `before` that `after` does not name.
fn gone(before: &[StateFile], after: &[StateFile]) -> Vec<String> {
    let is_gone = |file: &&StateFile| !after.iter().any(|other| other.path == file.path);
    before.iter().filter(is_gone).map(|file| file.path.clone()).collect()
}

/// Whether an event names the contact.
fn names(event: &Event, contact: Symbol) -> bool {
    event.contact == Some(contact)
        || (event.actor == Some(contact) && matches!(event.actor_type, Some(ActorType::Customer)))
}

fn text_of(event: &Event) -> Option<TextKey> {
    match &event.body {
        Body::Message { text, .. } | Body::Edited { text, .. } => text.as_ref().map(|text| text.key),
        _ => None,
    }
}

impl Found {
    fn search(
        objects: &dyn Objects,
        state: &[StateFile],
        contact: &str,
        tenant: Option<&str>,
    ) -> Result<Self, StateError> {
        let (contact, tenant) = (Symbol::new(contact), tenant.map(Symbol::new));
        let is_meant = |key: &ConversationKey| tenant.is_none_or(|tenant| tenant == key.tenant);
        // Whether a conversation names the contact, and whether it names another.
        let mut named: HashMap<ConversationKey, (bool, bool)> = HashMap::new();
        read_rows(objects, state, StateKind::Deliveries, |row: Incoming| {
            let Incoming::Delivery(Delivery { statement: Statement::Happened(key, event), .. }) = row else { return };
            let is_theirs = names(&event, contact);
            let is_others = event.contact.is_some_and(|other| other != contact);
            if is_meant(&key) && (is_theirs || is_others) {
                let (theirs, others) = named.entry(key).or_default();
                *theirs |= is_theirs;
                *others |= is_others;
            }
        })?;
        let mut found = Self::default();
        found.conversations.extend(named.iter().filter(|(_, named)| **named == (true, false)).map(|(key, _)| *key));
        let mut texts_of_others = HashSet::new();
        read_rows(objects, state, StateKind::Deliveries, |row: Incoming| {
            let Incoming::Delivery(delivery) = row else { return };
            if let Statement::ErasureRequested { tenant: of, source, event_id, contact: named } = &delivery.statement
                && *named == contact
                && tenant.is_none_or(|tenant| tenant == *of)
            {
                found.events.insert(delivery.key);
                found.names.insert((source.to_string(), event_id.to_string()));
            }
            let Statement::Happened(key, event) = &delivery.statement else { return };
            let is_theirs = found.conversations.contains(key) || (is_meant(key) && names(event, contact));
            if is_theirs {
                found.events.insert(delivery.key);
                found.names.insert((event.source.to_string(), event.event_id.to_string()));
                found.texts.extend(text_of(event));
            } else {
                texts_of_others.extend(text_of(event));
            }
        })?;
        found.texts.retain(|text| !texts_of_others.contains(text));
        Ok(found)
    }
}

/// Takes what was found out of the state.
struct Eraser<'a> {
    objects: &'a dyn Objects,
    found: &'a Found,
    contact: &'a str,
    receipt: &'a mut Receipt,
}

impl Eraser<'_> {
    /// The state files without the contact; those that never held it are the same.
    fn edit(&mut self, state: &[StateFile], generation: u64) -> Result<Vec<StateFile>, StateError> {
        let mut buried = HashSet::new();
        let mut edited = Vec::new();
        for (number, file) in state.iter().enumerate() {
            let path = format!("{STATE}/{}/{generation:010}-erased-{number:08}.parquet", file.kind.name());
            let rewritten = match file.kind {
                StateKind::Deliveries => {
                    rewrite(self.objects, file, path, |row: &Incoming| self.edit_delivery(row, &mut buried))?
                }
                StateKind::Predictions => rewrite(self.objects, file, path, |row: &Prediction| {
                    let is_theirs = self.found.texts.contains(&row.key);
                    self.receipt.predictions += u64::from(is_theirs);
                    if is_theirs { Edit::Drop } else { Edit::Keep }
                })?,
                StateKind::Texts => rewrite(self.objects, file, path, |row: &TextRequest| {
                    let is_theirs = self.found.texts.contains(&row.key) || row.text.contains(self.contact);
                    self.receipt.texts += u64::from(is_theirs);
                    if is_theirs { Edit::Drop } else { Edit::Keep }
                })?,
                // Their keys name whole sequences of turns: what is to stay is known once the tables are computed.
                StateKind::Qualities | StateKind::Seals => None,
            };
            self.receipt.state_files += u64::from(rewritten.is_some());
            match rewritten {
                Some(rewritten) => edited.extend(rewritten),
                None => edited.push(file.clone()),
            }
        }
        Ok(edited)
    }

    fn edit_delivery(&mut self, row: &Incoming, buried: &mut HashSet<EventKey>) -> Edit<Incoming> {
        match row {
            Incoming::Delivery(delivery) if self.found.events.contains(&delivery.key) => {
                if buried.insert(delivery.key) {
                    Edit::Replace(i64::MAX, Incoming::Delivery(tombstone(delivery.key)))
                } else {
                    Edit::Drop
                }
            }
            Incoming::Rejected(rejected) if self.concerns(rejected) => {
                self.receipt.rejected_rows += 1;
                Edit::Drop
            }
            _ => Edit::Keep,
        }
    }

    /// Whether a rejected row is of one of the events, or quotes the contact or one of its conversations.
    fn concerns(&self, row: &RejectedRow) -> bool {
        let reject = &row.reject;
        let texts = [reject.raw.as_deref(), reject.event_id.as_deref(), Some(&reject.message)];
        let quotes = |needle: &str| texts.iter().flatten().any(|text| text.contains(needle));
        row.key.is_some_and(|key| self.found.events.contains(&key))
            || quotes(self.contact)
            || self.found.conversations.iter().any(|key| quotes(key.conversation.as_str()))
    }
}

/// What keeps an erased event from coming back.
fn tombstone(key: EventKey) -> Delivery {
    let nothing = Symbol::new("");
    Delivery {
        key,
        version: i64::MAX,
        content: 0,
        time_ms: None,
        ingest_ms: None,
        statement: Statement::Retracted { source: nothing, event_id: "".into() },
        origin: Origin { file: nothing, row: 0 },
    }
}
