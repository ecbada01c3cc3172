//! The log of one brand: an append-only Merkle tree (RFC 6962), proofs about it, and the files in
//! which it is published (C2SP tlog-tiles, tlog-checkpoint, tlog-cosignature, tlog-proof, tlog-witness), so that
//! stock tools can read and verify it without us.
//!
//! Knows leaves as bytes and nothing of what they mean. Does no input or output: what is stored is
//! read through [`merkle::HashReader`] and [`tiles::TileSource`], and what is to be stored is
//! returned. When a size may be signed is decided elsewhere: a log signs certified sizes only.
//!
//! Not here: pruning of old tiles, ML-DSA-44 cosignatures, subtree cosignatures.

pub mod block;
pub mod checkpoint;
pub mod closed_out;
pub mod dispute;
pub mod entries;
pub mod fragments;
pub mod kept;
pub mod merkle;
pub mod note;
pub mod proof;
pub mod range;
pub mod resolution;
pub mod settlement;
pub mod tiles;
pub mod tlog_proof;
pub mod tlog_witness;

#[cfg(test)]
pub(crate) mod vectors;
