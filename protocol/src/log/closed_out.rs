//! A partner closed out: what a pair's totals are when one of the two writes no more.
//!
//! The brand that goes on enters it once, when it is certain that the other's log has ended: what it said
//! to that log after the last block of its own that was recognised there can never be recognised, and is
//! void. Shapes only; that a log has ended is `witness::ending`'s to check.
//!
//! A closing may say again what its writer has closed out ([`ClosedOutBefore`]), for brands that joined
//! later and were never shown the entry.

use std::fmt;

use minicbor::{Decode, Encode};

use super::block::ColumnContent;
use crate::amount::Value;
use crate::ids::{BrandId, HeaderHash, Height};
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

/// Most ended logs that a closing says again: in the largest alliance they fit into an entry beside its columns.
pub const CLOSED_OUT_BEFORE_MAX: usize = 64;

/// What a payee had confirmed of one payer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ConfirmedOf {
    /// Who paid.
    #[n(0)]
    pub payer: BrandId,
    /// What was ever confirmed of it.
    #[n(1)]
    pub value: Value,
}

/// An ended log that the writer of a closing has closed out before, as far as statements count it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ClosedOutBefore {
    /// Whose log has ended.
    #[n(0)]
    pub log: BrandId,
    /// In which block of its own log the writer closed it out.
    #[n(1)]
    pub height: Height,
    /// The ended log's last block; 0 for none.
    #[n(2)]
    pub last: Height,
    /// That block's id.
    #[n(3)]
    pub block: HeaderHash,
    /// What that block says that it confirmed, one a column, in the order of payers.
    #[n(4)]
    pub confirmed: Vec<ConfirmedOf>,
    /// What it ever sent the writer.
    #[n(5)]
    pub received: Value,
    /// What the writer ever sent it, without what is void.
    #[n(6)]
    pub total: Value,
    /// What the writer ever confirmed of its payments; none while the block that is closed has a column for it,
    /// which says so itself.
    #[n(7)]
    pub paid: Option<Value>,
}
