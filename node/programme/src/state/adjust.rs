//! Events of staff who correct balances.

use protocol::amount::Points;
use protocol::time::Timestamp;

use super::{Answer, Change, Done, Outcome, Programme, Refusal};
use crate::accounts::MoveError;
use crate::adjustments::{Adjustment, AdjustmentState, REASON_MAX};
use crate::ids::Account;
use crate::requests::Key;

impl Programme {
    pub(super) fn adjust(
        &mut self,
        key: Key,
        account: Account,
        (points, gives): (Points, bool),
        (reason, by): (String, String),
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome {
        match self.state.done.get(&key) {
            Some(Done::Adjusted { number }) => {
                let known = self.state.adjustments.get(*number).filter(|it| {
                    (it.account, it.points, it.gives) == (account, points, gives) && it.by == by
                });
                let known = known.ok_or(Refusal::KeyTaken)?;
                let booked = known.state == AdjustmentState::Booked;
                return Ok(Answer::Adjusted { number: *number, booked });
            }
            Some(_) => return Err(Refusal::KeyTaken),
            None => {}
        }
        if points.is_zero() {
            return Err(Refusal::NothingToAdjust);
        }
        let found = reason.chars().count();
        if found == 0 || found > REASON_MAX {
            return Err(Refusal::Text { most: REASON_MAX, found });
        }
        let rules = self.rules_now()?;
        let day = rules.zone.day(now);
        let alone = self.state.adjustments.alone(&by, day).saturating_add(points.get());
        let booked = alone <= rules.alone_points_a_day.get();
        self.possible(account, points, gives)?;
        let expires = if gives && booked { self.rules_now()?.expires(day) } else { None };
        let state = if booked { AdjustmentState::Booked } else { AdjustmentState::Waiting };
        let number = self.state.adjustments.next();
        let adjustment = Adjustment { account, points, gives, reason, by, at: now, state };
        self.enter(Change::AdjustmentEntered { number, adjustment, key, expires }, out)?;
        if booked && gives {
            self.watch_growth(account, points, now, out)?;
        }
        Ok(Answer::Adjusted { number, booked })
    }

    /// Whether a balance can be corrected so.
    fn possible(&self, account: Account, points: Points, gives: bool) -> Outcome<()> {
        if gives {
            let takes = self.state.accounts.takes(account, points);
            return if takes { Ok(()) } else { Err(MoveError::Range.into()) };
        }
        let available = self.state.accounts.get(account).map_or(Points::ZERO, |it| it.available());
        if available < points {
            let (available, wanted) = (available.get(), points.get());
            return Err(MoveError::TooFew { available, wanted }.into());
        }
        Ok(())
    }

    pub(super) fn decide_adjustment(
        &mut self,
        number: u64,
        agrees: bool,
        by: String,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome {
        let adjustment = self.state.adjustments.get(number);
        let not_open = Refusal::NotOpen { what: "correction", number };
        let Adjustment { account, points, gives, by: first, state, .. } =
            adjustment.ok_or_else(|| not_open.clone())?.clone();
        match state {
            AdjustmentState::Waiting => {}
            // an answer that was not heard
            AdjustmentState::Agreed { by: before, .. } if agrees && before == by => {
                return Ok(Answer::Adjusted { number, booked: true });
            }
            AdjustmentState::Refused { by: before, .. } if !agrees && before == by => {
                return Ok(Answer::Adjusted { number, booked: false });
            }
            _ => return Err(not_open),
        }
        if by == first {
            return Err(Refusal::OwnAdjustment);
        }
        let rules = self.rules_now()?;
        let expires = if agrees && gives { rules.expires(rules.zone.day(now)) } else { None };
        let (state, points) = if agrees {
            self.possible(account, points, gives)?;
            (AdjustmentState::Agreed { at: now, by }, points)
        } else {
            (AdjustmentState::Refused { at: now, by }, Points::ZERO)
        };
        let decided = Change::AdjustmentDecided { number, state, account, points, gives, expires };
        self.enter(decided, out)?;
        if agrees && gives {
            self.watch_growth(account, points, now, out)?;
        }
        Ok(Answer::Adjusted { number, booked: agrees })
    }
}
