//! What ended a job.

use super::JobError;
use crate::sink::CommitError;
use crate::store::StoreError;

/// What ended the job, `error` or another job. A successor clears away what this job was still writing, which a disk tells as a
/// file that is not there; a predecessor may take away state with a commit that comes late.
pub(super) fn cause(error: JobError, check_others: impl FnOnce() -> Result<(), CommitError>) -> JobError {
    if !is_of_the_disk(&error) && !error.lacks_state() {
        return error;
    }
    match check_others() {
        Err(other @ (CommitError::Fenced { .. } | CommitError::Preceded { .. })) => {
            tracing::debug!(%error, "a file of this job is gone");
            other.into()
        }
        _ => error,
    }
}

fn is_of_the_disk(error: &JobError) -> bool {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.filter_map(|cause| cause.downcast_ref()).any(|cause| matches!(cause, StoreError::LocalDisk { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::ObjectError;
    use crate::state::StateError;

    fn writing(source: StoreError) -> JobError {
        let name = "_contactflow/state/deliveries/1.parquet".to_owned();
        JobError::State(StateError::from(ObjectError { action: "writing", name, source: source.into() }))
    }

    #[test]
    fn a_file_that_another_job_cleared_away_is_told_as_that_job() {
        let detail = || "No such file or directory".to_owned();
        let disk = || writing(StoreError::LocalDisk { path: "x".to_owned(), detail: detail() });
        let successor = || Err(CommitError::Fenced { root: "r".to_owned(), by: "job b".to_owned() });
        let told = cause(disk(), successor);
        assert!(matches!(told, JobError::Commit(CommitError::Fenced { .. })), "{told}");
        let told = cause(disk(), || Ok(()));
        assert!(matches!(told, JobError::State(_)), "{told}");
        let gone = JobError::State(StateError::Missing { path: "1.parquet".to_owned() });
        let predecessor = || Err(CommitError::Preceded { root: "r".to_owned(), by: "job a".to_owned() });
        let told = cause(gone, predecessor);
        assert!(matches!(told, JobError::Commit(CommitError::Preceded { .. })), "{told}");
        let far = writing(StoreError::Unreachable { url: "s3://x".to_owned(), detail: detail() });
        let told = cause(far, || panic!("a store that cannot be reached is not asked again"));
        assert!(matches!(told, JobError::State(_)), "{told}");
    }
}
