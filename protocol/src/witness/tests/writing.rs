//! What a writer does over a crash, with a liar about, and with much that waits.

use super::super::writer::QUEUE_MAX;
use super::*;
use crate::exchange::{Link, Return, ReturnReason};
use crate::ids::LeafIndex;

#[test]
fn a_block_that_was_built_and_not_proposed_is_proposed_after_the_crash() {
    let alliance = alliance();
    let (_, out) = submitted(&alliance);
    let [built @ Record::Built(_), Record::Proposed(pledge)] = out.records.as_slice() else {
        panic!("{:?}", out.records)
    };
    let mut ledger = replayed(&alliance, A, std::slice::from_ref(built));
    assert!(ledger.writer().open_block().is_some());
    let out = alliance.start(&mut ledger);
    assert_eq!(proposed(&out), [*pledge; 3]);
    let [Record::Started(_), Record::Proposed(again)] = out.records.as_slice() else { panic!() };
    assert_eq!(again, pledge);
    // nothing waits: what was in the block is not built a second time
    assert!(call(&mut ledger, |ledger, context, out| ledger.poll(context, out)).records.is_empty());
}

#[test]
fn a_writer_that_crashed_with_a_lock_goes_on_with_it() {
    let alliance = alliance();
    let (mut ledger, out) = submitted(&alliance);
    let (mut records, pledge) = (out.records.clone(), proposed(&out)[0]);
    let hear = |ledger: &mut Ledger, by: usize, message| {
        call(ledger, |ledger, context, out| {
            ledger.handle(alliance.id(by), message, context, out).unwrap();
        })
    };
    let key = |by: usize| &alliance.keys[by].0.vote;
    for by in [B, C] {
        let vote = Message::Vote(Signed::sign(alliance.id(by), Vote(pledge), key(by)));
        records.extend(hear(&mut ledger, by, vote).records);
    }
    assert!(matches!(records.last(), Some(Record::Locked(_))));
    let mut ledger = replayed(&alliance, A, &records);
    alliance.start(&mut ledger);
    let out = call(&mut ledger, |ledger, context, out| ledger.tick(context, out));
    let locks = out.messages.iter().filter(|(_, sent)| matches!(sent, Message::Lock(_))).count();
    assert_eq!(locks, 3);
    for by in [B, D] {
        let commit = Message::Commit(Signed::sign(alliance.id(by), Commit(pledge), key(by)));
        hear(&mut ledger, by, commit);
    }
    assert_eq!(ledger.witness(alliance.id(A)).unwrap().tip().header, pledge.block.header);
}

#[test]
fn a_witness_that_crashed_with_a_lock_tells_of_it() {
    let alliance = alliance();
    let lock = alliance.lock(pledge(&alliance.block(1), 0), &[B, C]);
    let mut ledger = replayed(&alliance, B, &[Record::Locked(lock.clone())]);
    alliance.start(&mut ledger);
    let open = Signed::sign(alliance.id(A), alliance.opening(1, 1), &alliance.keys[A].0.log);
    let out = call(&mut ledger, |ledger, context, out| {
        ledger.handle(alliance.id(A), Message::Open(open), context, out).unwrap();
    });
    let [(_, Message::Promise(promise))] = out.messages.as_slice() else { panic!() };
    assert_eq!(promise.lock.as_ref(), Some(&lock));
}

#[test]
fn one_liar_does_not_carry_the_writer_to_the_last_round() {
    let alliance = alliance();
    let (mut ledger, out) = submitted(&alliance);
    let pledge = proposed(&out)[0];
    let mut opened = Vec::new();
    for (by, joined) in [(B, u32::MAX - 1), (C, 3)] {
        let refusal = Message::Refusal(crate::witness::message::Refusal {
            log: alliance.id(A),
            height: pledge.block.height,
            round: pledge.round,
            joined: Round::new(joined),
            rule: 0,
        });
        let out = call(&mut ledger, |ledger, context, out| {
            ledger.handle(alliance.id(by), refusal, context, out).unwrap();
        });
        opened.extend(out.messages.into_iter().filter_map(|(_, message)| match message {
            Message::Open(open) => Some(open.body.round.get()),
            _ => None,
        }));
    }
    assert_eq!(opened, [4; 3]);
}

/// Calls a ledger so many milliseconds later.
fn later(
    ledger: &mut Ledger,
    after: u64,
    action: impl FnOnce(&mut Ledger, &mut Context<'_>, &mut Outbox),
) -> Outbox {
    let mut out = Outbox::default();
    let now = NOW.plus(Milliseconds::new(after));
    let mut context = Context { now, entropy: &mut Counting(7), archive: &NoArchive };
    action(ledger, &mut context, &mut out);
    out
}

/// The rounds that are opened, each once.
fn opened(out: &Outbox) -> Vec<u32> {
    let rounds = out.messages.iter().filter_map(|(_, message)| match message {
        Message::Open(open) => Some(open.body.round.get()),
        _ => None,
    });
    let mut rounds: Vec<u32> = rounds.collect();
    rounds.dedup();
    rounds
}

#[test]
fn rule_10_a_round_is_left_at_once_when_too_many_refuse_and_else_in_good_time() {
    let alliance = alliance();
    let tick = |ledger: &mut Ledger, after: u64| {
        opened(&later(ledger, after, |ledger, context, out| ledger.tick(context, out)))
    };
    let refuse = |ledger: &mut Ledger, after: u64, by: usize, round: u32, joined: u32| {
        let refusal = Message::Refusal(crate::witness::message::Refusal {
            log: alliance.id(A),
            height: Height::new(1),
            round: Round::new(round),
            joined: Round::new(joined),
            rule: 0,
        });
        opened(&later(ledger, after, |ledger, context, out| {
            ledger.handle(alliance.id(by), refusal, context, out).unwrap();
        }))
    };
    // that nobody answers is no reason
    let (mut unanswered, _) = submitted(&alliance);
    assert!(tick(&mut unanswered, 60_000).is_empty());

    // one of four cannot keep the others from voting: they have their time
    let (mut ledger, _) = submitted(&alliance);
    assert!(refuse(&mut ledger, 0, B, 0, 0).is_empty());
    assert!(tick(&mut ledger, 499).is_empty());
    assert_eq!(tick(&mut ledger, 500), [1]);
    // twice as much in the next round, where the opening is only repeated until then
    assert!(refuse(&mut ledger, 500, B, 1, 1).is_empty());
    assert_eq!(tick(&mut ledger, 1_499), [1]);
    assert_eq!(tick(&mut ledger, 1_999), [2]);
    // above round 0 more than n-q leave it at once only where more than f say that it is passed
    assert!(refuse(&mut ledger, 1_999, B, 2, 2).is_empty());
    assert!(refuse(&mut ledger, 1_999, C, 2, 2).is_empty());
    assert!(refuse(&mut ledger, 1_999, D, 2, 5).is_empty());
    assert_eq!(refuse(&mut ledger, 1_999, C, 2, 5), [6]);

    // in round 0 more than n-q refusals are enough
    let (mut refused, _) = submitted(&alliance);
    assert!(refuse(&mut refused, 0, B, 0, 0).is_empty());
    assert_eq!(refuse(&mut refused, 0, C, 0, 0), [1]);
}

#[test]
fn a_return_is_taken_when_the_queue_is_full_and_goes_first() {
    let alliance = alliance();
    let mut ledger = alliance.ledger(A);
    alliance.start(&mut ledger);
    let handle = MemberHandle::from_bytes([1; 16]);
    let link = Payload::Link(Link { code: "code".to_owned(), handle });
    for _ in 0..QUEUE_MAX {
        ledger.submit_sealed(alliance.id(B), link.clone()).unwrap();
    }
    assert!(ledger.submit_sealed(alliance.id(B), link).is_err());
    let (original, reason) = (LeafIndex::new(3), ReturnReason::NotLinked);
    let back =
        Payload::Return(Return { original, reason, value: Value::ZERO, points: Points::ZERO });
    ledger.submit_sealed(alliance.id(C), back.clone()).unwrap();
    let out = call(&mut ledger, |ledger, context, out| ledger.poll(context, out));
    let Some(Record::Built(block)) = out.records.first() else { panic!() };
    assert!(block.payloads().iter().any(|sent| sent.payload == back));
}

/// What is left for the next block waits for a whole round more: only where so much padding would be dear.
#[test]
fn only_of_much_that_waits_a_part_is_left_for_the_next_block() {
    let alliance = alliance();
    let handle = MemberHandle::from_bytes([1; 16]);
    let link = Payload::Link(Link { code: "code".to_owned(), handle });
    for (waiting, taken) in [
        (1_024, 1_024),
        (1_100, 1_100),
        (4_095, 4_095),
        (4_096, 4_095),
        (6_142, 4_095),
        (6_143, 6_143),
    ] {
        let mut ledger = alliance.ledger(A);
        alliance.start(&mut ledger);
        for _ in 0..waiting {
            ledger.submit_sealed(alliance.id(B), link.clone()).unwrap();
        }
        let out = call(&mut ledger, |ledger, context, out| ledger.poll(context, out));
        let Some(Record::Built(block)) = out.records.first() else { panic!() };
        assert_eq!(block.payloads().len(), taken, "of {waiting}");
    }
}
