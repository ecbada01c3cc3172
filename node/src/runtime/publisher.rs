//! Makes the published log durable and shows its checkpoint, behind the loop.
//!
//! Tiles and certificates are written in the turn that makes a block final, so that readers and catch-up find
//! them; the wait for the disk is a thread's. It syncs the file system once for all files of all
//! blocks that came meanwhile, and only then puts the newest checkpoint in its place and removes the partial
//! tiles that it replaces: after a crash, whatever a checkpoint names is there, and what it does not name yet is written
//! again from the journal. Of checkpoints that wait only the newest is shown.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use protocol::log::checkpoint::SignedCheckpoint;

use super::published::PublishError;

#[derive(Default)]
struct Work {
    // the newest checkpoint, if it is not shown yet
    checkpoint: Option<SignedCheckpoint>,
    // directories of partial tiles that the full ones replace
    superseded: Vec<PathBuf>,
    at_work: bool,
    ended: bool,
    failed: Option<PublishError>,
}

#[derive(Default)]
struct Shared {
    work: Mutex<Work>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that publishes. Dropped, it first ends what waits.
pub(super) struct Publisher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    /// For the log in a folder; the checkpoint's file is `name` in it.
    ///
    /// # Errors
    /// When the folder cannot be opened or no thread can be started.
    pub(super) fn start(folder: &Path, name: &'static str) -> Result<Self, PublishError> {
        let io = |source: std::io::Error| PublishError::io(folder, source);
        let directory = File::open(folder).map_err(io)?;
        let shared = Arc::new(Shared::default());
        let (theirs, path) = (Arc::clone(&shared), folder.to_path_buf());
        let thread = std::thread::Builder::new()
            .name("publisher".to_owned())
            .spawn(move || publish_until_ended(&theirs, &directory, &path, name))
            .map_err(io)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Partial tiles that are not needed once the next checkpoint is shown.
    pub(super) fn supersede(&self, directories: impl IntoIterator<Item = PathBuf>) {
        self.shared.lock().superseded.extend(directories);
    }

    /// Shows a checkpoint when all that has been written by now is on the disk.
    ///
    /// # Errors
    /// When an earlier one could not be shown: nothing is published any more.
    pub(super) fn show(&self, checkpoint: SignedCheckpoint) -> Result<(), PublishError> {
        let mut work = self.shared.lock();
        if let Some(error) = &work.failed {
            return Err(error.clone());
        }
        work.checkpoint = Some(checkpoint);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Waits until the newest checkpoint is shown.
    ///
    /// # Errors
    /// When it could not be.
    pub(super) fn wait(&self) -> Result<(), PublishError> {
        let mut work = self.shared.lock();
        while work.failed.is_none() && (work.at_work || work.checkpoint.is_some()) {
            work = self.shared.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        work.failed.clone().map_or(Ok(()), Err)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // what it could not do is done again from the journal
            let _ = thread.join();
        }
    }
}

fn publish_until_ended(shared: &Shared, directory: &File, folder: &Path, name: &str) {
    loop {
        let (checkpoint, superseded) = {
            let mut work = shared.lock();
            loop {
                if let Some(checkpoint) = work.checkpoint.take() {
                    work.at_work = true;
                    break (checkpoint, std::mem::take(&mut work.superseded));
                }
                if work.ended {
                    return;
                }
                work = shared.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
            }
        };
        let shown = publish(directory, folder, name, &checkpoint);
        if shown.is_ok() {
            for partials in superseded {
                // a convenience once the full one is there
                let _ = fs::remove_dir_all(partials);
            }
        }
        let mut work = shared.lock();
        work.at_work = false;
        work.failed = shown.err();
        let failed = work.failed.is_some();
        drop(work);
        shared.changed.notify_all();
        if failed {
            return;
        }
    }
}

/// All that was written before is on the disk when the checkpoint is in its place. `syncfs` reports
/// what could not be written since the directory was opened (Linux 5.8 and later).
fn publish(
    directory: &File,
    folder: &Path,
    name: &str,
    checkpoint: &SignedCheckpoint,
) -> Result<(), PublishError> {
    rustix::fs::syncfs(directory).map_err(|source| PublishError::io(folder, source.into()))?;
    replace(folder, name, checkpoint)
}

/// Puts a checkpoint in the place of the one before: readers see the old or the new.
pub(super) fn replace(
    folder: &Path,
    name: &str,
    checkpoint: &SignedCheckpoint,
) -> Result<(), PublishError> {
    let path = folder.join(name);
    let temporary = folder.join(format!("{name}.new"));
    File::create(&temporary)
        .and_then(|mut file| {
            file.write_all(checkpoint.to_string().as_bytes())?;
            file.sync_data()
        })
        .map_err(|source| PublishError::io(&temporary, source))?;
    fs::rename(&temporary, &path).map_err(|source| PublishError::io(&path, source))
}

#[cfg(test)]
mod tests {
    use protocol::crypto::SigningKey;
    use protocol::ids::{RootHash, TreeSize};
    use protocol::log::checkpoint::Checkpoint;
    use protocol::log::note::KeyName;

    use super::*;

    fn checkpoint(size: u64) -> SignedCheckpoint {
        let origin = KeyName::new("log.example/a").unwrap();
        let root = RootHash::from_bytes([size as u8; 32]);
        let checkpoint = Checkpoint::new(&origin, TreeSize::new(size), root);
        SignedCheckpoint::sign(checkpoint, &SigningKey::from_seed(&[3; 32]).unwrap()).unwrap()
    }

    fn shown(folder: &Path) -> u64 {
        let bytes = fs::read(folder.join("checkpoint")).unwrap();
        SignedCheckpoint::parse(&bytes).unwrap().unverified().size().get()
    }

    #[test]
    fn the_newest_is_shown_and_partial_tiles_go_only_then() {
        let folder = tempfile::tempdir().unwrap();
        let partials = folder.path().join("tile/0/000.p");
        fs::create_dir_all(&partials).unwrap();
        let publisher = Publisher::start(folder.path(), "checkpoint").unwrap();
        publisher.supersede([partials.clone()]);
        publisher.wait().unwrap();
        assert!(partials.exists(), "nothing stands in their place yet");
        (1..=50).for_each(|size| publisher.show(checkpoint(size)).unwrap());
        publisher.wait().unwrap();
        assert_eq!(shown(folder.path()), 50);
        assert!(!partials.exists());
        publisher.show(checkpoint(51)).unwrap();
        drop(publisher);
        assert_eq!(shown(folder.path()), 51, "what waits is ended first");
    }

    #[test]
    fn what_cannot_be_shown_is_told_and_nothing_is_shown_after_it() {
        let folder = tempfile::tempdir().unwrap();
        // nothing can be put in the place of a directory that is not empty
        fs::create_dir_all(folder.path().join("checkpoint/full")).unwrap();
        let publisher = Publisher::start(folder.path(), "checkpoint").unwrap();
        publisher.show(checkpoint(1)).unwrap();
        assert!(matches!(publisher.wait(), Err(PublishError::Io { .. })));
        fs::remove_dir_all(folder.path().join("checkpoint")).unwrap();
        assert!(publisher.show(checkpoint(2)).is_err());
        drop(publisher);
        assert!(!folder.path().join("checkpoint").exists());
    }
}
