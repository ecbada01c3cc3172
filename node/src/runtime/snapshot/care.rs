//! When a snapshot is due, and what waits for one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use protocol::time::{Milliseconds, Timestamp};

use crate::exchange::book::Marks;
use crate::exchange::cold::Leaving;
use crate::runtime::backups;

/// The journal grows by so many times the last snapshot before the next one.
const GROWTH: u64 = 2;
/// At least so often, if anything was written.
const EVERY: Milliseconds = Milliseconds::from_seconds(24 * 60 * 60);
/// A snapshot every so many bytes of the journal comes at most once in [`PAUSE`], a smaller one as much more
/// often.
const PAUSE_BYTES: u64 = 64 << 20;
/// See there.
const PAUSE: Milliseconds = Milliseconds::from_seconds(20);
/// After a failure it is tried again in this time.
const AGAIN: Milliseconds = Milliseconds::from_seconds(60);

/// When a snapshot is due.
pub struct SnapshotCare {
    /// Least bytes of the journal between two.
    pub least: u64,
    /// Bytes of the journal that come after the last one.
    pub since: u64,
    /// Bytes of the last one.
    pub last_bytes: u64,
    /// When the last was begun, or tried.
    pub begun: Timestamp,
    /// Where exchanges were at the last snapshots: what is old enough leaves memory.
    pub marks: VecDeque<(Timestamp, Marks)>,
    /// How many are wanted in any case.
    pub wanted: u32,
    /// Whether one is being written.
    pub under_way: bool,
    /// What left memory with the last one and is in it still.
    pub leaving: Option<Leaving>,
    /// Set when the node stops: whoever writes one does not give way any more.
    pub hurried: Arc<AtomicBool>,
    /// Whether the last one failed.
    pub failed: bool,
    /// A backup that waits for the one that is being written.
    pub backup: Option<backups::Job>,
}

impl SnapshotCare {
    pub fn is_due(&self, now: Timestamp) -> bool {
        let age = now.distance(self.begun);
        if self.under_way || self.leaving.is_some() || self.failed && age < AGAIN {
            return false;
        }
        let grown = self.since >= self.least.max(self.last_bytes.saturating_mul(GROWTH));
        let pause = PAUSE.get().saturating_mul(self.least.min(PAUSE_BYTES)) / PAUSE_BYTES;
        self.wanted > 0 || grown && age.get() >= pause || self.since > 0 && age >= EVERY
    }

    /// Starts a backup, at once or when the snapshot that is being written is: it copies the journal's files, and
    /// none of them may come or go meanwhile. Nor is a snapshot begun until it is made.
    pub fn then_back_up(&mut self, job: backups::Job) {
        if self.under_way {
            self.backup = Some(job);
        } else {
            job.start();
        }
    }

    /// The one that was being written is written, or not. A node that stops makes no backup.
    pub fn ended(&mut self, failed: bool, stops: bool) {
        (self.under_way, self.failed) = (false, failed);
        if let Some(job) = self.backup.take().filter(|_| !stops) {
            job.start();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use protocol::ids::BrandId;

    use super::*;
    use crate::config::DataDirectory;
    use crate::service::{BackupRequest, BackupView};
    use crate::store::{MemoryStore, RecordingStore};

    #[tokio::test]
    async fn a_backup_waits_for_the_snapshot_that_is_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDirectory::new(folder.path().join("data"));
        let store = Arc::new(RecordingStore::new(Arc::new(MemoryStore::new())));
        let view = Arc::new(Mutex::new(BackupView::default()));
        let prepare = |name: &str| {
            let (brand, at) = (BrandId::new("a").unwrap(), folder.path().join(name));
            let request = BackupRequest { folder: at.display().to_string() };
            backups::prepare(data.clone(), brand, Arc::clone(&store), request, Arc::clone(&view))
        };
        let mut care = SnapshotCare {
            least: 0,
            since: 1,
            last_bytes: 0,
            begun: Timestamp::default(),
            marks: VecDeque::new(),
            wanted: 0,
            under_way: true,
            leaving: None,
            hurried: Arc::default(),
            failed: false,
            backup: None,
        };
        let is_running = || view.lock().unwrap().running;
        // it is seen as one that is being made, so that no second one and no snapshot is begun
        care.then_back_up(prepare("one").unwrap());
        assert!(care.backup.is_some() && is_running());
        assert_eq!(prepare("two").err().unwrap().code, "backup_running");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert!(!folder.path().join("one").exists());
        care.ended(false, false);
        while is_running() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        assert!(view.lock().unwrap().done, "{:?}", view.lock().unwrap().failed);
        assert!(folder.path().join("one/manifest.json").is_file());
        // nothing stands against the next; and a node that stops makes none
        care.then_back_up(prepare("two").unwrap());
        assert!(care.backup.is_none());
        while is_running() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        care.under_way = true;
        care.then_back_up(prepare("three").unwrap());
        care.ended(true, true);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert!(care.backup.is_none() && !folder.path().join("three").exists());
    }
}
