//! Logs that real ledgers wrote, over a network that loses nothing.

use std::collections::{BTreeMap, VecDeque};

use super::fixture::{Alliance, CUT_OFF, Folder, brand};
use super::places;
use crate::amount::Points;
use crate::audit::{Auditor, CERTIFICATES_FILE, CHECKPOINT_FILE};
use crate::clearing::{Absent, CheckedClosing, Statement, check_closing, close};
use crate::codec;
use crate::constitution::tests::seed;
use crate::constitution::{BRANDS_MAX, Constitution};
use crate::crypto::SigningKey;
use crate::crypto::sealed::{KeyRing, SealingSecret};
use crate::exchange::{Exchange, Payload, Return, ReturnReason};
use crate::ids::{
    BrandId, HeaderHash, Height, MemberHandle, RequestId, RootHash, StatementHash, TreeSize,
};
use crate::ledger::{Archive, Context, Granted, Ledger, LedgerKeys, witness_verifier};
use crate::log::block::{Header, PublicEntry, StatementEntry};
use crate::log::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::log::merkle::Leaf;
use crate::log::note::{KeyName, SIGNATURES_MAX, SignatureType, VerifierKey};
use crate::log::proof::ConsistencyProof;
use crate::log::tiles::{TileReader, TileWriter};
use crate::log::tlog_witness::{AddCheckpoint, ForeignLogs, Refusal};
use crate::time::Timestamp;
use crate::witness::build::OwnBlock;
use crate::witness::message::Message;
use crate::witness::state::Outbox;
use crate::witness::statement::{UnverifiedCertificate, VotingKeys};
use crate::witness::writer::Entropy;

/// Never the same twice, and the same in every run.
struct Counter(u64);

impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0 += 1;
        let fresh = crate::crypto::sha256(&[&self.0.to_be_bytes()]);
        bytes.iter_mut().zip(fresh.iter().cycle()).for_each(|(to, from)| *to = *from);
    }
}

/// Nobody falls behind here.
struct NoArchive;

impl Archive for NoArchive {
    fn block(&self, _: Height) -> Option<(OwnBlock, UnverifiedCertificate)> {
        None
    }
}

struct Machine {
    ledger: Ledger,
    entropy: Counter,
    writer: TileWriter,
    folder: Folder,
    headers: Vec<(Header, HeaderHash)>,
    last: Option<OwnBlock>,
    closings: Vec<CheckedClosing>,
}

struct Live {
    constitution: Constitution,
    machines: BTreeMap<BrandId, Machine>,
    messages: VecDeque<(BrandId, BrandId, Message)>,
    now: u64,
}

impl Live {
    fn new(constitution: Constitution) -> Self {
        let machine = |(number, brand): (usize, &BrandId)| {
            let sign = |role| SigningKey::from_seed(&seed(number, role)).unwrap();
            let keys = LedgerKeys {
                voting: VotingKeys { log: sign(0), vote: sign(1) },
                checkpoint: sign(2),
                witness: sign(3),
                sealing: KeyRing::new(SealingSecret::derive(&seed(number, 6)).0).unwrap(),
            };
            let machine = Machine {
                ledger: Ledger::new(*brand, constitution.clone(), keys),
                entropy: Counter(1_000_000 * number as u64),
                writer: TileWriter::empty(),
                folder: Folder::default(),
                headers: Vec::new(),
                last: None,
                closings: Vec::new(),
            };
            (*brand, machine)
        };
        let machines = constitution.committee().brands().iter().enumerate().map(machine).collect();
        let mut live = Self { constitution, machines, messages: VecDeque::new(), now: 1_000 };
        for brand in live.constitution.committee().brands().to_vec() {
            live.act(brand, |ledger, context, out| ledger.resume(context, out));
        }
        live
    }

    fn act(
        &mut self,
        brand: BrandId,
        action: impl FnOnce(&mut Ledger, &mut Context<'_>, &mut Outbox),
    ) {
        let machine = self.machines.get_mut(&brand).unwrap();
        let now = Timestamp::from_unix_ms(self.now);
        let mut out = Outbox::default();
        let (entropy, archive) = (&mut machine.entropy, &NoArchive);
        let mut context = Context { now, entropy, archive };
        action(&mut machine.ledger, &mut context, &mut out);
        machine.ledger.poll(&mut context, &mut out);
        self.messages.extend(out.messages.into_iter().map(|(to, message)| (brand, to, message)));
        for block in out.written {
            machine.publish(&block, &out.finals);
        }
        for block in out.finals.into_iter().filter(|block| block.block.log != brand) {
            machine.apply(&block);
        }
        if let Some(checkpoint) = machine.ledger.checkpoint() {
            let note = checkpoint.to_string().into_bytes();
            machine.folder.0.insert(CHECKPOINT_FILE.to_owned(), note);
        }
    }

    /// Until nothing is said any more, and a while after that.
    fn settle(&mut self) {
        for _ in 0..60 {
            for brand in self.constitution.committee().brands().to_vec() {
                self.act(brand, |ledger, context, out| ledger.tick(context, out));
            }
            while let Some((from, to, message)) = self.messages.pop_front() {
                self.act(to, |ledger, context, out| {
                    ledger.handle(from, message, context, out).unwrap();
                });
            }
            self.now += 50;
        }
    }

    fn submit(&mut self, brand: BrandId, entry: PublicEntry) {
        self.machines.get_mut(&brand).unwrap().ledger.submit_public(entry).unwrap();
    }
}

impl Machine {
    fn publish(&mut self, block: &OwnBlock, finals: &[crate::witness::state::FinalBlock]) {
        let leaves: Vec<Leaf> = block.leaves().map(|it| Leaf::new(it.to_vec()).unwrap()).collect();
        for file in self.writer.append(&leaves).unwrap().files {
            self.folder.0.insert(file.path.to_string(), file.bytes);
        }
        let reference = block.reference();
        let same = finals.iter().find(|same| same.block == reference).unwrap();
        let certificates = self.folder.0.entry(CERTIFICATES_FILE.to_owned()).or_default();
        certificates.extend(codec::encode(same.certificate.as_unverified()));
        self.headers.push((same.header.clone(), reference.header));
        for (_, entry) in &same.public {
            if let PublicEntry::Closing(closing) = entry {
                let [.., (closed, id), (next, _)] = &self.headers[..] else { panic!("two blocks") };
                self.closings.push(check_closing(closing, Some((closed, *id)), next).unwrap());
            }
        }
        self.last = Some(block.clone());
    }

    /// Every exchange of three points is sent back.
    fn apply(&mut self, block: &crate::witness::state::FinalBlock) {
        let mut backs = Vec::new();
        let payloads = block.payloads.as_ref().unwrap();
        for (index, payload) in payloads {
            if let Payload::Exchange(exchange) = payload
                && exchange.sent == Points::new(3).unwrap()
            {
                backs.extend(Return::whole(*index, ReturnReason::NotLinked, payload));
            }
        }
        self.ledger.applied(block.block.log, backs, !payloads.is_empty()).unwrap();
    }
}

#[test]
fn what_ledgers_write_is_sound() {
    let mut live = Live::new(Alliance::new(4).constitution);
    let brands = live.constitution.committee().brands().to_vec();
    for round in 1..=4_u64 {
        for (from, to) in [("a", "b"), ("b", "c"), ("c", "a"), ("a", "d"), ("d", "b")] {
            let (handle, request) =
                (MemberHandle::from_bytes([3; 16]), RequestId::from_bytes([round as u8; 16]));
            let (pair, points) = ((brand(from), brand(to)), Points::new(round).unwrap());
            let exchange = Exchange::price(&live.constitution, pair, handle, request, points);
            let ledger = &mut live.machines.get_mut(&pair.0).unwrap().ledger;
            ledger.submit_sealed(pair.1, Payload::Exchange(exchange.unwrap())).unwrap();
        }
        live.settle();
    }
    let cut_off = Timestamp::from_unix_ms(live.now.max(CUT_OFF));
    live.now = cut_off.unix_ms() + 10;
    for (number, brand) in brands.iter().enumerate() {
        let machine = &live.machines[brand];
        let (header, id) = machine.headers.last().unwrap();
        let sealing = KeyRing::new(SealingSecret::derive(&seed(number, 6)).0).unwrap();
        let contents = machine.last.as_ref().unwrap().contents();
        let closing = close(cut_off, Some((header, *id)), &sealing, contents).unwrap();
        live.submit(*brand, PublicEntry::Closing(closing));
    }
    live.settle();
    let closings: Vec<_> = live.machines.values().flat_map(|it| it.closings.clone()).collect();
    let constitutions = live.constitution.clone().into();
    let statement =
        Statement::derive(&constitutions, cut_off, &closings, &Absent::default()).unwrap();
    for brand in brands {
        let statement = statement.hash();
        live.submit(brand, PublicEntry::Statement(StatementEntry { cut_off, statement }));
    }
    live.settle();

    let folders: BTreeMap<BrandId, Folder> =
        live.machines.into_iter().map(|(brand, machine)| (brand, machine.folder)).collect();
    let keys = [Alliance::auditor_key()];
    let constitutions = live.constitution.clone().into();
    let auditor = Auditor {
        constitutions: &constitutions,
        keys: &keys,
        outside_witnesses: &[],
        payload_retention: None,
    };
    let report = auditor.audit(&folders, &mut ());
    assert_eq!(places(&report), Vec::<String>::new(), "{:?}", report.findings);
    assert_eq!(report.not_checked, []);
    let counts = report.counts;
    // 20 exchanges, of which those 5 of three points came back
    assert_eq!((counts.payloads, counts.returns, counts.statements), (25, 5, 4));
    // a log signs its last checkpoint, and with it as many of the other brands as make a quorum
    assert_eq!(counts.signatures - counts.certificates * 4, 4 * 3);
}

/// Signed as the log `a` would sign it; asked of `b`.
fn ask(live: &mut Live, old: u64, size: u64, root: RootHash) -> Result<Granted, Refusal> {
    let (a, b) = (brand("a"), brand("b"));
    let origin = KeyName::new(&live.constitution.origin(a)).unwrap();
    let (old, size) = (TreeSize::new(old), TreeSize::new(size));
    let key = SigningKey::from_seed(&seed(0, 2)).unwrap();
    let signed = SignedCheckpoint::sign(Checkpoint::new(&origin, size, root), &key).unwrap();
    let tiles = TileReader::new(&live.machines[&a].folder, size);
    let proof = ConsistencyProof::prove(&tiles, old, size);
    let proof = proof.unwrap_or_else(|_| ConsistencyProof::none());
    let request = AddCheckpoint::new(old, proof, &signed);
    let now = Timestamp::from_unix_ms(live.now);
    live.machines[&b].ledger.add_checkpoint(&request, &mut ForeignLogs::default(), now)
}

#[test]
fn a_log_of_the_alliance_is_cosigned_at_its_certified_tip_alone() {
    let mut live = Live::new(Alliance::new(4).constitution);
    let mut sizes = Vec::new();
    for round in 1..=2_u64 {
        let cut_off = Timestamp::from_unix_ms(round);
        let statement = StatementHash::from_bytes([7; 32]);
        live.submit(brand("a"), PublicEntry::Statement(StatementEntry { cut_off, statement }));
        live.settle();
        sizes.push(live.machines[&brand("a")].writer.size().get());
    }
    let (first, tip) = (sizes[0], sizes[1]);
    let root = live.machines[&brand("a")].writer.frontier().root();
    let conflict = Err(Refusal::Conflict { latest: TreeSize::new(tip) });
    assert_eq!(ask(&mut live, 0, tip, root), conflict);
    assert_eq!(ask(&mut live, 0, first, root), conflict, "an older size is signed no more");
    let granted = ask(&mut live, tip, tip, root).unwrap();
    assert_eq!(granted.record, None);
    let witness = witness_verifier(&live.constitution, brand("b")).unwrap();
    assert!(granted.line.is_by(&witness));
    let fork = ask(&mut live, tip, tip, RootHash::from_bytes([9; 32]));
    assert_eq!(fork, Err(Refusal::Inconsistent));

    // what the log signs before it is certified is not cosigned, however well it continues
    let machine = live.machines.get_mut(&brand("a")).unwrap();
    let early = machine.writer.append(&[Leaf::new(vec![1]).unwrap()]).unwrap();
    machine.folder.0.extend(early.files.into_iter().map(|it| (it.path.to_string(), it.bytes)));
    let root = machine.writer.frontier().root();
    assert_eq!(ask(&mut live, tip, tip + 1, root), Err(Refusal::NotCertifiedYet));

    // a log is no witness of itself
    let a = &live.machines[&brand("a")].ledger;
    let own =
        AddCheckpoint::new(TreeSize::new(tip), ConsistencyProof::none(), a.checkpoint().unwrap());
    let now = Timestamp::from_unix_ms(live.now);
    let refused = a.add_checkpoint(&own, &mut ForeignLogs::default(), now);
    assert_eq!(refused, Err(Refusal::UnknownOrigin));
}

/// As many lines of the alliance as its rules ever ask for, and one more by a regulator, are on the
/// largest alliance's note.
#[test]
fn a_regulator_has_a_place_on_every_note() {
    for brands in [2, 4, 7] {
        let mut live = Live::new(Alliance::new(brands).constitution);
        let entry = StatementEntry {
            cut_off: Timestamp::from_unix_ms(1),
            statement: StatementHash::from_bytes([7; 32]),
        };
        live.submit(brand("a"), PublicEntry::Statement(entry));
        live.settle();
        let quorum = live.constitution.committee().quorum();
        let regulator = SigningKey::from_seed(&[77; 32]).unwrap();
        let name = KeyName::new("regulator.example/witness").unwrap();
        let key = VerifierKey::new(name.clone(), SignatureType::CosignatureV1, regulator.public());
        let ledger = &mut live.machines.get_mut(&brand("a")).unwrap().ledger;
        let asked = ledger.checkpoint().unwrap().clone();
        assert_eq!(asked.signatures().len(), quorum);
        let line = asked.cosign(name, &regulator, Timestamp::from_unix_ms(1_000));
        ledger.add_outside_cosignature(&asked, &key, line).unwrap();
        // and stays there when nobody has anything to add
        live.settle();
        let now = live.machines[&brand("a")].ledger.checkpoint().unwrap();
        assert_eq!(now.signatures().len(), quorum + 1);
        assert!(now.verify_cosignature(&key).is_ok());
        // nor does a restart lose any, as long as the file is there
        let published = now.clone();
        let alliance_only = published.clone().with_lines(|line| !line.is_by(&key)).unwrap();
        live.act(brand("a"), |ledger, context, out| ledger.resume(context, out));
        let ledger = &mut live.machines.get_mut(&brand("a")).unwrap().ledger;
        assert_eq!(ledger.checkpoint().unwrap().signatures().len(), 1);
        ledger.keep_cosignatures(&alliance_only, std::slice::from_ref(&key));
        assert_eq!(ledger.checkpoint().unwrap().signatures().len(), quorum);
        ledger.keep_cosignatures(&published, std::slice::from_ref(&key));
        assert_eq!(ledger.checkpoint().unwrap().signatures().len(), quorum + 1);
    }
    // the quorum of 21, also while an old and a new key of the log both sign
    let faults = (BRANDS_MAX - 1) / 3;
    let quorum = (BRANDS_MAX + faults + 1).div_ceil(2);
    assert!(quorum + 1 < SIGNATURES_MAX);
}
