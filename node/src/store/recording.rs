//! A store that can tell what is written to it while a copy of it is made.
//!
//! A scan of a store that serves is no state it ever had: parts of it are older than others. With all that
//! was written from before the scan's begin put over it, it is the state at the end, exactly: every write
//! says what a key holds from then on, whatever it held. That needs nothing of the backend. While nothing
//! is recorded, transactions pass beside each other as before.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::{Keyspace, Pair, Store, StoreError, Write};

/// Most bytes that are remembered; beyond, the copy fails rather than the node.
const RECORDED_MAX: usize = 512 << 20;

/// What keys hold since a recording began; none: they are gone.
pub type Recorded = BTreeMap<(Keyspace, Vec<u8>), Option<Vec<u8>>>;

#[derive(Default)]
struct Recorder {
    written: Recorded,
    bytes: usize,
}

/// A store under which another lies, whose writes can be recorded.
pub struct RecordingStore {
    beneath: Arc<dyn Store>,
    // held for reading by every transaction, so that a recording begins and ends between two
    recording: RwLock<Option<Mutex<Recorder>>>,
}

impl RecordingStore {
    /// Records nothing yet.
    #[must_use]
    pub fn new(beneath: Arc<dyn Store>) -> Self {
        Self { beneath, recording: RwLock::new(None) }
    }

    /// Begins to record; false when a recording is under way.
    #[must_use]
    pub fn begin(&self) -> bool {
        let mut recording = self.recording.write().unwrap_or_else(PoisonError::into_inner);
        if recording.is_some() {
            return false;
        }
        *recording = Some(Mutex::default());
        true
    }

    /// Ends the recording between two transactions, and meanwhile does `between`. None when nothing was
    /// recorded, or more than can be remembered.
    pub fn end<T>(&self, between: impl FnOnce() -> T) -> (Option<Recorded>, T) {
        let mut recording = self.recording.write().unwrap_or_else(PoisonError::into_inner);
        let recorder = recording
            .take()
            .map(|recorder| recorder.into_inner().unwrap_or_else(PoisonError::into_inner));
        let recorder = recorder.filter(|recorder| recorder.bytes <= RECORDED_MAX);
        (recorder.map(|recorder| recorder.written), between())
    }
}

impl Recorder {
    fn add(&mut self, writes: &[Write]) {
        for write in writes {
            self.bytes = self.bytes.saturating_add(write.bytes() + 64);
            if self.bytes > RECORDED_MAX {
                self.written.clear();
                continue;
            }
            match write {
                Write::Put { keyspace, key, value } => {
                    self.written.insert((keyspace, key.clone()), Some(value.clone()));
                }
                Write::Delete { keyspace, key } => {
                    self.written.insert((keyspace, key.clone()), None);
                }
                Write::Require { .. } => {}
            }
        }
    }
}

impl Store for RecordingStore {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.beneath.get(keyspace, key)
    }
    fn get_many(
        &self,
        keyspace: Keyspace,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.beneath.get_many(keyspace, keys)
    }
    fn keyspaces(&self) -> Result<Vec<String>, StoreError> {
        self.beneath.keyspaces()
    }
    fn scan(
        &self,
        keyspace: Keyspace,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        self.beneath.scan(keyspace, from, to, limit)
    }

    fn transaction(&self, writes: &[Write]) -> Result<(), StoreError> {
        let recording = self.recording.read().unwrap_or_else(PoisonError::into_inner);
        let Some(recorder) = &*recording else { return self.beneath.transaction(writes) };
        // in the order in which they are done
        let mut recorder: MutexGuard<'_, Recorder> =
            recorder.lock().unwrap_or_else(PoisonError::into_inner);
        self.beneath.transaction(writes)?;
        recorder.add(writes);
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.beneath.flush()
    }
}
