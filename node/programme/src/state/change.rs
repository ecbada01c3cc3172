//! What was decided, to be made durable: each change carries its outcome (points, expiry, tier, group),
//! so that a replay decides nothing again, whatever a later version would.

use minicbor::{Decode, Encode};
use protocol::amount::Points;
use protocol::time::Timestamp;

use crate::accounts::Side;
use crate::adjustments::{Adjustment, AdjustmentState};
use crate::baskets::CountedBasket;
use crate::calendar::{Day, DayOfYear};
use crate::campaigns::Campaign;
use crate::coupons::{Code, Coupon, Redemption};
use crate::fraud::{Case, Trace, Verdict};
use crate::ids::{Account, BasketPart, Fen, Name};
use crate::marketing::Offering;
use crate::openings::Opening;
use crate::profile::Counted;
use crate::requests::{Key, Request};
use crate::rewards::Hold;
use crate::segments::SegmentTerms;

/// How points of one member move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub enum Way {
    /// From a side to what can be spent.
    #[n(0)]
    Give(#[n(0)] Side),
    /// From what can be spent to a side.
    #[n(1)]
    Take(#[n(0)] Side),
    /// To a side, whether it is there or not.
    #[n(2)]
    TakeBack(#[n(0)] Side),
    /// From what can be spent to what is set aside.
    #[n(3)]
    Hold,
    /// Back.
    #[n(4)]
    Release,
    /// From what is set aside to a side.
    #[n(5)]
    Settle(#[n(0)] Side),
}

/// Points that move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    /// Whose.
    pub account: Account,
    /// How many.
    pub points: Points,
    /// How.
    pub way: Way,
    /// When they expire, if they are given.
    pub expires: Option<Timestamp>,
}

/// What somebody is told. Who pushes messages reads these; nothing else is pushed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub enum Notice {
    /// So many points expire at or before that moment.
    #[n(0)]
    PointsExpire {
        /// How many.
        #[n(0)]
        points: Points,
        /// When the last of them does.
        #[n(1)]
        at: Timestamp,
    },
    /// A tier was reached.
    #[n(1)]
    TierReached {
        /// Its name.
        #[n(0)]
        tier: Name,
    },
    /// A coupon was given by a rule.
    #[n(2)]
    CouponGiven {
        /// Its kind.
        #[n(0)]
        kind: Name,
        /// Until when it is valid.
        #[n(1)]
        expires: Timestamp,
        /// Whether it is told as marketing: then only to who consents to that still.
        #[cbor(n(2), default)]
        marketing: bool,
    },
    /// Points were given by a rule.
    #[n(3)]
    PointsGiven {
        /// How many.
        #[n(0)]
        points: Points,
        /// Whether it is told as marketing: then only to who consents to that still.
        #[cbor(n(1), default)]
        marketing: bool,
    },
    /// The rules will change, or have.
    #[n(4)]
    Rules {
        /// Their version.
        #[n(0)]
        version: u32,
        /// From when.
        #[n(1)]
        effective: Timestamp,
    },
    /// Something is to be reviewed.
    #[n(5)]
    Review {
        /// Which case.
        #[n(0)]
        case: u64,
    },
    /// The account was stopped.
    #[n(6)]
    Stopped,
    /// A request was answered.
    #[n(7)]
    Answered {
        /// Which.
        #[n(0)]
        request: u64,
    },
    /// A request or a case is late.
    #[n(8)]
    Late {
        /// A request, if it is not a case.
        #[n(0)]
        request: Option<u64>,
        /// A case, if it is not a request.
        #[n(1)]
        case: Option<u64>,
    },
    /// What was set aside is there for others again.
    #[n(9)]
    HoldEnded {
        /// Which reward.
        #[n(0)]
        reward: Name,
    },
    /// Nothing leaves the account until a person has looked at it.
    #[n(10)]
    HeldForReview,
}

impl Notice {
    /// What kind it is, without anything of whom it is about.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PointsExpire { .. } => "points_expire",
            Self::TierReached { .. } => "tier_reached",
            Self::CouponGiven { .. } => "coupon_given",
            Self::PointsGiven { .. } => "points_given",
            Self::Rules { .. } => "rules",
            Self::Review { .. } => "review",
            Self::Stopped => "stopped",
            Self::Answered { .. } => "answered",
            Self::Late { .. } => "late",
            Self::HoldEnded { .. } => "hold_ended",
            Self::HeldForReview => "held_for_review",
        }
    }

    /// Whether pushing it is marketing, for which the member's consent must be in force at that moment too.
    #[must_use]
    pub const fn is_marketing(&self) -> bool {
        match self {
            Self::CouponGiven { marketing, .. } | Self::PointsGiven { marketing, .. } => *marketing,
            _ => false,
        }
    }
}

/// One change of the programme's state.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
#[allow(missing_docs)] // fields are named as those of what they change
pub enum Change {
    /// The programme begins under its first rules.
    #[n(0)]
    Opened {
        #[n(0)]
        rules: String,
        #[n(1)]
        at: Timestamp,
    },
    /// Other rules are announced.
    #[n(1)]
    RulesAnnounced {
        #[n(0)]
        rules: String,
        #[n(1)]
        announced: Timestamp,
        #[n(2)]
        effective: Timestamp,
    },
    /// The announced rules hold.
    #[n(2)]
    RulesInForce {
        #[n(0)]
        at: Timestamp,
    },
    /// The announced rules will not be.
    #[n(3)]
    RulesWithdrawn {
        #[n(0)]
        at: Timestamp,
    },
    /// A member joined.
    #[n(4)]
    Joined {
        #[n(0)]
        account: Account,
        #[n(1)]
        at: Timestamp,
        #[n(2)]
        birthday: Option<DayOfYear>,
        #[n(3)]
        referrer: Option<Account>,
        #[n(4)]
        device: Option<Trace>,
        #[n(5)]
        address: Option<Trace>,
    },
    /// A purchase counted and earned; or goods came back.
    #[n(5)]
    Purchased {
        #[n(0)]
        account: Account,
        #[n(1)]
        part: BasketPart,
        #[n(2)]
        counted: Counted,
        #[n(3)]
        earned: Points,
        #[n(4)]
        taken_back: Points,
        #[n(5)]
        expires: Option<Timestamp>,
        /// The basket as it has counted with this.
        #[n(6)]
        basket: CountedBasket,
    },
    /// Points were given for an activity or by a trigger.
    #[n(6)]
    Given {
        #[n(0)]
        account: Account,
        #[n(1)]
        points: Points,
        #[n(2)]
        from: Side,
        #[n(3)]
        at: Timestamp,
        #[n(4)]
        expires: Option<Timestamp>,
    },
    /// A member signed in.
    #[n(7)]
    SignedIn {
        #[n(0)]
        account: Account,
        #[n(1)]
        day: Day,
        #[n(2)]
        streak: u32,
    },
    /// A member did an activity.
    #[n(8)]
    Did {
        #[n(0)]
        account: Account,
        #[n(1)]
        activity: Name,
        #[n(2)]
        day: Day,
    },
    /// Who brought a member was rewarded.
    #[n(9)]
    Referred {
        #[n(0)]
        account: Account,
        #[n(1)]
        referrer: Account,
    },
    /// Points paid for goods, at a till.
    #[n(10)]
    Paid {
        #[n(0)]
        key: Key,
        #[n(1)]
        account: Account,
        #[n(2)]
        points: Points,
        #[n(3)]
        worth: Fen,
        #[n(4)]
        at: Timestamp,
    },
    /// Points expired.
    #[n(11)]
    Expired {
        #[n(0)]
        account: Account,
        #[n(1)]
        points: Points,
        #[n(2)]
        at: Timestamp,
    },
    /// Somebody is told; staff without an account.
    #[n(12)]
    Told {
        #[n(0)]
        account: Option<Account>,
        #[n(1)]
        at: Timestamp,
        #[n(2)]
        notice: Notice,
    },
    /// A tier changed.
    #[n(13)]
    Ranked {
        #[n(0)]
        account: Account,
        #[n(1)]
        rank: u8,
    },
    /// A trigger gave something.
    #[n(14)]
    Fired {
        #[n(0)]
        account: Account,
        #[n(1)]
        trigger: Name,
        #[n(2)]
        at: Timestamp,
    },
    /// A member is in a group of a test.
    #[n(15)]
    Assigned {
        #[n(0)]
        account: Account,
        #[n(1)]
        experiment: Name,
        #[n(2)]
        group: u8,
        #[n(3)]
        at: Timestamp,
    },
    /// A coupon was given; a price was paid for it.
    #[n(16)]
    CouponGiven {
        #[n(0)]
        code: Code,
        #[n(1)]
        coupon: Coupon,
        #[n(2)]
        price: Points,
        #[n(3)]
        key: Option<Key>,
    },
    /// A coupon was redeemed.
    #[n(17)]
    CouponRedeemed {
        #[n(0)]
        code: Code,
        #[n(1)]
        redemption: Redemption,
    },
    /// So many of a reward were put in, ever.
    #[n(18)]
    Stocked {
        #[n(0)]
        reward: Name,
        #[n(1)]
        total: u32,
    },
    /// A reward is set aside.
    #[n(19)]
    RewardHeld {
        #[n(0)]
        key: Key,
        #[n(1)]
        hold: Hold,
        #[n(2)]
        is_virtual: bool,
    },
    /// It was handed over.
    #[n(20)]
    HandedOver {
        #[n(0)]
        key: Key,
        #[n(1)]
        account: Account,
        #[n(2)]
        points: Points,
    },
    /// It is there for others again.
    #[n(21)]
    HoldEnded {
        #[n(0)]
        key: Key,
        #[n(1)]
        account: Account,
        #[n(2)]
        points: Points,
    },
    /// An account is stopped, or goes on.
    #[n(22)]
    Stopped {
        #[n(0)]
        account: Account,
        #[n(1)]
        stopped: bool,
    },
    /// Something is to be reviewed.
    #[n(23)]
    CaseOpened {
        #[n(0)]
        number: u64,
        #[n(1)]
        case: Case,
    },
    /// It was.
    #[n(24)]
    CaseClosed {
        #[n(0)]
        number: u64,
        #[n(1)]
        at: Timestamp,
        #[n(2)]
        verdict: Verdict,
        #[n(3)]
        by: Option<String>,
        #[n(4)]
        reason: Option<String>,
    },
    /// A member asks the service.
    #[n(25)]
    Asked {
        #[n(0)]
        number: u64,
        #[n(1)]
        request: Request,
    },
    /// And was answered.
    #[n(26)]
    Answered {
        #[n(0)]
        number: u64,
        #[n(1)]
        at: Timestamp,
        #[n(2)]
        text: String,
    },
    /// A member was erased: nothing but the points' books remains.
    #[n(27)]
    Forgotten {
        #[n(0)]
        account: Account,
    },
    /// Points moved by the brand's exchanges with others, or were there before the programme.
    #[n(29)]
    Followed {
        #[n(0)]
        account: Account,
        #[n(1)]
        points: Points,
        #[n(2)]
        way: Way,
        #[n(3)]
        expires: Option<Timestamp>,
    },
    /// The goods of a payment are not bought: its points come back.
    #[n(30)]
    PaymentReversed {
        #[n(0)]
        key: Key,
        #[n(1)]
        account: Account,
        #[n(2)]
        points: Points,
        #[n(3)]
        expires: Option<Timestamp>,
    },
    /// A coupon's sale was not made: it can be redeemed again.
    #[n(31)]
    CouponReopened {
        #[n(0)]
        code: Code,
    },
    /// Staff corrects a balance, at once or when another person agrees.
    #[n(32)]
    AdjustmentEntered {
        #[n(0)]
        number: u64,
        #[n(1)]
        adjustment: Adjustment,
        #[n(2)]
        key: Key,
        /// When points that are given expire.
        #[n(3)]
        expires: Option<Timestamp>,
    },
    /// Another person has agreed to it, or refused it.
    #[n(33)]
    AdjustmentDecided {
        #[n(0)]
        number: u64,
        #[n(1)]
        state: AdjustmentState,
        #[n(2)]
        account: Account,
        /// What moves now: nothing when it was refused.
        #[n(3)]
        points: Points,
        #[n(4)]
        gives: bool,
        #[n(5)]
        expires: Option<Timestamp>,
    },
    /// Points of a member who was merged went to the one who stays, in lots as they were.
    #[n(34)]
    Moved {
        #[n(0)]
        from: Account,
        #[n(1)]
        into: Account,
        #[n(2)]
        points: Points,
        #[n(3)]
        expires: Option<Timestamp>,
        /// What the member owed, rather than had.
        #[n(4)]
        owed: bool,
    },
    /// A member was merged into another.
    #[n(35)]
    Merged {
        #[n(0)]
        from: Account,
        #[n(1)]
        into: Account,
        #[n(2)]
        at: Timestamp,
    },
    /// The merge was undone.
    #[n(36)]
    Parted {
        #[n(0)]
        account: Account,
    },
    /// Staff keeps a segment beside those of the rules, new or changed.
    #[n(37)]
    SegmentKept {
        #[n(0)]
        name: Name,
        #[n(1)]
        terms: SegmentTerms,
    },
    /// And does not any more.
    #[n(38)]
    SegmentDropped {
        #[n(0)]
        name: Name,
    },
    /// A campaign was made.
    #[n(39)]
    CampaignMade {
        #[n(0)]
        name: Name,
        #[n(1)]
        campaign: Campaign,
    },
    /// It begins: members are looked at.
    #[n(40)]
    CampaignStarted {
        #[n(0)]
        name: Name,
        #[n(1)]
        at: Timestamp,
    },
    /// It was ended before its time.
    #[n(41)]
    CampaignEnded {
        #[n(0)]
        name: Name,
        #[n(1)]
        at: Timestamp,
    },
    /// An offer was not made to a member, who has not consented to marketing.
    #[n(42)]
    LeftOut {
        #[n(0)]
        account: Account,
        #[n(1)]
        offering: Offering,
        #[n(2)]
        at: Timestamp,
    },
    /// Other accounts are found to be of a case that is open.
    #[n(43)]
    CaseJoined {
        #[n(0)]
        number: u64,
        #[n(1)]
        accounts: Vec<Account>,
    },
    /// When a member's birthday is, as whoever keeps birth dates says; none when that is not known there.
    #[n(44)]
    Birthday {
        #[n(0)]
        account: Account,
        #[n(1)]
        birthday: Option<DayOfYear>,
        #[n(2)]
        at: Timestamp,
    },
    /// A basket of a member who does not take part was new or changed: it counts for nothing, and is noted so
    /// that it never will; or goods of it came back.
    #[n(50)]
    PassedOver {
        #[n(0)]
        account: Account,
        #[n(1)]
        part: BasketPart,
        #[n(2)]
        taken_back: Points,
        /// The basket as it is with this.
        #[n(3)]
        basket: CountedBasket,
    },
    /// A member does not take part any more: what was remembered is forgotten. Points stay.
    #[n(51)]
    Left {
        #[n(0)]
        account: Account,
        #[n(1)]
        at: Timestamp,
    },
    /// And does again.
    #[n(52)]
    CameBack {
        #[n(0)]
        account: Account,
        #[n(1)]
        at: Timestamp,
    },
    /// Somebody has entered what a member brings from a programme of before: it waits for another person.
    #[n(53)]
    OpeningEntered {
        #[n(0)]
        account: Account,
        #[n(1)]
        opening: Opening,
    },
    /// Another person has brought the same: the member has it. Its lots follow.
    #[n(54)]
    OpeningGiven {
        #[n(0)]
        account: Account,
        #[n(1)]
        tier_points: Points,
        #[n(2)]
        at: Timestamp,
    },
    /// A lot of it.
    #[n(55)]
    OpeningLot {
        #[n(0)]
        account: Account,
        #[n(1)]
        points: Points,
        #[n(2)]
        expires: Option<Timestamp>,
    },
    /// What was due first has been looked at.
    #[n(28)]
    Looked {
        #[n(0)]
        at: Timestamp,
    },
}

const fn correction(gives: bool) -> Way {
    if gives { Way::Give(Side::Corrections) } else { Way::Take(Side::Withdrawn) }
}

impl Change {
    /// Whether the brand's own balances are to move by it: what only follows them has moved them.
    #[must_use]
    pub const fn is_decided_here(&self) -> bool {
        !matches!(self, Self::Followed { .. })
    }

    /// What a member gains by it: by a purchase, a gift, a correction, or from another brand. What comes back to a member,
    /// is another's with whom the member was merged, or was the member's in a programme of before, is no gain.
    #[must_use]
    pub fn gained(&self) -> Option<(Account, Points)> {
        let (account, points) = match *self {
            Self::Purchased { account, earned, .. } => (account, earned),
            Self::Given { account, points, .. }
            | Self::AdjustmentDecided { account, points, gives: true, .. }
            | Self::Followed { account, points, way: Way::Give(Side::CameIn), .. } => {
                (account, points)
            }
            Self::AdjustmentEntered { ref adjustment, .. }
                if adjustment.gives && adjustment.state == AdjustmentState::Booked =>
            {
                (adjustment.account, adjustment.points)
            }
            _ => return None,
        };
        (!points.is_zero()).then_some((account, points))
    }

    /// The points it moves; with these both the programme's books and the brand's balances are kept.
    #[must_use]
    pub fn movements(&self) -> [Option<Movement>; 2] {
        let one = |account: Account, points: Points, way, expires| {
            (!points.is_zero()).then_some(Movement { account, points, way, expires })
        };
        match *self {
            Self::Purchased { account, earned, taken_back, expires, .. } => [
                one(account, earned, Way::Give(Side::Purchases), expires),
                one(account, taken_back, Way::TakeBack(Side::Returned), None),
            ],
            Self::PassedOver { account, taken_back, .. } => {
                [one(account, taken_back, Way::TakeBack(Side::Returned), None), None]
            }
            Self::Given { account, points, from, expires, .. } => {
                [one(account, points, Way::Give(from), expires), None]
            }
            Self::OpeningLot { account, points, expires } => {
                [one(account, points, Way::Give(Side::Opening), expires), None]
            }
            Self::Paid { account, points, .. } => {
                [one(account, points, Way::Take(Side::Redeemed), None), None]
            }
            Self::Expired { account, points, .. } => {
                [one(account, points, Way::Take(Side::Expired), None), None]
            }
            Self::CouponGiven { ref coupon, price, .. } => {
                [one(coupon.account, price, Way::Take(Side::Redeemed), None), None]
            }
            Self::RewardHeld { ref hold, .. } => {
                [one(hold.account, hold.points, Way::Hold, None), None]
            }
            Self::HandedOver { account, points, .. } => {
                [one(account, points, Way::Settle(Side::Redeemed), None), None]
            }
            Self::HoldEnded { account, points, .. } => {
                [one(account, points, Way::Release, None), None]
            }
            Self::Followed { account, points, way, expires } => {
                [one(account, points, way, expires), None]
            }
            Self::PaymentReversed { account, points, expires, .. } => {
                [one(account, points, Way::Give(Side::Redeemed), expires), None]
            }
            Self::AdjustmentEntered { ref adjustment, expires, .. }
                if adjustment.state == AdjustmentState::Booked =>
            {
                let way = correction(adjustment.gives);
                [one(adjustment.account, adjustment.points, way, expires), None]
            }
            Self::AdjustmentDecided { account, points, gives, expires, .. } => {
                [one(account, points, correction(gives), expires), None]
            }
            Self::Moved { from, into, points, expires, owed: false } => [
                one(from, points, Way::Take(Side::Merged), None),
                one(into, points, Way::Give(Side::Merged), expires),
            ],
            Self::Moved { from, into, points, owed: true, .. } => [
                one(into, points, Way::TakeBack(Side::Merged), None),
                one(from, points, Way::Give(Side::Merged), None),
            ],
            _ => [None, None],
        }
    }
}
