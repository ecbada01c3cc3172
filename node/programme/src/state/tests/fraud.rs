//! What looks like fraud: stopped, reviewed, or asked for a second step.

use super::*;
use crate::fraud::{Sign, Trace};

fn open(world: &mut World, who: u8, device: Option<u8>, address: Option<u8>) {
    let trace = |number: u8| Trace::from_bytes([number; 16]);
    world
        .handle(Event::Joined {
            account: member(who),
            birthday: None,
            referrer: None,
            device: device.map(trace),
            address: address.map(trace),
        })
        .unwrap();
}

#[test]
fn many_accounts_on_a_device_stop_at_once_until_a_person_clears_them() {
    let mut world = World::new("[spending]\nminimum_points = 1\n[fraud]\naccounts_per_device = 3");
    for who in 1..=3 {
        open(&mut world, who, Some(9), None);
    }
    assert_eq!(world.programme.watch().cases().count(), 0);
    world.buy(member(1), 10_000);
    open(&mut world, 4, Some(9), None);
    open(&mut world, 5, Some(8), None);
    let (number, case) = world.programme.watch().cases().next().unwrap();
    assert_eq!((case.sign, case.accounts.len()), (Sign::Device, 4));
    let pay =
        || Event::Pay { key: key(1), account: member(1), points: points(5), basket: fen(100) };
    assert_eq!(world.handle(pay()), Err(Refusal::Stopped));
    assert_eq!(world.handle(Event::SignedIn { account: member(4) }), Err(Refusal::Stopped));
    world.survives();
    world.handle(review(number, Verdict::Cleared, None)).unwrap();
    assert!(world.handle(pay()).is_ok());
    let again = review(number, Verdict::Stopped, Some("too many"));
    assert_eq!(world.handle(again), Err(Refusal::NotOpen { what: "case", number }));
    world.survives();
}

#[test]
fn a_burst_from_an_address_is_reviewed_within_a_day_or_told_as_late() {
    let mut world =
        World::new("[fraud]\naccounts_per_address = 2\naddress_minutes = 60\nreview_hours = 24");
    open(&mut world, 1, None, Some(7));
    world.now += 61 * 60_000;
    open(&mut world, 2, None, Some(7));
    open(&mut world, 3, None, Some(7));
    assert_eq!(world.programme.watch().cases().count(), 0);
    open(&mut world, 4, None, Some(7));
    let case = world.programme.watch().cases().next().unwrap().1.clone();
    assert_eq!((case.sign, case.accounts.len()), (Sign::Address, 3));
    assert_eq!(case.due.since(case.opened).get(), DAY_MS);
    assert!(world.programme.accounts().iter().next().is_none());
    world.days(1);
    let late = Notice::Late { request: None, case: Some(1) };
    assert!(world.programme.notices(0).any(|told| told.notice == late));
    assert_eq!(
        world.handle(review(1, Verdict::Stopped, None)).unwrap_err(),
        Refusal::ReasonMissing
    );
    world.handle(review(1, Verdict::Stopped, Some("one phone, six people"))).unwrap();
    let closed = world.programme.watch().case(1).unwrap();
    assert_eq!(closed.reviewer.as_deref(), Some("eva"));
    assert_eq!(closed.reason.as_deref(), Some("one phone, six people"));
    assert!(
        world.programme.profile(member(4)).stopped && !world.programme.profile(member(1)).stopped
    );
    world.survives();
}

#[test]
fn rapid_virtual_rewards_need_a_second_step_and_are_reviewed() {
    let mut world = World::new(
        "[fraud]\nvirtual_rewards = 2\nvirtual_minutes = 10\n[[reward]]\nname = \"code\"\nzh = \"兑换码\"\nen = \"Code\"\nprice_points = 1\nvirtual = true",
    );
    world.buy(member(1), 10_000);
    world.handle(Event::Stock { reward: name("code"), total: 100 }).unwrap();
    let hold = |world: &mut World, number, second_step| {
        world
            .handle(Event::HoldReward {
                key: key(number),
                account: member(1),
                reward: name("code"),
                second_step,
            })
            .unwrap()
    };
    assert!(matches!(hold(&mut world, 1, false), Answer::SetAside { .. }));
    assert!(matches!(hold(&mut world, 2, false), Answer::SetAside { .. }));
    assert_eq!(hold(&mut world, 3, false), Answer::SecondStepNeeded { case: 1 });
    assert_eq!(hold(&mut world, 3, false), Answer::SecondStepNeeded { case: 1 });
    assert_eq!(world.programme.watch().cases().count(), 1);
    assert!(matches!(hold(&mut world, 3, true), Answer::SetAside { .. }));
    world.now += 11 * 60_000;
    assert!(matches!(hold(&mut world, 4, false), Answer::SetAside { .. }));
    world.survives();
}

#[test]
fn unusual_growth_of_points_is_told() {
    let mut world = World::new("[fraud]\npoints_per_day = 150");
    world.buy(member(1), 10_000);
    world.days(1);
    world.buy(member(1), 10_000);
    assert_eq!(world.programme.watch().cases().count(), 0);
    world.buy(member(1), 10_000);
    world.buy(member(1), 10_000);
    let cases: Vec<_> = world.programme.watch().cases().map(|(_, case)| case.sign).collect();
    assert_eq!(cases, [Sign::Growth]);
    assert!(world.programme.notices(0).any(|told| told.notice == Notice::Review { case: 1 }));
    world.survives();
}
