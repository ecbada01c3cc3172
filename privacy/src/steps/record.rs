//! What a participant must have on disk before it goes on.
//!
//! A record is written, durably and sealed, before any effect that follows it. All records of a
//! participant together with the certified logs restore its clean room. They hold secrets:
//! `Debug` shows none, and the caller encrypts them.

use core::fmt;

use minicbor::{Decode, Encode};

use super::entry::{AttemptId, CodecError, Reserve, decoded, encoded};
use super::message::MESSAGE_MAX_BYTES;
use crate::ids::{SetHash, SnapshotId};
use crate::plan::QuerySpec;

/// A durable step of this participant.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub enum Record {
    /// This participant proposed or accepted.
    #[n(0)]
    #[cbor(array)]
    Begun(#[n(0)] Box<Begun>),
    /// Noise is drawn and data read from here on, once.
    #[n(1)]
    #[cbor(array)]
    ReadStarted(#[n(0)] AttemptId),
    /// y_i exists. There is never a second one for the attempt.
    #[n(2)]
    #[cbor(array)]
    Drawn(#[n(0)] Drawn),
    /// y_i may have been sent.
    #[n(3)]
    #[cbor(array)]
    Opened(#[n(0)] AttemptId),
    /// y_i is never sent.
    #[n(4)]
    #[cbor(array)]
    NotOpened(#[n(0)] AttemptId),
    /// No y_i is ever made.
    #[n(5)]
    #[cbor(array)]
    Failed(#[n(0)] AttemptId),
}

/// How an attempt began here.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Begun {
    /// The attempt.
    #[n(0)]
    pub(super) id: AttemptId,
    #[n(1)]
    pub(super) spec: QuerySpec,
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub(super) secret: [u8; 32],
    #[n(3)]
    pub(super) snapshot: SnapshotId,
    /// The reservation to certify, at the proposer.
    #[n(4)]
    pub(super) reserve: Option<Reserve>,
}

/// The masked vector with its nonce.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Drawn {
    #[n(0)]
    pub(super) id: AttemptId,
    #[n(1)]
    pub(super) set: SetHash,
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub(super) vector: Vec<u8>,
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub(super) nonce: [u8; 32],
}

impl Record {
    /// The attempt it belongs to.
    pub fn id(&self) -> AttemptId {
        match self {
            Self::Begun(begun) => begun.id,
            Self::Drawn(drawn) => drawn.id,
            Self::ReadStarted(id) | Self::Opened(id) | Self::NotOpened(id) | Self::Failed(id) => {
                *id
            }
        }
    }

    /// Its encoding: to be encrypted before it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        encoded(self)
    }

    /// Reads a record.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        decoded(bytes, MESSAGE_MAX_BYTES, "record")
    }
}

/// Redacted: records hold keys, questions and masked vectors.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Begun(_) => "Begun",
            Self::ReadStarted(_) => "ReadStarted",
            Self::Drawn(_) => "Drawn",
            Self::Opened(_) => "Opened",
            Self::NotOpened(_) => "NotOpened",
            Self::Failed(_) => "Failed",
        };
        f.debug_tuple(kind).field(&self.id()).finish()
    }
}
