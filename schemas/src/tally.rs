//! [`Tally`]: everything accumulable about a KPI cell, as one element of a commutative group.
//!
//! A tally is a sparse vector from [`Slot`]s to integers, sorted by slot and free of zeros, so a retracted history is
//! bit for bit the one that never was. Counts and sums are single slots. A duration is kept in one of two forms:
//!
//! - *exact*: one slot per distinct value (multiplicity as the number), in the finest cells, whose size is bounded by
//!   what one agent does in one hour on one channel;
//! - *rolled up*: count, sum, one slot per bucket of a log-linear histogram, and one slot per distinct minimum and
//!   maximum **of the child cells**. The minimum of a roll-up is the least of its children's minima, so it stays exact
//!   under retraction without keeping every value.

use serde::{Deserialize, Serialize};

/// Number of a KPI in the catalogue.
pub type KpiId = u16;

/// What a slot of a [`Tally`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SlotKind {
    /// How many.
    Count = 0,
    /// Sum of values.
    Sum = 1,
    /// Multiplicity of one exact value.
    Value = 2,
    /// Values in one histogram bucket.
    Bucket = 3,
    /// Children whose minimum is this value.
    ChildMin = 4,
    /// Children whose maximum is this value.
    ChildMax = 5,
}

/// Bits of a slot that hold a value or bucket number; values up to 557 years in ms fit.
const PAYLOAD_BITS: u32 = 44;
const PAYLOAD_MASK: u64 = (1 << PAYLOAD_BITS) - 1;

/// The coordinate of a [`Tally`]: a KPI, a [`SlotKind`], and a value or bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(u64);

impl Slot {
    /// The slot of `kpi` of kind `kind` for `payload` (0 for counts and sums). Payloads beyond 44 bits saturate.
    pub fn new(kpi: KpiId, kind: SlotKind, payload: u64) -> Self {
        Self((u64::from(kpi) << 48) | ((kind as u64) << PAYLOAD_BITS) | payload.min(PAYLOAD_MASK))
    }

    /// The KPI.
    pub fn kpi(self) -> KpiId {
        (self.0 >> 48) as KpiId
    }

    /// True when this slot is of `kind`.
    pub fn is(self, kind: SlotKind) -> bool {
        (self.0 >> PAYLOAD_BITS) & 0xF == kind as u64
    }

    /// The value or bucket number.
    pub fn payload(self) -> u64 {
        self.0 & PAYLOAD_MASK
    }
}

/// A sparse vector of integers: an element of a commutative group, in canonical form.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tally {
    entries: Vec<(Slot, i64)>,
}

impl Tally {
    /// The tally with these entries, in any order and with repetitions.
    pub fn from_entries(mut entries: Vec<(Slot, i64)>) -> Self {
        entries.sort_unstable_by_key(|&(slot, _)| slot);
        entries.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
        entries.retain(|&(_, number)| number != 0);
        Self { entries }
    }

    /// The entries, ascending by slot, none of them zero.
    pub fn entries(&self) -> &[(Slot, i64)] {
        &self.entries
    }

    /// True for the group's identity.
    pub fn is_zero(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number at `slot`.
    pub fn get(&self, slot: Slot) -> i64 {
        self.entries.binary_search_by_key(&slot, |&(slot, _)| slot).map_or(0, |position| self.entries[position].1)
    }

    /// The entries of one KPI of one kind, ascending by payload.
    pub fn range(&self, kpi: KpiId, kind: SlotKind) -> &[(Slot, i64)] {
        let from = self.entries.partition_point(|&(slot, _)| slot < Slot::new(kpi, kind, 0));
        let length = self.entries[from..].partition_point(|&(slot, _)| slot <= Slot::new(kpi, kind, PAYLOAD_MASK));
        &self.entries[from..from + length]
    }

    /// What it says of some KPIs, which are given ascending.
    pub fn of_kpis(&self, kpis: &[KpiId]) -> Tally {
        let mut entries = Vec::new();
        let mut rest = self.entries.as_slice();
        for &kpi in kpis {
            let from = rest.partition_point(|&(slot, _)| slot.kpi() < kpi);
            rest = &rest[from..];
            let length = rest.partition_point(|&(slot, _)| slot.kpi() == kpi);
            entries.extend_from_slice(&rest[..length]);
            rest = &rest[length..];
        }
        Self { entries }
    }

    /// Adds `other`, removing what cancels.
    pub fn add(&mut self, other: &Tally) {
        if other.entries.is_empty() {
            return;
        }
        if self.entries.is_empty() {
            self.entries.clone_from(&other.entries);
            return;
        }
        let mut merged = Vec::with_capacity(self.entries.len() + other.entries.len());
        let (mut left, mut right) = (self.entries.as_slice(), other.entries.as_slice());
        while let (Some(&(left_slot, left_number)), Some(&(right_slot, right_number))) = (left.first(), right.first()) {
            match left_slot.cmp(&right_slot) {
                std::cmp::Ordering::Less => {
                    merged.push((left_slot, left_number));
                    left = &left[1..];
                }
                std::cmp::Ordering::Greater => {
                    merged.push((right_slot, right_number));
                    right = &right[1..];
                }
                std::cmp::Ordering::Equal => {
                    if left_number + right_number != 0 {
                        merged.push((left_slot, left_number + right_number));
                    }
                    left = &left[1..];
                    right = &right[1..];
                }
            }
        }
        merged.extend_from_slice(left);
        merged.extend_from_slice(right);
        // Exact fits cost a copy; a quarter of slack does not matter.
        if merged.len() < merged.capacity() / 4 * 3 {
            merged.shrink_to_fit();
        }
        self.entries = merged;
    }

    /// Turns the tally into its inverse.
    pub fn negate(&mut self) {
        for (_, number) in &mut self.entries {
            *number = -*number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(entries: &[(u64, i64)]) -> Tally {
        Tally::from_entries(
            entries.iter().map(|&(value, number)| (Slot::new(3, SlotKind::Value, value), number)).collect(),
        )
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
        both.add(&Tally::from_entries(vec![
            (Slot::new(3, SlotKind::Sum, 0), 7),
            (Slot::new(4, SlotKind::Value, 1), 1),
        ]));
        assert_eq!(both.range(3, SlotKind::Value), &[(Slot::new(3, SlotKind::Value, 5), 1)]);
        assert_eq!(both.get(Slot::new(3, SlotKind::Sum, 0)), 7);
        assert!(both.range(5, SlotKind::Value).is_empty());
    }
}
