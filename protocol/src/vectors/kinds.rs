//! Kinds of entries and messages that none of the other files has.
//!
//! What a ballot and a head show as certified is the first entry of `a`, which is no statement on a draft and takes
//! up no constitution: their form is here, and that what they show is certified.

use super::*;
use crate::epochs::{CertifiedEntry, Constitutions, DraftReference, LogHead};
use crate::ids::{ConstitutionHash, Epoch, RootHash, StatementHash, TreeSize};
use crate::log::block::BlockTree;
use crate::log::range::RangeProof;
use crate::log::settlement::{Payment, PaymentReference};
use crate::witness::closing::{self, LastProposal};

fn note(alliance: &Alliance, root: RootHash) -> Vec<u8> {
    let block = alliance.first.reference();
    let origin = KeyName::new(&alliance.constitution.origin(block.log)).unwrap();
    let checkpoint = Checkpoint::new(&origin, block.size, root);
    let signed = SignedCheckpoint::sign(checkpoint, &key(block.log, 2)).unwrap();
    signed.to_string().into_bytes()
}

fn evidence(alliance: &Alliance) -> [(&'static str, Evidence); 3] {
    let block = alliance.first.reference();
    let vote = |block: BlockReference| {
        let pledge = Pledge { block, round: Round::new(0) };
        Said::Vote(alliance.signed("b", VOTE_KEY, Vote(pledge)))
    };
    let other = BlockReference { header: HeaderHash::from_bytes([4; 32]), ..block };
    let certified = note(alliance, block.root);
    let uncertified = note(alliance, RootHash::from_bytes([3; 32]));
    let certificate = Box::new(certify(&alliance.constitution, &alliance.first));
    [
        ("evidence: two statements", Evidence::statements(vote(block), vote(other))),
        ("evidence: two checkpoints", Evidence::Checkpoints(certified, uncertified.clone())),
        (
            "evidence: a checkpoint and a certificate",
            Evidence::Uncertified(uncertified, certificate),
        ),
    ]
}

/// The first entry of `a`, with all that shows it to be certified.
fn shown(alliance: &Alliance) -> CertifiedEntry {
    let (block, index) = (&alliance.first, LeafIndex::new(0));
    let mut body: Vec<_> = block.leaves().map(leaf_hash).collect();
    body.pop();
    let tree = BlockTree::new(&Frontier::empty(), &body);
    let size = TreeSize::new(body.len() as u64);
    CertifiedEntry {
        header: block.header_leaf().to_vec(),
        certificate: certify(&alliance.constitution, block),
        index,
        entry: block.leaves().next().unwrap().to_vec(),
        proof: RangeProof::prove(&tree, index, 1, size).unwrap(),
    }
}

fn entries(alliance: &Alliance) -> Vec<(&'static str, PublicEntry)> {
    let constitution = ConstitutionHash::from_bytes([11; 32]);
    let draft = DraftReference { epoch: Epoch::new(2), constitution };
    let payment = Payment {
        cut_off: Timestamp::from_unix_ms(1_600_000_000_000),
        statement: StatementHash::from_bytes([6; 32]),
        payer: brand("a"),
        payee: brand("b"),
        value: Value::new(3_000_000).unwrap(),
        reference: PaymentReference::new("HVPS-20231114-1").unwrap(),
    };
    let proven = evidence(alliance).map(|(name, it)| (name, PublicEntry::Evidence(Box::new(it))));
    let others = [
        ("adopted", PublicEntry::Adopted(draft)),
        ("declined", PublicEntry::Declined(draft)),
        ("ballot", PublicEntry::Ballot(Box::new(shown(alliance)))),
        ("switch", PublicEntry::Switch(draft)),
        ("settled", PublicEntry::Settled(payment.clone())),
        ("settlement confirmed", PublicEntry::SettlementConfirmed(payment)),
    ];
    proven.into_iter().chain(others).collect()
}

fn messages(alliance: &Alliance) -> [(&'static str, Message); 2] {
    let (block, round) = (alliance.first.reference(), closing::FIRST);
    let leader = closing::leader(alliance.constitution.committee(), block.log, round);
    let (open, lock) = (Open { round, ..alliance.open() }, alliance.lock());
    let promises = ["b", "c", "d"].map(|signer| {
        let promise = Promise { open, lock: Some(lock.pledge) };
        let promise = alliance.signed(signer, VOTE_KEY, promise);
        PromiseMessage { promise, lock: Some(lock.clone()) }
    });
    let proposal = Signed::sign(leader, Proposal(Pledge { block, round }), &key(leader, LOG_KEY));
    let last = LastProposal { proposal, promises: promises.to_vec() };
    let head = LogHead { entry: shown(alliance), frontier: frontier_after(&alliance.first) };
    [
        ("last_proposal", Message::LastProposal(Box::new(last))),
        ("head", Message::Head(Box::new(head))),
    ]
}

pub(super) fn made(alliance: &Alliance) -> Json {
    let entries = entries(alliance).into_iter().map(
        |(name, entry)| json!({ "name": name, "entry": hex(Entry::Public(entry).to_bytes()) }),
    );
    let messages = messages(alliance)
        .map(|(name, message)| json!({ "name": name, "bytes": hex(message.into_bytes()) }));
    json!({ "entries": entries.collect::<Vec<_>>(), "messages": messages })
}

#[test]
fn what_these_vectors_prove_or_show_as_certified_holds() {
    let alliance = Alliance::new();
    let constitutions = Constitutions::from(alliance.constitution.clone());
    let file = read("kinds.json");
    let (known, found) = (entries(&alliance), file["entries"].as_array().unwrap());
    assert_eq!(known.len(), found.len());
    for ((name, expected), found) in known.into_iter().zip(found) {
        let entry = Entry::from_bytes(&unhex(&found["entry"])).unwrap();
        assert_eq!(entry, Entry::Public(expected), "{name}");
        match entry {
            Entry::Public(PublicEntry::Evidence(it)) => {
                let accused = it.prove(&constitutions).unwrap().accused();
                assert_eq!(accused, brand(if name.ends_with("statements") { "b" } else { "a" }));
            }
            Entry::Public(PublicEntry::Ballot(it)) => {
                let checked = it.verify(&alliance.constitution).unwrap();
                assert!(matches!(checked.entry(), PublicEntry::Application(_)));
            }
            _ => {}
        }
    }
    let (known, found) = (messages(&alliance), file["messages"].as_array().unwrap());
    assert_eq!(known.len(), found.len());
    for ((name, expected), found) in known.into_iter().zip(found) {
        let message = Message::from_bytes(&unhex(&found["bytes"])).unwrap();
        assert_eq!(message, expected, "{name}");
        if let Message::Head(head) = message {
            let (_, tip) = head.verify(&alliance.constitution).unwrap();
            assert_eq!(tip.header, alliance.first.reference().header);
        }
    }
}

/// The numbers of all public entries in a file.
fn public_entries(value: &Json, found: &mut BTreeSet<u8>) {
    match value {
        Json::Object(map) => map.values().for_each(|value| public_entries(value, found)),
        Json::Array(list) => list.iter().for_each(|value| public_entries(value, found)),
        // a choice, number 1, of one field: another choice
        Json::String(text) if text.starts_with("82018182") => {
            let leaf = unhex(value);
            assert!(Entry::from_bytes(&leaf).is_ok(), "{text}");
            found.extend(leaf.get(4));
        }
        _ => {}
    }
}

#[test]
fn every_kind_of_entry_and_message_has_a_vector() {
    let mut entries = BTreeSet::new();
    super::made().keys().for_each(|name| public_entries(&read(name), &mut entries));
    assert_eq!(entries.into_iter().collect::<Vec<_>>(), ENTRIES);
    let numbers = |messages: &Json| -> BTreeSet<u8> {
        let messages = messages.as_array().unwrap().iter().map(|it| unhex(&it["bytes"]));
        // the version, and a choice; a hello begins with a text
        let messages = messages.filter(|bytes| bytes.starts_with(&[0x82, 0x00, 0x82]));
        messages.map(|bytes| bytes[3]).collect()
    };
    let mut messages = numbers(&read("messages.json"));
    messages.extend(numbers(&read("kinds.json")["messages"]));
    assert_eq!(messages.into_iter().collect::<Vec<_>>(), MESSAGES);
}
