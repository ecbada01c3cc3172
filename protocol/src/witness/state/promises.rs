//! Promises of one opening: which of them count, and the highest lock that they tell of.

use std::collections::BTreeSet;

use super::{Outbox, Witness};
use crate::constitution::Constitution;
use crate::crypto::Signed;
use crate::ids::BrandId;
use crate::witness::guards::{Guard, Guards};
use crate::witness::message::PromiseMessage;
use crate::witness::said::Said;
use crate::witness::statement::{Lock, Open, Pledge, Promise, Statement as _, UnverifiedLock};

/// What promises of one opening come to.
#[derive(Default)]
pub struct Counted {
    brands: BTreeSet<BrandId>,
    highest: Option<Pledge>,
    // what was verified on the way
    genuine: Vec<Signed<Promise>>,
    locks: Vec<Lock>,
}

/// Whether there are more promises than brands, or two by one: no honest leader sends such, and nobody
/// verifies them.
#[must_use]
pub fn are_too_many(constitution: &Constitution, promises: &[PromiseMessage]) -> bool {
    let mut signers = BTreeSet::new();
    let mut again = promises.iter().filter(|message| !signers.insert(message.promise.signer));
    promises.len() > constitution.committee().size() || again.next().is_some()
}

impl Counted {
    /// Counts the promises of this opening.
    pub fn of<'a, G: Guards>(
        constitution: &Constitution,
        open: &Open,
        promises: impl IntoIterator<Item = &'a PromiseMessage>,
    ) -> Self {
        let mut counted = Self::default();
        for message in promises {
            counted.take::<G>(constitution, open, message);
        }
        counted
    }

    /// How many brands have joined.
    #[must_use]
    pub fn brands(&self) -> usize {
        self.brands.len()
    }
    /// The highest lock among those told.
    #[must_use]
    pub const fn highest(&self) -> Option<Pledge> {
        self.highest
    }

    /// Counts one more; false when it is of another opening, not genuine, or tells of a lock that does not
    /// stand: then it is void. A lock that several tell of is verified once.
    pub fn take<G: Guards>(
        &mut self,
        constitution: &Constitution,
        open: &Open,
        message: &PromiseMessage,
    ) -> bool {
        if !G::allow(Guard::PromiseOfOpening, message.promise.body.open == *open) {
            return false;
        }
        let Ok(promise) = Promise::verify(message.promise.clone(), constitution) else {
            return false;
        };
        self.genuine.push(promise.as_signed().clone());
        let told = match (promise.body().lock, &message.lock) {
            (None, None) => None,
            (Some(named), Some(lock)) if lock.pledge == named => {
                let below = named.round < open.round;
                let same = named.block.log == open.log && named.block.height == open.height;
                let proven = below && same && self.stands(constitution, lock);
                if !G::allow(Guard::LockProven, proven) {
                    return false;
                }
                Some(named)
            }
            _ => return false,
        };
        self.brands.insert(promise.signer());
        if let Some(lock) = told
            && self
                .highest
                .is_none_or(|highest| G::allow(Guard::HighestLock, highest.round < lock.round))
        {
            self.highest = Some(lock);
        }
        true
    }

    fn stands(&mut self, constitution: &Constitution, lock: &UnverifiedLock) -> bool {
        if self.locks.iter().any(|known| known.as_unverified() == lock) {
            return true;
        }
        let lock = lock.clone().verify(constitution).ok();
        self.locks.extend(lock.clone());
        lock.is_some()
    }
}

impl<G: Guards> Witness<G> {
    /// Takes note of promises that were counted, and of the votes behind their locks.
    pub fn note_promises(&mut self, counted: Counted, out: &mut Outbox) {
        for promise in counted.genuine {
            self.note(Said::Promise(promise), out);
        }
        // a lock that is held already has been taken note of
        let held = self.lock.as_ref().map(Lock::pledge);
        for lock in counted.locks.iter().filter(|lock| Some(lock.pledge()) != held) {
            self.note_all(lock.as_unverified().said(), out);
        }
    }
}
