//! The rules of the agreement, each attacked by itself. Whole alliances are run in `simulations/`.

mod evidence;
mod floods;
mod start;
mod writing;

use std::collections::BTreeMap;

use super::build::{OwnBlock, Plan};
use super::certified::CertifiedHeaders;
use super::guards::Upheld;
use super::message::{
    CertifiedBlock, CertifiedHeader, Delivery, Message, PromiseMessage, ProposalMessage,
};
use super::record::Record;
use super::rules::{Tip, check_column};
use super::standing::Standing;
use super::start::{Acknowledgement, LogAnswer, Presented, Start};
use super::state::{Next, Outbox, Surroundings, Witness};
use super::statement::{
    Commit, Endorsement, Open, Pledge, Promise, Proposal, Statement as _, UnverifiedCertificate,
    UnverifiedLock, Vote, VotingKeys,
};
use super::writer::Entropy;
use crate::amount::{Points, Value};
use crate::constitution::Constitution;
use crate::constitution::tests::{draft, seed};
use crate::crypto::sealed::{BlockSecret, Cipher, KeyRing, SealingSecret};
use crate::crypto::{Signed, SigningKey};
use crate::disclosure::Disclosure;
use crate::epochs::Constitutions;
use crate::exchange::{Exchange, Payload};
use crate::ids::{
    BlockNonce, BrandId, Height, Incarnation, MemberHandle, RequestId, Round, RoundNonce,
};
use crate::ledger::{Archive, Context, Ledger, LedgerKeys};
use crate::log::block::{ColumnContent, ColumnOpening, PublicEntry, Recognised};
use crate::log::kept::OperationLogHead;
use crate::log::settlement::Discharge;
use crate::time::{Milliseconds, Timestamp};

const NOW: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);

struct Counting(u8);
impl Entropy for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0 += 1;
        bytes.fill(self.0);
    }
}

struct NoArchive;
impl Archive for NoArchive {
    fn block(&self, _: Height) -> Option<(OwnBlock, UnverifiedCertificate)> {
        None
    }
}

/// Four brands, of which any three are a quorum, where not another number is asked for.
struct Alliance {
    constitution: Constitution,
    constitutions: Constitutions,
    certified: CertifiedHeaders,
    keys: Vec<(VotingKeys, KeyRing)>,
    standing: Standing,
}

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
const D: usize = 3;

fn voting(brand: usize) -> VotingKeys {
    let key = |role| SigningKey::from_seed(&seed(brand, role)).unwrap();
    VotingKeys { log: key(0), vote: key(1) }
}

fn ring(brand: usize) -> KeyRing {
    KeyRing::new(SealingSecret::derive(&seed(brand, 6)).0).unwrap()
}

fn alliance() -> Alliance {
    alliance_of(4)
}

fn alliance_of(brands: u8) -> Alliance {
    let constitution = Constitution::new(draft(brands)).unwrap();
    let keys = (0..usize::from(brands)).map(|brand| (voting(brand), ring(brand)));
    let constitutions = constitution.clone().into();
    let certified = CertifiedHeaders::default();
    let mut standing = Standing::default();
    standing.start(Incarnation::default(), &mut Outbox::default());
    standing.acknowledge();
    Alliance { constitution, constitutions, certified, keys: keys.collect(), standing }
}

impl Alliance {
    fn id(&self, brand: usize) -> BrandId {
        self.constitution.committee().brands()[brand]
    }

    fn at(&self, brand: usize) -> Surroundings<'_> {
        let (keys, sealing) = &self.keys[brand];
        Surroundings {
            me: self.id(brand),
            constitution: &self.constitution,
            constitutions: &self.constitutions,
            next: Next::default(),
            certified: &self.certified,
            keys,
            sealing,
            standing: &self.standing,
            frozen: false,
            closes: false,
            now: NOW,
        }
    }

    /// A witness of A's log, before its first block.
    fn witness(&self) -> Witness {
        Witness::new(self.id(A), self.constitution.epoch())
    }

    fn plan(&self, number: u8, sealed: Vec<(usize, Payload)>) -> Plan {
        let mut columns: BTreeMap<BrandId, Vec<Payload>> = BTreeMap::new();
        for (to, payload) in sealed {
            columns.entry(self.id(to)).or_default().push(payload);
        }
        Plan {
            public: Vec::new(),
            sealed: columns,
            recognised: BTreeMap::new(),
            discharged: BTreeMap::new(),
            sealing: self.keys[A].1.current(),
            time: NOW,
            secret: BlockSecret::from_bytes([number; 32]),
            nonce: BlockNonce::from_bytes([number; 16]),
        }
    }

    fn build(&self, by: usize, plan: Plan) -> OwnBlock {
        let (log, tip) = (self.id(by), Tip::genesis());
        let plan = Plan { sealing: self.keys[by].1.current(), ..plan };
        OwnBlock::build(&self.constitution, log, &tip, &BTreeMap::new(), plan).unwrap()
    }

    /// A first block of A; another one for every number.
    fn block(&self, number: u8) -> OwnBlock {
        self.build(A, self.plan(number, Vec::new()))
    }

    fn exchange(&self, from: usize, to: usize, points: u64) -> Exchange {
        let handle = MemberHandle::from_bytes([1; 16]);
        let request = RequestId::from_bytes([points.to_le_bytes()[0]; 16]);
        let pair = (self.id(from), self.id(to));
        let points = Points::new(points).unwrap();
        Exchange::price(&self.constitution, pair, handle, request, points).unwrap()
    }

    fn proposal(
        &self,
        block: &OwnBlock,
        round: u32,
        to: usize,
        promises: Vec<PromiseMessage>,
    ) -> ProposalMessage {
        let writer = block.reference().log;
        let by = (0..4).find(|brand| self.id(*brand) == writer).unwrap();
        let deliveries = block.deliveries(&self.constitution).unwrap();
        let pledge = pledge(block, round);
        let incarnation = self.standing.incarnation();
        let presented = Presented { pledge, incarnation };
        ProposalMessage {
            proposal: Signed::sign(writer, Proposal(pledge), &self.keys[by].0.log),
            previous: None,
            promises,
            delivery: deliveries.to(self.id(to), true).unwrap(),
            incarnation,
            presentation: Signed::sign(writer, presented, &self.keys[by].0.log).signature,
        }
    }

    fn lock(&self, pledge: Pledge, voters: &[usize]) -> UnverifiedLock {
        let votes = voters.iter().map(|brand| Endorsement {
            signer: self.id(*brand),
            signature: Signed::sign(self.id(*brand), Vote(pledge), &self.keys[*brand].0.vote)
                .signature,
        });
        let proposal = Signed::sign(self.id(A), Proposal(pledge), &self.keys[A].0.log).signature;
        UnverifiedLock { pledge, proposal, votes: votes.collect() }
    }

    fn certificate(&self, pledge: Pledge, writer: usize) -> UnverifiedCertificate {
        let commits = [A, B, C].map(|brand| Endorsement {
            signer: self.id(brand),
            signature: Signed::sign(self.id(brand), Commit(pledge), &self.keys[brand].0.vote)
                .signature,
        });
        let key = &self.keys[writer].0.log;
        let proposal = Signed::sign(self.id(writer), Proposal(pledge), key).signature;
        UnverifiedCertificate { pledge, proposal, commits: commits.to_vec() }
    }

    fn opening(&self, round: u32, nonce: u8) -> Open {
        Open {
            log: self.id(A),
            epoch: self.constitution.epoch(),
            height: Height::new(1),
            round: Round::new(round),
            nonce: RoundNonce::from_bytes([nonce; 16]),
            incarnation: self.standing.incarnation(),
        }
    }

    fn open(&self, witness: &mut Witness, open: Open) -> Outbox {
        let signed = Signed::sign(self.id(A), open, &self.keys[A].0.log);
        let mut out = Outbox::default();
        witness.open(&self.at(B), &Open::verify(signed, &self.constitution).unwrap(), &mut out);
        out
    }

    fn promise(&self, by: usize, open: Open, lock: Option<UnverifiedLock>) -> PromiseMessage {
        let body = Promise { open, lock: lock.as_ref().map(|lock| lock.pledge) };
        let promise = Signed::sign(self.id(by), body, &self.keys[by].0.vote);
        PromiseMessage { promise, lock }
    }

    fn propose(&self, witness: &mut Witness, message: ProposalMessage) -> Outbox {
        let mut out = Outbox::default();
        witness.proposal(&self.at(B), message, &mut out);
        out
    }

    fn ledger(&self, brand: usize) -> Ledger {
        let key = |role| SigningKey::from_seed(&seed(brand, role)).unwrap();
        let keys = LedgerKeys {
            voting: voting(brand),
            checkpoint: key(2),
            witness: key(3),
            sealing: ring(brand),
        };
        Ledger::new(self.id(brand), self.constitution.clone(), keys)
    }

    /// What is said to a node that starts by one that knows nothing of it.
    fn answer(&self, brand: BrandId, start: Start) -> Acknowledgement {
        let logs = self.constitution.committee().brands().iter().map(|log| LogAnswer {
            log: *log,
            certificate: None,
            vouches: true,
            open: None,
        });
        Acknowledgement { brand, start, started: None, said: Vec::new(), logs: logs.collect() }
    }

    fn acknowledge(&self, ledger: &mut Ledger, by: usize, answer: Acknowledgement) -> Outbox {
        let signed = Signed::sign(self.id(by), answer, &self.keys[by].0.vote);
        call(ledger, |ledger, context, out| {
            let message = Message::Acknowledgement(Box::new(signed));
            ledger.handle(self.id(by), message, context, out).unwrap();
        })
    }

    /// Lets a node start: it announces itself and hears that nobody knows more than it does.
    fn start(&self, ledger: &mut Ledger) -> Outbox {
        let mut out = call(ledger, |ledger, context, out| ledger.resume(context, out));
        let start = announced(&out);
        let me = ledger.me();
        for by in (0..4).filter(|by| self.id(*by) != me).take(2) {
            let answer = self.answer(me, start);
            let more = self.acknowledge(ledger, by, answer);
            out.records.extend(more.records);
            out.messages.extend(more.messages);
        }
        out
    }
}

/// The start that a node announces.
fn announced(out: &Outbox) -> Start {
    let mut starts = out.messages.iter().filter_map(|(_, message)| match message {
        Message::Start(start) => Some(start.body),
        _ => None,
    });
    starts.next_back().unwrap()
}

fn pledge(block: &OwnBlock, round: u32) -> Pledge {
    Pledge { block: block.reference(), round: Round::new(round) }
}

/// Calls a ledger with what the node would pass in.
fn call(
    ledger: &mut Ledger,
    action: impl FnOnce(&mut Ledger, &mut Context<'_>, &mut Outbox),
) -> Outbox {
    let mut out = Outbox::default();
    let mut context = Context { now: NOW, entropy: &mut Counting(7), archive: &NoArchive };
    action(ledger, &mut context, &mut out);
    out
}

fn replayed(alliance: &Alliance, brand: usize, records: &[Record]) -> Ledger {
    let mut ledger = alliance.ledger(brand);
    for record in records {
        // through its bytes, as from a disk
        let record = Record::from_bytes(&record.to_bytes()).unwrap();
        ledger.replay(&record, &mut Outbox::default()).unwrap();
    }
    ledger
}

fn refused(out: &Outbox) -> Option<u16> {
    match out.messages.as_slice() {
        [(_, Message::Refusal(refusal))] => Some(refusal.rule),
        _ => None,
    }
}

fn voted(out: &Outbox) -> bool {
    matches!(out.messages.as_slice(), [(_, Message::Vote(_))])
}

#[test]
fn rule_3_an_opening_repeated_is_answered_alike_and_another_is_not() {
    let alliance = alliance();
    let mut witness = alliance.witness();
    let first = alliance.open(&mut witness, alliance.opening(2, 1));
    let again = alliance.open(&mut witness, alliance.opening(2, 1));
    assert_eq!((first.records.len(), again.records.len()), (1, 0));
    assert!(matches!(&first.messages[0].1, Message::Promise(_)));
    assert_eq!(first.messages, again.messages);
    // the same round under another nonce, and a lower round
    for open in [alliance.opening(2, 2), alliance.opening(1, 3)] {
        let out = alliance.open(&mut witness, open);
        assert_eq!((refused(&out), out.records.len()), (Some(0), 0));
    }
}

#[test]
fn rule_5_the_highest_lock_is_proposed_again_and_nothing_else() {
    let alliance = alliance();
    let (old, new, free) = (alliance.block(1), alliance.block(2), alliance.block(3));
    let open = alliance.opening(2, 1);
    let promises = vec![
        alliance.promise(A, open, Some(alliance.lock(pledge(&old, 0), &[B, C]))),
        alliance.promise(C, open, Some(alliance.lock(pledge(&new, 1), &[C, D]))),
        alliance.promise(D, open, None),
    ];
    let mut witness = alliance.witness();
    for wrong in [&old, &free] {
        let message = alliance.proposal(wrong, 2, B, promises.clone());
        assert_eq!(refused(&alliance.propose(&mut witness, message)), Some(100));
    }
    // two promises are no quorum, and a lock with too few votes makes its promise void
    let mut few = promises.clone();
    few[2] = alliance.promise(D, open, Some(alliance.lock(pledge(&old, 0), &[D])));
    let message = alliance.proposal(&new, 2, B, few);
    assert_eq!(refused(&alliance.propose(&mut witness, message)), Some(101));
    let message = alliance.proposal(&new, 2, B, promises);
    assert!(voted(&alliance.propose(&mut witness, message)));
}

#[test]
fn rule_6_there_is_one_vote_a_round_and_none_below_the_round_joined() {
    let alliance = alliance();
    let (block, other) = (alliance.block(1), alliance.block(2));
    let mut witness = alliance.witness();
    let first = alliance.propose(&mut witness, alliance.proposal(&block, 0, B, Vec::new()));
    assert!(
        voted(&first) && matches!(first.records.as_slice(), [Record::Opened(_), Record::Voted(_)])
    );
    let second = alliance.propose(&mut witness, alliance.proposal(&other, 0, B, Vec::new()));
    assert_eq!((refused(&second), second.records.len()), (Some(102), 0));
    let again = alliance.propose(&mut witness, alliance.proposal(&block, 0, B, Vec::new()));
    assert_eq!((again.messages, again.records.len()), (first.messages, 0));
    // after a restart it still knows
    let mut ledger = replayed(&alliance, B, &first.records);
    alliance.start(&mut ledger);
    let message = Message::Proposal(Box::new(alliance.proposal(&other, 0, B, Vec::new())));
    let out = call(&mut ledger, |ledger, context, out| {
        ledger.handle(alliance.id(A), message, context, out).unwrap();
    });
    assert_eq!(refused(&out), Some(102));
    alliance.open(&mut witness, alliance.opening(1, 1));
    let late = alliance.propose(&mut witness, alliance.proposal(&block, 0, B, Vec::new()));
    assert_eq!(refused(&late), Some(0));
}

#[test]
fn rule_6_a_round_is_voted_in_under_the_nonce_that_was_joined() {
    let alliance = alliance();
    let block = alliance.block(1);
    let mut witness = alliance.witness();
    alliance.open(&mut witness, alliance.opening(1, 1));
    let promises =
        |nonce| [A, C, D].map(|by| alliance.promise(by, alliance.opening(1, nonce), None)).to_vec();
    let other = alliance.proposal(&block, 1, B, promises(2));
    assert_eq!(refused(&alliance.propose(&mut witness, other)), Some(0));
    assert!(voted(&alliance.propose(&mut witness, alliance.proposal(&block, 1, B, promises(1)))));
}

#[test]
fn rule_7_no_commit_below_the_round_joined() {
    let alliance = alliance();
    let block = alliance.block(1);
    let mut witness = alliance.witness();
    alliance.open(&mut witness, alliance.opening(1, 1));
    let mut commit = |round| {
        let mut out = Outbox::default();
        let lock = alliance.lock(pledge(&block, round), &[C, D]);
        witness.lock_made(&alliance.at(B), lock, &mut out);
        out
    };
    let below = commit(0);
    assert_eq!((refused(&below), below.records.len()), (Some(0), 0));
    for round in [1, 5] {
        let out = commit(round);
        assert!(matches!(out.messages.as_slice(), [(_, Message::Commit(_))]));
        assert!(matches!(out.records.as_slice(), [Record::Locked(_)]));
    }
    assert_eq!(refused(&commit(4)), Some(0));
}

#[test]
fn rule_8_a_certificate_is_accepted_in_any_state() {
    let alliance = alliance();
    let block = alliance.block(1);
    let mut witness = alliance.witness();
    alliance.propose(&mut witness, alliance.proposal(&block, 0, B, Vec::new()));
    alliance.open(&mut witness, alliance.opening(9, 1));
    let certificate = alliance.certificate(pledge(&block, 0), A);
    let mut few = certificate.clone();
    few.commits.pop();
    assert!(few.verify(&alliance.constitution).is_err());
    let mut out = Outbox::default();
    witness.certified(certificate.verify(&alliance.constitution).unwrap(), &mut out);
    assert_eq!(witness.tip().header, block.reference().header);
    assert!(matches!(out.records.as_slice(), [Record::Final(_)]));
    // the next height begins anew
    assert_eq!(witness.joined(), Round::new(0));
}

#[test]
fn rule_10_catching_up_puts_no_unchecked_fragment_in_the_place_of_a_checked_one() {
    let alliance = alliance();
    let (block, other) = (alliance.block(1), alliance.block(2));
    let mut witness = alliance.witness();
    alliance.propose(&mut witness, alliance.proposal(&block, 0, B, Vec::new()));
    let delivery = |of: &OwnBlock| {
        of.deliveries(&alliance.constitution).unwrap().to(alliance.id(B), false).unwrap()
    };
    let delivery = Delivery { fragment: delivery(&other).fragment, ..delivery(&block) };
    let certificate = alliance.certificate(pledge(&block, 0), A);
    let mut out = Outbox::default();
    let caught_up = CertifiedBlock { certificate, delivery };
    witness.caught_up(&alliance.at(B), caught_up, &mut out).unwrap();
    assert_eq!(witness.tip().header, block.reference().header);
    assert!(matches!(out.records.as_slice(), [Record::Final(_)]));
}

/// The number of the rule by which B refuses a first block of A, or 0 if B votes.
fn judged(alliance: &Alliance, block: &OwnBlock) -> u16 {
    let mut witness = alliance.witness();
    let out = alliance.propose(&mut witness, alliance.proposal(block, 0, B, Vec::new()));
    if voted(&out) { 0 } else { refused(&out).unwrap() }
}

#[test]
fn a_block_over_a_credit_limit_is_refused() {
    let alliance = alliance();
    // a point is worth 1,000,000 micro-fen; the limits are 1,000 points a pair and 2,000 in all
    let block = |points: &[(usize, u64)]| {
        let sealed = points
            .iter()
            .map(|(to, points)| (*to, Payload::Exchange(alliance.exchange(A, *to, *points))));
        alliance.build(A, alliance.plan(1, sealed.collect()))
    };
    assert_eq!(judged(&alliance, &block(&[(C, 1000), (D, 1000)])), 0);
    assert_eq!(judged(&alliance, &block(&[(C, 1001)])), 13);
    assert_eq!(judged(&alliance, &block(&[(B, 10), (C, 1000), (D, 1000)])), 14);
}

#[test]
fn a_block_sealed_with_another_cipher_or_to_another_key_is_refused() {
    let alliance = alliance();
    let under = |change: &dyn Fn(&mut crate::constitution::Draft)| {
        let mut draft = draft(4);
        change(&mut draft);
        let constitution = Constitution::new(draft).unwrap();
        let (log, tip) = (alliance.id(A), Tip::genesis());
        let plan = alliance.plan(1, Vec::new());
        let block = OwnBlock::build(&constitution, log, &tip, &BTreeMap::new(), plan).unwrap();
        judged(&alliance, &block)
    };
    let other = SealingSecret::derive(&[60; 32]).1;
    assert_eq!(under(&|_| {}), 0);
    assert_eq!(under(&|draft| draft.cipher = Cipher::Sm4Gcm), 55);
    for (brand, recovery) in [(B, false), (C, false), (A, true)] {
        let changed = under(&|draft| {
            let keys = &mut draft.brands.get_mut(&alliance.id(brand)).unwrap().keys;
            *(if recovery { &mut keys.recovery } else { &mut keys.sealing }) = other;
        });
        assert_eq!(changed, 57);
    }
}

#[test]
fn what_was_sealed_to_a_destroyed_key_replays_as_it_was_found() {
    let alliance = alliance();
    let found = |block: &OwnBlock, caught_up: bool| {
        let mut witness = alliance.witness();
        let certificate = alliance.certificate(pledge(block, 0), A);
        let mut out = Outbox::default();
        if caught_up {
            let deliveries = block.deliveries(&alliance.constitution).unwrap();
            let delivery = deliveries.to(alliance.id(B), false).unwrap();
            let block = CertifiedBlock { certificate, delivery };
            witness.caught_up(&alliance.at(B), block, &mut out).unwrap();
        } else {
            out = alliance.propose(&mut witness, alliance.proposal(block, 0, B, Vec::new()));
            let certificate = certificate.verify(&alliance.constitution).unwrap();
            witness.certified(certificate, &mut out);
        }
        (witness, out.records)
    };
    let replayed = |records: &[Record], keys: &KeyRing| {
        let at = Surroundings { sealing: keys, ..alliance.at(B) };
        let (mut witness, mut out) = (alliance.witness(), Outbox::default());
        for record in records {
            witness.replay(&at, record, &mut out).unwrap();
        }
        (witness, out.finals.remove(0).payloads.is_ok())
    };
    let other = KeyRing::new(SealingSecret::derive(&[50; 32]).0).unwrap();
    let sound = alliance
        .build(A, alliance.plan(1, vec![(B, Payload::Exchange(alliance.exchange(A, B, 3)))]));
    for caught_up in [false, true] {
        let (live, records) = found(&sound, caught_up);
        assert!(!live.is_disputed() && live.content().entries == 1);
        for keys in [&alliance.keys[B].1, &other] {
            let (again, opened) = replayed(&records, keys);
            assert_eq!((again.content(), opened), (live.content(), true));
            assert!(!again.is_disputed());
        }
        // without what is on record the block would not open
        let bare = records.iter().filter(|record| !matches!(record, Record::Opened(_)));
        let bare: Vec<Record> = bare.cloned().collect();
        assert!(replayed(&bare, &alliance.keys[B].1).1 && !replayed(&bare, &other).1);
    }
    // what was found not to stand stays in dispute when nobody can open it any more
    let mut exchange = alliance.exchange(A, B, 3);
    exchange.received = Points::new(4).unwrap();
    let wrong = alliance.build(A, alliance.plan(1, vec![(B, Payload::Exchange(exchange))]));
    let (live, records) = found(&wrong, true);
    assert!(live.is_disputed() && replayed(&records, &other).0.is_disputed());
}

#[test]
fn a_disclosure_to_a_stranger_is_refused() {
    let alliance = alliance();
    let (auditor, first) = ("a_friend".to_owned(), Height::new(1));
    let disclosure = Disclosure { auditor, first, secrets: Vec::new() };
    let public = vec![PublicEntry::Disclosure(disclosure)];
    let block = alliance.build(A, Plan { public, ..alliance.plan(1, Vec::new()) });
    assert_eq!(judged(&alliance, &block), 58);
}

#[test]
fn a_block_with_too_many_public_entries_of_a_kind_is_refused() {
    let alliance = alliance();
    let judge = |heads: u64| {
        let public = (1..=heads).map(|entries| {
            PublicEntry::OperationLogHead(OperationLogHead { entries, head: [1; 32] })
        });
        let plan = Plan { public: public.collect(), ..alliance.plan(1, Vec::new()) };
        judged(&alliance, &alliance.build(A, plan))
    };
    assert_eq!(judge(16), 0);
    assert_eq!(judge(17), 59);
}

#[test]
fn a_sealing_key_in_use_is_not_forgotten_and_an_old_one_opens_what_came_before() {
    let alliance = alliance();
    let mut ledger = alliance.ledger(A);
    let first = ledger.sealing_keys().current();
    let new = ledger.turn_sealing_key(SealingSecret::derive(&[50; 32]).0).unwrap();
    // nobody has recognised a block that states the new one: others still seal to the first
    assert!(ledger.is_sealing_key_in_use(&first) && ledger.is_sealing_key_in_use(&new));
    assert!(!ledger.forget_sealing_key(&first) && !ledger.forget_sealing_key(&new));
    let middle = ledger.turn_sealing_key(SealingSecret::derive(&[51; 32]).0).unwrap();
    let last = ledger.turn_sealing_key(SealingSecret::derive(&[52; 32]).0).unwrap();
    // never stated by any block: nothing can be sealed to it
    assert!(ledger.forget_sealing_key(&middle) && !ledger.forget_sealing_key(&last));
}

#[test]
fn a_block_that_recognises_what_was_not_certified_is_refused() {
    let alliance = alliance();
    let theirs = alliance
        .build(C, alliance.plan(1, vec![(A, Payload::Exchange(alliance.exchange(C, A, 30)))]));
    let proof = CertifiedHeader {
        header: theirs.header_leaf().to_vec(),
        certificate: alliance.certificate(pledge(&theirs, 0), C),
    };
    let right = Recognised {
        height: Height::new(1),
        block: theirs.reference().header,
        sent: Value::new(30_000_000).unwrap(),
        discharged: Discharge::NOTHING,
    };
    let judge = |recognised, proof: &CertifiedHeader| {
        let mut plan = alliance.plan(2, Vec::new());
        plan.recognised.insert(alliance.id(C), (recognised, proof.clone()));
        judged(&alliance, &alliance.build(A, plan))
    };
    assert_eq!(judge(right, &proof), 0);
    let more = Recognised { sent: Value::new(40_000_000).unwrap(), ..right };
    assert_eq!(judge(more, &proof), 12);
    assert_eq!(judge(Recognised { height: Height::new(2), ..right }, &proof), 12);
    // a discharge that the payee did not grant
    let cut_off = Timestamp::from_unix_ms(1);
    let granted = Discharge { cut_off, ..Discharge::NOTHING };
    assert_eq!(judge(Recognised { discharged: granted, ..right }, &proof), 12);
    let mut uncertified = proof;
    uncertified.certificate.commits.pop();
    assert_eq!(judge(right, &uncertified), 12);
}

#[test]
fn a_block_of_another_time_is_refused() {
    let alliance = alliance();
    let judge =
        |time| judged(&alliance, &alliance.build(A, Plan { time, ..alliance.plan(1, Vec::new()) }));
    assert_eq!(judge(NOW.plus(Milliseconds::new(60_000))), 0);
    assert_eq!(judge(NOW.plus(Milliseconds::new(60_001))), 9);
    assert_eq!(judge(Timestamp::from_unix_ms(NOW.unix_ms() - 60_001)), 9);
}

#[test]
fn a_counterparty_refuses_a_wrong_price_and_wrong_totals() {
    let alliance = alliance();
    let mut exchange = alliance.exchange(A, B, 10);
    exchange.received = Points::new(11).unwrap();
    let sealed =
        |to| alliance.build(A, alliance.plan(1, vec![(to, Payload::Exchange(exchange.clone()))]));
    assert_eq!(judged(&alliance, &sealed(B)), 20);
    // totals that do not continue those of the block before, here of none
    let plan = alliance.plan(1, vec![(B, Payload::Exchange(alliance.exchange(A, B, 10)))]);
    let before = ColumnContent { entries: 1, ..ColumnContent::nothing() };
    let contents = BTreeMap::from([(alliance.id(B), before)]);
    let log = alliance.id(A);
    let block =
        OwnBlock::build(&alliance.constitution, log, &Tip::genesis(), &contents, plan).unwrap();
    assert_eq!(judged(&alliance, &block), 21);
}

#[test]
fn a_final_block_that_cannot_stand_goes_on_record_with_what_shows_it() {
    let alliance = alliance();
    let mut exchange = alliance.exchange(A, B, 10);
    exchange.received = Points::new(11).unwrap();
    let plan = alliance.plan(1, vec![(B, Payload::Exchange(exchange))]);
    let block = alliance.build(A, plan);
    let delivery = block.deliveries(&alliance.constitution).unwrap();
    let final_block = CertifiedBlock {
        certificate: alliance.certificate(pledge(&block, 0), A),
        delivery: delivery.to(alliance.id(B), false).unwrap(),
    };
    let mut ledger = alliance.ledger(B);
    let out = call(&mut ledger, |ledger, context, out| {
        let message = Message::Blocks(vec![final_block.clone()]);
        ledger.handle(alliance.id(A), message, context, out).unwrap();
    });
    let [found] = out.finals.as_slice() else { panic!("{:?}", out.finals) };
    let dispute = found.dispute.as_deref().unwrap();
    assert_eq!((dispute.rule, dispute.count, dispute.height), (20, 1, Height::new(1)));
    assert!(ledger.witness(alliance.id(A)).unwrap().is_disputed());

    // anyone who has the entry and the log comes to the same
    let evidence = dispute.evidence.as_ref().unwrap();
    let opening = ColumnOpening::from_bytes(&evidence.opening).unwrap();
    let run = final_block.delivery.column.as_ref();
    let (header, before) = (&found.header, &evidence.before);
    let counterparty = alliance.id(B);
    let again =
        check_column::<Upheld>(&alliance.constitution, header, counterparty, &opening, before, run);
    assert_eq!(again.unwrap_err().number(), dispute.rule);
}

fn submitted(alliance: &Alliance) -> (Ledger, Outbox) {
    let mut ledger = alliance.ledger(A);
    alliance.start(&mut ledger);
    let payload = Payload::Exchange(alliance.exchange(A, B, 10));
    ledger.submit_sealed(alliance.id(B), payload).unwrap();
    let out = call(&mut ledger, |ledger, context, out| ledger.poll(context, out));
    (ledger, out)
}

fn proposed(out: &Outbox) -> Vec<Pledge> {
    let pledges = out.messages.iter().filter_map(|(_, message)| match message {
        Message::Proposal(message) => Some(message.proposal.body.0),
        _ => None,
    });
    pledges.collect()
}
