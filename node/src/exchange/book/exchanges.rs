//! Exchanges in memory: found by their ids, kept in the order in which they came.

use protocol::ids::RequestId;

use super::{BookedExchange, ExchangeState};
use crate::exchange::index::Index;
use crate::exchange::moments::Moments;
use crate::exchange::numbered::Numbered;
use crate::service::ExchangeKey;

/// All that are in memory.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    by_number: Numbered<BookedExchange>,
    numbers: Index<RequestId>,
    // the same by their times, which do not change when one comes into memory again
    by_time: Moments<RequestId>,
    // numbers of what may have changed, with the state before (none: it is new); nothing is noted before somebody
    // looks
    changed: Option<Vec<(u64, Option<ExchangeState>)>>,
}

impl Exchanges {
    /// One by its id.
    pub fn get(&self, id: &RequestId) -> Option<&BookedExchange> {
        self.by_number.get(self.numbers.get(id)?)
    }

    /// One by its id, to change it.
    pub fn get_mut(&mut self, id: &RequestId) -> Option<&mut BookedExchange> {
        let number = self.numbers.get(id)?;
        let booked = self.by_number.get_mut(number)?;
        if let Some(changed) = &mut self.changed {
            changed.push((number, Some(booked.state)));
        }
        Some(booked)
    }

    /// Whether there is one with this id.
    pub fn contains_key(&self, id: &RequestId) -> bool {
        self.numbers.get(id).is_some()
    }

    /// Adds one, after all that came before it.
    pub fn push(&mut self, booked: BookedExchange) {
        let id = booked.requested.id;
        // one that is over comes from the store: it is not new
        let before = Some(booked.state).filter(|state| *state != ExchangeState::Held);
        self.by_time.add(booked.key());
        let number = self.by_number.push(booked);
        if let Some(former) = self.numbers.insert(id, number) {
            self.forget(former);
        }
        if let Some(changed) = &mut self.changed {
            changed.push((number, before));
        }
    }

    /// Takes one away.
    pub fn remove(&mut self, id: &RequestId) {
        if let Some(number) = self.numbers.remove(id) {
            self.forget(number);
        }
    }

    fn forget(&mut self, number: u64) {
        if let Some(booked) = self.by_number.remove(number) {
            self.by_time.remove(booked.key());
        }
    }

    /// Those whose state is another than when this was last asked; from the first time on.
    pub fn take_changed(&mut self) -> Vec<&BookedExchange> {
        let mut changed = self.changed.replace(Vec::new()).unwrap_or_default();
        // the state before the first change counts
        changed.sort_by_key(|(number, _)| *number);
        changed.dedup_by_key(|(number, _)| *number);
        let now = changed.into_iter();
        let now = now.filter_map(|(number, before)| Some((self.by_number.get(number)?, before)));
        now.filter(|(booked, before)| Some(booked.state) != *before).map(|(it, _)| it).collect()
    }

    /// The number of the next one.
    pub const fn next(&self) -> u64 {
        self.by_number.next()
    }

    /// In the order in which they came.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &BookedExchange> {
        self.by_number.iter().map(|(_, booked)| booked)
    }

    /// Those before a key in the order of time, the latest first.
    pub fn before(&self, key: Option<ExchangeKey>) -> impl Iterator<Item = &BookedExchange> {
        self.by_time.before(key).filter_map(|(_, id)| self.get(&id))
    }

    /// The same by their numbers, as they are now.
    pub fn copy(&self) -> Numbered<BookedExchange> {
        self.by_number.clone()
    }
}
