//! One thread that owns the journal and syncs once for every append that waits.
//!
//! While one `fdatasync` runs, further appends gather; the next write takes them all. Under load the
//! disk's sync rate no longer bounds the rate of appends, and no timer delays a lone one.

use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::{BATCH_MAX, Journal, JournalError, Record, SnapshotPlace, frame, io_error};

struct Append {
    records: Vec<Record>,
    body_length: usize,
    answer: oneshot::Sender<Result<(), JournalError>>,
}

enum Job {
    Append(Append),
    Snapshot(oneshot::Sender<Result<SnapshotPlace, JournalError>>),
}

/// Appends from many tasks to one journal. Clones append to the same journal.
#[derive(Debug, Clone)]
pub struct GroupCommit {
    queue: mpsc::Sender<Job>,
}

/// The thread behind a [`GroupCommit`].
#[derive(Debug)]
pub struct CommitThread {
    thread: JoinHandle<Journal>,
}

/// An append that has its place in the journal's order and may not be on the disk yet.
///
/// Dropped, it is made all the same.
#[derive(Debug)]
pub struct Appending(oneshot::Receiver<Result<(), JournalError>>);

/// A snapshot that has its place in the journal's order; what it stands for may not be on the disk yet.
///
/// Dropped, there is none, and the journal goes on in its next segment all the same.
#[derive(Debug)]
pub struct SnapshotBeginning(oneshot::Receiver<Result<SnapshotPlace, JournalError>>);

impl SnapshotBeginning {
    /// Waits until all that it stands for is on the disk; gives its place. For a thread, not for a task.
    ///
    /// # Errors
    /// Those of [`Journal::begin_snapshot`], and that the journal is closed, or does not take what came before.
    pub fn place(self) -> Result<SnapshotPlace, JournalError> {
        self.0.blocking_recv().map_err(|_| JournalError::Closed)?
    }
}

impl Appending {
    /// One that a test answers.
    #[cfg(test)]
    pub(crate) const fn for_test(answered: oneshot::Receiver<Result<(), JournalError>>) -> Self {
        Self(answered)
    }

    /// Waits until the records, and those of all appends before, are on the disk. Waiting may be broken off
    /// and begun again, but not after it has answered.
    ///
    /// # Errors
    /// Those of [`Journal::append_batch`].
    pub async fn durable(&mut self) -> Result<(), JournalError> {
        (&mut self.0).await.map_err(|_| JournalError::Closed)?
    }
}

impl GroupCommit {
    /// Appends records as one unit; they are on the disk when this returns.
    ///
    /// Waits while the queue is full. Once the records are queued they may be written even if the
    /// caller stops waiting. Appends of one task that awaits each are in its order.
    ///
    /// # Errors
    /// Those of [`Journal::append_batch`].
    pub async fn append(&self, records: Vec<Record>) -> Result<(), JournalError> {
        self.begin(records).await?.durable().await
    }

    /// As [`Self::append`], without waiting for the disk: what is begun later comes later.
    ///
    /// # Errors
    /// When the journal does not take so many bytes in one append, or is closed.
    pub async fn begin(&self, records: Vec<Record>) -> Result<Appending, JournalError> {
        let body_length = frame::checked_body_length(&records)? as usize;
        let (answer, answered) = oneshot::channel();
        let append = Append { records, body_length, answer };
        self.queue.send(Job::Append(append)).await.map_err(|_| JournalError::Closed)?;
        Ok(Appending(answered))
    }

    /// Begins a snapshot of all that was begun to be appended before this is called, without waiting for the
    /// disk: see [`Journal::begin_snapshot`].
    ///
    /// # Errors
    /// When the journal is closed.
    pub async fn begin_snapshot(&self) -> Result<SnapshotBeginning, JournalError> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Job::Snapshot(answer)).await.map_err(|_| JournalError::Closed)?;
        Ok(SnapshotBeginning(answered))
    }
}

impl CommitThread {
    /// Waits until every [`GroupCommit`] is dropped and all that was queued is written.
    ///
    /// # Errors
    /// When the thread did not end by itself.
    pub fn join(self) -> Result<Journal, JournalError> {
        self.thread.join().map_err(|_| JournalError::Closed)
    }
}

pub(super) fn start(
    journal: Journal,
    queue: usize,
) -> Result<(GroupCommit, CommitThread), JournalError> {
    let (sender, receiver) = mpsc::channel(queue.max(1));
    let directory = journal.directory.clone();
    let thread = std::thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || commit_until_closed(journal, receiver))
        .map_err(io_error("start a thread for", &directory))?;
    Ok((GroupCommit { queue: sender }, CommitThread { thread }))
}

fn commit_until_closed(mut journal: Journal, mut queue: mpsc::Receiver<Job>) -> Journal {
    let mut held_over = None;
    while let Some(first) = held_over.take().or_else(|| queue.blocking_recv()) {
        let first = match first {
            Job::Append(first) => first,
            Job::Snapshot(answer) => {
                // whoever asked may be gone: then there is none
                let _ = answer.send(journal.begin_snapshot());
                continue;
            }
        };
        let mut body_length = first.body_length;
        let mut answers = vec![first.answer];
        let mut records = first.records;
        while let Ok(next) = queue.try_recv() {
            let next = match next {
                Job::Append(next) if body_length + next.body_length <= BATCH_MAX => next,
                other => {
                    held_over = Some(other);
                    break;
                }
            };
            body_length += next.body_length;
            records.extend(next.records);
            answers.push(next.answer);
        }
        let outcome = journal.append_batch(&records);
        for answer in answers {
            // a caller that stopped waiting has no use for the answer
            let _ = answer.send(outcome.clone());
        }
    }
    journal
}
