//! What staff does to the programme by hand, and what it looks at before it does: corrections, coupons given,
//! rules checked.

use std::cmp::Reverse;

use ::programme::adjustments::{Adjustment, AdjustmentState};
use ::programme::coupons::{Code, Coupon, Origin};
use ::programme::plain::{Concern, statements};
use ::programme::rules::{RuleChange, RuleChangeError, Rules, change};
use ::programme::state::{Answer, Event, Refusal};
use protocol::codec;
use protocol::time::Timestamp;
use ring::hmac;

use super::programme::{refused, request_key};
use super::programme_service::{done, name, points, words};
use super::{Core, Turn};
use crate::exchange::points::account;
use crate::service::*;

/// What came of a decision on a correction: one that is refused is done with too.
pub(super) fn decided(agrees: bool, it: Answer) -> DoneView {
    let mut view = done(it, None);
    if !agrees {
        "done".clone_into(&mut view.state);
    }
    view
}

pub(super) fn signed(adjustment: &Adjustment) -> i64 {
    // an amount has at most 10^12 points
    let points = i64::try_from(adjustment.points.get()).unwrap_or(i64::MAX);
    if adjustment.gives { points } else { points.saturating_neg() }
}

/// Why a coupon was given, in one word.
pub(super) fn origin_name(origin: &Origin) -> String {
    match origin {
        Origin::Claimed => "claimed".to_owned(),
        Origin::Staff => "staff".to_owned(),
        Origin::Trigger(name) | Origin::Campaign(name, _) => name.to_string(),
    }
}

impl Core {
    pub(super) fn adjust_points(
        &mut self,
        (key, by): (&str, String),
        card: &str,
        request: AdjustmentRequest,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<DoneView, ServiceError> {
        let account = account(self.member(card)?);
        let event = Event::Adjust {
            key: request_key("adjust", &format!("{card}\0{key}")),
            account,
            points: points(request.points.unsigned_abs())?,
            gives: request.points > 0,
            reason: request.reason.trim().to_owned(),
            by,
        };
        self.happen(event, now, turn).map(|it| done(it, None))
    }

    pub(super) fn give_coupon(
        &mut self,
        key: &str,
        card: &str,
        kind: &str,
        now: Timestamp,
        turn: &mut Turn,
    ) -> Result<DoneView, ServiceError> {
        let member = self.member(card)?;
        self.require_programme(member)?;
        let event = Event::GiveCoupon {
            key: request_key("give", &format!("{card}\0{key}")),
            account: account(member),
            kind: name(kind, "kind")?,
        };
        self.happen(event, now, turn).map(|it| done(it, None))
    }

    pub(super) fn adjustment_views(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Rows<AdjustmentView, u64> {
        let latest = self.programme.adjustments().before(before).take(limit.saturating_add(1));
        let rows = latest
            .map(|(number, adjustment)| {
                let (decided_by, decided_ms) = match &adjustment.state {
                    AdjustmentState::Agreed { at, by } | AdjustmentState::Refused { at, by } => {
                        (Some(by.clone()), Some(at.unix_ms()))
                    }
                    AdjustmentState::Booked | AdjustmentState::Waiting => (None, None),
                };
                let view = AdjustmentView {
                    number,
                    card: self.masked_card(adjustment.account),
                    points: signed(adjustment),
                    reason: adjustment.reason.clone(),
                    by: adjustment.by.clone(),
                    at_ms: adjustment.at.unix_ms(),
                    state: adjustment.state.name().to_owned(),
                    decided_by,
                    decided_ms,
                };
                (number, view)
            })
            .collect();
        cut_page(rows, limit)
    }

    /// What tells a coupon from others that were given at the same moment: its code is the member's secret.
    fn coupon_mark(&self, code: Code) -> [u8; 16] {
        let tag = hmac::sign(&self.coupon_marks, &codec::encode(&code));
        let mut mark = [0; 16];
        mark.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        mark
    }

    pub(super) fn coupon_views(
        &self,
        kind: Option<&str>,
        before: Option<CouponKey>,
        limit: usize,
    ) -> Result<Rows<IssuedCouponView, CouponKey>, ServiceError> {
        let kind = kind.map(|kind| name(kind, "kind")).transpose()?;
        let all = || self.programme.coupons().iter();
        // the last of the page before; where it is gone, what was given at its moment is behind
        let last = before.and_then(|(given, mark)| {
            let of_then = |(code, coupon): &(Code, &Coupon)| {
                coupon.given == given && self.coupon_mark(*code) == mark
            };
            all().find(of_then)
        });
        let gone = before.filter(|_| last.is_none()).map(|(given, _)| given);
        let wanted = all().filter(|(_, coupon)| {
            kind.as_ref().is_none_or(|kind| coupon.kind == *kind)
                && gone.is_none_or(|given| coupon.given < given)
        });
        let keyed = wanted.map(|(code, coupon)| ((Reverse(coupon.given), code), coupon));
        let last = last.map(|(code, coupon)| (Reverse(coupon.given), code));
        let (latest, next) = page_after(keyed, last.as_ref(), limit);
        let next = next.map(|(Reverse(given), code)| (given, self.coupon_mark(code)));
        let view = |coupon: &Coupon| IssuedCouponView {
            kind: coupon.kind.to_string(),
            card: self.masked_card(coupon.account),
            origin: origin_name(&coupon.origin),
            worth_fen: coupon.worth.get(),
            given_ms: coupon.given.unix_ms(),
            expires_ms: coupon.expires.unix_ms(),
            redeemed_ms: coupon.redeemed.as_ref().map(|it| it.at.unix_ms()),
            place: coupon.redeemed.as_ref().map(|it| it.place.to_string()),
        };
        Ok((latest.into_iter().map(view).collect(), next))
    }

    /// Rules as they would be taken up now.
    pub(super) fn check_view(
        &self,
        text: &str,
        now: Timestamp,
    ) -> Result<RulesCheckView, ServiceError> {
        let new = Rules::from_toml(text).map_err(|error| refused(&Refusal::from(error)))?;
        let rules = statements(&new).into_iter().map(|it| RuleView {
            key: it.key,
            words: words(&it.words),
            internal: it.concern == Concern::Internal,
        });
        let mut view = RulesCheckView {
            version: new.version,
            rules: rules.collect(),
            earliest_ms: now.unix_ms(),
            ..RulesCheckView::default()
        };
        let old = self.rules();
        let differences = change::differences(&old, &new);
        let differences = differences.iter().map(|it| RuleDifferenceView {
            key: it.key.clone(),
            words: words(&it.words()),
            needs_notice: it.needs_notice(),
        });
        view.differences = differences.collect();
        if self.programme.is_unused() {
            return Ok(view);
        }
        if view.differences.iter().any(|it| it.needs_notice) {
            view.earliest_ms = self.notice_period().earliest(now).unix_ms();
        }
        let pending = self.programme.announced().map(|(rules, _)| rules.version);
        let earliest = Timestamp::from_unix_ms(view.earliest_ms);
        let constitution = self.ledger.constitution().succession().notice;
        let wrong = match pending {
            Some(version) => Some(RuleChangeError::Pending { version }),
            None => RuleChange::between(&old, &new, now, earliest, constitution).err(),
        };
        view.refused = wrong.map(|it| words(&Refusal::from(it).words()));
        Ok(view)
    }
}
