//! What proves that a brand lied: signed statements that no honest node makes together (rule 14).
//!
//! Evidence is complete in itself: whoever has the constitutions can check it. An honest brand is never
//! accused: everything a node signs it has on its disk before, its state never goes back behind that, and
//! where its disk was put back it stays silent (rules 11 to 13). What follows from evidence is
//! [`super::cases`]'s.
//!
//! Two checkpoints of different sizes that no consistency proof joins prove nothing by themselves, since
//! the proof may just be missing: here they count when both are of one size, or when one contradicts a
//! certificate of its size.

use minicbor::{Decode, Encode};

use super::said::Said;
use super::statement::UnverifiedCertificate;
use crate::codec;
use crate::epochs::Constitutions;
use crate::ids::{BrandId, Height, TreeSize};
use crate::ledger::log_verifier;
use crate::log::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::recovery::contradiction::{CONTRADICTION_MAX, Contradiction};

/// Most bytes of evidence as an entry of a log. Larger is only [`Evidence::Fragments`], which is kept and
/// passed on and then not entered.
pub const EVIDENCE_MAX: usize = 16 * 1024;

/// Evidence as it travels and as it is entered in a log.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub enum Evidence {
    /// Two statements of one brand about one height.
    #[n(0)]
    Statements(#[n(0)] Box<Said>, #[n(1)] Box<Said>),
    /// Two checkpoints of one log and one size, as signed notes.
    #[n(1)]
    Checkpoints(
        #[cbor(n(0), with = "minicbor::bytes")] Vec<u8>,
        #[cbor(n(1), with = "minicbor::bytes")] Vec<u8>,
    ),
    /// A checkpoint, as a signed note, and the certificate of the block with which the log had that size.
    #[n(2)]
    Uncertified(
        #[cbor(n(0), with = "minicbor::bytes")] Vec<u8>,
        #[n(1)] Box<UnverifiedCertificate>,
    ),
    /// A block's fragments that decode to another body than its header says.
    #[n(3)]
    Fragments(#[n(0)] Box<Contradiction>),
}

impl std::fmt::Debug for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Statements(one, other) => {
                write!(
                    f,
                    "Evidence({:?}, {:?} of {})",
                    one.position(),
                    other.position(),
                    one.signer()
                )
            }
            Self::Checkpoints(..) => f.write_str("Evidence(two checkpoints)"),
            Self::Uncertified(..) => f.write_str("Evidence(a checkpoint and a certificate)"),
            Self::Fragments(it) => write!(f, "Evidence(fragments of {:?})", it.block()),
        }
    }
}

/// What a brand did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offence {
    /// As writer: two blocks in one round.
    TwoProposals,
    /// As writer: one round opened twice by one incarnation.
    TwoOpenings,
    /// As writer: two trees of one size, or one that was not certified.
    TwoTrees,
    /// As writer: fragments of another body than the block's.
    WrongFragments,
    /// As witness: two blocks voted for in one round.
    TwoVotes,
    /// As witness: a block committed, and a later round promised as if it had not been.
    ForgottenCommit,
}

impl Offence {
    /// Whether it was done in writing the own log: then that log is frozen.
    #[must_use]
    pub const fn is_of_writer(self) -> bool {
        matches!(
            self,
            Self::TwoProposals | Self::TwoOpenings | Self::TwoTrees | Self::WrongFragments
        )
    }

    /// A short name that stays.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TwoProposals => "two-proposals",
            Self::TwoOpenings => "two-openings",
            Self::TwoTrees => "two-trees",
            Self::WrongFragments => "wrong-fragments",
            Self::TwoVotes => "two-votes",
            Self::ForgottenCommit => "forgotten-commit",
        }
    }
}

/// Why something is no evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// An honest brand may have signed both.
    #[error("an honest brand may have signed both")]
    Compatible,
    /// A signature is wrong, or under a constitution that is not known here.
    #[error("a signature is wrong, or under a constitution that is not known here")]
    Signature,
    /// Larger than such evidence may be.
    #[error("larger than {most} bytes")]
    TooLarge {
        /// The most.
        most: usize,
    },
}

/// Whom something accuses, and of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who is said to have done it.
    pub accused: BrandId,
    /// In which log.
    pub log: BrandId,
    /// What was done.
    pub offence: Offence,
}

/// Evidence that was checked; made by [`Evidence::prove`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    evidence: Evidence,
    claim: Claim,
}

impl Proven {
    /// What proves it.
    #[must_use]
    pub const fn evidence(&self) -> &Evidence {
        &self.evidence
    }
    /// Whom it accuses, and of what.
    #[must_use]
    pub const fn claim(&self) -> Claim {
        self.claim
    }
    /// Who did it.
    #[must_use]
    pub const fn accused(&self) -> BrandId {
        self.claim.accused
    }
    /// In which log.
    #[must_use]
    pub const fn log(&self) -> BrandId {
        self.claim.log
    }
    /// What was done.
    #[must_use]
    pub const fn offence(&self) -> Offence {
        self.claim.offence
    }
}

/// What two statements prove together, if anything. Signatures are not looked at.
#[must_use]
pub fn offence(one: &Said, other: &Said) -> Option<Offence> {
    let same_height = one.position().height == other.position().height;
    if one.signer() != other.signer() || one.log() != other.log() || !same_height {
        return None;
    }
    let same_round = one.position().round == other.position().round;
    match (one, other) {
        (Said::Proposal(one), Said::Proposal(other)) => {
            (same_round && one.body.0.block != other.body.0.block).then_some(Offence::TwoProposals)
        }
        (Said::Vote(one), Said::Vote(other)) => {
            (same_round && one.body.0.block != other.body.0.block).then_some(Offence::TwoVotes)
        }
        // a restored writer may open a round that it has forgotten, as another incarnation
        (Said::Open(one), Said::Open(other)) => {
            let same = same_round && one.body.incarnation == other.body.incarnation;
            (same && one.body.nonce != other.body.nonce).then_some(Offence::TwoOpenings)
        }
        (Said::Commit(commit), Said::Promise(promise))
        | (Said::Promise(promise), Said::Commit(commit)) => {
            let committed = commit.body.0.round;
            let told = promise.body.lock.map(|lock| lock.round);
            let forgotten =
                promise.body.open.round > committed && told.is_none_or(|it| it < committed);
            forgotten.then_some(Offence::ForgottenCommit)
        }
        _ => None,
    }
}

impl Evidence {
    /// Two statements, in the one order in which they are kept.
    #[must_use]
    pub fn statements(one: Said, other: Said) -> Self {
        let (first, second) =
            if codec::encode(&one) <= codec::encode(&other) { (one, other) } else { (other, one) };
        Self::Statements(Box::new(first), Box::new(second))
    }

    /// Whom it accuses, and of what, before anything is checked: none when it accuses nobody.
    #[must_use]
    pub fn claim(&self, constitutions: &Constitutions) -> Option<Claim> {
        let of_writer = |log, offence| Some(Claim { accused: log, log, offence });
        match self {
            Self::Statements(one, other) => {
                let offence = offence(one, other)?;
                Some(Claim { accused: one.signer(), log: one.log(), offence })
            }
            Self::Checkpoints(note, _) | Self::Uncertified(note, _) => {
                let origin = SignedCheckpoint::parse(note).ok()?.unverified().origin().to_owned();
                let log = constitutions.iter().find_map(|constitution| {
                    let mut brands = constitution.committee().brands().iter();
                    brands.find(|brand| constitution.origin(**brand) == origin)
                });
                of_writer(*log?, Offence::TwoTrees)
            }
            Self::Fragments(it) => of_writer(it.log(), Offence::WrongFragments),
        }
    }

    /// Checks that it proves what it is said to prove.
    ///
    /// # Errors
    /// When it does not, or cannot be checked here.
    pub fn prove(self, constitutions: &Constitutions) -> Result<Proven, EvidenceError> {
        let most = match &self {
            Self::Fragments(_) => CONTRADICTION_MAX,
            _ => EVIDENCE_MAX,
        };
        if self.bytes() > most {
            return Err(EvidenceError::TooLarge { most });
        }
        let (accused, log, offence) = match &self {
            Self::Statements(one, other) => {
                let offence = offence(one, other).ok_or(EvidenceError::Compatible)?;
                if !one.is_genuine(constitutions) || !other.is_genuine(constitutions) {
                    return Err(EvidenceError::Signature);
                }
                (one.signer(), one.log(), offence)
            }
            Self::Checkpoints(one, other) => {
                let (log, one) = read(one, constitutions)?;
                let (same, other) = read(other, constitutions)?;
                if same != log || one.size() != other.size() || one.root() == other.root() {
                    return Err(EvidenceError::Compatible);
                }
                (log, log, Offence::TwoTrees)
            }
            Self::Uncertified(note, certificate) => {
                let (log, checkpoint) = read(note, constitutions)?;
                let block = certificate.pledge.block;
                if block.log != log
                    || block.size != checkpoint.size()
                    || block.root == checkpoint.root()
                {
                    return Err(EvidenceError::Compatible);
                }
                let constitution = constitutions.of(block.epoch).ok_or(EvidenceError::Signature)?;
                (**certificate)
                    .clone()
                    .verify(constitution)
                    .map_err(|_| EvidenceError::Signature)?;
                (log, log, Offence::TwoTrees)
            }
            Self::Fragments(contradiction) => {
                let epoch = contradiction.proposal.body.0.block.epoch;
                let constitution = constitutions.of(epoch).ok_or(EvidenceError::Signature)?;
                match contradiction.prove(constitution) {
                    Some(true) => {}
                    Some(false) => return Err(EvidenceError::Compatible),
                    None => return Err(EvidenceError::Signature),
                }
                let log = contradiction.log();
                (log, log, Offence::WrongFragments)
            }
        };
        Ok(Proven { evidence: self, claim: Claim { accused, log, offence } })
    }

    /// How many bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        codec::encode(self).len()
    }

    /// Whether it can be an entry of a log.
    #[must_use]
    pub fn is_an_entry(&self) -> bool {
        self.bytes() <= EVIDENCE_MAX
    }

    /// Which height or size it is about, for people.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::Statements(one, _) => Place::Height(one.position().height),
            Self::Fragments(it) => Place::Height(it.proposal.body.0.block.height),
            Self::Checkpoints(note, _) | Self::Uncertified(note, _) => {
                let size = SignedCheckpoint::parse(note).map(|note| note.unverified().size());
                Place::Size(size.unwrap_or_default())
            }
        }
    }
}

/// Where in a log something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At a height.
    Height(Height),
    /// At a size.
    Size(TreeSize),
}

/// A checkpoint that its log signed with a key that it has or had.
fn read(
    note: &[u8],
    constitutions: &Constitutions,
) -> Result<(BrandId, Checkpoint), EvidenceError> {
    let signed = SignedCheckpoint::parse(note).map_err(|_| EvidenceError::Signature)?;
    for constitution in constitutions.iter() {
        for brand in constitution.committee().brands() {
            if constitution.origin(*brand) == signed.unverified().origin()
                && let Some(key) = log_verifier(constitution, *brand)
                && let Ok(checkpoint) = signed.verify(&key)
            {
                return Ok((*brand, checkpoint.clone()));
            }
        }
    }
    Err(EvidenceError::Signature)
}
