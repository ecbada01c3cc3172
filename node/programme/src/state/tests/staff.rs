//! Corrections by staff, coupons they give, and what a till takes back.

use super::*;
use crate::adjustments::AdjustmentState;
use crate::coupons::CouponError;

const RULES: &str = r#"
[expiry]
valid_days = 10
notice_days = 1
[adjustments]
alone_points_a_day = 100
[[coupon]]
name = "sorry"
zh = "致歉"
en = "Sorry"
worth_fen = 500
valid_days = 3
price_points = 40
most_per_member = 1
"#;

fn adjust(world: &mut World, number: u64, by: &str, change: i64) -> Outcome {
    world.handle(Event::Adjust {
        key: key(number),
        account: member(1),
        points: points(change.unsigned_abs()),
        gives: change > 0,
        reason: "counted wrongly at the till".to_owned(),
        by: by.to_owned(),
    })
}
fn decide(world: &mut World, number: u64, by: &str, agrees: bool) -> Outcome {
    world.handle(Event::DecideAdjustment { number, agrees, by: by.to_owned() })
}
fn adjusted(number: u64, booked: bool) -> Outcome {
    Ok(Answer::Adjusted { number, booked })
}

#[test]
fn what_one_person_corrects_on_a_day_is_bounded_and_the_rest_needs_another() {
    let mut world = World::new(RULES);
    assert_eq!(adjust(&mut world, 1, "li", 60), adjusted(1, true));
    assert_eq!(adjust(&mut world, 1, "li", 60), adjusted(1, true), "the same key books once");
    assert_eq!(adjust(&mut world, 1, "li", 61), Err(Refusal::KeyTaken));
    assert_eq!(world.available(member(1)), 60);
    // in small pieces it is the same: 60 and 41 are more than 100
    assert_eq!(adjust(&mut world, 2, "li", 41), adjusted(2, false));
    assert_eq!(adjust(&mut world, 3, "wang", -40), adjusted(3, true), "another person's day");
    assert_eq!(adjust(&mut world, 4, "li", 40), adjusted(4, true), "what waits does not count");
    assert_eq!(world.available(member(1)), 60);
    assert_eq!(decide(&mut world, 2, "li", true), Err(Refusal::OwnAdjustment));
    assert_eq!(decide(&mut world, 2, "wang", true), adjusted(2, true));
    assert_eq!(decide(&mut world, 2, "wang", true), adjusted(2, true), "asked again");
    assert_eq!(world.available(member(1)), 101);
    let not_open = Err(Refusal::NotOpen { what: "correction", number: 2 });
    assert_eq!(decide(&mut world, 2, "wang", false), not_open);
    // a new day, and one that is refused
    world.days(1);
    assert_eq!(adjust(&mut world, 5, "li", -101), adjusted(5, false));
    assert_eq!(decide(&mut world, 5, "chen", false), adjusted(5, false));
    assert_eq!(adjust(&mut world, 6, "li", 100), adjusted(6, true));
    let few = Refusal::Points(MoveError::TooFew { available: 201, wanted: 202 });
    assert_eq!(adjust(&mut world, 7, "chen", -202), Err(few));
    assert_eq!(adjust(&mut world, 8, "chen", 0), Err(Refusal::NothingToAdjust));
    let accounts = world.programme.accounts();
    assert_eq!((accounts.side(Side::Corrections), accounts.side(Side::Withdrawn)), (-241, 40));
    let states: Vec<&str> =
        world.programme.adjustments().before(None).map(|(_, it)| it.state.name()).collect();
    assert_eq!(states, ["booked", "refused", "booked", "booked", "agreed", "booked"]);
    let before = |number| {
        world.programme.adjustments().before(Some(number)).map(|(at, _)| at).collect::<Vec<_>>()
    };
    assert_eq!((before(3), before(1), before(99)), (vec![2, 1], vec![], vec![6, 5, 4, 3, 2, 1]));
    world.survives();
}

#[test]
fn a_correction_that_waits_is_not_booked_for_who_was_erased() {
    let mut world = World::new(RULES);
    assert_eq!(adjust(&mut world, 1, "li", 500), adjusted(1, false));
    world.handle(Event::Forget { account: member(1) }).unwrap();
    assert!(decide(&mut world, 1, "wang", true).is_err());
    let adjustment = world.programme.adjustments().get(1).unwrap();
    assert!(matches!(adjustment.state, AdjustmentState::Refused { .. }));
    assert_eq!(adjustment.reason, "");
    world.survives();
}

#[test]
fn a_sale_that_is_not_made_gives_points_and_coupon_back_once() {
    let mut world = World::new(RULES);
    world.buy(member(1), 10_000);
    let pay = |number| Event::Pay {
        key: key(number),
        account: member(1),
        points: points(70),
        basket: fen(500),
    };
    let reverse = |number, who| Event::ReversePayment { key: key(number), account: member(who) };
    assert_eq!(world.handle(reverse(1, 1)), Err(Refusal::NotPaid));
    world.handle(pay(1)).unwrap();
    world.days(2);
    assert_eq!(world.handle(reverse(1, 2)), Err(Refusal::NotPaid), "another member's");
    assert_eq!(world.handle(reverse(1, 1)), Ok(Answer::Done));
    assert_eq!(world.handle(reverse(1, 1)), Ok(Answer::Repeated));
    assert_eq!(world.available(member(1)), 100);
    assert_eq!(world.handle(pay(1)), Err(Refusal::KeyTaken), "it would be another payment");
    assert_eq!(world.programme.accounts().side(Side::Redeemed), 0);

    let give =
        |number| Event::GiveCoupon { key: key(number), account: member(1), kind: name("sorry") };
    let Answer::Coupon { code, .. } = world.handle(give(2)).unwrap() else { panic!() };
    let again = world.handle(give(2)).unwrap();
    assert!(matches!(again, Answer::Coupon { code: same, .. } if same == code));
    assert!(matches!(world.handle(give(3)), Err(Refusal::EnoughForOne { .. })));
    assert_eq!(world.available(member(1)), 100, "a gift has no price");
    let redeem = |number| Event::RedeemCoupon {
        key: key(number),
        code,
        basket: fen(900),
        place: name("shop"),
    };
    let reopen = |number| Event::ReopenCoupon { key: key(number), code };
    assert_eq!(world.handle(reopen(4)), Ok(Answer::Repeated));
    world.handle(redeem(4)).unwrap();
    let other = world.handle(reopen(5));
    assert!(matches!(other, Err(Refusal::Coupon(CouponError::Redeemed { .. }))));
    assert_eq!(world.handle(reopen(4)), Ok(Answer::Done));
    assert_eq!(world.handle(redeem(6)), Ok(Answer::TakesOff { worth: fen(500) }));
    assert_eq!(world.programme.coupons().count(&name("sorry")).redeemed, 1);
    world.survives();
    // what came back is valid as if it were earned on the day it came
    world.days(9);
    assert_eq!(world.available(member(1)), 70);
}

#[test]
fn a_basket_that_comes_back_takes_what_it_gave_whatever_the_tier_is_by_then() {
    let mut world = World::new(
        "[[tier]]\nname = \"gold\"\nzh = \"金\"\nen = \"Gold\"\nfrom_points = 100\nearning_factor = [3, 1]\n",
    );
    let change = |world: &mut World, part, before, after| {
        earned(&world.change_basket(member(1), 77, part, before, after))
    };
    assert_eq!(change(&mut world, 0, 0, 10_000), (100, 0));
    // gold now; what comes back was bought without it
    assert_eq!(change(&mut world, 1, 10_000, 5_000), (0, 50));
    // refunded and bought back: it has earned once
    assert_eq!(change(&mut world, 2, 5_000, 10_000), (50, 0));
    assert_eq!(change(&mut world, 3, 10_000, 0), (0, 100));
    assert_eq!(world.available(member(1)), 0);
    world.buy(member(1), 10_000);
    let basket = world.change_basket(member(1), 78, 0, 0, 1_000);
    assert_eq!(earned(&basket), (30, 0), "a basket bought as gold");
    world.survives();
}

#[test]
fn rules_may_be_replaced_as_long_as_nobody_has_anything_under_them() {
    let mut world = World::new("");
    let rules = Rules::from_toml(
        "format = \"coalition programme 1\"\nversion = 1\n[earning]\npoints_per_yuan = [2, 1]\n",
    )
    .unwrap();
    let at = world.at();
    world.programme.open(&rules, at, &mut world.journal).unwrap();
    assert_eq!(earned(&world.buy(member(1), 1_000)), (20, 0));
    assert!(world.programme.open(&rules, at, &mut world.journal).is_err());
    world.survives();
}
