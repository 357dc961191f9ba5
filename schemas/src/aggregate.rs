//! KPI algebra: how cells roll up, and how a cell's [`Tally`] becomes published numbers.

use std::sync::LazyLock;

use crate::catalogue::{CATALOGUE, Kpi, Shape, kpi_id};
use crate::histogram::{bucket_middle, bucket_of};
use crate::tally::{KpiId, Slot, SlotKind, Tally};

/// The percentiles published for durations.
pub const PERCENTILES: [u64; 4] = [50, 90, 95, 99];

/// A published number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Nothing to say: never 0.
    Null,
    /// An exact integer.
    Int(i64),
    /// A quotient, computed once, at the edge, from exact integers.
    Float(f64),
}

/// Which groups a roll-up merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollUp {
    /// Over a longer window: gauges (levels at a window's end) do not add up and stay out.
    OverTime,
    /// Over a coarser group at the same window.
    OverGroup,
}

/// One published column of a KPI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KpiColumn {
    /// Column name.
    pub name: String,
    /// Unit.
    pub unit: &'static str,
    /// What it is.
    pub description: String,
    /// Float64 instead of Int64.
    pub float: bool,
    /// False for counts, which are 0 rather than null.
    pub nullable: bool,
}

/// A duration's numbers in one cell. Times are ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationSummary {
    /// How many.
    pub count: i64,
    /// Their sum.
    pub sum_ms: i64,
    /// The least.
    pub min_ms: i64,
    /// The greatest.
    pub max_ms: i64,
    /// Nearest-rank percentiles, in the order of [`PERCENTILES`].
    pub percentiles_ms: [i64; 4],
}

/// What the tally of a child cell adds to its parent.
pub fn roll_up(child: &Tally, how: RollUp) -> Tally {
    let entries = child.entries();
    let mut parent = Vec::with_capacity(entries.len() + 8);
    let mut rest = entries;
    while let Some(&(slot, _)) = rest.first() {
        let kpi = slot.kpi();
        let length = rest.partition_point(|&(slot, _)| slot.kpi() == kpi);
        let (own, others) = rest.split_at(length);
        rest = others;
        match CATALOGUE[kpi as usize].shape {
            Shape::Gauge if how == RollUp::OverTime => {}
            Shape::Duration => roll_up_duration(kpi, own, &mut parent),
            _ => parent.extend_from_slice(own),
        }
    }
    Tally::from_entries(parent)
}

fn roll_up_duration(kpi: KpiId, own: &[(Slot, i64)], parent: &mut Vec<(Slot, i64)>) {
    let (mut least, mut greatest) = (None, None);
    let (mut count, mut sum) = (0, 0);
    for &(slot, number) in own {
        let value = slot.payload();
        if slot.is(SlotKind::Value) {
            count += number;
            sum += number * value as i64;
            parent.push((Slot::new(kpi, SlotKind::Bucket, bucket_of(value)), number));
        } else if !slot.is(SlotKind::ChildMin) && !slot.is(SlotKind::ChildMax) {
            parent.push((slot, number));
            continue;
        }
        // Entries ascend by value, so the first is the least and the last the greatest.
        if !slot.is(SlotKind::ChildMax) {
            least = least.or(Some(value));
        }
        if !slot.is(SlotKind::ChildMin) {
            greatest = Some(value);
        }
    }
    if count != 0 {
        parent.push((Slot::new(kpi, SlotKind::Count, 0), count));
        parent.push((Slot::new(kpi, SlotKind::Sum, 0), sum));
    }
    parent.extend(least.map(|value| (Slot::new(kpi, SlotKind::ChildMin, value), 1)));
    parent.extend(greatest.map(|value| (Slot::new(kpi, SlotKind::ChildMax, value), 1)));
}

/// Summarises a duration KPI of a cell, in whichever form the cell keeps it; none when nothing was measured.
pub fn summarise(tally: &Tally, kpi: KpiId) -> Option<DurationSummary> {
    let exact = tally.range(kpi, SlotKind::Value);
    if let (Some(first), Some(last)) = (exact.first(), exact.last()) {
        let count = exact.iter().map(|&(_, number)| number).sum();
        let sum_ms = exact.iter().map(|&(slot, number)| slot.payload() as i64 * number).sum();
        let percentiles_ms = percentiles(exact, count, |value| value as i64);
        return Some(DurationSummary {
            count,
            sum_ms,
            min_ms: first.0.payload() as i64,
            max_ms: last.0.payload() as i64,
            percentiles_ms,
        });
    }
    let min_ms = tally.range(kpi, SlotKind::ChildMin).first()?.0.payload() as i64;
    let max_ms = tally.range(kpi, SlotKind::ChildMax).last()?.0.payload() as i64;
    let count = tally.get(Slot::new(kpi, SlotKind::Count, 0));
    let buckets = tally.range(kpi, SlotKind::Bucket);
    let percentiles_ms = percentiles(buckets, count, |bucket| (bucket_middle(bucket) as i64).clamp(min_ms, max_ms));
    Some(DurationSummary { count, sum_ms: tally.get(Slot::new(kpi, SlotKind::Sum, 0)), min_ms, max_ms, percentiles_ms })
}

/// Nearest rank: the ceil(p·n/100)-th smallest.
fn percentiles(ascending: &[(Slot, i64)], count: i64, value: impl Fn(u64) -> i64) -> [i64; 4] {
    let mut result = [0; 4];
    let (mut position, mut below) = (0, 0);
    for (percentile, result) in PERCENTILES.iter().zip(&mut result) {
        let rank = (*percentile as i64 * count + 99) / 100;
        while position + 1 < ascending.len() && below + ascending[position].1 < rank {
            below += ascending[position].1;
            position += 1;
        }
        *result = ascending.get(position).map_or(0, |&(slot, _)| value(slot.payload()));
    }
    result
}

impl Kpi {
    /// The columns this KPI publishes.
    pub fn columns(&self) -> Vec<KpiColumn> {
        let stem = self.name.strip_suffix("_count").unwrap_or(self.name);
        let column = |suffix: &str, unit, what: &str, float, nullable| KpiColumn {
            name: format!("{stem}{suffix}"),
            unit,
            description: if what.is_empty() { self.summary.to_owned() } else { format!("{}: {what}", self.summary) },
            float,
            nullable,
        };
        let single = |float, nullable| KpiColumn {
            name: self.name.to_owned(),
            unit: self.unit,
            description: self.summary.to_owned(),
            float,
            nullable,
        };
        match self.shape {
            Shape::Count | Shape::Gauge => vec![single(false, false)],
            Shape::MeanOver { .. } | Shape::Share { .. } => vec![single(true, true)],
            Shape::Quantity { scale } => vec![
                column("_count", "1", "how many", false, false),
                column("_sum", self.unit, "sum", scale != 1, true),
                column("_mean", self.unit, "mean", true, true),
            ],
            Shape::Duration => {
                let mut columns = vec![
                    column("_count", "1", "how many", false, false),
                    column("_sum_ms", "ms", "sum", false, true),
                    column("_min_ms", "ms", "least", false, true),
                    column("_max_ms", "ms", "greatest", false, true),
                    column("_mean_ms", "ms", "mean", true, true),
                ];
                columns.extend(PERCENTILES.iter().map(|percentile| {
                    column(&format!("_p{percentile}_ms"), "ms", &format!("{percentile}th percentile"), false, true)
                }));
                columns
            }
        }
    }
}

/// Columns of all KPIs, in order.
pub static KPI_COLUMNS: LazyLock<Vec<KpiColumn>> = LazyLock::new(|| CATALOGUE.iter().flat_map(Kpi::columns).collect());

/// The KPIs whose counts the ratios divide by: for each KPI, (numerator, denominator).
static QUOTIENTS: LazyLock<Vec<Option<(KpiId, KpiId)>>> = LazyLock::new(|| {
    CATALOGUE
        .iter()
        .enumerate()
        .map(|(id, kpi)| match kpi.shape {
            Shape::MeanOver { count, .. } => Some((id as KpiId, kpi_id(count))),
            Shape::Share { part, whole } => Some((kpi_id(part), kpi_id(whole))),
            _ => None,
        })
        .collect()
});

/// Appends the published numbers of a cell, one per entry of [`KPI_COLUMNS`].
pub fn publish(tally: &Tally, numbers: &mut Vec<Number>) {
    for (id, kpi) in CATALOGUE.iter().enumerate() {
        let id = id as KpiId;
        let count = |kpi| tally.get(Slot::new(kpi, SlotKind::Count, 0));
        let sum = |kpi| tally.get(Slot::new(kpi, SlotKind::Sum, 0));
        match kpi.shape {
            Shape::Count | Shape::Gauge => numbers.push(Number::Int(count(id))),
            Shape::Quantity { scale } => numbers.extend(publish_quantity(count(id), sum(id), scale)),
            Shape::Duration => numbers.extend(publish_duration(summarise(tally, id))),
            Shape::MeanOver { scale, .. } => {
                let over = QUOTIENTS[id as usize].map_or(0, |(_, over)| count(over));
                numbers.push(quotient(sum(id), over * scale));
            }
            Shape::Share { .. } => {
                let (part, whole) = QUOTIENTS[id as usize].unwrap_or((id, id));
                numbers.push(quotient(count(part), count(whole)));
            }
        }
    }
}

/// A ratio of exact integers; null over nothing.
fn quotient(numerator: i64, denominator: i64) -> Number {
    if denominator == 0 { Number::Null } else { Number::Float(numerator as f64 / denominator as f64) }
}

fn publish_quantity(count: i64, sum: i64, scale: i64) -> [Number; 3] {
    if count == 0 {
        return [Number::Int(0), Number::Null, Number::Null];
    }
    let total = if scale == 1 { Number::Int(sum) } else { quotient(sum, scale) };
    [Number::Int(count), total, quotient(sum, count * scale)]
}

fn publish_duration(summary: Option<DurationSummary>) -> [Number; 9] {
    let Some(summary) = summary else {
        let mut nothing = [Number::Null; 9];
        nothing[0] = Number::Int(0);
        return nothing;
    };
    let [p50, p90, p95, p99] = summary.percentiles_ms.map(Number::Int);
    [
        Number::Int(summary.count),
        Number::Int(summary.sum_ms),
        Number::Int(summary.min_ms),
        Number::Int(summary.max_ms),
        quotient(summary.sum_ms, summary.count),
        p50,
        p90,
        p95,
        p99,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::Moment;

    fn replies(values_ms: &[i64]) -> Tally {
        let mut entries = Vec::new();
        for &value in values_ms {
            Moment::Reply { reply_time_ms: Some(value), first_response_time_ms: None }.contribute(1, &mut entries);
        }
        Tally::from_entries(entries)
    }

    #[test]
    fn the_worked_example_of_response_times() {
        let summary = summarise(&replies(&[60_000, 45_000, 30_000, 50_000, 40_000]), kpi_id("reply_time")).unwrap();
        assert_eq!(summary.sum_ms as f64 / summary.count as f64, 45_000.0);
        assert_eq!((summary.min_ms, summary.max_ms), (30_000, 60_000));
        assert_eq!(summary.percentiles_ms, [45_000, 60_000, 60_000, 60_000]);
    }

    #[test]
    fn extremes_of_a_roll_up_are_exact_and_follow_retractions() {
        let kpi = kpi_id("reply_time");
        let (first, second) = (replies(&[100_003, 7]), replies(&[900_001, 50_021]));
        let mut hour = roll_up(&first, RollUp::OverGroup);
        hour.add(&roll_up(&second, RollUp::OverGroup));
        let mut day = roll_up(&hour, RollUp::OverTime);
        let summary = summarise(&day, kpi).unwrap();
        assert_eq!((summary.count, summary.min_ms, summary.max_ms), (4, 7, 900_001));
        // Take the extreme values back: the day follows, bit for bit.
        let mut change = roll_up(&roll_up(&second, RollUp::OverGroup), RollUp::OverTime);
        let mut before = roll_up(&hour, RollUp::OverTime);
        before.negate();
        day.add(&before);
        assert!(day.is_zero());
        change.negate();
        let mut only_first = roll_up(&first, RollUp::OverGroup);
        assert_eq!(summarise(&only_first, kpi).unwrap().max_ms, 100_003);
        only_first.add(&roll_up(&second, RollUp::OverGroup));
        assert_eq!(only_first, hour);
    }

    #[test]
    fn rolled_up_percentiles_stay_within_the_declared_error() {
        let values: Vec<i64> = (0..2_000).map(|n| 1_000 + n * n * 37 % 7_919_000).collect();
        let summary = summarise(&roll_up(&replies(&values), RollUp::OverGroup), kpi_id("reply_time")).unwrap();
        let exact = summarise(&replies(&values), kpi_id("reply_time")).unwrap();
        for (estimate, exact) in summary.percentiles_ms.iter().zip(exact.percentiles_ms) {
            assert!((estimate - exact).abs() as f64 <= exact as f64 * 0.008, "{estimate} for {exact}");
        }
    }

    #[test]
    fn missing_is_null_and_counts_are_zero() {
        let mut numbers = Vec::new();
        publish(&replies(&[]), &mut numbers);
        assert_eq!(numbers.len(), KPI_COLUMNS.len());
        for (number, column) in numbers.iter().zip(KPI_COLUMNS.iter()) {
            assert_eq!(*number, if column.nullable { Number::Null } else { Number::Int(0) }, "{}", column.name);
        }
    }

    #[test]
    fn ratings_average_to_the_worked_example() {
        let mut entries = Vec::new();
        for rating in [4, 5, 5, 4, 5] {
            Moment::Rating { csat_millionths: rating * 1_000_000 }.contribute(1, &mut entries);
        }
        let mut numbers = Vec::new();
        publish(&Tally::from_entries(entries), &mut numbers);
        let mean = KPI_COLUMNS.iter().position(|column| column.name == "csat_mean").unwrap();
        assert_eq!(numbers[mean], Number::Float(4.6));
    }
}
