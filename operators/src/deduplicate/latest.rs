//! The greatest of a multiset of times that also shrinks.

use contactflow_schemas::clock::TimeMs;

/// Tracks the maximum of a multiset whose elements are stored elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Latest {
    /// The maximum and how many elements equal it; a count of 0 means that the next one has to be looked for.
    latest: Option<(TimeMs, u64)>,
}

impl Latest {
    pub(super) fn insert(&mut self, time_ms: TimeMs) {
        match &mut self.latest {
            Some((latest, count)) if *latest == time_ms => *count += 1,
            Some((latest, _)) if *latest > time_ms => {}
            other => *other = Some((time_ms, 1)),
        }
    }

    pub(super) fn remove(&mut self, time_ms: TimeMs) {
        if let Some((latest, count)) = &mut self.latest
            && *latest == time_ms
        {
            *count -= 1;
        }
    }

    /// The maximum. Only when its last copy was removed are `all` elements looked at again: a rare, linear pass.
    pub(super) fn get(&mut self, all: impl Iterator<Item = TimeMs>) -> Option<TimeMs> {
        if let Some((_, 0)) = self.latest {
            self.latest = None;
            all.for_each(|time_ms| self.insert(time_ms));
        }
        self.latest.map(|(time_ms, _)| time_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maximum_follows_removals() {
        let mut latest = Latest::default();
        [3, 9, 9].into_iter().for_each(|time| latest.insert(time));
        latest.remove(9);
        assert_eq!(latest.get([3, 9].into_iter()), Some(9));
        latest.remove(9);
        assert_eq!(latest.get([3].into_iter()), Some(3));
        latest.remove(3);
        assert_eq!(latest.get(std::iter::empty()), None);
    }
}
