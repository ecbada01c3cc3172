//! A partner closed out: what a pair's totals are when one of the two writes no more.
//!
//! The brand that goes on enters it once, when it is certain that the other's log has ended: what it said
//! to that log after the last block of its own that was recognised there can never be recognised, and is
//! void. Shapes only; that a log has ended is `witness::ending`'s to check.

use std::fmt;

use minicbor::{Decode, Encode};

use super::block::ColumnContent;
use crate::amount::Value;
use crate::ids::{BrandId, Height};
use crate::witness::ending::LogEnd;

/// The exact content of a column, opened.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct OpenedColumn {
    /// In which block of its log; 0 for none.
    #[n(0)]
    pub height: Height,
    /// What it commits to.
    #[n(1)]
    pub content: ColumnContent,
    /// The salt it was committed with; zeros for none. Opens the totals, and nothing that is sealed.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub salt: [u8; 32],
}

impl OpenedColumn {
    /// Nothing was ever sent.
    #[must_use]
    pub fn nothing() -> Self {
        Self { height: Height::new(0), content: ColumnContent::nothing(), salt: [0; 32] }
    }
}

impl fmt::Debug for OpenedColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenedColumn(block {}, {})", self.height, self.content.sent)
    }
}

/// What one brand closes of its dealings with another whose log has ended.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ClosedOut {
    /// Whose log has ended.
    #[n(0)]
    pub log: BrandId,
    /// What shows it.
    #[n(1)]
    pub end: Box<LogEnd>,
    /// The ended log's column for this brand, in the last block that this brand has verified.
    #[n(2)]
    pub received: OpenedColumn,
    /// This brand's column for the ended log, in the last block that was recognised there.
    #[n(3)]
    pub sent: OpenedColumn,
    /// What exchanges after that block were worth: void, their points are their members' again.
    #[n(4)]
    pub void: Value,
    /// What this brand ever sent the ended log, without what is void.
    #[n(5)]
    pub total: Value,
}
