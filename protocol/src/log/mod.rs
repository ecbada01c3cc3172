//! The log of one brand: Merkle tree, proofs, tiles, checkpoint.
