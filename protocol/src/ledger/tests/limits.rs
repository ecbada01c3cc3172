//! Limits that are lowered or come near: no log stops for them.

use crate::amount::{Points, Value};
use crate::constitution::Draft;
use crate::epochs::adoption::Stance;
use crate::exchange::{Payload, Return, ReturnReason};
use crate::ids::{BrandId, Height, LeafIndex};
use crate::log::block::{ApplicationEntry, PublicEntry};
use crate::log::kept::OperationLogHead;
use crate::witness::message::Message;
use crate::witness::rules::{MostOwed, public_exposure};
use crate::witness::writer::SubmitError;
use crate::world::{STEP, World, first_draft, following, id};

const A_POINT: u64 = 1_000_000;

fn value(points: u64) -> Value {
    Value::new(points * A_POINT).unwrap()
}

fn height(world: &World, log: BrandId) -> Height {
    world.ledger(log).witness(log).unwrap().tip().height
}

/// What a brand owes another publicly.
fn owed(world: &World, by: BrandId, to: BrandId) -> Value {
    let ledger = world.ledger(by);
    let column = ledger.witness(by).unwrap().tip().column(to).unwrap();
    public_exposure(ledger.constitution().total_step(), column.sent, &column.recognised)
}

/// Waits until what is certified of each other is recognised.
fn settled(world: &mut World, pair: [BrandId; 2]) {
    world.until("both have recognised", |world| {
        let [a, b] = pair;
        let recognised = |by: BrandId, of| {
            let known = world.ledger(by).witness(by).unwrap().tip().recognised(of).sent;
            let shown = world.ledger(of).witness(of).unwrap().tip().column(by).map(|it| it.sent);
            known == shown.unwrap_or_default() && world.ledger(by).writer().is_idle()
        };
        recognised(a, b) && recognised(b, a)
    });
}

/// The log of a brand goes on: what it enters next is certified.
fn goes_on(world: &mut World, log: BrandId) {
    let before = height(world, log);
    let entry = ApplicationEntry { application: 1, body: vec![1] };
    world.call(log, |ledger, context, out| {
        ledger.submit_public(PublicEntry::Application(entry)).unwrap();
        ledger.poll(context, out);
    });
    world.until("the log goes on", |world| height(world, log) > before);
}

/// A member of `by` sends points of an exchange of `from` back.
fn send_back(
    world: &mut World,
    (by, from): (BrandId, BrandId),
    original: LeafIndex,
    points: u64,
) -> Result<(), SubmitError> {
    let (reason, value) = (ReturnReason::Member, value(points));
    let back = Return { original, reason, value, points: Points::new(points).unwrap() };
    let mut result = Ok(());
    world.call(by, |ledger, context, out| {
        result = ledger.submit_sealed(from, Payload::Return(back));
        ledger.poll(context, out);
    });
    result
}

/// Exchanges use what the other brand sent as a claim; what members then send back takes the claim away.
/// That stopped the log for good.
#[test]
fn members_send_back_while_there_is_room_and_never_stop_the_log() {
    let draft = first_draft(4);
    let [a, b] = [id("a"), id("b")];
    let mut world = World::new(&draft, 11, 0);
    world.step();
    world.exchange(a, b, 100);
    settled(&mut world, [a, b]);
    let leaf = world.sites[&a].legs.iter().next().unwrap().0;
    // the limit is 1,000 points; 100 are claimed, a step of 10 less, and two steps stay free
    world.exchange(b, a, 1_070);
    settled(&mut world, [a, b]);
    assert_eq!(owed(&world, b, a), value(980));
    assert_eq!(
        send_back(&mut world, (b, a), leaf, 30),
        Err(SubmitError::CreditLimit { to: a }),
        "it would owe more than it may"
    );
    goes_on(&mut world, b);
    // what comes the other way makes room
    world.exchange(a, b, 40);
    settled(&mut world, [a, b]);
    assert_eq!(send_back(&mut world, (b, a), leaf, 30), Ok(()));
    world.until("it came back", |world| world.sites[&a].given_back.get(&leaf) == Some(&30));
    assert_eq!(world.ledger(b).writer().stalled(), None);
}

/// A constitution follows that changes something, with the logs of all brands under it.
fn followed(world: &mut World, first: &Draft, change: impl FnOnce(&mut Draft)) -> Draft {
    let second = following(first, change);
    let all: Vec<BrandId> = world.brands();
    world.offer(&second);
    for brand in &all {
        world.state(*brand, &second, Stance::Adopted).unwrap();
    }
    world.until("all are under it", |world| world.all_at(2, &all));
    second
}

/// `a` owes `b` five times what it may from now on. Nobody has to pay at once what nobody can, nothing more
/// is taken on, and what cannot be applied comes back as soon as that makes nothing worse.
#[test]
fn a_limit_below_what_is_owed_stops_no_log() {
    let first = first_draft(4);
    let [a, b, c] = [id("a"), id("b"), id("c")];
    let mut world = World::new(&first, 12, 0);
    world.step();
    world.exchange(a, b, 500);
    settled(&mut world, [a, b]);
    followed(&mut world, &first, |next| {
        let brand = next.brands.get_mut(&a).unwrap();
        (brand.pair_limit, brand.total_limit) = (value(100), value(600));
    });
    assert_eq!(owed(&world, a, b), value(500));
    goes_on(&mut world, a);
    let leaf = LeafIndex::new(0);
    assert!(send_back(&mut world, (a, b), leaf, 1).is_err());
    // nothing more is owed to b; others are another matter
    world.exchange(a, c, 20);
    settled(&mut world, [a, c]);
    assert_eq!(owed(&world, a, c), value(20));

    // rounding alone would make it ten points more to send seven back: that waits, and nothing else does
    world.sends_back = Some(a);
    let before = height(&world, b);
    world.exchange(b, a, 7);
    world.until("a has it", |world| world.ledger(a).witness(b).unwrap().tip().height > before);
    goes_on(&mut world, a);
    assert!(world.ledger(a).writer().deferred().contains(&b));
    assert_eq!(owed(&world, a, b), value(500));
    // until something comes with it that lowers the debt
    world.sends_back = None;
    world.exchange(b, a, 30);
    world.until("it came back", |world| !world.sites[&b].given_back.is_empty());
    assert_eq!(world.sites[&b].given_back.values().sum::<u64>(), 7);
    assert_eq!(world.credited(a, b), [30]);
    assert_eq!(owed(&world, a, b), value(480));
    assert!(world.ledger(a).writer().deferred().is_empty());
}

/// The same debt is more in larger steps.
#[test]
fn a_larger_step_stops_no_log() {
    let first = first_draft(4);
    let [a, b] = [id("a"), id("b")];
    let mut world = World::new(&first, 13, 0);
    world.step();
    world.exchange(b, a, 900);
    settled(&mut world, [a, b]);
    world.exchange(a, b, 1_870);
    settled(&mut world, [a, b]);
    assert_eq!(owed(&world, a, b), value(980));
    followed(&mut world, &first, |next| next.total_step = value(500));
    goes_on(&mut world, a);
    goes_on(&mut world, b);
    let debt = owed(&world, a, b);
    assert!(debt > value(1_000), "{debt}");
    let ledger = world.ledger(a);
    let brand = ledger.constitution().brand(a).unwrap();
    let most = MostOwed::after(ledger.constitution(), brand, a, ledger.witness(a).unwrap().tip());
    assert_eq!((most.pair(b), most.pair(id("c"))), (debt, value(1_000)));
    assert_eq!(most.total(), value(2_000));
}

/// What waits when a limit is lowered and has no room any more is given back.
#[test]
fn wishes_that_wait_and_have_no_room_any_more_are_given_back() {
    let first = first_draft(4);
    let [a, b] = [id("a"), id("b")];
    let mut world = World::new(&first, 14, 0);
    world.step();
    world.exchange(b, a, 60);
    settled(&mut world, [a, b]);
    let leaf = world.sites[&b].legs.iter().next().unwrap().0;
    let second = following(&first, |next| {
        let brand = next.brands.get_mut(&a).unwrap();
        (brand.pair_limit, brand.total_limit) = (value(100), value(600));
    });
    world.offer(&second);
    let all = world.brands();
    for brand in &all {
        world.state(*brand, &second, Stance::Adopted).unwrap();
    }
    // taken under the old limit while the block that takes up the new one is open
    let takes_it_up = |world: &World| {
        let open = world.ledger(a).writer().open_block();
        open.is_some_and(|block| {
            block.public().iter().any(|entry| matches!(entry, PublicEntry::Switch(_)))
        })
    };
    while !takes_it_up(&world) {
        let Some((from, to, bytes)) = world.mail.pop_front() else {
            world.now = world.now.plus(STEP);
            for brand in &all {
                world.call(*brand, |ledger, context, out| ledger.tick(context, out));
            }
            continue;
        };
        let message = Message::from_bytes(&bytes).unwrap();
        world.call(to, |ledger, context, out| {
            ledger.handle(from, message, context, out).unwrap();
            ledger.poll(context, out);
        });
    }
    world.mail.clear();
    world.exchange(a, b, 120);
    send_back(&mut world, (a, b), leaf, 60).unwrap();
    world.until("all are under it", |world| world.all_at(2, &all));
    world.until("it is idle", |world| world.ledger(a).writer().is_idle());
    goes_on(&mut world, a);
    // the last one first: without it the other has room
    let rejected: Vec<&Payload> = world.sites[&a].rejected.iter().map(|(_, it)| it).collect();
    assert!(matches!(rejected[..], [Payload::Exchange(_)]), "{rejected:?}");
    assert_eq!(world.sites[&b].given_back.get(&leaf), Some(&60));
}

/// A brand sends in one go more than can be sent back in one block: what is sent back then is recognised
/// later, as far as that has room, and all of it in the end.
#[test]
fn more_than_a_block_takes_is_sent_back_within_the_limits() {
    let mut first = first_draft(4);
    // a block has 128 leaves of them, or 127 beside its header
    first.payload_size = 65_000;
    let [a, b] = [id("a"), id("b")];
    let brand = first.brands.get_mut(&a).unwrap();
    (brand.pair_limit, brand.total_limit) = (value(300), value(2_000));
    let mut world = World::new(&first, 15, 0);
    world.step();
    world.sends_back = Some(a);
    // while a block of a's own is open, three come in
    let votes = |to: BrandId, message: &Message| to == a && matches!(message, Message::Vote(_));
    let entry = ApplicationEntry { application: 1, body: vec![1] };
    world.call(a, |ledger, context, out| {
        ledger.submit_public(PublicEntry::Application(entry)).unwrap();
        ledger.poll(context, out);
    });
    world.deliver(votes);
    for _ in 0..3 {
        for _ in 0..50 {
            world.exchange(b, a, 5);
        }
        world.deliver(votes);
    }
    world.until("all is back", |world| world.sites[&b].given_back.values().sum::<u64>() == 750);
    assert_eq!(world.ledger(a).writer().stalled(), None);
    goes_on(&mut world, a);
    assert!(owed(&world, a, b) <= value(20));
}

/// A block has only so many heads of the operation log: what is said while a log stands still goes into the blocks after
/// it, in order, and nothing else waits for it.
#[test]
fn what_is_too_much_for_a_block_waits_for_the_one_after_it() {
    let a = id("a");
    let mut world = World::new(&first_draft(4), 16, 0);
    world.step();
    let before = height(&world, a).get();
    world.call(a, |ledger, context, out| {
        for entries in 1..=40 {
            let head = OperationLogHead { entries, head: [7; 32] };
            ledger.submit_public(PublicEntry::OperationLogHead(head)).unwrap();
        }
        let entry = ApplicationEntry { application: 1, body: vec![1] };
        ledger.submit_public(PublicEntry::Application(entry)).unwrap();
        ledger.poll(context, out);
    });
    world.until("all is written", |world| world.ledger(a).writer().is_idle());
    let blocks = &world.sites[&a].blocks.0;
    let written: Vec<Vec<PublicEntry>> = (before + 1..=height(&world, a).get())
        .map(|height| blocks[&Height::new(height)].0.public())
        .collect();
    assert_eq!(written.iter().map(Vec::len).collect::<Vec<_>>(), [17, 16, 8]);
    let heads = written.iter().flatten().filter_map(|entry| match entry {
        PublicEntry::OperationLogHead(head) => Some(head.entries),
        _ => None,
    });
    assert!(heads.eq(1..=40));
    assert!(!world.refused.contains(&59) && world.ledger(a).writer().stalled().is_none());
}
