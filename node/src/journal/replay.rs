//! Reading a journal from its first record to its last, a frame at a time.
//!
//! Decides what is a torn tail and what is damage: in the last segment, a frame that does not check
//! and after which no valid frame begins is torn; everything else is damage.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, ErrorKind, Read};
use std::path::PathBuf;

use super::frame::{self, BODY_CHECK_BYTES, FRAME_HEAD_BYTES, FRAME_MARKER, SEGMENT_HEADER_BYTES};
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
        let last_segment = last_segment(&directory)?;
        Ok(Self {
            directory,
            segment_bytes,
            lock,
            last_segment,
            reading: None,
            segment: 1,
            offset: 0,
            records: VecDeque::new(),
            torn_tail: None,
            failed: None,
            at_end: last_segment == 0,
        })
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
            poisoned: false,
            _lock: self.lock,
        })
    }

    fn advance(&mut self) -> Result<Option<Record>, JournalError> {
        loop {
            if let Some(record) = self.records.pop_front() {
                return Ok(Some(record));
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

/// The number of the last segment, 0 if there is none; they are numbered from 1 without a gap.
fn last_segment(directory: &std::path::Path) -> Result<u64, JournalError> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory).map_err(io_error("list", directory))? {
        let path = entry.map_err(io_error("list", directory))?.path();
        if path.extension().is_some_and(|extension| extension == "journal") {
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            match number {
                Some(number) if segment_path(directory, number) == path => numbers.push(number),
                _ => {
                    let what = "this file is not named like a segment of a journal";
                    return Err(JournalError::Damaged { file: path, offset: 0, what });
                }
            }
        }
    }
    numbers.sort_unstable();
    match numbers.iter().zip(1..).find(|(number, expected)| *number != expected) {
        Some((_, missing)) => Err(JournalError::Damaged {
            file: segment_path(directory, missing),
            offset: 0,
            what: "this segment is missing, and later ones are there",
        }),
        None => Ok(numbers.last().copied().unwrap_or(0)),
    }
}
