//! Amounts, each unit its own type, and exact rates between them.
//!
//! Integers only; every operation that can leave the range says so. The one place where an exchange
//! is priced ([`quote`]): the debtor owes the value before flooring, the receiver gets the floor,
//! and what lies between is the residue, booked at the receiver.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::Serialize;

macro_rules! amounts {
    ($($(#[$doc:meta])* $name:ident, $max:expr, $unit:literal);* $(;)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Serialize)]
        #[cbor(transparent)]
        #[serde(transparent)]
        pub struct $name(#[n(0)] u64);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);
            /// The largest amount.
            pub const MAX: Self = Self($max);
            /// An amount, if it is in range.
            ///
            /// # Errors
            /// [`AmountError`] above [`Self::MAX`].
            pub const fn new(number: u64) -> Result<Self, AmountError> {
                if number > $max { Err(AmountError { unit: $unit }) } else { Ok(Self(number)) }
            }
            /// The number of units.
            #[must_use]
            pub const fn get(self) -> u64 { self.0 }
            /// Whether there is nothing.
            #[must_use]
            pub const fn is_zero(self) -> bool { self.0 == 0 }
            /// The sum.
            ///
            /// # Errors
            /// [`AmountError`] when it is above [`Self::MAX`].
            pub const fn plus(self, other: Self) -> Result<Self, AmountError> {
                match self.0.checked_add(other.0) {
                    Some(sum) => Self::new(sum),
                    None => Err(AmountError { unit: $unit }),
                }
            }
            /// The difference.
            ///
            /// # Errors
            /// [`AmountError`] when `other` is larger.
            pub const fn minus(self, other: Self) -> Result<Self, AmountError> {
                match self.0.checked_sub(other.0) {
                    Some(rest) => Ok(Self(rest)),
                    None => Err(AmountError { unit: $unit }),
                }
            }
            /// The difference, or zero when `other` is larger.
            #[must_use]
            pub const fn saturating_minus(self, other: Self) -> Self { Self(self.0.saturating_sub(other.0)) }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "{} {}", self.0, $unit) }
        }
        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                let position = d.position();
                Self::new(d.u64()?).map_err(|error| minicbor::decode::Error::message(error).at(position))
            }
        }
    )*};
}

amounts! {
    /// Points of one brand; which brand is said by the field's name.
    Points, 1_000_000_000_000, "points";
    /// Settlement value in micro-fen (10^-6 fen, 10^-8 yuan).
    Value, 1_000_000_000_000_000_000, "micro-fen";
}

/// Micro-fen of a fen, the smallest amount that can be paid in CNY.
pub const MICRO_FEN_PER_FEN: u64 = 1_000_000;

impl Value {
    /// The part of it that can be paid: whole fen, rounded down. The one rounding between what is owed
    /// and what is paid; what is left stays owed and is in the next statement.
    #[must_use]
    pub const fn payable(self) -> Self {
        Self(self.0.saturating_sub(self.0 % MICRO_FEN_PER_FEN))
    }
    /// Whether it is something that can be paid: whole fen, and not nothing.
    #[must_use]
    pub const fn is_payable(self) -> bool {
        self.0 > 0 && self.0.is_multiple_of(MICRO_FEN_PER_FEN)
    }
    /// Yuan with two decimals, of what can be paid.
    #[must_use]
    pub fn to_yuan(self) -> String {
        let fen = self.0 / MICRO_FEN_PER_FEN;
        format!("{}.{:02}", fen / 100, fen % 100)
    }
}

/// An amount outside the range of its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the result is outside the range of an amount in {unit}")]
pub struct AmountError {
    unit: &'static str,
}

/// An exact positive ratio of two integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Serialize)]
#[cbor(array)]
pub struct Rate {
    #[n(0)]
    numerator: u32,
    #[n(1)]
    denominator: u32,
}

impl Rate {
    /// One for one.
    pub const ONE: Self = Self { numerator: 1, denominator: 1 };

    /// `numerator / denominator`.
    ///
    /// # Errors
    /// When either is zero.
    pub const fn new(numerator: u32, denominator: u32) -> Result<Self, RateError> {
        if numerator == 0 || denominator == 0 {
            return Err(RateError);
        }
        Ok(Self { numerator, denominator })
    }
    /// Above the line.
    #[must_use]
    pub const fn numerator(self) -> u32 {
        self.numerator
    }
    /// Below the line.
    #[must_use]
    pub const fn denominator(self) -> u32 {
        self.denominator
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

impl<'b, C> Decode<'b, C> for Rate {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let position = d.position();
        let at = |message: &'static str| minicbor::decode::Error::message(message).at(position);
        if d.array()? != Some(2) {
            return Err(at("a rate is an array of two"));
        }
        Self::new(d.u32()?, d.u32()?).map_err(|_| at("a rate has no zero"))
    }
}

/// A rate with a zero above or below the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a rate is a ratio of two positive integers")]
pub struct RateError;

/// What an exchange of points of A for points of B comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Points of B the member receives, rounded down.
    pub received: Points,
    /// What A owes B: the value of the exact, unrounded points of B, rounded up to a micro-fen.
    pub owed: Value,
    /// What B keeps because points are whole: `owed` less the value of `received`.
    pub residue: Value,
}

/// Why an exchange has no price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// The rate leaves nothing for the receiver.
    #[error("so few points exchange for none; the smallest exchange at this rate is {smallest}")]
    NothingReceived {
        /// The fewest points that give at least one.
        smallest: Points,
    },
    /// Out of range.
    #[error(transparent)]
    Range(#[from] AmountError),
}

/// Prices an exchange: `sent` points of A at `rate` (points of B for one of A), with the settlement
/// value of one point of B in micro-fen.
///
/// # Errors
/// [`QuoteError::NothingReceived`] when the receiver would get none; a range error when the result
/// is no amount.
pub fn quote(sent: Points, rate: Rate, value_per_point: Rate) -> Result<Quote, QuoteError> {
    let numerator = u128::from(rate.numerator);
    let denominator = u128::from(rate.denominator);
    let range = |unit| AmountError { unit };
    let points =
        |number: u128| u64::try_from(number).map_err(|_| range("points")).and_then(Points::new);
    // sent <= 10^12 and every factor of a rate < 2^32: the products stay below 2^40+32+32
    let exact = u128::from(sent.0).checked_mul(numerator).ok_or(range("points"))?;
    let received = points(exact.checked_div(denominator).unwrap_or(0))?;
    if received.is_zero() {
        return Err(QuoteError::NothingReceived {
            smallest: points(denominator.div_ceil(numerator))?,
        });
    }
    let owed = value_of(exact, denominator, value_per_point)?;
    let given = value_of_points(received, value_per_point)?;
    Ok(Quote { received, owed, residue: owed.saturating_minus(given) })
}

/// What whole points are worth at a value each, rounded up to a micro-fen.
///
/// # Errors
/// When it is no amount.
pub fn value_of_points(points: Points, value_per_point: Rate) -> Result<Value, AmountError> {
    value_of(u128::from(points.0), 1, value_per_point)
}

/// `numerator / denominator` points at a value each, rounded up.
fn value_of(
    numerator: u128,
    denominator: u128,
    value_per_point: Rate,
) -> Result<Value, AmountError> {
    let error = AmountError { unit: "micro-fen" };
    let above = numerator.checked_mul(u128::from(value_per_point.numerator)).ok_or(error)?;
    let below = denominator.checked_mul(u128::from(value_per_point.denominator)).ok_or(error)?;
    let value = above.div_ceil(below.max(1));
    Value::new(u64::try_from(value).map_err(|_| error)?)
}

impl Value {
    /// The least multiple of `step` not below this, or this itself when `step` is zero.
    ///
    /// # Errors
    /// When the multiple is out of range.
    pub fn ceiling_to(self, step: Self) -> Result<Self, AmountError> {
        if step.0 == 0 {
            return Ok(self);
        }
        let steps = self.0.div_ceil(step.0);
        steps.checked_mul(step.0).ok_or(AmountError { unit: "micro-fen" }).and_then(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(n: u32, d: u32) -> Rate {
        Rate::new(n, d).unwrap()
    }

    #[test]
    fn a_quote_that_gives_nothing_names_the_smallest_that_does() {
        let error = quote(Points::new(2).unwrap(), rate(1, 3), rate(1, 1)).unwrap_err();
        assert_eq!(error, QuoteError::NothingReceived { smallest: Points::new(3).unwrap() });
    }

    proptest! {
        /// The receiver is never owed less than the points it gives are worth, and never more than
        /// one point (and one micro-fen of rounding) above.
        #[test]
        fn what_is_owed_covers_what_is_given(
            sent in 1..1_000_000u64, n in 1..1000u32, d in 1..1000u32, vn in 1..2_000_000u32, vd in 1..100u32,
        ) {
            if let Ok(q) = quote(Points::new(sent).unwrap(), rate(n, d), rate(vn, vd)) {
                let one_point = u64::from(vn.div_ceil(vd));
                let given = (u128::from(q.received.get()) * u128::from(vn)).div_ceil(u128::from(vd));
                prop_assert!(u128::from(q.owed.get()) >= given);
                prop_assert_eq!(u128::from(q.residue.get()), u128::from(q.owed.get()) - given);
                prop_assert!(q.residue.get() <= one_point);
            }
        }

        /// Nothing is invented in paying: what is paid is owed, and less than a fen stays.
        #[test]
        fn what_can_be_paid_is_whole_fen_and_never_more_than_is_owed(value in 0..=Value::MAX.get()) {
            let owed = Value::new(value).unwrap();
            let paid = owed.payable();
            prop_assert!(paid <= owed && owed.minus(paid).unwrap().get() < MICRO_FEN_PER_FEN);
            prop_assert!(paid.is_zero() || paid.is_payable());
            let digits: String = owed.to_yuan().chars().filter(|it| *it != '.').collect();
            prop_assert_eq!(digits.parse::<u64>().unwrap() * MICRO_FEN_PER_FEN, paid.get());
        }

        #[test]
        fn a_ceiling_is_the_next_multiple(value in 0..1_000_000_000u64, step in 1..1_000_000u64) {
            let up = Value::new(value).unwrap().ceiling_to(Value::new(step).unwrap()).unwrap().get();
            prop_assert!(up >= value && up - value < step && up.is_multiple_of(step));
        }
    }
}
