//! Differences of the KPI views: "keep the sums in the difference".

use contactflow_schemas::tally::Tally;
use differential_dataflow::difference::{Abelian, IsZero, Monoid, Multiply, Semigroup};
use serde::{Deserialize, Serialize};

/// A [`Tally`] as the difference of a differential collection: the collection maps each cell to its tally.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TallyDiff(pub Tally);

impl IsZero for TallyDiff {
    fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}

impl Semigroup for TallyDiff {
    fn plus_equals(&mut self, rhs: &Self) {
        self.0.add(&rhs.0);
    }
}

impl Monoid for TallyDiff {
    fn zero() -> Self {
        Self::default()
    }
}

impl Abelian for TallyDiff {
    fn negate(&mut self) {
        self.0.negate();
    }
}

/// Multiplicities of the collections that explode into tallies are −1 or 1.
impl Multiply<isize> for TallyDiff {
    type Output = Self;
    fn multiply(mut self, rhs: &isize) -> Self {
        match *rhs {
            1 => self,
            -1 => {
                self.0.negate();
                self
            }
            times => {
                let mut entries = Vec::new();
                self.0.unpack_into(&mut entries);
                entries.iter_mut().for_each(|(_, number)| *number *= times as i64);
                Self(Tally::from_entries(entries))
            }
        }
    }
}
