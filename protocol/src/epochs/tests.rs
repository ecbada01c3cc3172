//! Constitutions following one another: the chain, and whole alliances of ledgers in memory.

use super::*;
use crate::amount::{Points, Rate, Value};
use crate::constitution::Draft;
use crate::constitution::tests::{draft, seed};
use crate::crypto::sealed::SealingSecret;
use crate::epochs::adoption::Stance;
use crate::exchange::{Exchange, Payload};
use crate::ids::{MemberHandle, RequestId, StatementHash};
use crate::ledger::{StanceError, log_verifier, witness_verifier};
use crate::log::block::PublicEntry;
use crate::log::settlement::{Discharge, Payment};
use crate::time::{Milliseconds, Timestamp};
use crate::witness::message::Message;
use crate::world::{
    World, constitution, first_draft, following, id, place, rotate, sealing_secret, signing_keys,
};

#[test]
fn each_constitution_names_the_one_before() {
    let first = Constitution::new(draft(3)).unwrap();
    let mut chain = Constitutions::from(first.clone());
    let mut next = draft(4);
    next.epoch = Epoch::new(2);
    next.hash = ConstitutionHash::from_bytes([2; 32]);
    let mut follow = |draft: &_| chain.follow(Constitution::new(Clone::clone(draft)).unwrap());
    let expected = first.hash();
    assert_eq!(follow(&next), Err(SuccessionError::Previous { expected }));
    next.succession.previous = Some(expected);
    assert_eq!(follow(&next), Ok(()));
    let (found, newest) = (Epoch::new(2), Epoch::new(2));
    assert_eq!(follow(&next), Err(SuccessionError::Epoch { found, newest }));
    let epochs: Vec<u32> = chain.iter().map(|of| of.epoch().get()).collect();
    assert_eq!(epochs, [1, 2]);
    assert_eq!(chain.of(Epoch::new(2)), Some(chain.newest()));
    assert_eq!(chain.of(Epoch::new(1)), Some(&first));
    assert_eq!((chain.of(Epoch::new(0)), chain.of(Epoch::new(3))), (None, None));
    let newcomer = BrandId::new("d").unwrap();
    assert_eq!(chain.first_with(newcomer), Some(chain.newest()));
}

/// Rates change with notice, keys rotate, a brand joins, a brand leaves; every fifth message is lost.
#[test]
fn an_alliance_goes_through_its_constitutions() {
    let (a, b, c, f) = (id("a"), id("b"), id("c"), id("f"));
    let first = first_draft(5);
    let five: Vec<BrandId> = first.brands.keys().copied().collect();
    let mut world = World::new(&first, 1, 20);
    world.exchange(a, b, 100);

    // rates: everybody is told a minute before
    let second = following(&first, |it| {
        it.rates.insert((a, b), Rate::new(9, 10).unwrap());
    });
    world.offer(&second);
    for brand in &five[..4] {
        world.state(*brand, &second, Stance::Adopted).unwrap();
    }
    let again = world.state(a, &second, Stance::Adopted);
    assert_eq!(again, Err(StanceError::Stated(second.hash)));
    let next = Epoch::new(2);
    world.until("all know", |world| {
        five.iter().all(|it| world.ledger(*it).adoption(next).is_some())
    });
    let effect = world.ledger(a).adoption(next).unwrap().effect();
    assert!(effect > world.now.plus(Milliseconds::from_seconds(50)));
    world.exchange(a, b, 100);
    while world.now < effect {
        assert!(five.iter().all(|brand| world.epoch(*brand) == 1));
        world.step();
    }
    // at the old price, and in no block before the log is under the new one
    let handle = MemberHandle::from_bytes([1; 16]);
    let (request, points) = (RequestId::from_bytes([3; 16]), Points::new(100).unwrap());
    let late = Exchange::price(&constitution(&first), (a, b), handle, request, points).unwrap();
    world.until("all at 2", |world| world.all_at(2, &five));
    world.call(a, |ledger, context, out| {
        ledger.submit_again(b, Payload::Exchange(late.clone())).unwrap();
        ledger.poll(context, out);
    });
    world.exchange(a, b, 100);
    world.until("the new rate", |world| world.credited(b, a).contains(&90));
    let came = world.credited(b, a);
    assert!(came == [100, 100, 90], "{came:?}");
    assert_eq!(world.sites[&a].rejected, [(b, Payload::Exchange(late))]);

    // keys: at once
    let third = following(&second, |it| rotate(it, c, 1));
    world.call(c, |ledger, _, _| {
        ledger.add_keys(signing_keys(c, 1));
        ledger.turn_sealing_key(sealing_secret(c, 1)).unwrap();
    });
    world.offer(&third);
    for brand in &five[1..] {
        world.state(*brand, &third, Stance::Adopted).unwrap();
    }
    world.until("all at 3", |world| world.all_at(3, &five));
    world.exchange(c, a, 7);
    world.exchange(a, c, 9);
    world.until("c goes on", |world| world.credited(a, c) == [7] && world.credited(c, a) == [9]);
    // who only knows the old key still verifies the log
    let checkpoint = world.ledger(c).checkpoint().unwrap().clone();
    for of in [&second, &third] {
        checkpoint.verify(&log_verifier(&constitution(of), c).unwrap()).unwrap();
    }

    // a brand joins
    let fourth = following(&third, |it| {
        let six = draft(6);
        it.brands.insert(f, six.brands[&f].clone());
        it.rates.extend(six.rates.iter().filter(|((from, to), _)| *from == f || *to == f));
    });
    world.offer(&fourth);
    for brand in &five[..4] {
        world.state(*brand, &fourth, Stance::Adopted).unwrap();
    }
    let chain = [&first, &second, &third, &fourth].map(constitution);
    let [one, two, three, four] = chain;
    let mut chain = Constitutions::from(one);
    [two, three, four].into_iter().for_each(|it| chain.follow(it).unwrap());
    world.join(f, &chain);
    let six: Vec<BrandId> = fourth.brands.keys().copied().collect();
    world.until("all at 4", |world| world.all_at(4, &six));
    world.exchange(f, a, 11);
    world.exchange(b, f, 13);
    world
        .until("f exchanges", |world| world.credited(a, f) == [11] && world.credited(f, b) == [13]);

    // a brand leaves: its log closes, the others go on without its column
    let fifth = following(&fourth, |it| {
        it.brands.remove(&b);
        it.rates.retain(|(from, to), _| *from != b && *to != b);
    });
    world.offer(&fifth);
    for brand in [a, c, id("d"), id("e"), f] {
        world.state(brand, &fifth, Stance::Adopted).unwrap();
    }
    let rest: Vec<BrandId> = fifth.brands.keys().copied().collect();
    world.until("all at 5", |world| {
        rest.iter().all(|it| world.epoch(*it) == 5) && world.epoch(b) == 5
    });
    let closed = world.ledger(b).witness(b).unwrap().tip().height;
    world.sites.get_mut(&b).unwrap().runs = false;
    world.exchange(c, a, 17);
    world.exchange(f, c, 19);
    world.until("the rest goes on", |world| {
        world.credited(a, c) == [7, 17] && world.credited(c, f) == [19]
    });
    let tip = world.ledger(a).witness(c).unwrap();
    assert!(tip.tip().columns.iter().all(|column| column.counterparty != b));
    assert!(!world.certified.contains_key(&(b, closed.next().unwrap())));

    // what was on disk is enough to go on
    let one = Constitutions::from(constitution(&first));
    let later = [&second, &third, &fourth, &fifth];
    world.restart(a, &one, &later, 0);
    world.restart(c, &one, &later, 1);
    world.restart(f, &chain, &later[3..], 0);
    world.exchange(a, f, 23);
    world.until("after the restart", |world| world.credited(f, a) == [23]);
}

/// A month is over after a constitution has rotated a brand's signing keys: its blocks state the new
/// sealing key, or witnesses would refuse them for the age of the old one (rule 56).
#[test]
fn sealing_keys_turn_under_whichever_keys_sign() {
    let first = first_draft(4);
    let all: Vec<BrandId> = first.brands.keys().copied().collect();
    let (a, c) = (all[0], all[2]);
    let second = following(&first, |it| rotate(it, c, 1));
    let mut world = World::new(&first, 5, 10);
    world.exchange(a, c, 3);
    world.exchange(c, a, 5);
    world.until("both", |world| world.credited(a, c) == [5] && world.credited(c, a) == [3]);
    world.call(c, |ledger, _, _| ledger.add_keys(signing_keys(c, 1)));
    world.offer(&second);
    for brand in &all[..3] {
        world.state(*brand, &second, Stance::Adopted).unwrap();
    }
    world.until("all at 2", |world| world.all_at(2, &all));
    for month in 2..4 {
        world.now = world.now.plus(Milliseconds::from_seconds(31 * 24 * 3_600));
        for brand in &all {
            let secret = sealing_secret(*brand, month);
            world.call(*brand, |ledger, _, _| {
                ledger.turn_sealing_key(secret).unwrap();
            });
        }
        let stated = world.ledger(c).sealing_keys().current();
        world.exchange(c, a, 7);
        world.until("c's block", |world| world.credited(a, c).len() == month);
        let tip = world.ledger(a).witness(c).unwrap().tip().clone();
        assert_eq!(tip.sealing.map(|sealing| sealing.key), Some(stated));
        // and who recognises that block seals to it
        world.exchange(a, c, 9);
        world.until("a's block", |world| world.credited(c, a).len() == month);
        let column = world.ledger(c).witness(a).unwrap().tip().columns.clone();
        assert!(column.iter().any(|to| to.counterparty == c && to.opening.key() == stated));
    }
    // what came under an earlier key is read still; the key of two months ago nobody uses any more
    let old = SealingSecret::derive(&seed(place(c) + 60, 6)).1;
    world.call(c, |ledger, _, _| assert!(ledger.forget_sealing_key(&old)));
}

/// What a brand says of its node as a whole, and for logs outside the alliance, it says with the keys
/// that its constitution names: a node that starts again after its first keys were taken from it does.
#[test]
fn a_node_whose_first_keys_are_gone_starts_with_those_of_its_constitution() {
    let first = first_draft(4);
    let all: Vec<BrandId> = first.brands.keys().copied().collect();
    let c = all[2];
    let second = following(&first, |it| rotate(it, c, 1));
    let mut world = World::new(&first, 6, 0);
    world.call(c, |ledger, _, _| ledger.add_keys(signing_keys(c, 1)));
    world.offer(&second);
    for brand in &all[..3] {
        world.state(*brand, &second, Stance::Adopted).unwrap();
    }
    world.until("all at 2", |world| world.all_at(2, &all));
    let one = Constitutions::from(constitution(&first));
    world.restart(c, &one, &[&second], 1);
    let mut said = None;
    for (from, _, bytes) in &world.mail {
        if let (true, Ok(Message::Start(start))) = (*from == c, Message::from_bytes(bytes)) {
            said = Some(start);
        }
    }
    let said = said.expect("it announces its start");
    assert!(said.clone().verify(&signing_keys(c, 1).voting.log.public()).is_ok());
    assert!(said.verify(&signing_keys(c, 0).voting.log.public()).is_err());
    world.until("it has started", |world| world.ledger(c).starting().is_none());
    world.exchange(c, all[0], 5);
    world.until("and exchanges", |world| world.credited(all[0], c) == [5]);
    let of_c = witness_verifier(&constitution(&second), c).unwrap();
    world.until("c cosigns with its new key", |world| {
        let notes = all.iter().filter_map(|brand| world.ledger(*brand).checkpoint());
        notes.flat_map(|note| note.signatures()).any(|line| line.is_by(&of_c))
    });
}

/// Of two drafts one gets there, and only after the other never can.
#[test]
fn two_drafts_of_one_epoch_never_both_have_a_quorum() {
    let first = first_draft(5);
    let all: Vec<BrandId> = first.brands.keys().copied().collect();
    let one = following(&first, |it| it.payload_size = 200);
    let other = following(&first, |it| {
        it.payload_size = 300;
        it.hash = ConstitutionHash::from_bytes([22; 32]);
    });
    let mut world = World::new(&first, 2, 10);
    world.offer(&one);
    world.offer(&other);
    for brand in &all[..3] {
        world.state(*brand, &one, Stance::Adopted).unwrap();
    }
    for brand in &all[3..] {
        world.state(*brand, &other, Stance::Adopted).unwrap();
    }
    let said = |world: &World, draft: &Draft, adopted: usize, declined: usize| {
        let of = |brand: &BrandId| {
            let progress = world.ledger(*brand).progress();
            let of = progress.iter().find(|it| it.draft.constitution == draft.hash);
            of.is_some_and(|of| (of.adopted.len(), of.declined.len()) == (adopted, declined))
        };
        all.iter().all(of)
    };
    world.until("all said", |world| said(world, &one, 3, 0) && said(world, &other, 2, 0));
    let (draft, needed) = (one.hash, 2);
    let early = world.state(all[0], &other, Stance::Adopted);
    assert_eq!(early, Err(StanceError::EarlierDraft { draft, declined: 0, needed }));
    for brand in &all[3..] {
        world.state(*brand, &one, Stance::Declined).unwrap();
    }
    world.until("declined", |world| said(world, &one, 3, 2));
    for brand in &all[..2] {
        world.state(*brand, &other, Stance::Adopted).unwrap();
    }
    world.until("the other is taken up", |world| world.all_at(2, &all));
    assert_eq!(world.ledger(all[0]).constitution().payload_size(), 300);
}

/// A node that has not been given the file neither votes for it nor is lost: with it, it goes on.
#[test]
fn a_node_without_the_file_waits_for_it() {
    let first = first_draft(4);
    let all: Vec<BrandId> = first.brands.keys().copied().collect();
    let second = following(&first, |it| it.payload_size = 200);
    let mut world = World::new(&first, 3, 10);
    for brand in &all[..3] {
        world.call(*brand, |ledger, _, _| drop(ledger.offer(constitution(&second)).unwrap()));
        world.state(*brand, &second, Stance::Adopted).unwrap();
    }
    let unknown = world.state(all[3], &second, Stance::Adopted);
    assert_eq!(unknown, Err(StanceError::Unknown(second.hash)));
    world.until("the others are there", |world| all[..3].iter().all(|it| world.epoch(*it) == 2));
    world.exchange(all[0], all[1], 5);
    world.until("and exchange", |world| world.credited(all[1], all[0]) == [5]);
    let progress = world.ledger(all[3]).progress();
    assert!(progress.iter().any(|it| it.adopted.len() == 3 && !it.is_known), "{progress:?}");
    assert_eq!(world.epoch(all[3]), 1);
    world.call(all[3], |ledger, _, _| drop(ledger.offer(constitution(&second)).unwrap()));
    world.until("all are there", |world| world.all_at(2, &all));
}

/// A frozen brand writes the block by which its log closes and nothing after it; it still votes.
#[test]
fn a_frozen_brand_writes_no_more() {
    let first = first_draft(4);
    let all: Vec<BrandId> = first.brands.keys().copied().collect();
    let frozen = all[1];
    let second = following(&first, |it| it.succession.frozen.extend([frozen]));
    let mut world = World::new(&first, 4, 10);
    world.offer(&second);
    for brand in [all[0], all[2], all[3]] {
        world.state(brand, &second, Stance::Adopted).unwrap();
    }
    world.until("all at 2", |world| world.all_at(2, &all));
    let closed = world.ledger(frozen).witness(frozen).unwrap().tip().height;
    world.exchange(all[0], all[2], 5);
    world.until("the others go on", |world| world.credited(all[2], all[0]) == [5]);
    assert_eq!(world.ledger(all[0]).witness(frozen).unwrap().tip().height, closed);
}

/// What waits for a block counts: two drafts of one epoch in one block would be refused for good.
#[test]
fn a_brand_that_is_about_to_adopt_one_draft_does_not_adopt_another() {
    let first = first_draft(4);
    let all: Vec<BrandId> = first.brands.keys().copied().collect();
    let one = following(&first, |it| it.payload_size = 200);
    let other = following(&first, |it| {
        it.payload_size = 300;
        it.hash = ConstitutionHash::from_bytes([22; 32]);
    });
    let mut world = World::new(&first, 5, 0);
    world.offer(&one);
    world.offer(&other);
    world.state(all[0], &one, Stance::Adopted).unwrap();
    let second = world.state(all[0], &other, Stance::Adopted);
    let (draft, needed) = (one.hash, 2);
    assert_eq!(second, Err(StanceError::EarlierDraft { draft, declined: 0, needed }));
    // who asks before anything is kept of it hears the same, and nothing was said
    let may = |stance| {
        let asked = DraftReference::to(&constitution(&other));
        world.ledger(all[0]).may_state(asked, stance)
    };
    assert_eq!(may(Stance::Adopted), second);
    assert_eq!(may(Stance::Declined), Ok(()));
    assert_eq!(may(Stance::Declined), Ok(()));
    world.exchange(all[0], all[1], 5);
    world.until("it writes", |world| world.credited(all[1], all[0]) == [5]);
}

/// A proposal brings the certificate of the block before it; when that one takes up a constitution, the
/// proposal is under the new one.
#[test]
fn a_proposal_that_brings_the_end_of_an_epoch_is_judged_by_the_next() {
    let first = first_draft(4);
    let all: Vec<BrandId> = first.brands.keys().copied().collect();
    let second = following(&first, |it| it.payload_size = 200);
    let mut world = World::new(&first, 6, 0);
    world.untold = Some(all[3]);
    world.offer(&second);
    for brand in &all[..3] {
        world.state(*brand, &second, Stance::Adopted).unwrap();
    }
    world.until("the others are there", |world| all[..3].iter().all(|it| world.epoch(*it) == 2));
    for points in 1..5 {
        world.exchange(all[0], all[1], points);
        world.step();
    }
    world.until("all are credited", |world| world.credited(all[1], all[0]).len() == 4);
    assert_eq!(world.refused, [0; 0]);
}

/// The block that ends an epoch is signed with the keys of that epoch, and cosigned although the log has
/// other keys from then on.
#[test]
fn the_last_checkpoint_before_new_keys_is_cosigned() {
    let first = first_draft(4);
    let all: Vec<BrandId> = first.brands.keys().copied().collect();
    let rotates = all[1];
    let second = following(&first, |it| {
        let keys = &mut it.brands.get_mut(&rotates).unwrap().keys;
        let private = signing_keys(rotates, 1);
        keys.checkpoint = private.checkpoint.public();
        keys.log = private.voting.log.public();
        keys.vote = private.voting.vote.public();
    });
    let mut world = World::new(&first, 7, 0);
    world.call(rotates, |ledger, _, _| ledger.add_keys(signing_keys(rotates, 1)));
    world.offer(&second);
    for brand in [all[0], all[2], all[3]] {
        world.state(brand, &second, Stance::Adopted).unwrap();
    }
    world.until("all are there", |world| world.all_at(2, &all));
    let quorum = constitution(&first).committee().quorum();
    world.until("a quorum has signed", |world| {
        let checkpoint = world.ledger(rotates).checkpoint();
        checkpoint.is_some_and(|note| note.signatures().len() >= quorum)
    });
}

/// One witness has judged a block in time, one hears of it too late, one is silent: the writer finds by
/// itself that the block is stale, since one refusal alone may be a liar's.
#[test]
fn a_block_that_has_become_stale_is_built_anew_however_few_refuse_it() {
    let first = first_draft(4);
    let all: Vec<BrandId> = first.brands.keys().copied().collect();
    let mut world = World::new(&first, 8, 0);
    world.step();
    world.sites.get_mut(&all[3]).unwrap().runs = false;
    world.deaf = Some(all[2]);
    world.exchange(all[0], all[1], 5);
    world.step();
    world.now = world.now.plus(Milliseconds::from_seconds(90));
    world.deaf = None;
    world.until("it is certified", |world| world.credited(all[1], all[0]) == [5]);
}

/// A brand is given a draft that the others are under already, and says that it adopts it: in that moment its log takes it
/// up. Fails when the one is entered behind the other: the log would be bound to a draft of the past.
#[test]
fn what_was_to_be_said_of_a_draft_that_is_taken_up_binds_nobody() {
    let first = first_draft(4);
    let all: Vec<BrandId> = first.brands.keys().copied().collect();
    let second = following(&first, |it| it.payload_size = 200);
    let mut world = World::new(&first, 6, 0);
    for brand in &all[..3] {
        world.call(*brand, |ledger, _, _| drop(ledger.offer(constitution(&second)).unwrap()));
        world.state(*brand, &second, Stance::Adopted).unwrap();
    }
    let others = |world: &World| all[..3].iter().all(|it| world.epoch(*it) == 2);
    world.until("the others are there", others);
    world.exchange(all[0], all[1], 5);
    world.until("and exchange", |world| world.credited(all[1], all[0]) == [5]);
    let last = all[3];
    world.call(last, |ledger, _, _| {
        drop(ledger.offer(constitution(&second)).unwrap());
        drop(ledger.state(second.hash, Stance::Adopted).unwrap());
    });
    world.until("all are there", |world| world.all_at(2, &all));
    let third = following(&second, |it| it.payload_size = 300);
    world.offer(&third);
    for brand in &all {
        world.state(*brand, &third, Stance::Adopted).unwrap();
    }
    world.until("and go on", |world| world.all_at(3, &all));
}

/// Fails when a payment that waits while its counterparty leaves is tried in every block, and when a discharge of who has
/// no column is due for ever.
#[test]
fn a_payment_with_who_has_left_stops_no_log_and_a_discharge_makes_no_block_without_end() {
    let first = first_draft(4);
    let all: Vec<BrandId> = first.brands.keys().copied().collect();
    let (payer, gone) = (all[0], id("gone"));
    let cut_off = Timestamp::from_unix_ms(1);
    let payment = Payment {
        cut_off,
        statement: StatementHash::from_bytes([1; 32]),
        payer,
        payee: gone,
        value: Value::new(1_000_000).unwrap(),
        reference: "HVPS-1".parse().unwrap(),
    };
    let mut world = World::new(&first, 7, 0);
    world.call(payer, |ledger, _, _| {
        ledger.submit_public(PublicEntry::Settled(payment.clone())).unwrap();
        let (sent, received) = (Value::ZERO, Value::ZERO);
        ledger.discharge([(gone, Discharge { cut_off, sent, received })].into());
    });
    world.exchange(payer, all[1], 5);
    world.until("it goes on", |world| world.credited(all[1], payer) == [5]);
    let height = |world: &World| world.ledger(payer).witness(payer).unwrap().tip().height;
    let rest = |world: &mut World| (0..200).for_each(|_| world.step());
    rest(&mut world);
    let before = height(&world);
    rest(&mut world);
    assert_eq!(height(&world), before);
}
