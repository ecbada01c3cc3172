//! Spending: points at the till, coupons, rewards.

use protocol::amount::{Points, Rate};
use protocol::time::Timestamp;

use super::{Answer, Change, Done, Notice, Outcome, Programme, Random, Refusal};
use crate::accounts::MoveError;
use crate::coupons::{Code, Coupon, CouponError, Origin, Redemption};
use crate::fraud::{Action, Case, Sign, minutes};
use crate::ids::{Account, Fen, Name};
use crate::requests::Key;
use crate::rewards::{Hold, HoldState};

/// Draws of a code before the generator is taken to be broken.
const DRAWS: u32 = 16;

fn times(number: u64, rate: Rate) -> u64 {
    let product = u128::from(number).saturating_mul(rate.numerator().into());
    let share = product.checked_div(rate.denominator().into()).unwrap_or(0);
    u64::try_from(share).unwrap_or(u64::MAX)
}

impl Programme {
    pub(super) fn pay(
        &mut self,
        key: Key,
        account: Account,
        (points, basket): (Points, Fen),
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome {
        match self.state.done.get(&key) {
            Some(Done::Paid { account: whose, points: paid, worth, reversed: false })
                if (*whose, *paid) == (account, points) =>
            {
                return Ok(Answer::TakesOff { worth: *worth });
            }
            Some(_) => return Err(Refusal::KeyTaken),
            None => {}
        }
        let rules = self.rules_now()?;
        self.may_spend(account)?;
        let spending = &rules.spending;
        let (minimum, step) = (spending.minimum.get(), spending.step.get());
        if points.get() < minimum || !points.get().is_multiple_of(step) {
            return Err(Refusal::Threshold { minimum, step, found: points.get() });
        }
        let worth = times(points.get(), spending.fen_per_point);
        let most = times(basket.get(), spending.most_of_basket);
        if worth > most {
            return Err(Refusal::BasketShare { worth, basket: basket.get(), most });
        }
        let worth = Fen::new(worth).unwrap_or_default();
        self.enough(account, points)?;
        self.enter(Change::Paid { key, account, points, worth, at: now }, out)?;
        Ok(Answer::TakesOff { worth })
    }

    fn enough(&self, account: Account, points: Points) -> Outcome<()> {
        let available = self.state.accounts.get(account).map_or(Points::ZERO, |it| it.available());
        if available < points {
            let (available, wanted) = (available.get(), points.get());
            return Err(MoveError::TooFew { available, wanted }.into());
        }
        Ok(())
    }

    pub(super) fn claim(
        &mut self,
        key: Key,
        account: Account,
        kind: &Name,
        (now, random): (Timestamp, Random<'_>),
        out: &mut Vec<Change>,
    ) -> Outcome {
        if let Some(given) = self.given(key, account, kind)? {
            return Ok(given);
        }
        let rules = self.rules_now()?;
        self.may_spend(account)?;
        let unknown = || Refusal::Unknown { what: "coupon", name: kind.to_string() };
        let known = rules.coupons.get(kind).ok_or_else(unknown)?;
        if !known.claimable {
            return Err(Refusal::NotClaimable);
        }
        self.enough(account, known.price)?;
        let (code, expires) =
            self.new_coupon(account, kind, Origin::Claimed, Some(key), (now, random), out)?;
        Ok(Answer::Coupon { code, expires })
    }

    /// The coupon that was given under a key, if one was.
    fn given(&self, key: Key, account: Account, kind: &Name) -> Outcome<Option<Answer>> {
        match self.state.done.get(&key) {
            Some(Done::Claimed { account: whose, code }) if *whose == account => {
                let coupon = self.state.coupons.get(*code).filter(|coupon| coupon.kind == *kind);
                let coupon = coupon.ok_or(Refusal::KeyTaken)?;
                Ok(Some(Answer::Coupon { code: *code, expires: coupon.expires }))
            }
            Some(_) => Err(Refusal::KeyTaken),
            None => Ok(None),
        }
    }

    pub(super) fn give_coupon(
        &mut self,
        key: Key,
        account: Account,
        kind: &Name,
        (now, random): (Timestamp, Random<'_>),
        out: &mut Vec<Change>,
    ) -> Outcome {
        if let Some(given) = self.given(key, account, kind)? {
            return Ok(given);
        }
        self.not_stopped(account)?;
        let (code, expires) =
            self.new_coupon(account, kind, Origin::Staff, Some(key), (now, random), out)?;
        let told = Notice::CouponGiven { kind: kind.clone(), expires, marketing: false };
        self.told(Some(account), now, told, out)?;
        Ok(Answer::Coupon { code, expires })
    }

    pub(super) fn reverse_payment(
        &mut self,
        key: Key,
        account: Account,
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome {
        let (points, reversed) = match self.state.done.get(&key) {
            Some(Done::Paid { account: whose, points, reversed, .. }) if *whose == account => {
                (*points, *reversed)
            }
            _ => return Err(Refusal::NotPaid),
        };
        if reversed {
            return Ok(Answer::Repeated);
        }
        if !self.state.accounts.takes(account, points) {
            return Err(MoveError::Range.into());
        }
        // the lots they came from are not known any more: they are valid as if they were earned today
        let rules = self.rules_now()?;
        let expires = rules.expires(rules.zone.day(now));
        self.enter(Change::PaymentReversed { key, account, points, expires }, out)?;
        Ok(Answer::Done)
    }

    pub(super) fn reopen_coupon(&mut self, key: Key, code: Code, out: &mut Vec<Change>) -> Outcome {
        let coupon = self.state.coupons.get(code).ok_or(CouponError::Unknown)?;
        match &coupon.redeemed {
            None => return Ok(Answer::Repeated),
            Some(by) if by.key == key => {}
            Some(by) => {
                return Err(CouponError::Redeemed { at_ms: by.at.unix_ms() }.into());
            }
        }
        self.enter(Change::CouponReopened { code }, out)?;
        Ok(Answer::Done)
    }

    /// Gives a coupon, as far as the rules have any left.
    pub(super) fn new_coupon(
        &mut self,
        account: Account,
        kind: &Name,
        origin: Origin,
        key: Option<Key>,
        (now, random): (Timestamp, Random<'_>),
        out: &mut Vec<Change>,
    ) -> Outcome<(Code, Timestamp)> {
        let rules = self.rules_now()?;
        let unknown = || Refusal::Unknown { what: "coupon", name: kind.to_string() };
        let terms = rules.coupons.get(kind).ok_or_else(unknown)?;
        let name = || kind.to_string();
        if self.state.coupons.count(kind).given >= terms.most {
            return Err(Refusal::Exhausted { name: name(), most: terms.most });
        }
        let mine =
            self.state.coupons.of(account).filter(|(_, coupon)| coupon.kind == *kind).count();
        if u32::try_from(mine).unwrap_or(u32::MAX) >= terms.most_per_member {
            return Err(Refusal::EnoughForOne { name: name(), most: terms.most_per_member });
        }
        let price = if origin == Origin::Claimed { terms.price } else { Points::ZERO };
        let last = rules.zone.day(now).plus(terms.valid_days);
        let coupon = Coupon {
            kind: kind.clone(),
            account,
            given: now,
            expires: rules.zone.start(last.plus(1)),
            worth: terms.worth,
            minimum_basket: terms.minimum_basket,
            origin,
            redeemed: None,
        };
        let expires = coupon.expires;
        let code = self.fresh_code(random)?;
        self.enter(Change::CouponGiven { code, coupon, price, key }, out)?;
        Ok((code, expires))
    }

    fn fresh_code(&self, random: Random<'_>) -> Outcome<Code> {
        for _ in 0..DRAWS {
            let mut bytes = [0; 10];
            random(&mut bytes);
            let code = Code::from_bytes(bytes);
            if self.state.coupons.get(code).is_none() {
                return Ok(code);
            }
        }
        Err(Refusal::Broken("the generator repeats itself"))
    }

    pub(super) fn redeem(
        &mut self,
        key: Key,
        code: Code,
        (total, place): (Fen, Name),
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome {
        let (repeated, coupon) = self.state.coupons.check(code, key, total, now)?;
        let (worth, account) = (coupon.worth, coupon.account);
        if !repeated {
            self.may_spend(account)?;
            let redemption = Redemption { key, at: now, place, total };
            self.enter(Change::CouponRedeemed { code, redemption }, out)?;
        }
        Ok(Answer::TakesOff { worth: if total.get() > 0 { worth.min(total) } else { worth } })
    }

    pub(super) fn stock(&mut self, reward: &Name, total: u32, out: &mut Vec<Change>) -> Outcome {
        let name = reward.to_string();
        if !self.rules_now()?.rewards.contains_key(reward) {
            return Err(Refusal::Unknown { what: "reward", name });
        }
        let stock = self.state.rewards.stock(reward);
        let taken = stock.held.saturating_add(stock.handed_over);
        if total < taken {
            return Err(Refusal::StockTaken { name, taken });
        }
        self.enter(Change::Stocked { reward: reward.clone(), total }, out)?;
        Ok(Answer::Done)
    }

    pub(super) fn hold_reward(
        &mut self,
        key: Key,
        account: Account,
        (reward, second_step): (&Name, bool),
        now: Timestamp,
        out: &mut Vec<Change>,
    ) -> Outcome {
        if let Some(hold) = self.state.rewards.hold(key) {
            let same = hold.account == account && hold.reward == *reward;
            return if same {
                Ok(Answer::SetAside { until: hold.until })
            } else {
                Err(Refusal::KeyTaken)
            };
        }
        let rules = self.rules_now()?;
        self.may_spend(account)?;
        let name = reward.to_string();
        let unknown = || Refusal::Unknown { what: "reward", name: name.clone() };
        let terms = rules.rewards.get(reward).ok_or_else(unknown)?.clone();
        let fraud = rules.fraud;
        let stock = self.state.rewards.stock(reward);
        if stock.left() == 0 {
            return Err(Refusal::Exhausted { name, most: stock.total });
        }
        if self.state.rewards.taken(account, reward) >= terms.most_per_member {
            return Err(Refusal::EnoughForOne { name, most: terms.most_per_member });
        }
        self.enough(account, terms.price)?;
        let window = minutes(fraud.virtual_minutes);
        let recent = self.state.watch.virtual_rewards(account, now, window);
        if terms.is_virtual && recent >= fraud.virtual_rewards {
            let case = self.open_case(Sign::VirtualRewards, vec![account], now, out)?;
            // the case may have been opened under other rules: what it says is done
            match self.state.watch.case(case).map(Case::action) {
                Some(Action::Stop | Action::Hold) => return Ok(Answer::UnderReview { case }),
                Some(Action::SecondStep) if !second_step => {
                    return Ok(Answer::SecondStepNeeded { case });
                }
                _ => {}
            }
        }
        if let Some(case) = self.state.watch.second_step_for(account).filter(|_| !second_step) {
            return Ok(Answer::SecondStepNeeded { case });
        }
        let until = now.plus(minutes(terms.hold_minutes));
        let hold = Hold {
            account,
            reward: reward.clone(),
            points: terms.price,
            at: now,
            until,
            state: HoldState::Held,
        };
        self.enter(Change::RewardHeld { key, hold, is_virtual: terms.is_virtual }, out)?;
        Ok(Answer::SetAside { until })
    }

    pub(super) fn close_hold(
        &mut self,
        key: Key,
        handed_over: bool,
        out: &mut Vec<Change>,
    ) -> Outcome {
        let hold = self.state.rewards.hold(key).ok_or(Refusal::NotHeld)?;
        let (account, points) = (hold.account, hold.points);
        match (hold.state, handed_over) {
            (HoldState::HandedOver, true) | (HoldState::Ended, false) => {
                return Ok(Answer::Repeated);
            }
            (HoldState::Held, _) => {}
            _ => return Err(Refusal::NotHeld),
        }
        if handed_over {
            self.may_spend(account)?;
        }
        self.enter(
            if handed_over {
                Change::HandedOver { key, account, points }
            } else {
                Change::HoldEnded { key, account, points }
            },
            out,
        )?;
        Ok(Answer::Done)
    }
}
