//! Calibration and thresholds from predictions on dialogues that the predicting network did not learn from.

use crate::conversation::CLASSES;
use crate::conversation::calibration::{Calibration, normalised_exponentials};

/// Passes over the four numbers of a calibration; each settles within a few.
const PASSES: usize = 30;
/// Thresholds tried, in nats on either side of the calibrated log-probabilities.
const LABEL_BIAS_STEPS: i32 = 30;
const LABEL_BIAS_STEP: f64 = 0.05;

/// The calibration with the highest likelihood of `rows` (class, raw probabilities), and the label biases with the
/// best mean recall.
pub(crate) fn calibrate(rows: &[(usize, [f64; CLASSES])]) -> Calibration {
    let logs: Vec<(usize, [f64; CLASSES])> =
        rows.iter().map(|(class, raw)| (*class, raw.map(|p| p.max(f64::MIN_POSITIVE).ln()))).collect();
    // Inverse temperature, then the biases of the first and last class: the middle one is the reference.
    let mut point = [1.0, 0.0, 0.0];
    for _ in 0..PASSES {
        for (index, (low, high)) in [(0.125, 4.0), (-4.0, 4.0), (-4.0, 4.0)].into_iter().enumerate() {
            point[index] = minimum(low, high, |value| {
                let mut tried = point;
                tried[index] = value;
                loss(&logs, tried)
            });
        }
    }
    let class_bias = [point[1], 0.0, point[2]];
    let calibration = Calibration { temperature: 1.0 / point[0], class_bias, label_bias: [0.0; CLASSES] };
    calibration.with_label_bias(label_bias(rows, calibration))
}

fn loss(logs: &[(usize, [f64; CLASSES])], [inverse, first, last]: [f64; 3]) -> f64 {
    let bias = [first, 0.0, last];
    let row = |(class, logs): &(usize, [f64; CLASSES])| {
        let scaled = std::array::from_fn(|index| logs[index] * inverse + bias[index]);
        -normalised_exponentials(scaled)[*class].max(f64::MIN_POSITIVE).ln()
    };
    logs.iter().map(row).sum()
}

/// Where a convex function is least between two points.
fn minimum(mut low: f64, mut high: f64, function: impl Fn(f64) -> f64) -> f64 {
    for _ in 0..40 {
        let third = (high - low) / 3.0;
        if function(low + third) <= function(high - third) { high -= third } else { low += third }
    }
    f64::midpoint(low, high)
}

fn label_bias(rows: &[(usize, [f64; CLASSES])], calibration: Calibration) -> [f64; CLASSES] {
    let calibrated: Vec<(usize, [f64; CLASSES])> =
        rows.iter().map(|(class, raw)| (*class, calibration.probabilities(*raw))).collect();
    let steps = || (-LABEL_BIAS_STEPS..=LABEL_BIAS_STEPS).map(|step| f64::from(step) * LABEL_BIAS_STEP);
    let grid: Vec<[f64; CLASSES]> = steps().flat_map(|first| steps().map(move |last| [first, 0.0, last])).collect();
    let recall = |bias: &[f64; CLASSES]| {
        let labelled = calibration.with_label_bias(*bias);
        mean_recall(calibrated.iter().map(|(class, row)| (*class, labelled.label(*row))))
    };
    let recalls: Vec<f64> = grid.iter().map(recall).collect();
    smoothed_best(&grid, &recalls)
}

/// The grid point whose surroundings are best in the mean: the best single point is often a fluke of a few rows.
fn smoothed_best(grid: &[[f64; CLASSES]], recalls: &[f64]) -> [f64; CLASSES] {
    let reach = 2.5 * LABEL_BIAS_STEP;
    let around = |centre: &[f64; CLASSES]| {
        let near =
            |point: &[f64; CLASSES]| (point[0] - centre[0]).abs() < reach && (point[2] - centre[2]).abs() < reach;
        let found: Vec<f64> =
            grid.iter().zip(recalls).filter(|(point, _)| near(point)).map(|(_, &recall)| recall).collect();
        found.iter().sum::<f64>() / found.len() as f64
    };
    let scored = grid.iter().map(|point| (around(point), point));
    let best = scored.fold(
        (f64::NEG_INFINITY, [0.0; CLASSES]),
        |best, (value, point)| {
            if value > best.0 { (value, *point) } else { best }
        },
    );
    best.1
}

/// Unweighted mean, over the classes that occur, of the share of their rows that was found.
pub(crate) fn mean_recall(rows: impl Iterator<Item = (usize, usize)>) -> f64 {
    let (mut hits, mut counts) = ([0_u32; CLASSES], [0_u32; CLASSES]);
    for (class, label) in rows {
        counts[class] += 1;
        hits[class] += u32::from(class == label);
    }
    let recalls: Vec<f64> = hits
        .iter()
        .zip(counts)
        .filter(|(_, count)| *count > 0)
        .map(|(&hits, count)| f64::from(hits) / f64::from(count))
        .collect();
    if recalls.is_empty() { 0.0 } else { recalls.iter().sum::<f64>() / recalls.len() as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibrated_probabilities_have_the_shares_of_the_data() {
        // Raw probabilities know nothing; half of the rows are neutral, three tenths satisfied.
        let classes = [0, 0, 1, 1, 1, 1, 1, 2, 2, 2];
        let rows: Vec<(usize, [f64; CLASSES])> = classes.iter().map(|&class| (class, [1.0 / 3.0; CLASSES])).collect();
        let found = calibrate(&rows).probabilities([1.0 / 3.0; CLASSES]);
        for (probability, share) in found.into_iter().zip([0.2, 0.5, 0.3]) {
            assert!((probability - share).abs() < 1e-3, "{found:?}");
        }
    }

    #[test]
    fn thresholds_find_the_rare_class() {
        // Class 0 is rare and its rows are a little more suspicious; calibrated, it never is the likeliest.
        let rows: Vec<(usize, [f64; CLASSES])> = (0..400)
            .map(|index| {
                let class = if index % 10 == 0 { 0 } else { 1 + index % 2 };
                let suspicious = if class == 0 { 0.3 } else { 0.1 };
                let rest = 1.0 - suspicious;
                let favoured = if class == 2 { [0.2, 0.8] } else { [0.8, 0.2] };
                (class, [suspicious, rest * favoured[0], rest * favoured[1]])
            })
            .collect();
        let calibration = calibrate(&rows);
        let labels = |calibration: Calibration| {
            mean_recall(rows.iter().map(|(class, raw)| (*class, calibration.label(calibration.probabilities(*raw)))))
        };
        assert!(labels(calibration) > 0.99, "{calibration:?}");
    }

    #[test]
    fn mean_recall_leaves_absent_classes_out() {
        assert!((mean_recall([(0, 0), (0, 1), (2, 2)].into_iter()) - 0.75).abs() < 1e-12);
        assert_eq!(mean_recall(std::iter::empty()), 0.0);
    }
}
