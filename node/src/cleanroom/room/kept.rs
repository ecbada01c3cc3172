//! What the contract names and this node keeps nothing of: found when the contract comes, refused before a charge.
//!
//! Whether a question is refused follows from its text and the contract alone. What a reading here would name is the
//! measure: a column that another brand alone tells, by the contract, is read there and not here.

use privacy::contract::Table;
use privacy::{Contract, DpPlan, member_sql};

use super::super::views;
use super::Room;
use crate::purchases::{Unreadable, unreadable};
use crate::service::ServiceError;

/// What of a contract cannot be read here; told to the operator's log as well.
pub(super) fn unreadable_of(contract: &Contract) -> Vec<Unreadable> {
    let all = unreadable(contract);
    for what in &all {
        tracing::error!(what = %what.en(), "the contract names what this node keeps nothing of: such questions are refused");
    }
    all
}

impl Room {
    /// The first thing that this brand's reading of a plan would need and is not kept here.
    pub(super) fn not_kept(&self, plan: &DpPlan) -> Option<&Unreadable> {
        if self.unreadable.is_empty() {
            return None;
        }
        let tables: Vec<&str> = plan.tables().map(Table::name).collect();
        let sql = member_sql(plan, self.me);
        self.first_of(&tables, |column| sql.as_str().contains(&format!("\"{column}\"")))
    }

    fn first_of(&self, tables: &[&str], reads: impl Fn(&str) -> bool) -> Option<&Unreadable> {
        self.unreadable
            .iter()
            .find(|what| tables.contains(&what.table.as_str()) && what.column().is_none_or(&reads))
    }

    /// Refuses a plan that could not be read here.
    pub(super) fn check_kept(&self, plan: &DpPlan) -> Result<(), ServiceError> {
        self.not_kept(plan).map_or(Ok(()), |what| Err(views::not_kept_here(what)))
    }

    /// Refuses a dashboard's text, over these tables, that could not be read here exactly.
    ///
    /// # Errors
    /// When it names what is not kept.
    pub fn check_kept_exactly(&self, tables: &[String], sql: &str) -> Result<(), ServiceError> {
        let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
        let text = sql.to_ascii_lowercase();
        let word = |part: char| !(part.is_ascii_alphanumeric() || part == '_');
        let named = |column: &str| text.split(word).any(|name| name == column);
        self.first_of(&tables, named).map_or(Ok(()), |what| Err(views::not_kept_here(what)))
    }

    /// What of the contract is not kept here, for the status.
    #[must_use]
    pub fn unreadable_alerts(&self) -> Vec<String> {
        let words = |what: &Unreadable| {
            format!(
                "{}: questions that read it are refused here, at no cost / {}：读取它的查询在本节点将被拒绝，不收费",
                what.en(),
                what.zh()
            )
        };
        self.unreadable.iter().map(words).collect()
    }
}

#[cfg(test)]
pub(super) mod tests;
