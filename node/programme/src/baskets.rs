//! What each basket has earned, so that what changes it later is counted against that.
//!
//! A basket keeps the terms it was first counted under (the member's tier, the birthday): goods that come
//! back take away what they had given, whatever tier the member has by then, and a basket that shrinks
//! and grows again has earned once.

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use protocol::amount::{Points, Rate};
use protocol::shared_map::SharedMap;

use crate::ids::BasketPart;

/// One basket as it has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct CountedBasket {
    /// Its latest part that has counted.
    #[n(0)]
    pub part: u32,
    /// The factor of the member's tier when it first counted.
    #[n(1)]
    pub tier: Rate,
    /// Whether that was the member's birthday.
    #[n(2)]
    pub birthday: bool,
    /// What it has earned, less what was taken back.
    #[n(3)]
    pub earned: Points,
    /// What it would have earned beside that, had its member taken part at the time: nobody has these points,
    /// and a consent given later brings none of them back.
    #[cbor(n(4), default)]
    pub forgone: Points,
}

impl CountedBasket {
    /// What all of it comes to, whether the member has that or not.
    pub(crate) fn comes_to(&self) -> Points {
        self.earned.plus(self.forgone).unwrap_or(Points::MAX)
    }

    /// Takes so much off what it comes to, first off what nobody has; gives what is to be taken back.
    pub(crate) fn take_off(&mut self, points: Points) -> Points {
        let taken_back = points.saturating_minus(self.forgone);
        self.forgone = self.forgone.saturating_minus(points);
        self.earned = self.earned.saturating_minus(taken_back);
        taken_back
    }
}

/// All baskets that have counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Baskets(#[n(0)] SharedMap<ByteArray<16>, CountedBasket>);

impl Baskets {
    /// A basket, by any of its parts.
    #[must_use]
    pub fn get(&self, part: BasketPart) -> Option<CountedBasket> {
        self.0.get(&ByteArray::from(part.basket())).copied()
    }

    /// Whether a part has counted, or a later one.
    #[must_use]
    pub fn has(&self, part: BasketPart) -> bool {
        self.get(part).is_some_and(|counted| counted.part >= part.number())
    }

    pub(crate) fn enter(&mut self, part: BasketPart, basket: CountedBasket) {
        self.0.insert(ByteArray::from(part.basket()), basket);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
