//! A statement as one table (RFC 4180): what was sent, what was paid, who is where, what is to be paid.

use crate::amount::Value;
use crate::clearing::{Instruction, Settlement};
use crate::log::settlement::Payment;

const HEAD: &str = "record,brand,counterparty,micro_fen,cny,state,reference";

/// One line a fact, in the order of the statement. `record` is `sent` (`brand` ever sent
/// `counterparty`), `paid` (`brand` ever paid `counterparty`, as confirmed by the cut-off), `position` (of
/// `brand`, signed), `payment` (asked of `brand` to `counterparty`; `state` is `asked`, `settled` when the
/// payer says so, `confirmed` when the payee does) or `carried` (what no payment can carry, signed).
/// `cny` is filled where the amount is whole fen to be paid.
#[must_use]
pub fn csv(settlement: &Settlement) -> Vec<u8> {
    let statement = settlement.statement();
    let mut lines = vec![HEAD.to_owned()];
    for it in &statement.debts {
        lines.push(format!("sent,{},{},{},,,", it.debtor, it.creditor, it.value.get()));
    }
    for it in &statement.payments {
        lines.push(format!("paid,{},{},{},,,", it.payer, it.payee, it.value.get()));
    }
    for it in &statement.positions {
        lines.push(format!("position,{},,{},,,", it.brand, it.net.micro_fen()));
    }
    lines.extend(statement.instructions.iter().map(|it| payment(settlement, it)));
    for it in statement.carried() {
        lines.push(format!("carried,{},,{},,,", it.brand, it.net.micro_fen()));
    }
    lines.push(String::new());
    lines.join("\r\n").into_bytes()
}

fn payment(settlement: &Settlement, it: &Instruction) -> String {
    let settled = settlement.settled(it.payer, it.payee).map(|known| ("settled", known));
    let confirmed = settlement.confirmed(it.payer, it.payee).map(|known| ("confirmed", known));
    let known: Option<(&str, &Payment)> = confirmed.or(settled);
    let (state, reference) =
        known.map_or(("asked", ""), |(state, payment)| (state, payment.reference.as_str()));
    let value: Value = it.value;
    format!(
        "payment,{},{},{},{},{state},{}",
        it.payer,
        it.payee,
        value.get(),
        value.to_yuan(),
        field(reference)
    )
}

/// Quoted where it has a comma; a reference has neither quotes nor line ends.
fn field(text: &str) -> String {
    if text.contains(',') { format!("\"{text}\"") } else { text.to_owned() }
}
