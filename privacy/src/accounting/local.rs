//! The local account of a brand: questions about its own members, and failures after reading.

use super::{Ledger, OverBudget, remaining, total};
use crate::contract::Contract;
use crate::ids::{AnalystId, ParticipantId};
use crate::steps::{AttemptId, LocalCharge};
use crate::units::{CalendarYear, PicoDelta, PicoRho};

impl Ledger {
    /// What a brand has booked on its local account in a year.
    pub fn local_spent(&self, brand: ParticipantId, year: CalendarYear) -> PicoRho {
        self.sums.local(brand, year)
    }

    /// What a brand has left for local questions in a year.
    pub fn local_left(
        &self,
        contract: &Contract,
        brand: ParticipantId,
        year: CalendarYear,
    ) -> PicoRho {
        let own = remaining(self.quotas(contract, year).1, self.local_spent(brand, year));
        own.min(self.together_left(contract, brand, year))
    }

    /// The failure probabilities a brand's local questions have taken in a year.
    pub fn delta_spent(&self, brand: ParticipantId, year: CalendarYear) -> PicoDelta {
        self.sums.delta(brand, year)
    }

    /// What one analyst has spent on local questions.
    pub fn local_analyst_spent(
        &self,
        brand: ParticipantId,
        analyst: AnalystId,
        year: CalendarYear,
    ) -> PicoRho {
        self.sums.of_analyst(brand, analyst, year).1
    }

    /// What a brand has booked in a year for readings that failed of another's questions.
    pub fn failed_for(
        &self,
        brand: ParticipantId,
        proposer: ParticipantId,
        year: CalendarYear,
    ) -> PicoRho {
        self.sums.failed_for(brand, proposer, year)
    }

    /// Whether a new local charge fits: the brand's quotas and the analyst's share. Decided from
    /// certified charges and the brand's own `pending` ones, before anything is read.
    pub fn admit_local(
        &self,
        contract: &Contract,
        charge: &LocalCharge,
        analyst_quota: PicoRho,
        pending: &[LocalCharge],
    ) -> Result<(), OverBudget> {
        let (brand, analyst) = (charge.id.proposer, charge.analyst);
        let (year, asked) = (charge.year, charge.rho);
        let waiting = pending.iter().filter(|other| other.year == year);
        let spent =
            total(waiting.clone().map(|other| other.rho).chain([self.local_spent(brand, year)]));
        let left = remaining(self.quotas(contract, year).1, spent);
        if asked > left {
            return Err(OverBudget::Local { brand, year, left, asked });
        }
        let spent = delta_total(
            waiting.clone().map(|other| other.delta).chain([self.delta_spent(brand, year)]),
        );
        let left = contract.delta_quota().checked_sub(spent).unwrap_or(PicoDelta::ZERO);
        let pending_rho = total(waiting.clone().map(|other| other.rho));
        let own = [self.joint_spent(brand, year), self.local_spent(brand, year), pending_rho];
        let of_year = self.left_of_year(contract, brand, year, (total(own.into_iter()), spent));
        if asked > of_year.together {
            let (promise, left) = (self.promise(contract, year), of_year.together);
            return Err(OverBudget::Year { brand, year, promise, left, asked });
        }
        let left = left.min(of_year.delta);
        if charge.delta > left {
            let asked = charge.delta;
            return Err(OverBudget::Delta { brand, year, left, asked });
        }
        let waiting = waiting.filter(|other| other.analyst == analyst).map(|other| other.rho);
        let spent = total(waiting.chain([self.local_analyst_spent(brand, analyst, year)]));
        let left = remaining(analyst_quota, spent);
        if asked > left {
            return Err(OverBudget::Analyst { analyst, year, left, asked });
        }
        Ok(())
    }

    /// Whether a *certified* local charge was within its brand's quotas where it stands in its log:
    /// what was booked after it does not count. Goes by the entries alone, by no sum that was kept.
    pub fn was_within_local_quota(&self, contract: &Contract, id: &AttemptId) -> bool {
        let Some(this) = self.facts(id).and_then(|facts| facts.local.as_ref()) else {
            return false;
        };
        let (rho, delta) = self.local_until(id.proposer, this.entry.year, this.index);
        contract.participants().contains(&id.proposer)
            && rho <= contract.local_quota()
            && delta <= contract.delta_quota()
    }

    /// Whether a *certified* local charge is within its brand's quotas and the year's promise, for the brand itself
    /// before it reads.
    pub fn is_covered_locally(&self, contract: &Contract, id: &AttemptId) -> bool {
        let Some(this) = self.facts(id).and_then(|facts| facts.local.as_ref()) else {
            return false;
        };
        let (brand, year) = (id.proposer, this.entry.year);
        let joint = self.joint_up_to(brand, year, this.index);
        let (local, delta) = self.local_up_to(brand, year, this.index);
        contract.participants().contains(&brand)
            && local <= contract.local_quota()
            && delta <= contract.delta_quota()
            && local <= self.quotas(contract, year).1
            && self.is_of_the_year(
                contract,
                brand,
                year,
                (joint, this.index),
                this.entry.delta > PicoDelta::ZERO,
            )
    }

    /// What stands on a brand's local account up to a place in its log, one by one: for the audit.
    pub(super) fn local_until(
        &self,
        brand: ParticipantId,
        year: CalendarYear,
        place: u64,
    ) -> (PicoRho, PicoDelta) {
        let bookings = self.local_bookings(brand, year).filter(|(index, _)| *index <= place);
        let charges = self.local_charges(brand, year).filter(|(index, _)| *index <= place);
        (total(bookings.map(|(_, rho)| rho)), delta_total(charges.map(|(_, charge)| charge.delta)))
    }

    /// Everything on a brand's local account, with its place in the brand's log.
    fn local_bookings(
        &self,
        brand: ParticipantId,
        year: CalendarYear,
    ) -> impl Iterator<Item = (u64, PicoRho)> {
        let failed = self.attempts().filter_map(move |(_, facts)| facts.failed.get(&brand));
        let failed = failed.filter(move |placed| placed.entry.year == year);
        let failed = failed.map(|placed| (placed.index, placed.entry.rho));
        failed.chain(self.local_charges(brand, year).map(|(index, charge)| (index, charge.rho)))
    }

    fn local_charges(
        &self,
        brand: ParticipantId,
        year: CalendarYear,
    ) -> impl Iterator<Item = (u64, &LocalCharge)> {
        self.of_proposer(brand)
            .filter_map(|facts| facts.local.as_ref())
            .filter(move |placed| placed.entry.year == year)
            .map(|placed| (placed.index, &placed.entry))
    }
}

/// A sum that does not fit counts as certainty.
fn delta_total(mut deltas: impl Iterator<Item = PicoDelta>) -> PicoDelta {
    deltas.try_fold(PicoDelta::ZERO, PicoDelta::checked_add).unwrap_or(PicoDelta::new(u64::MAX))
}
