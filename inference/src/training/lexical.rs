//! Fitting a linear model over words and character sequences: the lexical branch of a head, and the bag-of-words
//! baseline that every head is measured against.

use std::collections::HashMap;

use crate::lexical::{LexicalBranch, grams};
use crate::quantise::softmax;
use crate::training::lbfgs::minimise;
use crate::training::options::LexicalOptions;

/// The gradient of the mean loss at which the model counts as converged, per component.
const GRADIENT_TOLERANCE: f64 = 1e-6;
/// Far more steps than any data set here needs.
const ITERATIONS_MAX: u32 = 1000;

/// A fitted branch and whether the fit came to its end.
pub(crate) struct FittedLexical {
    pub(crate) branch: LexicalBranch,
    pub(crate) converged: bool,
}

/// Multinomial logistic regression with an L2 penalty on TF-IDF weighted sequences of `texts`, one of `classes` each, weighted
/// per class by `class_weights`. Deterministic: convex, started at zero, summed in a fixed order.
pub(crate) fn fit(texts: &[&str], classes: &[usize], class_weights: &[f64], options: &LexicalOptions) -> FittedLexical {
    let count = class_weights.len();
    let mut branch = vocabulary(texts, options);
    let rows: Vec<Vec<(usize, f64)>> = texts.iter().map(|text| branch.values(&grams(text, options.ngrams))).collect();
    let features = branch.vocabulary.len();
    let total: f64 = classes.iter().map(|&class| class_weights[class]).sum();
    let penalty = 1.0 / (options.inverse_penalty * total.max(1.0));
    // Weights `[features][classes]`, then the biases, which are not penalised.
    let loss = |point: &[f64], gradient: &mut [f64]| {
        let (weights, bias) = point.split_at(features * count);
        gradient.iter_mut().zip(weights).for_each(|(slope, weight)| *slope = penalty * weight);
        gradient[features * count..].fill(0.0);
        let mut value = 0.5 * penalty * weights.iter().map(|weight| weight * weight).sum::<f64>();
        let mut logits = vec![0.0; count];
        for (row, &class) in rows.iter().zip(classes) {
            logits.copy_from_slice(bias);
            for &(feature, x) in row {
                let own = &weights[feature * count..(feature + 1) * count];
                logits.iter_mut().zip(own).for_each(|(logit, weight)| *logit += x * weight);
            }
            let share = class_weights[class] / total;
            // Finite weights give finite logits; an overflow shows as an infinite loss, which the line search refuses.
            let Some(mut slopes) = softmax(&logits, 1.0) else { return f64::INFINITY };
            value -= share * slopes[class].max(f64::MIN_POSITIVE).ln();
            slopes[class] -= 1.0;
            slopes.iter_mut().for_each(|slope| *slope *= share);
            for &(feature, x) in row {
                let own = &mut gradient[feature * count..(feature + 1) * count];
                own.iter_mut().zip(&slopes).for_each(|(slope, change)| *slope += x * change);
            }
            gradient[features * count..].iter_mut().zip(&slopes).for_each(|(slope, change)| *slope += change);
        }
        value
    };
    let found = minimise(loss, vec![0.0; (features + 1) * count], GRADIENT_TOLERANCE, ITERATIONS_MAX);
    let single = |values: &[f64]| values.iter().map(|&value| value as f32).collect();
    branch.weights = single(&found.point[..features * count]);
    branch.bias = single(&found.point[features * count..]);
    tracing::info!(features, iterations = found.iterations, gradient_max = found.gradient_max, "lexical model fitted");
    FittedLexical { branch, converged: found.is_converged(GRADIENT_TOLERANCE) }
}

/// A branch without weights: the sequences that stand in enough texts, and how rare each is (smoothed, natural logarithm).
fn vocabulary(texts: &[&str], options: &LexicalOptions) -> LexicalBranch {
    let mut documents: HashMap<u32, u32> = HashMap::new();
    let mut own: Vec<u32> = Vec::new();
    for text in texts {
        own.clear();
        own.extend(grams(text, options.ngrams).iter().map(|gram| gram.hash));
        own.sort_unstable();
        own.dedup();
        for &hash in &own {
            *documents.entry(hash).or_default() += 1;
        }
    }
    let mut kept: Vec<(u32, u32)> = documents.into_iter().filter(|(_, n)| *n >= options.documents_min).collect();
    // The most frequent first, then by hash: no order of a hash map gets into the file.
    kept.sort_unstable_by_key(|&(hash, n)| (std::cmp::Reverse(n), hash));
    kept.truncate(options.features_max);
    kept.sort_unstable();
    let all = texts.len() as f64;
    LexicalBranch {
        ngrams: options.ngrams,
        vocabulary: kept.iter().map(|(hash, _)| *hash).collect(),
        idf: kept.iter().map(|(_, n)| (1.0 + ((1.0 + all) / (1.0 + f64::from(*n))).ln()) as f32).collect(),
        weights: Vec::new(),
        bias: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexical::NgramSpec;

    fn options(inverse_penalty: f64) -> LexicalOptions {
        let ngrams = NgramSpec { words_max: 1, chars_min: 1, chars_max: 0 };
        LexicalOptions { ngrams, documents_min: 2, features_max: 3, inverse_penalty, class_weight_power: 0.0 }
    }

    #[test]
    fn one_word_per_text_gives_the_weights_that_calculus_gives() {
        // Two words, each in 100 texts of its own; `a` is class 1 three times of four, `b` never. x = 1 for either.
        let texts: Vec<&str> = (0..200).map(|index| if index < 100 { "a" } else { "b" }).collect();
        let classes: Vec<usize> = (0..200).map(|index| usize::from(index < 75)).collect();
        let fitted = fit(&texts, &classes, &[1.0, 1.0], &options(1e6));
        assert!(fitted.converged);
        let logits = fitted.branch.logits("a");
        assert!((logits[1] - logits[0] - 3.0_f64.ln()).abs() < 0.01, "the odds are 3 to 1: {logits:?}");
        let logits = fitted.branch.logits("b");
        assert!(logits[0] - logits[1] > 5.0, "never: {logits:?}");
        let strict = fit(&texts, &classes, &[1.0, 1.0], &options(0.01));
        let largest = |weights: &[f32]| weights.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
        let (free, strict) = (largest(&fitted.branch.weights), largest(&strict.branch.weights));
        assert!(strict < free / 5.0, "a strong penalty keeps weights small: {strict} of {free}");
    }

    #[test]
    fn rare_sequences_are_left_out_and_the_most_frequent_kept() {
        let texts = ["a b c d", "a b c d", "a b c", "a b", "once"];
        let branch = vocabulary(&texts, &options(1.0));
        assert_eq!(branch.vocabulary.len(), 3, "a, b and c; d is one too many, `once` stands once");
        assert_eq!(branch.values(&grams("d once", options(1.0).ngrams)), []);
        let smallest = branch.idf.iter().copied().fold(f32::MAX, f32::min);
        assert!((smallest - (1.0 + (6.0_f32 / 5.0).ln())).abs() < 1e-6);
    }
}
