//! The points programme a brand runs its shops on: pure rules, sans-IO.
//!
//! Knows: how points are earned, kept in lots, spent and expire; tiers, coupons, rewards, segments,
//! triggers, tests of offers, campaigns, which offers are marketing and need a consent, signs of fraud, corrections by staff, balances brought from a programme of before, members' requests. The rules are data ([`rules`]), and
//! say themselves in plain words ([`plain`]). Does not know who the members are (an [`Account`] is an
//! opaque number), other brands, or where anything is kept: there is no clock, no generator, no file,
//! no thread and no float here. Whose consents are in force is asked of whoever drives it ([`marketing`]).
//!
//! [`Programme`] takes [`Event`]s and makes [`Change`]s. Whoever drives it makes the changes durable
//! before it tells anyone; replaying them gives the same state, whatever this version would decide
//! today: a change carries what was decided, not what to decide from.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_types,
    clippy::disallowed_methods
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

pub mod accounts;
pub mod adjustments;
pub mod baskets;
pub mod calendar;
pub mod campaigns;
pub mod coupons;
pub mod earn;
pub mod experiments;
pub mod fraud;
mod ids;
pub mod lots;
pub mod marketing;
pub mod openings;
pub mod plain;
pub mod profile;
pub mod report;
pub mod requests;
pub mod rewards;
pub mod rules;
pub mod segments;
pub mod simulation;
pub mod state;
pub mod tiers;
pub mod triggers;

pub use ids::{Account, BasketPart, Fen, InvalidFen, InvalidName, NAME_MAX, Name};
pub use rules::Rules;
pub use state::{Change, Event, Programme, Refusal};
