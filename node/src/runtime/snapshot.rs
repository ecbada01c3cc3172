//! What the journal's records come to, written in their place: so that a restart takes as long as the
//! state is large, and not as long as the history is.
//!
//! The loop stops only to take a copy of the state that shares nearly all with it ([`copy`]); all else is a
//! thread's ([`job`]): what can leave memory, sealing, writing, reading back, deleting older files. While it works, the journal goes on in its next segment: a crash at any moment leaves the
//! snapshot before with all that came since. A snapshot is due when the journal has grown by some
//! multiple of the last one, every day, and when sealing keys were destroyed: then twice in a row, so
//! that the generation that is kept behind the newest is of the present as well, and no file of the
//! journal has block secrets or column keys of blocks that are final.

mod care;
mod copy;
mod job;

use std::ops::Bound;

use protocol::log::block::Header;

pub(super) use self::care::SnapshotCare;
pub use self::copy::StateCopy;
pub use self::job::{SnapshotError, WrittenSnapshot};
use super::core::Core;
use super::state_record::{ITEMS_MAX, StateRecord};
use crate::store::{Keyspace, Store, StoreError, Write};

/// Where the keys of what has earned are once a snapshot was written, each with the number of the snapshot
/// that had it last.
const EARNED: Keyspace = "earned";
/// Where the highest such number is.
const EARNED_LATEST: Keyspace = "earned-latest";
/// Keys of one transaction of the store.
const KEYS_AT_ONCE: usize = 4096;

impl Core {
    /// Takes up a part of a snapshot.
    ///
    /// # Errors
    /// When a header in it does not read.
    pub(super) fn take_up(&mut self, part: StateRecord) -> Result<(), String> {
        match part {
            StateRecord::Balances(balances) => self.points.take_up(balances),
            StateRecord::Controls(controls) => self.points.take_up_controls(controls),
            StateRecord::EarnedKeys(keys) => {
                let (keys, _) = keys.as_chunks::<20>();
                self.points.take_up_earned(keys.iter().copied());
            }
            StateRecord::Programme(piece, is_last) => self.take_up_programme(&piece, is_last)?,
            StateRecord::Exchanges(exchanges) => {
                exchanges.into_iter().for_each(|booked| self.book.take_up_exchange(booked));
            }
            StateRecord::Legs(legs) => {
                legs.into_iter().for_each(|(index, leg)| self.book.take_up_leg(index, leg));
            }
            StateRecord::Received(received) => {
                for (brand, leaf, known) in received {
                    self.book.received_mut().take_up((brand, leaf), known);
                }
            }
            StateRecord::SentBack(all) => {
                for (asked, is_final) in all {
                    self.book.received_mut().take_up_sent_back(asked, is_final);
                }
            }
            StateRecord::Book(state) => self.book.take_up(&state),
            StateRecord::Offered(brand, offer) => self.book.take_up_offer(brand, *offer),
            StateRecord::FormerReturns(all) => {
                for (brand, leaf, back) in all {
                    self.book.take_up_former_returns((brand, leaf), back);
                }
            }
            StateRecord::Beyond(all) => self.points.take_up_beyond(all),
            StateRecord::Erased(all) => self.points.take_up_erased(all),
            StateRecord::Absent(absent) => self.clearing.take_up_absent(*absent),
            StateRecord::Headers(log, leaves) => {
                let known = self.headers.entry(log).or_default();
                for leaf in leaves {
                    let header = Header::from_bytes(&leaf).map_err(|error| error.to_string())?;
                    let id = protocol::log::merkle::leaf_hash(&leaf).of_header();
                    known.insert(header.height, (id, header));
                }
            }
            StateRecord::Cycle(cut_off, cycle) => self.clearing.take_up(cut_off, *cycle),
            StateRecord::Disputes(disputes) => self.disputes.take_up(*disputes),
            StateRecord::Operations(entries) => self.kept.take_up_operations(entries),
            StateRecord::Answered(all) => self.kept.take_up_answered(all),
            StateRecord::StoredApplications(count) => self.applications.take_up_stored(count),
            StateRecord::Application(entry) => self.applications.push(*entry),
        }
        Ok(())
    }

    /// Whether anything has earned before there was a programme.
    ///
    /// # Errors
    /// When the store cannot say.
    pub(super) fn has_any_earned(&self) -> Result<bool, StoreError> {
        let kept = self.store.get(EARNED_LATEST, EARNED.as_bytes())?;
        Ok(kept.is_some() || !self.points.earned().is_empty())
    }

    /// Whether this has earned before there was a programme, ever.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn has_earned(&self, key: &[u8; 20]) -> Result<bool, StoreError> {
        Ok(self.points.has_earned(key) || self.store.get(EARNED, key)?.is_some())
    }
}

/// Keeps the keys of what has earned, once the snapshot with this number, which has them, is written.
pub(super) fn keep_earned(
    store: &dyn Store,
    earned: &[[u8; 20]],
    number: u64,
) -> Result<(), StoreError> {
    let number = number.to_be_bytes();
    for keys in earned.chunks(KEYS_AT_ONCE) {
        let put = |key: &[u8; 20]| Write::put(EARNED, *key, number);
        let latest = Write::put(EARNED_LATEST, EARNED, number);
        store.transaction(&keys.iter().map(put).chain([latest]).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Forgets what has earned according to a snapshot later than the one that is taken up: the journal was put
/// back to before it, and what had earned has not.
///
/// # Errors
/// When the store fails.
pub(super) fn forget_later_earned(store: &dyn Store, taken: u64) -> Result<(), StoreError> {
    let later = |number: &[u8]| *number > taken.to_be_bytes()[..];
    if !store.get(EARNED_LATEST, EARNED.as_bytes())?.is_some_and(|latest| later(&latest)) {
        return Ok(());
    }
    let mut from = Vec::new();
    loop {
        let after = if from.is_empty() { Bound::Unbounded } else { Bound::Excluded(&from[..]) };
        let page = store.scan(EARNED, after, Bound::Unbounded, KEYS_AT_ONCE)?;
        let Some((last, _)) = page.last() else { break };
        from.clone_from(last);
        let gone = page.into_iter().filter(|(_, number)| later(number));
        let gone: Vec<Write> = gone.map(|(key, _)| Write::delete(EARNED, key)).collect();
        store.transaction(&gone)?;
    }
    store.transaction(&[Write::put(EARNED_LATEST, EARNED, taken.to_be_bytes())])
}

pub(super) fn chunked<T>(
    items: impl Iterator<Item = T>,
    part: impl Fn(Vec<T>) -> StateRecord,
    state: &mut impl FnMut(StateRecord),
) {
    let mut items = items.peekable();
    while items.peek().is_some() {
        state(part(items.by_ref().take(ITEMS_MAX).collect()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    fn keys(from: u64, count: u64) -> Vec<[u8; 20]> {
        let key = |number: u64| {
            let mut key = [0; 20];
            key[..8].copy_from_slice(&number.to_be_bytes());
            key
        };
        (from..from + count).map(key).collect()
    }

    #[test]
    fn what_earned_after_the_snapshot_that_was_put_back_may_earn_again() {
        let store = MemoryStore::new();
        let many = 2 * KEYS_AT_ONCE as u64 + 10;
        keep_earned(&store, &keys(0, many), 3).unwrap();
        keep_earned(&store, &keys(many, many), 4).unwrap();
        let kept = |store: &MemoryStore| {
            let all = store.scan(EARNED, Bound::Unbounded, Bound::Unbounded, usize::MAX);
            all.unwrap().into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        // as it was when the node stopped, and nothing is looked through
        forget_later_earned(&store, 4).unwrap();
        assert_eq!(kept(&store).len() as u64, 2 * many);
        forget_later_earned(&store, 3).unwrap();
        assert_eq!(kept(&store), keys(0, many));
        // the journal is gone
        forget_later_earned(&store, 0).unwrap();
        assert_eq!(kept(&store), Vec::<Vec<u8>>::new());
    }
}
