//! The conditions that keep the ledger sound, each under a name.
//!
//! Everywhere such a condition decides whether something is signed, taken or refused, the code asks
//! [`Guards`]. There is one set of guards, [`Upheld`], which gives every condition back as it is and
//! costs nothing; [`crate::ledger::Ledger`] is run by it unless another is named in its type. No value,
//! file or feature turns a guard off.
//!
//! Other implementations are mutants: alliances in `simulations` in which one guard is missing, so that
//! it can be shown that some seed then breaks a guarantee. A test of the architecture sees to it that
//! the trait is implemented nowhere else.

use super::rules::Violation;

/// Writes the guards down once: as variants, and as the list of all of them.
macro_rules! guards {
    ($($(#[$doc:meta])* $guard:ident,)*) => {
        /// A condition of the agreement or of the ledger around it. What a block must be by itself is
        /// numbered by [`Violation`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Guard {
            $($(#[$doc])* $guard,)*
        }

        impl Guard {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$guard),*];
        }
    };
}

guards! {
    /// Rule 3: a round is joined only above the highest one joined.
    JoinAbove,
    /// Rule 3: a promise counts for the opening it answers and no other.
    PromiseOfOpening,
    /// Rule 4: a proposal above round 0 carries promises of a quorum.
    PromiseQuorum,
    /// Rule 5: of the locks that the promises tell of, the one of the highest round counts.
    HighestLock,
    /// Rule 5: a promise with an invalid lock is void.
    LockProven,
    /// Rule 5: a witness votes for the block of that lock and no other.
    LockedBlock,
    /// Rule 5: a writer proposes the block of that lock and no other.
    LockedProposal,
    /// Rule 6: no vote below the highest round joined.
    VoteAbove,
    /// Rule 6: in a round above 0 the vote is for the opening that was joined.
    VoteOfOpening,
    /// Rule 6: one vote a round.
    OneVote,
    /// Rule 7: no commit below the highest round joined.
    CommitAbove,
    /// Rule 8: a block is final with commits of a quorum, and not with fewer.
    CommitQuorum,
    /// Rule 9: a witness cosigns only the certified size it has last verified.
    CosignCertified,
    /// Before it votes, a counterparty checks its own column.
    OwnColumn,
    /// Nothing of a log is credited after a block of it that said what cannot stand.
    DisputeStands,
    /// A writer takes an exchange only while it stays within its limits.
    RoomForMore,
    /// A writer takes what a member sends back only while it stays within its limits.
    RoomToSendBack,
    /// Rule 11: nothing is signed before q-1 others have acknowledged the start.
    AwaitAcknowledgements,
    /// Rule 11: openings and proposals of an incarnation that another has followed do not count.
    LaterIncarnation,
    /// Rule 11: a node that was put back to an older state takes note of it.
    NoticeRestore,
    /// Rule 12: a restored node is silent as witness where it may have signed before.
    RestoredWitness,
    /// Rule 12: a restored node's word on how far a log was certified does not count.
    RestoredVouches,
    /// Rule 13: a restored writer does nothing at heights that may be certified.
    RestoredWriter,
    /// Rule 13: a restored writer opens a round before it proposes.
    RestoredOpens,
    /// Rule 13: a restored writer's own promise does not count.
    RestoredPromise,
    /// Rule 14: a witness votes no more on the log of a writer that is proved to have lied.
    FreezeOnEvidence,
    /// Rule 14: a witness joins a last round only when its brand has agreed that the log be closed.
    ClosingAgreed,
    /// A constitution follows when a quorum has adopted it.
    AdoptionQuorum,
    /// A log takes up the constitution that follows when that is in effect, not before.
    SwitchInEffect,
    /// A brand adopts another draft only when the one it adopted can have no quorum any more.
    EarlierDraftDead,
    /// A statement discharges nothing before every brand has entered it.
    StatementAgreed,
    /// A statement discharges nothing before every payee has confirmed every payment of it.
    PaymentsConfirmed,
}

/// Decides on conditions. Implemented outside this module by the mutants of `simulations` alone.
pub trait Guards: Send + Sync + 'static {
    /// Whether what this guard protects may be done: exactly when its condition holds.
    #[inline]
    #[must_use]
    fn allow(_: Guard, condition: bool) -> bool {
        condition
    }

    /// What becomes of a block that was found to break a rule: it is refused.
    ///
    /// # Errors
    /// The violation itself.
    #[inline]
    fn found(violation: Violation) -> Result<(), Violation> {
        Err(violation)
    }
}

/// Every guard is upheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upheld {}

impl Guards for Upheld {}
