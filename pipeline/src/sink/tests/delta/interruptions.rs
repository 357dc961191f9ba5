//! Commits that break off, and jobs that no longer hold the root.

use super::*;

/// Cuts the line before every single change of the second commit, with the change made and not.
#[test]
fn a_commit_that_breaks_off_anywhere_is_finished_or_undone() {
    for loses_reply in [false, true] {
        for changes in 0..16 {
            for restarts in [false, true] {
                for returns in [false, true] {
                    let what = format!("{changes} changes, reply lost {loses_reply}, restart {restarts}, {returns}");
                    let memory = Arc::new(Memory::default());
                    let mut committer = open(&memory, "a");
                    write(&committer, DAYS, &[(0, "one"), (1, "two"), (2, "three")]);
                    write(&committer, HOURS, &[(0, "eins")]);
                    commit(&mut committer).unwrap();

                    memory.fail_after(Some(changes), loses_reply);
                    write(&committer, DAYS, &[(0, "ONE"), (3, "four")]);
                    write(&committer, HOURS, &[(0, "EINS")]);
                    committer.writer().remove(Partition::of_day(DAYS, 1, 0));
                    _ = commit(&mut committer);
                    memory.fail_after(None, false);
                    if restarts {
                        committer = open(&memory, "b");
                    }
                    // Either the same again, or the inputs are back to what they were.
                    let expected = if returns {
                        committer.writer().remove(Partition::of_day(DAYS, 3, 0));
                        write(&committer, HOURS, &[(0, "eins")]);
                        vec![(0, "one"), (1, "two"), (2, "three")]
                    } else {
                        committer.writer().remove(Partition::of_day(DAYS, 1, 0));
                        write(&committer, HOURS, &[(0, "EINS")]);
                        vec![(0, "ONE"), (2, "three"), (3, "four")]
                    };
                    write(&committer, DAYS, &expected);
                    commit(&mut committer).unwrap_or_else(|error| panic!("{what}: {error}"));
                    let found: Vec<String> = texts(&memory, DAYS).into_iter().map(|(_, text)| text).collect();
                    assert_eq!(found, expected.iter().map(|(_, text)| *text).collect::<Vec<_>>(), "{what}");
                    assert_whole(&memory);
                }
            }
        }
    }
}

/// The job pauses before its first version of a log; a successor takes over and commits; the job goes on.
#[test]
fn a_zombie_past_the_fence_cannot_add_a_version() {
    for changed_by_heir in [true, false] {
        let memory = Arc::new(Memory::default());
        let mut zombie = open(&memory, "zombie");
        write(&zombie, DAYS, &[(0, "one")]);
        commit(&mut zombie).unwrap();

        let shared = Arc::clone(&memory);
        memory.before_change("kpi_channel_day/_delta_log", move || {
            let mut heir = open(&shared, "heir");
            write(&heir, DAYS, &[(0, if changed_by_heir { "heir" } else { "one" })]);
            commit(&mut heir).unwrap();
        });
        write(&zombie, DAYS, &[(0, "stale")]);
        write(&zombie, HOURS, &[(0, "stale")]);
        let error = commit(&mut zombie).unwrap_err();
        assert!(matches!(error, CommitError::Fenced { .. }), "{error}");
        assert!(error.to_string().contains("heir"), "{error}");

        let expected = if changed_by_heir { "heir" } else { "one" };
        assert_eq!(texts(&memory, DAYS), [("1970-01-01".to_owned(), expected.to_owned())]);
        assert_eq!(texts(&memory, HOURS), []);
        // What the zombie wrote beside the logs is gone after the next start.
        let mut next = open(&memory, "next");
        write(&next, DAYS, &[(0, expected)]);
        commit(&mut next).unwrap();
        assert_whole(&memory);
    }
}

/// A version of the predecessor arrives after the claim of this job: it is followed and undone.
#[test]
fn a_late_version_of_the_predecessor_is_undone() {
    let memory = Arc::new(Memory::default());
    let mut first = open(&memory, "first");
    write(&first, DAYS, &[(0, "one")]);
    commit(&mut first).unwrap();
    let mut heir = open(&memory, "heir");
    // As the first job would have gone on, had it passed the fence before the claim.
    let mut lines = versions(&memory, DAYS)[&0].clone();
    lines.retain(|line| line.get("protocol").is_none() && line.get("metaData").is_none());
    lines[2]["add"]["path"] = "date=1970-01-09/part-0-00000000000000ff.parquet".into();
    let body = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    memory.put("kpi_channel_day/date=1970-01-09/part-0-00000000000000ff.parquet", "stale".into()).unwrap();
    memory.put("kpi_channel_day/_delta_log/00000000000000000001.json", body.into()).unwrap();

    write(&heir, DAYS, &[(0, "one"), (1, "two")]);
    commit(&mut heir).unwrap();
    let expected = [("1970-01-01", "one"), ("1970-01-02", "two")];
    assert_eq!(texts(&memory, DAYS), expected.map(|(date, text)| (date.to_owned(), text.to_owned())));
    let last = open(&memory, "last");
    drop(last);
    assert_eq!(files(&memory, DAYS).len(), 2);
}

#[test]
fn a_table_that_needs_a_newer_protocol_is_left_alone() {
    let memory = Arc::new(Memory::default());
    let mut committer = open(&memory, "a");
    commit(&mut committer).unwrap();
    let raised = "{\"protocol\":{\"minReaderVersion\":3,\"minWriterVersion\":7}}";
    memory.put("kpi_channel_day/_delta_log/00000000000000000001.json", raised.into()).unwrap();
    let error = open_with(&memory, "b", 0).map(drop).unwrap_err();
    assert!(error.to_string().contains("kpi_channel_day") && error.to_string().contains("protocol"), "{error}");
}

#[test]
fn restatements_of_an_unfinished_commit_are_taken_back() {
    for changes in 0..12 {
        let memory = Arc::new(Memory::default());
        let mut committer = open(&memory, "a");
        write(&committer, DAYS, &[(0, "one")]);
        commit(&mut committer).unwrap();
        // The file an attempt at commit 2 left, made part of the table.
        let path = "restatements/part-00000000000000000002-00000000000000ff.parquet";
        memory.put(path, "stale".into()).unwrap();
        let mut lines = versions(&memory, DAYS)[&0].clone();
        lines.retain(|line| line.get("protocol").is_none() && line.get("metaData").is_none());
        lines[2]["add"]["path"] = path.strip_prefix("restatements/").unwrap().into();
        let body = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        memory.put("restatements/_delta_log/00000000000000000001.json", body.into()).unwrap();

        let mut next = open(&memory, "b");
        write(&next, DAYS, &[(0, "two")]);
        memory.fail_after(Some(changes), changes % 2 == 0);
        _ = commit(&mut next);
        memory.fail_after(None, false);
        commit(&mut next).unwrap();
        assert_eq!(files(&memory, Table::Restatements), BTreeSet::new());
        assert!(memory.get(path).unwrap().is_none());
    }
}
