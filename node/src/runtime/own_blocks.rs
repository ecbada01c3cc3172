//! What only this brand keeps of each own final block: its certificate, and the exact contents of its
//! columns, which are between two brands each.
//!
//! Two files, both appended to: `blocks` has the entries, each encrypted under the journal's key for its
//! height; `index` has 16 bytes a height, where the entry ends in `blocks` and where the block's certificate ends in the
//! published log's file. A node that has sent a million blocks opens them as fast as one that has sent ten. What
//! a snapshot stands for is synced before it ([`OwnBlocks::to_sync`]); what comes after it is written again by
//! the journal's replay.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use minicbor::{Decode, Encode};
use protocol::codec;
use protocol::ids::Height;
use protocol::log::block::ColumnContent;
use protocol::witness::statement::UnverifiedCertificate;

use super::sealed_journal::RecordCipher;

/// Bytes of the index for one height.
const ENTRY_BYTES: u64 = 16;
/// Most bytes of one block's entry: a certificate of 21 brands and as many columns.
const BLOCK_MAX: usize = 64 * 1024;

/// What is kept of one block.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Past {
    /// Its certificate.
    #[n(0)]
    pub certificate: UnverifiedCertificate,
    /// The exact contents of its columns, in the order of its header's.
    #[n(1)]
    pub contents: Vec<ColumnContent>,
}

/// All own final blocks.
pub struct OwnBlocks {
    directory: PathBuf,
    index: File,
    blocks: File,
    count: u64,
    cipher: Arc<RecordCipher>,
}

/// Where something ends: in `blocks`, and in the published certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ends {
    block: u64,
    certificate: u64,
}

impl OwnBlocks {
    /// Opens the folder, making it if need be.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn open(directory: &Path, cipher: Arc<RecordCipher>) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let open = |name: &str| {
            let mut options = OpenOptions::new();
            options.create(true).truncate(false).read(true).write(true).open(directory.join(name))
        };
        let (index, blocks) = (open("index")?, open("blocks")?);
        let mut opened =
            Self { directory: directory.to_path_buf(), index, blocks, count: 0, cipher };
        opened.count = opened.index.metadata()?.len() / ENTRY_BYTES;
        // of what was not synced the index may be there and the entry not
        let length = opened.blocks.metadata()?.len();
        while opened.count > 0 && opened.ends(opened.count)?.block > length {
            opened.count -= 1;
        }
        opened.cut(opened.count)?;
        Ok(opened)
    }

    /// The folder.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// How many blocks there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Where the certificates up to a height end in the published log's file, which is they one after the
    /// other.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn certificates_end(&self, height: Height) -> io::Result<u64> {
        Ok(self.ends(height.get())?.certificate)
    }

    /// Adds the block at a height, or writes it and forgets all after it: the journal's replay comes by
    /// blocks that were there.
    ///
    /// # Errors
    /// When the one before it is not there, or it cannot be written.
    pub fn append(&mut self, height: Height, past: &Past) -> io::Result<()> {
        let before = height.get().checked_sub(1).filter(|before| *before <= self.count);
        let before = before.ok_or_else(|| io::Error::other("the own blocks before it are gone"))?;
        if before < self.count {
            self.cut(before)?;
        }
        let Ends { block: start, certificate: known } = self.ends(before)?;
        let sealed = self.cipher.seal_bytes(&about(height), codec::encode(past));
        let sealed = sealed.map_err(io::Error::other)?;
        self.blocks.write_all_at(&sealed, start)?;
        let end = start + sealed.len() as u64;
        let certificates_end = known + codec::encode(&past.certificate).len() as u64;
        let entry = [end.to_le_bytes(), certificates_end.to_le_bytes()].concat();
        self.index.write_all_at(&entry, before * ENTRY_BYTES)?;
        self.count = height.get();
        Ok(())
    }

    /// Forgets what a turn added that never was: the journal ends before it, and it must not be shown as
    /// final before it is on record.
    ///
    /// # Errors
    /// When the files cannot be cut.
    pub fn forget_above(&mut self, height: Height) -> io::Result<()> {
        if height.get() < self.count { self.cut(height.get()) } else { Ok(()) }
    }

    /// The block at a height; none when it is not there or does not read.
    #[must_use]
    pub fn at(&self, height: Height) -> Option<Past> {
        let before = height.get().checked_sub(1).filter(|_| height.get() <= self.count)?;
        let (start, end) = (self.ends(before).ok()?.block, self.ends(height.get()).ok()?.block);
        let length = usize::try_from(end.checked_sub(start)?).ok()?;
        let mut sealed = vec![0; Some(length).filter(|length| *length <= BLOCK_MAX)?];
        self.blocks.read_exact_at(&mut sealed, start).ok()?;
        let bytes = self.cipher.open_bytes(&about(height), sealed).ok()?;
        codec::decode("an own block's certificate and contents", &bytes, BLOCK_MAX).ok()
    }

    /// Handles on both files and their folder: synced, in this order, what was added until now is on the disk.
    ///
    /// # Errors
    /// When the system has no more handles.
    pub fn to_sync(&self) -> io::Result<[File; 3]> {
        Ok([self.blocks.try_clone()?, self.index.try_clone()?, File::open(&self.directory)?])
    }

    fn ends(&self, height: u64) -> io::Result<Ends> {
        let Some(place) = height.checked_sub(1) else { return Ok(Ends::default()) };
        let mut entry = [0; ENTRY_BYTES as usize];
        self.index.read_exact_at(&mut entry, place * ENTRY_BYTES)?;
        let (mut block, mut certificate) = ([0; 8], [0; 8]);
        block.copy_from_slice(&entry[..8]);
        certificate.copy_from_slice(&entry[8..]);
        let (block, certificate) = (u64::from_le_bytes(block), u64::from_le_bytes(certificate));
        Ok(Ends { block, certificate })
    }

    fn cut(&mut self, count: u64) -> io::Result<()> {
        self.blocks.set_len(self.ends(count)?.block)?;
        self.index.set_len(count * ENTRY_BYTES)?;
        self.count = count;
        Ok(())
    }
}

fn about(height: Height) -> Vec<u8> {
    [&b"own block"[..], &height.get().to_le_bytes()].concat()
}
