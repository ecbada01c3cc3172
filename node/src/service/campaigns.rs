//! Segments that staff keeps, and campaigns for them: what is asked for and what is seen. The rules' file.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Bilingual;

/// Who is in a segment: who fulfils all that is stated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentRequest {
    /// What staff read, in Chinese.
    pub zh: String,
    /// And in English.
    pub en: String,
    /// This tier of the rules or above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier_at_least: Option<String>,
    /// No purchase for at least so many days, and one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_days: Option<u32>,
    /// Spent at least so much in the last twelve months, in fen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent_at_least_fen: Option<u64>,
    /// The category most was spent on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// The channel most purchases came by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The part of the day most purchases are in: `morning`, `afternoon`, `evening` or `night`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<String>,
    /// Where in the time with the brand: `new`, `first`, `active`, `quiet` or `lost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<String>,
}

/// A segment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SegmentView {
    /// Its name.
    pub name: String,
    /// Who is in it.
    pub terms: SegmentRequest,
    /// Whether the rules have it; otherwise staff keeps it.
    pub in_rules: bool,
    /// How many members are in it now.
    pub members: u64,
}

/// All segments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SegmentsView {
    /// Members of the programme.
    pub members: u64,
    /// The segments, by name.
    pub segments: Vec<SegmentView>,
    /// Members in the segment that was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<u64>,
    /// Tiers of the rules that a segment may ask for.
    pub tiers: Vec<String>,
}

/// A group of a campaign, and what its members get: a coupon, points, or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CampaignGroupRequest {
    /// Its name.
    pub name: String,
    /// How many of the shares of all groups are its: 50 and 50, or 9 and 1.
    pub share: u32,
    /// A kind of coupon of the rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon: Option<String>,
    /// Points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<u64>,
}

/// A kind of coupon that can be given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CouponOfferView {
    /// The kind.
    pub kind: String,
    /// What members read.
    pub words: Bilingual,
}

/// A campaign to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CampaignRequest {
    /// What staff read, in Chinese.
    pub zh: String,
    /// And in English.
    pub en: String,
    /// For the members of which segment.
    pub segment: String,
    /// Who of them gets what, by chance.
    pub groups: Vec<CampaignGroupRequest>,
    /// Its first day, `2026-12-01`, by the brand's clock.
    pub from: String,
    /// Its last day.
    pub to: String,
    /// Purchases of so many days after a member came in are counted.
    #[serde(default = "count_days")]
    pub count_days: u32,
}

fn count_days() -> u32 {
    30
}

/// A group of a campaign, and how it does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CampaignGroupView {
    /// Its name.
    pub name: String,
    /// How many of the shares of all groups are its.
    pub share: u32,
    /// The kind of coupon its members get.
    pub coupon: Option<String>,
    /// The points its members get.
    pub points: Option<u64>,
    /// Members in it.
    pub members: u64,
    /// Of them, who bought in the days that are counted.
    pub buyers: u64,
    /// Their baskets.
    pub purchases: u64,
    /// What these came to.
    pub fen: u64,
    /// Coupons given.
    pub coupons_given: u64,
    /// Of those, redeemed.
    pub coupons_redeemed: u64,
}

/// A campaign.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CampaignView {
    /// Its name.
    pub name: String,
    /// What staff read.
    pub words: Bilingual,
    /// For which segment.
    pub segment: String,
    /// `planned`, `running` or `ended`.
    pub stage: String,
    /// Its first day, by the brand's clock.
    pub from: String,
    /// Its last day.
    pub to: String,
    /// When somebody ended it before that, Unix milliseconds.
    pub ended_ms: Option<u64>,
    /// Purchases of so many days after a member came in are counted.
    pub count_days: u32,
    /// Who made it.
    pub by: String,
    /// When, Unix milliseconds.
    pub made_ms: u64,
    /// Members of the segment who did not come in because they have not consented to marketing: how many,
    /// and nobody can be told who.
    #[serde(default)]
    pub left_out: u64,
    /// Its groups.
    pub groups: Vec<CampaignGroupView>,
}

/// A trigger of the rules whose offers take the member's consent to marketing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriggerView {
    /// Its name.
    pub trigger: String,
    /// Members to whom it gave nothing because they have not consented: how many.
    pub left_out: u64,
}

/// The rules as a file, for who changes them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RulesFileView {
    /// Version in force; 0 when there are none.
    pub version: u32,
    /// The file, TOML.
    pub rules: String,
    /// The file that is announced.
    pub announced: Option<String>,
    /// From when that holds, Unix milliseconds.
    pub announced_from_ms: Option<u64>,
    /// Days of notice that a change needs that touches members.
    pub notice_days: u32,
    /// Who says so: `rules` (those in force) or `constitution`, whichever is longer.
    #[serde(default)]
    pub notice_by: String,
}
