//! One purchase line out of a batch of columns.

use std::borrow::Cow;

use datafusion::arrow::record_batch::RecordBatch;
use ring::digest::{SHA256, digest};

use super::clean::{DropReason, Issue};
use super::columns::{
    AMOUNT, CellProblem, DATE, FileProblem, Money, TEXT, Text, WHOLE, When, Whole, missing,
    required,
};
use super::details::{DETAIL_MAX, Details};
use super::fen::Fen;
use super::formats::OpenSource;
use super::mapping::{Channel, Department, LineNumber, PurchasesMapping, identifier_field};
use super::times::Moment;
use crate::vault::{CardNumber, Identifier, IdentifierKind, Strength};

/// Longest name of a department, in bytes.
pub(super) const DEPARTMENT_MAX: usize = 64;

impl PurchasesMapping {
    /// Every column that is read, and what it holds.
    pub(super) fn columns(&self) -> Vec<(&str, &'static str)> {
        let mut columns = vec![(self.basket.as_str(), TEXT)];
        if let LineNumber::Column(name) = &self.line {
            columns.push((name, WHOLE));
        }
        columns.extend(self.member.as_deref().map(|name| (name, TEXT)));
        columns.extend(self.identifiers.iter().map(|(_, name)| (name.as_str(), TEXT)));
        columns.extend([
            (self.purchased_at.as_str(), DATE),
            (self.quantity.as_str(), WHOLE),
            (self.amount.as_str(), AMOUNT),
        ]);
        if let Department::Column { name, .. } = &self.department {
            columns.push((name, TEXT));
        }
        columns.extend(self.product.as_deref().map(|name| (name, TEXT)));
        columns.extend(self.cost.as_deref().map(|name| (name, AMOUNT)));
        columns.extend(self.coupon.as_deref().map(|name| (name, AMOUNT)));
        columns.extend(self.electronic_card.as_ref().map(|card| (card.column.as_str(), TEXT)));
        let details = self.details.named().into_iter();
        columns.extend(details.filter_map(|(_, name)| Some((name?.as_str(), TEXT))));
        columns.extend(self.channel.column.as_ref().map(|(name, _)| (name.as_str(), TEXT)));
        if let Some(refunds) = &self.refunds {
            columns.extend(refunds.marked.as_ref().map(|(name, _)| (name.as_str(), TEXT)));
            columns.extend(refunds.original.as_deref().map(|name| (name, TEXT)));
        }
        columns
    }

    /// Whether a file has all of them.
    pub(super) fn check(&self, file: &str, opened: &OpenSource) -> Result<(), FileProblem> {
        match self.columns().into_iter().find(|(name, _)| !opened.names.contains(*name)) {
            Some((name, accepted)) => Err(missing(file, name, accepted)),
            None => Ok(()),
        }
    }
}

/// The columns of a batch.
pub(super) struct Columns<'m> {
    mapping: &'m PurchasesMapping,
    today: i32,
    basket: Text,
    line: Option<Whole>,
    member: Option<Text>,
    identifiers: Vec<(IdentifierKind, Text)>,
    at: When,
    product: Option<Text>,
    department: Option<Text>,
    quantity: Whole,
    amount: Money,
    cost: Option<Money>,
    coupon: Option<Money>,
    electronic_card: Option<Text>,
    details: Details<Text>,
    channel: Option<Text>,
    marked: Option<Text>,
    original: Option<Text>,
}

/// A row whose cells could all be read.
pub(super) struct Line<'a> {
    pub(super) basket: &'a str,
    /// None when it is the line's place in its basket.
    pub(super) number: Option<u32>,
    pub(super) card: Option<CardNumber>,
    /// Whatever else came by which the member may be known.
    pub(super) identifiers: Vec<Identifier>,
    /// Whether something came that is no identifier of its kind; it is left out.
    pub(super) unread: bool,
    pub(super) at: Moment,
    pub(super) product: Option<&'a str>,
    pub(super) department: Option<Cow<'a, str>>,
    /// Below zero for a refund.
    pub(super) quantity: i64,
    /// Below zero for a refund.
    pub(super) amount: Fen,
    pub(super) channel: Channel,
    /// What coupons took off it; none of a refund, and where the mapping does not say.
    pub(super) coupon: Option<Fen>,
    /// Whether the member showed an electronic card; none where the mapping does not say.
    pub(super) electronic_card: Option<bool>,
    /// The store and the like; none where the mapping does not say.
    pub(super) details: Details<&'a str>,
    /// The hour of the day by the brand's own clock; none where the mapping does not say, or only the day is known.
    pub(super) hour: Option<u32>,
    pub(super) under_cost: bool,
    /// The basket that a refund takes back, if it says.
    pub(super) original: Option<&'a str>,
}

impl Line<'_> {
    pub(super) fn is_refund(&self) -> bool {
        self.quantity < 0 || self.amount < Fen::ZERO
    }
}

impl<'m> Columns<'m> {
    pub(super) fn of(
        file: &str,
        batch: &RecordBatch,
        mapping: &'m PurchasesMapping,
        today: i32,
    ) -> Result<Self, FileProblem> {
        let text = |name: &str| Text::of(file, name, required(file, batch, name, TEXT)?);
        let whole = |name: &str| Whole::of(file, name, required(file, batch, name, WHOLE)?);
        let money = |name: &str| Money::of(file, name, required(file, batch, name, AMOUNT)?);
        let refunds = mapping.refunds.as_ref();
        let mut identifiers = Vec::new();
        for (kind, name) in &mapping.identifiers {
            identifiers.push((*kind, text(name)?));
        }
        let at = required(file, batch, &mapping.purchased_at, DATE)?;
        Ok(Self {
            mapping,
            today,
            basket: text(&mapping.basket)?,
            line: match &mapping.line {
                LineNumber::Column(name) => Some(whole(name)?),
                LineNumber::Place => None,
            },
            member: mapping.member.as_deref().map(text).transpose()?,
            identifiers,
            at: When::of(file, &mapping.purchased_at, at)?,
            product: mapping.product.as_deref().map(text).transpose()?,
            department: match &mapping.department {
                Department::Column { name, .. } => Some(text(name)?),
                Department::Always(_) => None,
            },
            quantity: whole(&mapping.quantity)?,
            amount: money(&mapping.amount)?,
            cost: mapping.cost.as_deref().map(money).transpose()?,
            coupon: mapping.coupon.as_deref().map(money).transpose()?,
            electronic_card: mapping
                .electronic_card
                .as_ref()
                .map(|card| text(&card.column))
                .transpose()?,
            details: mapping.details.try_map(|_, name| text(name).map(Some))?,
            channel: mapping.channel.column.as_ref().map(|(name, _)| text(name)).transpose()?,
            marked: refunds
                .and_then(|refunds| refunds.marked.as_ref())
                .map(|(name, _)| text(name))
                .transpose()?,
            original: refunds
                .and_then(|refunds| refunds.original.as_deref())
                .map(text)
                .transpose()?,
        })
    }

    pub(super) fn line(&self, row: usize) -> Result<Line<'_>, Issue> {
        let mapping = self.mapping;
        let cell = |field| move |problem| Issue::cell(field, problem);
        let there = |field, value: Option<_>| value.ok_or(Issue::cell(field, CellProblem::Missing));
        let basket = there("basket", self.basket.at(row).map_err(cell("basket"))?)?;
        let number = match &self.line {
            None => None,
            Some(column) => {
                let number = column.at(row).map_err(cell("line"))?;
                let number = u32::try_from(number).map_err(|_| CellProblem::NotWhole);
                Some(number.map_err(cell("line"))?)
            }
        };
        let card = match &self.member {
            Some(column) => column.at(row).map_err(cell("member"))?,
            None => None,
        };
        let guests = mapping.guests.as_ref();
        let card = card.filter(|card| guests.is_none_or(|guests| !guests.contains(*card)));
        let (mut identifiers, unread) = self.identifiers(row);
        let says_who = |it: &Identifier| it.kind().strength() >= Strength::Phone;
        if card.is_none() && !identifiers.iter().any(says_who) {
            // an address, a car or a device may be several people's: by themselves they lead to one today and to
            // another tomorrow, and the same line would count twice
            identifiers.clear();
        }
        if card.is_none() && identifiers.is_empty() {
            match unread {
                // by nothing else could the member be known: no guest's, but a row to be mended
                Some(issue) => return Err(issue),
                None if guests.is_none() => return Err(Issue::row(DropReason::NoMember)),
                None => {}
            }
        }
        let wrong_card = |_| Issue::cell("member", CellProblem::NotAnIdentifier);
        let card = card.map(CardNumber::new).transpose().map_err(wrong_card)?;
        let at = self.at.at(row, &mapping.time_format, &mapping.zone);
        let at = at.map_err(cell("purchased_at"))?;
        if !mapping.cleaning.allows(at.day, self.today) {
            return Err(Issue::cell("purchased_at", CellProblem::ImpossibleDate));
        }
        let product = match &self.product {
            Some(column) => column.at(row).map_err(cell("product"))?,
            None => None,
        };
        let department = self.department(row)?;
        let quantity = self.quantity.at(row).map_err(cell("quantity"))?;
        let amount = self.amount.at(row, mapping.unit).map_err(cell("amount"))?;
        let amount = amount.ok_or(Issue::cell("amount", CellProblem::Missing))?;
        let channel = self.channel(row)?;
        let (quantity, amount) = self.signed(row, quantity, amount)?;
        let under_cost = self.under_cost(row, quantity, amount)?;
        let coupon = self.coupon(row, quantity, amount)?;
        let electronic_card = self.electronic_card(row)?;
        let details = self.details.try_map(|name, column| detail(name, column, row))?;
        let hour = hour(at).filter(|_| mapping.keeps_hour);
        let original = match &self.original {
            Some(column) => column.at(row).map_err(cell("refunds.original"))?,
            None => None,
        };
        Ok(Line {
            basket,
            number,
            card,
            identifiers,
            unread: unread.is_some(),
            at,
            product,
            department,
            quantity,
            amount,
            channel,
            coupon,
            electronic_card,
            details,
            hour,
            under_cost,
            original,
        })
    }

    /// What the row has by which its member may be known, and the first cell that is none of its kind.
    fn identifiers(&self, row: usize) -> (Vec<Identifier>, Option<Issue>) {
        let (mut found, mut unread) = (Vec::new(), None);
        for (kind, column) in &self.identifiers {
            let identifier = match column.at(row) {
                Ok(None) => continue,
                Ok(Some(text)) => {
                    Identifier::parse(*kind, text).map_err(|_| CellProblem::NotAnIdentifier)
                }
                Err(problem) => Err(problem),
            };
            match identifier {
                Ok(identifier) => found.push(identifier),
                Err(problem) => {
                    unread = unread.or(Some(Issue::cell(identifier_field(*kind), problem)));
                }
            }
        }
        (found, unread)
    }

    fn department(&self, row: usize) -> Result<Option<Cow<'_, str>>, Issue> {
        let (column, first) = match (&self.department, &self.mapping.department) {
            (_, Department::Always(name)) => return Ok(Some(Cow::Borrowed(name))),
            (None, _) => return Ok(None),
            (Some(column), Department::Column { first, .. }) => (column, *first),
        };
        let text = column.at(row).map_err(|problem| Issue::cell("department", problem))?;
        let text = text.map(|text| match first {
            None => text,
            Some(first) => {
                let end = text.char_indices().nth(first).map_or(text.len(), |(end, _)| end);
                text.get(..end).unwrap_or(text)
            }
        });
        match text {
            Some(name) if name.len() > DEPARTMENT_MAX => {
                Err(Issue::cell("department", CellProblem::NotAnIdentifier))
            }
            text => Ok(text.map(Cow::Borrowed)),
        }
    }

    fn channel(&self, row: usize) -> Result<Channel, Issue> {
        let default = self.mapping.channel.default;
        let wrong = |problem| Issue::cell("channel", problem);
        let stated = match (&self.channel, &self.mapping.channel.column) {
            (Some(column), Some((_, values))) => match column.at(row).map_err(wrong)? {
                Some(text) => Some(*values.get(text).ok_or_else(|| wrong(CellProblem::NotStated))?),
                None => None,
            },
            _ => None,
        };
        stated.or(default).ok_or_else(|| wrong(CellProblem::Missing))
    }

    /// Quantity and amount, below zero if it is a refund; or why it cannot be one.
    fn signed(&self, row: usize, quantity: i64, amount: Fen) -> Result<(i64, Fen), Issue> {
        let negative = quantity < 0 || amount < Fen::ZERO;
        let Some(refunds) = &self.mapping.refunds else {
            return if negative {
                Err(Issue::row(DropReason::Negative))
            } else {
                Ok((quantity, amount))
            };
        };
        let (Some(column), Some((_, values))) = (&self.marked, &refunds.marked) else {
            return Ok((quantity, amount));
        };
        let cell = column.at(row).map_err(|problem| Issue::cell("refunds", problem))?;
        match (cell.is_some_and(|cell| values.contains(cell)), negative) {
            (false, true) => Err(Issue::row(DropReason::Negative)),
            // some systems mark a refund and write what is paid back without a sign
            (true, false) => {
                let back = Fen::new(-amount.get());
                let back = back.map_err(|_| Issue::cell("amount", CellProblem::NotAnAmount))?;
                Ok((quantity.saturating_neg(), back))
            }
            _ => Ok((quantity, amount)),
        }
    }

    /// What coupons took off a sale. What a refund says of coupons is not kept: a sale has used its
    /// coupon whether or not it is taken back.
    fn coupon(&self, row: usize, quantity: i64, amount: Fen) -> Result<Option<Fen>, Issue> {
        let Some(column) = &self.coupon else { return Ok(None) };
        if quantity < 0 || amount < Fen::ZERO {
            return Ok(None);
        }
        let wrong = |problem| Issue::cell("coupon", problem);
        match column.at(row, self.mapping.unit).map_err(wrong)? {
            Some(coupon) if coupon < Fen::ZERO => Err(wrong(CellProblem::NotAnAmount)),
            coupon => Ok(coupon),
        }
    }

    fn electronic_card(&self, row: usize) -> Result<Option<bool>, Issue> {
        let (Some(column), Some(card)) = (&self.electronic_card, &self.mapping.electronic_card)
        else {
            return Ok(None);
        };
        let shown = column.at(row).map_err(|problem| Issue::cell("electronic_card", problem))?;
        Ok(Some(shown.is_some_and(|shown| card.values.contains(shown))))
    }

    fn under_cost(&self, row: usize, quantity: i64, amount: Fen) -> Result<bool, Issue> {
        let Some(column) = &self.cost else { return Ok(false) };
        let cost = column.at(row, self.mapping.unit);
        let cost = cost.map_err(|problem| Issue::cell("cost", problem))?;
        let sold = quantity > 0 && quantity <= self.mapping.cleaning.most_pieces;
        Ok(cost.is_some_and(|cost| {
            sold && i128::from(amount.get()) < i128::from(cost.get()) * i128::from(quantity)
        }))
    }
}

/// A cell that says the store or the like; none where it is empty.
fn detail<'a>(name: &'static str, column: &'a Text, row: usize) -> Result<Option<&'a str>, Issue> {
    let wrong = |problem| Issue::cell(name, problem);
    match column.at(row).map_err(wrong)? {
        Some(text) if text.len() > DETAIL_MAX => Err(wrong(CellProblem::NotAnIdentifier)),
        text => Ok(text),
    }
}

/// The hour of the day, 0 to 23; none when only the day is known.
fn hour(at: Moment) -> Option<u32> {
    at.second.map(|second| second / 3_600)
}

/// What is equal for two lines of the same content, and else not: the first 63 bits of SHA-256.
pub(super) fn print(line: &Line<'_>, department: &str, at: Moment) -> i64 {
    let mut bytes = Vec::with_capacity(64 + department.len());
    bytes.extend_from_slice(&at.day.to_be_bytes());
    bytes.extend_from_slice(&line.quantity.to_be_bytes());
    bytes.extend_from_slice(&line.amount.get().to_be_bytes());
    for text in [line.channel.name(), department, line.product.unwrap_or_default()] {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    // only where there is something: lines that were read before a mapping said where these stand are
    // the same lines still, and those that had a coupon are corrected
    if let Some(coupon) = line.coupon.filter(|coupon| *coupon > Fen::ZERO) {
        bytes.extend_from_slice(b"coupon");
        bytes.extend_from_slice(&coupon.get().to_be_bytes());
    }
    if line.electronic_card == Some(true) {
        bytes.extend_from_slice(b"electronic card");
    }
    for (name, detail) in line.details.named() {
        let Some(text) = detail else { continue };
        for part in [name, *text] {
            bytes.extend_from_slice(part.as_bytes());
            bytes.push(0);
        }
    }
    // not in a print that leaves the time out
    if let Some(hour) = hour(at).filter(|_| line.hour.is_some()) {
        bytes.extend_from_slice(b"hour");
        bytes.extend_from_slice(&hour.to_be_bytes());
    }
    let hash = digest(&SHA256, &bytes);
    let mut first = [0; 8];
    first.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    i64::from_be_bytes(first) & i64::MAX
}
