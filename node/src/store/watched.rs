//! A store for the tests of who uses one: in memory, and beside each transaction and scan what a test has to do.

use std::ops::Bound;

use super::{Keyspace, MemoryStore, Pair, Store, StoreError, Write};

/// What a test does beside the store.
pub(crate) trait Watch: Send + Sync {
    /// Before a transaction; one that is refused does not happen.
    fn writes(&self, _: &[Write]) -> Result<(), StoreError> {
        Ok(())
    }
    /// After a scan.
    fn scanned(&self, _: Keyspace) {}
}

/// Both, one after the other.
impl<A: Watch, B: Watch> Watch for (A, B) {
    fn writes(&self, writes: &[Write]) -> Result<(), StoreError> {
        self.0.writes(writes)?;
        self.1.writes(writes)
    }
    fn scanned(&self, keyspace: Keyspace) {
        self.0.scanned(keyspace);
        self.1.scanned(keyspace);
    }
}

/// A store in memory that is watched.
pub(crate) struct Watched<W> {
    store: MemoryStore,
    pub(crate) watch: W,
}

impl<W> Watched<W> {
    pub(crate) fn by(watch: W) -> Self {
        Self { store: MemoryStore::new(), watch }
    }
}

impl<W: Watch> Store for Watched<W> {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(keyspace, key)
    }
    fn keyspaces(&self) -> Result<Vec<String>, StoreError> {
        self.store.keyspaces()
    }
    fn scan(
        &self,
        keyspace: Keyspace,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let pairs = self.store.scan(keyspace, from, to, limit);
        self.watch.scanned(keyspace);
        pairs
    }
    fn transaction(&self, writes: &[Write]) -> Result<(), StoreError> {
        self.watch.writes(writes)?;
        self.store.transaction(writes)
    }
    fn flush(&self) -> Result<(), StoreError> {
        self.store.flush()
    }
}
