//! A changed basket as the programme has it, and what it would earn by itself.

use ::programme::calendar::Day;
use ::programme::earn::{Basket, Terms, points};
use ::programme::state::Purchase;
use ::programme::{BasketPart, NAME_MAX, Name, Rules};
use protocol::amount::Rate;
use protocol::time::{Milliseconds, Timestamp};

use crate::exchange::points::account;
use crate::purchases::{BasketChange, BasketKey, Channel, Fen};
use crate::vault::MemberId;

fn part_key(basket: BasketKey, part: u32) -> BasketPart {
    let mut key = [0; 20];
    let bytes = basket.as_bytes().iter().copied().chain(part.to_be_bytes());
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    BasketPart::from_bytes(key)
}

/// The name that the rules have for a channel: what is not a shop is counted under its own, and is `online` where the
/// rules do not name it.
const fn channel(channel: Channel) -> &'static str {
    match channel {
        Channel::Store => "offline",
        other => other.name(),
    }
}

/// The category of a department: what the rules say, or its own name.
fn category(rules: &Rules, department: &str) -> Option<Name> {
    let said = rules.earning.departments.get(department.trim());
    said.cloned().or_else(|| spelt(department))
}

/// A department as a name in the rules: small letters, and `_` for what a name cannot have. None for one
/// of which nothing is left, such as one in Chinese: it has no factor of its own unless the rules name its category.
fn spelt(department: &str) -> Option<Name> {
    let letters = department.trim().chars().map(|letter| match letter.to_ascii_lowercase() {
        letter @ ('a'..='z' | '0'..='9' | '-') => letter,
        _ => '_',
    });
    let name: String = letters.take(NAME_MAX).collect();
    if name.bytes().all(|byte| byte == b'_') { None } else { Name::new(&name).ok() }
}

fn basket(rules: &Rules, total: Fen, departments: &[(String, i64)]) -> Basket {
    // what is returned beyond the basket is nothing
    let fen = |fen: i64| ::programme::Fen::new(u64::try_from(fen).unwrap_or(0)).unwrap_or_default();
    let mut all = Basket::of(fen(total.get()));
    for (department, sum) in departments {
        let Some(name) = category(rules, department).filter(|_| *sum > 0) else { continue };
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
pub fn purchase(rules: &Rules, change: &BasketChange) -> Option<Purchase> {
    let day = Day::new(u32::try_from(change.day).unwrap_or(0));
    let hour = change.hour.and_then(|hour| u8::try_from(hour).ok()).filter(|hour| *hour < 24);
    // noon of a purchase whose hour was not kept: an hour that no part of the day counts
    let at = rules
        .zone
        .start(day)
        .plus(Milliseconds::from_seconds(60 * 60 * u64::from(hour.unwrap_or(12))));
    let first_part = change.part == 0;
    let known: &[_] = if first_part { &[] } else { &change.departments };
    Some(Purchase {
        account: account(change.member?),
        part: part_key(change.basket, change.part),
        at: at.max(Timestamp::from_unix_ms(0)),
        hour,
        channel: Name::new(channel(change.channel)).ok()?,
        first_part,
        before: basket(rules, change.before, known),
        after: basket(rules, change.after, &change.departments),
    })
}

/// What baskets came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Earned {
    /// How many earned.
    pub movements: u64,
    /// What they earned together.
    pub points: u64,
    /// How many were kept and earned nothing, since their members have not agreed to take part in the programme.
    pub without_consent: u64,
}

impl Earned {
    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            movements: self.movements.saturating_add(other.movements),
            points: self.points.saturating_add(other.points),
            without_consent: self.without_consent.saturating_add(other.without_consent),
        }
    }
}

/// What changed baskets would earn, for a dry run. Tiers, birthdays and triggers are left out, and so is what
/// was counted before. Who takes part, the caller says.
///
/// # Errors
/// When the caller cannot say it.
pub fn would_earn<E>(
    rules: &Rules,
    changes: &[BasketChange],
    takes_part: impl Fn(MemberId) -> Result<bool, E>,
) -> Result<Earned, E> {
    let mut sum = Earned::default();
    for change in changes {
        let (Some(member), Some(purchase)) = (change.member, purchase(rules, change)) else {
            continue;
        };
        if !takes_part(member)? {
            sum.without_consent = sum.without_consent.saturating_add(1);
            continue;
        }
        let terms = Terms { channel: &purchase.channel, tier: Rate::ONE, birthday: false };
        let count = |basket| points(&rules.earning, basket, terms);
        let earned = count(&purchase.after).saturating_minus(count(&purchase.before)).get();
        if earned > 0 {
            sum = sum.and(Earned { movements: 1, points: earned, without_consent: 0 });
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use alliance_config::sample;

    use super::*;

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
            hour: None,
        }
    }

    #[test]
    fn a_basket_is_the_same_part_whenever_it_comes_and_a_guest_has_none() {
        let rules = &Rules::from_toml(sample::FIRST_RULES).unwrap();
        let first = purchase(rules, &change(0, 10_000)).unwrap();
        assert_eq!(first, purchase(rules, &change(0, 10_000)).unwrap());
        let second = purchase(rules, &change(1, 10_000)).unwrap();
        assert_eq!((first.part.basket(), 1), (second.part.basket(), second.part.number()));
        assert_eq!(purchase(rules, &BasketChange { member: None, ..change(0, 10_000) }), None);
        assert_eq!(rules.zone.day(first.at), Day::new(20_000));
        let back = purchase(rules, &change(0, -500)).unwrap();
        assert_eq!(back.after.total, ::programme::Fen::ZERO);
    }

    #[test]
    fn departments_are_categories_as_far_as_a_name_can_have_them() {
        let rules = &Rules::from_toml(sample::FIRST_RULES).unwrap();
        let found = purchase(rules, &change(0, 10_000)).unwrap();
        let fen = |name| found.after.category(&Name::new(name).unwrap()).get();
        assert_eq!((fen("fresh_food"), fen("fresh-food")), (3_500, 1_000));
        assert_eq!((found.after.categories.len(), found.before.categories.len()), (2, 0));
        let later = purchase(rules, &change(3, 10_000)).unwrap();
        assert_eq!(later.after.categories, later.before.categories);
    }

    /// Departments in Chinese have a factor where the rules say which category they are.
    #[test]
    fn the_rules_say_which_category_a_department_is_in_whatever_letters() {
        let rules = |departments: &str| {
            let text = format!(
                "format = \"coalition programme 1\"\nversion = 1\n[earning.categories]\nfresh = [3, 1]\n{departments}"
            );
            Rules::from_toml(&text).unwrap()
        };
        let named =
            rules("[earning.departments]\n\"生鲜\" = \"fresh\"\n\"Fresh-food\" = \"fresh\"");
        let found = purchase(&named, &change(0, 10_000)).unwrap();
        let fen = |name| found.after.category(&Name::new(name).unwrap()).get();
        // what the rules do not name is its own category still
        assert_eq!((fen("fresh"), fen("fresh_food"), fen("fresh-food")), (3_000, 3_500, 0));
        // thirty yuan count three times
        let would = |rules: &Rules| {
            let all = |_| Ok::<_, std::convert::Infallible>(true);
            would_earn(rules, &[change(0, 10_000)], all).unwrap().points
        };
        assert_eq!((would(&rules("")), would(&named)), (100, 160));
    }

    /// Fails when an app's purchases are online and nothing else: then the rate that members read is never given.
    #[test]
    fn a_channel_that_the_rules_name_has_its_rate_and_every_other_is_online() {
        let of = |channels: &str| {
            let text = format!(
                "format = \"coalition programme 1\"\nversion = 1\n[earning.channels]\n{channels}"
            );
            let rules = Rules::from_toml(&text).unwrap();
            Channel::ALL.map(|channel| {
                let all = |_| Ok::<_, std::convert::Infallible>(true);
                let bought = BasketChange { channel, ..change(0, 10_000) };
                would_earn(&rules, &[bought], all).unwrap().points
            })
        };
        // store, app, mini-program, e-commerce
        assert_eq!(of("app = [3, 1]"), [100, 300, 100, 100]);
        assert_eq!(of("app = [3, 1]\nonline = [2, 1]"), [100, 300, 200, 200]);
        assert_eq!(of("offline = [5, 1]\nonline = [2, 1]"), [500, 200, 200, 200]);
        let rules = Rules::from_toml(sample::FIRST_RULES).unwrap();
        for channel in Channel::ALL {
            let bought = BasketChange { channel, ..change(0, 10_000) };
            let name = purchase(&rules, &bought).unwrap().channel;
            assert!(::programme::rules::is_channel(&name), "{name}");
        }
    }

    #[test]
    fn the_hour_of_a_purchase_is_known_where_it_was_kept_and_its_day_always() {
        let rules = Rules::from_toml(sample::FIRST_RULES).unwrap();
        for (hour, known) in
            [(Some(0), Some(0)), (Some(23), Some(23)), (Some(24), None), (None, None)]
        {
            let found = purchase(&rules, &BasketChange { hour, ..change(0, 10_000) }).unwrap();
            assert_eq!((found.hour, rules.zone.day(found.at)), (known, Day::new(20_000)));
            assert_eq!(rules.zone.hour(found.at), known.unwrap_or(12));
        }
    }

    #[test]
    fn the_sample_earns_a_point_a_yuan_and_the_template_is_a_programme() {
        let rules = Rules::from_toml(sample::FIRST_RULES).unwrap();
        let guest = BasketChange { member: None, ..change(0, 10_000) };
        let changes = [change(0, 10_099), guest, change(0, 99)];
        let would = |takes_part| {
            would_earn(&rules, &changes, |_| Ok::<_, std::convert::Infallible>(takes_part)).unwrap()
        };
        assert_eq!(would(true), Earned { movements: 1, points: 100, without_consent: 0 });
        // who has not agreed to take part earns nothing, and that is counted; a guest is nobody
        assert_eq!(would(false), Earned { movements: 0, points: 0, without_consent: 2 });
        let rules = Rules::from_toml(sample::PROGRAMME_TEMPLATE).unwrap();
        assert_eq!((rules.tiers.list.len(), rules.coupons.len(), rules.triggers.len()), (2, 3, 2));
    }
}
