//! A fitted lexical branch: vocabulary of hashes, their rarity, and a weight per class.

use serde::{Deserialize, Serialize};

use crate::lexical::ngrams::{Gram, NgramSpec, grams};

/// What a head file says about its lexical branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LexicalMetadata {
    /// Which sequences of a text count.
    pub ngrams: NgramSpec,
    /// Sequences it knows.
    pub features: usize,
}

/// Names of the branch's tensors in a head file: `[features]`, `[features]`, `[features, labels]`, `[labels]`.
pub(crate) const LEXICAL_PARAMETERS: [&str; 4] =
    ["lexical.vocabulary", "lexical.idf", "lexical.weight", "lexical.bias"];

/// Linear logits over TF-IDF weighted sequences.
///
/// The value of a sequence that stands `n` times in a text is (1 + ln n) · idf; word and character sequences are each
/// scaled to length 1, so that a long text weighs no more than a short one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LexicalBranch {
    pub(crate) ngrams: NgramSpec,
    /// Hashes, increasing.
    pub(crate) vocabulary: Vec<u32>,
    /// Inverse document frequency per hash.
    pub(crate) idf: Vec<f32>,
    /// `[features][classes]`, flat.
    pub(crate) weights: Vec<f32>,
    /// Per class.
    pub(crate) bias: Vec<f32>,
}

impl LexicalBranch {
    pub(crate) fn metadata(&self) -> LexicalMetadata {
        LexicalMetadata { ngrams: self.ngrams, features: self.vocabulary.len() }
    }

    /// One logit per class. Summed in double precision in the order of the hashes: the same on every machine.
    pub(crate) fn logits(&self, text: &str) -> Vec<f64> {
        let mut logits: Vec<f64> = self.bias.iter().map(|&bias| f64::from(bias)).collect();
        for (feature, value) in self.values(&grams(text, self.ngrams)) {
            for (logit, &weight) in logits.iter_mut().zip(self.row(feature)) {
                *logit += value * f64::from(weight);
            }
        }
        logits
    }

    /// How much each sequence of `text` moved the logit of class `plus` minus that of class `minus`, with its place.
    /// The sum over all is the difference of the logits without their biases.
    pub(crate) fn contributions(&self, text: &str, plus: usize, minus: usize) -> Vec<(Gram, f64)> {
        let mut found = grams(text, self.ngrams);
        // Hash first, so that equal sequences are neighbours.
        found.sort_by_key(|gram| (gram.of_words, gram.hash, gram.start));
        let mut contributions = Vec::new();
        let values = self.values(&found);
        for same in found.chunk_by(|a, b| (a.of_words, a.hash) == (b.of_words, b.hash)) {
            let Ok(feature) = self.vocabulary.binary_search(&same[0].hash) else { continue };
            let Ok(index) = values.binary_search_by_key(&feature, |&(feature, _)| feature) else { continue };
            let row = self.row(feature);
            let each = values[index].1 * f64::from(row[plus] - row[minus]) / same.len() as f64;
            contributions.extend(same.iter().map(|&gram| (gram, each)));
        }
        contributions
    }

    /// Index and value of the known sequences among `grams`, by increasing index.
    pub(crate) fn values(&self, grams: &[Gram]) -> Vec<(usize, f64)> {
        let mut words = Vec::new();
        let mut characters = Vec::new();
        for gram in grams {
            if let Ok(feature) = self.vocabulary.binary_search(&gram.hash) {
                if gram.of_words { words.push(feature) } else { characters.push(feature) }
            }
        }
        let mut values = self.scaled(words);
        values.extend(self.scaled(characters));
        values.sort_unstable_by_key(|&(feature, _)| feature);
        values
    }

    fn scaled(&self, mut features: Vec<usize>) -> Vec<(usize, f64)> {
        features.sort_unstable();
        let raw = features.chunk_by(|a, b| a == b).map(|same| {
            let value = (1.0 + (same.len() as f64).ln()) * f64::from(self.idf[same[0]]);
            (same[0], value)
        });
        let raw: Vec<(usize, f64)> = raw.collect();
        let length = raw.iter().map(|(_, value)| value * value).sum::<f64>().sqrt();
        raw.into_iter().map(|(feature, value)| (feature, value / length)).collect()
    }

    fn row(&self, feature: usize) -> &[f32] {
        let classes = self.bias.len();
        &self.weights[feature * classes..(feature + 1) * classes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch() -> LexicalBranch {
        let ngrams = NgramSpec { words_max: 1, chars_min: 1, chars_max: 0 };
        let mut known: Vec<(u32, [f32; 2])> = grams("good bad phone", ngrams)
            .iter()
            .zip([[-1.0, 1.0], [2.0, -1.0], [0.0, 0.25]])
            .map(|(gram, weights)| (gram.hash, weights))
            .collect();
        known.sort_by_key(|(hash, _)| *hash);
        LexicalBranch {
            ngrams,
            vocabulary: known.iter().map(|(hash, _)| *hash).collect(),
            idf: vec![1.0; 3],
            weights: known.iter().flat_map(|(_, weights)| *weights).collect(),
            bias: vec![0.5, 0.0],
        }
    }

    #[test]
    fn logits_equal_a_hand_worked_example() {
        // `good` and `phone` once each: 1/√2; unknown words count for nothing.
        let logits = branch().logits("a GOOD phone");
        assert!((logits[0] - (0.5 - 0.5_f64.sqrt())).abs() < 1e-12, "{logits:?}");
        assert!((logits[1] - 1.25 * 0.5_f64.sqrt()).abs() < 1e-12, "{logits:?}");
        assert_eq!(branch().logits("nothing known"), [0.5, 0.0]);
        assert_eq!(branch().logits(""), [0.5, 0.0]);
    }

    #[test]
    fn contributions_add_up_to_the_difference_of_the_logits() {
        let text = "good good phone, bad phone good";
        let logits = branch().logits(text);
        let contributions = branch().contributions(text, 1, 0);
        assert_eq!(contributions.len(), 6);
        let sum: f64 = contributions.iter().map(|(_, value)| value).sum();
        assert!((sum - (logits[1] - logits[0] + 0.5)).abs() < 1e-12);
        let bad = contributions.iter().find(|(gram, _)| gram.start == 17).expect("bad");
        assert!(bad.1 < 0.0 && bad.0.end == 20);
    }
}
