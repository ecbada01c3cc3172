//! What rules would have come to on purchases of the past, before they are taken up.
//!
//! The same programme as in a node runs over the purchases in the order of their days, on a clock that is
//! theirs: tiers rise and fall, triggers fire, points expire. Nothing is known of what members would have
//! done otherwise, nor of what purchases do not tell (birthdays, sign-ins, what would have been spent on
//! rewards), so that points redeemed are left out: what is left at the end is the most that would be owed.
//! For the same reason every member is taken to consent to marketing.

use std::collections::BTreeMap;

use protocol::time::Timestamp;

use crate::accounts::Side;
use crate::ids::{Account, Name};
use crate::report::{self, MonthOfExpiry};
use crate::rules::Rules;
use crate::state::{Change, Event, Outcome, Programme, Purchase};

/// Things that are due looked at in one go.
const DUE: usize = 10_000;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulation {
    /// From the first purchase; none without purchases.
    pub from: Option<Timestamp>,
    /// To the last.
    pub to: Option<Timestamp>,
    /// Purchases that counted.
    pub purchases: u64,
    /// What they came to, in fen.
    pub spent_fen: u128,
    /// Members who bought.
    pub members: u64,
    /// Points issued for purchases.
    pub earned_points: u128,
    /// Points that triggers gave.
    pub campaign_points: u128,
    /// Points that expired until the last purchase.
    pub expired_points: u128,
    /// Points members had at the end.
    pub left_points: u128,
    /// What these pay for at the till, in fen, rounded up: the most that the programme would owe.
    pub left_fen: u128,
    /// When these would expire.
    pub expiring: Vec<MonthOfExpiry>,
    /// Coupons that triggers gave: how many of a kind, and what all of them take off at most, in fen.
    pub coupons: BTreeMap<Name, (u64, u128)>,
    /// Members at the end by tier; those without one under none.
    pub tiers: BTreeMap<Option<Name>, u64>,
}

/// Runs purchases through rules. They are taken in the order of their time.
///
/// # Errors
/// [`crate::Refusal::Broken`], which would be a fault.
pub fn simulate(rules: &Rules, mut purchases: Vec<Purchase>) -> Outcome<Simulation> {
    purchases.sort_by_key(|purchase| (purchase.at, purchase.part));
    let mut came = Simulation::default();
    let (Some(first), Some(last)) = (purchases.first(), purchases.last()) else { return Ok(came) };
    let (from, to) = (first.at, last.at);
    (came.from, came.to) = (Some(from), Some(to));
    let mut programme = Programme::new(&[0; 32]);
    // codes are nobody's: numbers do
    let mut drawn = 0_u64;
    let mut random = |bytes: &mut [u8]| {
        drawn = drawn.saturating_add(1);
        bytes.iter_mut().zip(drawn.to_be_bytes()).for_each(|(to, from)| *to = from);
    };
    let consents = |_: Account| true;
    let mut out = Vec::new();
    programme.open(rules, from, &mut out)?;
    let mut members: BTreeMap<Account, ()> = BTreeMap::new();
    let mut today = rules.zone.day(from);
    for purchase in purchases {
        let (now, total) = (purchase.at, purchase.after.total.get());
        let day = rules.zone.day(now);
        if day > today {
            today = day;
            while programme.tick(rules.zone.start(day), DUE, &mut random, &consents, &mut out)? {
                count_coupons(&mut came, &mut out);
            }
        }
        members.insert(purchase.account, ());
        // a balance that is full earns nothing, as in a node
        let event = Event::Purchased(purchase);
        if programme.handle(event, now, &mut random, &consents, &mut out).is_ok() {
            came.purchases = came.purchases.saturating_add(1);
            came.spent_fen = came.spent_fen.saturating_add(total.into());
        }
        count_coupons(&mut came, &mut out);
    }
    while programme.tick(to, DUE, &mut random, &consents, &mut out)? {}
    count_coupons(&mut came, &mut out);
    let figures = report::report(&programme, to);
    let side = |side| u128::from(programme.accounts().side(side).unsigned_abs());
    came.members = u64::try_from(members.len()).unwrap_or(u64::MAX);
    (came.earned_points, came.campaign_points) = (side(Side::Purchases), side(Side::Campaigns));
    (came.expired_points, came.left_points) = (side(Side::Expired), figures.liability_points);
    (came.left_fen, came.expiring) = (figures.liability_fen, figures.expiring);
    for account in members.into_keys() {
        let rank = programme.profile(account).rank;
        let tier = rules.tiers.of_rank(rank).map(|tier| tier.name.clone());
        let count = came.tiers.entry(tier).or_default();
        *count = count.saturating_add(1);
    }
    Ok(came)
}

fn count_coupons(came: &mut Simulation, out: &mut Vec<Change>) {
    for change in out.drain(..) {
        let Change::CouponGiven { coupon, .. } = change else { continue };
        let (count, worth) = came.coupons.entry(coupon.kind).or_default();
        *count = count.saturating_add(1);
        *worth = worth.saturating_add(coupon.worth.get().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::DAY_MS;
    use crate::earn::Basket;
    use crate::ids::{BasketPart, Fen};

    fn purchase(who: u8, number: u8, day: u64, fen: u64) -> Purchase {
        Purchase {
            account: Account::from_bytes([who; 16]),
            part: BasketPart::from_bytes(std::array::from_fn(
                |at| if at < 16 { number } else { 0 },
            )),
            at: Timestamp::from_unix_ms(20_000 * DAY_MS + day * DAY_MS),
            hour: None,
            channel: Name::new("offline").unwrap(),
            first_part: true,
            before: Basket::default(),
            after: Basket::of(Fen::new(fen).unwrap()),
        }
    }

    #[test]
    fn rules_run_over_the_past_in_its_order_and_on_its_clock() {
        let text = r#"
format = "coalition programme 1"
version = 1
[spending]
fen_per_point = [1, 2]
[expiry]
valid_days = 10
notice_days = 1
[[tier]]
name = "silver"
zh = "银"
en = "Silver"
from_points = 100
earning_factor = [2, 1]
[[coupon]]
name = "up"
zh = "升"
en = "Up"
worth_fen = 500
valid_days = 3
[[trigger]]
name = "up"
when = "tier_reached"
coupon = "up"
"#;
        let rules = Rules::from_toml(text).unwrap();
        // given in no order: 100 points make the tier, then 50 yuan earn twice, and the first have expired
        let all =
            vec![purchase(1, 2, 1, 5_000), purchase(2, 3, 12, 3_001), purchase(1, 1, 0, 10_000)];
        let came = simulate(&rules, all).unwrap();
        assert_eq!((came.purchases, came.members, came.spent_fen), (3, 2, 18_001));
        assert_eq!((came.earned_points, came.expired_points), (100 + 100 + 30, 200));
        assert_eq!((came.left_points, came.left_fen), (30, 15));
        assert_eq!(came.coupons[&Name::new("up").unwrap()], (1, 500));
        let silver = Name::new("silver").unwrap();
        assert_eq!(came.tiers, BTreeMap::from([(None, 1), (Some(silver), 1)]));
        assert_eq!(simulate(&rules, Vec::new()).unwrap(), Simulation::default());
    }
}
