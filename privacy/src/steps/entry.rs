//! What joint and local questions write into the logs.
//!
//! Knows the entries, their encoding (deterministic CBOR, `[version, entry]`) and their limits.
//! They travel as opaque application entries inside each brand's certified log. Deliberately knows
//! nothing of certification: that is behind [`CertifiedEntry`], which a node makes only out of an
//! entry it has verified to be final.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::contract::PARTICIPANTS_MAX;
use crate::ids::{
    AnalystId, Attempt, ContractHash, MaskingKey, ParticipantId, PlanHash, QueryId, ReleaseHash,
    SetHash, SnapshotId, SqlHash, VectorHash,
};
use crate::units::{CalendarYear, PicoDelta, PicoRho, UtcMillis};

/// Version of the entries' encoding.
pub const ENTRY_VERSION: u8 = 0;
/// Longest encoded entry.
pub const ENTRY_MAX_BYTES: usize = 8_192;

/// Why bytes are no entry, message or record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Too long.
    #[error("{found} bytes, at most {most} are read")]
    Size {
        /// Bytes given.
        found: usize,
        /// Bytes allowed.
        most: usize,
    },
    /// Of another version.
    #[error("version {0} is not known here, this build reads version {ENTRY_VERSION}")]
    Version(u8),
    /// Not the one encoding of anything.
    #[error("not a deterministic encoding of a clean-room {0}")]
    Malformed(&'static str),
}

/// One attempt at one joint query. The proposer is part of the name, so that nobody can take an
/// identifier away from its drawer.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(array)]
pub struct AttemptId {
    /// Who coordinates and pays.
    #[n(0)]
    pub proposer: ParticipantId,
    /// The query.
    #[n(1)]
    pub query: QueryId,
    /// Which try.
    #[n(2)]
    pub attempt: Attempt,
}

/// An entry of the clean room in a brand's log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum CleanRoomEntry {
    /// Step 2, in the proposer's log.
    #[n(0)]
    #[cbor(array)]
    Reserve(#[n(0)] Reserve),
    /// Step 2, in every participant's log, the proposer's too.
    #[n(1)]
    #[cbor(array)]
    Participate(#[n(0)] Participate),
    /// Step 3, in every participant's log.
    #[n(2)]
    #[cbor(array)]
    Commit(#[n(0)] Commit),
    /// Step 5: the writer committed, has not opened and never will.
    #[n(3)]
    #[cbor(array)]
    NotOpened(#[n(0)] AttemptId),
    /// Step 5, in the proposer's log: the quota is taken back.
    #[n(4)]
    #[cbor(array)]
    Returned(#[n(0)] AttemptId),
    /// Step 5: the writer may have read and did not commit; it books the cost on its own local
    /// account.
    #[n(5)]
    #[cbor(array)]
    FailedAfterReading(#[n(0)] FailedAfterReading),
    /// Step 6: the writer opened and did not get this participant's opening in time.
    #[n(6)]
    #[cbor(array)]
    MissingOpening(#[n(0)] MissingOpening),
    /// Step 7, in every participant's log.
    #[n(7)]
    #[cbor(array)]
    Release(#[n(0)] ReleaseLogged),
    /// A question about the writer's own members: debits its local account before anything is read.
    #[n(8)]
    #[cbor(array)]
    LocalCharge(#[n(0)] LocalCharge),
    /// The one answer to it.
    #[n(9)]
    #[cbor(array)]
    LocalRelease(#[n(0)] LocalReleased),
    /// After step 6: the writer agrees that a brand that did not open may be asked again.
    #[n(10)]
    #[cbor(array)]
    Readmit(#[n(0)] Readmit),
    /// The one answer to a standing question for one of its periods.
    #[n(11)]
    #[cbor(array)]
    PeriodRelease(#[n(0)] PeriodReleased),
}

/// The proposer's reservation: debits its account.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Reserve {
    /// The attempt.
    #[n(0)]
    pub id: AttemptId,
    /// Plan every participant must arrive at.
    #[n(1)]
    pub plan: PlanHash,
    /// The normalised question; its text stays out of the log.
    #[n(2)]
    pub sql: SqlHash,
    /// The contract it was planned under.
    #[n(3)]
    pub contract: ContractHash,
    /// Who must take part, ascending, the proposer among them.
    #[n(4)]
    pub participants: Vec<ParticipantId>,
    /// What is debited.
    #[n(5)]
    pub rho: PicoRho,
    /// The account's year: that of the block that certifies this entry.
    #[n(6)]
    pub year: CalendarYear,
    /// Whose share of the quota.
    #[n(7)]
    pub analyst: AnalystId,
    /// Reservations and hashes in blocks after this instant do not count.
    #[n(8)]
    pub expires_at: UtcMillis,
    /// An opening not there by then is missing.
    #[n(9)]
    pub open_by: UtcMillis,
}

/// A participant's reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Participate {
    /// The attempt.
    #[n(0)]
    pub id: AttemptId,
    /// The plan this participant arrived at.
    #[n(1)]
    pub plan: PlanHash,
    /// Its fresh X25519 key for this attempt.
    #[n(2)]
    pub key: MaskingKey,
    /// The data it answers from.
    #[n(3)]
    pub snapshot: SnapshotId,
}

/// A participant's hash of its masked vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Commit {
    /// The attempt.
    #[n(0)]
    pub id: AttemptId,
    /// The set its masks are bound to.
    #[n(1)]
    pub set: SetHash,
    /// Hash of the masked vector and a nonce.
    #[n(2)]
    pub vector: VectorHash,
}

/// A local question's charge. There is one answer to it, from this data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct LocalCharge {
    /// The question; its proposer is the writer.
    #[n(0)]
    pub id: AttemptId,
    /// The plan it pays for.
    #[n(1)]
    pub plan: PlanHash,
    /// The normalised question; its text stays out of the log.
    #[n(2)]
    pub sql: SqlHash,
    /// The contract it was planned under.
    #[n(3)]
    pub contract: ContractHash,
    /// What is debited.
    #[n(4)]
    pub rho: PicoRho,
    /// What is debited from the account of failure probabilities.
    #[n(5)]
    pub delta: PicoDelta,
    /// The account's year: that of the block that certifies this entry.
    #[n(6)]
    pub year: CalendarYear,
    /// Whose share of the quota.
    #[n(7)]
    pub analyst: AnalystId,
    /// The data it is answered from.
    #[n(8)]
    pub snapshot: SnapshotId,
}

/// The answer to a local question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct LocalReleased {
    /// The question.
    #[n(0)]
    pub id: AttemptId,
    /// Hash of the release's stable bytes.
    #[n(1)]
    pub release: ReleaseHash,
}

/// The answer to a standing question for one period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct PeriodReleased {
    /// The question.
    #[n(0)]
    pub id: AttemptId,
    /// Which period, from 0.
    #[n(1)]
    pub period: u32,
    /// Hash of the release's stable bytes.
    #[n(2)]
    pub release: ReleaseHash,
}

/// A cost booked locally.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct FailedAfterReading {
    /// The attempt.
    #[n(0)]
    pub id: AttemptId,
    /// What is booked.
    #[n(1)]
    pub rho: PicoRho,
    /// The account's year.
    #[n(2)]
    pub year: CalendarYear,
}

/// Evidence of an opening that did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct MissingOpening {
    /// The attempt.
    #[n(0)]
    pub id: AttemptId,
    /// Who committed and did not open.
    #[n(1)]
    pub accused: ParticipantId,
}

/// Agreement to ask a suspended brand again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Readmit {
    /// The attempt that it did not open in.
    #[n(0)]
    pub id: AttemptId,
    /// Who is readmitted.
    #[n(1)]
    pub brand: ParticipantId,
}

/// The release a participant arrived at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ReleaseLogged {
    /// The attempt.
    #[n(0)]
    pub id: AttemptId,
    /// The set that answered.
    #[n(1)]
    pub set: SetHash,
    /// Hash of the release's stable bytes.
    #[n(2)]
    pub release: ReleaseHash,
}

/// An entry that stands certified in its writer's log.
///
/// Implementing this is a promise: a node implements it on a type that only the verification of a
/// certificate can make. Everything the clean room believes about other brands comes through here.
pub trait CertifiedEntry {
    /// Whose log.
    fn writer(&self) -> ParticipantId;
    /// Index of the leaf in that log.
    fn index(&self) -> u64;
    /// Time of the certified block, which its witnesses checked against their clocks.
    fn time(&self) -> UtcMillis;
    /// The encoded [`CleanRoomEntry`].
    fn bytes(&self) -> &[u8];
}

impl CleanRoomEntry {
    /// The attempt it belongs to.
    pub const fn id(&self) -> AttemptId {
        match self {
            Self::Reserve(entry) => entry.id,
            Self::Participate(entry) => entry.id,
            Self::Commit(entry) => entry.id,
            Self::NotOpened(id) | Self::Returned(id) => *id,
            Self::FailedAfterReading(entry) => entry.id,
            Self::MissingOpening(entry) => entry.id,
            Self::Release(entry) => entry.id,
            Self::LocalCharge(entry) => entry.id,
            Self::LocalRelease(entry) => entry.id,
            Self::Readmit(entry) => entry.id,
            Self::PeriodRelease(entry) => entry.id,
        }
    }

    /// Its one encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        encoded(self)
    }

    /// Reads an entry; only its one encoding is accepted.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let entry: Self = decoded(bytes, ENTRY_MAX_BYTES, "entry")?;
        match &entry {
            Self::Reserve(reserve) if !reserve.is_well_formed() => {
                Err(CodecError::Malformed("entry"))
            }
            _ => Ok(entry),
        }
    }
}

impl Reserve {
    fn is_well_formed(&self) -> bool {
        self.participants.len() <= PARTICIPANTS_MAX
            && self.participants.is_sorted_by(|a, b| a < b)
            && self.participants.contains(&self.id.proposer)
            && self.expires_at <= self.open_by
    }
}

/// `[version, value]`.
pub(crate) fn encoded<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to a vector cannot fail.
    let _ = minicbor::encode((ENTRY_VERSION, value), &mut bytes);
    bytes
}

/// Reads `[version, value]` and accepts only what [`encoded`] writes.
pub(crate) fn decoded<T>(bytes: &[u8], most: usize, what: &'static str) -> Result<T, CodecError>
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    if bytes.len() > most {
        return Err(CodecError::Size { found: bytes.len(), most });
    }
    let mut decoder = minicbor::Decoder::new(bytes);
    let malformed = |_| CodecError::Malformed(what);
    if decoder.array().map_err(malformed)? != Some(2) {
        return Err(CodecError::Malformed(what));
    }
    let version = decoder.u8().map_err(malformed)?;
    if version != ENTRY_VERSION {
        return Err(CodecError::Version(version));
    }
    let value: T = decoder.decode().map_err(malformed)?;
    if encoded(&value) == bytes { Ok(value) } else { Err(CodecError::Malformed(what)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::brand;

    fn id() -> AttemptId {
        AttemptId { proposer: brand(1), query: QueryId([7; 16]), attempt: Attempt::FIRST }
    }

    fn reserve() -> Reserve {
        Reserve {
            id: id(),
            plan: PlanHash([1; 32]),
            sql: SqlHash([2; 32]),
            contract: ContractHash([3; 32]),
            participants: (0..5).map(brand).collect(),
            rho: PicoRho::new(5),
            year: CalendarYear(2026),
            analyst: "desk".parse().unwrap(),
            expires_at: UtcMillis(10),
            open_by: UtcMillis(20),
        }
    }

    #[test]
    fn every_entry_survives_its_encoding() {
        let commit = Commit { id: id(), set: SetHash([4; 32]), vector: VectorHash([5; 32]) };
        for entry in [
            CleanRoomEntry::Reserve(reserve()),
            CleanRoomEntry::Commit(commit),
            CleanRoomEntry::NotOpened(id()),
            CleanRoomEntry::Returned(id()),
            CleanRoomEntry::MissingOpening(MissingOpening { id: id(), accused: brand(3) }),
            CleanRoomEntry::Readmit(Readmit { id: id(), brand: brand(3) }),
        ] {
            let bytes = entry.to_bytes();
            assert_eq!(CleanRoomEntry::from_bytes(&bytes), Ok(entry));
            let trailing = [bytes.as_slice(), &[0]].concat();
            assert!(CleanRoomEntry::from_bytes(&trailing).is_err());
            assert!(CleanRoomEntry::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        }
    }

    #[test]
    fn other_versions_sizes_and_orders_are_refused() {
        let mut bytes = CleanRoomEntry::NotOpened(id()).to_bytes();
        bytes[1] = 1;
        assert_eq!(CleanRoomEntry::from_bytes(&bytes), Err(CodecError::Version(1)));
        let long = vec![0; ENTRY_MAX_BYTES + 1];
        assert!(matches!(CleanRoomEntry::from_bytes(&long), Err(CodecError::Size { .. })));
        let mut unsorted = reserve();
        unsorted.participants.reverse();
        let bytes = CleanRoomEntry::Reserve(unsorted).to_bytes();
        assert_eq!(CleanRoomEntry::from_bytes(&bytes), Err(CodecError::Malformed("entry")));
    }

    /// The encoding is frozen: another program reads it too.
    #[test]
    fn the_encoding_of_an_entry_is_fixed() {
        let bytes = CleanRoomEntry::NotOpened(id()).to_bytes();
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let query = "07".repeat(16);
        let name = "6675656c5f73746f70"; // fuel_stop
        assert_eq!(hex, format!("82008203818369{name}50{query}01"));
    }
}
