//! An append-only file of records that are on the disk before anyone is told so.
//!
//! Knows: frames, checksums, segments, `fdatasync`, what a crash may leave behind and what only
//! damage can. Does not know what a record means: it is a kind (one byte) and bytes.
//!
//! Guarantees
//! - When an append returns, its records are on the disk (`write`, then `fdatasync`; a new file is
//!   followed by an `fsync` of its directory).
//! - The records of one append come back together and in order, or, if the append never returned,
//!   perhaps not at all.
//! - Each frame is synced before the next is written, so at most the last one can be torn: [`Replay`]
//!   cuts such a tail and reports it. Anything else that does not check is damage; it is an error
//!   that names file and offset, and nothing can be appended ([`Replay::into_journal`] fails).
//! - The first write error is the last write: the journal is poisoned, since after a failed sync
//!   nobody knows what the disk holds (Rebello et al., "Can Applications Recover from fsync
//!   Failures?", USENIX ATC 2020).
//! - One process at a time, by a lock on the file `lock`.
//!
//! - A replay does not grow with the history: a [`SnapshotWriter`] puts what the records so far come to in
//!   their place.
//!
//! What the checksums cannot show: damage that hits the last frame alone looks like a torn write (the [`TornTail`] report says
//! whether the frame was cut short or whole), and a directory put back from a copy looks sound
//! (rules 11 to 13 of the ledger find that by asking the other brands). Votes, locks and incarnations are
//! in here alone: keep this directory out of backups, and whoever puts one back says so
//! (`coalition run --restored`).

mod frame;
mod group;
mod replay;
mod snapshot;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use group::{Appending, CommitThread, GroupCommit, SnapshotBeginning};
pub use replay::Replay;
pub use snapshot::{SnapshotPlace, SnapshotWriter};

/// Version of the files. Version 0 promises no compatibility.
pub const FORMAT_VERSION: u16 = 0;
/// Most bytes of one record: a message between nodes and 64 KiB for what the node adds to it.
pub const RECORD_MAX: usize = protocol::codec::MESSAGE_MAX + 64 * 1024;
/// Most bytes of one frame's body, that is of all records of one append with 5 bytes for each.
pub const BATCH_MAX: usize = 2 * RECORD_MAX;
/// A segment that has reached this many bytes is not appended to any more.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// One record.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is, by the caller's own table.
    pub kind: u8,
    /// Its content, at most [`RECORD_MAX`] bytes.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // the content may concern a member
        write!(f, "Record {{ kind: {}, {} bytes }}", self.kind, self.bytes.len())
    }
}

/// A last frame that a crash left incomplete. It had not been acknowledged, unless the disk lost it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub file: PathBuf,
    /// Where the frame began, in bytes; the file now ends there.
    pub offset: u64,
    /// How many bytes were cut off.
    pub bytes: u64,
    /// Whether the frame ended early. If not, it had its full length and did not match its
    /// checksum, which a crash can leave on some file systems, but a failing disk too.
    pub cut_short: bool,
}

/// Why the journal cannot be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}; check the disk, its free space and the rights on it", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The reason it gave.
        source: Arc<io::Error>,
    },
    /// Another process has the journal open.
    #[error("{} is in use: stop the other node, or give this one a directory of its own", .directory.display())]
    InUse {
        /// The journal's directory.
        directory: PathBuf,
    },
    /// The files are not what was written.
    #[error(
        "{} is damaged at byte {offset}: {what}; nothing may be signed from this directory: \
         restore the machine as described for a restored node", .file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where, in bytes.
        offset: u64,
        /// What does not fit.
        what: &'static str,
    },
    /// A file of another format version.
    #[error("{} has format version {found}; this node reads version {FORMAT_VERSION}", .file.display())]
    OtherVersion {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u16,
    },
    /// More bytes than one record or one append may have. Nothing was written.
    #[error("{found} bytes in one {what}, at most {most} are possible: split it")]
    TooLong {
        /// Record or append.
        what: &'static str,
        /// How many there were.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// An earlier write failed.
    #[error("{earlier}; the journal has taken nothing since: restart the node once that is mended")]
    Poisoned {
        /// Why that one did.
        earlier: Box<JournalError>,
    },
    /// A record cannot be encrypted for want of random bytes. Nothing was written.
    #[error("a record cannot be encrypted: the system gives no random bytes")]
    NotSealed,
    /// The thread that writes has ended.
    #[error("the journal has been closed")]
    Closed,
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_path_buf();
    move |source| JournalError::Io { action, path, source: Arc::new(source) }
}

/// A journal that has been read to its end and can be appended to.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    file: File,
    segment: u64,
    offset: u64,
    segment_bytes: u64,
    torn_tail: Option<TornTail>,
    /// The first write error.
    poisoned: Option<Box<JournalError>>,
    // held while the journal is open
    _lock: File,
}

impl Journal {
    /// Locks the directory, making it if it is not there, and begins to read it.
    ///
    /// # Errors
    /// When another process has it open, or files are missing.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Replay, JournalError> {
        Self::open_with(directory, SEGMENT_BYTES)
    }

    /// The same with another segment size, in bytes.
    ///
    /// # Errors
    /// Those of [`Journal::open`].
    pub fn open_with(
        directory: impl Into<PathBuf>,
        segment_bytes: u64,
    ) -> Result<Replay, JournalError> {
        let directory = directory.into();
        if !directory.is_dir() {
            fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
            if let Some(parent) = directory.parent().filter(|parent| parent.is_dir()) {
                sync_directory(parent)?;
            }
        }
        let lock_path = directory.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(io_error("open", &lock_path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => JournalError::InUse { directory: directory.clone() },
            TryLockError::Error(source) => io_error("lock", &lock_path)(source),
        })?;
        Replay::begin(directory, segment_bytes, lock)
    }

    /// Appends records as one unit; they are on the disk when this returns.
    ///
    /// # Errors
    /// [`JournalError::TooLong`] leaves the journal as it was. After any other error nothing is ever
    /// appended again.
    pub fn append_batch(&mut self, records: &[Record]) -> Result<(), JournalError> {
        self.check_poisoned()?;
        if records.is_empty() {
            return Ok(());
        }
        let body_length = frame::checked_body_length(records)?;
        let written = self.write_frame(records, body_length);
        self.poisoned = written.as_ref().err().cloned().map(Box::new);
        written
    }

    fn check_poisoned(&self) -> Result<(), JournalError> {
        match &self.poisoned {
            Some(earlier) => Err(JournalError::Poisoned { earlier: earlier.clone() }),
            None => Ok(()),
        }
    }

    /// Begins a snapshot of all that was appended so far: what is appended from now on comes after it.
    ///
    /// # Errors
    /// When the next segment cannot be begun: then nothing is ever appended again.
    pub fn begin_snapshot(&mut self) -> Result<SnapshotPlace, JournalError> {
        self.check_poisoned()?;
        let next = self.segment + 1;
        match create_segment(&self.directory, next) {
            Ok(file) => self.file = file,
            Err(error) => {
                self.poisoned = Some(Box::new(error.clone()));
                return Err(error);
            }
        }
        (self.segment, self.offset) = (next, frame::SEGMENT_HEADER_BYTES);
        Ok(SnapshotPlace { directory: self.directory.clone(), number: next })
    }

    fn write_frame(&mut self, records: &[Record], body_length: u32) -> Result<(), JournalError> {
        if self.offset > frame::SEGMENT_HEADER_BYTES && self.offset >= self.segment_bytes {
            let next = self.segment + 1;
            self.file = create_segment(&self.directory, next)?;
            (self.segment, self.offset) = (next, frame::SEGMENT_HEADER_BYTES);
        }
        let path = segment_path(&self.directory, self.segment);
        let place = (self.segment, self.offset);
        let length = frame::write(&mut self.file, place, records, body_length)
            .map_err(io_error("append to", &path))?;
        self.file.sync_data().map_err(io_error("sync", &path))?;
        self.offset += length;
        Ok(())
    }

    /// What a crash had left at the end, if anything.
    #[must_use]
    pub const fn torn_tail(&self) -> Option<&TornTail> {
        self.torn_tail.as_ref()
    }

    /// Gives the journal to a thread of its own that syncs once for all appends that wait.
    ///
    /// At most `queue` appends wait; further callers are held back.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn into_group_commit(
        self,
        queue: usize,
    ) -> Result<(GroupCommit, CommitThread), JournalError> {
        group::start(self, queue)
    }
}

fn segment_path(directory: &Path, segment: u64) -> PathBuf {
    directory.join(format!("{segment:020}.journal"))
}

fn create_segment(directory: &Path, segment: u64) -> Result<File, JournalError> {
    let path = segment_path(directory, segment);
    let mut file = OpenOptions::new()
        .create_new(true)
        .append(true)
        .open(&path)
        .map_err(io_error("create", &path))?;
    file.write_all(&frame::segment_header(segment)).map_err(io_error("write", &path))?;
    file.sync_all().map_err(io_error("sync", &path))?;
    sync_directory(directory)?;
    Ok(file)
}

fn sync_directory(directory: &Path) -> Result<(), JournalError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(io_error("sync the directory", directory))
}

#[cfg(test)]
mod tests;
