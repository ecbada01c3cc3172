//! Exchanges in memory: found by their ids, kept in the order in which they came.

use std::collections::{BTreeSet, HashSet};
use std::ops::Bound;

use protocol::ids::RequestId;
use protocol::shared_map::SharedMap;

use super::{BookedExchange, ExchangeState};
use crate::exchange::index::Index;
use crate::service::ExchangeKey;

/// All that are in memory.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    by_number: SharedMap<u64, BookedExchange>,
    numbers: Index<RequestId>,
    // the same in the order of time, which does not change when one comes into memory again
    by_time: BTreeSet<ExchangeKey>,
    next: u64,
    // what may have changed, with the state before (none: it is new); nothing is noted before somebody looks
    changed: Option<Vec<(RequestId, Option<ExchangeState>)>>,
}

impl Exchanges {
    /// One by its id.
    pub fn get(&self, id: &RequestId) -> Option<&BookedExchange> {
        self.by_number.get(&self.numbers.get(id)?)
    }

    /// One by its id, to change it.
    pub fn get_mut(&mut self, id: &RequestId) -> Option<&mut BookedExchange> {
        let booked = self.by_number.get_mut(&self.numbers.get(id)?)?;
        if let Some(changed) = &mut self.changed {
            changed.push((*id, Some(booked.state)));
        }
        Some(booked)
    }

    /// Whether there is one with this id.
    pub fn contains_key(&self, id: &RequestId) -> bool {
        self.numbers.get(id).is_some()
    }

    /// Adds one, after all that came before it.
    pub fn push(&mut self, booked: BookedExchange) {
        if let Some(changed) = &mut self.changed {
            // one that is over comes from the store: it is not new
            let before = Some(booked.state).filter(|state| *state != ExchangeState::Held);
            changed.push((booked.requested.id, before));
        }
        if let Some(before) = self.numbers.insert(booked.requested.id, self.next)
            && let Some(before) = self.by_number.remove(&before)
        {
            self.by_time.remove(&before.key());
        }
        self.by_time.insert(booked.key());
        self.by_number.insert(self.next, booked);
        self.next += 1;
    }

    /// Takes one away.
    pub fn remove(&mut self, id: &RequestId) {
        if let Some(number) = self.numbers.remove(id)
            && let Some(booked) = self.by_number.remove(&number)
        {
            self.by_time.remove(&booked.key());
        }
    }

    /// Those whose state is another than when this was last asked; from the first time on.
    pub fn take_changed(&mut self) -> Vec<&BookedExchange> {
        let changed = self.changed.replace(Vec::new()).unwrap_or_default();
        let mut seen = HashSet::new();
        // the state before the first change counts
        let first = changed.into_iter().filter(|(id, _)| seen.insert(*id));
        let now = first.filter_map(|(id, before)| Some((self.get(&id)?, before)));
        now.filter(|(booked, before)| Some(booked.state) != *before).map(|(it, _)| it).collect()
    }

    /// The number of the next one.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// In the order in which they came.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &BookedExchange> {
        self.by_number.values()
    }

    /// Those before a key in the order of time, the latest first.
    pub fn before(&self, key: Option<ExchangeKey>) -> impl Iterator<Item = &BookedExchange> {
        let end = key.map_or(Bound::Unbounded, Bound::Excluded);
        let keys = self.by_time.range((Bound::Unbounded, end)).rev();
        keys.filter_map(|(_, id)| self.get(id))
    }

    /// The same by their numbers, as they are now.
    pub fn copy(&self) -> SharedMap<u64, BookedExchange> {
        self.by_number.clone()
    }
}
