//! What makes an answer safe to give.
//!
//! Several brands answer one question together. Each computes on its own machine over members who
//! consented; what leaves it is a masked, noised, bounded vector of integers. This crate plans the
//! question, bounds what a member can contribute, draws the noise, keeps the accounts, runs the
//! seven steps of a joint query and makes the release. It has no clock, no generator, no files, no
//! network and no engine: all of those are passed in. It knows nothing of loyalty points.
//!
//! The way of a question: [`sql`] binds or refuses it, [`plan`] fixes cells, sensitivity, cost and
//! noise.
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

pub mod accounting;
pub mod bounded;
pub mod civil;
pub mod contract;
pub mod exact;
mod hash;
pub mod ids;
pub mod masked_sum;
pub mod mechanism;
pub mod plan;
pub mod release;
pub mod sql;
pub mod steps;
pub mod units;

#[cfg(test)]
mod testing;
