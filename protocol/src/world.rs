//! Whole alliances of ledgers in memory, for tests: constitutions that follow one another, disputes that
//! are resolved, partners that fail. What a node does beside its ledger is done here as simply as it can be:
//! exchanges are credited, what is disputed is entered, legs are kept, own blocks are published.

use std::collections::{BTreeMap, VecDeque};

use crate::amount::{Points, Value};
use crate::audit::tests::fixture::Folder;
use crate::audit::{CERTIFICATES_FILE, CHECKPOINT_FILE};
use crate::codec;
use crate::constitution::tests::{draft, seed};
use crate::constitution::{Constitution, Draft};
use crate::crypto::SigningKey;
use crate::crypto::sealed::{KeyRing, SealingSecret};
use crate::epochs::Constitutions;
use crate::epochs::adoption::Stance;
use crate::exchange::{Exchange, OutgoingLeg, OutgoingLegs, Payload, Return, ReturnReason};
use crate::ids::{
    BrandId, ConstitutionHash, Epoch, HeaderHash, Height, LeafIndex, MemberHandle, RequestId,
};
use crate::ledger::{Archive, Context, Ledger, LedgerKeys, SigningKeys, StanceError};
use crate::log::block::{Header, PublicEntry};
use crate::log::merkle::Leaf;
use crate::log::tiles::TileWriter;
use crate::recovery::held::HeldBlock;
use crate::time::{Milliseconds, Timestamp};
use crate::witness::build::OwnBlock;
use crate::witness::message::Message;
use crate::witness::record::Record;
use crate::witness::state::{FinalBlock, Outbox, Witness};
use crate::witness::statement::{Certificate, UnverifiedCertificate, VotingKeys};
use crate::witness::writer::Entropy;

/// A second's steps, and how far a step goes on.
pub(crate) const STEP: Milliseconds = Milliseconds::new(100);

/// At a restart, so many snapshots of what was before are looked at.
const SNAPSHOTS: usize = 8;

/// SplitMix64.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
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

/// Own blocks, and what is held of others'.
#[derive(Default)]
pub(crate) struct Blocks(
    pub(crate) BTreeMap<Height, (OwnBlock, Certificate)>,
    pub(crate) BTreeMap<(BrandId, Height), HeldBlock>,
);

impl Archive for Blocks {
    fn block(&self, height: Height) -> Option<(OwnBlock, UnverifiedCertificate)> {
        let (block, certificate) = self.0.get(&height)?;
        Some((block.clone(), certificate.as_unverified().clone()))
    }

    fn held(&self, log: BrandId, from: Height) -> Option<HeldBlock> {
        let later = (log, from)..=(log, Height::new(u64::MAX));
        self.1.range(later).next().map(|(_, held)| held.clone())
    }
}

pub(crate) struct Site {
    pub(crate) ledger: Ledger,
    pub(crate) blocks: Blocks,
    pub(crate) records: Vec<Record>,
    // how many there were after each call
    calls: Vec<usize>,
    // every leaf it has sent
    pub(crate) legs: OutgoingLegs,
    // points of its members that came back to them, by leaf
    pub(crate) given_back: BTreeMap<LeafIndex, u64>,
    // headers of its own blocks
    pub(crate) headers: BTreeMap<Height, Header>,
    pub(crate) folder: Folder,
    writer: TileWriter,
    // exchanges that came, by sender
    pub(crate) credited: BTreeMap<BrandId, Vec<Exchange>>,
    pub(crate) rejected: Vec<(BrandId, Payload)>,
    pub(crate) runs: bool,
    // others' final blocks that may not be acted upon yet
    unapplied: Vec<FinalBlock>,
}

impl Site {
    fn publish(&mut self, block: &OwnBlock, done: &FinalBlock) {
        let leaves: Vec<Leaf> = block.leaves().map(|it| Leaf::new(it.to_vec()).unwrap()).collect();
        for file in self.writer.append(&leaves).unwrap().files {
            self.folder.0.insert(file.path.to_string(), file.bytes);
        }
        let certificates = self.folder.0.entry(CERTIFICATES_FILE.to_owned()).or_default();
        certificates.extend(codec::encode(done.certificate.as_unverified()));
        let constitution = self.ledger.constitutions().of(done.block.epoch).unwrap();
        self.headers.insert(done.block.height, done.header.clone());
        let until = done.header.time.plus(constitution.return_window());
        for sent in block.payloads() {
            let (height, payload) = (done.block.height, sent.payload.clone());
            self.legs.certified(sent.index, height, until, sent.to, payload);
        }
    }

    /// What another log says of the own leaves.
    fn answered(&mut self, log: BrandId, done: &FinalBlock) {
        for (_, entry) in &done.public {
            if let PublicEntry::DisputeResolved(it) = entry
                && it.sides() == (self.ledger.me(), log)
            {
                let in_dispute = |height| (it.began..=it.last).contains(&height);
                let void =
                    self.legs.void(log, |index, leg| in_dispute(leg.height) && !it.counts(index));
                self.give_back(void);
            }
        }
        for (_, payload) in done.payloads.iter().flatten() {
            if let Payload::Return(back) = payload {
                let taken = self.legs.returned(log, back, done.header.time).unwrap();
                *self.given_back.entry(back.original).or_default() += taken.points.get();
            }
        }
        if let (Ok(_), Some(column)) = (&done.payloads, done.header.column(self.ledger.me())) {
            self.legs.recognised(log, column.recognised.height);
        }
    }

    fn give_back(&mut self, void: Vec<(LeafIndex, Payload)>) {
        for (index, payload) in void {
            if let Payload::Exchange(exchange) = payload {
                *self.given_back.entry(index).or_default() += exchange.sent.get();
            }
        }
    }

    /// Closes out a log that has ended: what it never recognised is its members' again.
    pub(crate) fn close_out(&mut self, log: BrandId) -> PublicEntry {
        let read = self.ledger.recognised_at_end(log).unwrap();
        let worth = |payload: &Payload| match payload {
            Payload::Exchange(exchange) => exchange.owed,
            _ => Value::ZERO,
        };
        let later = |payload: &Payload| !matches!(payload, Payload::Return(_));
        let is_back = |leg: &OutgoingLeg| matches!(leg.payload, Payload::Return(_));
        let back =
            self.legs.iter().filter(|(_, leg)| leg.to == log && leg.height > read && is_back(leg));
        let back = back.map(|(_, leg)| leg.payload.value());
        let back = back.fold(Value::ZERO, |sum, value| sum.plus(value).unwrap());
        let void = self.legs.void(log, |_, leg| leg.height > read && later(&leg.payload));
        let value = void.iter().map(|(_, payload)| worth(payload));
        let value = value.fold(Value::ZERO, |sum, value| sum.plus(value).unwrap());
        self.give_back(void);
        let block = self.blocks.0.get(&read).map(|(block, _)| block);
        let opened =
            block.map(|block| (&self.headers[&read], block.reference().header, block.contents()));
        self.ledger.close_out(log, opened, (value, back)).unwrap()
    }
}

/// Ledgers in memory, over a network that loses messages.
pub(crate) struct World {
    pub(crate) sites: BTreeMap<BrandId, Site>,
    pub(crate) mail: VecDeque<(BrandId, BrandId, Vec<u8>)>,
    pub(crate) certified: BTreeMap<(BrandId, Height), (HeaderHash, Epoch)>,
    pub(crate) now: Timestamp,
    pub(crate) numbers: Numbers,
    pub(crate) lost_percent: u64,
    // who hears of certificates by the proposals after them alone
    pub(crate) untold: Option<BrandId>,
    // who hears nothing
    pub(crate) deaf: Option<BrandId>,
    // who credits nothing
    pub(crate) sends_back: Option<BrandId>,
    // rules of blocks by which proposals were refused
    pub(crate) refused: Vec<u16>,
}

pub(crate) fn id(text: &str) -> BrandId {
    BrandId::new(text).unwrap()
}

/// The place of brand `a` is 0.
pub(crate) fn place(brand: BrandId) -> usize {
    usize::from(brand.as_str().as_bytes()[0] - b'a')
}

/// Signing keys of a brand, of its first generation or a later one.
pub(crate) fn signing_keys(brand: BrandId, generation: usize) -> SigningKeys {
    let place = place(brand) + 30 * generation;
    let key = |role| SigningKey::from_seed(&seed(place, role)).unwrap();
    let voting = VotingKeys { log: key(0), vote: key(1) };
    SigningKeys { voting, checkpoint: key(2), witness: key(3) }
}

/// The key that others seal to, of the first generation or a later one.
pub(crate) fn sealing_secret(brand: BrandId, generation: usize) -> SealingSecret {
    SealingSecret::derive(&seed(place(brand) + 30 * generation, 6)).0
}

pub(crate) fn private_keys(brand: BrandId) -> LedgerKeys {
    let SigningKeys { voting, checkpoint, witness } = signing_keys(brand, 0);
    let sealing = KeyRing::new(sealing_secret(brand, 0)).unwrap();
    LedgerKeys { voting, checkpoint, witness, sealing }
}

/// Gives a brand the keys of a later generation.
pub(crate) fn rotate(draft: &mut Draft, brand: BrandId, generation: usize) {
    let keys = &mut draft.brands.get_mut(&brand).unwrap().keys;
    let private = signing_keys(brand, generation);
    keys.log = private.voting.log.public();
    keys.vote = private.voting.vote.public();
    keys.checkpoint = private.checkpoint.public();
    keys.witness = private.witness.public();
    keys.sealing = SealingSecret::derive(&seed(place(brand) + 30 * generation, 6)).1;
}

pub(crate) fn first_draft(n: u8) -> Draft {
    let mut first = draft(n);
    first.succession.notice = Milliseconds::from_seconds(60);
    first
}

/// The draft that follows, changed.
pub(crate) fn following(before: &Draft, change: impl FnOnce(&mut Draft)) -> Draft {
    let mut next = before.clone();
    next.epoch = before.epoch.next().unwrap();
    next.hash = ConstitutionHash::from_bytes([next.epoch.get() as u8; 32]);
    next.succession.previous = Some(before.hash);
    change(&mut next);
    next
}

pub(crate) fn constitution(draft: &Draft) -> Constitution {
    Constitution::new(draft.clone()).unwrap()
}

impl World {
    pub(crate) fn new(draft: &Draft, seed: u64, lost_percent: u64) -> Self {
        let mut world = Self {
            sites: BTreeMap::new(),
            mail: VecDeque::new(),
            certified: BTreeMap::new(),
            now: Timestamp::from_unix_ms(1_700_000_000_000),
            numbers: Numbers(seed),
            lost_percent,
            untold: None,
            deaf: None,
            sends_back: None,
            refused: Vec::new(),
        };
        let chain = Constitutions::from(constitution(draft));
        for brand in chain.brands() {
            world.join(brand, &chain);
        }
        world
    }

    pub(crate) fn join(&mut self, brand: BrandId, chain: &Constitutions) {
        let ledger = Ledger::new(brand, chain.clone(), private_keys(brand));
        let site = Site {
            ledger,
            blocks: Blocks::default(),
            records: Vec::new(),
            calls: Vec::new(),
            legs: OutgoingLegs::default(),
            given_back: BTreeMap::new(),
            headers: BTreeMap::new(),
            folder: Folder::default(),
            writer: TileWriter::empty(),
            credited: BTreeMap::new(),
            rejected: Vec::new(),
            runs: true,
            unapplied: Vec::new(),
        };
        self.sites.insert(brand, site);
        self.call(brand, |ledger, context, out| ledger.resume(context, out));
    }

    pub(crate) fn brands(&self) -> Vec<BrandId> {
        self.sites.iter().filter(|(_, site)| site.runs).map(|(brand, _)| *brand).collect()
    }

    /// Calls one ledger, and does with what comes out what a node does.
    pub(crate) fn call(
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
        site.calls.push(site.records.len());
        site.rejected.append(&mut out.rejected);
        site.blocks.1.extend(out.held.into_iter().map(|held| (held.place().unwrap(), held)));
        let mut written = out.written.into_iter();
        for done in out.finals {
            let (log, height) = (done.block.log, done.block.height);
            let what = (done.block.header, done.block.epoch);
            // no two committees certify different blocks of one height
            let known = *self.certified.entry((log, height)).or_insert(what);
            assert_eq!(known, what, "{log} {height}");
            if log == brand {
                let block = written.next().unwrap();
                site.publish(&block, &done);
                site.blocks.0.insert(height, (block, done.certificate));
                continue;
            }
            if let Some(dispute) = done.dispute.clone() {
                site.ledger.submit_public(PublicEntry::DisputeOpened(dispute)).unwrap();
            }
            site.unapplied.push(done);
        }
        let due = site.ledger.may_apply().then(|| std::mem::take(&mut site.unapplied));
        for done in due.into_iter().flatten() {
            let log = done.block.log;
            site.answered(log, &done);
            let payloads = done.payloads.unwrap_or_default();
            let exchanges = payloads.into_iter().filter_map(|(leaf, payload)| match payload {
                Payload::Exchange(exchange) => Some((leaf, exchange)),
                _ => None,
            });
            let (mut returns, mut answer) = (Vec::new(), false);
            for (leaf, exchange) in exchanges {
                answer = true;
                if self.sends_back == Some(brand) {
                    let sent = Payload::Exchange(exchange);
                    returns.extend(Return::whole(leaf, ReturnReason::NotLinked, &sent));
                } else {
                    site.credited.entry(log).or_default().push(exchange);
                }
            }
            site.ledger.applied(log, returns, answer).unwrap();
        }
        if let Some(checkpoint) = site.ledger.checkpoint() {
            let note = checkpoint.to_string().into_bytes();
            site.folder.0.insert(CHECKPOINT_FILE.to_owned(), note);
        }
        for (to, message) in out.messages {
            match &message {
                Message::Refusal(refusal) if (1..100).contains(&refusal.rule) => {
                    self.refused.push(refusal.rule);
                }
                Message::Certified(_) if self.untold == Some(to) => continue,
                _ => {}
            }
            self.mail.push_back((brand, to, message.into_bytes()));
        }
    }

    pub(crate) fn step(&mut self) {
        self.now = self.now.plus(STEP);
        for brand in self.brands() {
            self.call(brand, |ledger, context, out| ledger.tick(context, out));
        }
        while let Some((from, to, bytes)) = self.mail.pop_front() {
            let lost = self.numbers.next() % 100 < self.lost_percent;
            if lost || self.deaf == Some(to) || !self.sites.get(&to).is_some_and(|site| site.runs) {
                continue;
            }
            let message = Message::from_bytes(&bytes).unwrap();
            self.call(to, |ledger, context, out| {
                ledger.handle(from, message, context, out).unwrap();
                ledger.poll(context, out);
            });
        }
    }

    /// Delivers all that is on its way, but for what is lost.
    pub(crate) fn deliver(&mut self, lost: impl Fn(BrandId, &Message) -> bool) {
        while let Some((from, to, bytes)) = self.mail.pop_front() {
            let message = Message::from_bytes(&bytes).unwrap();
            if lost(to, &message) || !self.sites[&to].runs {
                continue;
            }
            self.call(to, |ledger, context, out| {
                ledger.handle(from, message, context, out).unwrap();
                ledger.poll(context, out);
            });
        }
    }

    /// Steps until something is so.
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        for _ in 0..3_000 {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("never: {what}\n{}", self.describe());
    }

    pub(crate) fn describe(&self) -> String {
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

    pub(crate) fn ledger(&self, brand: BrandId) -> &Ledger {
        &self.sites[&brand].ledger
    }

    pub(crate) fn epoch(&self, brand: BrandId) -> u32 {
        self.ledger(brand).witness(brand).unwrap().epoch().get()
    }

    /// Every running node has every log of the brands named at this epoch.
    pub(crate) fn all_at(&self, epoch: u32, logs: &[BrandId]) -> bool {
        self.brands().iter().all(|brand| {
            logs.iter().all(|log| {
                self.ledger(*brand).witness(*log).is_some_and(|it| it.epoch().get() == epoch)
            })
        })
    }

    pub(crate) fn offer(&mut self, draft: &Draft) {
        for brand in self.brands() {
            self.call(brand, |ledger, _, _| drop(ledger.offer(constitution(draft)).unwrap()));
        }
    }

    pub(crate) fn state(
        &mut self,
        brand: BrandId,
        draft: &Draft,
        stance: Stance,
    ) -> Result<(), StanceError> {
        let mut result = Ok(());
        self.call(brand, |ledger, context, out| {
            result = ledger.state(draft.hash, stance).map(drop);
            ledger.poll(context, out);
        });
        result
    }

    pub(crate) fn exchange(&mut self, from: BrandId, to: BrandId, points: u64) {
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

    pub(crate) fn credited(&self, to: BrandId, from: BrandId) -> Vec<u64> {
        let came = self.sites[&to].credited.get(&from);
        came.into_iter().flatten().map(|exchange| exchange.received.get()).collect()
    }

    /// A node's disk is gone; its keys, the recovery key among them, are not, but for those that others
    /// sealed to before this generation.
    pub(crate) fn lose(&mut self, brand: BrandId, chain: &Constitutions, generation: usize) {
        self.join(brand, chain);
        let sealing = KeyRing::new(sealing_secret(brand, generation)).unwrap();
        let keys = LedgerKeys { sealing, ..private_keys(brand) };
        self.sites.get_mut(&brand).unwrap().ledger = Ledger::new(brand, chain.clone(), keys);
        let recovery = SealingSecret::derive(&seed(place(brand), 7)).0;
        self.call(brand, |ledger, context, out| {
            ledger.hold_recovery_key(KeyRing::new(recovery).unwrap());
            ledger.declare_restored(out);
            ledger.resume(context, out);
        });
    }

    /// A node starts again from what it had on disk. What snapshots of that would have given is looked at.
    pub(crate) fn restart(
        &mut self,
        brand: BrandId,
        chain: &Constitutions,
        drafts: &[&Draft],
        keys: usize,
    ) {
        let site = self.sites.get_mut(&brand).unwrap();
        let state = |ledger: &Ledger| -> Vec<_> {
            let of = |(log, it): (BrandId, &Witness)| (log, it.epoch(), it.tip().clone());
            ledger.witnesses().map(of).collect()
        };
        let before = state(&site.ledger);
        let fresh = || {
            let mut ledger = Ledger::new(brand, chain.clone(), private_keys(brand));
            for generation in 1..=keys {
                ledger.add_keys(signing_keys(brand, generation));
                ledger.turn_sealing_key(sealing_secret(brand, generation)).unwrap();
            }
            drafts.iter().for_each(|draft| ledger.hold(constitution(draft)));
            ledger
        };
        let replay = |ledger: &mut Ledger, records: &[Record]| {
            for record in records {
                let record = Record::from_bytes(&record.to_bytes()).unwrap();
                ledger.replay(&record, &mut Outbox::default()).unwrap();
            }
        };
        site.ledger = fresh();
        replay(&mut site.ledger, &site.records);
        assert_eq!(state(&site.ledger), before);
        // a snapshot after any call, and the records after it, give the same, byte for byte
        let bytes = |ledger: &Ledger| -> Vec<Vec<u8>> {
            ledger.snapshot().iter().map(Record::to_bytes).collect()
        };
        let expected = bytes(&site.ledger);
        let apart = site.calls.len().div_ceil(SNAPSHOTS).max(1);
        for cut in site.calls.iter().rev().step_by(apart) {
            let (first, rest) = site.records.split_at(*cut);
            let (mut whole, mut taken_up) = (fresh(), fresh());
            replay(&mut whole, first);
            replay(&mut taken_up, &whole.snapshot());
            assert_eq!(bytes(&taken_up), bytes(&whole), "{brand}, record {cut}");
            replay(&mut taken_up, rest);
            assert!(bytes(&taken_up) == expected, "{brand}, snapshot after record {cut}");
        }
        self.call(brand, |ledger, context, out| ledger.resume(context, out));
    }
}
