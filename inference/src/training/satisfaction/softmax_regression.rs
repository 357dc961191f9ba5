//! Multinomial logistic regression on sparse rows, to convergence: L-BFGS on the exact gradient, in double precision.

use crate::conversation::CLASSES;
use crate::conversation::calibration::normalised_exponentials;
use crate::training::lbfgs::minimise;

/// The fit has converged when no partial derivative exceeds this share of the rows' total weight.
const GRADIENT_SHARE_MAX: f64 = 1e-5;
const ITERATIONS_MAX: u32 = 500;

/// Rows to fit: features as (index, value), class, weight in the loss.
pub(crate) struct Rows<'a> {
    pub(crate) features: &'a [Vec<(usize, f32)>],
    pub(crate) classes: &'a [usize],
    pub(crate) weights: &'a [f64],
    /// Features are `0..width`.
    pub(crate) width: usize,
}

/// Weights `[3, width]`, row by row, and biases.
pub(crate) struct Fit {
    pub(crate) weight: Vec<f64>,
    pub(crate) bias: [f64; CLASSES],
}

impl Fit {
    /// Logits of a row.
    pub(crate) fn logits(&self, row: &[(usize, f32)]) -> [f64; CLASSES] {
        let width = self.weight.len() / CLASSES;
        std::array::from_fn(|class| {
            let weight = &self.weight[class * width..(class + 1) * width];
            self.bias[class] + row.iter().map(|&(feature, x)| weight[feature] * f64::from(x)).sum::<f64>()
        })
    }
}

/// Minimises Σ weight · cross-entropy + `l2`/2 · |weights|²; biases are not penalised.
pub(crate) fn fit(rows: &Rows<'_>, l2: f64) -> Fit {
    let start = vec![0.0; CLASSES * rows.width + CLASSES];
    let tolerance = GRADIENT_SHARE_MAX * rows.weights.iter().sum::<f64>();
    let found = minimise(|point, gradient| loss(rows, l2, point, gradient), start, tolerance, ITERATIONS_MAX);
    if !found.is_converged(tolerance) {
        tracing::warn!(gradient_max = found.gradient_max, tolerance, "a logistic regression has not converged");
    }
    let mut point = found.point;
    let bias = std::array::from_fn(|class| point[CLASSES * rows.width + class]);
    point.truncate(CLASSES * rows.width);
    Fit { weight: point, bias }
}

/// Loss at `point` (weights class by class, then biases); writes the gradient.
fn loss(rows: &Rows<'_>, l2: f64, point: &[f64], gradient: &mut [f64]) -> f64 {
    let width = rows.width;
    let (weight, bias) = point.split_at(CLASSES * width);
    gradient.iter_mut().zip(weight).for_each(|(slope, w)| *slope = l2 * w);
    gradient[CLASSES * width..].fill(0.0);
    let mut value = l2 / 2.0 * weight.iter().map(|w| w * w).sum::<f64>();
    for ((row, &class), &share) in rows.features.iter().zip(rows.classes).zip(rows.weights) {
        let mut logits: [f64; CLASSES] = std::array::from_fn(|class| bias[class]);
        for &(feature, x) in row {
            for (class, logit) in logits.iter_mut().enumerate() {
                *logit += weight[class * width + feature] * f64::from(x);
            }
        }
        let mut error = normalised_exponentials(logits);
        value -= share * error[class].max(f64::MIN_POSITIVE).ln();
        error[class] -= 1.0;
        for (class, error) in error.into_iter().enumerate() {
            let error = share * error;
            gradient[CLASSES * width + class] += error;
            for &(feature, x) in row {
                gradient[class * width + feature] += error * f64::from(x);
            }
        }
    }
    value
}

/// Weights that make every class count alike, with mean 1.
pub(crate) fn balanced(classes: &[usize]) -> Vec<f64> {
    let mut counts = [0_usize; CLASSES];
    classes.iter().for_each(|&class| counts[class] += 1);
    let present = counts.iter().filter(|&&count| count > 0).count().max(1);
    classes.iter().map(|&class| classes.len() as f64 / (present * counts[class]) as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rows: &Rows<'_>, l2: f64, point: &[f64]) -> (f64, Vec<f64>) {
        let mut gradient = vec![f64::NAN; point.len()];
        (loss(rows, l2, point, &mut gradient), gradient)
    }

    #[test]
    fn the_gradient_vanishes_at_the_fit_and_other_points_are_worse() {
        let features: Vec<Vec<(usize, f32)>> =
            (0..90).map(|index| vec![(index % 4, 1.0), (4, ((index * 37 % 11) as f32 - 5.0) / 5.0)]).collect();
        let classes: Vec<usize> = (0..90).map(|index| (index % 4 + index * index % 3) % CLASSES).collect();
        let weights = balanced(&classes);
        let rows = Rows { features: &features, classes: &classes, weights: &weights, width: 5 };
        let fit = fit(&rows, 0.1);
        let point: Vec<f64> = fit.weight.iter().chain(&fit.bias).copied().collect();
        let (value, gradient) = at(&rows, 0.1, &point);
        assert!(gradient.iter().all(|slope| slope.abs() <= 1e-3), "{gradient:?}");
        for index in 0..point.len() {
            for change in [-0.05, 0.05] {
                let mut other = point.clone();
                other[index] += change;
                assert!(at(&rows, 0.1, &other).0 > value);
            }
        }
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let features = [vec![(0, 0.5), (2, -1.0)], vec![(1, 2.0)], vec![(0, 1.0), (1, 0.3), (2, 0.7)]];
        let rows = Rows { features: &features, classes: &[0, 2, 1], weights: &[1.0, 0.5, 2.0], width: 3 };
        let point: Vec<f64> = (0..12).map(|index| (f64::from(index) * 0.9).sin()).collect();
        let (_, gradient) = at(&rows, 0.3, &point);
        for index in 0..point.len() {
            let moved = |change: f64| {
                let mut other = point.clone();
                other[index] += change;
                at(&rows, 0.3, &other).0
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - gradient[index]).abs() < 1e-6, "{index}: {slope} and {}", gradient[index]);
        }
    }

    #[test]
    fn balanced_classes_weigh_alike() {
        let classes = [0, 0, 0, 1, 2, 2];
        let weights = balanced(&classes);
        for class in 0..CLASSES {
            let sum: f64 = classes.iter().zip(&weights).filter(|(c, _)| **c == class).map(|(_, w)| w).sum();
            assert!((sum - 2.0).abs() < 1e-12);
        }
    }
}
