//! Writes the published log and shows its checkpoint, behind the loop.
//!
//! Own final blocks are handed over in the turn that makes them final, and the checkpoint when that turn is
//! durable; everything else is a thread's. It writes the tiles that all blocks which came meanwhile have
//! filled, then the partial ones of the newest checkpoint's size alone, then the certificates, syncs the file
//! system once, and only then puts the checkpoint in its place and removes the partial tiles that full ones replace: after a crash,
//! whatever a checkpoint names is there, and what it does not name yet is written again from the journal.
//! Of checkpoints that wait only the newest is shown. Under load it publishes some times a second, so
//! that a log of many blocks does not cost a partial tile and a sync for each; a lone block is published at
//! once, and whoever has to read what is not there yet is waited for.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocol::ids::TreeSize;
use protocol::log::checkpoint::SignedCheckpoint;
use protocol::log::tiles::{TileFile, TileWriter};
use protocol::witness::build::OwnBlock;

use super::published::PublishError;

/// From one publication to the next, unless somebody waits.
const PAUSE: Duration = Duration::from_millis(500);
/// Bytes of blocks from which on they are written without a checkpoint that names them.
const WAITING_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of blocks that wait at most: whoever brings more is held up.
const WAITING_BYTES_MAX: usize = 2 * WAITING_BYTES;

/// A final block for the log's files.
pub(super) struct Final {
    /// It.
    pub(super) block: OwnBlock,
    /// The bytes of its certificate, unless they are in their file.
    pub(super) certificate: Option<Vec<u8>>,
}

impl Final {
    fn size(&self) -> TreeSize {
        self.block.reference().size
    }
    fn bytes(&self) -> usize {
        self.block.body().as_bytes().len()
    }
}

#[derive(Default)]
struct Work {
    // in order, none of it wholly on disk
    blocks: VecDeque<Final>,
    waiting_bytes: usize,
    // the newest checkpoint, if it is not shown yet
    checkpoint: Option<SignedCheckpoint>,
    // a size whose tiles somebody waits for, and the one up to which they can be read
    wanted: TreeSize,
    written: TreeSize,
    // the size of the last checkpoint that was shown
    shown: TreeSize,
    hurried: bool,
    at_work: bool,
    ended: bool,
    failed: Option<PublishError>,
}

impl Work {
    /// Whether there is something to do that does not wait for the pause to be over.
    fn is_urgent(&self) -> bool {
        let has_checkpoint = self.checkpoint.is_some();
        has_checkpoint && (self.ended || self.hurried)
            || !self.blocks.is_empty()
                && (self.wanted > self.written || self.waiting_bytes > WAITING_BYTES)
    }

    /// What is done next: the blocks up to a checkpoint, or, when somebody waits for more, those beyond it.
    fn take(&mut self) -> (Vec<Final>, Option<SignedCheckpoint>) {
        let checkpoint = self.checkpoint.take();
        let end = checkpoint.as_ref().map(|it| it.unverified().size());
        let mut blocks = Vec::new();
        while let Some(block) =
            self.blocks.pop_front_if(|block| end.is_none_or(|end| block.size() <= end))
        {
            self.waiting_bytes -= block.bytes();
            blocks.push(block);
        }
        (blocks, checkpoint)
    }
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

    fn wait<'a>(&self, work: MutexGuard<'a, Work>) -> MutexGuard<'a, Work> {
        self.changed.wait(work).unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that publishes. Dropped, it first ends what waits.
pub(super) struct Publisher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    /// For the log in a folder, whose tiles have been written up to where `tiles` stands; the certificates' file
    /// is open at its end, the checkpoint's is `name` in the folder.
    ///
    /// # Errors
    /// When the folder cannot be opened or no thread can be started.
    pub(super) fn start(
        folder: &Path,
        name: &'static str,
        (tiles, certificates): (TileWriter, File),
    ) -> Result<Self, PublishError> {
        let io = |source: std::io::Error| PublishError::io(folder, source);
        let directory = File::open(folder).map_err(io)?;
        let work = Work { written: tiles.size(), shown: tiles.size(), ..Work::default() };
        let shared = Arc::new(Shared { work: Mutex::new(work), changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let edge = tiles.size();
        let (folder, superseded) = (folder.to_path_buf(), Vec::new());
        let files = Files { folder, directory, name, tiles, certificates, edge, superseded };
        let thread = std::thread::Builder::new()
            .name("publisher".to_owned())
            .spawn(move || publish_until_ended(&theirs, files))
            .map_err(io)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Takes the next final block. Waits while too many wait already.
    ///
    /// # Errors
    /// When earlier ones could not be written: nothing is published any more.
    pub(super) fn append(&self, block: Final) -> Result<(), PublishError> {
        let mut work = self.shared.lock();
        while work.failed.is_none() && work.waiting_bytes > WAITING_BYTES_MAX {
            work = self.shared.wait(work);
        }
        if let Some(error) = &work.failed {
            return Err(error.clone());
        }
        work.waiting_bytes += block.bytes();
        work.blocks.push_back(block);
        if work.is_urgent() {
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    /// Shows a checkpoint when all that it names is on the disk.
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
            work.hurried = true;
            self.shared.changed.notify_all();
            work = self.shared.wait(work);
        }
        work.hurried = false;
        work.failed.clone().map_or(Ok(()), Err)
    }

    /// Ends when what waits is done; whoever waits for more hears so.
    pub(super) fn close(&self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
    }

    /// For a thread that waits until a checkpoint of this size, or a later one, is shown.
    pub(super) fn showing(&self, size: TreeSize) -> Showing {
        Showing { shared: Arc::clone(&self.shared), size }
    }

    /// Up to which size the tiles can be read: that of `size` at least, if they are to come to it at all.
    pub(super) fn written(&self, size: TreeSize) -> TreeSize {
        let mut work = self.shared.lock();
        while work.failed.is_none()
            && work.written < size
            && (work.at_work || !work.blocks.is_empty())
        {
            work.wanted = work.wanted.max(size);
            self.shared.changed.notify_all();
            work = self.shared.wait(work);
        }
        work.written
    }
}

/// A checkpoint that is shown soon: all turns before are on their way to the disk.
pub(super) struct Showing {
    shared: Arc<Shared>,
    size: TreeSize,
}

impl Showing {
    /// Waits until it is shown, and with it all is on the disk that it names.
    ///
    /// # Errors
    /// When it could not be, or the log was closed before.
    pub(super) fn wait(self) -> Result<(), PublishError> {
        let mut work = self.shared.lock();
        while work.failed.is_none() && work.shown < self.size {
            if work.ended && !work.at_work && work.checkpoint.is_none() {
                return Err(PublishError::Closed);
            }
            work.hurried = true;
            self.shared.changed.notify_all();
            work = self.shared.wait(work);
        }
        work.hurried = false;
        work.failed.clone().map_or(Ok(()), Err)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.close();
        if let Some(thread) = self.thread.take() {
            // what it could not do is done again from the journal
            let _ = thread.join();
        }
    }
}

fn publish_until_ended(shared: &Shared, mut files: Files) {
    let mut next = Instant::now();
    loop {
        let (blocks, checkpoint) = {
            let mut work = shared.lock();
            loop {
                let pause = next.saturating_duration_since(Instant::now());
                if work.is_urgent() || work.checkpoint.is_some() && pause.is_zero() {
                    work.at_work = true;
                    break work.take();
                }
                if work.ended {
                    return;
                }
                work = if work.checkpoint.is_some() {
                    let waited = shared.changed.wait_timeout(work, pause);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                } else {
                    shared.wait(work)
                };
            }
        };
        next = Instant::now() + PAUSE;
        let mut done = files.write(&blocks);
        drop(blocks);
        let mut shown = None;
        if done.is_ok() {
            shared.lock().written = files.tiles.size();
            shared.changed.notify_all();
            match checkpoint.map(|checkpoint| files.show(&checkpoint)) {
                Some(Ok(size)) => shown = size,
                Some(Err(error)) => done = Err(error),
                None => {}
            }
        }
        let mut work = shared.lock();
        work.at_work = false;
        work.shown = shown.unwrap_or(work.shown);
        work.failed = done.err();
        let failed = work.failed.is_some();
        drop(work);
        shared.changed.notify_all();
        if failed {
            return;
        }
    }
}

/// The log's files, as far as they are written.
struct Files {
    folder: PathBuf,
    directory: File,
    name: &'static str,
    tiles: TileWriter,
    certificates: File,
    // the last size whose partial tiles were written
    edge: TreeSize,
    // directories of partial tiles that full ones replace
    superseded: Vec<PathBuf>,
}

impl Files {
    /// Writes the tiles of these blocks, partial ones for the size after the last of them, and then their
    /// certificates: a certificate tells who audits the folder that the leaves are there.
    fn write(&mut self, blocks: &[Final]) -> Result<(), PublishError> {
        let folder = &self.folder;
        let problem = |problem: String| PublishError::Tiles { path: folder.clone(), problem };
        let (mut written, from) = (Ok(()), self.tiles.size());
        for Final { block, .. } in blocks.iter().filter(|block| block.size() > from) {
            let leaves = block.hashed_leaves().map_err(|error| problem(error.to_string()))?;
            let filled = |file: TileFile| {
                if written.is_ok() {
                    written = write(folder, &file);
                }
            };
            let added = self.tiles.fill(leaves, &block.tree(), filled);
            added.map_err(|error| problem(error.to_string()))?;
        }
        written?;
        let edge = self.tiles.edge_since(self.edge);
        edge.files.iter().try_for_each(|file| write(&self.folder, file))?;
        self.edge = self.tiles.size();
        let superseded = edge.superseded.iter();
        let superseded = superseded.map(|tile| self.folder.join(tile.partials_directory()));
        self.superseded.extend(superseded);
        let certificates = blocks.iter().filter_map(|block| block.certificate.as_deref());
        self.certificates
            .write_all(&certificates.collect::<Vec<_>>().concat())
            .map_err(|source| PublishError::io(&self.folder.join("certificates"), source))
    }

    /// All that was written before is on the disk when the checkpoint is in its place. `syncfs` reports
    /// what could not be written since the directory was opened (Linux 5.8 and later). Gives the size that is
    /// shown by it, if it is.
    fn show(&mut self, checkpoint: &SignedCheckpoint) -> Result<Option<TreeSize>, PublishError> {
        let size = checkpoint.unverified().size();
        match size.cmp(&self.edge) {
            Ordering::Equal => {}
            // its own partial tiles were not written: those of a later size were, whose checkpoint comes
            // as soon as its turn is durable
            Ordering::Less => return Ok(None),
            Ordering::Greater => {
                let problem = "they end before the size of the checkpoint".to_owned();
                return Err(PublishError::Tiles { path: self.folder.clone(), problem });
            }
        }
        rustix::fs::syncfs(&self.directory)
            .map_err(|source| PublishError::io(&self.folder, source.into()))?;
        replace(&self.folder, self.name, checkpoint)?;
        for partials in self.superseded.drain(..) {
            // a convenience once the full one is there
            let _ = fs::remove_dir_all(partials);
        }
        Ok(Some(size))
    }
}

fn write(folder: &Path, file: &TileFile) -> Result<(), PublishError> {
    let path = folder.join(file.path.to_string());
    let written = match fs::write(&path, &file.bytes) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, &file.bytes)),
        written => written,
    };
    written.map_err(|source| PublishError::io(&path, source))
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
    use protocol::ids::{BrandId, Epoch, HeaderHash, Height, RootHash};
    use protocol::log::block::BlockReference;
    use protocol::log::checkpoint::Checkpoint;
    use protocol::log::entries::Entries;
    use protocol::log::merkle::{Frontier, leaf_hash};
    use protocol::log::note::KeyName;
    use protocol::log::tiles::rebuild;

    use super::super::published::LogFolder;
    use super::*;

    const NAME: &str = "checkpoint";

    /// A log whose blocks have so many leaves each.
    fn blocks(leaves: &[u64]) -> Vec<OwnBlock> {
        let mut frontier = Frontier::empty();
        let log = BrandId::new("a").unwrap();
        let blocks = (1..).zip(leaves).map(|(height, count)| {
            let before = frontier.clone();
            let mut body = Entries::new();
            for number in 1..*count {
                let leaf = [height, number].map(u64::to_be_bytes).concat();
                body.push(&leaf).unwrap();
                frontier.append(leaf_hash(&leaf)).unwrap();
            }
            let header = vec![9; 300];
            frontier.append(leaf_hash(&header)).unwrap();
            let reference = BlockReference {
                log,
                epoch: Epoch::new(1),
                height: Height::new(height),
                header: HeaderHash::GENESIS,
                size: frontier.size(),
                root: frontier.root(),
            };
            OwnBlock::of_body(reference, (header, body), Vec::new(), before)
        });
        blocks.collect()
    }

    fn checkpoint(size: TreeSize, root: RootHash) -> SignedCheckpoint {
        let origin = KeyName::new("log.example/a").unwrap();
        let checkpoint = Checkpoint::new(&origin, size, root);
        SignedCheckpoint::sign(checkpoint, &SigningKey::from_seed(&[3; 32]).unwrap()).unwrap()
    }

    fn of(block: &OwnBlock) -> SignedCheckpoint {
        checkpoint(block.reference().size, block.reference().root)
    }

    /// The size that is shown; every tile that a reader of it needs is there and agrees with its root.
    fn shown(folder: &Path) -> u64 {
        let bytes = fs::read(folder.join(NAME)).unwrap();
        let shown = SignedCheckpoint::parse(&bytes).unwrap().unverified().clone();
        let read = rebuild(&LogFolder(folder.into()), shown.size(), |_, _| {}).unwrap();
        assert_eq!(read.root(), shown.root());
        shown.size().get()
    }

    fn start(folder: &Path) -> Publisher {
        let certificates = File::create(folder.join("certificates")).unwrap();
        Publisher::start(folder, NAME, (TileWriter::empty(), certificates)).unwrap()
    }

    fn append(publisher: &Publisher, block: &OwnBlock) -> Result<(), PublishError> {
        let certificate = Some(vec![block.reference().height.get() as u8]);
        publisher.append(Final { block: block.clone(), certificate })
    }

    /// The certificates that are there; the leaves of each are.
    fn certified(folder: &Path, all: &[OwnBlock]) -> usize {
        let certificates = fs::read(folder.join("certificates")).unwrap();
        assert!((1..).take(certificates.len()).eq(certificates.iter().copied()));
        if let Some(block) = certificates.len().checked_sub(1).map(|last| &all[last]) {
            let read = rebuild(&LogFolder(folder.into()), block.reference().size, |_, _| {});
            assert_eq!(read.unwrap().root(), block.reference().root);
        }
        certificates.len()
    }

    #[test]
    fn a_checkpoint_is_shown_with_all_it_names_and_partial_tiles_go_only_then() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = start(folder.path());
        let all = blocks(&[200, 30, 30, 1, 70_000, 5]);
        append(&publisher, &all[0]).unwrap();
        publisher.show(of(&all[0])).unwrap();
        publisher.wait().unwrap();
        let partials = folder.path().join("tile/entries/000.p");
        assert!(shown(folder.path()) == 200 && partials.exists());
        // written, and not shown: nothing goes yet
        for block in &all[1..] {
            append(&publisher, block).unwrap();
            let size = block.reference().size;
            assert!(publisher.written(size) >= size);
        }
        assert!(shown(folder.path()) == 200 && partials.exists());
        assert_eq!(certified(folder.path(), &all), 6);
        publisher.show(of(&all[5])).unwrap();
        publisher.wait().unwrap();
        assert!(shown(folder.path()) == 70_266 && !partials.exists());
    }

    #[test]
    fn of_those_that_wait_the_newest_is_shown_and_what_waits_is_ended_first() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = start(folder.path());
        let all = blocks(&[7; 80]);
        for block in &all {
            append(&publisher, block).unwrap();
            publisher.show(of(block)).unwrap();
        }
        drop(publisher);
        assert_eq!(shown(folder.path()), 560);
        // few of the sizes in between have had tiles of their own
        let widths = fs::read_dir(folder.path().join("tile/entries/002.p")).unwrap().count();
        assert!(widths < 20, "{widths}");
    }

    #[test]
    fn who_waits_for_a_size_hears_when_it_is_shown_or_that_it_never_will_be() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = start(folder.path());
        let all = blocks(&[10, 10, 10]);
        all[..2].iter().for_each(|block| append(&publisher, block).unwrap());
        let wait = |block: &OwnBlock| {
            let showing = publisher.showing(block.reference().size);
            std::thread::spawn(move || showing.wait())
        };
        let (first, second, third) = (wait(&all[0]), wait(&all[1]), wait(&all[2]));
        publisher.show(of(&all[1])).unwrap();
        assert!(first.join().unwrap().is_ok() && second.join().unwrap().is_ok());
        assert_eq!(shown(folder.path()), 20);
        assert!(!third.is_finished());
        publisher.close();
        assert!(matches!(third.join().unwrap(), Err(PublishError::Closed)));
        assert!(matches!(publisher.showing(TreeSize::new(21)).wait(), Err(PublishError::Closed)));
        assert!(publisher.showing(TreeSize::new(20)).wait().is_ok());
    }

    /// The turn of a later block had its tiles read before an earlier one was durable.
    #[test]
    fn a_size_that_has_no_tiles_of_its_own_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = start(folder.path());
        let all = blocks(&[10, 10]);
        all.iter().for_each(|block| append(&publisher, block).unwrap());
        assert_eq!(publisher.written(TreeSize::new(15)).get(), 20);
        publisher.show(of(&all[0])).unwrap();
        publisher.wait().unwrap();
        assert!(!folder.path().join(NAME).exists());
        publisher.show(of(&all[1])).unwrap();
        publisher.wait().unwrap();
        assert_eq!(shown(folder.path()), 20);
    }

    #[test]
    fn a_checkpoint_of_entries_that_are_not_there_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = start(folder.path());
        let all = blocks(&[10, 10]);
        append(&publisher, &all[0]).unwrap();
        publisher.show(of(&all[1])).unwrap();
        assert!(matches!(publisher.wait(), Err(PublishError::Tiles { .. })));
        assert!(!folder.path().join(NAME).exists());
    }

    #[test]
    fn what_cannot_be_shown_is_told_and_nothing_is_shown_after_it() {
        let folder = tempfile::tempdir().unwrap();
        // nothing can be put in the place of a directory that is not empty
        fs::create_dir_all(folder.path().join("checkpoint/full")).unwrap();
        let publisher = start(folder.path());
        let all = blocks(&[10, 10]);
        append(&publisher, &all[0]).unwrap();
        publisher.show(of(&all[0])).unwrap();
        assert!(matches!(publisher.wait(), Err(PublishError::Io { .. })));
        fs::remove_dir_all(folder.path().join(NAME)).unwrap();
        assert!(append(&publisher, &all[1]).is_err());
        assert!(publisher.show(of(&all[1])).is_err());
        drop(publisher);
        assert!(!folder.path().join(NAME).exists());
    }
}
