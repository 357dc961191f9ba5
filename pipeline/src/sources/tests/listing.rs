//! Which files are listed, in which order, under which names.

use super::*;

#[test]
fn event_files_are_listed_in_order_and_work_in_progress_is_not() {
    let folder = Folder::new();
    for name in [
        "b/2.parquet",
        "b/1.ndjson.gz",
        "a.jsonl",
        "a.jsonl.zst",
        "c.ndjson",
        "d.csv",
        "_SUCCESS",
        "_tmp/x.parquet",
        ".hidden.ndjson",
        "b/.x/y.ndjson",
        "b/_part.parquet",
        "e.gz",
        "f.parquet.crc",
    ] {
        folder.write(name, b"");
    }
    let root = folder.root();
    let files = list_event_files(std::slice::from_ref(&root)).unwrap();
    let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
    let expected = ["a.jsonl", "a.jsonl.zst", "b/1.ndjson.gz", "b/2.parquet", "c.ndjson"];
    assert_eq!(names, expected.map(|name| format!("{}/{name}", root.url)));
    assert_eq!(files, list_event_files(&[root]).unwrap());
}

#[test]
fn a_root_may_be_a_file_or_a_folder_named_like_one_and_files_are_listed_once() {
    let folder = Folder::new();
    folder.write("x/a.ndjson", b"1").write("table.parquet/part-0.parquet", b"22");
    let open = |name| Root::open(folder.path(name).to_str().unwrap(), false).unwrap();
    let roots = [open("x/a.ndjson"), open("x"), open("table.parquet")];
    let files = list_event_files(&roots).unwrap();
    let found: Vec<_> = files.iter().map(|file| (file.root, file.size_bytes)).collect();
    assert_eq!(found, [(2, 2), (0, 1)]);
}

#[test]
fn versions_change_with_the_content() {
    let folder = Folder::new();
    let version = |content: &[u8]| {
        let root = folder.write("a.ndjson", content).root();
        list_event_files(&[root]).unwrap()[0].version.clone()
    };
    assert_ne!(version(b"1"), version(b"22"));
}

#[test]
fn a_remote_store_is_listed_and_read_through_a_temporary_copy() {
    let (root, files) = in_memory("memory:///events/2024", "d/a.ndjson.gz", gzip(lines(3).as_bytes()));
    assert_eq!(files[0].name, "memory:///events/2024/d/a.ndjson.gz");
    assert_eq!(summary(&read_all(&root, &files[0])), (3, vec![]));
}
