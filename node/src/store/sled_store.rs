//! The store on sled 0.34.
//!
//! One tree holds every keyspace, each key behind its keyspace's length and name, so that a
//! transaction is one sled batch: atomic in memory and in recovery.
//!
//! sled's own `flush` ends in `sync_file_range`, which neither flushes the disk's cache nor writes
//! the file's length: each transaction here is followed by `flush` and `fdatasync` of its data file.
//! Transactions that wait for the same sync share it. sled puts a page that is larger than a quarter
//! of a segment into a file of its own and never syncs that; a leaf holds at most 17 pairs, so with
//! [`VALUE_MAX`](super::VALUE_MAX) and 8 MiB segments no page is as large.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::{Keyspace, Pair, Store, StoreError, Write, after_prefix, check_lengths, next_key};

const SEGMENT_BYTES: usize = 8 * 1024 * 1024;
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
const RELEASE_PATIENCE: Duration = Duration::from_secs(30);
// a keyspace's name is never empty, so no key of a keyspace begins with a zero
const FORMAT_KEY: &[u8] = b"\0format";
const FORMAT_VERSION: &[u8] = &[0, 0];

/// A store in a directory.
#[derive(Debug)]
pub struct SledStore {
    database: sled::Db,
    data_file: File,
    // held from a transaction's checks to its end; readers are kept out by sled
    writing: Mutex<()>,
    applied: AtomicU64,
    // the number of transactions that are on the disk
    synced: Mutex<u64>,
    // the first write error
    poisoned: OnceLock<StoreError>,
    _lock: File,
}

impl SledStore {
    /// Opens the store of a directory, making it if it is not there.
    ///
    /// # Errors
    /// When another process has it open, it is of another format version, or the disk refuses.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let directory = directory.into();
        fs::create_dir_all(&directory).map_err(backend("create its directory"))?;
        let lock = lock(&directory)?;
        let path = directory.join("sled");
        remove_unfinished_snapshots(&path).map_err(backend("look through its directory"))?;
        let database = open_database(&path).map_err(|error| StoreError::NotOpened {
            place: directory.display().to_string(),
            reason: error.to_string(),
        })?;
        let data_file = File::open(path.join("db")).map_err(backend("open its data file"))?;
        let format = database.get(FORMAT_KEY).map_err(backend("read"))?;
        match format {
            Some(version) if version == FORMAT_VERSION => {}
            None if database.is_empty() => {
                database.insert(FORMAT_KEY, FORMAT_VERSION).map_err(backend("write"))?;
            }
            _ => return Err(StoreError::OtherVersion { place: directory.display().to_string() }),
        }
        let store = Self {
            database,
            data_file,
            writing: Mutex::new(()),
            applied: AtomicU64::new(1),
            synced: Mutex::new(0),
            poisoned: OnceLock::new(),
            _lock: lock,
        };
        store.sync_through(1)?;
        for made in [path.as_path(), directory.as_path()] {
            File::open(made)
                .and_then(|directory| directory.sync_all())
                .map_err(backend("sync its directory"))?;
        }
        Ok(store)
    }

    fn apply(&self, writes: &[Write]) -> Result<u64, StoreError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = sled::Batch::default();
        for write in writes {
            match write {
                Write::Put { keyspace, key, value } => {
                    batch.insert(full_key(keyspace, key), value.as_slice());
                }
                Write::Delete { keyspace, key } => batch.remove(full_key(keyspace, key)),
                Write::Require { keyspace, key, value } => {
                    let found =
                        self.database.get(full_key(keyspace, key)).map_err(backend("read"))?;
                    if found.as_deref() != value.as_deref() {
                        return Err(StoreError::Conflict { keyspace });
                    }
                }
            }
        }
        self.database.apply_batch(batch).map_err(self.poison("write"))?;
        self.drop_garbage(writes.len())?;
        // under the lock, so the number grows in the order of the batches
        Ok(self.applied.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// Frees what a batch has replaced. sled leaves that to a collector that frees five hundred things every 128 times
    /// somebody enters the database. A batch enters it once, whatever it replaces: memory grew by 17 KiB for every
    /// exchange that came in batches of a thousand. A read enters it once too.
    fn drop_garbage(&self, writes: usize) -> Result<(), StoreError> {
        for _ in 0..writes {
            // the batch is applied: what fails now must not be taken for a refusal
            self.database.get(FORMAT_KEY).map_err(self.poison("read"))?;
        }
        Ok(())
    }

    /// Returns once that many transactions are on the disk; whoever comes first syncs for all.
    fn sync_through(&self, number: u64) -> Result<(), StoreError> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_poisoned()?;
        if *synced >= number {
            return Ok(());
        }
        let applied = self.applied.load(Ordering::Acquire);
        self.database.flush().map_err(self.poison("flush"))?;
        self.data_file.sync_data().map_err(self.poison("sync its data file"))?;
        *synced = applied;
        Ok(())
    }

    fn check_poisoned(&self) -> Result<(), StoreError> {
        match self.poisoned.get() {
            Some(earlier) => Err(StoreError::Poisoned { earlier: Some(Box::new(earlier.clone())) }),
            None => Ok(()),
        }
    }

    fn poison<E: std::error::Error + Send + Sync + 'static>(
        &self,
        action: &'static str,
    ) -> impl FnOnce(E) -> StoreError + '_ {
        move |error| {
            let error = backend(action)(error);
            // a later one follows from the first
            let _ = self.poisoned.set(error.clone());
            error
        }
    }
}

impl Store for SledStore {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.check_poisoned()?;
        let value = self.database.get(full_key(keyspace, key)).map_err(backend("read"))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn keyspaces(&self) -> Result<Vec<String>, StoreError> {
        self.check_poisoned()?;
        let (mut names, mut from) = (Vec::new(), vec![1]);
        // the first key of each keyspace tells its name, and with it where the next one begins
        while let Some(pair) = self.database.range(from..).next() {
            let (key, _) = pair.map_err(backend("read"))?;
            let Some((length, rest)) = key.split_first() else { break };
            let name = rest.get(..usize::from(*length)).unwrap_or_default();
            names.push(String::from_utf8_lossy(name).into_owned());
            let space = key.get(..=usize::from(*length)).unwrap_or(&key);
            let Some(next) = after_prefix(space) else { break };
            from = next;
        }
        Ok(names)
    }

    fn scan(
        &self,
        keyspace: Keyspace,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        self.check_poisoned()?;
        let space = full_key(keyspace, &[]);
        let start = match from {
            Bound::Included(key) => full_key(keyspace, key),
            Bound::Excluded(key) => next_key(full_key(keyspace, key)),
            Bound::Unbounded => space.clone(),
        };
        let end = match to {
            Bound::Included(key) => next_key(full_key(keyspace, key)),
            Bound::Excluded(key) => full_key(keyspace, key),
            // the first byte is a length of at most 64, so there is a next keyspace
            Bound::Unbounded => after_prefix(&space).unwrap_or_else(|| space.clone()),
        };
        if start >= end {
            return Ok(Vec::new());
        }
        let pairs = self.database.range(start..end).take(limit);
        pairs
            .map(|pair| {
                let (key, value) = pair.map_err(backend("read"))?;
                Ok((key.get(space.len()..).unwrap_or_default().to_vec(), value.to_vec()))
            })
            .collect()
    }

    fn transaction(&self, writes: &[Write]) -> Result<(), StoreError> {
        check_lengths(writes)?;
        self.check_poisoned()?;
        let number = self.apply(writes)?;
        self.sync_through(number)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.sync_through(self.applied.load(Ordering::Acquire))
    }
}

/// Removes what sled was writing of its page table when the process was killed. It gives such a file its name when
/// it is whole and synced, but takes one without for the newest when it opens, and finds it damaged: 1 of 130
/// kills left a store that did not open.
fn remove_unfinished_snapshots(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Opens the database, with patience: a store that was just dropped lets go of its files only when
/// sled's background threads are done. (Another process is kept out by our own lock.)
fn open_database(path: &Path) -> Result<sled::Db, sled::Error> {
    let configuration = sled::Config::new()
        .path(path)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None);
    let deadline = Instant::now() + RELEASE_PATIENCE;
    loop {
        match configuration.open() {
            // sled gives the failed lock as an error of kind `Other`
            Err(sled::Error::Io(error))
                if error.kind() == io::ErrorKind::Other && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => return opened,
        }
    }
}

fn full_key(keyspace: Keyspace, key: &[u8]) -> Vec<u8> {
    // names are at most 64 bytes: `check_lengths` keeps others out of the tree
    let length = u8::try_from(keyspace.len()).unwrap_or(u8::MAX);
    [&[length], keyspace.as_bytes(), key].concat()
}

fn backend<E: std::error::Error + Send + Sync + 'static>(
    action: &'static str,
) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Backend { action, source: Arc::new(error) }
}

fn lock(directory: &Path) -> Result<File, StoreError> {
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("lock"))
        .map_err(backend("open its lock file"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(StoreError::InUse { place: directory.display().to_string() })
        }
        Err(TryLockError::Error(error)) => Err(backend::<io::Error>("lock its directory")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opener_is_refused_until_the_first_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let first = SledStore::open(directory.path()).unwrap();
        let second = SledStore::open(directory.path());
        assert!(matches!(second, Err(StoreError::InUse { .. })));
        drop(first);
        assert!(SledStore::open(directory.path()).is_ok());
    }

    #[test]
    fn a_store_of_another_format_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let store = SledStore::open(directory.path()).unwrap();
        store.database.insert(FORMAT_KEY, &[0, 1]).unwrap();
        drop(store);
        let opened = SledStore::open(directory.path());
        assert!(matches!(opened, Err(StoreError::OtherVersion { .. })));
    }

    #[test]
    fn a_kill_while_sled_writes_its_page_table_leaves_a_store_that_opens() {
        let directory = tempfile::tempdir().unwrap();
        let store = SledStore::open(directory.path()).unwrap();
        store.transaction(&[Write::put("kept", [1], [2])]).unwrap();
        drop(store);
        // newer than any, and of no use
        let half = directory.path().join("sled/snap.7FFFFFFFFFFFFFFF.generating");
        fs::write(&half, [0; 100]).unwrap();
        let store = SledStore::open(directory.path()).unwrap();
        assert_eq!(store.get("kept", &[1]).unwrap(), Some(vec![2]));
        assert!(!half.exists());
    }

    #[test]
    fn the_largest_values_stay_in_the_file_that_is_synced() {
        let directory = tempfile::tempdir().unwrap();
        let store = SledStore::open(directory.path()).unwrap();
        for round in 0..4_u8 {
            let writes: Vec<Write> = (0..40_u8)
                .map(|key| Write::put("large", [key], vec![round; super::super::VALUE_MAX]))
                .collect();
            store.transaction(&writes).unwrap();
        }
        drop(store);
        let blobs = fs::read_dir(directory.path().join("sled/blobs")).unwrap();
        assert_eq!(blobs.count(), 0);
        let store = SledStore::open(directory.path()).unwrap();
        let last = store.scan("large", Bound::Unbounded, Bound::Unbounded, 99).unwrap();
        assert!(last.len() == 40 && last.iter().all(|(_, value)| value[0] == 3));
    }
}
