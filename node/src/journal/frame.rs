//! The bytes of a segment or a snapshot: a header, then frames; all integers little-endian.
//!
//! ```text
//! header   "coaljrnl" or "coalsnap" | version u16 | number u64 | first 8 bytes of SHA-256 of all before
//! frame    C0 4A 52 0A | body length u32 | records u32 | head check 8 | body | body check u32
//! body     kind u8 | length u32 | bytes, for each record
//! ```
//! Both checks cover segment and offset beside the bytes: a frame is valid in one place only, so an old or
//! repeated piece of a file, or a payload that looks like a frame, is not taken for one. The head's is
//! truncated SHA-256; the body's is CRC-32 (IEEE 802.3) over place, head and body. They find accidents; whoever
//! can write the file can forge them. A torn body passes once in 2^32, and then its records are still not
//! those of the node: they are encrypted, and what does not open with the brand's key stops it. In a snapshot the
//! place has the highest bit of its number set.

use std::io::{self, IoSlice, Write};

use crc32fast::Hasher;
use ring::digest::{Context, SHA256};

use super::{BATCH_MAX, FORMAT_VERSION, JournalError, RECORD_MAX, Record};

pub(super) const SEGMENT_HEADER_BYTES: u64 = 26;
pub(super) const FRAME_HEAD_BYTES: usize = 20;
pub(super) const BODY_CHECK_BYTES: usize = 4;
const RECORD_HEAD_BYTES: usize = 5;
const SEGMENT_MAGIC: &[u8; 8] = b"coaljrnl";
const SNAPSHOT_MAGIC: &[u8; 8] = b"coalsnap";
pub(super) const FRAME_MARKER: [u8; 4] = [0xc0, b'J', b'R', b'\n'];

fn check<const N: usize>(what: &[u8], parts: &[&[u8]]) -> [u8; N] {
    let mut context = Context::new(&SHA256);
    context.update(what);
    parts.iter().for_each(|part| context.update(part));
    let digest = context.finish();
    let mut short = [0; N];
    short.copy_from_slice(&digest.as_ref()[..N]);
    short
}

pub(super) fn segment_header(segment: u64) -> Vec<u8> {
    header(SEGMENT_MAGIC, b"segment", segment)
}

pub(super) fn snapshot_header(number: u64) -> Vec<u8> {
    header(SNAPSHOT_MAGIC, b"snapshot", number)
}

/// The place of a snapshot's frames: no segment has it.
pub(super) const fn place_of_snapshot(number: u64) -> u64 {
    number | 1 << 63
}

fn header(magic: &[u8], what: &[u8], number: u64) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend(FORMAT_VERSION.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend(check::<8>(what, &[&bytes]));
    bytes
}

/// The version a header states, if it is a journal's header at all.
pub(super) fn header_version(header: &[u8]) -> Option<u16> {
    let known = header.strip_prefix(SEGMENT_MAGIC).or_else(|| header.strip_prefix(SNAPSHOT_MAGIC));
    let version = known?.first_chunk()?;
    Some(u16::from_le_bytes(*version))
}

/// What the head of a frame says.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) body_length: usize,
    records: u32,
}

pub(super) fn checked_body_length(records: &[Record]) -> Result<u32, JournalError> {
    let mut total = 0_usize;
    for record in records {
        let found = record.bytes.len();
        if found > RECORD_MAX {
            return Err(JournalError::TooLong { what: "record", found, most: RECORD_MAX });
        }
        total = total.saturating_add(found + RECORD_HEAD_BYTES);
    }
    match u32::try_from(total) {
        Ok(length) if total <= BATCH_MAX => Ok(length),
        _ => Err(JournalError::TooLong { what: "append", found: total, most: BATCH_MAX }),
    }
}

fn place(segment: u64, offset: u64) -> [u8; 16] {
    let mut place = [0; 16];
    let (first, second) = place.split_at_mut(8);
    first.copy_from_slice(&segment.to_le_bytes());
    second.copy_from_slice(&offset.to_le_bytes());
    place
}

/// Writes a frame for that place, the records from where they lie; gives its length.
pub(super) fn write(
    to: &mut impl Write,
    (segment, offset): (u64, u64),
    records: &[Record],
    body_length: u32,
) -> io::Result<u64> {
    let place = place(segment, offset);
    let mut head = [0; FRAME_HEAD_BYTES];
    head[..4].copy_from_slice(&FRAME_MARKER);
    head[4..8].copy_from_slice(&body_length.to_le_bytes());
    // a body of at most BATCH_MAX bytes with 5 for each record: the count fits
    head[8..12].copy_from_slice(&(records.len() as u32).to_le_bytes());
    let checked = check::<8>(b"head", &[&place, &head[..12]]);
    head[12..].copy_from_slice(&checked);
    let record_head = |record: &Record| {
        let mut head = [record.kind; RECORD_HEAD_BYTES];
        head[1..].copy_from_slice(&(record.bytes.len() as u32).to_le_bytes());
        head
    };
    let heads: Vec<[u8; RECORD_HEAD_BYTES]> = records.iter().map(record_head).collect();
    let mut sum = Hasher::new();
    sum.update(&place);
    sum.update(&head);
    let mut pieces = Vec::with_capacity(2 * records.len() + 2);
    pieces.push(IoSlice::new(&head));
    for (head, record) in heads.iter().zip(records) {
        sum.update(head);
        sum.update(&record.bytes);
        pieces.extend([IoSlice::new(head), IoSlice::new(&record.bytes)]);
    }
    let sum = sum.finalize().to_le_bytes();
    pieces.push(IoSlice::new(&sum));
    write_all(to, &mut pieces)?;
    Ok((FRAME_HEAD_BYTES + BODY_CHECK_BYTES) as u64 + u64::from(body_length))
}

fn write_all(to: &mut impl Write, mut pieces: &mut [IoSlice<'_>]) -> io::Result<()> {
    // an empty piece must not look like an end
    IoSlice::advance_slices(&mut pieces, 0);
    while !pieces.is_empty() {
        match to.write_vectored(pieces) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut pieces, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a frame's head, if these are the bytes of one at that place.
pub(super) fn decode_head(segment: u64, offset: u64, head: &[u8]) -> Option<Head> {
    let head: &[u8; FRAME_HEAD_BYTES] = head.first_chunk()?;
    let place = place(segment, offset);
    let rest = head.strip_prefix(&FRAME_MARKER)?;
    if rest[8..] != check::<8>(b"head", &[&place, &head[..12]]) {
        return None;
    }
    let body_length = u32::from_le_bytes(*rest.first_chunk()?) as usize;
    let records = u32::from_le_bytes(*rest[4..].first_chunk()?);
    (body_length <= BATCH_MAX).then_some(Head { body_length, records })
}

/// Whether body and body check belong to that head at that place.
pub(super) fn body_checks(segment: u64, offset: u64, head: &[u8], rest: &[u8]) -> bool {
    let Some((body, stated)) = rest.split_last_chunk::<BODY_CHECK_BYTES>() else { return false };
    let mut sum = Hasher::new();
    sum.update(&place(segment, offset));
    sum.update(head);
    sum.update(body);
    *stated == sum.finalize().to_le_bytes()
}

/// The records of a body that has been checked.
pub(super) fn decode_records(head: Head, mut body: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    while let Some((kind, rest)) = body.split_first() {
        let (length, rest) = rest.split_first_chunk()?;
        let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        records.push(Record { kind: *kind, bytes: bytes.to_vec() });
        body = rest;
    }
    (records.len() == head.records as usize).then_some(records)
}
