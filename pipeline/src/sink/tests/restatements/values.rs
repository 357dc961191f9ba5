//! Which values are told.

use std::sync::Arc;

use super::*;

#[test]
fn values_of_closed_windows_are_told_and_open_ones_are_not() {
    let mut job = Job::new();
    job.hours(&[("", 0, 1), ("ann", 0, 2), ("ann", 1, 3), ("ann", 2, 4)]);
    // The hour from 2 on is still open; the hour that ends with as_of is closed.
    assert!(job.commit(at(2)).is_empty());
    job.hours(&[("", 0, 5), ("ann", 0, 2), ("ann", 1, 6), ("ann", 2, 7)]);
    let expected = [change(2, "", 0, Some(1.0), Some(5.0)), change(2, "ann", 1, Some(3.0), Some(6.0))];
    assert_eq!(of_replies(job.commit(at(3))), expected);
    job.hours(&[("", 0, 5), ("ann", 0, 2), ("ann", 1, 6), ("ann", 2, 8)]);
    assert_eq!(of_replies(job.commit(at(4))), [change(3, "ann", 2, Some(7.0), Some(8.0))]);
}

#[test]
fn rows_that_appear_and_vanish_have_no_value_on_the_other_side() {
    let mut job = Job::new();
    job.hours(&[("ann", 0, 2), ("bob", 1, 3)]);
    job.commit(at(24));
    job.hours(&[("ann", 0, 2), ("amy", 1, 4)]);
    let found = job.commit(at(24));
    assert!(found.iter().all(|row| row.5.or(row.6) != Some(0.0) && row.5.is_some() != row.6.is_some()), "{found:?}");
    let expected = [change(2, "amy", 1, None, Some(4.0)), change(2, "bob", 1, Some(3.0), None)];
    assert_eq!(of_replies(found), expected);
}

#[test]
fn partitions_that_vanish_and_appear_are_told_row_by_row() {
    let mut job = Job::new();
    job.hours(&[("ann", 0, 2)]);
    job.commit(at(24));
    job.committer.writer().remove(Partition::of_day(HOURS, DAY, 0));
    assert_eq!(of_replies(job.commit(at(24))), [change(2, "ann", 0, Some(2.0), None)]);
    job.hours(&[("ann", 0, 3)]);
    assert_eq!(of_replies(job.commit(at(24))), [change(3, "ann", 0, None, Some(3.0))]);
    // A run that no longer has the partition does not say so: its first commit is the whole state.
    let mut job = Job::open(&job.memory, "b");
    assert_eq!(of_replies(job.commit(at(24))), [change(4, "ann", 0, Some(3.0), None)]);
}

#[test]
fn a_root_of_its_own_and_equal_files_restate_nothing() {
    let mut job = Job::new();
    job.hours(&[("ann", 0, 2)]);
    assert!(job.commit(at(24)).is_empty());
    job.hours(&[("ann", 0, 2)]);
    job.commit(at(24));
    let mut job = Job::open(&job.memory, "b");
    job.hours(&[("ann", 0, 2)]);
    assert!(job.commit(at(24)).is_empty());
    assert!(job.memory.list("restatements").unwrap().is_empty());
}

#[test]
fn without_being_asked_a_commit_restates_nothing() {
    let mut job = Job::new();
    job.hours(&[("ann", 0, 2)]);
    job.commit(at(24));
    let objects = Arc::clone(&job.memory) as Arc<dyn Objects>;
    job.committer = Committer::open(objects, "/out", PARQUET, "b", &["/in".to_owned()]).unwrap();
    job.hours(&[("ann", 0, 3)]);
    assert!(job.commit(at(24)).is_empty());
}
