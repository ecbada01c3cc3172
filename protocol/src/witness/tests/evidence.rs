//! Rule 14: evidence, and what a witness does that holds it.

use super::*;
use crate::log::block::PublicEntry;
use crate::log::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::log::note::KeyName;
use crate::witness::closing;
use crate::witness::evidence::{Evidence, EvidenceError, Offence, offence};
use crate::witness::message::CertifiedBlock;
use crate::witness::said::Said;
use crate::witness::state::ROUND_MAX;

fn handle(ledger: &mut Ledger, from: BrandId, message: Message) -> Outbox {
    call(ledger, |ledger, context, out| ledger.handle(from, message, context, out).unwrap())
}

impl Alliance {
    fn running(&self, brand: usize) -> Ledger {
        let mut ledger = self.ledger(brand);
        self.start(&mut ledger);
        ledger
    }
    fn says_vote(&self, by: usize, block: &OwnBlock, round: u32) -> Said {
        let vote = Vote(pledge(block, round));
        Said::Vote(Signed::sign(self.id(by), vote, &self.keys[by].0.vote))
    }
    fn says_proposal(&self, block: &OwnBlock, round: u32) -> Said {
        let proposal = Proposal(pledge(block, round));
        Said::Proposal(Signed::sign(self.id(A), proposal, &self.keys[A].0.log))
    }
    fn says_commit(&self, by: usize, block: &OwnBlock, round: u32) -> Said {
        let commit = Commit(pledge(block, round));
        Said::Commit(Signed::sign(self.id(by), commit, &self.keys[by].0.vote))
    }
    fn says_promise(&self, by: usize, round: u32, lock: Option<Pledge>) -> Said {
        let promise = Promise { open: self.opening(round, 1), lock };
        Said::Promise(Signed::sign(self.id(by), promise, &self.keys[by].0.vote))
    }
    fn says_open(&self, round: u32, nonce: u8, incarnation: u64) -> Said {
        let incarnation = Incarnation::new(incarnation);
        let open = Open { incarnation, ..self.opening(round, nonce) };
        Said::Open(Signed::sign(self.id(A), open, &self.keys[A].0.log))
    }
    fn note(&self, block: &OwnBlock, root: u8) -> Vec<u8> {
        let origin = KeyName::new(&self.constitution.origin(self.id(A))).unwrap();
        let root = crate::ids::RootHash::from_bytes([root; 32]);
        let checkpoint = Checkpoint::new(&origin, block.reference().size, root);
        let key = SigningKey::from_seed(&seed(A, 2)).unwrap();
        SignedCheckpoint::sign(checkpoint, &key).unwrap().to_string().into_bytes()
    }
}

#[test]
fn rule_14_only_what_no_honest_brand_signs_is_an_offence() {
    let alliance = alliance();
    let (one, other) = (alliance.block(1), alliance.block(2));
    let low = Some(pledge(&one, 0));
    let cases = [
        (
            alliance.says_proposal(&one, 0),
            alliance.says_proposal(&other, 0),
            Some(Offence::TwoProposals),
        ),
        (alliance.says_proposal(&one, 0), alliance.says_proposal(&other, 1), None),
        (alliance.says_proposal(&one, 0), alliance.says_proposal(&one, 0), None),
        (alliance.says_vote(B, &one, 2), alliance.says_vote(B, &other, 2), Some(Offence::TwoVotes)),
        (alliance.says_vote(B, &one, 2), alliance.says_vote(C, &other, 2), None),
        (alliance.says_open(1, 1, 1), alliance.says_open(1, 2, 1), Some(Offence::TwoOpenings)),
        // a writer that was restored may open again what it has forgotten
        (alliance.says_open(1, 1, 1), alliance.says_open(1, 2, 2), None),
        (
            alliance.says_commit(B, &one, 1),
            alliance.says_promise(B, 2, low),
            Some(Offence::ForgottenCommit),
        ),
        (
            alliance.says_commit(B, &one, 1),
            alliance.says_promise(B, 2, None),
            Some(Offence::ForgottenCommit),
        ),
        (alliance.says_commit(B, &one, 0), alliance.says_promise(B, 2, low), None),
        // it had promised before it committed
        (alliance.says_commit(B, &one, 2), alliance.says_promise(B, 1, None), None),
    ];
    for (first, second, expected) in cases {
        assert_eq!(offence(&first, &second), expected, "{first:?} {second:?}");
        assert_eq!(offence(&second, &first), expected);
        let proven = Evidence::statements(first, second).prove(&alliance.constitutions);
        assert_eq!(proven.map(|it| it.offence()).ok(), expected);
    }
}

#[test]
fn rule_14_evidence_is_checked_to_the_last_signature() {
    let alliance = alliance();
    let (one, other) = (alliance.block(1), alliance.block(2));
    let Said::Vote(mut forged) = alliance.says_vote(C, &other, 2) else { panic!() };
    forged.signer = alliance.id(B);
    let evidence = Evidence::statements(alliance.says_vote(B, &one, 2), Said::Vote(forged));
    assert_eq!(evidence.prove(&alliance.constitutions), Err(EvidenceError::Signature));
    let (note, same) = (alliance.note(&one, 1), alliance.note(&one, 1));
    let checkpoints = |one: &[u8], other: &[u8]| {
        Evidence::Checkpoints(one.to_vec(), other.to_vec()).prove(&alliance.constitutions)
    };
    assert_eq!(checkpoints(&note, &same), Err(EvidenceError::Compatible));
    let proven = checkpoints(&note, &alliance.note(&one, 2)).unwrap();
    assert_eq!((proven.accused(), proven.offence()), (alliance.id(A), Offence::TwoTrees));
    let certificate = alliance.certificate(pledge(&one, 0), A);
    let against = |certificate| {
        Evidence::Uncertified(note.clone(), Box::new(certificate)).prove(&alliance.constitutions)
    };
    let mut few = certificate.clone();
    few.commits.pop();
    assert_eq!(against(few), Err(EvidenceError::Signature));
    assert!(against(certificate).is_ok());
}

#[test]
fn rule_14_a_witness_that_sees_two_proposals_keeps_tells_enters_and_votes_no_more() {
    let alliance = alliance();
    let (a, b) = (alliance.id(A), alliance.id(B));
    let (one, other) = (alliance.block(1), alliance.block(2));
    let propose =
        |block, to| Message::Proposal(Box::new(alliance.proposal(block, 0, to, Vec::new())));
    let mut witness = alliance.running(B);
    handle(&mut witness, a, propose(&one, B));
    let out = handle(&mut witness, a, propose(&other, B));
    assert!(out.records.iter().any(|record| matches!(record, Record::Kept(_))));
    let told: Vec<BrandId> = out
        .messages
        .iter()
        .filter_map(|(to, message)| match message {
            Message::Evidence(_) => Some(*to),
            _ => None,
        })
        .collect();
    assert_eq!(told, [alliance.id(C), alliance.id(D)]);
    // what it had voted for it commits no more
    let lock = Message::Lock(alliance.lock(pledge(&one, 0), &[B, C]));
    assert!(handle(&mut witness, a, lock.clone()).messages.is_empty());
    // a brand that is told checks it, keeps it and passes it on, once
    let evidence = out.messages.iter().find(|(_, it)| matches!(it, Message::Evidence(_))).unwrap();
    let mut third = alliance.running(C);
    let heard = handle(&mut third, b, evidence.1.clone());
    assert_eq!((heard.records.len(), heard.messages.len()), (1, 2));
    assert!(third.is_frozen(a));
    assert!(handle(&mut third, b, evidence.1.clone()).records.is_empty());
    assert!(handle(&mut third, a, propose(&one, C)).messages.is_empty());
    // after a restart as well; and what is final is still taken
    let mut restarted = replayed(&alliance, C, &heard.records);
    alliance.start(&mut restarted);
    assert!(handle(&mut restarted, a, propose(&one, C)).messages.is_empty());
    let certificate = Message::Certified(alliance.certificate(pledge(&one, 0), A));
    handle(&mut witness, a, certificate);
    assert_eq!(witness.witness(a).unwrap().tip().header, one.reference().header);
    // the finder enters it, once
    let entries = |out: &Outbox| {
        let built = out.records.iter().filter_map(|record| match record {
            Record::Built(block) => Some(block.submissions().0),
            _ => None,
        });
        built.flatten().filter(|entry| matches!(entry, PublicEntry::Evidence(_))).count()
    };
    let poll = |ledger: &mut Ledger| call(ledger, |ledger, context, out| ledger.poll(context, out));
    assert_eq!((entries(&poll(&mut witness)), entries(&poll(&mut third))), (1, 0));
    // other logs go on
    let block = alliance.build(D, alliance.plan(9, Vec::new()));
    let fair = Message::Proposal(Box::new(alliance.proposal(&block, 0, B, Vec::new())));
    assert!(voted(&handle(&mut witness, alliance.id(D), fair)));
}

#[test]
fn rule_14_two_votes_and_a_forgotten_commit_are_seen_by_the_writer() {
    let alliance = alliance();
    let b = alliance.id(B);
    let (mut writer, out) = submitted(&alliance);
    let real = proposed(&out)[0];
    let vote = |pledge| Message::Vote(Signed::sign(b, Vote(pledge), &alliance.keys[B].0.vote));
    handle(&mut writer, b, vote(real));
    let out = handle(&mut writer, b, vote(pledge(&alliance.block(7), 0)));
    let kept = out.records.iter().filter(|record| matches!(record, Record::Kept(_))).count();
    assert_eq!(kept, 1);
    assert_eq!(writer.cases().iter().next().unwrap().proven.accused(), b);
    // a witness's offence freezes nobody's log
    assert!(!writer.is_frozen(b));
}

#[test]
fn leaves_that_are_not_the_blocks_are_refused_and_nobody_is_blamed() {
    let alliance = alliance();
    let a = alliance.id(A);
    let payload = Payload::Exchange(alliance.exchange(A, B, 10));
    let block = alliance.build(A, alliance.plan(1, vec![(B, payload.clone())]));
    let other = alliance.build(A, alliance.plan(2, vec![(B, payload)]));
    let delivery = |block: &OwnBlock| {
        let deliveries = block.deliveries(&alliance.constitution).unwrap();
        deliveries.to(alliance.id(B), false).unwrap()
    };
    let certified = |delivery| {
        let certificate = alliance.certificate(pledge(&block, 0), A);
        Message::Blocks(vec![CertifiedBlock { certificate, delivery }])
    };
    let mut withheld = delivery(&block);
    withheld.column = None;
    let mut swapped = delivery(&block);
    swapped.column = delivery(&other).column;
    let mut ledger = alliance.running(B);
    for wrong in [withheld, swapped] {
        let mut out = Outbox::default();
        let mut context = Context { now: NOW, entropy: &mut Counting(7), archive: &NoArchive };
        let handled = ledger.handle(a, certified(wrong), &mut context, &mut out);
        assert!(handled.is_err() && out.records.is_empty());
    }
    let out = handle(&mut ledger, a, certified(delivery(&block)));
    assert_eq!(out.finals[0].payloads.as_ref().unwrap().len(), 1);
    assert!(!ledger.witness(a).unwrap().is_disputed());
}

#[test]
fn a_final_block_that_breaks_a_rule_is_told() {
    let alliance = alliance();
    let a = alliance.id(A);
    let stranger =
        Disclosure { auditor: "a_friend".to_owned(), first: Height::new(1), secrets: Vec::new() };
    let unsound = alliance.build(
        A,
        Plan { public: vec![PublicEntry::Disclosure(stranger)], ..alliance.plan(1, Vec::new()) },
    );
    for (block, expected) in [(alliance.block(2), None), (unsound, Some(58))] {
        let deliveries = block.deliveries(&alliance.constitution).unwrap();
        let delivery = deliveries.to(alliance.id(B), false).unwrap();
        let certificate = alliance.certificate(pledge(&block, 0), A);
        let mut ledger = alliance.running(B);
        let message = Message::Blocks(vec![CertifiedBlock { certificate, delivery }]);
        let out = handle(&mut ledger, a, message);
        // it is final, whoever would have refused it
        let [done] = out.finals.as_slice() else { panic!() };
        assert_eq!(done.unsound.as_ref().map(|violation| violation.number()), expected);
        assert_eq!(ledger.witness(a).unwrap().tip().height, Height::new(1));
        // after a restart as well
        let mut ledger = alliance.ledger(B);
        let mut again = Outbox::default();
        for record in &out.records {
            ledger.replay(record, &mut again).unwrap();
        }
        assert_eq!(again.finals[0].unsound, done.unsound);
    }
}

#[test]
fn a_lying_writer_does_not_fill_the_disk_with_rounds_or_blocks() {
    let alliance = alliance();
    let mut witness = alliance.witness();
    let beyond = alliance.open(&mut witness, alliance.opening(ROUND_MAX.get() + 1, 1));
    assert_eq!((refused(&beyond), beyond.records.len()), (Some(0), 0));
    let highest = alliance.open(&mut witness, alliance.opening(ROUND_MAX.get(), 1));
    assert_eq!(highest.records.len(), 1);
    let mut witness = alliance.witness();
    let mut taken = 0;
    for round in 0..70 {
        let open = alliance.opening(round, 1);
        let promises = [A, C, D].map(|by| alliance.promise(by, open, None)).to_vec();
        let promises = if round == 0 { Vec::new() } else { promises };
        let block = alliance.block(u8::try_from(round).unwrap());
        let out = alliance.propose(&mut witness, alliance.proposal(&block, round, B, promises));
        taken += out.records.iter().filter(|it| matches!(it, Record::Voted(_))).count();
        assert!(voted(&out) || refused(&out) == Some(24));
    }
    assert_eq!(taken, 64);
}

/// B, C and D hold evidence against A; what they say to each other is delivered until nothing is said.
fn close_in_time(alliance: &Alliance, ledgers: &mut BTreeMap<BrandId, Ledger>) {
    let mut mail: Vec<(BrandId, BrandId, Message)> = Vec::new();
    for step in 0..40_u64 {
        for (me, ledger) in ledgers.iter_mut() {
            let mut out = Outbox::default();
            let now = NOW.plus(Milliseconds::new(step * 500));
            let entropy = &mut Counting(u8::try_from(step).unwrap());
            let mut context = Context { now, entropy, archive: &NoArchive };
            ledger.tick(&mut context, &mut out);
            mail.extend(out.messages.into_iter().map(|(to, message)| (*me, to, message)));
        }
        while let Some((from, to, message)) = mail.pop() {
            let Some(ledger) = ledgers.get_mut(&to) else { continue };
            let out = handle(ledger, from, message);
            mail.extend(out.messages.into_iter().map(|(next, message)| (to, next, message)));
        }
    }
    assert!(ledgers.values().all(|ledger| ledger.is_closed(alliance.id(A))));
}

#[test]
fn rule_14_a_frozen_log_is_closed_with_its_highest_lock_or_with_nothing() {
    let alliance = alliance();
    let (a, one, other) = (alliance.id(A), alliance.block(1), alliance.block(2));
    let evidence =
        Evidence::statements(alliance.says_proposal(&one, 0), alliance.says_proposal(&other, 0));
    for locked in [false, true] {
        let mut ledgers: BTreeMap<BrandId, Ledger> =
            [B, C, D].map(|brand| (alliance.id(brand), alliance.running(brand))).into();
        for (place, ledger) in [B, C, D].into_iter().zip(ledgers.values_mut()) {
            let proposal = alliance.proposal(&one, 0, place, Vec::new());
            assert!(voted(&handle(ledger, a, Message::Proposal(Box::new(proposal)))));
            if locked && place == C {
                // the block may be certified somewhere by now
                handle(ledger, a, Message::Lock(alliance.lock(pledge(&one, 0), &[B, C])));
            }
            let teller = alliance.id(if place == D { B } else { D });
            handle(ledger, teller, Message::Evidence(Box::new(evidence.clone())));
            assert!(ledger.agree_to_close(a, &mut Outbox::default()));
        }
        close_in_time(&alliance, &mut ledgers);
        let expected =
            if locked { one.reference().header } else { crate::ids::HeaderHash::NOTHING };
        for ledger in ledgers.values_mut() {
            let witness = ledger.witness(a).unwrap();
            assert_eq!(witness.closing().unwrap().block().header, expected);
            assert_eq!(witness.tip().height, Height::new(u64::from(locked)));
            // nothing is appended any more
            let late = alliance.proposal(&other, 0, B, Vec::new());
            assert!(!voted(&handle(ledger, a, Message::Proposal(Box::new(late)))));
        }
    }
}

#[test]
fn rule_14_no_log_is_closed_that_is_not_frozen() {
    let alliance = alliance();
    let mut ledger = alliance.running(B);
    let mut out = Outbox::default();
    assert!(!ledger.agree_to_close(alliance.id(A), &mut out) && out.records.is_empty());
    // nor does a witness join a last round of it
    let open = Open { round: closing::FIRST, ..alliance.opening(1, 1) };
    let leader = closing::leader(alliance.constitution.committee(), alliance.id(A), open.round);
    assert_eq!(leader, alliance.id(B));
    let mut other = alliance.running(C);
    let signed = Signed::sign(leader, open, &alliance.keys[B].0.log);
    assert!(handle(&mut other, leader, Message::Open(signed)).messages.is_empty());
}
