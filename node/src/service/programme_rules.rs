//! Rules before they are taken up: what is wrong with them, how members would read them, what would differ,
//! and what they would have come to on the purchases of the past.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Bilingual;

/// A file of rules that is looked at and not taken up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RulesFile {
    /// The file, TOML.
    pub rules: String,
}

/// One rule in plain words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleView {
    /// What it is about; the same in every version.
    pub key: String,
    /// The rule.
    pub words: Bilingual,
    /// Whether it is the brand's own business and not shown to members.
    pub internal: bool,
}

/// What differs from the rules in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleDifferenceView {
    /// What it is about.
    pub key: String,
    /// How it was and how it would be.
    pub words: Bilingual,
    /// Whether members must be told in advance.
    pub needs_notice: bool,
}

/// Rules that were checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RulesCheckView {
    /// Their version.
    pub version: u32,
    /// All of them, in the order in which members read them.
    pub rules: Vec<RuleView>,
    /// What differs from those in force.
    pub differences: Vec<RuleDifferenceView>,
    /// From when they could hold, Unix milliseconds.
    pub earliest_ms: u64,
    /// Why they could not be proposed now, if so.
    pub refused: Option<Bilingual>,
}

/// Points of one month.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MonthView {
    /// `2026-12`, by the brand's clock; never without.
    pub month: Option<String>,
    /// How many.
    pub points: u64,
}

/// A kind of coupon that triggers would have given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SimulatedCouponView {
    /// The kind.
    pub kind: String,
    /// How many.
    pub given: u64,
    /// What all of them would take off at most, in fen.
    pub worth_fen: u64,
}

/// Members in a tier.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SimulatedTierView {
    /// The tier; none for members without one.
    pub tier: Option<String>,
    /// How many members.
    pub members: u64,
}

/// What one set of rules would have come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SimulatedRulesView {
    /// Their version.
    pub version: u32,
    /// Points issued for purchases.
    pub earned_points: u64,
    /// Points that triggers would have given.
    pub campaign_points: u64,
    /// Points that would have expired by the last purchase.
    pub expired_points: u64,
    /// Points members would have had then: nothing is taken to have been spent.
    pub left_points: u64,
    /// What these pay for at the till, in fen, rounded up: the most that would be owed.
    pub left_fen: u64,
    /// When these would expire.
    pub expiring: Vec<MonthView>,
    /// Coupons that triggers would have given.
    pub coupons: Vec<SimulatedCouponView>,
    /// Members by tier.
    pub tiers: Vec<SimulatedTierView>,
}

/// What rules would have come to on the purchases of the past, beside those in force.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SimulationView {
    /// Day of the first purchase, `2026-01-31`.
    pub from: Option<String>,
    /// Day of the last.
    pub to: Option<String>,
    /// Purchases of members.
    pub purchases: u64,
    /// What they came to, in fen.
    pub spent_fen: u64,
    /// Members who bought.
    pub members: u64,
    /// The rules of the file.
    pub proposed: SimulatedRulesView,
    /// The rules in force.
    pub in_force: SimulatedRulesView,
}
