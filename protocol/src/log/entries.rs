//! Entries side by side in one piece of memory: each after its length as a big-endian u16, as in an
//! entry bundle of C2SP tlog-tiles.
//!
//! One form for a block's body wherever it goes: what is cut into fragments, travels as a run of
//! leaves, lies in the journal and is published as bundles are these bytes. A body of 65,535 entries
//! is one allocation, and reading it back is one pass over the lengths. Knows nothing of what an entry
//! says.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::merkle::{EntryTooLong, leaf_hash};
use crate::codec::ENTRY_MAX;
use crate::ids::LeafHash;

/// Bytes of the length before an entry.
pub const LENGTH_BYTES: usize = 2;

/// Entries in order. Copies, and runs of some of them, share their bytes.
#[derive(Clone, Default)]
pub struct Entries {
    bytes: Arc<Vec<u8>>,
    // which of them are these
    place: Range<usize>,
    count: usize,
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.as_bytes() == other.as_bytes()
    }
}
impl Eq for Entries {}

impl Entries {
    /// No entry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No entry, with room for so many bytes, lengths included.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Arc::new(Vec::with_capacity(bytes)), ..Self::default() }
    }

    /// Reads entries side by side; none when the bytes end amid one.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let mut rest: &[u8] = &bytes;
        let mut count = 0_usize;
        while !rest.is_empty() {
            (_, rest) = split_entry(rest)?;
            count = count.saturating_add(1);
        }
        let place = 0..bytes.len();
        Some(Self { bytes: Arc::new(bytes), place, count })
    }

    /// Adds one entry.
    ///
    /// # Errors
    /// When it is longer than an entry may be.
    pub fn push(&mut self, entry: &[u8]) -> Result<(), EntryTooLong> {
        self.push_with(|bytes| bytes.extend_from_slice(entry)).map(|_| ())
    }

    /// Adds the entry whose bytes `write` appends, without a copy of its own; gives its leaf hash.
    ///
    /// # Errors
    /// When it is longer than an entry may be; then nothing was added.
    pub fn push_with(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<LeafHash, EntryTooLong> {
        let start = self.place.end;
        // a copy of its own is made only of what is shared
        let bytes = Arc::make_mut(&mut self.bytes);
        // a run of other entries ends before they do
        bytes.truncate(start);
        bytes.extend_from_slice(&[0; LENGTH_BYTES]);
        write(bytes);
        let (_, written) = bytes.split_at_mut_checked(start).unwrap_or_default();
        let Some((prefix, entry)) = written.split_first_chunk_mut::<LENGTH_BYTES>() else {
            return Err(EntryTooLong::of(0));
        };
        let found = entry.len();
        const { assert!(ENTRY_MAX == u16::MAX as usize) };
        let Ok(length) = u16::try_from(found) else {
            bytes.truncate(start);
            return Err(EntryTooLong::of(found));
        };
        *prefix = length.to_be_bytes();
        let hash = leaf_hash(entry);
        self.place.end = bytes.len();
        self.count = self.count.saturating_add(1);
        Ok(hash)
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
    /// The bytes, each entry after its length.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.place.clone()).unwrap_or_default()
    }
    /// The entries.
    #[must_use]
    pub fn iter(&self) -> EntryIter<'_> {
        EntryIter { rest: self.as_bytes() }
    }
    /// Their leaf hashes.
    #[must_use]
    pub fn hashes(&self) -> Vec<LeafHash> {
        let mut hashes = Vec::with_capacity(self.count);
        hashes.extend(self.iter().map(leaf_hash));
        hashes
    }

    /// Some of them; none when there are not so many.
    #[must_use]
    pub fn run(&self, first: usize, count: usize) -> Option<Self> {
        let mut rest = self.as_bytes();
        for _ in 0..first {
            (_, rest) = split_entry(rest)?;
        }
        let start = self.place.end.checked_sub(rest.len())?;
        for _ in 0..count {
            (_, rest) = split_entry(rest)?;
        }
        let place = start..self.place.end.checked_sub(rest.len())?;
        Some(Self { bytes: Arc::clone(&self.bytes), place, count })
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entries({}, {} bytes)", self.count, self.place.len())
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = &'a [u8];
    type IntoIter = EntryIter<'a>;
    fn into_iter(self) -> EntryIter<'a> {
        self.iter()
    }
}

/// Goes through [`Entries`].
#[derive(Clone, Debug)]
pub struct EntryIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for EntryIter<'a> {
    type Item = &'a [u8];
    fn next(&mut self) -> Option<&'a [u8]> {
        let (entry, rest) = split_entry(self.rest)?;
        self.rest = rest;
        Some(entry)
    }
}

fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

impl<C> Encode<C> for Entries {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(self.as_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Entries {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let position = d.position();
        let bytes = d.bytes()?.to_vec();
        Self::from_bytes(bytes).ok_or_else(|| {
            minicbor::decode::Error::message("entries that end amid one").at(position)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn entries_come_back_and_no_part_of_one_does(
            all in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            cut: prop::sample::Index,
        ) {
            let mut entries = Entries::new();
            for entry in &all {
                entries.push(entry).unwrap();
            }
            prop_assert_eq!(entries.len(), all.len());
            prop_assert!(entries.iter().eq(all.iter().map(Vec::as_slice)));
            prop_assert!(entries.hashes().into_iter().eq(all.iter().map(|entry| leaf_hash(entry))));
            let read: Entries = decode("entries", &encode(&entries), 4096).unwrap();
            prop_assert_eq!(&read, &entries);
            for first in 0..=all.len() {
                let run = entries.run(first, all.len() - first).unwrap();
                prop_assert!(run.iter().eq(all[first..].iter().map(Vec::as_slice)));
                prop_assert_eq!(entries.run(first, all.len() - first + 1), None);
                // what is added to a run is in nothing that it shared its bytes with
                let mut longer = entries.run(0, first).unwrap();
                longer.push(b"more").unwrap();
                prop_assert_eq!(longer.iter().nth(first), Some(&b"more"[..]));
                prop_assert_eq!(longer.len(), first + 1);
                prop_assert_eq!(&read, &entries);
            }
            // wherever it is cut, what is left is whole entries or nothing
            let part = entries.as_bytes()[..cut.index(entries.as_bytes().len() + 1)].to_vec();
            if let Some(part) = Entries::from_bytes(part) {
                prop_assert!(part.iter().eq(all[..part.len()].iter().map(Vec::as_slice)));
            }
        }
    }

    #[test]
    fn an_entry_that_is_too_long_leaves_nothing_behind() {
        let mut entries = Entries::new();
        assert!(entries.push(&[7; ENTRY_MAX]).is_ok());
        let before = entries.clone();
        assert!(entries.push(&[7; ENTRY_MAX + 1]).is_err());
        assert_eq!(entries, before);
    }
}
