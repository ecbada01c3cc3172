//! Snapshots: records that stand in the place of every segment before one.
//!
//! `00000000000000000007.snapshot` has what the segments before the seventh come to; what they are is up to
//! the caller. It is written beside them under another name, synced, read back to its end, and only
//! then gets its name; a crash at any moment leaves either what was there before or both. One
//! generation stays behind it: the snapshot before (or the first segment) with the segments since, which
//! a replay takes when the newest snapshot is damaged. What is older is deleted.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::frame::{self, BODY_CHECK_BYTES, FRAME_HEAD_BYTES, SEGMENT_HEADER_BYTES};
use super::{JournalError, Record, io_error, segment_path, sync_directory};

/// Kind of the last record of a snapshot: how many came before. No caller's record has it.
const END: u8 = 0;
/// Extension of a snapshot that is being written.
const UNFINISHED: &str = "unfinished";

/// Where a snapshot belongs: it stands for all that was appended before this was made.
#[derive(Debug)]
pub struct SnapshotPlace {
    pub(super) directory: PathBuf,
    pub(super) number: u64,
}

/// A snapshot that is being written.
#[derive(Debug)]
pub struct SnapshotWriter {
    directory: PathBuf,
    number: u64,
    path: PathBuf,
    file: BufWriter<File>,
    offset: u64,
    records: u64,
}

impl SnapshotPlace {
    /// Its number: that of the first segment which it does not stand for.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Begins to write it.
    ///
    /// # Errors
    /// When its file cannot be made.
    pub fn create(self) -> Result<SnapshotWriter, JournalError> {
        SnapshotWriter::create(self.directory, self.number)
    }
}

impl SnapshotWriter {
    fn create(directory: PathBuf, number: u64) -> Result<Self, JournalError> {
        let path = snapshot_path(&directory, number).with_extension(UNFINISHED);
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(&path);
        let mut file = BufWriter::new(file.map_err(io_error("create", &path))?);
        file.write_all(&frame::snapshot_header(number)).map_err(io_error("write", &path))?;
        Ok(Self { directory, number, path, file, offset: SEGMENT_HEADER_BYTES, records: 0 })
    }

    /// Adds records, at most as many bytes as one append of a journal takes.
    ///
    /// # Errors
    /// When they are too long or cannot be written; the snapshot is then of no use.
    pub fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        self.records += records.len() as u64;
        self.write(records)
    }

    /// Brings what was added so far to the disk, so that the end of it has little left to bring.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.file.flush().map_err(io_error("write", &self.path))?;
        self.file.get_ref().sync_data().map_err(io_error("sync", &self.path))
    }

    fn write(&mut self, records: &[Record]) -> Result<(), JournalError> {
        let body_length = frame::checked_body_length(records)?;
        let place = (frame::place_of_snapshot(self.number), self.offset);
        let written = frame::write(&mut self.file, place, records, body_length);
        self.offset += written.map_err(io_error("write", &self.path))?;
        Ok(())
    }

    /// Puts it on the disk, reads it back, gives it its name, and deletes what is older than the
    /// generation before; what must outlive those segments is on the disk by then. `check` is given every
    /// record as it was read back. Gives its bytes.
    ///
    /// # Errors
    /// When it is not on the disk as it was meant to be: then nothing is deleted.
    pub fn finish<E: From<JournalError>>(
        mut self,
        mut check: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<u64, E> {
        let end = Record { kind: END, bytes: self.records.to_le_bytes().to_vec() };
        self.write(&[end])?;
        self.file.flush().map_err(io_error("write", &self.path))?;
        self.file.get_ref().sync_all().map_err(io_error("sync", &self.path))?;
        for record in SnapshotReader::open(&self.path, self.number)? {
            check(record?)?;
        }
        let path = snapshot_path(&self.directory, self.number);
        fs::rename(&self.path, &path).map_err(io_error("name", &path))?;
        sync_directory(&self.directory)?;
        drop_superseded(&self.directory)?;
        Ok(self.offset)
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        // nothing to do about it, and nothing to fear: an unfinished one is never read
        let _ = fs::remove_file(&self.path);
    }
}

/// The records of a snapshot, in order. After an error it gives nothing more.
#[derive(Debug)]
pub(super) struct SnapshotReader {
    path: PathBuf,
    reader: BufReader<File>,
    place: u64,
    offset: u64,
    records: VecDeque<Record>,
    given: u64,
    ended: bool,
}

impl SnapshotReader {
    pub(super) fn open(path: &Path, number: u64) -> Result<Self, JournalError> {
        let file = File::open(path).map_err(io_error("open", path))?;
        let mut reader = Self {
            path: path.to_path_buf(),
            reader: BufReader::new(file),
            place: frame::place_of_snapshot(number),
            offset: 0,
            records: VecDeque::new(),
            given: 0,
            ended: false,
        };
        let header = reader.read(SEGMENT_HEADER_BYTES as usize)?;
        if header == frame::snapshot_header(number) {
            return Ok(reader);
        }
        reader.offset = 0;
        match frame::header_version(&header) {
            Some(found) if found != super::FORMAT_VERSION => {
                Err(JournalError::OtherVersion { file: path.to_path_buf(), found })
            }
            _ => Err(reader.damaged("this is not the header of this snapshot")),
        }
    }

    /// When its file was written.
    pub(super) fn written(&self) -> Option<SystemTime> {
        self.reader.get_ref().metadata().and_then(|file| file.modified()).ok()
    }

    /// Where it has come to, in bytes.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    fn damaged(&self, what: &'static str) -> JournalError {
        JournalError::Damaged { file: self.path.clone(), offset: self.offset, what }
    }

    fn read(&mut self, length: usize) -> Result<Vec<u8>, JournalError> {
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(length as u64).read_to_end(&mut bytes);
        read.map_err(io_error("read", &self.path))?;
        if bytes.len() < length {
            return Err(self.damaged("it ends too early"));
        }
        self.offset += length as u64;
        Ok(bytes)
    }

    fn advance(&mut self) -> Result<Option<Record>, JournalError> {
        loop {
            if let Some(record) = self.records.pop_front() {
                if record.kind != END {
                    self.given += 1;
                    return Ok(Some(record));
                }
                self.ended = true;
                let last = self.records.is_empty() && self.reader.by_ref().bytes().next().is_none();
                if !last || record.bytes != self.given.to_le_bytes() {
                    return Err(self.damaged("its end does not say what came before"));
                }
                return Ok(None);
            }
            let offset = self.offset;
            let head_bytes = self.read(FRAME_HEAD_BYTES)?;
            let head = frame::decode_head(self.place, offset, &head_bytes);
            let head = head.ok_or_else(|| self.damaged("a frame does not match its checksum"))?;
            let mut rest = self.read(head.body_length + BODY_CHECK_BYTES)?;
            if !frame::body_checks(self.place, offset, &head_bytes, &rest) {
                return Err(self.damaged("a frame does not match its checksum"));
            }
            rest.truncate(head.body_length);
            let records = frame::decode_records(head, &rest);
            let records = records.ok_or_else(|| self.damaged("a frame has no valid records"))?;
            self.records = records.into();
        }
    }
}

impl Iterator for SnapshotReader {
    type Item = Result<Record, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let record = self.advance();
        self.ended |= record.is_err();
        record.transpose()
    }
}

pub(super) fn snapshot_path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}.snapshot"))
}

/// Numbers of the files with an extension, ascending.
pub(super) fn numbers(directory: &Path, extension: &str) -> Result<Vec<u64>, JournalError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory).map_err(io_error("list", directory))? {
        let path = entry.map_err(io_error("list", directory))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            let named = |number: &u64| directory.join(format!("{number:020}.{extension}")) == path;
            match number.filter(named) {
                Some(number) => numbers.push(number),
                None => {
                    let what = "this file is not named like a segment or a snapshot of a journal";
                    return Err(JournalError::Damaged { file: path, offset: 0, what });
                }
            }
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Deletes snapshots and segments that are older than the newest snapshot but one. Snapshots first and
/// segments in their order, so that what is left always hangs together.
fn drop_superseded(directory: &Path) -> Result<(), JournalError> {
    let snapshots = numbers(directory, "snapshot")?;
    let Some([before, _]) = snapshots.last_chunk::<2>() else { return Ok(()) };
    let remove = |path: PathBuf| fs::remove_file(&path).map_err(io_error("remove", &path));
    let old = snapshots.iter().filter(|number| *number < before);
    old.map(|number| snapshot_path(directory, *number)).try_for_each(remove)?;
    sync_directory(directory)?;
    let segments = numbers(directory, "journal")?.into_iter();
    let old = segments.filter(|segment| segment < before);
    old.map(|segment| segment_path(directory, segment)).try_for_each(remove)?;
    sync_directory(directory)
}

/// Removes what a crash left of a snapshot that was being written.
pub(super) fn drop_unfinished(directory: &Path) -> Result<(), JournalError> {
    for number in numbers(directory, UNFINISHED)? {
        let path = snapshot_path(directory, number).with_extension(UNFINISHED);
        fs::remove_file(&path).map_err(io_error("remove", &path))?;
    }
    Ok(())
}

/// Puts a damaged snapshot aside, so that it is not taken for the generation before the next one.
pub(super) fn put_aside(directory: &Path, number: u64) -> Result<(), JournalError> {
    let path = snapshot_path(directory, number);
    fs::rename(&path, path.with_extension("damaged")).map_err(io_error("put aside", &path))?;
    sync_directory(directory)
}
