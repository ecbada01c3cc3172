//! Members who are found to be one.

use super::*;
use crate::calendar::DayOfYear;
use crate::requests::Key;

const RULES: &str = r#"
[expiry]
valid_days = 10
notice_days = 1
[[coupon]]
name = "five"
zh = "五元"
en = "Five"
worth_fen = 500
valid_days = 30
claimable = true
price_points = 10
most_per_member = 5
[[reward]]
name = "cup"
zh = "杯子"
en = "Cup"
price_points = 20
hold_minutes = 60
most_per_member = 2
"#;

fn merge(world: &mut World) -> Outcome {
    world.handle(Event::Merge { from: member(1), into: member(2) })
}

fn lots(world: &World, account: Account) -> Vec<(Option<u64>, u64)> {
    let balance = world.programme.accounts().balance(account);
    let lots = balance.lots().as_slice().iter();
    lots.map(|lot| (lot.expires.map(Timestamp::unix_ms), lot.left.get())).collect()
}

fn claim(world: &mut World, number: u64, account: Account) -> crate::coupons::Code {
    match world.handle(Event::ClaimCoupon { key: key(number), account, kind: name("five") }) {
        Ok(Answer::Coupon { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn lots_move_as_they_are_and_so_do_coupons_and_what_is_remembered() {
    let mut world = World::new(RULES);
    world.buy(member(1), 5_000);
    world.days(2);
    world.buy(member(1), 3_000);
    world.buy(member(2), 2_000);
    let code = claim(&mut world, 1, member(1));
    let before = [lots(&world, member(1)), lots(&world, member(2))].concat();
    let all: u64 = before.iter().map(|(_, points)| points).sum();
    assert_eq!(merge(&mut world), Ok(Answer::Done));
    assert_eq!(lots(&world, member(1)), []);
    // 50 less the coupon's 10 in the first lot; what expires at one moment is one lot
    let after = lots(&world, member(2));
    assert_eq!(after.iter().map(|(_, points)| *points).collect::<Vec<_>>(), [40, 50]);
    assert_eq!(after.iter().map(|(_, points)| points).sum::<u64>(), all);
    assert!(after.iter().all(|(expires, _)| before.iter().any(|(known, _)| known == expires)));
    assert_eq!(world.programme.accounts().side(Side::Merged), 0);
    let profile = world.programme.profile(member(2));
    assert_eq!((profile.purchases, profile.accumulated), (3, 100));
    assert_eq!(world.programme.profile(member(1)), Default::default());
    assert_eq!(world.programme.coupons().of(member(2)).count(), 1);
    assert_eq!(world.programme.coupons().of(member(1)).count(), 0);
    // the coupon is redeemed by its code as before, the key of its claim stands for it
    assert_eq!(claim(&mut world, 1, member(2)), code);
    // told again, nothing happens; each lot expires when it would have
    let entered = world.journal.len();
    assert_eq!(merge(&mut world), Ok(Answer::Done));
    assert_eq!(world.journal.len(), entered);
    world.days(9);
    assert_eq!(world.available(member(2)), 50);
    world.days(2);
    assert_eq!(world.available(member(2)), 0);
    assert_eq!(world.programme.accounts().side(Side::Expired), 90);
    world.survives();
}

#[test]
fn nothing_moves_while_points_are_promised() {
    let mut world = World::new(RULES);
    world.buy(member(1), 5_000);
    let stock = Event::Stock { reward: name("cup"), total: 3 };
    world.handle(stock).unwrap();
    let ask = |key: Key| Event::HoldReward {
        key,
        account: member(1),
        reward: name("cup"),
        second_step: false,
    };
    world.handle(ask(key(1))).unwrap();
    assert_eq!(merge(&mut world), Ok(Answer::Waits));
    assert_eq!((world.available(member(1)), world.available(member(2))), (30, 0));
    world.handle(Event::HandOver { key: key(1) }).unwrap();
    assert_eq!(merge(&mut world), Ok(Answer::Done));
    assert_eq!((world.available(member(1)), world.available(member(2))), (0, 30));
    // both halves together have no more of a reward than one member may
    assert_eq!(world.programme.rewards().taken(member(2), &name("cup")), 1);
    world.survives();
}

#[test]
fn what_was_owed_is_owed_and_a_stop_holds_for_both() {
    let mut world = World::new(RULES);
    world.buy(member(1), 5_000);
    let pay =
        Event::Pay { key: key(1), account: member(1), points: points(50), basket: fen(9_000) };
    world.handle(pay).unwrap();
    // the goods of the first basket come back: 50 points that are not there any more
    world.change_basket(member(1), 1, 1, 5_000, 0);
    assert_eq!(world.programme.accounts().balance(member(1)).owed().get(), 50);
    world.buy(member(2), 2_000);
    merge(&mut world).unwrap();
    let balance = world.programme.accounts().balance(member(2));
    assert_eq!((balance.available().get(), balance.owed().get()), (0, 30));
    assert_eq!(world.programme.accounts().balance(member(1)).owed().get(), 0);
    assert_eq!(world.programme.accounts().side(Side::Merged), 0);

    let stopped = Change::Stopped { account: member(3), stopped: true };
    world.programme.replay(&stopped).unwrap();
    world.journal.push(stopped);
    world.handle(Event::Merge { from: member(3), into: member(2) }).unwrap();
    assert!(world.programme.profile(member(2)).stopped, "a stop is not lost by merging");
    world.handle(Event::Part { account: member(3) }).unwrap();
    assert!(world.programme.profile(member(3)).stopped, "nor by parting");
    world.survives();
}

#[test]
fn parted_members_have_their_own_again_and_what_moved_stays() {
    let mut world = World::new(RULES);
    world.buy(member(1), 5_000);
    merge(&mut world).unwrap();
    assert_eq!(world.programme.merged_into(member(1)), Some(member(2)));
    world.handle(Event::Part { account: member(1) }).unwrap();
    world.handle(Event::Part { account: member(1) }).unwrap();
    assert_eq!(world.programme.merged_into(member(1)), None);
    world.buy(member(1), 700);
    assert_eq!((world.available(member(1)), world.available(member(2))), (7, 50));
    // over two merges the last is whose it is; an erasure leaves nothing of it
    merge(&mut world).unwrap();
    world.handle(Event::Merge { from: member(2), into: member(3) }).unwrap();
    assert_eq!(world.programme.merged_into(member(1)), Some(member(3)));
    assert_eq!(world.available(member(3)), 57);
    world.handle(Event::Forget { account: member(3) }).unwrap();
    assert_eq!(world.programme.merged_into(member(1)), None);
    world.survives();
}

/// The vault tells both when the second is parted from the third, in whatever order.
#[test]
fn who_was_merged_before_goes_with_the_member_who_is_parted_again() {
    for first_is_told_first in [false, true] {
        let mut world = World::new(RULES);
        world.buy(member(1), 5_000);
        merge(&mut world).unwrap();
        world.handle(Event::Merge { from: member(2), into: member(3) }).unwrap();
        assert_eq!(world.programme.merged_into(member(1)), Some(member(3)));
        let stopped = Change::Stopped { account: member(3), stopped: true };
        world.programme.replay(&stopped).unwrap();
        world.journal.push(stopped);
        let mut told =
            [Event::Part { account: member(2) }, Event::Merge { from: member(1), into: member(2) }];
        if first_is_told_first {
            told.reverse();
        }
        for event in told {
            world.handle(event).unwrap();
        }
        let into = [1, 2, 3].map(|who| world.programme.merged_into(member(who)));
        assert_eq!(into, [Some(member(2)), None, None]);
        assert!(world.programme.profile(member(2)).stopped, "a stop is not undone by parting");
        // what was moved stays; what comes late to the first is the second's
        assert_eq!(world.available(member(3)), 50);
        world.buy(member(1), 700);
        merge(&mut world).unwrap();
        let points = [1, 2, 3].map(|who| world.available(member(who)));
        assert_eq!(points, [0, 7, 50]);
        assert_eq!(world.programme.accounts().side(Side::Merged), 0);
        world.survives();
    }
}

#[test]
fn a_birthday_that_only_the_merged_member_told_is_the_next_one() {
    let mut world = World::new(RULES);
    let today = DayOfYear::new(1, 5).unwrap();
    let joined = Event::Joined {
        account: member(1),
        birthday: Some(today),
        referrer: None,
        device: None,
        address: None,
    };
    world.handle(joined).unwrap();
    merge(&mut world).unwrap();
    assert_eq!(world.programme.profile(member(2)).birthday, Some(today));
    world.days(400);
    world.survives();
}
