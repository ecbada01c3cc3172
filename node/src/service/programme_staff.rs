//! What staff does to balances and coupons by hand.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A correction of a member's balance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdjustmentRequest {
    /// How many points are given; taken when negative.
    pub points: i64,
    /// Why, 1 to 200 characters.
    pub reason: String,
}

/// What another person says of a correction that waits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionRequest {
    /// Whether it is booked; otherwise it is refused for good.
    pub agrees: bool,
}

/// A correction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdjustmentView {
    /// Its number.
    pub number: u64,
    /// The member's card, masked.
    pub card: String,
    /// How many points were given; taken when negative.
    pub points: i64,
    /// Why; empty when the member was erased.
    pub reason: String,
    /// Who entered it.
    pub by: String,
    /// When.
    pub at_ms: u64,
    /// `booked`, `waiting`, `agreed` or `refused`.
    pub state: String,
    /// Who decided on it.
    pub decided_by: Option<String>,
    /// When.
    pub decided_ms: Option<u64>,
}

/// A coupon that is given by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GiveCouponRequest {
    /// Its kind in the rules.
    pub kind: String,
}

/// A coupon among all: without its code, which is a secret of the member's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IssuedCouponView {
    /// Its kind.
    pub kind: String,
    /// The member's card, masked.
    pub card: String,
    /// Why it was given: `claimed`, `staff`, or the trigger's name.
    pub origin: String,
    /// What it takes off, in fen.
    pub worth_fen: u64,
    /// When it was given.
    pub given_ms: u64,
    /// The first moment at which it is no longer valid.
    pub expires_ms: u64,
    /// When it was redeemed.
    pub redeemed_ms: Option<u64>,
    /// Where.
    pub place: Option<String>,
}
