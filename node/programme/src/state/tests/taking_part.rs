//! Who has not agreed to take part earns nothing and is not remembered; what is there stays the member's.

use super::*;

fn purchase(world: &World, basket: u8, part: u32, (before, after): (u64, u64)) -> Purchase {
    let mut bytes = [basket; 20];
    bytes[16..].copy_from_slice(&part.to_be_bytes());
    Purchase {
        account: member(1),
        part: BasketPart::from_bytes(bytes),
        at: world.at(),
        hour: Some(12),
        channel: name("offline"),
        first_part: part == 0,
        before: Basket::of(fen(before)),
        after: Basket::of(fen(after)),
    }
}

/// A basket as it was and as it is, of a member who takes part or does not.
fn buy(world: &mut World, takes_part: bool, at: (u8, u32), fen: (u64, u64)) -> (u64, u64) {
    let purchase = purchase(world, at.0, at.1, fen);
    let event = if takes_part { Event::Purchased } else { Event::PurchasedOutside };
    earned(&world.handle(event(purchase)).unwrap())
}

fn has(world: &World) -> (u64, u64) {
    let balance = world.programme.accounts().balance(member(1));
    (balance.available().get(), balance.owed().get())
}

fn counted(world: &World) -> u64 {
    world.programme.copy().count_segments(None, world.at()).unwrap().members
}

#[test]
fn a_purchase_without_consent_earns_nothing_then_and_later() {
    let rules = "[[trigger]]\nname = \"thanks\"\nwhen = \"purchase\"\npoints = 5\n";
    let mut world = World::new(rules);
    assert_eq!(buy(&mut world, false, (9, 0), (0, 5_000)), (0, 0));
    let again = purchase(&world, 9, 0, (0, 5_000));
    assert_eq!(world.handle(Event::PurchasedOutside(again.clone())), Ok(Answer::Repeated));
    // the same part does not earn after a consent either
    assert_eq!(world.handle(Event::ComeBack { account: member(1) }), Ok(Answer::Done));
    assert_eq!(world.handle(Event::Purchased(again)), Ok(Answer::Repeated));
    assert_eq!((world.programme.members(), has(&world)), (0, (0, 0)), "nobody is remembered");
    // what is added to the basket after it earns by itself, and is all that coming back takes
    assert_eq!(buy(&mut world, true, (9, 1), (5_000, 8_000)), (30, 0));
    assert_eq!(has(&world), (30, 0));
    assert_eq!(buy(&mut world, true, (9, 2), (8_000, 6_000)), (0, 0));
    assert_eq!(buy(&mut world, true, (9, 3), (6_000, 0)), (0, 30));
    assert_eq!(has(&world), (0, 0));
    world.survives();
}

#[test]
fn who_leaves_is_forgotten_but_for_what_is_the_members() {
    let mut world = World::new("");
    buy(&mut world, true, (1, 0), (0, 10_000));
    buy(&mut world, true, (2, 0), (0, 1_000));
    assert_eq!((world.programme.profile(member(1)).purchases, counted(&world)), (2, 1));
    world.handle(Event::Leave { account: member(1) }).unwrap();
    let changes = world.journal.len();
    world.handle(Event::Leave { account: member(1) }).unwrap();
    assert_eq!(world.journal.len(), changes, "once is enough");
    let left = world.programme.profile(member(1));
    assert!(left.outside && left.months.is_empty() && left.last_purchase.is_none());
    assert_eq!((left.purchases, left.accumulated, counted(&world)), (0, 0, 0));
    assert_eq!(world.programme.members_after(None, 9), [(member(1), false)]);
    assert!(world.programme.members_after(Some(member(1)), 9).is_empty());
    assert_eq!(has(&world), (110, 0), "points stay the member's");
    // goods that come back take what they had earned, and nothing of it is remembered
    assert_eq!(buy(&mut world, false, (1, 1), (10_000, 4_000)), (0, 60));
    assert_eq!(buy(&mut world, false, (3, 0), (0, 7_000)), (0, 0));
    world.days(2);
    assert_eq!((has(&world), world.programme.profile(member(1))), ((50, 0), left));
    // from now on
    world.handle(Event::ComeBack { account: member(1) }).unwrap();
    assert_eq!(buy(&mut world, true, (4, 0), (0, 2_000)), (20, 0));
    assert_eq!((world.programme.profile(member(1)).purchases, counted(&world)), (1, 1));
    assert_eq!(has(&world), (70, 0));
    world.survives();
}

/// Who has left comes back with the first purchase that counts, whatever its driver said.
#[test]
fn a_purchase_that_counts_brings_its_member_back() {
    let mut world = World::new("");
    buy(&mut world, true, (1, 0), (0, 1_000));
    world.handle(Event::Leave { account: member(1) }).unwrap();
    buy(&mut world, false, (2, 0), (0, 1_000));
    assert!(world.programme.profile(member(1)).outside);
    buy(&mut world, true, (3, 0), (0, 1_000));
    let profile = world.programme.profile(member(1));
    assert!(!profile.outside);
    assert_eq!((profile.purchases, has(&world)), (1, (20, 0)));
    world.survives();
}
