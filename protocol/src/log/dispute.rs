//! A dispute on record: a certified block said something to a brand that cannot stand.
//!
//! The entry names the block and the rule, and opens the accuser's own column of it: with that anyone
//! who has the logs can run the counterparty's checks again. It discloses that one column, no other
//! and nothing of other blocks but one total. Shapes only; the checks are `witness::rules`.

use std::fmt;

use minicbor::{Decode, Encode};

use super::block::ColumnContent;
use crate::ids::{BrandId, HeaderHash, Height, LeafIndex};

/// Bytes of a column's opening.
pub const OPENING_BYTES: usize = 88;

/// That a block of another log breaks a rule that only its counterparty could check.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct DisputeOpened {
    /// Whose log.
    #[n(0)]
    pub log: BrandId,
    /// Which block.
    #[n(1)]
    pub height: Height,
    /// Its id.
    #[n(2)]
    pub block: HeaderHash,
    /// First of its leaves for the accuser, as its column says; the block's first when it does not open.
    #[n(3)]
    pub first: LeafIndex,
    /// How many they are; none when the column does not open.
    #[n(4)]
    pub count: u32,
    /// Number of the rule.
    #[n(5)]
    pub rule: u16,
    /// What shows it; none when what was wrapped to the accuser does not open, which only who holds
    /// the block's secret can show.
    #[n(6)]
    pub evidence: Option<DisputeEvidence>,
}

/// What a counterparty's checks are run again with.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct DisputeEvidence {
    /// The column's opening, as it was wrapped to the accuser.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub opening: [u8; OPENING_BYTES],
    /// The column's content in the block before: the totals that this one continues.
    #[n(1)]
    pub before: ColumnContent,
    /// The salt it was committed with; zeros for the first block.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub salt: [u8; 32],
}

impl fmt::Debug for DisputeEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // opens what was sealed; published, but not for traces
        f.write_str("DisputeEvidence(..)")
    }
}
