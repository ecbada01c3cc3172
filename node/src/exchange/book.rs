//! Every exchange of this brand's members from the request to its end, and what came in from others.
//!
//! Pure state over journal records and final blocks: the same calls, live and on replay, give the same
//! book. Protocol rules are `protocol::exchange`'s, members' data the vault's; this only keeps count.
//!
//! In memory is what is open: exchanges that are not answered, those of which something has come back and more
//! still can, and what a snapshot has not taken along yet. The rest is in the store ([`super::cold`]), found under
//! the same ids and idempotency keys, and comes into memory again when something of it comes back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use minicbor::{Decode, Encode};
use protocol::amount::{Points, Rate};
use protocol::exchange::{
    IncomingLeg, LegState, OutgoingLeg, OutgoingLegs, Payload, ReturnError, ReturnReason,
    SendBackError,
};
use protocol::ids::{BrandId, Height, LeafIndex, MemberHandle, RequestId};
use protocol::time::Timestamp;
use protocol::witness::build::OwnBlock;
use protocol::witness::state::FinalBlock;

use super::cold::{Cold, ColdError, Leaving};
use super::points::{PointsError, PointsLedger};
use super::received::{Received, ReceivedExchanges};
use super::record::{Applied, NodeRecord, Requested, Submission};
use crate::service::{ExchangeCounts, ExchangeView};

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub enum ExchangeState {
    /// Points held, not in a final block.
    #[n(0)]
    Held,
    /// In a final block: it stands.
    #[n(1)]
    Final,
    /// The other side has recognised it.
    #[n(2)]
    Acknowledged,
    /// The other side has sent it back.
    #[n(3)]
    Returned(#[n(0)] ReturnReason),
    /// It never was in a block: the rate changed before, or the brand left. Its points are free again.
    #[n(4)]
    Withdrawn,
}

/// One exchange.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(array)]
pub struct BookedExchange {
    /// What was asked for.
    #[n(0)]
    pub requested: Requested,
    /// How far it has come.
    #[n(1)]
    pub state: ExchangeState,
    // how much of it has come back
    #[n(2)]
    points_back: Points,
    #[n(3)]
    leaf: Option<LeafIndex>,
    #[n(4)]
    height: Option<Height>,
    #[n(5)]
    final_at: Option<Timestamp>,
    #[n(6)]
    answered_at: Option<Timestamp>,
    // its place in the order of this run
    #[cbor(skip)]
    number: u64,
}

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
    exchanges: BTreeMap<RequestId, BookedExchange>,
    // by number, in the order they came
    order: BTreeMap<u64, RequestId>,
    next: u64,
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
    // up to which height own blocks have been built
    built: Height,
    counts: ExchangeCounts,
}

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
    /// Exchanges by state: final, acknowledged, returned, credited, sent back, ever.
    #[n(3)]
    pub counts: [u64; 5],
    /// What each brand still owes because points are whole, in micro-fen: the upper and the lower half.
    #[n(4)]
    pub residues: Vec<(BrandId, u64, u64)>,
    /// How many exchanges have left memory, and how many that came in.
    #[n(5)]
    pub left: (u64, u64),
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
            (None, Some(cold)) if self.left > 0 => cold.exchange(id),
            (None, _) => Ok(None),
        }
    }

    /// The latest exchanges, newest first.
    ///
    /// # Errors
    /// When the store cannot say.
    pub fn latest(&self, limit: usize) -> Result<Vec<BookedExchange>, ColdError> {
        let hot = self.order.values().rev().take(limit);
        let mut found: Vec<_> = hot.filter_map(|id| self.exchanges.get(id)).cloned().collect();
        let mut known: BTreeSet<RequestId> = found.iter().map(|it| it.requested.id).collect();
        if let (Some(cold), true) = (&self.cold, found.len() < limit) {
            let colder = cold.latest(self.left, limit)?.into_iter();
            found.extend(colder.filter(|it| known.insert(it.requested.id)));
            found.truncate(limit);
        }
        Ok(found)
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
    /// When points are not where they should be.
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
            NodeRecord::FinalAt(height, at) => {
                for id in self.fresh.remove(height).into_iter().flatten() {
                    if let Some(exchange) = self.exchanges.get_mut(&id) {
                        exchange.final_at = Some(*at);
                    }
                }
            }
            // entered with the block it is about, by the clean room, the clearing or the witness
            NodeRecord::Applied(_)
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
        points.hold(requested.member, requested.sent)?;
        let booked = BookedExchange {
            requested: requested.clone(),
            state: ExchangeState::Held,
            points_back: Points::ZERO,
            leaf: None,
            height: None,
            final_at: None,
            answered_at: None,
            number: 0,
        };
        self.take_up_exchange(booked);
        self.waiting.push_back(Submission::Sealed(requested.to, requested.payload()));
        Ok(())
    }

    fn withdraw(
        &mut self,
        submission: &Submission,
        points: &mut PointsLedger,
    ) -> Result<(), BookError> {
        if let Some(place) = self.waiting.iter().position(|waits| waits == submission) {
            self.waiting.remove(place);
        }
        let Submission::Sealed(_, Payload::Exchange(exchange)) = submission else { return Ok(()) };
        let booked = self.exchanges.get_mut(&exchange.request);
        if let Some(booked) = booked.filter(|booked| booked.state == ExchangeState::Held) {
            points.release(booked.requested.member, booked.requested.sent)?;
            booked.state = ExchangeState::Withdrawn;
            self.counts.held = self.counts.held.saturating_sub(1);
        }
        Ok(())
    }

    /// What was submitted is in a block that has been built: it need not be submitted again.
    pub fn built(&mut self, block: &OwnBlock) {
        // a block built anew takes what the first one took, and nothing equal that came since
        if block.reference().height <= self.built {
            return;
        }
        self.built = block.reference().height;
        // a block has its payloads by counterparty, what waits is in the order in which it came: one
        // pass over what waits, whatever the number
        let mut public = block.public();
        let mut exchanges = BTreeSet::new();
        let mut others = Vec::new();
        for sent in block.payloads() {
            match &sent.payload {
                Payload::Exchange(exchange) => {
                    exchanges.insert(exchange.request);
                }
                _ => others.push((sent.to, &sent.payload)),
            }
        }
        self.waiting.retain(|waits| match waits {
            Submission::Public(entry) => !take_one(&mut public, |one| one == entry),
            Submission::Sealed(_, Payload::Exchange(exchange)) => {
                !exchanges.remove(&exchange.request)
            }
            Submission::Sealed(to, payload) => {
                !take_one(&mut others, |(other, one)| other == to && *one == payload)
            }
        });
    }

    /// An own block, made at a time, is final: its exchanges stand and may come back until another; the
    /// points held for them, and for what goes back, are gone.
    ///
    /// # Errors
    /// When points are not where they should be; the rest of the block is entered all the same.
    pub fn written(
        &mut self,
        block: &OwnBlock,
        (at, until): (Timestamp, Timestamp),
        points: &mut PointsLedger,
    ) -> Result<(), BookError> {
        let height = block.reference().height;
        let mut wrong = None;
        for sent in block.payloads() {
            self.legs.certified(sent.index, height, until, sent.to, sent.payload.clone());
            if let Payload::Return(back) = &sent.payload
                && back.reason == ReturnReason::Member
                && let Some(received) = self.received.hot((sent.to, back.original))
                && let Err(error) = points.send_back(received.member, back.points)
            {
                wrong = Some(error.into());
            }
            if let Payload::Return(back) = &sent.payload {
                self.received.went_back((sent.to, back.original), back.reason);
            }
            let Payload::Exchange(exchange) = &sent.payload else { continue };
            let held = self.exchanges.get_mut(&exchange.request);
            let Some(booked) = held.filter(|known| known.state == ExchangeState::Held) else {
                wrong = Some(BookError::NotHeld(sent.index));
                continue;
            };
            if let Err(error) = points.burn(booked.requested.member, exchange.sent) {
                wrong = Some(error.into());
                continue;
            }
            booked.state = ExchangeState::Final;
            booked.leaf = Some(sent.index);
            booked.height = Some(height);
            booked.final_at = Some(at);
            self.fresh.entry(height).or_default().push(exchange.request);
            self.counts.held = self.counts.held.saturating_sub(1);
            self.counts.r#final += 1;
        }
        wrong.map_or(Ok(()), Err)
    }

    /// A final block of another log, with what was decided about it: credits, what comes back from it,
    /// what it acknowledges. Gives the links it answers.
    ///
    /// # Errors
    /// When it returns what was never sent, or points leave their range; the rest of the block is
    /// entered all the same. [`BookError::Cold`] when the store cannot say what comes back: then the block
    /// is not entered, and the node must not go on.
    pub fn apply(
        &mut self,
        me: BrandId,
        block: &FinalBlock,
        applied: &Applied,
        terms: Terms,
        points: &mut PointsLedger,
    ) -> Result<Vec<LinkAnswer>, BookError> {
        let (log, height) = (block.block.log, block.block.height);
        let mut answers = Vec::new();
        let mut wrong = None;
        let payloads = block.payloads.as_deref().unwrap_or_default();
        for credit in &applied.credits {
            match points.credit(credit.member, credit.points) {
                Ok(()) => self.counts.credited += 1,
                Err(error) => wrong = Some(error.into()),
            }
            let place = payloads.partition_point(|(leaf, _)| *leaf < credit.leaf);
            if let Some((_, Payload::Exchange(exchange))) = payloads.get(place) {
                let leg = IncomingLeg::new(exchange, terms.point_value, terms.until);
                let received = Received { member: credit.member, leg };
                self.received.credited((log, credit.leaf), received);
            }
        }
        let exchanges = payloads.iter().filter(|(_, p)| matches!(p, Payload::Exchange(_))).count();
        let credited = applied.credits.len();
        self.counts.sent_back += u64::try_from(exchanges.saturating_sub(credited)).unwrap_or(0);
        for (_, payload) in payloads {
            let Payload::Return(back) = payload else { continue };
            self.recall(log, back.original)?;
            let (taken, whole) = match self.legs.returned(log, back, block.header.time) {
                Err(error) => {
                    wrong = Some(BookError::Return { log, height, error });
                    continue;
                }
                Ok(taken) => {
                    if let Payload::Link(link) = &taken.leg.payload {
                        let handle = link.handle;
                        answers.push(LinkAnswer { brand: log, handle, accepted: false });
                    }
                    (taken.points, taken.whole)
                }
            };
            wrong = self.give_back(back.original, taken, points).err().or(wrong);
            if whole {
                wrong = self.end(back.original, applied.at, Some(back.reason)).err().or(wrong);
            }
        }
        // what a block in dispute recognises may come with returns that cannot be read
        let recognised = (block.header.column(me))
            .filter(|_| block.payloads.is_ok())
            .map(|column| column.recognised.height);
        for leaf in self.legs.recognised(log, recognised.unwrap_or_default()) {
            match self.legs.leg(leaf).map(|leg| (&leg.payload, leg.state)) {
                Some((Payload::Link(link), LegState::Acknowledged)) => {
                    let handle = link.handle;
                    answers.push(LinkAnswer { brand: log, handle, accepted: true });
                }
                Some((Payload::Exchange(_), LegState::Acknowledged)) => {
                    wrong = self.end(leaf, applied.at, None).err().or(wrong);
                }
                _ => {}
            }
        }
        self.applied.insert(log, height);
        if !payloads.is_empty() {
            self.answerable.insert(log, height);
        }
        // of what is answered and whose window is over nothing comes back
        drop(self.legs.settle(log, block.header.time));
        wrong.map_or(Ok(answers), Err)
    }

    /// Brings an exchange into memory of which something comes back.
    fn recall(&mut self, by: BrandId, leaf: LeafIndex) -> Result<(), ColdError> {
        let Some(cold) = self.cold.as_ref().filter(|_| self.legs.leg(leaf).is_none()) else {
            return Ok(());
        };
        if let Some((booked, leg)) = cold.leg(leaf)?.filter(|(_, leg)| leg.to == by) {
            self.legs.take_up(leaf, leg);
            if !self.exchanges.contains_key(&booked.requested.id) {
                self.take_up_exchange(booked);
            }
        }
        Ok(())
    }

    /// What can leave memory with a snapshot: answered exchanges that came before the one with this number,
    /// and what came in before that one, but for those of which something has come back and more may.
    #[must_use]
    pub fn leaving(&self, before: Marks, own_log: Timestamp) -> Leaving {
        let mut leaving = Leaving { first: self.left, ..Leaving::default() };
        if self.cold.is_none() {
            return leaving;
        }
        let old = self.order.range(..before.exchanges).filter_map(|(_, id)| self.exchanges.get(id));
        for booked in old {
            let leg = booked.leaf.and_then(|leaf| Some((leaf, self.legs.leg(leaf)?)));
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
                self.forget(id);
            }
        }
        self.received.left(leaving);
    }

    /// Where the next exchanges will be.
    #[must_use]
    pub fn marks(&self) -> Marks {
        Marks { exchanges: self.next, received: self.received.next() }
    }

    fn forget(&mut self, id: RequestId) {
        if let Some(booked) = self.exchanges.remove(&id) {
            self.order.remove(&booked.number);
        }
    }

    /// The exchange of an own leaf.
    fn at(&mut self, leaf: LeafIndex) -> Option<&mut BookedExchange> {
        let Payload::Exchange(exchange) = &self.legs.leg(leaf)?.payload else { return None };
        let booked = self.exchanges.get_mut(&exchange.request);
        booked.filter(|booked| booked.leaf == Some(leaf))
    }

    /// Some of what an exchange sent is its member's again.
    fn give_back(
        &mut self,
        leaf: LeafIndex,
        back: Points,
        points: &mut PointsLedger,
    ) -> Result<(), BookError> {
        let Some(booked) = self.at(leaf) else { return Ok(()) };
        points.restore(booked.requested.member, back)?;
        booked.points_back = booked.points_back.plus(back).unwrap_or(booked.points_back);
        Ok(())
    }

    fn end(
        &mut self,
        leaf: LeafIndex,
        at: Timestamp,
        returned: Option<ReturnReason>,
    ) -> Result<(), BookError> {
        let Some(Payload::Exchange(exchange)) = self.legs.leg(leaf).map(|leg| &leg.payload) else {
            return Ok(());
        };
        let booked = self.exchanges.get_mut(&exchange.request);
        let Some(booked) = booked.filter(|booked| booked.leaf == Some(leaf)) else {
            return Ok(());
        };
        match booked.state {
            ExchangeState::Final => self.counts.r#final = self.counts.r#final.saturating_sub(1),
            ExchangeState::Acknowledged => {
                self.counts.acknowledged = self.counts.acknowledged.saturating_sub(1);
            }
            ExchangeState::Held | ExchangeState::Returned(_) | ExchangeState::Withdrawn => {
                return Ok(());
            }
        }
        booked.answered_at = Some(at);
        if let Some(reason) = returned {
            booked.state = ExchangeState::Returned(reason);
            self.counts.returned += 1;
        } else {
            booked.state = ExchangeState::Acknowledged;
            self.counts.acknowledged += 1;
        }
        Ok(())
    }
}

/// To a snapshot and back. Each part is given in the order in which it is to be taken up.
impl Book {
    /// Exchanges in memory, in the order in which they came.
    pub fn exchanges(&self) -> impl Iterator<Item = &BookedExchange> {
        self.order.values().filter_map(|id| self.exchanges.get(id))
    }
    /// Leaves of the own log that are in memory.
    pub fn legs(&self) -> impl Iterator<Item = (LeafIndex, &OutgoingLeg)> {
        self.legs.iter()
    }

    /// All else, but for what waits and what came in, when this leaves.
    #[must_use]
    pub fn state(&self, leaving: &Leaving) -> BookState {
        let counts = &self.counts;
        let pairs = |heights: &BTreeMap<BrandId, Height>| {
            heights.iter().map(|(brand, height)| (*brand, *height)).collect()
        };
        let halves = |residue: u128| ((residue >> 64) as u64, residue as u64);
        let residues = self.received.residues().iter().map(|(brand, residue)| {
            let (upper, lower) = halves(*residue);
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
                counts.credited,
                counts.sent_back,
            ],
            residues: residues.collect(),
            left: (
                self.left.max(leaving.first + leaving.exchanges.len() as u64),
                self.received.left_with(leaving),
            ),
        }
    }

    /// Takes up what [`Self::state`] gave.
    pub fn take_up(&mut self, state: &BookState) {
        self.applied = state.applied.iter().copied().collect();
        self.answerable = state.answerable.iter().copied().collect();
        self.built = state.built;
        let [r#final, acknowledged, returned, credited, sent_back] = state.counts;
        let (held, refused) = (self.counts.held, 0);
        self.counts =
            ExchangeCounts { held, r#final, acknowledged, returned, refused, credited, sent_back };
        self.left = state.left.0;
        let residues = state.residues.iter();
        let whole = |upper: u64, lower: u64| u128::from(upper) << 64 | u128::from(lower);
        self.received.take_up_residues(
            residues.map(|(brand, upper, lower)| (*brand, whole(*upper, *lower))).collect(),
            state.left.1,
        );
    }

    /// Takes up an exchange.
    pub fn take_up_exchange(&mut self, mut booked: BookedExchange) {
        self.counts.held += u64::from(booked.state == ExchangeState::Held);
        booked.number = self.next;
        self.next += 1;
        self.order.insert(booked.number, booked.requested.id);
        self.exchanges.insert(booked.requested.id, booked);
    }

    /// Takes up a leaf of the own log.
    pub fn take_up_leg(&mut self, index: LeafIndex, leg: OutgoingLeg) {
        self.legs.take_up(index, leg);
    }

    /// Exchanges that came in, to take them up.
    pub const fn received_mut(&mut self) -> &mut ReceivedExchanges {
        &mut self.received
    }
}

impl BookedExchange {
    /// The own block it is in, once that is final.
    #[must_use]
    pub const fn height(&self) -> Option<Height> {
        self.height
    }
    /// Its leaf in the own log, once it is in a final block.
    #[must_use]
    pub const fn leaf(&self) -> Option<LeafIndex> {
        self.leaf
    }

    /// What people see of it.
    #[must_use]
    pub fn view(&self) -> ExchangeView {
        let (state, reason) = match self.state {
            ExchangeState::Held => ("held", None),
            ExchangeState::Final => ("final", None),
            ExchangeState::Acknowledged => ("acknowledged", None),
            ExchangeState::Returned(reason) => ("returned", Some(reason_code(reason))),
            ExchangeState::Withdrawn => ("withdrawn", None),
        };
        let requested = &self.requested;
        ExchangeView {
            id: requested.id.to_string(),
            to: requested.to.to_string(),
            state: state.to_owned(),
            points_sent: requested.sent.get(),
            points_received: requested.received.get(),
            points_back: self.points_back.get(),
            owed_micro_fen: requested.owed.get(),
            leaf: self.leaf.map(LeafIndex::get),
            height: self.height.map(Height::get),
            requested_ms: requested.at.unix_ms(),
            final_ms: self.final_at.map(Timestamp::unix_ms),
            answered_ms: self.answered_at.map(Timestamp::unix_ms),
            return_reason: reason.map(str::to_owned),
        }
    }
}

/// Takes the first that fits out of a list; says whether there was one.
fn take_one<T>(list: &mut Vec<T>, fits: impl Fn(&T) -> bool) -> bool {
    let place = list.iter().position(fits);
    place.is_some_and(|place| {
        list.remove(place);
        true
    })
}

/// The stable code of a reason, as in the API.
#[must_use]
pub const fn reason_code(reason: ReturnReason) -> &'static str {
    match reason {
        ReturnReason::LinkCode => "link_code",
        ReturnReason::NotLinked => "not_linked",
        ReturnReason::AccountClosed => "account_closed",
        ReturnReason::ReceiverLimit => "receiver_limit",
        ReturnReason::Member => "member",
    }
}
