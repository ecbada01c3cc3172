//! The dataset contract as it is written down, before any of it is believed.
//!
//! These types only name the fields (serde, unknown fields refused); [`super::Contract`] is what
//! the rest of the crate sees.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A dataset contract as written. Convert with `Contract::try_from`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawContract {
    /// Name of the dataset, in the grammar of participant names.
    pub dataset: String,
    /// What members were asked consent for; a query names one of these.
    pub purposes: Vec<String>,
    /// Every brand that can be asked.
    pub participants: Vec<String>,
    /// Fewest brands in a joint query, at least 3 (the default).
    #[serde(default = "three")]
    pub minimum_participants: u8,
    /// `large`, `standard` or `trial`.
    pub profile: String,
    /// Public cap on one brand's members (not their number, which is never shown).
    pub members_at_most: u64,
    /// The tables of the shared schema.
    pub tables: Vec<RawTable>,
    /// Tables that anybody may know, to be joined to columns of texts.
    #[serde(default)]
    pub public_tables: Vec<RawPublicTable>,
}

const fn three() -> u8 {
    3
}

/// One table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawTable {
    /// Its name in SQL.
    pub name: String,
    /// The column that names the member a row belongs to.
    pub owner: String,
    /// L2 bound of one member's row counts over the cells of `count(*)`, on the 1-2-5 grid.
    pub rows_bound: u64,
    /// The same at brands whose members have other numbers of rows, by the brand's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rows_bound_by_brand: BTreeMap<String, u64>,
    /// The other columns.
    pub columns: Vec<RawColumn>,
}

/// One column.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum RawColumn {
    /// A text with a public list of values.
    Text {
        /// Its name in SQL.
        name: String,
        /// The public values. Whatever else a row holds is counted under `OTHER`.
        values: Vec<RawValue>,
        /// Brands that may hold other values; absent: every brand.
        #[serde(default)]
        other_carriers: Option<Vec<String>>,
    },
    /// A text whose values are not public: a question about a brand's own members may group by it, and
    /// shows a group only where enough members are in it.
    Private {
        /// Its name in SQL.
        name: String,
        /// The brands' column, if that is called otherwise.
        #[serde(default)]
        column: Option<String>,
        /// In at most how many groups one member counts: those in which it has most rows.
        member_groups: u16,
        /// Public cap on the groups of one brand (not their number, which is never shown).
        groups_at_most: u16,
    },
    /// A day. Rows outside the range are not read.
    Date {
        /// Its name in SQL.
        name: String,
        /// First day, `YYYY-MM-DD`.
        first: String,
        /// Last day, inclusive.
        last: String,
    },
    /// A whole number. Values outside the range are moved to its nearer end, absent ones are 0.
    Integer {
        /// Its name in SQL.
        name: String,
        /// `fen` for money, else a word such as `pieces`.
        unit: String,
        /// Least value of a row.
        minimum: i64,
        /// Greatest value of a row.
        maximum: i64,
        /// L2 bound of one member's netted sums over the cells, on the 1-2-5 grid and in `unit`.
        /// Absent: the column cannot be summed.
        #[serde(default)]
        bound: Option<u64>,
        /// Brands whose rows tell it, which of all others is 0; absent: every brand. A joint question that reads the
        /// column needs three of them.
        #[serde(default)]
        carriers: Option<Vec<String>>,
        /// The same at brands whose baskets are others, by the brand's name: a discounter's and a jeweller's.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        bound_by_brand: BTreeMap<String, u64>,
    },
}

/// A public table: what a text stands for, such as the type of a campaign.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawPublicTable {
    /// Its name in SQL.
    pub name: String,
    /// The column by which it is joined; each row has another text in it.
    pub key: String,
    /// The other columns, all of texts.
    pub columns: Vec<String>,
    /// The rows: the key's text, then one text for each column.
    pub rows: Vec<Vec<String>>,
}

/// One public value of a text column.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawValue {
    /// The value as rows hold it.
    pub value: String,
    /// Brands whose rows may hold it; absent: every brand.
    #[serde(default)]
    pub carriers: Option<Vec<String>>,
}
