//! One entry of a certified block, shown to somebody who does not have the block; and the end of a log,
//! for a brand that joins later.

use minicbor::{Decode, Encode};

use crate::codec::DecodeError;
use crate::constitution::Constitution;
use crate::ids::LeafIndex;
use crate::log::block::{Entry, Header, PublicEntry};
use crate::log::merkle::{Frontier, leaf_hash};
use crate::log::proof::ProofError;
use crate::log::range::RangeProof;
use crate::witness::rules::Tip;
use crate::witness::statement::{Certificate, QuorumError, UnverifiedCertificate};

/// An entry in clear with all that shows it to be certified.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct CertifiedEntry {
    /// The header leaf of its block.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub header: Vec<u8>,
    /// The block's certificate.
    #[n(1)]
    pub certificate: UnverifiedCertificate,
    /// The entry's index in its log.
    #[n(2)]
    pub index: LeafIndex,
    /// The entry's leaf.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub entry: Vec<u8>,
    /// That it is in the block's body.
    #[n(4)]
    pub proof: RangeProof,
}

/// What a certified entry says and where; made by [`CertifiedEntry::verify`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedEntry {
    header: Header,
    certificate: Certificate,
    entry: PublicEntry,
}

/// Why an entry is not shown to be certified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Header or entry cannot be read.
    #[error(transparent)]
    Unreadable(#[from] DecodeError),
    /// The certificate does not stand.
    #[error(transparent)]
    Certificate(#[from] QuorumError),
    /// The certificate is of another block.
    #[error("the certificate is of another block")]
    OtherBlock,
    /// The entry is not among the block's public leaves.
    #[error("it is no public leaf of the block")]
    NotPublic,
    /// The entry is not in the block.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl CertifiedEntry {
    /// What it says, before anything is checked.
    ///
    /// # Errors
    /// When it cannot be read as a public entry.
    pub fn unverified(&self) -> Result<PublicEntry, EntryError> {
        match Entry::from_bytes(&self.entry)? {
            Entry::Public(entry) => Ok(entry),
            Entry::Header(_) | Entry::Sealed(_) => Err(EntryError::NotPublic),
        }
    }

    /// Checks that the entry is in a block that was certified under this constitution.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self, constitution: &Constitution) -> Result<CheckedEntry, EntryError> {
        let entry = self.unverified()?;
        let header = Header::from_bytes(&self.header)?;
        let id = leaf_hash(&self.header).of_header();
        let block = self.certificate.pledge.block;
        if (block.log, block.header, block.epoch) != (header.log, id, header.epoch) {
            return Err(EntryError::OtherBlock);
        }
        let public = header.first.get().saturating_add(u64::from(header.public_leaves));
        if self.index < header.first || self.index.get() >= public {
            return Err(EntryError::NotPublic);
        }
        let leaf = leaf_hash(&self.entry);
        self.proof.verify(self.index, &[leaf], header.body_size(), &header.body_root)?;
        let certificate = self.certificate.clone().verify(constitution)?;
        Ok(CheckedEntry { header, certificate, entry })
    }
}

impl CheckedEntry {
    /// The block's header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }
    /// The block's certificate.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }
    /// What it says.
    #[must_use]
    pub const fn entry(&self) -> &PublicEntry {
        &self.entry
    }
}

/// Where a log stood when it took up the constitution that a brand joined with: the block that did, and
/// the tree's right edge with it. What came before was not said to that brand.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct LogHead {
    /// The entry by which it did.
    #[n(0)]
    pub entry: CertifiedEntry,
    /// The tree's right edge.
    #[n(1)]
    pub frontier: Frontier,
}

impl LogHead {
    /// Checks it under the constitution that ended with this block; gives the entry and the state that
    /// the log's next block follows.
    ///
    /// # Errors
    /// When the entry is not certified, or the tree is not the certified one.
    pub fn verify(&self, constitution: &Constitution) -> Result<(CheckedEntry, Tip), EntryError> {
        let checked = self.entry.verify(constitution)?;
        let block = checked.certificate.block();
        if (self.frontier.size(), self.frontier.root()) != (block.size, block.root)
            || checked.header.size() != block.size
        {
            return Err(ProofError::RootMismatch.into());
        }
        let tip = Tip::after(&checked.header, block.header, self.frontier.clone());
        Ok((checked, tip))
    }
}
