//! What a basket earns by itself: tier, birthday and campaigns left out.

use ::programme::calendar::Day;
use ::programme::earn::{Basket, Terms, points};
use ::programme::state::Purchase;
use ::programme::{BasketPart, Name, Rules};
use protocol::amount::{Points, Rate};
use protocol::time::{Milliseconds, Timestamp};

use super::RuleError;
use crate::exchange::points::account;
use crate::purchases::{BasketChange, BasketKey, Channel, Fen};
use crate::vault::MemberId;

/// By what channel purchases come whose file does not say it.
const CHANNEL: &str = "offline";

/// How purchases earn points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarnRule {
    rules: Rules,
    channel: Name,
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
        part_key(self.basket, self.part)
    }
}

fn part_key(basket: BasketKey, part: u32) -> [u8; 20] {
    let mut key = [0; 20];
    let bytes = basket.as_bytes().iter().copied().chain(part.to_be_bytes());
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    key
}

/// The name that the rules have for a channel.
const fn channel(channel: Channel) -> &'static str {
    match channel {
        Channel::Store => CHANNEL,
        _ => "online",
    }
}

/// A change of a basket as the programme has it; none for guests.
#[must_use]
pub fn purchase(rules: &Rules, change: &BasketChange) -> Option<Purchase> {
    // noon: the hour of a purchase is not kept
    let day = Day::new(u32::try_from(change.day).unwrap_or(0));
    let at = rules.zone.start(day).plus(Milliseconds::from_seconds(12 * 60 * 60));
    let money = |total: Fen| {
        let fen = u64::try_from(total.get()).unwrap_or(0);
        Basket::of(programme::Fen::new(fen).unwrap_or_default())
    };
    Some(Purchase {
        account: account(change.member?),
        part: BasketPart::from_bytes(part_key(change.basket, change.part)),
        at: at.max(Timestamp::from_unix_ms(0)),
        channel: Name::new(channel(change.channel)).ok()?,
        first_part: change.part == 0,
        before: money(change.before),
        after: money(change.after),
    })
}

impl EarnRule {
    /// Reads the rules of a programme.
    ///
    /// # Errors
    /// [`RuleError`] names the line, the field, what was found and what would be right.
    pub fn from_toml(text: &str) -> Result<Self, RuleError> {
        let wrong = |error: programme::InvalidName| RuleError {
            line: 1,
            field: CHANNEL.to_owned(),
            problem: error.to_string(),
        };
        Ok(Self { rules: Rules::from_toml(text)?, channel: Name::new(CHANNEL).map_err(wrong)? })
    }

    /// Points of a basket of `total`; never fewer for a larger total.
    #[must_use]
    pub fn points(&self, total: Fen) -> Points {
        // what is returned beyond the basket is nothing
        let fen = u64::try_from(total.get()).unwrap_or(0);
        let basket = Basket::of(programme::Fen::new(fen).unwrap_or_default());
        let terms = Terms { channel: &self.channel, tier: Rate::ONE, birthday: false };
        points(&self.rules.earning, &basket, terms)
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
    use alliance_config::sample;

    use super::*;

    #[test]
    fn guests_earn_nothing_and_parts_have_their_own_keys() {
        let rule = EarnRule::from_toml(sample::EARN_RULE).unwrap();
        let (before, after) = (Fen::ZERO, Fen::new(10_099).unwrap());
        let basket = BasketKey::from_bytes([1; 16]);
        let change = BasketChange {
            member: None,
            basket,
            part: 0,
            before,
            after,
            refund: None,
            day: 20_000,
            channel: Channel::Store,
            departments: Vec::new(),
        };
        assert_eq!(rule.earn(&change), None);
        let member = Some(MemberId::from_bytes([2; 16]));
        let earned = rule.earn(&BasketChange { member, ..change }).unwrap();
        assert_eq!(earned.points.get(), 100);
        assert_ne!(earned.key(), Earned { part: 1, ..earned }.key());
        assert_eq!(rule.points(Fen::new(-500).unwrap()), Points::ZERO);
    }

    #[test]
    fn the_template_of_a_programme_is_one() {
        let rules = Rules::from_toml(sample::PROGRAMME_TEMPLATE).unwrap();
        assert_eq!((rules.tiers.list.len(), rules.coupons.len(), rules.triggers.len()), (2, 3, 2));
    }
}
