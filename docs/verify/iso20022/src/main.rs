//! Shows exports of the clearing to types that are not ours: those that `open-payments-iso20022-pacs` and
//! `-camt` have of ISO 20022's schemas. No code of this project.
//!
//! ```text
//! cargo run --locked -- FILE...
//! ```
//!
//! Each message is read into them, must have nothing that they have no field for, and must pass their `validate`. Then
//! debits and credits have to be equal, and opening balance and booked entries to give the closing balance.

use std::process::ExitCode;

use iso20022_common::common::CreditDebitCode;
use open_payments_iso20022_camt::camt_053_001_12::BankToCustomerStatementV12;
use open_payments_iso20022_pacs::pacs_029_001_02::MultilateralSettlementRequestV02;
use serde::Deserialize;

/// What the crates leave to their reader: the element around a message.
#[derive(Deserialize)]
struct Document {
    #[serde(rename = "@xmlns")]
    namespace: String,
    #[serde(rename = "$value")]
    message: Message,
}

#[derive(Deserialize)]
enum Message {
    #[serde(rename = "MulSttlmReq")]
    Pacs029(MultilateralSettlementRequestV02),
    #[serde(rename = "BkToCstmrStmt")]
    Camt053(BankToCustomerStatementV12),
}

fn read(text: &str) -> Result<Document, String> {
    // serde passes over what a type has no field for, so that it has to be asked what it passed over
    let mut unknown = Vec::new();
    let mut xml = quick_xml::de::Deserializer::from_str(text);
    let document: Document =
        serde_ignored::deserialize(&mut xml, |path| unknown.push(path.to_string()))
            .map_err(|error| error.to_string())?;
    if unknown.is_empty() { Ok(document) } else { Err(format!("no field for {unknown:?}")) }
}

fn check(text: &str) -> Result<String, String> {
    let Document { namespace, message } = read(text)?;
    let (name, valid) = match &message {
        Message::Pacs029(request) => ("pacs.029.001.02", request.validate()),
        Message::Camt053(statements) => ("camt.053.001.12", statements.validate()),
    };
    if namespace != format!("urn:iso:std:iso:20022:tech:xsd:{name}") {
        return Err(format!("{namespace} is not that of {name}"));
    }
    valid.map_err(|error| format!("{} ({})", error.message, error.code))?;
    match message {
        Message::Pacs029(request) => pacs_029(&request),
        Message::Camt053(statements) => camt_053(&statements),
    }
}

/// The crates have amounts as `f64`: exact in fen, and not in yuan.
fn fen(yuan: f64) -> i64 {
    (yuan * 100.0).round() as i64
}

fn signed(side: &CreditDebitCode, yuan: f64) -> i64 {
    match side {
        CreditDebitCode::CodeCRDT => fen(yuan),
        CreditDebitCode::CodeDBIT => -fen(yuan),
    }
}

fn pacs_029(request: &MultilateralSettlementRequestV02) -> Result<String, String> {
    let moved: Vec<_> = request.sttlm_req.iter().flat_map(|one| &one.mvmnt_rcrd).collect();
    let mut net = 0;
    for record in &moved {
        let side = record.amt.cdt_dbt.as_ref().ok_or("a movement is neither debit nor credit")?;
        net += signed(side, record.amt.amt.value);
    }
    if net != 0 {
        return Err(format!("debits are not credits, by {net} fen"));
    }
    let sum: i64 = moved.iter().map(|record| fen(record.amt.amt.value)).sum();
    if request.grp_hdr.ctrl_sum.map(fen) != Some(sum) {
        return Err(format!("the control sum is not {sum} fen"));
    }
    Ok(format!("{} movements", moved.len()))
}

fn camt_053(statements: &BankToCustomerStatementV12) -> Result<String, String> {
    let (mut all, mut booked) = (0, 0);
    for statement in &statements.stmt {
        let balance = |code: &str| {
            let found =
                statement.bal.iter().find(|it| it.tp.cd_or_prtry.cd.as_deref() == Some(code));
            let found = found.ok_or_else(|| format!("no balance {code}"))?;
            Ok::<_, String>(signed(&found.cdt_dbt_ind, found.amt.value))
        };
        let mut net = balance("OPBD")?;
        for entry in statement.ntry.iter().flatten() {
            all += 1;
            if entry.sts.cd.as_deref() == Some("BOOK") {
                booked += 1;
                net += signed(&entry.cdt_dbt_ind, entry.amt.value);
            }
        }
        let closing = balance("CLBD")?;
        if net != closing {
            return Err(format!("the balances do not follow: {net} and {closing} fen"));
        }
    }
    Ok(format!("{all} entries, {booked} booked"))
}

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        eprintln!(
            "iso20022 FILE...: pacs.029.001.02 or camt.053.001.12, as exported by a clearing"
        );
        return ExitCode::FAILURE;
    }
    let mut code = ExitCode::SUCCESS;
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(|error| error.to_string());
        match text.and_then(|text| check(&text)) {
            Ok(said) => println!("accepted: {file}, {said}"),
            Err(error) => {
                println!("REFUSED: {file}: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
