//! Thresholds of a head: which probabilities are enough for a label.

use crate::head::decide;
use crate::training::metrics::macro_f1;

/// Biases tried per label, in steps on either side of the one found so far.
const STEPS: i32 = 30;
/// A step in nats.
const STEP: f64 = 0.05;
/// Steps on either side whose figures count with a bias: the best single one is often a fluke of a few rows.
const REACH: usize = 2;
/// Passes over the labels; each settles within a few.
const PASSES: usize = 4;

/// The biases, one per label and the first of them 0, with the highest macro-F1 on `rows` (true class, probabilities): of
/// `classes` labels one after the other is moved to where its surroundings are best in the mean, the nearest of equal
/// places.
pub(crate) fn best_label_bias(classes: usize, rows: &[(usize, Vec<f64>)]) -> Vec<f64> {
    let mut bias = vec![0.0; classes];
    for _ in 0..PASSES {
        let before = bias.clone();
        for class in 1..classes {
            bias[class] = best_along(class, &bias, rows);
        }
        if bias == before {
            break;
        }
    }
    bias
}

/// Where the bias of `class` is best, the others being what they are.
fn best_along(class: usize, bias: &[f64], rows: &[(usize, Vec<f64>)]) -> f64 {
    let place = |step: i32| bias[class] + f64::from(step) * STEP;
    let reach = REACH as i32;
    let figures: Vec<f64> = (-STEPS - reach..=STEPS + reach)
        .map(|step| {
            let mut tried = bias.to_vec();
            tried[class] = place(step);
            macro_f1(bias.len(), rows.iter().map(|(truth, row)| (*truth, decide(row, &tried))))
        })
        .collect();
    let means = figures.windows(2 * REACH + 1).map(|around| around.iter().sum::<f64>());
    let mut tried: Vec<(i32, f64)> = (-STEPS..=STEPS).zip(means).collect();
    tried.sort_by_key(|(step, _)| step.abs());
    let best = tried.into_iter().reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map_or(bias[class], |(step, _)| place(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_where_the_classes_part() {
        let share = |percent: i32| f64::from(percent) / 100.0;
        let rows: Vec<(usize, Vec<f64>)> =
            (1..100).map(|percent| (usize::from(percent > 30), vec![1.0 - share(percent), share(percent)])).collect();
        let bias = best_label_bias(2, &rows);
        // The second label from a probability of p on: a bias of ln((1 - p) / p).
        let threshold = 1.0 / (1.0 + bias[1].exp());
        assert!((0.27..=0.34).contains(&threshold), "{threshold}");
        let right = rows.iter().filter(|(truth, row)| decide(row, &bias) == *truth).count();
        assert!(right >= 96, "{right} of 99");
    }

    #[test]
    fn where_nothing_is_better_the_most_probable_label_stays() {
        let sure = |class: usize| {
            let mut row = vec![1e-9; 3];
            row[class] = 1.0 - 2e-9;
            (class, row)
        };
        assert_eq!(best_label_bias(3, &[sure(0), sure(1), sure(2)]), [0.0; 3]);
        assert_eq!(best_label_bias(2, &[]), [0.0; 2]);
    }

    #[test]
    fn a_class_that_is_never_the_most_probable_is_found() {
        // Of class 2 is every row with a third of the probability for it, which never is the largest.
        let rows: Vec<(usize, Vec<f64>)> = (0..300)
            .map(|row| match row % 3 {
                0 => (0, vec![0.6, 0.3, 0.1]),
                1 => (1, vec![0.3, 0.6, 0.1]),
                _ => (2, vec![0.4, 0.3, 0.3]),
            })
            .collect();
        let bias = best_label_bias(3, &rows);
        assert!(rows.iter().all(|(truth, row)| decide(row, &bias) == *truth), "{bias:?}");
    }
}
