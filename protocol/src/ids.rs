//! Names and numbers that identify things on the ledger, each its own type.
//!
//! Knows: how an id is written, its bounds, its encoding. Does not know what it identifies:
//! whether a brand is a member of the alliance is the constitution's business.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Serialize, Serializer};

/// Longest brand id, in bytes.
pub const BRAND_ID_MAX: usize = 23;

/// Stable id of a brand: 1 to 23 of `a-z`, `0-9`, `_`, `-`, beginning with a letter.
///
/// Kept inline so that it is `Copy` and can be read in any log or error without a lookup. A brand
/// keeps its id for ever; keys and names change under it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrandId {
    // padded with zeros: the derived order is then the order of the text
    bytes: [u8; BRAND_ID_MAX],
    length: u8,
}

/// Why a text is not a brand id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a brand id has 1 to {BRAND_ID_MAX} of a-z, 0-9, _ and -, and begins with a letter (found {found_length} bytes{at})"
)]
pub struct InvalidBrandId {
    found_length: usize,
    at: String,
}

impl BrandId {
    /// Parses a brand id.
    ///
    /// # Errors
    /// When the text is empty, too long, or has a character outside the alphabet.
    pub fn new(text: &str) -> Result<Self, InvalidBrandId> {
        let bad = text.bytes().enumerate().position(|(position, byte)| match byte {
            b'a'..=b'z' => false,
            b'0'..=b'9' | b'_' | b'-' => position == 0,
            _ => true,
        });
        let invalid = |at| InvalidBrandId { found_length: text.len(), at };
        if let Some(position) = bad {
            return Err(invalid(format!(", a wrong one at byte {position}")));
        }
        let mut bytes = [0; BRAND_ID_MAX];
        let length = u8::try_from(text.len()).map_err(|_| invalid(String::new()))?;
        match bytes.get_mut(..text.len()) {
            Some(part) if !text.is_empty() => part.copy_from_slice(text.as_bytes()),
            _ => return Err(invalid(String::new())),
        }
        Ok(Self { bytes, length })
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // the constructor admits ASCII only, and length <= BRAND_ID_MAX
        self.bytes
            .get(..usize::from(self.length))
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or_default()
    }
}

impl fmt::Display for BrandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for BrandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BrandId {
    type Err = InvalidBrandId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl Serialize for BrandId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<C> Encode<C> for BrandId {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(self.as_str())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for BrandId {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let position = d.position();
        Self::new(d.str()?).map_err(|error| minicbor::decode::Error::message(error).at(position))
    }
}

macro_rules! digests {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[cbor(with = "minicbor::bytes")] [u8; 32]);

        impl $name {
            /// Takes the 32 bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self { Self(bytes) }
            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] { &self.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write_hex(&self.0, f) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // eight bytes tell two apart in a trace
                write_hex(self.0.get(..8).unwrap_or_default(), f)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_str(self) }
        }
    )*};
}

digests! {
    /// RFC 6962 leaf hash: SHA-256 of 0x00 and the entry.
    LeafHash,
    /// Root of a Merkle tree (RFC 6962, section 2.1).
    RootHash,
    /// The id of a block: the leaf hash of its header.
    HeaderHash,
    /// SHA-256 of a constitution's TOML bytes.
    ConstitutionHash,
    /// Root of the tree over a block's erasure-coded fragments.
    FragmentsRoot,
    /// Salted commitment to something not shown.
    Commitment,
    /// SHA-256 of a clearing statement.
    StatementHash,
    /// SHA-256 of the request that an idempotency key was first used with.
    RequestHash,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident($int:ty)),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
        #[cbor(transparent)]
        #[serde(transparent)]
        pub struct $name(#[n(0)] $int);

        impl $name {
            /// Takes the number as it is.
            #[must_use]
            pub const fn new(number: $int) -> Self { Self(number) }
            /// The number.
            #[must_use]
            pub const fn get(self) -> $int { self.0 }
            /// The next number, or none at the end of the range.
            #[must_use]
            pub const fn next(self) -> Option<Self> {
                match self.0.checked_add(1) { Some(next) => Some(Self(next)), None => None }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { self.0.fmt(f) }
        }
    )*};
}

counters! {
    /// Number of a block in a log; the first block has height 1, height 0 is the empty log.
    Height(u64),
    /// Round of agreement on one height.
    Round(u32),
    /// Version number of the constitution; the first is 1.
    Epoch(u32),
    /// How many times a node has started on its disk; a higher one has a claim on a log that lower
    /// ones have lost.
    Incarnation(u64),
    /// Index of a leaf in a log, from 0.
    LeafIndex(u64),
    /// Number of leaves of a log.
    TreeSize(u64),
}

macro_rules! tokens {
    ($($(#[$doc:meta])* $name:ident[$len:literal]),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[cbor(with = "minicbor::bytes")] [u8; $len]);

        impl $name {
            /// Takes the bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self { Self(bytes) }
            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] { &self.0 }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_str(self) }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write_hex(&self.0, f) }
        }
    )*};
}

tokens! {
    /// A person as one pair of brands knows them; made from a per-member secret in the vault of
    /// the brand that sends, so that it says nothing to a third brand.
    MemberHandle[16],
    /// The client's idempotency key of a request, hashed to a fixed size.
    RequestId[16],
    /// Fresh random bytes of a round that has been opened.
    RoundNonce[16],
    /// Fresh random bytes of a block that was built.
    BlockNonce[16],
    /// Fresh random bytes of one start of a node.
    StartNonce[16],
}

impl fmt::Debug for MemberHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // a handle stands for a person: it does not belong in a trace
        f.write_str("MemberHandle(..)")
    }
}
impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}
impl fmt::Debug for RoundNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(self.0.get(..4).unwrap_or_default(), f)
    }
}
impl fmt::Debug for StartNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(self.0.get(..4).unwrap_or_default(), f)
    }
}
impl fmt::Debug for BlockNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(self.0.get(..4).unwrap_or_default(), f)
    }
}

impl LeafHash {
    /// The id of the block whose header is this leaf.
    #[must_use]
    pub const fn of_header(self) -> HeaderHash {
        HeaderHash(self.0)
    }
}

impl HeaderHash {
    /// The header as a leaf of the tree.
    #[must_use]
    pub const fn as_leaf(self) -> LeafHash {
        LeafHash(self.0)
    }
    /// What the first block names as its predecessor.
    pub const GENESIS: Self = Self([0; 32]);
    /// In place of a block's id: nothing is appended.
    pub const NOTHING: Self = Self([0xff; 32]);
}

/// One entry of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct EntryReference {
    /// The brand whose log it is in.
    #[n(0)]
    pub log: BrandId,
    /// Its index in that log.
    #[n(1)]
    pub index: LeafIndex,
}

impl fmt::Display for EntryReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.log, self.index)
    }
}

pub(crate) fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brand_ids_are_checked_and_ordered_as_text() {
        for bad in ["", "1shop", "Shop", "a shop", "名", &"a".repeat(24)] {
            assert!(BrandId::new(bad).is_err(), "{bad}");
        }
        let (a, b) = (BrandId::new("grocer_one").unwrap(), BrandId::new("grocer_two").unwrap());
        assert!(a < b && BrandId::new("a").unwrap() < BrandId::new("aa").unwrap());
        assert_eq!(a.to_string(), "grocer_one");
    }

    #[test]
    fn a_handle_never_shows_in_debug() {
        let handle = MemberHandle::from_bytes([0xab; 16]);
        assert!(!format!("{handle:?}").contains("ab"));
    }
}
