//! The own log on disk in the C2SP layout, and own final blocks read back from it.
//!
//! Takes only what is certified: tiles, then `certificates`, then `checkpoint` are written behind the loop
//! ([`super::publisher`]), so that a reader never sees a size whose leaves are not there. What a crash left
//! unwritten is written again from the journal's replay. Does not decide what is final.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
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

use super::own_blocks::{OwnBlocks, Past};
use super::publisher::{self, Final, Publisher, Showing};

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
    /// The node stops.
    #[error("the log was closed before its newest checkpoint was shown")]
    Closed,
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
    past: OwnBlocks,
}

impl PublishedLog {
    /// Opens the folder, making it if need be.
    ///
    /// # Errors
    /// When the folder cannot be written or its tiles do not hang together.
    pub fn open(folder: &Path, past: OwnBlocks) -> Result<Self, PublishError> {
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
        let mut certificates =
            OpenOptions::new().create(true).read(true).append(true).open(&path).map_err(io)?;
        let mut bytes = Vec::new();
        // those of blocks that are kept need not be counted again
        let mut first = past.count();
        let known = past.certificates_end(Height::new(first)).map_err(io)?;
        if !has_last(&mut certificates, &past, known).map_err(io)? {
            first = 0;
        }
        let known = if first == 0 { 0 } else { known };
        certificates.seek(SeekFrom::Start(known)).map_err(io)?;
        certificates.read_to_end(&mut bytes).map_err(io)?;
        let (count, length) = count_certificates(&bytes, first);
        certificates.set_len(known + length).map_err(io)?;
        let (certified, size, latest) = (first + count, writer.size(), VecDeque::new());
        let publisher = Publisher::start(folder, CHECKPOINT_FILE, (writer, certificates))?;
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
        let past = Past {
            certificate: certificate.as_unverified().clone(),
            contents: block.contents().to_vec(),
        };
        let added = self.past.append(block.reference().height, &past);
        let path = self.past.directory().to_path_buf();
        added.map_err(|source| PublishError::io(&path, source))
    }

    /// After the journal's last record, by which the own log has come to this height: what only this brand
    /// keeps of later blocks is of a turn that never was, and comes again with them. Their certificates stand.
    ///
    /// # Errors
    /// When it cannot be forgotten.
    pub fn forget_above(&mut self, height: Height) -> Result<(), PublishError> {
        let path = self.past.directory().to_path_buf();
        self.past.forget_above(height).map_err(|source| PublishError::io(&path, source))
    }

    /// What has to be synced before a snapshot stands for own blocks.
    ///
    /// # Errors
    /// When the system has no more handles.
    pub fn to_sync(&self) -> Result<Vec<File>, PublishError> {
        let path = self.past.directory().to_path_buf();
        let files = self.past.to_sync().map_err(|source| PublishError::io(&path, source))?;
        Ok(files.into())
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

    /// Nothing more is published than what was given to this: the node stops.
    pub(super) fn close(&self) {
        self.publisher.close();
    }

    /// For a thread that waits until all blocks that were given to this are shown, of turns that are on their way
    /// to the disk.
    pub(super) fn showing(&self) -> Showing {
        self.publisher.showing(self.size)
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
    pub fn contents(&self, height: Height) -> Option<Vec<ColumnContent>> {
        self.past.at(height).map(|past| past.contents)
    }

    /// The header of the own block at a height.
    #[must_use]
    pub fn header(&self, height: Height) -> Option<Header> {
        match self.latest(height) {
            Some(block) => Header::from_bytes(block.header_leaf()).ok(),
            None => self.header_of(&self.past.at(height)?.certificate),
        }
    }

    /// A block that may not be on disk yet.
    fn latest(&self, height: Height) -> Option<&OwnBlock> {
        self.latest.iter().find(|block| block.reference().height == height)
    }

    fn header_of(&self, certificate: &UnverifiedCertificate) -> Option<Header> {
        let size = certificate.pledge.block.size;
        let last = LeafIndex::new(size.get().checked_sub(1)?);
        Header::from_bytes(self.reader(size).leaf(last).ok()?.entry()).ok()
    }
}

impl Archive for PublishedLog {
    fn block(&self, height: Height) -> Option<(OwnBlock, UnverifiedCertificate)> {
        let past = self.past.at(height)?;
        if let Some(block) = self.latest(height) {
            return Some((block.clone(), past.certificate));
        }
        let reference = past.certificate.pledge.block;
        let reader = self.reader(reference.size);
        let header = self.header_of(&past.certificate)?;
        let before = Frontier::read(&reader, TreeSize::new(header.first.get())).ok()?;
        let leaves = reader.leaves(header.first, reference.size).ok()?;
        let leaves = leaves.into_iter().map(Leaf::into_entry).collect();
        let block = OwnBlock::restore(reference, leaves, past.contents, before)?;
        Some((block, past.certificate))
    }
}

/// Whether the published certificates have, where the kept blocks say, the last one that is kept.
fn has_last(certificates: &mut File, past: &OwnBlocks, end: u64) -> std::io::Result<bool> {
    let last = Height::new(past.count());
    let Some(before) = past.count().checked_sub(1) else { return Ok(true) };
    let Some(kept) = past.at(last) else { return Ok(false) };
    let start = past.certificates_end(Height::new(before))?;
    if certificates.metadata()?.len() < end {
        return Ok(false);
    }
    let mut bytes = vec![0; usize::try_from(end.saturating_sub(start)).unwrap_or(0)];
    certificates.seek(SeekFrom::Start(start))?;
    certificates.read_exact(&mut bytes)?;
    Ok(bytes == codec::encode(&kept.certificate))
}

/// How many certificates stand side by side, from the height after the first on, and how many bytes they take: a
/// crash may have left anything after them.
fn count_certificates(bytes: &[u8], first: u64) -> (u64, u64) {
    let mut decoder = minicbor::Decoder::new(bytes);
    let (mut count, mut end) = (0, 0);
    while let Ok(certificate) = decoder.decode::<UnverifiedCertificate>()
        && certificate.pledge.block.height.get() == first + count + 1
    {
        count += 1;
        end = decoder.position() as u64;
    }
    (count, end)
}

fn tiles(folder: &Path, error: &TilesError) -> PublishError {
    PublishError::Tiles { path: folder.into(), problem: error.to_string() }
}
