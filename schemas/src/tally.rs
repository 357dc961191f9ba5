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
//!
//! State is made of tallies, so they are kept packed: two to five bytes per entry instead of sixteen. Entries of one KPI
//! and kind are a *run*, and runs that only one of two tallies has are copied as they are when the two are added.

mod packed;

use std::cell::RefCell;

use serde::{Deserialize, Serialize};

use self::packed::Run;

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
    /// The slot of `kpi` (of 12 bits) of kind `kind` for `payload`, which is 0 for counts and sums. Payloads beyond 44
    /// bits saturate.
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
    packed: Box<[u8]>,
}

thread_local! {
    /// What a tally is packed into before its size is known.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Sorts entries, adds up those of one slot and drops zeros.
pub fn sum_up(entries: &mut Vec<(Slot, i64)>) {
    // Stable, because entries mostly are a few sorted lists one after the other.
    entries.sort_by_key(|&(slot, _)| slot);
    entries.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
    entries.retain(|&(_, number)| number != 0);
}

impl Tally {
    /// The tally with these entries, in any order and with repetitions.
    pub fn from_entries(mut entries: Vec<(Slot, i64)>) -> Self {
        sum_up(&mut entries);
        Self::build(|bytes| packed::pack(&entries, bytes))
    }

    fn build(pack: impl FnOnce(&mut Vec<u8>)) -> Self {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            pack(scratch);
            Self { packed: scratch.as_slice().into() }
        })
    }

    fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        packed::runs(&self.packed)
    }

    /// The entries, ascending by slot, none of them zero.
    pub fn entries(&self) -> Entries {
        let mut entries = Entries::default();
        self.unpack_into(&mut entries.0);
        entries
    }

    /// Appends the entries, ascending by slot.
    pub fn unpack_into(&self, entries: &mut Vec<(Slot, i64)>) {
        self.runs().for_each(|run| run.unpack_into(entries));
    }

    /// The entries of one KPI.
    pub fn entries_of(&self, kpi: KpiId) -> Entries {
        let mut entries = Entries::default();
        let runs = self.runs().skip_while(|run| run.kpi() < kpi).take_while(|run| run.kpi() == kpi);
        runs.for_each(|run| run.unpack_into(&mut entries.0));
        entries
    }

    /// The KPIs it says something of, ascending.
    pub fn kpis(&self) -> impl Iterator<Item = KpiId> + '_ {
        let mut last = None;
        self.runs().map(|run| run.kpi()).filter(move |kpi| last.replace(*kpi) != Some(*kpi))
    }

    /// True for the group's identity.
    pub fn is_zero(&self) -> bool {
        self.packed.is_empty()
    }

    /// The number at `slot`.
    pub fn get(&self, slot: Slot) -> i64 {
        self.entries_of(slot.kpi()).get(slot)
    }

    /// What it says of some KPIs, which are given ascending.
    pub fn of_kpis(&self, kpis: &[KpiId]) -> Tally {
        Self::build(|bytes| {
            let mut wanted = kpis.iter().peekable();
            for run in self.runs() {
                while wanted.next_if(|kpi| **kpi < run.kpi()).is_some() {}
                match wanted.peek() {
                    Some(kpi) if **kpi == run.kpi() => bytes.extend_from_slice(run.bytes()),
                    Some(_) => {}
                    None => break,
                }
            }
        })
    }

    /// Adds `other`, removing what cancels.
    pub fn add(&mut self, other: &Tally) {
        if other.is_zero() {
            return;
        }
        if self.is_zero() {
            self.packed.clone_from(&other.packed);
            return;
        }
        *self = Self::build(|bytes| packed::add(&self.packed, &other.packed, bytes));
    }

    /// Turns the tally into its inverse.
    pub fn negate(&mut self) {
        let mut entries = self.entries().0;
        for (_, number) in &mut entries {
            *number = -*number;
        }
        *self = Self::build(|bytes| packed::pack(&entries, bytes));
    }

    /// Bytes of its packed form.
    pub fn packed_bytes(&self) -> usize {
        self.packed.len()
    }
}

/// The entries of a [`Tally`], unpacked: ascending by slot, none of them zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries(Vec<(Slot, i64)>);

impl Entries {
    /// The number at `slot`.
    pub fn get(&self, slot: Slot) -> i64 {
        self.0.binary_search_by_key(&slot, |&(slot, _)| slot).map_or(0, |position| self.0[position].1)
    }

    /// The entries of one KPI of one kind, ascending by payload.
    pub fn range(&self, kpi: KpiId, kind: SlotKind) -> &[(Slot, i64)] {
        let from = self.0.partition_point(|&(slot, _)| slot < Slot::new(kpi, kind, 0));
        let length = self.0[from..].partition_point(|&(slot, _)| slot <= Slot::new(kpi, kind, PAYLOAD_MASK));
        &self.0[from..from + length]
    }
}

impl std::ops::Deref for Entries {
    type Target = [(Slot, i64)];
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
