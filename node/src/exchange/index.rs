//! Numbers by key, in many small tables: none of them takes long to grow.
//!
//! Nothing that is sent or written depends on the order in here; there is no way to see it.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};

/// How many tables there are.
const TABLES: usize = 256;

/// Where what is under a key is, by its number.
#[derive(Debug)]
pub(super) struct Index<K> {
    hasher: RandomState,
    tables: Vec<HashMap<K, u64>>,
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), tables: (0..TABLES).map(|_| HashMap::new()).collect() }
    }
}

impl<K: Hash + Eq> Index<K> {
    fn place(&self, key: &K) -> usize {
        // tables look at the other end of a hash, each with a key of its own
        (self.hasher.hash_one(key) >> 56) as usize % TABLES
    }

    /// The number under a key.
    pub fn get(&self, key: &K) -> Option<u64> {
        self.tables.get(self.place(key))?.get(key).copied()
    }

    /// Puts a number under a key; gives the one that was there.
    pub fn insert(&mut self, key: K, number: u64) -> Option<u64> {
        let place = self.place(&key);
        self.tables.get_mut(place)?.insert(key, number)
    }

    /// Takes away the number under a key.
    pub fn remove(&mut self, key: &K) -> Option<u64> {
        let place = self.place(key);
        self.tables.get_mut(place)?.remove(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_under_a_key_is_found_there() {
        let mut index = Index::default();
        for key in 0..10_000_u64 {
            assert_eq!(index.insert(key, key + 1), None);
        }
        assert!((0..10_000).all(|key| index.get(&key) == Some(key + 1)));
        // all tables are used
        assert!(index.tables.iter().all(|table| !table.is_empty()));
        assert_eq!(
            (index.insert(7, 0), index.remove(&7), index.remove(&7)),
            (Some(8), Some(0), None)
        );
        assert_eq!(index.get(&7), None);
    }
}
