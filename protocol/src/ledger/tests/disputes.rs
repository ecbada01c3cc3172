//! A dispute from its finding to its resolution, over a network that loses messages.

use super::{audited, audited_draft, found};
use crate::amount::Value;
use crate::epochs::Constitutions;
use crate::exchange::{Exchange, Link, Payload};
use crate::ids::{BrandId, Height, LeafIndex, MemberHandle, RequestId};
use crate::ledger::{CloseOutError, OfferError};
use crate::log::block::{ColumnContent, PublicEntry};
use crate::log::resolution::{DisputeResolved, runs};
use crate::witness::dispute::AgreeError;
use crate::witness::message::{CertifiedBlock, Message};
use crate::world::{STEP, World, constitution, id, sealing_secret};

type Change = fn(&mut DisputeResolved);
type Expected = fn(&AgreeError) -> bool;

/// An exchange that stands and a link that cannot, in one block of `a` for `b`.
fn disputed(seed: u64) -> World {
    let (a, b) = (id("a"), id("b"));
    let mut world = World::new(&audited_draft(4), seed, 10);
    world.exchange(a, b, 100);
    world.until("the first is credited", |world| world.credited(b, a) == [100]);
    send(&mut world, 50);
    world.until("b disputes", |world| {
        let known = |it: &BrandId| {
            let of_b = world.ledger(*it).witness(b).unwrap();
            world.ledger(b).witness(a).unwrap().is_disputed() && of_b.tip().height.get() > 1
        };
        [a, b].iter().all(known)
    });
    assert_eq!(world.credited(b, a), [100]);
    world
}

fn send(world: &mut World, points: u64) {
    let (a, b) = (id("a"), id("b"));
    let (handle, request) = (MemberHandle::from_bytes([1; 16]), RequestId::from_bytes([2; 16]));
    world.call(a, |ledger, context, out| {
        let code = String::new();
        ledger.submit_sealed(b, Payload::Link(Link { code, handle })).unwrap();
        let points = crate::amount::Points::new(points).unwrap();
        let it = Exchange::price(ledger.constitution(), (a, b), handle, request, points).unwrap();
        ledger.submit_sealed(b, Payload::Exchange(it)).unwrap();
        ledger.poll(context, out);
    });
}

/// The terms that `a` would offer: of its leaves in dispute those stand that it says.
fn terms(world: &World, stands: impl Fn(&Payload) -> bool) -> DisputeResolved {
    let (a, b) = (id("a"), id("b"));
    let (site, dispute) =
        (&world.sites[&a], world.ledger(b).witness(a).unwrap().dispute().unwrap());
    let own = site.ledger.witness(a).unwrap();
    let began = dispute.began();
    let before = Height::new(began.get() - 1);
    let (block, _) = &site.blocks.0[&before];
    let header = &site.headers[&before];
    let opened =
        site.ledger.close(header.time, Some((header, block.reference().header)), block.contents());
    let opened = opened.unwrap().columns.into_iter().find(|it| it.counterparty == b).unwrap();
    let legs = site.legs.iter().filter(|(_, leg)| leg.to == b && leg.height >= began);
    let legs: Vec<(LeafIndex, Payload)> =
        legs.map(|(index, leg)| (index, leg.payload.clone())).collect();
    let counted: Vec<_> = legs.iter().filter(|(_, payload)| stands(payload)).collect();
    let worth = counted.iter().map(|(_, payload)| payload.value());
    let worth = worth.fold(Value::ZERO, |sum, value| sum.plus(value).unwrap());
    let total = site.ledger.writer().contents()[&b];
    let void = total.sent.minus(opened.content.sent).unwrap().minus(worth).unwrap();
    DisputeResolved {
        accused: a,
        accuser: b,
        began,
        last: own.tip().height,
        block: own.tip().header,
        before: opened.content,
        salt: opened.salt,
        stands: runs(counted.iter().map(|(index, _)| *index)),
        counted: worth,
        void,
        entries: total.entries,
    }
}

fn offer(world: &mut World, terms: DisputeResolved) -> Result<PublicEntry, OfferError> {
    let mut offered = Err(OfferError::Sides);
    world.call(id("a"), |ledger, context, out| {
        offered = ledger.offer_resolution(terms);
        ledger.poll(context, out);
    });
    offered
}

/// What `b` credits when it agrees.
fn agree(world: &mut World) -> Result<(), AgreeError> {
    let (a, b) = (id("a"), id("b"));
    let mut agreed = Ok(());
    world.call(b, |ledger, context, out| match ledger.agree(a, out) {
        Ok(terms) => {
            out.finals.extend(terms.blocks);
            let entry = PublicEntry::DisputeResolved(Box::new(terms.resolution));
            ledger.submit_public(entry).unwrap();
            ledger.applied(a, Vec::new(), true).unwrap();
            ledger.poll(context, out);
        }
        Err(error) => agreed = Err(error),
    });
    agreed
}

fn is_exchange(payload: &Payload) -> bool {
    matches!(payload, Payload::Exchange(_))
}

/// What `a` owes `b` beyond what `b` gave back is what `b` credited, to the micro-fen.
fn conserved(world: &World) {
    let (a, b) = (id("a"), id("b"));
    let sent = world.ledger(a).writer().contents()[&b].sent;
    let back = world.ledger(b).writer().contents()[&a].sent;
    let came = world.sites[&b].credited[&a].iter().map(|exchange| exchange.owed);
    let credited = came.fold(Value::ZERO, |sum, value| sum.plus(value).unwrap());
    assert_eq!(sent.minus(back).unwrap(), credited);
    // each side has verified the other's totals to the end
    assert_eq!(world.ledger(b).witness(a).unwrap().content().sent, sent);
    assert_eq!(world.ledger(a).witness(b).unwrap().content().sent, back);
}

#[test]
fn a_dispute_is_resolved_and_exchange_goes_on() {
    let (a, b) = (id("a"), id("b"));
    for (seed, void_all) in [(1, false), (2, true)] {
        let mut world = disputed(seed);
        let stands = |payload: &Payload| is_exchange(payload) && !void_all;
        let terms = terms(&world, stands);
        offer(&mut world, terms.clone()).unwrap();
        world.until("b has the offer", |world| {
            world.ledger(b).witness(a).unwrap().dispute().unwrap().offer().is_some()
        });
        // nothing is credited before b agrees, and the state survives a restart on either side
        assert_eq!(world.credited(b, a), [100]);
        let chain = Constitutions::from(constitution(&audited_draft(4)));
        world.restart(b, &chain, &[], 0);
        agree(&mut world).unwrap();
        assert_eq!(agree(&mut world), Err(AgreeError::NoDispute));
        assert!(!world.ledger(b).witness(a).unwrap().is_disputed());
        world.until("a hears of it", |world| {
            let column = world.ledger(a).witness(b).unwrap().tip().recognised(a);
            column.height > terms.last
        });
        world.restart(a, &chain, &[], 0);
        world.restart(b, &chain, &[], 0);
        assert!(!world.ledger(b).witness(a).unwrap().is_disputed());
        world.exchange(a, b, 7);
        let expected = if void_all { vec![100, 7] } else { vec![100, 50, 7] };
        world.until("exchange goes on", |world| world.credited(b, a) == expected);
        conserved(&world);
        // the member whose exchange does not stand has its points back, at what it gave for it
        let back: u64 = world.sites[&a].given_back.values().sum();
        assert_eq!(back, if void_all { 50 } else { 0 });

        let report = audited(&world, &chain);
        assert_eq!(found(&report), Vec::<String>::new());
        assert_eq!(report.counts.resolutions, 1);
        // what was wrong is told, and is settled
        assert_eq!(report.resolved.len(), 1, "{:?}", report.resolved);
    }
}

#[test]
fn an_offer_that_the_blocks_do_not_bear_out_is_not_agreed_to() {
    let (a, b) = (id("a"), id("b"));
    let mut world = disputed(3);
    let sound = terms(&world, is_exchange);
    let refused = |change: fn(&mut DisputeResolved)| {
        let mut wrong = sound.clone();
        change(&mut wrong);
        wrong
    };
    // what never reaches a log
    let other_blocks = refused(|it| it.last = it.began);
    if other_blocks.last != sound.last {
        assert_eq!(offer(&mut world, other_blocks), Err(OfferError::OtherBlocks));
    }
    let below = refused(|it| (it.counted, it.before) = (Value::ZERO, ColumnContent::nothing()));
    assert_eq!(offer(&mut world, below), Err(OfferError::BelowShown));
    let stranger = refused(|it| it.accuser = id("x"));
    assert_eq!(offer(&mut world, stranger), Err(OfferError::Sides));
    assert_eq!(agree(&mut world), Err(AgreeError::NoOffer));
    // what does, and is refused by who would credit it
    let wrong: [(Change, Expected); 3] = [
        (
            |it| {
                (it.counted, it.void) =
                    (it.counted.saturating_minus(Value::new(1).unwrap()), Value::new(1).unwrap())
            },
            |error| matches!(error, AgreeError::Value { .. }),
        ),
        (
            |it| {
                it.stands =
                    runs((0..2).map(|more| LeafIndex::new(it.stands[0].first.get() - more)).rev())
            },
            |error| matches!(error, AgreeError::Leaf(_)),
        ),
        (|it| it.salt = [1; 32], |error| matches!(error, AgreeError::OtherDispute)),
    ];
    for (change, expected) in wrong {
        let mut it = terms(&world, is_exchange);
        change(&mut it);
        let last = it.last;
        offer(&mut world, it).unwrap();
        world.until("b has it", |world| {
            let dispute = world.ledger(b).witness(a).unwrap().dispute().unwrap();
            dispute.offer().is_some_and(|offer| offer.height > last)
        });
        let error = agree(&mut world).unwrap_err();
        assert!(expected(&error), "{error:?}");
    }
    // a further offer that stands ends it all the same
    let it = terms(&world, is_exchange);
    let last = it.last;
    offer(&mut world, it).unwrap();
    world.until("b has it", |world| {
        let dispute = world.ledger(b).witness(a).unwrap().dispute().unwrap();
        dispute.offer().is_some_and(|offer| offer.height > last)
    });
    agree(&mut world).unwrap();
    world.until("all hear", |world| {
        world.ledger(a).witness(b).unwrap().tip().recognised(a).height > last
    });
    conserved(&world);
}

#[test]
fn what_is_said_again_after_an_offer_makes_it_void() {
    let (a, b) = (id("a"), id("b"));
    let mut world = disputed(4);
    let it = terms(&world, is_exchange);
    offer(&mut world, it).unwrap();
    let offered =
        |world: &World| world.ledger(b).witness(a).unwrap().dispute().unwrap().offer().is_some();
    world.until("b has the offer", offered);
    send(&mut world, 9);
    world.until("b has what cannot stand", |world| !offered(world));
    assert_eq!(agree(&mut world), Err(AgreeError::NoOffer));
    // and all of it is resolved together
    let it = terms(&world, is_exchange);
    offer(&mut world, it).unwrap();
    world.until("b has the next", offered);
    agree(&mut world).unwrap();
    assert_eq!(world.credited(b, a), [100, 50, 9]);
}

#[test]
fn one_side_alone_resolves_nothing() {
    let (a, b) = (id("a"), id("b"));
    let chain = Constitutions::from(constitution(&audited_draft(4)));
    // the accused alone: nothing changes, nothing is found that was not there
    let mut world = disputed(5);
    let it = terms(&world, |_| false);
    offer(&mut world, it.clone()).unwrap();
    world.until("all have it", |world| world.ledger(b).witness(a).unwrap().tip().height > it.last);
    let rules: Vec<String> =
        audited(&world, &chain).findings.iter().map(|it| it.rule.to_string()).collect();
    assert_eq!(rules, ["block/20"]);
    assert!(world.ledger(b).witness(a).unwrap().is_disputed());
}

#[test]
fn a_node_that_lost_its_disk_finds_in_its_log_what_it_had_agreed_to() {
    let (a, b) = (id("a"), id("b"));
    for (seed, void_all) in [(6, false), (7, true)] {
        let mut world = disputed(seed);
        let terms = terms(&world, |payload| is_exchange(payload) && !void_all);
        offer(&mut world, terms.clone()).unwrap();
        world.until("b has the offer", |world| {
            world.ledger(b).witness(a).unwrap().dispute().unwrap().offer().is_some()
        });
        agree(&mut world).unwrap();
        world.exchange(a, b, 7);
        let expected = if void_all { vec![100, 7] } else { vec![100, 50, 7] };
        world.until("a hears of it, and exchange goes on", |world| {
            let column = world.ledger(a).witness(b).unwrap().tip().recognised(a);
            column.height > terms.last && world.credited(b, a) == expected
        });
        let height = world.ledger(b).witness(b).unwrap().tip().height;
        let contents = world.ledger(b).writer().contents().clone();

        let chain = Constitutions::from(constitution(&audited_draft(4)));
        world.lose(b, &chain, 0);
        let mut began = false;
        world.until("it has both logs again and disputes nothing", |world| {
            let (own, other) =
                (world.ledger(b).witness(b).unwrap(), world.ledger(b).witness(a).unwrap());
            began |= other.is_disputed();
            world.ledger(b).may_apply()
                && own.tip().height >= height
                && other.tip().height > terms.last
                && !other.is_disputed()
        });
        // it was in dispute on the way, from the same block on, and nobody agreed anew
        assert!(began, "void {void_all}");
        assert_eq!(agree(&mut world), Err(AgreeError::NoDispute));
        assert_eq!(world.credited(b, a), expected);
        assert_eq!(world.ledger(b).writer().contents()[&a].sent, contents[&a].sent);
        conserved(&world);
        world.restart(b, &chain, &[], 0);
        assert!(!world.ledger(b).witness(a).unwrap().is_disputed());
        world.exchange(a, b, 3);
        world.until("exchange goes on", |world| world.credited(b, a).last() == Some(&3));
        conserved(&world);
        let report = audited(&world, &chain);
        assert_eq!(found(&report), Vec::<String>::new());
    }
}

/// What `b` gave back by the resolution stands, although `a` never saw it.
#[test]
fn a_brand_that_fails_after_a_resolution_is_closed_out() {
    let (a, b) = (id("a"), id("b"));
    let mut world = disputed(8);
    let terms = terms(&world, |_| false);
    assert!(!terms.void.is_zero());
    offer(&mut world, terms).unwrap();
    world.until("b has the offer", |world| {
        world.ledger(b).witness(a).unwrap().dispute().unwrap().offer().is_some()
    });
    world.sites.get_mut(&a).unwrap().runs = false;
    agree(&mut world).unwrap();
    world.exchange(b, a, 9);
    world.until("it is in the log of b", |world| world.ledger(b).writer().is_idle());
    let chain = super::ends::freeze(&mut world, &audited_draft(4), a);
    super::ends::agree(&mut world, a);
    let closed = super::ends::close_out(&mut world, a);
    let of_b = closed.iter().find(|it| it.received.height.get() > 0).unwrap();
    assert_eq!(of_b.total, world.ledger(b).writer().contents()[&a].sent);
    let report = audited(&world, &chain);
    assert_eq!(found(&report), Vec::<String>::new());
    assert_eq!(report.counts.closed_out, 3, "{:?}", report.not_checked);
}

/// The accuser hears that the accused's log has ended while its agreement is on its way into a block: what it
/// gives back by that is in the totals that it closes out.
#[test]
fn an_agreement_that_is_on_its_way_goes_before_a_closing_out() {
    let (a, b) = (id("a"), id("b"));
    let mut world = disputed(11);
    let terms = terms(&world, is_exchange);
    assert!(!terms.void.is_zero() || !terms.counted.is_zero());
    offer(&mut world, terms).unwrap();
    world.until("b has the offer", |world| {
        world.ledger(b).witness(a).unwrap().dispute().unwrap().offer().is_some()
    });
    world.sites.get_mut(&a).unwrap().runs = false;
    let chain = super::ends::freeze(&mut world, &audited_draft(4), a);
    agree(&mut world).unwrap();
    for brand in world.brands() {
        world.call(brand, |ledger, _, out| assert!(ledger.agree_to_close(a, out)));
    }
    let unheard = |to: BrandId, message: &Message| {
        to == b && matches!(message, Message::Vote(vote) if vote.body.0.block.log == b)
    };
    while !world.ledger(b).is_closed(a) {
        world.now = world.now.plus(STEP);
        for brand in world.brands() {
            world.call(brand, |ledger, context, out| ledger.tick(context, out));
        }
        world.deliver(unheard);
    }
    let nothing = (Value::ZERO, Value::ZERO);
    assert_eq!(world.ledger(b).close_out(a, None, nothing), Err(CloseOutError::OnItsWay));
    world.until("it is in the log of b", |world| world.ledger(b).writer().is_idle());
    assert_eq!(world.credited(b, a), [100, 50]);
    super::ends::close_out(&mut world, a);
    let report = audited(&world, &chain);
    assert_eq!(found(&report), Vec::<String>::new());
    assert_eq!(report.counts.closed_out, 3, "{:?}", report.not_checked);
}

/// What was in dispute when the log ended is closed out as it stood before, and no terms change that.
#[test]
fn nothing_is_agreed_to_when_the_log_has_ended() {
    let (a, b) = (id("a"), id("b"));
    let mut world = disputed(12);
    let terms = terms(&world, is_exchange);
    offer(&mut world, terms).unwrap();
    world.until("b has the offer", |world| {
        world.ledger(b).witness(a).unwrap().dispute().unwrap().offer().is_some()
    });
    world.sites.get_mut(&a).unwrap().runs = false;
    let chain = super::ends::freeze(&mut world, &audited_draft(4), a);
    super::ends::agree(&mut world, a);
    assert_eq!(agree(&mut world), Err(AgreeError::Ended));
    super::ends::close_out(&mut world, a);
    assert_eq!(agree(&mut world), Err(AgreeError::Ended));
    assert_eq!(world.credited(b, a), [100]);
    // what was found stays found
    let report = audited(&world, &chain);
    let blamed = found(&report);
    assert!(matches!(blamed.as_slice(), [it] if it.contains("block/20")), "{blamed:?}");
    assert_eq!(report.counts.closed_out, 3, "{:?}", report.not_checked);
}

/// Who could not read the block before a dispute has no totals to show, and takes those that the log commits to
/// from the terms that end it.
#[test]
fn a_dispute_that_begins_after_a_block_that_cannot_be_read_ends_like_any_other() {
    let (a, b) = (id("a"), id("b"));
    let chain = Constitutions::from(constitution(&audited_draft(4)));
    let mut world = World::new(&audited_draft(4), 9, 10);
    world.exchange(a, b, 100);
    world.until("the first is credited", |world| world.credited(b, a) == [100]);
    // `a` hears of the new key, and says what cannot stand, in one block
    world.deaf = Some(a);
    world.call(b, |ledger, _, _| {
        ledger.turn_sealing_key(sealing_secret(b, 1)).unwrap();
    });
    world.exchange(b, a, 10);
    world.until("b has stated it", |world| world.ledger(b).writer().is_idle());
    let (block, certificate) = world.sites[&b].blocks.0.last_key_value().unwrap().1.clone();
    let delivery = block.deliveries(chain.first()).unwrap().to(a, false).unwrap();
    let certificate = certificate.as_unverified().clone();
    world.mail.clear();
    world.deaf = None;
    world.call(a, |ledger, context, out| {
        let blocks = vec![CertifiedBlock { certificate, delivery }];
        ledger.handle(b, Message::Blocks(blocks), context, out).unwrap();
        ledger.applied(b, Vec::new(), true).unwrap();
        let handle = MemberHandle::from_bytes([1; 16]);
        let link = Payload::Link(Link { code: String::new(), handle });
        ledger.submit_sealed(b, link).unwrap();
        ledger.poll(context, out);
    });
    let disputes = |world: &World| world.ledger(b).witness(a).unwrap().is_disputed();
    world.until("b disputes", disputes);
    world.until("it says so", |world| world.ledger(b).writer().is_idle());

    world.lose(b, &chain, 1);
    world.until("b disputes again", |world| disputes(world) && world.ledger(b).may_apply());
    assert_eq!(world.ledger(b).witness(a).unwrap().dispute().unwrap().before(), None);
    let false_before = |it: &mut DisputeResolved| it.before.entries += 1;
    for (change, expected) in [(Some(false_before), Err(AgreeError::OtherDispute)), (None, Ok(()))]
    {
        let mut terms = terms(&world, |_| false);
        change.into_iter().for_each(|change| change(&mut terms));
        let last = terms.last;
        offer(&mut world, terms).unwrap();
        world.until("b has it", |world| {
            let dispute = world.ledger(b).witness(a).unwrap().dispute().unwrap();
            dispute.offer().is_some_and(|offer| offer.height > last)
        });
        assert_eq!(agree(&mut world), expected);
    }
    world.exchange(a, b, 3);
    world.until("exchange goes on", |world| world.credited(b, a).last() == Some(&3));
    let sent = world.ledger(a).writer().contents()[&b].sent;
    assert_eq!(world.ledger(b).witness(a).unwrap().content().sent, sent);
    // what it said the second time names the block, and shows no totals
    let said = world.sites[&b].blocks.0.values().flat_map(|(block, _)| block.public());
    let said: Vec<bool> = said
        .filter_map(|entry| match entry {
            PublicEntry::DisputeOpened(it) => Some(it.evidence.is_some()),
            _ => None,
        })
        .collect();
    assert!(said.contains(&true) && said.contains(&false), "{said:?}");
    assert_eq!(found(&audited(&world, &chain)), Vec::<String>::new());
}

#[test]
fn an_offer_that_is_on_its_way_when_another_is_agreed_to_restates_nothing() {
    let (a, b) = (id("a"), id("b"));
    let mut world = disputed(10);
    let first = terms(&world, is_exchange);
    offer(&mut world, first).unwrap();
    let offered =
        |world: &World| world.ledger(b).witness(a).unwrap().dispute().unwrap().offer().is_some();
    world.until("b has the offer", offered);
    let second = terms(&world, |_| false);
    let last = second.last;
    offer(&mut world, second).unwrap();
    // b votes for the block with it, then agrees to the first
    for (from, to, bytes) in std::mem::take(&mut world.mail) {
        if (from, to) != (a, b) {
            world.mail.push_back((from, to, bytes));
            continue;
        }
        let message = Message::from_bytes(&bytes).unwrap();
        world.call(b, |ledger, context, out| ledger.handle(from, message, context, out).unwrap());
    }
    agree(&mut world).unwrap();
    // and it is so after a restart
    let chain = Constitutions::from(constitution(&audited_draft(4)));
    world.restart(b, &chain, &[], 0);
    world.until("b disputes what it did not agree to", |world| {
        world.ledger(b).witness(a).unwrap().dispute().is_some_and(|it| it.began() > last)
    });
    world.restart(b, &chain, &[], 0);
    let third = terms(&world, |_| false);
    offer(&mut world, third).unwrap();
    world.until("b has the offer", offered);
    agree(&mut world).unwrap();
    assert_eq!(world.credited(b, a), [100, 50]);
    world.until("a hears of it", |world| {
        world.ledger(a).witness(b).unwrap().tip().recognised(a).height > last
            && world.ledger(b).writer().is_idle()
    });
    conserved(&world);
}
