//! Words, pairs of words and character sequences of a text, as 32-bit hashes with their places.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Characters of a text that are looked at; the encoder sees fewer.
const CHARS_MAX: usize = 2048;
/// Seed of the hashes of word sequences; character sequences have their own, so that `a` the word is not `a` the letter.
const WORD_SEED: u64 = 1;
const CHARACTER_SEED: u64 = 2;
/// Stands at both ends of a run of characters, so that a sequence at the beginning of a word is told from one within.
const BOUNDARY: char = ' ';

/// Which sequences count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NgramSpec {
    /// Words in a row at most; 0 for none.
    pub words_max: usize,
    /// Characters in a row at least.
    pub chars_min: usize,
    /// Characters in a row at most; 0 for none.
    pub chars_max: usize,
}

/// One sequence of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Gram {
    /// Whether it consists of words; otherwise of characters.
    pub(crate) of_words: bool,
    /// Hash of its normalised characters.
    pub(crate) hash: u32,
    /// First character in the text.
    pub(crate) start: u32,
    /// One past its last character.
    pub(crate) end: u32,
}

/// A character, normalised, and its place in the text.
type Placed = (u32, char);

/// All sequences of `text`, in the order of their places.
///
/// Case and full width (as Chinese keyboards give) make no difference. Words are runs of letters, digits and `_`;
/// character sequences lie within runs without white space, both ends of which count as a character.
pub(crate) fn grams(text: &str, spec: NgramSpec) -> Vec<Gram> {
    let chars: Vec<Placed> =
        (0_u32..).zip(text.chars().take(CHARS_MAX)).map(|(place, char)| (place, normalise(char))).collect();
    let mut grams = Vec::with_capacity(chars.len() * 4);
    if spec.words_max > 0 {
        word_grams(&chars, spec.words_max, &mut grams);
    }
    if spec.chars_max > 0 {
        for run in chars.split(|(_, char)| char.is_whitespace()).filter(|run| !run.is_empty()) {
            character_grams(run, spec, &mut grams);
        }
    }
    grams
}

fn normalise(char: char) -> char {
    let half_width = match char {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(char) - 0xfee0).unwrap_or(char),
        '\u{3000}' => ' ',
        other => other,
    };
    half_width.to_lowercase().next().unwrap_or(half_width)
}

fn word_grams(chars: &[Placed], words_max: usize, grams: &mut Vec<Gram>) {
    let words: Vec<&[Placed]> =
        chars.split(|(_, char)| !(char.is_alphanumeric() || *char == '_')).filter(|word| !word.is_empty()).collect();
    let mut key = String::new();
    for first in 0..words.len() {
        key.clear();
        for word in words[first..].iter().take(words_max) {
            if !key.is_empty() {
                key.push(BOUNDARY);
            }
            key.extend(word.iter().map(|(_, char)| char));
            grams.extend(gram(&key, WORD_SEED, words[first], word));
        }
    }
}

fn character_grams(run: &[Placed], spec: NgramSpec, grams: &mut Vec<Gram>) {
    let (first, last) = (run[0].0, run[run.len() - 1].0);
    let padded: Vec<Placed> =
        [(first, BOUNDARY)].into_iter().chain(run.iter().copied()).chain([(last, BOUNDARY)]).collect();
    let mut key = String::new();
    for start in 0..padded.len() {
        key.clear();
        for (count, &(_, char)) in (1..=spec.chars_max).zip(&padded[start..]) {
            key.push(char);
            if count >= spec.chars_min && key.as_bytes() != b" " {
                let sequence = &padded[start..start + count];
                grams.extend(gram(&key, CHARACTER_SEED, sequence, sequence));
            }
        }
    }
}

/// The gram of `key`, from the first character of `from` to the last of `to`.
fn gram(key: &str, seed: u64, from: &[Placed], to: &[Placed]) -> Option<Gram> {
    let (start, end) = (from.first()?.0, to.last()?.0 + 1);
    Some(Gram { of_words: seed == WORD_SEED, hash: (xxh3_64_with_seed(key.as_bytes(), seed) >> 32) as u32, start, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: NgramSpec = NgramSpec { words_max: 2, chars_min: 1, chars_max: 0 };
    const CHARACTERS: NgramSpec = NgramSpec { words_max: 0, chars_min: 1, chars_max: 2 };

    fn hashes(text: &str, spec: NgramSpec) -> Vec<u32> {
        let mut hashes: Vec<u32> = grams(text, spec).iter().map(|gram| gram.hash).collect();
        hashes.sort_unstable();
        hashes
    }

    #[test]
    fn words_and_pairs_have_their_places() {
        let found = grams("No, NO refund!", WORDS);
        let places: Vec<(u32, u32)> = found.iter().map(|gram| (gram.start, gram.end)).collect();
        assert_eq!(places, [(0, 2), (0, 6), (4, 6), (4, 13), (7, 13)]);
        assert_eq!(found[0].hash, found[2].hash, "case makes no difference");
        assert_eq!(found.iter().map(|gram| gram.hash).collect::<std::collections::HashSet<_>>().len(), 4);
    }

    #[test]
    fn character_sequences_stay_within_a_run_and_know_its_ends() {
        // Per run of two: " a", "a", "ab", "b", "b ".
        assert_eq!(grams("ab ab", CHARACTERS).len(), 10);
        assert_eq!(hashes("ab", CHARACTERS).len(), 5);
        assert!(grams("很好", CHARACTERS).iter().all(|gram| gram.end <= 2 && gram.start < gram.end));
        assert_eq!(hashes("ＯＫ！", CHARACTERS), hashes("ok!", CHARACTERS), "full width makes no difference");
        assert_ne!(hashes("a", CHARACTERS), hashes("a", WORDS));
    }

    #[test]
    fn any_text_has_bounded_grams() {
        assert!(grams("", WORDS).is_empty() && grams(" \t\u{3000}", CHARACTERS).is_empty());
        let endless = "х".repeat(1_000_000);
        assert!(grams(&endless, CHARACTERS).len() < 5 * CHARS_MAX);
        assert_eq!(grams(&endless, WORDS).len(), 1);
    }
}
