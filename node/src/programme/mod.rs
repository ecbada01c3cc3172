//! The points programme: pure rules, without storage and clock.
//!
//! Knows: how many points a basket earns. Does not know balances: it says what was earned, and
//! whoever keeps the points enters it. Tiers, expiry, coupons, segments and fraud rules are in the crate
//! `programme`, which the node does not use yet; nor are there points for refunds.

mod earn;

pub use earn::{EarnRule, Earned, RuleError};
