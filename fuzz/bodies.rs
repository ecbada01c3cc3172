//! One body a decoder of what comes from outside: whatever the bytes are, it does not panic, and what
//! is accepted is written again as the very same bytes.
//!
//! Ordinary functions, so that stable runs them over seeds and mutations
//! (tests/tests/suite/decoders.rs) and cargo-fuzz by coverage (README.md beside this file).

#![allow(dead_code)] // each target uses one

use std::sync::LazyLock;

use protocol::audit::{CertificateReader, LogFolder, parse_archived};
use protocol::codec::{self, DecodeError, MESSAGE_MAX};
use protocol::epochs::Constitutions;
use protocol::exchange::Payload;
use protocol::log::block::{ColumnOpening, Entry, Header};
use protocol::log::checkpoint::{Checkpoint, SignedCheckpoint};
use protocol::log::note::{NoteSignature, SignedNote, VerifierKey};
use protocol::log::proof::{ConsistencyProof, InclusionProof};
use protocol::log::tiles::{TilePath, TileSource, parse_bundle};
use protocol::log::tlog_proof::TlogProof;
use protocol::log::tlog_witness::{AddCheckpoint, Answer, Cosigned, ForeignLogs, OutsideWitness};
use protocol::time::Timestamp;
use protocol::wire::{Frame, Negotiation, Versions};
use protocol::witness::message::Message;
use protocol::witness::record::Record;

use privacy::plan::{DpPlan, QuerySpec};

/// A body.
pub type Body = fn(&[u8]);

/// All of them, by the names of their targets.
pub const BODIES: &[(&str, Body)] = &[
    ("add_checkpoint", add_checkpoint),
    ("alliance_files", alliance_files),
    ("bundle", bundle),
    ("certificates", certificates),
    ("checkpoint", checkpoint),
    ("clean_room_entry", clean_room_entry),
    ("clean_room_message", clean_room_message),
    ("entry", entry),
    ("header", header),
    ("hello", hello),
    ("message", message),
    ("note", note),
    ("payload", payload),
    ("proof", proof),
    ("receipt", receipt),
    ("record", record),
    ("sql", sql),
    ("tile_path", tile_path),
    ("tlog_proof", tlog_proof),
    ("verifier_key", verifier_key),
    ("witness_answer", witness_answer),
];

fn same<T, E>(bytes: &[u8], read: Result<T, E>, write: impl FnOnce(T) -> Vec<u8>) {
    if let Ok(value) = read {
        assert!(write(value) == bytes, "what was accepted is written differently");
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// A message between nodes.
pub fn message(bytes: &[u8]) {
    same(bytes, Message::from_bytes(bytes), Message::into_bytes);
}

/// The first frame of a connection, or any other: a hello is told back as it came, and says which versions
/// are spoken from then on.
pub fn hello(bytes: &[u8]) {
    let mut negotiation = Negotiation::default();
    let before = negotiation;
    match negotiation.receive(bytes) {
        Ok(Frame::Hello(versions)) => {
            assert_eq!(Negotiation::new(versions).hello(), bytes);
            assert_eq!(negotiation.other(), Some(versions));
            assert_eq!(negotiation.version(), Versions::SPOKEN.common(versions));
        }
        Ok(Frame::Message(message)) => {
            assert_eq!(negotiation, before);
            assert_eq!(negotiation.send(message).as_deref(), Some(bytes));
        }
        Err(_) => assert_eq!(negotiation, before),
    }
}

/// The certificates of a published log, given in short reads, and what it says is archived: what is read is
/// what the file begins with.
pub fn certificates(bytes: &[u8]) {
    struct Folder<'a>(&'a [u8]);
    impl TileSource for Folder<'_> {
        fn read(&self, _: &TilePath) -> Option<Vec<u8>> {
            None
        }
    }
    impl LogFolder for Folder<'_> {
        fn checkpoint(&self) -> Option<Vec<u8>> {
            None
        }
        fn certificates(&self, offset: u64, most: usize) -> Option<Vec<u8>> {
            let rest = self.0.get(usize::try_from(offset).ok()?..)?;
            Some(rest[..rest.len().min(most).min(97)].to_vec())
        }
        fn files(&self) -> Vec<String> {
            Vec::new()
        }
    }
    let folder = Folder(bytes);
    let read: Vec<_> = CertificateReader::new(&folder).collect();
    let mut written = Vec::new();
    for (number, certificate) in read.iter().enumerate() {
        match certificate {
            Ok(certificate) => written.extend(codec::encode(certificate)),
            // nothing tells where another would begin
            Err(_) => assert_eq!(number + 1, read.len()),
        }
    }
    assert!(bytes.starts_with(&written));
    assert!(read.last().is_some_and(Result::is_err) || written == bytes);
    if let Some(entries) = parse_archived(bytes) {
        assert_eq!(format!("{entries}\n").as_bytes(), bytes);
    }
}

/// A record of the journal, once it is open.
pub fn record(bytes: &[u8]) {
    same(bytes, Record::from_bytes(bytes), |record| record.to_bytes());
}

/// A leaf of a log.
pub fn entry(bytes: &[u8]) {
    same(bytes, Entry::from_bytes(bytes), |entry| entry.to_bytes());
}

/// The leaf that ends a block, and what opens one of its columns.
pub fn header(bytes: &[u8]) {
    same(bytes, Header::from_bytes(bytes), |header| header.to_leaf().0);
    if let Some(opening) = ColumnOpening::from_bytes(bytes) {
        assert_eq!(opening.to_bytes(), bytes);
    }
}

/// A signed note and one of its lines.
pub fn note(bytes: &[u8]) {
    same(bytes, SignedNote::parse(bytes), |note| note.to_string().into_bytes());
    same(bytes, text(bytes).parse::<NoteSignature>(), |line| line.to_string().into_bytes());
}

/// A checkpoint, alone and with its signatures.
pub fn checkpoint(bytes: &[u8]) {
    same(bytes, SignedCheckpoint::parse(bytes), |signed| signed.to_string().into_bytes());
    same(bytes, Checkpoint::parse(text(bytes)), |it| it.to_string().into_bytes());
}

/// A receipt.
pub fn tlog_proof(bytes: &[u8]) {
    same(bytes, TlogProof::parse(bytes), |proof| proof.to_string().into_bytes());
}

/// A verifier key of a constitution's, or an operator's.
pub fn verifier_key(bytes: &[u8]) {
    same(bytes, text(bytes).parse::<VerifierKey>(), |key| key.to_string().into_bytes());
}

/// A proof between nodes.
pub fn proof(bytes: &[u8]) {
    let inclusion: Result<InclusionProof, DecodeError> = codec::decode("a", bytes, MESSAGE_MAX);
    same(bytes, inclusion, |proof| codec::encode(&proof));
    let consistency: Result<ConsistencyProof, _> = codec::decode("a", bytes, MESSAGE_MAX);
    same(bytes, consistency, |proof| codec::encode(&proof));
}

/// The name of a tile.
pub fn tile_path(bytes: &[u8]) {
    same(bytes, text(bytes).parse::<TilePath>(), |path| path.to_string().into_bytes());
}

/// A bundle of entries; the first byte says how many there are to be.
pub fn bundle(bytes: &[u8]) {
    let Some((width, bytes)) = bytes.split_first() else { return };
    let Some(entries) = parse_bundle(bytes, u16::from(*width)) else { return };
    let framed = entries.iter().flat_map(|entry| {
        let length = u16::try_from(entry.len()).expect("a length of two bytes");
        length.to_be_bytes().into_iter().chain(entry.iter().copied())
    });
    assert!(framed.eq(bytes.iter().copied()));
}

/// A request for a cosignature, read and considered.
pub fn add_checkpoint(bytes: &[u8]) {
    let read = AddCheckpoint::parse(bytes);
    if let Ok(request) = &read {
        let key = request.unverified().origin();
        let key = format!("{key}+00000000+AQ==").parse::<VerifierKey>();
        let mut logs = ForeignLogs::new(key);
        assert!(logs.consider(request, Timestamp::from_unix_ms(1)).is_err());
    }
    same(bytes, read, |request| request.to_string().into_bytes());
}

/// What a foreign witness answers: first two bytes the status, the rest the body.
pub fn witness_answer(bytes: &[u8]) {
    const KEY: &str =
        "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";
    let Some((status, body)) = bytes.split_first_chunk::<2>() else { return };
    let (Ok(key), Ok(signed)) = (KEY.parse::<VerifierKey>(), SignedCheckpoint::parse(body)) else {
        return;
    };
    let mut witness = OutsideWitness::new(key);
    let answer = Answer { status: u16::from_be_bytes(*status), body };
    // it is never a cosignature: nobody here has signed one
    let line = witness.answered(&signed, answer, Timestamp::from_unix_ms(1));
    assert!(!matches!(line, Ok(Some(_))));
    let mut logs = ForeignLogs::default();
    let _ = logs.enter(&Cosigned::new(&signed));
}

/// The clean room's entries in logs.
pub fn clean_room_entry(bytes: &[u8]) {
    same(bytes, privacy::steps::CleanRoomEntry::from_bytes(bytes), |entry| entry.to_bytes());
}

/// The clean room's messages between nodes.
pub fn clean_room_message(bytes: &[u8]) {
    same(bytes, privacy::steps::Message::from_bytes(bytes), |message| message.to_bytes());
    same(bytes, privacy::PackMessage::from_bytes(bytes), |message| message.to_bytes());
}

static CONSTITUTION: LazyLock<alliance_config::Constitution> = LazyLock::new(|| {
    let bytes = include_bytes!("../alliance-config/formats/v0/constitution.toml");
    alliance_config::Constitution::parse(bytes).expect("a released format")
});

static CONSTITUTIONS: LazyLock<Constitutions> =
    LazyLock::new(|| CONSTITUTION.ledger().clone().into());

/// What a sealed entry says, to whom it was sealed: another brand wrote it, and whatever changes its
/// ciphertext never comes as far as this.
pub fn payload(bytes: &[u8]) {
    same(bytes, Payload::decode(bytes), |payload| payload.to_bytes());
    let constitution = CONSTITUTION.ledger();
    let brands = constitution.committee().brands();
    let pair = (brands[0], brands[1]);
    same(bytes, Payload::read(bytes, constitution, pair), |payload| payload.to_bytes());
}

/// A receipt that opens or shows its entry, as anybody may bring it: nothing is proved by one, since the
/// logs of this alliance have signed nothing.
pub fn receipt(bytes: &[u8]) {
    assert!(protocol::receipt::verify(bytes, &CONSTITUTIONS).is_err());
    assert!(protocol::receipt::verify_public(bytes, &CONSTITUTIONS).is_err());
}

/// A joint question's SQL: refused with a place that is in the text, or bound, planned and written for the
/// engine. Every brand plans it anew, so it always comes to the same; what is written for the engine names
/// columns by their numbers, and nothing that the question itself says reaches it but within quotes.
pub fn sql(bytes: &[u8]) {
    let contract = CONSTITUTION.clean_room().expect("it has one").contract();
    let sql = text(bytes);
    let spec = |sql: &str| QuerySpec {
        sql: sql.to_owned(),
        purpose: "joint_analytics".parse().expect("a purpose"),
        analyst: "analyst".parse().expect("an analyst"),
        participants: contract.participants().to_vec(),
        rho: contract.profile().rho_per_query(),
    };
    match DpPlan::new(contract, &spec(sql)) {
        Err(refusal) => assert!(!refusal.to_string().is_empty()),
        Ok(plan) => {
            let again = DpPlan::new(contract, &spec(sql)).expect("the same question");
            assert_eq!(plan.hash(), again.hash());
            for participant in contract.participants() {
                let written = privacy::member_sql(&plan, *participant);
                assert_eq!(written.as_str(), privacy::member_sql(&again, *participant).as_str());
                let outside: Vec<&str> = written.as_str().split('\'').step_by(2).collect();
                assert!(!outside.iter().any(|part| part.contains(';') || part.contains("--")));
            }
        }
    }
}

/// What people write and sign: the constitution, its signatures, settings, introductions. Their bytes
/// are what counts, so there is nothing to be written again; signatures are.
pub fn alliance_files(bytes: &[u8]) {
    if let Ok(read) = alliance_config::Constitution::parse(bytes) {
        let next = alliance_config::draft_next(bytes, &[], &[]);
        if let Ok(next) = next {
            // one that only follows changes nothing
            let next = alliance_config::Constitution::parse(next.as_bytes()).expect("as drafted");
            let told = alliance_config::compare(&read, &next).expect("it follows");
            assert!(told.lines.is_empty(), "{:?}", told.lines);
        }
    }
    let _ = alliance_config::Settings::parse(bytes);
    let _ = alliance_config::Introduction::parse(bytes);
    if let Ok(signatures) = alliance_config::Signatures::parse(bytes) {
        let text = signatures.to_text();
        let again = alliance_config::Signatures::parse(text.as_bytes());
        assert!(again.is_ok_and(|again| again.to_text() == text));
    }
}
