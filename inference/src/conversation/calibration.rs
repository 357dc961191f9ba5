//! From averaged probabilities to calibrated ones, a score and a label.

use contactflow_schemas::prediction::SCORE_SCALE;
use serde::{Deserialize, Serialize};

use crate::conversation::CLASSES;

/// How raw probabilities become published ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calibration {
    /// Log-probabilities are divided by this; positive.
    pub(crate) temperature: f64,
    /// Then added, per class: training weighs classes alike, the data do not.
    pub(crate) class_bias: [f64; CLASSES],
    /// Added to calibrated log-probabilities before the label is the largest: the thresholds with the best mean recall.
    pub(crate) label_bias: [f64; CLASSES],
}

impl Calibration {
    /// Changes nothing.
    pub(crate) const NONE: Self = Self { temperature: 1.0, class_bias: [0.0; CLASSES], label_bias: [0.0; CLASSES] };

    /// The same with other thresholds.
    pub(crate) fn with_label_bias(self, label_bias: [f64; CLASSES]) -> Self {
        Self { temperature: self.temperature, class_bias: self.class_bias, label_bias }
    }

    /// Calibrated probabilities of raw ones.
    pub(crate) fn probabilities(&self, raw: [f64; CLASSES]) -> [f64; CLASSES] {
        let logs: [f64; CLASSES] = std::array::from_fn(|class| {
            raw[class].max(f64::MIN_POSITIVE).ln() / self.temperature + self.class_bias[class]
        });
        normalised_exponentials(logs)
    }

    /// The label of calibrated probabilities; the first of equals, so that doubt never hides an unhappy customer.
    pub(crate) fn label(&self, calibrated: [f64; CLASSES]) -> usize {
        let evidence = |class: usize| calibrated[class].max(f64::MIN_POSITIVE).ln() + self.label_bias[class];
        (0..CLASSES).fold(0, |best, class| if evidence(class) > evidence(best) { class } else { best })
    }
}

/// Softmax in double precision.
pub(crate) fn normalised_exponentials(logs: [f64; CLASSES]) -> [f64; CLASSES] {
    let largest = logs.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let weights = logs.map(|log| (log - largest).exp());
    let total: f64 = weights.iter().sum();
    weights.map(|weight| weight / total)
}

/// Quality: half the expected class (0 dissatisfied, 1 neutral, 2 satisfied), units of 1/[`SCORE_SCALE`].
pub(crate) fn quality(calibrated: [f64; CLASSES]) -> i32 {
    let expected = calibrated[1] / 2.0 + calibrated[2];
    ((expected * f64::from(SCORE_SCALE)).round() as i32).clamp(0, SCORE_SCALE)
}

/// `weights` in units of 1/[`SCORE_SCALE`], summing to it exactly: rounded down, the rest to the largest remainders, the
/// first of equals. `None` unless the weights are finite, not negative, and not all zero.
pub(crate) fn shares(weights: &[f64]) -> Option<Vec<i32>> {
    let total: f64 = weights.iter().sum();
    if weights.iter().any(|weight| !weight.is_finite() || *weight < 0.0) || total <= 0.0 {
        return None;
    }
    let exact: Vec<f64> = weights.iter().map(|weight| weight / total * f64::from(SCORE_SCALE)).collect();
    let mut shares: Vec<i32> = exact.iter().map(|share| share.floor() as i32).collect();
    let mut order: Vec<usize> = (0..exact.len()).collect();
    order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()).then(a.cmp(&b)));
    let missing = SCORE_SCALE - shares.iter().sum::<i32>();
    for &index in order.iter().cycle().take(usize::try_from(missing).ok()?) {
        shares[index] += 1;
    }
    Some(shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_sum_to_the_scale_and_stay_within_a_unit() {
        for count in 1..65_usize {
            let weights: Vec<f64> = (0..count).map(|index| ((index * 31 % 17) as f64 + 0.1).powi(3)).collect();
            let total: f64 = weights.iter().sum();
            let shares = shares(&weights).expect("shares");
            assert_eq!(shares.iter().sum::<i32>(), SCORE_SCALE);
            for (share, weight) in shares.iter().zip(&weights) {
                assert!((f64::from(*share) - weight / total * f64::from(SCORE_SCALE)).abs() < 1.0);
            }
        }
        assert_eq!(shares(&[1.0, 1.0, 1.0]), Some(vec![3334, 3333, 3333]));
        assert_eq!(shares(&[0.0, 0.0]), None);
        assert_eq!(shares(&[f64::NAN, 1.0]), None);
        assert_eq!(shares(&[]), None);
    }

    #[test]
    fn quality_is_half_the_expected_class() {
        assert_eq!(quality([1.0, 0.0, 0.0]), 0);
        assert_eq!(quality([0.0, 1.0, 0.0]), SCORE_SCALE / 2);
        assert_eq!(quality([0.2, 0.3, 0.5]), 6_500);
        assert_eq!(quality([0.0, 0.0, 1.0]), SCORE_SCALE);
    }

    #[test]
    fn biases_move_probabilities_and_labels() {
        let raw = [0.5, 0.3, 0.2];
        assert_eq!(Calibration::NONE.probabilities(raw).map(|p| (p * 1e9).round() / 1e9), raw);
        let prior = Calibration { class_bias: [0.0, 2.0_f64.ln(), 0.0], ..Calibration::NONE };
        let moved = prior.probabilities(raw);
        assert!((moved[1] - 0.6 / 1.3).abs() < 1e-12);
        assert_eq!(prior.label(moved), 1);
        let thresholds = Calibration { label_bias: [1.0, 0.0, 0.0], ..prior };
        assert_eq!(thresholds.label(moved), 0);
        assert_eq!(Calibration::NONE.label([0.4, 0.4, 0.2]), 0, "ties go to the unhappier");
    }
}
