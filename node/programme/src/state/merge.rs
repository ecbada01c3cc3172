//! Two members who are one person: what the one has becomes the other's.

use protocol::time::Timestamp;

use super::{Answer, Change, Done, Due, Outcome, Programme};
use crate::ids::Account;

impl Programme {
    /// Moves everything, once nothing is promised to anybody; what comes to the merged member later is
    /// moved when this is asked for again.
    pub(super) fn merge(
        &mut self,
        from: Account,
        into: Account,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome {
        if from == into {
            return Ok(Answer::Done);
        }
        // who stays was merged into another, and is not any more: a stop of that other's holds
        if self.state.merged.contains_key(&into) {
            self.enter(Change::Parted { account: into }, out)?;
        }
        let balance = self.state.accounts.balance(from);
        if !balance.held().is_zero() {
            return Ok(Answer::Waits);
        }
        self.enter_moved(
            Change::Moved { from, into, points: balance.owed(), expires: None, owed: true },
            out,
        )?;
        for lot in balance.lots().as_slice() {
            let (points, expires) = (lot.left, lot.expires);
            self.enter_moved(Change::Moved { from, into, points, expires, owed: false }, out)?;
        }
        if self.state.merged.get(&from) != Some(&into) {
            self.enter(Change::Merged { from, into, at: now }, out)?;
        }
        Ok(Answer::Done)
    }

    fn enter_moved(&mut self, change: Change, out: &mut Vec<Change>) -> Outcome<()> {
        if change.movements().iter().all(Option::is_none) {
            return Ok(());
        }
        self.enter(change, out)
    }

    pub(super) fn part(&mut self, account: Account, out: &mut Vec<Change>) -> Outcome {
        if self.state.merged.contains_key(&account) {
            self.enter(Change::Parted { account }, out)?;
        }
        Ok(Answer::Done)
    }

    pub(super) fn apply_merged(&mut self, from: Account, into: Account, at: Timestamp) {
        let state = &mut self.state;
        state.merged.insert(from, into);
        // who stays stands for oneself
        state.merged.remove(&into);
        state.merged.change_where(|_, target| *target == from, |_, target| *target = into);
        let theirs = state.profiles.remove(&from).unwrap_or_default();
        let profile = state.profiles.get_or_default(into);
        let told = profile.birthday.is_some();
        profile.take_over(theirs);
        let birthday = profile.birthday.filter(|_| !told);
        state.coupons.move_to(from, into);
        state.rewards.move_to(from, into);
        state.watch.move_to(from, into);
        state.requests.move_to(from, into);
        state.adjustments.move_to(from, into);
        let whose = |done: &Done| match done {
            Done::Paid { account, .. } | Done::Claimed { account, .. } => Some(*account),
            Done::Adjusted { .. } => None,
        };
        state.done.change_where(
            |_, done| whose(done) == Some(from),
            |_, done| {
                if let Done::Paid { account, .. } | Done::Claimed { account, .. } = done {
                    *account = into;
                }
            },
        );
        let bought: Vec<_> =
            state.bought.keys().filter(|(whose, _)| *whose == from).cloned().collect();
        for key in bought {
            if let Some(when) = state.bought.remove(&key) {
                state.bought.get_or_insert_with((into, key.1), || when);
            }
        }
        for told in &mut state.told {
            if told.account == Some(from) {
                told.account = Some(into);
            }
        }
        // tiers and segments go by what both did
        state.due.insert((at, Due::Look(into)));
        self.merge_left_out(from, into);
        self.merge_openings(from, into);
        if let Some(birthday) = birthday {
            let zone = self.zone();
            let next = zone.start(birthday.next_from(zone.day(at)));
            self.state.due.insert((next, Due::Birthday(into)));
        }
        // what the other bought is not remembered of who does not take part either
        if self.state.profiles.get(&into).is_some_and(|it| it.outside) {
            self.apply_left(into);
        }
    }
}
