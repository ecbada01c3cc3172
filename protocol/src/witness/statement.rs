//! What is signed in agreeing on a block: openings, promises, proposals, votes, commits; and the two
//! collections of signatures that stand for a quorum: [`Lock`] and [`Certificate`].
//!
//! Every statement covers log, epoch, height, round, header hash, tree size and root, each kind under
//! its own domain. What travels is unverified; [`Verified`], [`Lock`] and [`Certificate`] are made by
//! the checks here and by nothing else.

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};

use super::closing;
use super::guards::{Guard, Guards, Upheld};
use super::said::Said;
use crate::constitution::{BrandKeys, Constitution};
use crate::crypto::{PublicKey, Signable, Signature, SignatureError, Signed, SigningKey, Verified};
use crate::ids::{BrandId, Epoch, Height, Incarnation, Round, RoundNonce};
use crate::log::block::BlockReference;

/// The writer opens a round above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Open {
    /// Whose log.
    #[n(0)]
    pub log: BrandId,
    /// Under which constitution.
    #[n(1)]
    pub epoch: Epoch,
    /// Which height.
    #[n(2)]
    pub height: Height,
    /// Which round.
    #[n(3)]
    pub round: Round,
    /// Fresh for this opening; a promise answers this opening and no other.
    #[n(4)]
    pub nonce: RoundNonce,
    /// By which incarnation of the writer.
    #[n(5)]
    pub incarnation: Incarnation,
}

/// A witness joins a round and tells its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Promise {
    /// What it joins.
    #[n(0)]
    pub open: Open,
    /// Its highest lock, if it has one.
    #[n(1)]
    pub lock: Option<Pledge>,
}

/// One block in one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(array)]
pub struct Pledge {
    /// The block.
    #[n(0)]
    pub block: BlockReference,
    /// The round.
    #[n(1)]
    pub round: Round,
}

macro_rules! pledges {
    ($($(#[$doc:meta])* $name:ident $domain:literal),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] pub Pledge);
        impl Signable for $name {
            const DOMAIN: &'static str = $domain;
        }
    )*};
}

pledges! {
    /// The writer proposes a block; this is also the writer's vote.
    Proposal "coalition/0/proposal",
    /// A witness votes for a block.
    Vote "coalition/0/vote",
    /// A witness has the block's lock on disk.
    Commit "coalition/0/commit",
}

impl Signable for Open {
    const DOMAIN: &'static str = "coalition/0/open";
}
impl Signable for Promise {
    const DOMAIN: &'static str = "coalition/0/promise";
}

/// A signature by one brand over a pledge that is told once for many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Endorsement {
    /// Who signed.
    #[n(0)]
    pub signer: BrandId,
    /// The signature.
    #[n(1)]
    pub signature: Signature,
}

impl Endorsement {
    /// The statement that it stands for.
    #[must_use]
    pub const fn over<T>(&self, body: T) -> Signed<T> {
        Signed { signer: self.signer, body, signature: self.signature }
    }
}

/// Why a collection of signatures stands for no quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuorumError {
    /// Made under another constitution than the one at hand.
    #[error("made under epoch {found}, checked under epoch {expected}")]
    Epoch {
        /// As stated.
        found: Epoch,
        /// As checked.
        expected: Epoch,
    },
    /// Fewer signatures than a quorum.
    #[error("{found} signatures where a quorum has {needed}")]
    TooFew {
        /// How many different brands signed.
        found: usize,
        /// How many must.
        needed: usize,
    },
    /// Signed twice by one brand, by more than there are, or by a stranger.
    #[error("signed by {0} twice or without being a member")]
    Signer(BrandId),
    /// One of the signatures is wrong.
    #[error("the signature of {signer}: {error}")]
    Signature {
        /// Whose.
        signer: BrandId,
        /// What is wrong.
        error: SignatureError,
    },
}

/// The proposal and votes of a quorum, as they travel.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct UnverifiedLock {
    /// What they are for.
    #[n(0)]
    pub pledge: Pledge,
    /// The writer's signature over [`Proposal`].
    #[n(1)]
    pub proposal: Signature,
    /// The others' signatures over [`Vote`].
    #[n(2)]
    pub votes: Vec<Endorsement>,
}

/// q votes of one height, round and block, the writer's proposal counted; made by
/// [`UnverifiedLock::verify`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock(UnverifiedLock);

/// The proposal and the commits of a quorum, as they travel.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct UnverifiedCertificate {
    /// What they are for.
    #[n(0)]
    pub pledge: Pledge,
    /// The writer's signature over [`Proposal`].
    #[n(1)]
    pub proposal: Signature,
    /// q signatures over [`Commit`].
    #[n(2)]
    pub commits: Vec<Endorsement>,
}

/// The block is final; made by [`UnverifiedCertificate::verify`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate(UnverifiedCertificate);

/// The writer's proposal; who leads a last round is not told by the pledge alone.
fn proposed(pledge: Pledge, signature: Signature) -> Option<Said> {
    let signer = pledge.block.log;
    let proposal = Said::Proposal(Signed { signer, body: Proposal(pledge), signature });
    (!closing::is_last(pledge.round)).then_some(proposal)
}

impl UnverifiedLock {
    /// The proposal and the votes, each by itself.
    pub fn said(&self) -> impl Iterator<Item = Said> {
        let vote = |by: &Endorsement| Said::Vote(by.over(Vote(self.pledge)));
        proposed(self.pledge, self.proposal).into_iter().chain(self.votes.iter().map(vote))
    }

    /// Checks every signature and that they are a quorum's.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(self, constitution: &Constitution) -> Result<Lock, QuorumError> {
        check_epoch(constitution, &self.pledge)?;
        let needed = constitution.committee().quorum();
        let (log, round) = (self.pledge.block.log, self.pledge.round);
        let leader = closing::leader(constitution.committee(), log, round);
        let found = check_signers(constitution, &self.votes, Some(leader))?.saturating_add(1);
        if found < needed {
            return Err(QuorumError::TooFew { found, needed });
        }
        check_proposal(constitution, &self.pledge, &self.proposal)?;
        check_signatures(constitution, &Vote(self.pledge), &self.votes)?;
        Ok(Lock(self))
    }
}

impl UnverifiedCertificate {
    /// The proposal and the commits, each by itself.
    pub fn said(&self) -> impl Iterator<Item = Said> {
        let commit = |by: &Endorsement| Said::Commit(by.over(Commit(self.pledge)));
        proposed(self.pledge, self.proposal).into_iter().chain(self.commits.iter().map(commit))
    }

    /// Checks every signature and that they are a quorum's.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(self, constitution: &Constitution) -> Result<Certificate, QuorumError> {
        self.verify_under::<Upheld>(constitution)
    }

    /// The same, under these guards.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_under<G: Guards>(
        self,
        constitution: &Constitution,
    ) -> Result<Certificate, QuorumError> {
        check_epoch(constitution, &self.pledge)?;
        let needed = constitution.committee().quorum();
        let found = check_signers(constitution, &self.commits, None)?;
        if !G::allow(Guard::CommitQuorum, found >= needed) {
            return Err(QuorumError::TooFew { found, needed });
        }
        check_proposal(constitution, &self.pledge, &self.proposal)?;
        check_signatures(constitution, &Commit(self.pledge), &self.commits)?;
        Ok(Certificate(self))
    }
}

macro_rules! proven {
    ($($name:ident of $unverified:ident),*) => {$(
        impl $name {
            /// The block and round.
            #[must_use]
            pub const fn pledge(&self) -> Pledge {
                self.0.pledge
            }
            /// The form that travels.
            #[must_use]
            pub const fn as_unverified(&self) -> &$unverified {
                &self.0
            }
        }
    )*};
}
proven!(Lock of UnverifiedLock, Certificate of UnverifiedCertificate);

impl Certificate {
    /// The final block.
    #[must_use]
    pub const fn block(&self) -> BlockReference {
        self.0.pledge.block
    }
}

fn check_epoch(constitution: &Constitution, pledge: &Pledge) -> Result<(), QuorumError> {
    let (found, expected) = (pledge.block.epoch, constitution.epoch());
    if found == expected { Ok(()) } else { Err(QuorumError::Epoch { found, expected }) }
}

fn check_proposal(
    constitution: &Constitution,
    pledge: &Pledge,
    signature: &Signature,
) -> Result<(), QuorumError> {
    let leader = closing::leader(constitution.committee(), pledge.block.log, pledge.round);
    let brand = constitution.brand(leader).ok_or(QuorumError::Signer(leader))?;
    check_one(&Proposal(*pledge), leader, &brand.keys.log, signature)
}

/// That all are different members, before any signature is looked at; gives how many.
fn check_signers(
    constitution: &Constitution,
    endorsements: &[Endorsement],
    excluded: Option<BrandId>,
) -> Result<usize, QuorumError> {
    let mut seen = BTreeSet::new();
    for Endorsement { signer, .. } in endorsements {
        let is_member = constitution.brand(*signer).is_some();
        if !is_member || excluded == Some(*signer) || !seen.insert(*signer) {
            return Err(QuorumError::Signer(*signer));
        }
    }
    Ok(seen.len())
}

fn check_signatures<T: Signable>(
    constitution: &Constitution,
    statement: &T,
    endorsements: &[Endorsement],
) -> Result<(), QuorumError> {
    endorsements.iter().try_for_each(|Endorsement { signer, signature }| {
        let brand = constitution.brand(*signer).ok_or(QuorumError::Signer(*signer))?;
        check_one(statement, *signer, &brand.keys.vote, signature)
    })
}

fn check_one<T: Signable>(
    statement: &T,
    signer: BrandId,
    key: &PublicKey,
    signature: &Signature,
) -> Result<(), QuorumError> {
    key.verify(&statement.signed_bytes(), signature)
        .map_err(|error| QuorumError::Signature { signer, error })
}

/// Which of a brand's keys signs a statement.
pub trait Statement: Signable + Sized {
    /// The key among the signer's.
    fn key(keys: &BrandKeys) -> &PublicKey;

    /// Checks a signed statement with the signer's key of this constitution.
    ///
    /// # Errors
    /// When the signer is no member or the signature is wrong.
    fn verify(
        signed: Signed<Self>,
        constitution: &Constitution,
    ) -> Result<Verified<Self>, QuorumError> {
        let signer = signed.signer;
        let brand = constitution.brand(signer).ok_or(QuorumError::Signer(signer))?;
        signed
            .verify(Self::key(&brand.keys))
            .map_err(|error| QuorumError::Signature { signer, error })
    }
}

impl Statement for Open {
    fn key(keys: &BrandKeys) -> &PublicKey {
        &keys.log
    }
}
impl Statement for Proposal {
    fn key(keys: &BrandKeys) -> &PublicKey {
        &keys.log
    }
}
impl Statement for Promise {
    fn key(keys: &BrandKeys) -> &PublicKey {
        &keys.vote
    }
}
impl Statement for Vote {
    fn key(keys: &BrandKeys) -> &PublicKey {
        &keys.vote
    }
}
impl Statement for Commit {
    fn key(keys: &BrandKeys) -> &PublicKey {
        &keys.vote
    }
}

/// A brand's signing keys for agreement, one a role.
#[derive(Debug)]
pub struct VotingKeys {
    /// Signs proposals and openings of the own log.
    pub log: SigningKey,
    /// Signs promises, votes and commits.
    pub vote: SigningKey,
}
