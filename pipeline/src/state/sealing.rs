//! Putting the deliveries of sealed conversations into files of their own, which a restart leaves alone.

use std::collections::HashSet;

use super::{STATE, SegmentReader, SegmentWriter, StateError, StateFile, StateKind, store};
use crate::seal::Mark;
use crate::sink::Objects;

/// Encoded bytes from which on a file is full.
const FILE_BYTES: usize = 16 << 20;

/// What a seal makes of the state.
#[derive(Debug, Default)]
pub struct Split {
    /// New files: deliveries that stay open, sealed ones, and the marks of the seal.
    pub files: Vec<StateFile>,
    /// Names of the files whose rows they hold.
    pub replaced: HashSet<String>,
}

/// Writes files, full ones as soon as they are.
struct Output<'a> {
    objects: &'a dyn Objects,
    stem: &'a str,
    number: u64,
    files: Vec<StateFile>,
}

impl Output<'_> {
    fn write(&mut self, kind: StateKind, day: Option<i32>, writer: &mut SegmentWriter) -> Result<(), StateError> {
        let path = format!("{STATE}/{}/{}-{:08}.parquet", kind.name(), self.stem, self.number);
        let file = store(self.objects, kind, None, path, writer)?;
        self.number += u64::from(file.is_some());
        self.files.extend(file.map(|file| StateFile { sealed_before_day: day, ..file }));
        Ok(())
    }

    fn write_full(&mut self, kind: StateKind, day: Option<i32>, writer: &mut SegmentWriter) -> Result<(), StateError> {
        if writer.encoded_bytes() >= FILE_BYTES { self.write(kind, day, writer) } else { Ok(()) }
    }
}

/// Seals `events` and what `marks` say: the open deliveries of `state` are divided. Files without any of the events stay as they
/// are. The names of new files begin with `stem`.
///
/// # Errors
/// Those of reading and writing.
pub fn seal(
    objects: &dyn Objects,
    state: &[StateFile],
    events: &HashSet<u128>,
    marks: &[(Mark, u64)],
    frozen_day: i32,
    stem: &str,
) -> Result<Split, StateError> {
    let day = Some(frozen_day);
    let mut output = Output { objects, stem, number: 0, files: Vec::new() };
    let mut replaced = HashSet::new();
    let (mut open, mut sealed) = (SegmentWriter::default(), SegmentWriter::default());
    let is_open = |file: &&StateFile| file.kind == StateKind::Deliveries && file.sealed_before_day.is_none();
    for file in state.iter().filter(is_open) {
        if !holds(objects, file, events)? {
            continue;
        }
        replaced.insert(file.path.clone());
        let mut reader = SegmentReader::open(objects, file)?;
        while reader.next_raw(&mut |key, version, row| {
            let writer = if events.contains(&key) { &mut sealed } else { &mut open };
            writer.push_encoded(key, version, row)
        })? {
            output.write_full(StateKind::Deliveries, None, &mut open)?;
            output.write_full(StateKind::Deliveries, day, &mut sealed)?;
        }
    }
    output.write(StateKind::Deliveries, None, &mut open)?;
    output.write(StateKind::Deliveries, day, &mut sealed)?;
    let mut writer = SegmentWriter::default();
    for (mark, hash) in marks {
        writer.push_encoded(u128::from(*hash), *mark as i64, &[])?;
        output.write_full(StateKind::Seals, day, &mut writer)?;
    }
    output.write(StateKind::Seals, day, &mut writer)?;
    Ok(Split { files: output.files, replaced })
}

fn holds(objects: &dyn Objects, file: &StateFile, events: &HashSet<u128>) -> Result<bool, StateError> {
    let mut reader = SegmentReader::open(objects, file)?;
    let mut found = false;
    while !found
        && reader.next_raw(&mut |key, _, _| {
            found |= events.contains(&key);
            Ok(())
        })?
    {}
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::SealedIndex;
    use crate::store::Root;

    #[test]
    fn rows_are_divided_and_files_without_sealed_rows_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Root::open(&folder.path().display().to_string(), true).expect("opens");
        let file = |name: &str, keys: &[u128]| {
            let mut writer = SegmentWriter::default();
            for key in keys {
                writer.push(*key, *key as i64, &key.to_string()).expect("encodes");
            }
            let path = format!("{STATE}/deliveries/{name}");
            store(&root, StateKind::Deliveries, None, path, &mut writer).expect("writes").expect("has rows")
        };
        let state = [file("a", &[1, 2, 3]), file("b", &[4, 5]), file("c", &[3, 6])];
        let marks = [(Mark::Event, 3), (Mark::Conversation, 9)];
        let events = HashSet::from([1, 3]);
        let split = seal(&root, &state, &events, &marks, 77, "s").expect("seals");
        assert_eq!(split.replaced, HashSet::from([state[0].path.clone(), state[2].path.clone()]));
        let keys = |day: Option<i32>| {
            let mut keys = Vec::new();
            for file in split.files.iter().filter(|file| file.kind == StateKind::Deliveries) {
                let mut reader = SegmentReader::open(&root, file).expect("opens");
                while let Some(rows) = reader.next_chunk::<String>().expect("reads") {
                    keys.extend(rows.into_iter().filter(|_| file.sealed_before_day == day).map(|(key, ..)| key));
                }
            }
            keys
        };
        assert_eq!((keys(None), keys(Some(77))), (vec![2, 6], vec![1, 3, 3]));
        let index = SealedIndex::read(&root, &split.files).expect("reads");
        assert_eq!(index.len(), 2);
    }
}
