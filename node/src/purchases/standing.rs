//! What members' closed periods have used of their bounds, for the standing questions of the clean room:
//! personal data, sealed under the key of the facts, in pages by question and period.
//!
//! A reading says when it begins ([`Facts::begin_reading`]): who is erased while it is under way is not stored by
//! it again.
//!
//! Knows nothing of what the squares mean: that is [`privacy::bounded::Spent`].

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use privacy::bounded::{Spent, SpentPage};
use protocol::codec;

use super::import::{Facts, ImportError};
use crate::store::{Keyspace, VALUE_MAX, Write};

const SPENT: Keyspace = "standing_spent";
/// Members of a page: with eight columns' squares each it stays below what the store takes.
const PAGE_MEMBERS: usize = 250;
/// Pages read or written at a time.
const PAGES: usize = 128;
/// Bytes of a question's id.
const QUERY: usize = 16;

/// Takes a page with its key.
type TakePage<'a> = dyn FnMut(&[u8], SpentPage) -> Result<(), ImportError> + 'a;

fn place(query: &[u8; QUERY], period: u32, page: usize) -> Vec<u8> {
    let page = u32::try_from(page).unwrap_or(u32::MAX);
    [query.as_slice(), &period.to_be_bytes(), &page.to_be_bytes()].concat()
}

fn bound_to(key: &[u8]) -> Vec<u8> {
    [b"coalition standing question v1\0".as_slice(), key].concat()
}

const fn damaged() -> ImportError {
    ImportError::Damaged { what: "page of a standing question" }
}

/// Readings of periods that are under way, and who was erased since the first of them began.
#[derive(Debug, Default)]
pub(super) struct Readings {
    under_way: u32,
    erased: BTreeSet<i64>,
}

/// A reading under way.
#[derive(Debug)]
pub struct Reading<'a>(&'a Mutex<Readings>);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        readings.under_way = readings.under_way.saturating_sub(1);
        if readings.under_way == 0 {
            readings.erased.clear();
        }
    }
}

impl Facts {
    /// Begins the reading of a period: to be called before it is looked up who consents, and kept until what
    /// the period used is stored.
    #[must_use]
    pub fn begin_reading(&self) -> Reading<'_> {
        let mut readings = self.readings();
        readings.under_way = readings.under_way.saturating_add(1);
        drop(readings);
        Reading(&self.readings)
    }

    fn readings(&self) -> MutexGuard<'_, Readings> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a question's closed periods have used.
    ///
    /// # Errors
    /// When the store fails, or lacks one of them: without it nothing can be said of what is left.
    pub fn spent(&self, query: &[u8; QUERY], closed: &[u32]) -> Result<Spent, ImportError> {
        let mut spent = Spent::new();
        let mut there = BTreeSet::new();
        self.each_page(query, &mut |_, page| {
            there.insert(page.period());
            spent.add(page);
            Ok(())
        })?;
        if closed.iter().any(|period| !there.contains(period)) {
            return Err(damaged());
        }
        Ok(spent)
    }

    /// Stores what a period used, in place of what an earlier reading of it did, but not of members who were
    /// erased since the reading began.
    ///
    /// # Errors
    /// When the store fails; then the period may not be answered.
    pub fn put_spent(
        &self,
        _: &Reading<'_>,
        query: &[u8; QUERY],
        spent: &Spent,
        period: u32,
    ) -> Result<(), ImportError> {
        // held until all is stored: whoever erases comes before and is gone by, or after
        let readings = self.readings();
        let prefix = [query.as_slice(), &period.to_be_bytes()].concat();
        loop {
            let old = self.store.scan_prefix(SPENT, &prefix, None, PAGES)?;
            if old.is_empty() {
                break;
            }
            let gone: Vec<Write> =
                old.into_iter().map(|(key, _)| Write::delete(SPENT, key)).collect();
            self.store.transaction(&gone)?;
        }
        // the first page, which says that the period is there, last
        let mut pages = spent.pages(period, PAGE_MEMBERS);
        for erased in &readings.erased {
            let name = erased.to_string();
            for page in &mut pages {
                page.forget_member(name.as_bytes());
            }
        }
        let mut numbered: Vec<(usize, &SpentPage)> = pages.iter().enumerate().collect();
        numbered.reverse();
        for some in numbered.chunks(PAGES) {
            let mut writes = Vec::new();
            for (number, page) in some {
                writes.push(self.sealed_page(place(query, period, *number), page)?);
            }
            self.store.transaction(&writes)?;
        }
        Ok(())
    }

    /// Forgets members in what all standing questions have used; their facts are to be gone as well.
    /// `members` are as the facts name them.
    ///
    /// # Errors
    /// When the store fails; it may be called again.
    pub(super) fn forget_spent(&self, members: &BTreeSet<i64>) -> Result<(), ImportError> {
        let mut readings = self.readings();
        if readings.under_way > 0 {
            readings.erased.extend(members);
        }
        let names: Vec<String> = members.iter().map(ToString::to_string).collect();
        let mut writes = Vec::new();
        self.each_page(&[], &mut |key, mut page| {
            let mut was = false;
            for name in &names {
                was |= page.forget_member(name.as_bytes());
            }
            if was {
                writes.push(self.sealed_page(key.to_vec(), &page)?);
            }
            Ok(())
        })?;
        for some in writes.chunks(PAGES) {
            self.store.transaction(some)?;
        }
        Ok(())
    }

    fn sealed_page(&self, key: Vec<u8>, page: &SpentPage) -> Result<Write, ImportError> {
        let sealed = self.key.seal(&codec::encode(page), &bound_to(&key), &self.random);
        let sealed = sealed.map_err(|_| ImportError::Sealing)?;
        Ok(Write::put(SPENT, key, sealed))
    }

    fn each_page(&self, prefix: &[u8], take: &mut TakePage<'_>) -> Result<(), ImportError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let found = self.store.scan_prefix(SPENT, prefix, after.as_deref(), PAGES)?;
            let Some((last, _)) = found.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, sealed) in &found {
                let opened = self.key.open(sealed, &bound_to(key)).map_err(|_| damaged())?;
                let page = codec::decode("page", &opened, VALUE_MAX).map_err(|_| damaged())?;
                take(key, page)?;
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use protocol::ids::BrandId;
    use ring::rand::SystemRandom;

    use super::*;
    use crate::store::{MemoryStore, Store};
    use crate::vault::{HeldBrandKey, KEY_BYTES, Vault};

    /// Members, their periods, and what these used of one column.
    pub(in super::super) fn spent(of: &[(i64, &[(u32, u64)])]) -> Spent {
        let mut spent = Spent::new();
        for (member, periods) in of {
            for (period, square) in *periods {
                let name = member.to_string().into_bytes();
                let members = BTreeMap::from([(name, vec![(0u64, *square)])]);
                let page = codec::encode(&(*period, members));
                spent.add(codec::decode("page", &page, VALUE_MAX).unwrap());
            }
        }
        spent
    }

    pub(in super::super) fn facts() -> (tempfile::TempDir, Arc<MemoryStore>, Facts) {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(MemoryStore::default());
        let key = Arc::new(HeldBrandKey::from_bytes(&mut [7; KEY_BYTES]));
        let brand = BrandId::new("fuel_stop").unwrap();
        let vault = Vault::new(brand, store.clone(), key, Arc::new(SystemRandom::new()));
        let facts = Facts::open(folder.path().join("facts"), store.clone(), &vault).unwrap();
        (folder, store, facts)
    }

    #[test]
    fn what_periods_used_is_kept_and_replaced_and_none_of_it_can_be_missing() {
        let (_folder, store, facts) = facts();
        let (one, other) = ([1; 16], [2; 16]);
        let many: Vec<(i64, Vec<(u32, u64)>)> =
            (0..600).map(|member| (member, vec![(0, 5), (1, u64::MAX)])).collect();
        let many: Vec<(i64, &[(u32, u64)])> =
            many.iter().map(|(member, periods)| (*member, periods.as_slice())).collect();
        let all = spent(&many);
        facts.put_spent(&facts.begin_reading(), &one, &all, 0).unwrap();
        facts.put_spent(&facts.begin_reading(), &one, &all, 1).unwrap();
        assert_eq!(facts.spent(&one, &[0, 1]).unwrap(), all);
        assert_eq!(store.scan_prefix(SPENT, &one, None, 100).unwrap().len(), 6);
        // a period that is read again is what it is the second time
        let fewer = spent(&[(3, &[(0, 7)]), (4, &[(1, 9)])]);
        facts.put_spent(&facts.begin_reading(), &one, &fewer, 1).unwrap();
        facts.put_spent(&facts.begin_reading(), &one, &fewer, 0).unwrap();
        assert_eq!(facts.spent(&one, &[0, 1]).unwrap(), fewer);
        // nobody had anything in it: that is known as well
        facts.put_spent(&facts.begin_reading(), &one, &fewer, 2).unwrap();
        assert_eq!(facts.spent(&one, &[0, 1, 2]).unwrap(), fewer);
        // a closed period that the store does not know: nothing can be said of what is left
        assert!(facts.spent(&one, &[3]).is_err());
        assert!(facts.spent(&other, &[0]).is_err());
        assert_eq!(facts.spent(&other, &[]).unwrap(), Spent::new());
    }

    #[test]
    fn an_erased_member_is_forgotten_in_every_question() {
        let (_folder, store, facts) = facts();
        let (one, other) = ([1; 16], [2; 16]);
        facts
            .put_spent(&facts.begin_reading(), &one, &spent(&[(3, &[(0, 7)]), (33, &[(0, 8)])]), 0)
            .unwrap();
        facts.put_spent(&facts.begin_reading(), &other, &spent(&[(3, &[(0, 7)])]), 0).unwrap();
        facts.forget_spent(&[3, 99].into()).unwrap();
        assert_eq!(facts.spent(&one, &[0]).unwrap(), spent(&[(33, &[(0, 8)])]));
        assert_eq!(facts.spent(&other, &[0]).unwrap(), Spent::new());
        assert_eq!(store.scan_prefix(SPENT, &[], None, 100).unwrap().len(), 2);
    }

    #[test]
    fn a_reading_that_runs_during_an_erasure_does_not_bring_the_member_back() {
        let (_folder, store, facts) = facts();
        let query = [1; 16];
        let read = spent(&[(3, &[(0, 7)]), (33, &[(0, 8)])]);
        let reading = facts.begin_reading();
        facts.forget_spent(&[3].into()).unwrap();
        facts.put_spent(&reading, &query, &read, 0).unwrap();
        assert_eq!(facts.spent(&query, &[0]).unwrap(), spent(&[(33, &[(0, 8)])]));
        // another that began meanwhile, and goes on when the first has ended
        let other = facts.begin_reading();
        drop(reading);
        facts.put_spent(&other, &query, &read, 0).unwrap();
        assert_eq!(facts.spent(&query, &[0]).unwrap(), spent(&[(33, &[(0, 8)])]));
        drop(other);
        assert!(facts.readings().erased.is_empty());
        // whoever has no reading under way is remembered by none
        facts.forget_spent(&[33].into()).unwrap();
        assert!(facts.readings().erased.is_empty());
        assert_eq!(store.scan_prefix(SPENT, &query, None, 100).unwrap().len(), 1);
    }
}
