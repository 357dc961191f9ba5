//! The percentile sketch against exact percentiles on distributions that durations have, and under retraction.

use super::*;
use crate::catalogue::{contribute, kpi};

/// SplitMix64: the same values on every machine.
struct Values(u64);

impl Values {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        crate::event::mix(self.0)
    }

    /// Uniform in (0, 1).
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal (Box–Muller).
    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// A distribution of durations, by name.
fn draw(distribution: &str, values: &mut Values) -> i64 {
    let ms = match distribution {
        // Median 5 min, as response times are.
        "log-normal" => (12.6 + 1.5 * values.normal()).exp(),
        // Seconds of a chat, hours of an email.
        "bimodal" if values.unit() < 0.6 => 20_000.0 + 4_000.0 * values.normal(),
        "bimodal" => 14_400_000.0 + 2_000_000.0 * values.normal(),
        "constant" => 61_234.0,
        // Pareto with shape 1.1: the mean barely exists.
        _ => 1_000.0 / values.unit().powf(1.0 / 1.1),
    };
    // A year at most: beyond centuries a slot saturates.
    ms.clamp(0.0, 3.2e10) as i64
}

fn tally(values: &[i64]) -> Tally {
    let mut entries = Vec::with_capacity(values.len());
    for &value in values {
        contribute(kpi::REPLY_TIME, value, None, 1, &mut entries);
    }
    Tally::from_entries(entries)
}

/// The sketch of values that come from cells of a thousand each.
fn sketch(values: &[i64]) -> Tally {
    let mut sum = Tally::default();
    for cell in values.chunks(1_000) {
        sum.add(&roll_up(&tally(cell), RollUp::OverGroup));
    }
    sum
}

fn nearest_rank(sorted: &[i64], percentile: u64) -> i64 {
    sorted[(percentile as usize * sorted.len()).div_ceil(100) - 1]
}

const DISTRIBUTIONS: [&str; 4] = ["log-normal", "bimodal", "constant", "heavy-tailed"];

#[test]
fn percentiles_are_within_one_percent_of_exact() {
    for distribution in DISTRIBUTIONS {
        for count in [1, 2, 3, 10, 100, 1_000, 10_000, 100_000, 1_000_000] {
            let mut random = Values(count as u64);
            let mut values: Vec<i64> = (0..count).map(|_| draw(distribution, &mut random)).collect();
            let summary = summarise(&sketch(&values), kpi::REPLY_TIME).unwrap();
            values.sort_unstable();
            assert_eq!((summary.count, summary.min_ms, summary.max_ms), (count, values[0], values[values.len() - 1]));
            for (percentile, estimate) in PERCENTILES.into_iter().zip(summary.percentiles_ms) {
                let exact = nearest_rank(&values, percentile);
                let error = (estimate - exact).abs() as f64;
                assert!(error <= 0.01 * exact as f64, "{distribution} {count} p{percentile}: {estimate} for {exact}");
            }
        }
    }
}

#[test]
fn retracting_half_gives_the_sketch_of_the_other_half_bit_for_bit() {
    for distribution in DISTRIBUTIONS {
        let mut random = Values(7);
        let values: Vec<i64> = (0..100_000).map(|_| draw(distribution, &mut random)).collect();
        // Whole cells go, and single values within cells.
        let (gone, stays) = values.split_at(50_000);
        let mut both = sketch(&values);
        let mut taken_back = sketch(gone);
        taken_back.negate();
        both.add(&taken_back);
        assert_eq!(both, sketch(stays), "{distribution}");

        let (even, odd): (Vec<_>, Vec<_>) = stays.iter().enumerate().partition(|(position, _)| position % 2 == 0);
        let [even, odd] = [even, odd].map(|half| half.into_iter().map(|(_, value)| *value).collect::<Vec<i64>>());
        let mut cell = tally(stays);
        let mut taken_back = tally(&odd);
        taken_back.negate();
        cell.add(&taken_back);
        assert_eq!(cell, tally(&even), "{distribution}");
        assert_eq!(roll_up(&cell, RollUp::OverGroup), roll_up(&tally(&even), RollUp::OverGroup));
    }
}
