//! What the programme holds of a member, for the member.

use ::programme::Account;
use ::programme::adjustments::Adjustment;
use ::programme::coupons::{Code, Coupon};
use ::programme::fraud::Case;
use ::programme::marketing::Offering;
use ::programme::openings::Opening;
use ::programme::profile::{Month, Remembered};
use ::programme::rewards::{Hold, HoldState};
use ::programme::rules::Rules;
use ::programme::state::{Held, Payment, ProgrammeCopy};
use protocol::time::Timestamp;

use super::Core;
use super::programme_service::notice_words;
use super::programme_staff::{origin_name, signed};
use crate::exchange::points::account;
use crate::service::*;
use crate::vault::MemberId;

fn coupon((code, coupon): (Code, Coupon)) -> ExportedCoupon {
    let redeemed = coupon.redeemed.as_ref();
    ExportedCoupon {
        code: code.to_string(),
        kind: coupon.kind.to_string(),
        origin: origin_name(&coupon.origin),
        worth_fen: coupon.worth.get(),
        minimum_basket_fen: coupon.minimum_basket.get(),
        given_ms: coupon.given.unix_ms(),
        expires_ms: coupon.expires.unix_ms(),
        redeemed_ms: redeemed.map(|it| it.at.unix_ms()),
        place: redeemed.map(|it| it.place.to_string()),
        basket_fen: redeemed.map(|it| it.total.get()),
    }
}

fn reward(hold: &Hold) -> ExportedReward {
    let state = match hold.state {
        HoldState::Held => "held",
        HoldState::HandedOver => "handed_over",
        HoldState::Ended => "ended",
    };
    ExportedReward {
        reward: hold.reward.to_string(),
        points: hold.points.get(),
        at_ms: hold.at.unix_ms(),
        until_ms: hold.until.unix_ms(),
        state: state.to_owned(),
    }
}

const fn payment(payment: &Payment) -> ExportedPayment {
    let Payment { points, worth, reversed } = *payment;
    ExportedPayment { points: points.get(), worth_fen: worth.get(), reversed }
}

fn correction((number, correction): (u64, Adjustment)) -> ExportedCorrection {
    ExportedCorrection {
        number,
        points: signed(&correction),
        at_ms: correction.at.unix_ms(),
        state: correction.state.name().to_owned(),
        reason: correction.reason,
    }
}

fn opening(it: &Opening) -> ExportedOpening {
    let state = if it.is_given() { "given" } else { "waiting" };
    ExportedOpening {
        points: it.points.get(),
        tier_points: it.tier_points.get(),
        at_ms: it.at.unix_ms(),
        state: state.to_owned(),
    }
}

fn case((number, case): (u64, Case)) -> ExportedCase {
    ExportedCase {
        number,
        sign: case.sign.name().to_owned(),
        opened_ms: case.opened.unix_ms(),
        verdict: case.closed.map(|(_, verdict)| verdict.name().to_owned()),
        closed_ms: case.closed.map(|(at, _)| at.unix_ms()),
        reason: case.reason,
    }
}

fn offering(offering: &Offering) -> String {
    match offering {
        Offering::Campaign(name) | Offering::Trigger(name) => name.to_string(),
    }
}

fn month(month: &Month) -> RememberedMonth {
    let (year, number) = month.year_and_month();
    RememberedMonth {
        month: format!("{year:04}-{number:02}"),
        purchases: month.purchases,
        fen: month.fen,
    }
}

fn remembered(it: Remembered) -> RememberedView {
    let (earned_on, earned_then) = it.day_points;
    let tests = it.tests.iter().map(|(name, group, since)| RememberedTest {
        name: name.to_string(),
        group: *group,
        since_ms: since.unix_ms(),
    });
    RememberedView {
        takes_part: !it.outside,
        joined_ms: it.joined.map(Timestamp::unix_ms),
        birthday: it.birthday.map(|day| day.to_string()),
        accumulated_points: it.accumulated,
        purchases: it.purchases,
        last_purchase_ms: it.last_purchase.map(Timestamp::unix_ms),
        months: it.months.iter().map(month).collect(),
        categories_fen: it.categories.iter().map(|(it, fen)| (it.to_string(), *fen)).collect(),
        channels: it.channels.iter().map(|(it, baskets)| (it.to_string(), *baskets)).collect(),
        hours: it.hours.to_vec(),
        streak: it.streak,
        signed_in: it.signed_in.map(|day| day.date().to_string()),
        is_referred: it.is_referred,
        referred: it.referred,
        earned_on: (earned_then > 0).then(|| earned_on.date().to_string()),
        earned_then,
        stopped: it.stopped,
        held: it.held,
        rank: it.rank,
        triggers_ms: it.fired.iter().map(|(it, at)| (it.to_string(), at.unix_ms())).collect(),
        tests: tests.collect(),
        told_until_ms: it.told_until.map(Timestamp::unix_ms),
        activities: it
            .activities
            .iter()
            .map(|(it, day)| (it.to_string(), day.date().to_string()))
            .collect(),
    }
}

/// The programme as it was when what it holds of a member was asked for.
pub(super) struct HistoryAsked {
    account: Account,
    programme: ProgrammeCopy,
    // for the words of notices
    rules: Option<Rules>,
}

impl Core {
    /// What [`HistoryAsked::view`] is made of.
    pub(super) fn programme_history(&self, member: MemberId) -> HistoryAsked {
        HistoryAsked {
            account: account(member),
            programme: self.programme.copy(),
            rules: self.programme.rules().cloned(),
        }
    }
}

impl HistoryAsked {
    /// Answers on a thread of its own, since it looks at everything there is: the node goes on meanwhile.
    pub(super) fn answer(self, reply: Reply<ProgrammeHistory>) {
        tokio::task::spawn_blocking(move || {
            // whoever asked may be gone
            let _ = reply.send(Ok(self.view()));
        });
    }

    /// What the programme holds of the member beside what [`ProgrammeMemberView`] has.
    fn view(&self) -> ProgrammeHistory {
        let Held {
            remembered: what,
            coupons,
            rewards,
            payments,
            corrections,
            // the member's view has them
            requests: _,
            cases,
            virtual_rewards,
            devices,
            addresses,
            notices,
            bought,
            left_out,
            opening: brought,
        } = self.programme.held(self.account);
        let notice = |told: &::programme::state::Told| ExportedNotice {
            at_ms: told.at.unix_ms(),
            words: notice_words(self.rules.as_ref(), &told.notice),
        };
        ProgrammeHistory {
            remembered: what.map(remembered),
            coupons: coupons.into_iter().map(coupon).collect(),
            rewards: rewards.iter().map(reward).collect(),
            payments: payments.iter().map(payment).collect(),
            corrections: corrections.into_iter().map(correction).collect(),
            cases: cases.into_iter().map(case).collect(),
            virtual_rewards_ms: virtual_rewards.into_iter().map(Timestamp::unix_ms).collect(),
            devices,
            addresses,
            notices: notices.iter().map(notice).collect(),
            bought_ms: bought.iter().map(|(it, at)| (it.to_string(), at.unix_ms())).collect(),
            left_out: left_out.iter().map(offering).collect(),
            opening: brought.as_ref().map(opening),
        }
    }
}
