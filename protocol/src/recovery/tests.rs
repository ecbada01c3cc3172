//! A log from what others hold of it: any q-f fragments, liars among them, and whole ledgers that lost theirs.

mod lost;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::collector::{Collector, HoldingsError, Spoiled, WholeBlock};
use super::contradiction::Contradiction;
use super::held::{HELD_BLOCKS_MAX, HeldBlock, Holdings};
use crate::amount::Points;
use crate::codec;
use crate::constitution::Constitution;
use crate::constitution::tests::{draft, seed};
use crate::crypto::sealed::{BlockSecret, KeyRing, SealingSecret};
use crate::crypto::{Signed, SigningKey};
use crate::epochs::Constitutions;
use crate::exchange::{Exchange, Payload};
use crate::ids::{BlockNonce, BrandId, Height, MemberHandle, RequestId, Round};
use crate::log::block::{BlockReference, Header};
use crate::log::fragments::{Fragment, Shape};
use crate::log::merkle::Frontier;
use crate::time::{Milliseconds, Timestamp};
use crate::witness::build::{OwnBlock, Plan};
use crate::witness::evidence::{Evidence, EvidenceError, Offence};
use crate::witness::rules::Tip;
use crate::witness::statement::{Commit, Endorsement, Pledge, Proposal, UnverifiedCertificate};

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
