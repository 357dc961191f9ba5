//! Dialogues whose turns are rated: newline-delimited JSON, plain or gzipped.

use std::path::{Path, PathBuf};

use contactflow_schemas::facts::Speaker;
use contactflow_schemas::prediction::{TextKey, TurnInput, TurnVector};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::{InferenceError, Result};
use crate::language::Language;
use crate::training::labels::{masked, read_rows};

/// Text with which annotators mark the rating of a whole dialogue in the JDDC set; nobody said it.
const WHOLE_DIALOGUE: &str = "OVERALL";

/// One line of a file. `label` rates the end of the dialogue.
#[derive(Deserialize)]
struct Line {
    turns: Vec<LineTurn>,
    #[serde(default)]
    label: Option<serde_json::Value>,
    #[serde(default)]
    lang: String,
}

#[derive(Deserialize)]
struct LineTurn {
    role: String,
    text: String,
    #[serde(default)]
    label: Option<serde_json::Value>,
    #[serde(default)]
    gap_ms: i64,
}

/// A turn that somebody may have rated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RatedTurn {
    pub(crate) speaker: Speaker,
    /// Masked, as the job's models read it.
    pub(crate) text: String,
    /// Its length before masking, as the job counts it.
    pub(crate) chars: u32,
    /// Satisfaction after it.
    pub(crate) class: Option<usize>,
    /// Since the turn before, ms.
    pub(crate) gap_ms: i64,
}

/// A dialogue in the order in which it was held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dialogue {
    pub(crate) turns: Vec<RatedTurn>,
}

impl Dialogue {
    /// The first `count` turns as the network sees them; `vector` gives a turn's vector by its place.
    pub(crate) fn inputs(&self, count: usize, vector: impl Fn(usize) -> TurnVector) -> Vec<TurnInput> {
        let input = |(place, turn): (usize, &RatedTurn)| TurnInput {
            text: TextKey::of(&turn.text),
            vector: vector(place),
            speaker: turn.speaker,
            gap_ms: turn.gap_ms,
            chars: turn.chars,
        };
        self.turns.iter().take(count).enumerate().map(input).collect()
    }

    /// Place and class of every rated turn.
    pub(crate) fn rated(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.turns.iter().enumerate().filter_map(|(place, turn)| turn.class.map(|class| (place, class)))
    }

    /// A number in 0 to below 1 that a seeded hash of the texts decides: where the dialogue falls in a split.
    pub(crate) fn lot(&self, seed: u64) -> f64 {
        let mut digest = Sha256::new().chain_update(seed.to_le_bytes());
        for turn in &self.turns {
            digest.update(turn.speaker.as_str());
            digest.update([0]);
            digest.update(&turn.text);
            digest.update([0]);
        }
        let leading = digest.finalize().iter().take(8).fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
        (leading >> 11) as f64 / 2.0_f64.powi(53)
    }
}

/// Reads all `inputs`; only lines of `language` if given. Dialogues without a rated turn are left out.
///
/// # Errors
/// A file cannot be read; a line is no dialogue, or has a role or a label that is not known: the error names the line.
pub(crate) fn read_dialogues(
    inputs: &[PathBuf],
    language: Option<Language>,
    labels: &[String],
) -> Result<Vec<Dialogue>> {
    let mut dialogues = Vec::new();
    for path in inputs {
        let lines: Vec<Line> = read_rows(path, "an object with turns of role, text and label")?;
        for (index, line) in lines.into_iter().enumerate() {
            if language.is_none_or(|language| line.lang.is_empty() || line.lang == language.as_str()) {
                dialogues.push(dialogue(line, labels).map_err(|reason| wrong(path, index, &reason))?);
            }
        }
    }
    dialogues.retain(|dialogue| dialogue.rated().next().is_some());
    if dialogues.is_empty() {
        return Err(InferenceError::Labels("there are no rated dialogues (files, language?)".to_owned()));
    }
    Ok(dialogues)
}

fn wrong(path: &Path, index: usize, reason: &str) -> InferenceError {
    InferenceError::Labels(format!("{} dialogue {}: {reason}", path.display(), index + 1))
}

fn dialogue(line: Line, labels: &[String]) -> std::result::Result<Dialogue, String> {
    let whole = class_of(line.label.as_ref(), labels)?;
    let mut turns = Vec::with_capacity(line.turns.len());
    for turn in line.turns {
        let speaker = match turn.role.as_str() {
            "customer" => Speaker::Customer,
            "agent" => Speaker::Agent,
            // Bots' texts are not scored.
            "bot" => continue,
            _ => return Err("a turn's role is none of customer, agent, bot".to_owned()),
        };
        let class = class_of(turn.label.as_ref(), labels)?;
        if speaker != Speaker::Customer || turn.text != WHOLE_DIALOGUE {
            let chars = u32::try_from(turn.text.chars().count()).unwrap_or(u32::MAX);
            turns.push(RatedTurn { speaker, text: masked(turn.text), chars, class, gap_ms: turn.gap_ms });
        }
    }
    let last_customer = turns.iter_mut().rfind(|turn| turn.speaker == Speaker::Customer);
    if let (Some(turn), Some(class)) = (last_customer, whole) {
        turn.class = Some(class);
    }
    turns.iter_mut().filter(|turn| turn.speaker == Speaker::Agent).for_each(|turn| turn.class = None);
    Ok(Dialogue { turns })
}

fn class_of(label: Option<&serde_json::Value>, labels: &[String]) -> std::result::Result<Option<usize>, String> {
    let name = match label {
        None | Some(serde_json::Value::Null) => return Ok(None),
        Some(serde_json::Value::String(name)) => name.clone(),
        Some(other) => other.to_string(),
    };
    let found = labels.iter().position(|label| *label == name);
    found.map(Some).ok_or_else(|| format!("a label is none of {}", labels.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [&str; 3] = ["0", "1", "2"];

    fn parse(json: &str) -> std::result::Result<Dialogue, String> {
        dialogue(serde_json::from_str(json).expect("line"), &LABELS.map(str::to_owned))
    }

    #[test]
    fn the_mark_for_the_whole_dialogue_is_no_turn() {
        let turns = r#"{"role":"customer","text":"a","label":0},{"role":"agent","text":"b"},
            {"role":"customer","text":"OVERALL","label":2}"#;
        let rated = parse(&format!(r#"{{"turns":[{turns}]}}"#)).expect("dialogue");
        assert_eq!(rated.turns.len(), 2);
        assert_eq!(rated.rated().collect::<Vec<_>>(), [(0, 0)]);
    }

    #[test]
    fn a_dialogues_own_label_rates_the_last_thing_its_customer_said() {
        let turns = r#"{"role":"customer","text":"a"},{"role":"customer","text":"b"},{"role":"agent","text":"c"}"#;
        let rated = parse(&format!(r#"{{"turns":[{turns}],"label":2}}"#)).expect("dialogue");
        assert_eq!(rated.rated().collect::<Vec<_>>(), [(1, 2)]);
    }

    #[test]
    fn unknown_roles_and_labels_are_refused_without_quoting() {
        let role = parse(r#"{"turns":[{"role":"secret","text":"a"}]}"#).expect_err("role");
        let label = parse(r#"{"turns":[{"role":"customer","text":"a","label":"secret"}]}"#).expect_err("label");
        assert!(!role.contains("secret") && !label.contains("secret"));
    }

    #[test]
    fn lots_depend_on_the_texts_and_the_seed() {
        let one = parse(r#"{"turns":[{"role":"customer","text":"a"}]}"#).expect("dialogue");
        let other = parse(r#"{"turns":[{"role":"customer","text":"b"}]}"#).expect("dialogue");
        assert_ne!(one.lot(1), one.lot(2));
        assert_ne!(one.lot(1), other.lot(1));
        assert!((0.0..1.0).contains(&one.lot(1)));
    }
}
