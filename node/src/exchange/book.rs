//! Every exchange of this brand's members from the request to its end, and what came in from others.
//!
//! Pure state over journal records and final blocks: the same calls, live and on replay, give the same
//! book. Protocol rules are `protocol::exchange`'s, members' data the vault's; this only keeps count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::amount::{Points, Rate, Value};
use protocol::exchange::{
    Exchange, IncomingLeg, LegState, OutgoingLegs, Payload, Return, ReturnError, ReturnReason,
    SendBackError,
};
use protocol::ids::{BrandId, Height, LeafIndex, MemberHandle, RequestId};
use protocol::log::block::PublicEntry;
use protocol::log::resolution::DisputeResolved;
use protocol::time::Timestamp;
use protocol::witness::build::{OwnBlock, SentPayload};
use protocol::witness::state::FinalBlock;

use super::points::{PointsError, PointsLedger};
use super::received::{Place, Received, ReceivedExchanges};
use super::record::{Applied, Ended, NodeRecord, Owned, Requested, Submission};
use crate::service::{ExchangeCounts, ExchangeView};
use crate::vault::MemberId;

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeState {
    /// Points held, not in a final block.
    Held,
    /// In a final block: it stands.
    Final,
    /// The other side has recognised it.
    Acknowledged,
    /// The other side has sent it back.
    Returned(ReturnReason),
    /// It never was in a block: the rate changed before, or the brand left. Its points are free again.
    Withdrawn,
    /// It was in a block and never counts: both brands agreed so after a dispute, or the other's log ended
    /// without recognising it. Its points are the member's again.
    Void,
}

/// One exchange.
#[derive(Clone, Debug)]
pub struct BookedExchange {
    /// What was asked for.
    pub requested: Requested,
    /// How far it has come.
    pub state: ExchangeState,
    // how much of it has come back
    points_back: Points,
    leaf: Option<LeafIndex>,
    height: Option<Height>,
    final_at: Option<Timestamp>,
    answered_at: Option<Timestamp>,
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
    // requests in the order they came
    order: Vec<RequestId>,
    legs: OutgoingLegs,
    by_leaf: BTreeMap<LeafIndex, RequestId>,
    by_height: BTreeMap<Height, Vec<RequestId>>,
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
    former_returns: BTreeMap<Place, Vec<Return>>,
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
    /// An exchange by its id.
    #[must_use]
    pub fn exchange(&self, id: RequestId) -> Option<&BookedExchange> {
        self.exchanges.get(&id)
    }
    /// The latest exchanges, newest first.
    pub fn latest(&self, limit: usize) -> impl Iterator<Item = &BookedExchange> {
        self.order.iter().rev().take(limit).filter_map(|id| self.exchanges.get(id))
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
    /// Every leaf of the own log to another brand.
    #[must_use]
    pub const fn legs(&self) -> &OutgoingLegs {
        &self.legs
    }
    /// The last own block that a log recognised which has ended.
    #[must_use]
    pub fn ended(&self, log: BrandId) -> Option<Height> {
        self.ended.get(&log).copied()
    }
    /// What exchanges were worth that an ended log never recognised.
    #[must_use]
    pub fn void_to(&self, log: BrandId) -> Value {
        self.void.get(&log).copied().unwrap_or_default()
    }
    /// What was sent back to an ended log after the last own block that it recognised.
    #[must_use]
    pub fn returned_late_to(&self, log: BrandId) -> Value {
        let Some(read) = self.ended(log) else { return Value::ZERO };
        let late = self.legs.iter().filter(|(_, leg)| {
            leg.to == log && leg.height > read && matches!(leg.payload, Payload::Return(_))
        });
        let values = late.map(|(_, leg)| leg.payload.value());
        values.fold(Value::ZERO, |sum, value| sum.plus(value).unwrap_or(Value::MAX))
    }
    /// Link requests that a log's end leaves unanswered for ever.
    #[must_use]
    pub fn links_void_by(&self, it: &Ended) -> Vec<LinkAnswer> {
        let open = self.legs.iter().filter(|(_, leg)| {
            leg.to == it.log && leg.height > it.read && leg.state == LegState::Final
        });
        let answers = open.filter_map(|(_, leg)| match &leg.payload {
            Payload::Link(link) => {
                Some(LinkAnswer { brand: it.log, handle: link.handle, accepted: false })
            }
            _ => None,
        });
        answers.collect()
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
                self.received.send_back(asked)?;
            }
            NodeRecord::Submitted(submission) => self.waiting.push_back(submission.clone()),
            NodeRecord::Withdrawn(submission) => self.withdraw(submission, points)?,
            NodeRecord::Ended(ended) => {
                self.ended.insert(ended.log, ended.read);
                self.void_after_end(ended.log, ended.at, points)?;
            }
            NodeRecord::Owned(all) => {
                for owned in all {
                    self.own(owned, points)?;
                }
            }
            NodeRecord::FinalAt(height, at) => {
                for id in self.by_height.get(height).into_iter().flatten() {
                    if let Some(exchange) = self.exchanges.get_mut(id) {
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
        self.counts.held += 1;
        self.order.push(requested.id);
        let booked = BookedExchange {
            requested: requested.clone(),
            state: ExchangeState::Held,
            points_back: Points::ZERO,
            leaf: None,
            height: None,
            final_at: None,
            answered_at: None,
        };
        self.exchanges.insert(requested.id, booked);
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
            let member = booked.requested.member.ok_or(PointsError::TooFew)?;
            points.release(member, booked.requested.sent)?;
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
        self.taken(block);
    }

    /// What is in a block that came back need not be submitted again.
    pub fn rebuilt(&mut self, block: &OwnBlock) {
        self.taken(block);
    }

    fn taken(&mut self, block: &OwnBlock) {
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
    /// points held for them, and for what goes back, are gone. Gives the exchanges that nobody asked for in
    /// this life of the node: whose they are is for the vault to say ([`NodeRecord::Owned`]).
    ///
    /// # Errors
    /// When points are not where they should be; the rest of the block is entered all the same.
    pub fn written(
        &mut self,
        block: &OwnBlock,
        (at, until): (Timestamp, Timestamp),
        points: &mut PointsLedger,
    ) -> (Vec<FormerExchange>, Result<(), BookError>) {
        let height = block.reference().height;
        let is_former = height > self.built;
        let mut former = Vec::new();
        let mut wrong = None;
        for sent in block.payloads() {
            self.legs.certified(sent.index, height, until, sent.to, sent.payload.clone());
            if let Payload::Return(back) = &sent.payload {
                let place = (sent.to, back.original);
                if is_former {
                    wrong = self.returned_before(place, back, points).err().or(wrong);
                } else if back.reason == ReturnReason::Member
                    && let Some(member) = self.received.at(place).and_then(|known| known.member)
                    && let Err(error) = points.send_back(member, back.points)
                {
                    wrong = Some(error.into());
                }
            }
            let Payload::Exchange(exchange) = &sent.payload else { continue };
            if is_former && !self.exchanges.contains_key(&exchange.request) {
                former.push(self.came_back(sent, exchange, (height, at)));
                continue;
            }
            let held = self.exchanges.get_mut(&exchange.request);
            let Some(booked) = held.filter(|known| known.state == ExchangeState::Held) else {
                wrong = Some(BookError::NotHeld(sent.index));
                continue;
            };
            let burned = booked.requested.member.ok_or(PointsError::TooFew);
            let burned = burned.and_then(|member| points.burn(member, exchange.sent));
            if let Err(error) = burned {
                wrong = Some(error.into());
                continue;
            }
            booked.state = ExchangeState::Final;
            booked.leaf = Some(sent.index);
            booked.height = Some(height);
            booked.final_at = Some(at);
            self.by_leaf.insert(sent.index, exchange.request);
            self.by_height.entry(height).or_default().push(exchange.request);
            self.counts.held = self.counts.held.saturating_sub(1);
            self.counts.r#final += 1;
        }
        for entry in block.public() {
            if let PublicEntry::DisputeResolved(it) = entry
                && it.accused == block.reference().log
            {
                self.offered.entry(it.accuser).or_default().push(*it);
            }
        }
        // a block that was open when another's log ended
        for log in self.ended.keys().copied().collect::<Vec<_>>() {
            wrong = self.void_after_end(log, at, points).err().or(wrong);
        }
        (former, wrong.map_or(Ok(()), Err))
    }

    /// An exchange of a former life: it stands, and whose it was is not known yet.
    fn came_back(
        &mut self,
        sent: &SentPayload,
        exchange: &Exchange,
        (height, at): (Height, Timestamp),
    ) -> FormerExchange {
        let (id, leaf, to, handle) = (exchange.request, sent.index, sent.to, exchange.handle);
        let requested = Requested {
            id,
            request: None,
            member: None,
            to,
            sent: exchange.sent,
            received: exchange.received,
            owed: exchange.owed,
            at,
            handle,
        };
        let booked = BookedExchange {
            requested,
            state: ExchangeState::Final,
            points_back: Points::ZERO,
            leaf: Some(leaf),
            height: Some(height),
            final_at: Some(at),
            answered_at: None,
        };
        self.order.push(id);
        self.exchanges.insert(id, booked);
        self.by_leaf.insert(leaf, id);
        self.by_height.entry(height).or_default().push(id);
        self.counts.r#final += 1;
        FormerExchange { leaf, to, handle }
    }

    /// Whose an exchange of a former life was: the points are gone from that balance.
    fn own(&mut self, owned: &Owned, points: &mut PointsLedger) -> Result<(), BookError> {
        let id = self.by_leaf.get(&owned.leaf).copied();
        let booked = id.and_then(|id| self.exchanges.get_mut(&id));
        let booked = booked.ok_or(BookError::NotHeld(owned.leaf))?;
        // what is void meanwhile never left
        if booked.state != ExchangeState::Void {
            points.burned_before(owned.member, booked.requested.sent)?;
        }
        booked.requested.member = Some(owned.member);
        Ok(())
    }

    /// What a former life sent back: of an exchange that is known here, or comes in again later.
    fn returned_before(
        &mut self,
        place: Place,
        back: &Return,
        points: &mut PointsLedger,
    ) -> Result<(), BookError> {
        let Some(received) = self.received.at(place).copied() else {
            self.former_returns.entry(place).or_default().push(back.clone());
            return Ok(());
        };
        if back.reason != ReturnReason::Member {
            return Ok(());
        }
        self.received.sent_back_before(place, back)?;
        if let Some(member) = received.member {
            points.sent_back_before(member, back.points)?;
        }
        Ok(())
    }

    /// An exchange that a former life had decided about comes in again: what the own log does not send
    /// back was credited.
    fn credited_before(
        &mut self,
        place: Place,
        (exchange, owner): (&Exchange, Option<MemberId>),
        terms: Terms,
        points: &mut PointsLedger,
    ) -> Result<(), BookError> {
        let back = self.former_returns.remove(&place).unwrap_or_default();
        if back.iter().any(|back| back.reason != ReturnReason::Member) {
            self.counts.sent_back += 1;
            return Ok(());
        }
        self.counts.credited += 1;
        let leg = IncomingLeg::new(exchange, terms.point_value, terms.until);
        self.received.credited(place, Received { member: owner, leg });
        if let Some(member) = owner {
            points.credit(member, exchange.received)?;
        }
        back.iter().try_for_each(|back| self.returned_before(place, back, points))
    }

    /// What an ended log never recognised: exchanges and link requests are void. Returns are not: they
    /// lower what it owes.
    fn void_after_end(
        &mut self,
        log: BrandId,
        at: Timestamp,
        points: &mut PointsLedger,
    ) -> Result<(), BookError> {
        let Some(read) = self.ended.get(&log).copied() else { return Ok(()) };
        let void = self
            .legs
            .void(log, |_, leg| leg.height > read && !matches!(leg.payload, Payload::Return(_)));
        let worth = void.iter().map(|(_, payload)| payload.value());
        let sum = self.void.entry(log).or_default();
        *sum = worth.fold(*sum, |sum, value| sum.plus(value).unwrap_or(Value::MAX));
        self.give_back_void(void, at, points)
    }

    /// The points of exchanges that never count are their members' again: what had not come back.
    fn give_back_void(
        &mut self,
        void: Vec<(LeafIndex, Payload)>,
        at: Timestamp,
        points: &mut PointsLedger,
    ) -> Result<(), BookError> {
        let mut wrong = None;
        for (leaf, _) in void {
            let id = self.by_leaf.get(&leaf).copied();
            let Some(booked) = id.and_then(|id| self.exchanges.get_mut(&id)) else { continue };
            let left = booked.requested.sent.saturating_minus(booked.points_back);
            // whose they were may not be known after a rebuild: then the brand keeps them
            let restored = booked.requested.member.map(|member| points.restore(member, left));
            if let Some(Err(error)) = restored {
                wrong = Some(error.into());
                continue;
            }
            match booked.state {
                ExchangeState::Final => self.counts.r#final = self.counts.r#final.saturating_sub(1),
                ExchangeState::Acknowledged => {
                    self.counts.acknowledged = self.counts.acknowledged.saturating_sub(1);
                }
                _ => {}
            }
            booked.points_back = booked.requested.sent;
            booked.answered_at = Some(at);
            booked.state = ExchangeState::Void;
            self.counts.void += 1;
        }
        wrong.map_or(Ok(()), Err)
    }

    /// The other side has agreed to what this brand offered as the end of a dispute: its leaves that do
    /// not stand are void. Gives the link requests among them.
    fn resolve(
        &mut self,
        me: BrandId,
        log: BrandId,
        it: &DisputeResolved,
        at: Timestamp,
        points: &mut PointsLedger,
    ) -> Result<Vec<LinkAnswer>, BookError> {
        let offered = self.offered.get(&log).is_some_and(|all| all.contains(it));
        if it.sides() != (me, log) || !offered {
            return Ok(Vec::new());
        }
        let void = self.legs.void(log, |index, leg| {
            (it.began..=it.last).contains(&leg.height) && !it.counts(index)
        });
        let links = void.iter().filter_map(|(_, payload)| match payload {
            Payload::Link(link) => {
                Some(LinkAnswer { brand: log, handle: link.handle, accepted: false })
            }
            _ => None,
        });
        let links = links.collect();
        self.give_back_void(void, at, points)?;
        Ok(links)
    }

    /// A final block of another log, with what was decided about it: credits, what comes back from it,
    /// what it acknowledges. Gives the links it answers.
    ///
    /// # Errors
    /// When it returns what was never sent, or points leave their range; the rest of the block is
    /// entered all the same.
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
        for (_, entry) in &block.public {
            if let PublicEntry::DisputeResolved(it) = entry {
                match self.resolve(me, log, it, applied.at, points) {
                    Ok(links) => answers.extend(links),
                    Err(error) => wrong = Some(error),
                }
            }
        }
        let former = applied.former.unwrap_or(false);
        for (leaf, payload) in payloads.iter().filter(|_| former) {
            let Payload::Exchange(exchange) = payload else { continue };
            let credit = applied.credits.binary_search_by_key(leaf, |credit| credit.leaf);
            let owner = credit.ok().and_then(|at| applied.credits.get(at)).map(|it| it.member);
            let entered = self.credited_before((log, *leaf), (exchange, owner), terms, points);
            wrong = entered.err().or(wrong);
        }
        for credit in applied.credits.iter().filter(|_| !former) {
            match points.credit(credit.member, credit.points) {
                Ok(()) => self.counts.credited += 1,
                Err(error) => wrong = Some(error.into()),
            }
            let place = payloads.partition_point(|(leaf, _)| *leaf < credit.leaf);
            if let Some((_, Payload::Exchange(exchange))) = payloads.get(place) {
                let leg = IncomingLeg::new(exchange, terms.point_value, terms.until);
                let received = Received { member: Some(credit.member), leg };
                self.received.credited((log, credit.leaf), received);
            }
        }
        let exchanges = payloads.iter().filter(|(_, p)| matches!(p, Payload::Exchange(_))).count();
        let beside = if former { exchanges } else { applied.credits.len() };
        self.counts.sent_back += u64::try_from(exchanges.saturating_sub(beside)).unwrap_or(0);
        for (_, payload) in payloads {
            let Payload::Return(back) = payload else { continue };
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
        // what was in dispute is applied when both have agreed, after later blocks
        let last = self.applied.entry(log).or_default();
        *last = height.max(*last);
        if !payloads.is_empty() {
            let last = self.answerable.entry(log).or_default();
            *last = height.max(*last);
        }
        wrong.map_or(Ok(answers), Err)
    }

    /// Some of what an exchange sent is its member's again.
    fn give_back(
        &mut self,
        leaf: LeafIndex,
        back: Points,
        points: &mut PointsLedger,
    ) -> Result<(), BookError> {
        let id = self.by_leaf.get(&leaf).copied();
        let Some(booked) = id.and_then(|id| self.exchanges.get_mut(&id)) else { return Ok(()) };
        // whose they were may not be known after a rebuild: then the brand keeps them
        if let Some(member) = booked.requested.member {
            points.restore(member, back)?;
        }
        booked.points_back = booked.points_back.plus(back).unwrap_or(booked.points_back);
        Ok(())
    }

    fn end(
        &mut self,
        leaf: LeafIndex,
        at: Timestamp,
        returned: Option<ReturnReason>,
    ) -> Result<(), BookError> {
        let id = self.by_leaf.get(&leaf).copied();
        let Some(booked) = id.and_then(|id| self.exchanges.get_mut(&id)) else { return Ok(()) };
        match booked.state {
            ExchangeState::Final => self.counts.r#final = self.counts.r#final.saturating_sub(1),
            ExchangeState::Acknowledged => {
                self.counts.acknowledged = self.counts.acknowledged.saturating_sub(1);
            }
            ExchangeState::Held
            | ExchangeState::Returned(_)
            | ExchangeState::Withdrawn
            | ExchangeState::Void => {
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
            ExchangeState::Void => ("void", None),
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
