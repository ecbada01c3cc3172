//! What the points programme holds of a member, as the member's export has it (PIPL art. 45).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Bilingual, ProgrammeMemberView};

/// What the programme holds of a member: what is there now, what is remembered, and what was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProgrammeExport {
    /// Points, lots and their expiry, tier, segments, requests to the service. Offers that are for every member are not
    /// in it.
    pub standing: ProgrammeMemberView,
    /// What is remembered and what was.
    pub history: ProgrammeHistory,
}

/// What the programme remembers of a member, and what was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProgrammeHistory {
    /// What is remembered; none of a member of whom nothing is.
    pub remembered: Option<RememberedView>,
    /// Coupons, redeemed and expired ones too.
    pub coupons: Vec<ExportedCoupon>,
    /// Rewards asked for, whatever became of them.
    pub rewards: Vec<ExportedReward>,
    /// Payments with points.
    pub payments: Vec<ExportedPayment>,
    /// Corrections of the balance.
    pub corrections: Vec<ExportedCorrection>,
    /// Reviews of what looked like fraud.
    pub cases: Vec<ExportedCase>,
    /// When rewards were counted that are looked at for fraud, Unix milliseconds.
    pub virtual_rewards_ms: Vec<u64>,
    /// On how many devices the account was seen; of a device only a keyed hash is held.
    pub devices: u64,
    /// At how many addresses, of the last while; of an address only a keyed hash is held.
    pub addresses: u64,
    /// What was told, and when, as far as it is kept.
    pub notices: Vec<ExportedNotice>,
    /// Tests of offers in which a purchase was counted, with the moment of the first.
    pub bought_ms: BTreeMap<String, u64>,
    /// Campaigns and triggers that gave nothing because the consent to marketing was missing.
    pub left_out: Vec<String>,
    /// What was brought from a programme of before, or waits to be.
    #[serde(default)]
    pub opening: Option<ExportedOpening>,
}

/// What the programme remembers of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RememberedView {
    /// Whether the member takes part; of who does not no purchase is remembered.
    pub takes_part: bool,
    /// When the member joined, Unix milliseconds, if that was told.
    pub joined_ms: Option<u64>,
    /// The birthday, `MM-DD`.
    pub birthday: Option<String>,
    /// All points ever earned, less those taken back.
    pub accumulated_points: u64,
    /// Baskets.
    pub purchases: u32,
    /// When the latest was.
    pub last_purchase_ms: Option<u64>,
    /// The latest months with purchases.
    pub months: Vec<RememberedMonth>,
    /// Fen by category.
    pub categories_fen: BTreeMap<String, u64>,
    /// Baskets by channel.
    pub channels: BTreeMap<String, u32>,
    /// Baskets by part of the day: morning, afternoon, evening, night.
    pub hours: Vec<u32>,
    /// Days of sign-in running.
    pub streak: u32,
    /// The day of the latest.
    pub signed_in: Option<String>,
    /// Whether another member, who brought this one, is still to be rewarded for it.
    pub is_referred: bool,
    /// How many members this one has brought.
    pub referred: u32,
    /// The latest day on which points were earned.
    pub earned_on: Option<String>,
    /// How many.
    pub earned_then: u64,
    /// Whether the account is stopped.
    pub stopped: bool,
    /// Whether it is held for review.
    #[serde(default)]
    pub held: bool,
    /// Rank of the tier, 0 for none.
    pub rank: u8,
    /// When each trigger last gave something, Unix milliseconds.
    pub triggers_ms: BTreeMap<String, u64>,
    /// Tests of offers and campaigns the member is in.
    pub tests: Vec<RememberedTest>,
    /// Up to when the member was told of points that expire.
    pub told_until_ms: Option<u64>,
    /// The latest day on which each activity was done.
    pub activities: BTreeMap<String, String>,
}

/// Purchases of one month.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RememberedMonth {
    /// `2026-11`, by the brand's clock.
    pub month: String,
    /// Baskets.
    pub purchases: u32,
    /// What they came to, in fen.
    pub fen: u64,
}

/// A test of offers, or a campaign, that a member is in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RememberedTest {
    /// Its name.
    pub name: String,
    /// The place of the member's group, from 0.
    pub group: u8,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
}

/// A coupon that was given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportedCoupon {
    /// What it is redeemed by.
    pub code: String,
    /// Its kind.
    pub kind: String,
    /// Why it was given: `claimed`, `staff`, or the name of a trigger or campaign.
    pub origin: String,
    /// What it takes off, in fen.
    pub worth_fen: u64,
    /// Of a basket of at least so much.
    pub minimum_basket_fen: u64,
    /// When it was given.
    pub given_ms: u64,
    /// The first moment at which it is no longer valid.
    pub expires_ms: u64,
    /// When it was redeemed.
    pub redeemed_ms: Option<u64>,
    /// In which shop.
    pub place: Option<String>,
    /// What the basket came to.
    pub basket_fen: Option<u64>,
}

/// A reward that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportedReward {
    /// Which.
    pub reward: String,
    /// For so many points.
    pub points: u64,
    /// When.
    pub at_ms: u64,
    /// Until when it was set aside.
    pub until_ms: u64,
    /// `held`, `handed_over` or `ended`.
    pub state: String,
}

/// A payment with points.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportedPayment {
    /// How many.
    pub points: u64,
    /// What they took off, in fen.
    pub worth_fen: u64,
    /// Whether it was taken back.
    pub reversed: bool,
}

/// A correction of the balance. Who of the staff entered it is in the brand's operation log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportedCorrection {
    /// Its number.
    pub number: u64,
    /// How many points were given; taken when negative.
    pub points: i64,
    /// Why.
    pub reason: String,
    /// When.
    pub at_ms: u64,
    /// `booked`, `waiting`, `agreed` or `refused`.
    pub state: String,
}

/// What was brought from a programme of before; its lots are among the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportedOpening {
    /// How many points.
    pub points: u64,
    /// What counted towards a tier.
    pub tier_points: u64,
    /// When it was given; entered, while it waits.
    pub at_ms: u64,
    /// `given`, or `waiting` for a second person.
    pub state: String,
}

/// A review of what looked like fraud. Others it is about are not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportedCase {
    /// Its number.
    pub number: u64,
    /// What looked wrong.
    pub sign: String,
    /// Since when.
    pub opened_ms: u64,
    /// `cleared` or `stopped`; none while it is open.
    pub verdict: Option<String>,
    /// When that was found.
    pub closed_ms: Option<u64>,
    /// Why.
    pub reason: Option<String>,
}

/// Something that was told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExportedNotice {
    /// When.
    pub at_ms: u64,
    /// What.
    pub words: Bilingual,
}
