//! One purchase, entered at a counter.
//!
//! It goes the way of every other: it is cleaned, becomes facts, counts for joint questions if the member
//! consents, and earns by the programme, exactly once, also when it comes again in a file of the till's with
//! the same receipt and lines. Each call writes a small file of facts: a till's own system sends batches.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::members::identifier;
use super::{
    BatchFormat, BatchKind, ErrorKind, IdentifierRequest, ImportBatch, Node, ServiceError,
};
use crate::vault::{Identifier, IdentifierKind, Strength};

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
hour = true
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
    /// The member's card; empty when the member is known by `identifiers`.
    #[serde(default)]
    pub card: String,
    /// By what else the member is known, one of a kind; without a card at least a phone number or an account. With a
    /// card they are told to be the card's member's: what was bought with them alone before is that member's then. Who
    /// is nobody's yet is a member without a card and without consents from now on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identifiers: Vec<IdentifierRequest>,
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
    /// It is kept and earned nothing: the member has not agreed to take part in the programme.
    #[serde(default)]
    pub without_consent: bool,
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
    #[serde(flatten)]
    identifiers: &'a BTreeMap<String, String>,
}

/// The column of a kind of identifier.
fn column(kind: IdentifierKind) -> String {
    format!("identifier_{}", kind.name())
}

/// What came by which the member may be known, by columns, with how they are read.
fn identifiers(
    request: &PurchaseRequest,
) -> Result<(BTreeMap<String, String>, String), ServiceError> {
    let mut columns = BTreeMap::new();
    let mut mapping = MAPPING.to_owned();
    let read = request.identifiers.iter().map(identifier).collect::<Result<Vec<_>, _>>()?;
    let says_who = |it: &Identifier| it.kind().strength() >= Strength::Phone;
    if request.card.trim().is_empty() && !read.iter().any(says_who) {
        let problem = "nothing says whose the purchase is".to_owned();
        let remedy = "send the card, or a phone number or account among the identifiers";
        return Err(invalid("purchase_nobodys", problem, remedy));
    }
    if !read.is_empty() {
        // without any, the mapping and the rows are what they were before there were identifiers: a request that is
        // repeated over an update of the node is the same one
        mapping.push_str("[purchases.identifiers]\n");
    }
    for it in &read {
        let kind = it.kind();
        if kind == IdentifierKind::Card {
            let problem = "identifiers: a card among them".to_owned();
            return Err(invalid("identifier_card", problem, "send the card's number as card"));
        }
        if columns.insert(column(kind), it.expose().to_owned()).is_some() {
            let problem = format!("identifiers: two of the kind {kind}");
            let remedy = "send one of each kind; further ones are entered at the member's record";
            return Err(invalid("identifier_twice", problem, remedy));
        }
        mapping.push_str(&format!("{kind} = \"{}\"\n", column(kind)));
    }
    Ok((columns, mapping))
}

fn invalid(code: &'static str, problem: String, remedy: &str) -> ServiceError {
    ServiceError::new(ErrorKind::Invalid, code, problem, remedy)
}

fn rows(
    request: &PurchaseRequest,
    identifiers: &BTreeMap<String, String>,
) -> Result<Vec<u8>, ServiceError> {
    let count = request.lines.len();
    if count == 0 || count > LINES_MAX {
        let problem = format!("lines: 1 to {LINES_MAX} (found {count})");
        return Err(invalid("purchase_lines", problem, "send each line of the receipt once")
            .in_chinese(
                format!("消费为 1 至 {LINES_MAX} 行（现为 {count} 行）"),
                "小票的每一行提交一次",
            ));
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
            identifiers,
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
    /// See [`ServiceError`]; also when its turn does not come in time, and when an import of files that is not done has
    /// read purchases of the same receipt.
    pub async fn enter_purchase(
        &self,
        key: String,
        request: PurchaseRequest,
    ) -> Result<PurchaseView, ServiceError> {
        let (columns, mapping) = identifiers(&request)?;
        let batch = ImportBatch {
            kind: BatchKind::Purchases,
            format: BatchFormat::JsonLines,
            mapping,
            dry_run: false,
            bytes: rows(&request, &columns)?.into(),
        };
        let done = self.import_batch(format!("counter {key}"), batch).await?;
        if let Some(dropped) = done.dropped.iter().find(|it| it.code != "duplicate") {
            let problem = done.rejected.first().unwrap_or(&dropped.reason);
            let remedy = format!(
                "{}; lines that are not named have counted: send the whole purchase again under a new key",
                dropped.remedy
            );
            let in_chinese = done.rejected_zh.first().unwrap_or(&dropped.reason_zh);
            let next =
                format!("{}；未列出的行已计入：以新的编号重新提交整笔消费", dropped.remedy_zh);
            return Err(
                invalid("purchase_refused", problem.clone(), &remedy).in_chinese(in_chinese, next)
            );
        }
        let known = done.already_imported || done.rows_kept == 0;
        Ok(PurchaseView {
            state: if known { "known" } else { "counted" }.to_owned(),
            points_earned: done.points_earned,
            without_consent: done.baskets_without_consent > 0,
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
            identifiers: Vec::new(),
            receipt: "R\"1".to_owned(),
            purchased_at: "2026-11-28T17:05:00+08:00".to_owned(),
            channel: in_store(),
            returns: None,
            lines: vec![line.clone(), line],
        };
        let (none, mapping) = identifiers(&request).unwrap();
        assert_eq!((none.len(), mapping.as_str()), (0, MAPPING));
        let text = String::from_utf8(rows(&request, &none).unwrap()).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with(r#"{"card":"C1","receipt":"R\"1","line":1,"#), "{text}");
        request.lines.clear();
        assert_eq!(rows(&request, &none).unwrap_err().code, "purchase_lines");
    }

    #[test]
    fn a_purchase_names_its_member_by_card_or_by_a_phone_number_or_an_account() {
        let of = |card: &str, list: &[(&str, &str)]| PurchaseRequest {
            card: card.to_owned(),
            identifiers: list
                .iter()
                .map(|(kind, value)| IdentifierRequest {
                    kind: (*kind).to_owned(),
                    value: (*value).to_owned(),
                })
                .collect(),
            lines: vec![PurchaseLine { department: "DAIRY".to_owned(), pieces: 1, amount_fen: 5 }],
            ..PurchaseRequest::default()
        };
        let request = of("", &[("phone", "138 1234 5678"), ("device", "8C:1A:2B:3C:4D:5E")]);
        let (columns, mapping) = identifiers(&request).unwrap();
        Mapping::from_toml(&mapping).unwrap();
        let row = String::from_utf8(rows(&request, &columns).unwrap()).unwrap();
        assert!(row.contains(r#""identifier_phone":"+8613812345678""#), "{row}");
        assert!(row.contains(r#""identifier_device":"8c1a2b3c4d5e""#), "{row}");
        let refused = |card: &str, list: &[(&str, &str)]| {
            let error = identifiers(&of(card, list)).unwrap_err();
            assert!(list.iter().all(|(_, value)| !error.message.contains(value)), "{error:?}");
            error.code
        };
        assert_eq!(refused("", &[]), "purchase_nobodys");
        // a device may be several people's
        assert_eq!(refused("", &[("device", "8C:1A:2B:3C:4D:5E")]), "purchase_nobodys");
        assert_eq!(refused("", &[("phone", "1381234567")]), "identifier_invalid");
        assert_eq!(refused("", &[("telephone", "13812345678")]), "identifier_kind");
        assert_eq!(refused("C1", &[("card", "CARD-OF-HERS")]), "identifier_card");
        let two = [("phone", "13812345678"), ("phone", "13912345678")];
        assert_eq!(refused("C1", &two), "identifier_twice");
    }
}
