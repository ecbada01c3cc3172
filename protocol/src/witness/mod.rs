//! How a block becomes final: rules, votes, locks, certificates, rounds.
//!
//! Each brand writes its own log; the others are its witnesses. `protocol/spec/agreement.md` states
//! the rules 1-10 that are upheld here. Does not do yet: incarnations and the restore guard (rules
//! 11-13), evidence and freeze (rule 14).

pub mod build;
pub mod certified;
pub mod guards;
pub mod message;
pub mod own_block;
pub mod readers;
pub mod record;
pub mod rules;
pub mod state;
pub mod statement;
pub mod writer;

#[cfg(test)]
mod tests;
