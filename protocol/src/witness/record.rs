//! What a node must have on disk before it says it: the state of agreement, as a sequence of records.
//!
//! Replaying the records in order gives the state again ([`crate::ledger::Ledger::replay`]). Knows
//! shapes only; writing and syncing them is the node's journal.

use std::fmt;

use minicbor::{Decode, Encode};

use super::build::OwnBlock;
use super::cases::Kept;
use super::message::{CertifiedBlock, Delivery};
use super::snapshot::{Delivered, LogState, NodeState, Withheld, WriterState};
use super::standing::{Fence, Heard};
use super::statement::{Pledge, UnverifiedCertificate, UnverifiedLock};
use crate::codec::{self, DecodeError, MESSAGE_MAX, Shared};
use crate::epochs::LogHead;
use crate::ids::{BrandId, HeaderHash, Height, Incarnation, Round, RoundNonce};

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub enum Record {
    /// As witness: a round above 0 was joined.
    #[n(0)]
    Joined(#[n(0)] Joined),
    /// As witness: a block was received, checked, and voted for.
    #[n(1)]
    Voted(#[n(0)] Voted),
    /// As witness: a lock is held.
    #[n(2)]
    Locked(#[n(0)] UnverifiedLock),
    /// As witness: a block that was received before is final.
    #[n(3)]
    Final(#[n(0)] UnverifiedCertificate),
    /// As witness: a final block was received by catching up.
    #[n(4)]
    CaughtUp(#[n(0)] Box<CertifiedBlock>),
    /// As writer: a block was built for this height.
    #[n(5)]
    Built(#[n(0)] Box<OwnBlock>),
    /// As writer: a block was proposed in a round.
    #[n(6)]
    Proposed(#[n(0)] Pledge),
    /// This node starts as this incarnation.
    #[n(7)]
    Started(#[n(0)] Incarnation),
    /// An incarnation of another brand was heard of.
    #[n(8)]
    Heard(#[n(0)] Heard),
    /// This node's disk was put back to an older state; whether the operator said so.
    #[n(9)]
    Restored(#[n(0)] bool),
    /// How far a log was certified when this node was restored.
    #[n(10)]
    Fenced(#[n(0)] Fence),
    /// Evidence is held.
    #[n(11)]
    Kept(#[n(0)] Box<Kept>),
    /// As counterparty: what opened the own column of a block that comes next in the records. The
    /// sealing key it was wrapped to is destroyed some day.
    #[n(20)]
    Opened(#[n(0)] Opened),
    /// As a witness that joined later: where a log stood when it took up the joining constitution.
    #[n(12)]
    Headed(#[n(0)] Box<LogHead>),
    /// As writer: a block that this node had made in a former life, from what others hold of it.
    #[n(21)]
    Rebuilt(#[n(0)] Box<Rebuilt>),
    /// In the place of all records before: what they come to for the node as a whole. The state of
    /// every log follows, then blocks of open heights, own open blocks ([`Record::Rebuilt`]), and the writer's
    /// state.
    #[n(30)]
    NodeState(#[n(0)] Box<NodeState>),
    /// In the place of all records before about a log: what they come to.
    #[n(31)]
    LogState(#[n(0)] Box<LogState>),
    /// A block of an open height that was voted for; what opened its column comes before it.
    #[n(32)]
    Delivered(#[n(0)] Delivered),
    /// What the records before come to for the writer of the own log.
    #[n(33)]
    WriterState(#[n(0)] Box<WriterState>),
    /// In a snapshot, after the state of its log: a block in dispute, with what of it could stand.
    #[n(34)]
    Withheld(#[n(0)] Box<Withheld>),
}

/// A block of the own log that was rebuilt, or is taken up from a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Rebuilt {
    /// The block, opened.
    #[n(0)]
    pub block: OwnBlock,
    /// Its certificate; none when it is not final, and a lock forces it.
    #[n(1)]
    pub certificate: Option<UnverifiedCertificate>,
}

/// A round that was joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Joined {
    /// Whose log; as writer this is also the opening itself.
    #[n(0)]
    pub log: BrandId,
    /// At which height.
    #[n(1)]
    pub height: Height,
    /// Which round.
    #[n(2)]
    pub round: Round,
    /// Of which opening.
    #[n(3)]
    pub nonce: RoundNonce,
}

/// What a writer told this brand of its column: key and exact content.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Opened {
    /// Whose log.
    #[n(0)]
    pub log: BrandId,
    /// Which block.
    #[n(1)]
    pub block: HeaderHash,
    /// The bytes of the [`crate::log::block::ColumnOpening`].
    #[cbor(n(2), with = "minicbor::bytes")]
    pub opening: Vec<u8>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // a key is in it
        write!(f, "Opened({}, {:?})", self.log, self.block)
    }
}

/// A block that was voted for.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Voted {
    /// The block and round.
    #[n(0)]
    pub pledge: Pledge,
    /// The opening's nonce, above round 0.
    #[n(1)]
    pub nonce: Option<RoundNonce>,
    /// The block, with the fragment that the witness now keeps; none when an earlier record has it.
    #[n(2)]
    pub delivery: Option<Shared<Delivery>>,
}

impl Record {
    /// Whose log it is about; none when it is about this node as a whole.
    #[must_use]
    pub fn log(&self) -> Option<BrandId> {
        match self {
            Self::Joined(joined) => Some(joined.log),
            Self::Voted(voted) => Some(voted.pledge.block.log),
            Self::Locked(lock) => Some(lock.pledge.block.log),
            Self::Final(certificate) => Some(certificate.pledge.block.log),
            Self::CaughtUp(block) => Some(block.certificate.pledge.block.log),
            Self::Built(block) => Some(block.reference().log),
            Self::Proposed(pledge) => Some(pledge.block.log),
            Self::Opened(opened) => Some(opened.log),
            Self::Headed(head) => Some(head.entry.certificate.pledge.block.log),
            Self::Rebuilt(rebuilt) => Some(rebuilt.block.reference().log),
            Self::LogState(state) => Some(state.log),
            Self::Delivered(delivered) => Some(delivered.block.log),
            Self::Withheld(withheld) => Some(withheld.certificate.pledge.block.log),
            Self::WriterState(state) => Some(state.log),
            Self::Started(_)
            | Self::Heard(_)
            | Self::Restored(_)
            | Self::Fenced(_)
            | Self::Kept(_)
            | Self::NodeState(_) => None,
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// When it is not one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode("a journal record of the ledger", bytes, MESSAGE_MAX)
    }
    /// The bytes that are written.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.about_bytes());
        self.write(&mut bytes);
        bytes
    }
    /// Appends the bytes that are written.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        codec::encode_into(self, bytes);
    }
    /// About how many bytes it takes, if they are many: so that one allocation does.
    #[must_use]
    pub fn about_bytes(&self) -> usize {
        const REST: usize = 16 * 1024;
        let many = match self {
            Self::Voted(voted) => voted.delivery.as_ref().map_or(0, |all| all.about_bytes()),
            Self::CaughtUp(block) => block.delivery.about_bytes(),
            Self::Delivered(delivered) => delivered.delivery.about_bytes(),
            Self::Built(block) => block.body().as_bytes().len(),
            Self::Rebuilt(rebuilt) => rebuilt.block.body().as_bytes().len(),
            _ => return 512,
        };
        many.saturating_add(REST)
    }
}
