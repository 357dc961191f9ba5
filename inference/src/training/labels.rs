//! Labelled texts: newline-delimited JSON, plain or gzipped.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use contactflow_schemas::masking::Masking;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::error::{InferenceError, Result};
use crate::language::Language;

/// One line of a labelled file; other fields are ignored.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct LabelledText {
    /// The text.
    pub text: String,
    /// Name of its class.
    pub label: String,
    /// Language code such as `en`; empty when the file does not say.
    #[serde(default)]
    pub lang: String,
}

impl LabelledText {
    /// Whether the row is in `language`; one that does not say is in any.
    pub(crate) fn is_in(&self, language: Language) -> bool {
        self.lang.is_empty() || self.lang == language.as_str()
    }
}

/// `text` as the job's models read it: with what names a person or an account taken out, as the default settings say.
pub(crate) fn masked(text: String) -> String {
    match Masking::default().mask(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(masked) => masked,
    }
}

/// Reads a labelled file, gunzipping it if its name ends in `.gz`; blank lines are skipped. The texts come out masked, as
/// the job masks them before they are scored.
///
/// # Errors
/// The file cannot be read, or a line is no object with `text` and `label`: the error names the line, not the text.
pub fn read_labelled(path: &Path) -> Result<Vec<LabelledText>> {
    let rows: Vec<LabelledText> = read_rows(path, "an object with the strings text and label")?;
    Ok(rows.into_iter().map(|row| LabelledText { text: masked(row.text), ..row }).collect())
}

/// The lines of a file as JSON values of a type, which `expected` describes in errors.
pub(crate) fn read_rows<T: DeserializeOwned>(path: &Path, expected: &str) -> Result<Vec<T>> {
    let unreadable = |source| InferenceError::Read {
        path: path.to_owned(),
        source,
        hint: "labelled data is NDJSON, plain or .gz: text, label and lang, or turns of role, text and label",
    };
    let file = File::open(path).map_err(unreadable)?;
    let gzipped = path.extension().is_some_and(|extension| extension == "gz");
    let reader: Box<dyn Read> =
        if gzipped { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut rows = Vec::new();
    for (index, line) in BufReader::new(reader).lines().enumerate() {
        let line = line.map_err(unreadable)?;
        if line.trim().is_empty() {
            continue;
        }
        // serde's message may quote the text, its category and column do not.
        let row = serde_json::from_str(&line).map_err(|error| {
            let (category, column) = (error.classify(), error.column());
            InferenceError::Labels(format!(
                "{} line {}: expected {expected} ({category:?} error at column {column})",
                path.display(),
                index + 1
            ))
        })?;
        rows.push(row);
    }
    Ok(rows)
}

/// Drops rows whose text, but for case and surrounding white space, stood in an earlier row.
pub(crate) fn without_repeats(rows: Vec<LabelledText>) -> Vec<LabelledText> {
    let mut seen = HashSet::new();
    rows.into_iter().filter(|row| seen.insert(row.text.trim().to_lowercase())).collect()
}

/// Whether a text belongs to the validation part: decided by a seeded hash of the text alone, blind to case, so a row
/// stays on its side when others come or go.
pub(crate) fn is_validation(text: &str, seed: u64, fraction: f64) -> bool {
    lot(text, seed) < fraction
}

/// The fold of a text, below `folds`: decided as [`is_validation`] does.
pub(crate) fn fold_of(text: &str, seed: u64, folds: u32) -> u32 {
    ((lot(text, seed) * f64::from(folds)) as u32).min(folds.saturating_sub(1))
}

/// A number from 0 to 1 that a text draws.
fn lot(text: &str, seed: u64) -> f64 {
    let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(text.trim().to_lowercase()).finalize();
    let leading = digest.iter().take(8).fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
    leading as f64 / 2.0_f64.powi(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_split_is_by_text_blind_to_case_and_near_its_fraction() {
        let held_out = (0..4000).filter(|index| is_validation(&format!("text {index}"), 1, 0.2)).count();
        assert!((700..900).contains(&held_out), "{held_out}");
        let other_seed = (0..4000).filter(|index| is_validation(&format!("text {index}"), 2, 0.2)).count();
        assert_ne!(held_out, other_seed);
        for index in 0..100 {
            let text = format!("Some Text {index}");
            assert_eq!(is_validation(&text, 1, 0.5), is_validation(&format!(" {} ", text.to_uppercase()), 1, 0.5));
        }
        assert!(!is_validation("x", 1, 0.0) && is_validation("x", 1, 1.0));
    }

    #[test]
    fn texts_are_read_as_the_job_reads_them() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("rows.ndjson");
        std::fs::write(&path, "{\"text\":\"@ann mail a@b.com about order #99123\",\"label\":\"x\"}\n").expect("write");
        let rows = read_labelled(&path).expect("reads");
        assert_eq!(rows[0].text, "@user mail [email] about order #[order]");
    }

    #[test]
    fn a_broken_line_is_named_by_number_and_never_quoted() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("rows.ndjson");
        std::fs::write(&path, "{\"text\":\"a\",\"label\":\"x\"}\n\n{\"text\":\"secret\",\"label\":7}\n")
            .expect("write");
        let message = read_labelled(&path).expect_err("line 3 is broken").to_string();
        assert!(message.contains("line 3") && !message.contains("secret"), "{message}");
    }
}
