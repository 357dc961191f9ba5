//! Hostile lines.

use super::*;

#[test]
fn blank_lines_marks_and_line_ends_do_not_matter() {
    let text = format!("\u{feff}{}\r\n\r\n  \n{}", line(1), line(2));
    let rows = read("a.ndjson", text.as_bytes());
    assert_eq!(summary(&rows), (2, vec![]));
    let numbers: Vec<_> = rows.iter().map(|row| row.as_ref().unwrap().delivery.origin.row).collect();
    assert_eq!(numbers, [1, 4]);
}

#[test]
fn empty_files_hold_nothing() {
    for name in ["a.ndjson", "a.ndjson.gz", "a.ndjson.zst"] {
        assert!(read(name, b"").is_empty());
    }
    assert!(read("a.ndjson.gz", &gzip(b"")).is_empty());
    assert!(read("a.ndjson.zst", &zstd_of(b"")).is_empty());
}

#[test]
fn lines_that_are_no_rows_are_rejected_each_for_its_reason() {
    let mut content = Vec::new();
    for bad in [
        &b"{\"tenant_id\":"[..],
        b"[1,2]",
        b"\"secret\"",
        b"nonsense",
        b"{} {}",
        b"{\"text\":\"\xff\"}",
        b"{\"tenant_id\":5}",
        b"{}",
        b"null",
        b"{\"rating\":1e999}",
        b"\xfe\xff\0{",
    ] {
        content.extend_from_slice(bad);
        content.push(b'\n');
    }
    content.extend_from_slice(line(1).as_bytes());
    let rows = read("a.ndjson", &content);
    use Reason::{BadType, Encoding, MalformedJson, MissingField};
    let reasons = [
        MalformedJson,
        MalformedJson,
        MalformedJson,
        MalformedJson,
        MalformedJson,
        Encoding,
        BadType,
        MissingField,
        MalformedJson,
        MalformedJson,
        Encoding,
    ];
    let expected = (1..).zip(reasons).collect();
    assert_eq!(summary(&rows), (1, expected));
    let shown = messages(&rows);
    assert_eq!(shown[0], "the line is no JSON object: EOF while parsing a value at byte 13");
    assert_eq!(shown[2], "the line is JSON, but no object");
    assert_eq!(shown[5], "the line is not UTF-8 at byte 10");
    let raw = |index: usize| rows[index].as_ref().unwrap_err().reject.raw.clone().unwrap();
    assert_eq!(raw(3), "nonsense");
    assert_eq!(raw(5), "{\"text\":\"\u{fffd}\"}");
}

#[test]
fn nesting_without_end_is_malformed() {
    let deep = format!("{{\"attributes\":{}", "[".repeat(1 << 20));
    let rows = read("a.ndjson", format!("{deep}\n{}", line(1)).as_bytes());
    assert_eq!(summary(&rows), (1, vec![(1, Reason::MalformedJson)]));
}

#[test]
fn a_line_beyond_the_limit_is_rejected_and_the_next_is_read() {
    let long = format!("{{\"text\":\"{}\"}}", "x".repeat(50_000_000));
    let text = format!("{}\n{long}\n{}\n{long}", line(1), line(2));
    let rows = read("a.ndjson", text.as_bytes());
    assert_eq!(summary(&rows), (2, vec![(2, Reason::TooLarge), (4, Reason::TooLarge)]));
    let raw = rows[1].as_ref().unwrap_err().reject.raw.as_ref().unwrap();
    assert_eq!(raw, &long[..8192]);
}

#[test]
fn a_line_at_the_limit_is_read() {
    let row = line(1);
    let padded = format!("{row}{}", " ".repeat(ROW_BYTES_MAX - row.len()));
    assert_eq!(summary(&read("a.ndjson", padded.as_bytes())), (1, vec![]));
    assert_eq!(summary(&read("a.ndjson", format!("{padded}\n{row}").as_bytes())), (2, vec![]));
}

#[test]
fn of_equal_keys_the_last_counts_and_unknown_keys_do_not() {
    let row = line(1);
    let more = row.replacen('{', r#"{"tenant_id":7,"x":{"deep":[1,{"y":null}]},"ev\u0065nt_id":"z","#, 1);
    let rows = read("a.ndjson", format!("{row}\n{more}\n").as_bytes());
    let [first, second] = [&rows[0], &rows[1]].map(|row| &row.as_ref().unwrap().delivery);
    assert_eq!((first.key, first.content), (second.key, second.content));
}

#[test]
fn numbers_beyond_64_bits_are_fractions() {
    let with = |number: &str| line(1).replacen('{', &format!("{{\"duration_ms\":{number},"), 1);
    let text = format!("{}\n{}\n{}\n", with("9223372036854775807"), with("9223372036854775808"), with("7.0"));
    assert_eq!(summary(&read("a.ndjson", text.as_bytes())), (2, vec![(2, Reason::BadType)]));
}
