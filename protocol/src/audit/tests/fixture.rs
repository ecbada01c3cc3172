//! A small alliance whose logs are written by hand: blocks are built as a node builds them, may be
//! spoilt, and are certified by everyone whatever they say.

use std::collections::BTreeMap;

use super::super::{
    ARCHIVED_FILE, Auditor, CERTIFICATES_FILE, CHECKPOINT_FILE, Cores, KeyHolder, LogFolder,
    Observer, OpeningKey, Report, parse_archived,
};
use crate::amount::{Points, Value};
use crate::clearing::{Absent, CheckedClosing, Statement, check_closing, close};
use crate::codec;
use crate::constitution::tests::{draft, seed};
use crate::constitution::{self, Constitution};
use crate::crypto::sealed::{BlockSecret, KeyRing, SealingSecret};
use crate::crypto::{Signable, SigningKey};
use crate::epochs::adoption::switch;
use crate::epochs::{CertifiedEntry, Constitutions, DraftReference};
use crate::exchange::{Exchange, Link, Payload, Return, ReturnReason};
use crate::ids::{
    BlockNonce, BrandId, ConstitutionHash, Epoch, LeafHash, LeafIndex, MemberHandle, RequestId,
    Round,
};
use crate::ledger::{witness_name, witness_verifier};
use crate::log::block::{
    ApplicationEntry, BlockReference, BlockTree, Closing, ColumnContent, Entry, Header,
    PublicEntry, Recognised, StatementEntry,
};
use crate::log::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::log::closed_out::OpenedColumn;
use crate::log::fragments::Shape;
use crate::log::merkle::{Frontier, Leaf, leaf_hash};
use crate::log::note::KeyName;
use crate::log::range::RangeProof;
use crate::log::settlement::Discharge;
use crate::log::tiles::{TilePath, TileSource, TileWriter};
use crate::time::{Milliseconds, Timestamp};
use crate::witness::build::{OwnBlock, Plan, body_bytes};
use crate::witness::closing;
use crate::witness::ending::LogEnd;
use crate::witness::message::CertifiedHeader;
use crate::witness::rules::Tip;
use crate::witness::statement::{Commit, Endorsement, Pledge, Proposal, UnverifiedCertificate};

pub(super) const CUT_OFF: u64 = 5_000;
/// How long members are told of a change before it takes effect.
pub(super) const NOTICE: Milliseconds = Milliseconds::new(500);

/// Files by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Folder(pub(crate) BTreeMap<String, Vec<u8>>);

impl TileSource for Folder {
    fn read(&self, path: &TilePath) -> Option<Vec<u8>> {
        self.0.get(&path.to_string()).cloned()
    }
}

impl LogFolder for Folder {
    fn checkpoint(&self) -> Option<Vec<u8>> {
        self.0.get(CHECKPOINT_FILE).cloned()
    }
    fn certificates(&self, offset: u64, most: usize) -> Option<Vec<u8>> {
        let rest = self.0.get(CERTIFICATES_FILE)?.get(usize::try_from(offset).ok()?..)?;
        // short reads, as files may give them
        Some(rest[..rest.len().min(most).min(700)].to_vec())
    }
    fn files(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
    fn archived(&self) -> u64 {
        let marker = self.0.get(ARCHIVED_FILE);
        marker.and_then(|marker| parse_archived(marker)).unwrap_or(0)
    }
}

pub(super) fn brand(letter: &str) -> BrandId {
    BrandId::new(letter).unwrap()
}

fn number(brand: BrandId) -> usize {
    usize::from(brand.as_str().as_bytes()[0] - b'a')
}

pub(super) fn sign(brand: BrandId, role: u8) -> SigningKey {
    SigningKey::from_seed(&seed(number(brand), role)).unwrap()
}

fn ring(brand: BrandId) -> KeyRing {
    KeyRing::new(SealingSecret::derive(&seed(number(brand), 6)).0).unwrap()
}

/// One log while it is written.
#[derive(Clone)]
struct Written {
    tip: Tip,
    last: Option<(Header, UnverifiedCertificate)>,
    contents: Vec<ColumnContent>,
    named: BTreeMap<BrandId, ColumnContent>,
    // under which the next block is; none: the first
    epoch: Option<Epoch>,
    // of the last block, and the tree before it
    body: Option<(Frontier, Vec<LeafHash>)>,
    writer: TileWriter,
}

/// What goes into a block.
#[derive(Clone, Default)]
pub(super) struct Content {
    pub(super) public: Vec<PublicEntry>,
    pub(super) sealed: Vec<(BrandId, Payload)>,
    /// Logs that are recognised up to their tips.
    pub(super) recognised: Vec<BrandId>,
    /// What is granted as discharged.
    pub(super) discharged: BTreeMap<BrandId, Discharge>,
}

/// A block that may still be spoilt.
pub(super) struct Draft {
    pub(super) header: Header,
    pub(super) body: Vec<Vec<u8>>,
}

impl Draft {
    /// Makes the header fit the body again.
    pub(super) fn refit(&mut self, constitution: &Constitution, before: &Frontier) {
        let mut tree = before.clone();
        for entry in &self.body {
            tree.append(leaf_hash(entry)).unwrap();
        }
        self.header.body_root = tree.root();
        let bytes = body_bytes(self.body.iter().map(Vec::as_slice)).unwrap();
        self.header.body_bytes = bytes.len() as u32;
        self.header.body_leaves = self.body.len() as u32;
        self.header.fragments = Shape::of(constitution.committee()).cut(&bytes).unwrap().0;
    }
}

#[derive(Clone)]
pub(crate) struct Alliance {
    pub(super) constitution: Constitution,
    pub(super) constitutions: Constitutions,
    pub(super) folders: BTreeMap<BrandId, Folder>,
    written: BTreeMap<BrandId, Written>,
    pub(super) keys: BTreeMap<BrandId, KeyRing>,
    built: u8,
    time: u64,
    /// What the auditor is told of how long keys are kept.
    pub(super) retention: Option<Milliseconds>,
}

impl Alliance {
    pub(super) fn new(brands: u8) -> Self {
        Self::with(brands, |_| {})
    }

    pub(super) fn with(brands: u8, change: impl FnOnce(&mut constitution::Draft)) -> Self {
        let mut draft = draft(brands);
        draft.succession.notice = NOTICE;
        let (_, sealing) = SealingSecret::derive(&[77; 32]);
        draft.auditors = vec![constitution::Auditor {
            name: "regulator".to_owned(),
            access: constitution::Access::Standing,
            sealing,
            later: Vec::new(),
        }];
        change(&mut draft);
        let constitution = Constitution::new(draft).unwrap();
        let ids = constitution.committee().brands().to_vec();
        let empty = Written {
            tip: Tip::genesis(),
            last: None,
            contents: vec![ColumnContent::nothing(); ids.len() - 1],
            named: BTreeMap::new(),
            epoch: None,
            body: None,
            writer: TileWriter::empty(),
        };
        Self {
            constitutions: constitution.clone().into(),
            constitution,
            folders: ids.iter().map(|id| (*id, Folder::default())).collect(),
            written: ids.iter().map(|id| (*id, empty.clone())).collect(),
            keys: ids.iter().map(|id| (*id, ring(*id))).collect(),
            built: 0,
            time: 1_000,
            retention: None,
        }
    }

    pub(super) fn block(&mut self, log: &str, content: Content) -> Header {
        self.spoilt_block(log, content, |_, _, _| {})
    }

    /// Builds, spoils, certifies and publishes a block.
    pub(super) fn spoilt_block(
        &mut self,
        log: &str,
        content: Content,
        spoil: impl FnOnce(&mut Draft, &Constitution, &Tip),
    ) -> Header {
        let log = brand(log);
        self.built += 1;
        self.time += 10;
        let plan = self.plan(log, content);
        let written = self.written.get_mut(&log).unwrap();
        let epoch = written.epoch.unwrap_or(self.constitution.epoch());
        let constitution = self.constitutions.of(epoch).unwrap();
        let public = plan.public.clone();
        let own = OwnBlock::build(constitution, log, &written.tip, &written.named, plan).unwrap();
        let mut leaves: Vec<Vec<u8>> = own.leaves().map(<[u8]>::to_vec).collect();
        let header = Header::from_bytes(&leaves.pop().unwrap()).unwrap();
        let mut draft = Draft { header, body: leaves };
        spoil(&mut draft, constitution, &written.tip);

        let (leaf, id) = draft.header.to_leaf();
        let mut frontier = written.tip.frontier.clone();
        let mut leaves = draft.body;
        leaves.push(leaf);
        for entry in &leaves {
            frontier.append(leaf_hash(entry)).unwrap();
        }
        let block = BlockReference {
            log,
            epoch,
            height: written.tip.height.next().unwrap(),
            header: id,
            size: frontier.size(),
            root: frontier.root(),
        };
        let certificate = certify(constitution, block);
        let hashes: Vec<LeafHash> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
        written.body = Some((written.tip.frontier.clone(), hashes));
        written.epoch = switch(&public).map(|draft| draft.epoch).or(written.epoch);
        let witnesses = constitution.committee().witnesses(log);
        written.named = witnesses.zip(own.contents().iter().copied()).collect();
        written.tip = Tip::after(&draft.header, id, frontier);
        written.contents = own.contents().to_vec();
        written.last = Some((draft.header.clone(), certificate.clone()));

        let leaves: Vec<Leaf> = leaves.into_iter().map(|leaf| Leaf::new(leaf).unwrap()).collect();
        let folder = &mut self.folders.get_mut(&log).unwrap().0;
        for file in written.writer.append(&leaves).unwrap().files {
            folder.insert(file.path.to_string(), file.bytes);
        }
        let certificates = folder.entry(CERTIFICATES_FILE.to_owned()).or_default();
        certificates.extend(codec::encode(&certificate));
        let checkpoint = checkpoint(constitution, block);
        folder.insert(CHECKPOINT_FILE.to_owned(), checkpoint.to_string().into_bytes());
        draft.header
    }

    /// The constitution that follows, changed; the logs take it up when they say so.
    pub(super) fn follow(
        &mut self,
        change: impl FnOnce(&mut constitution::Draft),
    ) -> DraftReference {
        let before = self.constitutions.newest();
        let mut next = draft(before.committee().size() as u8);
        next.auditors = before.auditors().to_vec();
        next.succession.notice = NOTICE;
        next.epoch = before.epoch().next().unwrap();
        next.hash = ConstitutionHash::from_bytes([next.epoch.get() as u8; 32]);
        next.succession.previous = Some(before.hash());
        change(&mut next);
        let next = Constitution::new(next).unwrap();
        let reference = DraftReference::to(&next);
        self.constitutions.follow(next).unwrap();
        for joined in self.constitutions.newest().committee().brands() {
            self.folders.entry(*joined).or_default();
            self.written.entry(*joined).or_insert_with(|| Written {
                tip: Tip::genesis(),
                last: None,
                contents: Vec::new(),
                named: BTreeMap::new(),
                epoch: Some(reference.epoch),
                body: None,
                writer: TileWriter::empty(),
            });
        }
        reference
    }

    /// What the last block of a log says in its public entry of this number, to be shown elsewhere.
    pub(super) fn shown(&self, log: &str, number: u64, entry: &PublicEntry) -> CertifiedEntry {
        let written = &self.written[&brand(log)];
        let (header, certificate) = written.last.clone().unwrap();
        let (before, hashes) = written.body.as_ref().unwrap();
        let index = LeafIndex::new(header.first.get() + number);
        let tree = BlockTree::new(before, &hashes[..hashes.len() - 1]);
        CertifiedEntry {
            header: header.to_leaf().0,
            certificate,
            index,
            entry: Entry::Public(entry.clone()).to_bytes(),
            proof: RangeProof::prove(&tree, index, 1, header.body_size()).unwrap(),
        }
    }

    fn plan(&self, log: BrandId, content: Content) -> Plan {
        let mut sealed: BTreeMap<BrandId, Vec<Payload>> = BTreeMap::new();
        for (to, payload) in content.sealed {
            sealed.entry(to).or_default().push(payload);
        }
        let recognised = content.recognised.into_iter().map(|other| {
            let (header, certificate) = self.written[&other].last.clone().unwrap();
            let (leaf, block) = header.to_leaf();
            let column = header.column(log).unwrap();
            let recognised = Recognised {
                height: header.height,
                block,
                sent: column.sent,
                discharged: column.discharged,
            };
            (other, (recognised, CertifiedHeader { header: leaf, certificate }))
        });
        Plan {
            public: content.public,
            sealed,
            recognised: recognised.collect(),
            discharged: content.discharged,
            sealing: self.keys.get(&log).map_or_else(|| ring(log).current(), KeyRing::current),
            time: Timestamp::from_unix_ms(self.time),
            secret: BlockSecret::from_bytes([self.built; 32]),
            nonce: BlockNonce::from_bytes([self.built; 16]),
        }
    }

    pub(super) fn exchange(&self, from: &str, to: &str, points: u64) -> (BrandId, Payload) {
        let pair = (brand(from), brand(to));
        let (handle, request) = (MemberHandle::from_bytes([1; 16]), RequestId::from_bytes([2; 16]));
        let points = Points::new(points).unwrap();
        let epoch = self.written[&pair.0].epoch.unwrap_or(self.constitution.epoch());
        let constitution = self.constitutions.of(epoch).unwrap();
        let exchange = Exchange::price(constitution, pair, handle, request, points);
        (pair.1, Payload::Exchange(exchange.unwrap()))
    }

    /// The closing of a log at the cut-off, as its own node makes it.
    pub(super) fn closing(&self, log: BrandId) -> Closing {
        let written = &self.written[&log];
        let keys = &self.keys[&log];
        let last = written.last.as_ref().map(|(header, _)| (header, header.to_leaf().1));
        close(Timestamp::from_unix_ms(CUT_OFF), last, keys, &written.contents).unwrap()
    }

    /// What the columns of a log hold now.
    pub(super) fn contents(&self, log: &str) -> Vec<(BrandId, ColumnContent)> {
        let witnesses = self.constitution.committee().witnesses(brand(log));
        witnesses.zip(self.written[&brand(log)].contents.iter().copied()).collect()
    }

    /// Lets time pass, in milliseconds.
    pub(super) fn pass(&mut self, time: u64) {
        self.time += time;
    }

    /// A brand states another sealing key from its next block on.
    pub(super) fn turn_key(&mut self, log: &str, seed: u8) {
        let secret = SealingSecret::derive(&[seed; 32]).0;
        self.keys.get_mut(&brand(log)).unwrap().turn_to(secret).unwrap();
    }

    /// From now on blocks are after the cut-off.
    pub(super) fn pass_cut_off(&mut self) {
        self.time = self.time.max(CUT_OFF);
    }

    /// Every log closes; gives the statement.
    pub(super) fn close_all(&mut self) -> Statement {
        self.pass_cut_off();
        let mut checked: Vec<CheckedClosing> = Vec::new();
        for log in self.constitution.committee().brands().to_vec() {
            let closing = self.closing(log);
            let last = self.written[&log].last.clone();
            let public = vec![PublicEntry::Closing(closing.clone())];
            let next = self.block(log.as_str(), Content { public, ..Content::default() });
            let closed = last.as_ref().map(|(header, _)| (header, header.to_leaf().1));
            checked.push(check_closing(&closing, closed, &next).unwrap());
        }
        Statement::derive(
            &self.constitution.clone().into(),
            Timestamp::from_unix_ms(CUT_OFF),
            &checked,
            &Absent::default(),
        )
        .unwrap()
    }

    /// A whole life: links, exchanges, returns, an application's entry, clearing. `bulk` exchanges in
    /// one block decide how high the tiles go.
    pub(super) fn sound(bulk: u64) -> Self {
        let mut it = Self::new(4);
        let (a, b, c, d) = (brand("a"), brand("b"), brand("c"), brand("d"));
        let link = Link { code: "X7K2".to_owned(), handle: MemberHandle::from_bytes([1; 16]) };
        let application = ApplicationEntry { application: 1, body: vec![5; 40] };
        let first = it.block(
            "a",
            Content {
                public: vec![PublicEntry::Application(application)],
                sealed: vec![
                    (b, Payload::Link(link)),
                    it.exchange("a", "b", 3),
                    it.exchange("a", "b", 4),
                    it.exchange("a", "c", 5),
                ],
                ..Content::default()
            },
        );
        assert_eq!(first.body_leaves, 7);
        // entry 2 is the exchange of 3 points
        let back = it.back(2, 3_000_000);
        let recognised = vec![a];
        it.block("b", Content { sealed: vec![(a, back)], recognised, ..Content::default() });
        let sealed = vec![it.exchange("c", "a", 7)];
        it.block("c", Content { sealed, recognised: vec![a], ..Content::default() });
        let sealed = (0..bulk).map(|_| it.exchange("a", "d", 1)).collect();
        it.block("a", Content { sealed, recognised: vec![b, c], ..Content::default() });
        it.block("d", Content { recognised: vec![a], ..Content::default() });
        let statement = it.close_all().hash();
        let cut_off = Timestamp::from_unix_ms(CUT_OFF);
        for log in ["a", "b", "c", "d"] {
            let public = vec![PublicEntry::Statement(StatementEntry { cut_off, statement })];
            let recognised = [a, b, c, d].into_iter().filter(|other| *other != brand(log));
            let recognised = recognised.collect();
            it.block(log, Content { public, recognised, ..Content::default() });
        }
        it
    }

    /// A point is worth one million micro-fen.
    pub(super) fn back(&self, original: u64, value: u64) -> Payload {
        self.back_as(ReturnReason::NotLinked, original, value / 1_000_000, value)
    }

    pub(super) fn back_as(
        &self,
        reason: ReturnReason,
        original: u64,
        points: u64,
        value: u64,
    ) -> Payload {
        let original = LeafIndex::new(original);
        let (value, points) = (Value::new(value).unwrap(), Points::new(points).unwrap());
        Payload::Return(Return { original, reason, value, points })
    }

    /// From now on blocks are so much later.
    pub(super) fn wait(&mut self, ms: u64) {
        self.time += ms;
    }

    pub(crate) fn auditor_key() -> OpeningKey {
        OpeningKey {
            holder: KeyHolder::Auditor("regulator".to_owned()),
            secret: SealingSecret::derive(&[77; 32]).0,
        }
    }

    pub(super) fn sealing_key(letter: &str) -> SealingSecret {
        SealingSecret::derive(&seed(number(brand(letter)), 6)).0
    }

    pub(super) fn recovery_key(letter: &str) -> OpeningKey {
        let log = brand(letter);
        let secret = SealingSecret::derive(&seed(number(log), 7)).0;
        OpeningKey { holder: KeyHolder::Recovery(log), secret }
    }

    pub(super) fn audit(&self, keys: &[OpeningKey]) -> Report {
        self.audit_with(keys, &mut ())
    }

    pub(super) fn audit_with(&self, keys: &[OpeningKey], observer: &mut impl Observer) -> Report {
        let constitutions = &self.constitutions;
        let payload_retention = self.retention;
        let auditor = Auditor { constitutions, keys, outside_witnesses: &[], payload_retention };
        let report = auditor.audit(&self.folders, observer);
        // whatever a test does to the logs: in which order the pieces are done does not show
        assert_eq!(auditor.audit_on(&LastFirst, &self.folders, &mut ()), report);
        super::covered::note(&report);
        report
    }

    pub(super) fn file(&mut self, log: &str, name: &str) -> &mut Vec<u8> {
        self.folders.get_mut(&brand(log)).unwrap().0.get_mut(name).unwrap()
    }

    pub(super) fn remove(&mut self, log: &str, name: &str) {
        self.folders.get_mut(&brand(log)).unwrap().0.remove(name).unwrap();
    }

    pub(super) fn add(&mut self, log: &str, name: &str, bytes: &[u8]) {
        let folder = self.folders.get_mut(&brand(log)).unwrap();
        folder.0.insert(name.to_owned(), bytes.to_vec());
    }

    /// Certifies the last block of a log again, as something else.
    pub(super) fn certify_as(&mut self, log: &str, change: impl FnOnce(&mut BlockReference)) {
        let mut block = self.certified(log).certificate.pledge.block;
        change(&mut block);
        self.certify_again(log, certify(&self.constitution, block));
    }

    fn certify_again(&mut self, log: &str, certificate: UnverifiedCertificate) {
        let log = brand(log);
        let written = self.written.get_mut(&log).unwrap();
        let (_, before) = written.last.as_mut().unwrap();
        let folder = &mut self.folders.get_mut(&log).unwrap().0;
        let certificates = folder.get_mut(CERTIFICATES_FILE).unwrap();
        certificates.truncate(certificates.len() - codec::encode(before).len());
        certificates.extend(codec::encode(&certificate));
        *before = certificate;
    }

    /// Certifies the last block of a log again, in a last round: that closes the log.
    pub(super) fn close_with_last(&mut self, log: &str) -> LogEnd {
        let last = self.certified(log);
        let block = last.certificate.pledge.block;
        let certificate = certify_in(&self.constitution, block, closing::FIRST);
        self.certify_again(log, certificate.clone());
        let last = CertifiedHeader { certificate: certificate.clone(), ..last };
        LogEnd::LastRound(Some(Box::new(last)), Box::new(certificate))
    }

    /// Certifies in a last round that nothing comes after the last block of a log.
    pub(super) fn close_after_last(&self, log: &str) -> LogEnd {
        let last = self.certified(log);
        let epoch = last.certificate.pledge.block.epoch;
        let block = closing::nothing(epoch, brand(log), &self.written[&brand(log)].tip);
        let certificate = certify_in(&self.constitution, block, closing::FIRST);
        LogEnd::LastRound(Some(Box::new(last)), Box::new(certificate))
    }

    /// The last block of a log.
    pub(super) fn certified(&self, log: &str) -> CertifiedHeader {
        let (header, certificate) = self.written[&brand(log)].last.clone().unwrap();
        CertifiedHeader { header: header.to_leaf().0, certificate }
    }

    /// Certifies and publishes leaves that need be no block.
    pub(super) fn leaves(&mut self, log: &str, leaves: Vec<Vec<u8>>) {
        let log = brand(log);
        let written = self.written.get_mut(&log).unwrap();
        let mut frontier = written.tip.frontier.clone();
        for leaf in &leaves {
            frontier.append(leaf_hash(leaf)).unwrap();
        }
        let block = BlockReference {
            log,
            epoch: self.constitution.epoch(),
            height: written.tip.height.next().unwrap(),
            header: leaf_hash(leaves.last().unwrap()).of_header(),
            size: frontier.size(),
            root: frontier.root(),
        };
        let leaves: Vec<Leaf> = leaves.into_iter().map(|leaf| Leaf::new(leaf).unwrap()).collect();
        let folder = &mut self.folders.get_mut(&log).unwrap().0;
        for file in written.writer.append(&leaves).unwrap().files {
            folder.insert(file.path.to_string(), file.bytes);
        }
        let certificates = folder.entry(CERTIFICATES_FILE.to_owned()).or_default();
        certificates.extend(codec::encode(&certify(&self.constitution, block)));
        let checkpoint = checkpoint(&self.constitution, block);
        folder.insert(CHECKPOINT_FILE.to_owned(), checkpoint.to_string().into_bytes());
    }

    /// A column of a block, opened with its counterparty's key.
    pub(super) fn opened(&self, header: &Header, to: &str) -> OpenedColumn {
        let opening = header.open_column(brand(to), &self.keys[&brand(to)]).unwrap();
        let (height, content) = (header.height, opening.content);
        OpenedColumn { height, content, salt: header.context().totals_salt(&opening.key) }
    }
}

/// Does the last thing first, as cores that come to it later never would.
struct LastFirst;

impl Cores for LastFirst {
    fn each<'t, T: Sync, R: Send>(
        &self,
        things: &'t [T],
        work: impl Fn(&'t T) -> R + Sync,
    ) -> Vec<R> {
        let mut results: Vec<R> = things.iter().rev().map(work).collect();
        results.reverse();
        results
    }
}

fn certify(constitution: &Constitution, block: BlockReference) -> UnverifiedCertificate {
    certify_in(constitution, block, Round::new(0))
}

fn certify_in(
    constitution: &Constitution,
    block: BlockReference,
    round: Round,
) -> UnverifiedCertificate {
    let pledge = Pledge { block, round };
    let leader = closing::leader(constitution.committee(), block.log, round);
    let commits = constitution.committee().brands().iter().map(|signer| {
        let signature = sign(*signer, 1).sign_bytes(&Commit(pledge).signed_bytes());
        Endorsement { signer: *signer, signature }
    });
    let commits = commits.take(constitution.committee().quorum()).collect();
    let proposal = sign(leader, 0).sign_bytes(&Proposal(pledge).signed_bytes());
    UnverifiedCertificate { pledge, proposal, commits }
}

pub(super) fn checkpoint(constitution: &Constitution, block: BlockReference) -> SignedCheckpoint {
    let origin = KeyName::new(&constitution.origin(block.log)).unwrap();
    let checkpoint = Checkpoint::new(&origin, block.size, block.root);
    let mut signed = SignedCheckpoint::sign(checkpoint, &sign(block.log, 2)).unwrap();
    for witness in constitution.committee().witnesses(block.log).take(2) {
        let name = KeyName::new(&witness_name(constitution, witness)).unwrap();
        let line = signed.cosign(name, &sign(witness, 3), Timestamp::from_unix_ms(9_000));
        signed.add_cosignature(&witness_verifier(constitution, witness).unwrap(), line).unwrap();
    }
    signed
}

/// A public entry.
pub(super) fn application_leaf() -> Vec<u8> {
    let entry = ApplicationEntry { application: 9, body: Vec::new() };
    Entry::Public(PublicEntry::Application(entry)).to_bytes()
}
