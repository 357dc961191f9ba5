//! Minimising a smooth convex function: L-BFGS with a backtracking line search (Nocedal and Wright, algorithm 7.5).

/// Pairs of steps and gradient changes that approximate the curvature.
const MEMORY: usize = 8;
/// A step must bring at least this part of the decrease that the slope promises (Armijo).
const SUFFICIENT_DECREASE: f64 = 1e-4;
/// Halvings of a step before giving up: numbers have no more digits.
const HALVINGS_MAX: u32 = 40;

/// Where the search ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Minimum {
    /// The point.
    pub(crate) point: Vec<f64>,
    /// Steps taken.
    pub(crate) iterations: u32,
    /// Largest component of the gradient there, by magnitude.
    pub(crate) gradient_max: f64,
}

impl Minimum {
    /// Whether the gradient is as small as was asked.
    pub(crate) fn is_converged(&self, tolerance: f64) -> bool {
        self.gradient_max <= tolerance
    }
}

/// Follows `function`, which returns the value at a point and writes the gradient, from `start` until no component of
/// the gradient exceeds `tolerance`, or for `iterations_max` steps.
pub(crate) fn minimise(
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
    start: Vec<f64>,
    tolerance: f64,
    iterations_max: u32,
) -> Minimum {
    let mut point = start;
    let mut gradient = vec![0.0; point.len()];
    let mut value = function(&point, &mut gradient);
    let mut history: std::collections::VecDeque<Pair> = std::collections::VecDeque::new();
    let mut iterations = 0;
    while largest(&gradient) > tolerance && iterations < iterations_max {
        let direction = descent(&gradient, &history);
        let slope = dot(&direction, &gradient);
        // The first direction is the gradient itself, whose length says nothing about how far to go.
        let mut step = if history.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt().max(1.0) } else { 1.0 };
        let mut found = None;
        for _ in 0..HALVINGS_MAX {
            let next: Vec<f64> = point.iter().zip(&direction).map(|(at, along)| at + step * along).collect();
            let mut next_gradient = vec![0.0; next.len()];
            let next_value = function(&next, &mut next_gradient);
            if next_value <= value + SUFFICIENT_DECREASE * step * slope {
                found = Some((next, next_gradient, next_value));
                break;
            }
            step *= 0.5;
        }
        let Some((next, next_gradient, next_value)) = found else { break };
        history.extend(Pair::between(&point, &next, &gradient, &next_gradient));
        if history.len() > MEMORY {
            history.pop_front();
        }
        (point, gradient, value) = (next, next_gradient, next_value);
        iterations += 1;
    }
    Minimum { gradient_max: largest(&gradient), point, iterations }
}

/// A step and the change of the gradient along it.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    /// 1 / (step · change).
    scale: f64,
}

impl Pair {
    /// `None` where the function does not curve upwards as far as numbers tell.
    fn between(from: &[f64], to: &[f64], gradient: &[f64], next_gradient: &[f64]) -> Option<Self> {
        let difference = |a: &[f64], b: &[f64]| -> Vec<f64> { b.iter().zip(a).map(|(b, a)| b - a).collect() };
        let (step, change) = (difference(from, to), difference(gradient, next_gradient));
        let curvature = dot(&step, &change);
        (curvature > f64::EPSILON * dot(&change, &change)).then(|| Self { step, change, scale: 1.0 / curvature })
    }
}

/// Minus the gradient, corrected by the curvature seen so far (the two-loop recursion).
fn descent(gradient: &[f64], history: &std::collections::VecDeque<Pair>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|slope| -slope).collect();
    let mut shares = Vec::with_capacity(history.len());
    for pair in history.iter().rev() {
        let share = pair.scale * dot(&pair.step, &direction);
        add(&mut direction, -share, &pair.change);
        shares.push(share);
    }
    if let Some(last) = history.back() {
        let factor = 1.0 / (last.scale * dot(&last.change, &last.change));
        direction.iter_mut().for_each(|value| *value *= factor);
    }
    for (pair, share) in history.iter().zip(shares.into_iter().rev()) {
        let correction = pair.scale * dot(&pair.change, &direction);
        add(&mut direction, share - correction, &pair.step);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(into: &mut [f64], factor: f64, values: &[f64]) {
    into.iter_mut().zip(values).for_each(|(into, value)| *into += factor * value);
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badly_scaled_bowl_is_descended_to_its_bottom() {
        // Σ (i + 1)² (x_i − i)²: curvatures from 2 to 800.
        let bowl = |point: &[f64], gradient: &mut [f64]| {
            let mut value = 0.0;
            for (index, (at, slope)) in point.iter().zip(gradient).enumerate() {
                let (weight, away) = (((index + 1) as f64).powi(2), at - index as f64);
                value += weight * away * away;
                *slope = 2.0 * weight * away;
            }
            value
        };
        let found = minimise(bowl, vec![5.0; 20], 1e-7, 500);
        assert!(found.is_converged(1e-7), "{found:?}");
        assert!(found.point.iter().enumerate().all(|(index, at)| (at - index as f64).abs() < 1e-6));
        assert!(!minimise(bowl, vec![5.0; 20], 1e-7, 3).is_converged(1e-7), "three steps are too few");
    }
}
