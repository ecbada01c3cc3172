//! Copies of a store: into another, and into a file; compared by count and digest.
//!
//! The digest is SHA-256 over every pair in the order of keyspaces and keys, each part after its length:
//! equal for equal contents, whatever the backend.
//!
//! ```text
//! file     "coalpair" | version u16 | pair*
//! pair     keyspace length u8 | key length u16 | value length u32 | keyspace | key | value
//! ```
//! Integers are little-endian; pairs are in order.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use ring::digest::{Context, SHA256};

use super::{KEY_MAX, KEYSPACE_MAX, Keyspace, Recorded, Store, StoreError, VALUE_MAX, Write};

const MAGIC: &[u8; 8] = b"coalpair";
const FORMAT_VERSION: u16 = 0;
/// Pairs read at a time.
const PAGE: usize = 512;

/// What a store holds, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// How many pairs.
    pub pairs: u64,
    /// Their digest.
    pub digest: [u8; 32],
}

/// Why a copy was not made.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file failed.
    #[error("the file of the copy failed: {0}")]
    File(#[from] io::Error),
    /// A file that is no copy, or is damaged.
    #[error("the copy is no file of this kind, cut short or damaged, after {pairs} pairs")]
    Damaged {
        /// How many were read before.
        pairs: u64,
    },
    /// More was written meanwhile than can be remembered.
    #[error(
        "too much was written while the copy was made: make it when no large import is under way"
    )]
    Busy,
    /// The copy is not what was copied.
    #[error("the copy has {copied} pairs of {pairs}, or other ones: nothing was switched over")]
    Differs {
        /// Pairs of the copy.
        copied: u64,
        /// Pairs of what was copied.
        pairs: u64,
    },
}

/// A running count and digest.
struct Tally {
    pairs: u64,
    context: Context,
}

impl Tally {
    fn new() -> Self {
        Self { pairs: 0, context: Context::new(&SHA256) }
    }
    fn add(&mut self, keyspace: &str, key: &[u8], value: &[u8]) {
        self.pairs += 1;
        self.context.update(&head(keyspace, key, value));
        self.context.update(keyspace.as_bytes());
        self.context.update(key);
        self.context.update(value);
    }
    fn finish(self) -> Contents {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.context.finish().as_ref());
        Contents { pairs: self.pairs, digest }
    }
}

fn head(keyspace: &str, key: &[u8], value: &[u8]) -> [u8; 7] {
    // the store keeps to these lengths
    let space = u8::try_from(keyspace.len()).unwrap_or(u8::MAX);
    let [a, b] = u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes();
    let [c, d, e, f] = u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes();
    [space, a, b, c, d, e, f]
}

/// A keyspace by a name that was read: names are few, and stay for as long as the process.
fn named(name: &str) -> Keyspace {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known;
    }
    let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(kept);
    kept
}

fn keyspaces(store: &dyn Store) -> Result<Vec<Keyspace>, StoreError> {
    let mut names = store.keyspaces()?;
    names.sort();
    Ok(names.iter().map(|name| named(name)).collect())
}

/// Visits every pair, in order.
fn each<E: From<StoreError>>(
    store: &dyn Store,
    mut visit: impl FnMut(Keyspace, &[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    for keyspace in keyspaces(store)? {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = store.scan_prefix(keyspace, &[], after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, value) in &page {
                visit(keyspace, key, value)?;
            }
        }
    }
    Ok(())
}

/// What a store holds. It must not be written to meanwhile.
///
/// # Errors
/// When the store fails.
pub fn contents(store: &dyn Store) -> Result<Contents, StoreError> {
    let mut tally = Tally::new();
    each(store, |keyspace, key, value| {
        tally.add(keyspace, key, value);
        Ok::<(), StoreError>(())
    })?;
    Ok(tally.finish())
}

/// Makes a store hold exactly what another holds, and compares the two. What is there already is not
/// written again, so that a copy that was interrupted goes on. Neither must be written to meanwhile.
/// `told` is given the number of pairs done.
///
/// # Errors
/// When a store fails, or the two differ afterwards.
pub fn copy(
    from: &dyn Store,
    to: &dyn Store,
    told: &mut dyn FnMut(u64),
) -> Result<Contents, CopyError> {
    let mut spaces: BTreeSet<Keyspace> = keyspaces(from)?.into_iter().collect();
    spaces.extend(keyspaces(to)?);
    let mut done = 0;
    for keyspace in spaces {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = from.scan_prefix(keyspace, &[], after.as_deref(), PAGE)?;
            // the same stretch of the other: to the page's last key, or to the end
            let begin = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let end = page.last().map(|(key, _)| key.clone());
            let whole = page.len() == PAGE;
            let until = end.as_deref().filter(|_| whole).map_or(Bound::Unbounded, Bound::Included);
            let there = to.scan(keyspace, begin, until, usize::MAX)?;
            let writes = difference(keyspace, &page, &there);
            if !writes.is_empty() {
                to.transaction(&writes)?;
            }
            done += page.len() as u64;
            told(done);
            match end {
                Some(end) if whole => after = Some(end),
                _ => break,
            }
        }
    }
    let (source, copied) = (contents(from)?, contents(to)?);
    if source == copied {
        Ok(source)
    } else {
        Err(CopyError::Differs { copied: copied.pairs, pairs: source.pairs })
    }
}

/// What makes `there` equal to `page`.
fn difference(keyspace: Keyspace, page: &[super::Pair], there: &[super::Pair]) -> Vec<Write> {
    let there: std::collections::BTreeMap<&Vec<u8>, &Vec<u8>> =
        there.iter().map(|(key, value)| (key, value)).collect();
    let wanted: BTreeSet<&Vec<u8>> = page.iter().map(|(key, _)| key).collect();
    let gone = there.keys().filter(|key| !wanted.contains(*key));
    let mut writes: Vec<Write> = gone.map(|key| Write::delete(keyspace, key.as_slice())).collect();
    for (key, value) in page {
        if there.get(key) != Some(&value) {
            writes.push(Write::put(keyspace, key.clone(), value.clone()));
        }
    }
    writes
}

/// Writes every pair of a store that may be written to meanwhile.
///
/// # Errors
/// When the store or the file fails.
pub fn scan_into(store: &dyn Store, out: &mut dyn io::Write) -> Result<(), CopyError> {
    out.write_all(MAGIC)?;
    out.write_all(&FORMAT_VERSION.to_le_bytes())?;
    each(store, |keyspace, key, value| Ok(write_pair(out, keyspace, key, value)?))
}

fn write_pair(out: &mut dyn io::Write, keyspace: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
    out.write_all(&head(keyspace, key, value))?;
    out.write_all(keyspace.as_bytes())?;
    out.write_all(key)?;
    out.write_all(value)
}

/// Puts what was written meanwhile over a scan: the state at the recording's end.
///
/// # Errors
/// When a file fails, or the scan is none.
pub fn settle(
    scan: &mut dyn Read,
    recorded: Recorded,
    out: &mut dyn io::Write,
) -> Result<Contents, CopyError> {
    out.write_all(MAGIC)?;
    out.write_all(&FORMAT_VERSION.to_le_bytes())?;
    let mut tally = Tally::new();
    let mut recorded = recorded.into_iter().peekable();
    let mut put = |keyspace: &str, key: &[u8], value: &[u8]| -> Result<(), CopyError> {
        tally.add(keyspace, key, value);
        Ok(write_pair(out, keyspace, key, value)?)
    };
    read_pairs(scan, |keyspace, key, value| {
        let here = (keyspace, key);
        while let Some(((space, newer), held)) =
            recorded.next_if(|((space, newer), _)| (*space, newer.as_slice()) < here)
        {
            if let Some(held) = held {
                put(space, &newer, &held)?;
            }
        }
        match recorded.next_if(|((space, newer), _)| (*space, newer.as_slice()) == here) {
            Some((_, None)) => Ok(()),
            Some((_, Some(held))) => put(keyspace, key, &held),
            None => put(keyspace, key, value),
        }
    })?;
    for ((space, newer), held) in recorded {
        if let Some(held) = held {
            put(space, &newer, &held)?;
        }
    }
    Ok(tally.finish())
}

/// What a file of pairs holds.
///
/// # Errors
/// When it cannot be read, or is none.
pub fn contents_of(file: &mut dyn Read) -> Result<Contents, CopyError> {
    let mut tally = Tally::new();
    read_pairs(file, |keyspace, key, value| {
        tally.add(keyspace, key, value);
        Ok(())
    })?;
    Ok(tally.finish())
}

/// Fills an empty store from a file, and compares the two.
///
/// # Errors
/// When the file or the store fails, or they differ afterwards.
pub fn load(file: &mut dyn Read, to: &dyn Store) -> Result<Contents, CopyError> {
    let mut tally = Tally::new();
    let (mut writes, mut bytes) = (Vec::new(), 0);
    read_pairs(file, |keyspace, key, value| {
        tally.add(keyspace, key, value);
        bytes += key.len() + value.len();
        writes.push(Write::put(named(keyspace), key, value));
        if writes.len() >= PAGE || bytes >= 1 << 20 {
            to.transaction(&std::mem::take(&mut writes))?;
            bytes = 0;
        }
        Ok(())
    })?;
    if !writes.is_empty() {
        to.transaction(&writes)?;
    }
    let (file, loaded) = (tally.finish(), contents(to)?);
    if file == loaded {
        Ok(file)
    } else {
        Err(CopyError::Differs { copied: loaded.pairs, pairs: file.pairs })
    }
}

fn read_pairs(
    file: &mut dyn Read,
    mut visit: impl FnMut(&str, &[u8], &[u8]) -> Result<(), CopyError>,
) -> Result<(), CopyError> {
    let mut pairs = 0;
    let mut begin = [0; 10];
    file.read_exact(&mut begin).map_err(|_| CopyError::Damaged { pairs })?;
    if !begin.starts_with(MAGIC) || !begin.ends_with(&FORMAT_VERSION.to_le_bytes()) {
        return Err(CopyError::Damaged { pairs });
    }
    let mut body = Vec::new();
    loop {
        let mut head = [0; 7];
        match file.read(&mut head[..1])? {
            0 => return Ok(()),
            _ => file.read_exact(&mut head[1..]).map_err(|_| CopyError::Damaged { pairs })?,
        }
        let [space, a, b, c, d, e, f] = head;
        let space = usize::from(space);
        let key = usize::from(u16::from_le_bytes([a, b]));
        let value = usize::try_from(u32::from_le_bytes([c, d, e, f])).unwrap_or(usize::MAX);
        if space > KEYSPACE_MAX || key > KEY_MAX || value > VALUE_MAX {
            return Err(CopyError::Damaged { pairs });
        }
        body.resize(space + key + value, 0);
        file.read_exact(&mut body).map_err(|_| CopyError::Damaged { pairs })?;
        let (name, rest) = body.split_at(space);
        let (key, value) = rest.split_at(key);
        let name = std::str::from_utf8(name).map_err(|_| CopyError::Damaged { pairs })?;
        visit(name, key, value)?;
        pairs += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{MemoryStore, RecordingStore, SledStore};
    use super::*;
    use crate::postgres_cluster::PostgresCluster;

    fn filled(pairs: u32) -> MemoryStore {
        let store = MemoryStore::new();
        for number in 0..pairs {
            let space = ["a", "ab", "b"][number as usize % 3];
            let value = vec![number as u8; number as usize % 70];
            store.transaction(&[Write::put(space, number.to_be_bytes(), value)]).unwrap();
        }
        store
    }

    #[test]
    fn a_copy_that_was_interrupted_or_is_stale_becomes_equal() {
        let from = filled(3_000);
        let folder = tempfile::tempdir().unwrap();
        let to = SledStore::open(folder.path()).unwrap();
        // parts are there, one differs, some are too many
        to.transaction(&[
            Write::put("a", 0_u32.to_be_bytes(), []),
            Write::put("a", 3_u32.to_be_bytes(), "other"),
            Write::put("a", "zz", "too many"),
            Write::put("c", "whole keyspace", "too many"),
        ])
        .unwrap();
        let mut told = 0;
        let made = copy(&from, &to, &mut |done| told = done).unwrap();
        assert_eq!((made.pairs, told), (3_000, 3_000));
        assert_eq!(contents(&to).unwrap(), contents(&from).unwrap());
        assert_eq!(to.keyspaces().unwrap().len(), 3);
        from.transaction(&[Write::put("b", "x", "y")]).unwrap();
        assert_ne!(contents(&to).unwrap(), contents(&from).unwrap());
    }

    #[test]
    fn store_conformance_copies_between_sled_and_postgres_both_ways() {
        let Some(cluster) = PostgresCluster::start().unwrap() else {
            assert!(std::env::var_os("COALITION_SHARED").is_none(), "nothing may be skipped here");
            eprintln!("skipped: no PostgreSQL is installed");
            return;
        };
        let address = super::super::PostgresAddress::parse(&cluster.address("copy")).unwrap();
        let postgres = super::super::PostgresStore::open(&address, None).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let first = SledStore::open(folder.path().join("first")).unwrap();
        let second = SledStore::open(folder.path().join("second")).unwrap();
        let made = copy(&filled(2_000), &first, &mut |_| {}).unwrap();
        assert_eq!(copy(&first, &postgres, &mut |_| {}).unwrap(), made);
        assert_eq!(copy(&postgres, &second, &mut |_| {}).unwrap(), made);
    }

    #[test]
    fn a_scan_with_what_was_written_meanwhile_is_the_state_at_the_end() {
        let beneath = Arc::new(filled(1_500));
        let store = RecordingStore::new(beneath.clone());
        assert!(store.begin() && !store.begin());
        let mut scan = Vec::new();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let recorded = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut number = 0_u32;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) || number < 400 {
                    let key = (number * 7 % 1_600).to_be_bytes();
                    let space = ["a", "ab", "b", "new"][number as usize % 4];
                    let write = match number % 3 {
                        0 => Write::delete(space, key),
                        _ => Write::put(space, key, number.to_be_bytes()),
                    };
                    store.transaction(&[write]).unwrap();
                    number += 1;
                }
            });
            scan_into(&store, &mut scan).unwrap();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            writer.join().unwrap();
            store.end(|| ()).0.unwrap()
        });
        let mut file = Vec::new();
        let settled = settle(&mut scan.as_slice(), recorded, &mut file).unwrap();
        assert_eq!(settled, contents(&*beneath).unwrap());
        assert_eq!(contents_of(&mut file.as_slice()).unwrap(), settled);
        let restored = MemoryStore::new();
        assert_eq!(load(&mut file.as_slice(), &restored).unwrap(), settled);
        // after the end nothing is recorded
        store.transaction(&[Write::put("a", "late", "x")]).unwrap();
        assert!(store.end(|| ()).0.is_none());

        for cut in [0, 9, file.len() / 2, file.len() - 1] {
            let cut = contents_of(&mut &file[..cut]);
            assert!(matches!(cut, Err(CopyError::Damaged { .. })));
        }
    }
}
