//! Searching everything below a root for an identifier: the proof of an erasure.

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;

use crate::sink::Objects;
use crate::state::{StateError, in_the_open};

/// What a search looked at and found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scan {
    /// Objects read.
    pub files: u64,
    /// Their bytes as stored.
    pub bytes: u64,
    /// Objects that hold the identifier.
    pub found_in: Vec<String>,
}

/// Reads every object below the root, decoding Parquet, and names those that hold `needle`: as a value, or as a word of a text
/// (not inside a longer word or number, of which a short identifier is often a part).
///
/// # Errors
/// Those of the store.
pub fn scan(objects: &dyn Objects, needle: &str) -> Result<Scan, StateError> {
    let mut scan = Scan::default();
    for object in objects.list("")? {
        let Some(stored) = objects.get(&object.name)? else { continue };
        scan.files += 1;
        scan.bytes += stored.body.len() as u64;
        let holds = if object.name.ends_with(".parquet") {
            let body = in_the_open(stored.body, &object.name)?;
            parquet_holds(&body, needle).map_err(|detail| StateError::Damaged { path: object.name.clone(), detail })?
        } else {
            holds(&stored.body, needle)
        };
        if holds || holds_name(&object.name, needle) {
            scan.found_in.push(object.name);
        }
    }
    Ok(scan)
}

fn holds_name(name: &str, needle: &str) -> bool {
    holds(name.as_bytes(), needle)
}

fn parquet_holds(body: &Bytes, needle: &str) -> Result<bool, String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(body.clone()).map_err(|error| error.to_string())?;
    for batch in builder.build().map_err(|error| error.to_string())? {
        let batch = batch.map_err(|error| error.to_string())?;
        if batch.columns().iter().any(|column| array_holds(column.as_ref(), needle)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Searches the texts and binaries of an array, at any depth.
fn array_holds(array: &dyn Array, needle: &str) -> bool {
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().iter().flatten().any(|value| holds(value.as_bytes(), needle)),
        DataType::Binary => array.as_binary::<i32>().iter().flatten().any(|value| holds(value, needle)),
        DataType::List(_) => array_holds(array.as_list::<i32>().values().as_ref(), needle),
        DataType::Map(..) => array_holds(array.as_map().entries(), needle),
        DataType::Struct(_) => array.as_struct().columns().iter().any(|column| array_holds(column.as_ref(), needle)),
        DataType::Dictionary(..) => {
            array.as_any_dictionary_opt().is_some_and(|array| array_holds(array.values().as_ref(), needle))
        }
        _ => false,
    }
}

/// Whether `needle` stands in `text`, not as part of a longer word.
fn holds(text: &[u8], needle: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric();
    let ends_in_word = needle.as_bytes().last().is_some_and(is_word);
    let begins_with_word = needle.as_bytes().first().is_some_and(is_word);
    memchr::memmem::find_iter(text, needle).any(|start| {
        let before = start.checked_sub(1).and_then(|position| text.get(position));
        let after = text.get(start + needle.len());
        !(begins_with_word && before.is_some_and(is_word) || ends_in_word && after.is_some_and(is_word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_found_as_a_word_only() {
        for (text, found) in
            [("c12", true), ("\"c12\"", true), ("ac12", false), ("c123", false), ("x c12.", true), ("", false)]
        {
            assert_eq!(holds(text.as_bytes(), "c12"), found, "{text}");
        }
        assert!(holds("mail to ann@example.org!".as_bytes(), "ann@example.org"));
    }
}
