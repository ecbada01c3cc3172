//! What the certified logs say of one attempt.
//!
//! Everything a session, an account or an auditor concludes is derived from here, and everything
//! in here came through a [`CertifiedEntry`]. Entries of different logs arrive in any order, so
//! nothing is judged on arrival: first entries are kept, and conclusions are drawn when asked for.

use std::collections::BTreeMap;

use crate::ids::{ParticipantId, ReleaseHash, SetHash};
use crate::masked_sum::{ParticipantSet, SetMember};
use crate::plan::DpPlan;
use crate::steps::{
    AttemptId, CertifiedEntry, CleanRoomEntry, Commit, FailedAfterReading, LocalCharge,
    LocalReleased, Participate, PeriodReleased, ReleaseLogged, Reserve,
};
use crate::units::{CalendarYear, PicoRho, UtcMillis};

/// An entry with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// Index in its writer's log.
    pub index: u64,
    /// Time of its block.
    pub time: UtcMillis,
    /// The entry.
    pub entry: T,
}

/// Why an entry adds nothing to the facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Contradiction {
    /// A `Reserve`, `Returned` or entry of a local question in another log than the proposer's.
    #[error("only the proposer's own log may hold this entry")]
    WrongLog,
    /// A second, different entry where one is allowed.
    #[error("a different entry of this kind is already there for this attempt")]
    Second,
    /// Nobody certifies that its own opening is missing.
    #[error("an entry accuses its own writer")]
    SelfAccusation,
    /// Others decide that.
    #[error("an entry readmits its own writer")]
    SelfReadmission,
}

/// The certified facts of one attempt.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub(crate) reserve: Option<Placed<Reserve>>,
    pub(crate) participations: BTreeMap<ParticipantId, Placed<Participate>>,
    pub(crate) commits: BTreeMap<ParticipantId, Placed<Commit>>,
    pub(crate) not_opened: BTreeMap<ParticipantId, Placed<()>>,
    pub(crate) failed: BTreeMap<ParticipantId, Placed<FailedAfterReading>>,
    pub(crate) releases: BTreeMap<ParticipantId, Placed<ReleaseLogged>>,
    /// By accuser and accused.
    pub(crate) accusations: BTreeMap<(ParticipantId, ParticipantId), Placed<()>>,
    /// By writer and readmitted.
    pub(crate) readmissions: BTreeMap<(ParticipantId, ParticipantId), Placed<()>>,
    pub(crate) returned: Option<Placed<()>>,
    pub(crate) local: Option<Placed<LocalCharge>>,
    pub(crate) local_release: Option<Placed<LocalReleased>>,
    /// By period.
    pub(crate) periods: BTreeMap<u32, Placed<PeriodReleased>>,
}

impl Facts {
    /// Takes one certified entry of this attempt. Repeats of the same entry are not news.
    pub(crate) fn absorb(
        &mut self,
        certified: &impl CertifiedEntry,
        entry: CleanRoomEntry,
    ) -> Result<(), Contradiction> {
        let writer = certified.writer();
        let (index, time) = (certified.index(), certified.time());
        let own = writer == entry.id().proposer;
        match entry {
            CleanRoomEntry::Reserve(_)
            | CleanRoomEntry::Returned(_)
            | CleanRoomEntry::LocalCharge(_)
            | CleanRoomEntry::LocalRelease(_)
            | CleanRoomEntry::PeriodRelease(_)
                if !own =>
            {
                Err(Contradiction::WrongLog)
            }
            // one name is one question, joint or local
            CleanRoomEntry::Reserve(_) if self.local.is_some() => Err(Contradiction::Second),
            CleanRoomEntry::LocalCharge(_) if self.reserve.is_some() => Err(Contradiction::Second),
            // one charge pays for one answer, or for one of each period
            CleanRoomEntry::LocalRelease(_) if !self.periods.is_empty() => {
                Err(Contradiction::Second)
            }
            CleanRoomEntry::PeriodRelease(_) if self.local_release.is_some() => {
                Err(Contradiction::Second)
            }
            CleanRoomEntry::PeriodRelease(entry) => {
                keep_of(&mut self.periods, entry.period, index, time, entry)
            }
            CleanRoomEntry::LocalCharge(entry) => keep(&mut self.local, index, time, entry),
            CleanRoomEntry::LocalRelease(entry) => {
                keep(&mut self.local_release, index, time, entry)
            }
            CleanRoomEntry::Reserve(entry) => keep(&mut self.reserve, index, time, entry),
            CleanRoomEntry::Returned(_) => keep(&mut self.returned, index, time, ()),
            CleanRoomEntry::Participate(entry) => {
                keep_of(&mut self.participations, writer, index, time, entry)
            }
            CleanRoomEntry::Commit(entry) => keep_of(&mut self.commits, writer, index, time, entry),
            CleanRoomEntry::NotOpened(_) => keep_of(&mut self.not_opened, writer, index, time, ()),
            CleanRoomEntry::FailedAfterReading(entry) => {
                keep_of(&mut self.failed, writer, index, time, entry)
            }
            CleanRoomEntry::Release(entry) => {
                keep_of(&mut self.releases, writer, index, time, entry)
            }
            CleanRoomEntry::MissingOpening(entry) if entry.accused == writer => {
                Err(Contradiction::SelfAccusation)
            }
            CleanRoomEntry::MissingOpening(entry) => {
                keep_of(&mut self.accusations, (writer, entry.accused), index, time, ())
            }
            CleanRoomEntry::Readmit(entry) if entry.brand == writer => {
                Err(Contradiction::SelfReadmission)
            }
            CleanRoomEntry::Readmit(entry) => {
                keep_of(&mut self.readmissions, (writer, entry.brand), index, time, ())
            }
        }
    }

    /// The proposer's reservation.
    pub fn reserve(&self) -> Option<&Reserve> {
        self.reserve.as_ref().map(|placed| &placed.entry)
    }

    /// When the reservation was certified: the time of its block.
    pub fn reserved_at(&self) -> Option<UtcMillis> {
        self.reserve.as_ref().map(|placed| placed.time)
    }

    /// The certified charge of a local question.
    pub fn local_charge(&self) -> Option<CertifiedLocalCharge> {
        self.local.as_ref().map(|placed| CertifiedLocalCharge(placed.entry))
    }

    /// The release logged for a local question.
    pub fn local_release(&self) -> Option<ReleaseHash> {
        self.local_release.as_ref().map(|placed| placed.entry.release)
    }

    /// The release logged for a period of a standing question.
    pub fn period_release(&self, period: u32) -> Option<ReleaseHash> {
        self.periods.get(&period).map(|placed| placed.entry.release)
    }

    /// Who certified, in time, the hash of a vector for the set; nobody while the set is not complete.
    pub fn hashed_by(&self) -> impl Iterator<Item = ParticipantId> {
        let set = self.set().map(|set| set.hash());
        let counts = move |writer: &ParticipantId| {
            set.is_some_and(|set| self.committed(*writer, set).is_some())
        };
        self.commits.keys().copied().filter(counts)
    }

    /// Who booked the cost of a failure after reading, in which year.
    pub fn failures(&self) -> impl Iterator<Item = (ParticipantId, CalendarYear)> {
        self.failed.iter().map(|(writer, placed)| (*writer, placed.entry.year))
    }

    /// Who certified that it has not opened and never will.
    pub fn renounced_by(&self) -> impl Iterator<Item = ParticipantId> {
        self.not_opened.keys().copied()
    }

    /// Who logged which release.
    pub fn released_by(&self) -> impl Iterator<Item = (ParticipantId, ReleaseHash)> {
        self.releases.iter().map(|(writer, placed)| (*writer, placed.entry.release))
    }

    /// Who (first) reports whose (second) opening missing.
    pub fn accusations(&self) -> impl Iterator<Item = (ParticipantId, ParticipantId)> {
        self.accusations.keys().copied()
    }

    /// The set, once every participant named in the reservation has reserved in time for its plan.
    pub fn set(&self) -> Option<ParticipantSet> {
        let reserve = self.reserve()?;
        let members: Option<BTreeMap<ParticipantId, SetMember>> = reserve
            .participants
            .iter()
            .map(|participant| {
                let placed = self.participations.get(participant)?;
                let entry = placed.entry;
                let valid = entry.plan == reserve.plan && placed.time <= reserve.expires_at;
                valid.then_some((
                    *participant,
                    SetMember { key: entry.key, snapshot: entry.snapshot },
                ))
            })
            .collect();
        Some(ParticipantSet::new(reserve.id, reserve.plan, members?))
    }

    /// Whether this participant's hash stands: certified in time, for this set.
    pub(crate) fn committed(&self, participant: ParticipantId, set: SetHash) -> Option<&Commit> {
        let expires_at = self.reserve()?.expires_at;
        let placed = self.commits.get(&participant)?;
        (placed.time <= expires_at && placed.entry.set == set).then_some(&placed.entry)
    }

    /// The whole charge: the proposer's reservation, all participants' and all hashes.
    pub fn charge(&self) -> Option<CertifiedCharge> {
        let reserve = self.reserve()?;
        let set = self.set()?;
        let hash = set.hash();
        let commits: Option<BTreeMap<ParticipantId, Commit>> = reserve
            .participants
            .iter()
            .map(|participant| Some((*participant, *self.committed(*participant, hash)?)))
            .collect();
        Some(CertifiedCharge { reserve: reserve.clone(), set, commits: commits? })
    }

    /// Whether the quota went back: the proposer took it back after the expiry, and everyone who
    /// ever certified a hash also certified that it has not opened. A hash that shows up later
    /// takes the return away again.
    pub fn is_returned(&self) -> bool {
        let (Some(reserve), Some(returned)) = (self.reserve(), &self.returned) else {
            return false;
        };
        returned.time > reserve.expires_at
            && self.releases.is_empty()
            && self.commits.keys().all(|writer| self.not_opened.contains_key(writer))
    }

    /// Whether nothing more can happen in step 2 to 7: released by all, or returned.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_returned()
            || self.reserve().is_some_and(|reserve| {
                reserve.participants.iter().all(|p| self.releases.contains_key(p))
            })
    }

    /// Whether the attempt can still lead to a release at `now`.
    pub(crate) fn is_open(&self, now: UtcMillis) -> bool {
        let Some(reserve) = self.reserve() else { return false };
        let void = !self.not_opened.is_empty();
        let late = now > reserve.expires_at && self.charge().is_none();
        !self.is_settled() && !void && !late && now <= reserve.open_by
    }
}

/// A complete charge. Only [`Facts::charge`] makes one, out of certified entries; a
/// [`Release`](crate::release::Release) cannot be made without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedCharge {
    reserve: Reserve,
    set: ParticipantSet,
    commits: BTreeMap<ParticipantId, Commit>,
}

impl CertifiedCharge {
    /// The attempt.
    pub const fn id(&self) -> AttemptId {
        self.reserve.id
    }

    /// The proposer's reservation.
    pub const fn reserve(&self) -> &Reserve {
        &self.reserve
    }

    /// What was debited.
    pub const fn rho(&self) -> PicoRho {
        self.reserve.rho
    }

    /// The set that answers.
    pub const fn set(&self) -> &ParticipantSet {
        &self.set
    }

    /// Every participant's hash.
    pub const fn commits(&self) -> &BTreeMap<ParticipantId, Commit> {
        &self.commits
    }

    /// Whether it was charged for this plan.
    pub fn pays_for(&self, plan: &DpPlan) -> bool {
        self.reserve.plan == plan.hash()
            && self.reserve.rho == plan.rho()
            && self.reserve.participants == plan.participants()
    }
}

/// A local question's charge. Only [`Facts::local_charge`] makes one, out of a certified entry; a
/// [`LocalRelease`](crate::release::LocalRelease) cannot be made without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertifiedLocalCharge(LocalCharge);

impl CertifiedLocalCharge {
    /// The entry.
    pub const fn entry(&self) -> &LocalCharge {
        &self.0
    }

    /// Whether it was charged for this plan.
    pub fn pays_for(&self, plan: &DpPlan) -> bool {
        self.0.plan == plan.hash()
            && self.0.rho == plan.rho()
            && self.0.delta == plan.delta()
            && plan.participants() == [self.0.id.proposer]
    }
}

fn keep<T: PartialEq>(
    slot: &mut Option<Placed<T>>,
    index: u64,
    time: UtcMillis,
    entry: T,
) -> Result<(), Contradiction> {
    match slot {
        None => {
            *slot = Some(Placed { index, time, entry });
            Ok(())
        }
        Some(first) if first.entry == entry => Ok(()),
        Some(_) => Err(Contradiction::Second),
    }
}

fn keep_of<K: Ord, T: PartialEq>(
    all: &mut BTreeMap<K, Placed<T>>,
    writer: K,
    index: u64,
    time: UtcMillis,
    entry: T,
) -> Result<(), Contradiction> {
    match all.get(&writer) {
        None => {
            all.insert(writer, Placed { index, time, entry });
            Ok(())
        }
        Some(first) if first.entry == entry => Ok(()),
        Some(_) => Err(Contradiction::Second),
    }
}
