//! What brands owe each other at a cut-off, netted: every node arrives at the same statement.
//!
//! Each brand opens, in a closing entry of its own log, the exact totals of its last block with a time
//! not after the cut-off. [`check_closing`] accepts it against the certified headers on both sides of
//! the cut-off, [`Statement::derive`] nets the closings of all brands. What a brand owes another is
//! what it ever sent to it; what came back was sent the other way.
//!
//! Knows totals, and nothing of the exchanges behind them. Moves no money, and a statement discharges
//! nothing. With the ledger issue come: payments and the payees' confirmations that alone lower a
//! debt, pacs.029 and camt.053, statements across epochs.

mod closing;
mod statement;

#[cfg(test)]
mod tests;

pub use closing::{CheckedClosing, ClosingError, check_closing, close};
pub use statement::{
    ClearingError, ClosedBlock, Debt, Instruction, NetPosition, Position, Statement,
};
