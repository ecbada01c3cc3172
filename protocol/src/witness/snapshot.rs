//! The state of agreement in few records: what all records of a node up to some point come to.
//!
//! A node may write these in the place of everything that came before: replaying them gives the state
//! that replaying those gave. What was promised at open heights (rounds joined, votes, locks, openings
//! and proposals of the own log), incarnations and fences, evidence, the last certificate of every log
//! and what others signed about its last height are in them; what is final is not, but for each log's
//! tip. Block secrets and column keys are in them of open heights alone.

use std::collections::BTreeMap;
use std::fmt;

use minicbor::{Decode, Encode};

use super::dispute::Offer;
use super::message::Delivery;
use super::said::Said;
use super::standing::Standing;
use super::statement::{Pledge, QuorumError, UnverifiedCertificate, UnverifiedLock};
use crate::amount::Value;
use crate::codec::{DecodeError, Shared};
use crate::epochs::adoption::Stances;
use crate::epochs::{Adoption, DraftReference};
use crate::exchange::Payload;
use crate::ids::{
    BrandId, Commitment, ConstitutionHash, Epoch, Height, LeafIndex, Round, RoundNonce,
};
use crate::log::block::{BlockReference, ColumnContent};
use crate::log::merkle::Frontier;
use crate::log::resolution::DisputeResolved;

/// What is about the node as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct NodeState {
    /// What it may sign.
    #[n(0)]
    pub standing: Standing,
    /// Constitutions after the first that logs go on under, oldest first: adopted, or taken up by a
    /// certified block of the own log.
    #[n(1)]
    pub followed: Vec<DraftReference>,
    /// What is known of how they, or those that may follow, were adopted, oldest first.
    #[n(2)]
    pub adoptions: Vec<Adoption>,
    /// What the own log gave back by resolutions of disputes: to whom, in which block, how much.
    #[n(3)]
    pub given: Vec<(BrandId, Height, Value)>,
    /// Resolutions in the own log that this node has not acted upon.
    #[n(4)]
    pub agreed: Vec<DisputeResolved>,
}

/// What is about one log.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct LogState {
    /// Which.
    #[n(0)]
    pub log: BrandId,
    /// Whose constitution its open height is under.
    #[n(1)]
    pub epoch: Epoch,
    /// Where it begins for this brand is not known yet.
    #[n(2)]
    pub awaiting: bool,
    /// What it has said of constitutions.
    #[n(3)]
    pub stances: Stances,
    /// The last certified block; none for the empty log.
    #[n(4)]
    pub last: Option<LastBlock>,
    /// Exact content of this node's column in it.
    #[n(5)]
    pub content: ColumnContent,
    /// And the salt of its totals.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub salt: [u8; 32],
    /// A certified block said something to this node that cannot stand: what is in dispute. What is
    /// withheld of it follows the state, block after block ([`Withheld`]).
    #[n(7)]
    pub dispute: Option<Box<DisputeState>>,
    /// What closed the log, if it is closed.
    #[n(8)]
    pub closing: Option<UnverifiedCertificate>,
    /// The highest round joined at the open height.
    #[n(9)]
    pub joined: Round,
    /// Of which opening.
    #[n(10)]
    pub nonce: Option<RoundNonce>,
    /// Votes there.
    #[n(11)]
    pub votes: BTreeMap<Round, BlockReference>,
    /// The lock held there.
    #[n(12)]
    pub lock: Option<UnverifiedLock>,
    /// Blocks of the open height that were taken to disk.
    #[n(13)]
    pub taken: u64,
    /// What others have signed about its last height and the open one.
    #[n(14)]
    pub said: Vec<Said>,
    /// A block could not be read with the keys that were left.
    #[n(15)]
    pub unread: bool,
}

impl fmt::Debug for LogState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // exact totals are in it, which are between two brands
        write!(f, "LogState({}, {:?})", self.log, self.last)
    }
}

/// The last certified block of a log.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct LastBlock {
    /// Its header leaf.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub header: Vec<u8>,
    /// Its certificate.
    #[n(1)]
    pub certificate: UnverifiedCertificate,
    /// The tree's right edge with it.
    #[n(2)]
    pub frontier: Frontier,
}

impl fmt::Debug for LastBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LastBlock({:?})", self.certificate.pledge.block)
    }
}

/// A log in dispute, but for what is withheld.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct DisputeState {
    /// The first block in dispute.
    #[n(0)]
    pub began: Height,
    /// The rule that it breaks.
    #[n(1)]
    pub rule: u16,
    /// The column before it with the salt that it was committed with, if that could be read.
    #[n(2)]
    pub before: Option<(ColumnContent, minicbor::bytes::ByteArray<32>)>,
    /// What the block before commits to as that column's content, if it has the column.
    #[n(3)]
    pub committed: Option<Commitment>,
    /// Whether the log said more than is kept.
    #[n(4)]
    pub is_full: bool,
    /// What the accused offers.
    #[n(5)]
    pub offer: Option<Offer>,
}

impl fmt::Debug for DisputeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // exact totals are in it
        write!(f, "DisputeState(since {}, rule {})", self.began, self.rule)
    }
}

/// A certified block of a log in dispute, with what it says to this node that could stand.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Withheld {
    /// Its header leaf.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub header: Vec<u8>,
    /// Its certificate.
    #[n(1)]
    pub certificate: UnverifiedCertificate,
    /// The leaves.
    #[n(2)]
    pub payloads: Vec<(LeafIndex, Payload)>,
}

impl fmt::Debug for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // what was sealed is in it
        write!(f, "Withheld({:?})", self.certificate.pledge.block)
    }
}

/// A block of an open height that came in and was voted for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Delivered {
    /// Which.
    #[n(0)]
    pub block: BlockReference,
    /// As it came.
    #[n(1)]
    pub delivery: Shared<Delivery>,
    /// Whether this node was a restored one when it came: then a column that does not open is nobody's
    /// fault.
    #[n(2)]
    pub restored: bool,
    /// Whether it was read as an offer to end a dispute that there was then.
    #[n(3)]
    pub offered: bool,
}

/// What is about the writing of the own log, beside the block that is open.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct WriterState {
    /// Whose log.
    #[n(0)]
    pub log: BrandId,
    /// Exact contents of the last certified block's columns.
    #[n(1)]
    pub contents: Vec<(BrandId, ColumnContent)>,
    /// The round in which the open height is being decided.
    #[n(2)]
    pub attempt: Option<AttemptState>,
}

impl fmt::Debug for WriterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // exact totals are in it
        write!(f, "WriterState({}, {:?})", self.log, self.attempt)
    }
}

/// One round of the own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct AttemptState {
    /// Which.
    #[n(0)]
    pub round: Round,
    /// The nonce it was opened with; none for round 0.
    #[n(1)]
    pub opened: Option<RoundNonce>,
    /// What was proposed in it.
    #[n(2)]
    pub proposed: Option<Pledge>,
    /// Whether the lock that is held was made in it.
    #[n(3)]
    pub locked: bool,
}

/// Why a state cannot be taken up again. Nothing may then be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// No constitution that is known has such a brand.
    #[error("it has the state of log {0}, which no constitution here names")]
    UnknownLog(BrandId),
    /// A constitution's file is not there any more.
    #[error("constitution {0}, which was adopted, is not here any more: put its file back")]
    NoConstitution(ConstitutionHash),
    /// No constitution of this epoch is known.
    #[error("the constitution of epoch {0} is not here")]
    NoEpoch(Epoch),
    /// The last block's header does not read.
    #[error("log {log}: {error}")]
    Header {
        /// Whose log.
        log: BrandId,
        /// Why.
        error: DecodeError,
    },
    /// Something is withheld of a log that is not in dispute.
    #[error("log {0}: something is withheld in a dispute that there is none of")]
    NoDispute(BrandId),
    /// A block's parts are not of one block.
    #[error("log {0}: a block's header, certificate and tree do not fit together")]
    LastBlock(BrandId),
    /// A certificate or a lock does not stand.
    #[error("log {log}: {error}")]
    Quorum {
        /// Whose log.
        log: BrandId,
        /// Why.
        error: QuorumError,
    },
}
