//! Who else commits below a root: the jobs that hold it after this one, those that held it before, and earlier attempts of
//! this one.

use super::Committer;
use crate::sink::error::CommitError;
use crate::sink::fence;
use crate::sink::head::{self, Standing};
use crate::sink::manifest::Manifest;

impl Committer {
    /// Fails when another job holds the root, so that a job without anything to commit ends too.
    ///
    /// # Errors
    /// [`CommitError::Fenced`]; those of the store.
    pub fn check_root(&self) -> Result<(), CommitError> {
        fence::check(&*self.objects, &self.holder.root_url, &self.holder.claim)
    }

    /// Fails when another job claimed the root after this one.
    ///
    /// # Errors
    /// As [`check_root`](Self::check_root).
    pub fn check_successor(&self) -> Result<(), CommitError> {
        fence::check_successor(&*self.objects, &self.holder.root_url, &self.holder.claim)
    }

    /// True when a commit of this run is done, so that no job that held the root before can make another.
    pub fn has_committed(&self) -> bool {
        !self.is_first
    }

    /// Fails when the job before made a commit after this one read what it goes on from.
    ///
    /// # Errors
    /// [`CommitError::Preceded`]; [`CommitError::Fenced`]; those of the store.
    pub fn check_predecessor(&self) -> Result<(), CommitError> {
        match self.next_manifest()? {
            Some(standing) if !self.is_ours(&standing) => Err(self.taken_by(&standing)?),
            _ => Ok(()),
        }
    }

    /// Makes the newest commit, which a job that held the root before has made, the last; [`start_again`](Self::start_again)
    /// then goes on from it.
    ///
    /// # Errors
    /// As [`Committer::open`].
    pub fn go_on_from_last(&mut self) -> Result<(), CommitError> {
        self.check_root()?;
        self.standing = Standing::read(&*self.objects, &self.holder, self.layout, &self.inputs)?;
        (self.is_first, self.is_uncertain, self.was_attempted) = (true, true, false);
        if let Some(restater) = &mut self.restater {
            restater.forget();
        }
        Ok(())
    }

    /// Fails when the last commit was made from inputs that this job lacks: one that keeps no state would drop them.
    ///
    /// # Errors
    /// [`CommitError::MissingInputs`].
    pub fn check_inputs(&self) -> Result<(), CommitError> {
        let previous = self.standing.previous.as_ref();
        previous.map_or(Ok(()), |previous| head::admit_inputs(&self.holder.root_url, previous, &self.inputs))
    }

    /// Makes a manifest of an earlier attempt, whose write looked failed and was not, the last commit: this attempt
    /// then goes on from there. One by the job before ends it before anything is changed.
    pub(super) fn adopt_attempt(&mut self) -> Result<(), CommitError> {
        if !self.is_first && !self.was_attempted {
            return Ok(());
        }
        let Some(standing) = self.next_manifest()? else { return Ok(()) };
        if !self.is_ours(&standing) {
            return Err(self.taken_by(&standing)?);
        }
        self.standing.live = standing.by_slot();
        self.follow(standing);
        if let Some(restater) = &mut self.restater {
            restater.forget();
        }
        Ok(())
    }

    fn is_ours(&self, manifest: &Manifest) -> bool {
        (&manifest.writer_id, manifest.generation) == (&self.holder.claim.writer_id, self.holder.claim.generation)
    }

    pub(super) fn next_number(&self) -> u64 {
        self.standing.previous.as_ref().map_or(0, |previous| previous.commit) + 1
    }

    /// The manifest of the commit after the last that is known, if there is one.
    fn next_manifest(&self) -> Result<Option<Manifest>, CommitError> {
        head::read_manifest(&*self.objects, &self.holder.root_url, &Manifest::path(self.next_number()))
    }

    /// The error of who finds the number of its commit taken by another job.
    fn taken_by(&self, standing: &Manifest) -> Result<CommitError, CommitError> {
        let Manifest { writer_id, commit, generation, .. } = standing;
        let root = self.holder.root_url.clone();
        let by = format!("job {writer_id}, which wrote commit {commit}");
        if *generation > self.generation() {
            return Ok(CommitError::Fenced { root, by });
        }
        // Between the two there may be a third by now.
        self.check_root()?;
        Ok(CommitError::Preceded { root, by })
    }

    /// Creates the manifest: the moment of the commit. Returns a manifest of that number by this very job: one whose
    /// write looked failed to an earlier attempt, and was not.
    pub(super) fn put_manifest(&self, manifest: &Manifest) -> Result<Option<Manifest>, CommitError> {
        let path = Manifest::path(manifest.commit);
        let body = serde_json::to_vec(manifest).map_err(CommitError::Json)?;
        if self.objects.put_if_absent(&path, body.into())? {
            return Ok(None);
        }
        match head::read_manifest(&*self.objects, &self.holder.root_url, &path)? {
            // The store made the write and then answered no to its repetition.
            Some(standing) if standing == *manifest => Ok(None),
            Some(standing) if self.is_ours(&standing) => Ok(Some(standing)),
            Some(standing) => Err(self.taken_by(&standing)?),
            None => {
                let by = format!("the writer of commit {}", manifest.commit);
                Err(CommitError::Fenced { root: self.holder.root_url.clone(), by })
            }
        }
    }
}
