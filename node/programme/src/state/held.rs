//! All that the programme holds of one member, for the member (PIPL art. 45).
//!
//! [`ProgrammeCopy::held`] takes the state apart without a rest, as [`Profile::remembered`] does what is remembered of a
//! member: a new part does not compile before it is said here what of it is the member's, or why nothing is.

use protocol::amount::Points;
use protocol::time::Timestamp;

use super::{Done, ProgrammeCopy, State, Told};
use crate::adjustments::Adjustment;
use crate::coupons::{Code, Coupon};
use crate::fraud::Case;
use crate::ids::{Account, Fen, Name};
use crate::marketing::Offering;
use crate::openings::Opening;
use crate::profile::{Profile, Remembered};
use crate::requests::Request;
use crate::rewards::Hold;

/// A payment with points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    /// How many.
    pub points: Points,
    /// What they took off.
    pub worth: Fen,
    /// Whether it was taken back.
    pub reversed: bool,
}

/// All that is held of one member beside the balance and its lots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// What is remembered; none of a member of whom nothing is.
    pub remembered: Option<Remembered>,
    /// Coupons, redeemed ones too.
    pub coupons: Vec<(Code, Coupon)>,
    /// Rewards asked for, whatever became of them.
    pub rewards: Vec<Hold>,
    /// Payments with points.
    pub payments: Vec<Payment>,
    /// Corrections of the balance.
    pub corrections: Vec<(u64, Adjustment)>,
    /// Requests to the service.
    pub requests: Vec<(u64, Request)>,
    /// Reviews of what looked like fraud, others' accounts left out.
    pub cases: Vec<(u64, Case)>,
    /// Virtual rewards that were counted.
    pub virtual_rewards: Vec<Timestamp>,
    /// On how many devices the account was seen, which are kept as keyed hashes.
    pub devices: u64,
    /// At how many addresses.
    pub addresses: u64,
    /// What was told.
    pub notices: Vec<Told>,
    /// First purchases that were counted for tests of offers.
    pub bought: Vec<(Name, Timestamp)>,
    /// Offers not made for want of a consent.
    pub left_out: Vec<Offering>,
    /// What was brought from a programme of before, or waits to be.
    pub opening: Option<Opening>,
}

impl ProgrammeCopy {
    /// All that is held of a member beside the balance. Looks at everything there is: of a copy, so that it is not
    /// done where the node decides things.
    #[must_use]
    pub fn held(&self, whose: Account) -> Held {
        let State {
            // the balance and its lots are in the books
            accounts: _,
            profiles,
            names,
            // by a keyed hash: whose a basket is, only the purchases say
            baskets: _,
            coupons,
            rewards,
            watch,
            requests,
            // sums over members
            results: _,
            done,
            // when what is here is looked at next
            due: _,
            told,
            told_last: _,
            bought,
            adjustments,
            // who was merged is shown with the member's record
            merged: _,
            // the brand's own, and of no member
            segments: _,
            campaigns: _,
            left_out,
            left_out_counts: _,
            openings,
        } = &self.state;
        let paid = |done: &Done| match *done {
            Done::Paid { account, points, worth, reversed } if account == whose => {
                Some(Payment { points, worth, reversed })
            }
            // what a key came to otherwise is the coupon or the correction itself
            Done::Paid { .. } | Done::Claimed { .. } | Done::Adjusted { .. } => None,
        };
        let (devices, addresses, virtual_rewards, cases) = watch.held(whose);
        let corrections = adjustments.iter().filter(|(_, it)| it.account == whose);
        let asked = requests.iter().filter(|(_, request)| request.account == whose);
        let told = told.iter().filter(|told| told.account == Some(whose));
        let bought = bought.iter().filter(|((account, _), _)| *account == whose);
        let left_out = left_out.iter().filter(|(_, account)| *account == whose);
        Held {
            remembered: profiles.get(&whose).map(|profile: &Profile| profile.remembered(names)),
            coupons: coupons.of(whose).map(|(code, coupon)| (code, coupon.clone())).collect(),
            rewards: rewards.of(whose).cloned().collect(),
            payments: done.values().filter_map(paid).collect(),
            corrections: corrections.map(|(number, it)| (number, it.clone())).collect(),
            requests: asked.map(|(number, request)| (number, request.clone())).collect(),
            cases,
            virtual_rewards,
            devices,
            addresses,
            notices: told.cloned().collect(),
            bought: bought.map(|((_, test), at)| (test.clone(), *at)).collect(),
            left_out: left_out.map(|(offering, _)| offering.clone()).collect(),
            opening: openings.get(&whose).cloned(),
        }
    }
}
