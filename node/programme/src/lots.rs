//! Points in lots: each is valid until a moment, and what expires first is spent first.
//!
//! Points held for something promised do not expire: of a member's lots, the first to expire count as
//! the held ones. When points are taken back, they too come from the lots that expire first.

use minicbor::{Decode, Encode};
use protocol::amount::{AmountError, Points};
use protocol::time::Timestamp;

/// Points that expire together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Lot {
    /// The first moment at which they are no longer valid; never without.
    #[n(0)]
    pub expires: Option<Timestamp>,
    /// How many there still are; never zero.
    #[n(1)]
    pub left: Points,
}

/// All lots of one member, the first to expire first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Lots(#[n(0)] Vec<Lot>);

fn order(expires: Option<Timestamp>) -> (bool, Option<Timestamp>) {
    (expires.is_none(), expires)
}

impl Lots {
    /// The lots.
    #[must_use]
    pub fn as_slice(&self) -> &[Lot] {
        &self.0
    }

    /// All points together.
    #[must_use]
    pub fn total(&self) -> Points {
        let sum = self.0.iter().fold(0_u64, |sum, lot| sum.saturating_add(lot.left.get()));
        Points::new(sum).unwrap_or(Points::MAX)
    }

    /// Adds points; those that expire at the same moment are one lot.
    ///
    /// # Errors
    /// When all points together would leave their range.
    pub fn add(&mut self, expires: Option<Timestamp>, points: Points) -> Result<(), AmountError> {
        if points.is_zero() {
            return Ok(());
        }
        self.total().plus(points)?;
        let place = self.0.partition_point(|lot| order(lot.expires) < order(expires));
        match self.0.get_mut(place) {
            Some(lot) if lot.expires == expires => lot.left = lot.left.plus(points)?,
            _ => self.0.insert(place, Lot { expires, left: points }),
        }
        Ok(())
    }

    /// Takes points, those that expire first, and says how many could not be.
    pub fn take(&mut self, points: Points) -> Points {
        let mut wanted = points;
        for lot in &mut self.0 {
            let taken = wanted.min(lot.left);
            lot.left = lot.left.saturating_minus(taken);
            wanted = wanted.saturating_minus(taken);
            if wanted.is_zero() {
                break;
            }
        }
        self.0.retain(|lot| !lot.left.is_zero());
        wanted
    }

    /// How many points are valid no longer at a moment, besides so many that are held.
    #[must_use]
    pub fn expired(&self, now: Timestamp, held: Points) -> Points {
        self.until(now).saturating_minus(held)
    }

    /// How many points expire at a moment or before.
    #[must_use]
    pub fn until(&self, moment: Timestamp) -> Points {
        let due = self.0.iter().filter(|lot| lot.expires.is_some_and(|expires| expires <= moment));
        let sum = due.fold(0_u64, |sum, lot| sum.saturating_add(lot.left.get()));
        Points::new(sum).unwrap_or(Points::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(number: u64) -> Points {
        Points::new(number).unwrap()
    }
    const fn at(ms: u64) -> Option<Timestamp> {
        Some(Timestamp::from_unix_ms(ms))
    }

    #[test]
    fn what_expires_first_is_spent_first_and_what_never_does_last() {
        let mut lots = Lots::default();
        for (expires, number) in [(None, 5), (at(20), 7), (at(10), 3), (at(20), 1)] {
            lots.add(expires, points(number)).unwrap();
        }
        let left = |lots: &Lots| lots.0.iter().map(|lot| lot.left.get()).collect::<Vec<_>>();
        assert_eq!(left(&lots), [3, 8, 5]);
        assert_eq!(lots.take(points(4)), points(0));
        assert_eq!(left(&lots), [7, 5]);
        assert_eq!(lots.expired(Timestamp::from_unix_ms(20), points(2)), points(5));
        assert_eq!(lots.expired(Timestamp::from_unix_ms(19), points(0)), points(0));
        assert_eq!(lots.take(points(20)), points(8));
        assert_eq!(lots.total(), points(0));
    }
}
