//! This brand's side of joint questions: it plans them, takes part by local policy, reads its own
//! facts in bounded SQL, and keeps the answers.
//!
//! The seven steps and every guarantee are [`privacy`]'s; here are what drives them ([`room`]), the
//! columnar engine ([`read`]), the decision to take part ([`policy`]), answers that were given
//! ([`answers`]) and what people see of it all ([`views`]). Has no clock and no generator: both come
//! from the runtime, which also carries out the [`Action`]s.
//!
//! A question that was answered is answered again with the same bytes and at no cost, as long as no
//! participant is known to answer from other facts by now. A brand's facts are known by the snapshot
//! it certified last: an import at another brand is noticed with the next question it takes part in.
//!
//! A brand also answers alone: its own analysts about its own members, and other brands whose packs
//! (questions with `brand` among the group keys) its policy agrees to. Exact figures of its own members
//! are for its own staff and take another way altogether ([`exact`]).
//!
//! A local question may stand: it is charged once, and each period among its group keys is answered when
//! it is over. What members' periods have used of their bounds is with the purchases
//! (`purchases::standing`).
//!
//! Groups whose names are private (`kind = "private"` in the contract) are asked locally or as packs: a group is
//! shown when its noised count of members reaches a threshold, which the brand's delta of the year pays for.
//!
//! Openings of answered questions are kept for the audit window ([`evidence`]), and given from there to who lacks one.
//!
//! Ended questions leave memory but for the newest, and are looked up in the store (`room::ended`).
//!
//! Not here yet: questions about facts that an import replaced while the node was down (such an attempt
//! fails, and its cost is booked).

pub mod answers;
mod entry;
pub mod evidence;
pub mod exact;
pub mod policy;
pub mod read;
mod room;
pub mod templates;
pub mod views;

use privacy::AttemptId;
use privacy::accounting::Evidence;
use privacy::ids::VectorHash;
use protocol::ids::BrandId;

pub use entry::{Certified, CertifiedApplication, Names};
pub use read::{PeriodJob, ReadJob, ReadResult};
pub use room::{FormerContract, Gated, Kept, QueryTimes, RestoreError, Room, RoomSettings};

/// The clean room among the applications whose entries the logs certify.
pub const APPLICATION: u16 = 1;

/// Packs among the applications that send messages; they have no entries of their own.
pub const PACKS: u16 = 2;

/// What the runtime has to do for the clean room. Records are durable before anything is sent or read.
#[derive(Debug)]
pub enum Action {
    /// Into the journal.
    Record(Vec<u8>),
    /// Into the own log.
    Append(Vec<u8>),
    /// To another brand, once the records of the turn are durable.
    Send(BrandId, Vec<u8>),
    /// A message about a pack to another brand, once the records of the turn are durable.
    SendPack(BrandId, Vec<u8>),
    /// To be read, once the records of the turn are durable.
    Read(Box<ReadJob>),
    /// For who audits, beside everything else: other participants have it too.
    Keep(Box<Evidence>),
    /// One opening of what was kept goes to another brand, by its certified hash; if it is there.
    Give {
        /// To whom.
        to: BrandId,
        /// The attempt.
        id: AttemptId,
        /// Which opening.
        vector: VectorHash,
    },
}
