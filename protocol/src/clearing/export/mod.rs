//! A statement for banks and books: CSV, ISO 20022 pacs.029.001.02 and camt.053.001.12.
//!
//! Pure functions of a [`Settlement`]: the same entries give the same bytes on every node, dates
//! included (they are the cut-off's). Amounts are CNY with two decimals and only ever those of the
//! statement's instructions, which are whole fen ([`crate::amount::Value::payable`]); what was left by
//! rounding is told in micro-fen as carried to the next statement. Brands have neither BIC nor LEI
//! here: they are named by their ids under the proprietary scheme `coalition`.
//!
//! Knows no bank account: whoever sends one of these adds the accounts its bank knows.

mod csv;
mod xml;

#[cfg(test)]
mod tests;

pub use csv::csv;

use std::fmt::Write as _;

use super::settlement::Settlement;
use super::statement::Instruction;
use crate::amount::Value;
use crate::ids::{BrandId, StatementHash};
use crate::time::Timestamp;
use xml::Element;

/// The scheme under which brands are named.
pub const SCHEME: &str = "coalition";

const CURRENCY: &str = "CNY";

/// The request to settle a statement, for the institution that moves the money: ISO 20022
/// pacs.029.001.02, `MultilateralSettlementRequestV02`. One movement a brand that pays or is paid; debits
/// and credits are the instructions added up, so that they are equal to the fen. None where nobody pays:
/// the message has at least one movement.
#[must_use]
pub fn pacs_029(settlement: &Settlement) -> Option<Vec<u8>> {
    let statement = settlement.statement();
    let id = message_id(settlement.hash());
    let moved: Vec<(BrandId, Side, Value)> =
        statement.positions.iter().filter_map(|it| movement(settlement, it.brand)).collect();
    if moved.is_empty() {
        return None;
    }
    let records = moved.iter().enumerate().map(|(number, (brand, side, value))| {
        let number = number.saturating_add(1).to_string();
        let amount =
            Element::parent("Amt").with(amount("Amt", *value)).with_text("CdtDbt", side.code());
        Element::parent("MvmntRcrd")
            .with_text("Id", &number)
            .with_text("SeqNb", &number)
            .with(amount)
            .with(party("Ptcpt", *brand))
            .with_text("Ref", &id)
    });
    let sum = moved.iter().fold(Value::ZERO, |sum, (_, _, value)| sum.plus(*value).unwrap_or(sum));
    let clearing = Element::parent("ClrSys").with_text("Prtry", statement.alliance.as_str());
    let header = Element::parent("GrpHdr")
        .with_text("MsgId", &id)
        .with_text("CreDtTm", &date_time(statement.cut_off))
        .with_text("NbOfSttlmReqs", "1")
        .with_text("CtrlSum", &sum.to_yuan())
        .with(Element::parent("SttlmInf").with_text("SttlmMtd", "CLRG").with(clearing));
    let request = Element::parent("SttlmReq")
        .with_text("InstrId", &id)
        .with_text("SttlmCycl", &date_time(statement.cut_off))
        .with_text("NbOfMvmntRcrds", &moved.len().to_string())
        .with_all(records);
    let body = Element::parent("MulSttlmReq").with(header).with(request);
    Some(xml::document("urn:iso:std:iso:20022:tech:xsd:pacs.029.001.02", body))
}

/// One brand's account with the clearing: ISO 20022 camt.053.001.12, `BankToCustomerStatementV12`. It
/// opens with what the brand is to receive (credit) or to pay (debit), has one entry a payment, booked
/// when its payee has confirmed it and pending until then, and closes with what is still open.
#[must_use]
pub fn camt_053(settlement: &Settlement, brand: BrandId) -> Vec<u8> {
    let statement = settlement.statement();
    let id = message_id(settlement.hash());
    let at = date_time(statement.cut_off);
    let own: Vec<&Instruction> =
        statement.instructions.iter().filter(|it| it.payer == brand || it.payee == brand).collect();
    let confirmed = |it: &Instruction| settlement.confirmed(it.payer, it.payee).is_some();
    let all = |open: &dyn Fn(&Instruction) -> bool| {
        let values = own.iter().filter(|it| open(it)).map(|it| it.value);
        values.fold(Value::ZERO, |sum, value| sum.plus(value).unwrap_or(sum))
    };
    let side = match own.first() {
        Some(it) if it.payer == brand => Side::Debit,
        _ => Side::Credit,
    };
    let balance = |code: &str, value: Value| {
        let kind = Element::parent("Tp").with(Element::parent("CdOrPrtry").with_text("Cd", code));
        Element::parent("Bal")
            .with(kind)
            .with(amount("Amt", value))
            .with_text("CdtDbtInd", side.code())
            .with(Element::parent("Dt").with_text("DtTm", &at))
    };
    let entries = own.iter().map(|it| entry(settlement, it, side.other(), confirmed(it)));
    let account = Element::parent("Acct")
        .with(
            Element::parent("Id")
                .with(identifier(brand).with_text("Issr", statement.alliance.as_str())),
        )
        .with_text("Ccy", CURRENCY)
        .with(party("Ownr", brand));
    let carried = statement.carried().iter().find(|it| it.brand == brand).map(|it| it.net);
    let carried = carried.map(|it| it.micro_fen()).unwrap_or_default();
    let account_statement = Element::parent("Stmt")
        .with_text("Id", &id)
        .with_text("CreDtTm", &at)
        .with(account)
        .with(balance("OPBD", all(&|_| true)))
        .with(balance("CLBD", all(&|it| !confirmed(it))))
        .with_all(entries)
        .with_text("AddtlStmtInf", &format!("carried to the next statement: {carried} micro-fen"));
    let header = Element::parent("GrpHdr").with_text("MsgId", &id).with_text("CreDtTm", &at);
    let body = Element::parent("BkToCstmrStmt").with(header).with(account_statement);
    xml::document("urn:iso:std:iso:20022:tech:xsd:camt.053.001.12", body)
}

fn entry(settlement: &Settlement, it: &Instruction, side: Side, booked: bool) -> Element {
    let alliance = settlement.statement().alliance;
    let known = settlement
        .confirmed(it.payer, it.payee)
        .or_else(|| settlement.settled(it.payer, it.payee))
        .map(|payment| payment.reference.as_str());
    let code =
        Element::parent("Prtry").with_text("Cd", "CLEARING").with_text("Issr", alliance.as_str());
    let party_of = |name, brand| Element::parent(name).with(party("Pty", brand));
    let references =
        known.map(|reference| Element::parent("Refs").with_text("EndToEndId", reference));
    let details = Element::parent("TxDtls").with_all(references).with(
        Element::parent("RltdPties")
            .with(party_of("Dbtr", it.payer))
            .with(party_of("Cdtr", it.payee)),
    );
    Element::parent("Ntry")
        .with(amount("Amt", it.value))
        .with_text("CdtDbtInd", side.code())
        .with(Element::parent("Sts").with_text("Cd", if booked { "BOOK" } else { "PDNG" }))
        .with(Element::parent("BkTxCd").with(code))
        .with(Element::parent("NtryDtls").with(details))
}

/// Whether a brand's account with the clearing gains or loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Credit,
    Debit,
}

impl Side {
    const fn code(self) -> &'static str {
        match self {
            Self::Credit => "CRDT",
            Self::Debit => "DBIT",
        }
    }
    const fn other(self) -> Self {
        match self {
            Self::Credit => Self::Debit,
            Self::Debit => Self::Credit,
        }
    }
}

/// What one brand pays or is paid by the instructions; nobody does both.
fn movement(settlement: &Settlement, brand: BrandId) -> Option<(BrandId, Side, Value)> {
    let instructions = &settlement.statement().instructions;
    let total = |party: fn(&Instruction) -> BrandId| {
        let values = instructions.iter().filter(|it| party(it) == brand).map(|it| it.value);
        values.fold(Value::ZERO, |sum, value| sum.plus(value).unwrap_or(sum))
    };
    match (total(|it| it.payer), total(|it| it.payee)) {
        (paid, _) if !paid.is_zero() => Some((brand, Side::Debit, paid)),
        (_, received) if !received.is_zero() => Some((brand, Side::Credit, received)),
        _ => None,
    }
}

fn amount(name: &'static str, value: Value) -> Element {
    Element::text(name, &value.to_yuan()).attribute("Ccy", CURRENCY)
}

fn identifier(brand: BrandId) -> Element {
    let scheme = Element::parent("SchmeNm").with_text("Prtry", SCHEME);
    Element::parent("Othr").with_text("Id", brand.as_str()).with(scheme)
}

fn party(name: &'static str, brand: BrandId) -> Element {
    let organisation = Element::parent("OrgId").with(identifier(brand));
    Element::parent(name).with(Element::parent("Id").with(organisation))
}

/// 32 of the statement's 64 hexadecimal digits: a message id has at most 35 characters.
fn message_id(hash: StatementHash) -> String {
    let mut text = String::new();
    for byte in hash.as_bytes().iter().take(16) {
        // writing to a string does not fail
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// ISO 8601, UTC, to the second. Days to a civil date: the proleptic Gregorian calendar counted from
/// 0000-03-01 in eras of 400 years (Hinnant, "chrono-compatible low-level date algorithms").
fn date_time(at: Timestamp) -> String {
    let seconds = at.unix_ms() / 1_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // 719,468 days from 0000-03-01 to 1970-01-01; a timestamp has at most 2.2 * 10^11 days
    let from_march = days.saturating_add(719_468);
    let (era, day) = (from_march / 146_097, from_march % 146_097);
    let leaps = (day / 1_460).saturating_add(day / 146_096);
    let year_of_era = day.saturating_sub(leaps).saturating_add(day / 36_524) / 365;
    let year = era.saturating_mul(400).saturating_add(year_of_era);
    let days_before = year_of_era
        .saturating_mul(365)
        .saturating_add(year_of_era / 4)
        .saturating_sub(year_of_era / 100);
    let day_of_year = day.saturating_sub(days_before);
    let shifted = day_of_year.saturating_mul(5).saturating_add(2) / 153;
    let month_start = shifted.saturating_mul(153).saturating_add(2) / 5;
    let day_of_month = day_of_year.saturating_sub(month_start).saturating_add(1);
    let (month, year) = if shifted < 10 {
        (shifted.saturating_add(3), year)
    } else {
        (shifted.saturating_sub(9), year.saturating_add(1))
    };
    let (hour, minute, second) = (second / 3_600, second % 3_600 / 60, second % 60);
    format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}Z")
}
