//! Files that break off or hold garbage: what was readable counts, the rest is one reject at its position.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::equality::{batch, parquet_of};
use super::*;

#[test]
fn a_compressed_file_that_breaks_off_gives_its_first_rows_and_one_reject() {
    let text = lines(20_000);
    for (name, whole) in [("a.ndjson.gz", gzip(text.as_bytes())), ("a.ndjson.zst", zstd_of(text.as_bytes()))] {
        let rows = read(name, &whole[..whole.len() / 2]);
        let (good, rejects) = summary(&rows);
        assert!(good > 1000, "{name}: {good}");
        assert_eq!(rejects, [(good as u64 + 1, Reason::UnreadableFile)]);
        assert!(messages(&rows)[0].starts_with("the file breaks off or is damaged here"));
    }
}

#[test]
fn garbage_in_place_of_a_compressed_file_is_one_reject() {
    for name in ["a.ndjson.gz", "a.ndjson.zst"] {
        let (good, rejects) = summary(&read(name, b"this is no compressed stream at all"));
        assert_eq!((good, rejects), (0, vec![(1, Reason::UnreadableFile)]));
    }
}

#[test]
fn members_and_frames_may_follow_one_another() {
    let (first, second) = (lines(2), lines(3));
    let gz = [gzip(first.as_bytes()), gzip(second.as_bytes())].concat();
    assert_eq!(summary(&read("a.ndjson.gz", &gz)), (5, vec![]));
    let zst = [zstd_of(first.as_bytes()), zstd_of(second.as_bytes())].concat();
    assert_eq!(summary(&read("a.jsonl.zst", &zst)), (5, vec![]));
}

#[test]
fn what_is_no_parquet_is_one_reject() {
    let whole = parquet_of(&batch(10), 100);
    let mut bad_footer = whole.clone();
    let end = bad_footer.len();
    bad_footer[end - 60..end - 8].fill(0xa5);
    let mut bad_length = whole.clone();
    bad_length[end - 8..end - 4].fill(0xff);
    for content in [&b""[..], b"PAR1", b"PAR1PAR1", &whole[..end - 1], &whole[..end / 2], &bad_footer, &bad_length] {
        let rows = read("a.parquet", content);
        assert_eq!(summary(&rows), (0, vec![(0, Reason::UnreadableFile)]), "{:?}", messages(&rows));
        assert!(messages(&rows)[0].starts_with("the file cannot be read: "));
    }
}

#[test]
fn a_damaged_row_group_costs_only_itself() {
    let mut content = parquet_of(&batch(3000), 1000);
    // The second row group lies in the middle third, pages first.
    let middle = content.len() / 2;
    content[middle - 2000..middle].fill(0x5a);
    let rows = read("a.parquet", &content);
    let (good, rejects) = summary(&rows);
    assert_eq!(good, 2000);
    assert_eq!(rejects.len(), 1, "{:?}", messages(&rows));
    assert_eq!(rejects[0], (1001, Reason::UnreadableFile));
    assert!(messages(&rows)[0].starts_with("row group 2 is damaged and its rows up to 2000 are lost"));
}

#[test]
fn no_flipped_byte_panics() {
    let whole = parquet_of(&batch(40), 20);
    for position in (0..whole.len()).step_by(7) {
        let mut content = whole.clone();
        content[position] ^= 0xff;
        let outcomes = read("a.parquet", &content);
        assert!(!outcomes.is_empty(), "byte {position}");
    }
}

#[test]
fn a_parquet_file_of_something_else_is_one_reject() {
    let names: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
    let other = RecordBatch::try_from_iter([("name", names)]).unwrap();
    let rows = read("a.parquet", &parquet_of(&other, 100));
    assert_eq!(summary(&rows), (0, vec![(0, Reason::UnreadableFile)]));
    let mut writer = ArrowWriter::try_new(Vec::new(), batch(1).schema(), None::<WriterProperties>).unwrap();
    writer.flush().unwrap();
    assert!(read("a.parquet", &writer.into_inner().unwrap()).is_empty());
}

#[test]
fn a_file_that_went_away_is_a_reject() {
    let folder = Folder::new();
    let root = folder.write("a.ndjson", b"{}").root();
    let files = list_event_files(std::slice::from_ref(&root)).unwrap();
    fs::remove_file(folder.path("a.ndjson")).unwrap();
    let rows = read_all(&root, &files[0]);
    assert_eq!(messages(&rows), ["the file cannot be read: it is no longer there"]);
}
