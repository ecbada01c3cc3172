//! Exchanges on the brand's side: a member's request to a certified leaf, a certified leaf to a
//! member's balance.
//!
//! Knows balances, what was promised, and how far each exchange has come. Protocol rules (prices,
//! what may be returned, when a block is final) are `protocol`'s; who a member is, the vault's.

pub mod book;
pub mod cold;
mod index;
mod moments;
mod numbered;
pub mod points;
pub mod received;
pub mod record;
