//! The Merkle tree of RFC 6962, section 2.1, over SHA-256.
//!
//! Knows hashes of leaves and nodes, how a tree is split, and its right edge ([`Frontier`]), which
//! is all that a log needs in order to grow. Does not know entries beyond their bytes, and holds
//! no whole tree: hashes inside one come from a [`HashReader`].

use std::fmt;

use minicbor::{Decode, Encode};

use crate::codec::ENTRY_MAX;
use crate::crypto::sha256;
use crate::ids::{LeafHash, LeafIndex, RootHash, TreeSize, write_hex};

/// Most perfect subtrees that make up a tree: one for each bit of its size.
pub const PEAKS_MAX: usize = 64;

/// Root of the tree without leaves: SHA-256 of nothing.
pub const EMPTY_ROOT: RootHash = RootHash::from_bytes([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// Hash of a subtree: of one leaf, or of an inner node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct NodeHash(#[cbor(with = "minicbor::bytes")] [u8; 32]);

impl NodeHash {
    /// Takes the 32 bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// Hash of the node over two subtrees: SHA-256 of 0x01, left, right.
    #[must_use]
    pub fn over(left: &Self, right: &Self) -> Self {
        Self(sha256(&[&[1], &left.0, &right.0]))
    }
    /// The same hash, said to be the root of a tree.
    #[must_use]
    pub const fn as_root(&self) -> RootHash {
        RootHash::from_bytes(self.0)
    }
}

impl From<LeafHash> for NodeHash {
    fn from(leaf: LeafHash) -> Self {
        Self(*leaf.as_bytes())
    }
}

impl fmt::Debug for NodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(self.0.get(..8).unwrap_or_default(), f)
    }
}

/// Hash of a leaf: SHA-256 of 0x00 and the entry.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> LeafHash {
    LeafHash::from_bytes(sha256(&[&[0], entry]))
}

/// An entry of at most [`ENTRY_MAX`] bytes with its hash, which is computed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    entry: Vec<u8>,
    hash: LeafHash,
}

/// An entry is longer than [`ENTRY_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an entry of {found} bytes; the most is {ENTRY_MAX}")]
pub struct EntryTooLong {
    found: usize,
}

impl EntryTooLong {
    pub(super) const fn of(found: usize) -> Self {
        Self { found }
    }
}

impl Leaf {
    /// Hashes an entry.
    ///
    /// # Errors
    /// When it is longer than [`ENTRY_MAX`].
    pub fn new(entry: Vec<u8>) -> Result<Self, EntryTooLong> {
        if entry.len() > ENTRY_MAX {
            return Err(EntryTooLong { found: entry.len() });
        }
        Ok(Self { hash: leaf_hash(&entry), entry })
    }
    /// The bytes of the entry.
    #[must_use]
    pub fn entry(&self) -> &[u8] {
        &self.entry
    }
    /// Its leaf hash.
    #[must_use]
    pub const fn hash(&self) -> LeafHash {
        self.hash
    }
    /// The bytes of the entry, without its hash.
    #[must_use]
    pub fn into_entry(self) -> Vec<u8> {
        self.entry
    }
}

/// An entry of at most [`ENTRY_MAX`] bytes that lies elsewhere, with its hash.
#[derive(Clone, Copy, Debug)]
pub struct LeafRef<'a> {
    entry: &'a [u8],
    hash: NodeHash,
}

impl<'a> LeafRef<'a> {
    /// Takes an entry whose leaf hash is known.
    ///
    /// # Errors
    /// When it is longer than [`ENTRY_MAX`].
    pub fn new(entry: &'a [u8], hash: impl Into<NodeHash>) -> Result<Self, EntryTooLong> {
        if entry.len() > ENTRY_MAX {
            return Err(EntryTooLong { found: entry.len() });
        }
        Ok(Self { entry, hash: hash.into() })
    }
    /// The same of an entry that is known to be no longer, such as one of [`super::entries::Entries`].
    pub(crate) const fn of_entry(entry: &'a [u8], hash: NodeHash) -> Self {
        Self { entry, hash }
    }
    /// The bytes of the entry.
    #[must_use]
    pub const fn entry(&self) -> &'a [u8] {
        self.entry
    }
    /// Its leaf hash, as the lowest node of the tree.
    #[must_use]
    pub const fn node(&self) -> NodeHash {
        self.hash
    }
}

impl<'a> From<&'a Leaf> for LeafRef<'a> {
    fn from(leaf: &'a Leaf) -> Self {
        Self { entry: &leaf.entry, hash: leaf.hash.into() }
    }
}

/// Where a tree of `length` leaves is split: the largest power of two below `length`, for a length
/// of at least 2 (RFC 6962, section 2.1).
pub(super) const fn split(length: u64) -> u64 {
    // at most 2^63, so that the next power of two is always there
    length.div_ceil(2).next_power_of_two()
}

/// Hashes of the perfect subtrees of a tree, from wherever they are kept.
pub trait HashReader {
    /// Hash over the leaves `index * 2^level .. (index + 1) * 2^level`, or none when that subtree
    /// is not complete or cannot be read.
    fn hash(&self, level: u8, index: u64) -> Option<NodeHash>;
}

impl<R: HashReader + ?Sized> HashReader for &R {
    fn hash(&self, level: u8, index: u64) -> Option<NodeHash> {
        (**self).hash(level, index)
    }
}

/// Nothing is known where there is no reader.
impl<R: HashReader> HashReader for Option<R> {
    fn hash(&self, level: u8, index: u64) -> Option<NodeHash> {
        self.as_ref()?.hash(level, index)
    }
}

/// A perfect subtree that a [`HashReader`] did not give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hash of subtree {index} of 2^{level} leaves cannot be read")]
pub struct MissingHash {
    /// Logarithm of its number of leaves.
    pub level: u8,
    /// Its place among the subtrees of that level, from 0.
    pub index: u64,
}

/// Hash of the subtree over the leaves `low..high` of a tree, where `low..high` is a node of that
/// tree's recursive split; only such ranges have `low` divisible by their perfect left part.
pub(super) fn subtree(
    reader: &impl HashReader,
    low: u64,
    high: u64,
) -> Result<NodeHash, MissingHash> {
    let mut position = low;
    let mut peaks = Vec::new();
    while position < high {
        let length = high.saturating_sub(position);
        let level = length.ilog2();
        // the left part of the split is perfect; what follows it is split in turn
        let width = 1_u64.checked_shl(level).unwrap_or(length);
        let missing = MissingHash {
            level: u8::try_from(level).unwrap_or(u8::MAX),
            index: position.checked_div(width).unwrap_or_default(),
        };
        peaks.push(reader.hash(missing.level, missing.index).ok_or(missing)?);
        position = position.saturating_add(width);
    }
    bag(&peaks).ok_or(MissingHash { level: 0, index: low })
}

/// Root over the peaks of a tree, from left to right; none when there is none.
fn bag(peaks: &[NodeHash]) -> Option<NodeHash> {
    let (last, others) = peaks.split_last()?;
    Some(others.iter().rev().fold(*last, |right, left| NodeHash::over(left, &right)))
}

/// The right edge of a tree: its size and the roots of its maximal perfect subtrees, largest
/// first. Enough to append and to know the root; at most 64 hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct Frontier {
    #[n(0)]
    size: TreeSize,
    #[n(1)]
    peaks: Vec<NodeHash>,
}

/// Why a size and hashes are no frontier, or a frontier cannot grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrontierError {
    /// Not one peak for each bit set in the size.
    #[error("{found} peaks where a tree of {size} leaves has {expected}")]
    WrongPeaks {
        /// The size.
        size: TreeSize,
        /// Number of peaks there are.
        found: usize,
        /// Number of peaks there should be.
        expected: u32,
    },
    /// A tree has at most 2^64 - 1 leaves.
    #[error("the tree is full")]
    Full,
    /// A perfect subtree begins at a multiple of its width.
    #[error("a subtree of 2^{level} leaves cannot follow {size}")]
    Unaligned {
        /// The size.
        size: TreeSize,
        /// Logarithm of the subtree's number of leaves.
        level: u8,
    },
}

impl Frontier {
    /// The frontier of the empty tree.
    #[must_use]
    pub const fn empty() -> Self {
        Self { size: TreeSize::new(0), peaks: Vec::new() }
    }

    /// Takes a size and its peaks, largest first.
    ///
    /// # Errors
    /// When their number is not that of the bits set in the size.
    pub fn new(size: TreeSize, peaks: Vec<NodeHash>) -> Result<Self, FrontierError> {
        let expected = size.get().count_ones();
        if u32::try_from(peaks.len()) != Ok(expected) {
            return Err(FrontierError::WrongPeaks { size, found: peaks.len(), expected });
        }
        Ok(Self { size, peaks })
    }

    /// For peaks that have been computed for this very size.
    pub(super) fn of(size: TreeSize, peaks: Vec<NodeHash>) -> Self {
        debug_assert_eq!(u32::try_from(peaks.len()), Ok(size.get().count_ones()));
        Self { size, peaks }
    }

    /// Reads the frontier of the first `size` leaves.
    ///
    /// # Errors
    /// When one of its peaks cannot be read.
    pub fn read(reader: &impl HashReader, size: TreeSize) -> Result<Self, MissingHash> {
        let mut peaks = Vec::new();
        let mut start = 0_u64;
        for level in (0..64_u8).rev() {
            let width = 1_u64.checked_shl(u32::from(level)).unwrap_or_default();
            if size.get() & width != 0 {
                let index = start.checked_div(width).unwrap_or_default();
                peaks.push(reader.hash(level, index).ok_or(MissingHash { level, index })?);
                start |= width;
            }
        }
        Ok(Self { size, peaks })
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// The roots of the maximal perfect subtrees, largest first.
    #[must_use]
    pub fn peaks(&self) -> &[NodeHash] {
        &self.peaks
    }

    /// Root of the tree; that of the empty tree is [`EMPTY_ROOT`].
    #[must_use]
    pub fn root(&self) -> RootHash {
        bag(&self.peaks).map_or(EMPTY_ROOT, |root| root.as_root())
    }

    /// Adds a leaf at the right and says at which index.
    ///
    /// # Errors
    /// [`FrontierError::Full`] at the end of the range; the frontier is then unchanged.
    pub fn append(&mut self, leaf: LeafHash) -> Result<LeafIndex, FrontierError> {
        let index = LeafIndex::new(self.size.get());
        self.append_perfect(0, leaf.into())?;
        Ok(index)
    }

    /// Adds a perfect subtree of 2^`level` leaves at the right.
    ///
    /// # Errors
    /// When the size is no multiple of so many leaves, or at the end of the range; the frontier is then
    /// unchanged.
    pub fn append_perfect(&mut self, level: u8, root: NodeHash) -> Result<(), FrontierError> {
        let before = self.size.get();
        let width = 1_u64.checked_shl(u32::from(level)).ok_or(FrontierError::Full)?;
        if !before.is_multiple_of(width) {
            return Err(FrontierError::Unaligned { size: self.size, level });
        }
        let size = before.checked_add(width).ok_or(FrontierError::Full)?;
        let mut node = root;
        // as in binary counting: every trailing one is a perfect subtree that the carry completes
        for _ in 0..before.checked_div(width).unwrap_or_default().trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = NodeHash::over(&left, &node);
            }
        }
        self.peaks.push(node);
        self.size = TreeSize::new(size);
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Frontier {
    fn decode(d: &mut minicbor::Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let position = d.position();
        if d.array()? != Some(2) {
            return Err(minicbor::decode::Error::message("a frontier has 2 parts").at(position));
        }
        let size = TreeSize::decode(d, ctx)?;
        let peaks = decode_hashes(d, PEAKS_MAX)?;
        Self::new(size, peaks).map_err(|error| minicbor::decode::Error::message(error).at(position))
    }
}

/// Reads at most `most` hashes: the declared number is checked before anything is allocated.
pub(super) fn decode_hashes(
    d: &mut minicbor::Decoder<'_>,
    most: usize,
) -> Result<Vec<NodeHash>, minicbor::decode::Error> {
    let position = d.position();
    let count = d.array()?.and_then(|count| usize::try_from(count).ok());
    match count {
        Some(count) if count <= most => (0..count).map(|_| d.decode()).collect(),
        _ => Err(minicbor::decode::Error::message("too many hashes").at(position)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::codec::{decode, encode};
    use proptest::prelude::*;

    /// The definition of RFC 6962, section 2.1, word for word.
    pub(crate) fn naive_root(leaves: &[LeafHash]) -> RootHash {
        match leaves {
            [] => EMPTY_ROOT,
            [only] => NodeHash::from(*only).as_root(),
            _ => {
                let mut k = 1;
                while k * 2 < leaves.len() {
                    k *= 2;
                }
                let (left, right) = leaves.split_at(k);
                let (left, right) = (naive_root(left), naive_root(right));
                RootHash::from_bytes(sha256(&[&[1], left.as_bytes(), right.as_bytes()]))
            }
        }
    }

    /// A whole tree in memory, read through the definition.
    pub(crate) struct Naive(pub(crate) Vec<LeafHash>);

    impl Naive {
        pub(crate) fn of_size(size: u64) -> Self {
            Self((0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect())
        }
        pub(crate) fn root(&self, size: u64) -> RootHash {
            naive_root(&self.0[..usize::try_from(size).unwrap()])
        }
    }

    impl HashReader for Naive {
        fn hash(&self, level: u8, index: u64) -> Option<NodeHash> {
            let width = 1_usize << level;
            let start = usize::try_from(index).ok()? * width;
            let leaves = self.0.get(start..start + width)?;
            Some(NodeHash::from_bytes(*naive_root(leaves).as_bytes()))
        }
    }

    #[test]
    fn the_empty_root_is_the_hash_of_nothing() {
        assert_eq!(EMPTY_ROOT, RootHash::from_bytes(sha256(&[])));
        assert_eq!(Frontier::empty().root(), EMPTY_ROOT);
    }

    #[test]
    fn a_tree_is_split_at_the_largest_power_of_two_below_its_length() {
        let expected = [(2, 1), (3, 2), (4, 2), (5, 4), (8, 4), (9, 8), (u64::MAX, 1 << 63)];
        for (length, at) in expected {
            assert_eq!(split(length), at);
        }
    }

    #[test]
    fn a_frontier_has_one_peak_for_each_bit_and_an_end() {
        let peak = NodeHash::from_bytes([1; 32]);
        assert!(Frontier::new(TreeSize::new(5), vec![peak; 2]).is_ok());
        for wrong in [1, 3] {
            let error = Frontier::new(TreeSize::new(5), vec![peak; wrong]).unwrap_err();
            assert!(matches!(error, FrontierError::WrongPeaks { expected: 2, .. }));
        }
        let mut full = Frontier::new(TreeSize::new(u64::MAX), vec![peak; 64]).unwrap();
        assert_eq!(full.append(leaf_hash(b"one more")), Err(FrontierError::Full));
    }

    #[test]
    fn a_forged_frontier_is_not_decoded() {
        let peaks = vec![NodeHash::from_bytes([1; 32]); 2];
        let bytes = encode(&Frontier { size: TreeSize::new(7), peaks });
        assert!(decode::<Frontier>("a frontier", &bytes, 4096).is_err());
        // an array that claims 2^32 hashes
        let bytes = [0x82, 0x01, 0x9b, 0, 0, 0, 1, 0, 0, 0, 0];
        assert!(decode::<Frontier>("a frontier", &bytes, 4096).is_err());
    }

    #[test]
    fn an_entry_has_a_longest_length() {
        assert!(Leaf::new(vec![0; ENTRY_MAX]).is_ok());
        assert!(Leaf::new(vec![0; ENTRY_MAX + 1]).is_err());
    }

    proptest! {
        #[test]
        fn a_frontier_agrees_with_the_definition(size in 0_u64..600) {
            let tree = Naive::of_size(size);
            let mut grown = Frontier::empty();
            for (index, leaf) in (0_u64..).zip(&tree.0) {
                prop_assert_eq!(grown.append(*leaf), Ok(LeafIndex::new(index)));
            }
            prop_assert_eq!(grown.root(), tree.root(size));
            prop_assert_eq!(&Frontier::read(&tree, TreeSize::new(size)).unwrap(), &grown);
            let decoded: Frontier = decode("a frontier", &encode(&grown), 4096).unwrap();
            prop_assert_eq!(decoded, grown);
        }

        #[test]
        fn whole_subtrees_come_to_what_their_leaves_do(
            before in 0_u64..200, level in 0_u8..7, after in 0_u64..9,
        ) {
            let width = 1 << level;
            let tree = Naive::of_size(before + width + after);
            let read = |size| Frontier::read(&tree, TreeSize::new(size)).unwrap();
            let mut grown = read(before);
            let Some(root) = tree.hash(level, before / width).filter(|_| before % width == 0) else {
                let unaligned = FrontierError::Unaligned { size: TreeSize::new(before), level };
                let root = NodeHash::from_bytes([1; 32]);
                prop_assert_eq!(grown.append_perfect(level, root), Err(unaligned));
                prop_assert_eq!(grown, read(before));
                return Ok(());
            };
            prop_assert_eq!(grown.append_perfect(level, root), Ok(()));
            prop_assert_eq!(&grown, &read(before + width));
            for leaf in &tree.0[(before + width) as usize..] {
                grown.append(*leaf).unwrap();
            }
            prop_assert_eq!(grown, read(before + width + after));
        }
    }
}
