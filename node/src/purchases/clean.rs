//! Cleaning: what is dropped or adjusted, why, and how to mend it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::columns::CellProblem;

/// Most single issues a report lists; all are counted.
pub const ISSUES_MAX: usize = 100;

/// Why a row was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// A cell cannot be read.
    Malformed,
    /// Quantity and amount are both zero.
    NothingSold,
    /// Money or goods go back; refunds are not imported yet.
    Negative,
    /// The card belongs to no member.
    UnknownMember,
    /// The same line of the same basket is already there.
    Duplicate,
    /// Other lines of the basket are another's, or a guest's.
    OthersBasket,
    /// The basket has too many lines or too large a total.
    BasketTooLarge,
    /// A card or match key that belongs to another member.
    Conflict,
}

impl DropReason {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Malformed => "correct the cell and import the corrected file",
            Self::NothingSold => "nothing to do: such lines carry no sale",
            Self::Negative => "enter refunds by hand: this version does not import them",
            Self::UnknownMember => "import the member, then this file again",
            Self::Duplicate => "nothing to do: the line counts once",
            Self::OthersBasket => "give each basket a number of its own",
            Self::BasketTooLarge => "split the basket, or check its number",
            Self::Conflict => "find out which card the person holds",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "a cell cannot be read",
            Self::NothingSold => "quantity and amount are zero",
            Self::Negative => "a quantity or amount is negative",
            Self::UnknownMember => "no member has this card",
            Self::Duplicate => "the line was imported before",
            Self::OthersBasket => "the basket belongs to somebody else",
            Self::BasketTooLarge => "the basket has too many lines or too large a total",
            Self::Conflict => "the card or match key belongs to another member",
        })
    }
}

/// What was changed in a row that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Adjustment {
    /// The quantity is a volume or weight: the line counts as one piece.
    Measured,
    /// The department is not stated: it is called `UNKNOWN`.
    NoDepartment,
}

/// One row that was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issue {
    /// Its number in the file; the first row is 1.
    pub row: u64,
    /// The column, when one cell is to blame.
    pub column: Option<&'static str>,
    /// Why.
    pub reason: DropReason,
    /// What is wrong with the cell.
    pub cell: Option<CellProblem>,
}

impl Issue {
    pub(super) const fn cell(column: &'static str, problem: CellProblem) -> Self {
        Self { row: 0, column: Some(column), reason: DropReason::Malformed, cell: Some(problem) }
    }
    pub(super) const fn row(reason: DropReason) -> Self {
        Self { row: 0, column: None, reason, cell: None }
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {}", self.row)?;
        if let Some(column) = self.column {
            write!(f, ", column {column}")?;
        }
        match &self.cell {
            Some(problem) => write!(f, ": {problem}")?,
            None => write!(f, ": {}", self.reason)?,
        }
        write!(f, "; {}", self.reason.remedy())
    }
}

/// Dropped rows, counted by reason, the first of them one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) counts: BTreeMap<DropReason, u64>,
    pub(super) issues: Vec<Issue>,
}

impl Dropped {
    pub(super) fn add(&mut self, row: u64, issue: Issue) {
        *self.counts.entry(issue.reason).or_default() += 1;
        if self.issues.len() < ISSUES_MAX {
            self.issues.push(Issue { row, ..issue });
        }
    }
    pub(super) fn count(&self, reason: DropReason) -> u64 {
        self.counts.get(&reason).copied().unwrap_or(0)
    }
}

/// Rules of cleaning that differ between brands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaning {
    /// Departments whose quantity is a volume or weight.
    pub measured_departments: BTreeSet<String>,
    /// Above this a quantity is taken for a volume in any department.
    pub most_pieces: i64,
}

impl Cleaning {
    /// Rules for the sample: gasoline is measured in thousandths of a gallon, under `FUEL` and
    /// under `MISCELLANEOUS`; its largest number of pieces is 72, its smallest volume there 2,070.
    #[must_use]
    pub fn of_sample() -> Self {
        Self { measured_departments: BTreeSet::from(["FUEL".to_owned()]), most_pieces: 1_000 }
    }

    /// The number of pieces, and whether that was an adjustment.
    pub(super) fn pieces(&self, department: &str, quantity: i64) -> (i64, bool) {
        let measured =
            quantity > self.most_pieces || self.measured_departments.contains(department);
        if measured && quantity != 1 { (1, true) } else { (quantity, false) }
    }
}
