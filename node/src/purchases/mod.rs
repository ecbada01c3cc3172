//! Purchases: files in, cleaned facts out, encrypted and countable by the clean room.
//!
//! Knows: files of members, of purchase lines and of balances of a programme of before (Parquet, CSV, JSON lines);
//! what is wrong with a row and how to mend it; facts of date, department, quantity, amount, coupon and card in
//! encrypted Parquet, under numbers that only the vault can tie to members; snapshots of facts that a query is bound
//! to. Does not know points:
//! it tells how baskets changed, and [`programme`](crate::programme) says what that earns.
//!
//! Never kept: the minute of a purchase. With the store it ties the receipts of one person at different brands to
//! each other (for 99.5 % of the sample). Store, region, label and hour are kept where a mapping says so, for a brand's
//! questions about its own members.
//!
//! What a file's columns mean is stated in a [mapping](Mapping). A refund or cancellation is a basket of its
//! own, below zero; where it names a basket of its own member's, it lowers that one's total. A line that comes
//! again with other content is a correction: its former fact does not count any more.
//!
//! What of all that a question can name is one list ([`ReadableTable`]); what a contract names beside it is told before
//! anything is charged ([`unreadable`]).
//! What is known of members is shown beside, one row each, from the vault at the moment of a reading ([`register_members`]).
//!
//! Questions see rows of sales alone. What refunds left of each is said where a contract has `net_fen`
//! ([`Refunds`]).
//!
//! Who has no card at a purchase but a phone number or an account is a member by what the
//! [`vault`](crate::vault) says of them, or a new one without a name, whose purchases are the person's from the first
//! named purchase on. Whoever comes without all of these is a guest, whose purchases stay nobody's.

mod attributes;
mod basket;
mod campaigns;
mod catalogue;
mod clean;
mod columns;
mod compaction;
mod details;
mod ended;
mod engine;
mod facts;
mod fen;
mod formats;
mod import;
mod in_chinese;
mod line;
mod mapping;
mod members;
mod netting;
mod openings;
mod orders;
mod readable;
mod report;
mod run;
mod standing;
mod streamed;
mod times;
mod turn;

use std::fmt;

pub use attributes::{MEMBERS_TABLE, register_members, register_members_for_staff};
pub use campaigns::{CAMPAIGNS_TABLE, CampaignMembers, InCampaign, NoCampaigns};
pub use catalogue::Snapshot;
pub use clean::{Adjustment, DropReason, ISSUES_MAX, Issue};
pub use columns::{CellProblem, FileProblem};
pub use compaction::Compacted;
pub use engine::rows_read_by_engine;
pub use facts::{FactsError, PurchaseLine};
pub use fen::{Fen, InvalidAmount, Rounding, Unit};
pub use formats::{Counted, Encoding, Format, Progress, RowProblem, Source};
pub use import::{Facts, ImportError, ImportTerms, Pace, SinkError};
pub use mapping::{
    Channel, Cleaning, ConsentMapping, MAPPING_MAX, Mapping, MappingError, MembersMapping,
    PurchasesMapping,
};
pub use members::{MembersReport, import_members};
pub use netting::{Refunds, netted};
pub use openings::{
    LeftOut, OPENING_LOTS_MAX, OpeningRows, OpeningsFile, OpeningsProblem, opening_day,
    read_openings,
};
pub use readable::{CellKind, NotKept, ReadableColumn, ReadableTable, Unreadable, unreadable};
pub use report::{ImportReport, Sightings};
pub use standing::Reading;
pub use turn::{Between, Turn};

/// A basket inside this node: a keyed hash of the brand's own number for it and of whose it is, so that members who
/// share a number have a basket each. Baskets that earlier versions wrote keep the hash of the number alone.
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
    /// In which hour of that day, 0 to 23; none where the mapping does not keep it, and in what earlier versions wrote.
    #[n(9)]
    pub hour: Option<u32>,
}

impl BasketChange {
    /// Its size when stored, about.
    fn bytes(&self) -> usize {
        self.departments.iter().fold(96, |bytes, (name, _)| bytes + name.len() + 12)
    }
}

#[cfg(test)]
mod apart;
#[cfg(test)]
mod between;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod erasures;
#[cfg(test)]
mod known_by;
#[cfg(test)]
mod tests;
