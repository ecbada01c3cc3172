//! Erasure-coded fragments of a block's sealed body (Reed-Solomon over GF(2^16)).
//!
//! One fragment a witness; any `needed` of them rebuild the body. The header commits to the Merkle
//! root over them, so that a witness can check its own without seeing the others. Does not know who
//! holds which, and does not fetch: that is [`crate::recovery`]'s.

use std::fmt;

use minicbor::{Decode, Encode};

use super::block::BlockTree;
use super::merkle::{Frontier, HashReader as _, leaf_hash};
use super::proof::InclusionProof;
use crate::codec::SharedBytes;
use crate::constitution::Committee;
use crate::ids::{FragmentsRoot, LeafHash, LeafIndex, RootHash, TreeSize};

/// One fragment with its proof.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Fragment {
    /// Its number: its witness's position in the committee without the writer.
    #[n(0)]
    number: u32,
    /// Its bytes.
    #[n(1)]
    bytes: SharedBytes,
    /// That it is under the header's root.
    #[n(2)]
    proof: InclusionProof,
}

impl fmt::Debug for Fragment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fragment({}, {} bytes)", self.number, self.bytes.len())
    }
}

impl Fragment {
    /// Its number: its witness's position in the committee without the writer.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why there are no fragments, a fragment is not one, or they rebuild nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// Not under the header's root at this number, or of another size than the body's bytes imply.
    #[error("fragment {number} is not the one the header commits to")]
    NotCommitted {
        /// The number it should have.
        number: u32,
    },
    /// Not enough different ones.
    #[error("{found} fragments where {needed} are needed")]
    TooFew {
        /// How many there are.
        found: usize,
        /// How many are needed.
        needed: usize,
    },
    /// The code cannot be computed for this committee.
    #[error("no such erasure code")]
    Code,
}

/// How a body is cut for one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    needed: usize,
    all: usize,
}

impl Shape {
    /// The shape of every block under this committee.
    #[must_use]
    pub fn of(committee: &Committee) -> Self {
        let all = committee.size().saturating_sub(1);
        Self { needed: committee.fragments_needed().min(all).max(1), all }
    }

    /// How many fragments rebuild a body.
    #[must_use]
    pub const fn needed(self) -> usize {
        self.needed
    }

    // Reed-Solomon shards have an even number of bytes
    fn fragment_bytes(self, body_bytes: usize) -> usize {
        let bytes = body_bytes.div_ceil(self.needed).max(2);
        bytes.saturating_add(bytes % 2)
    }

    /// Cuts a body into one fragment a witness.
    ///
    /// # Errors
    /// [`FragmentError::Code`] when the library has no such code; not for 2 to 21 brands.
    pub fn cut(self, body: &[u8]) -> Result<(FragmentsRoot, Vec<Fragment>), FragmentError> {
        let size = self.fragment_bytes(body.len());
        let mut shards = Vec::with_capacity(self.all);
        for number in 0..self.needed {
            let start = number.saturating_mul(size).min(body.len());
            let end = start.saturating_add(size).min(body.len());
            let mut shard = Vec::with_capacity(size);
            shard.extend_from_slice(body.get(start..end).unwrap_or_default());
            shard.resize(size, 0);
            shards.push(shard);
        }
        let parity = self.all.saturating_sub(self.needed);
        if parity > 0 {
            let coded = reed_solomon_simd::encode(self.needed, parity, &shards)
                .map_err(|_| FragmentError::Code)?;
            shards.extend(coded);
        }
        self.commit(shards)
    }

    /// The root over these shards, and each with its proof. Whether they are a code word is not asked.
    pub(crate) fn commit(
        self,
        shards: Vec<Vec<u8>>,
    ) -> Result<(FragmentsRoot, Vec<Fragment>), FragmentError> {
        let leaves: Vec<LeafHash> = shards.iter().map(|shard| leaf_hash(shard)).collect();
        let tree = BlockTree::new(&Frontier::empty(), &leaves);
        let count = TreeSize::new(u64::try_from(leaves.len()).map_err(|_| FragmentError::Code)?);
        let root = Frontier::read(&tree, count).map_err(|_| FragmentError::Code)?.root();
        let fragments = (0_u32..)
            .zip(shards)
            .map(|(number, bytes)| {
                let proof = InclusionProof::prove(&tree, LeafIndex::new(number.into()), count)
                    .map_err(|_| FragmentError::Code)?;
                Ok(Fragment { number, bytes: bytes.into(), proof })
            })
            .collect::<Result<_, FragmentError>>()?;
        debug_assert!(tree.hash(0, 0).is_some());
        Ok((FragmentsRoot::from_bytes(*root.as_bytes()), fragments))
    }

    /// Checks one fragment against the header's root.
    ///
    /// # Errors
    /// [`FragmentError::NotCommitted`].
    pub fn check(
        self,
        fragment: &Fragment,
        number: u32,
        body_bytes: u32,
        root: &FragmentsRoot,
    ) -> Result<(), FragmentError> {
        let wrong = FragmentError::NotCommitted { number };
        let body = usize::try_from(body_bytes).map_err(|_| wrong)?;
        let count = TreeSize::new(u64::try_from(self.all).map_err(|_| wrong)?);
        if fragment.number != number || fragment.bytes.len() != self.fragment_bytes(body) {
            return Err(wrong);
        }
        let leaf = leaf_hash(&fragment.bytes);
        let root = RootHash::from_bytes(*root.as_bytes());
        fragment.proof.verify(LeafIndex::new(number.into()), leaf, count, &root).map_err(|_| wrong)
    }

    /// Rebuilds a body from checked fragments and checks it against the header's root.
    ///
    /// # Errors
    /// When there are too few, or when they decode to a body with another root: then the writer
    /// committed to fragments that are no code word, and they are evidence against it.
    pub fn rebuild(
        self,
        fragments: &[Fragment],
        body_bytes: u32,
        root: &FragmentsRoot,
    ) -> Result<Vec<u8>, FragmentError> {
        let mut shards: Vec<Option<&[u8]>> = vec![None; self.all];
        for fragment in fragments {
            let number = usize::try_from(fragment.number).map_err(|_| FragmentError::Code)?;
            if let Some(shard) = shards.get_mut(number) {
                *shard = Some(&fragment.bytes);
            }
        }
        let found = shards.iter().flatten().count();
        if found < self.needed {
            return Err(FragmentError::TooFew { found, needed: self.needed });
        }
        let parity = self.all.saturating_sub(self.needed);
        let (data, coded) = shards.split_at_checked(self.needed).ok_or(FragmentError::Code)?;
        let present = |shards: &[Option<&[u8]>]| -> Vec<(usize, Vec<u8>)> {
            let numbered = shards.iter().enumerate();
            numbered.filter_map(|(i, shard)| shard.map(|shard| (i, shard.to_vec()))).collect()
        };
        let restored = if data.iter().all(Option::is_some) {
            Default::default()
        } else {
            reed_solomon_simd::decode(self.needed, parity, present(data), present(coded))
                .map_err(|_| FragmentError::Code)?
        };
        let mut body = Vec::new();
        for (number, shard) in data.iter().enumerate() {
            match (shard, restored.get(&number)) {
                (Some(shard), _) => body.extend_from_slice(shard),
                (None, Some(shard)) => body.extend_from_slice(shard),
                (None, None) => return Err(FragmentError::Code),
            }
        }
        body.truncate(usize::try_from(body_bytes).map_err(|_| FragmentError::Code)?);
        if self.cut(&body)?.0 != *root {
            return Err(FragmentError::NotCommitted { number: 0 });
        }
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constitution::{Constitution, tests::draft};

    #[test]
    fn any_needed_fragments_rebuild_the_body_and_fewer_do_not() {
        for n in 2..=21u8 {
            let constitution = Constitution::new(draft(n)).unwrap();
            let shape = Shape::of(constitution.committee());
            let body: Vec<u8> = (0..1001u32).map(|i| (i * 7 % 251) as u8).collect();
            let (root, fragments) = shape.cut(&body).unwrap();
            assert_eq!(fragments.len(), usize::from(n) - 1);
            for (number, fragment) in fragments.iter().enumerate() {
                shape.check(fragment, number as u32, 1001, &root).unwrap();
            }
            // the last ones: parity first, where there is any
            let some = &fragments[fragments.len() - shape.needed..];
            assert_eq!(shape.rebuild(some, 1001, &root).unwrap(), body);
            assert!(matches!(
                shape.rebuild(&some[1..], 1001, &root),
                Err(FragmentError::TooFew { .. })
            ));
        }
    }

    #[test]
    fn a_fragment_of_another_number_or_content_is_refused() {
        let constitution = Constitution::new(draft(5)).unwrap();
        let shape = Shape::of(constitution.committee());
        let (root, fragments) = shape.cut(&[5; 100]).unwrap();
        assert!(shape.check(&fragments[0], 1, 100, &root).is_err());
        let mut altered = fragments[0].clone();
        let mut bytes = altered.bytes.to_vec();
        bytes[0] ^= 1;
        altered.bytes = bytes.into();
        assert!(shape.check(&altered, 0, 100, &root).is_err());
    }
}
