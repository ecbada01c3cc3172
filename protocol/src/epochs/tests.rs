//! Constitutions following one another: the chain, and whole alliances of ledgers in memory.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::amount::{Points, Rate};
use crate::constitution::Draft;
use crate::constitution::tests::{draft, seed};
use crate::crypto::SigningKey;
use crate::crypto::sealed::{KeyRing, SealingSecret};
use crate::epochs::adoption::Stance;
use crate::exchange::{Exchange, Payload};
use crate::ids::{HeaderHash, Height, MemberHandle, RequestId};
use crate::ledger::{
    Archive, Context, Ledger, LedgerKeys, SigningKeys, StanceError, log_verifier, witness_verifier,
};
use crate::time::{Milliseconds, Timestamp};
use crate::witness::build::OwnBlock;
use crate::witness::message::Message;
use crate::witness::record::Record;
use crate::witness::state::{Outbox, Witness};
use crate::witness::statement::{Certificate, UnverifiedCertificate, VotingKeys};
use crate::witness::writer::Entropy;

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

// --- alliances

/// A second's steps, and how far a step goes on.
const STEP: Milliseconds = Milliseconds::new(100);

/// SplitMix64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 31)
    }
}

impl Entropy for Numbers {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.next() as u8);
    }
}

#[derive(Default)]
struct Blocks(BTreeMap<Height, (OwnBlock, Certificate)>);

impl Archive for Blocks {
    fn block(&self, height: Height) -> Option<(OwnBlock, UnverifiedCertificate)> {
        let (block, certificate) = self.0.get(&height)?;
        Some((block.clone(), certificate.as_unverified().clone()))
    }
}

struct Site {
    ledger: Ledger,
    blocks: Blocks,
    records: Vec<Record>,
    // exchanges that came, by sender
    credited: BTreeMap<BrandId, Vec<Exchange>>,
    rejected: Vec<(BrandId, Payload)>,
    runs: bool,
}

/// Ledgers in memory, over a network that loses messages.
struct World {
    sites: BTreeMap<BrandId, Site>,
    mail: VecDeque<(BrandId, BrandId, Vec<u8>)>,
    certified: BTreeMap<(BrandId, Height), (HeaderHash, Epoch)>,
    now: Timestamp,
    numbers: Numbers,
    lost_percent: u64,
}

fn id(text: &str) -> BrandId {
    BrandId::new(text).unwrap()
}

/// The place of brand `a` is 0.
fn place(brand: BrandId) -> usize {
    usize::from(brand.as_str().as_bytes()[0] - b'a')
}

/// Signing keys of a brand, of its first generation or a later one.
fn signing_keys(brand: BrandId, generation: usize) -> SigningKeys {
    let place = place(brand) + 30 * generation;
    let key = |role| SigningKey::from_seed(&seed(place, role)).unwrap();
    let voting = VotingKeys { log: key(0), vote: key(1) };
    SigningKeys { voting, checkpoint: key(2), witness: key(3) }
}

/// The key that others seal to, of the first generation or a later one.
fn sealing_secret(brand: BrandId, generation: usize) -> SealingSecret {
    SealingSecret::derive(&seed(place(brand) + 30 * generation, 6)).0
}

fn private_keys(brand: BrandId) -> LedgerKeys {
    let SigningKeys { voting, checkpoint, witness } = signing_keys(brand, 0);
    let sealing = KeyRing::new(sealing_secret(brand, 0)).unwrap();
    LedgerKeys { voting, checkpoint, witness, sealing }
}

/// Gives a brand the keys of a later generation.
fn rotate(draft: &mut Draft, brand: BrandId, generation: usize) {
    let keys = &mut draft.brands.get_mut(&brand).unwrap().keys;
    let private = signing_keys(brand, generation);
    keys.log = private.voting.log.public();
    keys.vote = private.voting.vote.public();
    keys.checkpoint = private.checkpoint.public();
    keys.witness = private.witness.public();
    keys.sealing = SealingSecret::derive(&seed(place(brand) + 30 * generation, 6)).1;
}

fn first_draft(n: u8) -> Draft {
    let mut first = draft(n);
    first.succession.notice = Milliseconds::from_seconds(60);
    first
}

/// The draft that follows, changed.
fn following(before: &Draft, change: impl FnOnce(&mut Draft)) -> Draft {
    let mut next = before.clone();
    next.epoch = before.epoch.next().unwrap();
    next.hash = ConstitutionHash::from_bytes([next.epoch.get() as u8; 32]);
    next.succession.previous = Some(before.hash);
    change(&mut next);
    next
}

fn constitution(draft: &Draft) -> Constitution {
    Constitution::new(draft.clone()).unwrap()
}

impl World {
    fn new(draft: &Draft, seed: u64, lost_percent: u64) -> Self {
        let mut world = Self {
            sites: BTreeMap::new(),
            mail: VecDeque::new(),
            certified: BTreeMap::new(),
            now: Timestamp::from_unix_ms(1_700_000_000_000),
            numbers: Numbers(seed),
            lost_percent,
        };
        let chain = Constitutions::from(constitution(draft));
        for brand in chain.brands() {
            world.join(brand, &chain);
        }
        world
    }

    fn join(&mut self, brand: BrandId, chain: &Constitutions) {
        let ledger = Ledger::new(brand, chain.clone(), private_keys(brand));
        let site = Site {
            ledger,
            blocks: Blocks::default(),
            records: Vec::new(),
            credited: BTreeMap::new(),
            rejected: Vec::new(),
            runs: true,
        };
        self.sites.insert(brand, site);
        self.call(brand, |ledger, context, out| ledger.resume(context, out));
    }

    fn brands(&self) -> Vec<BrandId> {
        self.sites.iter().filter(|(_, site)| site.runs).map(|(brand, _)| *brand).collect()
    }

    /// Calls one ledger, and does with what comes out what a node does.
    fn call(
        &mut self,
        brand: BrandId,
        action: impl FnOnce(&mut Ledger, &mut Context<'_>, &mut Outbox),
    ) {
        let site = self.sites.get_mut(&brand).unwrap();
        let mut out = Outbox::default();
        let (now, entropy) = (self.now, &mut self.numbers);
        let mut context = Context { now, entropy, archive: &site.blocks };
        action(&mut site.ledger, &mut context, &mut out);
        site.records.append(&mut out.records);
        site.rejected.append(&mut out.rejected);
        let mut written = out.written.into_iter();
        for done in out.finals {
            let (log, height) = (done.block.log, done.block.height);
            let what = (done.block.header, done.block.epoch);
            // no two committees certify different blocks of one height
            let known = *self.certified.entry((log, height)).or_insert(what);
            assert_eq!(known, what, "{log} {height}");
            if log == brand {
                site.blocks.0.insert(height, (written.next().unwrap(), done.certificate));
                continue;
            }
            let payloads = done.payloads.expect("no dispute");
            let exchanges = payloads.into_iter().filter_map(|(_, payload)| match payload {
                Payload::Exchange(exchange) => Some(exchange),
                _ => None,
            });
            let credited = site.credited.entry(log).or_default();
            let before = credited.len();
            credited.extend(exchanges);
            let answer = credited.len() > before;
            site.ledger.applied(log, Vec::new(), answer).unwrap();
        }
        for (to, message) in out.messages {
            self.mail.push_back((brand, to, message.into_bytes()));
        }
    }

    fn step(&mut self) {
        self.now = self.now.plus(STEP);
        for brand in self.brands() {
            self.call(brand, |ledger, context, out| ledger.tick(context, out));
        }
        while let Some((from, to, bytes)) = self.mail.pop_front() {
            let lost = self.numbers.next() % 100 < self.lost_percent;
            if lost || !self.sites.get(&to).is_some_and(|site| site.runs) {
                continue;
            }
            let message = Message::from_bytes(&bytes).unwrap();
            self.call(to, |ledger, context, out| {
                ledger.handle(from, message, context, out).unwrap();
                ledger.poll(context, out);
            });
        }
    }

    /// Steps until something is so.
    fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        for _ in 0..3_000 {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("never: {what}\n{}", self.describe());
    }

    fn describe(&self) -> String {
        let site = |(brand, site): (&BrandId, &Site)| {
            let tips: Vec<String> = site
                .ledger
                .witnesses()
                .map(|(log, it)| format!("{log} {}@{}", it.tip().height, it.epoch()))
                .collect();
            format!("{brand}: {tips:?} {:?}\n", site.ledger.writer().stalled())
        };
        self.sites.iter().map(site).collect()
    }

    fn ledger(&self, brand: BrandId) -> &Ledger {
        &self.sites[&brand].ledger
    }

    fn epoch(&self, brand: BrandId) -> u32 {
        self.ledger(brand).witness(brand).unwrap().epoch().get()
    }

    /// Every running node has every log of the brands named at this epoch.
    fn all_at(&self, epoch: u32, logs: &[BrandId]) -> bool {
        self.brands().iter().all(|brand| {
            logs.iter().all(|log| {
                self.ledger(*brand).witness(*log).is_some_and(|it| it.epoch().get() == epoch)
            })
        })
    }

    fn offer(&mut self, draft: &Draft) {
        for brand in self.brands() {
            self.call(brand, |ledger, _, _| drop(ledger.offer(constitution(draft)).unwrap()));
        }
    }

    fn state(&mut self, brand: BrandId, draft: &Draft, stance: Stance) -> Result<(), StanceError> {
        let mut result = Ok(());
        self.call(brand, |ledger, context, out| {
            result = ledger.state(draft.hash, stance).map(drop);
            ledger.poll(context, out);
        });
        result
    }

    fn exchange(&mut self, from: BrandId, to: BrandId, points: u64) {
        let handle = MemberHandle::from_bytes([1; 16]);
        let request = RequestId::from_bytes([2; 16]);
        let points = Points::new(points).unwrap();
        self.call(from, |ledger, context, out| {
            let pair = (from, to);
            let it = Exchange::price(ledger.constitution(), pair, handle, request, points).unwrap();
            ledger.submit_sealed(to, Payload::Exchange(it)).unwrap();
            ledger.poll(context, out);
        });
    }

    fn credited(&self, to: BrandId, from: BrandId) -> Vec<u64> {
        let came = self.sites[&to].credited.get(&from);
        came.into_iter().flatten().map(|exchange| exchange.received.get()).collect()
    }

    /// A node starts again from what it had on disk.
    fn restart(&mut self, brand: BrandId, chain: &Constitutions, drafts: &[&Draft], keys: usize) {
        let site = self.sites.get_mut(&brand).unwrap();
        let state = |ledger: &Ledger| -> Vec<_> {
            let of = |(log, it): (BrandId, &Witness)| (log, it.epoch(), it.tip().clone());
            ledger.witnesses().map(of).collect()
        };
        let before = state(&site.ledger);
        site.ledger = Ledger::new(brand, chain.clone(), private_keys(brand));
        for generation in 1..=keys {
            site.ledger.add_keys(signing_keys(brand, generation));
            site.ledger.turn_sealing_key(sealing_secret(brand, generation)).unwrap();
        }
        drafts.iter().for_each(|draft| site.ledger.hold(constitution(draft)));
        for record in &site.records {
            let record = Record::from_bytes(&record.to_bytes()).unwrap();
            site.ledger.replay(&record, &mut Outbox::default()).unwrap();
        }
        assert_eq!(state(&site.ledger), before);
        self.call(brand, |ledger, context, out| ledger.resume(context, out));
    }
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
