//! Standing questions: one charge, and an answer to each period once it is over.
//!
//! The steps are those of a local question, with reading and release once for each period. What keeps the
//! charge true over all of them:
//!
//! - A period is read only after its last day and [`CLOSE_AFTER_DAYS`] more, for receipts that come late;
//!   one at a time, since each is clipped to what the others have left
//!   ([`Spent`](crate::bounded::Spent)).
//! - A reading that fails is final for its period.
//! - A disk that was put back to before a release finds it in the log, and the question ends: what that
//!   period used of its members' bounds is lost.
//! - Only periods that are read in the calendar year which paid are answered, since that is the year which shows them: those
//!   whose day of reading lies in it. What ends in a year's last days waits for a question of the next. A node that was off over the end
//!   of the year does not read then what it missed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Asked, LocalEffect, LocalRecord, LocalRoom, LocalStepError, certified};
use crate::accounting::{Facts, Ledger};
use crate::bounded::{BoundedVector, Periods};
use crate::civil::CivilDate;
use crate::mechanism::NoiseShare;
use crate::release::{Closing, PeriodRelease};
use crate::steps::{AttemptId, CleanRoomEntry, PeriodReleased};

/// Days after the last of a period until it is read: receipts come late.
pub const CLOSE_AFTER_DAYS: u16 = 7;
/// Most standing questions of a brand that have periods left.
pub const STANDING_MAX: usize = 64;

/// The periods of a question.
pub(super) struct Standing {
    periods: Periods,
    /// Noised values.
    pub(super) answered: BTreeMap<u32, Vec<u8>>,
    pub(super) failed: BTreeSet<u32>,
    /// In this process.
    reading: Option<u32>,
    logged: BTreeSet<u32>,
    shown: BTreeSet<u32>,
}

/// How far a standing question is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandingProgress {
    /// Periods that will be answered, those that are read in the year that paid; once that is over, those that were
    /// read or failed.
    pub periods: u32,
    /// Periods that are answered.
    pub released: u32,
    /// Periods that could not be read.
    pub failed: u32,
    /// The day from which the next period is read.
    pub next_due: Option<CivilDate>,
    /// Whether the disk was put back to before a release: no more are answered.
    pub lost: bool,
}

impl Standing {
    pub(super) const fn new(periods: Periods) -> Self {
        Self {
            periods,
            answered: BTreeMap::new(),
            failed: BTreeSet::new(),
            reading: None,
            logged: BTreeSet::new(),
            shown: BTreeSet::new(),
        }
    }

    /// Whether nothing was read for it.
    pub(super) fn is_fresh(&self) -> bool {
        self.reading.is_none() && self.answered.is_empty() && self.failed.is_empty()
    }

    fn is_lost(&self, facts: &Facts) -> bool {
        (0..self.periods.len()).any(|period| {
            facts.period_release(period).is_some() && !self.answered.contains_key(&period)
        })
    }

    /// The periods that are read in the year which paid, or before it had they been asked for, and from when on.
    fn paid(&self, year: u16) -> impl Iterator<Item = (u32, CivilDate)> {
        let all =
            (0..self.periods.len()).filter_map(|it| Some((it, due(self.periods.last_day(it)?)?)));
        all.filter(move |(_, due)| due.year() <= year)
    }

    /// The next that is not done, while the year lasts.
    fn next(&self, year: u16, today: Option<CivilDate>) -> Option<(u32, CivilDate)> {
        if is_over(year, today) {
            return None;
        }
        self.paid(year).find(|(period, _)| !self.is_done(*period))
    }

    fn is_done(&self, period: u32) -> bool {
        self.answered.contains_key(&period) || self.failed.contains(&period)
    }

    pub(super) fn progress(
        &self,
        year: u16,
        facts: Option<&Facts>,
        today: Option<CivilDate>,
    ) -> StandingProgress {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let released = |period: &u32| facts.is_some_and(|it| it.period_release(*period).is_some());
        StandingProgress {
            periods: match is_over(year, today) {
                true => count(self.answered.len().saturating_add(self.failed.len())),
                false => count(self.paid(year).count()),
            },
            released: count(self.answered.keys().filter(|period| released(period)).count()),
            failed: count(self.failed.len()),
            next_due: self.next(year, today).map(|(_, due)| due),
            lost: facts.is_some_and(|facts| self.is_lost(facts)),
        }
    }
}

impl LocalRoom {
    /// Lets a day come; before the first nothing standing is read.
    pub fn day(&mut self, today: CivilDate, ledger: &Ledger) -> Vec<LocalEffect> {
        if self.today.replace(today) == Some(today) {
            return Vec::new();
        }
        let standing = self.asked.iter().filter(|(_, asked)| asked.standing.is_some());
        let ids: Vec<AttemptId> = standing.map(|(id, _)| *id).collect();
        ids.into_iter().flat_map(|id| self.advance(id, ledger)).collect()
    }

    /// The day it is, once one has come.
    pub const fn today(&self) -> Option<CivilDate> {
        self.today
    }

    /// How far a standing question is; none for another.
    pub fn standing(&self, id: &AttemptId, ledger: &Ledger) -> Option<StandingProgress> {
        let asked = self.asked.get(id)?;
        let year = asked.charge.year.0;
        let standing = asked.standing.as_ref();
        standing.map(|standing| standing.progress(year, ledger.facts(id), self.today))
    }

    /// What was read of a period. Uses noise and figures up.
    pub fn period_answered(
        &mut self,
        id: AttemptId,
        period: u32,
        noise: NoiseShare,
        vector: BoundedVector,
        ledger: &Ledger,
    ) -> Result<Vec<LocalEffect>, LocalStepError> {
        let waits = LocalStepError::NotWaiting;
        let today = self.today.ok_or(waits)?;
        let asked = self.asked.get_mut(&id).ok_or(waits)?;
        let (Some(plan), Some(standing)) = (&asked.plan, &mut asked.standing) else {
            return Err(waits);
        };
        let facts = ledger.facts(&id).ok_or(waits)?;
        if standing.reading != Some(period) || standing.is_done(period) || standing.is_lost(facts) {
            return Err(waits);
        }
        let closing = Closing { facts, plan, periods: &standing.periods, period, today };
        let noised = PeriodRelease::new(closing, vector, noise)?.noised();
        standing.reading = None;
        standing.answered.insert(period, noised.clone());
        let mut effects =
            vec![LocalEffect::Persist(LocalRecord::PeriodAnswered(id, period, noised))];
        effects.extend(self.advance(id, ledger));
        Ok(effects)
    }

    /// A period could not be read, and will not be.
    pub fn period_failed(
        &mut self,
        id: AttemptId,
        period: u32,
        ledger: &Ledger,
    ) -> Vec<LocalEffect> {
        let standing = self.asked.get_mut(&id).and_then(|asked| asked.standing.as_mut());
        let Some(standing) = standing.filter(|standing| standing.reading == Some(period)) else {
            return Vec::new();
        };
        standing.reading = None;
        standing.failed.insert(period);
        let mut effects = vec![LocalEffect::Persist(LocalRecord::PeriodFailed(id, period))];
        effects.extend(self.advance(id, ledger));
        effects
    }
}

/// Whether a year has passed.
pub(super) fn is_over(year: u16, today: Option<CivilDate>) -> bool {
    today.is_some_and(|today| today.year() > year)
}

/// The day from which a period that ends on `last` is read.
fn due(last: CivilDate) -> Option<CivilDate> {
    last.plus_days(CLOSE_AFTER_DAYS.saturating_add(1))
}

/// What is due of a standing question whose charge is certified.
pub(super) fn advance(
    id: AttemptId,
    asked: &mut Asked,
    ledger: &Ledger,
    today: Option<CivilDate>,
) -> Vec<LocalEffect> {
    let (Some(facts), Some(plan), Some(standing)) =
        (ledger.facts(&id), &asked.plan, &mut asked.standing)
    else {
        return Vec::new();
    };
    let mut effects = Vec::new();
    for (period, noised) in &standing.answered {
        let period = *period;
        let charge = facts.local_charge();
        let release = charge.and_then(|charge| {
            PeriodRelease::unlogged(&charge, plan, &standing.periods, period, noised).ok()
        });
        match (release, facts.period_release(period)) {
            (Some(release), None) if standing.logged.insert(period) => {
                let entry = PeriodReleased { id, period, release: release.hash() };
                effects.push(LocalEffect::Append(CleanRoomEntry::PeriodRelease(entry)));
            }
            (Some(release), Some(certified))
                if release.hash() == certified && standing.shown.insert(period) =>
            {
                effects.push(LocalEffect::PeriodReleased(Box::new(release)));
            }
            _ => {}
        }
    }
    let is_free = standing.reading.is_none() && certified(ledger, &id) && !standing.is_lost(facts);
    let next = today.filter(|_| is_free).and_then(|today| {
        let next = standing.next(asked.charge.year.0, Some(today));
        next.filter(|(_, due)| *due <= today)
    });
    if let Some((period, _)) = next {
        standing.reading = Some(period);
        let closed = standing.answered.keys().copied().collect();
        let (plan, periods) = (Arc::clone(plan), standing.periods.clone());
        effects.push(LocalEffect::ReadPeriod { id, plan, periods, period, closed });
    }
    effects
}

#[cfg(test)]
mod tests;
