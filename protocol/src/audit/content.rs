//! What one block says, read without regard to any other: its header leaf, its entries, its fragments,
//! its sealed columns. This is what an audit spends its time on, and what several cores do for several
//! blocks at once. Whether the block may follow the ones before is [`super::blocks`]' to judge.

use super::blocks::Block;
use super::report::{Recorder, Rule};
use super::sealed::{Reader, Sealed};
use crate::codec::{self, DecodeError, ENTRY_MAX};
use crate::constitution::Constitution;
use crate::crypto::sealed::{SEALED_OVERHEAD, SealedLeaf, SealedRef};
use crate::ids::{Epoch, HeaderHash, LeafIndex};
use crate::log::block::{BODY_MAX, Entry, Header, PublicEntry};
use crate::log::fragments::Shape;
use crate::log::merkle::leaf_hash;
use crate::witness::rules::Violation;

/// One block, read.
#[derive(Debug)]
pub(super) struct Content {
    /// Found on the header leaf.
    pub(super) heading: Recorder,
    /// The rest, if the last leaf is the certified one and a header of this block.
    pub(super) parts: Option<Parts>,
}

/// What there is to be said of a block whose header can be read.
#[derive(Debug)]
pub(super) struct Parts {
    /// By the constitution of which epoch it was read.
    pub(super) epoch: Epoch,
    pub(super) id: HeaderHash,
    pub(super) header: Header,
    /// Found where entries are none.
    pub(super) unreadable: Recorder,
    /// All public entries, wherever they are.
    pub(super) public: Vec<(LeafIndex, PublicEntry)>,
    /// Entries that there is something to say of, in order.
    pub(super) notes: Vec<(LeafIndex, Note)>,
    /// Whether the header commits to the fragments of this body; none when not all of it is there.
    pub(super) is_committed: Option<bool>,
    pub(super) sealed: Sealed,
}

/// What there is to say of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) enum Note {
    /// It is public and where public entries are; its number among them.
    Public(usize),
    /// It is of another kind than the entries at its place.
    Misplaced,
    /// It is sealed, and of another size than the constitution's.
    Size,
}

impl Parts {
    /// The entries that the header counts as public, if they are.
    pub(super) fn leading(&self, block: &Block) -> Option<&[(LeafIndex, PublicEntry)]> {
        let leading = place(self.header.public_leaves).min(block.settled.body_leaves());
        let entries = self.public.get(..leading)?;
        let end = block.index_of(leading);
        entries.last().is_none_or(|(index, _)| *index < end).then_some(entries)
    }
}

/// How many leaves a header counts.
pub(super) fn place(leaves: u32) -> usize {
    usize::try_from(leaves).unwrap_or(usize::MAX)
}

/// An entry, read where it lies.
enum Read<'b> {
    Header,
    Public(PublicEntry),
    Sealed(SealedRef<'b>),
}

/// How a sealed entry begins: a choice of two elements, number 2.
const SEALED: &[u8] = &[0x82, 0x02];

impl<'b> Read<'b> {
    fn from_bytes(bytes: &'b [u8]) -> Result<Self, DecodeError> {
        if bytes.starts_with(SEALED)
            && let Ok(SealedLeaf::Sealed(sealed)) = codec::decode("a log entry", bytes, ENTRY_MAX)
        {
            return Ok(Self::Sealed(sealed));
        }
        match Entry::from_bytes(bytes)? {
            Entry::Header(_) => Ok(Self::Header),
            Entry::Public(entry) => Ok(Self::Public(entry)),
            // whatever is one begins as one and was read above
            Entry::Sealed(_) => Err(DecodeError::NotDeterministic { what: "a log entry" }),
        }
    }
}

/// Reads a block by the constitution that it must be under, with a key where there is one.
pub(super) fn read(
    block: &Block,
    constitution: &Constitution,
    reader: Option<&Reader<'_>>,
) -> Content {
    let mut heading = Recorder::default();
    let Some((id, header)) = read_header(block, &mut heading) else {
        return Content { heading, parts: None };
    };
    let fits = header.size() == block.after.size() && header.body_root == block.settled.body_root;
    if !fits && block.settled.proven {
        let message = "the header counts other leaves than there are, or has another root";
        heading.find(block.place(), Rule::BlockHeader, message);
    }
    let first_sealed = place(header.public_leaves);
    let size = constitution.payload_size().saturating_add(SEALED_OVERHEAD);
    let mut unreadable = Recorder::default();
    let (mut public, mut notes) = (Vec::new(), Vec::new());
    let mut sealed = Vec::with_capacity(block.settled.body_leaves());
    for (position, entry) in block.settled.body().enumerate() {
        let index = block.index_of(position);
        let is_sealed_here = position >= first_sealed;
        let mut found = None;
        // what is not there was reported with its file
        match entry.map(Read::from_bytes) {
            None => {}
            Some(Err(error)) => {
                unreadable.find(block.place().at(index), Rule::EntryUnreadable, error);
            }
            Some(Ok(Read::Public(entry))) => {
                let number = public.len();
                notes.push((
                    index,
                    if is_sealed_here { Note::Misplaced } else { Note::Public(number) },
                ));
                public.push((index, entry));
            }
            Some(Ok(Read::Sealed(entry))) => {
                found = Some(entry);
                if !is_sealed_here {
                    notes.push((index, Note::Misplaced));
                } else if entry.ciphertext.len() != size {
                    notes.push((index, Note::Size));
                }
            }
            Some(Ok(Read::Header)) => notes.push((index, Note::Misplaced)),
        }
        sealed.push(found);
    }
    let parts = Parts {
        epoch: constitution.epoch(),
        unreadable,
        public,
        notes,
        is_committed: is_committed(block, &header, constitution),
        sealed: Sealed::read(block, &header, &sealed, constitution, reader),
        id,
        header,
    };
    Content { heading, parts: Some(parts) }
}

/// The header, if the last leaf is the certified one and a header of this block.
fn read_header(block: &Block, recorder: &mut Recorder) -> Option<(HeaderHash, Header)> {
    let place = block.place().at(block.index_of(block.settled.body_leaves()));
    let entry = block.settled.last()?;
    let id = leaf_hash(entry).of_header();
    if block.id.map_or(!block.settled.proven, |certified| certified != id) {
        if block.settled.proven {
            let message = "the last leaf is not the header that the certificate names";
            recorder.find(place, Rule::BlockHeader, message);
        }
        return None;
    }
    let header = match Entry::from_bytes(entry) {
        Ok(Entry::Header(header)) => header,
        Ok(_) => {
            recorder.find(place, Rule::EntryUnaccounted, "these entries end in no header");
            return None;
        }
        Err(error) => {
            recorder.violation(place, &Violation::Unreadable(error));
            return None;
        }
    };
    if header.log != block.log || header.height != block.height {
        let message =
            format_args!("this is the header of block {} of {}", header.height, header.log);
        recorder.find(place, Rule::BlockHeader, message);
    }
    Some((id, header))
}

fn is_committed(block: &Block, header: &Header, constitution: &Constitution) -> Option<bool> {
    let bytes = block.settled.body_bytes()?;
    Some(
        bytes.len() <= BODY_MAX
            && u32::try_from(bytes.len()) == Ok(header.body_bytes)
            && Shape::of(constitution.committee())
                .cut(bytes)
                .is_ok_and(|(root, _)| root == header.fragments),
    )
}
