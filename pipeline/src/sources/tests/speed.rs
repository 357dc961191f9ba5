//! How fast rows are read, to be run by hand:
//! `CONTACTFLOW_EVENTS=folder cargo nextest run -p contactflow --run-ignored only speed --no-capture`; without the
//! variable, over generated rows without text.

use std::time::Instant;

use super::equality::{batch, parquet_of, text_column, with_column};
use super::*;

#[test]
#[ignore = "measures, checks nothing"]
fn rows_per_second() {
    let folder = Folder::new();
    let root = if let Ok(events) = std::env::var("CONTACTFLOW_EVENTS") {
        Root::open(&events, false).unwrap()
    } else {
        // Twelve events to a conversation, and no text.
        let rows = batch(500_000).project(&[0, 1, 2, 3, 4, 6, 7, 8, 9]).unwrap();
        let conversations = text_column((0..500_000).map(|row| format!("c{}", row / 12)));
        let rows = with_column(&rows, "conversation_id", conversations);
        folder.write("a.parquet", &parquet_of(&rows, 200_000));
        let text = (0..500_000).map(|number| {
            let row = line(number).replace(&format!(",\"text\":\"hello {number}\""), "");
            row.replace(&format!("\"c{number}\""), &format!("\"c{}\"", number / 12)) + "\n"
        });
        folder.write("a.ndjson", text.collect::<String>().as_bytes());
        folder.root()
    };
    for _ in 0..2 {
        for file in list_event_files(std::slice::from_ref(&root)).unwrap() {
            let start = Instant::now();
            let mut reader = FileReader::open(&root, &file, Masking::default());
            let mut out = Vec::new();
            while reader.next_chunk(&mut out).unwrap() {
                out.clear();
            }
            let seconds = start.elapsed().as_secs_f64();
            println!("{}: {} rows, {:.0} rows/s", file.name, reader.rows(), reader.rows() as f64 / seconds);
        }
    }
}
