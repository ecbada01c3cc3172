//! What brands owe each other at a cut-off, netted: every node arrives at the same statement.
//!
//! Each brand opens, in a closing entry of its own log, the exact totals of its last block with a time
//! not after the cut-off. [`check_closing`] accepts it against the certified headers on both sides of
//! the cut-off, [`Statement::derive`] nets the closings of all brands. What a brand owes another is
//! what it ever sent to it; what came back was sent the other way.
//!
//! Payments and their confirmations are entries too: positions count what payees have confirmed, and
//! a statement that every brand agrees to and every payee of it has confirmed discharges the pairs'
//! totals at its cut-off ([`Settlement`]). [`export`] writes a statement for banks and books.
//!
//! Knows totals, and nothing of the exchanges behind them. Moves no money: payments are made outside,
//! and a payer's word that it paid lowers nothing. A brand whose log has ended is in statements by what the
//! others have closed out with it, and by what constitutions write off ([`Absent`]).

mod absent;
mod closing;
mod counted;
pub mod export;
mod settlement;
mod statement;

#[cfg(test)]
mod tests;

pub use absent::Absent;
pub use closing::{CheckedClosing, ClosingError, check_closing, close};
pub use settlement::{PaymentError, Settlement};
pub use statement::{
    ClearingError, ClosedBlock, Debt, Instruction, NetPosition, Position, Statement,
};
