//! One member's contribution, bounded before it is added to anybody else's.
//!
//! Two halves: [`member_sql`] writes the query that reduces rows to one line a member and cell, for
//! any engine that speaks plain SQL; [`Collector`] is the integer code that gathers those lines,
//! builds each member's vector, clips it in L2 and adds it up. The bound holds by the integer code
//! alone: whatever an engine returns, no member moves the sum by more than C.
//!
//! Deliberately knows no engine. What it makes, [`BoundedVector`], can only be masked: it cannot
//! be printed, compared, written or released.

mod collect;
mod emit;
mod standing;
mod words;

pub use collect::{BoundedVector, CollectError, Collector, GROUPS_FAR, MEMBERS_FAR};
pub use emit::{MemberSql, member_sql};
pub use standing::{Periods, Spent, SpentPage, StandingError};

#[cfg(test)]
mod sensitivity;
#[cfg(test)]
mod vectors;
