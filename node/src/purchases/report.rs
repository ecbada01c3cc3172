//! What an import did, for people and programs.

use std::collections::BTreeMap;
use std::fmt;

use minicbor::{Decode, Encode};

use super::clean::{Adjustment, DropReason, Dropped, Issue};
use super::columns::CellProblem;
use super::formats::{Counted, RowProblem};
use crate::vault::Sighting;

/// What identifiers in rows said of who people are. Of a run that was interrupted, what was not durable yet is not in
/// it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Sightings {
    /// People whom nobody knew, each a member without a card and without consents now.
    #[n(0)]
    pub new: u64,
    /// Members who were merged into others: those without a name, and those who were never enrolled.
    #[n(1)]
    pub merged: u64,
    /// Pairs of members that a person should review.
    #[n(2)]
    pub to_review: u64,
    /// Identifiers that were not entered: another member has them, or the member has another of a kind of which a
    /// person has one.
    #[n(3)]
    pub refused: u64,
}

impl Sightings {
    pub(super) fn take(&mut self, sighting: &Sighting) {
        let count = |list: usize| u64::try_from(list).unwrap_or(u64::MAX);
        self.new += u64::from(sighting.is_new);
        self.merged += count(sighting.absorbed.len());
        self.to_review += count(sighting.to_review.len());
        self.refused += count(sighting.refused.len());
    }
}

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
    /// What identifiers in the rows said of who people are; none where no row had any.
    #[n(13)]
    pub sightings: Option<Sightings>,
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
const FIELDS: [&str; 29] = [
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
    "coupon",
    "electronic_card",
    "store",
    "region",
    "label",
    "identifiers.phone",
    "identifiers.match_key",
    "identifiers.wechat_open_id",
    "identifiers.wechat_union_id",
    "identifiers.alipay_user_id",
    "identifiers.app_user_id",
    "identifiers.email",
    "identifiers.device",
    "identifiers.face_token",
    "identifiers.ecommerce_account",
    "identifiers.licence_plate",
    "identifiers.payment_token",
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
