//! `coalition log`: what is published of this brand's log, and what no more.
//!
//! Entries older than the constitution's retention can be taken off the published log: whole bundles of 256
//! are copied to an archive, checked there, and removed. Hash tiles, certificates and checkpoint stay, so that
//! proofs, checkpoints and witnessing go on, and every entry of the archive still verifies.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use protocol::audit::{ARCHIVED_FILE, CertificateReader, LogFolder as _};
use protocol::ids::{LeafIndex, TreeSize};
use protocol::log::block::Header;
use protocol::log::checkpoint::SignedCheckpoint;
use protocol::log::merkle::leaf_hash;
use protocol::log::tiles::{TILE_WIDTH, TileKind, TilePath, TileReader, TileSource, parse_bundle};
use protocol::time::Timestamp;
use serde::Serialize;

use super::{CliError, Io};
use crate::audit::ArchivedLog;
use crate::config::DataDirectory;
use crate::constitutions::{Known, KnownError};
use crate::runtime;

const WIDTH: u64 = TILE_WIDTH as u64;

/// What is done with the published log.
#[derive(Debug, clap::Subcommand)]
pub enum LogCommand {
    /// Move entries older than the constitution's retention from the published log to an archive. Their
    /// hashes stay published. The node may run.
    Archive(ArchiveArguments),
}

/// What is archived.
#[derive(Debug, clap::Args)]
pub struct ArchiveArguments {
    /// Data directory.
    #[arg(long)]
    pub data: PathBuf,
    /// Archive blocks of before this day (YYYY-MM-DD, in the constitution's zone); at the latest, and if not
    /// given, the day on which the retention ends.
    #[arg(long, value_name = "DATE")]
    pub before: Option<String>,
    /// Where to; the folder `archive` of the data directory if not given. The node reads what it needs
    /// itself from there; elsewhere, nothing but the audit does.
    #[arg(long, value_name = "FOLDER")]
    pub to: Option<PathBuf>,
}

/// What was done.
#[derive(Debug, Serialize)]
pub struct Archived {
    /// Entries that this call has moved.
    pub entries: u64,
    /// Entries, from the first, that are in the archive by now.
    pub archived: u64,
    /// Where they are.
    pub archive: PathBuf,
}

/// Does it.
///
/// # Errors
/// When the retention is not over, or a file cannot be read, written or is not what its hashes say;
/// what could not be copied and checked was not removed.
pub fn run(command: &LogCommand, io: &mut Io) -> Result<(), CliError> {
    let LogCommand::Archive(arguments) = command;
    let data = DataDirectory::new(&arguments.data);
    let known =
        Known::read(&data).map_err(|error: KnownError| CliError::Input(error.to_string()))?;
    // whichever of them the log is under, none of them is broken
    let longest = known.iter().max_by_key(|it| it.payload_retention_months());
    let Some(constitution) = longest else { return Ok(()) };
    let months = constitution.payload_retention_months();
    let zone = constitution.clearing_zone();
    let before = cut_off(arguments.before.as_deref(), zone, months, runtime::now())?;
    let to = arguments.to.clone().unwrap_or_else(|| data.archive());
    let done = archive(&data.log(), &to, before)?;
    io.json(&done)?;
    io.say(&format!(
        "{} entries moved; keep {} for as long as anyone may ask for them: an audit takes it with --archive",
        done.entries,
        done.archive.display()
    ));
    Ok(())
}

/// The time before which blocks may be archived.
fn cut_off(
    day: Option<&str>,
    zone: &TimeZone,
    months: u16,
    now: Timestamp,
) -> Result<Timestamp, CliError> {
    let input = |error: jiff::Error| CliError::Input(error.to_string());
    let milliseconds = i64::try_from(now.unix_ms()).unwrap_or(i64::MAX);
    let today = jiff::Timestamp::from_millisecond(milliseconds).map_err(input)?;
    let today = today.to_zoned(zone.clone()).date();
    let latest = today.checked_sub(i64::from(months).months()).map_err(input)?;
    let day = match day {
        None => latest,
        Some(text) => text
            .parse::<Date>()
            .map_err(|_| CliError::Input(format!("{text} is no day: write it as YYYY-MM-DD")))?,
    };
    if day > latest {
        return Err(CliError::Input(format!(
            "the constitution keeps entries for {months} months: archive those of before {latest} at the latest"
        )));
    }
    let start = day.to_zoned(zone.clone()).map_err(input)?.timestamp().as_millisecond();
    Ok(Timestamp::from_unix_ms(u64::try_from(start).unwrap_or(0)))
}

/// Moves the full bundles of blocks of before a time.
///
/// # Errors
/// As [`run`].
pub fn archive(log: &Path, to: &Path, before: Timestamp) -> Result<Archived, CliError> {
    let file = |path: &Path| {
        let path = path.to_path_buf();
        move |source| CliError::File { path, source }
    };
    let folder = ArchivedLog::new(log.to_path_buf(), Some(to.to_path_buf()));
    let damaged = |what: &dyn std::fmt::Display| {
        CliError::Input(format!("{}: {what}; nothing more was moved", log.display()))
    };
    let checkpoint = folder.checkpoint().ok_or_else(|| damaged(&"there is no checkpoint"))?;
    let checkpoint = SignedCheckpoint::parse(&checkpoint).map_err(|error| damaged(&error))?;
    let size = checkpoint.unverified().size();
    let reader = TileReader::new(&folder, size);
    let mut end = TreeSize::new(0);
    for certificate in CertificateReader::new(&folder) {
        let block = certificate.map_err(|error| damaged(&error))?.pledge.block;
        if block.size.get() <= folder.archived() {
            // it was before another day, and may be in another archive
            end = block.size;
            continue;
        }
        let last = LeafIndex::new(block.size.get().saturating_sub(1));
        let leaf = reader.leaf(last).map_err(|error| damaged(&error))?;
        let header = Header::from_bytes(leaf.entry()).map_err(|error| damaged(&error))?;
        if header.time >= before || block.size > size {
            break;
        }
        end = block.size;
    }
    let (mut next, bundles) = (folder.archived() / WIDTH, end.get() / WIDTH);
    let moved = bundles.saturating_sub(next).saturating_mul(WIDTH);
    let paths = |range: std::ops::Range<u64>| {
        range.filter_map(|index| TilePath::in_tree(TileKind::Entries, index, size))
    };
    for path in paths(next..bundles) {
        let bytes =
            folder.read(&path).ok_or_else(|| damaged(&format_args!("{path} is missing")))?;
        let hashes = TilePath::in_tree(TileKind::Hashes { level: 0 }, path.index(), size);
        let tile = hashes.and_then(|path| folder.read(&path)).unwrap_or_default();
        let entries = parse_bundle(&bytes, path.width()).unwrap_or_default();
        let found: Vec<u8> =
            entries.iter().flat_map(|entry| *leaf_hash(entry).as_bytes()).collect();
        if tile.is_empty() || found != tile {
            return Err(damaged(&format_args!("{path} does not have the hashes of its tile")));
        }
        let target = to.join(path.to_string());
        write(&target, &bytes).map_err(file(&target))?;
        if fs::read(&target).map_err(file(&target))? != bytes {
            return Err(damaged(&format_args!("the copy of {path} is not what was written")));
        }
    }
    // first it is said, then it is so
    next = next.max(bundles);
    let marker = log.join(ARCHIVED_FILE);
    let archived = next.saturating_mul(WIDTH);
    if archived > 0 {
        write(&marker, format!("{archived}\n").as_bytes()).map_err(file(&marker))?;
    }
    for path in paths(0..next) {
        let path = log.join(path.to_string());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(CliError::File { path, source: error });
            }
            _ => {}
        }
    }
    Ok(Archived { entries: moved, archived, archive: to.to_path_buf() })
}

/// Writes a file that is whole or not there.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use protocol::codec;
    use protocol::crypto::sealed::{Cipher, Sealing, SealingKey};
    use protocol::crypto::{Signature, SigningKey};
    use protocol::ids::{
        BlockNonce, BrandId, Epoch, FragmentsRoot, HeaderHash, Height, RootHash, Round,
    };
    use protocol::log::block::BlockReference;
    use protocol::log::checkpoint::Checkpoint;
    use protocol::log::merkle::Leaf;
    use protocol::log::note::KeyName;
    use protocol::log::tiles::TileWriter;
    use protocol::witness::statement::{Pledge, UnverifiedCertificate};

    use super::*;

    const FIRST: u64 = 1_700_000_000_000;
    const DAY: u64 = 24 * 60 * 60 * 1000;

    fn header(height: u64) -> (Header, Vec<u8>) {
        let root = RootHash::from_bytes([1; 32]);
        let time = Timestamp::from_unix_ms(FIRST + height * DAY);
        let header = Header {
            version: 0,
            log: BrandId::new("old").unwrap(),
            height: Height::new(height),
            epoch: Epoch::new(1),
            time,
            first: LeafIndex::new((height - 1) * 200),
            body_leaves: 199,
            public_leaves: 0,
            body_bytes: 14,
            previous: HeaderHash::GENESIS,
            previous_root: root,
            body_root: root,
            nonce: BlockNonce::from_bytes([3; 16]),
            fragments: FragmentsRoot::from_bytes([4; 32]),
            secrets: Vec::new(),
            columns: Vec::new(),
            sealing: Sealing {
                cipher: Cipher::Aes256Gcm,
                key: SealingKey::from_bytes([2; 32]),
                since: time,
            },
        };
        let leaf = header.to_leaf().0;
        (header, leaf)
    }

    /// Four blocks of 200 leaves, a day apart, in the files of a published log.
    fn publish(folder: &Path) {
        let mut writer = TileWriter::empty();
        let mut certificates = Vec::new();
        for height in 1..=4 {
            let (of, header) = header(height);
            let body = (0..199).map(|at| format!("entry {height} {at}").into_bytes());
            let leaves = body.chain([header]).map(|leaf| Leaf::new(leaf).unwrap());
            let update = writer.append(&leaves.collect::<Vec<_>>()).unwrap();
            for file in update.files {
                write(&folder.join(file.path.to_string()), &file.bytes).unwrap();
            }
            let block = BlockReference {
                log: of.log,
                epoch: of.epoch,
                height: of.height,
                header: of.to_leaf().1,
                size: writer.size(),
                root: writer.frontier().root(),
            };
            let pledge = Pledge { block, round: Round::new(0) };
            let proposal = Signature::from_bytes([5; 64]);
            let commits = Vec::new();
            let certificate = UnverifiedCertificate { pledge, proposal, commits };
            certificates.extend(codec::encode(&certificate));
        }
        write(&folder.join("certificates"), &certificates).unwrap();
        let name = KeyName::new("old.example/log").unwrap();
        let root = writer.frontier().root();
        let checkpoint = Checkpoint::new(&name, writer.size(), root);
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        let signed = SignedCheckpoint::sign(checkpoint, &key).unwrap();
        write(&folder.join("checkpoint"), signed.to_string().as_bytes()).unwrap();
    }

    #[test]
    fn old_bundles_move_whole_and_their_hashes_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (log, to) = (folder.path().join("log"), folder.path().join("archive"));
        publish(&log);
        let all = ArchivedLog::new(log.clone(), None);
        let entries = |index| {
            let path = TilePath::in_tree(TileKind::Entries, index, TreeSize::new(800));
            all.read(&path.unwrap())
        };
        let before: Vec<_> = (0..4).map(entries).collect();
        assert!(before.iter().all(Option::is_some));
        // before the third block: 400 entries, of which one bundle is full
        let day = |height: u64| Timestamp::from_unix_ms(FIRST + height * DAY);
        let done = archive(&log, &to, day(3)).unwrap();
        assert_eq!((done.entries, done.archived), (256, 256));
        assert_eq!(fs::read_to_string(log.join(ARCHIVED_FILE)).unwrap(), "256\n");
        assert_eq!((entries(0), entries(1)), (None, before[1].clone()));
        // again it does nothing; a day later it goes on, into another archive
        assert_eq!(archive(&log, &to, day(3)).unwrap().entries, 0);
        let other = folder.path().join("other");
        let done = archive(&log, &other, day(4)).unwrap();
        assert_eq!((done.entries, done.archived), (256, 512));
        assert_eq!((entries(1), entries(2)), (None, before[2].clone()));
        // an earlier day takes nothing back
        assert_eq!(archive(&log, &to, day(1)).unwrap().archived, 512);
        let whole = ArchivedLog::new(log.clone(), Some(to));
        assert_eq!(whole.archived(), 512);
        let path = |index| TilePath::in_tree(TileKind::Entries, index, TreeSize::new(800)).unwrap();
        assert_eq!(whole.read(&path(0)), before[0]);
        // every hash is still published
        let reader = TileReader::new(&all, TreeSize::new(800));
        let frontier = protocol::log::merkle::Frontier::read(&reader, TreeSize::new(800)).unwrap();
        let note = SignedCheckpoint::parse(&all.checkpoint().unwrap()).unwrap();
        assert_eq!(frontier.root(), note.unverified().root());
    }

    #[test]
    fn what_does_not_have_its_hashes_is_not_moved() {
        let folder = tempfile::tempdir().unwrap();
        let (log, to) = (folder.path().join("log"), folder.path().join("archive"));
        publish(&log);
        let path = log.join("tile/entries/000");
        let mut bytes = fs::read(&path).unwrap();
        bytes[5] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let refused = archive(&log, &to, Timestamp::from_unix_ms(FIRST + 4 * DAY));
        assert!(refused.unwrap_err().to_string().contains("tile/entries/000"));
        assert_eq!(fs::read(&path).unwrap(), bytes);
        assert!(!log.join(ARCHIVED_FILE).exists());
    }

    #[test]
    fn nothing_is_archived_before_the_retention_is_over() {
        let now = Timestamp::from_unix_ms(1_764_000_000_000); // 2025-11-24 16:00 UTC
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        let day = |text| cut_off(Some(text), &zone, 24, now);
        let refused = day("2023-11-26").unwrap_err().to_string();
        assert!(refused.contains("before 2023-11-25"), "{refused}");
        assert!(day("25.11.2023").unwrap_err().to_string().contains("YYYY-MM-DD"));
        assert_eq!(day("2023-11-25").unwrap(), cut_off(None, &zone, 24, now).unwrap());
        // midnight in the alliance's zone
        assert_eq!(day("2023-11-25").unwrap(), Timestamp::from_unix_ms(1_700_841_600_000));
    }
}
