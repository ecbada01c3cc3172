//! Offers that are marketing go to who consents to it at that moment; who is left out is counted.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::campaigns::{CampaignGroup, CampaignTerms, Offer};
use crate::rules::Words;

const RULES: &str = r#"
[[tier]]
name = "gold"
zh = "金卡"
en = "Gold"
from_points = 1000
[[segment]]
name = "gold"
zh = "金卡会员"
en = "Gold members"
tier_at_least = "gold"
"#;

const TRIGGERS: &str = r#"
[[coupon]]
name = "back"
zh = "回来吧"
en = "Come back"
valid_days = 30
[[segment]]
name = "quiet"
zh = "沉默"
en = "Quiet"
quiet_days = 30
[[trigger]]
name = "win_back"
when = "segment"
segment = "quiet"
coupon = "back"
again_after_days = 20
[[trigger]]
name = "thanks"
when = "purchase"
points = 5
again_after_days = 1
"#;

/// Points for who is gold, from tomorrow on for a week.
fn make(world: &mut World, campaign: &str) {
    let terms = CampaignTerms {
        words: Words { zh: "春季".to_owned(), en: "Spring".to_owned() },
        segment: name("gold"),
        groups: vec![CampaignGroup {
            name: name("gift"),
            share: 1,
            offer: Offer::Points(points(7)),
        }],
        from: Timestamp::from_unix_ms(world.now + DAY_MS),
        until: Timestamp::from_unix_ms(world.now + 8 * DAY_MS),
        count_days: 10,
    };
    let by = "mia".to_owned();
    world.handle(Event::MakeCampaign { name: name(campaign), terms, by }).unwrap();
}

/// Members in the campaign, and those left out of it.
fn counts(world: &World, campaign: &str) -> (u64, u64) {
    let campaign = name(campaign);
    let members = world.programme.result(&campaign, 0).members;
    (members, world.programme.left_out_of_campaign(&campaign))
}

#[test]
fn who_withdraws_between_the_making_of_a_campaign_and_its_first_day_gets_nothing_of_it() {
    let mut world = World::new(RULES);
    for who in 1..=3 {
        world.buy(member(who), 100_000);
    }
    make(&mut world, "spring");
    world.refusing.insert(member(2));
    world.days(1);
    assert_eq!(counts(&world, "spring"), (2, 1));
    assert_eq!((world.available(member(1)), world.available(member(2))), (1_007, 1_000));
    // looked at again and again, a member is one member
    for _ in 0..3 {
        world.buy(member(2), 100);
    }
    assert_eq!(counts(&world, "spring"), (2, 1));
    // what was given stays; the next campaign is another matter
    world.refusing.insert(member(1));
    make(&mut world, "summer");
    world.days(1);
    assert_eq!(counts(&world, "summer"), (1, 2));
    assert_eq!(world.available(member(1)), 1_007);
    // who consents after all comes in with the next thing that happens, and is left out no longer
    world.refusing.clear();
    assert_eq!(counts(&world, "spring"), (2, 1));
    world.buy(member(2), 100);
    assert_eq!((counts(&world, "spring"), counts(&world, "summer")), ((3, 0), (2, 1)));
    world.survives();
}

#[test]
fn a_trigger_on_a_segment_takes_consent_and_thanks_for_a_purchase_do_not() {
    let mut world = World::new(TRIGGERS);
    world.buy(member(1), 1_000);
    // the rules promised it to whoever buys: no consent is its price
    assert_eq!(world.available(member(1)), 10 + 5);
    world.refusing.insert(member(1));
    world.days(30);
    let left_out = |world: &World| world.programme.left_out_of_trigger(&name("win_back"));
    assert_eq!((world.programme.coupons().iter().count(), left_out(&world)), (0, 1));
    world.buy(member(1), 1_000);
    assert_eq!(world.available(member(1)), 2 * (10 + 5));
    world.refusing.clear();
    world.days(30);
    assert_eq!((world.programme.coupons().of(member(1)).count(), left_out(&world)), (1, 0));
    // who pushes messages later can tell which of them are marketing
    let told: Vec<(bool, bool)> = world
        .programme
        .notices(0)
        .map(|told| (matches!(told.notice, Notice::CouponGiven { .. }), told.notice.is_marketing()))
        .collect();
    assert_eq!(told, [(false, false), (false, false), (true, true)]);
    world.survives();
}

#[test]
fn merged_members_are_left_out_once_and_who_was_erased_is_a_number() {
    let mut world = World::new(RULES);
    for who in 1..=4 {
        world.buy(member(who), 100_000);
    }
    make(&mut world, "spring");
    world.refusing.extend([member(1), member(2), member(4)]);
    world.days(1);
    assert_eq!(counts(&world, "spring"), (1, 3));
    world.handle(Event::Merge { from: member(1), into: member(2) }).unwrap();
    assert_eq!(counts(&world, "spring"), (1, 2));
    // one of the two who are one has the offer
    world.handle(Event::Merge { from: member(2), into: member(3) }).unwrap();
    assert_eq!(counts(&world, "spring"), (1, 1));
    world.handle(Event::Forget { account: member(4) }).unwrap();
    assert_eq!(counts(&world, "spring"), (1, 1));
    assert!(world.programme.state.left_out.is_empty());
    world.survives();
}

/// The count is one of members: who goes and comes back is no second one.
#[test]
fn who_leaves_the_programme_is_left_out_of_nothing_and_counted_once_after_coming_back() {
    let mut world = World::new(RULES);
    for who in 1..=3 {
        world.buy(member(who), 100_000);
    }
    make(&mut world, "spring");
    world.refusing.extend([member(1), member(2)]);
    world.days(1);
    assert_eq!(counts(&world, "spring"), (1, 2));
    world.handle(Event::Leave { account: member(1) }).unwrap();
    assert_eq!(counts(&world, "spring"), (1, 1));
    assert!(world.programme.copy().held(member(1)).left_out.is_empty());
    // again gold by what comes after, and still without a consent to marketing
    world.handle(Event::ComeBack { account: member(1) }).unwrap();
    world.buy(member(1), 100_000);
    assert_eq!(counts(&world, "spring"), (1, 2));
    world.refusing.clear();
    world.buy(member(1), 100);
    assert_eq!(counts(&world, "spring"), (2, 1));
    world.survives();
}

#[test]
fn a_notice_of_before_there_was_marketing_is_read_as_none() {
    let at = Timestamp::from_unix_ms(5);
    let coupon = minicbor::to_vec((2_u32, (name("a"), at))).unwrap();
    let given = minicbor::to_vec((3_u32, [points(9)])).unwrap();
    let read = |bytes: &[u8]| minicbor::decode::<Notice>(bytes).unwrap();
    let expected = Notice::CouponGiven { kind: name("a"), expires: at, marketing: false };
    assert_eq!(read(&coupon), expected);
    assert_eq!(read(&given), Notice::PointsGiven { points: points(9), marketing: false });
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Buy(u8),
    Agree(u8),
    Withdraw(u8),
    Days(u64),
}

fn acts() -> impl Strategy<Value = Act> {
    let who = || 1..6_u8;
    prop_oneof![
        4 => who().prop_map(Act::Buy),
        2 => who().prop_map(Act::Agree),
        2 => who().prop_map(Act::Withdraw),
        1 => (1..3_u64).prop_map(Act::Days),
    ]
}

/// What should have come of it, by members rather than by changes.
#[derive(Default)]
struct Model {
    baskets: BTreeMap<u8, u64>,
    agreed: BTreeSet<u8>,
    inside: BTreeSet<u8>,
    left_out: BTreeSet<u8>,
}

impl Model {
    /// A member who is gold is looked at while the campaign runs.
    fn look(&mut self, who: u8) {
        if self.inside.contains(&who) {
            return;
        }
        if self.agreed.contains(&who) {
            self.inside.insert(who);
            self.left_out.remove(&who);
        } else {
            self.left_out.insert(who);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// However consents are given and withdrawn: no offer to who does not consent at that moment, and as many
    /// are counted as left out as there are.
    #[test]
    fn no_offer_is_made_without_consent_and_every_member_left_out_is_counted_once(
        acts in prop::collection::vec(acts(), 1..60),
    ) {
        let mut world = World::new(RULES);
        world.refusing = (1..6).map(member).collect();
        let mut model = Model::default();
        make(&mut world, "spring");
        let (from, until) = (START + DAY_MS, START + 8 * DAY_MS);
        for act in acts {
            let (seen, before) = (world.journal.len(), world.now);
            match act {
                Act::Buy(who) => {
                    // a thousand points: gold from the first basket on
                    world.buy(member(who), 100_000);
                    *model.baskets.entry(who).or_default() += 1;
                    if (from..until).contains(&world.now) {
                        model.look(who);
                    }
                }
                Act::Agree(who) => {
                    world.refusing.remove(&member(who));
                    model.agreed.insert(who);
                }
                Act::Withdraw(who) => {
                    world.refusing.insert(member(who));
                    model.agreed.remove(&who);
                }
                Act::Days(days) => {
                    world.days(days);
                    if before < from && from <= world.now {
                        let known: Vec<u8> = model.baskets.keys().copied().collect();
                        known.into_iter().for_each(|who| model.look(who));
                    }
                }
            }
            for change in world.journal.iter().skip(seen) {
                if let Change::Assigned { account, .. } = change {
                    prop_assert!(!world.refusing.contains(account));
                }
            }
            let expected = (model.inside.len() as u64, model.left_out.len() as u64);
            prop_assert_eq!(counts(&world, "spring"), expected);
            for (who, baskets) in &model.baskets {
                let gift = if model.inside.contains(who) { 7 } else { 0 };
                prop_assert_eq!(world.available(member(*who)), baskets * 1_000 + gift);
            }
        }
        world.survives();
    }
}
