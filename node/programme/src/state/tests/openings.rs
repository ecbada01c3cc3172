//! Balances from a programme of before: once for ever, by two people, and nobody's gain.

use super::*;
use crate::calendar::Day;
use crate::openings::{LOTS_MAX, OpeningBalance, OpeningLot};
use crate::tiers::{Distance, standing};

/// Whatever could be set off by points that come in.
const RULES: &str = "[expiry]\nvalid_days = 100\nnotice_days = 30\n[fraud]\npoints_per_day = 10\n\
    [earning.referral]\npoints = 30\nmost_per_member = 2\n\
    [[tier]]\nname = \"silver\"\nzh = \"银\"\nen = \"Silver\"\nfrom_points = 100\n\
    [[tier]]\nname = \"gold\"\nzh = \"金\"\nen = \"Gold\"\nfrom_points = 300\n\
    [[trigger]]\nname = \"risen\"\nwhen = \"tier_reached\"\npoints = 7\n";

fn lot(last_day: Option<Day>, number: u64) -> OpeningLot {
    OpeningLot { last_day, points: points(number) }
}

fn balance(lots: &[OpeningLot], tier_points: u64) -> OpeningBalance {
    OpeningBalance::new(lots.to_vec(), points(tier_points))
}

/// As somebody who may enter one.
fn bring(world: &mut World, who: u8, balance: &OpeningBalance, by: &str) -> Outcome {
    as_who_may(world, who, balance, by, (true, false))
}

fn as_who_may(
    world: &mut World,
    who: u8,
    balance: &OpeningBalance,
    by: &str,
    (enters, replaces): (bool, bool),
) -> Outcome {
    let (account, balance, by) = (member(who), balance.clone(), by.to_owned());
    world.handle(Event::BringOpening { account, balance, by, enters, replaces })
}

fn today(world: &World) -> Day {
    world.programme.zone().day(world.at())
}

#[test]
fn an_opening_is_given_once_by_two_people_expires_and_sets_nothing_off() {
    let mut world = World::new(RULES);
    join(&mut world, 2, None).unwrap();
    join(&mut world, 1, Some(2)).unwrap();
    let last = today(&world).plus(40);
    let opening = balance(&[lot(Some(last), 50), lot(None, 70)], 260);
    assert_eq!(bring(&mut world, 1, &opening, "li"), Ok(Answer::Entered));
    // whoever has entered it agrees to nothing
    assert_eq!(bring(&mut world, 1, &opening, "li"), Ok(Answer::Entered));
    assert_eq!(world.available(member(1)), 0);
    assert_eq!(world.programme.profile(member(1)).accumulated, 0);
    let agreed = as_who_may(&mut world, 1, &opening, "olga", (false, false));
    assert_eq!(agreed, Ok(Answer::Done));
    assert_eq!(world.available(member(1)), 120);
    for by in ["li", "olga", "wang"] {
        assert_eq!(bring(&mut world, 1, &opening, by), Ok(Answer::Repeated));
    }
    let other = balance(&[lot(None, 120)], 260);
    let taken = as_who_may(&mut world, 1, &other, "li", (true, true));
    assert_eq!(taken, Err(Refusal::OpeningTaken));

    // the tier, and the distance to the next
    let profile = world.programme.profile(member(1));
    let shown = standing(world.programme.rules().unwrap(), &profile, world.at());
    assert_eq!(shown.tier.map(|tier| tier.name.as_str()), Some("silver"));
    let (next, distance) = shown.next.unwrap();
    assert_eq!((next.name.as_str(), distance), ("gold", Distance::Points(40)));

    // no trigger, no notice, no case of growth, no referral; no change is a gain
    assert_eq!(world.programme.last_notice(), 0);
    assert_eq!(world.programme.watch().cases().count(), 0);
    assert!(profile.fired.is_empty() && profile.day_points.1 == 0);
    assert_eq!(world.available(member(2)), 0);
    assert!(world.journal.iter().all(|change| change.gained().is_none()));
    // what comes next is as any other: the tier is not reached again
    world.buy(member(1), 500);
    assert_eq!(world.available(member(1)), 125);
    assert_eq!(world.available(member(2)), 30);
    assert!(world.programme.profile(member(1)).fired.is_empty());

    // finance sees them apart from what was issued here
    let report = crate::report::report(&world.programme, world.at());
    assert_eq!((report.opening_points, report.issued_points), (120, 35));
    assert_eq!((report.liability_points, report.trial_balance), (155, 0));
    assert_eq!(world.programme.accounts().side(Side::Opening), -120);

    // told as others are, and gone after its last day
    world.days(10);
    let told = |world: &World| {
        let mut of_member = world.programme.notices(0).filter(|it| it.account == Some(member(1)));
        of_member.any(
            |it| matches!(it.notice, Notice::PointsExpire { points, .. } if points.get() == 50),
        )
    };
    assert!(!told(&world));
    world.days(1);
    assert!(told(&world));
    world.days(29);
    assert_eq!(world.available(member(1)), 125);
    world.days(1);
    assert_eq!(world.available(member(1)), 75);
    assert_eq!(world.programme.accounts().side(Side::Expired), 50);
    // what has expired since does not make it another
    assert_eq!(bring(&mut world, 1, &opening, "li"), Ok(Answer::Repeated));
    world.days(61);
    assert_eq!(world.available(member(1)), 0);
    world.survives();
}

#[test]
fn what_waits_is_agreed_to_as_it_is_or_replaced_by_who_may_enter_it() {
    let mut world = World::new(RULES);
    let (one, other) = (balance(&[lot(None, 5)], 0), balance(&[lot(None, 6)], 0));
    let officer = (false, false);
    let first = as_who_may(&mut world, 1, &one, "olga", officer);
    assert_eq!(first, Err(Refusal::OpeningNotEntered));
    bring(&mut world, 1, &one, "li").unwrap();
    assert_eq!(as_who_may(&mut world, 1, &other, "olga", officer), Err(Refusal::OpeningWaits));
    assert_eq!(bring(&mut world, 1, &other, "wang"), Err(Refusal::OpeningWaits));
    // to say that it replaces lets nobody enter who may not
    assert_eq!(
        as_who_may(&mut world, 1, &other, "olga", (false, true)),
        Err(Refusal::OpeningWaits)
    );
    assert_eq!(as_who_may(&mut world, 1, &other, "wang", (true, true)), Ok(Answer::Entered));
    // it is whose it was entered by last: the first person is another now
    assert_eq!(bring(&mut world, 1, &one, "li"), Err(Refusal::OpeningWaits));
    assert_eq!(bring(&mut world, 1, &other, "wang"), Ok(Answer::Entered));
    assert_eq!(bring(&mut world, 1, &other, "li"), Ok(Answer::Done));
    assert_eq!(world.available(member(1)), 6);
    world.survives();
}

#[test]
fn an_opening_that_cannot_be_is_refused_whoever_brings_it() {
    let mut world = World::new(RULES);
    let before = Day::new(today(&world).get() - 1);
    let many: Vec<OpeningLot> = (0..=LOTS_MAX)
        .map(|number| lot(Some(today(&world).plus(u32::try_from(number).unwrap())), 1))
        .collect();
    let most = Points::MAX.get();
    let last_day = before.date();
    for (wrong, refusal) in [
        (balance(&[], 0), Refusal::OpeningEmpty),
        (balance(&[lot(None, 0)], 0), Refusal::OpeningEmpty),
        (balance(&many, 0), Refusal::OpeningLots { most: LOTS_MAX }),
        (balance(&[lot(Some(before), 5), lot(None, 5)], 0), Refusal::OpeningExpired { last_day }),
        (balance(&[lot(None, most), lot(Some(today(&world)), most)], 0), MoveError::Range.into()),
    ] {
        assert_eq!(bring(&mut world, 1, &wrong, "li"), Err(refusal));
    }
    // valid to the end of its last day
    let now = balance(&[lot(Some(today(&world)), 5)], 0);
    bring(&mut world, 1, &now, "li").unwrap();
    bring(&mut world, 1, &now, "wang").unwrap();
    assert_eq!(world.available(member(1)), 5);
    // of nothing but points a member does not become known
    assert!(!world.programme.knows(member(1)));
    world.days(1);
    assert_eq!(world.available(member(1)), 0);
    world.survives();
}

#[test]
fn nothing_is_brought_again_by_a_merge_a_parting_or_a_withdrawal() {
    let mut world = World::new(RULES);
    let (one, other) = (balance(&[lot(None, 50)], 20), balance(&[lot(None, 60)], 30));
    for by in ["li", "wang"] {
        bring(&mut world, 2, &one, by).unwrap();
    }
    world.handle(Event::Merge { from: member(2), into: member(1) }).unwrap();
    assert_eq!(world.available(member(1)), 50);
    assert_eq!(world.programme.profile(member(1)).accumulated, 20);
    assert_eq!(bring(&mut world, 1, &one, "li"), Ok(Answer::Repeated));
    assert_eq!(bring(&mut world, 1, &other, "li"), Err(Refusal::OpeningTaken));
    world.handle(Event::Part { account: member(2) }).unwrap();
    for who in [1, 2] {
        assert_eq!(bring(&mut world, who, &one, "li"), Ok(Answer::Repeated));
    }
    // what is remembered goes with the consent; that it was given does not
    world.handle(Event::Leave { account: member(1) }).unwrap();
    assert_eq!(world.programme.profile(member(1)).accumulated, 0);
    assert_eq!(bring(&mut world, 1, &one, "li"), Ok(Answer::Repeated));
    assert_eq!(world.available(member(1)), 50);
    // who takes part again may bring one: it counts from then on
    bring(&mut world, 3, &other, "li").unwrap();
    world.buy(member(3), 100);
    world.handle(Event::Leave { account: member(3) }).unwrap();
    bring(&mut world, 3, &other, "wang").unwrap();
    let profile = world.programme.profile(member(3));
    assert_eq!((profile.outside, profile.accumulated), (false, 30));
    // it is shown to the member, and goes with who is erased
    let held = world.programme.copy().held(member(3)).opening.unwrap();
    assert_eq!((held.points.get(), held.tier_points.get(), held.is_given()), (60, 30, true));
    world.handle(Event::Forget { account: member(3) }).unwrap();
    assert_eq!(world.programme.copy().held(member(3)).opening, None);
    world.survives();
}
