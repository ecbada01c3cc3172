//! One purchase, entered at a counter.
//!
//! It goes the way of every other: it is cleaned, becomes facts, counts for joint questions if the member
//! consents, and earns by the programme, exactly once, also when it comes again in a file of the till's with
//! the same receipt and lines. Each call writes a small file of facts: a till's own system sends batches.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BatchFormat, BatchKind, ErrorKind, ImportBatch, Node, ServiceError};

/// Lines of one purchase at most.
const LINES_MAX: usize = 500;

/// How the lines below are read.
const MAPPING: &str = r#"
format = "coalition import 1"
name = "counter"
[purchases]
files = ["batch.jsonl"]
time_zone = "Asia/Shanghai"
basket = "receipt"
line = "line"
member = "card"
purchased_at = "purchased_at"
department = "department"
quantity = "pieces"
amount = "amount_fen"
currency = "CNY"
fen_per_unit = 1
[purchases.channels]
column = "channel"
values = { store = "store", app = "app", mini_program = "mini_program", ecommerce = "ecommerce" }
[purchases.refunds]
original = "returns"
[purchases.cleaning]
same_order_within_seconds = 0
keep_under_cost = true
"#;

/// A line of a purchase.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PurchaseLine {
    /// Department, as in imports.
    pub department: String,
    /// How many pieces; below zero when they come back.
    pub pieces: i64,
    /// What they cost together, in fen; below zero when they come back.
    pub amount_fen: i64,
}

/// A purchase, or goods that come back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PurchaseRequest {
    /// The member's card.
    pub card: String,
    /// Number of the receipt, the same as in the till's own files.
    pub receipt: String,
    /// When, ISO 8601, such as `2026-11-28T17:05:00+08:00`; Chinese time without an offset.
    pub purchased_at: String,
    /// `store`, `app`, `mini_program` or `ecommerce`.
    #[serde(default = "in_store")]
    pub channel: String,
    /// For goods that come back: the receipt they were bought with. Its points are taken back.
    #[serde(default)]
    pub returns: Option<String>,
    /// The lines, numbered from 1 in their order.
    pub lines: Vec<PurchaseLine>,
}

fn in_store() -> String {
    "store".to_owned()
}

/// What became of a purchase.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PurchaseView {
    /// `counted`, or `known` when it had counted before.
    pub state: String,
    /// Points earned by this call.
    pub points_earned: u64,
    /// What counted, in fen.
    pub amount_fen: i64,
}

#[derive(Serialize)]
struct Row<'a> {
    card: &'a str,
    receipt: &'a str,
    line: usize,
    purchased_at: &'a str,
    channel: &'a str,
    returns: &'a str,
    department: &'a str,
    pieces: i64,
    amount_fen: i64,
}

fn invalid(code: &'static str, problem: String, remedy: &str) -> ServiceError {
    ServiceError::new(ErrorKind::Invalid, code, problem, remedy)
}

fn rows(request: &PurchaseRequest) -> Result<Vec<u8>, ServiceError> {
    let count = request.lines.len();
    if count == 0 || count > LINES_MAX {
        let problem = format!("lines: 1 to {LINES_MAX} (found {count})");
        return Err(invalid("purchase_lines", problem, "send each line of the receipt once"));
    }
    let mut bytes = Vec::new();
    for (place, line) in request.lines.iter().enumerate() {
        let row = Row {
            card: &request.card,
            receipt: &request.receipt,
            line: place + 1,
            purchased_at: &request.purchased_at,
            channel: &request.channel,
            returns: request.returns.as_deref().unwrap_or_default(),
            department: &line.department,
            pieces: line.pieces,
            amount_fen: line.amount_fen,
        };
        let written = serde_json::to_writer(&mut bytes, &row);
        written.map_err(|error| {
            invalid("purchase_unreadable", error.to_string(), "send plain text")
        })?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

impl Node {
    /// Enters one purchase; the key makes repeating it safe, and so does the receipt's number.
    ///
    /// # Errors
    /// See [`ServiceError`]; also while an import is under way.
    pub async fn enter_purchase(
        &self,
        key: String,
        request: PurchaseRequest,
    ) -> Result<PurchaseView, ServiceError> {
        let batch = ImportBatch {
            kind: BatchKind::Purchases,
            format: BatchFormat::JsonLines,
            mapping: MAPPING.to_owned(),
            dry_run: false,
            bytes: rows(&request)?.into(),
        };
        let done = self.import_batch(format!("counter {key}"), batch).await?;
        if let Some(dropped) = done.dropped.iter().find(|it| it.code != "duplicate") {
            let problem = done.rejected.first().unwrap_or(&dropped.reason);
            let remedy = format!(
                "{}; lines that are not named have counted: send the whole purchase again under a new key",
                dropped.remedy
            );
            return Err(invalid("purchase_refused", problem.clone(), &remedy));
        }
        let known = done.already_imported || done.rows_kept == 0;
        Ok(PurchaseView {
            state: if known { "known" } else { "counted" }.to_owned(),
            points_earned: done.points_earned,
            amount_fen: done.amount_fen,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purchases::Mapping;

    #[test]
    fn a_purchase_is_lines_that_the_mapping_reads() {
        Mapping::from_toml(MAPPING).unwrap();
        let line = PurchaseLine { department: "DAIRY".to_owned(), pieces: 2, amount_fen: 990 };
        let mut request = PurchaseRequest {
            card: "C1".to_owned(),
            receipt: "R\"1".to_owned(),
            purchased_at: "2026-11-28T17:05:00+08:00".to_owned(),
            channel: in_store(),
            returns: None,
            lines: vec![line.clone(), line],
        };
        let text = String::from_utf8(rows(&request).unwrap()).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with(r#"{"card":"C1","receipt":"R\"1","line":1,"#), "{text}");
        request.lines.clear();
        assert_eq!(rows(&request).unwrap_err().code, "purchase_lines");
    }
}
