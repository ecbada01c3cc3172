//! Events of balances that members bring from a programme of before.
//!
//! They are nobody's gain: no trigger fires, no case of growth is opened, nobody is told of a tier, and who
//! brought a member is not rewarded. The next event of the member's is as any other.

use protocol::time::Timestamp;

use super::{Answer, Change, Outcome, Programme, Refusal};
use crate::accounts::MoveError;
use crate::calendar::Day;
use crate::ids::Account;
use crate::openings::{LOTS_MAX, Opening, OpeningBalance};
use crate::tiers;

/// What comes of a balance that is brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpeningStep {
    /// It is entered, and waits for another person.
    Entered,
    /// It was entered by the same person, and still waits.
    Waiting,
    /// Another person had entered the same: it is given.
    Given,
    /// It was given before; nothing changes.
    Known,
}

impl Programme {
    /// What a member has brought, or what waits to be.
    #[must_use]
    pub fn opening(&self, account: Account) -> Option<&Opening> {
        self.state.openings.get(&account)
    }

    /// What would come of a balance that somebody brings, who may enter one or only agree to what another
    /// entered, and may put it in the place of another that waits.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn opening_step(
        &self,
        account: Account,
        balance: &OpeningBalance,
        by: &str,
        (enters, replaces): (bool, bool),
        now: Timestamp,
    ) -> Outcome<OpeningStep> {
        let today = self.rules_now()?.zone.day(now);
        let known = self.state.openings.get(&account);
        // first: what was valid when it was given may have expired since
        if let Some(opening) = known
            && opening.is_given()
        {
            let same = opening.is_of(balance);
            return if same { Ok(OpeningStep::Known) } else { Err(Refusal::OpeningTaken) };
        }
        self.can_open(account, balance, today)?;
        match known {
            Some(opening) if opening.is_of(balance) => {
                let own = opening.waits.as_deref() == Some(by);
                Ok(if own { OpeningStep::Waiting } else { OpeningStep::Given })
            }
            Some(_) if enters && replaces => Ok(OpeningStep::Entered),
            Some(_) => Err(Refusal::OpeningWaits),
            None if enters => Ok(OpeningStep::Entered),
            None => Err(Refusal::OpeningNotEntered),
        }
    }

    fn can_open(&self, account: Account, balance: &OpeningBalance, today: Day) -> Outcome<()> {
        if balance.lots().len() > LOTS_MAX {
            return Err(Refusal::OpeningLots { most: LOTS_MAX });
        }
        let points = balance.points().map_err(|_| MoveError::Range)?;
        if points.is_zero() && balance.tier_points().is_zero() {
            return Err(Refusal::OpeningEmpty);
        }
        let first = balance.lots().iter().filter_map(|lot| lot.last_day).min();
        if let Some(last_day) = first.filter(|last_day| *last_day < today) {
            return Err(Refusal::OpeningExpired { last_day: last_day.date() });
        }
        if !self.state.accounts.takes(account, points) {
            return Err(MoveError::Range.into());
        }
        Ok(())
    }

    pub(super) fn bring_opening(
        &mut self,
        account: Account,
        balance: &OpeningBalance,
        (by, enters, replaces): (String, bool, bool),
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome {
        match self.opening_step(account, balance, &by, (enters, replaces), now)? {
            OpeningStep::Known => Ok(Answer::Repeated),
            OpeningStep::Waiting => Ok(Answer::Entered),
            OpeningStep::Entered => {
                let opening = Opening::entered(balance, by, now).map_err(|_| MoveError::Range)?;
                self.enter(Change::OpeningEntered { account, opening }, out)?;
                Ok(Answer::Entered)
            }
            OpeningStep::Given => {
                self.give_opening(account, balance, now, out)?;
                Ok(Answer::Done)
            }
        }
    }

    fn give_opening(
        &mut self,
        account: Account,
        balance: &OpeningBalance,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome<()> {
        let rules = self.rules_now()?;
        let (zone, of_rules) = (rules.zone, rules.expires(rules.zone.day(now)));
        if self.state.profiles.get(&account).is_some_and(|profile| profile.outside) {
            self.enter(Change::CameBack { account, at: now }, out)?;
        }
        let tier_points = balance.tier_points();
        self.enter(Change::OpeningGiven { account, tier_points, at: now }, out)?;
        for lot in balance.lots() {
            let points = lot.points;
            let expires = lot.last_day.map_or(of_rules, |last| Some(zone.start(last.plus(1))));
            self.enter(Change::OpeningLot { account, points, expires }, out)?;
        }
        let rules = self.rules_now()?;
        let Some(profile) = self.state.profiles.get(&account) else { return Ok(()) };
        let rank = tiers::rank(rules, profile, now);
        if rank > profile.rank {
            self.enter(Change::Ranked { account, rank }, out)?;
        }
        Ok(())
    }

    /// False when nothing waits. What counts towards a tier makes a member known; points alone do not, as a
    /// correction does not.
    pub(super) fn apply_opening(
        &mut self,
        account: Account,
        tier_points: u64,
        at: Timestamp,
    ) -> bool {
        let waiting = self.state.openings.get_mut(&account).filter(|it| !it.is_given());
        let Some(opening) = waiting else { return false };
        opening.give(at);
        if tier_points > 0 {
            let profile = self.state.profiles.get_or_default(account);
            profile.accumulated = profile.accumulated.saturating_add(tier_points);
        }
        true
    }

    /// Who was merged has brought what was brought, and so has the one who stays: neither brings anything
    /// again, whether they are parted or not.
    pub(super) fn merge_openings(&mut self, from: Account, into: Account) {
        let theirs = self.state.openings.get(&from).filter(|it| it.is_given()).cloned();
        if let Some(opening) = theirs {
            self.state.openings.get_or_insert_with(into, || opening);
        }
    }
}
