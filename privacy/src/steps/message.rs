//! What participants send each other directly, beside the logs.
//!
//! Messages are of no authority: everything in them is checked against certified entries. The
//! caller vouches for the sender (an authenticated channel), nothing more.

use minicbor::{Decode, Encode};
use serde::Serialize;

use super::entry::{AttemptId, CodecError, decoded, encoded};
use crate::ids::{ParticipantId, SetHash, VectorHash};
use crate::plan::{COORDINATES_MAX, QuerySpec};

/// Longest encoded message: a full vector and its frame.
pub const MESSAGE_MAX_BYTES: usize = COORDINATES_MAX * 8 + 4_096;

/// A message between participants of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// From the proposer: what is asked. The log holds only its hash.
    #[n(0)]
    #[cbor(array)]
    Proposal(#[n(0)] Proposal),
    /// To the proposer: this participant will not take part.
    #[n(1)]
    #[cbor(array)]
    Declined(#[n(0)] AttemptId, #[n(1)] DeclineReason),
    /// Step 4.
    #[n(2)]
    #[cbor(array)]
    Opening(#[n(0)] Opening),
    /// Step 4, to one who may have it: an opening that this participant lacks, by the hash that its maker's log names
    /// it by.
    #[n(3)]
    #[cbor(array)]
    Wanted(#[n(0)] AttemptId, #[n(1)] VectorHash),
    /// The answer: whose opening it is, and the opening.
    #[n(4)]
    #[cbor(array)]
    Attached(#[n(0)] ParticipantId, #[n(1)] Opening),
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Proposal {
    /// The attempt.
    #[n(0)]
    pub id: AttemptId,
    /// The question, its participants and its cost.
    #[n(1)]
    pub spec: QuerySpec,
}

/// y_i with its nonce.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Opening {
    /// The attempt.
    #[n(0)]
    pub id: AttemptId,
    /// The set it was masked for.
    #[n(1)]
    pub set: SetHash,
    /// [`MaskedVector::to_bytes`](crate::masked_sum::MaskedVector::to_bytes).
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub vector: Vec<u8>,
    /// The commitment's nonce.
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub nonce: [u8; 32],
}

/// Why a participant will not take part. Never depends on data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum DeclineReason {
    /// It arrives at another plan than the one reserved, or keeps nothing of what the plan reads: contracts or versions
    /// differ.
    #[n(0)]
    Plan,
    /// The proposer's account does not cover it, too many of its reservations are open, or this
    /// participant's local account would not cover a failure.
    #[n(1)]
    Budget,
    /// The reservation has expired, lasts too long or is booked to another year.
    #[n(2)]
    Expiry,
    /// Its own policy: purpose, analyst, or a decision of its operator.
    #[n(3)]
    Policy,
    /// One of those asked did not open in an earlier question and has not been readmitted.
    #[n(4)]
    Suspended,
    /// Questions under way hold as much memory there as they may.
    #[n(5)]
    Busy,
}

impl Message {
    /// The attempt it belongs to.
    pub const fn id(&self) -> AttemptId {
        match self {
            Self::Proposal(proposal) => proposal.id,
            Self::Declined(id, _) | Self::Wanted(id, _) => *id,
            Self::Opening(opening) | Self::Attached(_, opening) => opening.id,
        }
    }

    /// Its one encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        encoded(self)
    }

    /// Reads a message; only its one encoding is accepted.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        decoded(bytes, MESSAGE_MAX_BYTES, "message")
    }
}
