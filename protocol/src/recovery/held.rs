//! What a witness holds of another's log, as it is asked for and sent.

use std::fmt;

use minicbor::{Decode, Encode};

use crate::codec::MESSAGE_MAX;
use crate::ids::{BrandId, HeaderHash, Height};
use crate::log::fragments::Fragment;
use crate::witness::statement::UnverifiedCertificate;

/// Most blocks in one answer.
pub const HELD_BLOCKS_MAX: usize = 32;
/// An answer takes no further block from so many bytes of fragments on. One fragment can be as large as
/// a body, where nobody may fail: with it the answer still is a message.
pub const HELD_BYTES_MAX: usize = MESSAGE_MAX / 4;

/// What one witness holds of one block.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct HeldBlock {
    /// The header leaf.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub header: Vec<u8>,
    /// The block's certificate; none when it was voted for and is not final here.
    #[n(1)]
    pub certificate: Option<UnverifiedCertificate>,
    /// The witness's own fragment of the body, with its path to the header's root.
    #[n(2)]
    pub fragment: Fragment,
}

impl fmt::Debug for HeldBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let block = self.certificate.as_ref().map(|known| known.pledge.block);
        let place = block.map(|block| (block.log, block.height));
        write!(f, "HeldBlock({place:?}, {:?})", self.fragment)
    }
}

impl HeldBlock {
    /// The log and height it was certified for, whether or not the certificate stands.
    #[must_use]
    pub fn place(&self) -> Option<(BrandId, Height)> {
        let block = self.certificate.as_ref()?.pledge.block;
        Some((block.log, block.height))
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn about_bytes(&self) -> usize {
        const REST: usize = 8192;
        let parts = [self.header.len(), self.fragment.bytes().len()];
        parts.into_iter().fold(REST, usize::saturating_add)
    }
}

/// Asks a brand what it holds of a log that is not its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Recall {
    /// Whose log.
    #[n(0)]
    pub log: BrandId,
    /// The first height that is wanted.
    #[n(1)]
    pub from: Height,
    /// Only this block of that height, final or not: one that a lock forces its writer to propose.
    #[n(2)]
    pub block: Option<HeaderHash>,
}

/// Its answer: as many as fit, in the order of heights; none when nothing is held from there on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Holdings {
    /// What was asked for.
    #[n(0)]
    pub asked: Recall,
    /// What is held. A height that is left out is not held any more.
    #[n(1)]
    pub held: Vec<HeldBlock>,
}

impl Holdings {
    /// About how many bytes it takes.
    #[must_use]
    pub fn about_bytes(&self) -> usize {
        self.held.iter().fold(0, |sum, held| sum.saturating_add(held.about_bytes()))
    }
}
