use std::collections::BTreeMap;

use super::*;

fn tally(entries: &[(u64, i64)]) -> Tally {
    Tally::from_entries(entries.iter().map(|&(value, number)| (Slot::new(3, SlotKind::Value, value), number)).collect())
}

#[test]
fn it_is_a_commutative_group_in_canonical_form() {
    let (a, b) = (tally(&[(5, 1), (9, 2)]), tally(&[(9, -2), (7, 4)]));
    let (mut ab, mut ba) = (a.clone(), b.clone());
    ab.add(&b);
    ba.add(&a);
    assert_eq!(ab, ba);
    assert_eq!(ab.entries().len(), 2, "what cancels leaves no zero behind");
    let mut inverse = ab.clone();
    inverse.negate();
    ab.add(&inverse);
    assert!(ab.is_zero());
}

#[test]
fn ranges_hold_one_kpi_and_kind() {
    let mut both = tally(&[(5, 1)]);
    both.add(&Tally::from_entries(vec![(Slot::new(3, SlotKind::Sum, 0), 7), (Slot::new(4, SlotKind::Value, 1), 1)]));
    assert_eq!(both.entries().range(3, SlotKind::Value), &[(Slot::new(3, SlotKind::Value, 5), 1)]);
    assert_eq!(both.get(Slot::new(3, SlotKind::Sum, 0)), 7);
    assert!(both.entries().range(5, SlotKind::Value).is_empty());
}

/// Sums of random tallies against a map from slots to numbers.
#[test]
fn packing_loses_nothing_and_sums_are_those_of_a_map() {
    let mut random = 11u64;
    let mut next = |end: u64| {
        random = crate::event::mix(random.wrapping_add(0x9E37_79B9_7F4A_7C15));
        random % end
    };
    let mut reached_zero = 0;
    for _ in 0..2_000 {
        let (mut sum, mut map) = (Tally::default(), BTreeMap::new());
        for _ in 0..next(5) {
            let entries: Vec<(Slot, i64)> = (0..next(12))
                .map(|_| {
                    let kind = [SlotKind::Count, SlotKind::Sum, SlotKind::Value, SlotKind::Bucket, SlotKind::ChildMax];
                    let kind = kind[next(5) as usize];
                    // Payloads from one bit to all of them, most of them equal to some other.
                    let payload = [next(3), next(200), next(1 << 20), PAYLOAD_MASK - next(2)][next(4) as usize];
                    let payload = if kind <= SlotKind::Sum { 0 } else { payload };
                    let number = [1, -1, next(300) as i64 - 150, i64::MAX >> 8, -(i64::MAX >> 8)][next(5) as usize];
                    (Slot::new([1, 2, 0x801, 0xFFF][next(4) as usize], kind, payload), number)
                })
                .collect();
            for &(slot, number) in &entries {
                *map.entry(slot).or_insert(0) += number;
            }
            sum.add(&Tally::from_entries(entries));
        }
        map.retain(|_, number| *number != 0);
        let expected: Vec<(Slot, i64)> = map.into_iter().collect();
        assert_eq!(*sum.entries(), *expected);
        assert_eq!(sum, Tally::from_entries(expected.clone()), "equal tallies have equal bytes");
        reached_zero += u32::from(sum.is_zero());
        for &(slot, number) in &expected {
            assert_eq!(sum.get(slot), number);
        }
        let wanted = [2, 0x801];
        let of_some: Vec<(Slot, i64)> = expected.into_iter().filter(|(slot, _)| wanted.contains(&slot.kpi())).collect();
        assert_eq!(sum.of_kpis(&wanted), Tally::from_entries(of_some));
        let mut inverse = sum.clone();
        inverse.negate();
        sum.add(&inverse);
        assert!(sum.is_zero());
    }
    assert!(reached_zero > 100, "some sums cancel");
}
