//! One body for each thing that the node itself reads and that somebody else may have written: bodies of
//! requests, and the journal as a disk gives it back.

#![allow(dead_code)] // each target uses one

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use node::cleanroom::policy::PolicyFile;
use node::fragments::FragmentArchive;
use node::http::{LinkCodeRequest, LinkRequest, PlanRequest, QueryRequest, SessionRequest};
use node::journal::{Journal, JournalError, Record};
use node::postgres::bounded::{BEFORE_SIGN_IN, Framing};
use node::programme::Rules;
use node::purchases::Mapping;
use node::runtime::own_blocks::OwnBlocks;
use node::runtime::sealed_journal::RecordCipher;
use node::service::{
    ConsentRequest, DisclosureRequest, ExchangeRequest, ImportSource, PaymentRequest,
    SendBackRequest,
};
use protocol::ids::{BrandId, Height};
use protocol::recovery::held::HeldBlock;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A body.
pub type Body = fn(&[u8]);

/// All of them, by the names of their targets.
pub const BODIES: &[(&str, Body)] = &[
    ("http_bodies", http_bodies),
    ("journal", journal),
    ("kept_fragments", kept_fragments),
    ("operators_files", operators_files),
    ("own_blocks", own_blocks),
    ("postgres_frames", postgres_frames),
    ("snapshot", snapshot),
];

/// In memory where there is such a folder: nothing is measured here that a sync would change.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("a folder")
}

/// The JSON bodies of requests: what is accepted is what the program understood, so that it means the same
/// when it is written and read again.
pub fn http_bodies(bytes: &[u8]) {
    fn read<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
        let Ok(request) = serde_json::from_slice::<T>(bytes) else { return };
        let written = serde_json::to_value(&request).expect("a request is JSON");
        let again: T = serde_json::from_value(written.clone()).expect("what was written is read");
        assert_eq!(serde_json::to_value(&again).expect("a request is JSON"), written);
    }
    read::<SessionRequest>(bytes);
    read::<LinkCodeRequest>(bytes);
    read::<LinkRequest>(bytes);
    read::<PlanRequest>(bytes);
    read::<QueryRequest>(bytes);
    read::<ConsentRequest>(bytes);
    read::<DisclosureRequest>(bytes);
    read::<ExchangeRequest>(bytes);
    read::<ImportSource>(bytes);
    read::<PaymentRequest>(bytes);
    read::<SendBackRequest>(bytes);
}

/// A journal of records that the input says, damaged where it says. What is read is a beginning of what
/// was written, or an error; never another record. The input itself as a segment is read as well.
pub fn journal(bytes: &[u8]) {
    let folder = folder();
    let Some((damage, rest)) = bytes.split_first_chunk::<4>() else { return };
    let batches: Vec<Vec<Record>> = rest
        .chunks(48)
        .take(4)
        .map(|batch| {
            let records = batch.chunks(17).filter_map(<[u8]>::split_first);
            records.map(|(kind, bytes)| Record { kind: *kind, bytes: bytes.to_vec() }).collect()
        })
        .collect();
    let (_, mut journal) = open(folder.path()).expect("a new one");
    for batch in &batches {
        journal.append_batch(batch).expect("within the limits");
    }
    drop(journal);
    let written = batches.concat();
    let segment = segment(folder.path());
    let mut file = fs::read(&segment).expect("the segment");
    let at = usize::from(u16::from_le_bytes([damage[0], damage[1]])) % file.len();
    match damage[3] % 3 {
        0 => file.truncate(at),
        1 => file[at] ^= damage[2].max(1),
        _ => file.extend_from_slice(rest),
    }
    fs::write(&segment, &file).expect("the segment");
    let read = open(folder.path()).map(|(read, _)| read);
    if let Ok(read) = read {
        assert!(written.starts_with(&read), "{read:?} of {written:?}");
        // and what it goes on from is the same
        let (again, _) = open(folder.path()).expect("what was read is read again");
        assert_eq!(again, read);
    }
    fs::write(&segment, bytes).expect("the segment");
    let _ = open(folder.path());
}

/// The records, and the journal after them.
fn open(folder: &Path) -> Result<(Vec<Record>, Journal), JournalError> {
    let mut replay = Journal::open(folder)?;
    let records = replay.by_ref().collect::<Result<Vec<_>, _>>()?;
    Ok((records, replay.into_journal()?))
}

/// The one file that has records.
fn segment(folder: &Path) -> PathBuf {
    let entries = fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("it").path());
    let largest = entries.max_by_key(|path| fs::metadata(path).map_or(0, |it| it.len()));
    largest.expect("a segment")
}

/// What a node keeps of others' logs, as a disk gives it back: a file with the right head and anything after
/// it, and anything at all. What is given out is at the height that it is said to be of, and what was
/// opened opens again alike: whatever was cut off stays off.
pub fn kept_fragments(bytes: &[u8]) {
    let folder = folder();
    let brand = BrandId::new("grocer_one").expect("an id");
    let log = folder.path().join(brand.as_str());
    for head in [&b"coalfrag\0\0"[..], &[]] {
        fs::create_dir_all(&log).expect("the folder");
        let file = log.join(format!("{:020}.fragments", 1));
        fs::write(&file, [head, bytes].concat()).expect("the file");
        if let Ok(archive) = FragmentArchive::open(folder.path()) {
            let extent = archive.extent(brand);
            let held = archive.held(brand, Height::new(0));
            if let Some(place) = held.as_ref().and_then(HeldBlock::place) {
                assert_eq!(place.0, brand);
            }
            let again = FragmentArchive::open(folder.path()).expect("what was opened opens again");
            assert_eq!(again.extent(brand), extent);
            assert_eq!(again.held(brand, Height::new(0)), held);
        }
        fs::remove_dir_all(&log).expect("the folder");
    }
}

/// What a node keeps of its own blocks, as a disk gives it back: the first bytes are the index, the rest the
/// blocks. Nothing of it is read that was not sealed here.
pub fn own_blocks(bytes: &[u8]) {
    let folder = folder();
    let at = bytes.first().map_or(0, |first| usize::from(*first)).min(bytes.len());
    let (index, blocks) = bytes.split_at(at);
    fs::write(folder.path().join("index"), index).expect("the index");
    fs::write(folder.path().join("blocks"), blocks).expect("the blocks");
    let cipher = || Arc::new(RecordCipher::new(&[7; 32]).expect("a key"));
    if let Ok(own) = OwnBlocks::open(folder.path(), cipher()) {
        let count = own.count();
        for height in 0..=count.saturating_add(1) {
            assert_eq!(own.at(Height::new(height)), None);
            let _ = own.certificates_end(Height::new(height));
        }
        drop(own);
        let again = OwnBlocks::open(folder.path(), cipher()).expect("what was opened opens again");
        assert_eq!(again.count(), count);
    }
}

/// A journal whose newest snapshot is these bytes, or a whole one of records that they say, damaged where they
/// say: what is read is that snapshot, or the records that it stood for, and never a part of it.
pub fn snapshot(bytes: &[u8]) {
    let Some((damage, rest)) = bytes.split_first_chunk::<4>() else { return };
    let folder = folder();
    let record =
        |(kind, bytes): (&u8, &[u8])| Record { kind: (*kind).max(1), bytes: bytes.to_vec() };
    let records: Vec<Record> =
        rest.chunks(17).take(8).filter_map(<[u8]>::split_first).map(record).collect();
    if records.is_empty() {
        return;
    }
    let (_, mut journal) = open(folder.path()).expect("a new one");
    journal.append_batch(&records).expect("within the limits");
    let place = journal.begin_snapshot().expect("a place");
    let mut writer = place.create().expect("a file");
    let kept = [Record { kind: 9, bytes: b"stands for all".to_vec() }];
    writer.append(&kept).expect("within the limits");
    writer.finish(|_| Ok::<(), JournalError>(())).expect("whole");
    drop(journal);
    let files = fs::read_dir(folder.path()).expect("the folder");
    let mut files = files.map(|entry| entry.expect("it").path());
    let path = files.find(|path| path.extension().is_some_and(|it| it == "snapshot"));
    let path = path.expect("a snapshot");
    let mut file = fs::read(&path).expect("the snapshot");
    let at = usize::from(u16::from_le_bytes([damage[0], damage[1]])) % file.len();
    match damage[3] % 3 {
        0 => file.truncate(at),
        1 => file[at] ^= damage[2].max(1),
        _ => file = rest.to_vec(),
    }
    fs::write(&path, &file).expect("the snapshot");
    if let Ok((read, _)) = open(folder.path()) {
        assert!(read == kept || read == records, "{read:?} of {records:?}");
    }
}

/// What a client of the database says: it passes or it does not, however its bytes are cut.
pub fn postgres_frames(bytes: &[u8]) {
    let Some((piece, rest)) = bytes.split_first() else { return };
    let whole = Framing::default().pass(rest, BEFORE_SIGN_IN);
    let mut cut = Framing::default();
    let mut pieces = rest.chunks(usize::from(*piece).max(1));
    assert_eq!(pieces.all(|bytes| cut.pass(bytes, BEFORE_SIGN_IN)), whole);
}

/// Files that an operator writes or is sent: rules of a points programme, what an import's columns mean, the
/// policy. Refused with words, or read.
pub fn operators_files(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    if let Err(error) = Rules::from_toml(text) {
        assert!(!error.to_string().is_empty());
    }
    if let Err(error) = Mapping::from_toml(text) {
        assert!(!error.to_string().is_empty());
    }
    let folder = folder();
    let path = folder.path().join("policy.toml");
    fs::write(&path, bytes).expect("the file");
    if let Err(error) = PolicyFile::read(&path) {
        assert!(!error.to_string().is_empty());
    }
}
