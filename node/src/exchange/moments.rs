//! Things by the moments they are of: put in order when somebody looks, not one by one as they come.
//!
//! Thousands come at one moment, and nearly all of them leave again without anybody having asked for a page that
//! they are on.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use protocol::time::Timestamp;

/// All of them, each once.
#[derive(Debug)]
pub(super) struct Moments<T>(BTreeMap<Timestamp, VecDeque<T>>);

impl<T> Default for Moments<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Copy + Ord> Moments<T> {
    /// Adds one.
    pub fn add(&mut self, (at, it): (Timestamp, T)) {
        self.0.entry(at).or_default().push_back(it);
    }

    /// Takes one away.
    pub fn remove(&mut self, (at, it): (Timestamp, T)) {
        let Some(all) = self.0.get_mut(&at) else { return };
        // they mostly leave in the order in which they came
        if let Some(place) = all.iter().position(|known| *known == it) {
            all.remove(place);
        }
        if all.is_empty() {
            self.0.remove(&at);
        }
    }

    /// Those before a key, or all, the latest first; those of one moment from the greatest to the least.
    pub fn before(&self, key: Option<(Timestamp, T)>) -> impl Iterator<Item = (Timestamp, T)> {
        let end = key.map_or(Bound::Unbounded, |(at, _)| Bound::Included(at));
        let moments = self.0.range((Bound::Unbounded, end)).rev();
        moments.flat_map(move |(at, all)| {
            let all = all.iter().map(|it| (*at, *it));
            let mut all: Vec<_> = all.filter(|it| key.is_none_or(|key| *it < key)).collect();
            all.sort_unstable_by(|one, other| other.cmp(one));
            all
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Beside an ordered set of the same.
        #[test]
        fn it_is_an_ordered_set_that_is_read_backwards(
            steps in prop::collection::vec((any::<bool>(), 0..6_u64, 0..12_u8), 1..200),
            (at, it) in (0..7_u64, 0..13_u8),
        ) {
            let mut moments = Moments::default();
            let mut set = BTreeSet::new();
            for (adds, at, it) in steps {
                let one = (Timestamp::from_unix_ms(at), it);
                if !adds {
                    moments.remove(one);
                    set.remove(&one);
                } else if set.insert(one) {
                    moments.add(one);
                }
            }
            let key = (Timestamp::from_unix_ms(at), it);
            prop_assert!(moments.before(None).eq(set.iter().rev().copied()));
            prop_assert!(moments.before(Some(key)).eq(set.range(..key).rev().copied()));
            // nothing is left of a moment of which all are gone
            let times: BTreeSet<_> = set.iter().map(|(at, _)| *at).collect();
            prop_assert!(moments.0.keys().eq(times.iter()));
        }
    }
}
