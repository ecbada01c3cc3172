//! What brands say to each other, and what makes it true.
//!
//! Sans-IO: state machines and verifiers. Time and randomness are passed in; there is no clock, no
//! generator, no file, no socket here, and no runtime. The rules are those of `protocol/spec/`.

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

pub mod amount;
pub mod audit;
pub mod clearing;
pub mod codec;
pub mod constitution;
pub mod crypto;
pub mod disclosure;
pub mod epochs;
pub mod exchange;
pub mod ids;
pub mod ledger;
pub mod log;
pub mod receipt;
pub mod recovery;
pub mod shared_map;
pub mod time;
#[cfg(test)]
mod vectors;
pub mod wire;
pub mod witness;
#[cfg(test)]
mod world;
