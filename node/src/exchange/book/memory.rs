//! What of the book is in memory: what leaves it with a snapshot, what comes back into it, and the book's part
//! of a snapshot.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use protocol::amount::Value;
use protocol::exchange::{LegState, OutgoingLeg, Return};
use protocol::ids::{BrandId, Height, LeafIndex};
use protocol::log::resolution::DisputeResolved;
use protocol::time::Timestamp;

use super::{Book, BookedExchange, ExchangeState};
use crate::exchange::cold::{ColdError, Leaving};
use crate::exchange::received::{Place, ReceivedExchanges};
use crate::service::ExchangeCounts;

/// Numbers that are gone from the order of exchanges stay in it until they are so many more than those that
/// are there.
const GONE_MAX: usize = 1024;

/// Places in the order of this run: what is before them was there when they were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    exchanges: u64,
    received: u64,
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

    /// What can leave memory with a snapshot: answered exchanges that came before the one with this number,
    /// and what came in before that one, but for those of which something has come back and more may. From a
    /// log that has ended nothing comes back.
    #[must_use]
    pub fn leaving(&self, before: Marks, own_log: Timestamp) -> Leaving {
        let mut leaving = Leaving { first: self.left, ..Leaving::default() };
        if self.cold.is_none() {
            return leaving;
        }
        let is_over =
            |leg: &OutgoingLeg| leg.state == LegState::Void && self.ended.contains_key(&leg.to);
        if !self.ended.is_empty() {
            let over = self.legs.iter().filter(|(_, leg)| is_over(leg));
            leaving.void = over.map(|(index, _)| index).collect();
        }
        let old = self.order.iter().take_while(|(number, _)| *number < before.exchanges);
        for booked in old.filter_map(|(number, id)| self.numbered(*number, *id)) {
            let leg = booked.leaf.and_then(|leaf| Some((leaf, self.legs.leg(leaf)?)));
            let leg = leg.filter(|(_, leg)| !is_over(leg));
            let leaves = match (booked.state, &leg) {
                (ExchangeState::Held | ExchangeState::Final, _) => false,
                (_, None) => true,
                (_, Some((_, leg))) => {
                    leg.state == LegState::Acknowledged && leg.points_back.is_zero()
                }
            };
            if leaves {
                let leg = leg.map(|(leaf, leg)| (leaf, leg.clone()));
                leaving.exchanges.push((booked.clone(), leg));
            }
        }
        self.received.leaving(before.received, own_log, &mut leaving);
        leaving
    }

    /// What has left memory, unless something has happened to it meanwhile.
    pub fn left(&mut self, leaving: &Leaving) {
        self.left = self.left.max(leaving.first + leaving.exchanges.len() as u64);
        for (booked, leg) in &leaving.exchanges {
            let id = booked.requested.id;
            if let Some((leaf, leg)) = leg {
                if self.legs.leg(*leaf).is_some_and(|known| known != leg) {
                    continue;
                }
                self.legs.forget(*leaf);
            }
            if self.exchanges.get(&id).is_some_and(|known| known.state == booked.state) {
                self.exchanges.remove(&id);
            }
        }
        leaving.void.iter().for_each(|leaf| self.legs.forget(*leaf));
        if self.order.len() > 2 * self.exchanges.len() + GONE_MAX {
            let exchanges = &self.exchanges;
            self.order.retain(|(number, id)| {
                exchanges.get(id).is_some_and(|booked| booked.number == *number)
            });
        }
        self.received.left(leaving);
    }

    /// Where the next exchanges will be.
    #[must_use]
    pub fn marks(&self) -> Marks {
        Marks { exchanges: self.next, received: self.received.next() }
    }

    fn numbered(&self, number: u64, id: protocol::ids::RequestId) -> Option<&BookedExchange> {
        self.exchanges.get(&id).filter(|booked| booked.number == number)
    }

    /// Exchanges in memory, the newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &BookedExchange> {
        self.order.iter().rev().filter_map(|(number, id)| self.numbered(*number, *id))
    }

    /// Takes up an exchange, after all that came before it.
    pub fn take_up_exchange(&mut self, mut booked: BookedExchange) {
        self.counts.held += u64::from(booked.state == ExchangeState::Held);
        booked.number = self.next;
        self.next += 1;
        self.order.push_back((booked.number, booked.requested.id));
        self.exchanges.insert(booked.requested.id, booked);
    }
}

/// To a snapshot and back. Each part is given in the order in which it is to be taken up.
impl Book {
    /// Exchanges in memory, in the order in which they came.
    pub fn exchanges(&self) -> impl Iterator<Item = &BookedExchange> {
        self.order.iter().filter_map(|(number, id)| self.numbered(*number, *id))
    }

    /// What this brand has offered as the end of disputes, by who disputes.
    pub fn offered(&self) -> impl Iterator<Item = (BrandId, &DisputeResolved)> {
        self.offered.iter().flat_map(|(brand, all)| all.iter().map(|one| (*brand, one)))
    }

    /// What the own log sends back of exchanges that are still to come in again, after a rebuild.
    pub fn former_returns(&self) -> impl Iterator<Item = (Place, &Vec<Return>)> {
        self.former_returns.iter().map(|(place, back)| (*place, back))
    }

    /// All else, but for what waits and what came in, when this leaves.
    #[must_use]
    pub fn state(&self, leaving: &Leaving) -> BookState {
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
            left: (
                self.left.max(leaving.first + leaving.exchanges.len() as u64),
                self.received.left_with(leaving),
            ),
            ended: pairs(&self.ended),
            void: pairs(&self.void),
        }
    }

    /// Takes up what [`Self::state`] gave.
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
