//! What of the book is in memory: what leaves it with a snapshot, what comes back into it, and the book's part
//! of a snapshot.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use protocol::amount::Value;
use protocol::exchange::{OutgoingLeg, Return};
use protocol::ids::{BrandId, Height, LeafIndex};
use protocol::log::resolution::DisputeResolved;

use super::{Book, BookCopy, BookedExchange, ExchangeState};
use crate::exchange::cold::{ColdError, Leaving};
use crate::exchange::received::{Place, ReceivedExchanges};
use crate::service::ExchangeCounts;

/// Places in the order of this run: what is before them was there when they were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    pub(super) exchanges: u64,
    pub(super) received: u64,
}

/// What the book knows beside its exchanges, for a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(array)]
pub struct BookState {
    /// Up to which height each log has been applied.
    #[n(0)]
    pub applied: Vec<(BrandId, Height)>,
    /// The last block of each log that said something to this brand.
    #[n(1)]
    pub answerable: Vec<(BrandId, Height)>,
    /// Up to which height own blocks have been built.
    #[n(2)]
    pub built: Height,
    /// Exchanges by state: final, acknowledged, returned, void, credited, sent back, ever.
    #[n(3)]
    pub counts: [u64; 6],
    /// What each brand still owes because points are whole, in micro-fen: the upper and the lower half.
    #[n(4)]
    pub residues: Vec<(BrandId, u64, u64)>,
    /// How many exchanges have left memory, and how many that came in.
    #[n(5)]
    pub left: (u64, u64),
    /// Logs that have ended, with the last own block that was recognised there.
    #[n(6)]
    pub ended: Vec<(BrandId, Height)>,
    /// What exchanges after that block were worth.
    #[n(7)]
    pub void: Vec<(BrandId, Value)>,
}

impl Book {
    /// Brings an exchange into memory of which something comes back.
    pub(super) fn recall(&mut self, by: BrandId, leaf: LeafIndex) -> Result<(), ColdError> {
        let Some(cold) = self.cold.as_ref().filter(|_| self.legs.leg(leaf).is_none()) else {
            return Ok(());
        };
        let known = cold.leg(leaf, self.left)?.filter(|(_, leg)| leg.to == by);
        // an exchange that is in memory without its leg is over
        if let Some((booked, leg)) = known
            && !self.exchanges.contains_key(&booked.requested.id)
        {
            self.legs.take_up(leaf, leg);
            self.take_up_exchange(booked);
        }
        Ok(())
    }

    /// What leaves memory is in the store, and has left it from now on: [`Self::leave`] takes it out.
    pub fn leaves(&mut self, leaving: &Leaving) {
        self.left = self.left.max(leaving.first + leaving.exchanges.len() as u64);
        self.received.leaves(leaving);
    }

    /// Takes so many out of memory of what leaves it, but for what something has happened to meanwhile; says
    /// whether that was all.
    pub fn leave(&mut self, leaving: &mut Leaving, most: usize) -> bool {
        for _ in 0..most {
            if let Some((booked, leg)) = leaving.exchanges.pop() {
                let id = booked.requested.id;
                if let Some((leaf, leg)) = leg {
                    if self.legs.leg(leaf).is_some_and(|known| *known != leg) {
                        continue;
                    }
                    self.legs.forget(leaf);
                }
                if self.exchanges.get(&id).is_some_and(|known| known.state == booked.state) {
                    self.exchanges.remove(&id);
                }
            } else if let Some(leaf) = leaving.void.pop() {
                self.legs.forget(leaf);
            } else if let Some(received) = leaving.received.pop() {
                self.received.leave(received);
            } else {
                return true;
            }
        }
        false
    }

    /// Where the next exchanges will be.
    #[must_use]
    pub fn marks(&self) -> Marks {
        Marks { exchanges: self.exchanges.next(), received: self.received.next() }
    }

    /// Exchanges in memory, the newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &BookedExchange> {
        self.exchanges.iter().rev()
    }

    /// Takes up an exchange, after all that came before it.
    pub fn take_up_exchange(&mut self, booked: BookedExchange) {
        self.counts.held += u64::from(booked.state == ExchangeState::Held);
        self.exchanges.push(booked);
    }
}

/// To a snapshot and back. Each part is given in the order in which it is to be taken up.
impl Book {
    /// Exchanges in memory, in the order in which they came.
    pub fn exchanges(&self) -> impl Iterator<Item = &BookedExchange> {
        self.exchanges.iter()
    }

    /// All of it that a snapshot has, as it is now. What grows with the exchanges is shared, not copied.
    #[must_use]
    pub fn copy(&self) -> BookCopy {
        BookCopy {
            exchanges: self.exchanges.copy(),
            legs: self.legs.copy(),
            ended: self.ended.clone(),
            left: self.cold.is_some().then_some(self.left),
            state: self.state(),
            received: self.received.copy(),
            waiting: self.waiting.clone(),
            offered: self.offered.clone(),
            former_returns: self.former_returns.clone(),
        }
    }

    fn state(&self) -> BookState {
        let counts = &self.counts;
        let residues = self.received.residues().iter().map(|(brand, residue)| {
            let (upper, lower) = ((*residue >> 64) as u64, *residue as u64);
            (*brand, upper, lower)
        });
        BookState {
            applied: pairs(&self.applied),
            answerable: pairs(&self.answerable),
            built: self.built,
            counts: [
                counts.r#final,
                counts.acknowledged,
                counts.returned,
                counts.void,
                counts.credited,
                counts.sent_back,
            ],
            residues: residues.collect(),
            left: (self.left, self.received.left()),
            ended: pairs(&self.ended),
            void: pairs(&self.void),
        }
    }

    /// Takes up what a [`BookCopy`] gave of it.
    pub fn take_up(&mut self, state: &BookState) {
        self.applied = state.applied.iter().copied().collect();
        self.answerable = state.answerable.iter().copied().collect();
        self.built = state.built;
        self.ended = state.ended.iter().copied().collect();
        self.void = state.void.iter().copied().collect();
        let [r#final, acknowledged, returned, void, credited, sent_back] = state.counts;
        let held = self.counts.held;
        self.counts = ExchangeCounts {
            held,
            r#final,
            acknowledged,
            returned,
            void,
            refused: 0,
            credited,
            sent_back,
        };
        self.left = state.left.0;
        let whole = |upper: u64, lower: u64| u128::from(upper) << 64 | u128::from(lower);
        let residues = state.residues.iter();
        let residues = residues.map(|(brand, upper, lower)| (*brand, whole(*upper, *lower)));
        self.received.take_up_residues(residues.collect(), state.left.1);
    }

    /// Takes up a leaf of the own log.
    pub fn take_up_leg(&mut self, index: LeafIndex, leg: OutgoingLeg) {
        self.legs.take_up(index, leg);
    }

    /// Takes up an offer.
    pub fn take_up_offer(&mut self, brand: BrandId, offer: DisputeResolved) {
        self.offered.entry(brand).or_default().push(offer);
    }

    /// Takes up what the own log sends back of an exchange that is still to come in again.
    pub fn take_up_former_returns(&mut self, place: Place, back: Vec<Return>) {
        self.former_returns.insert(place, back);
    }

    /// Exchanges that came in, to take them up.
    pub const fn received_mut(&mut self) -> &mut ReceivedExchanges {
        &mut self.received
    }
}

fn pairs<T: Copy>(by_brand: &BTreeMap<BrandId, T>) -> Vec<(BrandId, T)> {
    by_brand.iter().map(|(brand, value)| (*brand, *value)).collect()
}
