//! A log from what others hold of it: any q-f fragments, liars among them, and whole ledgers that lost theirs.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::collector::{Collector, HoldingsError, Spoiled, WholeBlock};
use super::contradiction::Contradiction;
use super::held::{HELD_BLOCKS_MAX, HeldBlock, Holdings};
use crate::amount::{Points, Value};
use crate::codec;
use crate::constitution::Constitution;
use crate::constitution::tests::{draft, seed};
use crate::crypto::sealed::{BlockSecret, KeyRing, SealingSecret};
use crate::crypto::{Signed, SigningKey};
use crate::epochs::Constitutions;
use crate::epochs::adoption::{DraftReference, Stance};
use crate::exchange::{Exchange, Payload};
use crate::ids::{BlockNonce, BrandId, Height, MemberHandle, RequestId, Round};
use crate::ledger::{Archive, Context, Ledger, LedgerKeys, PeerFault};
use crate::log::block::{BlockReference, ColumnContent, Header, PublicEntry};
use crate::log::fragments::{Fragment, Shape};
use crate::log::merkle::Frontier;
use crate::time::{Milliseconds, Timestamp};
use crate::witness::build::{OwnBlock, Plan};
use crate::witness::evidence::{Evidence, EvidenceError, Offence};
use crate::witness::message::Message;
use crate::witness::record::Record;
use crate::witness::rules::Tip;
use crate::witness::state::Outbox;
use crate::witness::statement::{
    Certificate, Commit, Endorsement, Pledge, Proposal, UnverifiedCertificate, VotingKeys,
};
use crate::witness::writer::Entropy;
use crate::world::following;

const NOW: Timestamp = Timestamp::from_unix_ms(1_700_000_000_000);

fn alliance(n: u8) -> (Constitution, Constitutions) {
    let constitution = Constitution::new(draft(n)).unwrap();
    (constitution.clone(), constitution.into())
}

fn key(brand: usize, role: u8) -> SigningKey {
    SigningKey::from_seed(&seed(brand, role)).unwrap()
}

fn ring(brand: usize, role: u8) -> KeyRing {
    KeyRing::new(SealingSecret::derive(&seed(brand, role)).0).unwrap()
}

fn id(of: &Constitution, brand: usize) -> BrandId {
    of.committee().brands()[brand]
}

fn exchange(of: &Constitution, (from, to): (usize, usize), points: u64) -> Payload {
    let handle = MemberHandle::from_bytes([1; 16]);
    let request = RequestId::from_bytes([points.to_le_bytes()[0]; 16]);
    let pair = (id(of, from), id(of, to));
    Payload::Exchange(
        Exchange::price(of, pair, handle, request, Points::new(points).unwrap()).unwrap(),
    )
}

/// A block of the first brand's log, with exchanges to the second.
fn block(of: &Constitution, before: Option<&OwnBlock>, exchanges: u64) -> OwnBlock {
    let (log, to) = (id(of, 0), id(of, 1));
    let (mut tip, mut contents) = (Tip::genesis(), BTreeMap::new());
    if let Some(before) = before {
        let header = Header::from_bytes(before.header_leaf()).unwrap();
        tip = Tip::after(&header, before.reference().header, before.after().unwrap());
        contents = of.committee().witnesses(log).zip(before.contents().iter().copied()).collect();
    }
    let payloads = (0..exchanges).map(|points| exchange(of, (0, 1), points + 1)).collect();
    let number = tip.height.get() as u8;
    let plan = Plan {
        public: Vec::new(),
        sealed: BTreeMap::from([(to, payloads)]),
        recognised: BTreeMap::new(),
        discharged: BTreeMap::new(),
        sealing: ring(0, 6).current(),
        time: NOW,
        secret: BlockSecret::from_bytes([number; 32]),
        nonce: BlockNonce::from_bytes([number; 16]),
    };
    OwnBlock::build(of, log, &tip, &contents, plan).unwrap()
}

fn certify(of: &Constitution, block: BlockReference) -> UnverifiedCertificate {
    let pledge = Pledge { block, round: Round::new(0) };
    let commits = (0..of.committee().quorum()).map(|brand| Endorsement {
        signer: id(of, brand),
        signature: Signed::sign(id(of, brand), Commit(pledge), &key(brand, 1)).signature,
    });
    let proposal = Signed::sign(id(of, 0), Proposal(pledge), &key(0, 0)).signature;
    UnverifiedCertificate { pledge, proposal, commits: commits.collect() }
}

fn fragments(of: &Constitution, block: &OwnBlock) -> Vec<Fragment> {
    Shape::of(of.committee()).cut(block.body().as_bytes()).unwrap().1
}

/// What each witness holds of a block.
fn held(of: &Constitution, block: &OwnBlock) -> Vec<HeldBlock> {
    let certificate = certify(of, block.reference());
    let of_one = |fragment| HeldBlock {
        header: block.header_leaf().to_vec(),
        certificate: Some(certificate.clone()),
        fragment,
    };
    fragments(of, block).into_iter().map(of_one).collect()
}

/// Answers what a brand has been asked.
fn answer(
    collector: &mut Collector,
    constitutions: &Constitutions,
    (brand, tip): (usize, Height),
    held: Vec<HeldBlock>,
) -> Result<(), HoldingsError> {
    let from = id(constitutions.first(), brand);
    let later = NOW.plus(Milliseconds::from_seconds(10 * (1 + tip.get())));
    let asked = collector.requests(tip, [from].into_iter(), later);
    let asked = asked.first().unwrap().1;
    collector.take(from, Holdings { asked, held }, tip, constitutions)
}

fn next(collector: &mut Collector, of: &Constitution, tip: &Tip) -> Option<WholeBlock> {
    collector.next(tip, of).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Of every alliance of 2 to 20 brands: whichever q-f witnesses answer, in whatever order, the block
    /// comes whole from the last of them, and not before.
    #[test]
    fn any_q_minus_f_fragments_give_the_block_and_fewer_do_not(
        exchanges in 0_u64..40,
        order in Just((1..20_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        for n in 2..=20_u8 {
            let (of, constitutions) = alliance(n);
            let first = block(&of, None, exchanges);
            let all = held(&of, &first);
            let needed = Shape::of(of.committee()).needed();
            prop_assert_eq!(needed, match of.committee().faults() {
                0 => 1,
                f => of.committee().quorum() - f,
            });
            let mut collector = Collector::new(id(&of, 0));
            let tip = Tip::genesis();
            let brands = order.iter().copied().filter(|brand| *brand < usize::from(n));
            for brand in brands.take(needed) {
                prop_assert!(next(&mut collector, &of, &tip).is_none());
                let mine = vec![all[brand - 1].clone()];
                answer(&mut collector, &constitutions, (brand, tip.height), mine).unwrap();
            }
            let whole = next(&mut collector, &of, &tip).unwrap();
            prop_assert_eq!(whole.reference, first.reference());
            prop_assert_eq!(&whole.body, first.body());
            // the writer opens it again with its recovery key, and knows all that it knew
            let wrapped = &whole.header.secrets[0];
            let secret = whole.header.context().unwrap("recovery", &ring(0, 7), wrapped).unwrap();
            let secret = BlockSecret::from_bytes(secret.try_into().unwrap());
            let parts = (whole.leaf, whole.body);
            let none = BTreeMap::new();
            let again =
                OwnBlock::reopen(whole.reference, parts, Frontier::empty(), secret, &none).unwrap();
            prop_assert_eq!(again.payloads(), first.payloads());
            prop_assert_eq!(again.contents(), first.contents());
        }
    }
}

#[test]
fn a_liars_answer_is_left_out_and_the_others_suffice() {
    let (of, constitutions) = alliance(4);
    let first = block(&of, None, 5);
    let all = held(&of, &first);
    let other = held(&of, &block(&of, None, 6));
    let mut few = all[0].clone();
    few.certificate.as_mut().unwrap().commits.pop();
    let mut altered = all[0].clone();
    let mut bytes = codec::encode(&altered.fragment);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    altered.fragment = codec::decode("a fragment", &bytes, 1 << 20).unwrap();
    let of_another = HeldBlock { fragment: all[1].fragment.clone(), ..all[0].clone() };
    let other_header = HeldBlock { header: other[0].header.clone(), ..all[0].clone() };
    let uncertified = HeldBlock { certificate: None, ..all[0].clone() };
    let height = Height::new(1);
    for (lie, is_fragment) in [
        (few, false),
        (other_header, false),
        (uncertified, false),
        (altered, true),
        (of_another, true),
    ] {
        let mut collector = Collector::new(id(&of, 0));
        let tip = Tip::genesis();
        let taken = answer(&mut collector, &constitutions, (1, tip.height), vec![lie]);
        match taken {
            Err(HoldingsError::Fragment { .. }) => assert!(is_fragment),
            error => assert_eq!(error, Err(HoldingsError::NotCertified(height))),
        }
        for brand in [2, 3] {
            assert!(next(&mut collector, &of, &tip).is_none());
            let mine = vec![all[brand - 1].clone()];
            answer(&mut collector, &constitutions, (brand, tip.height), mine).unwrap();
        }
        assert_eq!(next(&mut collector, &of, &tip).unwrap().body, *first.body());
    }
    // nobody is heard who was not asked, and nobody twice
    let mut collector = Collector::new(id(&of, 0));
    let asked = collector.requests(Height::new(0), [id(&of, 1)].into_iter(), NOW)[0].1;
    let once = || Holdings { asked, held: vec![all[0].clone()] };
    let take = |collector: &mut Collector, by, holdings| {
        collector.take(id(&of, by), holdings, Height::new(0), &constitutions)
    };
    let many = Holdings { asked, held: vec![all[0].clone(); HELD_BLOCKS_MAX + 1] };
    assert_eq!(take(&mut collector, 1, many), Err(HoldingsError::TooMany));
    // nor is it anyone's fault that an answer comes late or again
    assert_eq!(take(&mut collector, 2, once()), Ok(()));
    assert_eq!(collector.certified(), Height::new(0));
    assert_eq!(take(&mut collector, 1, once()), Ok(()));
    assert_eq!(collector.certified(), Height::new(1));
    let before = collector.progress(Height::new(0));
    assert_eq!(take(&mut collector, 1, once()), Ok(()));
    assert_eq!(collector.progress(Height::new(0)), before);
}

#[test]
fn a_brand_is_asked_one_thing_at_a_time_and_no_further_than_is_of_use() {
    let (of, constitutions) = alliance(4);
    let one = || [id(&of, 1)].into_iter();
    let mut collector = Collector::new(id(&of, 0));
    assert_eq!(collector.requests(Height::new(0), one(), NOW).len(), 1);
    let soon = NOW.plus(Milliseconds::from_seconds(1));
    assert_eq!(collector.requests(Height::new(0), one(), soon).len(), 0);
    // an answer lost is asked for again
    let later = NOW.plus(super::collector::ASK_AGAIN_AFTER);
    let asked = collector.requests(Height::new(0), one(), later)[0].1;
    // one that holds nothing is asked again in time
    let nothing = Holdings { asked, held: Vec::new() };
    collector.take(id(&of, 1), nothing, Height::new(0), &constitutions).unwrap();
    assert_eq!(collector.requests(Height::new(0), one(), later).len(), 0);
    assert_eq!(collector.progress(Height::new(0)).exhausted, [id(&of, 1)]);
    let again = later.plus(super::collector::ASK_AGAIN_AFTER);
    let asked = collector.requests(Height::new(0), one(), again)[0].1;
    // and one that has a block for its next at once
    let first = block(&of, None, 1);
    let held = vec![held(&of, &first)[0].clone()];
    collector.take(id(&of, 1), Holdings { asked, held }, Height::new(0), &constitutions).unwrap();
    assert_eq!(collector.requests(Height::new(0), one(), again)[0].1.from, Height::new(2));
}

/// A block whose header names the root over fragments of something else.
fn spoilt(of: &Constitution, body: &[u8], alter: bool) -> (Vec<HeldBlock>, Frontier) {
    let honest = block(of, None, 3);
    let mut header = Header::from_bytes(honest.header_leaf()).unwrap();
    let shape = Shape::of(of.committee());
    let mut shards = shape.cut(body).unwrap();
    if alter {
        // fragments of two bodies under one root: no code word
        let mut other = body.to_vec();
        other[0] ^= 1;
        let one: Vec<Vec<u8>> = shards.1.iter().map(|it| it.bytes().to_vec()).collect();
        let mut two: Vec<Vec<u8>> =
            shape.cut(&other).unwrap().1.iter().map(|it| it.bytes().to_vec()).collect();
        two[0] = one[0].clone();
        shards = shape.commit(two).unwrap();
    }
    header.fragments = shards.0;
    let (leaf, hash) = header.to_leaf();
    let mut tree = Frontier::empty();
    for leaf in honest.body().hashes() {
        tree.append(leaf).unwrap();
    }
    tree.append(hash.as_leaf()).unwrap();
    let reference = BlockReference { header: hash, root: tree.root(), ..honest.reference() };
    let certificate = Some(certify(of, reference));
    let of_one =
        |fragment| HeldBlock { header: leaf.clone(), certificate: certificate.clone(), fragment };
    (shards.1.into_iter().map(of_one).collect(), tree)
}

fn contradiction(
    of: &Constitution,
    constitutions: &Constitutions,
    body: &[u8],
    alter: bool,
) -> Contradiction {
    let (held, _) = spoilt(of, body, alter);
    let mut collector = Collector::new(id(of, 0));
    let tip = Tip::genesis();
    for brand in 1..=Shape::of(of.committee()).needed() {
        let mine = vec![held[brand - 1].clone()];
        answer(&mut collector, constitutions, (brand, tip.height), mine).unwrap();
    }
    let proof = match collector.next(&tip, of) {
        Err(Spoiled::Contradiction(Some(proof))) => *proof,
        other => panic!("{other:?}"),
    };
    // told once
    assert!(collector.next(&tip, of).unwrap().is_none());
    assert!(collector.progress(tip.height).spoiled);
    proof
}

#[test]
fn fragments_of_another_body_prove_that_the_writer_lied() {
    for n in [4, 7] {
        let (of, constitutions) = alliance(n);
        let body = block(&of, None, 3).body().as_bytes().to_vec();
        let other = block(&of, None, 4).body().as_bytes().to_vec();
        for (body, alter) in [(&other, false), (&body, true)] {
            let proof = contradiction(&of, &constitutions, body, alter);
            let prove = |it: &Contradiction| {
                Evidence::Fragments(Box::new(it.clone())).prove(&constitutions)
            };
            let proven = prove(&proof).unwrap();
            let log = id(&of, 0);
            assert_eq!((proven.accused(), proven.log()), (log, log));
            assert_eq!(proven.offence(), Offence::WrongFragments);
            assert!(proven.offence().is_of_writer());
            // whoever alters it proves nothing
            let mut fewer = proof.clone();
            fewer.fragments.pop();
            let mut twice = proof.clone();
            twice.fragments[0] = twice.fragments[1].clone();
            let mut elsewhere = proof.clone();
            elsewhere.before.append(crate::log::merkle::leaf_hash(b"one more")).unwrap();
            for lie in [fewer, twice, elsewhere] {
                assert_eq!(prove(&lie), Err(EvidenceError::Compatible));
            }
            let mut by_another = proof.clone();
            by_another.proposal = Signed::sign(id(&of, 1), by_another.proposal.body, &key(1, 0));
            let mut unsigned = proof.clone();
            unsigned.proposal.signature = by_another.proposal.signature;
            for lie in [by_another, unsigned] {
                assert_eq!(prove(&lie), Err(EvidenceError::Signature));
            }
        }
    }
}

#[test]
fn an_honest_writers_fragments_prove_nothing() {
    let (of, constitutions) = alliance(4);
    let honest = block(&of, None, 3);
    let certificate = certify(&of, honest.reference());
    let proof = Contradiction {
        proposal: Signed {
            signer: id(&of, 0),
            body: Proposal(certificate.pledge),
            signature: certificate.proposal,
        },
        header: honest.header_leaf().to_vec(),
        before: Frontier::empty(),
        fragments: fragments(&of, &honest)[..2].to_vec(),
    };
    let proven = Evidence::Fragments(Box::new(proof)).prove(&constitutions);
    assert_eq!(proven, Err(EvidenceError::Compatible));
}

// --- whole ledgers

struct Numbers(u64);
impl Entropy for Numbers {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (self.0 >> 33) as u8;
        }
    }
}

#[derive(Default)]
struct Kept {
    own: BTreeMap<Height, (OwnBlock, Certificate)>,
    held: BTreeMap<(BrandId, Height), HeldBlock>,
}

impl Archive for Kept {
    fn block(&self, height: Height) -> Option<(OwnBlock, UnverifiedCertificate)> {
        let (block, certificate) = self.own.get(&height)?;
        Some((block.clone(), certificate.as_unverified().clone()))
    }
    fn held(&self, log: BrandId, from: Height) -> Option<HeldBlock> {
        let range = (log, from)..=(log, Height::new(u64::MAX));
        self.held.range(range).next().map(|(_, held)| held.clone())
    }
}

struct Site {
    ledger: Ledger,
    kept: Kept,
    records: Vec<Record>,
    finals: Vec<(BrandId, Height)>,
    rejected: Vec<(BrandId, Payload)>,
    outdated: Vec<PublicEntry>,
    runs: bool,
}

struct World {
    of: Constitution,
    sites: Vec<Site>,
    mail: VecDeque<(usize, usize, Message)>,
    now: Timestamp,
    numbers: Numbers,
    // what is lost on its way
    loses: fn(&Message) -> bool,
    faults: Vec<PeerFault>,
}

impl World {
    fn new(n: u8) -> Self {
        let of = Constitution::new(draft(n)).unwrap();
        let mut world = Self {
            of,
            sites: Vec::new(),
            mail: VecDeque::new(),
            now: NOW,
            numbers: Numbers(1),
            loses: |_| false,
            faults: Vec::new(),
        };
        for brand in 0..usize::from(n) {
            let ledger = world.ledger(brand);
            let (kept, records) = (Kept::default(), Vec::new());
            let (finals, rejected, outdated) = (Vec::new(), Vec::new(), Vec::new());
            world.sites.push(Site {
                ledger,
                kept,
                records,
                finals,
                rejected,
                outdated,
                runs: true,
            });
        }
        (0..usize::from(n)).for_each(|brand| world.start(brand));
        world.run(30);
        world
    }

    fn ledger(&self, brand: usize) -> Ledger {
        self.ledger_with(brand, ring(brand, 6))
    }

    fn ledger_with(&self, brand: usize, sealing: KeyRing) -> Ledger {
        let keys = LedgerKeys {
            voting: VotingKeys { log: key(brand, 0), vote: key(brand, 1) },
            checkpoint: key(brand, 2),
            witness: key(brand, 3),
            sealing,
        };
        Ledger::new(id(&self.of, brand), self.of.clone(), keys)
    }

    fn start(&mut self, brand: usize) {
        self.call(brand, |ledger, context, out| ledger.resume(context, out));
    }

    fn call(
        &mut self,
        brand: usize,
        action: impl FnOnce(&mut Ledger, &mut Context<'_>, &mut Outbox),
    ) {
        let site = &mut self.sites[brand];
        let mut out = Outbox::default();
        let (now, entropy) = (self.now, &mut self.numbers);
        let mut context = Context { now, entropy, archive: &site.kept };
        action(&mut site.ledger, &mut context, &mut out);
        site.records.append(&mut out.records);
        site.rejected.append(&mut out.rejected);
        site.outdated.append(&mut out.outdated);
        for held in out.held {
            site.kept.held.insert(held.place().unwrap(), held);
        }
        let mut written = out.written.into_iter();
        for done in out.finals {
            let (log, height) = (done.block.log, done.block.height);
            site.finals.push((log, height));
            if log == site.ledger.me() {
                let block = written.next().unwrap();
                assert_eq!(block.reference(), done.block);
                site.kept.own.insert(height, (block, done.certificate));
            } else {
                let said = !done.payloads.expect("no dispute").is_empty();
                site.ledger.applied(log, Vec::new(), said).unwrap();
            }
        }
        let brands = self.of.committee().brands();
        for (to, message) in out.messages {
            let to = brands.iter().position(|brand| *brand == to).unwrap();
            if !(self.loses)(&message) {
                self.mail.push_back((brand, to, message));
            }
        }
    }

    /// Steps of 100 ms.
    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            self.now = self.now.plus(Milliseconds::new(100));
            for brand in 0..self.sites.len() {
                if self.sites[brand].runs {
                    self.call(brand, |ledger, context, out| {
                        ledger.tick(context, out);
                        ledger.poll(context, out);
                    });
                }
            }
            for _ in 0..self.mail.len() * 4 {
                let Some((from, to, message)) = self.mail.pop_front() else { break };
                if !self.sites[to].runs {
                    continue;
                }
                let from = id(&self.of, from);
                let mut fault = None;
                // through its bytes
                let message = Message::from_bytes(&message.into_bytes()).unwrap();
                self.call(to, |ledger, context, out| {
                    fault = ledger.handle(from, message, context, out).err();
                    ledger.poll(context, out);
                });
                self.faults.extend(fault);
            }
        }
    }

    fn send(&mut self, pair: (usize, usize), points: u64) {
        let (to, payload) = (id(&self.of, pair.1), exchange(&self.of, pair, points));
        self.sites[pair.0].ledger.submit_sealed(to, payload).unwrap();
    }

    fn height(&self, brand: usize, log: usize) -> u64 {
        let log = id(&self.of, log);
        self.sites[brand].ledger.witness(log).unwrap().tip().height.get()
    }

    fn contents(&self, brand: usize) -> BTreeMap<BrandId, ColumnContent> {
        self.sites[brand].ledger.writer().contents().clone()
    }

    /// Its disk is gone; the recovery key is not.
    fn lose(&mut self, brand: usize) -> Kept {
        let mut ledger = self.ledger(brand);
        ledger.hold_recovery_key(ring(brand, 7));
        let site = &mut self.sites[brand];
        site.ledger = ledger;
        site.records.clear();
        site.finals.clear();
        std::mem::take(&mut site.kept)
    }

    /// What `coalition rebuild` does: asks for its own log and for nothing else.
    fn rebuild(&mut self, brand: usize) {
        let me = id(&self.of, brand);
        let runs: Vec<bool> = self.sites.iter().map(|site| site.runs).collect();
        self.sites[brand].runs = false;
        for _ in 0..20 {
            self.call(brand, |ledger, context, out| ledger.seek(me, context.now, out));
            // the others answer, and it hears holdings only
            self.sites[brand].runs = false;
            let mail: Vec<_> = self.mail.drain(..).collect();
            for (from, to, message) in mail {
                let hears = to != brand || matches!(message, Message::Holdings(_));
                if runs[to] && hears {
                    let from = id(&self.of, from);
                    self.call(to, |ledger, context, out| {
                        ledger.handle(from, message, context, out).unwrap();
                        if to != brand {
                            ledger.poll(context, out);
                        }
                    });
                }
            }
            self.now = self.now.plus(Milliseconds::from_seconds(1));
        }
        self.sites[brand].runs = true;
    }

    fn declare(&mut self, brand: usize) {
        self.call(brand, |ledger, _, out| ledger.declare_restored(out));
        self.start(brand);
    }
}

#[test]
fn a_lost_writer_has_its_log_again_and_goes_on() {
    for n in [2, 3, 4, 7] {
        let mut world = World::new(n);
        for points in 1..6 {
            world.send((0, 1), points);
            world.send((1, 0), points);
            world.run(10);
        }
        assert!(world.height(0, 0) >= 5, "n={n}");
        let (height, contents) = (world.height(0, 0), world.contents(0));
        let before = world.lose(0);
        assert_eq!(world.height(0, 0), 0);
        world.rebuild(0);
        assert_eq!((world.height(0, 0), world.contents(0)), (height, contents), "n={n}");
        for (height, (block, certificate)) in &before.own {
            let (again, certified) = &world.sites[0].kept.own[height];
            assert!(again.leaves().eq(block.leaves()), "n={n}: byte for byte");
            assert_eq!((again.payloads(), certified), (block.payloads(), certificate));
        }
        let sought = world.sites[0].ledger.sought(id(&world.of, 0)).unwrap();
        assert_eq!(sought.exhausted.len(), usize::from(n) - 1);
        // its journal gives the same state again
        let mut replayed = world.ledger(0);
        for record in &world.sites[0].records {
            let record = Record::from_bytes(&record.to_bytes()).unwrap();
            replayed.replay(&record, &mut Outbox::default()).unwrap();
        }
        assert_eq!(replayed.writer().contents(), world.sites[0].ledger.writer().contents());
        world.sites[0].ledger = replayed;
        world.declare(0);
        world.run(100);
        // two blocks decide what its former life may have begun; then it writes as ever
        assert!(world.sites[0].ledger.may_apply(), "n={n}");
        let height = world.height(0, 0);
        world.send((0, 1), 9);
        world.run(50);
        assert!(world.height(0, 0) > height, "n={n}");
        assert!((1..usize::from(n)).all(|brand| world.height(brand, 0) == world.height(0, 0)));
        assert!(world.faults.is_empty(), "{:?}", world.faults);
    }
}

/// One witness has heard that the block is certified: the others have voted for it, and hold it when they hear
/// of that.
#[test]
fn a_certified_block_that_one_witness_knows_of_is_had_from_those_who_voted_for_it() {
    let mut world = World::new(4);
    world.send((0, 1), 1);
    world.run(10);
    let before = world.height(0, 0);
    world.loses = |message| matches!(message, Message::Certified(_));
    world.send((0, 1), 2);
    world.run(3);
    let heights: Vec<u64> = (0..4).map(|brand| world.height(brand, 0)).collect();
    assert_eq!(heights, [before + 1, before, before, before]);
    let (_, certificate) = world.sites[0].kept.own[&Height::new(before + 1)].clone();
    let (writer, certificate) = (id(&world.of, 0), certificate.as_unverified().clone());
    world.call(1, |ledger, context, out| {
        ledger.handle(writer, Message::Certified(certificate), context, out).unwrap();
    });
    assert_eq!(world.height(1, 0), before + 1);
    world.lose(0);
    world.loses = |_| false;
    world.declare(0);
    world.run(200);
    assert!(world.sites[0].ledger.may_apply());
    assert!((0..4).all(|brand| world.height(brand, 0) > before));
    assert!(world.faults.is_empty(), "{:?}", world.faults);
}

/// What it takes before it knows its own log may be more than its limits leave room for: that goes back, and
/// the log goes on.
#[test]
fn a_lost_writer_gives_back_what_its_former_life_leaves_no_room_for() {
    let mut world = World::new(4);
    world.send((0, 1), 600);
    world.run(20);
    world.lose(0);
    world.declare(0);
    // of 1,000 points that it may owe
    world.send((0, 1), 300);
    world.send((0, 1), 500);
    world.run(200);
    let ledger = &world.sites[0].ledger;
    assert!(ledger.may_apply() && ledger.writer().stalled().is_none());
    let gone = (id(&world.of, 1), exchange(&world.of, (0, 1), 500));
    assert_eq!(world.sites[0].rejected, [gone]);
    let sent = [600, 300].map(|points| exchange(&world.of, (0, 1), points).value());
    let sent = sent.into_iter().fold(Value::ZERO, |sum, value| sum.plus(value).unwrap());
    assert_eq!(world.contents(0)[&id(&world.of, 1)].sent, sent);
    assert!((1..4).all(|brand| world.height(brand, 0) == world.height(0, 0)));
}

/// What it wants to say of a draft before it knows its own log may come after what its former life said of it:
/// that goes back, and the log goes on.
#[test]
fn a_lost_writer_does_not_contradict_what_its_former_life_said_of_a_draft() {
    let mut world = World::new(4);
    let draft = following(&draft(4), |it| it.payload_size = 200);
    let offered = Constitution::new(draft.clone()).unwrap();
    let state = |world: &mut World, stance| {
        let offered = offered.clone();
        world.call(0, |ledger, _, _| {
            drop(ledger.offer(offered).unwrap());
            ledger.state(draft.hash, stance).unwrap();
        });
    };
    state(&mut world, Stance::Adopted);
    world.run(30);
    let said = |world: &World| {
        let own = world.sites[0].ledger.witness(id(&world.of, 0)).unwrap();
        own.stances().on(&draft.hash)
    };
    assert_eq!(said(&world), Some(Stance::Adopted));
    world.lose(0);
    world.declare(0);
    state(&mut world, Stance::Declined);
    world.run(200);
    let ledger = &world.sites[0].ledger;
    assert!(ledger.may_apply() && ledger.writer().stalled().is_none());
    assert_eq!(said(&world), Some(Stance::Adopted));
    assert_eq!(world.sites[0].outdated, [PublicEntry::Declined(DraftReference::to(&offered))]);
    let height = world.height(0, 0);
    world.send((0, 1), 9);
    world.run(50);
    assert!(world.height(0, 0) > height);
    assert!((1..4).all(|brand| world.height(brand, 0) == world.height(0, 0)));
}

#[test]
fn a_block_that_a_lock_forces_is_had_from_those_who_voted_for_it() {
    let mut world = World::new(4);
    world.send((0, 1), 1);
    world.run(10);
    let height = world.height(0, 0);
    // two witnesses take a lock; nobody hears that they have
    world.loses = |message| matches!(message, Message::Commit(_));
    world.send((0, 1), 2);
    world.run(3);
    assert_eq!(world.height(0, 0), height);
    let open = world.sites[0].ledger.writer().open_block().unwrap().clone();
    world.sites[0].runs = false;
    world.mail.clear();
    world.loses = |_| false;
    world.lose(0);
    world.sites[0].runs = true;
    world.rebuild(0);
    assert_eq!(world.height(0, 0), height);
    world.declare(0);
    world.run(150);
    // what it had proposed is final, byte for byte, although it had forgotten it
    let (block, _) = &world.sites[0].kept.own[&Height::new(height + 1)];
    assert_eq!(block.reference(), open.reference());
    assert_eq!(block.payloads(), open.payloads());
    assert!(world.sites[0].ledger.may_apply());
}

#[test]
fn a_witness_has_what_it_missed_from_others_while_the_writer_is_away() {
    let mut world = World::new(4);
    world.sites[3].runs = false;
    for points in 1..4 {
        world.send((0, 1), points);
        world.run(10);
    }
    // the writer dies; who was away comes back, and hears of the height in another's log
    world.sites[0].runs = false;
    world.sites[3].runs = true;
    let height = world.height(1, 0);
    assert!(height >= 3 && world.height(3, 0) == 0);
    world.run(120);
    assert_eq!(world.height(3, 0), height);
    assert!(world.faults.is_empty(), "{:?}", world.faults);
    // and holds its own fragment of each now
    let log = id(&world.of, 0);
    for at in 1..=height {
        let held = world.sites[3].kept.held(log, Height::new(at)).unwrap();
        assert_eq!(held.place(), Some((log, Height::new(at))));
        assert_eq!(held.fragment.number(), 2);
    }
}

#[test]
fn a_rebuilt_node_that_lost_old_sealing_keys_accuses_nobody() {
    let mut world = World::new(4);
    for points in 1..4 {
        world.send((0, 1), points);
        world.run(10);
    }
    world.send((1, 0), 1);
    world.run(20);
    let height = world.height(1, 1);
    world.lose(1);
    // what was sealed to its first key opens no more; its own blocks open with the recovery key
    let mut ledger = world.ledger_with(1, ring(1, 9));
    ledger.hold_recovery_key(ring(1, 7));
    world.sites[1].ledger = ledger;
    world.rebuild(1);
    assert_eq!(world.height(1, 1), height);
    world.declare(1);
    world.run(150);
    let (a, b) = (id(&world.of, 0), id(&world.of, 1));
    assert!(world.sites[1].ledger.may_apply());
    assert_eq!(world.height(1, 0), world.height(0, 0));
    // with its new key announced it reads again, and knows the totals
    world.send((0, 1), 9);
    world.run(60);
    let witness = world.sites[1].ledger.witness(a).unwrap();
    assert!(!witness.is_disputed());
    assert_eq!(witness.content().entries, world.contents(0)[&b].entries);
    assert_eq!(witness.content().entries, 4);
    assert!(world.faults.is_empty(), "{:?}", world.faults);
}

#[test]
fn a_witness_that_finds_fragments_of_another_body_freezes_the_log_and_tells() {
    let mut world = World::new(4);
    let other = block(&world.of, None, 4).body().as_bytes().to_vec();
    let of = world.of.clone();
    let (held, _) = spoilt(&of, &other, false);
    let log = id(&of, 0);
    world.sites[0].runs = false;
    for brand in [1, 2] {
        world.sites[brand].kept.held.insert((log, Height::new(1)), held[brand - 1].clone());
    }
    // who hears that the block is final, and has it not, asks for it
    let certificate = held[0].certificate.clone().unwrap();
    world.mail.push_back((1, 3, Message::Certified(certificate)));
    world.run(150);
    assert!((1..4).all(|brand| world.sites[brand].ledger.is_frozen(log)));
    let case = world.sites[1].ledger.cases().iter().next().unwrap();
    assert_eq!(case.proven.offence(), Offence::WrongFragments);
    assert!(world.faults.iter().any(|fault| matches!(fault, PeerFault::Contradiction { .. })));
    // small enough to be an entry: it is in the finder's log, and the others' cases come from there too
    let entered = world.sites[3].kept.own.values().any(|(block, _)| !block.public().is_empty());
    assert!(entered && case.proven.evidence().is_an_entry());
}
