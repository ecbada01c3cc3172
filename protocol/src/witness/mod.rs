//! How a block becomes final: rules, votes, locks, certificates, rounds.
//!
//! Each brand writes its own log; the others are its witnesses. `protocol/spec/agreement.md` states
//! the rules 1-14 that are upheld here.

pub mod allowed;
pub mod build;
pub mod cases;
pub mod certified;
pub mod closer;
pub mod closing;
pub mod dispute;
pub mod ending;
pub mod evidence;
pub mod guards;
pub mod handshake;
mod led;
pub mod message;
pub mod own_block;
pub mod readers;
pub mod record;
pub mod rules;
pub mod said;
pub mod snapshot;
pub mod standing;
pub mod start;
pub mod state;
pub mod statement;
pub mod watch;
pub mod writer;

#[cfg(test)]
mod tests;
