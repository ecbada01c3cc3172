//! A tree while it grows: what new leaves add to a tree of which only the right edge is known.
//!
//! Enough to build a block and to prove things about its new leaves before any file is written;
//! a tree that is not yet final has no tiles. Does not know the old leaves: a proof about one of
//! those comes from the tiles.

use super::merkle::{Frontier, FrontierError, HashReader, NodeHash};
use crate::ids::{LeafHash, LeafIndex, TreeSize};

/// The peaks of a tree and all complete subtrees with a leaf appended since.
///
/// As a [`HashReader`] it serves every hash that a range proof of appended leaves needs, a
/// consistency proof from the old size or a later one, and the frontier of any size from the old
/// one on.
#[derive(Clone, Debug)]
pub struct Growth {
    size: TreeSize,
    // from the leaves up
    rows: Vec<Row>,
}

/// Consecutive nodes of one level.
#[derive(Clone, Debug, Default)]
struct Row {
    // always even, so that nodes pair up within the row
    first: u64,
    nodes: Vec<NodeHash>,
}

impl Growth {
    /// Begins at a frontier.
    #[must_use]
    pub fn new(base: &Frontier) -> Self {
        let mut peaks = base.peaks().iter().rev();
        let mut rows = Vec::new();
        let mut nodes_left = base.size().get();
        while nodes_left > 0 {
            // the last node of a level is a peak iff it has no sibling
            rows.push(if nodes_left % 2 == 1 {
                let nodes = peaks.next().copied().into_iter().collect();
                Row { first: nodes_left.saturating_sub(1), nodes }
            } else {
                Row { first: nodes_left, nodes: Vec::new() }
            });
            nodes_left /= 2;
        }
        Self { size: base.size(), rows }
    }

    /// Adds a leaf at the right and says at which index.
    ///
    /// # Errors
    /// [`FrontierError::Full`] at the end of the range; nothing is then changed.
    pub fn append(&mut self, leaf: LeafHash) -> Result<LeafIndex, FrontierError> {
        let index = LeafIndex::new(self.size.get());
        self.size = self.size.next().ok_or(FrontierError::Full)?;
        let mut node = NodeHash::from(leaf);
        for row in &mut self.rows {
            row.nodes.push(node);
            // the rows begin at even indexes: an even number of nodes ends with a whole pair
            match row.nodes.as_rchunks::<2>() {
                ([], [.., [left, right]]) => node = NodeHash::over(left, right),
                _ => return Ok(index),
            }
        }
        self.rows.push(Row { first: 0, nodes: vec![node] });
        Ok(index)
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        self.size
    }

    /// The frontier of the tree as it is now; its root is [`Frontier::root`].
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        let ends_without_sibling = |row: &&Row| row.nodes.len() % 2 == 1;
        let peaks = self.rows.iter().rev().filter(ends_without_sibling);
        Frontier::of(self.size, peaks.filter_map(|row| row.nodes.last().copied()).collect())
    }
}

impl HashReader for Growth {
    fn hash(&self, level: u8, index: u64) -> Option<NodeHash> {
        let row = self.rows.get(usize::from(level))?;
        let place = usize::try_from(index.checked_sub(row.first)?).ok()?;
        row.nodes.get(place).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::super::merkle::leaf_hash;
    use super::super::merkle::tests::Naive;
    use super::super::proof::ConsistencyProof;
    use super::super::range::RangeProof;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_block_is_built_and_proved_from_the_right_edge_alone(
            old in 0_u64..200, added in 1_u64..120, from: prop::sample::Index,
        ) {
            let new = old + added;
            let tree = Naive::of_size(new);
            let (before, after) = (TreeSize::new(old), TreeSize::new(new));
            let mut growth = Growth::new(&Frontier::read(&tree, before).unwrap());
            for index in old..new {
                let leaf = tree.0[index as usize];
                prop_assert_eq!(growth.append(leaf), Ok(LeafIndex::new(index)));
                let size = growth.size();
                prop_assert_eq!(growth.frontier(), Frontier::read(&tree, size).unwrap());
            }
            for size in (old..=new).map(TreeSize::new) {
                let frontier = Frontier::read(&growth, size).unwrap();
                prop_assert_eq!(frontier, Frontier::read(&tree, size).unwrap());
            }
            let first = old + from.index(added as usize) as u64;
            for count in 1..=new - first {
                let at = LeafIndex::new(first);
                let proof = RangeProof::prove(&growth, at, count, after).unwrap();
                prop_assert_eq!(proof, RangeProof::prove(&tree, at, count, after).unwrap());
            }
            for earlier in old.max(1)..=new {
                let earlier = TreeSize::new(earlier);
                let proof = ConsistencyProof::prove(&growth, earlier, after).unwrap();
                prop_assert_eq!(proof, ConsistencyProof::prove(&tree, earlier, after).unwrap());
            }
        }
    }

    #[test]
    fn a_full_tree_does_not_grow() {
        let peaks = vec![NodeHash::from_bytes([1; 32]); 64];
        let full = Frontier::new(TreeSize::new(u64::MAX), peaks).unwrap();
        let mut growth = Growth::new(&full);
        assert_eq!(growth.append(leaf_hash(b"one more")), Err(FrontierError::Full));
        assert_eq!(growth.frontier(), full);
    }
}
