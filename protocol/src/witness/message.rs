//! What nodes send each other about logs.
//!
//! Knows shapes, sizes and the one encoding. Validity is checked where a message is handled.

use std::fmt;

use minicbor::{Decode, Encode};

use super::closing::LastProposal;
use super::evidence::Evidence;
use super::start::{Acknowledgement, Presented, Start};
use super::statement::{
    Commit, Open, Promise, Proposal, UnverifiedCertificate, UnverifiedLock, Vote,
};
use crate::codec::{self, DecodeError, MESSAGE_MAX, WIRE_VERSION};
use crate::crypto::{Signature, Signed};
use crate::epochs::LogHead;
use crate::ids::{BrandId, Height, Incarnation, LeafIndex, Round};
use crate::log::entries::Entries;
use crate::log::fragments::Fragment;
use crate::log::proof::ConsistencyProof;
use crate::log::range::{HeaderProof, RangeProof};
use crate::recovery::held::{Holdings, Recall};

/// Most blocks in one answer to a request to catch up.
pub const CATCH_UP_BLOCKS_MAX: usize = 32;

/// One message between two nodes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub enum Message {
    /// Writer to witness: a round above 0 is opened.
    #[n(0)]
    Open(#[n(0)] Signed<Open>),
    /// Witness to writer: joins it.
    #[n(1)]
    Promise(#[n(0)] Box<PromiseMessage>),
    /// Writer to witness: a block.
    #[n(2)]
    Proposal(#[n(0)] Box<ProposalMessage>),
    /// Witness to writer.
    #[n(3)]
    Vote(#[n(0)] Signed<Vote>),
    /// Writer to witness: a quorum has voted.
    #[n(4)]
    Lock(#[n(0)] UnverifiedLock),
    /// Witness to writer: the lock is on disk.
    #[n(5)]
    Commit(#[n(0)] Signed<Commit>),
    /// Anyone to anyone: a block is final.
    #[n(6)]
    Certified(#[n(0)] UnverifiedCertificate),
    /// Witness to writer: not voted, not joined or not committed, and why.
    #[n(7)]
    Refusal(#[n(0)] Refusal),
    /// Writer to witness: its signed checkpoint of a certified size (C2SP tlog-checkpoint), for a
    /// cosignature. Witness to writer: the same note with its cosignature.
    #[n(8)]
    Checkpoint(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// Asks a writer for its certified blocks from a height on.
    #[n(9)]
    CatchUp(#[n(0)] CatchUp),
    /// Its answer: as many as fit, in order.
    #[n(10)]
    Blocks(#[n(0)] Vec<CertifiedBlock>),
    /// Bytes of an application, not certified: the clean room's openings.
    #[n(11)]
    Application(#[n(0)] ApplicationMessage),
    /// To everyone: this node has started.
    #[n(12)]
    Start(#[n(0)] Signed<Start>),
    /// Its answer.
    #[n(13)]
    Acknowledgement(#[n(0)] Box<Signed<Acknowledgement>>),
    /// Anyone to anyone: a brand is proved to have lied.
    #[n(14)]
    Evidence(#[n(0)] Box<Evidence>),
    /// Leader to witness: how the open height of a frozen log is to end.
    #[n(15)]
    LastProposal(#[n(0)] Box<LastProposal>),
    /// Writer to a brand that joined later: where its log took up the constitution they joined with.
    #[n(18)]
    Head(#[n(0)] Box<LogHead>),
    /// Anyone to anyone: what do you hold of another's log?
    #[n(20)]
    Recall(#[n(0)] Recall),
    /// Its answer.
    #[n(21)]
    Holdings(#[n(0)] Box<Holdings>),
}

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    /// When it is too large, of another version, or not the deterministic form of a message.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (version, message) = Self::read(bytes)?;
        if version != WIRE_VERSION {
            return Err(DecodeError::Version { what: "a message", found: version });
        }
        Ok(message)
    }

    /// Reads a message and the version it goes under.
    pub(crate) fn read(bytes: &[u8]) -> Result<(u16, Self), DecodeError> {
        let envelope: Envelope = codec::decode("a message", bytes, MESSAGE_MAX)?;
        Ok((envelope.version, envelope.message))
    }

    /// The bytes that are sent to a peer of the same version; see [`crate::wire`].
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.into_bytes_of(WIRE_VERSION)
    }

    /// The bytes that are sent under a version.
    pub(crate) fn into_bytes_of(self, version: u16) -> Vec<u8> {
        let about = self.about_bytes();
        codec::encode_sized(&Envelope { version, message: self }, about)
    }

    /// About how many bytes it takes, if they are many: so that one allocation does.
    fn about_bytes(&self) -> usize {
        const REST: usize = 4096;
        let of = |delivery: &Delivery| delivery.about_bytes().saturating_add(REST);
        match self {
            Self::Proposal(proposal) => of(&proposal.delivery),
            Self::Blocks(blocks) => {
                blocks.iter().fold(0, |sum, block| sum.saturating_add(of(&block.delivery)))
            }
            Self::Holdings(holdings) => holdings.about_bytes().saturating_add(REST),
            _ => 0,
        }
    }
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Envelope {
    #[n(0)]
    version: u16,
    #[n(1)]
    message: Message,
}

/// A promise with the lock it tells of.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct PromiseMessage {
    /// The signed promise.
    #[n(0)]
    pub promise: Signed<Promise>,
    /// The votes behind the lock it names.
    #[n(1)]
    pub lock: Option<UnverifiedLock>,
}

/// A proposal with all that its receiver needs in order to judge it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ProposalMessage {
    /// The signed proposal.
    #[n(0)]
    pub proposal: Signed<Proposal>,
    /// The certificate of the block before.
    #[n(1)]
    pub previous: Option<UnverifiedCertificate>,
    /// Above round 0: q promises of this opening.
    #[n(2)]
    pub promises: Vec<PromiseMessage>,
    /// The block, as far as its receiver may see it.
    #[n(3)]
    pub delivery: Delivery,
    /// Which incarnation of the writer presents it.
    #[n(4)]
    pub incarnation: Incarnation,
    /// The writer's signature over [`Presented`].
    #[n(5)]
    pub presentation: Signature,
}

impl ProposalMessage {
    /// What [`ProposalMessage::presentation`] is said to be a signature over.
    #[must_use]
    pub fn presented(&self) -> Signed<Presented> {
        Signed {
            signer: self.proposal.signer,
            body: Presented { pledge: self.proposal.body.0, incarnation: self.incarnation },
            signature: self.presentation,
        }
    }
}

/// A block as one receiver may see it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Delivery {
    /// The header leaf.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub header: Vec<u8>,
    /// That the tree before, the body and the header make the tree that is named.
    #[n(1)]
    pub extension: Extension,
    /// The receiver's own fragment of the body.
    #[n(2)]
    pub fragment: Fragment,
    /// The public entries, if there are any.
    #[n(3)]
    pub public: Option<LeafRun>,
    /// The receiver's own column, if it has entries.
    #[n(4)]
    pub column: Option<LeafRun>,
    /// Blocks of other logs that the header recognises anew.
    #[n(5)]
    pub recognised: Vec<CertifiedHeader>,
}

impl Delivery {
    /// About how many bytes it takes.
    pub(super) fn about_bytes(&self) -> usize {
        let run =
            |run: &Option<LeafRun>| run.as_ref().map_or(0, |run| run.entries.as_bytes().len());
        let sizes = [
            self.header.len(),
            self.fragment.bytes().len(),
            run(&self.public),
            run(&self.column),
            self.recognised.iter().map(|known| known.header.len()).sum(),
        ];
        sizes.into_iter().fold(8192, usize::saturating_add)
    }
}

/// Ties the tree before a block to the tree with it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Extension {
    /// From the tree before to the body; none when there was no tree.
    #[n(0)]
    pub consistency: Option<ConsistencyProof>,
    /// From the body to the tree with the header.
    #[n(1)]
    pub header: HeaderProof,
}

/// A run of leaves with the proof that it is in the body.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct LeafRun {
    /// Index of the first.
    #[n(0)]
    pub first: LeafIndex,
    /// The leaves.
    #[n(1)]
    pub entries: Entries,
    /// That they are the body's leaves from there on.
    #[n(2)]
    pub proof: RangeProof,
}

impl fmt::Debug for LeafRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeafRun({} from {})", self.entries.len(), self.first)
    }
}

/// A header of another log with the certificate that makes it final.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct CertifiedHeader {
    /// The header leaf.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub header: Vec<u8>,
    /// Its certificate.
    #[n(1)]
    pub certificate: UnverifiedCertificate,
}

/// A final block as one receiver may see it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct CertifiedBlock {
    /// Its certificate.
    #[n(0)]
    pub certificate: UnverifiedCertificate,
    /// The block.
    #[n(1)]
    pub delivery: Delivery,
}

/// Asks for blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct CatchUp {
    /// Whose log; its writer is asked.
    #[n(0)]
    pub log: BrandId,
    /// The first height that is wanted.
    #[n(1)]
    pub from: Height,
}

/// Why a witness did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Refusal {
    /// Whose log.
    #[n(0)]
    pub log: BrandId,
    /// At which height.
    #[n(1)]
    pub height: Height,
    /// In which round.
    #[n(2)]
    pub round: Round,
    /// The highest round the witness has joined.
    #[n(3)]
    pub joined: Round,
    /// Number of the rule that failed, 0 when only the round is too low.
    #[n(4)]
    pub rule: u16,
}

/// A message of an application.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ApplicationMessage {
    /// Which application.
    #[n(0)]
    pub application: u16,
    /// Its bytes.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub body: Vec<u8>,
}

impl fmt::Debug for ApplicationMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApplicationMessage({}, {} bytes)", self.application, self.body.len())
    }
}
