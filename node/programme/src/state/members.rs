//! Events of members: joining, buying, signing in; and what these set off.

use protocol::amount::Points;
use protocol::time::{Milliseconds, Timestamp};

use super::{Answer, Change, Event, Notice, Outcome, Programme, Purchase, Random, Refusal};
use crate::accounts::{MoveError, Side};
use crate::baskets::CountedBasket;
use crate::calendar::DAY_MS;
use crate::coupons::Origin;
use crate::earn::{self, Terms};
use crate::fraud::{Case, Sign, minutes};
use crate::ids::{Account, Fen, Name};
use crate::profile::Counted;
use crate::rules::{Gift, When};
use crate::{tiers, triggers};

/// Purchases that come in later than this set off no trigger: they are history that was imported.
const FRESH: Milliseconds = Milliseconds::new(2_u64.saturating_mul(DAY_MS));

impl Programme {
    pub(super) fn joined(
        &mut self,
        event: Event,
        now: Timestamp,
        random: Random<'_>,
        out: &mut Vec<Change>,
    ) -> Outcome {
        let Event::Joined { account, birthday, referrer, device, address } = event else {
            return Ok(Answer::Done);
        };
        let fraud = self.rules_now()?.fraud;
        if self.profile(account).joined.is_some() {
            return Err(Refusal::Joined);
        }
        if referrer == Some(account) {
            return Err(Refusal::OwnReferrer);
        }
        self.enter(Change::Joined { account, at: now, birthday, referrer, device, address }, out)?;
        if let Some(device) = device {
            let accounts = self.state.watch.on_device(device).to_vec();
            if over(accounts.len(), fraud.accounts_per_device) {
                for account in &accounts {
                    if !self.profile(*account).stopped {
                        self.enter(Change::Stopped { account: *account, stopped: true }, out)?;
                        self.told(Some(*account), now, Notice::Stopped, out)?;
                    }
                }
                self.open_case(Sign::Device, accounts, now, out)?;
            }
        }
        if let Some(address) = address {
            let window = minutes(fraud.address_minutes);
            let accounts = self.state.watch.at_address(address, now, window);
            if over(accounts.len(), fraud.accounts_per_address) {
                self.open_case(Sign::Address, accounts, now, out)?;
            }
        }
        self.set_off(account, &[When::Joined, When::Segment], now, random, out)?;
        Ok(Answer::Done)
    }

    /// Opens a case, unless one of this kind is open for one of the accounts.
    pub(super) fn open_case(
        &mut self,
        sign: Sign,
        accounts: Vec<Account>,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome<u64> {
        let known = accounts.iter().find_map(|it| self.state.watch.open_case(sign, *it));
        if let Some(number) = known {
            return Ok(number);
        }
        let hours = self.rules_now()?.fraud.review_hours;
        let due = now.plus(minutes(hours.saturating_mul(60)));
        let number = self.state.watch.next_case();
        let (closed, reviewer, reason) = (None, None, None);
        let case = Case { sign, accounts, opened: now, due, closed, reviewer, reason };
        self.enter(Change::CaseOpened { number, case }, out)?;
        self.told(None, now, Notice::Review { case: number }, out)?;
        Ok(number)
    }

    pub(super) fn purchased(
        &mut self,
        purchase: Purchase,
        now: Timestamp,
        random: Random<'_>,
        out: &mut Vec<Change>,
    ) -> Outcome {
        let rules = self.rules_now()?;
        if self.state.baskets.has(purchase.part) {
            return Ok(Answer::Repeated);
        }
        let Purchase { account, part, at, channel, first_part, before, after } = purchase;
        let known = self.state.profiles.get(&account);
        let day = rules.zone.day(at);
        let counted = self.state.baskets.get(part);
        let first = || CountedBasket {
            part: 0,
            tier: known.map_or(protocol::amount::Rate::ONE, |it| tiers::factor(rules, it)),
            birthday: known.and_then(|it| it.birthday).is_some_and(|it| it.is_on(day)),
            earned: Points::ZERO,
        };
        let mut basket = counted.unwrap_or_else(first);
        let terms = Terms { channel: &channel, tier: basket.tier, birthday: basket.birthday };
        // what earned before the programme began earned about this
        let had = counted
            .map_or_else(|| earn::points(&rules.earning, &before, terms), |counted| counted.earned);
        let has = earn::points(&rules.earning, &after, terms);
        // a basket that shrinks gives nothing and one that grows takes nothing, whatever the rules are by now
        let (mut earned, mut taken_back) = (Points::ZERO, Points::ZERO);
        if after.total < before.total {
            taken_back = had.saturating_minus(has);
        } else {
            earned = has.saturating_minus(had);
        }
        let now_has = had.plus(earned).unwrap_or(Points::MAX).saturating_minus(taken_back);
        (basket.part, basket.earned) = (part.number(), now_has);
        if !self.state.accounts.takes(account, earned) {
            return Err(MoveError::Range.into());
        }
        let fen = |number: u64| Fen::new(number).unwrap_or_default();
        let more = fen(after.total.get().saturating_sub(before.total.get()));
        let less = fen(before.total.get().saturating_sub(after.total.get()));
        let grown = after.categories.iter().map(|(name, now)| {
            let grown = now.get().saturating_sub(before.category(name).get());
            (name.clone(), fen(grown))
        });
        let categories = grown.filter(|(_, grown)| *grown > Fen::ZERO).collect();
        let counted = Counted { at, channel: channel.clone(), first_part, more, less, categories };
        // valid from the day the brand learned of it: late data shortens nobody's time
        let expires = rules.expires(rules.zone.day(now.max(at)));
        let most_a_day = rules.fraud.points_per_day.get();
        let change =
            Change::Purchased { account, part, counted, earned, taken_back, expires, basket };
        self.enter(change, out)?;
        if first_part {
            self.reward_referrer(account, now, out)?;
        }
        if self.profile_day_points(account) > most_a_day {
            self.open_case(Sign::Growth, vec![account], now, out)?;
        }
        let mut whens = vec![When::Segment];
        if first_part {
            whens.push(When::Purchase);
        }
        if now.since(at) <= FRESH {
            self.set_off(account, &whens, now, random, out)?;
        } else {
            self.rank_again(account, now, out)?;
        }
        Ok(Answer::Earned { earned, taken_back })
    }

    fn profile_day_points(&self, account: Account) -> u64 {
        self.state.profiles.get(&account).map_or(0, |profile| profile.day_points.1)
    }

    fn reward_referrer(
        &mut self,
        account: Account,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome<()> {
        let Some(referrer) = self.state.profiles.get(&account).and_then(|it| it.referrer) else {
            return Ok(());
        };
        let Some(referral) = self.rules_now()?.earning.referral else { return Ok(()) };
        self.enter(Change::Referred { account, referrer }, out)?;
        let profile = self.profile(referrer);
        if profile.referred > referral.most || profile.stopped {
            return Ok(());
        }
        self.give(referrer, referral.points, Side::Activities, now, out)
    }

    fn give(
        &mut self,
        account: Account,
        points: Points,
        from: Side,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome<()> {
        if !self.state.accounts.takes(account, points) {
            return Ok(());
        }
        let rules = self.rules_now()?;
        let expires = rules.expires(rules.zone.day(now));
        self.enter(Change::Given { account, points, from, at: now, expires }, out)
    }

    pub(super) fn not_stopped(&self, account: Account) -> Outcome<()> {
        if self.is_stopped(account) { Err(Refusal::Stopped) } else { Ok(()) }
    }

    pub(super) fn signed_in(
        &mut self,
        account: Account,
        now: Timestamp,
        random: Random<'_>,
        out: &mut Vec<Change>,
    ) -> Outcome {
        let rules = self.rules_now()?;
        self.not_stopped(account)?;
        let unknown = || Refusal::Unknown { what: "activity", name: "sign_in".to_owned() };
        let sign_in = rules.earning.sign_in.clone().ok_or_else(unknown)?;
        let day = rules.zone.day(now);
        let profile = self.profile(account);
        if profile.signed_in.is_some_and(|last| last >= day) {
            return Err(Refusal::Today);
        }
        let running = profile.signed_in.is_some_and(|last| last.plus(1) == day);
        let streak = if running { profile.streak.saturating_add(1) } else { 1 };
        let place = usize::try_from(streak.saturating_sub(1)).unwrap_or(usize::MAX);
        let last = sign_in.points.last().copied().unwrap_or(Points::ZERO);
        let mut points = sign_in.points.get(place).copied().unwrap_or(last);
        if streak.is_multiple_of(sign_in.bonus_days) {
            points = points.plus(sign_in.bonus).unwrap_or(points);
        }
        self.enter(Change::SignedIn { account, day, streak }, out)?;
        self.give(account, points, Side::Activities, now, out)?;
        self.set_off(account, &[When::Segment], now, random, out)?;
        Ok(Answer::Earned { earned: points, taken_back: Points::ZERO })
    }

    pub(super) fn did(
        &mut self,
        account: Account,
        activity: &Name,
        now: Timestamp,
        random: Random<'_>,
        out: &mut Vec<Change>,
    ) -> Outcome {
        let rules = self.rules_now()?;
        self.not_stopped(account)?;
        let unknown = || Refusal::Unknown { what: "activity", name: activity.to_string() };
        let points = *rules.earning.activity.get(activity).ok_or_else(unknown)?;
        let day = rules.zone.day(now);
        let profile = self.profile(account);
        if profile.activities.iter().any(|(name, last)| name == activity && *last >= day) {
            return Err(Refusal::Today);
        }
        self.enter(Change::Did { account, activity: activity.clone(), day }, out)?;
        self.give(account, points, Side::Activities, now, out)?;
        self.set_off(account, &[When::Segment], now, random, out)?;
        Ok(Answer::Earned { earned: points, taken_back: Points::ZERO })
    }

    /// Looks whether the tier is another now; says whether it is a higher one.
    pub(super) fn rank_again(
        &mut self,
        account: Account,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome<bool> {
        let rules = self.rules_now()?;
        let Some(profile) = self.state.profiles.get(&account) else { return Ok(false) };
        let (before, rank) = (profile.rank, tiers::rank(rules, profile, now));
        if rank == before {
            return Ok(false);
        }
        let tier = rules.tiers.of_rank(rank).map(|tier| tier.name.clone());
        self.enter(Change::Ranked { account, rank }, out)?;
        let higher = rank > before;
        if higher && let Some(tier) = tier {
            self.told(Some(account), now, Notice::TierReached { tier }, out)?;
        }
        Ok(higher)
    }

    /// After anything about a member has changed: the tier, then the triggers, then running campaigns.
    pub(super) fn set_off(
        &mut self,
        account: Account,
        whens: &[When],
        now: Timestamp,
        random: Random<'_>,
        out: &mut Vec<Change>,
    ) -> Outcome<()> {
        let higher = self.rank_again(account, now, out)?;
        let rules = self.rules_now()?;
        let Some(profile) = self.state.profiles.get(&account) else { return Ok(()) };
        if profile.stopped {
            return Ok(());
        }
        let mut whens = whens.to_vec();
        if higher {
            whens.push(When::TierReached);
        }
        let due = triggers::due(rules, &whens, profile, &self.state.names, now);
        let due: Vec<(Name, Gift)> =
            due.into_iter().map(|(name, trigger)| (name.clone(), trigger.gift.clone())).collect();
        for (trigger, gift) in due {
            let fired = Change::Fired { account, trigger: trigger.clone(), at: now };
            self.enter(fired, out)?;
            self.gift(account, &gift, &Origin::Trigger(trigger), now, random, out)?;
        }
        self.join_campaigns(account, now, random, out)
    }

    pub(super) fn gift(
        &mut self,
        account: Account,
        gift: &Gift,
        origin: &Origin,
        now: Timestamp,
        random: Random<'_>,
        out: &mut Vec<Change>,
    ) -> Outcome<()> {
        match gift {
            Gift::Points(points) => {
                self.give(account, *points, Side::Campaigns, now, out)?;
                self.told(Some(account), now, Notice::PointsGiven { points: *points }, out)
            }
            Gift::Coupon(kind) => {
                let origin = origin.clone();
                match self.new_coupon(account, kind, origin, None, (now, random), out) {
                    Ok((_, expires)) => {
                        let kind = kind.clone();
                        self.told(Some(account), now, Notice::CouponGiven { kind, expires }, out)
                    }
                    // what is used up is given to nobody
                    Err(Refusal::Exhausted { .. } | Refusal::EnoughForOne { .. }) => Ok(()),
                    Err(other) => Err(other),
                }
            }
            Gift::Experiment(name) => {
                let rules = self.rules_now()?;
                let Some(experiment) = rules.experiments.get(name) else { return Ok(()) };
                let Some((number, group)) = self.key.group(name, experiment, account) else {
                    return Ok(());
                };
                let gift = group.gift.clone();
                let assigned =
                    Change::Assigned { account, experiment: name.clone(), group: number, at: now };
                self.enter(assigned, out)?;
                match gift {
                    // a group gives no other test: the rules say so
                    Some(Gift::Experiment(_)) | None => Ok(()),
                    Some(gift) => self.gift(account, &gift, origin, now, random, out),
                }
            }
        }
    }
}

fn over(count: usize, most: u32) -> bool {
    u32::try_from(count).unwrap_or(u32::MAX) > most
}
