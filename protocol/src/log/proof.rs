//! Inclusion and consistency proofs (RFC 6962, section 2.1; verified as in RFC 9162, sections
//! 2.1.3.2 and 2.1.4.2).
//!
//! A proof is a list of hashes and nothing else: what it is a proof *of* (indexes, sizes, roots)
//! is always passed by the one who checks it. Does not know who vouches for a root; a root does not
//! determine the size of its tree, so whoever vouches must vouch for the pair.

use minicbor::{Decode, Encode};

use super::merkle::{HashReader, MissingHash, NodeHash, decode_hashes, split, subtree};
use crate::ids::{LeafHash, LeafIndex, RootHash, TreeSize};

/// Most hashes of an inclusion proof: the height of the tallest tree.
pub const INCLUSION_MAX: usize = 64;
/// Most hashes of a consistency proof: one more than the height.
pub const CONSISTENCY_MAX: usize = 65;

/// Why a proof does not prove what it is said to prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The question makes no sense: an index or range outside the tree, an older tree that is
    /// larger than the newer, or an empty one, with which everything is consistent.
    #[error("the indexes or sizes cannot be those of any such proof")]
    OutOfRange,
    /// Too few hashes, or too many.
    #[error("{found} hashes are not what a proof of this place in this tree has")]
    WrongLength {
        /// How many there were.
        found: usize,
    },
    /// It leads to another root.
    #[error("the hashes lead to another root")]
    RootMismatch,
}

/// Why a proof could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProveError {
    /// There is no such proof.
    #[error("the indexes or sizes cannot be those of any such proof")]
    OutOfRange,
    /// A hash is not at hand.
    #[error(transparent)]
    Missing(#[from] MissingHash),
}

macro_rules! hash_lists {
    ($($(#[$doc:meta])* $name:ident up to $most:expr),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Encode)]
        #[cbor(array)]
        pub struct $name {
            #[n(0)]
            hashes: Vec<NodeHash>,
        }

        impl $name {
            /// Takes the hashes in the order of the proof.
            ///
            /// # Errors
            /// [`ProofError::WrongLength`] when there are more than any such proof has.
            pub fn from_hashes(hashes: Vec<NodeHash>) -> Result<Self, ProofError> {
                if hashes.len() > $most {
                    return Err(ProofError::WrongLength { found: hashes.len() });
                }
                Ok(Self { hashes })
            }
            /// The hashes in the order of the proof.
            #[must_use]
            pub fn hashes(&self) -> &[NodeHash] {
                &self.hashes
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                let position = d.position();
                if d.array()? != Some(1) {
                    return Err(minicbor::decode::Error::message("a proof has 1 part").at(position));
                }
                Ok(Self { hashes: decode_hashes(d, $most)? })
            }
        }
    )*};
}
pub(super) use hash_lists;

hash_lists! {
    /// That a leaf is in a tree: siblings from the leaf up (RFC 6962, section 2.1.1).
    InclusionProof up to INCLUSION_MAX,
    /// That a tree begins with an older tree (RFC 6962, section 2.1.2).
    ConsistencyProof up to CONSISTENCY_MAX,
}

impl InclusionProof {
    /// Proves that leaf `index` is in the tree of the first `size` leaves.
    ///
    /// # Errors
    /// When it is not, or when a hash is missing.
    pub fn prove(
        reader: &impl HashReader,
        index: LeafIndex,
        size: TreeSize,
    ) -> Result<Self, ProveError> {
        let (index, mut low, mut high) = (index.get(), 0_u64, size.get());
        if index >= high {
            return Err(ProveError::OutOfRange);
        }
        let mut hashes = Vec::new();
        while high.saturating_sub(low) > 1 {
            let middle = low.saturating_add(split(high.saturating_sub(low)));
            if index < middle {
                hashes.push(subtree(reader, middle, high)?);
                high = middle;
            } else {
                hashes.push(subtree(reader, low, middle)?);
                low = middle;
            }
        }
        hashes.reverse();
        Ok(Self { hashes })
    }

    /// Checks that `leaf` is at `index` in the tree of `size` leaves with this root.
    ///
    /// # Errors
    /// When the proof does not show it.
    pub fn verify(
        &self,
        index: LeafIndex,
        leaf: LeafHash,
        size: TreeSize,
        root: &RootHash,
    ) -> Result<(), ProofError> {
        if self.root(index, leaf, size)? == *root { Ok(()) } else { Err(ProofError::RootMismatch) }
    }

    /// The root to which the proof leads.
    ///
    /// # Errors
    /// When the index is outside the tree or the number of hashes is wrong.
    pub fn root(
        &self,
        index: LeafIndex,
        leaf: LeafHash,
        size: TreeSize,
    ) -> Result<RootHash, ProofError> {
        let wrong_length = ProofError::WrongLength { found: self.hashes.len() };
        let last = size.get().checked_sub(1).ok_or(ProofError::OutOfRange)?;
        if index.get() > last {
            return Err(ProofError::OutOfRange);
        }
        // the names of RFC 9162: fn is the node's index in its level, sn the last one's
        let (mut node_index, mut last_index) = (index.get(), last);
        let mut node = NodeHash::from(leaf);
        for sibling in &self.hashes {
            if last_index == 0 {
                return Err(wrong_length);
            }
            if node_index % 2 == 1 || node_index == last_index {
                node = NodeHash::over(sibling, &node);
                // a node at the right edge without a sibling is carried up unchanged
                while node_index.is_multiple_of(2) && node_index != 0 {
                    node_index /= 2;
                    last_index /= 2;
                }
            } else {
                node = NodeHash::over(&node, sibling);
            }
            node_index /= 2;
            last_index /= 2;
        }
        if last_index == 0 { Ok(node.as_root()) } else { Err(wrong_length) }
    }
}

impl ConsistencyProof {
    /// No hashes: from the empty tree, or from a tree to itself, there is nothing to prove.
    #[must_use]
    pub const fn none() -> Self {
        Self { hashes: Vec::new() }
    }

    /// Proves that the tree of `new` leaves begins with the tree of `old` leaves.
    ///
    /// # Errors
    /// When `old` is 0 or above `new`, or when a hash is missing.
    pub fn prove(
        reader: &impl HashReader,
        old: TreeSize,
        new: TreeSize,
    ) -> Result<Self, ProveError> {
        let (old, mut low, mut high) = (old.get(), 0_u64, new.get());
        if old == 0 || old > high {
            return Err(ProveError::OutOfRange);
        }
        let mut hashes = Vec::new();
        // down to the node that is the last whole subtree of the old tree
        while high != old {
            let middle = low.saturating_add(split(high.saturating_sub(low)));
            if old <= middle {
                hashes.push(subtree(reader, middle, high)?);
                high = middle;
            } else {
                hashes.push(subtree(reader, low, middle)?);
                low = middle;
            }
        }
        // when that node is the old tree itself, the verifier has its hash already
        if low != 0 {
            hashes.push(subtree(reader, low, high)?);
        }
        hashes.reverse();
        Ok(Self { hashes })
    }

    /// Checks that the tree (`new`, `new_root`) begins with the tree (`old`, `old_root`).
    ///
    /// An old size of 0 is refused: every tree begins with the empty one, so there is nothing to
    /// prove, and a caller that asks has lost what it knew.
    ///
    /// # Errors
    /// When the proof does not show it.
    pub fn verify(
        &self,
        old: TreeSize,
        old_root: &RootHash,
        new: TreeSize,
        new_root: &RootHash,
    ) -> Result<(), ProofError> {
        let wrong_length = ProofError::WrongLength { found: self.hashes.len() };
        let (old, new) = (old.get(), new.get());
        if old == 0 || old > new {
            return Err(ProofError::OutOfRange);
        }
        if old == new {
            return match (self.hashes.is_empty(), old_root == new_root) {
                (true, true) => Ok(()),
                (true, false) => Err(ProofError::RootMismatch),
                (false, _) => Err(wrong_length),
            };
        }
        let old_as_node = NodeHash::from_bytes(*old_root.as_bytes());
        let mut hashes = self.hashes.iter();
        let first =
            if old.is_power_of_two() { &old_as_node } else { hashes.next().ok_or(wrong_length)? };
        let (mut node_index, mut last_index) = (old.saturating_sub(1), new.saturating_sub(1));
        while node_index % 2 == 1 {
            node_index /= 2;
            last_index /= 2;
        }
        let (mut old_node, mut new_node) = (*first, *first);
        for sibling in hashes {
            if last_index == 0 {
                return Err(wrong_length);
            }
            if node_index % 2 == 1 || node_index == last_index {
                old_node = NodeHash::over(sibling, &old_node);
                new_node = NodeHash::over(sibling, &new_node);
                while node_index.is_multiple_of(2) && node_index != 0 {
                    node_index /= 2;
                    last_index /= 2;
                }
            } else {
                new_node = NodeHash::over(&new_node, sibling);
            }
            node_index /= 2;
            last_index /= 2;
        }
        if last_index != 0 {
            return Err(wrong_length);
        }
        if old_node.as_root() == *old_root && new_node.as_root() == *new_root {
            Ok(())
        } else {
            Err(ProofError::RootMismatch)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::merkle::tests::Naive;
    use super::*;
    use crate::codec::{decode, encode};
    use proptest::prelude::*;

    fn broken(hashes: &[NodeHash]) -> Vec<Vec<NodeHash>> {
        let junk = NodeHash::from_bytes([9; 32]);
        let mut all = vec![[hashes, &[junk]].concat(), [&[junk], hashes].concat()];
        if let Some((_, shorter)) = hashes.split_last() {
            all.push(shorter.to_vec());
        }
        for position in 0..hashes.len() {
            let mut changed = hashes.to_vec();
            changed[position] = junk;
            all.push(changed);
        }
        all
    }

    fn refusal(good: &[NodeHash], bad: &[NodeHash]) -> ProofError {
        match bad.len() {
            found if found != good.len() => ProofError::WrongLength { found },
            _ => ProofError::RootMismatch,
        }
    }

    /// Every leaf of every tree up to 40 leaves, and every way of breaking its proof.
    #[test]
    fn inclusion_holds_for_the_leaf_and_for_nothing_else() {
        let tree = Naive::of_size(40);
        for size in 1..=40 {
            let root = tree.root(size);
            for index in 0..size {
                let (index, leaf) = (LeafIndex::new(index), tree.0[index as usize]);
                let at = TreeSize::new(size);
                let proof = InclusionProof::prove(&tree, index, at).unwrap();
                assert_eq!(proof.verify(index, leaf, at, &root), Ok(()));
                for hashes in broken(proof.hashes()) {
                    let broken = InclusionProof::from_hashes(hashes).unwrap();
                    let refused = refusal(proof.hashes(), broken.hashes());
                    assert_eq!(broken.verify(index, leaf, at, &root), Err(refused));
                }
                let other = LeafIndex::new(index.get() ^ 1);
                assert!(size == 1 || proof.verify(other, leaf, at, &root).is_err());
            }
            let outside = InclusionProof::prove(&tree, LeafIndex::new(size), TreeSize::new(size));
            assert_eq!(outside, Err(ProveError::OutOfRange));
        }
    }

    #[test]
    fn consistency_holds_for_a_prefix_and_for_nothing_else() {
        let tree = Naive::of_size(40);
        let mut forked = Naive::of_size(40);
        forked.0[0] = tree.0[1];
        for new in 1..=40 {
            for old in 1..=new {
                let (old_root, new_root) = (tree.root(old), tree.root(new));
                let (o, n) = (TreeSize::new(old), TreeSize::new(new));
                let proof = ConsistencyProof::prove(&tree, o, n).unwrap();
                assert_eq!(proof.verify(o, &old_root, n, &new_root), Ok(()));
                let fork = proof.verify(o, &forked.root(old), n, &new_root);
                assert!(fork.is_err());
                for hashes in broken(proof.hashes()) {
                    let broken = ConsistencyProof::from_hashes(hashes).unwrap();
                    let refused = refusal(proof.hashes(), broken.hashes());
                    assert_eq!(broken.verify(o, &old_root, n, &new_root), Err(refused));
                }
            }
        }
    }

    #[test]
    fn nothing_is_proved_about_the_empty_tree() {
        let tree = Naive::of_size(3);
        let (none, three) = (TreeSize::new(0), TreeSize::new(3));
        assert_eq!(ConsistencyProof::prove(&tree, none, three), Err(ProveError::OutOfRange));
        let proof = ConsistencyProof::from_hashes(Vec::new()).unwrap();
        let refused = proof.verify(none, &tree.root(0), none, &tree.root(0));
        assert_eq!(refused, Err(ProofError::OutOfRange));
    }

    #[test]
    fn more_hashes_than_any_proof_has_are_not_read() {
        let hashes = vec![NodeHash::from_bytes([1; 32]); INCLUSION_MAX + 1];
        let refused = Err(ProofError::WrongLength { found: INCLUSION_MAX + 1 });
        assert_eq!(InclusionProof::from_hashes(hashes.clone()), refused);
        let longest = InclusionProof { hashes: hashes[1..].to_vec() };
        assert_eq!(decode("a proof", &encode(&longest), 4096), Ok(longest));
        let bytes = encode(&InclusionProof { hashes });
        assert!(decode::<InclusionProof>("a proof", &bytes, 4096).is_err());
    }

    #[test]
    fn a_missing_hash_is_named() {
        let tree = Naive::of_size(3);
        let missing = InclusionProof::prove(&tree, LeafIndex::new(0), TreeSize::new(4));
        let expected = MissingHash { level: 1, index: 1 };
        assert_eq!(missing, Err(ProveError::Missing(expected)));
    }

    proptest! {
        #[test]
        fn no_list_of_hashes_makes_a_verifier_panic(
            index: u64, old: u64, new: u64, count in 0_usize..=64,
        ) {
            let root = RootHash::from_bytes([1; 32]);
            let hashes = vec![NodeHash::from_bytes([2; 32]); count];
            let inclusion = InclusionProof::from_hashes(hashes.clone()).unwrap();
            let leaf = LeafHash::from_bytes([3; 32]);
            let index = LeafIndex::new(index);
            prop_assert!(inclusion.verify(index, leaf, TreeSize::new(new), &root).is_err());
            let consistency = ConsistencyProof::from_hashes(hashes).unwrap();
            let (old, new) = (TreeSize::new(old), TreeSize::new(new));
            let verdict = consistency.verify(old, &root, new, &root);
            prop_assert_eq!(verdict.is_ok(), old == new && old.get() != 0 && count == 0);
        }
    }
}
