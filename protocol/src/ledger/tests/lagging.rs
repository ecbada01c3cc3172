//! A log that has several constitutions to take up, one after another, before witnesses of which some have left.

use crate::epochs::adoption::Stance;
use crate::time::Milliseconds;
use crate::witness::message::Message;
use crate::world::{STEP, World, constitution, first_draft, following, id};

/// `b` leaves with the second constitution and is told of no later one; `d` was away, has both to take up and
/// needs `b`, since `c` is gone by now. What is certified under the third it recognises when `b` need not
/// judge it any more, and credits it then.
#[test]
fn what_is_certified_two_constitutions_on_is_recognised_when_those_who_left_are_not_asked() {
    let (a, b, c, d) = (id("a"), id("b"), id("c"), id("d"));
    let first = first_draft(4);
    let second = following(&first, |it| {
        it.brands.remove(&b);
        it.rates.retain(|(from, to), _| *from != b && *to != b);
    });
    let third = following(&second, |it| it.payload_size = 200);
    let mut world = World::new(&first, 9, 0);
    world.offer(&second);
    for brand in [a, c, d] {
        world.call(brand, |ledger, _, _| ledger.hold(constitution(&third)));
        world.state(brand, &second, Stance::Adopted).unwrap();
    }
    let is_adopted = |world: &World| {
        let mut brands = world.brands().into_iter();
        brands.all(|it| world.ledger(it).adoption(second.epoch).is_some())
    };
    world.until("all know", is_adopted);
    world.sites.get_mut(&d).unwrap().runs = false;
    world.until("two are under it", |world| world.all_at(2, &[a, b, c]));
    for brand in [a, c] {
        world.state(brand, &third, Stance::Adopted).unwrap();
    }
    world.until("and under the next", |world| world.epoch(a) == 3 && world.epoch(c) == 3);
    assert!(!world.all_at(3, &[a, c]), "b knows of no later constitution");
    world.exchange(a, d, 5);
    world.until("it is sent", |world| world.ledger(a).writer().is_idle());

    // back again, it hears everything before anyone hears of its first block
    world.sites.get_mut(&d).unwrap().runs = true;
    let unheard = |_, message: &Message| matches!(message, Message::Proposal(it) if it.proposal.body.0.block.log == d);
    let tip = |world: &World, by| world.ledger(by).witness(a).unwrap().tip().height;
    for _ in 0..600 {
        world.now = world.now.plus(STEP);
        for brand in world.brands() {
            world.call(brand, |ledger, context, out| ledger.tick(context, out));
        }
        world.deliver(unheard);
    }
    assert_eq!(tip(&world, d), tip(&world, a));
    world.sites.get_mut(&c).unwrap().runs = false;
    // its first block is too old by now
    world.now = world.now.plus(Milliseconds::from_seconds(90));
    world.until("it has caught up", |world| world.epoch(d) == 3);
    world.until("what came is credited", |world| world.credited(d, a) == [5]);
    world.until("and acknowledged", |world| {
        world.ledger(a).witness(d).unwrap().tip().recognised(a).height == tip(world, a)
    });
}
