//! Events of members: joining, buying, signing in; and what these set off.

use std::collections::BTreeSet;

use protocol::amount::Points;
use protocol::time::{Milliseconds, Timestamp};

use super::{Answer, Change, Event, Notice, Outcome, Programme, Purchase, Random, Refusal};
use crate::accounts::{MoveError, Side};
use crate::baskets::CountedBasket;
use crate::calendar::{DAY_MS, DayOfYear};
use crate::coupons::Origin;
use crate::earn::{self, Terms};
use crate::fraud::{Case, Sign, minutes};
use crate::ids::{Account, Fen, Name};
use crate::marketing::{Consents, Offering, is_marketing};
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
        consents: Consents<'_>,
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
            let mut accounts = self.state.watch.on_device(device).to_vec();
            // of very many not all are remembered: this one is of them all the same
            if !accounts.contains(&account) {
                accounts.push(account);
            }
            if over(accounts.len(), fraud.accounts_per_device) {
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
        self.set_off(account, &[When::Joined, When::Segment], now, random, consents, out)?;
        Ok(Answer::Done)
    }

    /// Opens a case, unless one of this kind is open for one of the accounts: then the others come into that one. Whoever
    /// is stopped or held by it is told.
    pub(super) fn open_case(
        &mut self,
        sign: Sign,
        mut accounts: Vec<Account>,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome<u64> {
        let mut seen = BTreeSet::new();
        accounts.retain(|it| seen.insert(*it));
        let went_on: Vec<Account> =
            accounts.iter().copied().filter(|it| self.may_spend(*it).is_ok()).collect();
        let known = self.state.watch.open_case(sign, &accounts);
        let number = match known {
            Some(number) => {
                self.join_case(number, accounts, out)?;
                number
            }
            None => self.new_case(sign, accounts, now, out)?,
        };
        for account in went_on {
            let notice = match self.may_spend(account) {
                Ok(()) => continue,
                Err(Refusal::HeldForReview { .. }) => Notice::HeldForReview,
                Err(_) => Notice::Stopped,
            };
            self.told(Some(account), now, notice, out)?;
        }
        Ok(number)
    }

    pub(super) fn join_case(
        &mut self,
        number: u64,
        mut accounts: Vec<Account>,
        out: &mut Vec<Change>,
    ) -> Outcome<()> {
        let inside = self.state.watch.case(number).map(|case| case.accounts.as_slice());
        let inside: BTreeSet<Account> = inside.unwrap_or_default().iter().copied().collect();
        accounts.retain(|it| !inside.contains(it));
        if accounts.is_empty() {
            return Ok(());
        }
        self.enter(Change::CaseJoined { number, accounts }, out)
    }

    fn new_case(
        &mut self,
        sign: Sign,
        accounts: Vec<Account>,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome<u64> {
        let fraud = self.rules_now()?.fraud;
        let due = now.plus(minutes(fraud.review_hours.saturating_mul(60)));
        let number = self.state.watch.next_case();
        let (closed, reviewer, reason) = (None, None, None);
        let action = Some(fraud.action(sign));
        let case = Case { sign, accounts, opened: now, due, closed, reviewer, reason, action };
        self.enter(Change::CaseOpened { number, case }, out)?;
        self.told(None, now, Notice::Review { case: number }, out)?;
        Ok(number)
    }

    /// When a member's birthday is, as whoever keeps birth dates says.
    pub(super) fn birthday(
        &mut self,
        account: Account,
        birthday: Option<DayOfYear>,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome {
        self.rules_now()?;
        let profile = self.state.profiles.get(&account);
        if profile.is_some_and(|it| it.birthday_asked && it.birthday == birthday) {
            return Ok(Answer::Repeated);
        }
        self.enter(Change::Birthday { account, birthday, at: now }, out)?;
        Ok(Answer::Done)
    }

    pub(super) fn purchased(
        &mut self,
        purchase: Purchase,
        now: Timestamp,
        random: Random<'_>,
        consents: Consents<'_>,
        out: &mut Vec<Change>,
    ) -> Outcome {
        let rules = self.rules_now()?;
        if self.state.baskets.has(purchase.part) {
            return Ok(Answer::Repeated);
        }
        let Purchase { account, part, at, hour, channel, first_part, before, after } = purchase;
        let known = self.state.profiles.get(&account);
        let day = rules.zone.day(at);
        let counted = self.state.baskets.get(part);
        let first = || CountedBasket {
            part: 0,
            tier: known.map_or(protocol::amount::Rate::ONE, |it| tiers::factor(rules, it)),
            birthday: known.and_then(|it| it.birthday).is_some_and(|it| it.is_on(day)),
            earned: Points::ZERO,
            forgone: Points::ZERO,
        };
        let mut basket = counted.unwrap_or_else(first);
        let terms = Terms { channel: &channel, tier: basket.tier, birthday: basket.birthday };
        // what earned before the programme began earned about this
        let had = counted.map_or_else(
            || earn::points(&rules.earning, &before, terms),
            |counted| counted.comes_to(),
        );
        if counted.is_none() {
            basket.earned = had;
        }
        let has = earn::points(&rules.earning, &after, terms);
        // a basket that shrinks gives nothing and one that grows takes nothing, whatever the rules are by now
        let (mut earned, mut taken_back) = (Points::ZERO, Points::ZERO);
        if after.total < before.total {
            taken_back = basket.take_off(had.saturating_minus(has));
        } else {
            earned = has.saturating_minus(had);
            basket.earned = basket.earned.plus(earned).unwrap_or(Points::MAX);
        }
        basket.part = part.number();
        let is_back = known.is_some_and(|profile| profile.outside);
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
        let counted = Counted { at, channel, first_part, more, less, categories, hour };
        // valid from the day the brand learned of it: late data shortens nobody's time
        let expires = rules.expires(rules.zone.day(now.max(at)));
        if is_back {
            self.enter(Change::CameBack { account, at: now }, out)?;
        }
        let change =
            Change::Purchased { account, part, counted, earned, taken_back, expires, basket };
        self.enter(change, out)?;
        if first_part {
            self.reward_referrer(account, now, out)?;
        }
        self.watch_growth(account, Points::ZERO, now, out)?;
        let mut whens = vec![When::Segment];
        if first_part {
            whens.push(When::Purchase);
        }
        if now.since(at) <= FRESH {
            self.set_off(account, &whens, now, random, consents, out)?;
        } else {
            self.rank_again(account, now, out)?;
        }
        Ok(Answer::Earned { earned, taken_back })
    }

    /// A basket of a member who does not take part, new or changed. What it would have earned is noted with the
    /// basket, so that neither a consent that comes later nor goods that come back move points nobody had.
    pub(super) fn passed_over(&mut self, purchase: Purchase, out: &mut Vec<Change>) -> Outcome {
        let rules = self.rules_now()?;
        if self.state.baskets.has(purchase.part) {
            return Ok(Answer::Repeated);
        }
        let Purchase { account, part, channel, before, after, .. } = purchase;
        let counted = self.state.baskets.get(part);
        let mut basket = counted.unwrap_or(CountedBasket {
            part: 0,
            tier: protocol::amount::Rate::ONE,
            birthday: false,
            earned: Points::ZERO,
            forgone: Points::ZERO,
        });
        let terms = Terms { channel: &channel, tier: basket.tier, birthday: basket.birthday };
        if counted.is_none() {
            // what earned before the programme began earned about this
            basket.earned = earn::points(&rules.earning, &before, terms);
        }
        let (had, has) = (basket.comes_to(), earn::points(&rules.earning, &after, terms));
        let mut taken_back = Points::ZERO;
        if after.total < before.total {
            taken_back = basket.take_off(had.saturating_minus(has));
        } else {
            let more = has.saturating_minus(had);
            basket.forgone = basket.forgone.plus(more).unwrap_or(Points::MAX);
        }
        basket.part = part.number();
        self.enter(Change::PassedOver { account, part, taken_back, basket }, out)?;
        Ok(Answer::Earned { earned: Points::ZERO, taken_back })
    }

    /// Nothing of a member who does not take part is remembered but what was given, and when.
    pub(super) fn leave(
        &mut self,
        account: Account,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome {
        if self.state.profiles.get(&account).is_some_and(|profile| !profile.outside) {
            self.enter(Change::Left { account, at: now }, out)?;
        }
        Ok(Answer::Done)
    }

    pub(super) fn come_back(
        &mut self,
        account: Account,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome {
        if self.state.profiles.get(&account).is_some_and(|profile| profile.outside) {
            self.enter(Change::CameBack { account, at: now }, out)?;
        }
        Ok(Answer::Done)
    }

    /// Opens a case when a member has gained more on a day than the rules let pass unseen, by whatever way: of whom
    /// nothing is remembered, what is gained at once counts alone.
    pub(super) fn watch_growth(
        &mut self,
        account: Account,
        gained: Points,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome<()> {
        let most_a_day = self.rules_now()?.fraud.points_per_day.get();
        let known = self.state.profiles.get(&account).map_or(0, |profile| profile.day_points.1);
        if known.max(gained.get()) > most_a_day {
            self.open_case(Sign::Growth, vec![account], now, out)?;
        }
        Ok(())
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
        if profile.referred > referral.most || profile.stopped || profile.outside {
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
        self.enter(Change::Given { account, points, from, at: now, expires }, out)?;
        self.watch_growth(account, points, now, out)
    }

    pub(super) fn not_stopped(&self, account: Account) -> Outcome<()> {
        if self.is_stopped(account) { Err(Refusal::Stopped) } else { Ok(()) }
    }

    /// Whether anything may leave an account: it is neither stopped nor held.
    pub(super) fn may_spend(&self, account: Account) -> Outcome<()> {
        self.not_stopped(account)?;
        match self.held_for_review(account) {
            Some(case) => Err(Refusal::HeldForReview { case }),
            None => Ok(()),
        }
    }

    pub(super) fn signed_in(
        &mut self,
        account: Account,
        now: Timestamp,
        random: Random<'_>,
        consents: Consents<'_>,
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
        self.set_off(account, &[When::Segment], now, random, consents, out)?;
        Ok(Answer::Earned { earned: points, taken_back: Points::ZERO })
    }

    pub(super) fn did(
        &mut self,
        account: Account,
        activity: &Name,
        now: Timestamp,
        random: Random<'_>,
        consents: Consents<'_>,
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
        self.set_off(account, &[When::Segment], now, random, consents, out)?;
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
        if profile.outside {
            return Ok(false);
        }
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
        consents: Consents<'_>,
        out: &mut Vec<Change>,
    ) -> Outcome<()> {
        let higher = self.rank_again(account, now, out)?;
        let rules = self.rules_now()?;
        let Some(profile) = self.state.profiles.get(&account) else { return Ok(()) };
        if profile.stopped || profile.outside {
            return Ok(());
        }
        let mut whens = whens.to_vec();
        if higher {
            whens.push(When::TierReached);
        }
        let due = triggers::due(rules, &whens, profile, &self.state.names, now);
        let due = due.into_iter();
        let due: Vec<(Name, Gift, bool)> =
            due.map(|(name, it)| (name.clone(), it.gift.clone(), is_marketing(it))).collect();
        for (trigger, gift, marketing) in due {
            if marketing {
                let offering = Offering::Trigger(trigger.clone());
                if !self.may_offer(offering, account, now, consents, out)? {
                    continue;
                }
            }
            let fired = Change::Fired { account, trigger: trigger.clone(), at: now };
            self.enter(fired, out)?;
            self.gift(account, &gift, &Origin::Trigger(trigger), now, random, out)?;
        }
        self.join_campaigns(account, now, random, consents, out)
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
        let marketing = self.is_marketing(origin);
        match gift {
            Gift::Points(points) => {
                self.give(account, *points, Side::Campaigns, now, out)?;
                let notice = Notice::PointsGiven { points: *points, marketing };
                self.told(Some(account), now, notice, out)
            }
            Gift::Coupon(kind) => {
                let origin = origin.clone();
                match self.new_coupon(account, kind, origin, None, (now, random), out) {
                    Ok((_, expires)) => {
                        let kind = kind.clone();
                        let notice = Notice::CouponGiven { kind, expires, marketing };
                        self.told(Some(account), now, notice, out)
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
