//! What happens to a programme, what comes of it, and why it may be refused.

use protocol::amount::Points;
use protocol::time::{Milliseconds, Timestamp};

use crate::accounts::MoveError;
use crate::calendar::{Date, DayOfYear};
use crate::campaigns::{CampaignTerms, WrongTerms};
use crate::coupons::{Code, CouponError};
use crate::earn::Basket;
use crate::fraud::{Trace, Verdict};
use crate::ids::{Account, BasketPart, Fen, Name};
use crate::openings::OpeningBalance;
use crate::requests::Key;
use crate::rules::{Words, Wrong};
use crate::segments::SegmentTerms;

/// Part of a basket, new or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// Whose.
    pub account: Account,
    /// The same however often it comes.
    pub part: BasketPart,
    /// When it was bought: the day is known, the hour only where [`Self::hour`] says so.
    pub at: Timestamp,
    /// In which hour of its day, 0 to 23, where that is known.
    pub hour: Option<u8>,
    /// Where: one of [`crate::rules::CHANNELS`].
    pub channel: Name,
    /// Whether nothing of the basket was there before.
    pub first_part: bool,
    /// The basket as it was.
    pub before: Basket,
    /// The basket as it is; smaller when goods came back.
    pub after: Basket,
}

/// What happens to a programme.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // fields are named as those of what they change
pub enum Event {
    /// A member joined; a device and an address are keyed hashes.
    Joined {
        account: Account,
        birthday: Option<DayOfYear>,
        referrer: Option<Account>,
        device: Option<Trace>,
        address: Option<Trace>,
    },
    /// A purchase came in, or changed.
    Purchased(Purchase),
    /// The same of a member who does not take part: it earns nothing and is not remembered of the member. Goods
    /// that come back still take back what they had earned.
    PurchasedOutside(Purchase),
    /// A member does not take part any more: what is remembered of the member is forgotten, and no segment,
    /// tier or offer looks at the member from now on. Points and coupons stay the member's.
    Leave { account: Account },
    /// And does again: from now on.
    ComeBack { account: Account },
    /// A member signed in.
    SignedIn { account: Account },
    /// A member did something that the rules have points for.
    Did { account: Account, activity: Name },
    /// A till takes points for a basket.
    Pay { key: Key, account: Account, points: Points, basket: Fen },
    /// A member claims a coupon.
    ClaimCoupon { key: Key, account: Account, kind: Name },
    /// A till redeems a coupon.
    RedeemCoupon { key: Key, code: Code, basket: Fen, place: Name },
    /// Stock of a reward: so many were put in, ever.
    Stock { reward: Name, total: u32 },
    /// A member asks for a reward. The second step is one that only the member can take.
    HoldReward { key: Key, account: Account, reward: Name, second_step: bool },
    /// It is handed over.
    HandOver { key: Key },
    /// The member gives it up.
    GiveUp { key: Key },
    /// A person has looked at a case; who stops accounts says why.
    Review { case: u64, verdict: Verdict, by: String, reason: Option<String> },
    /// A member asks the service.
    Ask { account: Account, about: Name, text: String },
    /// The service answers.
    Answer { request: u64, text: String },
    /// Staff gives a member a coupon, whether or not members may claim it.
    GiveCoupon { key: Key, account: Account, kind: Name },
    /// A till takes a payment with points back, whole: the goods are not bought.
    ReversePayment { key: Key, account: Account },
    /// A till takes the redemption of a coupon back, under the key it was made with.
    ReopenCoupon { key: Key, code: Code },
    /// Staff corrects a balance.
    Adjust { key: Key, account: Account, points: Points, gives: bool, reason: String, by: String },
    /// Another person agrees to a correction, or refuses it.
    DecideAdjustment { number: u64, agrees: bool, by: String },
    /// Somebody brings a member's balance from a programme of before: who may enter it, or agrees to what another has
    /// entered; in the place of another that waits, if that is said.
    BringOpening {
        account: Account,
        balance: OpeningBalance,
        by: String,
        enters: bool,
        replaces: bool,
    },
    /// Other rules are to hold from a moment on, under a constitution with so long a notice.
    ProposeRules { rules: String, effective: Timestamp, notice: Milliseconds },
    /// They are not to.
    WithdrawRules,
    /// Staff keeps a segment beside those of the rules, or changes one.
    KeepSegment { name: Name, terms: SegmentTerms },
    /// Staff keeps it no longer; campaigns that were made for it go on.
    DropSegment { name: Name },
    /// Staff makes a campaign.
    MakeCampaign { name: Name, terms: CampaignTerms, by: String },
    /// Staff ends it before its time: what was given stays given.
    EndCampaign { name: Name },
    /// Two members are one: all that the first has is the other's from now on. A stop of either holds.
    Merge { from: Account, into: Account },
    /// They were not: what comes to the first stays there again. What was moved stays with the other.
    Part { account: Account },
    /// Whoever keeps birth dates says when a member's birthday is, or that it is not known.
    Birthday { account: Account, birthday: Option<DayOfYear> },
    /// A member was erased.
    Forget { account: Account },
}

/// What came of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub enum Answer {
    /// It was done.
    Done,
    /// It had been done before, under the same key; nothing has changed.
    Repeated,
    /// Points earned, or taken back.
    Earned { earned: Points, taken_back: Points },
    /// A coupon, with its code.
    Coupon { code: Code, expires: Timestamp },
    /// A coupon takes so much off the basket.
    TakesOff { worth: Fen },
    /// Some of the points are set aside for something promised: to be asked again when they are not.
    Waits,
    /// Set aside until then.
    SetAside { until: Timestamp },
    /// The number of a request.
    Number(u64),
    /// A correction: its number, and whether it is booked or waits for another person.
    Adjusted { number: u64, booked: bool },
    /// What a member brings was entered, now or before: it waits for another person.
    Entered,
    /// Nothing was set aside: so many virtual rewards in so short a time need a second step of the
    /// member's, such as a one-time code; a person looks at the case as well.
    SecondStepNeeded { case: u64 },
    /// Nothing was set aside: with this request the account is stopped or held until a person has looked at the case.
    UnderReview { case: u64 },
}

/// Why something was not done. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum Refusal {
    #[error("the programme has no rules yet: propose some, with `coalition programme propose`")]
    NoRules,
    #[error("the rules do not fit: {}", .0.en)]
    Rules(Words),
    #[error(transparent)]
    Change(#[from] crate::rules::RuleChangeError),
    #[error("no other rules are announced")]
    NothingAnnounced,
    #[error("the account is stopped until its case is reviewed")]
    Stopped,
    #[error("held for review: nothing leaves the account until case {case} is closed")]
    HeldForReview { case: u64 },
    #[error(transparent)]
    Points(#[from] MoveError),
    #[error("points are spent from {minimum} on, in steps of {step} (found {found})")]
    Threshold { minimum: u64, step: u64, found: u64 },
    #[error(
        "{worth} fen of points are more than the rules let points pay of {basket} fen: at most {most} fen"
    )]
    BasketShare { worth: u64, basket: u64, most: u64 },
    #[error("this key was used for something else; take a new one")]
    KeyTaken,
    #[error("the rules have no {what} named \"{name}\"")]
    Unknown { what: &'static str, name: String },
    #[error("members cannot claim this coupon: rules give it")]
    NotClaimable,
    #[error("there is none left of \"{name}\": {most} at most")]
    Exhausted { name: String, most: u32 },
    #[error("a member has at most {most} of \"{name}\"")]
    EnoughForOne { name: String, most: u32 },
    #[error(transparent)]
    Coupon(#[from] CouponError),
    #[error("nothing is set aside under this key, or no longer")]
    NotHeld,
    #[error(
        "the stock of \"{name}\" cannot be lower than the {taken} that are set aside or handed over"
    )]
    StockTaken { name: String, taken: u32 },
    #[error("{what} {number} is not open")]
    NotOpen { what: &'static str, number: u64 },
    #[error("a text has 1 to {most} characters (found {found})")]
    Text { most: usize, found: usize },
    #[error("no payment with points was made under this key for this member")]
    NotPaid,
    #[error("who entered a correction does not decide on it: another person does")]
    OwnAdjustment,
    #[error("a correction is of one point at least")]
    NothingToAdjust,
    #[error("the member has an opening balance already, with other content")]
    OpeningTaken,
    #[error("another opening balance of the member waits for a second person")]
    OpeningWaits,
    #[error("no opening balance waits: the programme's manager enters one first")]
    OpeningNotEntered,
    #[error("an opening balance has points, or what counts towards a tier")]
    OpeningEmpty,
    #[error("an opening balance has {most} lots at most")]
    OpeningLots { most: usize },
    #[error("points whose last day was {last_day} have expired")]
    OpeningExpired { last_day: Date },
    #[error(transparent)]
    Terms(#[from] WrongTerms),
    #[error("there is a {what} named \"{name}\" already")]
    NameTaken { what: &'static str, name: String },
    #[error("there are {most} {what} already, which is the most")]
    TooMany { what: &'static str, most: usize },
    #[error("accounts are stopped for a stated reason")]
    ReasonMissing,
    #[error("a member joins once")]
    Joined,
    #[error("today's points for this were given already")]
    Today,
    #[error("nobody brings themselves")]
    OwnReferrer,
    /// A fault: what was decided could not be entered. Whoever drives the programme stops.
    #[error("a change that was decided does not fit the state: {0}")]
    Broken(&'static str),
}

impl From<Wrong> for Refusal {
    fn from(wrong: Wrong) -> Self {
        Self::Rules(wrong.words())
    }
}

impl Refusal {
    /// A stable code, as in the API.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoRules => "programme_without_rules",
            Self::Rules(_) => "rules_invalid",
            Self::Change(_) => "rules_refused",
            Self::NothingAnnounced => "no_rules_announced",
            Self::Stopped => "account_stopped",
            Self::HeldForReview { .. } => "held_for_review",
            Self::Points(MoveError::TooFew { .. }) => "balance_too_low",
            Self::Points(MoveError::Range) => "balance_range",
            Self::Threshold { .. } => "points_threshold",
            Self::BasketShare { .. } => "basket_share",
            Self::KeyTaken => "key_taken",
            Self::Unknown { .. } => "unknown_name",
            Self::NotClaimable => "coupon_not_claimable",
            Self::Exhausted { .. } => "none_left",
            Self::EnoughForOne { .. } => "enough_for_one",
            Self::Coupon(CouponError::Unknown) => "coupon_unknown",
            Self::Coupon(CouponError::Redeemed { .. }) => "coupon_redeemed",
            Self::Coupon(CouponError::Expired { .. }) => "coupon_expired",
            Self::Coupon(CouponError::Basket { .. }) => "coupon_basket",
            Self::NotHeld => "reward_not_held",
            Self::StockTaken { .. } => "stock_taken",
            Self::NotOpen { .. } => "not_open",
            Self::Text { .. } => "text_length",
            Self::NotPaid => "payment_unknown",
            Self::OwnAdjustment => "four_eyes",
            Self::NothingToAdjust => "nothing_to_adjust",
            Self::OpeningTaken => "opening_taken",
            Self::OpeningWaits => "opening_waits",
            Self::OpeningNotEntered => "opening_not_entered",
            Self::OpeningEmpty => "opening_empty",
            Self::OpeningLots { .. } => "opening_lots",
            Self::OpeningExpired { .. } => "opening_expired",
            Self::Terms(_) => "terms_invalid",
            Self::NameTaken { .. } => "name_taken",
            Self::TooMany { .. } => "too_many",
            Self::ReasonMissing => "reason_missing",
            Self::Joined => "joined_already",
            Self::Today => "given_today",
            Self::OwnReferrer => "own_referrer",
            Self::Broken(_) => "programme_broken",
        }
    }
}
