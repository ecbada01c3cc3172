//! Exchanges that have left memory in the order of time, for who looks through all of them page by page.
//!
//! They leave in another order than they came, and some leave twice. So the store has, of every second in which exchanges
//! were asked for, the pages of neighbours that have some of them: one key for each page and second, far fewer than
//! exchanges where there are many. What is before a moment is then read from that second back, at a cost that does not
//! depend on how much there is.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use minicbor::{Decode, Encode};
use protocol::ids::RequestId;
use protocol::time::Timestamp;

use super::{
    BookedExchange, Cold, ColdError, EXCHANGES, Entry, Keyspace, Numbered, Place, RECEIVED,
    Received, ReceivedEntry, Write, page_of,
};
use crate::service::{ExchangeKey, ReceivedKey};

/// Second and page, with nothing under them.
pub(super) const EXCHANGE_TIMES: Keyspace = "exchange-times";
pub(super) const RECEIVED_TIMES: Keyspace = "received-times";
/// By the pages' keyspace, up to which number all entries are in the order of time.
pub(super) const TIMES_TO: Keyspace = "exchange-times-to";
/// How many keys are read at once.
const KEYS_AT_ONCE: usize = 128;
/// How many pages are kept while some are read.
const PAGES_KEPT: usize = 16;
/// How many pages of an earlier build are brought into the order at once.
const PAGES_AT_ONCE: u64 = 64;
/// Milliseconds that count as a second here, as a power of two.
const SECOND_BITS: u32 = 10;

/// An entry with its place in the order of time.
pub(super) trait Timed: for<'b> Decode<'b, ()> + Encode<()> + Clone {
    /// Its place.
    type Key: Ord + Copy;
    fn key(&self) -> Self::Key;
    fn time(key: Self::Key) -> Timestamp;
}

impl Timed for Entry {
    type Key = ExchangeKey;
    fn key(&self) -> ExchangeKey {
        self.booked.key()
    }
    fn time((at, _): ExchangeKey) -> Timestamp {
        at
    }
}

impl Timed for ReceivedEntry {
    type Key = ReceivedKey;
    fn key(&self) -> ReceivedKey {
        self.received.key(self.place())
    }
    fn time((until, ..): ReceivedKey) -> Timestamp {
        until
    }
}

const fn second_of(at: Timestamp) -> u64 {
    at.unix_ms() >> SECOND_BITS
}

/// Keys ascend from the latest second to the first.
fn second_key(second: u64) -> [u8; 8] {
    (u64::MAX - second).to_be_bytes()
}

/// The second and the page of a key.
fn parts(key: &[u8]) -> Option<(u64, u64)> {
    let (second, page) = key.split_first_chunk()?;
    let page = page.try_into().ok()?;
    Some((u64::MAX - u64::from_be_bytes(*second), u64::from_be_bytes(page)))
}

/// Notes in which pages the entries of a second are.
pub(super) fn note_times<T: Timed>(
    times: Keyspace,
    entries: &[Numbered<T>],
    writes: &mut Vec<Write>,
) {
    let key = |entry: &Numbered<T>| {
        let second = second_key(second_of(T::time(entry.it.key())));
        [second, page_of(entry.number).to_be_bytes()].concat()
    };
    let keys: BTreeSet<Vec<u8>> = entries.iter().map(key).collect();
    writes.extend(keys.into_iter().map(|key| Write::put(times, key, [])));
}

impl Cold {
    /// That entries from a number on are in the order of time, if all before them are.
    pub(super) fn times_reach(
        &self,
        pages: Keyspace,
        first: u64,
        count: usize,
    ) -> Result<Option<Write>, ColdError> {
        let reach = self.number(TIMES_TO, pages.as_bytes())?.unwrap_or_default();
        let end = first.saturating_add(count as u64);
        let reaches = first <= reach && reach < end;
        Ok(reaches.then(|| Write::put(TIMES_TO, pages.as_bytes(), end.to_be_bytes())))
    }

    /// Brings what builds before 30 November 2026 have put into the store into the order of time; to be asked
    /// before a node starts, and done once.
    ///
    /// # Errors
    /// When the store fails.
    pub fn complete_times(&self) -> Result<(), ColdError> {
        self.complete::<Entry>(EXCHANGES, EXCHANGE_TIMES)?;
        self.complete::<ReceivedEntry>(RECEIVED, RECEIVED_TIMES)
    }

    fn complete<T: Timed>(&self, pages: Keyspace, times: Keyspace) -> Result<(), ColdError> {
        let mut reach = self.number(TIMES_TO, pages.as_bytes())?.unwrap_or_default();
        loop {
            let (mut writes, mut next) = (Vec::new(), reach);
            let first = page_of(reach);
            for page in first..first.saturating_add(PAGES_AT_ONCE) {
                let entries = self.page::<T>(pages, page)?;
                let Some(last) = entries.last() else { break };
                next = next.max(last.number.saturating_add(1));
                note_times(times, &entries, &mut writes);
            }
            if next == reach {
                return Ok(());
            }
            writes.push(Write::put(TIMES_TO, pages.as_bytes(), next.to_be_bytes()));
            self.store.transaction(&writes)?;
            reach = next;
        }
    }

    /// What comes of the latest entries before a key, the latest first, each once, when so many have left.
    fn before<T: Timed, R>(
        &self,
        (pages, times): (Keyspace, Keyspace),
        before: Option<T::Key>,
        (left, limit): (u64, usize),
        resolve: impl Fn(T) -> Result<Option<R>, ColdError>,
    ) -> Result<Vec<R>, ColdError> {
        let take = |of_second: BTreeMap<T::Key, T>, found: &mut Vec<R>| {
            for entry in of_second.into_values().rev() {
                if found.len() < limit {
                    found.extend(resolve(entry)?);
                }
            }
            Ok::<bool, ColdError>(found.len() < limit)
        };
        let first = before.map(|key| second_key(second_of(T::time(key))).to_vec());
        let mut from = Bound::Included(first.unwrap_or_default());
        let mut read: BTreeMap<u64, Vec<Numbered<T>>> = BTreeMap::new();
        let mut of_second: BTreeMap<T::Key, T> = BTreeMap::new();
        let (mut found, mut present) = (Vec::new(), None);
        loop {
            let start = from.as_ref().map(Vec::as_slice);
            let keys = self.store.scan(times, start, Bound::Unbounded, KEYS_AT_ONCE)?;
            for (key, _) in &keys {
                let (second, page) = parts(key).ok_or(ColdError::Damaged)?;
                if present.replace(second) != Some(second)
                    && !take(std::mem::take(&mut of_second), &mut found)?
                {
                    return Ok(found);
                }
                if !read.contains_key(&page) {
                    if read.len() >= PAGES_KEPT {
                        read.clear();
                    }
                    read.insert(page, self.page(pages, page)?);
                }
                for entry in read.get(&page).into_iter().flatten() {
                    let key = entry.it.key();
                    let is_before = before.is_none_or(|before| key < before);
                    // what an attempt that came to nothing has left there, or another second's
                    if entry.number < left && second_of(T::time(key)) == second && is_before {
                        of_second.insert(key, entry.it.clone());
                    }
                }
            }
            let last = keys.last().filter(|_| keys.len() == KEYS_AT_ONCE);
            let Some((last, _)) = last else { break };
            from = Bound::Excluded(last.clone());
        }
        take(of_second, &mut found)?;
        Ok(found)
    }

    /// Exchanges before a key in the order of time, the latest first, each as it is known last, when so many
    /// have left; without those that are in memory again.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn exchanges_before(
        &self,
        before: Option<ExchangeKey>,
        (left, limit): (u64, usize),
        is_in_memory: impl Fn(&RequestId) -> bool,
    ) -> Result<Vec<BookedExchange>, ColdError> {
        let resolve = |entry: Entry| {
            let key = entry.key();
            if is_in_memory(&key.1) {
                return Ok(None);
            }
            // one that was asked for again later is there, not here
            Ok(self.exchange(key.1, left)?.filter(|booked| booked.key() == key))
        };
        self.before((EXCHANGES, EXCHANGE_TIMES), before, (left, limit), resolve)
    }

    /// The same of those that came in.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn received_before(
        &self,
        before: Option<ReceivedKey>,
        (left, limit): (u64, usize),
        is_in_memory: impl Fn(&Place) -> bool,
    ) -> Result<Vec<(Place, Received)>, ColdError> {
        let resolve = |entry: ReceivedEntry| {
            let place = entry.place();
            if is_in_memory(&place) {
                return Ok(None);
            }
            Ok(self.received_last(place, left)?.map(|received| (place, received)))
        };
        self.before((RECEIVED, RECEIVED_TIMES), before, (left, limit), resolve)
    }
}
