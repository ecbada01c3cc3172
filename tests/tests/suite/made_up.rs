//! Members and purchases that a test makes up line by line, and a contract over them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use alliance_config::sample_alliance::SETTINGS;
use node::service::{ImportSource, ImportView};

use super::alliance::{Alliance, eventually};

/// What bounds one member's spending, in fen.
pub const BOUND_FEN: i64 = 100;
/// Departments that the contract names; every brand may have each.
pub const DEPARTMENTS: usize = 120;
/// Months of the contract's only year.
pub const MONTHS: usize = 12;

const MAPPING: &str = r#"
format = "coalition import 1"
name = "made-up"

[members]
files = ["members.csv"]

[members.columns]
card = "card"

[members.consent]
source = "sample_rule"
notice_version = 1
receivers = ["*"]
because = "There are no such people. 数据为虚构。"
programme = { default = "granted" }
exchange = { default = "granted" }
joint_analytics = { default = "granted" }

[purchases]
files = ["purchases.csv"]
time_zone = "Asia/Shanghai"
channel = "store"
basket = "basket"
line = "line"
member = "card"
purchased_at = "at"
department = "department"
quantity = "quantity"
amount = "fen"
currency = "CNY"
fen_per_unit = 1

[purchases.cleaning]
same_order_within_seconds = 0
"#;

/// One purchase.
#[derive(Debug, Clone)]
pub struct Line {
    pub card: String,
    pub department: String,
    /// 0 for January.
    pub month: usize,
    pub fen: i64,
}

/// The name of a department of the contract.
pub fn department(number: usize) -> String {
    format!("D{number:03}")
}

/// A month as `date_trunc` names it, 0 for January.
pub fn month(number: usize) -> String {
    format!("2025-{:02}", number + 1)
}

/// Settings of an alliance whose clean room is over purchases that are made up.
pub fn settings() -> String {
    let (alliance, _) = SETTINGS.split_once("[clean_room]").unwrap();
    let value = |number| format!("{{ value = \"{}\" }}", department(number));
    let departments: Vec<String> = (0..DEPARTMENTS).map(value).collect();
    let departments = departments.join(", ");
    format!(
        r#"{alliance}[clean_room]
dataset = "made_up"
purposes = ["joint_analytics"]
minimum_participants = 3
profile = "trial"
members_at_most = 1000000
retention_years = 20

[[clean_room.tables]]
name = "purchases"
owner = "member"
rows_bound = 10

[[clean_room.tables.columns]]
kind = "date"
name = "purchased_on"
first = "2025-01-01"
last = "2025-12-31"

[[clean_room.tables.columns]]
kind = "text"
name = "department"
values = [{departments}]

[[clean_room.tables.columns]]
kind = "integer"
name = "amount_fen"
unit = "fen"
minimum = -100000
maximum = 100000
bound = {BOUND_FEN}
"#
    )
}

/// Imports these purchases, and those who made them, into one brand.
pub async fn import(alliance: &Alliance, brand: &str, lines: &[Line]) {
    let folder = alliance.folder.path().join(format!("{brand}.files"));
    fs::create_dir(&folder).unwrap();
    let cards: BTreeSet<&str> = lines.iter().map(|line| line.card.as_str()).collect();
    let mut members = "card\n".to_owned();
    for card in &cards {
        writeln!(members, "{card}").unwrap();
    }
    let mut purchases = "basket,line,card,at,department,quantity,fen\n".to_owned();
    for (basket, line) in lines.iter().enumerate() {
        let Line { card, department, fen, .. } = line;
        let day = format!("{}-15", month(line.month));
        writeln!(purchases, "{basket},1,{card},{day} 10:00:00,{department},1,{fen}").unwrap();
    }
    fs::write(folder.join("members.csv"), members).unwrap();
    fs::write(folder.join("purchases.csv"), purchases).unwrap();

    let node = alliance.node(brand);
    let path = folder.to_str().unwrap().to_owned();
    node.import(ImportSource::Folder { path, mapping: MAPPING.to_owned() }).await.unwrap();
    let mut view = ImportView::default();
    eventually("the import ends", async || {
        view = node.import_progress().await.unwrap();
        assert_eq!(view.failed, None);
        view.done
    })
    .await;
    let kept = (view.members_enrolled, view.rows_kept);
    assert_eq!(kept, (cards.len() as u64, lines.len() as u64), "{:?}", view.rejected);
}
