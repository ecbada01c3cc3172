//! Cleaning: what is dropped or adjusted, why, and how to mend it.

use std::collections::BTreeMap;
use std::fmt;

use minicbor::{Decode, Encode};

use super::columns::CellProblem;
use super::formats::{Counted, RowProblem};
use super::mapping::Cleaning;

/// Most single issues a report lists; all are counted.
pub const ISSUES_MAX: usize = 100;

/// Why a row was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum DropReason {
    /// The row cannot be taken apart.
    #[n(0)]
    Broken,
    /// A cell cannot be read.
    #[n(1)]
    Malformed,
    /// A day that cannot be.
    #[n(2)]
    ImpossibleDate,
    /// Quantity and amount are both zero.
    #[n(3)]
    NothingSold,
    /// A negative quantity or amount that nothing tells as a refund.
    #[n(4)]
    Negative,
    /// Sold for less than it cost.
    #[n(5)]
    UnderCost,
    /// The card belongs to no member.
    #[n(6)]
    UnknownMember,
    /// No member, where the mapping has no guests.
    #[n(7)]
    NoMember,
    /// The same line of the same basket is already there.
    #[n(8)]
    Duplicate,
    /// One line of one basket stands twice in the file, and differently.
    #[n(9)]
    Contradiction,
    /// The same order of the same member a moment ago, under another number.
    #[n(10)]
    SameOrderTwice,
    /// Other lines of the basket are another's, or a guest's. Reports of earlier versions have it: now who shares a
    /// number with others has a basket of their own.
    #[n(11)]
    OthersBasket,
    /// The basket has too many lines or too large a total.
    #[n(12)]
    BasketTooLarge,
    /// A card or match key that belongs to another member.
    #[n(13)]
    Conflict,
    /// Somebody who was erased, in a list.
    #[n(14)]
    Erased,
}

impl DropReason {
    /// A stable code for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Malformed => "malformed",
            Self::ImpossibleDate => "impossible_date",
            Self::NothingSold => "nothing_sold",
            Self::Negative => "negative",
            Self::UnderCost => "under_cost",
            Self::UnknownMember => "unknown_member",
            Self::NoMember => "no_member",
            Self::Duplicate => "duplicate",
            Self::Contradiction => "contradiction",
            Self::SameOrderTwice => "same_order_twice",
            Self::OthersBasket => "others_basket",
            Self::BasketTooLarge => "basket_too_large",
            Self::Conflict => "conflict",
            Self::Erased => "erased",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Broken => "correct the row and import the corrected file",
            Self::Malformed => "correct the cell and import the corrected file",
            Self::ImpossibleDate => "correct the date, or the days that the mapping allows",
            Self::NothingSold => "nothing to do: such lines carry no sale",
            Self::Negative => "say in the mapping how refunds are told, under [purchases.refunds]",
            Self::UnderCost => {
                "check the price; to keep such lines, say keep_under_cost = true in the mapping"
            }
            Self::UnknownMember => "import the member, then this file again",
            Self::NoMember => {
                "give the member, or say in the mapping how guests are told, under [purchases.guests]"
            }
            Self::Duplicate => "nothing to do: the line counts once",
            Self::Contradiction => "give each line of a basket a number of its own",
            Self::SameOrderTwice => {
                "nothing to do if it was sent twice; if not, lower same_order_within_seconds in the mapping"
            }
            Self::OthersBasket => "give each basket a number of its own",
            Self::BasketTooLarge => "split the basket, or check its number",
            Self::Conflict => "find out which card the person holds",
            Self::Erased => {
                "take the person out of the system that sends; whoever joins again does so at the counter or in the app"
            }
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "the row cannot be taken apart",
            Self::Malformed => "a cell cannot be read",
            Self::ImpossibleDate => "the date cannot be",
            Self::NothingSold => "quantity and amount are zero",
            Self::Negative => "a quantity or amount is negative, and nothing tells a refund",
            Self::UnderCost => "the amount is under the cost",
            Self::UnknownMember => "no member has this card",
            Self::NoMember => "there is no member, and the mapping has no guests",
            Self::Duplicate => "the line was imported before",
            Self::Contradiction => "the line stands twice in the file, with different content",
            Self::SameOrderTwice => "the member's same order came twice within moments",
            Self::OthersBasket => "the basket belongs to somebody else",
            Self::BasketTooLarge => "the basket has too many lines or too large a total",
            Self::Conflict => "the card or match key belongs to another member",
            Self::Erased => "the person was erased, and is not made a member again by a list",
        })
    }
}

/// What was changed in a row that was kept, or is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Adjustment {
    /// The quantity is a volume or weight: the line counts as one piece.
    #[n(0)]
    Measured,
    /// The department is not stated: it is called `UNKNOWN`.
    #[n(1)]
    NoDepartment,
    /// Sold for less than it cost, and kept as the mapping says.
    #[n(2)]
    UnderCost,
    /// The line was there with other content, which this one replaces.
    #[n(3)]
    Corrected,
    /// A refund or cancellation.
    #[n(4)]
    Refund,
    /// Consent in words that the mapping does not explain: taken for none.
    #[n(5)]
    ConsentNotUnderstood,
    /// A refund that names a basket in which its member has nothing: it stands by itself.
    #[n(6)]
    RefundAlone,
    /// A child agreed, and no guardian: taken for no consent.
    #[n(20)]
    GuardianMissing,
    /// Something that is no identifier of its kind: the row was kept without it.
    #[n(10)]
    IdentifierNotRead,
    /// A list says that somebody consents who has withdrawn it: it stays withdrawn.
    #[n(11)]
    StaysWithdrawn,
    /// A decision that cannot be entered: a child's consent without a guardian's, or one decision too many.
    #[n(12)]
    ConsentNotTaken,
}

impl Adjustment {
    /// A stable code for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::NoDepartment => "no_department",
            Self::UnderCost => "under_cost",
            Self::Corrected => "corrected",
            Self::Refund => "refund",
            Self::ConsentNotUnderstood => "consent_not_understood",
            Self::RefundAlone => "refund_alone",
            Self::GuardianMissing => "guardian_missing",
            Self::IdentifierNotRead => "identifier_not_read",
            Self::StaysWithdrawn => "stays_withdrawn",
            Self::ConsentNotTaken => "consent_not_taken",
        }
    }
}

impl fmt::Display for Adjustment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Measured => "a volume or weight counts as one piece",
            Self::NoDepartment => "no department is stated: it is called UNKNOWN",
            Self::UnderCost => "the amount is under the cost; kept, as the mapping says",
            Self::Corrected => "the line replaces one that was there with other content",
            Self::Refund => "a refund or cancellation",
            Self::ConsentNotUnderstood => {
                "consent in words that the mapping does not explain: taken for none"
            }
            Self::RefundAlone => {
                "a refund names a basket in which its member has nothing; it stands by itself"
            }
            Self::GuardianMissing => {
                "a child's consent that no guardian gave (PIPL art. 31): left out; say in the mapping how a \
                 guardian's is told, under [members.consent.guardian]"
            }
            Self::IdentifierNotRead => {
                "an identifier is none of its kind, such as a phone number with a digit too few: the row was kept \
                 without it"
            }
            Self::StaysWithdrawn => {
                "the list has a consent of somebody who has withdrawn it: it stays withdrawn until the member gives \
                 it again in person"
            }
            Self::ConsentNotTaken => {
                "a decision was not entered: a child's consent needs a guardian's, and a member has a thousand \
                 decisions at most"
            }
        })
    }
}

/// One row that was dropped. Nothing of its content is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issue {
    /// Where it is.
    pub place: u64,
    /// How places are counted in its file.
    pub counted: Counted,
    /// The field of the mapping, when one cell is to blame.
    pub field: Option<&'static str>,
    /// Why.
    pub reason: DropReason,
    /// What is wrong with the cell.
    pub cell: Option<CellProblem>,
    /// What is wrong with the row as a whole.
    pub row: Option<RowProblem>,
}

impl Issue {
    pub(super) const fn cell(field: &'static str, problem: CellProblem) -> Self {
        let reason = match problem {
            CellProblem::ImpossibleDate => DropReason::ImpossibleDate,
            _ => DropReason::Malformed,
        };
        Self { field: Some(field), cell: Some(problem), ..Self::row(reason) }
    }
    pub(super) const fn row(reason: DropReason) -> Self {
        Self { place: 0, counted: Counted::Rows, field: None, reason, cell: None, row: None }
    }
    pub(super) const fn broken(problem: RowProblem) -> Self {
        Self { row: Some(problem), ..Self::row(DropReason::Broken) }
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.counted, self.place)?;
        if let Some(field) = self.field {
            write!(f, ", {field}")?;
        }
        match (&self.cell, &self.row) {
            (Some(problem), _) => write!(f, ": {problem}")?,
            (None, Some(problem)) => write!(f, ": {problem}")?,
            (None, None) => write!(f, ": {}", self.reason)?,
        }
        write!(f, "; {}", self.reason.remedy())
    }
}

/// Dropped rows, counted by reason, the first of them one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) counts: BTreeMap<DropReason, u64>,
    pub(super) issues: Vec<Issue>,
    pub(super) counted: Counted,
}

impl Dropped {
    pub(super) fn add(&mut self, place: u64, issue: Issue) {
        *self.counts.entry(issue.reason).or_default() += 1;
        if self.issues.len() < ISSUES_MAX {
            self.issues.push(Issue { place, counted: self.counted, ..issue });
        }
    }
}

impl Cleaning {
    /// The number of pieces, and whether that was an adjustment.
    pub(super) fn pieces(&self, department: &str, quantity: i64) -> (i64, bool) {
        let measured = quantity.saturating_abs() > self.most_pieces
            || self.measured_departments.contains(department);
        let one = quantity.signum();
        if measured && quantity != one { (one, true) } else { (quantity, false) }
    }

    /// Whether a day can be, when today is `today`.
    pub(super) fn allows(&self, day: i32, today: i32) -> bool {
        let latest = self.latest.unwrap_or(i32::MAX).min(today.saturating_add(1));
        (self.earliest..=latest).contains(&day)
    }
}
