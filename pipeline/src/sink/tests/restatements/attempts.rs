//! Commits that fail, and files that are not those of the last commit.

use super::*;

#[test]
fn a_file_that_is_not_of_the_last_commit_is_no_base() {
    let mut job = Job::new();
    job.hours(&[("ann", 0, 2)]);
    job.commit(at(24));
    let path = Partition::of_day(HOURS, DAY, 0).slot();
    job.memory.put(&path, Bytes::from_static(b"edited")).unwrap();
    job.hours(&[("ann", 0, 3)]);
    assert!(job.commit(at(24)).is_empty());
    job.memory.delete(&path).unwrap();
    job.hours(&[("ann", 0, 4)]);
    assert!(job.commit(at(24)).is_empty());
    // The same content under another version is one.
    let stored = body(&job.memory, &path);
    job.memory.put(&path, stored).unwrap();
    job.hours(&[("ann", 0, 5)]);
    assert_eq!(of_replies(job.commit(at(24))), [change(4, "ann", 0, Some(4.0), Some(5.0))]);
}

/// Cuts the line before every change of a commit, and tries again with other rows.
#[test]
fn the_next_attempt_of_a_commit_compares_with_the_last_one() {
    for loses_reply in [false, true] {
        for changes in 0..6 {
            let mut job = Job::new();
            job.hours(&[("ann", 0, 1), ("bob", 0, 1)]);
            job.commit(at(24));
            job.causes.add([cause("ann", (at(0), at(0)), CauseKind::Events, 0..1)]);
            job.memory.fail_after(Some(changes), loses_reply);
            job.hours(&[("ann", 0, 2), ("bob", 0, 2)]);
            let first = job.try_commit(at(24));
            job.memory.fail_after(None, false);
            let attempted = job.memory.get(&Manifest::path(2)).unwrap().is_some();
            let expected = [change(2, "ann", 0, Some(1.0), Some(2.0)), change(2, "bob", 0, Some(1.0), Some(2.0))];
            if attempted {
                assert_eq!(of_replies(found(&job.memory, 2)), expected);
            }
            job.causes.add([cause("bob", (at(0), at(0)), CauseKind::Events, 1..2)]);
            job.hours(&[("ann", 0, 3), ("bob", 0, 1)]);
            let found_now = of_replies(job.commit(at(24)));
            if attempted {
                assert!(first.is_ok() || loses_reply);
                let expected = [change(3, "ann", 0, Some(2.0), Some(3.0)), change(3, "bob", 0, Some(2.0), Some(1.0))];
                assert_eq!(found_now, expected, "after {changes}");
                assert_eq!(of_replies(found(&job.memory, 2)).len(), 2);
                assert_eq!(explanation(&job.memory, 2, Some("ann")).0, "events");
            } else {
                assert_eq!(found_now, [change(2, "ann", 0, Some(1.0), Some(3.0))], "after {changes}");
                assert_eq!(explanation(&job.memory, 2, Some("ann")).0, "events");
            }
        }
    }
}

#[test]
fn what_an_unfinished_commit_left_is_replaced_or_deleted() {
    for restarts in [false, true] {
        for count in [1, 2] {
            let mut job = Job::new();
            job.hours(&[("ann", 0, 1)]);
            job.commit(at(24));
            // The file and the restatements are written, the manifest is not.
            job.memory.fail_after(Some(2), false);
            job.hours(&[("ann", 0, 9)]);
            job.try_commit(at(24)).unwrap_err();
            job.memory.fail_after(None, false);
            assert_eq!(of_replies(found(&job.memory, 2)), [change(2, "ann", 0, Some(1.0), Some(9.0))]);
            if restarts {
                job = Job::open(&job.memory, "b");
            }
            job.hours(&[("ann", 0, count)]);
            let found = of_replies(job.commit(at(24)));
            // A restarted job no longer has what commit 1 published.
            let is_told = count == 2 && !restarts;
            let expected = is_told.then(|| change(2, "ann", 0, Some(1.0), Some(2.0)));
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
            assert_eq!(job.memory.get(&path(2)).unwrap().is_some(), is_told);
        }
    }
}
