//! Proofs about the shape of a block: that a run of leaves is in a tree, and that a tree is a body
//! with one header leaf after it.
//!
//! A block's header names the root of the tree up to but excluding itself; its certificate names
//! the root with it. [`HeaderProof`] ties the two, [`RangeProof`] ties the leaves to either. Knows
//! nothing of what a header says.

use minicbor::{Decode, Encode};

use super::merkle::{Frontier, HashReader, NodeHash, decode_hashes, split, subtree};
use super::proof::{ProofError, ProveError, hash_lists};
use crate::ids::{LeafHash, LeafIndex, RootHash, TreeSize};

/// Most hashes of a range proof: a sibling on each side at each level.
pub const RANGE_MAX: usize = 128;

hash_lists! {
    /// That a run of consecutive leaves is in a tree: the roots of the maximal subtrees outside
    /// the run, from left to right.
    RangeProof up to RANGE_MAX,
}

/// The leaves `low..high` of a tree.
#[derive(Clone, Copy)]
struct Range {
    low: u64,
    high: u64,
}

impl Range {
    const fn length(self) -> u64 {
        self.high.saturating_sub(self.low)
    }
    const fn is_outside(self, run: Self) -> bool {
        self.high <= run.low || run.high <= self.low
    }
    const fn is_inside(self, run: Self) -> bool {
        run.low <= self.low && self.high <= run.high
    }
    const fn halves(self) -> (Self, Self) {
        let middle = self.low.saturating_add(split(self.length()));
        (Self { low: self.low, high: middle }, Self { low: middle, high: self.high })
    }
}

impl RangeProof {
    /// Proves that the `count` leaves from `first` on are in the tree of the first `size` leaves.
    ///
    /// # Errors
    /// When the run is empty or not in the tree, or when a hash is missing.
    pub fn prove(
        reader: &impl HashReader,
        first: LeafIndex,
        count: u64,
        size: TreeSize,
    ) -> Result<Self, ProveError> {
        let run = run(first, count, size).ok_or(ProveError::OutOfRange)?;
        let mut hashes = Vec::new();
        collect(reader, Range { low: 0, high: size.get() }, run, &mut hashes)?;
        Ok(Self { hashes })
    }

    /// Checks that `leaves` are the leaves from `first` on of the tree of `size` leaves with this
    /// root.
    ///
    /// # Errors
    /// When there are no leaves, or the proof does not show it.
    pub fn verify(
        &self,
        first: LeafIndex,
        leaves: &[LeafHash],
        size: TreeSize,
        root: &RootHash,
    ) -> Result<(), ProofError> {
        let wrong_length = ProofError::WrongLength { found: self.hashes.len() };
        let count = u64::try_from(leaves.len()).map_err(|_| ProofError::OutOfRange)?;
        let run = run(first, count, size).ok_or(ProofError::OutOfRange)?;
        let (mut inside, mut outside) = (leaves.iter(), self.hashes.iter());
        let whole = Range { low: 0, high: size.get() };
        let found = recompute(whole, run, &mut inside, &mut outside).ok_or(wrong_length)?;
        if outside.next().is_some() || inside.next().is_some() {
            return Err(wrong_length);
        }
        if found.as_root() == *root { Ok(()) } else { Err(ProofError::RootMismatch) }
    }
}

impl RangeProof {
    /// From the proof of a run of leaves makes that of one leaf in it. The run must be proven.
    #[must_use]
    pub fn narrow(
        &self,
        first: LeafIndex,
        leaves: &[LeafHash],
        size: TreeSize,
        one: LeafIndex,
    ) -> Option<Self> {
        let whole = run(first, u64::try_from(leaves.len()).ok()?, size)?;
        let one = run(one, 1, size).filter(|one| one.is_inside(whole))?;
        let (mut inside, mut outside) = (leaves.iter(), self.hashes.iter());
        let mut hashes = Vec::new();
        let tree = Range { low: 0, high: size.get() };
        narrow(tree, (whole, one), &mut inside, &mut outside, &mut hashes)?;
        Some(Self { hashes })
    }
}

fn run(first: LeafIndex, count: u64, size: TreeSize) -> Option<Range> {
    let high = first.get().checked_add(count)?;
    (count > 0 && high <= size.get()).then_some(Range { low: first.get(), high })
}

// both recursions go down the tree, so that they are at most 64 deep

fn collect(
    reader: &impl HashReader,
    node: Range,
    run: Range,
    hashes: &mut Vec<NodeHash>,
) -> Result<(), ProveError> {
    if node.is_outside(run) {
        hashes.push(subtree(reader, node.low, node.high)?);
    } else if !node.is_inside(run) {
        let (left, right) = node.halves();
        collect(reader, left, run, hashes)?;
        collect(reader, right, run, hashes)?;
    }
    Ok(())
}

fn recompute<'a>(
    node: Range,
    run: Range,
    inside: &mut impl Iterator<Item = &'a LeafHash>,
    outside: &mut impl Iterator<Item = &'a NodeHash>,
) -> Option<NodeHash> {
    if node.is_outside(run) {
        return outside.next().copied();
    }
    if node.length() == 1 {
        return inside.next().copied().map(NodeHash::from);
    }
    let (left, right) = node.halves();
    let left = recompute(left, run, inside, outside)?;
    let right = recompute(right, run, inside, outside)?;
    Some(NodeHash::over(&left, &right))
}

fn narrow<'a>(
    node: Range,
    (run, one): (Range, Range),
    inside: &mut impl Iterator<Item = &'a LeafHash>,
    outside: &mut impl Iterator<Item = &'a NodeHash>,
    hashes: &mut Vec<NodeHash>,
) -> Option<()> {
    if node.is_outside(one) {
        hashes.push(recompute(node, run, inside, outside)?);
    } else if node.length() == 1 {
        inside.next()?;
    } else {
        let (left, right) = node.halves();
        narrow(left, (run, one), inside, outside, hashes)?;
        narrow(right, (run, one), inside, outside, hashes)?;
    }
    Some(())
}

/// That a tree is a body and, after it, one header leaf: the frontier of the body.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct HeaderProof {
    #[n(0)]
    body: Frontier,
}

impl HeaderProof {
    /// The proof for a body with this frontier.
    #[must_use]
    pub const fn new(body: Frontier) -> Self {
        Self { body }
    }

    /// Number of leaves of the body, which is also the header's index.
    #[must_use]
    pub const fn body_size(&self) -> TreeSize {
        self.body.size()
    }

    /// Checks that the tree (`size`, `root`) is the body with this root and the header after it;
    /// gives the frontier of the whole tree, now as certain as `root` is.
    ///
    /// # Errors
    /// When it is not.
    pub fn verify(
        &self,
        body_root: &RootHash,
        header: LeafHash,
        size: TreeSize,
        root: &RootHash,
    ) -> Result<Frontier, ProofError> {
        if self.body.size().next() != Some(size) {
            return Err(ProofError::OutOfRange);
        }
        if self.body.root() != *body_root {
            return Err(ProofError::RootMismatch);
        }
        let mut whole = self.body.clone();
        whole.append(header).map_err(|_| ProofError::OutOfRange)?;
        if whole.root() == *root { Ok(whole) } else { Err(ProofError::RootMismatch) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::BlockTree;
    use super::super::merkle::tests::{Naive, naive_root};
    use super::super::proof::ConsistencyProof;
    use super::*;
    use crate::codec::{decode, encode};
    use proptest::prelude::*;

    #[test]
    fn every_run_of_every_small_tree_is_proved() {
        let tree = Naive::of_size(20);
        for size in 1..=20 {
            let root = tree.root(size);
            for first in 0..size {
                for count in 1..=size - first {
                    let at = (LeafIndex::new(first), TreeSize::new(size));
                    let proof = RangeProof::prove(&tree, at.0, count, at.1).unwrap();
                    let leaves = &tree.0[first as usize..(first + count) as usize];
                    assert_eq!(proof.verify(at.0, leaves, at.1, &root), Ok(()));
                }
            }
        }
    }

    #[test]
    fn the_proof_of_a_run_has_that_of_each_of_its_leaves() {
        let tree = Naive::of_size(20);
        for (size, first, count) in [(1, 0, 1), (20, 3, 9), (13, 0, 13), (17, 8, 9)] {
            let (start, total) = (LeafIndex::new(first), TreeSize::new(size));
            let run = RangeProof::prove(&tree, start, count, total).unwrap();
            let leaves = &tree.0[first as usize..(first + count) as usize];
            for one in (first..first + count).map(LeafIndex::new) {
                let narrowed = run.narrow(start, leaves, total, one);
                assert_eq!(narrowed, RangeProof::prove(&tree, one, 1, total).ok());
            }
            let beside = LeafIndex::new(first + count);
            assert_eq!(run.narrow(start, leaves, total, beside), None);
        }
    }

    proptest! {
        #[test]
        fn a_run_cannot_be_moved_changed_or_cut(
            (size, first, count) in (2_u64..300).prop_flat_map(|size| (Just(size), 0..size))
                .prop_flat_map(|(size, first)| (Just(size), Just(first), 1..=size - first)),
            at: prop::sample::Index,
        ) {
            let tree = Naive::of_size(size);
            let (root, total, start) =
                (tree.root(size), TreeSize::new(size), LeafIndex::new(first));
            let proof = RangeProof::prove(&tree, start, count, total).unwrap();
            let leaves = tree.0[first as usize..(first + count) as usize].to_vec();
            prop_assert_eq!(proof.verify(start, &leaves, total, &root), Ok(()));
            prop_assert!(proof.hashes().len() <= RANGE_MAX);

            let mut changed = leaves.clone();
            changed[at.index(leaves.len())] = LeafHash::from_bytes([7; 32]);
            prop_assert!(proof.verify(start, &changed, total, &root).is_err());
            prop_assert!(proof.verify(LeafIndex::new(first + 1), &leaves, total, &root).is_err());
            prop_assert!(proof.verify(start, &leaves[1..], total, &root).is_err());
            prop_assert!(proof.verify(start, &[], total, &root).is_err());
            let mut longer = proof.hashes().to_vec();
            longer.push(NodeHash::from_bytes([7; 32]));
            let longer = RangeProof::from_hashes(longer).unwrap();
            let refused = longer.verify(start, &leaves, total, &root);
            let found = proof.hashes().len() + 1;
            prop_assert_eq!(refused, Err(ProofError::WrongLength { found }));

            let decoded: RangeProof = decode("a proof", &encode(&proof), 8192).unwrap();
            prop_assert_eq!(decoded, proof);
        }

        /// A block is proved before it has tiles: from the old right edge and its own leaves.
        #[test]
        fn a_block_proves_its_own_leaves(old in 0_u64..80, new in 1_u64..30) {
            let tree = Naive::of_size(old + new);
            let (before, after) = (TreeSize::new(old), TreeSize::new(old + new));
            let edge = Frontier::read(&tree, before).unwrap();
            let block = BlockTree::new(&edge, &tree.0[old as usize..]);
            for first in old..old + new {
                let (first, count) = (LeafIndex::new(first), old + new - first);
                let proof = RangeProof::prove(&block, first, count.div_ceil(2), after);
                prop_assert_eq!(proof, RangeProof::prove(&tree, first, count.div_ceil(2), after));
            }
            for size in (old.max(1)..=old + new).map(TreeSize::new) {
                let proof = ConsistencyProof::prove(&block, size, after);
                prop_assert_eq!(proof, ConsistencyProof::prove(&tree, size, after));
                prop_assert_eq!(Frontier::read(&block, size), Frontier::read(&tree, size));
            }
        }

        #[test]
        fn a_short_proof_for_a_vast_tree_ends_at_once(first: u64, count in 1_usize..9, size: u64) {
            let leaves = vec![LeafHash::from_bytes([1; 32]); count];
            let proof = RangeProof::from_hashes(vec![NodeHash::from_bytes([2; 32]); 3]).unwrap();
            let root = RootHash::from_bytes([3; 32]);
            let (first, size) = (LeafIndex::new(first), TreeSize::new(size));
            prop_assert!(proof.verify(first, &leaves, size, &root).is_err());
        }

        #[test]
        fn a_header_is_the_one_leaf_after_its_body(size in 0_u64..200) {
            let tree = Naive::of_size(size + 1);
            let body = Frontier::read(&tree, TreeSize::new(size)).unwrap();
            let proof = HeaderProof::new(body);
            let (body_root, root) = (tree.root(size), naive_root(&tree.0));
            let header = *tree.0.last().unwrap();
            let whole = TreeSize::new(size + 1);
            let after = proof.verify(&body_root, header, whole, &root).unwrap();
            prop_assert_eq!((after.size(), after.root()), (whole, root));

            let other = LeafHash::from_bytes([7; 32]);
            prop_assert!(proof.verify(&body_root, other, whole, &root).is_err());
            prop_assert!(proof.verify(&root, header, whole, &root).is_err());
            prop_assert!(proof.verify(&body_root, header, TreeSize::new(size), &root).is_err());
            let decoded: HeaderProof = decode("a proof", &encode(&proof), 8192).unwrap();
            prop_assert_eq!(decoded, proof);
        }
    }
}
