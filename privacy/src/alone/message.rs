//! How a question that every brand answers for itself gets to the others, and their answers back.
//!
//! Messages are of no authority: an answer counts when it is what its brand's log certifies.

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::ids::{Purpose, QueryId};
use crate::plan::COORDINATES_ALONE_MAX;
use crate::steps::{AttemptId, CodecError, decoded, encoded};
use crate::units::PicoRho;

/// Longest encoded message about a pack: one brand's noised values and their frame.
const PACK_MESSAGE_MAX_BYTES: usize = COORDINATES_ALONE_MAX * 8 + 4_096;

/// A message about a pack, which its asker has named.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum PackMessage {
    /// Asks a brand for its own answer.
    #[n(0)]
    #[cbor(array)]
    Ask(#[n(0)] QueryId, #[n(1)] PackQuestion),
    /// It will give none.
    #[n(1)]
    #[cbor(array)]
    Declined(#[n(0)] QueryId, #[n(1)] PackDecline),
    /// Its answer: the question in its log, and every noised value, eight bytes each, big-endian.
    #[n(2)]
    #[cbor(array)]
    Answer(#[n(0)] QueryId, #[n(1)] AttemptId, #[cbor(n(2), with = "minicbor::bytes")] Vec<u8>),
}

/// What is asked. Whose share of the quota pays is the answering brand's own business: it knows the
/// asking brand as one analyst, however many people ask there.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct PackQuestion {
    /// The SQL text, with `brand` among its group keys.
    #[n(0)]
    pub sql: String,
    /// What members were asked consent for.
    #[n(1)]
    pub purpose: Purpose,
    /// Privacy cost at the brand that answers.
    #[n(2)]
    pub rho: PicoRho,
}

/// Why a brand gives no answer. Never depends on data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum PackDecline {
    /// It cannot plan the question: contracts or versions differ, or it has no such rows.
    #[n(0)]
    Plan,
    /// Its account, or the asking brand's share of it, does not cover the question.
    #[n(1)]
    Budget,
    /// Its own policy.
    #[n(2)]
    Policy,
    /// It was charged and could not be answered.
    #[n(3)]
    Failed,
    /// Too many questions are under way there.
    #[n(4)]
    Busy,
}

impl PackMessage {
    /// The pack.
    pub const fn query(&self) -> QueryId {
        match self {
            Self::Ask(query, _) | Self::Declined(query, _) | Self::Answer(query, ..) => *query,
        }
    }

    /// Its one encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        encoded(self)
    }

    /// Reads a message; only its one encoding is accepted.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        decoded(bytes, PACK_MESSAGE_MAX_BYTES, "message about a pack")
    }
}
