//! The own log on disk in the C2SP layout, and own final blocks read back from it.
//!
//! Takes only what is certified: tiles, then `certificates`, then `checkpoint` are written behind the loop
//! ([`super::publisher`]), so that a reader never sees a size whose leaves are not there. What a crash left
//! unwritten is written again from the journal's replay. Does not decide what is final.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use protocol::audit::{CHECKPOINT_FILE, WITNESSED_FILE};
use protocol::codec;
use protocol::ids::{Height, LeafIndex, TreeSize};
use protocol::ledger::Archive;
use protocol::log::block::{ColumnContent, Header};
use protocol::log::checkpoint::SignedCheckpoint;
use protocol::log::merkle::{Frontier, Leaf};
use protocol::log::tiles::{TilePath, TileReader, TileSource, TileWriter, TilesError};
use protocol::witness::build::OwnBlock;
use protocol::witness::statement::{Certificate, UnverifiedCertificate};

use super::publisher::{self, Final, Publisher};

/// A published log folder, read as a source of tiles; what is published no more, from the archive beside
/// it, if it is there.
#[derive(Debug, Clone)]
pub struct LogFolder(pub PathBuf);

impl TileSource for LogFolder {
    fn read(&self, path: &TilePath) -> Option<Vec<u8>> {
        let name = path.to_string();
        let archived = || fs::read(self.0.with_file_name("archive").join(&name));
        fs::read(self.0.join(&name)).or_else(|_| archived()).ok()
    }
}

/// Why the log could not be written or read back.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    /// The operating system refused.
    #[error("cannot write the log at {}: check the disk, its free space and the rights on it", .path.display())]
    Io {
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// The tiles are not what was written.
    #[error("the log's tiles in {} are damaged ({problem}); restore the folder", .path.display())]
    Tiles {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl PublishError {
    pub(super) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source: Arc::new(source) }
    }
}

struct Past {
    certificate: Certificate,
    contents: Vec<ColumnContent>,
}

/// The own log on disk.
pub struct PublishedLog {
    folder: LogFolder,
    // of the blocks that the publisher has been given
    size: TreeSize,
    // the latest of them, while they may not be on disk
    latest: VecDeque<OwnBlock>,
    // how many certificates the file has or will have
    certified: u64,
    publisher: Publisher,
    // by height - 1; the journal's replay brings them back at every start
    past: Vec<Past>,
}

impl PublishedLog {
    /// Opens the folder, making it if need be. `size` is what its checkpoint says.
    ///
    /// # Errors
    /// When the folder cannot be written or its tiles do not hang together.
    pub fn open(folder: &Path) -> Result<Self, PublishError> {
        let io = |source| PublishError::io(folder, source);
        fs::create_dir_all(folder).map_err(io)?;
        let source = LogFolder(folder.into());
        let size = match fs::read(folder.join(CHECKPOINT_FILE)) {
            Ok(bytes) => SignedCheckpoint::parse(&bytes)
                .map(|checkpoint| checkpoint.unverified().size())
                .map_err(|error| PublishError::Tiles {
                    path: folder.into(),
                    problem: error.to_string(),
                })?,
            Err(_) => TreeSize::new(0),
        };
        let writer = TileWriter::read(&source, size).map_err(|error| tiles(folder, &error))?;
        let path = folder.join("certificates");
        let bytes = fs::read(&path).unwrap_or_default();
        let (certified, end) = count_certificates(&bytes);
        let certificates = OpenOptions::new().create(true).append(true).open(&path).map_err(io)?;
        certificates.set_len(end).map_err(io)?;
        let size = writer.size();
        let publisher = Publisher::start(folder, CHECKPOINT_FILE, (writer, certificates))?;
        let (latest, past) = (VecDeque::new(), Vec::new());
        Ok(Self { folder: source, size, latest, certified, publisher, past })
    }

    /// Takes a final block, in order from the first; what of it is not on disk yet will be.
    ///
    /// # Errors
    /// When an earlier one could not be written.
    pub fn append(
        &mut self,
        block: &OwnBlock,
        certificate: &Certificate,
    ) -> Result<(), PublishError> {
        let height = block.reference().height.get();
        let has_leaves = self.size >= block.reference().size;
        if !has_leaves && self.size != block.before().size() {
            return Err(PublishError::Tiles {
                path: self.folder.0.clone(),
                problem: format!("they end before block {height}"),
            });
        }
        if !has_leaves || self.certified < height {
            let bytes = || codec::encode(certificate.as_unverified());
            let certificate = (self.certified < height).then(bytes);
            self.publisher.append(Final { block: block.clone(), certificate })?;
            self.certified = self.certified.max(height);
            self.size = self.size.max(block.reference().size);
            let written = self.publisher.written(TreeSize::new(0));
            while self.latest.pop_front_if(|known| known.reference().size <= written).is_some() {}
            self.latest.push_back(block.clone());
        }
        self.past
            .push(Past { certificate: certificate.clone(), contents: block.contents().to_vec() });
        Ok(())
    }

    /// Shows the checkpoint, with the cosignatures it has by now, as soon as what it names is on the disk.
    ///
    /// # Errors
    /// When an earlier one could not be shown.
    pub fn show(&self, checkpoint: &SignedCheckpoint) -> Result<(), PublishError> {
        self.publisher.show(checkpoint.clone())
    }

    /// Waits until the newest checkpoint is shown, and with it all is on the disk that it names.
    ///
    /// # Errors
    /// When it could not be.
    pub fn wait(&self) -> Result<(), PublishError> {
        self.publisher.wait()
    }

    /// The checkpoint as it was last written, if it can be read.
    #[must_use]
    pub fn checkpoint(&self) -> Option<SignedCheckpoint> {
        SignedCheckpoint::parse(&fs::read(self.folder.0.join(CHECKPOINT_FILE)).ok()?).ok()
    }

    /// Writes the newest checkpoint that a witness outside the alliance has signed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_witnessed(&self, checkpoint: &SignedCheckpoint) -> Result<(), PublishError> {
        publisher::replace(&self.folder.0, WITNESSED_FILE, checkpoint)
    }

    /// Reads leaves and hashes up to a size at least, as soon as they can be read: what of them is not on
    /// disk yet is waited for.
    #[must_use]
    pub fn reader(&self, size: TreeSize) -> TileReader<LogFolder> {
        // not every size has partial tiles of its own; those that were written last serve every size before
        TileReader::new(self.folder.clone(), self.publisher.written(size))
    }

    /// The exact contents of the columns of the block at a height, in the order of its header's.
    #[must_use]
    pub fn contents(&self, height: Height) -> Option<&[ColumnContent]> {
        self.past_at(height).map(|past| past.contents.as_slice())
    }

    /// The header of the own block at a height.
    #[must_use]
    pub fn header(&self, height: Height) -> Option<Header> {
        if let Some(block) = self.latest(height) {
            return Header::from_bytes(block.header_leaf()).ok();
        }
        let size = self.past_at(height)?.certificate.block().size;
        let last = LeafIndex::new(size.get().checked_sub(1)?);
        Header::from_bytes(self.reader(size).leaf(last).ok()?.entry()).ok()
    }

    /// A block that may not be on disk yet.
    fn latest(&self, height: Height) -> Option<&OwnBlock> {
        self.latest.iter().find(|block| block.reference().height == height)
    }

    fn past_at(&self, height: Height) -> Option<&Past> {
        self.past.get(usize::try_from(height.get().checked_sub(1)?).ok()?)
    }
}

impl Archive for PublishedLog {
    fn block(&self, height: Height) -> Option<(OwnBlock, Certificate)> {
        let past = self.past_at(height)?;
        if let Some(block) = self.latest(height) {
            return Some((block.clone(), past.certificate.clone()));
        }
        let reference = past.certificate.block();
        let reader = self.reader(reference.size);
        let header = self.header(height)?;
        let before = Frontier::read(&reader, TreeSize::new(header.first.get())).ok()?;
        let leaves = reader.leaves(header.first, reference.size).ok()?;
        let leaves = leaves.into_iter().map(Leaf::into_entry).collect();
        let block = OwnBlock::restore(reference, leaves, past.contents.clone(), before)?;
        Some((block, past.certificate.clone()))
    }
}

/// How many certificates stand side by side, from the first height on, and where they end: a crash may
/// have left anything after them.
fn count_certificates(bytes: &[u8]) -> (u64, u64) {
    let mut decoder = minicbor::Decoder::new(bytes);
    let (mut count, mut end) = (0, 0);
    while let Ok(certificate) = decoder.decode::<UnverifiedCertificate>()
        && certificate.pledge.block.height.get() == count + 1
    {
        count += 1;
        end = decoder.position() as u64;
    }
    (count, end)
}

fn tiles(folder: &Path, error: &TilesError) -> PublishError {
    PublishError::Tiles { path: folder.into(), problem: error.to_string() }
}
