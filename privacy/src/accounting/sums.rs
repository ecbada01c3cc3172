//! What stands on the accounts now, kept as running sums: an entry moves them by what it changes of its
//! attempt, so that asking for an account does not cost the more the more was charged.
//!
//! They are no other truth beside the entries: they can be made anew from them at any time, and are, whenever a
//! ledger is. An [audit](super::audit) goes by none of them. It adds up the entries one by one
//! ([`Ledger::bookings`], [`Ledger::was_within_quota`]).
//!
//! Sums are of 128 bits: no number of entries makes one overflow, so that what was added can be taken off
//! again. Shown, a sum beyond 64 bits is everything, as where entries are added up one by one.

use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet};

use super::{Facts, Ledger, Placed};
use crate::ids::{AnalystId, ParticipantId, SnapshotId};
use crate::steps::AttemptId;
use crate::units::{CalendarYear, PicoDelta, PicoRho, UtcMillis};

/// Of all accounts.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    years: BTreeMap<CalendarYear, BTreeMap<ParticipantId, Account>>,
    /// Reservations by the last instant at which anything may happen to them, of each proposer.
    ends: BTreeMap<ParticipantId, BTreeSet<(UtcMillis, AttemptId)>>,
    /// Attempts in which somebody is accused.
    disputed: BTreeSet<AttemptId>,
    /// The snapshot of each participant in the complete set that expires last.
    snapshots: BTreeMap<ParticipantId, (UtcMillis, AttemptId, SnapshotId)>,
}

/// Both accounts of a brand in a year, and its account of failure probabilities.
#[derive(Clone, Debug, Default)]
struct Account {
    joint: u128,
    local: u128,
    delta: u128,
    /// Everyone who was ever charged or reserved for.
    analysts: BTreeMap<AnalystId, Shares>,
    /// Failures after reading, by whose question it was.
    failed: BTreeMap<ParticipantId, u128>,
    /// Reservations by their place in the brand's log.
    reserved: BTreeMap<u64, Vec<AttemptId>>,
    /// The same by the place of their return, whether or not it is sound.
    returned: BTreeMap<u64, Vec<AttemptId>>,
    /// What is on the local account by its place.
    booked: BTreeMap<u64, Vec<(PicoRho, PicoDelta)>>,
}

/// An analyst's.
#[derive(Clone, Copy, Debug, Default)]
struct Shares {
    joint: u128,
    local: u128,
}

/// What of an attempt is in the sums.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    reserved: bool,
    stands: bool,
    returned: bool,
    local: bool,
    failed: bool,
}

impl Seen {
    /// Of an attempt, and of a failure after reading at one brand.
    pub(super) fn of(facts: &Facts, writer: ParticipantId) -> Self {
        let reserved = facts.reserve.is_some();
        Self {
            reserved,
            stands: reserved && !facts.is_returned(),
            returned: reserved && facts.returned.is_some(),
            local: facts.local.is_some(),
            failed: facts.failed.contains_key(&writer),
        }
    }
}

impl Sums {
    pub(super) const fn new() -> Self {
        Self {
            years: BTreeMap::new(),
            ends: BTreeMap::new(),
            disputed: BTreeSet::new(),
            snapshots: BTreeMap::new(),
        }
    }

    /// An entry of this writer's has been taken into an attempt's facts.
    pub(super) fn follow(
        &mut self,
        id: AttemptId,
        facts: &Facts,
        writer: ParticipantId,
        before: Seen,
    ) {
        let now = Seen::of(facts, writer);
        if let Some(Placed { index, entry, .. }) = &facts.reserve {
            let account = account(&mut self.years, id.proposer, entry.year);
            let share = account.analysts.entry(entry.analyst).or_default();
            for sum in [&mut account.joint, &mut share.joint] {
                move_by(sum, entry.rho, before.stands, now.stands);
            }
            if !before.reserved {
                account.reserved.entry(*index).or_default().push(id);
                let end = entry.open_by.max(entry.expires_at);
                self.ends.entry(id.proposer).or_default().insert((end, id));
            }
            if let Some(returned) = facts.returned.as_ref().filter(|_| !before.returned) {
                account.returned.entry(returned.index).or_default().push(id);
            }
        }
        if let Some(Placed { index, entry, .. }) = &facts.local
            && !before.local
        {
            let account = account(&mut self.years, id.proposer, entry.year);
            let share = account.analysts.entry(entry.analyst).or_default();
            for sum in [&mut account.local, &mut share.local] {
                move_by(sum, entry.rho, false, true);
            }
            account.delta = account.delta.saturating_add(u128::from(entry.delta.get()));
            account.booked.entry(*index).or_default().push((entry.rho, entry.delta));
        }
        if let Some(Placed { index, entry, .. }) = facts.failed.get(&writer)
            && !before.failed
        {
            let account = account(&mut self.years, writer, entry.year);
            let failed = account.failed.entry(id.proposer).or_default();
            for sum in [&mut account.local, failed] {
                move_by(sum, entry.rho, false, true);
            }
            account.booked.entry(*index).or_default().push((entry.rho, PicoDelta::ZERO));
        }
        if !facts.accusations.is_empty() {
            self.disputed.insert(id);
        }
    }

    /// A reservation, its own or a participant's, has been taken: a set may be complete by it.
    pub(super) fn follow_set(&mut self, id: AttemptId, facts: &Facts) {
        let (Some(reserve), Some(set)) = (facts.reserve(), facts.set()) else { return };
        for (brand, member) in set.members() {
            let this = (reserve.expires_at, id, member.snapshot);
            let last = self.snapshots.entry(*brand).or_insert(this);
            if (this.0, this.1) > (last.0, last.1) {
                *last = this;
            }
        }
    }

    fn account(&self, brand: ParticipantId, year: CalendarYear) -> Option<&Account> {
        self.years.get(&year)?.get(&brand)
    }

    /// What is on a brand's joint account.
    pub(super) fn joint(&self, brand: ParticipantId, year: CalendarYear) -> PicoRho {
        self.account(brand, year).map_or(PicoRho::ZERO, |account| rho(account.joint))
    }

    /// What is on its local account.
    pub(super) fn local(&self, brand: ParticipantId, year: CalendarYear) -> PicoRho {
        self.account(brand, year).map_or(PicoRho::ZERO, |account| rho(account.local))
    }

    /// What is on its account of failure probabilities.
    pub(super) fn delta(&self, brand: ParticipantId, year: CalendarYear) -> PicoDelta {
        self.account(brand, year).map_or(PicoDelta::ZERO, |account| delta(account.delta))
    }

    /// An analyst's shares of its joint and of its local account.
    pub(super) fn of_analyst(
        &self,
        brand: ParticipantId,
        analyst: AnalystId,
        year: CalendarYear,
    ) -> (PicoRho, PicoRho) {
        let account = self.account(brand, year);
        let shares = account.and_then(|account| account.analysts.get(&analyst));
        shares.map_or_else(Default::default, |it| (rho(it.joint), rho(it.local)))
    }

    /// What it has booked for readings that failed of a proposer's questions.
    pub(super) fn failed_for(
        &self,
        brand: ParticipantId,
        proposer: ParticipantId,
        year: CalendarYear,
    ) -> PicoRho {
        let account = self.account(brand, year);
        let failed = account.and_then(|account| account.failed.get(&proposer));
        failed.map_or(PicoRho::ZERO, |sum| rho(*sum))
    }

    /// The accounts of all brands that have any, in a year: joint, local, and of failure probabilities.
    pub(super) fn of_year(
        &self,
        year: CalendarYear,
    ) -> impl Iterator<Item = (ParticipantId, PicoRho, PicoRho, PicoDelta)> {
        let accounts = self.years.get(&year).into_iter().flatten();
        accounts.map(|(brand, it)| (*brand, rho(it.joint), rho(it.local), delta(it.delta)))
    }

    /// Attempts in which somebody is accused, in order.
    pub(super) fn disputed(&self) -> impl Iterator<Item = &AttemptId> {
        self.disputed.iter()
    }
}

impl Ledger {
    /// Years in which anything was reserved, charged or booked.
    pub fn years(&self) -> impl Iterator<Item = CalendarYear> {
        self.sums.years.keys().copied()
    }

    /// Brands with anything on an account of a year, in order, whether or not they are of the alliance still.
    pub fn brands(&self, year: CalendarYear) -> impl Iterator<Item = ParticipantId> {
        let brands = self.sums.years.get(&year).into_iter();
        brands.flat_map(|accounts| accounts.keys().copied())
    }

    /// Everyone whom a brand has charged or reserved for in a year, in order; those after one.
    pub fn analysts(
        &self,
        brand: ParticipantId,
        year: CalendarYear,
        after: Option<AnalystId>,
    ) -> impl Iterator<Item = AnalystId> {
        let from: (Bound<AnalystId>, Bound<AnalystId>) =
            (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let account = self.sums.account(brand, year).into_iter();
        account.flat_map(move |account| account.analysts.range(from).map(|(name, _)| *name))
    }

    /// Reservations of a proposer to which anything may still happen at `now`, or that have ended before their
    /// time.
    pub fn not_over(
        &self,
        proposer: ParticipantId,
        now: UtcMillis,
    ) -> impl Iterator<Item = (&AttemptId, &Facts)> {
        let ends = self.sums.ends.get(&proposer);
        // the latest first: none after one that is over
        let ends = ends.into_iter().flat_map(|ends| ends.iter().rev());
        let ends = ends.take_while(move |(end, _)| *end >= now);
        ends.filter_map(move |(_, id)| Some((id, self.attempts.get(id)?)))
    }

    /// The snapshot that each participant was bound to in the complete set that expires last.
    pub fn snapshots(&self) -> impl Iterator<Item = (ParticipantId, SnapshotId)> {
        self.sums.snapshots.iter().map(|(brand, (_, _, snapshot))| (*brand, *snapshot))
    }

    /// What stands on a brand's joint account up to a place in its log, by what stands now: without what was
    /// reserved after it, and with what went back there or after it.
    pub(super) fn joint_up_to(
        &self,
        brand: ParticipantId,
        year: CalendarYear,
        place: u64,
    ) -> PicoRho {
        let Some(account) = self.sums.account(brand, year) else { return PicoRho::ZERO };
        let mut sum = account.joint;
        let facts = |id: &AttemptId| self.attempts.get(id);
        let after = (Bound::Excluded(place), Bound::Unbounded);
        let later = account.reserved.range(after).flat_map(|(_, ids)| ids);
        for facts in later.filter_map(facts).filter(|facts| !facts.is_returned()) {
            sum = sum.saturating_sub(cost(facts));
        }
        let returned = account.returned.range(place..).flat_map(|(_, ids)| ids);
        for facts in returned.filter_map(facts).filter(|facts| facts.is_returned()) {
            if facts.reserve.as_ref().is_some_and(|placed| placed.index <= place) {
                sum = sum.saturating_add(cost(facts));
            }
        }
        // a return that stands before its own reservation takes nothing off there
        for facts in account.reserved.get(&place).into_iter().flatten().filter_map(facts) {
            let before = facts.returned.as_ref().is_some_and(|returned| returned.index < place);
            if facts.is_returned() && before {
                sum = sum.saturating_add(cost(facts));
            }
        }
        rho(sum)
    }

    /// What stands on a brand's local account, and on that of failure probabilities, up to a place in its log.
    pub(super) fn local_up_to(
        &self,
        brand: ParticipantId,
        year: CalendarYear,
        place: u64,
    ) -> (PicoRho, PicoDelta) {
        let Some(account) = self.sums.account(brand, year) else { return Default::default() };
        let (mut local, mut deltas) = (account.local, account.delta);
        let after = (Bound::Excluded(place), Bound::Unbounded);
        for (rho, delta) in account.booked.range(after).flat_map(|(_, booked)| booked) {
            local = local.saturating_sub(u128::from(rho.get()));
            deltas = deltas.saturating_sub(u128::from(delta.get()));
        }
        (rho(local), delta(deltas))
    }
}

fn account(
    years: &mut BTreeMap<CalendarYear, BTreeMap<ParticipantId, Account>>,
    brand: ParticipantId,
    year: CalendarYear,
) -> &mut Account {
    years.entry(year).or_default().entry(brand).or_default()
}

/// Adds a cost that has come to stand, takes off one that does no more.
fn move_by(sum: &mut u128, cost: PicoRho, before: bool, now: bool) {
    let cost = u128::from(cost.get());
    match (before, now) {
        (false, true) => *sum = sum.saturating_add(cost),
        (true, false) => *sum = sum.saturating_sub(cost),
        _ => {}
    }
}

fn cost(facts: &Facts) -> u128 {
    facts.reserve().map_or(0, |reserve| u128::from(reserve.rho.get()))
}

fn rho(sum: u128) -> PicoRho {
    PicoRho::new(u64::try_from(sum).unwrap_or(u64::MAX))
}

fn delta(sum: u128) -> PicoDelta {
    PicoDelta::new(u64::try_from(sum).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
