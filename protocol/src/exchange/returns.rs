//! What comes back: how much of an exchange, at which amounts, until when.
//!
//! An exchange comes back whole when the receiver could not apply it, or in parts when its member sends
//! points back within the window. A part is at the original's own ratio, sent to received and owed to
//! received, each rounded down by itself: the sum of all parts never exceeds the original in either
//! unit, in whatever order they become final, and a part that is the whole is exact. What rounding
//! leaves of the value stays in the receiver's residue.

use minicbor::{Decode, Encode};

use crate::amount::{AmountError, Points, Rate, Value, value_of_points};
use crate::exchange::{Exchange, Payload, Return, ReturnReason};
use crate::ids::LeafIndex;
use crate::time::{Milliseconds, Timestamp};

/// A receiver sends nothing back on a member's behalf in the last part of the window: its block must
/// still be certified within it.
pub const RETURN_MARGIN: Milliseconds = Milliseconds::from_seconds(600);

/// What a part of an exchange comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Points of the receiver that are taken back.
    pub received: Points,
    /// Points of the sender that are given back.
    pub sent: Points,
    /// Value that is no longer owed.
    pub value: Value,
}

impl Exchange {
    /// What some of the received points come to.
    ///
    /// # Errors
    /// When they are more than the exchange has.
    pub fn part(&self, received: Points) -> Result<Part, AmountError> {
        part((self.sent, self.received, self.owed), received)
    }
}

fn part(
    (sent, received, owed): (Points, Points, Value),
    part: Points,
) -> Result<Part, AmountError> {
    received.minus(part)?;
    let of = |whole: u64| {
        let product = u128::from(whole).saturating_mul(u128::from(part.get()));
        let share = product.checked_div(u128::from(received.get())).unwrap_or(0);
        // at most the whole
        u64::try_from(share).unwrap_or(whole)
    };
    let (sent, value) = (Points::new(of(sent.get()))?, Value::new(of(owed.get()))?);
    Ok(Part { received: part, sent, value })
}

impl Return {
    /// Takes back all of what a leaf said, because it could not be applied. None for a return and
    /// for the end of a link: they are never themselves returned.
    #[must_use]
    pub const fn whole(
        original: LeafIndex,
        reason: ReturnReason,
        payload: &Payload,
    ) -> Option<Self> {
        let (value, points) = match payload {
            Payload::Link(_) => (Value::ZERO, Points::ZERO),
            Payload::Exchange(exchange) => (exchange.owed, exchange.received),
            Payload::Return(_) | Payload::Unlink(_) => return None,
        };
        Some(Self { original, reason, value, points })
    }
}

/// Why nothing can be sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendBackError {
    /// More than is left of the exchange, or nothing.
    #[error("{left} of this exchange can be sent back")]
    Left {
        /// How much there is.
        left: Points,
    },
    /// So few that none would come back at the other brand.
    #[error("so few points come to none at the other brand")]
    TooFew,
    /// The window has passed.
    #[error("the time in which this exchange can be sent back has passed")]
    Late,
}

/// An exchange that was credited here, as its receiver keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct IncomingLeg {
    #[n(0)]
    sent: Points,
    #[n(1)]
    received: Points,
    #[n(2)]
    owed: Value,
    // settlement value of a point of the receiver when it was credited
    #[n(3)]
    point_value: Rate,
    #[n(4)]
    until: Timestamp,
    #[n(5)]
    points_back: Points,
    #[n(6)]
    value_back: Value,
}

impl IncomingLeg {
    /// An exchange that was credited with points of this value and may come back until then: its
    /// block's time and the window of that block's epoch.
    #[must_use]
    pub const fn new(exchange: &Exchange, point_value: Rate, until: Timestamp) -> Self {
        Self {
            sent: exchange.sent,
            received: exchange.received,
            owed: exchange.owed,
            point_value,
            until,
            points_back: Points::ZERO,
            value_back: Value::ZERO,
        }
    }

    /// Points that were received.
    #[must_use]
    pub const fn received(&self) -> Points {
        self.received
    }
    /// Points that have been sent back.
    #[must_use]
    pub const fn points_back(&self) -> Points {
        self.points_back
    }
    /// What was owed for it.
    #[must_use]
    pub const fn owed(&self) -> Value {
        self.owed
    }
    /// The end of its window: what of it is certified later is not taken back.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        self.until
    }
    /// Until when its member can send it back: the last part of the window is left to certification.
    #[must_use]
    pub const fn returnable_until(&self) -> Timestamp {
        let margin = RETURN_MARGIN.get();
        Timestamp::from_unix_ms(self.until.unix_ms().saturating_sub(margin))
    }

    /// What the receiver keeps because points are whole: what is still owed for this exchange, less the
    /// value of the points that are still out. Never negative: a part gives back no less than the
    /// value of its points, rounded down.
    #[must_use]
    pub fn residue(&self) -> Value {
        let out = self.received.saturating_minus(self.points_back);
        let worth = value_of_points(out, self.point_value).unwrap_or(self.owed);
        self.owed.saturating_minus(self.value_back).saturating_minus(worth)
    }

    /// Sends some of it back, on the member's wish.
    ///
    /// # Errors
    /// When there is not so much left, it would come to nothing, or it is too late.
    pub fn send_back(
        &mut self,
        original: LeafIndex,
        points: Points,
        now: Timestamp,
    ) -> Result<Return, SendBackError> {
        if now > self.returnable_until() {
            return Err(SendBackError::Late);
        }
        self.take_back(original, points)
    }

    /// The same for a return that was decided before: on replay.
    ///
    /// # Errors
    /// When there is not so much left, or it would come to nothing.
    pub fn take_back(
        &mut self,
        original: LeafIndex,
        points: Points,
    ) -> Result<Return, SendBackError> {
        let left = self.received.saturating_minus(self.points_back);
        if points.is_zero() || points > left {
            return Err(SendBackError::Left { left });
        }
        let too_few = |_| SendBackError::TooFew;
        let part = part((self.sent, self.received, self.owed), points).map_err(too_few)?;
        if part.sent.is_zero() {
            return Err(SendBackError::TooFew);
        }
        self.points_back = self.points_back.plus(points).map_err(too_few)?;
        self.value_back = self.value_back.plus(part.value).map_err(too_few)?;
        Ok(Return { original, reason: ReturnReason::Member, value: part.value, points })
    }

    /// A part that was to go back will be in no block: it can be sent back again.
    pub fn keep(&mut self, back: &Return) {
        self.points_back = self.points_back.saturating_minus(back.points);
        self.value_back = self.value_back.saturating_minus(back.value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amount::quote;
    use crate::exchange::{LegState, OutgoingLegs, ReturnError};
    use crate::ids::{BrandId, Height, MemberHandle, RequestId};
    use proptest::prelude::*;

    const AT: LeafIndex = LeafIndex::new(3);
    const UNTIL: Timestamp = Timestamp::from_unix_ms(3_600_000);

    fn points(number: u64) -> Points {
        Points::new(number).unwrap()
    }

    fn b() -> BrandId {
        BrandId::new("b").unwrap()
    }

    fn exchange(sent: u64, rate: Rate, worth: Rate) -> Option<Exchange> {
        let quote = quote(points(sent), rate, worth).ok()?;
        Some(Exchange {
            handle: MemberHandle::from_bytes([1; 16]),
            request: RequestId::from_bytes([2; 16]),
            sent: points(sent),
            received: quote.received,
            owed: quote.owed,
        })
    }

    /// Three points of the sender for two, certified in the sender's books.
    fn both() -> (IncomingLeg, OutgoingLegs) {
        let worth = Rate::new(1_000_000, 1).unwrap();
        let exchange = exchange(30, Rate::new(2, 3).unwrap(), worth).unwrap();
        let leg = IncomingLeg::new(&exchange, worth, UNTIL);
        let mut legs = OutgoingLegs::default();
        let payload = Payload::Exchange(exchange);
        legs.certified(AT, Height::new(1), UNTIL, b(), payload);
        (leg, legs)
    }

    #[test]
    fn parts_come_back_until_nothing_is_left() {
        let (mut leg, mut legs) = both();
        let now = Timestamp::from_unix_ms(5);
        let mut restored = 0;
        for part in [7, 12] {
            let back = leg.send_back(AT, points(part), now).unwrap();
            let taken = legs.returned(b(), &back, now).unwrap();
            assert!(!taken.whole);
            restored += taken.points.get();
        }
        assert_eq!(restored, 10 + 18);
        let left = SendBackError::Left { left: points(1) };
        assert_eq!(leg.send_back(AT, points(2), now), Err(left));
        let last = leg.send_back(AT, points(1), now).unwrap();
        assert!(legs.returned(b(), &last, now).unwrap().whole);
        assert_eq!(legs.leg(AT).unwrap().state, LegState::Returned);
        assert_eq!(legs.returned(b(), &last, now), Err(ReturnError::Again(AT)));
    }

    #[test]
    fn a_return_is_within_the_window_the_remainder_and_the_ratio() {
        let (mut leg, mut legs) = both();
        let back = leg.send_back(AT, points(7), Timestamp::default()).unwrap();
        // what was to go back and is in no block is there again, to the micro-fen
        let (before, mut kept) = (both().0, leg);
        kept.keep(&back);
        assert_eq!(kept, before);
        let late = UNTIL.plus(Milliseconds::new(1));
        assert_eq!(legs.returned(b(), &back, late), Err(ReturnError::Late(AT)));
        let value = back.value.plus(Value::new(1).unwrap()).unwrap();
        let dear = Return { value, ..back.clone() };
        assert_eq!(legs.returned(b(), &dear, UNTIL), Err(ReturnError::WrongValue(AT)));
        let much = Return { points: points(21), ..back.clone() };
        assert_eq!(legs.returned(b(), &much, UNTIL), Err(ReturnError::TooMuch(AT)));
        // what could not be applied comes back whole, and however late
        let part = Return { reason: ReturnReason::NotLinked, ..back.clone() };
        assert_eq!(legs.returned(b(), &part, UNTIL), Err(ReturnError::TooMuch(AT)));
        assert!(legs.returned(b(), &back, UNTIL).is_ok());
        // the receiver leaves its block time to be certified
        let until = leg.returnable_until();
        assert!(until < UNTIL);
        let late = until.plus(Milliseconds::new(1));
        assert_eq!(leg.send_back(AT, points(2), late), Err(SendBackError::Late));
        assert!(leg.send_back(AT, points(2), until).is_ok());
    }

    proptest! {
        /// Whatever is sent back in whatever parts: nothing exceeds the original, the value that is
        /// kept is the points that are out and the residue, and the whole in one part is exact.
        #[test]
        fn parts_never_exceed_the_whole_and_the_residue_is_conserved(
            sent in 1..100_000_u64, n in 1..200_u32, d in 1..200_u32, wn in 1..2_000_000_u32, wd in 1..60_u32,
            parts in prop::collection::vec(1..50_000_u64, 0..12),
        ) {
            let worth = Rate::new(wn, wd).unwrap();
            let Some(exchange) = exchange(sent, Rate::new(n, d).unwrap(), worth) else { return Ok(()) };
            let whole = exchange.part(exchange.received).unwrap();
            prop_assert_eq!((whole.sent, whole.value), (exchange.sent, exchange.owed));
            let mut leg = IncomingLeg::new(&exchange, worth, UNTIL);
            let (mut points_back, mut value_back) = (0, 0);
            for part in parts {
                if let Ok(back) = leg.take_back(AT, points(part)) {
                    points_back += exchange.part(back.points).unwrap().sent.get();
                    value_back += back.value.get();
                }
                prop_assert!(points_back <= exchange.sent.get());
                prop_assert!(value_back <= exchange.owed.get());
                let out = leg.received().minus(leg.points_back()).unwrap();
                let kept = value_of_points(out, worth).unwrap().plus(leg.residue()).unwrap();
                prop_assert_eq!(kept.get() + value_back, exchange.owed.get());
            }
        }
    }
}
