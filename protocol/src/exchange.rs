//! What one brand says to another in a sealed entry, and the sender's side of it until it is settled
//! one way or the other.
//!
//! A leaf is one [`Payload`]. Certified means final: the sender's debit stands and the receiver is
//! bound. The receiver acknowledges whole blocks, by the height its own header says it has recognised;
//! what it could not apply it sends back as a [`Return`] in that block or an earlier one.
//!
//! Knows prices and what may be returned. Does not know members, balances or earning rules: a person
//! is a handle made for this pair of brands. Does not do yet: a person's second link.

mod returns;

pub use returns::{IncomingLeg, Part, RETURN_MARGIN, SendBackError};

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::amount::{Points, QuoteError, Value, quote};
use crate::codec::{self, DecodeError};
use crate::constitution::{Constitution, PAYLOAD_MAX};
use crate::ids::{BrandId, Height, LeafIndex, MemberHandle, RequestId};
use crate::shared_map::SharedMap;
use crate::time::Timestamp;

/// Longest one-time link code, in bytes.
pub const LINK_CODE_MAX: usize = 16;

/// What a sealed entry says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub enum Payload {
    /// Ties the sender's member to the receiver's.
    #[n(0)]
    Link(#[n(0)] Link),
    /// Points of the sender burned, points of the receiver issued to the same person.
    #[n(1)]
    Exchange(#[n(0)] Exchange),
    /// Sends an earlier link or exchange of the other side back.
    #[n(2)]
    Return(#[n(0)] Return),
    /// The sender's member is gone: the receiver is to drop the link. Never itself returned.
    #[n(3)]
    Unlink(#[n(0)] Unlink),
}

/// Ends a link that the sender's member had to an account of the receiver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Unlink {
    /// Who the person was between these two brands.
    #[n(0)]
    pub handle: MemberHandle,
}

/// A one-time code that the receiver gave its member, who brought it to the sender.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Link {
    /// The code, as the person typed it, at most [`LINK_CODE_MAX`] bytes.
    #[n(0)]
    pub code: String,
    /// Who the person will be between these two brands.
    #[n(1)]
    pub handle: MemberHandle,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // whoever reads the code in time can link the account
        f.write_str("Link(..)")
    }
}

/// An exchange, priced by the constitution of its block's epoch.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Exchange {
    /// The person, linked before.
    #[n(0)]
    pub handle: MemberHandle,
    /// The request it came from, for the receiver's statement to its member.
    #[n(1)]
    pub request: RequestId,
    /// Points of the sender that are burned.
    #[n(2)]
    pub sent: Points,
    /// Points of the receiver that are issued: the floor of what the rate gives.
    #[n(3)]
    pub received: Points,
    /// What the sender owes the receiver for it.
    #[n(4)]
    pub owed: Value,
}

/// Why something comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum ReturnReason {
    /// The code is unknown, used or expired.
    #[n(0)]
    LinkCode,
    /// No link has this handle.
    #[n(1)]
    NotLinked,
    /// The member's account does not take points (closed, frozen, erased).
    #[n(2)]
    AccountClosed,
    /// More than the receiver takes for one member.
    #[n(3)]
    ReceiverLimit,
    /// The receiver's member sends it back, whole or in part.
    #[n(4)]
    Member,
}

/// Takes an earlier leaf of the other side back, at its own price: whole, or a part of an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Return {
    /// The leaf in the receiver's log.
    #[n(0)]
    pub original: LeafIndex,
    /// Why.
    #[n(1)]
    pub reason: ReturnReason,
    /// The value given back: of what was owed for the original, as much as the points are of those
    /// received, rounded down; zero for a link.
    #[n(2)]
    pub value: Value,
    /// Points of the brand that returns which it takes back; zero for a link.
    #[n(3)]
    pub points: Points,
}

/// What is wrong with a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Not a payload at all.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// These two brands do not exchange.
    #[error("no rate from {from} to {to} in the constitution")]
    NoRate {
        /// From.
        from: BrandId,
        /// To.
        to: BrandId,
    },
    /// No such price.
    #[error(transparent)]
    Quote(#[from] QuoteError),
    /// Another price than the constitution's.
    #[error("the amounts are not those of the constitution's rate")]
    WrongPrice,
    /// A link code that is empty or too long.
    #[error("a link code has 1 to {LINK_CODE_MAX} bytes")]
    LinkCode,
}

impl Exchange {
    /// Prices an exchange by the constitution.
    ///
    /// # Errors
    /// When the pair has no rate or the amount no price.
    pub fn price(
        constitution: &Constitution,
        (from, to): (BrandId, BrandId),
        handle: MemberHandle,
        request: RequestId,
        sent: Points,
    ) -> Result<Self, PayloadError> {
        let (Some(rate), Some(receiver)) = (constitution.rate(from, to), constitution.brand(to))
        else {
            return Err(PayloadError::NoRate { from, to });
        };
        let quote = quote(sent, rate, receiver.point_value)?;
        Ok(Self { handle, request, sent, received: quote.received, owed: quote.owed })
    }

    /// Checks that it has the constitution's price.
    ///
    /// # Errors
    /// When it has another, or there is none.
    pub fn check(
        &self,
        constitution: &Constitution,
        pair: (BrandId, BrandId),
    ) -> Result<(), PayloadError> {
        let priced = Self::price(constitution, pair, self.handle, self.request, self.sent)?;
        if priced == *self { Ok(()) } else { Err(PayloadError::WrongPrice) }
    }
}

impl Payload {
    /// Reads a payload and checks it against the constitution of its block's epoch.
    ///
    /// # Errors
    /// When it is malformed or has another price than the constitution's.
    pub fn read(
        bytes: &[u8],
        constitution: &Constitution,
        (from, to): (BrandId, BrandId),
    ) -> Result<Self, PayloadError> {
        let payload = Self::decode(bytes)?;
        match &payload {
            Self::Exchange(exchange) => exchange.check(constitution, (from, to))?,
            Self::Link(link) if link.code.is_empty() || link.code.len() > LINK_CODE_MAX => {
                return Err(PayloadError::LinkCode);
            }
            // what a return takes back is only known to the brand whose log the original is in
            Self::Link(_) | Self::Return(_) | Self::Unlink(_) => {}
        }
        Ok(payload)
    }

    /// Reads a payload and leaves its price unchecked, where the two brands or the epoch are not known.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode("a sealed payload", bytes, PAYLOAD_MAX)
    }

    /// The bytes that are sealed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// What this adds to the value the sender has ever sent to the receiver.
    #[must_use]
    pub const fn value(&self) -> Value {
        match self {
            Self::Link(_) | Self::Unlink(_) => Value::ZERO,
            Self::Exchange(exchange) => exchange.owed,
            Self::Return(back) => back.value,
        }
    }
}

/// A leaf of the own log on its way to another brand.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct OutgoingLeg {
    /// To whom.
    #[n(0)]
    pub to: BrandId,
    /// In which block.
    #[n(1)]
    pub height: Height,
    /// Until when its receiver's member may send it back: that block's time and the window of its
    /// epoch's constitution.
    #[n(2)]
    pub until: Timestamp,
    /// What it says.
    #[n(3)]
    pub payload: Payload,
    /// How far it has come.
    #[n(4)]
    pub state: LegState,
    /// Points of the receiver that have come back of it.
    #[n(5)]
    pub points_back: Points,
}

/// What a return has brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenBack<'a> {
    /// The leaf it is of.
    pub leg: &'a OutgoingLeg,
    /// The sender's points that are its member's again.
    pub points: Points,
    /// Whether nothing is left of the leaf.
    pub whole: bool,
}

/// How far a certified leaf has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum LegState {
    /// Certified; the receiver is bound and has not answered yet.
    #[n(0)]
    Final,
    /// The receiver has recognised its block without returning it.
    #[n(1)]
    Acknowledged,
    /// All of it has come back; nothing can come back twice.
    #[n(2)]
    Returned,
    /// It never counts: both sides of a dispute agreed so, or its receiver's log ended without
    /// recognising it.
    #[n(3)]
    Void,
}

/// Every leaf the own log has sent that is not settled, by index.
#[derive(Clone, Debug, Default)]
pub struct OutgoingLegs {
    legs: SharedMap<LeafIndex, OutgoingLeg>,
    // by receiver, in the order of the log: what it has not recognised, and some that was void meanwhile
    unrecognised: BTreeMap<BrandId, VecDeque<(Height, LeafIndex)>>,
    // by receiver, in the order of the log
    ageing: BTreeMap<BrandId, VecDeque<LeafIndex>>,
}

/// Why a return is not accepted. The sender of the return made a certified false claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReturnError {
    /// Nothing at this index was sent to this brand, or it is settled.
    #[error(
        "leaf {0} was never sent to the brand that returns it, or its time to come back is over"
    )]
    Unknown(LeafIndex),
    /// It came back before.
    #[error("leaf {0} was returned before")]
    Again(LeafIndex),
    /// A return is never itself returned.
    #[error("leaf {0} is itself a return")]
    OfReturn(LeafIndex),
    /// Another value than its ratio gives.
    #[error("leaf {0} is returned at another value than was owed for it")]
    WrongValue(LeafIndex),
    /// More than is left of it, or a part of what could not be applied.
    #[error("of leaf {0} more or less is returned than may be")]
    TooMuch(LeafIndex),
    /// A member sends it back after the window, or somebody what was applied.
    #[error("leaf {0} is returned after the time in which it may be")]
    Late(LeafIndex),
}

impl OutgoingLegs {
    /// Takes note of a leaf in a certified block of the own log.
    pub fn certified(
        &mut self,
        index: LeafIndex,
        height: Height,
        until: Timestamp,
        to: BrandId,
        payload: Payload,
    ) {
        let (state, points_back) = (LegState::Final, Points::ZERO);
        self.take_up(index, OutgoingLeg { to, height, until, payload, state, points_back });
    }

    /// Takes up a leaf as it was known before, after all that came before it.
    pub fn take_up(&mut self, index: LeafIndex, leg: OutgoingLeg) {
        if leg.state == LegState::Final {
            self.unrecognised.entry(leg.to).or_default().push_back((leg.height, index));
        }
        self.ageing.entry(leg.to).or_default().push_back(index);
        self.legs.insert(index, leg);
    }

    /// Forgets one leaf that somebody else remembers.
    pub fn forget(&mut self, index: LeafIndex) {
        self.legs.remove(&index);
    }

    /// A block of a receiver's log is made at this time, and all that came before is dealt with: what it
    /// has answered and whose window is over can never come back, since a log's times do not fall.
    /// Drops such leaves, the oldest first, and gives them.
    pub fn settle(&mut self, by: BrandId, at: Timestamp) -> Vec<(LeafIndex, OutgoingLeg)> {
        let mut settled = Vec::new();
        let Some(ageing) = self.ageing.get_mut(&by) else { return settled };
        while let Some(index) = ageing.front() {
            let is_open = |leg: &&OutgoingLeg| leg.state == LegState::Final || at <= leg.until;
            if self.legs.get(index).is_some_and(|leg| is_open(&leg)) {
                break;
            }
            settled.extend(self.legs.remove(index).map(|leg| (*index, leg)));
            ageing.pop_front();
        }
        settled
    }

    /// The receiver has recognised everything up to a height; gives the leaves that are
    /// acknowledged by it now. Returns that came with it are to be applied first.
    pub fn recognised(&mut self, by: BrandId, up_to: Height) -> Vec<LeafIndex> {
        let mut acknowledged = Vec::new();
        let Some(waiting) = self.unrecognised.get_mut(&by) else { return acknowledged };
        while let Some((_, index)) = waiting.pop_front_if(|(height, _)| *height <= up_to) {
            if let Some(leg) = self.legs.get_mut(&index)
                && leg.state == LegState::Final
            {
                leg.state = LegState::Acknowledged;
                acknowledged.push(index);
            }
        }
        acknowledged
    }

    /// The first block that said something to a brand which it has not recognised.
    #[must_use]
    pub fn unanswered(&self, by: BrandId) -> Option<Height> {
        let mut waiting = self.unrecognised.get(&by)?.iter();
        // what came back is answered by the block that recognises it alone
        let waits =
            |index: &LeafIndex| self.legs.get(index).is_some_and(|leg| leg.state != LegState::Void);
        waiting.find(|(_, index)| waits(index)).map(|(height, _)| *height)
    }

    /// Takes a return that a block of time `at` certified; gives what came back with it. What a member
    /// sends back, in parts or whole, comes back in time; what could not be applied comes back
    /// whole, whenever its receiver is up again.
    ///
    /// # Errors
    /// When there is nothing to come back, not so much, not at this value, or not any more.
    pub fn returned(
        &mut self,
        by: BrandId,
        back: &Return,
        at: Timestamp,
    ) -> Result<TakenBack<'_>, ReturnError> {
        let index = back.original;
        let leg = self
            .legs
            .get_mut(&index)
            .filter(|leg| leg.to == by)
            .ok_or(ReturnError::Unknown(index))?;
        if let LegState::Returned | LegState::Void = leg.state {
            return Err(ReturnError::Again(index));
        }
        let by_member = back.reason == ReturnReason::Member;
        let (value, points, whole) = match &leg.payload {
            Payload::Return(_) | Payload::Unlink(_) => {
                return Err(ReturnError::OfReturn(index));
            }
            Payload::Link(_) if by_member || !back.points.is_zero() => {
                return Err(ReturnError::TooMuch(index));
            }
            Payload::Link(_) => (Value::ZERO, Points::ZERO, true),
            Payload::Exchange(exchange) => {
                let too_much = |_| ReturnError::TooMuch(index);
                let sum = leg.points_back.plus(back.points).map_err(too_much)?;
                let part = exchange.part(back.points).map_err(too_much)?;
                let all = back.points == exchange.received;
                if sum > exchange.received || back.points.is_zero() || !(by_member || all) {
                    return Err(ReturnError::TooMuch(index));
                }
                (part.value, part.sent, sum == exchange.received)
            }
        };
        if value != back.value {
            return Err(ReturnError::WrongValue(index));
        }
        // what is acknowledged was applied: only its member can send it back
        let late = at > leg.until && (by_member || leg.state == LegState::Acknowledged);
        if late {
            return Err(ReturnError::Late(index));
        }
        leg.points_back = leg.points_back.plus(back.points).unwrap_or(leg.points_back);
        if whole {
            leg.state = LegState::Returned;
        }
        Ok(TakenBack { leg, points, whole })
    }

    /// Leaves to a brand that never count; of each that was open so far, once, what it said.
    pub fn void(
        &mut self,
        to: BrandId,
        never: impl Fn(LeafIndex, &OutgoingLeg) -> bool,
    ) -> Vec<(LeafIndex, Payload)> {
        let is_open = |leg: &OutgoingLeg| !matches!(leg.state, LegState::Returned | LegState::Void);
        let mut void = Vec::new();
        self.legs.change_where(
            |index, leg| leg.to == to && is_open(leg) && never(*index, leg),
            |index, leg| {
                leg.state = LegState::Void;
                void.push((*index, leg.payload.clone()));
            },
        );
        void
    }

    /// One leaf.
    #[must_use]
    pub fn leg(&self, index: LeafIndex) -> Option<&OutgoingLeg> {
        self.legs.get(&index)
    }

    /// All leaves as they are now, for whoever writes them down.
    #[must_use]
    pub fn copy(&self) -> SharedMap<LeafIndex, OutgoingLeg> {
        self.legs.clone()
    }

    /// All leaves, in the order of the log.
    pub fn iter(&self) -> impl Iterator<Item = (LeafIndex, &OutgoingLeg)> {
        self.legs.iter().map(|(index, leg)| (*index, leg))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constitution::tests::draft;

    fn id(text: &str) -> BrandId {
        BrandId::new(text).unwrap()
    }

    fn exchange(constitution: &Constitution, points: u64) -> Exchange {
        Exchange::price(
            constitution,
            (id("a"), id("b")),
            MemberHandle::from_bytes([1; 16]),
            RequestId::from_bytes([2; 16]),
            Points::new(points).unwrap(),
        )
        .unwrap()
    }

    #[test]
    fn an_exchange_at_another_price_is_refused() {
        let constitution = Constitution::new(draft(3)).unwrap();
        let mut exchange = exchange(&constitution, 10);
        let read = |exchange: &Exchange| {
            let bytes = Payload::Exchange(exchange.clone()).to_bytes();
            Payload::read(&bytes, &constitution, (id("a"), id("b")))
        };
        assert!(read(&exchange).is_ok());
        exchange.received = Points::new(11).unwrap();
        assert_eq!(read(&exchange), Err(PayloadError::WrongPrice));
    }

    #[test]
    fn the_largest_payload_fits_the_least_payload_size() {
        let most = Payload::Exchange(Exchange {
            handle: MemberHandle::from_bytes([1; 16]),
            request: RequestId::from_bytes([2; 16]),
            sent: Points::MAX,
            received: Points::MAX,
            owed: Value::MAX,
        });
        let link = Payload::Link(Link {
            code: "x".repeat(LINK_CODE_MAX),
            handle: MemberHandle::from_bytes([1; 16]),
        });
        for payload in [most, link] {
            assert!(payload.to_bytes().len() <= crate::constitution::PAYLOAD_MIN);
        }
    }

    #[test]
    fn a_leaf_is_settled_when_it_is_answered_and_its_window_is_over() {
        let constitution = Constitution::new(draft(3)).unwrap();
        let mut legs = OutgoingLegs::default();
        let sent = Payload::Exchange(exchange(&constitution, 10));
        let at = Timestamp::from_unix_ms;
        let leaf = LeafIndex::new;
        for (index, height, until) in [(3, 1, 100), (4, 1, 100), (9, 2, 200)] {
            legs.certified(leaf(index), Height::new(height), at(until), id("b"), sent.clone());
        }
        // nothing is answered, the window is not over, another brand's block: nothing is settled
        assert_eq!(legs.settle(id("b"), at(300)), []);
        legs.recognised(id("b"), Height::new(1));
        assert_eq!(legs.settle(id("b"), at(100)), []);
        assert_eq!(legs.settle(id("c"), at(300)), []);
        let settled = |legs: &mut OutgoingLegs, time| -> Vec<u64> {
            legs.settle(id("b"), at(time)).into_iter().map(|(index, _)| index.get()).collect()
        };
        assert_eq!(settled(&mut legs, 101), [3, 4]);
        assert_eq!(settled(&mut legs, 300), [0_u64; 0]);
        let back = Return::whole(leaf(9), ReturnReason::NotLinked, &sent).unwrap();
        let late = Return { original: leaf(3), ..back.clone() };
        assert_eq!(
            legs.returned(id("b"), &late, at(101)).err(),
            Some(ReturnError::Unknown(leaf(3)))
        );
        // what came back whole is settled as well
        assert!(legs.returned(id("b"), &back, at(150)).unwrap().whole);
        assert_eq!(settled(&mut legs, 200), [0_u64; 0]);
        assert_eq!(settled(&mut legs, 201), [9]);
        assert_eq!(legs.iter().count(), 0);
    }

    #[test]
    fn a_leaf_comes_back_once_and_at_its_price() {
        let constitution = Constitution::new(draft(3)).unwrap();
        let mut legs = OutgoingLegs::default();
        let (at, later, now) = (LeafIndex::new(3), LeafIndex::new(4), Timestamp::default());
        let sent = Payload::Exchange(exchange(&constitution, 10));
        legs.certified(at, Height::new(1), now, id("b"), sent.clone());
        legs.certified(later, Height::new(2), now, id("b"), sent.clone());
        let back = Return::whole(at, ReturnReason::NotLinked, &sent).unwrap();
        let cheap = Return { value: Value::ZERO, ..back.clone() };
        let mut returned = |by, back: &Return| legs.returned(id(by), back, now).map(|it| it.whole);
        assert_eq!(returned("b", &cheap), Err(ReturnError::WrongValue(at)));
        assert_eq!(returned("c", &back), Err(ReturnError::Unknown(at)));
        assert_eq!(returned("b", &back), Ok(true));
        assert_eq!(returned("b", &back), Err(ReturnError::Again(at)));
        assert_eq!(Return::whole(at, ReturnReason::NotLinked, &Payload::Return(back)), None);
        // what never counts is void once, and neither comes back nor is acknowledged
        let mut other = legs.clone();
        let void = other.void(id("b"), |index, _| index == later);
        assert_eq!(void, [(later, sent.clone())]);
        assert!(other.void(id("b"), |_, _| true).is_empty());
        let late = Return::whole(later, ReturnReason::NotLinked, &sent).unwrap();
        let refused = other.returned(id("b"), &late, now).map(|it| it.whole);
        assert_eq!(refused, Err(ReturnError::Again(later)));
        assert!(other.recognised(id("b"), Height::new(2)).is_empty());
        // what came back is not acknowledged, what is above the height is not yet
        assert!(legs.recognised(id("b"), Height::new(1)).is_empty());
        assert_eq!(legs.recognised(id("b"), Height::new(2)), [later]);
        assert!(legs.recognised(id("b"), Height::new(2)).is_empty());
    }
}
