use super::*;
use crate::catalogue::{contribute, kpi};

const CONTEXT: PublishContext = PublishContext { window_ms: 3_600_000, as_of_ms: 0 };

fn replies(values_ms: &[i64]) -> Tally {
    let mut entries = Vec::new();
    for &value in values_ms {
        contribute(kpi::REPLY_TIME, value, None, 1, &mut entries);
    }
    Tally::from_entries(entries)
}

#[test]
fn the_worked_example_of_response_times() {
    let summary = summarise(&replies(&[60_000, 45_000, 30_000, 50_000, 40_000]), kpi::REPLY_TIME).unwrap();
    assert_eq!(summary.sum_ms as f64 / summary.count as f64, 45_000.0);
    assert_eq!((summary.min_ms, summary.max_ms), (30_000, 60_000));
    assert_eq!(summary.percentiles_ms, [45_000, 60_000, 60_000, 60_000]);
}

#[test]
fn extremes_of_a_roll_up_are_exact_and_follow_retractions() {
    let reply_time = kpi::REPLY_TIME;
    let (first, second) = (replies(&[100_003, 7]), replies(&[900_001, 50_021]));
    let mut hour = roll_up(&first, RollUp::OverGroup);
    hour.add(&roll_up(&second, RollUp::OverGroup));
    let mut day = roll_up(&hour, RollUp::OverTime);
    let summary = summarise(&day, reply_time).unwrap();
    assert_eq!((summary.count, summary.min_ms, summary.max_ms), (4, 7, 900_001));
    // Take the extreme values back: the day follows, bit for bit.
    let mut change = roll_up(&roll_up(&second, RollUp::OverGroup), RollUp::OverTime);
    let mut before = roll_up(&hour, RollUp::OverTime);
    before.negate();
    day.add(&before);
    assert!(day.is_zero());
    change.negate();
    let mut only_first = roll_up(&first, RollUp::OverGroup);
    assert_eq!(summarise(&only_first, reply_time).unwrap().max_ms, 100_003);
    only_first.add(&roll_up(&second, RollUp::OverGroup));
    assert_eq!(only_first, hour);
}

#[test]
fn rolled_up_percentiles_stay_within_the_declared_error() {
    let values: Vec<i64> = (0..2_000).map(|n| 1_000 + n * n * 37 % 7_919_000).collect();
    let summary = summarise(&roll_up(&replies(&values), RollUp::OverGroup), kpi::REPLY_TIME).unwrap();
    let exact = summarise(&replies(&values), kpi::REPLY_TIME).unwrap();
    for (estimate, exact) in summary.percentiles_ms.iter().zip(exact.percentiles_ms) {
        assert!((estimate - exact).abs() as f64 <= exact as f64 * 0.008, "{estimate} for {exact}");
    }
}

#[test]
fn missing_is_null_and_counts_are_zero() {
    let mut numbers = Vec::new();
    publish(&replies(&[]), CONTEXT, &mut numbers);
    assert_eq!(numbers.len(), KPI_COLUMNS.len());
    for (number, column) in numbers.iter().zip(KPI_COLUMNS.iter()) {
        assert_eq!(*number, if column.nullable { Number::Null } else { Number::Int(0) }, "{}", column.name);
    }
}

#[test]
fn ratings_average_to_the_worked_example() {
    let mut entries = Vec::new();
    for rating in [4, 5, 5, 4, 5] {
        contribute(kpi::CSAT, rating * 1_000_000, None, 1, &mut entries);
    }
    let mut numbers = Vec::new();
    publish(&Tally::from_entries(entries), CONTEXT, &mut numbers);
    let mean = KPI_COLUMNS.iter().position(|column| column.name == "csat_mean").unwrap();
    assert_eq!(numbers[mean], Number::Float(4.6));
}

#[test]
fn a_change_rolls_up_to_the_difference_of_the_roll_ups() {
    let mut random = 7u64;
    let mut next = |end: u64| {
        random = crate::event::mix(random.wrapping_add(0x9E37_79B9_7F4A_7C15));
        random % end
    };
    let kpis =
        [kpi::REPLY_TIME, kpi::HANDLE_TIME, kpi::CSAT, kpi::BACKLOG, kpi::REPLIES, kpi::OPEN_WAIT, kpi::LATENESS];
    for how in [RollUp::OverGroup, RollUp::OverTime] {
        // Both forms: exact children, and children that are roll-ups themselves.
        for is_rolled in [false, true] {
            let (mut child, mut values) = (Tally::default(), Vec::new());
            for _ in 0..300 {
                let mut entries = Vec::new();
                for _ in 0..=next(4) {
                    if !values.is_empty() && next(2) == 0 {
                        let (kpi, value) = values.swap_remove(next(values.len() as u64) as usize);
                        contribute(kpi, value, Some(value / 3), -1, &mut entries);
                    } else {
                        let one = (kpis[next(kpis.len() as u64) as usize], next(9) as i64 * 1_000);
                        contribute(one.0, one.1, Some(one.1 / 3), 1, &mut entries);
                        values.push(one);
                    }
                }
                let mut change = Tally::from_entries(entries);
                if is_rolled {
                    change = roll_up(&change, RollUp::OverGroup);
                }
                let mut expected = roll_up(&child, how);
                expected.negate();
                let touched: Vec<KpiId> = touched_extremes(&change).collect();
                let mut found = Vec::new();
                roll_up_change(&child.of_kpis(&touched), &change.entries(), &mut found);
                found.retain(|(slot, _)| how.takes(slot.kpi()));
                let found = Tally::from_entries(found);
                child.add(&change);
                expected.add(&roll_up(&child, how));
                assert_eq!(found, expected);
            }
        }
    }
}
