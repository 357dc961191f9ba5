//! What a text literally says: hashed character n-grams with tf-idf weights.
//!
//! Characters instead of words, because Chinese has no spaces and short turns ("好的", "谢谢") are decided by a few of
//! them. Hashed into buckets, so that the head file needs no word list.

use crate::lexical::{NgramSpec, grams};

/// One to three characters in a row.
const NGRAMS: NgramSpec = NgramSpec { words_max: 0, chars_min: 1, chars_max: 3 };

/// The n-gram buckets of `text`, increasing, with the logarithmic count 1 + ln(occurrences) of each.
pub(crate) fn ngrams(text: &str, buckets: usize) -> Vec<(usize, f32)> {
    let mut found: Vec<usize> = grams(text, NGRAMS).iter().map(|gram| gram.hash as usize % buckets.max(1)).collect();
    found.sort_unstable();
    let runs = found.chunk_by(|a, b| a == b);
    runs.filter_map(|run| run.first().map(|&bucket| (bucket, 1.0 + (run.len() as f32).ln()))).collect()
}

/// The n-grams of a text weighted by `idf`, scaled to length 1; those with weight 0 are left out.
pub(crate) fn tf_idf(ngrams: &[(usize, f32)], idf: &[f32]) -> Vec<(usize, f32)> {
    let weighted = ngrams.iter().map(|&(bucket, count)| (bucket, count * idf[bucket]));
    let mut weighted: Vec<(usize, f32)> = weighted.filter(|&(_, weight)| weight > 0.0).collect();
    let length = weighted.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
    for (_, weight) in &mut weighted {
        *weight /= length;
    }
    weighted
}

/// Inverse document frequency of every bucket, 1 + ln((1 + texts) / (1 + texts with it)); 0 for buckets of fewer than
/// `texts_min` texts.
pub(crate) fn inverse_document_frequency(texts: &[Vec<(usize, f32)>], buckets: usize, texts_min: u32) -> Vec<f32> {
    let mut counts = vec![0_u32; buckets];
    for (bucket, _) in texts.iter().flatten() {
        counts[*bucket] += 1;
    }
    let total = texts.len() as f32;
    let idf = |&count: &u32| if count < texts_min { 0.0 } else { 1.0 + ((1.0 + total) / (1.0 + count as f32)).ln() };
    counts.iter().map(idf).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUCKETS: usize = 1 << 16;

    #[test]
    fn repeated_ngrams_count_once_with_the_logarithm_of_their_number() {
        let found = ngrams("好的谢谢", BUCKETS);
        assert!(found.is_sorted_by(|a, b| a.0 < b.0));
        let repeated: Vec<f32> = found.iter().map(|&(_, count)| count).filter(|&count| count > 1.0).collect();
        assert_eq!(repeated, [1.0 + 2.0_f32.ln()], "谢 occurs twice");
        assert_eq!(ngrams("OK", BUCKETS), ngrams("ok", BUCKETS));
        assert!(ngrams("", BUCKETS).is_empty());
        assert!(ngrams("好的谢谢", 7).iter().all(|&(bucket, _)| bucket < 7));
    }

    #[test]
    fn weights_have_length_one_and_rare_ngrams_none() {
        let texts: Vec<_> = ["谢谢", "谢谢你", "不行"].iter().map(|text| ngrams(text, BUCKETS)).collect();
        let idf = inverse_document_frequency(&texts, BUCKETS, 2);
        let weights = tf_idf(&texts[1], &idf);
        assert!(!weights.is_empty() && weights.len() < texts[1].len(), "some stand in two texts, some in one");
        assert!((weights.iter().map(|(_, weight)| weight * weight).sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(tf_idf(&texts[2], &idf).is_empty());
        let expected = 1.0 + (4.0_f32 / 3.0).ln();
        assert!(weights.iter().all(|&(bucket, _)| (idf[bucket] - expected).abs() < 1e-6));
    }
}
