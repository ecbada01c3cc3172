//! What happens because a moment has come.

use protocol::amount::Points;
use protocol::time::Timestamp;

use super::{Change, Due, Notice, Outcome, Programme, Random};
use crate::calendar::DAY_MS;
use crate::ids::Account;
use crate::marketing::Consents;
use crate::rewards::HoldState;
use crate::rules::When;

/// A birthday that the node slept through counts so many days later still.
const BIRTHDAY_DAYS: u32 = 7;

impl Programme {
    /// Lets time pass: at most so many things are looked at, the others at the next call. Says whether
    /// there are others.
    ///
    /// # Errors
    /// [`super::Refusal::Broken`].
    pub fn tick(
        &mut self,
        now: Timestamp,
        most: usize,
        random: Random<'_>,
        consents: Consents<'_>,
        out: &mut Vec<Change>,
    ) -> Outcome<bool> {
        if self.rules.is_none() {
            return Ok(false);
        }
        for _ in 0..most {
            let Some((moment, due)) = self.state.due.first().cloned() else { return Ok(false) };
            if moment > now {
                return Ok(false);
            }
            self.enter(Change::Looked { at: now }, out)?;
            self.look((moment, due), now, random, consents, out)?;
        }
        Ok(true)
    }

    fn look(
        &mut self,
        (moment, due): (Timestamp, Due),
        now: Timestamp,
        random: Random<'_>,
        consents: Consents<'_>,
        out: &mut Vec<Change>,
    ) -> Outcome<()> {
        match due {
            Due::Expiry(account) => {
                let Some(balance) = self.state.accounts.get(account) else { return Ok(()) };
                let points = balance.lots().expired(now, balance.held());
                if !points.is_zero() {
                    self.enter(Change::Expired { account, points, at: now }, out)?;
                }
            }
            Due::Notice(account) => self.tell_expiry(account, now, out)?,
            Due::Look(account) => {
                self.set_off(account, &[When::Segment], now, random, consents, out)?;
            }
            Due::Birthday(account) => {
                let zone = self.zone();
                let (day, today) = (zone.day(moment), zone.day(now));
                // it may have been corrected since this was noted
                let birthday = self.state.profiles.get(&account).and_then(|it| it.birthday);
                let is_on = birthday.is_some_and(|birthday| birthday.is_on(day));
                if is_on && today.since(day) <= BIRTHDAY_DAYS {
                    self.set_off(account, &[When::Birthday], now, random, consents, out)?;
                }
            }
            Due::Hold(key) => {
                let held = self.state.rewards.hold(key).filter(|it| it.state == HoldState::Held);
                if let Some(hold) = held {
                    let (account, points) = (hold.account, hold.points);
                    let reward = hold.reward.clone();
                    self.enter(Change::HoldEnded { key, account, points }, out)?;
                    self.told(Some(account), now, Notice::HoldEnded { reward }, out)?;
                }
            }
            Due::Case(number) => {
                let late = self.state.watch.case(number).is_some_and(|case| case.closed.is_none());
                if late {
                    let notice = Notice::Late { request: None, case: Some(number) };
                    self.told(None, now, notice, out)?;
                }
            }
            Due::Request(number) => {
                let late = self.state.requests.get(number).is_some_and(|it| it.answer.is_none());
                if late {
                    let notice = Notice::Late { request: Some(number), case: None };
                    self.told(None, now, notice, out)?;
                }
            }
            Due::Rules => {
                let ready = self.announced.as_ref().is_some_and(|it| it.change.effective <= now);
                if ready {
                    self.enter(Change::RulesInForce { at: now }, out)?;
                }
            }
            Due::Campaign(name) => self.start_campaign(name, now, out)?,
        }
        Ok(())
    }

    fn tell_expiry(
        &mut self,
        account: Account,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome<()> {
        let days = self.rules_now()?.expiry.notice_days;
        let until = now.unix_ms().saturating_add(u64::from(days).saturating_mul(DAY_MS));
        let until = Timestamp::from_unix_ms(until);
        let told = self.state.profiles.get(&account).and_then(|profile| profile.told_until);
        let Some(balance) = self.state.accounts.get(account) else { return Ok(()) };
        let lots = balance.lots().as_slice().iter();
        let soon = lots.filter(|lot| {
            lot.expires
                .is_some_and(|expires| expires <= until && told.is_none_or(|told| expires > told))
        });
        let (mut points, mut last) = (Points::ZERO, None);
        for lot in soon {
            points = points.plus(lot.left).unwrap_or(Points::MAX);
            last = last.max(lot.expires);
        }
        if let Some(at) = last {
            self.told(Some(account), now, Notice::PointsExpire { points, at }, out)?;
        }
        Ok(())
    }
}
