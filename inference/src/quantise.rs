//! Probabilities as fixed-point integers that sum to the scale exactly.

use contactflow_schemas::prediction::SCORE_SCALE;

/// Softmax of `logits / temperature` in double precision; `None` unless every logit is finite.
pub(crate) fn softmax(logits: &[f64], temperature: f64) -> Option<Vec<f64>> {
    if logits.is_empty() || logits.iter().any(|logit| !logit.is_finite()) {
        return None;
    }
    let scaled: Vec<f64> = logits.iter().map(|logit| logit / temperature).collect();
    let largest = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scaled.iter().map(|value| (value - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    Some(weights.into_iter().map(|weight| weight / total).collect())
}

/// Negative, neutral and positive probability in units of 1/[`SCORE_SCALE`].
///
/// Negative and positive are rounded to nearest, neutral takes the rest, so the sum is exactly [`SCORE_SCALE`] and
/// the two probabilities that make up the score are never off by more than half a unit.
pub(crate) fn quantise(probabilities: [f64; 3]) -> [i32; 3] {
    let unit = |probability: f64| (probability * f64::from(SCORE_SCALE)).round() as i32;
    let negative = unit(probabilities[0]).clamp(0, SCORE_SCALE);
    let positive = unit(probabilities[2]).clamp(0, SCORE_SCALE - negative);
    [negative, SCORE_SCALE - negative - positive, positive]
}

/// Probabilities in units of 1/[`SCORE_SCALE`] that sum to it exactly: rounded down, and the rest goes to the largest
/// remainders, of equal ones to the first.
pub(crate) fn quantise_all(probabilities: &[f64]) -> Vec<i32> {
    let scaled: Vec<f64> = probabilities.iter().map(|probability| probability * f64::from(SCORE_SCALE)).collect();
    let mut units: Vec<i32> = scaled.iter().map(|value| value.floor() as i32).collect();
    let missing = (SCORE_SCALE - units.iter().sum::<i32>()).max(0) as usize;
    let mut order: Vec<usize> = (0..units.len()).collect();
    order.sort_by(|&a, &b| scaled[b].fract().total_cmp(&scaled[a].fract()));
    for &index in order.iter().take(missing) {
        units[index] += 1;
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_parts_sums_to_the_scale() {
        assert_eq!(quantise_all(&[1.0 / 3.0; 3]), [3334, 3333, 3333]);
        assert_eq!(quantise_all(&[0.0, 1.0]), [0, 10_000]);
        for classes in 2..90 {
            let logits: Vec<f64> = (0..classes).map(|class| f64::from(class * 37 % 11) * 0.3).collect();
            let units = quantise_all(&softmax(&logits, 1.7).expect("finite"));
            assert_eq!(units.iter().sum::<i32>(), SCORE_SCALE, "{classes}");
        }
    }

    #[test]
    fn parts_sum_to_the_scale_and_stay_within_a_unit_of_the_probability() {
        for a in 0..60_i32 {
            for b in 0..60_i32 {
                let logits = [f64::from(a) * 0.37 - 11.0, 0.1, f64::from(b) * 0.41 - 12.0];
                let p = softmax(&logits, 1.3).expect("finite");
                let s = quantise([p[0], p[1], p[2]]);
                assert_eq!(s.iter().sum::<i32>(), SCORE_SCALE);
                for (fixed, exact) in s.into_iter().zip(&p) {
                    assert!((0..=SCORE_SCALE).contains(&fixed));
                    assert!((f64::from(fixed) - exact * f64::from(SCORE_SCALE)).abs() <= 1.0 + 1e-9);
                }
            }
        }
    }

    #[test]
    fn two_halves_do_not_overflow_the_scale() {
        // Both round up at .5: without the clamp the sum would be one unit too large.
        assert_eq!(quantise([0.50005, 0.0, 0.49995]), [5001, 0, 4999]);
    }

    #[test]
    fn logits_that_are_not_numbers_have_no_probabilities() {
        assert_eq!(softmax(&[0.0, f64::NAN, 1.0], 1.0), None);
        assert_eq!(softmax(&[f64::INFINITY, 0.0, 1.0], 1.0), None);
        assert_eq!(softmax(&[], 1.0), None);
        assert_eq!(softmax(&[1000.0, -1000.0], 1.0), Some(vec![1.0, 0.0]));
    }
}
