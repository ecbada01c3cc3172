//! Purchases: files in, cleaned facts out, encrypted and countable by the clean room.
//!
//! Knows: Parquet files of members and of purchase lines; what is wrong with a row and how to mend
//! it; facts of date, department, quantity and amount in encrypted Parquet, under numbers that only
//! the vault can tie to members; snapshots of facts that a query is bound to. Does not know points:
//! it tells how baskets changed, and [`programme`](crate::programme) says what that earns.
//!
//! Never kept: the store and the minute of a purchase. Together they tie the receipts of one person
//! at different brands to each other (for 99.5 % of the sample), and neither is needed yet.
//!
//! Not here yet: CSV, JSON lines and HTTP batches, mapping files, refunds and cancellations,
//! guests who become members. A Parquet file is trusted as far as its
//! reader is: it comes from the brand's own systems.

mod catalogue;
mod clean;
mod columns;
mod compaction;
mod facts;
mod fen;
mod import;
mod line;
mod members;
mod source;

use std::fmt;

pub use catalogue::Snapshot;
pub use clean::{Adjustment, Cleaning, DropReason, ISSUES_MAX, Issue};
pub use columns::{CellProblem, FileProblem};
pub use compaction::Compacted;
pub use facts::{FactsError, PurchaseLine};
pub use fen::{Fen, InvalidAmount};
pub use import::{Facts, ImportError, ImportReport, Progress, SinkError, counted_baskets};
pub use members::{MembersReport, import_members};
pub use source::Source;

/// A basket inside this node: a keyed hash of the brand's own number for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BasketKey([u8; 16]);

impl BasketKey {
    /// Takes the bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
    /// The number that stands for the basket in facts: positive, of 63 bits.
    #[must_use]
    pub fn fact_number(&self) -> i64 {
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(self.0).for_each(|(to, from)| *to = from);
        i64::from_be_bytes(bytes) & i64::MAX
    }
}

impl fmt::Debug for BasketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // a receipt leads to a person
        f.write_str("BasketKey(..)")
    }
}

/// How an import changed a basket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasketChange {
    /// Whose it is; none for a guest.
    pub member: Option<crate::vault::MemberId>,
    /// Which.
    pub basket: BasketKey,
    /// How often it changed before: 0 when it is new.
    pub part: u32,
    /// Its total before.
    pub before: Fen,
    /// Its total now.
    pub after: Fen,
}

#[cfg(test)]
mod tests;
