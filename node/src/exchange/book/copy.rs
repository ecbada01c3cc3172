//! The book as it is at some moment, for a thread that writes it down while the book goes on: what can leave
//! memory with a snapshot, and the book's part of one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::exchange::{LegState, OutgoingLeg, Return};
use protocol::ids::{BrandId, Height, LeafIndex};
use protocol::log::resolution::DisputeResolved;
use protocol::shared_map::SharedMap;
use protocol::time::Timestamp;

use super::memory::{BookState, Marks};
use super::{BookedExchange, ExchangeState};
use crate::exchange::cold::Leaving;
use crate::exchange::numbered::Numbered;
use crate::exchange::received::{Place, ReceivedCopy};
use crate::exchange::record::Submission;

/// Exchanges that leave memory with one snapshot at most, and as many that came in: the store takes far longer for
/// them than the journal has.
pub(in crate::exchange) const LEAVING_MAX: usize = 100_000;

/// All of it that a snapshot has.
#[derive(Debug)]
pub struct BookCopy {
    pub(super) exchanges: Numbered<BookedExchange>,
    pub(super) legs: SharedMap<LeafIndex, OutgoingLeg>,
    pub(super) ended: BTreeMap<BrandId, Height>,
    // how many have left memory; none when nothing can
    pub(super) left: Option<u64>,
    pub(super) state: BookState,
    /// Exchanges that came in.
    pub received: ReceivedCopy,
    /// What was submitted and is in no block yet.
    pub waiting: VecDeque<Submission>,
    /// What this brand has offered as the end of disputes, by who disputes.
    pub offered: BTreeMap<BrandId, Vec<DisputeResolved>>,
    /// What the own log sends back of exchanges that are still to come in again, after a rebuild.
    pub former_returns: SharedMap<Place, Vec<Return>>,
}

impl BookCopy {
    /// What can leave memory with a snapshot: answered exchanges that came before the one with this number,
    /// and what came in before that one, but for those of which something has come back and more may. From a
    /// log that has ended nothing comes back.
    #[must_use]
    pub fn leaving(&self, before: Marks, own_log: Timestamp) -> Leaving {
        let Some(left) = self.left else { return Leaving::default() };
        let mut leaving = Leaving { first: left, ..Leaving::default() };
        let is_over =
            |leg: &OutgoingLeg| leg.state == LegState::Void && self.ended.contains_key(&leg.to);
        if !self.ended.is_empty() {
            let over = self.legs.iter().filter(|(_, leg)| is_over(leg));
            leaving.void = over.map(|(index, _)| *index).collect();
        }
        let old = self.exchanges.iter().take_while(|(number, _)| *number < before.exchanges);
        for (_, booked) in old {
            if leaving.exchanges.len() >= LEAVING_MAX {
                break;
            }
            let leg = booked.leaf.and_then(|leaf| Some((leaf, self.legs.get(&leaf)?)));
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

    /// Exchanges that are in memory still when these have left, in the order in which they came.
    pub fn exchanges(&self, leaving: &Leaving) -> impl Iterator<Item = &BookedExchange> {
        let ids: BTreeSet<_> = leaving.exchanges.iter().map(|(it, _)| it.requested.id).collect();
        let all = self.exchanges.iter().map(|(_, booked)| booked);
        all.filter(move |it| !ids.contains(&it.requested.id))
    }

    /// Leaves of the own log that are then, in its order.
    pub fn legs(&self, leaving: &Leaving) -> impl Iterator<Item = (LeafIndex, &OutgoingLeg)> {
        let leaves = leaving.exchanges.iter().filter_map(|(_, leg)| Some(leg.as_ref()?.0));
        let gone: BTreeSet<_> = leaves.chain(leaving.void.iter().copied()).collect();
        let legs = self.legs.iter().filter(move |(index, _)| !gone.contains(index));
        legs.map(|(index, leg)| (*index, leg))
    }

    /// All else, but for what waits and what came in.
    #[must_use]
    pub fn state(&self, leaving: &Leaving) -> BookState {
        let left = self.state.left;
        let after = |first: u64, count: usize| first + count as u64;
        BookState {
            left: (
                left.0.max(after(leaving.first, leaving.exchanges.len())),
                left.1.max(after(leaving.first_received, leaving.received.len())),
            ),
            ..self.state.clone()
        }
    }
}
