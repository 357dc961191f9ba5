//! The detector, without any dataflow: a pure function of one series.
//!
//! For each window the expectation is the median of earlier windows of the same season (same hour of the week, or of the
//! day where there are too few weeks). The spread is the median absolute deviation of the whole series from its
//! expectations over the last two weeks, scaled to a standard deviation (Rousseeuw & Croux 1993): one season has too few
//! windows to tell its own. It is never less than what counting, or averaging this few observations, explains.
//! Medians ignore up to half of outliers, so an earlier incident does not become the norm. Only earlier windows are
//! used: a score says what could have been known then.

use std::collections::VecDeque;

use contactflow_schemas::clock::{DAY_MS, TimeMs, Window};

/// Weeks and days the baseline looks back.
const WEEKS: i64 = 8;
const DAYS: i64 = 14;
/// Earlier windows needed before anything is scored.
const HISTORY_MIN: usize = 4;
/// Recent deviations needed to estimate the spread of a series from them.
const RESIDUALS_MIN: usize = 24;
/// Standard deviations to the bounds of the normal range.
const BOUND_SIGMAS: f64 = 4.0;
/// 1 / Φ⁻¹(3/4): makes the median absolute deviation estimate a standard deviation.
const MAD_TO_SIGMA: f64 = 1.4826;

/// What kind of numbers a series holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detector {
    /// Counts: noise grows with the square root of the level; silence is a value.
    Count,
    /// Positive durations: compared on a logarithmic scale.
    Duration,
    /// Shares between 0 and 1.
    Ratio,
}

/// One window of a series; values in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Start of the window.
    pub start_ms: TimeMs,
    /// Value.
    pub value_milli: i64,
    /// Observations behind the value; for counts it does not matter.
    pub observations: i64,
}

/// The verdict on one window; values in thousandths, the score in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Score {
    /// Start of the window.
    pub start_ms: TimeMs,
    /// Observed value.
    pub observed_milli: i64,
    /// Expected value.
    pub expected_milli: i64,
    /// Lower bound of the normal range.
    pub lower_milli: i64,
    /// Upper bound of the normal range.
    pub upper_milli: i64,
    /// 0 normal … 1 certainly not; 0.5 at the bounds.
    pub score_millionths: i64,
}

impl Detector {
    /// Onto the scale on which deviations are compared.
    fn forward(self, value: f64) -> f64 {
        match self {
            // The square root makes the spread of counts independent of their level (Anscombe 1948).
            Detector::Count => (value.max(0.0) + 0.375).sqrt(),
            Detector::Duration => value.max(1.0).ln(),
            Detector::Ratio => value,
        }
    }

    fn backward(self, value: f64) -> f64 {
        match self {
            Detector::Count => (value.max(0.0).powi(2) - 0.375).max(0.0),
            Detector::Duration => value.exp(),
            Detector::Ratio => value.clamp(0.0, 1.0),
        }
    }

    /// The spread that chance alone gives, on the comparison scale: of a Poisson count, of a mean of log-normal
    /// durations, of a share or mean rating.
    fn sigma_min(self, observations: i64) -> f64 {
        let root = (observations.max(1) as f64).sqrt();
        match self {
            Detector::Count => 0.5,
            Detector::Duration => (1.0 / root).max(0.15),
            Detector::Ratio => (0.4 / root).max(0.05),
        }
    }
}

/// Scores every window of a series whose points are ascending and of one length.
pub fn score_series(detector: Detector, window: Window, points: &[Point]) -> Vec<Score> {
    let values: Vec<f64> = points.iter().map(|point| detector.forward(point.value_milli as f64 / 1e3)).collect();
    let mut season = Vec::with_capacity(DAYS as usize);
    let mut residuals: VecDeque<(TimeMs, f64)> = VecDeque::new();
    let mut scores = Vec::with_capacity(points.len());
    for (position, point) in points.iter().enumerate() {
        seasonal_values(window, &points[..position], &values, point.start_ms, &mut season);
        if season.len() < HISTORY_MIN {
            continue;
        }
        while residuals.front().is_some_and(|(start_ms, _)| *start_ms < point.start_ms - DAYS * DAY_MS) {
            residuals.pop_front();
        }
        let expected = median(&mut season);
        let sigma = spread(&residuals, &mut season, expected).max(detector.sigma_min(point.observations));
        scores.push(score(detector, point, values[position], expected, sigma));
        residuals.push_back((point.start_ms, (values[position] - expected).abs()));
    }
    scores
}

/// Standard deviation estimated from recent deviations; from the season's own values while there are few.
fn spread(residuals: &VecDeque<(TimeMs, f64)>, season: &mut [f64], expected: f64) -> f64 {
    if residuals.len() >= RESIDUALS_MIN {
        let mut deviations: Vec<f64> = residuals.iter().map(|(_, deviation)| *deviation).collect();
        return median(&mut deviations) * MAD_TO_SIGMA;
    }
    season.iter_mut().for_each(|value| *value = (*value - expected).abs());
    median(season) * MAD_TO_SIGMA
}

/// Earlier values of the same season: weeks apart first, days apart where there are too few.
fn seasonal_values(window: Window, earlier: &[Point], values: &[f64], start_ms: TimeMs, season: &mut Vec<f64>) {
    let at = |time_ms: TimeMs| {
        let position = earlier.binary_search_by_key(&time_ms, |point| point.start_ms).ok()?;
        Some(values[position])
    };
    season.clear();
    if window == Window::Hour {
        season.extend((1..=WEEKS).filter_map(|weeks| at(start_ms - weeks * 7 * DAY_MS)));
        if season.len() >= HISTORY_MIN {
            return;
        }
        season.clear();
        season.extend(
            (1..=DAYS)
                .filter(|&days| same_part_of_week(start_ms, days))
                .filter_map(|days| at(start_ms - days * DAY_MS)),
        );
    } else {
        season.extend((1..=DAYS).filter_map(|days| at(start_ms - days * DAY_MS)));
    }
}

/// Working days are compared with working days, weekends with weekends.
fn same_part_of_week(start_ms: TimeMs, days_before: i64) -> bool {
    // 1970-01-01 was a Thursday.
    let weekend = |time_ms: TimeMs| matches!((time_ms.div_euclid(DAY_MS) + 3).rem_euclid(7), 5 | 6);
    weekend(start_ms) == weekend(start_ms - days_before * DAY_MS)
}

fn score(detector: Detector, point: &Point, observed: f64, expected: f64, sigma: f64) -> Score {
    let milli = |value: f64| (detector.backward(value) * 1e3).round() as i64;
    // |z| / (|z| + bound): 0 at the expectation, one half at the bounds, monotone, never saturated.
    let sigmas = (observed - expected).abs() / sigma;
    Score {
        start_ms: point.start_ms,
        observed_milli: point.value_milli,
        expected_milli: milli(expected),
        lower_milli: milli(expected - BOUND_SIGMAS * sigma),
        upper_milli: milli(expected + BOUND_SIGMAS * sigma),
        score_millionths: (sigmas / (sigmas + BOUND_SIGMAS) * 1e6).round() as i64,
    }
}

/// The median, in linear time; the mean of the middle two of an even number.
fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    let even = values.len().is_multiple_of(2);
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if !even {
        return upper;
    }
    let lower = below.iter().copied().max_by(f64::total_cmp).unwrap_or(upper);
    (lower + upper) / 2.0
}

#[cfg(test)]
mod tests {
    use contactflow_schemas::clock::HOUR_MS;

    use super::*;

    /// Three weeks of an hourly count with a daily rhythm.
    fn rhythm(change: impl Fn(i64) -> Option<i64>) -> Vec<Point> {
        (0..21 * 24)
            .map(|hour| {
                let usual = 20 + 15 * i64::from((8..20).contains(&(hour % 24))) + (hour * 7) % 5;
                Point { start_ms: hour * HOUR_MS, value_milli: change(hour).unwrap_or(usual) * 1_000, observations: 1 }
            })
            .collect()
    }

    #[test]
    fn a_silent_hour_and_a_burst_stand_out_and_nothing_else() {
        let (silent, burst) = (20 * 24 + 11, 20 * 24 + 15);
        let points = rhythm(|hour| (hour == silent).then_some(0).or((hour == burst).then_some(150)));
        let scores = score_series(Detector::Count, Window::Hour, &points);
        let outside: Vec<i64> = scores
            .iter()
            .filter(|score| score.score_millionths >= 500_000)
            .map(|score| score.start_ms / HOUR_MS)
            .collect();
        assert_eq!(outside, [silent, burst]);
    }

    #[test]
    fn an_earlier_incident_does_not_become_the_norm() {
        let points = rhythm(|hour| (10 * 24..11 * 24).contains(&hour).then_some(400));
        let after = score_series(Detector::Count, Window::Hour, &points);
        assert!(
            after.iter().filter(|score| score.start_ms >= 11 * DAY_MS).all(|score| score.score_millionths < 500_000)
        );
    }

    #[test]
    fn nothing_is_scored_without_history_and_the_future_is_not_used() {
        let points = rhythm(|_| None);
        let (whole, part) = (
            score_series(Detector::Count, Window::Hour, &points),
            score_series(Detector::Count, Window::Hour, &points[..300]),
        );
        assert!(whole[0].start_ms >= 4 * DAY_MS);
        assert_eq!(whole[..part.len()], part[..]);
    }
}
