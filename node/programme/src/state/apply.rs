//! Entering changes: the one place where the state changes, live and in a replay.

use protocol::amount::Points;
use protocol::time::{Milliseconds, Timestamp};

use super::{
    Change, Done, Due, Movement, NOTICES_MAX, Notice, Outcome, Programme, Refusal, Told, Way,
};
use crate::accounts::{MoveError, Side};
use crate::adjustments::AdjustmentState;
use crate::calendar::{DAY_MS, Day, DayOfYear, Zone};
use crate::campaigns::Stage;
use crate::coupons::Code;
use crate::fraud::minutes;
use crate::ids::{Account, Name};
use crate::marketing::Offering;
use crate::openings::Opening;
use crate::profile::Profile;
use crate::rewards::HoldState;
use crate::rules::{Rules, TierBasis};
use crate::segments;

/// Purchases after the assignment count for a test's result as long as its rules say; without them
/// so long.
const COUNT_DAYS: u32 = 30;

const fn broken(what: &'static str) -> Refusal {
    Refusal::Broken(what)
}

impl Programme {
    /// Enters a change that was made durable before.
    ///
    /// # Errors
    /// [`Refusal::Broken`] when it does not fit: the changes are not those of this programme, or not
    /// in their order.
    pub fn replay(&mut self, change: &Change) -> Outcome<()> {
        for movement in change.movements().into_iter().flatten() {
            self.book(movement).map_err(|_| broken("points"))?;
        }
        match change {
            Change::Opened { rules, .. } => {
                let rules = Rules::kept(rules).map_err(|_| broken("rules"))?;
                self.rules = Some(rules);
            }
            Change::RulesAnnounced { rules, announced, effective } => {
                self.announce(rules, *announced, *effective)
                    .map_err(|_| broken("announced rules"))?;
                self.state.due.insert((*effective, Due::Rules));
            }
            Change::RulesInForce { at } => {
                let announced = self.announced.take().ok_or(broken("no announced rules"))?;
                self.rules = Some(announced.rules);
                self.look_at_all(*at);
            }
            Change::RulesWithdrawn { .. } => {
                self.announced.take().ok_or(broken("no announced rules"))?;
            }
            Change::Joined { .. } => self.apply_joined(change),
            Change::Purchased { account, part, counted, earned, taken_back, basket, .. } => {
                let rules = self.rules.as_ref().ok_or(broken("no rules"))?;
                let zone = rules.zone;
                if self.state.baskets.has(*part) {
                    return Err(broken("counted twice"));
                }
                self.state.baskets.enter(*part, *basket);
                let profile = self.state.profiles.get_or_default(*account);
                profile.count(counted, &mut self.state.names, zone);
                profile.earned(*earned, zone.day(counted.at));
                profile.accumulated = profile.accumulated.saturating_sub(taken_back.get());
                if counted.first_part {
                    self.look_later(*account, counted.at);
                }
                self.count_for_tests(*account, counted.at, counted.first_part, counted.more.get());
            }
            Change::PassedOver { part, basket, .. } => {
                if self.state.baskets.has(*part) {
                    return Err(broken("counted twice"));
                }
                self.state.baskets.enter(*part, *basket);
            }
            Change::Left { account, .. } => self.apply_left(*account),
            Change::CameBack { account, .. } => {
                self.state.profiles.get_or_default(*account).outside = false;
            }
            Change::Given { account, points, from, at, .. } => {
                let day = self.zone().day(*at);
                if *from != Side::CameIn {
                    self.state.profiles.get_or_default(*account).earned(*points, day);
                }
            }
            Change::SignedIn { account, day, streak } => {
                let profile = self.state.profiles.get_or_default(*account);
                (profile.signed_in, profile.streak) = (Some(*day), *streak);
            }
            Change::Did { account, activity, day } => {
                let profile = self.state.profiles.get_or_default(*account);
                note(&mut profile.activities, activity, *day);
            }
            Change::Referred { account, referrer } => {
                self.state.profiles.get_or_default(*account).referrer = None;
                let profile = self.state.profiles.get_or_default(*referrer);
                profile.referred = profile.referred.saturating_add(1);
            }
            Change::Paid { key, account, points, worth, .. } => {
                let (account, points, worth) = (*account, *points, *worth);
                let done = Done::Paid { account, points, worth, reversed: false };
                self.state.done.insert(*key, done);
            }
            Change::PaymentReversed { key, .. } => match self.state.done.get_mut(key) {
                Some(Done::Paid { reversed, .. }) if !*reversed => *reversed = true,
                _ => return Err(broken("a payment reversed twice")),
            },
            Change::Expired { .. } | Change::Followed { .. } => {}
            Change::Told { account, at, notice } => {
                if let (Some(account), Notice::PointsExpire { at, .. }) = (account, notice) {
                    let profile = self.state.profiles.get_or_default(*account);
                    profile.told_until = profile.told_until.max(Some(*at));
                }
                self.state.told_last = self.state.told_last.saturating_add(1);
                let (number, notice) = (self.state.told_last, notice.clone());
                self.state.told.push_back(Told { number, account: *account, at: *at, notice });
                if self.state.told.len() > NOTICES_MAX {
                    self.state.told.pop_front();
                }
            }
            Change::Ranked { account, rank } => {
                let profile = self.state.profiles.get_or_default(*account);
                profile.rank = *rank;
                if let Some(last) = profile.last_purchase {
                    self.look_later(*account, last);
                }
            }
            Change::Fired { account, trigger, at } => {
                note(&mut self.state.profiles.get_or_default(*account).fired, trigger, *at);
                self.not_left_out(*account, Offering::Trigger(trigger.clone()));
            }
            Change::LeftOut { account, offering, .. } => self.apply_left_out(*account, offering),
            Change::Assigned { account, experiment, group, at } => {
                let profile = self.state.profiles.get_or_default(*account);
                if profile.tests.iter().all(|(name, ..)| name != experiment) {
                    profile.tests.push((experiment.clone(), *group, *at));
                    let result =
                        self.state.results.entry((experiment.clone(), *group)).or_default();
                    result.members = result.members.saturating_add(1);
                    self.not_left_out(*account, Offering::Campaign(experiment.clone()));
                }
            }
            Change::CouponGiven { code, coupon, key, .. } => {
                if self.state.coupons.get(*code).is_some() {
                    return Err(broken("a coupon's code twice"));
                }
                self.state.coupons.enter(*code, coupon);
                self.count_coupon(&coupon.origin, 1, 0);
                if let Some(key) = key {
                    let done = Done::Claimed { account: coupon.account, code: *code };
                    self.state.done.insert(*key, done);
                }
            }
            Change::CouponRedeemed { code, redemption } => {
                if !self.state.coupons.redeem(*code, redemption) {
                    return Err(broken("a coupon redeemed twice"));
                }
                self.count_redeemed(*code, 1);
            }
            Change::CouponReopened { code } => {
                if !self.state.coupons.reopen(*code) {
                    return Err(broken("a coupon reopened that was not redeemed"));
                }
                self.count_redeemed(*code, -1);
            }
            Change::AdjustmentEntered { number, adjustment, key, .. } => {
                let day = self.zone().day(adjustment.at);
                self.state.adjustments.enter(*number, adjustment, day);
                if adjustment.gives && adjustment.state == AdjustmentState::Booked {
                    self.gained_by_correction(adjustment.account, adjustment.points, day);
                }
                self.state.done.insert(*key, Done::Adjusted { number: *number });
            }
            Change::AdjustmentDecided { number, state, account, points, gives, .. } => {
                if !self.state.adjustments.decide(*number, state) {
                    return Err(broken("a correction decided twice"));
                }
                if let AdjustmentState::Agreed { at, .. } = state
                    && *gives
                {
                    self.gained_by_correction(*account, *points, self.zone().day(*at));
                }
            }
            Change::Stocked { reward, total } => self.state.rewards.put_in(reward, *total),
            Change::RewardHeld { key, hold, is_virtual } => {
                self.state.rewards.enter(*key, hold);
                self.state.due.insert((hold.until, Due::Hold(*key)));
                if *is_virtual {
                    let window =
                        minutes(self.rules.as_ref().map_or(0, |it| it.fraud.virtual_minutes));
                    self.state.watch.virtual_reward(hold.account, hold.at, window);
                }
            }
            Change::HandedOver { key, .. } => {
                let closed = self.state.rewards.close(*key, HoldState::HandedOver);
                closed.ok_or(broken("nothing held to hand over"))?;
            }
            Change::HoldEnded { key, .. } => {
                let closed = self.state.rewards.close(*key, HoldState::Ended);
                closed.ok_or(broken("nothing held to end"))?;
            }
            Change::Stopped { account, stopped } => {
                self.state.profiles.get_or_default(*account).stopped = *stopped;
            }
            Change::CaseOpened { number, case } => {
                self.state.watch.enter(*number, case);
                self.state.due.insert((case.due, Due::Case(*number)));
                self.enter_case(*number, &case.accounts);
            }
            Change::CaseClosed { number, at, verdict, by, reason } => {
                let said = (by.clone(), reason.clone());
                let accounts = self.state.watch.close(*number, (*at, *verdict), said);
                let accounts = accounts.ok_or(broken("a case closed twice"))?;
                // what another case stops, this one does not let go
                let stopped = self.state.watch.stopped_among(&accounts);
                let held = self.state.watch.held_among(&accounts);
                for account in accounts {
                    let profile = self.state.profiles.get_or_default(account);
                    profile.stopped = stopped.contains(&account);
                    profile.held = held.contains(&account);
                }
            }
            Change::CaseJoined { number, accounts } => {
                if !self.state.watch.join(*number, accounts) {
                    return Err(broken("accounts joined a case that is not open"));
                }
                self.enter_case(*number, accounts);
            }
            Change::Asked { number, request } => {
                self.state.requests.enter(*number, request);
                self.state.due.insert((request.due, Due::Request(*number)));
            }
            Change::Answered { number, at, text } => {
                if !self.state.requests.answer(*number, *at, text) {
                    return Err(broken("a request answered twice"));
                }
            }
            Change::SegmentKept { name, terms } => {
                self.state.segments.insert(name.clone(), terms.clone());
            }
            Change::SegmentDropped { name } => {
                self.state.segments.remove(name).ok_or(broken("a segment dropped twice"))?;
            }
            Change::CampaignMade { name, campaign } => {
                self.state.due.insert((campaign.from, Due::Campaign(name.clone())));
                self.state.campaigns.insert(name.clone(), campaign.clone());
            }
            Change::CampaignStarted { at, .. } => self.look_at_all(*at),
            Change::CampaignEnded { name, at } => {
                let campaign = self.state.campaigns.get_mut(name);
                campaign.ok_or(broken("a campaign that is not there ended"))?.ended = Some(*at);
            }
            Change::OpeningEntered { account, opening } => {
                if self.state.openings.get(account).is_some_and(Opening::is_given) {
                    return Err(broken("an opening balance entered after one was given"));
                }
                self.state.openings.insert(*account, opening.clone());
            }
            Change::OpeningGiven { account, tier_points, at } => {
                if !self.apply_opening(*account, tier_points.get(), *at) {
                    return Err(broken("an opening balance given that did not wait"));
                }
            }
            Change::Moved { .. } | Change::OpeningLot { .. } => {}
            Change::Merged { from, into, at } => self.apply_merged(*from, *into, *at),
            Change::Parted { account } => {
                let into =
                    self.state.merged.remove(account).ok_or(broken("a merge undone twice"))?;
                // a stop is not undone by parting, and neither is what is to be reviewed
                self.state.watch.share(into, *account);
                let theirs = self.state.profiles.get(&into);
                let (stopped, held) = theirs.map_or((false, false), |it| (it.stopped, it.held));
                if stopped || held {
                    let profile = self.state.profiles.get_or_default(*account);
                    profile.stopped |= stopped;
                    profile.held |= held;
                }
            }
            Change::Birthday { account, birthday, at } => {
                self.apply_birthday(*account, *birthday, *at);
            }
            Change::Forgotten { account } => self.forget(*account),
            Change::Looked { at } => {
                let due = self.state.due.pop_first().ok_or(broken("nothing was due"))?;
                self.come_again(due, *at);
            }
        }
        Ok(())
    }

    /// Follows points that moved by the brand's exchanges with others, or were there before the
    /// programme: the books are kept, nothing is decided. Nothing is followed before there are rules.
    ///
    /// # Errors
    /// [`Refusal::Broken`] when they cannot have moved so; then nothing has changed.
    pub fn follow(
        &mut self,
        account: Account,
        points: Points,
        way: Way,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome<()> {
        let Some(rules) = self.rules.as_ref() else { return Ok(()) };
        let gives = matches!(way, Way::Give(_));
        let expires = if gives { rules.expires(rules.zone.day(now)) } else { None };
        self.enter(Change::Followed { account, points, way, expires }, out)
    }

    fn book(&mut self, movement: Movement) -> Result<(), MoveError> {
        let Movement { account, points, way, expires } = movement;
        let accounts = &mut self.state.accounts;
        match way {
            Way::Give(from) => accounts.give(account, from, points, expires)?,
            Way::Take(to) => accounts.take(account, to, points)?,
            Way::TakeBack(to) => accounts.take_back(account, to, points)?,
            Way::Hold => accounts.hold(account, points)?,
            Way::Release => accounts.release(account, points)?,
            Way::Settle(to) => accounts.settle(account, to, points)?,
        }
        if let Some(expires) = expires {
            let notice_days = self.rules.as_ref().map_or(0, |rules| rules.expiry.notice_days);
            let before = u64::from(notice_days).saturating_mul(DAY_MS);
            let notice = Timestamp::from_unix_ms(expires.unix_ms().saturating_sub(before));
            self.state.due.insert((expires, Due::Expiry(account)));
            self.state.due.insert((notice, Due::Notice(account)));
        }
        // what was promised has kept points from expiring; now they may
        if way == Way::Release {
            self.state.due.insert((Timestamp::from_unix_ms(0), Due::Expiry(account)));
        }
        Ok(())
    }

    /// A correction lifts nobody's tier, and makes nobody known; of who is, it counts among what came on a day.
    fn gained_by_correction(&mut self, account: Account, points: Points, day: Day) {
        let known = self.state.profiles.get_mut(&account).filter(|profile| !profile.outside);
        known.into_iter().for_each(|profile| profile.gained(points, day));
    }

    /// Accounts that a case has from now on are stopped if it stops, and held if it holds.
    fn enter_case(&mut self, number: u64, accounts: &[Account]) {
        let case = self.state.watch.case(number);
        let (stops, holds) = case.map_or((false, false), |it| (it.stops(), it.holds()));
        if !stops && !holds {
            return;
        }
        for account in accounts {
            let profile = self.state.profiles.get_or_default(*account);
            profile.stopped |= stops;
            profile.held |= holds;
        }
    }

    pub(super) fn zone(&self) -> Zone {
        self.rules.as_ref().map(|rules| rules.zone).unwrap_or_default()
    }

    fn apply_joined(&mut self, change: &Change) {
        let Change::Joined { account, at, birthday, referrer, device, address } = change else {
            return;
        };
        let zone = self.zone();
        let profile = self.state.profiles.get_or_default(*account);
        profile.joined = Some(*at);
        // what was known before stays where nothing is told
        profile.birthday = birthday.or(profile.birthday);
        profile.referrer = *referrer;
        if let Some(birthday) = birthday {
            let next = zone.start(birthday.next_from(zone.day(*at)));
            self.state.due.insert((next, Due::Birthday(*account)));
        }
        if let Some(device) = device {
            self.state.watch.note_device(*device, *account);
        }
        if let Some(address) = address {
            let window = minutes(self.rules.as_ref().map_or(0, |it| it.fraud.address_minutes));
            self.state.watch.note_address(*address, *account, *at, window);
        }
    }

    fn apply_birthday(&mut self, account: Account, birthday: Option<DayOfYear>, at: Timestamp) {
        let zone = self.zone();
        let profile = self.state.profiles.get_or_default(account);
        profile.birthday_asked = true;
        if profile.birthday == birthday {
            return;
        }
        profile.birthday = birthday;
        if let Some(birthday) = birthday {
            let next = zone.start(birthday.next_from(zone.day(at)));
            self.state.due.insert((next, Due::Birthday(account)));
        }
    }

    /// What comes again: a birthday, a look at a member whom time changes.
    fn come_again(&mut self, (moment, due): (Timestamp, Due), now: Timestamp) {
        match due {
            Due::Birthday(account) => {
                let birthday =
                    self.state.profiles.get(&account).and_then(|profile| profile.birthday);
                if let Some(birthday) = birthday {
                    let zone = self.zone();
                    let next = birthday.next_from(zone.day(moment).max(zone.day(now)).plus(1));
                    self.state.due.insert((zone.start(next), Due::Birthday(account)));
                }
            }
            Due::Look(account) => self.look_later(account, now),
            _ => {}
        }
    }

    /// Notes when, after a moment, time alone may next bring a member into a segment or out of a tier.
    ///
    /// A member has one such note, moved when it comes too late: what comes too early looks again.
    fn look_later(&mut self, account: Account, after: Timestamp) {
        let Some(rules) = self.rules.as_ref() else { return };
        let Some(profile) = self.state.profiles.get_mut(&account) else { return };
        let Some(last) = profile.last_purchase else { return };
        let zone = rules.zone;
        let open = self.state.campaigns.values();
        let open = open.filter(|it| it.stage(after) != Stage::Ended).map(|it| &it.members);
        let quiet = segments::looks_after(rules, open);
        let quiet = quiet.into_iter().map(|days| zone.day(last).plus(days));
        let tier = match rules.tiers.basis {
            TierBasis::Rfm { .. } => rules.tiers.of_rank(profile.rank),
            TierBasis::Points => None,
        };
        // by recency, or because a month's purchases count no longer
        let lost = tier.map(|tier| {
            let recent = zone.day(last).plus(tier.within_days.saturating_add(1));
            [recent, zone.day(after).month_after(1)]
        });
        let moments = quiet.chain(lost.into_iter().flatten()).map(|day| zone.start(day));
        let Some(next) = moments.filter(|moment| *moment > after).min() else { return };
        if profile.look_at.is_none_or(|at| at <= after || next < at) {
            profile.look_at = Some(next);
            self.state.due.insert((next, Due::Look(account)));
        }
    }

    /// New rules may have new segments: every member is looked at.
    fn look_at_all(&mut self, at: Timestamp) {
        for account in self.state.profiles.keys() {
            self.state.due.insert((at, Due::Look(*account)));
        }
    }

    fn count_for_tests(&mut self, account: Account, at: Timestamp, first_part: bool, fen: u64) {
        let Some(profile) = self.state.profiles.get_mut(&account) else { return };
        for (name, group, since) in &profile.tests {
            let experiment = self.rules.as_ref().and_then(|rules| rules.experiments.get(name));
            let campaign = self.state.campaigns.get(name).map(|campaign| campaign.count_days);
            let days = experiment.map(|experiment| experiment.count_days).or(campaign);
            let days = days.unwrap_or(COUNT_DAYS);
            let window = Milliseconds::new(u64::from(days).saturating_mul(DAY_MS));
            if at < *since || at.since(*since) > window {
                continue;
            }
            let result = self.state.results.entry((name.clone(), *group)).or_default();
            result.fen = result.fen.saturating_add(fen);
            if first_part {
                result.purchases = result.purchases.saturating_add(1);
                let bought = (account, name.clone());
                if !self.state.bought.contains_key(&bought) {
                    self.state.bought.insert(bought, at);
                    result.buyers = result.buyers.saturating_add(1);
                }
            }
        }
    }

    fn count_redeemed(&mut self, code: Code, redeemed: i64) {
        let origin = self.state.coupons.get(code).map(|coupon| coupon.origin.clone());
        origin.into_iter().for_each(|origin| self.count_coupon(&origin, 0, redeemed));
    }

    /// The books and what the member has stay: points, coupons, what is set aside, requests, reviews.
    pub(super) fn apply_left(&mut self, account: Account) {
        let profile = self.state.profiles.get_or_default(account);
        let tests: Vec<Name> = profile.tests.iter().map(|(test, ..)| test.clone()).collect();
        profile.leave();
        for test in tests {
            self.state.bought.remove(&(account, test));
        }
        self.not_left_out_of_any(account);
    }

    /// What may still become the member's (something set aside) waits for its end; the books stay.
    fn forget(&mut self, account: Account) {
        self.state.profiles.insert(account, Profile::of_erased());
        self.state.coupons.forget(account);
        self.state.rewards.forget(account);
        self.state.watch.forget(account);
        self.state.requests.forget(account);
        self.state.adjustments.forget(account);
        self.state.openings.remove(&account);
        self.forget_left_out(account);
        self.state.bought.retain(|(whose, _), _| *whose != account);
        self.state.merged.retain(|from, into| *from != account && *into != account);
        for told in &mut self.state.told {
            if told.account == Some(account) {
                told.account = None;
            }
        }
    }
}

/// Sets what is noted under a name.
fn note<T>(list: &mut Vec<(Name, T)>, name: &Name, value: T) {
    match list.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => *old = value,
        None => list.push((name.clone(), value)),
    }
}
