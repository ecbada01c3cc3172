//! Whose turn it is: one import works at a time, in the order in which they came; one of files gives its turn to the
//! batches that wait, and has it again behind them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::purchases::Between;

/// How long a batch waits for those before it: a till asks again then, under the same key.
const WAIT: Duration = Duration::from_secs(20);
/// KiB of rows that wait and are worked on together, at most: beyond that a batch is refused at once.
const WAITING_KIB: usize = 64 * 1024;
/// The same of those that were kept off and come again: a quarter, so that a basket that stays kept off leaves most of
/// the queue to others. Two of the largest.
const KEPT_OFF_KIB: usize = WAITING_KIB / 4;
/// What the smallest of them counts, in KiB: so many wait at most.
const LEAST_KIB: u32 = 256;
/// Dry runs of batches at a time: each has a folder of its own.
const ASIDE: usize = 2;

/// Whose turn it is: one import at a time, in the order in which they came; files give theirs to the batches that wait,
/// between two chunks. Dry runs are aside, and take no turn.
pub struct Turns {
    one: Arc<Semaphore>,
    /// Of files: one import of them from its beginning to its end, also while it gives its turn.
    files: Arc<Semaphore>,
    aside: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Batches that were kept off and come again; when they wait, they are among those too.
    kept_off: Arc<Semaphore>,
    /// Batches that wait for their turn.
    queued: AtomicUsize,
    wait: Duration,
}

impl Default for Turns {
    fn default() -> Self {
        Self::that_wait(WAIT)
    }
}

/// One who waits, as long as it does.
struct Queued<'a>(&'a AtomicUsize);

impl<'a> Queued<'a> {
    fn enter(queue: &'a AtomicUsize) -> Self {
        queue.fetch_add(1, Ordering::AcqRel);
        Self(queue)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a batch of so many bytes counts, in KiB.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes / 1024).unwrap_or(u32::MAX).max(LEAST_KIB)
}

/// The turn of an import of files.
pub(super) struct FilesTurn {
    pub(super) files: OwnedSemaphorePermit,
    pub(super) one: OwnedSemaphorePermit,
}

impl Turns {
    /// Turns for which a batch waits so long.
    pub(super) fn that_wait(wait: Duration) -> Self {
        let of = |permits| Arc::new(Semaphore::new(permits));
        Self {
            one: of(1),
            files: of(1),
            aside: of(ASIDE),
            waiting: of(WAITING_KIB),
            kept_off: of(KEPT_OFF_KIB),
            queued: AtomicUsize::new(0),
            wait,
        }
    }

    /// How long a batch waits, all its turns together.
    pub(super) const fn wait(&self) -> Duration {
        self.wait
    }

    /// The turn of a batch of so many bytes, given back when it is dropped; none when it does not come in time, or too
    /// many wait.
    pub(super) async fn of_batch(
        &self,
        bytes: usize,
        dry_run: bool,
        most: Duration,
    ) -> Option<[OwnedSemaphorePermit; 2]> {
        let waiting = Arc::clone(&self.waiting).try_acquire_many_owned(kib(bytes)).ok()?;
        let queued = (!dry_run).then(|| Queued::enter(&self.queued));
        let turns = Arc::clone(if dry_run { &self.aside } else { &self.one });
        let turn = tokio::time::timeout(most, turns.acquire_owned()).await.ok()?.ok()?;
        drop(queued);
        Some([waiting, turn])
    }

    /// A place for a batch of so many bytes that was kept off and is to come again; none when too many do.
    pub(super) fn of_kept_off(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.kept_off).try_acquire_many_owned(kib(bytes)).ok()
    }

    /// The turn of an import of files, which waits for the batches that came before it.
    pub(super) async fn of_files(&self) -> Option<FilesTurn> {
        let files = Arc::clone(&self.files).acquire_owned().await.ok()?;
        let one = Arc::clone(&self.one).acquire_owned().await.ok()?;
        Some(FilesTurn { files, one })
    }

    /// The same for whoever comes first of all.
    pub(super) fn first(&self) -> Option<FilesTurn> {
        let files = Arc::clone(&self.files).try_acquire_owned().ok()?;
        let one = Arc::clone(&self.one).try_acquire_owned().ok()?;
        Some(FilesTurn { files, one })
    }

    /// Whether a batch waits for its turn.
    pub(super) fn are_batches_waiting(&self) -> bool {
        self.queued.load(Ordering::Acquire) > 0
    }

    /// Whether an import of files is at work, or about to be: asked by whoever has the turn, it is one that waits for
    /// it.
    pub(super) fn are_files_at_work(&self) -> bool {
        self.files.available_permits() == 0
    }
}

/// The turn of an import of files, which it gives to the batches that wait.
pub(super) struct Giving {
    turns: Arc<Turns>,
    _files: OwnedSemaphorePermit,
    one: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Giving {
    pub(super) fn new(turns: Arc<Turns>, turn: FilesTurn) -> Self {
        let FilesTurn { files, one } = turn;
        Self { turns, _files: files, one: Mutex::new(Some(one)) }
    }
}

impl Between for Giving {
    fn is_wanted(&self) -> bool {
        self.turns.are_batches_waiting()
    }

    /// On a thread that may block. Whoever waits comes before this one, which waits behind them.
    fn give(&self) {
        let mut one = self.one.lock().unwrap_or_else(PoisonError::into_inner);
        *one = None;
        *one = Handle::current().block_on(Arc::clone(&self.turns.one).acquire_owned()).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENT: Duration = Duration::from_secs(60);

    /// Two tills at once: the second waits, and only so long; what is tried out waits for neither.
    #[tokio::test]
    async fn batches_take_turns_and_dry_runs_take_none() {
        let turns = Turns::default();
        let soon = Duration::ZERO;
        let first = turns.of_batch(10, false, soon).await.unwrap();
        assert!(turns.of_batch(10, false, soon).await.is_none());
        let aside = turns.of_batch(10, true, soon).await.unwrap();
        let (second, ()) = tokio::join!(turns.of_batch(10, false, PATIENT), async {
            tokio::task::yield_now().await;
            drop(first);
        });
        assert!(turns.of_batch(10, false, soon).await.is_none());
        drop(second.unwrap());
        // files wait for what came before them, and batches that come then for the files
        let files = turns.of_files().await.unwrap();
        assert!(turns.are_files_at_work() && turns.first().is_none());
        assert!(turns.of_batch(10, false, soon).await.is_none());
        drop((files, aside));
        assert!(!turns.are_files_at_work());
        assert!(turns.of_batch(10, false, soon).await.is_some());
        assert_eq!(turns.queued.load(Ordering::Acquire), 0, "nobody waits any more");
    }

    /// Fails when files keep their turn from their beginning to their end, or do not come to it again.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn files_let_in_whoever_waits_and_have_their_turn_again() {
        let turns = Arc::new(Turns::default());
        let giving = Giving::new(Arc::clone(&turns), turns.of_files().await.unwrap());
        assert!(!giving.is_wanted());
        let served = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let (turns, served) = (Arc::clone(&turns), Arc::clone(&served));
            tokio::spawn(async move {
                let turn = turns.of_batch(10, false, PATIENT).await.unwrap();
                served.fetch_add(1, Ordering::AcqRel);
                drop(turn);
            });
        }
        let giving = tokio::task::spawn_blocking(move || {
            let began = std::time::Instant::now();
            while served.load(Ordering::Acquire) < 3 {
                if giving.is_wanted() {
                    giving.give();
                }
                assert!(began.elapsed() < PATIENT, "nobody is let in");
                std::thread::yield_now();
            }
            giving
        });
        let giving = giving.await.unwrap();
        assert!(turns.are_files_at_work());
        assert!(turns.of_batch(10, false, Duration::ZERO).await.is_none());
        // another import of files does not come between
        assert!(tokio::time::timeout(Duration::ZERO, turns.of_files()).await.is_err());
        drop(giving);
        assert!(!turns.are_files_at_work());
        assert!(turns.of_batch(10, false, Duration::ZERO).await.is_some());
    }

    #[tokio::test]
    async fn what_waits_has_its_bounds() {
        let turns = Turns::default();
        let mut taken = Vec::new();
        while let Ok(waits) = Arc::clone(&turns.waiting).try_acquire_many_owned(LEAST_KIB) {
            taken.push(waits);
        }
        assert_eq!(taken.len(), 256);
        assert!(turns.of_batch(10, false, PATIENT).await.is_none());
        taken.pop();
        assert!(turns.of_batch(10, false, PATIENT).await.is_some());
        // a batch of the largest size counts as what it is
        assert!(turns.of_batch(8 << 20, true, PATIENT).await.is_none());
        taken.clear();
        let large = turns.of_batch(8 << 20, true, PATIENT).await.unwrap();
        assert_eq!(large[0].num_permits(), 8 << 10);
    }

    #[tokio::test]
    async fn those_that_come_again_leave_most_of_the_queue_to_others() {
        let turns = Turns::default();
        let mut again = Vec::new();
        while let Some(place) = turns.of_kept_off(10) {
            again.push(place);
        }
        // as they wait, each with a place in the queue as well
        let of_queue = || Arc::clone(&turns.waiting).try_acquire_many_owned(LEAST_KIB).ok();
        let waiting: Vec<_> = again.iter().map(|_| of_queue().unwrap()).collect();
        assert_eq!((again.len(), turns.waiting.available_permits()), (64, 48 << 10));
        assert!(turns.of_batch(8 << 20, false, PATIENT).await.is_some());
        // batches of the largest size may come again too
        drop((again, waiting));
        let large = [8 << 20, 8 << 20].map(|bytes| turns.of_kept_off(bytes).unwrap());
        assert!(turns.of_kept_off(10).is_none());
        drop(large);
        assert!(turns.of_kept_off(10).is_some());
    }
}
