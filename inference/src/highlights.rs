//! Which words of a text drove its sentiment.
//!
//! No second pass and no gradient: the last step of both branches of a head is linear, so each token, and each word or
//! character sequence, has an exact share of the logit of positive minus that of negative. What surrounds a word acts
//! through the token states and is counted there.

use contactflow_schemas::prediction::{HIGHLIGHTS_MAX, Highlight, SCORE_SCALE};

use crate::language::is_chinese;
use crate::lexical::Gram;

/// The words that moved the score most, in the order of the text: at most [`HIGHLIGHTS_MAX`], with their share of all
/// movement, in 1/[`SCORE_SCALE`], positive towards positive.
///
/// `spans` are the characters of each token, `shares` what each moved in the neural branch (longer than `spans` where
/// the row is padded), `lexical` what each sequence moved in the lexical one, `lexical_share` the weight of the latter.
pub(crate) fn highlights(
    text: &str,
    spans: &[(u32, u32)],
    shares: &[f32],
    lexical: &[(Gram, f64)],
    lexical_share: f64,
) -> Vec<Highlight> {
    let words = words(text, spans);
    let mut moved = vec![0.0_f64; words.len()];
    for (span, &share) in spans.iter().zip(shares) {
        if let Some(word) = word_at(&words, *span) {
            moved[word] += (1.0 - lexical_share) * f64::from(share);
        }
    }
    for (gram, contribution) in lexical {
        spread(gram, lexical_share * contribution, &words, &mut moved);
    }
    let total: f64 = moved.iter().map(|value| value.abs()).sum();
    if !(total.is_finite() && total > 0.0) {
        return Vec::new();
    }
    let weight = |value: &f64| (value / total * f64::from(SCORE_SCALE)).round() as i32;
    let mut found: Vec<Highlight> = words
        .iter()
        .zip(&moved)
        .map(|(&(char_start, char_end), value)| Highlight { char_start, char_end, weight: weight(value) })
        .filter(|highlight| highlight.weight != 0)
        .collect();
    found.sort_by_key(|highlight| (std::cmp::Reverse(highlight.weight.abs()), highlight.char_start));
    found.truncate(HIGHLIGHTS_MAX);
    found.sort_by_key(|highlight| highlight.char_start);
    found
}

/// The places of words: tokens, joined where a word was cut into several. Chinese tokens stand for themselves.
fn words(text: &str, spans: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let end = spans.iter().map(|span| span.1).max().unwrap_or_default() as usize;
    let chars: Vec<char> = text.chars().take(end).collect();
    let joins = |place: u32| chars.get(place as usize).is_some_and(|char| char.is_alphanumeric() && !is_chinese(*char));
    let mut words: Vec<(u32, u32)> = Vec::new();
    for &(start, end) in spans.iter().filter(|(start, end)| start < end) {
        match words.last_mut() {
            Some(last) if last.1 == start && joins(start - 1) && joins(start) => last.1 = end,
            // Tokens of one character, such as the bytes of an emoji, share its place.
            Some(last) if start < last.1 => last.1 = last.1.max(end),
            _ => words.push((start, end)),
        }
    }
    words
}

/// The word that a token lies in; special tokens lie in none.
fn word_at(words: &[(u32, u32)], (start, end): (u32, u32)) -> Option<usize> {
    if start >= end {
        return None;
    }
    let after = words.partition_point(|word| word.0 <= start);
    after.checked_sub(1).filter(|&word| start < words[word].1)
}

/// Gives each word its part of what a sequence moved, by the characters they have in common.
fn spread(gram: &Gram, moved: f64, words: &[(u32, u32)], into: &mut [f64]) {
    let first = words.partition_point(|word| word.1 <= gram.start);
    let common = |word: &(u32, u32)| f64::from(word.1.min(gram.end).saturating_sub(word.0.max(gram.start)));
    let touched = words[first..].iter().take_while(|word| word.0 < gram.end);
    let total: f64 = touched.clone().map(common).sum();
    if total > 0.0 {
        for (offset, word) in touched.enumerate() {
            into[first + offset] += moved * common(word) / total;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "not great, 很好";
    /// `[CLS]` not gre ##at , 很 好 `[SEP]`.
    const SPANS: [(u32, u32); 8] = [(0, 0), (0, 3), (4, 7), (7, 9), (9, 10), (11, 12), (12, 13), (0, 0)];

    fn gram(start: u32, end: u32) -> Gram {
        Gram { of_words: true, hash: 0, start, end }
    }

    #[test]
    fn pieces_of_a_word_are_one_highlight_and_shares_add_up() {
        let shares = [9.0, -2.0, 0.5, 1.0, 0.0, 0.25, 0.25, -9.0, 7.0];
        let found = highlights(TEXT, &SPANS, &shares, &[], 0.0);
        let expected = [(0, 3, -5000), (4, 9, 3750), (11, 12, 625), (12, 13, 625)];
        let expected = expected.map(|(char_start, char_end, weight)| Highlight { char_start, char_end, weight });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_sequence_is_spread_over_its_words_by_characters() {
        // Characters 0 to 9 without the space: 3 of `not`, 5 of `great`.
        let lexical = [(gram(0, 9), -8.0), (gram(11, 13), 2.0)];
        let found = highlights(TEXT, &SPANS, &[0.0; 8], &lexical, 1.0);
        let weights: Vec<i32> = found.iter().map(|highlight| highlight.weight).collect();
        assert_eq!(weights, [-3000, -5000, 1000, 1000]);
        assert!(highlights(TEXT, &SPANS, &[0.0; 8], &lexical, 0.0).is_empty(), "nothing moved");
        let far = [(gram(500, 501), 1.0)];
        assert!(highlights(TEXT, &SPANS, &[0.0; 8], &far, 1.0).is_empty(), "beyond the tokens");
        assert!(highlights("", &[(0, 0), (0, 0)], &[1.0, 1.0], &[], 0.5).is_empty());
    }

    #[test]
    fn the_strongest_few_are_kept_in_the_order_of_the_text() {
        let spans: Vec<(u32, u32)> = (0..20).map(|index| (2 * index, 2 * index + 1)).collect();
        let shares: Vec<f32> = (0..20).map(|index| if index % 2 == 0 { index as f32 } else { -0.1 }).collect();
        let found = highlights(&"a ".repeat(20), &spans, &shares, &[], 0.0);
        let starts: Vec<u32> = found.iter().map(|highlight| highlight.char_start).collect();
        assert_eq!(starts, [20, 24, 28, 32, 36]);
    }
}
