//! One purchase line out of a batch of columns.

use datafusion::arrow::record_batch::RecordBatch;

use super::clean::Issue;
use super::columns::{
    AMOUNT, CellProblem, DATE, Day, FileProblem, Money, TEXT, Text, WHOLE, Whole,
};
use super::fen::Fen;
use crate::vault::CardNumber;

/// Longest name of a department, in bytes.
const DEPARTMENT_MAX: usize = 64;

const BASKET: &str = "basket_id";
const LINE: &str = "line_no";
const MEMBER: &str = "member_id";
const DAY: &str = "purchased_at";
const DEPARTMENT: &str = "department";
const QUANTITY: &str = "quantity";
const MONEY: &str = "amount";
/// The columns that a file of purchase lines must have, and what they hold.
pub(super) const COLUMNS: [(&str, &str); 7] = [
    (BASKET, TEXT),
    (LINE, WHOLE),
    (MEMBER, TEXT),
    (DAY, DATE),
    (DEPARTMENT, TEXT),
    (QUANTITY, WHOLE),
    (MONEY, AMOUNT),
];

/// The columns of a batch.
pub(super) struct Columns {
    basket: Text,
    line: Whole,
    member: Text,
    day: Day,
    department: Text,
    quantity: Whole,
    amount: Money,
}

/// A row whose cells could all be read.
pub(super) struct Line<'a> {
    pub(super) basket: &'a str,
    pub(super) number: u32,
    pub(super) card: Option<CardNumber>,
    pub(super) day: i32,
    pub(super) department: Option<&'a str>,
    pub(super) quantity: i64,
    pub(super) amount: Fen,
}

impl Columns {
    pub(super) fn of(file: &str, batch: &RecordBatch) -> Result<Self, FileProblem> {
        Ok(Self {
            basket: Text::of(file, batch, BASKET)?,
            line: Whole::of(file, batch, LINE)?,
            member: Text::of(file, batch, MEMBER)?,
            day: Day::of(file, batch, DAY)?,
            department: Text::of(file, batch, DEPARTMENT)?,
            quantity: Whole::of(file, batch, QUANTITY)?,
            amount: Money::of(file, batch, MONEY)?,
        })
    }

    pub(super) fn line(&self, row: usize) -> Result<Line<'_>, Issue> {
        let missing = |column| Issue::cell(column, CellProblem::Missing);
        let basket = self.basket.at(row).map_err(|problem| Issue::cell(BASKET, problem))?;
        let number = self.line.at(row).map_err(|problem| Issue::cell(LINE, problem))?;
        let card = self.member.at(row).map_err(|problem| Issue::cell(MEMBER, problem))?;
        let department =
            self.department.at(row).map_err(|problem| Issue::cell(DEPARTMENT, problem))?;
        if department.is_some_and(|name| name.len() > DEPARTMENT_MAX) {
            return Err(Issue::cell(DEPARTMENT, CellProblem::NotAnIdentifier));
        }
        let wrong_card = |_| Issue::cell(MEMBER, CellProblem::NotAnIdentifier);
        Ok(Line {
            basket: basket.ok_or_else(|| missing(BASKET))?,
            number: u32::try_from(number).map_err(|_| Issue::cell(LINE, CellProblem::NotWhole))?,
            card: card.map(CardNumber::new).transpose().map_err(wrong_card)?,
            day: self.day.at(row).map_err(|problem| Issue::cell(DAY, problem))?,
            department,
            quantity: self.quantity.at(row).map_err(|problem| Issue::cell(QUANTITY, problem))?,
            amount: self.amount.at(row).map_err(|problem| Issue::cell(MONEY, problem))?,
        })
    }
}
