//! Certified entries of the clean room, all there ever were: its accounts are made of them at every start.
//!
//! Those since the last snapshot are in memory and in the next one; once it is written they are in the store
//! and leave both. So neither memory nor a snapshot grows with how many there were. The store has them in
//! pages of neighbours, each under the number of its first; a snapshot says how many come before those that it
//! has itself, so that one that was put back finds those of its own time and none after them. What is none of
//! the clean room's, or does not read, is void for everyone and is not kept: its log has it.

use std::sync::Arc;

use protocol::codec;

use crate::cleanroom::CertifiedApplication;
use crate::store::{Keyspace, Store, StoreError, VALUE_MAX, Write};

/// Where they are.
const ENTRIES: Keyspace = "clean-room-entries";
/// From so many bytes on a page takes no more: with the largest entry it still is a value.
const PAGE_BYTES: usize = VALUE_MAX / 2;

/// Why they cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum ApplicationsError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It has fewer than the journal says.
    #[error(
        "the store has {found} certified entries of the clean room where the journal says {expected}: journal and \
         store are not of one backup; restore both from the same one"
    )]
    Missing {
        /// How many there are.
        found: u64,
        /// How many there must be.
        expected: u64,
    },
}

/// All of them: those in the store, and those since.
#[derive(Debug, Default)]
pub struct Applications {
    stored: u64,
    latest: Vec<Arc<CertifiedApplication>>,
}

impl Applications {
    /// Takes what has become final.
    pub fn push(&mut self, entry: CertifiedApplication) {
        self.latest.push(Arc::new(entry));
    }

    /// How many are in the store.
    #[must_use]
    pub const fn stored(&self) -> u64 {
        self.stored
    }

    /// Those that are not in the store yet, in order.
    #[must_use]
    pub fn latest(&self) -> &[Arc<CertifiedApplication>] {
        &self.latest
    }

    /// Takes up how many are in the store, from a snapshot.
    pub const fn take_up_stored(&mut self, stored: u64) {
        self.stored = stored;
    }

    /// The first so many of the latest are in the store.
    pub fn are_stored(&mut self, count: usize) {
        let gone = self.latest.drain(..count.min(self.latest.len())).count();
        self.stored = self.stored.saturating_add(u64::try_from(gone).unwrap_or(u64::MAX));
    }

    /// Visits all, in order.
    ///
    /// # Errors
    /// When the store fails, or has not all.
    pub fn visit(
        &self,
        store: &dyn Store,
        mut visit: impl FnMut(&CertifiedApplication),
    ) -> Result<(), ApplicationsError> {
        let mut next = 0;
        while next < self.stored {
            let page = store.get(ENTRIES, &next.to_be_bytes())?.and_then(|bytes| {
                let page: Option<Vec<CertifiedApplication>> =
                    codec::decode("entries of the clean room", &bytes, VALUE_MAX).ok();
                page.filter(|page| !page.is_empty())
            });
            let missing = ApplicationsError::Missing { found: next, expected: self.stored };
            for entry in page.ok_or(missing)? {
                // what a later snapshot had put there
                if next < self.stored {
                    visit(&entry);
                }
                next = next.saturating_add(1);
            }
        }
        self.latest.iter().for_each(|entry| visit(entry));
        Ok(())
    }
}

/// Puts entries into the store, behind so many that are there.
///
/// # Errors
/// When the store fails.
pub fn keep(
    store: &dyn Store,
    stored: u64,
    entries: &[Arc<CertifiedApplication>],
) -> Result<(), StoreError> {
    let mut first = stored;
    let mut page: Vec<CertifiedApplication> = Vec::new();
    let mut bytes = 0;
    let mut put = |page: &mut Vec<CertifiedApplication>| {
        let count = u64::try_from(page.len()).unwrap_or(u64::MAX);
        let write = Write::put(ENTRIES, first.to_be_bytes(), codec::encode(page));
        page.clear();
        first = first.saturating_add(count);
        store.transaction(&[write])
    };
    for entry in entries {
        bytes += codec::encode(&**entry).len();
        page.push(CertifiedApplication::clone(entry));
        if bytes >= PAGE_BYTES {
            put(&mut page)?;
            bytes = 0;
        }
    }
    if page.is_empty() { Ok(()) } else { put(&mut page) }
}

#[cfg(test)]
mod tests {
    use protocol::ids::{BrandId, LeafIndex};
    use protocol::log::block::{APPLICATION_MAX, ApplicationEntry};
    use protocol::time::Timestamp;

    use super::*;
    use crate::store::MemoryStore;

    fn entry(number: u64, bytes: usize) -> CertifiedApplication {
        let entry = ApplicationEntry { application: 1, body: vec![number as u8; bytes] };
        let log = BrandId::new("a").unwrap();
        // as it is written: log, index, time, entry
        let parts = (log, LeafIndex::new(number), Timestamp::from_unix_ms(number), entry);
        codec::decode("an entry", &codec::encode(&parts), VALUE_MAX).unwrap()
    }

    fn all(applications: &Applications, store: &dyn Store) -> Vec<CertifiedApplication> {
        let mut all = Vec::new();
        applications.visit(store, |entry| all.push(entry.clone())).unwrap();
        all
    }

    #[test]
    fn what_is_in_the_store_and_what_came_since_are_one_row() {
        let store = MemoryStore::new();
        let mut applications = Applications::default();
        let mut expected = Vec::new();
        // of all sizes, the largest too
        for round in 0..6u64 {
            for number in 0..40 {
                let size = [3, 500, 8_000, APPLICATION_MAX][(number % 4) as usize];
                expected.push(entry(round * 40 + number, size));
                applications.push(expected.last().unwrap().clone());
            }
            assert_eq!(all(&applications, &store), expected);
            // what comes while a snapshot is written is not of it
            let copied = applications.latest().to_vec();
            expected.push(entry(1_000 + round, 10));
            applications.push(expected.last().unwrap().clone());
            keep(&store, applications.stored(), &copied).unwrap();
            assert_eq!(all(&applications, &store), expected);
            applications.are_stored(copied.len());
            assert_eq!(applications.latest().len(), 1);
            assert_eq!(all(&applications, &store), expected);
        }
    }

    #[test]
    fn a_journal_that_was_put_back_finds_those_of_its_own_time() {
        let store = MemoryStore::new();
        let of = |from: u64, to: u64| {
            (from..to).map(|number| Arc::new(entry(number, 5_000))).collect::<Vec<_>>()
        };
        keep(&store, 0, &of(0, 10)).unwrap();
        keep(&store, 10, &of(10, 40)).unwrap();
        let mut back = Applications::default();
        back.take_up_stored(10);
        let numbers = |applications: &Applications| {
            all(applications, &store).iter().map(|entry| entry.index().get()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&back), (0..10).collect::<Vec<_>>());
        // and goes on with others
        of(100, 103).into_iter().for_each(|entry| back.push(CertifiedApplication::clone(&entry)));
        keep(&store, back.stored(), back.latest()).unwrap();
        back.are_stored(3);
        assert_eq!(numbers(&back), (0..10).chain(100..103).collect::<Vec<_>>());
        // a store that has not all is told
        back.take_up_stored(1_000);
        let missing = back.visit(&store, |_| {}).unwrap_err();
        assert!(missing.to_string().contains("where the journal says 1000"), "{missing}");
    }
}
