//! Purchases: files in, cleaned facts out, encrypted and countable by the clean room.
//!
//! Knows: files of members and of purchase lines (Parquet, CSV, JSON lines); what is wrong with a row and how to mend
//! it; facts of date, department, quantity and amount in encrypted Parquet, under numbers that only
//! the vault can tie to members; snapshots of facts that a query is bound to. Does not know points:
//! it tells how baskets changed, and [`programme`](crate::programme) says what that earns.
//!
//! Never kept: the store and the minute of a purchase. Together they tie the receipts of one person
//! at different brands to each other (for 99.5 % of the sample), and neither is needed yet.
//!
//! What a file's columns mean is stated in a [mapping](Mapping). A refund or cancellation is a basket of its
//! own, below zero; where it names the basket it takes back, it lowers that one's total. A line that comes
//! again with other content is a correction: its former fact does not count any more.
//!
//! Not here yet: guests who become members. Joint questions see sales alone:
//! refunds are facts of the brand, and lower what baskets earn.

mod basket;
mod catalogue;
mod clean;
mod columns;
mod compaction;
mod ended;
mod engine;
mod facts;
mod fen;
mod formats;
mod import;
mod line;
mod mapping;
mod members;
mod orders;
mod report;
mod run;
mod standing;
mod times;

use std::fmt;

pub use catalogue::Snapshot;
pub use clean::{Adjustment, DropReason, ISSUES_MAX, Issue};
pub use columns::{CellProblem, FileProblem};
pub use compaction::Compacted;
pub use engine::rows_read_by_engine;
pub use facts::{FactsError, PurchaseLine};
pub use fen::{Fen, InvalidAmount, Rounding, Unit};
pub use formats::{Counted, Format, Progress, RowProblem, Source};
pub use import::{Facts, ImportError, ImportTerms, Pace, SinkError};
pub use mapping::{
    Channel, Cleaning, ConsentMapping, MAPPING_MAX, Mapping, MappingError, MembersMapping,
    PurchasesMapping,
};
pub use members::{MembersReport, import_members};
pub use report::ImportReport;
pub use standing::Reading;

/// A basket inside this node: a keyed hash of the brand's own number for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, minicbor::Encode, minicbor::Decode)]
#[cbor(transparent)]
pub struct BasketKey(#[cbor(with = "minicbor::bytes")] [u8; 16]);

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

/// How an import changed a basket: what a programme of points goes by.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(array)]
pub struct BasketChange {
    /// Whose it is; none for a guest.
    #[n(0)]
    pub member: Option<crate::vault::MemberId>,
    /// Which.
    #[n(1)]
    pub basket: BasketKey,
    /// How often it changed before: 0 when it is new.
    #[n(2)]
    pub part: u32,
    /// Its total before.
    #[n(3)]
    pub before: Fen,
    /// Its total now. Below zero for a refund that names no basket; lower than before when lines were
    /// corrected, or a refund named this basket.
    #[n(4)]
    pub after: Fen,
    /// The refund that lowered it, if one did.
    #[n(5)]
    pub refund: Option<BasketKey>,
    /// Its day by the brand's clock, in days since 1970-01-01.
    #[n(6)]
    pub day: i32,
    /// By which channel it came.
    #[n(7)]
    pub channel: Channel,
    /// What its lines are by department now, in fen.
    #[n(8)]
    pub departments: Vec<(String, i64)>,
}

impl BasketChange {
    /// Its size when stored, about.
    fn bytes(&self) -> usize {
        self.departments.iter().fold(96, |bytes, (name, _)| bytes + name.len() + 12)
    }
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod erasures;
#[cfg(test)]
mod tests;
