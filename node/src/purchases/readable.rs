//! What of the facts a question may name: the tables and columns that a reading shows to the engine.
//!
//! One list, beside the schema of the facts. A contract is an alliance's, and may name more than this version keeps:
//! another may keep it. What a contract names and is not in the list is told ([`unreadable`]) from the contract
//! alone, so that nobody pays for a question that could not be read, or is given rows of one table for another's.

use privacy::contract::{Column, Contract, Domain, Table};

use super::attributes::MEMBERS_TABLE;
use super::campaigns::CAMPAIGNS_TABLE;

/// What a column's cells are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellKind {
    /// Texts.
    Text,
    /// Days.
    Day,
    /// Whole numbers.
    Number,
}

/// A column that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadableColumn {
    /// Its name in a contract and in the facts.
    pub name: &'static str,
    /// What its cells are.
    pub kind: CellKind,
}

/// A table that can be read: one more takes a line in [`Self::ALL`], and its name, owner and columns beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadableTable {
    /// Purchase lines that are sales.
    Purchases,
    /// What is known of the members, one row each.
    Members,
    /// Who is in which campaign of the programme, one row for each.
    Campaigns,
}

const fn text(name: &'static str) -> ReadableColumn {
    ReadableColumn { name, kind: CellKind::Text }
}

const fn day(name: &'static str) -> ReadableColumn {
    ReadableColumn { name, kind: CellKind::Day }
}

const fn number(name: &'static str) -> ReadableColumn {
    ReadableColumn { name, kind: CellKind::Number }
}

/// Columns of purchase lines, the owner left out.
const PURCHASES: &[ReadableColumn] = &[
    day("purchased_on"),
    text("department"),
    number("basket"),
    number("receipt"),
    number("quantity"),
    number("amount_fen"),
    text("channel"),
    number("coupon_fen"),
    number("electronic_card"),
    number("net_fen"),
    text("store"),
    text("region"),
    text("label"),
    number("hour"),
];
/// Columns of members.
const MEMBERS: &[ReadableColumn] = &[
    day("first_purchase_date"),
    text("age_band"),
    text("income_band"),
    text("home_ownership"),
    text("marital_status"),
    text("household_size"),
    text("household_comp"),
    text("kids_count"),
];
/// Columns of campaigns.
const CAMPAIGNS: &[ReadableColumn] =
    &[text("campaign"), text("experiment_group"), number("bought_after"), number("spent_fen")];

impl ReadableTable {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Purchases, Self::Members, Self::Campaigns];

    /// Its name, in a contract and for the engine.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Purchases => "purchases",
            Self::Members => MEMBERS_TABLE,
            Self::Campaigns => CAMPAIGNS_TABLE,
        }
    }

    /// The column that names a row's member.
    #[must_use]
    pub const fn owner(self) -> &'static str {
        match self {
            Self::Purchases | Self::Members | Self::Campaigns => "member",
        }
    }

    /// Its columns beside the owner.
    #[must_use]
    pub const fn columns(self) -> &'static [ReadableColumn] {
        match self {
            Self::Purchases => PURCHASES,
            Self::Members => MEMBERS,
            Self::Campaigns => CAMPAIGNS,
        }
    }

    /// The table of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|table| table.name() == name)
    }
}

/// What a contract names and a reading here cannot show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The table.
    pub table: String,
    /// What about it.
    pub what: NotKept,
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotKept {
    /// There is no such table.
    Table,
    /// The column that names a row's member is called otherwise.
    Owner {
        /// By the contract.
        called: String,
        /// Here.
        kept: &'static str,
    },
    /// There is no such column.
    Column {
        /// By the contract.
        column: String,
        /// The table's.
        kept: &'static [ReadableColumn],
    },
    /// The column's cells are something else.
    Kind {
        /// Which.
        column: String,
        /// What they are here.
        kept: CellKind,
    },
}

impl Unreadable {
    /// The column that cannot be read; none where no row of the table can.
    #[must_use]
    pub fn column(&self) -> Option<&str> {
        match &self.what {
            NotKept::Table | NotKept::Owner { .. } => None,
            NotKept::Column { column, .. } | NotKept::Kind { column, .. } => Some(column),
        }
    }

    /// Where in the contract, what is wrong and what would be right, in English.
    #[must_use]
    pub fn en(&self) -> String {
        let table = &self.table;
        match &self.what {
            NotKept::Table => format!(
                "tables.{table}: this node keeps no such table; it reads {}",
                names(ReadableTable::ALL.iter().map(|table| table.name()))
            ),
            NotKept::Owner { called, kept } => format!(
                "tables.{table}.owner is {called}: this node's rows name their member as {kept}"
            ),
            NotKept::Column { column, kept } => format!(
                "tables.{table}.{column}: this node keeps no such column; it reads {}",
                names(kept.iter().map(|column| column.name))
            ),
            NotKept::Kind { column, kept } => {
                let kept = match kept {
                    CellKind::Text => "texts",
                    CellKind::Day => "days",
                    CellKind::Number => "whole numbers",
                };
                format!(
                    "tables.{table}.{column}: this node keeps {kept} there, not what is declared"
                )
            }
        }
    }

    /// The same in Chinese.
    #[must_use]
    pub fn zh(&self) -> String {
        let table = &self.table;
        match &self.what {
            NotKept::Table => format!(
                "tables.{table}：本节点没有该表；可读的表：{}",
                names(ReadableTable::ALL.iter().map(|table| table.name()))
            ),
            NotKept::Owner { called, kept } => {
                format!("tables.{table}.owner 为 {called}：本节点以 {kept} 列标明会员")
            }
            NotKept::Column { column, kept } => format!(
                "tables.{table}.{column}：本节点没有该列；可读的列：{}",
                names(kept.iter().map(|column| column.name))
            ),
            NotKept::Kind { column, kept } => {
                let kept = match kept {
                    CellKind::Text => "文本",
                    CellKind::Day => "日期",
                    CellKind::Number => "整数",
                };
                format!("tables.{table}.{column}：本节点该列为{kept}，与合约所述不符")
            }
        }
    }
}

fn names<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// Everything that a contract names and this version keeps nothing of, in the contract's order.
#[must_use]
pub fn unreadable(contract: &Contract) -> Vec<Unreadable> {
    contract.tables().iter().flat_map(of_table).collect()
}

fn of_table(table: &Table) -> Vec<Unreadable> {
    let told = |what| Unreadable { table: table.name().to_owned(), what };
    let Some(kept) = ReadableTable::named(table.name()) else {
        return vec![told(NotKept::Table)];
    };
    let mut all = Vec::new();
    if table.owner() != kept.owner() {
        all.push(told(NotKept::Owner { called: table.owner().to_owned(), kept: kept.owner() }));
    }
    all.extend(table.columns().iter().filter_map(|column| of_column(column, kept)).map(told));
    all
}

fn of_column(column: &Column, table: ReadableTable) -> Option<NotKept> {
    // names that are not public are those of another column, whatever its cells are: they are read as texts
    let (name, kind) = match column.domain() {
        Domain::Text { .. } => (column.name(), Some(CellKind::Text)),
        Domain::Date { .. } => (column.name(), Some(CellKind::Day)),
        Domain::Integer { .. } => (column.name(), Some(CellKind::Number)),
        Domain::Private { column, .. } => (column.as_str(), None),
    };
    let kept = table.columns().iter().find(|kept| kept.name == name);
    match kept {
        None => Some(NotKept::Column { column: name.to_owned(), kept: table.columns() }),
        Some(kept) if kind.is_some_and(|kind| kind != kept.kind) => {
            Some(NotKept::Kind { column: name.to_owned(), kept: kept.kind })
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use privacy::contract::{RawColumn, RawContract, RawTable, RawValue};

    use super::super::attributes::member_columns;
    use super::*;

    fn table(name: &str, owner: &str, columns: Vec<RawColumn>) -> RawTable {
        RawTable {
            name: name.to_owned(),
            owner: owner.to_owned(),
            rows_bound: 100,
            rows_bound_by_brand: BTreeMap::new(),
            columns,
        }
    }

    fn text_column(name: &str) -> RawColumn {
        let values = vec![RawValue { value: "A".to_owned(), carriers: None }];
        RawColumn::Text { name: name.to_owned(), values, other_carriers: None }
    }

    fn private_column(name: &str, column: &str) -> RawColumn {
        RawColumn::Private {
            name: name.to_owned(),
            column: Some(column.to_owned()),
            member_groups: 2,
            groups_at_most: 20,
        }
    }

    fn date_column(name: &str) -> RawColumn {
        let (first, last) = ("2025-01-01".to_owned(), "2025-12-31".to_owned());
        RawColumn::Date { name: name.to_owned(), first, last }
    }

    fn told(tables: Vec<RawTable>) -> Vec<String> {
        let raw = RawContract {
            dataset: "purchases".into(),
            purposes: vec!["joint_analytics".into()],
            participants: ["a", "b", "c"].map(Into::into).to_vec(),
            minimum_participants: 3,
            profile: "trial".into(),
            members_at_most: 1_000,
            tables,
            public_tables: Vec::new(),
        };
        let contract = Contract::try_from(raw).unwrap();
        unreadable(&contract).iter().map(Unreadable::en).collect()
    }

    #[test]
    fn what_a_contract_names_and_is_not_kept_is_told_with_its_place() {
        let kept = vec![date_column("purchased_on"), private_column("shelf", "department")];
        assert_eq!(told(vec![table("purchases", "member", kept)]), [""; 0]);
        let columns = vec![
            text_column("province"),
            text_column("amount_fen"),
            private_column("shop", "booth"),
        ];
        let found = told(vec![
            table("purchases", "customer", columns),
            table("baskets", "member", vec![date_column("purchased_on")]),
        ]);
        let begins = [
            "tables.purchases.owner is customer: ",
            "tables.purchases.province: this node keeps no such column; it reads purchased_on, ",
            "tables.purchases.amount_fen: this node keeps whole numbers there",
            "tables.purchases.booth: this node keeps no such column",
            "tables.baskets: this node keeps no such table; it reads purchases",
        ];
        assert_eq!(found.len(), begins.len(), "{found:?}");
        for (found, begins) in found.iter().zip(begins) {
            assert!(found.starts_with(begins), "{found}");
        }
    }

    #[test]
    fn columns_of_members_are_those_that_a_session_shows() {
        let kind = |is_day| if is_day { CellKind::Day } else { CellKind::Text };
        let shown = member_columns()
            .map(|column| ReadableColumn { name: column.name, kind: kind(column.is_day) });
        assert!(shown.eq(MEMBERS.iter().copied()));
    }

    #[test]
    fn the_contract_of_the_sample_can_be_read_whole() {
        let constitution = include_str!("../../../alliance-config/formats/v0/constitution.toml");
        let constitution = alliance_config::Constitution::parse(constitution.as_bytes()).unwrap();
        assert_eq!(unreadable(constitution.clean_room().unwrap().contract()), []);
    }
}
