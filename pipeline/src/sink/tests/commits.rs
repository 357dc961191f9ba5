//! The commit protocol, against a store that fails where it is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use contactflow_schemas::clock::Window;
use contactflow_schemas::facts::Grouping;
use contactflow_schemas::tables::Table;

use super::memory::Memory;
use super::rows;
use super::{DELTA, PARQUET};
use crate::sink::objects::Objects;
use crate::sink::{CommitError, CommitInput, CommitSummary, Committer, Manifest, Partition, RowMoves};
use crate::store::Root;

const KPI: Table = Table::Kpi(Grouping::Channel, Window::Day);
const INPUT: &str = "/data/events";

fn inputs() -> Vec<String> {
    vec![INPUT.to_owned()]
}

fn open(memory: &Arc<Memory>, writer_id: &str) -> Result<Committer, CommitError> {
    Committer::open(Arc::clone(memory) as Arc<dyn Objects>, "/out", PARQUET, writer_id, &inputs())
}

fn commit(committer: &mut Committer) -> Result<CommitSummary, CommitError> {
    let source = rows::source_file();
    committer.commit(CommitInput {
        epoch: 7,
        as_of_ms: Some(1),
        committed_at_ms: 2,
        computed_at: Instant::now(),
        sources: vec![source],
        settings: Default::default(),
        state: None,
    })
}

/// Hands a file per day over; the text stands for Parquet bytes.
fn write(committer: &Committer, days: &[(i32, &'static str)]) {
    for &(day, body) in days {
        let partition = Partition::of_day(KPI, day, 0);
        committer.writer().write(partition, RowMoves::NoneOut, 1, Bytes::from_static(body.as_bytes()));
    }
}

fn texts(memory: &Memory) -> Vec<(String, String)> {
    let text = |body: Bytes| String::from_utf8(body.to_vec()).unwrap();
    memory.data().into_iter().map(|(name, body)| (name[21..31].to_owned(), text(body))).collect()
}

fn newest(memory: &Memory) -> Manifest {
    let name = memory.names().into_iter().rfind(|name| name.starts_with("_contactflow/manifests")).unwrap();
    serde_json::from_slice(&memory.get(&name).unwrap().unwrap().body).unwrap()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, body)| ((*name).to_owned(), (*body).to_owned())).collect()
}

#[test]
fn only_changed_partitions_are_written_and_empty_ones_deleted() {
    let memory = Arc::new(Memory::default());
    let mut committer = open(&memory, "a").unwrap();
    write(&committer, &[(0, "one"), (1, "two")]);
    let summary = commit(&mut committer).unwrap();
    assert_eq!((summary.commit, summary.files_written, summary.bytes_written), (1, 2, 6));
    memory.take_changes();

    write(&committer, &[(0, "one"), (2, "three")]);
    committer.writer().remove(Partition::of_day(KPI, 1, 0));
    let summary = commit(&mut committer).unwrap();
    assert_eq!((summary.files_written, summary.files_removed, summary.files_live), (1, 1, 2));
    assert_eq!(
        memory.take_changes(),
        [
            "kpi_channel_day/date=1970-01-02/part-0.parquet",
            "kpi_channel_day/date=1970-01-03/part-0.parquet",
            "_contactflow/manifests/00000000000000000002.json",
            "commits/part-00000000000000000002.parquet",
        ]
    );
    let manifest = newest(&memory);
    assert_eq!((manifest.commit, manifest.epoch, manifest.files.len()), (2, 7, 2));
    assert_eq!(manifest.removed, ["kpi_channel_day/date=1970-01-02/part-0.parquet"]);
    assert_eq!(committer.live_file(&manifest.files[0].path), Some(&manifest.files[0]));
}

#[test]
fn the_first_commit_of_a_run_replaces_the_whole_state() {
    let memory = Arc::new(Memory::default());
    let mut first = open(&memory, "a").unwrap();
    write(&first, &[(0, "one"), (1, "two"), (2, "three")]);
    commit(&mut first).unwrap();
    // Somebody edits a file by hand.
    memory.put("kpi_channel_day/date=1970-01-01/part-0.parquet", Bytes::from_static(b"edited")).unwrap();
    memory.take_changes();

    let mut second = open(&memory, "b").unwrap();
    assert_eq!(second.previous().unwrap().commit, 1);
    write(&second, &[(0, "one"), (1, "two")]);
    let summary = commit(&mut second).unwrap();
    assert_eq!((summary.commit, summary.files_written, summary.files_removed), (2, 1, 1));
    assert_eq!(texts(&memory), pairs(&[("1970-01-01", "one"), ("1970-01-02", "two")]));
}

#[test]
fn the_job_that_lost_the_root_stops_and_damages_nothing() {
    let memory = Arc::new(Memory::default());
    let mut zombie = open(&memory, "zombie").unwrap();
    write(&zombie, &[(0, "one")]);
    commit(&mut zombie).unwrap();
    let mut heir = open(&memory, "heir").unwrap();
    write(&heir, &[(0, "one"), (1, "two")]);
    commit(&mut heir).unwrap();
    memory.take_changes();

    write(&zombie, &[(0, "stale"), (3, "stale")]);
    let error = commit(&mut zombie).unwrap_err();
    assert!(matches!(error, CommitError::Fenced { .. }));
    assert!(error.to_string().contains("/out") && error.to_string().contains("job heir"), "{error}");
    assert!(memory.take_changes().is_empty());
    write(&heir, &[(1, "new")]);
    assert_eq!(commit(&mut heir).unwrap().commit, 3);
}

/// A job looks at the fence, is held up, loses the root, and makes its commit; its heir knows the commit before.
#[test]
fn a_late_commit_is_gone_on_from() {
    for layout in [PARQUET, DELTA] {
        let memory = Arc::new(Memory::default());
        let open = move |memory: &Arc<Memory>, writer: &str| {
            Committer::open(Arc::clone(memory) as Arc<dyn Objects>, "/out", layout, writer, &inputs()).unwrap()
        };
        let mut zombie = open(&memory, "zombie");
        write(&zombie, &[(0, "one")]);
        commit(&mut zombie).unwrap();
        let (heir, store) = (Arc::new(Mutex::new(None)), Arc::clone(&memory));
        let opened = Arc::clone(&heir);
        memory.before_change("_contactflow/manifests", move || *opened.lock().unwrap() = Some(open(&store, "heir")));
        write(&zombie, &[(1, "late")]);
        assert_eq!(commit(&mut zombie).unwrap().commit, 2);
        assert!(matches!(commit(&mut zombie), Err(CommitError::Fenced { .. })));

        let mut heir = heir.lock().unwrap().take().unwrap();
        assert_eq!(heir.previous().unwrap().commit, 1);
        memory.take_changes();
        write(&heir, &[(0, "stale")]);
        let error = commit(&mut heir).unwrap_err();
        assert!(matches!(error, CommitError::Preceded { .. }) && error.to_string().contains("job zombie"), "{error}");
        assert!(heir.check_predecessor().is_err() && !heir.has_committed());
        assert_eq!(memory.take_changes(), Vec::<String>::new());

        heir.go_on_from_last().unwrap();
        heir.check_predecessor().unwrap();
        assert_eq!(heir.previous().unwrap().commit, 2);
        write(&heir, &[(0, "one"), (1, "late"), (2, "new")]);
        let summary = commit(&mut heir).unwrap();
        assert_eq!((summary.commit, summary.files_written, summary.files_live), (3, 1, 3));
        assert!(heir.has_committed());
        assert_eq!(heir.previous().unwrap().writer_id, "heir");
    }
}

#[test]
fn a_commit_number_has_one_writer_even_past_the_fence() {
    let memory = Arc::new(Memory::default());
    let mut committer = open(&memory, "a").unwrap();
    write(&committer, &[(0, "one")]);
    commit(&mut committer).unwrap();
    let mut other = newest(&memory);
    (other.commit, other.writer_id, other.generation) = (2, "other".to_owned(), 9);
    memory.put(&Manifest::path(2), serde_json::to_vec(&other).unwrap().into()).unwrap();
    write(&committer, &[(0, "two")]);
    assert!(commit(&mut committer).unwrap_err().to_string().contains("job other"));
}

/// Cuts the line before every single change of the second commit, with the change made and not.
#[test]
fn a_commit_that_breaks_off_leaves_the_last_and_the_next_try_converges() {
    for loses_reply in [false, true] {
        for changes in 0..8 {
            for restarts in [false, true] {
                let memory = Arc::new(Memory::default());
                let mut committer = open(&memory, "a").unwrap();
                write(&committer, &[(0, "one"), (1, "two"), (2, "three")]);
                commit(&mut committer).unwrap();

                memory.fail_after(Some(changes), loses_reply);
                write(&committer, &[(0, "ONE"), (3, "four")]);
                committer.writer().remove(Partition::of_day(KPI, 1, 0));
                let outcome = commit(&mut committer);
                memory.fail_after(None, false);
                if outcome.is_err() && !loses_reply {
                    assert_eq!(newest(&memory).commit, 1);
                }
                if restarts {
                    committer = open(&memory, "b").unwrap();
                }
                // The inputs are back to what they were: the content of the first commit, which is not known to be there.
                write(&committer, &[(0, "one"), (1, "two"), (2, "three")]);
                committer.writer().remove(Partition::of_day(KPI, 3, 0));
                commit(&mut committer).unwrap();
                let expected = pairs(&[("1970-01-01", "one"), ("1970-01-02", "two"), ("1970-01-03", "three")]);
                assert_eq!(texts(&memory), expected, "after {changes} changes");
                let manifest = newest(&memory);
                let listed: BTreeMap<_, _> =
                    memory.list(KPI.name()).unwrap().into_iter().map(|f| (f.name, f.tag)).collect();
                let named: BTreeMap<_, _> = manifest.files.into_iter().map(|f| (f.path, f.tag)).collect();
                assert_eq!(listed, named);
                let rows = memory.list("commits").unwrap().len() as u64;
                assert_eq!(rows, manifest.commit, "every commit has its row");
            }
        }
    }
}

/// Two crashes in a row, each anywhere: also both between a manifest and its row.
#[test]
fn every_commit_gets_its_row_in_the_end() {
    for (first, second) in (0..6).flat_map(|first| (0..8).map(move |second| (first, second))) {
        let memory = Arc::new(Memory::default());
        let mut committer = open(&memory, "a").unwrap();
        write(&committer, &[(0, "one")]);
        commit(&mut committer).unwrap();
        memory.fail_after(Some(first), false);
        write(&committer, &[(0, "two"), (1, "two")]);
        _ = commit(&mut committer);
        memory.fail_after(None, false);

        let mut committer = open(&memory, "b").unwrap();
        memory.fail_after(Some(second), false);
        write(&committer, &[(0, "three")]);
        _ = commit(&mut committer);
        memory.fail_after(None, false);

        let mut committer = open(&memory, "c").unwrap();
        write(&committer, &[(0, "three")]);
        let newest = commit(&mut committer).unwrap().commit;
        let rows: Vec<String> = memory.list("commits").unwrap().into_iter().map(|listed| listed.name).collect();
        let expected: Vec<String> = (1..=newest).map(|commit| format!("commits/part-{commit:020}.parquet")).collect();
        assert_eq!(rows, expected, "after {first} and {second} changes");
    }
}

/// Of two jobs that claim the root, the later one holds it, however often that happens and whatever is listed.
#[test]
fn a_claim_is_lost_for_good_to_the_next_one() {
    let memory = Arc::new(Memory::default());
    let committers: Vec<Committer> = (0..140).map(|number| open(&memory, &number.to_string()).unwrap()).collect();
    let (holder, zombies) = committers.split_last().unwrap();
    holder.check_root().unwrap();
    for zombie in zombies {
        let error = zombie.check_root().unwrap_err();
        assert!(matches!(error, CommitError::Fenced { .. }), "{error}");
    }
    assert_eq!(memory.list("_contactflow/fence").unwrap().len(), 64);
    for listed in memory.list("_contactflow/fence").unwrap() {
        memory.delete(&listed.name).unwrap();
    }
    assert!(holder.check_root().unwrap_err().to_string().contains("its claim was deleted"));
}

#[test]
fn a_first_commit_that_broke_off_is_not_foreign() {
    let memory = Arc::new(Memory::default());
    let mut committer = open(&memory, "a").unwrap();
    write(&committer, &[(0, "one"), (1, "two")]);
    memory.fail_after(Some(2), false);
    commit(&mut committer).unwrap_err();
    memory.fail_after(None, false);
    let mut next = open(&memory, "b").unwrap();
    write(&next, &[(1, "two")]);
    assert_eq!(commit(&mut next).unwrap().commit, 1);
    assert_eq!(texts(&memory), pairs(&[("1970-01-02", "two")]));
}

#[test]
fn foreign_files_newer_formats_and_lost_inputs_are_refused_before_anything_is_written() {
    let memory = Arc::new(Memory::default());
    memory.put("kpi_channel_day/date=1970-01-01/part-0.parquet", Bytes::from_static(b"theirs")).unwrap();
    memory.take_changes();
    let error = open(&memory, "a").map(drop).unwrap_err();
    assert!(matches!(&error, CommitError::ForeignFiles { example, .. } if example.contains("1970-01-01")));
    assert!(memory.take_changes().is_empty());

    let memory = Arc::new(Memory::default());
    let mut committer = open(&memory, "a").unwrap();
    commit(&mut committer).unwrap();
    memory.take_changes();
    let other = ["/elsewhere".to_owned()];
    let error =
        Committer::open(Arc::clone(&memory) as Arc<dyn Objects>, "/out", PARQUET, "b", &other).map(drop).unwrap_err();
    assert!(error.to_string().contains(INPUT) && error.to_string().contains("--output"), "{error}");
    let both = [other[0].clone(), INPUT.to_owned()];
    assert!(memory.take_changes().is_empty());

    memory.put(&Manifest::path(9), Bytes::from_static(b"{\"format_version\": 99}")).unwrap();
    memory.take_changes();
    let error =
        Committer::open(Arc::clone(&memory) as Arc<dyn Objects>, "/out", PARQUET, "b", &both).map(drop).unwrap_err();
    assert!(matches!(error, CommitError::NewerFormat { version: 99, .. }));
    assert!(memory.take_changes().is_empty());
    // The job that was there may go on.
    memory.delete(&Manifest::path(9)).unwrap();
    commit(&mut committer).unwrap();
}

#[test]
fn outdated_manifests_go() {
    let memory = Arc::new(Memory::default());
    let mut committer = open(&memory, "a").unwrap();
    for _ in 0..70 {
        commit(&mut committer).unwrap();
    }
    let names = memory.names();
    assert_eq!(names.iter().filter(|name| name.starts_with("_contactflow/manifests")).count(), 64);
    assert_eq!(open(&memory, "b").unwrap().previous().unwrap().commit, 70);
}

#[test]
fn it_works_on_a_local_disk() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::open(folder.path().to_str().unwrap(), true).unwrap();
    let url = root.url.clone();
    let open = |writer: &str| Committer::open(Arc::new(root.clone()), &url, PARQUET, writer, &inputs());
    let mut first = open("a").unwrap();
    write(&first, &[(0, "one"), (1, "two")]);
    assert_eq!(commit(&mut first).unwrap().files_written, 2);
    write(&first, &[(0, "ONE")]);
    assert_eq!(commit(&mut first).unwrap().files_written, 1);

    let mut second = open("b").unwrap();
    write(&second, &[(0, "ONE"), (2, "three")]);
    let summary = commit(&mut second).unwrap();
    assert_eq!((summary.files_written, summary.files_removed, summary.files_live), (1, 1, 2));
    assert!(matches!(commit(&mut first), Err(CommitError::Fenced { .. })));
    let body = std::fs::read(folder.path().join("kpi_channel_day/date=1970-01-01/part-0.parquet")).unwrap();
    assert_eq!(body, b"ONE");
}
