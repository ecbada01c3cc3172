//! A year's promise: what all brands together are charged at most, whatever contracts follow each other.
//!
//! Members are promised the rho of a profile for a calendar year. A brand's quota is its share under the
//! contract in force, and shares of one contract add up to its promise; those of two contracts do not: three
//! brands spend all of their thirds, and a fourth joins in July with a fresh quarter. So what a brand may still
//! be charged is also bounded by
//!
//! `R - own - sum over the others of max(quota, charged)`,
//!
//! with R the least promise of any contract that was in force in the year, `own` and `charged` what was
//! charged under any of them, and `quota` what the other may be charged under the present one. Whoever
//! charges within it leaves the sum of all at R at most, and keeps free what the others may still be charged, so
//! that charges at the same moment, each in its own log, do so too: another's term does not grow by charges
//! within its quota. Within one contract the bound is never less than what is left of the quota. Where
//! others were charged more under an earlier contract than their present quota, *each* brand has the whole
//! of that excess less, though one would do: there is no order among the logs by which to share it out. A
//! larger promise waits for the new year, and quotas are shares of the smaller till then; a smaller one holds at
//! once.
//!
//! What another brand was charged beyond the largest quota of the year counts up to that quota: nobody answers such a
//! charge, and who writes it must not be able to close the others' accounts. A charge of another log that is not
//! known yet when the contract changes is missed here, and found by the [audit](super::audit).

use std::collections::{BTreeMap, BTreeSet};

use super::{Ledger, Placed, remaining, total};
use crate::contract::Contract;
use crate::ids::{ContractHash, ParticipantId};
use crate::units::{CalendarYear, PicoDelta, PicoRho, UtcMillis};

/// A contract, and the calendar years in which it was in force.
#[derive(Clone, Copy, Debug)]
pub struct InForce<'a> {
    /// The contract.
    pub contract: &'a Contract,
    /// The year in which it came into force.
    pub from: CalendarYear,
    /// The last year in which it was.
    pub until: CalendarYear,
}

impl<'a> InForce<'a> {
    /// The only contract there ever was.
    pub const fn always(contract: &'a Contract) -> Self {
        Self { contract, from: CalendarYear(0), until: CalendarYear(u16::MAX) }
    }

    /// Whether it was in force in a year.
    pub fn covers(&self, year: CalendarYear) -> bool {
        self.from <= year && year <= self.until
    }
}

/// What is kept of a contract of before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Former {
    from: CalendarYear,
    until: CalendarYear,
    terms: Terms,
}

/// What a year's contracts promise together, and grant one brand at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// The least rho of all brands together.
    pub(super) rho: PicoRho,
    /// The least delta of all brands together.
    pub(super) delta: PicoDelta,
    joint: PicoRho,
    local: PicoRho,
    delta_quota: PicoDelta,
}

impl Terms {
    fn of(contract: &Contract) -> Self {
        Self {
            rho: contract.profile().rho_per_year(),
            delta: contract.profile().delta_per_year(),
            joint: contract.joint_quota(),
            local: contract.local_quota(),
            delta_quota: contract.delta_quota(),
        }
    }

    /// Promises hold on; quotas may have been used while they were larger.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            rho: self.rho.min(other.rho),
            delta: self.delta.min(other.delta),
            joint: self.joint.max(other.joint),
            local: self.local.max(other.local),
            delta_quota: self.delta_quota.max(other.delta_quota),
        }
    }

    /// Of all contracts that were in force in a year until this one was, or of all where it was not; none where none
    /// was. The same contract may be in the list more often, of constitutions that changed something else.
    pub(super) fn until(
        contracts: &[InForce<'_>],
        year: CalendarYear,
        last: Option<ContractHash>,
    ) -> Option<Self> {
        let is_last = |it: &InForce<'_>| it.covers(year) && Some(it.contract.hash()) == last;
        let here = contracts.iter().position(is_last);
        let until = here.and_then(|here| contracts.get(..=here)).unwrap_or(contracts);
        let of = until.iter().filter(|it| it.covers(year)).map(|it| Self::of(it.contract));
        of.reduce(Self::and)
    }
}

/// What a brand was charged in a year.
#[derive(Clone, Copy, Debug, Default)]
struct Charged {
    joint: PicoRho,
    local: PicoRho,
    delta: PicoDelta,
}

/// What a brand may still be charged in a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// On both accounts together, by the year's promise.
    pub(super) together: PicoRho,
    /// Failure probability, by quota and promise.
    pub(super) delta: PicoDelta,
}

/// Something on an account: a charge that was not returned, or the cost of a failure after reading.
#[derive(Clone, Copy, Debug)]
pub struct Booking {
    /// Whose account.
    pub brand: ParticipantId,
    /// Of which year.
    pub year: CalendarYear,
    /// Whether it is the joint account.
    pub joint: bool,
    /// Time of its block.
    pub time: UtcMillis,
    /// Its place in the brand's log.
    pub index: u64,
    /// What is debited.
    pub rho: PicoRho,
    /// What is debited of failure probability.
    pub delta: PicoDelta,
    /// The contract it was made under; none of a failure whose reservation is not known.
    pub contract: Option<ContractHash>,
}

impl Ledger {
    /// Everything on any account, one by one: for the audit.
    pub fn bookings(&self) -> impl Iterator<Item = Booking> {
        self.attempts().flat_map(|(id, facts)| {
            let none = PicoDelta::ZERO;
            let contract = facts.reserve().map(|reserve| reserve.contract);
            let reserve = facts.reserve.as_ref().filter(|_| !facts.is_returned());
            let joint = reserve.map(|Placed { index, time, entry }| Booking {
                brand: id.proposer,
                year: entry.year,
                joint: true,
                time: *time,
                index: *index,
                rho: entry.rho,
                delta: none,
                contract,
            });
            let local = facts.local.as_ref().map(|Placed { index, time, entry }| Booking {
                brand: id.proposer,
                year: entry.year,
                joint: false,
                time: *time,
                index: *index,
                rho: entry.rho,
                delta: entry.delta,
                contract: Some(entry.contract),
            });
            let failed = facts.failed.iter();
            let failed = failed.map(move |(writer, Placed { index, time, entry })| Booking {
                brand: *writer,
                year: entry.year,
                joint: false,
                time: *time,
                index: *index,
                rho: entry.rho,
                delta: none,
                contract,
            });
            joint.into_iter().chain(local).chain(failed)
        })
    }

    /// Takes note of a contract of before: its promise holds to the end of the last year in which it was in
    /// force.
    pub fn was_under(&mut self, former: InForce<'_>) {
        let InForce { contract, from, until } = former;
        self.former.push(Former { from, until, terms: Terms::of(contract) });
    }

    fn terms(&self, contract: &Contract, year: CalendarYear) -> Terms {
        let former = self.former.iter().filter(|it| it.from <= year && year <= it.until);
        former.fold(Terms::of(contract), |all, one| all.and(one.terms))
    }

    /// A brand's quotas of a year, joint and local: its share of what was promised for it.
    pub fn quotas(&self, contract: &Contract, year: CalendarYear) -> (PicoRho, PicoRho) {
        contract.quotas_of(self.promise(contract, year))
    }

    /// What all brands together may be charged in a year, the present one by the contract in force.
    pub fn promise(&self, contract: &Contract, year: CalendarYear) -> PicoRho {
        self.terms(contract, year).rho
    }

    /// What the year's promise leaves a brand that was charged so much on both its accounts together.
    pub(super) fn left_of_year(
        &self,
        contract: &Contract,
        brand: ParticipantId,
        year: CalendarYear,
        (own, own_delta): (PicoRho, PicoDelta),
    ) -> Left {
        let terms = self.terms(contract, year);
        let (mut rho, mut delta) = (own, own_delta);
        for (rho_held, delta_held) in self.held_by_others(contract, terms, brand, year) {
            rho = total([rho, rho_held].into_iter());
            delta = delta.checked_add(delta_held).unwrap_or(PicoDelta::new(u64::MAX));
        }
        Left {
            together: remaining(terms.rho, rho),
            delta: terms.delta.checked_sub(delta).unwrap_or(PicoDelta::ZERO),
        }
    }

    /// What each other brand was charged, or may still be.
    fn held_by_others(
        &self,
        contract: &Contract,
        terms: Terms,
        brand: ParticipantId,
        year: CalendarYear,
    ) -> impl Iterator<Item = (PicoRho, PicoDelta)> {
        let charged = self.charged(year);
        let (joint_quota, local_quota) = contract.quotas_of(terms.rho);
        let named = contract.participants().iter().chain(charged.keys());
        let others: BTreeSet<ParticipantId> = named.copied().filter(|of| *of != brand).collect();
        others.into_iter().map(move |of| {
            let has = charged.get(&of).copied().unwrap_or_default();
            let may = if contract.participants().contains(&of) {
                (joint_quota, local_quota, contract.delta_quota())
            } else {
                Default::default()
            };
            let joint = has.joint.min(terms.joint).max(may.0);
            let local = has.local.min(terms.local).max(may.1);
            let delta = has.delta.min(terms.delta_quota).max(may.2);
            (total([joint, local].into_iter()), delta)
        })
    }

    /// What every brand was charged in a year, under whatever contract.
    fn charged(&self, year: CalendarYear) -> BTreeMap<ParticipantId, Charged> {
        let accounts = self.sums.of_year(year);
        accounts.map(|(of, joint, local, delta)| (of, Charged { joint, local, delta })).collect()
    }
}

#[cfg(test)]
mod tests;
