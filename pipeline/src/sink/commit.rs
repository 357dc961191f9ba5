//! The commit protocol, in the steps that both layouts have; what they do in each is in [`layout`](super::layout).
//!
//! Invariants:
//! 1. One job writes below a root: the holder of the [`fence`]. It is checked before a commit touches anything and again
//!    before the tables are published.
//! 2. A commit is done when its manifest is there. The manifest of commit n is created only where there is none, so
//!    commit n has one writer. Whatever stops a commit before that, the manifest of commit n − 1 stays the newest, and
//!    the next attempt, of this job or a restarted one, converges: every step may be repeated.
//!    A job that looked at the fence in time may still create the manifest it was about to create when it loses the root.
//!    So until a job's first commit is done, the commit before it is not certain to be the last: another one means to
//!    [go on from that](Committer::go_on_from_last), and what only the other needs is not deleted before
//!    ([`Committer::has_committed`]). Afterwards no predecessor can commit, since its number is taken.
//! 3. Order: data files, restatements and what publishes them, manifest, row of `commits`, clean-up.
//! 4. A file is left alone only when its content is *known*: this job wrote it in a finished commit, or the last
//!    manifest names the same content and the version the store lists today. So files of an unfinished commit, of a
//!    zombie or edited by hand are written anew by the first commit of the next run.
//! 5. The first commit of a run holds the whole state. Data files that it does not name are no part of the tables.
//! 6. Nothing is written below a root that holds data files but was never claimed by this program.

mod succession;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use contactflow_operators::causes::Causes;
use contactflow_schemas::clock::{TimeMs, date_string};
use contactflow_schemas::windows::Windows;

use super::error::CommitError;
use super::fence;
use super::head::{Head, Standing};
use super::history::{forget_events, row_of};
use super::layout::{Change as FileChange, Holder, Publication, TableLayout, Written};
use super::manifest::{FORMAT_VERSION, FileEntry, Manifest, PublishedSettings, SourceFile};
use super::objects::Objects;
use super::restate::{Change, Restated, Restater};
use super::root_record::RootRecord;
use super::stage::{PartitionWriter, Staged};
use crate::state::StateFile;

/// Manifests that are kept, the newest included.
const MANIFESTS_KEPT: u64 = 64;

/// What a commit says about itself.
#[derive(Clone, Debug)]
pub struct CommitInput {
    /// Dataflow epoch the tables are consistent with.
    pub epoch: u64,
    /// Latest event time they know.
    pub as_of_ms: Option<TimeMs>,
    /// Wall clock, for the history only.
    pub committed_at_ms: TimeMs,
    /// When computing ended, for the duration in the history only.
    pub computed_at: Instant,
    /// Every source file read so far.
    pub sources: Vec<SourceFile>,
    /// What the tables depend on besides the events.
    pub settings: PublishedSettings,
    /// The state that the tables follow from; none when none is kept.
    pub state: Option<Vec<StateFile>>,
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitSummary {
    /// Its number, from 1.
    pub commit: u64,
    /// Live files.
    pub files_live: usize,
    /// Files written.
    pub files_written: usize,
    /// Files removed.
    pub files_removed: usize,
    /// Rows in the files written.
    pub rows_written: u64,
    /// Size of the files written, bytes.
    pub bytes_written: u64,
    /// From the end of computing to the manifest.
    pub duration: Duration,
}

/// The one writer of commits below an output root.
pub struct Committer {
    objects: Arc<dyn Objects>,
    holder: Holder,
    layout: TableLayout,
    inputs: Vec<String>,
    standing: Standing,
    /// No commit of this run is done: the stage is to hold the whole state.
    is_first: bool,
    /// The store may hold another state than that of the last commit, so nothing is known about rows that moved.
    is_uncertain: bool,
    /// An attempt of the next commit failed after it began to change files.
    was_attempted: bool,
    /// Finds what commits change in closed windows; none where nobody asked for it.
    restater: Option<Restater>,
    /// Date, `YYYY-MM-DD`, before which partitions stay as they are.
    frozen_before: Option<String>,
}

impl Committer {
    /// Takes the root over and reads its newest manifest. `writer_id` names this run and no other; `inputs` are the
    /// URLs it reads. A job that held the root is fenced from here on.
    ///
    /// # Errors
    /// [`CommitError::ForeignFiles`], [`CommitError::NewerFormat`], [`CommitError::MissingInputs`] before anything is
    /// written, so that a job started by mistake does not stop the right one; [`CommitError::Fenced`] when another job
    /// takes the root over at the same time; those of the store.
    pub fn open(
        objects: Arc<dyn Objects>,
        root_url: &str,
        layout: TableLayout,
        writer_id: &str,
        inputs: &[String],
    ) -> Result<Self, CommitError> {
        let was_claimed = !fence::generations(&*objects)?.is_empty();
        let head = Head::read(&*objects, root_url, layout.layout)?;
        let record = RootRecord::admit(&*objects, root_url, layout.layout, head.manifest.is_some())?;
        head.admit(root_url, was_claimed, inputs)?;
        let claim = fence::claim(&*objects, root_url, writer_id)?;
        let record = match record {
            Some(record) => record,
            None => RootRecord::create(&*objects, root_url, layout.layout, &claim)?,
        };
        let holder = Holder { root_id: record.root_id, root_url: root_url.to_owned(), claim };
        let mut inputs = inputs.to_vec();
        inputs.sort_unstable();
        inputs.dedup();
        // The last holder may have committed until the claim.
        let standing = Standing::read(&*objects, &holder, layout, &inputs)?;
        Ok(Self {
            objects,
            holder,
            layout,
            inputs,
            standing,
            is_first: true,
            is_uncertain: true,
            was_attempted: false,
            restater: None,
            frozen_before: None,
        })
    }

    /// Lets commits tell what they change in closed windows, and why (table `restatements`). `causes` is told what the
    /// last commit published, here and after each commit.
    pub fn with_restatements(mut self, causes: Causes, windows: Windows) -> Self {
        let mut restater = Restater::new(causes, windows);
        restater.resume(self.standing.previous.as_ref());
        self.restater = Some(restater);
        self
    }

    /// Number of this writer's claim of the root; a later writer has a greater one.
    pub fn generation(&self) -> u64 {
        self.holder.claim.generation
    }

    /// The last commit, of this run or an earlier one.
    pub fn previous(&self) -> Option<&Manifest> {
        self.standing.previous.as_ref()
    }

    /// A file of the last commit, by [slot](FileEntry::slot).
    pub fn live_file(&self, slot: &str) -> Option<&FileEntry> {
        self.standing.live.get(slot)
    }

    /// Partitions of days before `frozen_day` stay as the last commit has them, whether they are handed over or not.
    pub fn freeze(&mut self, frozen_day: Option<i32>) {
        self.frozen_before = frozen_day.map(date_string);
    }

    /// True when the store holds every frozen file as the last commit has it: a file that is gone or was changed has to be
    /// written anew.
    pub fn has_frozen_files(&self) -> bool {
        let stage = self.standing.writer.lock();
        self.standing.live.iter().all(|(slot, file)| !self.is_frozen(file) || stage.known.contains_key(slot))
    }

    fn is_frozen(&self, file: &FileEntry) -> bool {
        file.date.is_some() && file.date < self.frozen_before
    }

    /// Forgets what was handed over since the last commit, and goes on as a restart would.
    pub fn start_again(&mut self) {
        self.standing.writer.lock().clear();
        if let Some(restater) = &mut self.restater {
            restater.resume(self.standing.previous.as_ref());
        }
    }

    /// A handle through which workers hand over partitions.
    pub fn writer(&self) -> PartitionWriter {
        self.standing.writer.clone()
    }

    /// Commits what the workers handed over since the last commit; no worker may hand over anything meanwhile. After
    /// an error of the store it may be called again, with or without more handed over.
    ///
    /// # Errors
    /// [`CommitError::Fenced`] when another job holds the root: stop. [`CommitError::Preceded`] when the job before made a
    /// commit meanwhile: [go on from that](Self::go_on_from_last). Those of the store: the last commit stands.
    pub fn commit(&mut self, input: CommitInput) -> Result<CommitSummary, CommitError> {
        let objects = Arc::clone(&self.objects);
        self.check_root()?;
        self.adopt_attempt()?;
        let mut files = self.state_to_commit();
        let bodies = self.standing.writer.lock().bodies.clone();
        let restated = self.restate(&files, &bodies);

        // From here to the end the store may hold anything between the two commits.
        let is_uncertain = std::mem::replace(&mut self.is_uncertain, true);
        self.was_attempted = true;
        self.standing.writer.lock().known.retain(|slot, _| files.contains_key(slot) && !bodies.contains_key(slot));
        let change = FileChange { live: &self.standing.live, files: &files, bodies: &bodies, is_uncertain };
        let Written { tags, removed } = self.standing.tables.write(&*objects, change)?;
        for (slot, file) in &mut files {
            file.tag = match tags.get(slot) {
                Some(tag) => tag.clone(),
                None => self.standing.live.get(slot).and_then(|file| file.tag.clone()),
            };
        }
        self.check_root()?;
        if self.is_first {
            // What is published next, under the number of the commit, would stand beside another's.
            self.check_predecessor()?;
        }
        let written = bodies.keys().filter_map(|slot| files.get(slot)).map(|file| file.path.clone()).collect();
        let mut manifest = self.manifest(input, &files, written, removed, restated.cells);
        let publish = |committer: &mut Self, manifest: &Manifest| {
            let change = FileChange { live: &committer.standing.live, files: &files, bodies: &bodies, is_uncertain };
            let publication = Publication {
                commit: manifest.commit,
                previous: committer.standing.previous.as_ref().map_or(0, |previous| previous.commit),
                committed_at_ms: manifest.committed_at_ms,
                change,
                restatements: &restated.rows,
            };
            committer.standing.tables.publish(&*objects, &publication)
        };
        publish(self, &manifest)?;
        while let Some(standing) = self.put_manifest(&manifest)? {
            manifest.commit = standing.commit + 1;
            self.follow(standing);
            publish(self, &manifest)?;
        }
        Ok(self.finish(manifest, files))
    }

    /// What the commit changes in closed windows. The first commit of a root changes nothing.
    fn restate(&mut self, files: &BTreeMap<String, FileEntry>, bodies: &BTreeMap<String, Staged>) -> Restated {
        match (&mut self.restater, &self.standing.previous) {
            (Some(restater), Some(previous)) => {
                restater.restate(&*self.objects, &Change { previous, live: &self.standing.live, files, bodies })
            }
            _ => Restated::default(),
        }
    }

    /// The live files after the commit; tags are still those of before.
    fn state_to_commit(&self) -> BTreeMap<String, FileEntry> {
        let stage = self.standing.writer.lock();
        if self.is_first {
            let frozen = self.standing.live.iter().filter(|(_, file)| self.is_frozen(file));
            let frozen = frozen.map(|(slot, file)| (slot.clone(), file.clone()));
            return frozen.chain(stage.entries.clone()).collect();
        }
        let mut files = self.standing.live.clone();
        files.retain(|slot, _| !stage.emptied.contains(slot));
        files.extend(stage.entries.clone());
        files
    }

    fn manifest(
        &self,
        input: CommitInput,
        files: &BTreeMap<String, FileEntry>,
        mut written: Vec<String>,
        removed: Vec<String>,
        restated_cells: u64,
    ) -> Manifest {
        let CommitInput { epoch, as_of_ms, committed_at_ms, computed_at, mut sources, settings, state } = input;
        sources.sort_unstable();
        written.sort_unstable();
        let mut inputs = self.inputs.clone();
        if let Some(previous) = self.standing.previous.as_ref().filter(|_| state.is_some()) {
            inputs.extend(previous.inputs_missing_in(&self.inputs));
            inputs.sort_unstable();
        }
        Manifest {
            format_version: FORMAT_VERSION,
            commit: self.next_number(),
            epoch,
            writer_id: self.holder.claim.writer_id.clone(),
            generation: self.holder.claim.generation,
            committed_at_ms,
            duration_ms: computed_at.elapsed().as_millis() as u64,
            as_of_ms,
            inputs,
            sources,
            files: files.values().cloned().collect(),
            written,
            removed,
            restated_cells,
            settings: Some(settings),
            state,
        }
    }

    /// Makes what was handed over the state of the last commit.
    fn finish(&mut self, manifest: Manifest, files: BTreeMap<String, FileEntry>) -> CommitSummary {
        let mut stage = self.standing.writer.lock();
        stage.known = files.iter().map(|(slot, file)| (slot.clone(), file.sha256.clone())).collect();
        stage.clear();
        drop(stage);
        self.is_first = false;
        self.is_uncertain = false;
        self.was_attempted = false;
        self.standing.live = files;
        if let Some(outdated) = manifest.commit.checked_sub(MANIFESTS_KEPT).filter(|&commit| commit > 0)
            && let Err(error) = self.objects.delete(&Manifest::path(outdated))
        {
            tracing::warn!(%error, "an outdated manifest stays");
        }
        if let Some(restater) = &mut self.restater {
            restater.committed(manifest.as_of_ms);
        }
        let row = row_of(&manifest);
        self.follow(manifest);
        self.standing.tables.clean_up(&*self.objects, row.committed_at_ms);
        CommitSummary {
            commit: row.commit as u64,
            files_live: self.standing.live.len(),
            files_written: row.files_written as usize,
            files_removed: row.files_removed as usize,
            rows_written: row.rows_written as u64,
            bytes_written: row.bytes_written as u64,
            duration: Duration::from_millis(row.duration_ms as u64),
        }
    }

    /// Makes `manifest` the last commit and writes the history, which may lag behind but never fails a commit.
    fn follow(&mut self, manifest: Manifest) {
        self.standing.missing_rows.push(row_of(&manifest));
        self.put_rows();
        self.standing.previous = Some(manifest);
    }

    /// Writes rows of commits, oldest first, and leaves those that could not be written. The commits themselves are done,
    /// so a failure is no error of them.
    fn put_rows(&mut self) {
        let mut written = 0;
        for row in &self.standing.missing_rows {
            if let Err(error) = self.standing.tables.put_row(&*self.objects, row) {
                tracing::warn!(commit = row.commit, %error, "rows of table commits are missing until the next commit");
                break;
            }
            written += 1;
        }
        self.standing.missing_rows.drain(..written);
    }

    /// Takes events, given as `(source, event_id)`, out of what `restatements` name as causes; returns how many files named
    /// any. What a value was before stays: it names nobody.
    ///
    /// # Errors
    /// Those of the store; [`CommitError::Damaged`] for a file that cannot be read.
    pub fn forget_events(&mut self, events: &HashSet<(String, String)>) -> Result<usize, CommitError> {
        self.check_root()?;
        let Some(previous) = &self.standing.previous else { return Ok(0) };
        let edit = |name: &str, body: &Bytes| forget_events(name, body, events);
        let edited =
            self.standing.tables.edit_restatements(&*self.objects, previous.commit, previous.committed_at_ms, &edit)?;
        self.standing.tables.clean_up(&*self.objects, previous.committed_at_ms);
        Ok(edited)
    }
}
