//! Privacy budget accounts, added up from certified log entries alone.
//!
//! One account per (brand, calendar year of the query), in integer pico-rho, with the analysts'
//! shares of it. A joint query is debited in its *proposer's* log, so every account has exactly one
//! writer and one order, and no set of concurrent charges can overdraw it unseen. Zero-concentrated
//! costs add up whatever was asked (Bun and Steinke 2016, lemma 1.7): there is no discount for
//! months, groups or brands that do not overlap.
//!
//! A charge counts from its certified reservation on. It is taken off again only by
//! [`Facts::is_returned`]; what was read is never refunded.
//!
//! A local question is debited in the log of the brand it is about, from that brand's local account,
//! where failures after reading are booked too; failure probabilities have an account beside it.
//! A standing question is such a charge for all its periods.
//!
//! What stands is kept as running sums beside the entries it follows from, so that asking costs no more for more
//! charges; an audit goes by the entries alone.
//!
//! All accounts of a year together stay within what was promised for it, also where one contract follows another
//! in it: [`InForce`].

mod audit;
mod evidence;
mod facts;
mod local;
mod sets;
mod sums;
mod suspension;
mod year;

use std::collections::BTreeMap;

pub use audit::{AuditEntry, Finding, Kept, Rule, audit};
pub use evidence::Evidence;
pub use facts::{CertifiedCharge, CertifiedLocalCharge, Contradiction, Facts, Placed};
pub use sets::told_apart;
pub use suspension::{Suspension, readmission_quorum};
pub use year::{Booking, InForce};

use self::sums::{Seen, Sums};
use crate::contract::Contract;
use crate::ids::{AnalystId, Attempt, ParticipantId, QueryId};
use crate::steps::{AttemptId, CertifiedEntry, CleanRoomEntry, CodecError, Reserve};
use crate::units::{CalendarYear, PicoDelta, PicoRho, UtcMillis};

/// Most reservations of one proposer that are open at a time.
pub const OPEN_RESERVATIONS_MAX: usize = 2;

/// A clean refusal for want of budget. Public: everybody can add up the same accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    /// The brand's quota of the year.
    #[error("{brand} has {left} left for joint questions in {year}, this one costs {asked}")]
    Brand {
        /// Whose account.
        brand: ParticipantId,
        /// Which year's.
        year: CalendarYear,
        /// What is left.
        left: PicoRho,
        /// What was asked.
        asked: PicoRho,
    },
    /// What was promised for the year to everybody.
    #[error(
        "all brands together may be charged {promise} in {year}, under whatever contract: beside what the others were charged or may be, {left} of it is left for {brand}, this question costs {asked}; wait for the new year"
    )]
    Year {
        /// Whose account.
        brand: ParticipantId,
        /// Which year's.
        year: CalendarYear,
        /// What was promised.
        promise: PicoRho,
        /// What is left.
        left: PicoRho,
        /// What was asked.
        asked: PicoRho,
    },
    /// The brand's quota of the year for local questions.
    #[error("{brand} has {left} left for local questions in {year}, this one costs {asked}")]
    Local {
        /// Whose account.
        brand: ParticipantId,
        /// Which year's.
        year: CalendarYear,
        /// What is left.
        left: PicoRho,
        /// What was asked.
        asked: PicoRho,
    },
    /// Its own reading may fail, which its local account would have to bear.
    #[error(
        "a failure after reading would cost {brand} {asked} of its local budget of {year}, of which {left} is left beside what is under way"
    )]
    Failure {
        /// Whose account.
        brand: ParticipantId,
        /// Which year's.
        year: CalendarYear,
        /// What is left.
        left: PicoRho,
        /// What a failure would cost.
        asked: PicoRho,
    },
    /// The brand's quota of failure probabilities.
    #[error("{brand} has a delta of {left} left in {year}, this question takes {asked}")]
    Delta {
        /// Whose account.
        brand: ParticipantId,
        /// Which year's.
        year: CalendarYear,
        /// What is left.
        left: PicoDelta,
        /// What was asked.
        asked: PicoDelta,
    },
    /// The analyst's share of it.
    #[error("analyst {analyst} has {left} left in {year}, this question costs {asked}")]
    Analyst {
        /// Whose share.
        analyst: AnalystId,
        /// Which year's.
        year: CalendarYear,
        /// What is left.
        left: PicoRho,
        /// What was asked.
        asked: PicoRho,
    },
    /// Too many reservations at a time.
    #[error("{brand} already has {OPEN_RESERVATIONS_MAX} open reservations; wait for one to end")]
    OpenReservations {
        /// Whose reservations.
        brand: ParticipantId,
    },
}

/// Why an entry could not be entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not an entry.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// An entry that contradicts what is there.
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
}

/// All attempts of an alliance, and through them its accounts.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    attempts: BTreeMap<AttemptId, Facts>,
    /// Contracts of before.
    former: Vec<year::Former>,
    /// What stands now.
    sums: Sums,
}

impl Ledger {
    /// An empty ledger.
    pub const fn new() -> Self {
        Self { attempts: BTreeMap::new(), former: Vec::new(), sums: Sums::new() }
    }

    /// Enters a certified entry. The same entry again changes nothing.
    pub fn enter(&mut self, certified: &impl CertifiedEntry) -> Result<AttemptId, EntryError> {
        let entry = CleanRoomEntry::from_bytes(certified.bytes())?;
        let (id, writer) = (entry.id(), certified.writer());
        let of_set = matches!(entry, CleanRoomEntry::Reserve(_) | CleanRoomEntry::Participate(_));
        let facts = self.attempts.entry(id).or_default();
        let before = Seen::of(facts, writer);
        // one that contradicts what is there changes nothing
        facts.absorb(certified, entry)?;
        self.sums.follow(id, facts, writer, before);
        if of_set {
            self.sums.follow_set(id, facts);
        }
        Ok(id)
    }

    /// The facts of one attempt.
    pub fn facts(&self, id: &AttemptId) -> Option<&Facts> {
        self.attempts.get(id)
    }

    /// All attempts, in order.
    pub fn attempts(&self) -> impl Iterator<Item = (&AttemptId, &Facts)> {
        self.attempts.iter()
    }

    /// What a brand has spent on joint questions it proposed in a year.
    pub fn joint_spent(&self, brand: ParticipantId, year: CalendarYear) -> PicoRho {
        self.sums.joint(brand, year)
    }

    /// What a brand has left for joint questions in a year.
    pub fn joint_left(
        &self,
        contract: &Contract,
        brand: ParticipantId,
        year: CalendarYear,
    ) -> PicoRho {
        let quota = self.quotas(contract, year).0;
        let own = remaining(quota, self.joint_spent(brand, year));
        own.min(self.together_left(contract, brand, year))
    }

    /// What a brand has left of the year's promise, on both its accounts together.
    fn together_left(
        &self,
        contract: &Contract,
        brand: ParticipantId,
        year: CalendarYear,
    ) -> PicoRho {
        let own = [self.joint_spent(brand, year), self.local_spent(brand, year)];
        let own = (total(own.into_iter()), self.delta_spent(brand, year));
        self.left_of_year(contract, brand, year, own).together
    }

    /// What one analyst has spent of it.
    pub fn analyst_spent(
        &self,
        brand: ParticipantId,
        analyst: AnalystId,
        year: CalendarYear,
    ) -> PicoRho {
        self.sums.of_analyst(brand, analyst, year).0
    }

    /// Reservations of a proposer that can still lead to a release.
    pub fn open_reservations(&self, brand: ParticipantId, now: UtcMillis) -> usize {
        self.not_over(brand, now).filter(|(_, facts)| facts.is_open(now)).count()
    }

    /// Whether a new reservation fits: the brand's quota, the analyst's share of it, the number
    /// open. Decided from certified charges and the brand's own `pending` reservations, which are
    /// on their way into its log, before anything is read.
    pub fn admit(
        &self,
        contract: &Contract,
        reserve: &Reserve,
        analyst_quota: PicoRho,
        pending: &[Reserve],
        now: UtcMillis,
    ) -> Result<(), OverBudget> {
        let (brand, analyst) = (reserve.id.proposer, reserve.analyst);
        let (year, asked) = (reserve.year, reserve.rho);
        let waiting = pending.iter().filter(|other| other.year == year);
        let spent =
            total(waiting.clone().map(|other| other.rho).chain([self.joint_spent(brand, year)]));
        let left = remaining(self.quotas(contract, year).0, spent);
        if asked > left {
            return Err(OverBudget::Brand { brand, year, left, asked });
        }
        let pending_rho = total(waiting.clone().map(|other| other.rho));
        let left = remaining(self.together_left(contract, brand, year), pending_rho);
        if asked > left {
            let promise = self.promise(contract, year);
            return Err(OverBudget::Year { brand, year, promise, left, asked });
        }
        let waiting = waiting.filter(|other| other.analyst == analyst).map(|other| other.rho);
        let spent = total(waiting.chain([self.analyst_spent(brand, analyst, year)]));
        let left = remaining(analyst_quota, spent);
        if asked > left {
            return Err(OverBudget::Analyst { analyst, year, left, asked });
        }
        let open = self.open_reservations(brand, now).saturating_add(pending.len());
        if open >= OPEN_RESERVATIONS_MAX {
            return Err(OverBudget::OpenReservations { brand });
        }
        Ok(())
    }

    /// Whether a *certified* reservation is within its brand's quota and the year's promise, for who is to take
    /// part now.
    pub fn is_covered(&self, contract: &Contract, id: &AttemptId) -> bool {
        let Some(this) = self.attempts.get(id).and_then(|facts| facts.reserve.as_ref()) else {
            return false;
        };
        let joint = self.joint_up_to(id.proposer, this.entry.year, this.index);
        contract.participants().contains(&id.proposer)
            && joint <= contract.joint_quota()
            && joint <= self.quotas(contract, this.entry.year).0
            && self.is_of_the_year(
                contract,
                id.proposer,
                this.entry.year,
                (joint, this.index),
                false,
            )
    }

    /// Whether what a brand was charged up to a place in its log, so much of it on the joint account, leaves the
    /// others what the year's promise has for them; of delta too where what stands there takes some.
    fn is_of_the_year(
        &self,
        contract: &Contract,
        brand: ParticipantId,
        year: CalendarYear,
        (joint, place): (PicoRho, u64),
        takes_delta: bool,
    ) -> bool {
        let (local, delta) = self.local_up_to(brand, year, place);
        let own = total([joint, local].into_iter());
        let before = self.left_of_year(contract, brand, year, (PicoRho::ZERO, PicoDelta::ZERO));
        own <= before.together && (!takes_delta || delta <= before.delta)
    }

    /// What stands on a brand's joint account up to a place in its log, one by one: for the audit.
    fn joint_until(
        &self,
        brand: ParticipantId,
        year: CalendarYear,
        place: u64,
    ) -> impl Iterator<Item = PicoRho> {
        self.of_proposer(brand).filter_map(move |facts| {
            let placed = facts.reserve.as_ref()?;
            let returned = facts.returned.as_ref().filter(|_| facts.is_returned());
            let returned_before = returned.is_some_and(|returned| returned.index < place);
            let counts = placed.entry.year == year
                && placed.index <= place
                && (placed.index == place || !returned_before);
            counts.then_some(placed.entry.rho)
        })
    }

    /// Whether a *certified* reservation was within its brand's quota where it stands in the
    /// proposer's log: later charges do not count, returns count if they stand before it. Goes by the entries alone,
    /// by no sum that was kept.
    pub fn was_within_quota(&self, contract: &Contract, id: &AttemptId) -> bool {
        let Some(this) = self.attempts.get(id).and_then(|facts| facts.reserve.as_ref()) else {
            return false;
        };
        contract.participants().contains(&id.proposer)
            && total(self.joint_until(id.proposer, this.entry.year, this.index))
                <= contract.joint_quota()
    }

    fn of_proposer(&self, brand: ParticipantId) -> impl Iterator<Item = &Facts> {
        let first = AttemptId { proposer: brand, query: QueryId([0; 16]), attempt: Attempt(0) };
        let from = self.attempts.range(first..);
        from.take_while(move |(id, _)| id.proposer == brand).map(|(_, facts)| facts)
    }
}

/// A sum that does not fit counts as everything spent.
pub(crate) fn total(costs: impl Iterator<Item = PicoRho>) -> PicoRho {
    let mut costs = costs;
    costs.try_fold(PicoRho::ZERO, PicoRho::checked_add).unwrap_or(PicoRho::new(u64::MAX))
}

pub(crate) fn remaining(quota: PicoRho, spent: PicoRho) -> PicoRho {
    quota.checked_sub(spent).unwrap_or(PicoRho::ZERO)
}

#[cfg(test)]
mod tests;
