//! Rules 11 to 13: how a node starts, and what it does when its disk was put back.

use super::*;
use crate::ids::TreeSize;
use crate::log::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::log::note::{KeyName, SignatureType, VerifierKey};
use crate::log::proof::ConsistencyProof;
use crate::log::tlog_witness::{AddCheckpoint, ForeignLogs, Refusal};
use crate::witness::guards::Upheld;
use crate::witness::said::Said;
use crate::witness::standing::Fence;
use crate::witness::start::OpenRound;

fn handle(ledger: &mut Ledger, from: BrandId, message: Message) -> Outbox {
    call(ledger, |ledger, context, out| ledger.handle(from, message, context, out).unwrap())
}

fn resumed(ledger: &mut Ledger) -> Outbox {
    call(ledger, |ledger, context, out| ledger.resume(context, out))
}

/// Starts with other random bytes than [`resumed`].
fn resumed_again(ledger: &mut Ledger) -> Outbox {
    let mut out = Outbox::default();
    let mut context = Context { now: NOW, entropy: &mut Counting(70), archive: &NoArchive };
    ledger.resume(&mut context, &mut out);
    out
}

fn restored(out: &Outbox) -> bool {
    out.records.iter().any(|record| matches!(record, Record::Restored(_)))
}

fn signs(out: &Outbox) -> bool {
    out.messages.iter().any(|(_, message)| {
        matches!(
            message,
            Message::Open(_)
                | Message::Promise(_)
                | Message::Proposal(_)
                | Message::Vote(_)
                | Message::Lock(_)
                | Message::Commit(_)
        )
    })
}

impl Alliance {
    fn started(&self, brand: usize) -> Ledger {
        let mut ledger = self.ledger(brand);
        self.start(&mut ledger);
        ledger
    }

    fn proposed(&self, block: &OwnBlock, to: usize) -> Message {
        Message::Proposal(Box::new(self.proposal(block, 0, to, Vec::new())))
    }

    /// What a ledger of `by` answers to a start.
    fn asked(by: &mut Ledger, brand: BrandId, start: &Message) -> Acknowledgement {
        let out = handle(by, brand, start.clone());
        let answer = out.messages.into_iter().find_map(|(_, message)| match message {
            Message::Acknowledgement(answer) => Some(answer.body),
            _ => None,
        });
        answer.unwrap()
    }

    fn announce(ledger: &mut Ledger) -> Message {
        Self::announcement(resumed(ledger))
    }

    fn announcement(out: Outbox) -> Message {
        out.messages.into_iter().find(|(_, it)| matches!(it, Message::Start(_))).unwrap().1
    }
}

#[test]
fn rule_11_nothing_is_signed_before_a_quorum_with_itself_knows_of_the_start() {
    let alliance = alliance();
    let a = alliance.id(A);
    let block = alliance.block(1);
    let mut witness = alliance.ledger(B);
    let start = announced(&resumed(&mut witness));
    let mut writer = alliance.ledger(A);
    resumed(&mut writer);
    writer.submit_sealed(alliance.id(B), Payload::Exchange(alliance.exchange(A, B, 10))).unwrap();
    assert!(!signs(&call(&mut writer, |ledger, context, out| ledger.poll(context, out))));
    let open = Signed::sign(a, alliance.opening(1, 1), &alliance.keys[A].0.log);
    let lock = alliance.lock(pledge(&block, 0), &[C, D]);
    for _ in 0..2 {
        assert!(!signs(&handle(&mut witness, a, alliance.proposed(&block, B))));
        assert!(!signs(&handle(&mut witness, a, Message::Open(open.clone()))));
        assert!(!signs(&handle(&mut witness, a, Message::Lock(lock.clone()))));
        // one acknowledgement of the two that are needed, however often it comes
        let answer = alliance.answer(witness.me(), start);
        alliance.acknowledge(&mut witness, C, answer);
    }
    let answer = alliance.answer(witness.me(), start);
    alliance.acknowledge(&mut witness, D, answer);
    assert!(voted(&handle(&mut witness, a, alliance.proposed(&block, B))));
    assert_eq!(witness.starting(), None);
}

#[test]
fn rule_11_an_acknowledgement_proves_what_it_says() {
    let alliance = alliance();
    let mut ledger = alliance.ledger(B);
    let start = announced(&resumed(&mut ledger));
    let fair = alliance.answer(ledger.me(), start);
    let pledge = pledge(&alliance.block(1), 0);
    let few = UnverifiedCertificate { commits: Vec::new(), ..alliance.certificate(pledge, A) };
    let mut wrong = vec![fair.clone(); 4];
    // to another start; a vote and a start in another's hand; a height nobody certified
    wrong[0].start.nonce = crate::ids::StartNonce::from_bytes([0; 16]);
    let key = &alliance.keys[C].0;
    wrong[1].said = vec![Said::Vote(Signed::sign(ledger.me(), Vote(pledge), &key.vote))];
    let later = Start { incarnation: Incarnation::new(9), ..start };
    wrong[2].started = Some(Signed::sign(ledger.me(), later, &key.log));
    wrong[3].logs[0].certificate = Some(few);
    for (answer, by) in wrong.into_iter().zip([C, D, C, D]) {
        let out = alliance.acknowledge(&mut ledger, by, answer);
        assert!(out.records.is_empty());
    }
    assert!(ledger.starting().is_some());
    for by in [C, D] {
        alliance.acknowledge(&mut ledger, by, fair.clone());
    }
    assert_eq!(ledger.starting(), None);
}

#[test]
fn rule_11_a_node_that_lost_its_journal_hears_of_its_former_life() {
    let alliance = alliance();
    let b = alliance.id(B);
    let (mut c, mut d) = (alliance.started(C), alliance.started(D));
    let first = Alliance::announce(&mut alliance.ledger(B));
    for peer in [&mut c, &mut d] {
        assert_eq!(Alliance::asked(peer, b, &first).started, None);
        // the same start is answered alike
        assert_eq!(Alliance::asked(peer, b, &first).started, None);
    }
    let mut amnesiac = alliance.ledger(B);
    let again = Alliance::announcement(resumed_again(&mut amnesiac));
    let answer = Alliance::asked(&mut c, b, &again);
    let out = alliance.acknowledge(&mut amnesiac, C, answer);
    assert!(restored(&out));
    assert!(matches!(out.records.last(), Some(Record::Started(second)) if second.get() == 2));
    // the new start has a higher incarnation than any that was seen, and is answered as one
    let start = Message::Start(Signed::sign(b, announced(&out), &alliance.keys[B].0.log));
    let answer = Alliance::asked(&mut d, b, &start);
    let out = alliance.acknowledge(&mut amnesiac, D, answer);
    assert!(!restored(&out));
    // an honest restart on the own disk is none: its incarnation is higher than any seen
    let mut restarted = replayed(&alliance, B, &[Record::Started(Incarnation::new(2))]);
    let third = Alliance::announce(&mut restarted);
    let answer = Alliance::asked(&mut d, b, &third);
    assert!(answer.started.is_some());
    assert!(!restored(&alliance.acknowledge(&mut restarted, D, answer)));
}

#[test]
fn rule_11_a_node_put_back_within_one_incarnation_hears_of_its_vote() {
    let alliance = alliance();
    let (a, b) = (alliance.id(A), alliance.id(B));
    let (mut writer, out) = submitted(&alliance);
    let message = out.messages.into_iter().find(|(to, _)| *to == b).unwrap().1;
    let mut witness = alliance.started(B);
    let vote = handle(&mut witness, a, message);
    let [(_, said)] = vote.messages.as_slice() else { panic!() };
    handle(&mut writer, b, said.clone());
    // the disk as it was before the vote, and as it is
    let before = [Record::Started(Incarnation::new(1))];
    let after: Vec<Record> = before.iter().chain(&vote.records).cloned().collect();
    for (records, put_back) in [(&before[..], true), (&after[..], false)] {
        let mut ledger = replayed(&alliance, B, records);
        let start = Alliance::announce(&mut ledger);
        let answer = Alliance::asked(&mut writer, b, &start);
        let out = alliance.acknowledge(&mut ledger, A, answer);
        assert_eq!(restored(&out), put_back);
    }
}

#[test]
fn rule_11_an_older_incarnation_has_no_claim() {
    let alliance = alliance();
    let a = alliance.id(A);
    let mut witness = alliance.started(B);
    let start = |incarnation| {
        let nonce = crate::ids::StartNonce::from_bytes([incarnation; 16]);
        let start = Start { incarnation: Incarnation::new(u64::from(incarnation)), nonce };
        Message::Start(Signed::sign(a, start, &alliance.keys[A].0.log))
    };
    let heard = handle(&mut witness, a, start(2));
    assert!(matches!(heard.records.as_slice(), [Record::Heard(_)]));
    // the alliance's proposals and openings are of incarnation 1
    let block = alliance.block(1);
    assert_eq!(refused(&handle(&mut witness, a, alliance.proposed(&block, B))), Some(103));
    let open = Signed::sign(a, alliance.opening(1, 1), &alliance.keys[A].0.log);
    assert_eq!(refused(&handle(&mut witness, a, Message::Open(open.clone()))), Some(103));
    // and after a restart
    let mut ledger = replayed(&alliance, B, &heard.records);
    alliance.start(&mut ledger);
    assert_eq!(refused(&handle(&mut ledger, a, Message::Open(open))), Some(103));
}

fn fence(log: BrandId, certified: u64, resume: Option<OpenRound>) -> Fence {
    Fence { log, certified: Height::new(certified), resume }
}

#[test]
fn rule_12_a_restored_witness_is_silent_two_heights_above_the_highest_certified() {
    let alliance = alliance();
    let log = alliance.id(A);
    let mut standing = Standing::default();
    standing.acknowledge();
    let may = |standing: &Standing| {
        let sign = |height| standing.may_sign::<Upheld>(log, Height::new(height));
        (1..9).filter(|height| sign(*height)).collect::<Vec<_>>()
    };
    standing.restore(false, [log].into_iter(), &mut Outbox::default());
    assert!(may(&standing).is_empty());
    standing.decide(fence(log, 4, None), &mut Outbox::default());
    assert_eq!(may(&standing), [7, 8]);
    let vouches = |tip| standing.vouches::<Upheld>(log, Height::new(tip));
    assert_eq!((vouches(5), vouches(6)), (false, true));
    assert!(standing.vouches::<Upheld>(alliance.id(B), Height::new(0)));
    // of two brands both are needed: it goes on where the writer says
    let open = OpenRound { round: Round::new(3), lock: None };
    standing.decide(fence(log, 4, Some(open)), &mut Outbox::default());
    assert_eq!(may(&standing), [5, 6, 7, 8]);
    assert!(standing.resumed(log, Height::new(5)).is_some());
    assert!(standing.resumed(log, Height::new(6)).is_none());
}

/// Of two brands both are needed for everything, and nobody else can tell.
#[test]
fn rule_12_of_two_brands_a_restored_witness_goes_on_from_the_writers_round_and_lock() {
    let alliance = alliance_of(2);
    let a = alliance.id(A);
    let block = alliance.block(1);
    let lock = alliance.lock(pledge(&block, 1), &[B]);
    let mut ledger = alliance.ledger(B);
    call(&mut ledger, |ledger, _, out| ledger.declare_restored(out));
    let start = announced(&resumed(&mut ledger));
    let mut answer = alliance.answer(ledger.me(), start);
    answer.logs[A].open = Some(OpenRound { round: Round::new(2), lock: Some(lock.clone()) });
    alliance.acknowledge(&mut ledger, A, answer);
    // the rounds up to the writer's are as if it had joined them
    let open = |ledger: &mut Ledger, round| {
        let open = Signed::sign(a, alliance.opening(round, 1), &alliance.keys[A].0.log);
        handle(ledger, a, Message::Open(open))
    };
    assert_eq!(refused(&open(&mut ledger, 2)), Some(0));
    let out = open(&mut ledger, 3);
    let [(_, Message::Promise(promise))] = out.messages.as_slice() else {
        panic!("{:?}", out.messages)
    };
    assert_eq!(promise.lock.as_ref(), Some(&lock));
    // so that the height goes on with the block that may have been certified
    let of_writer = alliance.promise(A, alliance.opening(3, 1), Some(lock));
    let promises = vec![of_writer, (**promise).clone()];
    let message = alliance.proposal(&block, 3, B, promises);
    assert!(voted(&handle(&mut ledger, a, Message::Proposal(Box::new(message)))));
}

#[test]
fn rule_12_only_those_who_vouch_decide_and_more_of_them_when_it_was_declared() {
    let alliance = alliance();
    for (declared, needed) in [(false, 2), (true, 3)] {
        let mut ledger = alliance.ledger(B);
        call(&mut ledger, |ledger, _, out| {
            if declared {
                ledger.declare_restored(out);
            }
        });
        let start = announced(&resumed(&mut ledger));
        assert_eq!((ledger.knows_own_log(), ledger.lacks_own_log()), (false, declared));
        let mut answer = alliance.answer(ledger.me(), start);
        if !declared {
            // a vote that this disk does not know of
            let vote = Vote(pledge(&alliance.block(1), 0));
            answer.said =
                vec![Said::Vote(Signed::sign(ledger.me(), vote, &alliance.keys[B].0.vote))];
        }
        let mut silent = answer.clone();
        silent.logs.iter_mut().for_each(|log| log.vouches = false);
        let fenced =
            |out: &Outbox| out.records.iter().filter(|it| matches!(it, Record::Fenced(_))).count();
        for by in [A, C, D] {
            assert_eq!(fenced(&alliance.acknowledge(&mut ledger, by, silent.clone())), 0);
        }
        let mut out = Outbox::default();
        for by in [A, C, D].into_iter().take(needed) {
            assert_eq!(fenced(&out), 0);
            out = alliance.acknowledge(&mut ledger, by, answer.clone());
        }
        assert_eq!(fenced(&out), 4);
        // it has started, and may have written blocks that are not back
        assert_eq!((ledger.knows_own_log(), ledger.lacks_own_log()), (false, true));
        assert!(!signs(&handle(&mut ledger, alliance.id(A), {
            alliance.proposed(&alliance.block(1), B)
        })));
    }
}

/// The network brings an older answer after a newer one: what the newer one proved stays known.
#[test]
fn rule_12_of_a_brands_answers_to_one_start_the_furthest_counts() {
    let alliance = alliance();
    let certificate = alliance.certificate(pledge(&alliance.block(1), 0), A);
    let mut ledger = alliance.ledger(B);
    call(&mut ledger, |ledger, _, out| ledger.declare_restored(out));
    let start = announced(&resumed(&mut ledger));
    let older = alliance.answer(ledger.me(), start);
    let mut newer = older.clone();
    let of_a = newer.logs.iter_mut().find(|log| log.log == alliance.id(A)).unwrap();
    of_a.certificate = Some(certificate);
    // restored itself by then: of what it vouched for before, it has forgotten nothing
    let mut silent = newer.clone();
    silent.logs.iter_mut().for_each(|log| log.vouches = false);
    for answer in [newer, silent, older.clone()] {
        alliance.acknowledge(&mut ledger, A, answer);
    }
    alliance.acknowledge(&mut ledger, C, older.clone());
    let out = alliance.acknowledge(&mut ledger, D, older);
    let fences = out.records.iter().filter_map(|record| match record {
        Record::Fenced(fence) => Some((fence.log, fence.certified.get())),
        _ => None,
    });
    let fences: BTreeMap<BrandId, u64> = fences.collect();
    assert_eq!((fences.len(), fences[&alliance.id(A)]), (4, 1));
}

#[test]
fn rule_13_a_restored_writer_opens_a_round_and_counts_the_others_promises_only() {
    let alliance = alliance();
    let (a, b) = (alliance.id(A), alliance.id(B));
    let (_, out) = submitted(&alliance);
    // what it proposed in its former life is on the disk, but nobody may rely on it
    let records: Vec<Record> = [Record::Started(Incarnation::new(1)), Record::Restored(false)]
        .into_iter()
        .chain([A, B, C, D].map(|log| Record::Fenced(fence(alliance.id(log), 0, None))))
        .chain(out.records)
        .collect();
    let mut ledger = replayed(&alliance, A, &records);
    let out = alliance.start(&mut ledger);
    let opened = out.messages.iter().find_map(|(_, message)| match message {
        Message::Open(open) => Some(open.body),
        _ => None,
    });
    let open = opened.unwrap();
    assert_eq!((open.round, open.incarnation), (Round::new(1), Incarnation::new(2)));
    assert_eq!(proposed(&out), []);
    let mut promise = |by| {
        let message = Message::Promise(Box::new(alliance.promise(by, open, None)));
        proposed(&handle(&mut ledger, alliance.id(by), message)).len()
    };
    assert_eq!([promise(B), promise(C), promise(D)], [0, 0, 3]);
    assert!(ledger.witness(a).unwrap().watch().furthest(b).is_some());
}

/// A checkpoint that a log asks a node to cosign over HTTP is cosigned when one is that comes by message: not
/// before the node has started, and not while it does not know what its former life signed.
#[test]
fn rule_9_a_cosignature_over_http_waits_for_the_start_and_for_what_a_former_life_signed() {
    let alliance = alliance();
    let block = alliance.block(1);
    let certificate = alliance.certificate(pledge(&block, 0), A);
    let deliveries = block.deliveries(&alliance.constitution).unwrap();
    let delivery = deliveries.to(alliance.id(B), false).unwrap();
    let catch_up = Message::Blocks(vec![CertifiedBlock { certificate, delivery }]);
    let reference = block.reference();
    let signed = |origin: &str, seed: [u8; 32]| {
        let origin = KeyName::new(origin).unwrap();
        let checkpoint = Checkpoint::new(&origin, reference.size, reference.root);
        SignedCheckpoint::sign(checkpoint, &SigningKey::from_seed(&seed).unwrap()).unwrap()
    };
    let ours = signed(&alliance.constitution.origin(alliance.id(A)), seed(A, 2));
    let theirs = signed("log.example/one", [9; 32]);
    let foreign_key = || {
        let key = SigningKey::from_seed(&[9; 32]).unwrap().public();
        VerifierKey::new(KeyName::new("log.example/one").unwrap(), SignatureType::Ed25519, key)
    };
    let asks = |ledger: &Ledger, signed: &SignedCheckpoint, confirmed: Option<u64>| {
        let request = AddCheckpoint::new(TreeSize::new(0), ConsistencyProof::none(), signed);
        let at_tip = AddCheckpoint::new(reference.size, ConsistencyProof::none(), signed);
        let mut foreign = ForeignLogs::new([foreign_key()]);
        foreign = foreign.confirmed(confirmed.map(Incarnation::new));
        let request = if *signed == ours { at_tip } else { request };
        ledger.add_checkpoint(&request, &mut foreign, NOW).map(drop)
    };
    let hear = |ledger: &mut Ledger| {
        call(ledger, |ledger, context, out| {
            ledger.handle(alliance.id(A), catch_up.clone(), context, out).unwrap();
        })
    };
    let mut ledger = alliance.ledger(B);
    let caught_up = hear(&mut ledger);
    assert_eq!(asks(&ledger, &ours, None), Err(Refusal::NotStarted));
    assert_eq!(asks(&ledger, &theirs, None), Err(Refusal::NotStarted));
    alliance.start(&mut ledger);
    assert_eq!(asks(&ledger, &ours, None), Ok(()));
    assert_eq!(asks(&ledger, &theirs, None), Ok(()));

    // its disk was put back to then; two others say that the log has gone on
    let mut ledger = replayed(&alliance, B, &caught_up.records);
    let declared = call(&mut ledger, |ledger, _, out| ledger.declare_restored(out));
    let out = call(&mut ledger, |ledger, context, out| ledger.resume(context, out));
    let mut answer = alliance.answer(alliance.id(B), announced(&out));
    let later = Pledge {
        block: crate::log::block::BlockReference { height: Height::new(2), ..reference },
        round: Round::new(0),
    };
    answer.logs[A].certificate = Some(alliance.certificate(later, A));
    for by in [C, D] {
        alliance.acknowledge(&mut ledger, by, answer.clone());
    }
    assert!(ledger.starting().is_some());
    assert_eq!(asks(&ledger, &ours, None), Err(Refusal::NotStarted));
    let incarnation = Incarnation::default();
    assert_eq!(asks(&ledger, &theirs, None), Err(Refusal::Restored { incarnation }));
    assert_eq!(asks(&ledger, &theirs, Some(0)), Ok(()));
    // a later restore is confirmed anew, and that it was restored is on record
    let records = [caught_up.records, declared.records, out.records].concat();
    let mut again = replayed(&alliance, B, &records);
    call(&mut again, |ledger, _, out| ledger.declare_restored(out));
    alliance.start(&mut again);
    assert!(matches!(asks(&again, &theirs, Some(0)), Err(Refusal::Restored { .. })));
}
