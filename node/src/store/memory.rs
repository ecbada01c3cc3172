//! The store as plainly as it can be said: a sorted map behind a lock, gone with the process.
//!
//! It is the model the other backends are compared with, so it shares no code with them beyond the
//! checks of lengths.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Keyspace, Pair, Store, StoreError, Write, check_lengths};

type Map = BTreeMap<(Keyspace, Vec<u8>), Vec<u8>>;

/// A store in memory: for tests and simulations.
#[derive(Debug, Default)]
pub struct MemoryStore {
    map: Mutex<Map>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.map().get(&(keyspace, key.to_vec())).cloned())
    }

    fn keyspaces(&self) -> Result<Vec<String>, StoreError> {
        let mut names: Vec<String> =
            self.map().keys().map(|(keyspace, _)| (*keyspace).to_owned()).collect();
        names.dedup();
        Ok(names)
    }

    fn scan(
        &self,
        keyspace: Keyspace,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let map = self.map();
        let within = |key: &[u8]| RangeBounds::<[u8]>::contains(&(from, to), key);
        let at = |key: &[u8]| (keyspace, key.to_vec());
        let least = match from {
            Bound::Included(key) => Bound::Included(at(key)),
            Bound::Excluded(key) => Bound::Excluded(at(key)),
            Bound::Unbounded => Bound::Included(at(&[])),
        };
        // sorted by keyspace and key: after the first that is not inside none is
        let inside = map
            .range((least, Bound::Unbounded))
            .take_while(|((space, key), _)| *space == keyspace && within(key));
        Ok(inside.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn transaction(&self, writes: &[Write]) -> Result<(), StoreError> {
        check_lengths(writes)?;
        let mut map = self.map();
        for write in writes {
            if let Write::Require { keyspace, key, value } = write
                && map.get(&(*keyspace, key.clone())) != value.as_ref()
            {
                return Err(StoreError::Conflict { keyspace });
            }
        }
        for write in writes {
            match write {
                Write::Put { keyspace, key, value } => {
                    map.insert((keyspace, key.clone()), value.clone());
                }
                Write::Delete { keyspace, key } => {
                    map.remove(&(*keyspace, key.clone()));
                }
                Write::Require { .. } => {}
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
