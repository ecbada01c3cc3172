//! Hashes of what a brand keeps to itself and must not change afterwards: the head of its operation
//! log, certificates of what it answered to members.
//!
//! The log says that such a thing was there when the block was certified, and which; it says nothing of
//! what is in it. Whoever is given the thing checks it against the entry.

use minicbor::{Decode, Encode};

/// How far a brand's operation log has come: who did what with members' data, hash-chained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct OperationLogHead {
    /// How many operations there are; grows from one such entry of a log to the next.
    #[n(0)]
    pub entries: u64,
    /// Hash of the last of them, which chains all before it.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub head: [u8; 32],
}

/// That a member's request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Answered {
    /// SHA-256 of the certificate that the member was given.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub certificate: [u8; 32],
}
