//! What a basket earns: an exact ratio, rounded down once for the whole basket.

use minicbor::{Decode, Encode};
use protocol::amount::{Points, Rate};

use crate::ids::{Fen, Name};
use crate::rules::{Earning, common_denominator};

/// A basket as far as it is known: its total, and how much of it is of which category.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Basket {
    /// All lines together.
    #[n(0)]
    pub total: Fen,
    /// Of it, by category; what is of none is left out.
    #[n(1)]
    pub categories: Vec<(Name, Fen)>,
}

impl Basket {
    /// A basket of which no category is known.
    #[must_use]
    pub const fn of(total: Fen) -> Self {
        Self { total, categories: Vec::new() }
    }

    /// What is of a category.
    #[must_use]
    pub fn category(&self, name: &Name) -> Fen {
        let found = self.categories.iter().find(|(category, _)| category == name);
        found.map_or(Fen::ZERO, |(_, fen)| *fen)
    }
}

/// What of a purchase besides its lines decides on its points.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// By which channel it came.
    pub channel: &'a Name,
    /// The factor of the member's tier.
    pub tier: Rate,
    /// Whether it is the member's birthday.
    pub birthday: bool,
}

/// Points of a basket. Never fewer for a basket to which something was added.
///
/// `fen * points per yuan / 100 * factors`, all exact; categories by their own factor first.
#[must_use]
pub fn points(earning: &Earning, basket: &Basket, terms: Terms<'_>) -> Points {
    exact(earning, basket, terms).unwrap_or(earning.most_per_basket).min(earning.most_per_basket)
}

fn exact(earning: &Earning, basket: &Basket, terms: Terms<'_>) -> Option<Points> {
    if basket.total < earning.minimum_basket {
        return Some(Points::ZERO);
    }
    let rates = earning.categories.values();
    let common = u128::from(common_denominator(rates)?);
    // in hundredths of a yuan times the common denominator
    let mut rest = u128::from(basket.total.get());
    let mut weighed = 0_u128;
    for (name, fen) in &basket.categories {
        let Some(rate) = earning.categories.get(name) else { continue };
        let fen = u128::from(fen.get()).min(rest);
        rest = rest.checked_sub(fen)?;
        let share = common.checked_div(u128::from(rate.denominator()))?;
        let part = fen.checked_mul(u128::from(rate.numerator()))?.checked_mul(share)?;
        weighed = weighed.checked_add(part)?;
    }
    weighed = weighed.checked_add(rest.checked_mul(common)?)?;
    let birthday = if terms.birthday { earning.birthday } else { Rate::ONE };
    let rate = earning.rate(terms.channel);
    let (mut above, mut below) = (weighed, common.checked_mul(100)?);
    for factor in [rate, terms.tier, birthday] {
        above = above.checked_mul(u128::from(factor.numerator()))?;
        below = below.checked_mul(u128::from(factor.denominator()))?;
    }
    u64::try_from(above.checked_div(below)?).ok().and_then(|points| Points::new(points).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rules;
    use proptest::prelude::*;

    fn earning(text: &str) -> Earning {
        let head = "format = \"coalition programme 1\"\nversion = 1\n[earning]\n";
        Rules::from_toml(&format!("{head}{text}")).unwrap().earning
    }
    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }
    fn fen(fen: u64) -> Fen {
        Fen::new(fen).unwrap()
    }

    #[test]
    fn points_are_rounded_down_once_a_basket() {
        let earning = earning(
            "points_per_yuan = [3, 2]\nminimum_basket_fen = 500\nmost_points_per_basket = 1000",
        );
        let terms = Terms { channel: &name("offline"), tier: Rate::ONE, birthday: true };
        for (total, expected) in
            [(0, 0), (499, 0), (500, 7), (566, 8), (567, 8), (66_666, 999), (99_999_999, 1_000)]
        {
            assert_eq!(
                points(&earning, &Basket::of(fen(total)), terms).get(),
                expected,
                "{total} fen"
            );
        }
    }

    #[test]
    fn channel_tier_category_and_birthday_multiply() {
        let earning = earning(
            "birthday_factor = [2, 1]\nchannels = { offline = [3, 2], online = [1, 1] }\ncategories = { fresh = [4, 3], wine = [1, 2] }",
        );
        let basket = Basket {
            total: fen(10_000),
            categories: vec![(name("fresh"), fen(3_000)), (name("wine"), fen(2_000))],
        };
        let with = |channel: &str, tier: (u32, u32), birthday| {
            let tier = Rate::new(tier.0, tier.1).unwrap();
            points(&earning, &basket, Terms { channel: &name(channel), tier, birthday }).get()
        };
        // 30 * 4/3 + 20 * 1/2 + 50 = 100
        assert_eq!(with("online", (1, 1), false), 100);
        assert_eq!(with("offline", (1, 1), false), 150);
        assert_eq!(with("offline", (11, 10), false), 165);
        assert_eq!(with("offline", (11, 10), true), 330);
        assert_eq!(with("app", (1, 1), false), 100);
    }

    proptest! {
        /// A basket that comes in parts earns what it would have earned whole, and never less for more.
        #[test]
        fn parts_add_up(
            amounts in prop::collection::vec(0..50_000_u64, 1..20), rate in (1..50_u32, 1..50_u32),
            minimum in 0..20_000_u64, most in 1..5_000_u64, category in (1..50_u32, 1..50_u32),
        ) {
            let earning = earning(&format!(
                "points_per_yuan = [{}, {}]\nminimum_basket_fen = {minimum}\nmost_points_per_basket = {most}\ncategories = {{ a = [{}, {}] }}",
                rate.0, rate.1, category.0, category.1
            ));
            let terms = Terms { channel: &name("offline"), tier: Rate::ONE, birthday: false };
            let (mut basket, mut sum) = (Basket::default(), 0);
            for amount in amounts {
                let before = points(&earning, &basket, terms);
                basket.total = fen(basket.total.get() + amount);
                basket.categories = vec![(name("a"), fen(basket.category(&name("a")).get() + amount / 3))];
                sum += points(&earning, &basket, terms).minus(before).unwrap().get();
            }
            prop_assert_eq!(sum, points(&earning, &basket, terms).get());
        }
    }
}
