//! What this node holds, as witness, of the other brands' logs: header, certificate and own fragment of
//! every final block, so that a lost node can be rebuilt and a log read while its writer is away.
//!
//! Append-only files, a folder a brand, with an index in memory that is read from them at start. Before it
//! votes, a witness has its fragment on the disk in the journal, which is the promise; when the block is
//! final it is written here, and synced within a second. What a crash takes from here comes back
//! from the journal's replay, so that [`FragmentArchive::newest_files`] are synced before a snapshot takes the
//! place of the journal's records. Whole files go when all in them is older than the retention. Decides nothing about
//! validity; what it gives out is judged by whoever asked for it.
//!
//! ```text
//! file     "coalfrag" | version u16
//! frame    length u32 | height u64 | time u64 | check u32 | bytes
//! ```
//! Integers are little-endian, the check is CRC-32 (IEEE 802.3) over the brand, all before it in the frame, and
//! the bytes: a block as it is sent to whoever asks. It finds accidents; a fragment is proven by its own hashes.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crc32fast::Hasher;
use protocol::codec::{self, MESSAGE_MAX};
use protocol::ids::{BrandId, Height};
use protocol::log::block::Header;
use protocol::recovery::held::HeldBlock;
use protocol::time::{Milliseconds, Timestamp};

const MAGIC: &[u8; 8] = b"coalfrag";
/// Version of the files. Version 0 promises no compatibility.
const FORMAT_VERSION: u16 = 0;
const FILE_HEADER_BYTES: u64 = 10;
const FRAME_HEADER_BYTES: usize = 24;
const CHECKED_HEAD_BYTES: usize = 20;
/// A file is not appended to any more from so many bytes on.
const FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Nor when its first block is so much older than the next: what goes, goes by files.
const FILE_AGE: Milliseconds = Milliseconds::from_seconds(31 * 24 * 60 * 60);

/// Why fragments cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum FragmentsError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}; check the disk, its free space and the rights on it", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not one of these.
    #[error("{} is no file of fragments of version {FORMAT_VERSION}; restore it, or move it away: what it held, other witnesses hold too", .path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
    },
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FragmentsError {
    let path = path.to_path_buf();
    move |source| FragmentsError::Io { action, path, source }
}

/// Where one block is.
#[derive(Clone, Copy, Debug)]
struct Place {
    height: Height,
    offset: u64,
    length: u32,
}

/// One file.
struct Segment {
    path: PathBuf,
    file: File,
    bytes: u64,
    first: Timestamp,
    newest: Timestamp,
    // in the order of heights
    blocks: Vec<Place>,
}

#[derive(Default)]
struct Log {
    // in the order of heights
    segments: Vec<Segment>,
    is_dirty: bool,
}

impl Log {
    fn last(&self) -> Height {
        let last = self.segments.iter().rev().find_map(|segment| segment.blocks.last());
        last.map_or(Height::new(0), |place| place.height)
    }
}

/// All of it.
pub struct FragmentArchive {
    folder: PathBuf,
    logs: BTreeMap<BrandId, Log>,
    // the last frame, for its memory
    frame: Vec<u8>,
}

impl FragmentArchive {
    /// Opens the folder, making it if it is not there. What a crash cut short is dropped.
    ///
    /// # Errors
    /// When it cannot be read or written, or has other files in it.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, FragmentsError> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(io_error("make", &folder))?;
        let mut logs = BTreeMap::new();
        for path in sorted(&folder)? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let malformed = || FragmentsError::Malformed { path: path.clone() };
            let brand = BrandId::new(name).map_err(|_| malformed())?;
            let files = sorted(&path)?;
            let newest = files.len().saturating_sub(1);
            let mut log = Log::default();
            for (number, path) in files.into_iter().enumerate() {
                let segment = read(brand, path, log.last(), number == newest)?;
                log.segments.extend(segment);
            }
            logs.insert(brand, log);
        }
        Ok(Self { folder, logs, frame: Vec::new() })
    }

    /// Takes what is held of a final block; what is there already, or is older, is left as it is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn append(&mut self, block: &HeldBlock) -> Result<(), FragmentsError> {
        let Some((brand, height)) = block.place() else { return Ok(()) };
        let log = self.logs.entry(brand).or_default();
        if height <= log.last() {
            return Ok(());
        }
        let time = Header::from_bytes(&block.header).map(|it| it.time).unwrap_or_default();
        let is_full = log.segments.last().is_none_or(|segment| {
            segment.bytes >= FILE_BYTES || time.since(segment.first) >= FILE_AGE
        });
        if is_full {
            // only what is appended to is synced later
            if let Some(full) = log.segments.last() {
                full.file.sync_data().map_err(io_error("sync", &full.path))?;
            }
            log.segments.push(Segment::create(&self.folder.join(brand.as_str()), height, time)?);
        }
        let Some(segment) = log.segments.last_mut() else { return Ok(()) };
        segment.append(brand, (height, time), block, &mut self.frame)?;
        log.is_dirty = true;
        Ok(())
    }

    /// What is held of the first block of a log from a height on.
    #[must_use]
    pub fn held(&self, brand: BrandId, from: Height) -> Option<HeldBlock> {
        let log = self.logs.get(&brand)?;
        let after = |segment: &&Segment| segment.blocks.last().is_some_and(|it| it.height >= from);
        let segment = log.segments.iter().find(after)?;
        let place = segment.blocks.partition_point(|place| place.height < from);
        let block = segment.read(brand, *segment.blocks.get(place)?);
        if block.is_none() {
            tracing::error!(log = %brand, height = from.get(), "a kept fragment is damaged");
        }
        block
    }

    /// How many blocks of a log are held, and the first and last of them.
    #[must_use]
    pub fn extent(&self, brand: BrandId) -> Option<(usize, Height, Height)> {
        let log = self.logs.get(&brand)?;
        let first = log.segments.iter().find_map(|segment| segment.blocks.first())?.height;
        let count = log.segments.iter().map(|segment| segment.blocks.len()).sum();
        Some((count, first, log.last()))
    }

    /// Brings all that was written to the disk.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&mut self) -> Result<(), FragmentsError> {
        for log in self.logs.values_mut().filter(|log| log.is_dirty) {
            if let Some(segment) = log.segments.last() {
                segment.file.sync_data().map_err(io_error("sync", &segment.path))?;
            }
            log.is_dirty = false;
        }
        Ok(())
    }

    /// Handles of the files that are appended to: synced, all that was written is on the disk, whoever else
    /// is at it.
    ///
    /// # Errors
    /// When the system has no more handles.
    pub fn newest_files(&self) -> Result<Vec<File>, FragmentsError> {
        let newest = self.logs.values().filter_map(|log| log.segments.last());
        let handle = |it: &Segment| it.file.try_clone().map_err(io_error("open", &it.path));
        newest.map(handle).collect()
    }

    /// Handles of the files that wait to be synced, for a thread that may wait for the disk.
    pub fn to_sync(&mut self) -> Vec<File> {
        let dirty = |log: &mut Log| std::mem::take(&mut log.is_dirty);
        let files = self.logs.values_mut().filter_map(|log| {
            let newest = dirty(log).then(|| log.segments.last()).flatten()?;
            newest.file.try_clone().ok()
        });
        files.collect()
    }

    /// Removes files of which every block is older than a time; never the newest of a log.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn forget_before(&mut self, time: Timestamp) -> Result<usize, FragmentsError> {
        let mut removed = 0;
        for log in self.logs.values_mut() {
            while log.segments.len() > 1 && log.segments[0].newest < time {
                let segment = log.segments.remove(0);
                fs::remove_file(&segment.path).map_err(io_error("remove", &segment.path))?;
                removed += segment.blocks.len();
            }
        }
        Ok(removed)
    }
}

impl Segment {
    fn create(folder: &Path, height: Height, time: Timestamp) -> Result<Self, FragmentsError> {
        fs::create_dir_all(folder).map_err(io_error("make", folder))?;
        let path = folder.join(format!("{:020}.fragments", height.get()));
        // one that is there was cut short before its first block
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(io_error("create", &path))?;
        file.write_all(MAGIC)
            .and_then(|()| file.write_all(&FORMAT_VERSION.to_le_bytes()))
            .and_then(|()| file.sync_all())
            .map_err(io_error("write", &path))?;
        for folder in [Some(folder), folder.parent()].into_iter().flatten() {
            File::open(folder).and_then(|it| it.sync_all()).map_err(io_error("sync", folder))?;
        }
        let (bytes, blocks) = (FILE_HEADER_BYTES, Vec::new());
        Ok(Self { path, file, bytes, first: time, newest: time, blocks })
    }

    fn append(
        &mut self,
        brand: BrandId,
        (height, time): (Height, Timestamp),
        block: &HeldBlock,
        frame: &mut Vec<u8>,
    ) -> Result<(), FragmentsError> {
        frame.clear();
        frame.resize(FRAME_HEADER_BYTES, 0);
        codec::encode_into(block, frame);
        let (head, body) = frame.split_at_mut(FRAME_HEADER_BYTES);
        // a message at most: a witness took it as one
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4..12].copy_from_slice(&height.get().to_le_bytes());
        head[12..20].copy_from_slice(&time.unix_ms().to_le_bytes());
        let check = check(brand, &head[..CHECKED_HEAD_BYTES], body);
        head[CHECKED_HEAD_BYTES..].copy_from_slice(&check);
        // a write that failed may have left something: the next one goes over it
        self.file.write_all_at(frame, self.bytes).map_err(io_error("append to", &self.path))?;
        self.blocks.push(Place { height, offset: self.bytes, length });
        self.newest = self.newest.max(time);
        self.bytes += frame.len() as u64;
        Ok(())
    }

    fn read(&self, brand: BrandId, place: Place) -> Option<HeldBlock> {
        let mut bytes = vec![0; FRAME_HEADER_BYTES + place.length as usize];
        self.file.read_exact_at(&mut bytes, place.offset).ok()?;
        let (head, body) = bytes.split_at(FRAME_HEADER_BYTES);
        if head[CHECKED_HEAD_BYTES..] != check(brand, &head[..CHECKED_HEAD_BYTES], body) {
            return None;
        }
        codec::decode("a kept fragment", body, MESSAGE_MAX).ok()
    }
}

fn check(brand: BrandId, head: &[u8], body: &[u8]) -> [u8; 4] {
    let mut sum = Hasher::new();
    for part in [brand.as_str().as_bytes(), &[0], head, body] {
        sum.update(part);
    }
    sum.finalize().to_le_bytes()
}

/// Reads the index of a file. Of the newest one the last frame is looked at, and dropped when it is not
/// whole; a frame of an older one is looked at when it is asked for.
fn read(
    brand: BrandId,
    path: PathBuf,
    after: Height,
    is_newest: bool,
) -> Result<Option<Segment>, FragmentsError> {
    let malformed = || FragmentsError::Malformed { path: path.clone() };
    let file = OpenOptions::new().read(true).write(true).open(&path);
    let file = file.map_err(io_error("open", &path))?;
    let end = file.metadata().map_err(io_error("read", &path))?.len();
    let mut header = [0; FILE_HEADER_BYTES as usize];
    if end < FILE_HEADER_BYTES && is_newest {
        return Ok(None);
    }
    file.read_exact_at(&mut header, 0).map_err(io_error("read", &path))?;
    if header[..8] != *MAGIC || header[8..] != FORMAT_VERSION.to_le_bytes() {
        return Err(malformed());
    }
    let (first, newest) = (Timestamp::default(), Timestamp::default());
    let mut segment =
        Segment { path, file, bytes: FILE_HEADER_BYTES, first, newest, blocks: vec![] };
    let mut head = [0; FRAME_HEADER_BYTES];
    let mut last = after;
    while segment.bytes + FRAME_HEADER_BYTES as u64 <= end {
        let read = segment.file.read_exact_at(&mut head, segment.bytes);
        read.map_err(io_error("read", &segment.path))?;
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&head[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let mut length = [0; 4];
        length.copy_from_slice(&head[..4]);
        let length = u32::from_le_bytes(length);
        let (height, time) = (Height::new(number(4)), Timestamp::from_unix_ms(number(12)));
        let next = segment.bytes + FRAME_HEADER_BYTES as u64 + u64::from(length);
        if next > end || height <= last || length as usize > MESSAGE_MAX {
            break;
        }
        if segment.blocks.is_empty() {
            segment.first = time;
        }
        segment.blocks.push(Place { height, offset: segment.bytes, length });
        segment.newest = segment.newest.max(time);
        (segment.bytes, last) = (next, height);
    }
    while is_newest
        && let Some(place) = segment.blocks.last().copied()
        && segment.read(brand, place).is_none()
    {
        segment.blocks.pop();
        segment.bytes = place.offset;
    }
    if segment.bytes < end {
        if !is_newest {
            return Err(FragmentsError::Malformed { path: segment.path });
        }
        let cut = segment.file.set_len(segment.bytes);
        cut.map_err(io_error("cut", &segment.path))?;
    }
    Ok((!segment.blocks.is_empty()).then_some(segment))
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, FragmentsError> {
    let entries = fs::read_dir(folder).map_err(io_error("list", folder))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>().map_err(io_error("list", folder))?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use protocol::crypto::Signature;
    use protocol::crypto::sealed::{Cipher, Sealing, SealingKey};
    use protocol::ids::{
        BlockNonce, Epoch, FragmentsRoot, HeaderHash, LeafIndex, RootHash, Round, TreeSize,
    };
    use protocol::log::block::BlockReference;
    use protocol::log::proof::InclusionProof;
    use protocol::witness::statement::{Pledge, UnverifiedCertificate};

    use super::*;

    /// What is kept need not stand: whoever asks for it judges it.
    fn held(height: u64, time: Timestamp) -> HeldBlock {
        let (log, height, epoch) = (brand(), Height::new(height), Epoch::new(1));
        let (root, since) = (RootHash::from_bytes([1; 32]), time);
        let key = SealingKey::from_bytes([2; 32]);
        let header = Header {
            version: 0,
            log,
            height,
            epoch,
            time,
            first: LeafIndex::new(0),
            body_leaves: 7,
            public_leaves: 0,
            body_bytes: 14,
            previous: HeaderHash::GENESIS,
            previous_root: root,
            body_root: root,
            nonce: BlockNonce::from_bytes([3; 16]),
            fragments: FragmentsRoot::from_bytes([4; 32]),
            secrets: Vec::new(),
            columns: Vec::new(),
            sealing: Sealing { cipher: Cipher::Aes256Gcm, key, since },
        };
        let (header, id) = header.to_leaf();
        let block = BlockReference { log, epoch, height, header: id, size: TreeSize::new(8), root };
        let pledge = Pledge { block, round: Round::new(0) };
        let proposal = Signature::from_bytes([5; 64]);
        let certificate = UnverifiedCertificate { pledge, proposal, commits: Vec::new() };
        let mut bytes = minicbor::Encoder::new(Vec::new());
        let body = vec![height.get() as u8; 100];
        bytes.array(3).unwrap().u32(1).unwrap().bytes(&body).unwrap();
        bytes.encode(InclusionProof::from_hashes(Vec::new()).unwrap()).unwrap();
        let fragment = codec::decode("a fragment", bytes.writer(), 1000).unwrap();
        HeldBlock { header, certificate: Some(certificate), fragment }
    }

    fn brand() -> BrandId {
        BrandId::new("other").unwrap()
    }

    fn held_blocks(count: u64, apart: Milliseconds) -> Vec<HeldBlock> {
        let mut time = Timestamp::from_unix_ms(1_700_000_000_000);
        let next = |height| {
            time = time.plus(apart);
            held(height, time)
        };
        (1..=count).map(next).collect()
    }

    #[test]
    fn what_is_kept_is_given_again_after_a_crash_that_cut_it_short() {
        let folder = tempfile::tempdir().unwrap();
        let (brand, blocks) = (brand(), held_blocks(6, Milliseconds::new(1)));
        let mut archive = FragmentArchive::open(folder.path()).unwrap();
        for block in &blocks {
            archive.append(block).unwrap();
            // what is there is not taken twice
            archive.append(&blocks[0]).unwrap();
        }
        archive.sync().unwrap();
        let all = |archive: &FragmentArchive| {
            let from = |height: u64| archive.held(brand, Height::new(height));
            (1..=6).map_while(from).collect::<Vec<_>>()
        };
        assert_eq!(all(&archive), blocks);
        drop(archive);
        let path = sorted(&folder.path().join(brand.as_str())).unwrap().remove(0);
        let whole = fs::read(&path).unwrap();
        let lost = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            let archive = FragmentArchive::open(folder.path()).unwrap();
            let kept = all(&archive);
            assert_eq!(kept, blocks[..kept.len()]);
            kept.len()
        };
        for cut in (0..whole.len()).step_by(97) {
            assert!(lost(&whole[..cut]) <= 5);
        }
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(lost(&damaged), 5);
        assert_eq!(lost(&whole), 6);
        // and it goes on from there
        let mut archive = FragmentArchive::open(folder.path()).unwrap();
        assert_eq!(archive.extent(brand), Some((6, Height::new(1), Height::new(6))));
        archive.append(&blocks[5]).unwrap();
        assert_eq!(archive.held(brand, Height::new(7)), None);
    }

    #[test]
    fn what_is_older_than_the_retention_goes_by_whole_files_and_the_newest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (brand, blocks) = (brand(), held_blocks(4, FILE_AGE));
        let mut archive = FragmentArchive::open(folder.path()).unwrap();
        blocks.iter().for_each(|block| archive.append(block).unwrap());
        let time = |block: &HeldBlock| Header::from_bytes(&block.header).unwrap().time;
        assert_eq!(archive.forget_before(time(&blocks[0])).unwrap(), 0);
        assert_eq!(archive.forget_before(time(&blocks[2])).unwrap(), 2);
        assert_eq!(archive.held(brand, Height::new(1)), Some(blocks[2].clone()));
        let after = time(&blocks[3]).plus(FILE_AGE);
        assert_eq!(archive.forget_before(after).unwrap(), 1);
        let archive = FragmentArchive::open(folder.path()).unwrap();
        assert_eq!(archive.extent(brand), Some((1, Height::new(4), Height::new(4))));
    }
}
