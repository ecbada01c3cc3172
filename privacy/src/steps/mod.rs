//! The seven steps of a joint query, as a state machine without IO.
//!
//! [`CleanRoom`] is one participant's side of all its attempts, proposer or not. Certified entries,
//! messages, decisions and the time go in; [`Effect`]s come out, to be carried out in order:
//! a [`Effect::Persist`] is durable before anything after it happens. Each step is decided from
//! the certified facts of the attempt and from what is on this participant's disk, never from
//! unconfirmed messages, so replaying logs and records restores exactly what was promised:
//!
//! 1. **Plan**: [`CleanRoom::propose`] plans or refuses; nothing is spent.
//! 2. **Reserve**: the proposer's `Reserve`, then everybody's `Participate`, certified before the
//!    expiry. With the last one the set is fixed.
//! 3. **Commit**: noise, then reading, then y_i on disk, then its hash certified.
//! 4. **Open**: with all hashes certified, y_i is sent to everyone. Whoever lacks one asks the others for it by its
//!    certified hash: a brand that opens to some alone, or is gone after it, keeps nobody from the answer.
//! 5. A missing hash voids the attempt: whoever committed certifies `NotOpened` and never opens;
//!    the proposer takes its quota back once nobody can open. Whose disk was put back to before its vector asks the
//!    others for its opening first: it may have made it.
//! 6. A missing opening is certified as evidence; the charge stands, and the brand is suspended
//!    ([`accounting`](crate::accounting)) until [`CleanRoom::readmit`] at a quorum of the others.
//! 7. **Release**: the openings are added; every participant logs the release's hash.
//!
//! **Memory.** An attempt holds what its plan says ([`DpPlan::bytes_held`]), all attempts together no more than
//! [`HELD_MAX_BYTES`]; one that is over keeps hashes alone. An opening is one message
//! ([`MESSAGE_MAX_BYTES`]), sent again only after it had time to arrive.
//!
//! Not here yet: reuse of a release for the same plan, set and snapshot, openings in parts, standing
//! joint questions.

mod entry;
mod local;
mod message;
mod record;
mod room;

use std::sync::Arc;

use serde::Serialize;

pub use entry::{
    AttemptId, CertifiedEntry, CleanRoomEntry, CodecError, Commit, ENTRY_MAX_BYTES, ENTRY_VERSION,
    FailedAfterReading, LocalCharge, LocalReleased, MissingOpening, Participate, PeriodReleased,
    Readmit, ReleaseLogged, Reserve,
};
pub(crate) use entry::{decoded, encoded};
pub use message::{DeclineReason, MESSAGE_MAX_BYTES, Message, Opening, Proposal};
pub use record::{Begun, Drawn, Record};
pub use room::{
    CleanRoom, MessageError, ProposeError, ProposeRequest, ReadmitError, RestoreError, StepError,
};

use crate::ids::{ParticipantId, VectorHash};
use crate::plan::{DpPlan, QuerySpec};
use crate::release::Release;
use crate::units::{CalendarYear, UtcMillis};

/// How long after the expiry a participant waits for a late log before it declares an attempt
/// void, in milliseconds. Logs certified past the expiry end the wait at once.
pub const VOID_GRACE_MILLIS: u64 = 30_000;
/// How long openings are due before they are asked of others than their makers, in milliseconds.
pub const WANT_AFTER_MILLIS: u64 = 5_000;
/// How long nobody is given the same opening again, in milliseconds.
pub const ATTACH_AFTER_MILLIS: u64 = 2_000;
/// How many bytes of an opening a participant lets arrive at another in a millisecond before it sends it again: one of
/// the largest waits for thirteen seconds, one of a few cells for the next tick.
pub const RESENT_BYTES_A_MILLI: usize = 128;
/// Most bytes that the attempts under way may hold at a participant ([`DpPlan::bytes_held`]). Beyond it proposes
/// nothing, and turns down what others propose, until one has ended.
pub const HELD_MAX_BYTES: usize = if cfg!(test) { 64 << 20 } else { 512 << 20 };
/// Longest time from a reservation's block to its expiry, in milliseconds.
pub const LIFETIME_MAX_MILLIS: u64 = 24 * 60 * 60 * 1_000;

/// The caller's clock at an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Now.
    pub now: UtcMillis,
    /// The calendar year now, in the zone in which the alliance counts years.
    pub year: CalendarYear,
}

/// What the caller must do, in order.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Seal and store; durable before the next effect.
    Persist(Record),
    /// Put into the own log, to be certified.
    Append(CleanRoomEntry),
    /// Send directly; loss is repaired by [`CleanRoom::tick`].
    Send {
        /// To whom.
        to: ParticipantId,
        /// What.
        message: Message,
    },
    /// Send an opening that is no longer in memory from what was kept of the attempt ([`CleanRoom::evidence`]), if that
    /// has it: [`Evidence::attached`](crate::accounting::Evidence::attached).
    Give {
        /// To whom.
        to: ParticipantId,
        /// The attempt.
        id: AttemptId,
        /// Which opening.
        vector: VectorHash,
    },
    /// Decide, by local policy, whether to take part: [`CleanRoom::accept`] or
    /// [`CleanRoom::decline`].
    Decide {
        /// The attempt.
        id: AttemptId,
        /// What is asked.
        spec: QuerySpec,
        /// What this participant planned for it.
        plan: Arc<DpPlan>,
    },
    /// Draw noise ([`crate::mechanism::NoiseShare::draw`]), then read
    /// ([`crate::bounded::member_sql`]), then call [`CleanRoom::commit`], or
    /// [`CleanRoom::fail`] when that is impossible.
    Read {
        /// The attempt.
        id: AttemptId,
        /// The plan.
        plan: Arc<DpPlan>,
    },
    /// Store, then show.
    Released(Box<Release>),
    /// A participant will not take part (told to the proposer).
    Declined {
        /// The attempt.
        id: AttemptId,
        /// Who.
        by: ParticipantId,
        /// Why.
        reason: DeclineReason,
    },
    /// The attempt cannot lead to a release any more.
    Void(AttemptId),
    /// Nothing more will come of the attempt; its records may be deleted.
    Forget(AttemptId),
}

/// Where an attempt stands: protocol steps only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// The proposer's reservation is not certified yet.
    Proposed,
    /// Waiting for all participants' reservations.
    Reserving,
    /// Waiting for all hashes.
    Committing,
    /// Waiting for all openings.
    Opening,
    /// Released.
    Released,
    /// Void; the charge stands unless it is returned.
    Void,
    /// Void, and the quota went back.
    Returned,
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
