//! What a text means that is no question about members, as BI tools write: more of the answer to a question
//! inside it, or the values of a column, which the contract declares.
//!
//! Either is a query of one table, [`ANSWER`], which whoever carries it out has.

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Query, Select, SelectItem, SetExpr, TableFactor,
};

use super::super::errors::Refused;
use super::columns::{answered_whole, inner_of};
use super::{AskedQuestion, ShownOf, asked, folded, parts};

/// The table that stands for an answer in a query of it.
pub const ANSWER: &str = "coalition_answer";

/// What a text means where it is no question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instead {
    /// More of an answer: a dataset of a tool's that is a question, with what a chart makes of it.
    Of {
        /// The question.
        question: AskedQuestion,
        /// The columns that are its group keys, by their own names.
        keys: Vec<String>,
        /// What is asked of its answer.
        query: Query,
    },
    /// The values of a column, as tools fill the lists of their filters.
    Values {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// What is asked of them.
        query: Query,
    },
}

/// What a query means instead of a question; none where there is nothing else.
///
/// # Errors
/// When it cannot be written.
pub(super) fn of(mut query: Query) -> Result<Option<Instead>, Refused> {
    if query.with.is_some() {
        return Ok(None);
    }
    let SetExpr::Select(select) = query.body.as_mut() else { return Ok(None) };
    if let Some(inner) = inner_of(select).cloned() {
        let keys = key_columns(&inner);
        let question = answered_whole(inner, None);
        let mut of = question.shown.iter().map(|column| column.of);
        if !of.any(|of| matches!(of, ShownOf::Value(_))) {
            return Ok(None);
        }
        read_the_answer(select)?;
        return Ok(Some(Instead::Of { question, keys, query }));
    }
    let Some((table, column)) = listed(select) else { return Ok(None) };
    read_the_answer(select)?;
    Ok(Some(Instead::Values { table, column, query }))
}

/// The columns that a question selects as they are.
fn key_columns(query: &Query) -> Vec<String> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Vec::new() };
    let columns = select.projection.iter().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => column_of(expr),
        _ => None,
    });
    columns.collect()
}

fn column_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(name) => Some(folded(name)),
        Expr::CompoundIdentifier(names) => names.last().map(folded),
        _ => None,
    }
}

/// The table and the column of which a SELECT lists the values and nothing else.
fn listed(select: &Select) -> Option<(String, String)> {
    let [from] = select.from.as_slice() else { return None };
    let TableFactor::Table { name, args: None, .. } = &from.relation else { return None };
    let [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] =
        select.projection.as_slice()
    else {
        return None;
    };
    let GroupByExpr::Expressions(by, modifiers) = &select.group_by else { return None };
    let each_once = match by.as_slice() {
        [] => matches!(select.distinct, Some(Distinct::Distinct)),
        [one] => one == expr && select.distinct.is_none(),
        _ => false,
    };
    let nothing_else = from.joins.is_empty() && select.having.is_none() && modifiers.is_empty();
    let (table, column) = (parts(name).pop()?, column_of(expr)?);
    (each_once && nothing_else).then_some((table, column))
}

/// Puts the answer in the place of what a SELECT reads, under the same name.
fn read_the_answer(select: &mut Select) -> Result<(), Refused> {
    let Some(from) = select.from.first_mut() else { return Ok(()) };
    let called = match &from.relation {
        TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::Table { alias: Some(alias), .. } => Some(folded(&alias.name)),
        TableFactor::Table { name, .. } => parts(name).pop(),
        _ => None,
    };
    let called = called.unwrap_or_else(|| "answer".to_owned()).replace('"', "\"\"");
    let reading = asked(&format!("SELECT * FROM (SELECT * FROM {ANSWER}) AS \"{called}\""), None)?;
    if let SetExpr::Select(reading) = *reading.query.body
        && let Some(read) = reading.from.into_iter().next()
    {
        *from = read;
    }
    Ok(())
}
