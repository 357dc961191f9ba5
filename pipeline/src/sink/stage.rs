//! What the next commit will change: filled by any worker through a [`PartitionWriter`], drained by the
//! [`Committer`](super::Committer).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use contactflow_schemas::clock::date_string;
use contactflow_schemas::tables::Table;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::layout::Layout;
use super::manifest::{FileEntry, Partition};

/// What is known about rows that change partition with this commit (a late event moves a cycle to another day). It
/// decides the order of writing, so that a plain listing never counts a moved row twice.
///
/// Rows of KPI tables and of `anomaly_scores` never move, since their key holds the window: for those it is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowMoves {
    /// No row came in from another partition: written first, which makes room in the others.
    NoneIn,
    /// No row left for another partition: written last.
    NoneOut,
    /// Not known, or both: the file of the last commit is deleted before the files written last. Always right; the
    /// rows that stay are away from a plain listing for the time of the commit.
    Unknown,
}

/// A body that waits for the commit.
#[derive(Clone)]
pub(super) struct Staged {
    pub(super) body: Bytes,
    /// None in tables whose rows cannot move.
    pub(super) moves: Option<RowMoves>,
}

/// Everything the workers said since the last commit, by [slot](FileEntry::slot).
#[derive(Default)]
pub(super) struct Stage {
    /// Content that is known to be in the store: slot to SHA-256. Entries leave before their file is touched.
    pub(super) known: HashMap<String, String>,
    /// Files of the state to commit, changed or not, since the last commit.
    pub(super) entries: BTreeMap<String, FileEntry>,
    /// Those of them that have to be written.
    pub(super) bodies: BTreeMap<String, Staged>,
    /// Partitions without rows.
    pub(super) emptied: BTreeSet<String>,
}

/// What workers of another process said of a partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HandedOver {
    slot: String,
    /// None: it has no rows.
    entry: Option<FileEntry>,
    /// None: the store holds it.
    #[serde(with = "crate::wire::body")]
    body: Option<Bytes>,
    moves: Option<RowMoves>,
}

impl HandedOver {
    /// What will be known of the partition once it is committed: its slot and SHA-256, if it has rows.
    pub fn will_be_known(&self) -> (String, Option<String>) {
        (self.slot.clone(), self.entry.as_ref().map(|entry| entry.sha256.clone()))
    }
}

impl Stage {
    /// Forgets what the workers said.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bodies.clear();
        self.emptied.clear();
    }
}

/// Hands the partitions of a commit over; a clone for every worker. Nothing reaches the store before
/// [`Committer::commit`](super::Committer::commit).
#[derive(Clone)]
pub struct PartitionWriter {
    layout: Layout,
    stage: Arc<Mutex<Stage>>,
}

impl PartitionWriter {
    /// A stage of which the store holds what is `known`, SHA-256 by slot.
    pub fn new(layout: Layout, known: HashMap<String, String>) -> Self {
        Self { layout, stage: Arc::new(Mutex::new(Stage { known, ..Stage::default() })) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Stage> {
        // A worker that panicked while holding the lock has left no half-made entry: each is inserted whole.
        self.stage.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Sets the content of a partition, `rows` rows encoded as `body`, replacing what was said of it since the last
    /// commit. No rows is [`Self::remove`]. A body that the store holds already is let go at once; any other stays in
    /// memory until the commit.
    pub fn write(&self, partition: Partition, moves: RowMoves, rows: usize, body: Bytes) {
        if rows == 0 {
            return self.remove(partition);
        }
        let slot = partition.slot();
        let entry = entry(self.layout, partition, rows, &body);
        let mut stage = self.lock();
        stage.emptied.remove(&slot);
        // Said before of the same commit: rows may have moved by either of the two changes.
        let earlier = stage.bodies.get(&slot).and_then(|staged| staged.moves);
        let moves = if earlier.is_none_or(|earlier| earlier == moves) { moves } else { RowMoves::Unknown };
        let moves = may_move(partition.table).then_some(moves);
        if stage.known.get(&slot) == Some(&entry.sha256) {
            stage.bodies.remove(&slot);
        } else {
            stage.bodies.insert(slot.clone(), Staged { body, moves });
        }
        stage.entries.insert(slot, entry);
    }

    /// True when something handed over since the last commit differs from what the store holds.
    pub fn has_changes(&self) -> bool {
        let stage = self.lock();
        !stage.bodies.is_empty() || stage.emptied.iter().any(|slot| stage.known.contains_key(slot))
    }

    /// Takes everything that was said since the last commit out, for the committer in another process.
    pub fn hand_over(&self) -> Vec<HandedOver> {
        let mut stage = self.lock();
        let (entries, emptied) = (std::mem::take(&mut stage.entries), std::mem::take(&mut stage.emptied));
        let mut bodies = std::mem::take(&mut stage.bodies);
        let gone = emptied.into_iter().map(|slot| HandedOver { slot, entry: None, body: None, moves: None });
        let held = entries.into_iter().map(|(slot, entry)| {
            let staged = bodies.remove(&slot);
            let moves = staged.as_ref().and_then(|staged| staged.moves);
            HandedOver { slot, entry: Some(entry), body: staged.map(|staged| staged.body), moves }
        });
        gone.chain(held).collect()
    }

    /// Takes in what another process [handed over](Self::hand_over).
    ///
    /// # Panics
    /// When that process took something as known which is not.
    pub fn take_over(&self, partition: HandedOver) {
        let HandedOver { slot, entry, body, moves } = partition;
        let mut stage = self.lock();
        let Some(entry) = entry else {
            stage.bodies.remove(&slot);
            stage.entries.remove(&slot);
            stage.emptied.insert(slot);
            return;
        };
        let is_known = stage.known.get(&slot) == Some(&entry.sha256);
        assert!(body.is_some() || is_known, "a partition that no commit has comes with its content");
        stage.emptied.remove(&slot);
        match body.filter(|_| !is_known) {
            Some(body) => stage.bodies.insert(slot.clone(), Staged { body, moves }),
            None => stage.bodies.remove(&slot),
        };
        stage.entries.insert(slot, entry);
    }

    /// What the store is known to hold: SHA-256 by slot.
    pub fn known(&self) -> HashMap<String, String> {
        self.lock().known.clone()
    }

    /// Says that what was handed over is committed.
    pub fn learn(&self, committed: impl IntoIterator<Item = (String, Option<String>)>) {
        let mut stage = self.lock();
        for (slot, sha256) in committed {
            match sha256 {
                Some(sha256) => stage.known.insert(slot, sha256),
                None => stage.known.remove(&slot),
            };
        }
    }

    /// Says that a partition has no rows; its file leaves the table, if there is one.
    pub fn remove(&self, partition: Partition) {
        let slot = partition.slot();
        let mut stage = self.lock();
        stage.bodies.remove(&slot);
        stage.entries.remove(&slot);
        stage.emptied.insert(slot);
    }
}

/// True for tables whose rows can change partition.
fn may_move(table: Table) -> bool {
    match table {
        Table::ConversationFacts | Table::MessageScores | Table::CandidateScores => true,
        Table::ConversationScores | Table::CandidateConversationScores => true,
        Table::Kpi(..) | Table::TopicWindow | Table::ModelEval | Table::AnomalyScores => false,
        // One partition, or history.
        Table::RejectedEvents | Table::Dimensions | Table::Restatements | Table::Commits => false,
    }
}

fn entry(layout: Layout, partition: Partition, rows: usize, body: &Bytes) -> FileEntry {
    let sha256 = sha256_hex(body);
    FileEntry {
        path: layout.file_name(&partition.slot(), &sha256),
        table: partition.table.name().to_owned(),
        date: partition.day.map(date_string),
        shard: partition.shard,
        rows: rows as u64,
        bytes: body.len() as u64,
        sha256,
        tag: None,
    }
}

pub(crate) fn sha256_hex(body: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let hash = Sha256::digest(body);
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 0xF)]);
    hash.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte)]).collect()
}
