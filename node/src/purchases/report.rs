//! What an import did, for people and programs.

use std::collections::BTreeMap;
use std::fmt;

use minicbor::{Decode, Encode};

use super::clean::{Adjustment, DropReason, Dropped, Issue};
use super::columns::CellProblem;
use super::formats::{Counted, RowProblem};

/// What an import of purchase lines did, interrupted runs of it counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct ImportReport {
    /// Name of the file.
    #[n(0)]
    pub file: String,
    /// Rows read.
    #[n(1)]
    pub rows_read: u64,
    /// Of them, rows that became facts.
    #[n(2)]
    pub rows_kept: u64,
    /// Of those, rows of guests.
    #[n(3)]
    pub guest_rows: u64,
    /// Of those, refunds and cancellations.
    #[n(4)]
    pub refund_rows: u64,
    /// Baskets that changed, counted once for each file of facts.
    #[n(5)]
    pub baskets: u64,
    /// Sum of the rows kept, in fen.
    #[n(6)]
    pub amount_fen: i64,
    /// Rows not kept, by reason.
    #[n(7)]
    pub dropped: BTreeMap<DropReason, u64>,
    /// Rows kept with a change, or with something to tell.
    #[n(8)]
    pub adjusted: BTreeMap<Adjustment, u64>,
    /// The first dropped rows, one by one.
    #[n(9)]
    pub issues: Vec<Issue>,
    /// The file was imported before, whole, by this mapping: nothing was done, and nothing counted twice.
    #[n(10)]
    pub already_imported: bool,
    /// The place in the file up to which an earlier, interrupted run had done it.
    #[n(11)]
    pub resumed_after: u64,
    /// Name of a half-done import that was given up for this one.
    #[n(12)]
    pub gave_up: Option<String>,
}

impl ImportReport {
    pub(super) fn has_unknown_members(&self) -> bool {
        self.dropped.contains_key(&DropReason::UnknownMember)
    }

    pub(super) fn take(&mut self, dropped: &Dropped) {
        self.dropped.clone_from(&dropped.counts);
        self.issues.clone_from(&dropped.issues);
        // an order is told as a whole, after rows that stand behind its first
        self.issues.sort_by_key(|issue| issue.place);
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.already_imported {
            return write!(f, "{}: imported before, nothing to do", self.file);
        }
        write!(f, "{}: {} rows read, {} kept", self.file, self.rows_read, self.rows_kept)?;
        for (reason, rows) in &self.dropped {
            write!(f, "; {rows} dropped: {reason}")?;
        }
        Ok(())
    }
}

/// An issue as it is stored; the field stands in it by its place among the names there are.
#[derive(Encode, Decode)]
#[cbor(array)]
struct StoredIssue {
    #[n(0)]
    place: u64,
    #[n(1)]
    counted: Counted,
    #[n(2)]
    field: Option<u8>,
    #[n(3)]
    reason: DropReason,
    #[n(4)]
    cell: Option<CellProblem>,
    #[n(5)]
    row: Option<RowProblem>,
}

/// Fields of a mapping that an issue of a purchase line may name.
const FIELDS: [&str; 12] = [
    "basket",
    "line",
    "member",
    "purchased_at",
    "department",
    "quantity",
    "amount",
    "channel",
    "product",
    "cost",
    "refunds",
    "refunds.original",
];

impl<C> Encode<C> for Issue {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let named = self.field.and_then(|field| FIELDS.iter().position(|name| *name == field));
        let stored = StoredIssue {
            place: self.place,
            counted: self.counted,
            field: named.and_then(|place| u8::try_from(place).ok()),
            reason: self.reason,
            cell: self.cell,
            row: self.row,
        };
        stored.encode(encoder, context)
    }
}

impl<'b, C> Decode<'b, C> for Issue {
    fn decode(
        decoder: &mut minicbor::Decoder<'b>,
        context: &mut C,
    ) -> Result<Self, minicbor::decode::Error> {
        let stored = StoredIssue::decode(decoder, context)?;
        let field = stored.field.and_then(|place| FIELDS.get(usize::from(place)).copied());
        Ok(Self {
            place: stored.place,
            counted: stored.counted,
            field,
            reason: stored.reason,
            cell: stored.cell,
            row: stored.row,
        })
    }
}
