//! Earning: so many points a yuan, rounded down once for the whole basket.

use protocol::amount::{Points, Rate};
use serde::Deserialize;

use crate::purchases::{BasketChange, BasketKey, Fen};
use crate::vault::MemberId;

/// How purchases earn points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarnRule {
    points_per_yuan: Rate,
    minimum_basket: Fen,
    most_per_basket: Points,
}

/// Why a rule was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// Not the TOML of a rule; the parser says where.
    #[error("the earning rule cannot be read")]
    Unreadable(#[source] Box<toml::de::Error>),
    /// A ratio with a zero.
    #[error(
        "points_per_yuan: two positive integers, points and yuan, as in [3, 2] (found [{points}, {yuan}])"
    )]
    Ratio {
        /// Above the line.
        points: u32,
        /// Below the line.
        yuan: u32,
    },
    /// Out of range.
    #[error("minimum_basket_fen: 0 to {} fen (found {found})", Fen::MAX)]
    Minimum {
        /// What it said.
        found: i64,
    },
    /// Out of range.
    #[error("most_points_per_basket: 1 to {} (found {found})", Points::MAX.get())]
    Most {
        /// What it said.
        found: u64,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEarnRule {
    points_per_yuan: [u32; 2],
    #[serde(default)]
    minimum_basket_fen: i64,
    most_points_per_basket: u64,
}

/// Points that a basket earned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earned {
    /// Whose.
    pub member: MemberId,
    /// How many; never zero.
    pub points: Points,
    /// By what.
    pub basket: BasketKey,
    /// 0 when the basket first earns; lines that arrive later earn as parts 1, 2 and so on.
    pub part: u32,
}

impl Earned {
    /// The same for the same part of the same basket, however often it is imported: to be entered
    /// once.
    #[must_use]
    pub fn key(&self) -> [u8; 20] {
        let mut key = [0; 20];
        let bytes = self.basket.as_bytes().iter().copied().chain(self.part.to_be_bytes());
        key.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        key
    }
}

impl EarnRule {
    /// Reads a rule:
    /// ```toml
    /// points_per_yuan = [3, 2]        # three points for two yuan
    /// minimum_basket_fen = 500        # baskets below earn nothing; 0 if left out
    /// most_points_per_basket = 10000
    /// ```
    ///
    /// # Errors
    /// [`RuleError`] names the field, what was found and what would be right.
    pub fn from_toml(text: &str) -> Result<Self, RuleError> {
        let raw: RawEarnRule =
            toml::from_str(text).map_err(|error| RuleError::Unreadable(Box::new(error)))?;
        let [points, yuan] = raw.points_per_yuan;
        let points_per_yuan =
            Rate::new(points, yuan).map_err(|_| RuleError::Ratio { points, yuan })?;
        let found = raw.minimum_basket_fen;
        let minimum_basket = Fen::new(found)
            .ok()
            .filter(|minimum| *minimum >= Fen::ZERO)
            .ok_or(RuleError::Minimum { found })?;
        let found = raw.most_points_per_basket;
        let most_per_basket = Points::new(found)
            .ok()
            .filter(|most| !most.is_zero())
            .ok_or(RuleError::Most { found })?;
        Ok(Self { points_per_yuan, minimum_basket, most_per_basket })
    }

    /// Points of a basket of `total`; never fewer for a larger total.
    #[must_use]
    pub fn points(&self, total: Fen) -> Points {
        let Ok(fen) = u128::try_from(total.get()) else { return Points::ZERO };
        if total < self.minimum_basket {
            return Points::ZERO;
        }
        // total <= 10^9 fen and each part of a rate < 2^32: far below 2^128
        let points = fen * u128::from(self.points_per_yuan.numerator())
            / (100 * u128::from(self.points_per_yuan.denominator()));
        let most = self.most_per_basket;
        u64::try_from(points)
            .ok()
            .and_then(|points| Points::new(points).ok())
            .unwrap_or(most)
            .min(most)
    }

    /// What a change of a basket earns; nothing for guests, or when no whole point was added.
    #[must_use]
    pub fn earn(&self, change: &BasketChange) -> Option<Earned> {
        let points = self.points(change.after).saturating_minus(self.points(change.before));
        let member = change.member.filter(|_| !points.is_zero())?;
        Some(Earned { member, points, basket: change.basket, part: change.part })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purchases::Channel;
    use proptest::prelude::*;

    fn rule(points: u32, yuan: u32, minimum: i64, most: u64) -> EarnRule {
        EarnRule::from_toml(&format!(
            "points_per_yuan = [{points}, {yuan}]\nminimum_basket_fen = {minimum}\nmost_points_per_basket = {most}"
        ))
        .unwrap()
    }

    fn fen(fen: i64) -> Fen {
        Fen::new(fen).unwrap()
    }

    #[test]
    fn points_are_rounded_down_once_a_basket() {
        let rule = rule(3, 2, 500, 1_000);
        for (total, points) in [
            (0, 0),
            (499, 0),
            (500, 7),
            (566, 8),
            (567, 8),
            (-900, 0),
            (66_666, 999),
            (99_999_999, 1_000),
        ] {
            assert_eq!(rule.points(fen(total)).get(), points, "{total} fen");
        }
    }

    #[test]
    fn guests_earn_nothing() {
        let change = BasketChange {
            member: None,
            basket: BasketKey::from_bytes([1; 16]),
            part: 0,
            before: fen(0),
            after: fen(10_000),
            refund: None,
            day: 20_000,
            channel: Channel::Store,
            departments: Vec::new(),
        };
        assert_eq!(rule(1, 1, 0, 1_000).earn(&change), None);
        let member = Some(MemberId::from_bytes([2; 16]));
        let earned = rule(1, 1, 0, 1_000).earn(&BasketChange { member, ..change }).unwrap();
        assert_eq!(earned.points.get(), 100);
        let later = Earned { part: 1, ..earned };
        assert_ne!(earned.key(), later.key());
    }

    #[test]
    fn a_wrong_rule_says_what_would_be_right() {
        for (text, told) in [
            ("points_per_yuan = [0, 1]\nmost_points_per_basket = 5", "two positive integers"),
            ("points_per_yuan = [1, 1]\nmost_points_per_basket = 0", "1 to 1000000000000"),
            (
                "points_per_yuan = [1, 1]\nmost_points_per_basket = 5\nminimum_basket_fen = -1",
                "0 to 1000000000 fen (found -1)",
            ),
        ] {
            let error = EarnRule::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
        let error = EarnRule::from_toml("points_per_yuan = [1, 1]\nmost = 5").unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("line 2"), "{source}");
    }

    proptest! {
        /// A basket imported in parts earns what it would have earned whole.
        #[test]
        fn parts_add_up(
            amounts in prop::collection::vec(0..50_000i64, 1..20),
            points in 1..50u32, yuan in 1..50u32, minimum in 0..20_000i64, most in 1..5_000u64,
        ) {
            let rule = rule(points, yuan, minimum, most);
            let (mut total, mut earned) = (0, 0);
            for (part, amount) in (0..).zip(amounts) {
                let change = BasketChange {
                    member: Some(MemberId::from_bytes([2; 16])),
                    basket: BasketKey::from_bytes([1; 16]),
                    part,
                    before: fen(total),
                    after: fen(total + amount),
                    refund: None,
                    day: 20_000,
                    channel: Channel::Store,
                    departments: Vec::new(),
                };
                total += amount;
                earned += rule.earn(&change).map_or(0, |earned| earned.points.get());
            }
            prop_assert_eq!(earned, rule.points(fen(total)).get());
        }
    }
}
