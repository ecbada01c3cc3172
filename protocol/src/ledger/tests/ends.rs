//! A brand that fails: its log is closed by the others, what it never recognised is void, what it owes is
//! in every statement until it is paid or written off.

use super::{audited, audited_draft, found};
use crate::amount::Value;
use crate::clearing::{
    Absent, CheckedClosing, ClearingError, Settlement, Statement, check_closing,
};
use crate::codec;
use crate::constitution::{Draft, WrittenOff};
use crate::epochs::Constitutions;
use crate::epochs::adoption::Stance;
use crate::ids::{BrandId, Height};
use crate::ledger::{CLOSE_AFTER, CloseOutError};
use crate::log::block::{ApplicationEntry, PublicEntry, StatementEntry};
use crate::log::closed_out::ClosedOut;
use crate::log::merkle::Frontier;
use crate::time::{Milliseconds, Timestamp};
use crate::witness::allowed::Allowed;
use crate::witness::ending::{EndError, LogEnd};
use crate::witness::guards::Upheld;
use crate::witness::message::CertifiedHeader;
use crate::witness::rules::{Tip, Violation};
use crate::witness::statement::UnverifiedCertificate;
use crate::witness::writer::SubmitError;
use crate::world::{World, constitution, following, id};

struct Failed {
    world: World,
    first: Draft,
    second: Draft,
    chain: Constitutions,
}

fn all() -> [BrandId; 3] {
    [id("a"), id("b"), id("c")]
}

/// `d` has exchanged with `a` both ways, then stops; `a` and `b` send it what it never sees. Then it is
/// frozen by a constitution.
fn failed(seed: u64) -> Failed {
    let (a, b, d) = (id("a"), id("b"), id("d"));
    let first = audited_draft(4);
    let mut world = World::new(&first, seed, 10);
    world.exchange(d, a, 40);
    world.exchange(a, d, 30);
    world.until("both ways", |world| {
        let recognised = |of, by| world.ledger(of).witness(by).unwrap().tip().recognised(of).height;
        recognised(a, d).get() > 0 && recognised(d, a).get() > 0
    });
    world.until("all know", |world| {
        let height = world.ledger(d).witness(d).unwrap().tip().height;
        all().iter().all(|it| world.ledger(*it).witness(d).unwrap().tip().height == height)
    });
    world.sites.get_mut(&d).unwrap().runs = false;
    world.exchange(a, d, 25);
    world.exchange(b, d, 10);
    let second = frozen(&first, d);
    let chain = freeze(&mut world, &first, d);
    Failed { world, first, second, chain }
}

fn frozen(first: &Draft, brand: BrandId) -> Draft {
    following(first, |it| it.succession.frozen.extend([brand]))
}

/// The brands that run take up a constitution that freezes another.
pub(super) fn freeze(world: &mut World, first: &Draft, brand: BrandId) -> Constitutions {
    let second = frozen(first, brand);
    world.offer(&second);
    let others = world.brands();
    for brand in &others {
        world.state(*brand, &second, Stance::Adopted).unwrap();
    }
    world.until("the others are under it", |world| world.all_at(2, &others));
    let mut chain = Constitutions::from(constitution(first));
    chain.follow(constitution(&second)).unwrap();
    chain
}

pub(super) fn agree(world: &mut World, log: BrandId) {
    for brand in world.brands() {
        world.call(brand, |ledger, _, out| assert!(ledger.agree_to_close(log, out)));
    }
    world.until("it is closed", |world| {
        world.brands().iter().all(|it| world.ledger(*it).is_closed(log))
    });
}

pub(super) fn close_out(world: &mut World, log: BrandId) -> Vec<ClosedOut> {
    let mut closed = Vec::new();
    for brand in world.brands() {
        let entry = world.sites.get_mut(&brand).unwrap().close_out(log);
        let PublicEntry::ClosedOut(it) = &entry else { panic!() };
        closed.push((**it).clone());
        world.call(brand, |ledger, context, out| {
            ledger.submit_public(entry).unwrap();
            ledger.poll(context, out);
        });
    }
    world.until("all have entered it", |world| {
        world.brands().iter().all(|it| world.ledger(*it).writer().is_idle())
    });
    closed
}

#[test]
fn a_failed_brand_is_closed_out_and_nothing_is_lost() {
    let (a, b, d) = (id("a"), id("b"), id("d"));
    let Failed { mut world, first, second, chain } = failed(1);
    // not yet closed: what it was sent may still count
    let not_ended = world.ledger(a).close_out(d, None, (Value::ZERO, Value::ZERO));
    assert_eq!(not_ended, Err(CloseOutError::NotEnded));
    agree(&mut world, d);
    let drafts = [&second];
    let first_alone = Constitutions::from(constitution(&first));
    world.restart(a, &first_alone, &drafts, 0);
    assert!(world.ledger(a).is_closed(d));
    // nothing more can be sent there
    world.call(a, |ledger, context, out| {
        ledger.poll(context, out);
        let refused = ledger.submit_sealed(
            d,
            crate::exchange::Payload::Link(crate::exchange::Link {
                code: "X".to_owned(),
                handle: crate::ids::MemberHandle::from_bytes([1; 16]),
            }),
        );
        assert_eq!(refused, Err(SubmitError::Ended { to: d }));
    });
    close_out(&mut world, d);
    // each member once, at what it gave; what was recognised stands
    let back = |world: &World, brand| world.sites[&brand].given_back.values().sum::<u64>();
    assert_eq!((back(&world, a), back(&world, b)), (25, 10));
    assert_eq!(world.credited(a, d), [40]);
    // what is owed is what was recognised: 30 points of a at d, and nothing of b's
    let owed = |world: &World, by| world.ledger(by).writer().contents()[&d].sent;
    assert_eq!(
        owed(&world, a),
        world
            .ledger(a)
            .witness(d)
            .map(|it| {
                // one for one: a point of d is worth what one of a is
                it.tip().recognised(a).sent
            })
            .unwrap()
    );
    assert_eq!(owed(&world, b), Value::ZERO);
    // the others go on
    world.exchange(a, b, 5);
    world.until("exchange goes on", |world| world.credited(b, a) == [5]);
    let report = audited(&world, &chain);
    assert_eq!(found(&report), Vec::<String>::new());
    assert_eq!(report.counts.closed_out, 3, "{:?}", report.not_checked);
}

#[test]
fn a_constitution_in_effect_is_agreement_after_an_hour() {
    let d = id("d");
    let Failed { mut world, .. } = failed(2);
    for _ in 0..300 {
        world.step();
    }
    let closed = |world: &World| world.brands().iter().all(|it| world.ledger(*it).is_closed(d));
    assert!(!closed(&world));
    world.now = world.now.plus(CLOSE_AFTER);
    world.until("it is closed", closed);
}

#[test]
fn a_removed_brand_that_runs_ends_its_log_itself() {
    let d = id("d");
    let first = audited_draft(4);
    let mut world = World::new(&first, 3, 10);
    world.exchange(d, id("a"), 40);
    world.until("it is credited", |world| !world.credited(id("a"), d).is_empty());
    let second = following(&first, |it| it.succession.frozen.extend([d]));
    world.offer(&second);
    for brand in all() {
        world.state(brand, &second, Stance::Adopted).unwrap();
    }
    let ended = |world: &World| all().iter().all(|it| world.ledger(*it).is_closed(d));
    world.until("its log has ended", ended);
    let end = world.ledger(id("a")).end_of(d).unwrap();
    assert!(matches!(end, LogEnd::Switched(_)));
    let mut chain = Constitutions::from(constitution(&first));
    chain.follow(constitution(&second)).unwrap();
    assert_eq!(end.verify(&chain).unwrap().log(), d);
    assert_eq!(end.verify(&constitution(&first).into()), Err(EndError::UnknownConstitution));
    // what its last block came to is known to its brand after a restart, from a snapshot too
    let contents = world.ledger(d).writer().contents().clone();
    assert_ne!(contents[&id("a")].sent, Value::ZERO);
    world.restart(d, &constitution(&first).into(), &[&second], 0);
    assert_eq!(*world.ledger(d).writer().contents(), contents);
    // whoever learns of the constitution later counts what was closed out by then, from a snapshot too
    world.sites.get_mut(&d).unwrap().runs = false;
    let closed = close_out(&mut world, d);
    let first_alone = Constitutions::from(constitution(&first));
    let mut absent = Absent::under(&first_alone);
    let by = (id("a"), closed_out_at(&world, id("a")));
    assert!(!absent.entered(by, &closed[0], &first_alone));
    assert!(!absent.has_closed_out(by.0, d));
    let stored = codec::encode(&absent);
    let mut absent: Absent = codec::decode("it", &stored, stored.len()).unwrap();
    absent.read(&chain);
    assert!(absent.has_closed_out(by.0, d));
    assert!(!absent.entered(by, &closed[0], &chain));
    let mut at_once = Absent::under(&chain);
    assert!(at_once.entered(by, &closed[0], &chain));
    assert_eq!(absent, at_once);
}

#[test]
fn of_two_brands_neither_closes_the_others_log() {
    let (a, b) = (id("a"), id("b"));
    let first = audited_draft(2);
    let mut world = World::new(&first, 4, 0);
    world.exchange(b, a, 40);
    world.until("it is credited", |world| !world.credited(a, b).is_empty());
    world.sites.get_mut(&b).unwrap().runs = false;
    world.call(a, |ledger, _, out| assert!(!ledger.agree_to_close(b, out)));
    world.now = world.now.plus(CLOSE_AFTER);
    for _ in 0..200 {
        world.step();
    }
    assert!(!world.ledger(a).is_closed(b));
}

/// What a witness says of a block in which `a` closes `d` out, when its entry is changed.
fn judged(world: &World, chain: &Constitutions, it: &ClosedOut) -> Option<u16> {
    let a = id("a");
    let site = &world.sites[&a];
    let (height, header) = site
        .headers
        .iter()
        .rev()
        .find(|(_, header)| {
            let block = &site.blocks.0[&header.height].0;
            block.public().iter().any(|entry| matches!(entry, PublicEntry::ClosedOut(_)))
        })
        .unwrap();
    let before = &site.headers[&Height::new(height.get() - 1)];
    let tip = Tip::after(before, header.previous, Frontier::empty());
    let constitution = chain.of(header.epoch).unwrap();
    let entries = [PublicEntry::ClosedOut(Box::new(it.clone()))];
    let judged = Allowed::by::<Upheld>((constitution, chain), &tip, header, &entries);
    judged.err().map(|violation: Violation| violation.number())
}

#[test]
fn a_partner_is_closed_out_by_what_its_last_block_says() {
    let Failed { mut world, chain, .. } = failed(5);
    agree(&mut world, id("d"));
    let closed = close_out(&mut world, id("d"));
    let sound = &closed[0];
    assert_eq!(judged(&world, &chain, sound), None);
    let one = Value::new(1).unwrap();
    let step = constitution(&audited_draft(4)).total_step();
    let wrong: [fn(&mut ClosedOut, Value, Value); 8] = [
        |it, _, _| it.log = id("c"),
        // less than was recognised
        |it, _, step| it.total = it.total.saturating_minus(step),
        // more is void than the public total falls by
        |it, _, step| it.void = it.void.plus(step).unwrap(),
        |it, _, _| it.void = Value::ZERO,
        |it, _, _| it.sent.height = Height::new(9),
        |it, one, step| {
            let sent = &mut it.sent.content.sent;
            *sent = sent.plus(step).and_then(|sent| sent.plus(one)).unwrap();
        },
        |it, one, _| it.received.content.sent = it.received.content.sent.plus(one).unwrap(),
        |it, _, _| match &mut *it.end {
            LogEnd::LastRound(_, closing) => drop(closing.commits.pop()),
            LogEnd::Switched(_) => panic!("closed by the others"),
        },
    ];
    for (number, change) in wrong.into_iter().enumerate() {
        let mut it = sound.clone();
        change(&mut it, one, step);
        assert_eq!(judged(&world, &chain, &it), Some(66), "{number}");
    }
}

#[test]
fn a_log_ends_where_a_last_round_says_and_nowhere_else() {
    let Failed { mut world, chain, .. } = failed(6);
    agree(&mut world, id("d"));
    let LogEnd::LastRound(Some(last), closing) = world.ledger(id("a")).end_of(id("d")).unwrap()
    else {
        panic!()
    };
    let last = *last;
    let end = |last: Option<CertifiedHeader>, closing: &UnverifiedCertificate| {
        LogEnd::LastRound(last.map(Box::new), Box::new(closing.clone()))
    };
    assert!(end(Some(last.clone()), &closing).verify(&chain).is_ok());
    // an ordinary certificate closes nothing, nor does a last round of another block
    let ordinary = end(Some(last.clone()), &last.certificate).verify(&chain);
    assert_eq!(ordinary, Err(EndError::NotLast));
    assert_eq!(end(None, &closing).verify(&chain), Err(EndError::OtherBlock));
    let other = world.ledger(id("a")).witness(id("b")).unwrap();
    let other = CertifiedHeader {
        header: other.header_leaf().unwrap().to_vec(),
        certificate: other.certificate().unwrap().as_unverified().clone(),
    };
    assert_eq!(end(Some(other), &closing).verify(&chain), Err(EndError::OtherBlock));
}

/// Everyone who runs has a block under the constitution that its log is under by now.
fn write_a_block(world: &mut World) {
    for brand in world.brands() {
        let entry = ApplicationEntry { application: 1, body: vec![1] };
        world.call(brand, |ledger, context, out| {
            ledger.submit_public(PublicEntry::Application(entry)).unwrap();
            ledger.poll(context, out);
        });
    }
    world.until("all have written", |world| {
        world.brands().iter().all(|it| world.ledger(*it).writer().is_idle())
    });
}

/// The closings of those who go on, for a cut-off that has just passed.
fn close_all(world: &mut World, cut_off: Timestamp) -> Vec<CheckedClosing> {
    let mut all_closings = Vec::new();
    for brand in all() {
        let site = &world.sites[&brand];
        let (height, header) = site.headers.last_key_value().unwrap();
        let block = &site.blocks.0[height].0;
        let last = Some((header, block.reference().header));
        let closing = site.ledger.close(cut_off, last, block.contents()).unwrap();
        let (height, header, id) = (*height, header.clone(), block.reference().header);
        let entry = PublicEntry::Closing(closing.clone());
        world.call(brand, |ledger, context, out| {
            ledger.submit_public(entry).unwrap();
            ledger.poll(context, out);
        });
        world.until("it is final", |world| world.sites[&brand].headers.len() as u64 > height.get());
        let next = &world.sites[&brand].headers[&height.next().unwrap()];
        all_closings.push(check_closing(&closing, Some((&header, id)), next).unwrap());
    }
    all_closings
}

/// `d` leaves by a constitution, not frozen before, and its node is off: in the hour that it has to end its log
/// itself there is a cut-off, and the others' blocks are under the new constitution by then.
#[test]
fn a_brand_that_left_is_missing_until_all_have_closed_it_out_and_nobody_is_blamed() {
    let (a, d) = (id("a"), id("d"));
    let first = audited_draft(4);
    let mut world = World::new(&first, 8, 10);
    world.exchange(d, a, 40);
    world.until("it is credited and all know", |world| {
        let height = world.ledger(d).witness(d).unwrap().tip().height;
        let knows = |it| world.ledger(it).witness(d).unwrap().tip().height == height;
        world.credited(a, d) == [40] && all().into_iter().all(knows)
    });
    world.sites.get_mut(&d).unwrap().runs = false;
    let second = following(&first, |it| {
        it.brands.remove(&d);
        it.rates.retain(|(from, to), _| *from != d && *to != d);
    });
    world.offer(&second);
    for brand in all() {
        world.state(brand, &second, Stance::Adopted).unwrap();
    }
    world.until("the others are under it", |world| world.all_at(2, &all()));
    let mut chain = Constitutions::from(constitution(&first));
    chain.follow(constitution(&second)).unwrap();
    write_a_block(&mut world);
    let passes = |world: &mut World| {
        world.now = world.now.plus(Milliseconds::from_seconds(1));
        let cut_off = world.now;
        world.step();
        (cut_off, close_all(world, cut_off))
    };
    let (early, closings) = passes(&mut world);
    assert!(!world.ledger(a).is_closed(d));
    let derive = |cut_off, closings: &[CheckedClosing], absent: &Absent| {
        Statement::derive(&chain, cut_off, closings, absent)
    };
    let missing = Err(ClearingError::Missing(d));
    assert_eq!(derive(early, &closings, &Absent::under(&chain)), missing);

    world.now = world.now.plus(CLOSE_AFTER);
    world.until("it is closed", |world| all().iter().all(|it| world.ledger(*it).is_closed(d)));
    let closed = close_out(&mut world, d);
    let mut absent = Absent::under(&chain);
    let (cut_off, of_later) = passes(&mut world);
    for (brand, it) in all().into_iter().zip(&closed) {
        // until the last of them has, there is none; then there is, of cut-offs after that
        assert_eq!(derive(cut_off, &of_later, &absent), missing);
        let end = it.end.verify(&chain).unwrap();
        absent.closed_out((brand, closed_out_at(&world, brand)), it, &end);
        assert_eq!(derive(early, &closings, &absent), missing);
    }
    let statement = derive(cut_off, &of_later, &absent).unwrap();
    assert_eq!((statement.epoch, statement.positions.len()), (second.epoch, 4));
    assert!(!statement.position(d).unwrap().pays().is_zero());
    for brand in all() {
        let entry = StatementEntry { cut_off, statement: statement.hash() };
        world.call(brand, |ledger, context, out| {
            ledger.submit_public(PublicEntry::Statement(entry)).unwrap();
            ledger.poll(context, out);
        });
    }
    world.until("all have entered it", |world| {
        world.brands().iter().all(|it| world.ledger(*it).writer().is_idle())
    });
    let report = audited(&world, &chain);
    assert_eq!(found(&report), Vec::<String>::new());
    assert_eq!((report.counts.statements, report.counts.closed_out), (3, 3));
}

/// In which own block a brand has closed out another.
fn closed_out_at(world: &World, brand: BrandId) -> Height {
    let blocks = world.sites[&brand].blocks.0.iter();
    let closes = |entry: &PublicEntry| matches!(entry, PublicEntry::ClosedOut(_));
    let mut found = blocks.filter(|(_, (block, _))| block.public().iter().any(closes));
    *found.next().unwrap().0
}

#[test]
fn what_a_failed_brand_owes_stays_until_a_constitution_writes_it_off() {
    let (a, d) = (id("a"), id("d"));
    let Failed { mut world, mut chain, second, .. } = failed(7);
    agree(&mut world, d);
    let closed = close_out(&mut world, d);
    let mut absent = Absent::under(&chain);
    for (brand, it) in all().into_iter().zip(&closed) {
        let height = world.sites[&brand].headers.last_key_value().map(|(height, _)| *height);
        absent.closed_out((brand, height.unwrap()), it, &it.end.verify(&chain).unwrap());
    }
    world.now = world.now.plus(Milliseconds::from_seconds(1));
    let cut_off = world.now;
    world.step();
    let closings = close_all(&mut world, cut_off);
    let derive = |absent: &Absent, chain: &Constitutions| {
        Statement::derive(chain, cut_off, &closings, absent)
    };
    // without what was closed out there is no statement
    assert!(derive(&Absent::default(), &chain).is_err());
    let statement = derive(&absent, &chain).unwrap();
    // d sent a 40 points and a sent d 30: d owes the difference, and nobody else anything
    let owed = statement.position(d).unwrap().pays();
    assert_eq!(statement.position(a).unwrap().receives(), owed);
    assert!(!owed.is_zero());
    let sum: i64 = statement.positions.iter().map(|it| it.net.micro_fen()).sum();
    assert_eq!(sum, 0);
    let agreed = |statement: &Statement, absent: &Absent| {
        let mut settlement = Settlement::new(statement.clone(), absent);
        for brand in all() {
            assert!(settlement.agree(brand, statement.hash()));
        }
        settlement
    };
    // all who are there agree, and nothing is discharged: the debt stands
    assert!(!agreed(&statement, &absent).is_discharged());

    let third = following(&second, |it| {
        it.succession.written_off = vec![WrittenOff { debtor: d, creditor: a, value: owed }];
    });
    chain.follow(constitution(&third)).unwrap();
    absent.read(&chain);
    // under the constitution before nothing is different
    assert_eq!(derive(&absent, &chain).unwrap(), statement);
    // from the first cut-off on that somebody closes under it, it is settled
    world.offer(&third);
    for brand in all() {
        world.state(brand, &third, Stance::Adopted).unwrap();
    }
    world.until("all are under it", |world| world.all_at(3, &all()));
    write_a_block(&mut world);
    world.now = world.now.plus(Milliseconds::from_seconds(1));
    let cut_off = world.now;
    world.step();
    let closings = close_all(&mut world, cut_off);
    let settled = Statement::derive(&chain, cut_off, &closings, &absent).unwrap();
    assert_eq!(settled.epoch, third.epoch);
    assert!(settled.positions.iter().all(|it| it.net.micro_fen() == 0));
    assert!(agreed(&settled, &absent).is_discharged());
}
