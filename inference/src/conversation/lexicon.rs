//! What a text literally says: hashed character n-grams with tf-idf weights.
//!
//! Characters instead of words, because Chinese has no spaces and short turns ("好的", "谢谢") are decided by a few of
//! them. Hashed, so that the head file needs no word list.

use xxhash_rust::xxh3::xxh3_64;

/// Longest n-gram in characters; every length from 1 on is used.
const NGRAM_CHARS_MAX: usize = 3;
/// Characters looked at: more than the encoder's token limit lets it see of any text.
const CHARS_MAX: usize = 512;

/// The n-gram buckets of `text`, increasing, with the logarithmic count 1 + ln(occurrences) of each.
pub(crate) fn ngrams(text: &str, buckets: usize) -> Vec<(usize, f32)> {
    let mut hashes = Vec::new();
    let letters: Vec<char> = text.chars().take(CHARS_MAX).flat_map(char::to_lowercase).collect();
    let mut bytes = Vec::with_capacity(4 * NGRAM_CHARS_MAX);
    for length in 1..=NGRAM_CHARS_MAX {
        for window in letters.windows(length) {
            bytes.clear();
            window.iter().for_each(|letter| bytes.extend_from_slice(&u32::from(*letter).to_le_bytes()));
            hashes.push((xxh3_64(&bytes) % buckets.max(1) as u64) as usize);
        }
    }
    hashes.sort_unstable();
    let runs = hashes.chunk_by(|a, b| a == b);
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
    fn a_text_has_all_its_ngrams_of_up_to_three_characters() {
        // 好, 的, 谢 twice; 好的, 的谢, 谢谢; 好的谢, 的谢谢.
        let found = ngrams("好的谢谢", BUCKETS);
        assert_eq!(found.len(), 8);
        assert!(found.is_sorted_by(|a, b| a.0 < b.0));
        let repeated: Vec<f32> = found.iter().map(|&(_, count)| count).filter(|&count| count > 1.0).collect();
        assert_eq!(repeated, [1.0 + 2.0_f32.ln()]);
        assert_eq!(ngrams("OK", BUCKETS), ngrams("ok", BUCKETS));
        assert!(ngrams("", BUCKETS).is_empty());
    }

    #[test]
    fn endless_texts_cost_no_more_than_their_beginning() {
        assert_eq!(ngrams(&"字".repeat(1_000_000), BUCKETS), ngrams(&"字".repeat(CHARS_MAX), BUCKETS));
    }

    #[test]
    fn weights_have_length_one_and_rare_ngrams_none() {
        let texts: Vec<_> = ["谢谢", "谢谢你", "不行"].iter().map(|text| ngrams(text, BUCKETS)).collect();
        let idf = inverse_document_frequency(&texts, BUCKETS, 2);
        let weights = tf_idf(&texts[1], &idf);
        assert_eq!(weights.len(), 2, "谢 and 谢谢 stand in two texts");
        assert!((weights.iter().map(|(_, weight)| weight * weight).sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(tf_idf(&texts[2], &idf).is_empty());
        let expected = 1.0 + (4.0_f32 / 3.0).ln();
        assert!(weights.iter().all(|&(bucket, _)| (idf[bucket] - expected).abs() < 1e-6));
    }
}
