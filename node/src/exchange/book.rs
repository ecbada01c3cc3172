//! Every exchange of this brand's members from the request to its end, and what came in from others.
//!
//! Pure state over journal records and final blocks: the same calls, live and on replay, give the same
//! book. Protocol rules are `protocol::exchange`'s, members' data the vault's; this only keeps count.
//!
//! In memory is what is open: exchanges that are not answered, those of which something has come back and more
//! still can, and what a snapshot has not taken along yet ([`memory`]). The rest is in the store
//! ([`super::cold`]), found under the same ids and idempotency keys, and comes into memory again when something
//! of it comes back. Nothing that is sent or written depends on the order of a hash map here.

mod copy;
mod ends;
mod exchange;
mod exchanges;
mod memory;
mod others;
mod own;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::amount::{Rate, Value};
use protocol::exchange::{OutgoingLegs, Payload, Return, ReturnError, ReturnReason, SendBackError};
use protocol::ids::{BrandId, Height, LeafIndex, MemberHandle, RequestId};
use protocol::log::resolution::DisputeResolved;
use protocol::shared_map::SharedMap;
use protocol::time::Timestamp;

pub use self::copy::BookCopy;
pub(super) use self::copy::LEAVING_MAX;
pub use self::exchange::{BookedExchange, ExchangeState, reason_code};
use self::exchanges::Exchanges;
pub use self::memory::{BookState, Marks};
use super::cold::{Cold, ColdError};
use super::points::{PointsError, PointsLedger};
use super::received::{Place, ReceivedExchanges};
use super::record::{NodeRecord, Requested, Submission};
use crate::service::{ExchangeCounts, ExchangeKey, Rows};
use crate::vault::MemberId;

/// Exchanges that are looked at for one page.
const LOOKED_AT_MAX: usize = 500;
/// Exchanges that are read at once for a page: where few are wanted, it is not read one by one.
const PIECE_MIN: usize = 64;

/// A link that has ended one way or the other, for the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkAnswer {
    /// The other brand.
    pub brand: BrandId,
    /// Who the member is to it.
    pub handle: MemberHandle,
    /// Whether it was accepted.
    pub accepted: bool,
}

/// Something that cannot be, found while entering what others said or what the journal holds.
#[derive(Debug, thiserror::Error)]
pub enum BookError {
    /// Points that are not there.
    #[error("an exchange's points are not where they should be")]
    Points(#[from] PointsError),
    /// A certified leaf of the own log for which no points are held: sent twice, or never asked for.
    #[error("leaf {0} of the own log sends points that were not held for it")]
    NotHeld(LeafIndex),
    /// A certified return of something that was never sent, or not at this price.
    #[error("brand {log}, block {height}: {error}")]
    Return {
        /// Whose log.
        log: BrandId,
        /// Which block.
        height: Height,
        /// What is wrong.
        error: ReturnError,
    },
    /// Points sent back of an exchange that has not so many.
    #[error(transparent)]
    SendBack(#[from] SendBackError),
    /// The store cannot say what an exchange was.
    #[error(transparent)]
    Cold(#[from] ColdError),
}

/// What was agreed for the exchanges of a block: by the constitution of its epoch.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Until when members may send them back.
    pub until: Timestamp,
    /// Settlement value of a point of this brand.
    pub point_value: Rate,
}

/// The book.
#[derive(Debug, Default)]
pub struct Book {
    exchanges: Exchanges,
    legs: OutgoingLegs,
    // of own blocks that have just become final
    fresh: BTreeMap<Height, Vec<RequestId>>,
    // exchanges that have left memory, and how many
    cold: Option<Cold>,
    left: u64,
    received: ReceivedExchanges,
    applied: BTreeMap<BrandId, Height>,
    // the last block of a log that said something to this brand
    answerable: BTreeMap<BrandId, Height>,
    // submitted and in no block yet
    waiting: VecDeque<Submission>,
    // what this brand has offered as the end of a dispute, by who disputes
    offered: BTreeMap<BrandId, Vec<DisputeResolved>>,
    // logs that have ended, with the last own block that was recognised there
    ended: BTreeMap<BrandId, Height>,
    // what exchanges after that block were worth
    void: BTreeMap<BrandId, Value>,
    // up to which height own blocks have been built in this life
    built: Height,
    // what the own log sends back of exchanges that are still to come in again, after a rebuild
    former_returns: SharedMap<Place, Vec<Return>>,
    counts: ExchangeCounts,
}

/// An exchange of the own log that this node's former life has made.
#[derive(Clone, Copy, Debug)]
pub struct FormerExchange {
    /// Its leaf.
    pub leaf: LeafIndex,
    /// To whom.
    pub to: BrandId,
    /// By what that brand knows the member.
    pub handle: MemberHandle,
}

impl Book {
    /// A book of which a part is in the store.
    #[must_use]
    pub fn with(cold: Cold) -> Self {
        let received = ReceivedExchanges::with(cold.clone());
        Self { cold: Some(cold), received, ..Self::default() }
    }

    /// An exchange by its id.
    ///
    /// # Errors
    /// When it is not in memory and the store cannot say.
    pub fn exchange(&self, id: RequestId) -> Result<Option<BookedExchange>, ColdError> {
        match (self.exchanges.get(&id), &self.cold) {
            (Some(booked), _) => Ok(Some(booked.clone())),
            (None, Some(cold)) if self.left > 0 => cold.exchange(id, self.left),
            (None, _) => Ok(None),
        }
    }

    /// The latest exchanges, newest first.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn latest(&self, limit: usize) -> Result<Vec<BookedExchange>, ColdError> {
        let mut found: Vec<_> = self.newest_first().take(limit).cloned().collect();
        let mut known: BTreeSet<RequestId> = found.iter().map(|it| it.requested.id).collect();
        if let (Some(cold), true) = (&self.cold, found.len() < limit) {
            let colder = cold.latest(self.left, limit)?.into_iter();
            found.extend(colder.filter(|it| known.insert(it.requested.id)));
            found.truncate(limit);
        }
        Ok(found)
    }
    /// Exchanges before a key in the order of time, the latest first: those in memory and those that have left it.
    fn before(
        &self,
        key: Option<ExchangeKey>,
        limit: usize,
    ) -> Result<Vec<BookedExchange>, ColdError> {
        let mut found: Vec<_> = self.exchanges.before(key).take(limit).cloned().collect();
        if let Some(cold) = self.cold.as_ref().filter(|_| self.left > 0) {
            let is_in_memory = |id: &RequestId| self.exchanges.contains_key(id);
            found.extend(cold.exchanges_before(key, (self.left, limit), is_in_memory)?);
            found.sort_by_key(|booked| std::cmp::Reverse(booked.key()));
            found.truncate(limit);
        }
        Ok(found)
    }

    /// A page of the exchanges that are wanted, newest first, before a key; and the key behind which there may be more.
    /// Where few are wanted it ends after so many were looked at, and is not full then.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn page(
        &self,
        key: Option<ExchangeKey>,
        limit: usize,
        is_wanted: impl Fn(&BookedExchange) -> bool,
    ) -> Result<Rows<BookedExchange, ExchangeKey>, ColdError> {
        let (mut found, mut last, mut looked_at) = (Vec::new(), key, 0_usize);
        loop {
            // one more than fits tells whether there is more
            let most = limit.saturating_sub(found.len()).saturating_add(1).max(PIECE_MIN);
            let piece = self.before(last, most)?;
            let is_end = piece.len() < most;
            for booked in piece {
                if found.len() >= limit || looked_at >= LOOKED_AT_MAX {
                    return Ok((found, last));
                }
                looked_at += 1;
                last = Some(booked.key());
                if is_wanted(&booked) {
                    found.push(booked);
                }
            }
            if is_end {
                return Ok((found, None));
            }
        }
    }

    /// A member's latest exchanges, newest first.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn latest_of(
        &self,
        member: MemberId,
        limit: usize,
    ) -> Result<Vec<BookedExchange>, ColdError> {
        let own = self.newest_first().filter(|it| it.requested.member == Some(member));
        let mut found: Vec<_> = own.take(limit).cloned().collect();
        let mut known: BTreeSet<RequestId> = found.iter().map(|it| it.requested.id).collect();
        if let (Some(cold), true) = (&self.cold, found.len() < limit) {
            let colder = cold.latest_of(member, self.left, limit)?.into_iter();
            found.extend(colder.filter(|it| known.insert(it.requested.id)));
            found.truncate(limit);
        }
        Ok(found)
    }
    /// Exchanges whose state is another than when this was last asked; from the first time on.
    pub fn take_changed(&mut self) -> Vec<&BookedExchange> {
        self.exchanges.take_changed()
    }
    /// How many exchanges are in which state.
    #[must_use]
    pub const fn counts(&self) -> &ExchangeCounts {
        &self.counts
    }
    /// Counts a request that was refused. Refusals leave no other trace.
    pub const fn count_refusal(&mut self) {
        self.counts.refused += 1;
    }
    /// The first own block that said something to a brand which it has not recognised.
    #[must_use]
    pub fn unanswered(&self, by: BrandId) -> Option<Height> {
        self.legs.unanswered(by)
    }
    /// Leaves of the own log to other brands, those in memory: all that are not answered are.
    #[must_use]
    pub const fn legs(&self) -> &OutgoingLegs {
        &self.legs
    }
    /// Exchanges that came in from other brands.
    #[must_use]
    pub const fn received(&self) -> &ReceivedExchanges {
        &self.received
    }
    /// What was submitted and is in no block yet.
    pub fn waiting(&self) -> impl Iterator<Item = &Submission> {
        self.waiting.iter()
    }
    /// Up to which height a log has been applied.
    #[must_use]
    pub fn applied(&self, log: BrandId) -> Height {
        self.applied.get(&log).copied().unwrap_or_default()
    }
    /// The last block of a log that said something to this brand.
    #[must_use]
    pub fn answerable(&self, log: BrandId) -> Height {
        self.answerable.get(&log).copied().unwrap_or_default()
    }

    /// Enters a record of the node's own.
    ///
    /// # Errors
    /// When points are not where they should be, or the store cannot say what goes back.
    pub fn enter(
        &mut self,
        record: &NodeRecord,
        points: &mut PointsLedger,
    ) -> Result<(), BookError> {
        match record {
            NodeRecord::Earned(all) => {
                for earned in all {
                    points.earn(earned.key, earned.member, earned.points)?;
                }
            }
            NodeRecord::Requested(all) => {
                for requested in all {
                    self.request(requested, points)?;
                }
            }
            NodeRecord::SendBack(asked) => {
                points.hold(asked.member, asked.points)?;
                self.received.recall((asked.from, asked.leaf))?;
                self.received.send_back(asked)?;
            }
            NodeRecord::Submitted(submission) => self.waiting.push_back(submission.clone()),
            NodeRecord::Withdrawn(submission) => self.withdraw(submission, points)?,
            NodeRecord::Ended(ended) => {
                self.ended.insert(ended.log, ended.read);
                self.void_after_end(ended.log, ended.at, points)?;
            }
            NodeRecord::Erased(member, at) => points.erase(*member, *at),
            NodeRecord::Owned(all) => {
                for owned in all {
                    self.own(owned, points)?;
                }
            }
            NodeRecord::FinalAt(height, at) => {
                for id in self.fresh.remove(height).into_iter().flatten() {
                    if let Some(exchange) = self.exchanges.get_mut(&id) {
                        exchange.final_at = Some(*at);
                    }
                }
            }
            // entered with the block it is about, by the clean room, the clearing, the witness or the
            // programme
            NodeRecord::Applied(_)
            | NodeRecord::Programme(_)
            | NodeRecord::CleanRoom(_)
            | NodeRecord::CloseRequested(_)
            | NodeRecord::Cosigned(_) => {}
        }
        Ok(())
    }

    /// Enters one request: its points are held, and it waits for a block.
    ///
    /// # Errors
    /// When the member has too few points.
    pub fn request(
        &mut self,
        requested: &Requested,
        points: &mut PointsLedger,
    ) -> Result<(), BookError> {
        points.hold(requested.member.ok_or(PointsError::TooFew)?, requested.sent)?;
        self.take_up_exchange(BookedExchange::held(requested.clone()));
        self.waiting.push_back(Submission::Sealed(requested.to, requested.payload()));
        Ok(())
    }

    /// As [`ReceivedExchanges::credited`].
    #[cfg(test)]
    pub(super) fn credited_for_test(&mut self, place: Place, received: super::received::Received) {
        self.received.credited(place, received);
    }

    fn withdraw(
        &mut self,
        submission: &Submission,
        points: &mut PointsLedger,
    ) -> Result<(), BookError> {
        if let Some(place) = self.waiting.iter().position(|waits| waits == submission) {
            self.waiting.remove(place);
        }
        if let Submission::Sealed(from, Payload::Return(back)) = submission
            && back.reason == ReturnReason::Member
            && let Some(asked) = self.received.withdrawn(*from, back)
        {
            points.release(asked.member, asked.points)?;
        }
        let Submission::Sealed(_, Payload::Exchange(exchange)) = submission else { return Ok(()) };
        let booked = self.exchanges.get_mut(&exchange.request);
        if let Some(booked) = booked.filter(|booked| booked.state == ExchangeState::Held) {
            let member = booked.requested.member.ok_or(PointsError::TooFew)?;
            points.release(member, booked.requested.sent)?;
            booked.state = ExchangeState::Withdrawn;
            self.counts.held = self.counts.held.saturating_sub(1);
        }
        Ok(())
    }

    /// Whose exchange is at an own leaf, if it is in memory.
    fn id_at(&self, leaf: LeafIndex) -> Option<RequestId> {
        let Payload::Exchange(exchange) = &self.legs.leg(leaf)?.payload else { return None };
        let booked = self.exchanges.get(&exchange.request)?;
        (booked.leaf == Some(leaf)).then_some(exchange.request)
    }

    /// The exchange of an own leaf, if it is in memory.
    fn at(&mut self, leaf: LeafIndex) -> Option<&mut BookedExchange> {
        let id = self.id_at(leaf)?;
        self.exchanges.get_mut(&id)
    }
}
