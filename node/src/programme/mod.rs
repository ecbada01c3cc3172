//! Where the purchases of this node meet the rules of its [programme](::programme).
//!
//! Knows: members and baskets of the node, and what the rules make of them. The rules themselves, and
//! everything that has state, are in the crate; storage and clock are the runtime's.

mod earn;

pub use ::programme::rules::Rules;
pub use earn::{Earned, purchase, would_earn};
