//! KPI algebra: how cells roll up, and how a cell's [`Tally`] becomes published numbers.

use std::sync::LazyLock;

use crate::catalogue::{BUSINESS, CATALOGUE, Kpi, Shape};
use crate::clock::TimeMs;
use crate::histogram::{bucket_middle, bucket_of};
use crate::tally::{Entries, KpiId, Slot, SlotKind, Tally, sum_up};

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

/// What a roll-up merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollUp {
    /// Shorter windows into a longer one: what is counted per window stays out.
    OverTime,
    /// Groups into a coarser one at the same window.
    OverGroup,
}

impl RollUp {
    /// Whether a parent gains what its child gains of this KPI.
    pub fn takes(self, kpi: KpiId) -> bool {
        self == Self::OverGroup || shape(kpi).adds_up_over_time()
    }
}

/// The shape of a KPI or of its twin in business time.
fn shape(kpi: KpiId) -> Shape {
    CATALOGUE[(kpi & !BUSINESS) as usize].shape
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
    let mut parent = Vec::new();
    roll_up_change(&Tally::default(), &child.entries(), &mut parent);
    parent.retain(|(slot, _)| how.takes(slot.kpi()));
    Tally::from_entries(parent)
}

fn has_extremes(kpi: KpiId) -> bool {
    matches!(shape(kpi), Shape::Duration | Shape::Oldest)
}

/// The KPIs of a change whose extremes it may move, ascending.
pub fn touched_extremes(change: &Tally) -> impl Iterator<Item = KpiId> {
    change.kpis().filter(|kpi| has_extremes(*kpi))
}

/// Appends what a parent of [`RollUp::OverGroup`] gains when a child that held `before` (at least of
/// [`touched_extremes`]) gains `change`, at the cost of the change. Entries may repeat; those that [`RollUp::takes`] are
/// what a parent over time gains.
pub fn roll_up_change(before: &Tally, change: &[(Slot, i64)], parent: &mut Vec<(Slot, i64)>) {
    for own in change.chunk_by(|(left, _), (right, _)| left.kpi() == right.kpi()) {
        let kpi = own[0].0.kpi();
        if !has_extremes(kpi) {
            parent.extend_from_slice(own);
            continue;
        }
        add_up_duration(kpi, own, parent);
        if before.is_zero() {
            extremes(kpi, own, 1, parent);
            continue;
        }
        let mut entries = Vec::with_capacity(own.len() + 16);
        before.entries_of(kpi).iter().for_each(|entry| entries.push(*entry));
        extremes(kpi, &entries, -1, parent);
        entries.extend_from_slice(own);
        sum_up(&mut entries);
        extremes(kpi, &entries, 1, parent);
    }
}

/// What adds up of a duration: count, sum and buckets, made of exact values where the child has them.
fn add_up_duration(kpi: KpiId, own: &[(Slot, i64)], parent: &mut Vec<(Slot, i64)>) {
    let (mut count, mut sum) = (0, 0);
    for &(slot, number) in own {
        if slot.is(SlotKind::Value) {
            let value = slot.payload();
            count += number;
            sum += number * value as i64;
            parent.push((Slot::new(kpi, SlotKind::Bucket, bucket_of(value)), number));
        } else if !slot.is(SlotKind::ChildMin) && !slot.is(SlotKind::ChildMax) {
            parent.push((slot, number));
        }
    }
    if count != 0 {
        parent.push((Slot::new(kpi, SlotKind::Count, 0), count));
    }
    if sum != 0 {
        parent.push((Slot::new(kpi, SlotKind::Sum, 0), sum));
    }
}

/// The least and the greatest value of a child, as one child of its parent, `sign` times.
fn extremes(kpi: KpiId, own: &[(Slot, i64)], sign: i64, parent: &mut Vec<(Slot, i64)>) {
    // Entries ascend by kind and then by value, so the first of a kind is the least and the last the greatest.
    let is_least = |slot: Slot| slot.is(SlotKind::Value) || slot.is(SlotKind::ChildMin);
    let is_greatest = |slot: Slot| slot.is(SlotKind::Value) || slot.is(SlotKind::ChildMax);
    let least = own.iter().find(|(slot, _)| is_least(*slot));
    let greatest = own.iter().rev().find(|(slot, _)| is_greatest(*slot));
    parent.extend(least.map(|(slot, _)| (Slot::new(kpi, SlotKind::ChildMin, slot.payload()), sign)));
    parent.extend(greatest.map(|(slot, _)| (Slot::new(kpi, SlotKind::ChildMax, slot.payload()), sign)));
}

/// Summarises a duration KPI of a cell, in whichever form the cell keeps it; none when nothing was measured.
pub fn summarise(tally: &Tally, kpi: KpiId) -> Option<DurationSummary> {
    summary(&tally.entries_of(kpi), kpi)
}

fn summary(tally: &Entries, kpi: KpiId) -> Option<DurationSummary> {
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

/// What else a published number depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishContext {
    /// Length of the window, ms.
    pub window_ms: i64,
    /// Latest event time known.
    pub as_of_ms: TimeMs,
}

impl Kpi {
    /// The columns this KPI publishes.
    pub fn columns(&self) -> Vec<KpiColumn> {
        let single = |float, nullable| KpiColumn {
            name: self.name.to_owned(),
            unit: self.unit,
            description: self.summary.to_owned(),
            float,
            nullable,
        };
        match self.shape {
            Shape::Count | Shape::CountPerWindow => vec![single(false, false)],
            Shape::Oldest | Shape::Percentile99 => vec![single(false, true)],
            Shape::Mean { .. } | Shape::Ratio { .. } | Shape::ShareOfWindow { .. } => vec![single(true, true)],
            Shape::Quantity { scale } => vec![
                self.column("_count", "1", "how many", false, false),
                self.column("_sum", self.unit, "sum", scale != 1, true),
                self.column("_mean", self.unit, "mean", true, true),
            ],
            Shape::Duration => {
                let mut columns = self.duration_columns("", "");
                columns.extend(self.duration_columns("_business", " in business time"));
                columns
            }
        }
    }

    fn column(&self, suffix: &str, unit: &'static str, what: &str, float: bool, nullable: bool) -> KpiColumn {
        let description = format!("{}: {what}", self.summary);
        KpiColumn { name: format!("{}{suffix}", self.name), unit, description, float, nullable }
    }

    fn duration_columns(&self, stem: &str, clock: &str) -> Vec<KpiColumn> {
        let column = |suffix: &str, unit, what: &str, float, nullable| {
            self.column(&format!("{stem}{suffix}"), unit, &format!("{what}{clock}"), float, nullable)
        };
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

/// Columns of all KPIs, in order.
pub static KPI_COLUMNS: LazyLock<Vec<KpiColumn>> = LazyLock::new(|| CATALOGUE.iter().flat_map(Kpi::columns).collect());

/// Appends the published numbers of a cell, one per entry of [`KPI_COLUMNS`].
pub fn publish(tally: &Tally, context: PublishContext, numbers: &mut Vec<Number>) {
    let tally = &tally.entries();
    let count = |kpi| tally.get(Slot::new(kpi, SlotKind::Count, 0));
    let sum = |kpi| tally.get(Slot::new(kpi, SlotKind::Sum, 0));
    let total = |terms: &[(KpiId, i64)]| terms.iter().map(|&(kpi, sign)| sign * count(kpi)).sum();
    for (id, kpi) in CATALOGUE.iter().enumerate() {
        let id = id as KpiId;
        match kpi.shape {
            Shape::Count | Shape::CountPerWindow => numbers.push(Number::Int(count(id))),
            Shape::Quantity { scale } => numbers.extend(publish_quantity(count(id), sum(id), scale)),
            Shape::Duration => {
                numbers.extend(publish_duration(summary(tally, id)));
                numbers.extend(publish_duration(summary(tally, id | BUSINESS)));
            }
            Shape::Mean { count: over, scale } => numbers.push(quotient(sum(id), count(over.unwrap_or(id)) * scale)),
            Shape::Ratio { part, whole, given } => {
                let known = given.is_none_or(|given| count(given) != 0);
                numbers.push(quotient(total(part), if known { total(whole) } else { 0 }));
            }
            Shape::ShareOfWindow { part } => {
                let part = count(part);
                numbers.push(quotient(part, if part == 0 { 0 } else { context.window_ms }));
            }
            Shape::Oldest => {
                let oldest = tally.range(id, SlotKind::ChildMin).first();
                let age_ms = oldest.map(|(slot, _)| (context.as_of_ms - slot.payload() as i64).max(0));
                numbers.push(age_ms.map_or(Number::Null, Number::Int));
            }
            Shape::Percentile99 => numbers.push(percentile_99(tally.range(id, SlotKind::Bucket))),
        }
    }
}

/// From buckets alone, so without the bounds that a duration has.
fn percentile_99(buckets: &[(Slot, i64)]) -> Number {
    if buckets.is_empty() {
        return Number::Null;
    }
    let count = buckets.iter().map(|&(_, number)| number).sum();
    let [.., last] = percentiles(buckets, count, |bucket| bucket_middle(bucket) as i64);
    Number::Int(last)
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
#[path = "aggregate_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "aggregate_sketch_tests.rs"]
mod sketch_tests;
