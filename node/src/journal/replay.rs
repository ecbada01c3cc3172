//! Reading a journal from its newest snapshot, or its first record, to its last, a frame at a time.
//!
//! Decides what is a torn tail and what is damage: in the last segment, a frame that does not check
//! and after which no valid frame begins is torn; everything else is damage. A snapshot is read to its
//! end before anything of it is given: in the place of a damaged one the generation before is taken,
//! with its segments, as long as that is there.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, ErrorKind, Read};
use std::path::PathBuf;
use std::time::SystemTime;

use super::frame::{self, BODY_CHECK_BYTES, FRAME_HEAD_BYTES, FRAME_MARKER, SEGMENT_HEADER_BYTES};
use super::snapshot::{self, SnapshotReader, snapshot_path};
use super::{
    Journal, JournalError, Record, TornTail, create_segment, io_error, segment_path, sync_directory,
};

/// The records of a journal, oldest first; then the journal itself.
///
/// What is yielded is certain to be on the disk only once [`Replay::into_journal`] has returned:
/// nothing may leave the node before. Holds one frame in memory at a time. After an error it yields nothing more, and
/// [`Replay::into_journal`] gives that error again.
#[derive(Debug)]
pub struct Replay {
    directory: PathBuf,
    segment_bytes: u64,
    lock: File,
    last_segment: u64,
    // while it is read
    snapshot: Option<SnapshotReader>,
    // damaged ones, the newest first
    damaged: Vec<(u64, JournalError)>,
    snapshot_time: Option<SystemTime>,
    snapshot_number: u64,
    // bytes of snapshot and segments that are read, and of those that were
    total: u64,
    behind: u64,
    reading: Option<Segment>,
    // where the next frame begins
    segment: u64,
    offset: u64,
    records: VecDeque<Record>,
    torn_tail: Option<TornTail>,
    failed: Option<JournalError>,
    at_end: bool,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    reader: BufReader<File>,
    length: u64,
}

impl Replay {
    pub(super) fn begin(
        directory: PathBuf,
        segment_bytes: u64,
        lock: File,
    ) -> Result<Self, JournalError> {
        snapshot::drop_unfinished(&directory)?;
        let Base { first_segment, last_segment, snapshot, damaged, total } = base(&directory)?;
        Ok(Self {
            directory,
            segment_bytes,
            lock,
            last_segment,
            snapshot_time: snapshot.as_ref().and_then(SnapshotReader::written),
            snapshot_number: if snapshot.is_some() { first_segment } else { 0 },
            snapshot,
            damaged,
            total,
            behind: 0,
            reading: None,
            segment: first_segment,
            offset: 0,
            records: VecDeque::new(),
            torn_tail: None,
            failed: None,
            at_end: last_segment == 0,
        })
    }

    /// Snapshots that were found damaged and passed over.
    pub fn passed_over(&self) -> impl Iterator<Item = &JournalError> {
        self.damaged.iter().map(|(_, error)| error)
    }

    /// When the snapshot that is read was written, by the clock of the system then; none without one.
    #[must_use]
    pub const fn snapshot_time(&self) -> Option<SystemTime> {
        self.snapshot_time
    }

    /// The number of the snapshot that is read; 0 without one.
    #[must_use]
    pub const fn snapshot_number(&self) -> u64 {
        self.snapshot_number
    }

    /// How many bytes have been read, and how many there are.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        let snapshot = self.snapshot.as_ref().map_or(0, SnapshotReader::offset);
        (self.behind + snapshot + self.offset, self.total)
    }

    /// Checks what has not been read yet, cuts a torn tail, and opens the journal for appending.
    ///
    /// # Errors
    /// When any part of the journal is damaged or cannot be read.
    pub fn into_journal(mut self) -> Result<Journal, JournalError> {
        for record in self.by_ref() {
            drop(record?);
        }
        if let Some(error) = self.failed {
            return Err(error);
        }
        for (number, _) in &self.damaged {
            snapshot::put_aside(&self.directory, *number)?;
        }
        let file = if self.offset < SEGMENT_HEADER_BYTES {
            // no segment yet, or one whose creation a crash interrupted before anything was in it
            let path = segment_path(&self.directory, self.segment);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(io_error("remove", &path)(error));
                }
                _ => sync_directory(&self.directory)?,
            }
            self.offset = SEGMENT_HEADER_BYTES;
            create_segment(&self.directory, self.segment)?
        } else {
            let path = segment_path(&self.directory, self.segment);
            let file =
                OpenOptions::new().append(true).open(&path).map_err(io_error("open", &path))?;
            if self.torn_tail.is_some() {
                file.set_len(self.offset).map_err(io_error("cut the torn end of", &path))?;
            }
            // a process killed between write and sync leaves frames that are read here but are not
            // on the disk yet: nobody may act on them before they are
            file.sync_all().map_err(io_error("sync", &path))?;
            sync_directory(&self.directory)?;
            file
        };
        Ok(Journal {
            directory: self.directory,
            file,
            segment: self.segment,
            offset: self.offset,
            segment_bytes: self.segment_bytes,
            torn_tail: self.torn_tail,
            poisoned: None,
            _lock: self.lock,
        })
    }

    fn advance(&mut self) -> Result<Option<Record>, JournalError> {
        loop {
            if let Some(record) = self.records.pop_front() {
                return Ok(Some(record));
            }
            if let Some(snapshot) = &mut self.snapshot {
                match snapshot.next() {
                    Some(record) => return record.map(Some),
                    None => self.behind += snapshot.offset(),
                }
                self.snapshot = None;
                continue;
            }
            if self.at_end {
                return Ok(None);
            }
            match self.reading.take() {
                None => self.enter_segment()?,
                Some(segment) if self.offset == segment.length => self.leave_segment(),
                Some(mut segment) => {
                    self.read_frame(&mut segment)?;
                    self.reading = Some(segment);
                }
            }
        }
    }

    fn leave_segment(&mut self) {
        if self.segment == self.last_segment {
            self.at_end = true;
        } else {
            self.behind += self.offset;
            self.offset = 0;
            self.segment += 1;
        }
    }

    fn enter_segment(&mut self) -> Result<(), JournalError> {
        let path = segment_path(&self.directory, self.segment);
        let file = File::open(&path).map_err(io_error("open", &path))?;
        let length = file.metadata().map_err(io_error("read", &path))?.len();
        let mut reader = BufReader::new(file);
        let mut header = Vec::new();
        reader
            .by_ref()
            .take(SEGMENT_HEADER_BYTES)
            .read_to_end(&mut header)
            .map_err(io_error("read", &path))?;
        self.offset = 0;
        if header == frame::segment_header(self.segment) {
            self.offset = SEGMENT_HEADER_BYTES;
            self.reading = Some(Segment { path, reader, length });
            return Ok(());
        }
        match frame::header_version(&header) {
            Some(found) if found != super::FORMAT_VERSION => {
                Err(JournalError::OtherVersion { file: path, found })
            }
            // created, but the header never reached the disk: nothing was ever appended to it
            _ if self.segment == self.last_segment && length <= SEGMENT_HEADER_BYTES => {
                self.at_end = true;
                Ok(())
            }
            _ => Err(JournalError::Damaged {
                file: path,
                offset: 0,
                what: "this is not the header of this segment of a journal",
            }),
        }
    }

    fn read_frame(&mut self, segment: &mut Segment) -> Result<(), JournalError> {
        let failed = io_error("read", &segment.path);
        let mut head_bytes = Vec::with_capacity(FRAME_HEAD_BYTES);
        let head_limit = FRAME_HEAD_BYTES as u64;
        if let Err(error) = segment.reader.by_ref().take(head_limit).read_to_end(&mut head_bytes) {
            return Err(failed(error));
        }
        let Some(head) = frame::decode_head(self.segment, self.offset, &head_bytes) else {
            let cut_short = head_bytes.len() < FRAME_HEAD_BYTES;
            return self.torn_or_damaged(segment, cut_short);
        };
        let rest_length = head.body_length + BODY_CHECK_BYTES;
        let mut rest = Vec::new();
        if let Err(error) = segment.reader.by_ref().take(rest_length as u64).read_to_end(&mut rest)
        {
            return Err(failed(error));
        }
        if !frame::body_checks(self.segment, self.offset, &head_bytes, &rest) {
            return self.torn_or_damaged(segment, rest.len() < rest_length);
        }
        rest.truncate(head.body_length);
        let records = frame::decode_records(head, &rest).ok_or_else(|| JournalError::Damaged {
            file: segment.path.clone(),
            offset: self.offset,
            what: "a frame with a valid checksum has no valid records",
        })?;
        self.records = records.into();
        self.offset += (FRAME_HEAD_BYTES + rest_length) as u64;
        Ok(())
    }

    fn torn_or_damaged(&mut self, segment: &Segment, cut_short: bool) -> Result<(), JournalError> {
        let damaged = |what| {
            Err(JournalError::Damaged { file: segment.path.clone(), offset: self.offset, what })
        };
        if self.segment != self.last_segment {
            return damaged("a frame does not match its checksum, and a later segment follows");
        }
        if self.valid_frame_follows(segment)? {
            return damaged("a frame does not match its checksum, and a valid one follows");
        }
        self.torn_tail = Some(TornTail {
            file: segment.path.clone(),
            offset: self.offset,
            bytes: segment.length - self.offset,
            cut_short,
        });
        self.at_end = true;
        Ok(())
    }

    /// Looks at every later byte for the beginning of a frame that checks.
    fn valid_frame_follows(&self, segment: &Segment) -> Result<bool, JournalError> {
        // a segment grows by one frame at most past its size, so this is bounded
        let bytes = fs::read(&segment.path).map_err(io_error("read", &segment.path))?;
        let start = usize::try_from(self.offset).unwrap_or(usize::MAX).saturating_add(1);
        let found = bytes.iter().enumerate().skip(start).any(|(at, byte)| {
            if *byte != FRAME_MARKER[0] {
                return false;
            }
            let candidate = &bytes[at..];
            let Some(head) = frame::decode_head(self.segment, at as u64, candidate) else {
                return false;
            };
            let end = FRAME_HEAD_BYTES + head.body_length + BODY_CHECK_BYTES;
            candidate.get(..end).is_some_and(|whole| {
                let (head, rest) = whole.split_at(FRAME_HEAD_BYTES);
                frame::body_checks(self.segment, at as u64, head, rest)
            })
        });
        Ok(found)
    }
}

impl Iterator for Replay {
    type Item = Result<Record, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed.is_some() {
            return None;
        }
        match self.advance() {
            Ok(record) => record.map(Ok),
            Err(error) => {
                self.failed = Some(error.clone());
                Some(Err(error))
            }
        }
    }
}

/// Where reading begins.
struct Base {
    first_segment: u64,
    // 0 when there is no segment at all
    last_segment: u64,
    snapshot: Option<SnapshotReader>,
    damaged: Vec<(u64, JournalError)>,
    total: u64,
}

/// The newest snapshot that is sound, else the first segment; segments are numbered from there without a
/// gap.
fn base(directory: &std::path::Path) -> Result<Base, JournalError> {
    let segments = snapshot::numbers(directory, "journal")?;
    let mut damaged = Vec::new();
    for number in snapshot::numbers(directory, "snapshot")?.into_iter().rev() {
        match sound(directory, number) {
            Ok(snapshot) => return from(directory, number, &segments, Some(snapshot), damaged),
            // whoever can read it has to
            Err(error @ JournalError::OtherVersion { .. }) => return Err(error),
            Err(error) => damaged.push((number, error)),
        }
    }
    match damaged.first() {
        // the generation before is gone as well: the newest is what has to be told of
        Some((_, newest)) if segments.first() != Some(&1) => Err(newest.clone()),
        _ => from(directory, 1, &segments, None, damaged),
    }
}

/// A snapshot, at its beginning, that has been read to its end once.
fn sound(directory: &std::path::Path, number: u64) -> Result<SnapshotReader, JournalError> {
    let path = snapshot_path(directory, number);
    SnapshotReader::open(&path, number)?.try_for_each(|record| record.map(drop))?;
    SnapshotReader::open(&path, number)
}

fn from(
    directory: &std::path::Path,
    first_segment: u64,
    segments: &[u64],
    snapshot: Option<SnapshotReader>,
    damaged: Vec<(u64, JournalError)>,
) -> Result<Base, JournalError> {
    let missing = |segment| JournalError::Damaged {
        file: segment_path(directory, segment),
        offset: 0,
        what: "this segment is missing, and later ones are there",
    };
    let from: Vec<u64> = segments.iter().copied().filter(|it| *it >= first_segment).collect();
    if let Some((_, gap)) = from.iter().zip(first_segment..).find(|(it, expected)| *it != expected)
    {
        return Err(missing(gap));
    }
    if from.is_empty() && (snapshot.is_some() || !segments.is_empty() || !damaged.is_empty()) {
        return Err(missing(first_segment));
    }
    let length = |path: PathBuf| fs::metadata(&path).map(|file| file.len()).unwrap_or_default();
    let of_snapshot = snapshot.as_ref().map(|_| length(snapshot_path(directory, first_segment)));
    let of_segments = from.iter().map(|segment| length(segment_path(directory, *segment)));
    let total = of_snapshot.into_iter().chain(of_segments).sum();
    let last_segment = from.last().copied().unwrap_or(0);
    Ok(Base { first_segment, last_segment, snapshot, damaged, total })
}
