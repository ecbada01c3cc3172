//! The wire format, frozen: `protocol/vectors/*.json` against what this crate makes.
//!
//! Everything is made from fixed seeds, so that another implementation can make it too. A change of
//! any byte fails here; whoever means it runs the tests with `COALITION_WRITE_VECTORS=1` and commits
//! the difference with its reason. `protocol/vectors/README.md` says how the files are read.

mod endings;
mod joined;
mod kinds;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::amount::{Points, Rate, Value, quote};
use crate::clearing::{Absent, Statement, check_closing, close};
use crate::codec;
use crate::constitution::tests::{draft, seed};
use crate::constitution::{Access, Auditor, Constitution, Draft};
use crate::crypto::sealed::{BlockSecret, Cipher, EntryKey, KeyRing, SealingSecret};
use crate::crypto::{Signable, Signed, SigningKey, sha256};
use crate::disclosure::disclose;
use crate::exchange::{Exchange, Link, Payload, Return, ReturnReason, Unlink};
use crate::ids::{
    BlockNonce, BrandId, HeaderHash, Height, Incarnation, LeafIndex, MemberHandle, RequestId,
    Round, RoundNonce, StartNonce,
};
use crate::ledger::{log_verifier, witness_name, witness_verifier};
use crate::log::block::{
    ApplicationEntry, BlockReference, ColumnContent, Entry, Header, PublicEntry, Recognised,
    StatementEntry,
};
use crate::log::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::log::kept::{Answered, OperationLogHead};
use crate::log::merkle::{Frontier, leaf_hash};
use crate::log::note::KeyName;
use crate::log::proof::InclusionProof;
use crate::log::tlog_proof::TlogProof;
use crate::recovery::held::{HeldBlock, Holdings, Recall};
use crate::time::Timestamp;
use crate::wire::{Frame, Negotiation};
use crate::witness::build::{OwnBlock, Plan};
use crate::witness::evidence::Evidence;
use crate::witness::guards::Upheld;
use crate::witness::message::{
    ApplicationMessage, CatchUp, CertifiedBlock, CertifiedHeader, Message, PromiseMessage,
    ProposalMessage, Refusal,
};
use crate::witness::rules::{Tip, check_column};
use crate::witness::said::Said;
use crate::witness::start::{Acknowledgement, LogAnswer, OpenRound, Presented, Start};
use crate::witness::statement::{
    Commit, Endorsement, Open, Pledge, Promise, Proposal, UnverifiedCertificate, UnverifiedLock,
    Vote,
};

const LOG_KEY: u8 = 0;
const VOTE_KEY: u8 = 1;

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &Json) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn brand(letter: &str) -> BrandId {
    BrandId::new(letter).unwrap()
}

fn number(brand: BrandId) -> usize {
    usize::from(brand.as_str().as_bytes()[0] - b'a')
}

fn key(brand: BrandId, role: u8) -> SigningKey {
    SigningKey::from_seed(&seed(number(brand), role)).unwrap()
}

fn ring(brand: BrandId) -> KeyRing {
    KeyRing::new(SealingSecret::derive(&seed(number(brand), 6)).0).unwrap()
}

/// Four brands, one standing auditor, two blocks of `a` and one of `b` between them.
struct Alliance {
    constitution: Constitution,
    first: OwnBlock,
    answer: OwnBlock,
    second: OwnBlock,
    /// The first block again, under a constitution that differs by its cipher.
    sm4: OwnBlock,
}

impl Alliance {
    fn new() -> Self {
        let mut draft = draft(4);
        let (_, sealing) = SealingSecret::derive(&[77; 32]);
        draft.auditors = vec![Auditor {
            name: "regulator".to_owned(),
            access: Access::Standing,
            sealing,
            later: Vec::new(),
        }];
        let sm4 = Constitution::new(Draft { cipher: Cipher::Sm4Gcm, ..draft.clone() }).unwrap();
        let constitution = Constitution::new(draft).unwrap();
        let (a, b, c) = (brand("a"), brand("b"), brand("c"));
        let handle = MemberHandle::from_bytes([1; 16]);
        let request = RequestId::from_bytes([2; 16]);
        let exchange = |to, points| {
            let points = Points::new(points).unwrap();
            Payload::Exchange(
                Exchange::price(&constitution, (a, to), handle, request, points).unwrap(),
            )
        };
        let link = Payload::Link(Link { code: "X7K2".to_owned(), handle });
        let build = |log, tip: &Tip, contents: &[ColumnContent], plan| {
            let counterparties = constitution.committee().witnesses(log);
            let contents = counterparties.zip(contents.iter().copied()).collect();
            OwnBlock::build(&constitution, log, tip, &contents, plan).unwrap()
        };
        let plan = |log, number: u8| Plan {
            sealing: ring(log).current(),
            public: Vec::new(),
            sealed: BTreeMap::new(),
            recognised: BTreeMap::new(),
            discharged: BTreeMap::new(),
            time: Timestamp::from_unix_ms(1_700_000_000_000 + u64::from(number)),
            secret: BlockSecret::from_bytes([number; 32]),
            nonce: BlockNonce::from_bytes([number; 16]),
        };
        let application = ApplicationEntry { application: 1, body: vec![5; 3] };
        let content = Plan {
            public: vec![PublicEntry::Application(application)],
            sealed: [(b, vec![link, exchange(b, 3)]), (c, vec![exchange(c, 5)])].into(),
            ..plan(a, 1)
        };
        let nothing = BTreeMap::new();
        let sm4 = OwnBlock::build(&sm4, a, &Tip::genesis(), &nothing, content.clone()).unwrap();
        let first = build(a, &Tip::genesis(), &[], content);
        let back = Payload::Return(Return {
            original: LeafIndex::new(2),
            reason: ReturnReason::NotLinked,
            value: Value::new(3_000_000).unwrap(),
            points: Points::new(3).unwrap(),
        });
        let recognised = recognise(&constitution, &first, b);
        let answer = build(
            b,
            &Tip::genesis(),
            &[],
            Plan {
                sealed: [(a, vec![back])].into(),
                recognised: [(a, recognised)].into(),
                ..plan(b, 2)
            },
        );
        let statement = StatementEntry {
            cut_off: Timestamp::from_unix_ms(1_600_000_000_000),
            statement: crate::ids::StatementHash::from_bytes([6; 32]),
        };
        let recognised = recognise(&constitution, &answer, a);
        let (before, headers) = (BTreeMap::new(), [header_of(&first)]);
        let regulator = &constitution.auditors()[0];
        let now = Timestamp::from_unix_ms(1_700_000_000_003);
        let disclosure = disclose(regulator, now, &ring(a), &before, &headers).unwrap();
        let second = build(
            a,
            &tip_after(&first),
            first.contents(),
            Plan {
                public: vec![
                    PublicEntry::Statement(statement),
                    PublicEntry::Disclosure(disclosure),
                    PublicEntry::OperationLogHead(OperationLogHead { entries: 12, head: [4; 32] }),
                    PublicEntry::Answered(Answered { certificate: [3; 32] }),
                ],
                sealed: [(b, vec![Payload::Unlink(Unlink { handle })])].into(),
                recognised: [(b, recognised)].into(),
                ..plan(a, 3)
            },
        );
        Self { constitution, first, answer, second, sm4 }
    }

    fn signed<T: Signable>(&self, signer: &str, role: u8, body: T) -> Signed<T> {
        Signed::sign(brand(signer), body, &key(brand(signer), role))
    }

    fn open(&self) -> Open {
        let block = self.first.reference();
        let (log, epoch, height) = (block.log, block.epoch, block.height);
        let (round, nonce) = (Round::new(2), RoundNonce::from_bytes([9; 16]));
        Open { log, epoch, height, round, nonce, incarnation: Incarnation::new(3) }
    }

    fn start(&self) -> Signed<Start> {
        let (incarnation, nonce) = (Incarnation::new(3), StartNonce::from_bytes([8; 16]));
        self.signed("a", LOG_KEY, Start { incarnation, nonce })
    }

    fn acknowledgement(&self) -> Signed<Acknowledgement> {
        let before = Start { incarnation: Incarnation::new(2), ..self.start().body };
        let logs = self.constitution.committee().brands().iter().map(|log| {
            let lock = Some(self.lock());
            LogAnswer {
                log: *log,
                certificate: (log.as_str() == "a")
                    .then(|| certify(&self.constitution, &self.first)),
                vouches: true,
                open: (log.as_str() == "b").then(|| OpenRound { round: Round::new(1), lock }),
            }
        });
        let answer = Acknowledgement {
            brand: brand("a"),
            start: self.start().body,
            started: Some(self.signed("a", LOG_KEY, before)),
            said: vec![
                Said::Open(self.signed("a", LOG_KEY, self.open())),
                Said::Vote(self.signed("a", VOTE_KEY, Vote(self.lock().pledge))),
            ],
            logs: logs.collect(),
        };
        self.signed("b", VOTE_KEY, answer)
    }

    fn lock(&self) -> UnverifiedLock {
        let pledge = Pledge { block: self.first.reference(), round: Round::new(0) };
        let votes = ["b", "c"].map(|signer| endorse(signer, &Vote(pledge))).to_vec();
        let lock = UnverifiedLock { pledge, proposal: propose(pledge), votes };
        assert!(lock.clone().verify(&self.constitution).is_ok());
        lock
    }

    fn promise(&self, signer: &str, lock: Option<UnverifiedLock>) -> PromiseMessage {
        let named = lock.as_ref().map(|lock| lock.pledge);
        let promise = Promise { open: self.open(), lock: named };
        PromiseMessage { promise: self.signed(signer, VOTE_KEY, promise), lock }
    }

    fn checkpoint(&self) -> SignedCheckpoint {
        let block = self.first.reference();
        let origin = KeyName::new(&self.constitution.origin(block.log)).unwrap();
        let checkpoint = Checkpoint::new(&origin, block.size, block.root);
        let mut signed = SignedCheckpoint::sign(checkpoint, &key(block.log, 2)).unwrap();
        for witness in ["b", "c"].map(brand) {
            let name = KeyName::new(&witness_name(&self.constitution, witness)).unwrap();
            let at = Timestamp::from_unix_ms(1_700_000_001_000);
            let line = signed.cosign(name, &key(witness, 3), at);
            let verifier = witness_verifier(&self.constitution, witness).unwrap();
            signed.add_cosignature(&verifier, line).unwrap();
        }
        signed
    }
}

fn endorse<T: Signable>(signer: &str, statement: &T) -> Endorsement {
    let signature = key(brand(signer), VOTE_KEY).sign_bytes(&statement.signed_bytes());
    Endorsement { signer: brand(signer), signature }
}

fn propose(pledge: Pledge) -> crate::crypto::Signature {
    key(pledge.block.log, LOG_KEY).sign_bytes(&Proposal(pledge).signed_bytes())
}

fn certify(constitution: &Constitution, block: &OwnBlock) -> UnverifiedCertificate {
    let pledge = Pledge { block: block.reference(), round: Round::new(0) };
    let commits = ["a", "b", "c"].map(|signer| endorse(signer, &Commit(pledge))).to_vec();
    let certificate = UnverifiedCertificate { pledge, proposal: propose(pledge), commits };
    assert!(certificate.clone().verify(constitution).is_ok());
    certificate
}

fn header_of(block: &OwnBlock) -> Header {
    Header::from_bytes(block.header_leaf()).unwrap()
}

fn frontier_after(block: &OwnBlock) -> Frontier {
    let mut frontier = block.before().clone();
    for leaf in block.leaves() {
        frontier.append(leaf_hash(leaf)).unwrap();
    }
    frontier
}

fn tip_after(block: &OwnBlock) -> Tip {
    Tip::after(&header_of(block), block.reference().header, frontier_after(block))
}

fn recognise(
    constitution: &Constitution,
    block: &OwnBlock,
    by: BrandId,
) -> (Recognised, CertifiedHeader) {
    let header = header_of(block);
    let column = header.column(by).unwrap();
    let recognised = Recognised {
        height: header.height,
        block: block.reference().header,
        sent: column.sent,
        discharged: column.discharged,
    };
    let certificate = certify(constitution, block);
    (recognised, CertifiedHeader { header: block.header_leaf().to_vec(), certificate })
}

fn brands(constitution: &Constitution) -> Vec<Json> {
    let roles =
        ["log", "vote", "checkpoint", "witness", "governance", "network", "sealing", "recovery"];
    let brands = constitution.brands().map(|(id, brand)| {
        let keys = &brand.keys;
        let public = [
            keys.log.as_bytes(),
            keys.vote.as_bytes(),
            keys.checkpoint.as_bytes(),
            keys.witness.as_bytes(),
            keys.governance.as_bytes(),
            keys.network.as_bytes(),
            keys.sealing.as_bytes(),
            keys.recovery.as_bytes(),
        ];
        let keys: serde_json::Map<_, _> = (0_u8..)
            .zip(roles)
            .zip(public)
            .map(|((role, name), public)| {
                let pair = json!({ "seed": hex(seed(number(id), role)), "public": hex(public) });
                (name.to_owned(), pair)
            })
            .collect();
        json!({ "brand": id.as_str(), "keys": keys })
    });
    brands.collect()
}

fn keys(alliance: &Alliance) -> Json {
    json!({
        "alliance": "test",
        "epoch": 1,
        "total_step": 10_000_000,
        "payload_size": 160,
        "brands": brands(&alliance.constitution),
        "auditors": [{ "name": "regulator", "seed": hex([77; 32]) }],
        "faults": alliance.constitution.committee().faults(),
        "quorum": alliance.constitution.committee().quorum(),
        "fragments_needed": alliance.constitution.committee().fragments_needed(),
    })
}

fn amounts() -> Json {
    let cases = [
        (100, (1, 1), (1_000_000, 1)),
        (3, (1, 3), (500_000, 1)),
        (40, (5, 2), (200_000, 3)),
        (7, (2, 3), (1, 7)),
        (1_000, (4, 3), (2_000_000, 1)),
    ];
    let one = |(sent, (rn, rd), (vn, vd)): (u64, (u32, u32), (u32, u32))| {
        let quote = quote(
            Points::new(sent).unwrap(),
            Rate::new(rn, rd).unwrap(),
            Rate::new(vn, vd).unwrap(),
        )
        .unwrap();
        json!({
            "sent": sent, "rate": [rn, rd], "point_value": [vn, vd],
            "received": quote.received.get(), "owed": quote.owed.get(), "residue": quote.residue.get(),
        })
    };
    json!(cases.map(one))
}

fn statements(alliance: &Alliance) -> Json {
    fn one<T: Signable>(name: &str, role: &str, signed: &Signed<T>) -> Json {
        json!({
            "name": name, "signer": signed.signer.as_str(), "key": role, "domain": T::DOMAIN,
            "body": hex(codec::encode(&signed.body)), "signed_bytes": hex(signed.body.signed_bytes()),
            "signature": hex(signed.signature.as_bytes()),
        })
    }
    let pledge = alliance.lock().pledge;
    let open = alliance.signed("a", LOG_KEY, alliance.open());
    let joined = alliance.promise("b", None).promise;
    let locked = alliance.promise("c", Some(alliance.lock())).promise;
    let presented = Presented { pledge, incarnation: Incarnation::new(3) };
    json!([
        one("open", "log", &open),
        one("promise without a lock", "vote", &joined),
        one("promise with a lock", "vote", &locked),
        one("proposal", "log", &alliance.signed("a", LOG_KEY, Proposal(pledge))),
        one("vote", "vote", &alliance.signed("b", VOTE_KEY, Vote(pledge))),
        one("commit", "vote", &alliance.signed("b", VOTE_KEY, Commit(pledge))),
        one("presented", "log", &alliance.signed("a", LOG_KEY, presented)),
        one("start", "log", &alliance.start()),
        one("acknowledgement", "vote", &alliance.acknowledgement()),
    ])
}

fn block(own: &OwnBlock, secret: u8) -> Json {
    let header = header_of(own);
    let context = header.context();
    let secret = BlockSecret::from_bytes([secret; 32]);
    let columns = header.columns.iter().zip(own.contents()).map(|(column, content)| {
        let key = context.column_key(&secret, column.counterparty);
        json!({
            "counterparty": column.counterparty.as_str(), "key": hex(key.expose()),
            "key_commitment": hex(column.key.as_bytes()),
            "salt": hex(context.totals_salt(&key)),
            "content": {
                "entries": content.entries, "sent": content.sent.get(), "first": content.first,
                "count": content.count, "leaves": hex(content.leaves.as_bytes()),
            },
            "content_commitment": hex(column.content.as_bytes()),
        })
    });
    let sealed = own.payloads().iter().map(|sent| {
        let key = context.entry_key(&context.column_key(&secret, sent.to), sent.index);
        json!({
            "index": sent.index.get(), "to": sent.to.as_str(), "entry_key": hex(key.expose()),
            "payload": hex(sent.payload.to_bytes()),
        })
    });
    let reference = own.reference();
    json!({
        "cipher": context.cipher.name(),
        "log": reference.log.as_str(), "height": reference.height.get(), "time": header.time.unix_ms(),
        "nonce": hex(header.nonce.as_bytes()), "block_secret": hex(secret.expose()),
        "leaves": own.leaves().map(hex).collect::<Vec<_>>(),
        "public_leaves": header.public_leaves, "body_bytes": header.body_bytes,
        "body_root": hex(header.body_root.as_bytes()),
        "fragments_root": hex(header.fragments.as_bytes()),
        "id": hex(reference.header.as_bytes()), "size": reference.size.get(),
        "root": hex(reference.root.as_bytes()), "reference": hex(codec::encode(&reference)),
        "columns": columns.collect::<Vec<_>>(), "sealed": sealed.collect::<Vec<_>>(),
    })
}

fn blocks(alliance: &Alliance) -> Json {
    json!([
        block(&alliance.first, 1),
        block(&alliance.answer, 2),
        block(&alliance.second, 3),
        block(&alliance.sm4, 1),
    ])
}

fn quorums(alliance: &Alliance) -> Json {
    json!({
        "lock": hex(codec::encode(&alliance.lock())),
        "certificate": hex(codec::encode(&certify(&alliance.constitution, &alliance.first))),
    })
}

fn messages(alliance: &Alliance) -> Json {
    let constitution = &alliance.constitution;
    let pledge = alliance.lock().pledge;
    let delivery = |block: &OwnBlock, to, fresh| {
        block.deliveries(constitution).unwrap().to(brand(to), fresh).unwrap()
    };
    let later = Pledge { block: alliance.second.reference(), round: Round::new(0) };
    let incarnation = Incarnation::new(3);
    let presented = Presented { pledge: later, incarnation };
    let (log, height) = (brand("a"), Height::new(1));
    let note = alliance.checkpoint().to_string().into_bytes();
    let application = ApplicationMessage { application: 1, body: vec![7; 5] };
    let vote = |pledge| Said::Vote(alliance.signed("b", VOTE_KEY, Vote(pledge)));
    let other = BlockReference { header: HeaderHash::from_bytes([4; 32]), ..pledge.block };
    let evidence =
        Evidence::statements(vote(pledge), vote(Pledge { block: other, round: pledge.round }));
    let recall = Recall { log, from: height, block: None };
    let held = HeldBlock {
        header: alliance.first.header_leaf().to_vec(),
        certificate: Some(certify(constitution, &alliance.first)),
        fragment: delivery(&alliance.first, "b", false).fragment,
    };
    let all = [
        ("open", Message::Open(alliance.signed("a", LOG_KEY, alliance.open()))),
        ("promise", Message::Promise(Box::new(alliance.promise("c", Some(alliance.lock()))))),
        (
            "proposal",
            Message::Proposal(Box::new(ProposalMessage {
                proposal: alliance.signed("a", LOG_KEY, Proposal(later)),
                previous: Some(certify(constitution, &alliance.first)),
                promises: Vec::new(),
                delivery: delivery(&alliance.second, "b", true),
                incarnation,
                presentation: alliance.signed("a", LOG_KEY, presented).signature,
            })),
        ),
        ("vote", Message::Vote(alliance.signed("b", VOTE_KEY, Vote(pledge)))),
        ("lock", Message::Lock(alliance.lock())),
        ("commit", Message::Commit(alliance.signed("b", VOTE_KEY, Commit(pledge)))),
        ("certified", Message::Certified(certify(constitution, &alliance.first))),
        (
            "refusal",
            Message::Refusal(Refusal {
                log,
                height,
                round: Round::new(1),
                joined: Round::new(2),
                rule: 13,
            }),
        ),
        ("checkpoint", Message::Checkpoint(note)),
        ("catch_up", Message::CatchUp(CatchUp { log, from: height })),
        (
            "blocks",
            Message::Blocks(vec![CertifiedBlock {
                certificate: certify(constitution, &alliance.first),
                delivery: delivery(&alliance.first, "b", false),
            }]),
        ),
        ("application", Message::Application(application)),
        ("start", Message::Start(alliance.start())),
        ("evidence", Message::Evidence(Box::new(evidence))),
        ("acknowledgement", Message::Acknowledgement(Box::new(alliance.acknowledgement()))),
        ("recall", Message::Recall(recall)),
        ("holdings", Message::Holdings(Box::new(Holdings { asked: recall, held: vec![held] }))),
    ];
    let hello = [("hello", Negotiation::default().hello())];
    let all = all.map(|(name, message)| (name, message.into_bytes()));
    let all = all.into_iter().chain(hello);
    json!(all.map(|(name, bytes)| json!({ "name": name, "bytes": hex(bytes) })).collect::<Vec<_>>())
}

fn receipts(alliance: &Alliance) -> Json {
    let checkpoint = alliance.checkpoint();
    let leaves: Vec<_> = alliance.first.leaves().map(leaf_hash).collect();
    let tree = crate::log::block::BlockTree::new(&Frontier::empty(), &leaves);
    let (index, size) = (LeafIndex::new(2), alliance.first.reference().size);
    let inclusion = InclusionProof::prove(&tree, index, size).unwrap();
    let receipt = TlogProof::new(index, inclusion, checkpoint.clone());
    let log = log_verifier(&alliance.constitution, brand("a")).unwrap();
    receipt.verify(leaves[2], &log).unwrap();
    let witnesses = ["b", "c"].map(|witness| {
        witness_verifier(&alliance.constitution, brand(witness)).unwrap().to_string()
    });
    let (header, b) = (header_of(&alliance.first), brand("b"));
    let column = header.context().column_key(&BlockSecret::from_bytes([1; 32]), b);
    let leaf = alliance.first.leaves().nth(2).unwrap();
    let opened = crate::receipt::open(receipt.clone(), &header, &column, leaf).unwrap();
    let shown = crate::receipt::verify(
        opened.to_string().as_bytes(),
        &alliance.constitution.clone().into(),
    );
    json!({
        "opened_receipt": opened.to_string(), "payload": hex(shown.unwrap().payload.to_bytes()),
        "log_verifier": log.to_string(), "witness_verifiers": witnesses,
        "checkpoint": checkpoint.to_string(), "receipt": receipt.to_string(),
        "receipt_leaf": hex(leaves[2].as_bytes()),
    })
}

fn clearing(alliance: &Alliance) -> Json {
    let constitution = &alliance.constitution;
    let cut_off = Timestamp::from_unix_ms(1_700_000_000_002);
    // `a` closes at its first block, `b` at its only one, the others have none; the block after each
    // proves that there is no other before the cut-off
    let last = |log: &str| match log {
        "a" => Some(&alliance.first),
        "b" => Some(&alliance.answer),
        _ => None,
    };
    let (mut closings, mut checked) = (Vec::new(), Vec::new());
    for log in ["a", "b", "c", "d"] {
        let own = last(log);
        let header = own.map(header_of);
        let closed = header.as_ref().zip(own.map(|own| own.reference().header));
        let keys = ring(brand(log));
        let contents = own.map_or(&[][..], OwnBlock::contents);
        let closing = close(cut_off, closed, &keys, contents).unwrap();
        let tip = own.map_or_else(Tip::genesis, tip_after);
        let counterparties = constitution.committee().witnesses(brand(log));
        let next = OwnBlock::build(
            constitution,
            brand(log),
            &tip,
            &counterparties.zip(contents.iter().copied()).collect(),
            Plan {
                public: vec![PublicEntry::Closing(closing.clone())],
                sealed: BTreeMap::new(),
                recognised: BTreeMap::new(),
                discharged: BTreeMap::new(),
                sealing: keys.current(),
                time: Timestamp::from_unix_ms(1_700_000_000_010),
                secret: BlockSecret::from_bytes([8; 32]),
                nonce: BlockNonce::from_bytes([8; 16]),
            },
        );
        let next = header_of(&next.unwrap());
        checked.push(check_closing(&closing, closed, &next).unwrap());
        let entry = Entry::Public(PublicEntry::Closing(closing)).to_bytes();
        closings.push(json!({ "log": log, "entry": hex(entry) }));
    }
    let constitutions = constitution.clone().into();
    let statement =
        Statement::derive(&constitutions, cut_off, &checked, &Absent::default()).unwrap();
    json!({
        "closings": closings, "statement": hex(statement.to_bytes()),
        "hash": hex(statement.hash().as_bytes()),
        "positions": statement.positions, "instructions": statement.instructions,
    })
}

fn made() -> BTreeMap<&'static str, Json> {
    let alliance = Alliance::new();
    BTreeMap::from([
        ("alliance.json", keys(&alliance)),
        ("amounts.json", amounts()),
        ("statements.json", statements(&alliance)),
        ("blocks.json", blocks(&alliance)),
        ("quorums.json", quorums(&alliance)),
        ("messages.json", messages(&alliance)),
        ("receipts.json", receipts(&alliance)),
        ("clearing.json", clearing(&alliance)),
        ("endings.json", endings::made(&alliance)),
        ("joined.json", joined::made(&alliance)),
        ("kinds.json", kinds::made(&alliance)),
    ])
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

fn read(name: &str) -> Json {
    serde_json::from_slice(&fs::read(folder().join(name)).unwrap()).unwrap()
}

#[test]
fn the_wire_format_is_the_one_of_the_vectors() {
    let made = made();
    if std::env::var_os("COALITION_WRITE_VECTORS").is_some() {
        for (name, content) in &made {
            let text = serde_json::to_string_pretty(content).unwrap();
            fs::write(folder().join(name), text + "\n").unwrap();
        }
    }
    for (name, content) in &made {
        assert!(read(name) == *content, "{name}: the code makes other bytes than were frozen");
    }
    let known: BTreeSet<_> = made.keys().copied().chain(["README.md", SUMS]).collect();
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(name.as_str()), "{name} is used by no test");
    }
}

/// What each file was when it was frozen, as `sha256sum` writes it: whoever makes the files anew makes other files.
const SUMS: &str = "SHA256SUMS";

#[test]
fn the_committed_vectors_are_those_that_were_frozen() {
    let sums = fs::read_to_string(folder().join(SUMS)).unwrap();
    let line = |line: &str| {
        let (sum, name) = line.split_once("  ").unwrap();
        (name.to_owned(), sum.to_owned())
    };
    let frozen: BTreeMap<String, String> = sums.lines().map(line).collect();
    let there: BTreeMap<String, String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .map(|name| {
            let bytes = fs::read(folder().join(&name)).unwrap();
            (name, hex(sha256(&[&bytes])))
        })
        .collect();
    assert_eq!(there, frozen, "protocol/spec/README.md says what a change takes");
}

/// Public entries, by their numbers.
const ENTRIES: [u8; 16] = [0, 1, 2, 3, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 20, 21];
/// Messages, by their numbers.
const MESSAGES: [u8; 19] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 18, 20, 21];

/// Whether there is an entry, or a message, of this number: one without any field is of none, or lacks some.
fn is_known<T: for<'b> minicbor::Decode<'b, ()>>(number: u8) -> bool {
    let bytes = [0x82, number, 0x80];
    let read = minicbor::decode::<T>(&bytes);
    !read.is_err_and(|error| error.is_unknown_variant())
}

#[test]
fn entries_and_messages_have_the_numbers_of_the_specification() {
    // CBOR says what is below 24 in one byte
    let known = |is_known: fn(u8) -> bool| (0..24).filter(|it| is_known(*it)).collect::<Vec<_>>();
    assert_eq!(known(is_known::<PublicEntry>), ENTRIES);
    assert_eq!(known(is_known::<Message>), MESSAGES);
    assert_eq!(codec::WIRE_VERSION, 0);
}

/// The other direction: whoever has only the files can read them with this crate.
#[test]
fn what_is_in_the_vectors_can_be_read_and_holds() {
    let alliance = Alliance::new();
    let constitution = &alliance.constitution;
    for message in read("messages.json").as_array().unwrap() {
        let bytes = unhex(&message["bytes"]);
        let again = match Negotiation::default().receive(&bytes).unwrap() {
            Frame::Hello(versions) => Negotiation::new(versions).hello(),
            Frame::Message(read) => read.into_bytes(),
        };
        assert_eq!(again, bytes, "{}", message["name"]);
    }
    for statement in read("statements.json").as_array().unwrap() {
        let signer = constitution.brand(brand(statement["signer"].as_str().unwrap())).unwrap();
        let key = if statement["key"] == "log" { signer.keys.log } else { signer.keys.vote };
        let signature: [u8; 64] = unhex(&statement["signature"]).try_into().unwrap();
        let signature = crate::crypto::Signature::from_bytes(signature);
        key.verify(&unhex(&statement["signed_bytes"]), &signature).unwrap();
    }
    for block in read("blocks.json").as_array().unwrap() {
        let leaves: Vec<Vec<u8>> = block["leaves"].as_array().unwrap().iter().map(unhex).collect();
        let header = Header::from_bytes(leaves.last().unwrap()).unwrap();
        assert_eq!(hex(leaf_hash(leaves.last().unwrap()).as_bytes()), block["id"]);
        let context = header.context();
        for sealed in block["sealed"].as_array().unwrap() {
            let index = LeafIndex::new(sealed["index"].as_u64().unwrap());
            let leaf = &leaves[usize::try_from(index.get() - header.first.get()).unwrap()];
            let Ok(Entry::Sealed(entry)) = Entry::from_bytes(leaf) else { panic!("not sealed") };
            let key = EntryKey::from_bytes(context.cipher, &unhex(&sealed["entry_key"])).unwrap();
            let payload = context.open(&key, index, &entry).unwrap();
            assert_eq!(hex(payload), sealed["payload"]);
        }
    }
    // the counterparty's own key opens its column of the first block to what it was sent
    let first = header_of(&alliance.first);
    let b = brand("b");
    let opening = first.open_column(b, &ring(b)).unwrap();
    let delivery = alliance.first.deliveries(constitution).unwrap().to(b, true).unwrap();
    let nothing = ColumnContent::nothing();
    let run = delivery.column.as_ref();
    let payloads =
        check_column::<Upheld>(constitution, &first, b, &opening, &nothing, run).unwrap();
    assert_eq!(payloads.len(), 2);
}
