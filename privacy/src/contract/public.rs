//! Public tables: what the texts of the shared schema stand for.
//!
//! They are part of the contract, so that every participant joins the same rows and a change of
//! them changes the contract's hash. Deliberately small: a join is written into the query as a
//! look-up, and no engine ever holds them.

use minicbor::Encode;

use super::OTHER;

/// A public table.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct PublicTable {
    #[n(0)]
    name: String,
    #[n(1)]
    key: String,
    #[n(2)]
    columns: Vec<String>,
    #[n(3)]
    rows: Vec<PublicRow>,
}

/// A row of a public table.
#[derive(Clone, Debug, PartialEq, Eq, Encode)]
#[cbor(array)]
pub struct PublicRow {
    #[n(0)]
    key: String,
    #[n(1)]
    values: Vec<String>,
}

impl PublicTable {
    pub(super) const fn new(
        name: String,
        key: String,
        columns: Vec<String>,
        rows: Vec<PublicRow>,
    ) -> Self {
        Self { name, key, columns, rows }
    }

    /// Its name in SQL.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The column by which it is joined.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The other columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The rows, each with another key.
    pub fn rows(&self) -> &[PublicRow] {
        &self.rows
    }

    /// The texts of a column, each once, in the order of the rows; `OTHER` last.
    pub(crate) fn labels(&self, column: usize) -> Vec<String> {
        let mut labels: Vec<String> = Vec::new();
        let values = self.rows.iter().filter_map(|row| row.value(column));
        for value in values.filter(|value| *value != OTHER) {
            if !labels.iter().any(|label| label == value) {
                labels.push(value.to_owned());
            }
        }
        labels.push(OTHER.to_owned());
        labels
    }
}

impl PublicRow {
    pub(super) const fn new(key: String, values: Vec<String>) -> Self {
        Self { key, values }
    }

    /// The text it is joined by.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The text of a column.
    pub fn value(&self, column: usize) -> Option<&str> {
        self.values.get(column).map(String::as_str)
    }
}
