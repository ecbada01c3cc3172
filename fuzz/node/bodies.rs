//! One body for each thing that the node itself reads and that somebody else may have written: bodies of
//! requests, and the journal as a disk gives it back.

#![allow(dead_code)] // each target uses one

use std::fs;
use std::path::{Path, PathBuf};

use node::http::{LinkCodeRequest, LinkRequest, PlanRequest, QueryRequest, SessionRequest};
use node::journal::{Journal, JournalError, Record};
use node::service::{
    ConsentRequest, DisclosureRequest, ExchangeRequest, ImportSource, PaymentRequest,
    SendBackRequest,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A body.
pub type Body = fn(&[u8]);

/// All of them, by the names of their targets.
pub const BODIES: &[(&str, Body)] = &[("http_bodies", http_bodies), ("journal", journal)];

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
    // in memory where there is such a folder: nothing is measured here that a sync would change
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.expect("a folder");
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
