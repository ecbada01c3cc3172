//! One thing that one brand has signed about one log, whatever its kind, and how far it goes.
//!
//! Knows kinds and their order within a height; whether two of them can stand together is
//! [`super::evidence`]'s, what follows from it [`super::standing`]'s.

use minicbor::{Decode, Encode};

use super::statement::{Commit, Open, Promise, Proposal, QuorumError, Statement, Vote};
use crate::constitution::Constitution;
use crate::crypto::Signed;
use crate::epochs::Constitutions;
use crate::ids::{BrandId, Epoch, Height, Round};

/// A signed statement of the agreement.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub enum Said {
    /// As writer: a round was opened.
    #[n(0)]
    Open(#[n(0)] Signed<Open>),
    /// As witness: a round was joined.
    #[n(1)]
    Promise(#[n(0)] Signed<Promise>),
    /// As writer: a block was proposed.
    #[n(2)]
    Proposal(#[n(0)] Signed<Proposal>),
    /// As witness: a block was voted for.
    #[n(3)]
    Vote(#[n(0)] Signed<Vote>),
    /// As witness: a block was committed.
    #[n(4)]
    Commit(#[n(0)] Signed<Commit>),
}

/// What was done in a round, in the order in which it can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Opened or joined.
    Joined,
    /// Proposed or voted.
    Voted,
    /// A lock was taken to disk.
    Committed,
}

/// How far a brand has gone in one log. What a node signs never goes back behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// At which height.
    pub height: Height,
    /// In which round.
    pub round: Round,
    /// What was done there.
    pub stage: Stage,
}

impl Position {
    /// Everything at a height is behind: it is final.
    #[must_use]
    pub const fn after(height: Height) -> Self {
        Self { height, round: Round::new(u32::MAX), stage: Stage::Committed }
    }
}

impl Said {
    /// Who is said to have signed it.
    #[must_use]
    pub const fn signer(&self) -> BrandId {
        match self {
            Self::Open(signed) => signed.signer,
            Self::Promise(signed) => signed.signer,
            Self::Proposal(signed) => signed.signer,
            Self::Vote(signed) => signed.signer,
            Self::Commit(signed) => signed.signer,
        }
    }

    /// Whose log it is about.
    #[must_use]
    pub const fn log(&self) -> BrandId {
        match self {
            Self::Open(signed) => signed.body.log,
            Self::Promise(signed) => signed.body.open.log,
            Self::Proposal(signed) => signed.body.0.block.log,
            Self::Vote(signed) => signed.body.0.block.log,
            Self::Commit(signed) => signed.body.0.block.log,
        }
    }

    /// How far it goes.
    #[must_use]
    pub const fn position(&self) -> Position {
        let (height, round, stage) = match self {
            Self::Open(signed) => (signed.body.height, signed.body.round, Stage::Joined),
            Self::Promise(signed) => {
                (signed.body.open.height, signed.body.open.round, Stage::Joined)
            }
            Self::Proposal(signed) => {
                (signed.body.0.block.height, signed.body.0.round, Stage::Voted)
            }
            Self::Vote(signed) => (signed.body.0.block.height, signed.body.0.round, Stage::Voted),
            Self::Commit(signed) => {
                (signed.body.0.block.height, signed.body.0.round, Stage::Committed)
            }
        };
        Position { height, round, stage }
    }

    /// Under which constitution.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        match self {
            Self::Open(signed) => signed.body.epoch,
            Self::Promise(signed) => signed.body.open.epoch,
            Self::Proposal(signed) => signed.body.0.block.epoch,
            Self::Vote(signed) => signed.body.0.block.epoch,
            Self::Commit(signed) => signed.body.0.block.epoch,
        }
    }

    /// Whether the signature is the signer's under the constitution of the statement's epoch.
    #[must_use]
    pub fn is_genuine(&self, constitutions: &Constitutions) -> bool {
        let constitution = constitutions.of(self.epoch());
        constitution.is_some_and(|constitution| self.check(constitution).is_ok())
    }

    /// Checks the signature with the signer's key of this constitution.
    fn check(&self, constitution: &Constitution) -> Result<(), QuorumError> {
        fn check<T: Statement + Clone>(
            signed: &Signed<T>,
            constitution: &Constitution,
        ) -> Result<(), QuorumError> {
            T::verify(signed.clone(), constitution).map(|_| ())
        }
        match self {
            Self::Open(signed) => check(signed, constitution),
            Self::Promise(signed) => check(signed, constitution),
            Self::Proposal(signed) => check(signed, constitution),
            Self::Vote(signed) => check(signed, constitution),
            Self::Commit(signed) => check(signed, constitution),
        }
    }
}
