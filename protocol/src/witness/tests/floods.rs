//! Messages with more signed things in them than can be needed: nothing of them is verified, so that one
//! brand cannot keep the others busy with one message.

use super::*;
use crate::crypto::verified_in;
use crate::ids::HeaderHash;
use crate::witness::closing::{self, LastProposal};
use crate::witness::evidence::Evidence;
use crate::witness::said::Said;
use crate::witness::statement::QuorumError;

#[test]
fn promises_of_more_than_there_are_or_two_of_one_are_not_verified() {
    let alliance = alliance();
    let block = alliance.block(1);
    let open = alliance.opening(1, 1);
    let sound = [A, C, D].map(|by| alliance.promise(by, open, None)).to_vec();
    let mut stranger = alliance.promise(B, open, None);
    stranger.promise.signer = BrandId::new("zzz").unwrap();
    let mut twice = sound.clone();
    twice.push(sound[0].clone());
    let mut many = twice.clone();
    many[3].promise.signer = alliance.id(B);
    many.push(stranger);
    for round in [0, 1] {
        for promises in [&twice, &many] {
            let message = alliance.proposal(&block, round, B, promises.clone());
            let mut witness = alliance.witness();
            let (out, verified) = verified_in(|| alliance.propose(&mut witness, message));
            // the writer's signature under its proposal
            assert_eq!((refused(&out), verified), (Some(101), 1), "round {round}");
        }
    }
    // a lock that all tell of is verified once, and nothing a second time to take note of it
    let lock = alliance.lock(pledge(&block, 0), &[B, C]);
    let locked = [A, C, D].map(|by| alliance.promise(by, open, Some(lock.clone()))).to_vec();
    let message = alliance.proposal(&block, 1, B, locked);
    let mut witness = alliance.witness();
    let (out, verified) = verified_in(|| alliance.propose(&mut witness, message));
    assert_eq!((voted(&out), verified), (true, 1 + 3 + 3));
}

#[test]
fn promises_of_a_last_round_are_limited_alike() {
    let alliance = alliance();
    let round = Round::new(closing::FIRST.get() + 1);
    let leader = closing::leader(alliance.constitution.committee(), alliance.id(A), round);
    assert_eq!(leader, alliance.id(C));
    let open = Open { round, ..alliance.opening(0, 1) };
    let mut promises = [B, C, D].map(|by| alliance.promise(by, open, None)).to_vec();
    promises.push(promises[0].clone());
    let mut witness = alliance.witness();
    let block = closing::nothing(alliance.constitution.epoch(), alliance.id(A), witness.tip());
    assert_eq!(block.header, HeaderHash::NOTHING);
    let proposal = Signed::sign(leader, Proposal(Pledge { block, round }), &alliance.keys[C].0.log);
    let at = Surroundings { closes: true, ..alliance.at(B) };
    let mut propose = |promises| {
        let mut out = Outbox::default();
        let message = LastProposal { proposal: proposal.clone(), promises };
        let ((), verified) = verified_in(|| witness.last_proposal(&at, message, &mut out));
        (refused(&out), voted(&out), verified)
    };
    assert_eq!(propose(promises.clone()), (Some(101), false, 1));
    promises.pop();
    assert_eq!(propose(promises), (None, true, 1 + 3));
}

#[test]
fn blocks_of_other_logs_are_brought_once_each() {
    let alliance = alliance();
    let theirs = [B, C, D].map(|by| alliance.build(by, alliance.plan(9, Vec::new())));
    let mut recognised = BTreeMap::new();
    for (by, block) in [B, C, D].into_iter().zip(&theirs) {
        let certificate = alliance.certificate(pledge(block, 0), by);
        let proof = CertifiedHeader { header: block.header_leaf().to_vec(), certificate };
        let reference = block.reference();
        let stated = Recognised {
            height: reference.height,
            block: reference.header,
            sent: Value::ZERO,
            discharged: Discharge::NOTHING,
        };
        recognised.insert(alliance.id(by), (stated, proof));
    }
    let block = alliance.build(A, Plan { recognised, ..alliance.plan(1, Vec::new()) });
    let judged = |change: &dyn Fn(&mut Vec<CertifiedHeader>)| {
        let mut message = alliance.proposal(&block, 0, B, Vec::new());
        change(&mut message.delivery.recognised);
        let mut witness = alliance.witness();
        let (out, verified) = verified_in(|| alliance.propose(&mut witness, message));
        (refused(&out), verified)
    };
    // proposal, and three certificates of a proposal and three commits each
    assert_eq!(judged(&|_| {}), (None, 1 + 3 * 4));
    let twice = |it: &mut Vec<CertifiedHeader>| it[2] = it[1].clone();
    assert_eq!(judged(&twice), (Some(25), 1));
    let many = |it: &mut Vec<CertifiedHeader>| {
        it.push(it[0].clone());
        it[3].certificate.pledge.block.log = alliance.id(A);
    };
    assert_eq!(judged(&many), (Some(25), 1));
    // what the header does not name is not verified
    let another = |it: &mut Vec<CertifiedHeader>| {
        let other = alliance.build(B, alliance.plan(8, Vec::new()));
        it[0] = CertifiedHeader {
            header: other.header_leaf().to_vec(),
            certificate: alliance.certificate(pledge(&other, 0), B),
        };
    };
    assert_eq!(judged(&another), (Some(12), 1 + 2 * 4));
}

#[test]
fn signers_are_counted_before_their_signatures_are_verified() {
    let alliance = alliance();
    let block = alliance.block(1);
    let certificate = alliance.certificate(pledge(&block, 0), A);
    let of = &alliance.constitution;
    let wrong: [fn(&mut Vec<Endorsement>); 3] = [
        |it| it.push(it[0]),
        |it| it[1].signer = BrandId::new("zzz").unwrap(),
        |it| it.truncate(2),
    ];
    for change in wrong {
        let mut few = certificate.clone();
        change(&mut few.commits);
        let (result, verified) = verified_in(|| few.verify(of).map(drop));
        assert!(matches!(result, Err(QuorumError::Signer(_) | QuorumError::TooFew { .. })));
        assert_eq!(verified, 0);
    }
    let lock = alliance.lock(pledge(&block, 0), &[A, B]);
    let (result, verified) = verified_in(|| lock.verify(of).map(drop));
    assert_eq!((result, verified), (Err(QuorumError::Signer(alliance.id(A))), 0));
}

#[test]
fn an_answer_to_a_start_names_every_log_once() {
    let alliance = alliance();
    let mut ledger = alliance.ledger(B);
    let out = call(&mut ledger, |ledger, context, out| ledger.resume(context, out));
    let start = announced(&out);
    let answer = alliance.answer(alliance.id(B), start);
    let said = Said::Vote(Signed::sign(
        alliance.id(B),
        Vote(pledge(&alliance.block(1), 0)),
        &alliance.keys[B].0.vote,
    ));
    let mut twice = answer.clone();
    twice.logs.push(twice.logs[0].clone());
    let mut says_twice = answer.clone();
    says_twice.said = vec![said.clone(), said];
    for wrong in [twice, says_twice] {
        let (_, verified) = verified_in(|| alliance.acknowledge(&mut ledger, C, wrong));
        // that it is an answer of that brand
        assert_eq!(verified, 1);
    }
    // neither counted: two more are needed
    alliance.acknowledge(&mut ledger, C, answer.clone());
    assert!(ledger.starting().is_some());
    alliance.acknowledge(&mut ledger, D, answer);
    assert!(ledger.starting().is_none());
}

#[test]
fn what_is_proved_already_is_not_proved_again() {
    let alliance = alliance();
    let mut ledger = alliance.ledger(B);
    alliance.start(&mut ledger);
    let votes = |round| {
        let [one, other] = [1, 2].map(|number| {
            let vote = Vote(pledge(&alliance.block(number), round));
            Said::Vote(Signed::sign(alliance.id(C), vote, &alliance.keys[C].0.vote))
        });
        Message::Evidence(Box::new(Evidence::statements(one, other)))
    };
    let mut tell = |round| {
        let message = votes(round);
        let tell = || {
            call(&mut ledger, |ledger, context, out| {
                ledger.handle(alliance.id(D), message, context, out).unwrap();
            })
        };
        let (out, verified) = verified_in(tell);
        (out.records.len(), verified)
    };
    assert_eq!(tell(2), (1, 2));
    // the same, and more of the same kind
    assert_eq!(tell(2), (0, 0));
    assert_eq!(tell(3), (0, 0));
}
