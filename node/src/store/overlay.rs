//! A store over another: it shows what that one shows, and writes beside it.
//!
//! For trying something out: the store beneath is read and never written. A key of the store on top is the
//! key with a byte before it, that says whether it was set or deleted.

use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Keyspace, Pair, SledStore, Store, StoreError, Write, check_lengths, next_key};

const SET: u8 = 1;
const DELETED: u8 = 0;
/// Pairs read from either store at a time.
const PAGE: usize = 256;

/// A store that keeps its writes beside the one it shows.
pub struct Overlay {
    beneath: Arc<dyn Store>,
    top: SledStore,
    writing: Mutex<()>,
}

impl Overlay {
    /// Shows `beneath`, writes to `top`, which must be new.
    #[must_use]
    pub fn new(beneath: Arc<dyn Store>, top: SledStore) -> Self {
        Self { beneath, top, writing: Mutex::new(()) }
    }

    /// What the store on top says of a key: nothing, deleted, or a value.
    fn on_top(
        &self,
        keyspace: Keyspace,
        key: &[u8],
    ) -> Result<Option<Option<Vec<u8>>>, StoreError> {
        if let Some(value) = self.top.get(keyspace, &marked(SET, key))? {
            return Ok(Some(Some(value)));
        }
        Ok(self.top.get(keyspace, &marked(DELETED, key))?.map(|_| None))
    }

    /// A page of what the store on top has set, from a key on.
    fn set_from(&self, keyspace: Keyspace, from: &[u8]) -> Result<Vec<Pair>, StoreError> {
        let (from, to) = (marked(SET, from), [SET + 1]);
        let page = self.top.scan(keyspace, Bound::Included(&from), Bound::Excluded(&to), PAGE)?;
        let bare = |(key, value): Pair| (key.get(1..).unwrap_or_default().to_vec(), value);
        Ok(page.into_iter().map(bare).collect())
    }
}

fn marked(mark: u8, key: &[u8]) -> Vec<u8> {
    [&[mark], key].concat()
}

impl Store for Overlay {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.on_top(keyspace, key)? {
            Some(value) => Ok(value),
            None => self.beneath.get(keyspace, key),
        }
    }

    fn get_many(
        &self,
        keyspace: Keyspace,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut values = self.beneath.get_many(keyspace, keys)?;
        for (value, key) in values.iter_mut().zip(keys) {
            if let Some(on_top) = self.on_top(keyspace, key)? {
                *value = on_top;
            }
        }
        Ok(values)
    }

    fn keyspaces(&self) -> Result<Vec<String>, StoreError> {
        let mut names = self.beneath.keyspaces()?;
        names.extend(self.top.keyspaces()?);
        names.sort();
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
        let mut next = match from {
            Bound::Included(key) => key.to_vec(),
            Bound::Excluded(key) => next_key(key.to_vec()),
            Bound::Unbounded => Vec::new(),
        };
        let is_past = |key: &[u8]| match to {
            Bound::Included(last) => key > last,
            Bound::Excluded(end) => key >= end,
            Bound::Unbounded => false,
        };
        let mut found = Vec::new();
        loop {
            let from = Bound::Included(next.as_slice());
            let below = self.beneath.scan(keyspace, from, Bound::Unbounded, PAGE)?;
            let above = self.set_from(keyspace, &next)?;
            // what both pages reach to, or all there is
            let full = [&below, &above].into_iter().filter(|page| page.len() == PAGE);
            let until = full.filter_map(|page| page.last()).map(|(key, _)| key.clone()).min();
            let mut merged: std::collections::BTreeMap<Vec<u8>, Vec<u8>> =
                below.into_iter().collect();
            merged.extend(above);
            for (key, value) in merged {
                if until.as_ref().is_some_and(|until| key > *until) {
                    break;
                }
                if is_past(&key) || found.len() >= limit {
                    return Ok(found);
                }
                if self.top.get(keyspace, &marked(DELETED, &key))?.is_none() {
                    found.push((key, value));
                }
            }
            match until {
                Some(until) => next = next_key(until),
                None => return Ok(found),
            }
        }
    }

    fn transaction(&self, writes: &[Write]) -> Result<(), StoreError> {
        check_lengths(writes)?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut marks = Vec::with_capacity(2 * writes.len());
        for write in writes {
            match write {
                Write::Put { keyspace, key, value } => {
                    marks.push(Write::delete(keyspace, marked(DELETED, key)));
                    marks.push(Write::put(keyspace, marked(SET, key), value.clone()));
                }
                Write::Delete { keyspace, key } => {
                    marks.push(Write::delete(keyspace, marked(SET, key)));
                    marks.push(Write::put(keyspace, marked(DELETED, key), []));
                }
                Write::Require { keyspace, key, value } => {
                    if self.get(keyspace, key)? != *value {
                        return Err(StoreError::Conflict { keyspace });
                    }
                }
            }
        }
        self.top.transaction(&marks)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.top.flush()
    }
}
