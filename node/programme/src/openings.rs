//! Balances that members bring from a programme of before: what was owed to them when this one began.
//!
//! A member brings one, once and for ever: its lots with the last day of each, and what counts towards a
//! tier. Two people bring it: what the first has entered waits until another gives the same. Its points come
//! from an account of their own ([`crate::accounts::Side::Opening`]): this brand has not issued them.

use minicbor::{Decode, Encode};
use protocol::amount::{AmountError, Points};
use protocol::crypto::sha256;
use protocol::time::Timestamp;

use crate::calendar::Day;

/// Most lots of one member.
pub const LOTS_MAX: usize = 64;

/// Points that are valid until a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpeningLot {
    /// Their last day; without one they are valid as points that are earned when they are given.
    pub last_day: Option<Day>,
    /// How many.
    pub points: Points,
}

/// What a member brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpeningBalance {
    // in one order, whatever the order they were told in
    lots: Vec<OpeningLot>,
    tier_points: Points,
}

impl OpeningBalance {
    /// Lots, in whatever order, and what counts towards a tier. A lot of no points is none.
    #[must_use]
    pub fn new(lots: impl IntoIterator<Item = OpeningLot>, tier_points: Points) -> Self {
        let mut lots: Vec<OpeningLot> =
            lots.into_iter().filter(|lot| !lot.points.is_zero()).collect();
        lots.sort_unstable();
        Self { lots, tier_points }
    }
    /// The lots.
    #[must_use]
    pub fn lots(&self) -> &[OpeningLot] {
        &self.lots
    }
    /// What counts towards a tier.
    #[must_use]
    pub const fn tier_points(&self) -> Points {
        self.tier_points
    }
    /// All points together.
    ///
    /// # Errors
    /// When they leave the range of an amount.
    pub fn points(&self) -> Result<Points, AmountError> {
        self.lots.iter().try_fold(Points::ZERO, |sum, lot| sum.plus(lot.points))
    }

    /// By what it is known again.
    fn content(&self) -> [u8; 16] {
        let mut bytes = self.tier_points.get().to_be_bytes().to_vec();
        for lot in &self.lots {
            // none is no day
            let day = lot.last_day.map_or(0, |day| u64::from(day.get()).saturating_add(1));
            bytes.extend_from_slice(&day.to_be_bytes());
            bytes.extend_from_slice(&lot.points.get().to_be_bytes());
        }
        let hash = sha256(&[b"coalition opening balance v0", &bytes]);
        hash.first_chunk::<16>().copied().unwrap_or_default()
    }
}

/// What is remembered of it: that it was, so that nothing is given twice.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Opening {
    #[cbor(n(0), with = "minicbor::bytes")]
    content: [u8; 16],
    /// How many points.
    #[n(1)]
    pub points: Points,
    /// What counts towards a tier.
    #[n(2)]
    pub tier_points: Points,
    /// When it was given; entered, while it waits.
    #[n(3)]
    pub at: Timestamp,
    /// Who has entered it, while it waits for another person.
    #[n(4)]
    pub waits: Option<String>,
}

impl Opening {
    /// One that waits for another person.
    ///
    /// # Errors
    /// When its points leave the range of an amount.
    pub(crate) fn entered(
        balance: &OpeningBalance,
        by: String,
        at: Timestamp,
    ) -> Result<Self, AmountError> {
        let (points, tier_points) = (balance.points()?, balance.tier_points);
        Ok(Self { content: balance.content(), points, tier_points, at, waits: Some(by) })
    }
    /// Whether it is of this balance.
    #[must_use]
    pub fn is_of(&self, balance: &OpeningBalance) -> bool {
        self.content == balance.content()
    }
    /// Whether the member has it; otherwise it waits.
    #[must_use]
    pub const fn is_given(&self) -> bool {
        self.waits.is_none()
    }
    /// From now on the member has it.
    pub(crate) fn give(&mut self, at: Timestamp) {
        (self.at, self.waits) = (at, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balance_is_the_same_in_whatever_order_and_another_by_any_figure() {
        let lot = |day: Option<u32>, points: u64| OpeningLot {
            last_day: day.map(Day::new),
            points: Points::new(points).unwrap(),
        };
        let of = |lots: &[OpeningLot], tier: u64| {
            OpeningBalance::new(lots.to_vec(), Points::new(tier).unwrap())
        };
        let at = Timestamp::from_unix_ms(1);
        let one = of(&[lot(Some(9), 5), lot(None, 7)], 3);
        let opening = Opening::entered(&one, "li".to_owned(), at).unwrap();
        assert_eq!(opening.points.get(), 12);
        assert!(opening.is_of(&of(&[lot(None, 7), lot(Some(4), 0), lot(Some(9), 5)], 3)));
        for other in [
            of(&[lot(Some(9), 5), lot(None, 7)], 4),
            of(&[lot(Some(8), 5), lot(None, 7)], 3),
            of(&[lot(Some(9), 7), lot(None, 5)], 3),
            of(&[lot(Some(9), 5), lot(Some(0), 7)], 3),
            of(&[lot(None, 12)], 3),
        ] {
            assert!(!opening.is_of(&other), "{other:?}");
        }
        let bytes = minicbor::to_vec(&opening).unwrap();
        assert_eq!(minicbor::decode::<Opening>(&bytes).unwrap(), opening);
    }
}
