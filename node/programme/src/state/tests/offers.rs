//! Coupons, rewards, triggers, tests of offers.

use super::*;
use crate::coupons::CouponError;
use crate::rewards::HoldState;

const COUPONS: &str = r#"
[[coupon]]
name = "ten_off"
zh = "减十元"
en = "Ten off"
worth_fen = 1000
minimum_basket_fen = 5000
valid_days = 7
claimable = true
price_points = 20
most = 3
most_per_member = 2

[[coupon]]
name = "gift"
zh = "礼券"
en = "Gift"
worth_fen = 500
valid_days = 30
"#;

fn claim(world: &mut World, who: u8, number: u64) -> Outcome {
    world.handle(Event::ClaimCoupon {
        key: key(number),
        account: member(who),
        kind: name("ten_off"),
    })
}
fn redeem(world: &mut World, code: Code, number: u64, basket: u64) -> Outcome {
    world.handle(Event::RedeemCoupon {
        key: key(number),
        code,
        basket: fen(basket),
        place: name("shop_1"),
    })
}
fn code(answer: Outcome) -> Code {
    match answer.unwrap() {
        Answer::Coupon { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_coupon_is_redeemed_once_and_never_after_its_time() {
    let mut world = World::new(COUPONS);
    world.buy(member(1), 10_000);
    let first = code(claim(&mut world, 1, 1));
    assert_eq!(code(claim(&mut world, 1, 1)), first, "the same key is the same coupon");
    assert_eq!(world.available(member(1)), 80);
    let small = redeem(&mut world, first, 9, 4_999);
    assert_eq!(small, Err(Refusal::Coupon(CouponError::Basket { minimum: 5_000, found: 4_999 })));
    assert_eq!(redeem(&mut world, first, 9, 5_000), Ok(Answer::TakesOff { worth: fen(1_000) }));
    world.survives();
    // the till did not hear the answer: it asks again; another till does not get it
    assert_eq!(redeem(&mut world, first, 9, 5_000), Ok(Answer::TakesOff { worth: fen(1_000) }));
    assert!(matches!(
        redeem(&mut world, first, 10, 5_000),
        Err(Refusal::Coupon(CouponError::Redeemed { .. }))
    ));
    assert_eq!(world.programme.coupons().count(&name("ten_off")).redeemed, 1);
    let second = code(claim(&mut world, 1, 2));
    assert_eq!(
        claim(&mut world, 1, 3),
        Err(Refusal::EnoughForOne { name: "ten_off".into(), most: 2 })
    );
    world.days(7);
    assert!(redeem(&mut world, second, 11, 5_000).is_ok(), "valid on its last day");
    world.buy(member(2), 10_000);
    let third = code(claim(&mut world, 2, 4));
    world.days(8);
    assert!(matches!(
        redeem(&mut world, third, 12, 5_000),
        Err(Refusal::Coupon(CouponError::Expired { .. }))
    ));
    world.buy(member(3), 10_000);
    assert_eq!(
        claim(&mut world, 3, 5),
        Err(Refusal::Exhausted { name: "ten_off".into(), most: 3 })
    );
    let given = Event::ClaimCoupon { key: key(6), account: member(3), kind: name("gift") };
    assert_eq!(world.handle(given), Err(Refusal::NotClaimable));
    assert_eq!(
        redeem(&mut world, Code::from_bytes([9; 10]), 13, 1),
        Err(Refusal::Coupon(CouponError::Unknown))
    );
    world.survives();
}

#[test]
fn points_pay_from_the_threshold_on_in_steps_and_at_most_their_part() {
    let mut world = World::new(
        "[spending]\nminimum_points = 500\nstep_points = 100\nfen_per_point = [1, 1]\nmost_of_basket = [1, 2]",
    );
    world.buy(member(1), 200_000);
    let pay = |world: &mut World, number, paid, basket| {
        world.handle(Event::Pay {
            key: key(number),
            account: member(1),
            points: points(paid),
            basket: fen(basket),
        })
    };
    assert_eq!(
        pay(&mut world, 1, 400, 10_000),
        Err(Refusal::Threshold { minimum: 500, step: 100, found: 400 })
    );
    assert_eq!(
        pay(&mut world, 1, 550, 10_000),
        Err(Refusal::Threshold { minimum: 500, step: 100, found: 550 })
    );
    assert_eq!(
        pay(&mut world, 1, 600, 1_000),
        Err(Refusal::BasketShare { worth: 600, basket: 1_000, most: 500 })
    );
    assert_eq!(pay(&mut world, 1, 600, 1_200), Ok(Answer::TakesOff { worth: fen(600) }));
    assert_eq!(pay(&mut world, 1, 600, 1_200), Ok(Answer::TakesOff { worth: fen(600) }));
    assert_eq!(world.available(member(1)), 1_400);
    assert_eq!(pay(&mut world, 1, 700, 1_400), Err(Refusal::KeyTaken));
    assert!(matches!(pay(&mut world, 2, 1_500, 9_000), Err(Refusal::Points(_))));
    world.survives();
}

const REWARDS: &str = r#"
[[reward]]
name = "towel"
zh = "毛巾"
en = "Towel"
price_points = 30
hold_minutes = 15
most_per_member = 2
"#;

#[test]
fn hot_stock_is_never_promised_twice_and_what_is_not_fetched_comes_back() {
    let mut world = World::new(REWARDS);
    world.handle(Event::Stock { reward: name("towel"), total: 3 }).unwrap();
    for who in 1..=5 {
        world.buy(member(who), 10_000);
    }
    let hold = |world: &mut World, number: u64, who: u8| {
        let (account, reward) = (member(who), name("towel"));
        world.handle(Event::HoldReward { key: key(number), account, reward, second_step: false })
    };
    for who in 1..=3 {
        hold(&mut world, u64::from(who), who).unwrap();
    }
    assert_eq!(hold(&mut world, 4, 4), Err(Refusal::Exhausted { name: "towel".into(), most: 3 }));
    assert!(hold(&mut world, 1, 1).is_ok(), "the same key is the same hold");
    assert_eq!(hold(&mut world, 1, 2), Err(Refusal::KeyTaken));
    assert_eq!(world.handle(Event::HandOver { key: key(1) }), Ok(Answer::Done));
    assert_eq!(world.handle(Event::HandOver { key: key(1) }), Ok(Answer::Repeated));
    assert_eq!(world.handle(Event::GiveUp { key: key(1) }), Err(Refusal::NotHeld));
    world.handle(Event::GiveUp { key: key(2) }).unwrap();
    assert_eq!(world.available(member(2)), 100);
    world.survives();
    // the third does not come
    world.now += 15 * 60_000;
    world.tick();
    assert_eq!(world.programme.rewards().hold(key(3)).unwrap().state, HoldState::Ended);
    assert_eq!(world.available(member(3)), 100);
    assert_eq!(world.available(member(1)), 70);
    let stock = world.programme.rewards().stock(&name("towel"));
    assert_eq!((stock.left(), stock.held, stock.handed_over), (2, 0, 1));
    assert_eq!(
        world.handle(Event::Stock { reward: name("towel"), total: 0 }),
        Err(Refusal::StockTaken { name: "towel".into(), taken: 1 })
    );
    hold(&mut world, 5, 1).unwrap();
    assert_eq!(
        hold(&mut world, 6, 1),
        Err(Refusal::EnoughForOne { name: "towel".into(), most: 2 })
    );
    assert!(world.programme.rewards().is_honest());
    world.survives();
}

const TRIGGERS: &str = r#"
[[tier]]
name = "gold"
zh = "金"
en = "Gold"
from_points = 100

[[coupon]]
name = "back"
zh = "回来吧"
en = "Come back"
worth_fen = 500
valid_days = 30

[[coupon]]
name = "birthday"
zh = "生日"
en = "Birthday"
worth_fen = 800
valid_days = 15

[[segment]]
name = "gold_quiet"
zh = "沉默金卡"
en = "Quiet gold"
tier_at_least = "gold"
quiet_days = 30

[[trigger]]
name = "win_back"
when = "segment"
segment = "gold_quiet"
coupon = "back"
again_after_days = 90

[[trigger]]
name = "happy"
when = "birthday"
coupon = "birthday"
again_after_days = 300

[[trigger]]
name = "welcome"
when = "joined"
points = 10
"#;

#[test]
fn gold_and_thirty_days_without_a_purchase_gives_a_coupon() {
    let mut world = World::new(TRIGGERS);
    world.buy(member(1), 20_000);
    world.buy(member(2), 2_000);
    world.days(29);
    assert_eq!(world.programme.coupons().iter().count(), 0);
    world.days(1);
    let coupons = world.programme.coupons();
    assert_eq!(
        coupons.of(member(1)).map(|(_, coupon)| coupon.kind.to_string()).collect::<Vec<_>>(),
        ["back"]
    );
    assert_eq!(coupons.of(member(2)).count(), 0);
    world.survives();
    world.days(70);
    assert_eq!(world.programme.coupons().of(member(1)).count(), 1);
    // after another purchase and another silence
    world.buy(member(1), 1_000);
    world.days(30);
    assert_eq!(world.programme.coupons().of(member(1)).count(), 2);
    world.survives();
}

#[test]
fn a_birthday_comes_every_year_and_joining_once() {
    let mut world = World::new(TRIGGERS);
    let day = world.programme.zone().day(world.at()).plus(10);
    let date = day.date();
    let birthday = crate::calendar::DayOfYear::new(date.month, date.day);
    let event =
        Event::Joined { account: member(1), birthday, referrer: None, device: None, address: None };
    world.handle(event).unwrap();
    assert_eq!(world.available(member(1)), 10);
    for _ in 0..10 {
        assert_eq!(world.programme.coupons().of(member(1)).count(), 0);
        world.days(1);
    }
    assert_eq!(world.programme.coupons().of(member(1)).count(), 1);
    for _ in 0..400 {
        world.days(1);
    }
    assert_eq!(world.programme.coupons().of(member(1)).count(), 2);
    assert_eq!(world.available(member(1)), 10);
    world.survives();
}

#[test]
fn a_birthday_doubles_what_a_purchase_earns() {
    let mut world = World::new("[earning]\nbirthday_factor = [2, 1]");
    let date = world.programme.zone().day(world.at()).date();
    let birthday = crate::calendar::DayOfYear::new(date.month, date.day);
    let event =
        Event::Joined { account: member(1), birthday, referrer: None, device: None, address: None };
    world.handle(event).unwrap();
    assert_eq!(super::earned(&world.buy(member(1), 10_000)).0, 200);
    world.days(1);
    assert_eq!(super::earned(&world.buy(member(1), 10_000)).0, 100);
}

#[test]
fn a_tests_groups_get_what_they_are_to_get_and_their_purchases_are_counted() {
    let mut world = World::new(
        r#"
[[experiment]]
name = "offer"
zh = "试验"
en = "Offer"
count_days = 10
[[experiment.group]]
name = "control"
share = 1
[[experiment.group]]
name = "points"
share = 1
points = 7
[[trigger]]
name = "welcome"
when = "joined"
experiment = "offer"
"#,
    );
    for who in 1..=60 {
        super::join(&mut world, who, None).unwrap();
    }
    let given = (1..=60).filter(|who| world.available(member(*who)) == 7).count();
    let results: Vec<_> =
        world.programme.results().map(|(_, group, result)| (group, result)).collect();
    assert_eq!(results[1].1.members, u64::try_from(given).unwrap());
    assert_eq!(results[0].1.members + results[1].1.members, 60);
    assert!((15..=45).contains(&given), "{given}");
    let in_group = |world: &World, group| {
        (1..=60).find(|who| world.programme.profile(member(*who)).tests[0].1 == group).unwrap()
    };
    let buyer = in_group(&world, 1);
    world.buy(member(buyer), 4_000);
    world.buy(member(buyer), 1_000);
    world.days(11);
    world.buy(member(buyer), 9_000);
    let result = world.programme.results().find(|(_, group, _)| *group == 1).unwrap().2;
    assert_eq!((result.buyers, result.purchases, result.fen), (1, 2, 5_000));
    world.survives();
}
