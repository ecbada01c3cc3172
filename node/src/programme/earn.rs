//! A changed basket as the programme has it, and what it would earn by itself.

use ::programme::calendar::{Day, Zone};
use ::programme::earn::{Basket, Terms, points};
use ::programme::state::Purchase;
use ::programme::{BasketPart, NAME_MAX, Name, Rules};
use protocol::amount::Rate;
use protocol::time::{Milliseconds, Timestamp};

use crate::exchange::points::account;
use crate::purchases::{BasketChange, BasketKey, Channel, Fen};

fn part_key(basket: BasketKey, part: u32) -> BasketPart {
    let mut key = [0; 20];
    let bytes = basket.as_bytes().iter().copied().chain(part.to_be_bytes());
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    BasketPart::from_bytes(key)
}

/// The name that the rules have for a channel.
const fn channel(channel: Channel) -> &'static str {
    match channel {
        Channel::Store => "offline",
        _ => "online",
    }
}

/// A department as a name in the rules: small letters, and `_` for what a name cannot have. None for one
/// of which nothing is left, such as one in Chinese: it has no factor of its own.
fn category(department: &str) -> Option<Name> {
    let letters = department.trim().chars().map(|letter| match letter.to_ascii_lowercase() {
        letter @ ('a'..='z' | '0'..='9' | '-') => letter,
        _ => '_',
    });
    let name: String = letters.take(NAME_MAX).collect();
    if name.bytes().all(|byte| byte == b'_') { None } else { Name::new(&name).ok() }
}

fn basket(total: Fen, departments: &[(String, i64)]) -> Basket {
    // what is returned beyond the basket is nothing
    let fen = |fen: i64| ::programme::Fen::new(u64::try_from(fen).unwrap_or(0)).unwrap_or_default();
    let mut all = Basket::of(fen(total.get()));
    for (department, sum) in departments {
        let Some(name) = category(department).filter(|_| *sum > 0) else { continue };
        match all.categories.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = fen(sum.saturating_add_unsigned(known.get())),
            None => all.categories.push((name, fen(*sum))),
        }
    }
    all
}

/// A change of a basket as the programme has it; none for guests.
///
/// The programme counts by categories what a basket first has: of what changes later it is not known which
/// category grew, so that both sides of such a change have the same.
#[must_use]
pub fn purchase(zone: Zone, change: &BasketChange) -> Option<Purchase> {
    // noon: the hour of a purchase is not kept
    let day = Day::new(u32::try_from(change.day).unwrap_or(0));
    let at = zone.start(day).plus(Milliseconds::from_seconds(12 * 60 * 60));
    let first_part = change.part == 0;
    let known: &[_] = if first_part { &[] } else { &change.departments };
    Some(Purchase {
        account: account(change.member?),
        part: part_key(change.basket, change.part),
        at: at.max(Timestamp::from_unix_ms(0)),
        channel: Name::new(channel(change.channel)).ok()?,
        first_part,
        before: basket(change.before, known),
        after: basket(change.after, &change.departments),
    })
}

/// What changed baskets would earn, for a dry run: how many, and how many points together. Tiers,
/// birthdays and triggers are left out, and so is what was counted before.
#[must_use]
pub fn would_earn(rules: &Rules, changes: &[BasketChange]) -> (u64, u64) {
    let mut sum = (0_u64, 0_u64);
    for purchase in changes.iter().filter_map(|change| purchase(rules.zone, change)) {
        let terms = Terms { channel: &purchase.channel, tier: Rate::ONE, birthday: false };
        let count = |basket| points(&rules.earning, basket, terms);
        let earned = count(&purchase.after).saturating_minus(count(&purchase.before)).get();
        if earned > 0 {
            sum = (sum.0.saturating_add(1), sum.1.saturating_add(earned));
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use alliance_config::sample;

    use super::*;
    use crate::vault::MemberId;

    fn change(part: u32, after: i64) -> BasketChange {
        BasketChange {
            member: Some(MemberId::from_bytes([2; 16])),
            basket: BasketKey::from_bytes([1; 16]),
            part,
            before: Fen::ZERO,
            after: Fen::new(after).unwrap(),
            refund: None,
            day: 20_000,
            channel: Channel::Store,
            departments: vec![
                ("FRESH FOOD".to_owned(), 3_000),
                ("生鲜".to_owned(), 2_000),
                ("Fresh-food".to_owned(), 1_000),
                ("fresh food".to_owned(), 500),
            ],
        }
    }

    #[test]
    fn a_basket_is_the_same_part_whenever_it_comes_and_a_guest_has_none() {
        let zone = Zone::new(480).unwrap();
        let first = purchase(zone, &change(0, 10_000)).unwrap();
        assert_eq!(first, purchase(zone, &change(0, 10_000)).unwrap());
        let second = purchase(zone, &change(1, 10_000)).unwrap();
        assert_eq!((first.part.basket(), 1), (second.part.basket(), second.part.number()));
        assert_eq!(purchase(zone, &BasketChange { member: None, ..change(0, 10_000) }), None);
        assert_eq!(zone.day(first.at), Day::new(20_000));
        let back = purchase(zone, &change(0, -500)).unwrap();
        assert_eq!(back.after.total, ::programme::Fen::ZERO);
    }

    #[test]
    fn departments_are_categories_as_far_as_a_name_can_have_them() {
        let found = purchase(Zone::new(480).unwrap(), &change(0, 10_000)).unwrap();
        let fen = |name| found.after.category(&Name::new(name).unwrap()).get();
        assert_eq!((fen("fresh_food"), fen("fresh-food")), (3_500, 1_000));
        assert_eq!((found.after.categories.len(), found.before.categories.len()), (2, 0));
        let later = purchase(Zone::new(480).unwrap(), &change(3, 10_000)).unwrap();
        assert_eq!(later.after.categories, later.before.categories);
    }

    #[test]
    fn the_sample_earns_a_point_a_yuan_and_the_template_is_a_programme() {
        let rules = Rules::from_toml(sample::FIRST_RULES).unwrap();
        let guest = BasketChange { member: None, ..change(0, 10_000) };
        assert_eq!(would_earn(&rules, &[change(0, 10_099), guest, change(0, 99)]), (1, 100));
        let rules = Rules::from_toml(sample::PROGRAMME_TEMPLATE).unwrap();
        assert_eq!((rules.tiers.list.len(), rules.coupons.len(), rules.triggers.len()), (2, 3, 2));
    }
}
