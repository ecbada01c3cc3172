//! The thread that writes a snapshot, and what the loop has to do with it.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use protocol::time::Milliseconds;
use tokio::sync::{mpsc, oneshot};

use super::{StateCopy, keep_earned};
use crate::exchange::book::Marks;
use crate::exchange::cold::{Cold, ColdError, Leaving};
use crate::journal::{JournalError, Record, SnapshotBeginning};
use crate::runtime::applications;
use crate::runtime::published::PublishError;
use crate::runtime::publisher::Showing;
use crate::runtime::sealed_journal::{RecordCipher, SealedRecordError};
use crate::runtime::{Internal, RunError, Runtime, TurnError, now};
use crate::store::{Store, StoreError};

/// So long an exchange stays in memory at least once it is answered or has come in.
const KEPT: Milliseconds = Milliseconds::from_seconds(2 * 60);
/// Bytes of records that are written at once, and then synced: the journal's appends wait for what of other files is on
/// its way to the disk.
const AT_ONCE: usize = 1024 * 1024;
/// Exchanges taken out of memory after one turn.
const LEAVE_AT_ONCE: usize = 2048;
/// After a piece of work the thread that writes rests so many times as long: all else goes before it.
const REST: u32 = 3;
/// It rests so long at most at once.
const REST_MAX: Duration = Duration::from_millis(500);

/// Why a snapshot was not written. The journal stands as it was.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Its file, or an older one.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A record of it.
    #[error(transparent)]
    Record(#[from] SealedRecordError),
    /// The store, which takes the keys of what has earned.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store, which takes exchanges that leave memory.
    #[error(transparent)]
    Cold(#[from] ColdError),
    /// Own blocks are not published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Own blocks, or what is held of others', beside the journal.
    #[error("own blocks and fragments cannot be synced: {0}")]
    Beside(std::io::Error),
    /// The system has no thread for it.
    #[error("no thread can be started for it: {0}")]
    Thread(std::io::Error),
    /// The thread ended before it was written: a mistake in this program.
    #[error("the thread that writes it has panicked")]
    Panicked,
}

/// A snapshot that a thread has written.
#[derive(Debug)]
pub struct WrittenSnapshot {
    /// Its bytes.
    pub bytes: u64,
    /// Keys of what has earned that the store has now.
    pub earned: Vec<[u8; 20]>,
    /// Exchanges that the store has now.
    pub leaving: Leaving,
    /// How many entries of the clean room it has now that it had not.
    pub applications: usize,
}

/// What has to be done to write a snapshot.
struct SnapshotJob {
    beginning: SnapshotBeginning,
    copy: StateCopy,
    // what is before them leaves memory
    before: Marks,
    cipher: Arc<RecordCipher>,
    store: Arc<dyn Store>,
    // what it stands for has to be published, for no replay publishes it again
    showing: Showing,
    beside: Vec<File>,
    // the node stops and waits for this
    hurried: Arc<AtomicBool>,
}

/// Gives way to all else while long work is done piece by piece.
struct Pace {
    hurried: Arc<AtomicBool>,
    began: Instant,
}

impl Pace {
    fn rest(&mut self) {
        if !self.hurried.load(Ordering::Relaxed) {
            std::thread::sleep((self.began.elapsed() * REST).min(REST_MAX));
        }
        self.began = Instant::now();
    }
}

impl SnapshotJob {
    /// Writes it, and verifies it by opening every record that is read back.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    fn run(self) -> Result<WrittenSnapshot, SnapshotError> {
        let Self { beginning, mut copy, before, cipher, store, showing, beside, hurried } = self;
        let mut pace = Pace { hurried, began: Instant::now() };
        let leaving = copy.leaving(before);
        // all records that it stands for are on the disk
        let place = beginning.place()?;
        let number = place.number();
        let mut writer = place.create()?;
        // the snapshot goes without them: they are in the store before it is one
        let cold = Cold::new(Arc::clone(&store), Arc::clone(&cipher) as _);
        cold.take_at(&leaving, || pace.rest())?;
        showing.wait()?;
        for file in beside {
            file.sync_all().map_err(SnapshotError::Beside)?;
        }
        let earned = std::mem::take(&mut copy.earned);
        let (stored, since) = (copy.stored_applications, copy.applications.clone());
        let (mut batch, mut bytes) = (Vec::new(), 0);
        copy.records(&leaving, |record| {
            let sealed = cipher.seal(&record)?;
            bytes += sealed.bytes.len();
            batch.push(sealed);
            if bytes >= AT_ONCE {
                writer.append(&batch)?;
                writer.sync()?;
                batch.clear();
                bytes = 0;
                pace.rest();
            }
            Ok::<(), SnapshotError>(())
        })?;
        writer.append(&batch)?;
        let mut read = 0;
        let check = |record: Record| {
            read += record.bytes.len();
            cipher.open(record)?;
            if read >= AT_ONCE {
                read = 0;
                pace.rest();
            }
            Ok::<(), SnapshotError>(())
        };
        let bytes = writer.finish(check)?;
        keep_earned(&*store, &earned, number)?;
        applications::keep(&*store, stored, &since)?;
        Ok(WrittenSnapshot { bytes, earned, leaving, applications: since.len() })
    }
}

/// Does this in a thread of its own; the loop hears of its end, whatever it is.
fn apart(
    job: impl FnOnce() -> Result<WrittenSnapshot, SnapshotError> + Send + 'static,
    back: mpsc::Sender<Internal>,
) {
    let (done, written) = oneshot::channel();
    // who listens may be gone: the node may be stopping
    let thread = std::thread::Builder::new().name("snapshot".to_owned());
    let thread = thread.spawn(move || drop(done.send(job())));
    tokio::spawn(async move {
        let written = match thread {
            Ok(_) => written.await.unwrap_or(Err(SnapshotError::Panicked)),
            Err(error) => Err(SnapshotError::Thread(error)),
        };
        let _ = back.send(Internal::Snapshot(written)).await;
    });
}

impl Runtime {
    /// Begins a snapshot if it is time, between two turns; takes some of what has left memory with the last one
    /// out of it.
    ///
    /// # Errors
    /// When the journal cannot go on.
    pub(in crate::runtime) async fn care_for_snapshots(&mut self) -> Result<(), RunError> {
        if let Some(leaving) = &mut self.snapshots.leaving
            && self.core.book.leave(leaving, LEAVE_AT_ONCE)
        {
            self.snapshots.leaving = None;
        }
        // a restored node first finds out what it had made of others' blocks
        if !self.snapshots.is_due(now()) || !self.core.has_applied_all() {
            return Ok(());
        }
        // a backup copies the journal's files, and none of them goes meanwhile
        if self.backup.lock().unwrap_or_else(PoisonError::into_inner).running {
            return Ok(());
        }
        let begun = Instant::now();
        if let Some(room) = &mut self.room {
            let joint = std::mem::take(&mut self.core.joint);
            self.core.joint = tokio::task::block_in_place(|| room.let_ended_leave(joint, now()));
        }
        let Some(copy) = self.core.copy() else { return Ok(()) };
        let care = &mut self.snapshots;
        let at = now();
        while care.marks.get(1).is_some_and(|(then, _)| at.since(*then) >= KEPT) {
            care.marks.pop_front();
        }
        let old = care.marks.front().filter(|(then, _)| at.since(*then) >= KEPT);
        let before = old.map(|(_, marks)| *marks).unwrap_or_default();
        care.marks.push_back((at, self.core.book.marks()));
        (care.begun, care.under_way, care.since) = (at, true, 0);
        let published = &self.core.published;
        let mut beside = published.to_sync().map_err(TurnError::from)?;
        // nor does a replay bring back what is held of others' logs
        if let Some(fragments) = &self.core.fragments {
            beside.extend(fragments.newest_files().map_err(TurnError::from)?);
        }
        let job = SnapshotJob {
            // all records so far come before it, and all from now on after it
            beginning: self.journal.begin_snapshot().await?,
            copy,
            before,
            cipher: Arc::clone(&self.cipher),
            store: Arc::clone(&self.core.store),
            showing: published.showing(),
            beside,
            hurried: Arc::clone(&self.snapshots.hurried),
        };
        apart(move || job.run(), self.back.clone());
        self.metrics.observe("snapshot_pause_seconds", begun.elapsed());
        Ok(())
    }

    /// A snapshot is written, or not.
    pub(in crate::runtime) fn snapshot_written(
        &mut self,
        written: Result<WrittenSnapshot, SnapshotError>,
    ) {
        self.snapshots.ended(written.is_err(), self.stop.is_some());
        match written {
            Ok(written) => {
                self.core.points.forget_earned(&written.earned);
                self.core.applications.are_stored(written.applications);
                self.core.book.leaves(&written.leaving);
                self.snapshots.leaving = Some(written.leaving);
                self.snapshots.last_bytes = written.bytes;
                self.snapshots.wanted = self.snapshots.wanted.saturating_sub(1);
                self.metrics.set("snapshot_bytes", "", "", written.bytes);
                tracing::info!(bytes = written.bytes, "a snapshot of the journal is written");
            }
            Err(error) => {
                tracing::error!(error = %error, "no snapshot of the journal");
                self.core.alert(format!(
                    "no snapshot of the journal could be written, it goes on growing: {error} / \
                     无法写入日志快照，日志将继续增长：{error}"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_loop_hears_of_a_snapshot_whose_thread_panics() {
        let (back, mut internal) = mpsc::channel(4);
        apart(|| panic!("on purpose"), back.clone());
        let heard = internal.recv().await;
        assert!(matches!(heard, Some(Internal::Snapshot(Err(SnapshotError::Panicked)))));
        apart(|| Err(SnapshotError::Record(SealedRecordError::Seal)), back);
        let heard = internal.recv().await;
        assert!(matches!(heard, Some(Internal::Snapshot(Err(SnapshotError::Record(_))))));
    }
}
