//! What cells gain within an epoch, summed up before it is sent: a tally per cell and epoch, however many things
//! contributed to it.

use std::collections::HashMap;
use std::hash::Hash;

use contactflow_schemas::symbol::FastHash;
use contactflow_schemas::tally::{Slot, Tally, sum_up};

use crate::difference::TallyDiff;

/// Entries that are added up before there are more of them.
const UNSUMMED_MAX: usize = 256;

/// Entries of one cell, not yet summed up.
#[derive(Default)]
pub struct Gain {
    entries: Vec<(Slot, i64)>,
    /// How many of them are distinct and sorted.
    summed: usize,
}

impl Gain {
    /// Where entries are appended, in any order and with repetitions.
    pub fn entries(&mut self) -> &mut Vec<(Slot, i64)> {
        // A cell of many parts stays as small as its sum.
        if self.entries.len() > UNSUMMED_MAX + 2 * self.summed {
            sum_up(&mut self.entries);
            self.summed = self.entries.len();
        }
        &mut self.entries
    }

    fn into_diff(self) -> Option<TallyDiff> {
        let tally = Tally::from_entries(self.entries);
        (!tally.is_zero()).then_some(TallyDiff(tally))
    }
}

/// What cells gain.
pub struct Gains<K>(HashMap<K, Gain, FastHash>);

impl<K> Default for Gains<K> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K: Eq + Hash> Gains<K> {
    /// The entries of a cell, to append to.
    pub fn of(&mut self, cell: K) -> &mut Vec<(Slot, i64)> {
        self.0.entry(cell).or_default().entries()
    }

    /// The sums, without zeros; nothing is left.
    pub fn take(&mut self) -> impl Iterator<Item = (K, TallyDiff)> + use<K> {
        std::mem::take(&mut self.0).into_iter().filter_map(|(cell, gain)| Some((cell, gain.into_diff()?)))
    }
}

#[cfg(test)]
mod tests {
    use contactflow_schemas::tally::SlotKind;

    use super::*;

    #[test]
    fn many_parts_give_their_sum_and_what_cancels_is_not_sent() {
        let slot = |payload| Slot::new(7, SlotKind::Bucket, payload);
        let (mut gains, mut parts) = (Gains::default(), Vec::new());
        for number in 0..5_000 {
            let entry = (slot(number % 900), 1 + (number % 3) as i64);
            parts.push(entry);
            gains.of("many").push(entry);
            gains.of("none").push((slot(number % 7), if number % 14 < 7 { 1 } else { -1 }));
        }
        // 5,000 is no multiple of 14: the rest cancels here.
        (4_998..5_000).for_each(|number| gains.of("none").push((slot(number % 7), -1)));
        let sums: Vec<_> = gains.take().collect();
        assert_eq!(sums, [("many", TallyDiff(Tally::from_entries(parts)))]);
        assert_eq!(gains.take().count(), 0);
    }
}
